/* SPDX-License-Identifier: Apache-2.0 */

/* Validation of the kinds of storage.k8s.io. */

#include "server/storage-validate.h"

#include "api/names.h"
#include "base/arena.h"
#include "server/request.h"
#include "server/resource-names.h"
#include "server/valid.h"
#include "server/workload.h"
#include "json/json.h"

#define PARAMETERS_MAX      512
#define PARAMETERS_SIZE_MAX 262144
#define TOKEN_MIN           600
#define UPDATE_PERIOD_MIN   10
#define NODE_ID_MAX         192

static struct str lower(struct arena *a, struct str s)
{
	char *p = arena_strz(a, s);

	for (size_t i = 0; i < s.n; i++) {
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] = (char)(p[i] + 32);
	}
	return str_make(p, s.n);
}

static void provisioner_validate(const struct valid *v, const struct json *obj, const char *member)
{
	struct str s = json_str_at(obj, member);

	if (!str_empty(s))
		valid_name(v, AT(NULL, member), lower(v->a, s), name_check_qualified);
}

static void parameters_validate(const struct valid *v, const struct json *params, bool needed)
{
	const struct place *p = AT(NULL, "parameters");
	size_t total = 0;

	if (needed && !json_len(params))
		valid_required(v, p, "must contain at least one key/value pair");
	if (json_len(params) > PARAMETERS_MAX)
		valid_too_long(v, p, PARAMETERS_MAX);
	json_for_each(it, params)
	{
		if (str_empty(it.key))
			valid_invalid_str(v, p, it.key, "field can not be empty.");
		total += it.key.n + json_as_str(it.val).n;
	}
	if (total > PARAMETERS_SIZE_MAX)
		valid_too_long(v, p, PARAMETERS_SIZE_MAX);
}

/* ---- StorageClass */

static void topology_validate(const struct valid *v, const struct json *term, const struct place *p)
{
	json_for_each(it, json_get(term, "matchLabelExpressions"))
	{
		const struct place *at = AT_IDX(AT(p, "matchLabelExpressions"), it.i);
		const struct json *values = json_get(it.val, "values");
		const bool *again = json_repeats(v->a, values, NULL);
		struct str key = json_str_at(it.val, "key");

		if (!json_len(values))
			valid_required(v, AT(at, "values"), NULL);
		json_for_each(val, values)
		{
			if (again && again[val.i])
				valid_duplicate(v, AT_IDX(AT(at, "values"), val.i), val.val);
		}
		if (str_empty(key))
			valid_invalid_str(v, AT(at, "key"), key, "name part must be non-empty");
		valid_name(v, AT(at, "key"), key, name_check_qualified_part);
	}
}

void storageclass_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };

	provisioner_validate(&v, obj, "provisioner");
	parameters_validate(&v, json_get(obj, "parameters"), false);
	json_for_each(it, json_get(obj, "allowedTopologies"))
		topology_validate(&v, it.val, AT_IDX(AT(NULL, "allowedTopologies"), it.i));
}

void storageclass_validate_update(struct api_request *rq, const struct json *obj,
				  const struct json *old, struct err **e)
{
	static const char *const fixed[] = { "parameters", "provisioner", "reclaimPolicy",
					     "volumeBindingMode" };
	const struct valid v = { rq->arena, e };

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		valid_immutable(&v, AT(NULL, fixed[i]), json_get(obj, fixed[i]),
				json_get(old, fixed[i]));
}

/* ---- CSIDriver */

