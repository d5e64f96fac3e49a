/* SPDX-License-Identifier: Apache-2.0 */

/* Validation of claims of devices and of DeviceClasses. */

#include "server/device-validate.h"

#include "api/cel.h"
#include "api/meta.h"
#include "api/names.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/cidr.h"
#include "server/device-names.h"
#include "server/pod-validate.h"
#include "server/request.h"
#include "server/server.h"
#include "server/valid.h"
#include "server/workload.h"
#include "json/json.h"

#define LIST_MAX        32 /* of requests, constraints, configurations, selectors, results */
#define FIRST_MAX       8
#define TOLERATIONS_MAX 16
#define RESERVED_MAX    256
#define EXPRESSION_MAX  10240
#define DATA_MAX        10240
#define IPS_MAX         16
#define INTERFACE_MAX   256
#define HARDWARE_MAX    128

/* ---- selectors */

/* Made once: `device` as selectors see it. */
static struct cel_env *selector_env(void)
{
	static struct cel_env *env;
	const struct cel_type *text = cel_type_of(CEL_STRING), *any = cel_type_of(CEL_DYN), *inner;

	if (env)
		return env;
	env = cel_env_new();
	inner = cel_type_map(env, text, any);
	const struct cel_field fields[] = {
		{ "driver", text },
		{ "attributes", cel_type_map(env, text, inner) },
		{ "capacity", cel_type_map(env, text, inner) },
		{ "allowMultipleAllocations", cel_type_of(CEL_BOOL) },
	};
	cel_env_add_var(env, "device",
			cel_type_struct(env, "kubernetes.DRADevice", fields, ARRAY_LEN(fields)));
	return env;
}

static void expression_validate(const struct valid *v, struct str text, const struct place *p)
{
	struct str issues = STR_EMPTY;
	struct cel_prog *prog;

	if (text.n > EXPRESSION_MAX) {
		valid_too_long(v, p, EXPRESSION_MAX);
		return;
	}
	prog = cel_compile(selector_env(), v->a, text, &issues);
	if (!prog)
		valid_invalid_str(v, p, text, "compilation failed: " STR_FMT, STR_ARG(issues));
	else if (!cel_type_is(cel_prog_type(prog), CEL_BOOL) &&
		 !cel_type_is(cel_prog_type(prog), CEL_DYN))
		valid_invalid_str(v, p, text,
				  "must evaluate to bool or the unknown type, not " STR_FMT,
				  STR_ARG(cel_type_text(v->a, cel_prog_type(prog))));
	cel_prog_unref(prog);
}

static void selectors_validate(const struct valid *v, const struct json *r, const struct place *up)
{
	const struct json *list = json_get(r, "selectors");
	const struct place *p = AT(up, "selectors");

	if (!device_list_fits(v, list, LIST_MAX, p))
		return;
	json_for_each(it, list)
	{
		const struct json *cel = json_get(it.val, "cel");
		const struct place *at = AT(AT_IDX(p, it.i), "cel");

		if (cel)
			expression_validate(v, json_str_at(cel, "expression"),
					    AT(at, "expression"));
		else
			valid_required(v, at, NULL);
	}
}

/* ---- requests */

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

static void device_toleration(const struct valid *v, const struct json *t, const struct place *p)
{
	static const char *const operators[] = { "Equal", "Exists", NULL };
	static const char *const effects[] = { "NoExecute", "NoSchedule", "None", NULL };
	struct str key = json_str_at(t, "key"), op = json_str_at(t, "operator");
	struct str value = json_str_at(t, "value");

	if (!str_empty(key))
		device_label_validate(v, key, AT(p, "key"));
	if (str_eqz(op, "Exists") && !str_empty(value))
		valid_invalid_str(v, AT(p, "value"), value, "must be empty for operator `Exists`");
	else if (str_eqz(op, "Equal"))
		device_name_validate(v, value, name_check_label_value, AT(p, "value"));
	valid_enum(v, AT(p, "operator"), json_get(t, "operator"), operators);
	valid_enum(v, AT(p, "effect"), json_get(t, "effect"), effects);
}

