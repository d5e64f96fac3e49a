/* SPDX-License-Identifier: Apache-2.0 */
#include "server/delete-options.h"

#include "api/schema.h"
#include "base/arena.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/audit.h"
#include "server/errors.h"
#include "server/object.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"

static const char *const policies[] = {
	[PROPAGATION_UNSET] = "",
	[PROPAGATION_BACKGROUND] = "Background",
	[PROPAGATION_FOREGROUND] = "Foreground",
	[PROPAGATION_ORPHAN] = "Orphan",
};

/* The query in the shape of a body, so that one reader serves both. */
static struct err *delete_options_from_query(struct api_request *rq, struct json **ret)
{
	struct json *o = json_object(rq->arena);
	const struct http_query *q = &rq->http->query;
	struct str s;
	int64_t n;

	s = http_query_find(q, "gracePeriodSeconds");
	if (s.n && !str_to_i64(s, &n))
		return err_new(ERR_BAD_REQUEST,
			       "strconv.ParseInt: parsing \"" STR_FMT "\": invalid syntax",
			       STR_ARG(s));
	if (s.n)
		json_set_int(rq->arena, o, "gracePeriodSeconds", n);
	s = http_query_find(q, "propagationPolicy");
	if (s.p)
		json_set_str(rq->arena, o, "propagationPolicy", s);
	if (http_query_find(q, "orphanDependents").p)
		json_set_bool(rq->arena, o, "orphanDependents",
			      http_query_true(q, "orphanDependents"));
	for (size_t i = 0; i < q->n; i++) {
		if (str_eqz(q->v[i].name, "dryRun"))
			json_push(json_sub_array(rq->arena, o, "dryRun"),
				  json_str(rq->arena, q->v[i].value));
	}
	*ret = o;
	return NULL;
}

static void delete_options_propagation(struct api_request *rq, const struct json *o, struct err **e)
{
	static const char *const supported[] = { "Foreground", "Background", "Orphan", "nil",
						 NULL };
	const struct json *p = json_get(o, "propagationPolicy");
	struct str s = json_as_str(p);

	if (json_is(json_get(o, "orphanDependents"), JSON_BOOL)) {
		rq->opt.orphan_set = true;
		rq->opt.orphan = json_bool_at(o, "orphanDependents", false);
		if (json_is(p, JSON_STR))
			cause_invalid(
				e, STR("propagationPolicy"), p,
				"orphanDependents and deletionPropagation cannot be both set");
		rq->opt.propagation = rq->opt.orphan ? PROPAGATION_ORPHAN : PROPAGATION_BACKGROUND;
	}
	if (!json_is(p, JSON_STR))
		return;
	for (size_t i = 1; i < ARRAY_LEN(policies); i++) {
		if (str_eqz(s, policies[i])) {
			rq->opt.propagation = (enum propagation)i;
			return;
		}
	}
	cause_not_supported(e, STR("propagationPolicy"), s, supported);
}

static struct err *delete_options_apply(struct api_request *rq, const struct json *o)
{
	const struct json *dry = json_get(o, "dryRun");
	const struct json *pre = json_get(o, "preconditions");
	struct err *e = NULL;

	rq->opt.grace = json_int_at(o, "gracePeriodSeconds", -1);
	if (json_is(json_get(o, "gracePeriodSeconds"), JSON_INT) && rq->opt.grace < 0)
		rq->opt.grace = 1;
	delete_options_propagation(rq, o, &e);
	options_check_dry_run(rq, dry, &e);
	if (json_is(json_get(pre, "uid"), JSON_STR))
		rq->opt.pre_uid = json_str_at(pre, "uid");
	if (json_is(json_get(pre, "resourceVersion"), JSON_STR))
		rq->opt.pre_rv = json_str_at(pre, "resourceVersion");
	return error_invalid(e, STR("meta.k8s.io"), STR("DeleteOptions"), STR_EMPTY);
}

/* What decoding says, without the words around it that other bodies get. */
static struct err *delete_options_decode(struct api_request *rq, struct str body, enum media media,
					 struct json **ret)
{
	const struct schema *schema =
		schema_registry_find(registry_types(rq->server->registry), object_type_name(rq));
	struct str kind, msg, at = STR("json parse error: ");
	struct err *e = body_parse(rq, body, media, ret, NULL);
	size_t i, end;

	if (e) {
		msg = err_msg(e);
		i = str_find(msg, STR("couldn't get version/kind"));
		end = msg.n;
		while (end && msg.p[end - 1] != '(')
			end--;
		if (i >= msg.n || str_find(msg, at) >= msg.n || end < 2)
			return e;
		return err_remsg(e, STR_FMT,
				 STR_ARG(arena_str(rq->arena, str_sub(msg, i, end - 2))));
	}
	kind = json_str_at(*ret, "kind");
	if (!str_empty(kind) && !str_eqz(kind, "DeleteOptions"))
		return err_new(ERR_BAD_REQUEST,
			       "no kind \"" STR_FMT "\" is registered for version \"" STR_FMT
			       "\" in scheme \"k8s.io/apimachinery/pkg/apis/meta/"
			       "internalversion/scheme/register.go:27\"",
			       STR_ARG(kind), STR_ARG(json_str_at(*ret, "apiVersion")));
	return schema ? err_recode(schema_decode_types(rq->arena, schema, *ret), ERR_BAD_REQUEST)
		      : NULL;
}

struct err *delete_options_read(struct api_request *rq)
{
	struct json *o = NULL;
	enum media media;
	struct str body;

	if (!rq->x)
		return NULL;
	TRY(body_read(rq, &body, &media));
	if (str_empty(body))
		TRY(delete_options_from_query(rq, &o));
	else
		TRY(delete_options_decode(rq, body, media, &o));
	if (rq->audit && !str_empty(body))
		audit_request_object(rq, o);
	return delete_options_apply(rq, o);
}