void csidriver_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	static const char *const modes[] = { "Persistent", "Ephemeral", NULL };
	static const char *const groups[] = { "File", "None", "ReadWriteOnceWithFSType", NULL };
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec"), *tokens = json_get(spec, "tokenRequests"),
			  *period = json_get(spec, "nodeAllocatableUpdatePeriodSeconds");
	const bool *again = json_repeats(v.a, tokens, "audience");
	const struct place *p = AT(NULL, "spec");

	json_for_each(it, json_get(spec, "volumeLifecycleModes"))
		valid_enum(&v, AT(p, "volumeLifecycleModes"), it.val, modes);
	valid_enum(&v, AT(p, "fsGroupPolicy"), json_get(spec, "fsGroupPolicy"), groups);
	json_for_each(it, tokens)
	{
		const struct place *at = AT_IDX(AT(p, "tokenRequests"), it.i);
		const struct json *s = json_get(it.val, "expirationSeconds");

		if (again && again[it.i])
			valid_duplicate(&v, AT(at, "audience"), json_get(it.val, "audience"));
		if (s && json_as_int(s, 0) < TOKEN_MIN)
			valid_invalid(&v, AT(at, "expirationSeconds"), s,
				      "may not specify a duration less than 10 minutes");
	}
	if (period && json_as_int(period, 0) < UPDATE_PERIOD_MIN)
		valid_invalid(&v, AT(p, "nodeAllocatableUpdatePeriodSeconds"), period,
			      "must be greater than or equal to 10 seconds");
}

void csidriver_validate_update(struct api_request *rq, const struct json *obj,
			       const struct json *old, struct err **e)
{
	static const struct {
		const char *member, *shown;
	} fixed[] = { { "attachRequired", "attachedRequired" },
		      { "fsGroupPolicy", "fsGroupPolicy" },
		      { "volumeLifecycleModes", "volumeLifecycleModes" } };
	const struct valid v = { rq->arena, e };
	const struct json *is = json_get(obj, "spec"), *was = json_get(old, "spec");
	const struct place *p = AT(NULL, "spec");

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
		if (i != 1)
			valid_immutable(&v, AT(p, fixed[i].shown), json_get(is, fixed[i].member),
					json_get(was, fixed[i].member));
	}
}

/* ---- CSINode */

static void csinode_driver(const struct valid *v, const struct json *d, const struct place *p)
{
	struct str name = json_str_at(d, "name"), id = json_str_at(d, "nodeID");
	const struct json *keys = json_get(d, "topologyKeys");
	const bool *again = json_repeats(v->a, keys, NULL);

	if (!str_empty(name))
		csi_driver_name_validate(v, name, AT(p, "name"));
	if (id.n > NODE_ID_MAX && id.n > 256)
		valid_invalid_str(v, AT(p, "nodeID"), id, "must be 256 characters or less");
	valid_nonnegative(v, AT(AT(p, "allocatable"), "count"), json_at(d, "allocatable.count"));
	json_for_each(it, keys)
	{
		if (again && again[it.i])
			valid_duplicate(v, p, it.val);
		valid_name(v, p, json_as_str(it.val), name_check_qualified);
	}
}

void csinode_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *drivers = json_at(obj, "spec.drivers");
	const bool *again = json_repeats(v.a, drivers, "name");
	const struct place *spec = AT(NULL, "spec"), *p = AT(spec, "drivers");

	json_for_each(it, drivers)
	{
		const struct place *at = AT_IDX(p, it.i);

		if (again && again[it.i])
			valid_duplicate(&v, AT(at, "name"), json_get(it.val, "name"));
		csinode_driver(&v, it.val, at);
	}
}

/* As Go prints the struct. */
static struct json *driver_shown(struct arena *a, const struct json *d)
{
	static const struct {
		const char *member, *shown;
	} names[] = { { "name", "Name" },
		      { "nodeID", "NodeID" },
		      { "topologyKeys", "TopologyKeys" },
		      { "allocatable", "Allocatable" } };
	struct json *out = json_object(a);

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct json *x = json_get(d, names[i].member);

		json_set(a, out, names[i].shown, x ? json_copy(a, x) : json_null(a));
	}
	return out;
}

void csinode_validate_update(struct api_request *rq, const struct json *obj, const struct json *old,
			     struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *was = json_at(old, "spec.drivers");
	const struct place *spec = AT(NULL, "spec");

	json_for_each(it, json_at(obj, "spec.drivers"))
	{
		const struct json *d = json_find_by(was, "name", json_str_at(it.val, "name"));
		struct json *x, *y;

		if (!d)
			continue;
		x = json_copy(rq->arena, it.val);
		y = json_copy(rq->arena, d);
		/* what a node has room for may change */
		json_delz(x, "allocatable");
		json_delz(y, "allocatable");
		if (!json_equal(x, y))
			valid_invalid(&v, AT(spec, "drivers"), driver_shown(rq->arena, it.val),
				      "field is immutable");
	}
}