static void exact_validate(const struct valid *v, const struct json *r, const struct place *p)
{
	struct str class = json_str_at(r, "deviceClassName");
	const struct json *tolerations = json_get(r, "tolerations");
	const struct place *tp = AT(p, "tolerations");

	if (str_empty(class))
		valid_required(v, AT(p, "deviceClassName"), NULL);
	else
		device_name_validate(v, class, name_check_dns_subdomain, AT(p, "deviceClassName"));
	selectors_validate(v, r, p);
	count_validate(v, r, p);
	if (device_list_fits(v, tolerations, TOLERATIONS_MAX, tp))
		json_for_each(it, tolerations) device_toleration(v, it.val, AT_IDX(tp, it.i));
}

static void first_validate(const struct valid *v, const struct json *list, const struct place *p)
{
	if (!device_list_fits(v, list, FIRST_MAX, p))
		return;
	json_for_each(it, list)
	{
		const struct place *at = AT_IDX(p, it.i);

		device_name_validate(v, json_str_at(it.val, "name"), name_check_dns_label,
				     AT(at, "name"));
		exact_validate(v, it.val, at);
	}
	device_list_unique(v, list, "name", p);
}

static void request_validate(const struct valid *v, const struct json *r, const struct place *p)
{
	const struct json *exactly = json_get(r, "exactly"), *first = json_get(r, "firstAvailable");

	device_name_validate(v, json_str_at(r, "name"), name_check_dns_label, AT(p, "name"));
	if (exactly && json_len(first))
		valid_invalid(v, p, NULL,
			      "exactly one of `exactly` or `firstAvailable` is required, but "
			      "multiple fields are set");
	else if (!exactly && !json_len(first))
		valid_required(v, p, "exactly one of `exactly` or `firstAvailable` is required");
	else if (exactly)
		exact_validate(v, exactly, AT(p, "exactly"));
	else
		first_validate(v, first, AT(p, "firstAvailable"));
}

/* ---- what refers to requests */

/* REQUEST or REQUEST/SUBREQUEST */
static bool request_known(const struct json *requests, struct str name)
{
	struct str rest = name, head;
	bool sub = str_cut(&rest, '/', &head);
	const struct json *r = json_find_by(requests, "name", sub ? head : name);

	return r && (!sub || json_find_by(json_get(r, "firstAvailable"), "name", rest));
}

static void request_ref_validate(const struct valid *v, const struct json *requests,
				 const struct json *ref, const struct place *p)
{
	struct str name = json_as_str(ref), rest = name, head;
	bool sub = str_cut(&rest, '/', &head);
	bool deep = sub && str_find_char(rest, '/', 0) < rest.n;

	if (!deep) {
		device_name_validate(v, sub ? head : name, name_check_dns_label, p);
		if (sub)
			device_name_validate(v, rest, name_check_dns_label, p);
	}
	if (deep || !request_known(requests, name))
		valid_invalid(v, p, ref,
			      "must be the name of a request in the claim or the name of a request "
			      "and a subrequest separated by '/'");
}

static void request_refs_validate(const struct valid *v, const struct json *requests,
				  const struct json *refs, const struct place *p)
{
	if (!device_list_fits(v, refs, LIST_MAX, p))
		return;
	json_for_each(it, refs) request_ref_validate(v, requests, it.val, AT_IDX(p, it.i));
	device_list_unique(v, refs, NULL, p);
}

static void constraint_validate(const struct valid *v, const struct json *requests,
				const struct json *c, const struct place *p)
{
	const struct json *match = json_get(c, "matchAttribute"),
			  *distinct = json_get(c, "distinctAttribute");

	request_refs_validate(v, requests, json_get(c, "requests"), AT(p, "requests"));
	if (match)
		device_attribute_name_validate(v, json_as_str(match), true,
					       AT(p, "matchAttribute"));
	else if (distinct)
		device_attribute_name_validate(v, json_as_str(distinct), true,
					       AT(p, "distinctAttribute"));
	else
		valid_required(v, p,
			       "exactly one of \"matchAttribute\" or \"distinctAttribute\" is "
			       "required, but multiple fields are set");
}

