/* SPDX-License-Identifier: Apache-2.0 */

/* Validation of ResourceSlices: what drivers say of their devices. */

#include "api/names.h"
#include "base/arena.h"
#include "server/device-names.h"
#include "server/device-validate.h"
#include "server/pod-validate.h"
#include "server/request.h"
#include "server/valid.h"
#include "json/json.h"

#define DEVICES_MAX      128
#define DEVICES_MAX_RICH 64 /* with taints or counters */
#define ATTRIBUTES_MAX   32
#define VALUE_MAX        64
#define TAINTS_MAX       16
#define COUNTER_SETS_MAX 8
#define COUNTERS_MAX     32
#define CONSUMES_MAX     2

/* ---- where it is */

/* Adds `name` to the members that say where; a false is no word. */
static void place_add(const struct valid *v, const struct json *obj, const char *name,
		      const char *empty_text, struct str *set, size_t *n, const struct place *p)
{
	const struct json *w = json_get(obj, name);

	if (!w)
		return;
	if (json_is(w, JSON_BOOL) && !json_as_bool(w, false)) {
		valid_invalid(v, AT(p, name), w, "must be either unset or set to true");
		return;
	}
	if (json_is(w, JSON_STR) && str_empty(json_as_str(w))) {
		valid_invalid(v, AT(p, name), w, "%s", empty_text);
		return;
	}
	*set = arena_fmt(v->a, STR_FMT "%s`%s`", STR_ARG(*set), (*n)++ ? ", " : "", name);
	if (json_is(w, JSON_STR))
		device_name_validate(v, json_as_str(w), name_check_dns_subdomain, AT(p, name));
	else if (json_is(w, JSON_OBJECT))
		node_selector_validate(v, w, AT(p, name));
}

static void slice_nodes(const struct valid *v, const struct json *spec, const struct place *p)
{
	static const char *const ways[] = { "nodeName", "nodeSelector", "allNodes",
					    "perDeviceNodeSelection" };
	const struct json *terms = json_at(spec, "nodeSelector.nodeSelectorTerms");
	struct str set = STR_EMPTY;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		place_add(v, spec, ways[i], "must be either unset or set to a non-empty string",
			  &set, &n, p);
		if (i == 1 && json_get(spec, ways[i]) && json_len(terms) != 1)
			valid_invalid(v, AT(AT(p, "nodeSelector"), "nodeSelectorTerms"),
				      terms ? terms : json_array(v->a),
				      "must have exactly one node selector term");
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
}

static void device_nodes(const struct valid *v, const struct json *d, bool each,
			 const struct place *p)
{
	static const char *const ways[] = { "nodeName", "nodeSelector", "allNodes" };
	static const char text[] =
		"exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when "
		"`perDeviceNodeSelection` is set to true in the ResourceSlice spec";
	struct str set = STR_EMPTY;
	bool any = false;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		any |= json_get(d, ways[i]) != NULL;
		if (each)
			place_add(v, d, ways[i], "must not be empty", &set, &n, p);
	}
	if (!each && any)
		valid_invalid(v, p, NULL,
			      "`nodeName`, `nodeSelector` and `allNodes` can only be set if "
			      "`perDeviceNodeSelection` is set to true in the ResourceSlice spec");
	if (each && !n)
		valid_required(v, p, text);
	if (n > 1)
		valid_invalid_str(v, p, arena_fmt(v->a, "{" STR_FMT "}", STR_ARG(set)), "%s", text);
}

/* ---- attributes and capacity */

/* NUMBER(.NUMBER)* without zeros to begin with, three of them. */
static bool semver_core(struct str s)
{
	struct str part;
	size_t n = 0;

	while (str_split_next(&s, '.', &part)) {
		n++;
		if (!part.n || (part.n > 1 && part.p[0] == '0'))
			return false;
		for (size_t i = 0; i < part.n; i++) {
			if (part.p[i] < '0' || part.p[i] > '9')
				return false;
		}
	}
	return n == 3;
}

