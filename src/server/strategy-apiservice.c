/* SPDX-License-Identifier: Apache-2.0 */

/* APIService: what is valid, and how kubectl shows it. */

#include "server/strategies.h"

#include "api/meta.h"
#include "api/names.h"
#include "base/arena.h"
#include "base/encode.h"
#include "server/errors.h"
#include "server/request.h"
#include "server/table.h"
#include "server/valid.h"
#include "json/json.h"

#define MAX_GROUP_PRIORITY   20000
#define MAX_VERSION_PRIORITY 1000

static struct err *apiservice_prepare_create(struct api_request *rq, struct json *obj)
{
	struct json *status = json_object(rq->arena);

	if (!json_is(json_at(obj, "spec.service"), JSON_OBJECT))
		condition_set(rq->arena, status, "Available", "True", STR("Local"),
			      STR("Local APIServices are always available"), rq->now);
	json_set(rq->arena, obj, "status", status);
	return NULL;
}

static void apiservice_check_name(const struct valid *v, const struct json *obj)
{
	const struct json *spec = json_get(obj, "spec");
	struct str want =
		arena_fmt(v->a, STR_FMT "." STR_FMT, STR_ARG(json_str_at(spec, "version")),
			  STR_ARG(json_str_at(spec, "group")));

	/* a name that is no name at all was said already */
	if (name_check_path_segment(meta_name(obj)) || str_eq(meta_name(obj), want))
		return;
	valid_invalid_str(v, AT(AT(NULL, "metadata"), "name"), meta_name(obj),
			  "must be `spec.version+\".\"+spec.group`: \"" STR_FMT "\"",
			  STR_ARG(want));
}

static void apiservice_check_priority(const struct valid *v, const struct json *spec,
				      const char *name, int64_t max)
{
	int64_t n = json_int_at(spec, name, 0);

	if (n < 1 || n > max)
		valid_invalid(v, AT(AT(NULL, "spec"), name), json_int(v->a, n),
			      "must be positive and less than %lld", (long long)max);
}

static void apiservice_check_local(const struct valid *v, const struct json *spec,
				   const struct place *p)
{
	struct str bundle = json_str_at(spec, "caBundle"), pem;

	if (bundle.n && base64_decode(v->a, bundle, &pem))
		valid_invalid_str(v, AT(p, "caBundle"), arena_fmt(v->a, "%zu bytes", pem.n),
				  "local APIServices may not have a caBundle");
	if (json_bool_at(spec, "insecureSkipTLSVerify", false))
		valid_invalid(v, AT(p, "insecureSkipTLSVerify"), json_bool(v->a, true),
			      "local APIServices may not have insecureSkipTLSVerify");
}

static void apiservice_check_remote(const struct valid *v, const struct json *spec,
				    const struct place *p)
{
	const struct json *service = json_get(spec, "service");
	const struct place *at = AT(p, "service");
	int64_t port = json_int_at(service, "port", 443);

	if (!json_str_at(service, "namespace").n)
		valid_required(v, AT(at, "namespace"), NULL);
	if (!json_str_at(service, "name").n)
		valid_required(v, AT(at, "name"), NULL);
	if (port < 1 || port > 65535)
		valid_invalid(v, AT(at, "port"), json_int(v->a, port),
			      "port is not valid: must be between 1 and 65535, inclusive");
	if (json_bool_at(spec, "insecureSkipTLSVerify", false) && json_str_at(spec, "caBundle").n)
		valid_invalid(v, AT(p, "insecureSkipTLSVerify"), json_bool(v->a, true),
			      "may not be true if caBundle is present");
}

static void apiservice_check(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { .a = rq->arena, .e = e };
	const struct json *spec = json_get(obj, "spec");
	const struct place *p = AT(NULL, "spec");
	struct str group = json_str_at(spec, "group"), version = json_str_at(spec, "version");
	const char *wrong;

	apiservice_check_name(&v, obj);
	if (!group.n && !str_eqz(version, "v1"))
		valid_required(&v, AT(p, "group"),
			       "only v1 may have an empty group and it better be legacy kube");
	if (group.n)
		valid_name(&v, AT(p, "group"), group, name_check_dns_subdomain);
	wrong = name_check_dns1035_label(version);
	if (wrong)
		valid_invalid_str(&v, AT(p, "version"), version, "%s", wrong);
	apiservice_check_priority(&v, spec, "groupPriorityMinimum", MAX_GROUP_PRIORITY);
	apiservice_check_priority(&v, spec, "versionPriority", MAX_VERSION_PRIORITY);
	if (json_is(json_get(spec, "service"), JSON_OBJECT))
		apiservice_check_remote(&v, spec, p);
	else
		apiservice_check_local(&v, spec, p);
}

static void apiservice_check_update(struct api_request *rq, const struct json *obj,
				    const struct json *old UNUSED, struct err **e)
{
	static const char *const allowed[] = { "True", "False", "Unknown", NULL };
	const struct valid v = { .a = rq->arena, .e = e };
	const struct place *p = AT(AT(NULL, "status"), "conditions");
	size_t i = 0;

	if (!rq->subres)
		return;
	json_for_each(it, json_at(obj, "status.conditions"))
		valid_enum(&v, AT(AT_IDX(p, i++), "status"), json_get(it.val, "status"), allowed);
}

static void apiservice_service_cell(struct arena *a, const struct json *svc, struct json *cells)
{
	if (!svc)
		cell_str(a, cells, STR("Local"));
	else
		cell_str(a, cells,
			 arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(json_str_at(svc, "namespace")),
				   STR_ARG(json_str_at(svc, "name"))));
}

static void apiservice_available_cell(struct arena *a, const struct json *condition,
				      struct json *cells)
{
	struct str status = json_str_at(condition, "status");
	struct str reason = json_str_at(condition, "reason");

	if (!condition)
		cell_str(a, cells, STR("Unknown"));
	else if (str_eqz(status, "True") || !reason.n)
		cell_str(a, cells, status);
	else
		cell_str(a, cells,
			 arena_fmt(a, STR_FMT " (" STR_FMT ")", STR_ARG(status), STR_ARG(reason)));
}

static void apiservice_cell(struct arena *a, const struct json *obj, struct str column,
			    struct json *cells)
{
	if (str_eqz(column, "Service"))
		apiservice_service_cell(a, json_at(obj, "spec.service"), cells);
	else
		apiservice_available_cell(a, condition_find(json_get(obj, "status"), "Available"),
					  cells);
}

const struct strategy apiservice_strategy = {
	.check_name = name_check_path_segment, /* the core group's is "v1." */
	.needs_rv = true,
	.prepare_create = apiservice_prepare_create,
	.validate = apiservice_check,
	.validate_update = apiservice_check_update,
	.cell = apiservice_cell,
};
