/* SPDX-License-Identifier: Apache-2.0 */

/* Validation of claims of devices, and of what drivers say of their devices. */

#include "server/device-validate.h"

#include "api/names.h"
#include "base/arena.h"
#include "server/request.h"
#include "server/valid.h"
#include "json/json.h"

#define SLICE_DEVICES 128

/* A name that must be there: said to be none when it is not. */
static void needed_name(const struct valid *v, const struct place *p, struct str name,
			const char *(*check)(struct str s))
{
	const char *why = check(name);

	if (why)
		valid_invalid_str(v, p, name, "%s", why);
}

static void same_name_before(const struct valid *v, const struct json *list, size_t i,
			     const struct place *p)
{
	struct str name = json_str_at(json_idx(list, i), "name");

	for (size_t k = 0; k < i; k++) {
		if (!str_eq(json_str_at(json_idx(list, k), "name"), name))
			continue;
		valid_duplicate(v, AT_IDX(p, i), json_get(json_idx(list, i), "name"));
		return;
	}
}

static void selectors_validate(const struct valid *v, const struct json *r, const struct place *p)
{
	json_for_each(it, json_get(r, "selectors"))
	{
		if (!json_get(it.val, "cel"))
			valid_required(v, AT(AT_IDX(AT(p, "selectors"), it.i), "cel"), NULL);
	}
}

static void count_validate(const struct valid *v, const struct json *r, const struct place *p)
{
	static const char *const modes[] = { "All", "ExactCount", NULL };
	const struct json *mode = json_get(r, "allocationMode"), *count = json_get(r, "count");
	int64_t n = json_as_int(count, 0);

	if (str_eqz(json_as_str(mode), "All") && n)
		valid_invalid(v, AT(p, "count"), count,
			      "must not be specified when allocationMode is 'All'");
	else if (str_eqz(json_as_str(mode), "ExactCount") && n <= 0)
		valid_invalid(v, AT(p, "count"), count, "must be greater than zero");
	valid_enum(v, AT(p, "allocationMode"), mode, modes);
}

static void exact_validate(const struct valid *v, const struct json *r, const struct place *p)
{
	static const char *const operators[] = { "Equal", "Exists", NULL };
	struct str class = json_str_at(r, "deviceClassName");

	if (str_empty(class))
		valid_required(v, AT(p, "deviceClassName"), NULL);
	else
		needed_name(v, AT(p, "deviceClassName"), class, name_check_dns_subdomain);
	selectors_validate(v, r, p);
	count_validate(v, r, p);
	json_for_each(it, json_get(r, "tolerations"))
		valid_enum(v, AT(AT_IDX(AT(p, "tolerations"), it.i), "operator"),
			   json_get(it.val, "operator"), operators);
}

static void request_validate(const struct valid *v, const struct json *r, const struct place *p)
{
	const struct json *exactly = json_get(r, "exactly"), *first = json_get(r, "firstAvailable");

	needed_name(v, AT(p, "name"), json_str_at(r, "name"), name_check_dns_label);
	if (exactly && json_len(first))
		valid_invalid(v, p, NULL,
			      "exactly one of `exactly` or `firstAvailable` is required, but "
			      "multiple fields are set");
	else if (!exactly && !json_len(first))
		valid_required(v, p, "exactly one of `exactly` or `firstAvailable` is required");
	else if (exactly)
		exact_validate(v, exactly, AT(p, "exactly"));
	else
		json_for_each(it, first)
		{
			const struct place *at = AT_IDX(AT(p, "firstAvailable"), it.i);

			needed_name(v, AT(at, "name"), json_str_at(it.val, "name"),
				    name_check_dns_label);
			exact_validate(v, it.val, at);
		}
}

/* REQUEST or REQUEST/SUBREQUEST */
static bool request_known(const struct json *requests, struct str name)
{
	struct str head;
	bool sub = str_cut(&name, '/', &head);
	const struct json *r = json_find_by(requests, "name", head);

	return r && (!sub || json_find_by(json_get(r, "firstAvailable"), "name", name));
}

static void constraints_validate(const struct valid *v, const struct json *devices,
				 const struct place *p)
{
	json_for_each(it, json_get(devices, "constraints"))
	{
		const struct place *at = AT_IDX(AT(p, "constraints"), it.i);

		json_for_each(r, json_get(it.val, "requests"))
		{
			if (!request_known(json_get(devices, "requests"), json_as_str(r.val)))
				valid_invalid(v, AT_IDX(AT(at, "requests"), r.i), r.val,
					      "must be the name of a request in the claim or the "
					      "name of a request and a subrequest separated by "
					      "'/'");
		}
		if (!json_get(it.val, "matchAttribute") && !json_get(it.val, "distinctAttribute"))
			valid_required(v, at,
				       "exactly one of \"matchAttribute\" or "
				       "\"distinctAttribute\" is required, but multiple fields "
				       "are set");
	}
}