/* Identifiers between dots; numbers have no zeros to begin with when pre is set. */
static bool semver_tail(struct str s, bool pre)
{
	struct str part;

	while (str_split_next(&s, '.', &part)) {
		bool digits = true;

		for (size_t i = 0; i < part.n; i++) {
			char c = part.p[i];
			bool digit = c >= '0' && c <= '9';

			if (!digit && c != '-' && !(c >= 'a' && c <= 'z') &&
			    !(c >= 'A' && c <= 'Z'))
				return false;
			digits &= digit;
		}
		if (!part.n || (pre && digits && part.n > 1 && part.p[0] == '0'))
			return false;
	}
	return true;
}

static bool is_semver(struct str s)
{
	size_t plus = str_find_char(s, '+', 0), dash;
	struct str head = str_sub(s, 0, plus);

	dash = str_find_char(head, '-', 0);
	return semver_core(str_sub(head, 0, dash)) &&
	       (dash == head.n || semver_tail(str_skip(head, dash + 1), true)) &&
	       (plus == s.n || semver_tail(str_skip(s, plus + 1), false));
}

static void attribute_validate(const struct valid *v, const struct json *a, const struct place *p)
{
	const struct json *text = json_get(a, "string"), *version = json_get(a, "version");

	if (json_as_str(text).n > VALUE_MAX)
		valid_too_long(v, AT(p, "string"), VALUE_MAX);
	if (version && !is_semver(json_as_str(version)))
		valid_invalid(v, AT(p, "version"), version,
			      "must be a string compatible with semver.org spec 2.0.0");
	if (json_as_str(version).n > VALUE_MAX)
		valid_too_long(v, AT(p, "version"), VALUE_MAX);
	if (!json_len(a))
		valid_invalid_str(v, p, STR_EMPTY, "exactly one value must be specified");
	else if (json_len(a) > 1)
		valid_invalid(v, p, a, "exactly one value must be specified");
}

static void properties_validate(const struct valid *v, const struct json *d, const struct place *p)
{
	const struct json *attributes = json_get(d, "attributes"), *cap = json_get(d, "capacity");
	size_t n = json_len(attributes) + json_len(cap);
	const struct place *ap = AT(p, "attributes"), *cp = AT(p, "capacity");

	if (n > ATTRIBUTES_MAX)
		valid_invalid(v, p, json_int(v->a, (int64_t)n),
			      "the total number of attributes and capacities must not exceed %d",
			      ATTRIBUTES_MAX);
	json_for_each(it, attributes)
	{
		device_attribute_name_validate(v, it.key, false, ap);
		attribute_validate(v, it.val, AT_KEY(ap, it.key));
	}
	json_for_each(it, cap)
	{
		device_attribute_name_validate(v, it.key, false, cp);
		if (json_get(it.val, "requestPolicy") &&
		    !json_bool_at(d, "allowMultipleAllocations", false))
			valid_forbidden(v, AT(AT_KEY(cp, it.key), "requestPolicy"),
					"allowMultipleAllocations must be true");
	}
}

/* ---- taints and counters */

static void taint_validate(const struct valid *v, const struct json *t, const struct place *p)
{
	static const char *const effects[] = { "NoExecute", "NoSchedule", "None", NULL };
	struct str value = json_str_at(t, "value");

	device_label_validate(v, json_str_at(t, "key"), AT(p, "key"));
	if (!str_empty(value))
		device_name_validate(v, value, name_check_label_value, AT(p, "value"));
	if (str_empty(json_str_at(t, "effect")))
		valid_required(v, AT(p, "effect"), NULL);
	else
		valid_enum(v, AT(p, "effect"), json_get(t, "effect"), effects);
}

/* counters of one set; name: what the set is called by. */
static void counters_validate(const struct valid *v, const struct json *set, const char *name,
			      const struct place *p)
{
	const struct json *counters = json_get(set, "counters");
	const struct place *cp = AT(p, "counters");

	if (str_empty(json_str_at(set, name)))
		valid_required(v, AT(p, name), NULL);
	else
		device_name_validate(v, json_str_at(set, name), name_check_dns_label, AT(p, name));
	if (!json_len(counters))
		valid_required(v, cp, NULL);
	else if (device_list_fits(v, counters, COUNTERS_MAX, cp))
		json_for_each(it, counters)
			device_name_validate(v, it.key, name_check_dns_label, cp);
}