/* An object that is somebody else's to understand. */
static void raw_validate(const struct valid *v, const struct json *raw, const struct place *p)
{
	if (!raw || json_is_null(raw))
		valid_required(v, p, NULL);
	else if (json_text(v->a, raw).n > DATA_MAX)
		valid_too_long(v, p, DATA_MAX);
	else if (!json_is(raw, JSON_OBJECT))
		valid_invalid_str(v, p, STR("<value omitted>"), "must be a valid JSON object");
}

static void config_validate(const struct valid *v, const struct json *c, const struct place *up)
{
	const struct json *opaque = json_get(c, "opaque");
	const struct place *p = AT(up, "opaque");

	if (!opaque) {
		valid_required(v, p, NULL);
		return;
	}
	csi_driver_name_validate(v, json_str_at(opaque, "driver"), AT(p, "driver"));
	raw_validate(v, json_get(opaque, "parameters"), AT(p, "parameters"));
}

static void claim_validate(const struct valid *v, const struct json *spec, const struct place *up)
{
	const struct json *devices = json_get(spec, "devices"),
			  *requests = json_get(devices, "requests"),
			  *constraints = json_get(devices, "constraints"),
			  *config = json_get(devices, "config");
	const struct place *p = AT(up, "devices"), *rp = AT(p, "requests"),
			   *cp = AT(p, "constraints"), *op = AT(p, "config");

	if (device_list_fits(v, requests, LIST_MAX, rp)) {
		json_for_each(it, requests) request_validate(v, it.val, AT_IDX(rp, it.i));
		device_list_unique(v, requests, "name", rp);
	}
	if (device_list_fits(v, constraints, LIST_MAX, cp))
		json_for_each(it, constraints)
			constraint_validate(v, requests, it.val, AT_IDX(cp, it.i));
	if (!device_list_fits(v, config, LIST_MAX, op))
		return;
	json_for_each(it, config)
	{
		const struct place *at = AT_IDX(op, it.i);

		request_refs_validate(v, requests, json_get(it.val, "requests"),
				      AT(at, "requests"));
		config_validate(v, it.val, at);
	}
}

/* ---- administrators' access */

/* Devices that others use: only where the namespace is for those who may. */
static void admin_validate(struct api_request *rq, const struct valid *v, const struct json *spec,
			   const struct place *up)
{
	const struct place *p = AT(AT(up, "devices"), "requests");
	_cleanup_obj_ const struct obj *ns = NULL;
	struct err *e;

	json_for_each(it, json_at(spec, "devices.requests"))
	{
		if (!json_bool_at(it.val, "exactly.adminAccess", false))
			continue;
		if (!ns) {
			e = local_get(rq->server, "namespaces", STR_EMPTY, rq->ns, &ns);
			err_ignore(e, "without its namespace nobody says yes");
		}
		if (!ns ||
		    !str_eqz(obj_label(ns, STR("resource.kubernetes.io/admin-access")), "true"))
			valid_forbidden(v, AT(AT_IDX(p, it.i), "adminAccess"),
					"admin access to devices requires the "
					"`resource.kubernetes.io/admin-access: true` label on the "
					"containing namespace");
	}
}

void resourceclaim_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e, false };

	/* it never changes */
	if (rq->verb != VERB_CREATE)
		return;
	claim_validate(&v, json_get(obj, "spec"), AT(NULL, "spec"));
	admin_validate(rq, &v, json_get(obj, "spec"), AT(NULL, "spec"));
}

/* ---- a claim's status */

static void result_validate(const struct valid *v, const struct json *requests,
			    const struct json *r, const struct place *p)
{
	request_ref_validate(v, requests, json_get(r, "request"), AT(p, "request"));
	csi_driver_name_validate(v, json_str_at(r, "driver"), AT(p, "driver"));
	device_pool_validate(v, json_str_at(r, "pool"), AT(p, "pool"));
	device_name_validate(v, json_str_at(r, "device"), name_check_dns_label, AT(p, "device"));
	device_binding_validate(v, r, p);
}