static void claim_validate(const struct valid *v, const struct json *spec, const struct place *up)
{
	const struct json *devices = json_get(spec, "devices"),
			  *requests = json_get(devices, "requests");
	const struct place *p = AT(up, "devices");

	json_for_each(it, requests)
	{
		request_validate(v, it.val, AT_IDX(AT(p, "requests"), it.i));
		same_name_before(v, requests, it.i, AT(p, "requests"));
	}
	constraints_validate(v, devices, p);
	json_for_each(it, json_get(devices, "config"))
	{
		if (!json_get(it.val, "opaque"))
			valid_required(v, AT(AT_IDX(AT(p, "config"), it.i), "opaque"), NULL);
	}
}

void resourceclaim_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e, false };

	claim_validate(&v, json_get(obj, "spec"), AT(NULL, "spec"));
}

void resourceclaim_validate_update(struct api_request *rq, const struct json *obj,
				   const struct json *old, struct err **e)
{
	const struct valid v = { rq->arena, e, false };

	valid_immutable(&v, AT(NULL, "spec"), json_get(obj, "spec"), json_get(old, "spec"));
}

void resourceclaimtemplate_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e, false };

	claim_validate(&v, json_at(obj, "spec.spec"), AT(AT(NULL, "spec"), "spec"));
}

void resourceclaimtemplate_validate_update(struct api_request *rq, const struct json *obj,
					   const struct json *old, struct err **e)
{
	resourceclaim_validate_update(rq, obj, old, e);
}

/* ---- ResourceSlice */

static void slice_nodes(const struct valid *v, const struct json *spec, const struct place *p)
{
	static const char *const ways[] = { "nodeName", "nodeSelector", "allNodes",
					    "perDeviceNodeSelection" };
	struct str set = STR_EMPTY;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		const struct json *w = json_get(spec, ways[i]);

		if (!w || (json_is(w, JSON_BOOL) && !json_bool_at(spec, ways[i], false)))
			continue;
		set = arena_fmt(v->a, STR_FMT "%s`%s`", STR_ARG(set), n++ ? ", " : "", ways[i]);
	}
	if (!n)
		valid_required(v, p,
			       "exactly one of `nodeName`, `nodeSelector`, `allNodes`, "
			       "`perDeviceNodeSelection` is required");
	if (n > 1)
		valid_invalid_str(v, p, arena_fmt(v->a, "{" STR_FMT "}", STR_ARG(set)),
				  "exactly one of `nodeName`, `nodeSelector`, `allNodes`, "
				  "`perDeviceNodeSelection` is required, but multiple fields are "
				  "set");
	if (json_get(spec, "nodeName"))
		needed_name(v, AT(p, "nodeName"), json_str_at(spec, "nodeName"),
			    name_check_dns_subdomain);
}

static void slice_devices(const struct valid *v, const struct json *devices, const struct place *p)
{
	static const char *const effects[] = { "NoExecute", "NoSchedule", "None", NULL };

	if (json_len(devices) > SLICE_DEVICES)
		valid_too_many(v, p, json_len(devices), SLICE_DEVICES);
	json_for_each(it, devices)
	{
		const struct place *at = AT_IDX(p, it.i);

		needed_name(v, AT(at, "name"), json_str_at(it.val, "name"), name_check_dns_label);
		json_for_each(t, json_get(it.val, "taints"))
			valid_enum(v, AT(AT_IDX(AT(at, "taints"), t.i), "effect"),
				   json_get(t.val, "effect"), effects);
		if (it.i < SLICE_DEVICES)
			same_name_before(v, devices, it.i, p);
	}
}

void resourceslice_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e, false };
	const struct json *spec = json_get(obj, "spec"), *pool = json_get(spec, "pool");
	const struct place *p = AT(NULL, "spec"), *at = AT(p, "pool");

	needed_name(&v, AT(p, "driver"), json_str_at(spec, "driver"), name_check_dns_subdomain);
	needed_name(&v, AT(at, "name"), json_str_at(pool, "name"), name_check_dns_subdomain);
	if (json_int_at(pool, "resourceSliceCount", 0) <= 0)
		valid_invalid(&v, AT(at, "resourceSliceCount"),
			      json_int(rq->arena, json_int_at(pool, "resourceSliceCount", 0)),
			      "must be greater than zero");
	if (json_int_at(pool, "generation", 0) < 0)
		valid_invalid(&v, AT(at, "generation"), json_get(pool, "generation"),
			      "must be greater than or equal to zero");
	slice_nodes(&v, spec, p);
	slice_devices(&v, json_get(spec, "devices"), AT(p, "devices"));
}

void resourceslice_validate_update(struct api_request *rq, const struct json *obj,
				   const struct json *old, struct err **e)
{
	const struct valid v = { rq->arena, e, false };
	const struct json *is = json_get(obj, "spec"), *was = json_get(old, "spec");
	const struct place *p = AT(NULL, "spec");

	valid_immutable(&v, AT(p, "driver"), json_get(is, "driver"), json_get(was, "driver"));
	valid_immutable(&v, AT(AT(p, "pool"), "name"), json_at(is, "pool.name"),
			json_at(was, "pool.name"));
	valid_immutable(&v, AT(p, "nodeName"), json_get(is, "nodeName"), json_get(was, "nodeName"));
}