/* ---- CSIStorageCapacity */

void csistoragecapacity_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	static const char *const sizes[] = { "capacity" };
	const struct valid v = { rq->arena, e };

	valid_selector(&v, AT(NULL, "nodeTopology"), json_get(obj, "nodeTopology"));
	valid_name(&v, AT(NULL, "storageClassName"), json_str_at(obj, "storageClassName"),
		   name_check_dns_subdomain);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		const struct json *x = json_get(obj, sizes[i]);
		struct quantity q;

		if (x && valid_quantity(&v, x, &q) && q.nano < 0)
			valid_invalid(&v, AT(NULL, sizes[i]), valid_quantity_json(&v, q),
				      "must be greater than or equal to 0");
	}
}

void csistoragecapacity_validate_update(struct api_request *rq, const struct json *obj,
					const struct json *old, struct err **e)
{
	static const char *const fixed[] = { "nodeTopology", "storageClassName" };
	const struct valid v = { rq->arena, e };

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		valid_immutable(&v, AT(NULL, fixed[i]), json_get(obj, fixed[i]),
				json_get(old, fixed[i]));
}

/* ---- VolumeAttachment */

void volumeattachment_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec"), *src = json_get(spec, "source"),
			  *pv = json_get(src, "persistentVolumeName");
	const struct place *p = AT(NULL, "spec"), *sp = AT(p, "source");
	bool inlined = json_get(src, "inlineVolumeSpec");

	csi_driver_name_validate(&v, json_str_at(spec, "attacher"), AT(p, "attacher"));
	if (!inlined && !pv)
		valid_required(&v, sp,
			       "must specify exactly one of inlineVolumeSpec and "
			       "persistentVolumeName");
	else if (inlined && pv)
		valid_forbidden(&v, sp,
				"must specify exactly one of inlineVolumeSpec and "
				"persistentVolumeName");
	if (pv && str_empty(json_as_str(pv)))
		valid_required(&v, AT(sp, "persistentVolumeName"),
			       "must specify non empty persistentVolumeName");
	if (pv)
		valid_name(&v, AT(sp, "persistentVolumeName"), json_as_str(pv),
			   name_check_dns_subdomain);
	valid_name(&v, AT(p, "nodeName"), json_str_at(spec, "nodeName"), name_check_dns_subdomain);
}

static struct json *attachment_shown(struct arena *a, const struct json *spec)
{
	struct json *out = json_object(a), *src;
	const struct json *pv = json_at(spec, "source.persistentVolumeName"),
			  *inlined = json_at(spec, "source.inlineVolumeSpec");

	json_set_str(a, out, "Attacher", json_str_at(spec, "attacher"));
	src = json_sub(a, out, "Source");
	json_set(a, src, "PersistentVolumeName", pv ? json_copy(a, pv) : json_null(a));
	json_set(a, src, "InlineVolumeSpec", inlined ? json_copy(a, inlined) : json_null(a));
	json_set_str(a, out, "NodeName", json_str_at(spec, "nodeName"));
	return out;
}

void volumeattachment_validate_update(struct api_request *rq, const struct json *obj,
				      const struct json *old, struct err **e)
{
	const struct valid v = { rq->arena, e };

	if (!request_is_status(rq) && !json_equal(json_get(obj, "spec"), json_get(old, "spec")))
		valid_invalid(&v, AT(NULL, "spec"),
			      attachment_shown(rq->arena, json_get(obj, "spec")),
			      "field is immutable");
}

/* ---- VolumeAttributesClass */

void volumeattributesclass_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };

	provisioner_validate(&v, obj, "driverName");
	parameters_validate(&v, json_get(obj, "parameters"), true);
}

void volumeattributesclass_validate_update(struct api_request *rq, const struct json *obj,
					   const struct json *old, struct err **e)
{
	static const char *const fixed[] = { "driverName", "parameters" };
	const struct valid v = { rq->arena, e };

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
		if (!valid_same(json_get(obj, fixed[i]), json_get(old, fixed[i])))
			valid_forbidden(&v, AT(NULL, fixed[i]), "updates to %s are forbidden.",
					fixed[i]);
	}
}