static void allocation_config_validate(const struct valid *v, const struct json *requests,
				       const struct json *c, const struct place *p)
{
	static const char *const sources[] = { "FromClaim", "FromClass", NULL };

	if (str_empty(json_str_at(c, "source")))
		valid_required(v, AT(p, "source"), NULL);
	else
		valid_enum(v, AT(p, "source"), json_get(c, "source"), sources);
	request_refs_validate(v, requests, json_get(c, "requests"), AT(p, "requests"));
	config_validate(v, c, p);
}

static void allocation_validate(const struct valid *v, const struct json *requests,
				const struct json *allocation, const struct place *up)
{
	const struct json *results = json_at(allocation, "devices.results"),
			  *config = json_at(allocation, "devices.config"),
			  *nodes = json_get(allocation, "nodeSelector");
	const struct place *p = AT(up, "devices"), *rp = AT(p, "results"), *cp = AT(p, "config");

	if (device_list_fits(v, results, LIST_MAX, rp))
		json_for_each(it, results) result_validate(v, requests, it.val, AT_IDX(rp, it.i));
	if (device_list_fits(v, config, (size_t)2 * LIST_MAX, cp))
		json_for_each(it, config)
			allocation_config_validate(v, requests, it.val, AT_IDX(cp, it.i));
	if (nodes)
		node_selector_validate(v, nodes, AT(up, "nodeSelector"));
}

static bool same_device(const struct json *x, const struct json *y)
{
	static const char *const members[] = { "driver", "pool", "device", "shareID" };

	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		if (!str_eq(json_str_at(x, members[i]), json_str_at(y, members[i])))
			return false;
	}
	return true;
}

static bool device_allocated(const struct json *results, const struct json *d)
{
	json_for_each(it, results)
	{
		if (same_device(it.val, d))
			return true;
	}
	return false;
}

static void network_validate(const struct valid *v, const struct json *n, const struct place *p)
{
	const struct json *ips = json_get(n, "ips");
	const struct place *ip = AT(p, "ips");
	struct cidr c;

	if (json_str_at(n, "interfaceName").n > INTERFACE_MAX)
		valid_too_long(v, AT(p, "interfaceName"), INTERFACE_MAX);
	if (json_str_at(n, "hardwareAddress").n > HARDWARE_MAX)
		valid_too_long(v, AT(p, "hardwareAddress"), HARDWARE_MAX);
	if (!device_list_fits(v, ips, IPS_MAX, ip))
		return;
	json_for_each(it, ips)
	{
		if (!cidr_parse(json_as_str(it.val), &c))
			valid_invalid(v, AT_IDX(ip, it.i), it.val,
				      "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or "
				      "2001:db8::1/64)");
	}
	device_list_unique(v, ips, NULL, ip);
}

/* What upstream prints of a device, in the order of its fields. */
static struct json *device_shown(struct arena *a, const struct json *d)
{
	static const char *const members[][2] = { { "Driver", "driver" },
						  { "Pool", "pool" },
						  { "Device", "device" },
						  { "ShareID", "shareID" } };
	struct json *shown = json_object(a);

	for (size_t i = 0; i < ARRAY_LEN(members); i++)
		json_set_str(a, shown, members[i][0], json_str_at(d, members[i][1]));
	return shown;
}

static void device_status_validate(const struct valid *v, const struct json *results,
				   const struct json *d, const struct place *p)
{
	csi_driver_name_validate(v, json_str_at(d, "driver"), AT(p, "driver"));
	device_pool_validate(v, json_str_at(d, "pool"), AT(p, "pool"));
	device_name_validate(v, json_str_at(d, "device"), name_check_dns_label, AT(p, "device"));
	if (!device_allocated(results, d))
		valid_invalid(v, p, device_shown(v->a, d),
			      "must be an allocated device in the claim");
	device_list_fits(v, json_get(d, "conditions"), 8, AT(p, "conditions"));
	if (json_get(d, "data"))
		raw_validate(v, json_get(d, "data"), AT(p, "data"));
	network_validate(v, json_get(d, "networkData"), AT(p, "networkData"));
}

