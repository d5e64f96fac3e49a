/* SPDX-License-Identifier: Apache-2.0 */
#include "server/delete-options.h"

#include "base/arena.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/audit.h"
#include "server/errors.h"
#include "server/request.h"
#include "json/json.h"

static const char *const policies[] = {
	[PROPAGATION_UNSET] = "",
	[PROPAGATION_BACKGROUND] = "Background",
	[PROPAGATION_FOREGROUND] = "Foreground",
	[PROPAGATION_ORPHAN] = "Orphan",
};

/* The query in the shape of a body, so that one reader serves both. */
static struct json *delete_options_from_query(struct api_request *rq)
{
	struct json *o = json_object(rq->arena);
	const struct http_query *q = &rq->http->query;
	struct str s;
	int64_t n;

	s = http_query_find(q, "gracePeriodSeconds");
	if (str_to_i64(s, &n))
		json_set_int(rq->arena, o, "gracePeriodSeconds", n);
	s = http_query_find(q, "propagationPolicy");
	if (s.p)
		json_set_str(rq->arena, o, "propagationPolicy", s);
	s = http_query_find(q, "orphanDependents");
	if (s.p)
		json_set_bool(rq->arena, o, "orphanDependents", str_eqz(s, "true"));
	for (size_t i = 0; i < q->n; i++) {
		if (str_eqz(q->v[i].name, "dryRun"))
			json_push(json_sub_array(rq->arena, o, "dryRun"),
				  json_str(rq->arena, q->v[i].value));
	}
	return o;
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

struct err *delete_options_read(struct api_request *rq)
{
	struct json *o = NULL;
	enum media media;
	struct str body, kind;

	if (!rq->x)
		return NULL;
	TRY(body_read(rq, &body, &media));
	if (str_empty(str_trim(body)))
		return delete_options_apply(rq, delete_options_from_query(rq));
	TRY(body_parse(rq, body, media, &o, NULL));
	kind = json_str_at(o, "kind");
	if (!str_empty(kind) && !str_eqz(kind, "DeleteOptions"))
		return err_new(ERR_BAD_REQUEST,
			       STR_FMT " in version \"" STR_FMT
				       "\" cannot be handled as a DeleteOptions: converting to "
				       "(v1.DeleteOptions): unknown conversion",
			       STR_ARG(kind), STR_ARG(json_str_at(o, "apiVersion")));
	if (rq->audit)
		audit_request_object(rq, o);
	return delete_options_apply(rq, o);
}