static void device_validate(const struct valid *v, const struct json *d, bool each,
			    const struct place *p)
{
	const struct json *taints = json_get(d, "taints"), *uses = json_get(d, "consumesCounters");
	const struct place *tp = AT(p, "taints"), *up = AT(p, "consumesCounters");

	device_name_validate(v, json_str_at(d, "name"), name_check_dns_label, AT(p, "name"));
	properties_validate(v, d, p);
	if (device_list_fits(v, taints, TAINTS_MAX, tp))
		json_for_each(it, taints) taint_validate(v, it.val, AT_IDX(tp, it.i));
	if (device_list_fits(v, uses, CONSUMES_MAX, up)) {
		json_for_each(it, uses)
			counters_validate(v, it.val, "counterSet", AT_IDX(up, it.i));
		device_list_unique(v, uses, "counterSet", up);
	}
	device_nodes(v, d, each, p);
	device_binding_validate(v, d, p);
}

/* ---- the slice */

static size_t devices_max(const struct json *devices)
{
	json_for_each(it, devices)
	{
		if (json_len(json_get(it.val, "taints")) ||
		    json_len(json_get(it.val, "consumesCounters")))
			return DEVICES_MAX_RICH;
	}
	return DEVICES_MAX;
}

static void slice_devices(const struct valid *v, const struct json *spec, const struct place *up)
{
	const struct json *devices = json_get(spec, "devices"),
			  *sets = json_get(spec, "sharedCounters");
	const struct place *p = AT(up, "devices"), *sp = AT(up, "sharedCounters");
	bool each = json_bool_at(spec, "perDeviceNodeSelection", false);

	if (sets && devices)
		valid_invalid_str(v, up, STR_EMPTY,
				  "only one of `sharedCounters` or `devices` is allowed");
	if (device_list_fits(v, devices, devices_max(devices), p)) {
		json_for_each(it, devices) device_validate(v, it.val, each, AT_IDX(p, it.i));
		device_list_unique(v, devices, "name", p);
	}
	if (device_list_fits(v, sets, COUNTER_SETS_MAX, sp)) {
		json_for_each(it, sets) counters_validate(v, it.val, "name", AT_IDX(sp, it.i));
		device_list_unique(v, sets, "name", sp);
	}
}

void resourceslice_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e, false };
	const struct json *spec = json_get(obj, "spec"), *pool = json_get(spec, "pool");
	const struct place *p = AT(NULL, "spec"), *at = AT(p, "pool");

	csi_driver_name_validate(&v, json_str_at(spec, "driver"), AT(p, "driver"));
	device_pool_validate(&v, json_str_at(pool, "name"), AT(at, "name"));
	if (json_int_at(pool, "resourceSliceCount", 0) <= 0)
		valid_invalid(&v, AT(at, "resourceSliceCount"),
			      json_int(rq->arena, json_int_at(pool, "resourceSliceCount", 0)),
			      "must be greater than zero");
	if (json_int_at(pool, "generation", 0) < 0)
		valid_invalid(&v, AT(at, "generation"), json_get(pool, "generation"),
			      "must be greater than or equal to zero");
	slice_nodes(&v, spec, p);
	slice_devices(&v, spec, p);
}

void resourceslice_validate_update(struct api_request *rq, const struct json *obj,
				   const struct json *old, struct err **e)
{
	const struct valid v = { rq->arena, e, false };
	const struct json *is = json_get(obj, "spec"), *was = json_get(old, "spec");
	const struct place *p = AT(NULL, "spec");

	valid_immutable(&v, AT(AT(p, "pool"), "name"), json_at(is, "pool.name"),
			json_at(was, "pool.name"));
	valid_immutable(&v, AT(p, "driver"), json_get(is, "driver"), json_get(was, "driver"));
	valid_immutable(&v, AT(p, "nodeName"), json_get(is, "nodeName"), json_get(was, "nodeName"));
}