static void reserved_validate(const struct valid *v, const struct json *list, const struct place *p)
{
	static const char *const members[] = { "resource", "name", "uid" };

	if (!device_list_fits(v, list, RESERVED_MAX, p))
		return;
	json_for_each(it, list)
	{
		for (size_t i = 0; i < ARRAY_LEN(members); i++) {
			if (str_empty(json_str_at(it.val, members[i])))
				valid_required(v, AT(AT_IDX(p, it.i), members[i]), NULL);
		}
	}
	device_list_unique(v, list, "uid", p);
}

/* A claim that goes may lose who uses it, and get nobody. */
static bool reserved_anew(const struct json *list, const struct json *old)
{
	json_for_each(it, list)
	{
		const struct json *was = json_find_by(old, "uid", json_str_at(it.val, "uid"));

		if (!json_equal(it.val, was))
			return true;
	}
	return false;
}

static void claim_status_validate(const struct valid *v, const struct json *obj,
				  const struct json *old)
{
	const struct json *status = json_get(obj, "status"),
			  *allocation = json_get(status, "allocation"),
			  *was = json_at(old, "status.allocation"),
			  *reserved = json_get(status, "reservedFor");
	const struct place *p = AT(NULL, "status"), *rp = AT(p, "reservedFor");

	reserved_validate(v, reserved, rp);
	json_for_each(it, json_get(status, "devices")) device_status_validate(
		v, json_at(allocation, "devices.results"), it.val, AT_IDX(AT(p, "devices"), it.i));
	if (json_len(reserved) && !allocation)
		valid_forbidden(v, rp, "may not be specified when `allocated` is not set");
	else if (meta_deleting(obj) && reserved_anew(reserved, json_at(old, "status.reservedFor")))
		valid_forbidden(v, rp,
				"new entries may not be added while `deallocationRequested` or "
				"`deletionTimestamp` are set");
	if (was && allocation)
		valid_immutable(v, AT(p, "allocation"), allocation, was);
	else if (allocation)
		allocation_validate(v, json_at(obj, "spec.devices.requests"), allocation,
				    AT(p, "allocation"));
}

void resourceclaim_validate_update(struct api_request *rq, const struct json *obj,
				   const struct json *old, struct err **e)
{
	const struct valid v = { rq->arena, e, false };

	if (request_is_status(rq))
		claim_status_validate(&v, obj, old);
	else
		valid_immutable(&v, AT(NULL, "spec"), json_get(obj, "spec"), json_get(old, "spec"));
}

void resourceclaimtemplate_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e, false };

	if (rq->verb != VERB_CREATE)
		return;
	claim_validate(&v, json_at(obj, "spec.spec"), AT(AT(NULL, "spec"), "spec"));
	admin_validate(rq, &v, json_at(obj, "spec.spec"), AT(AT(NULL, "spec"), "spec"));
}

void resourceclaimtemplate_validate_update(struct api_request *rq, const struct json *obj,
					   const struct json *old, struct err **e)
{
	resourceclaim_validate_update(rq, obj, old, e);
}

/* ---- DeviceClass */

/* A name of nobody's that a quota could be of: DOMAIN/NAME, and not kubernetes.io's. */
static bool is_extended_resource(struct arena *a, struct str name)
{
	return str_find_char(name, '/', 0) < name.n &&
	       !memmem(name.p, name.n, "kubernetes.io/", 14) &&
	       !str_has_prefix(name, STR("requests.")) &&
	       !name_check_qualified(arena_fmt(a, "requests." STR_FMT, STR_ARG(name)));
}

void deviceclass_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e, false };
	const struct json *spec = json_get(obj, "spec"), *config = json_get(spec, "config"),
			  *name = json_get(spec, "extendedResourceName");
	const struct place *p = AT(NULL, "spec"), *cp = AT(p, "config");

	selectors_validate(&v, spec, p);
	if (device_list_fits(&v, config, LIST_MAX, cp))
		json_for_each(it, config) config_validate(&v, it.val, AT_IDX(cp, it.i));
	if (name && !is_extended_resource(rq->arena, json_as_str(name)))
		valid_invalid(&v, AT(p, "extendedResourceName"), name,
			      "must be a valid extended resource name");
}
