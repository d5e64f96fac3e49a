/* SPDX-License-Identifier: Apache-2.0 */

/* PersistentVolume and PersistentVolumeClaim. */

#include "api/meta.h"
#include "api/names.h"
#include "api/quantity.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/errors.h"
#include "server/pod-validate.h"
#include "server/request.h"
#include "server/resource-names.h"
#include "server/server.h"
#include "server/strategies.h"
#include "server/table.h"
#include "server/valid.h"
#include "server/warn.h"
#include "server/workload.h"
#include "json/json.h"

#define BETA_CLASS "volume.beta.kubernetes.io/storage-class"

static struct err *volume_prepare_create(struct api_request *rq, struct json *obj)
{
	json_set_str(rq->arena, json_sub(rq->arena, obj, "status"), "phase", STR("Pending"));
	return NULL;
}

static void pv_phase_stamp(struct api_request *rq, struct json *obj)
{
	json_set_str(rq->arena, json_sub(rq->arena, obj, "status"), "lastPhaseTransitionTime",
		     wall_format(rq->arena, rq->now));
}

static struct err *pv_prepare_create(struct api_request *rq, struct json *obj)
{
	TRY(volume_prepare_create(rq, obj));
	pv_phase_stamp(rq, obj);
	return NULL;
}

/* Who changes the phase may say since when it has that one. */
static struct err *pv_prepare_update(struct api_request *rq, struct json *obj,
				     const struct json *old)
{
	static const char *const since = "status.lastPhaseTransitionTime";

	if (request_is_status(rq) &&
	    !str_eq(json_str_at(obj, "status.phase"), json_str_at(old, "status.phase")) &&
	    valid_same(json_at(obj, since), json_at(old, since)))
		pv_phase_stamp(rq, obj);
	return NULL;
}

static const struct {
	const char *mode, *abbrev;
} access_modes[] = {
	{ "ReadWriteOnce", "RWO" },
	{ "ReadOnlyMany", "ROX" },
	{ "ReadWriteMany", "RWX" },
	{ "ReadWriteOncePod", "RWOP" },
};

static struct str access_modes_text(struct arena *a, const struct json *arr)
{
	_cleanup_buf_ struct buf b = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(access_modes); i++) {
		json_for_each(it, arr)
		{
			if (!str_eqz(json_as_str(it.val), access_modes[i].mode))
				continue;
			buf_addf(&b, "%s%s", b.n ? "," : "", access_modes[i].abbrev);
			break;
		}
	}
	return buf_to_arena(&b, a);
}

static void check_access_modes(const struct valid *v, const struct json *arr, bool told)
{
	static const char *const supported[] = { "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce",
						 "ReadWriteOncePod", NULL };
	const struct place *spec = AT(NULL, "spec"), *p = AT(spec, "accessModes");
	bool pod = false;

	if (!json_len(arr))
		valid_required(v, p, told ? "at least 1 access mode is required" : NULL);
	json_for_each(it, arr)
	{
		bool known = false;

		for (size_t i = 0; i < ARRAY_LEN(access_modes); i++)
			known |= str_eqz(json_as_str(it.val), access_modes[i].mode);
		if (!known)
			valid_unsupported(v, p, json_as_str(it.val), supported);
		pod |= str_eqz(json_as_str(it.val), "ReadWriteOncePod");
	}
	if (pod && json_len(arr) > 1)
		valid_forbidden(v, p, "may not use ReadWriteOncePod with other access modes");
}

static void check_class_names(const struct valid *v, const struct json *spec)
{
	static const char *const members[] = { "storageClassName", "volumeAttributesClassName" };
	const struct place *p = AT(NULL, "spec");

	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		struct str s = json_str_at(spec, members[i]);

		if (!str_empty(s))
			valid_name(v, AT(p, members[i]), s, name_check_dns_subdomain);
	}
}

static struct str volume_phase(const struct json *obj)
{
	return meta_deleting(obj) ? STR("Terminating") : json_str_at(obj, "status.phase");
}

static struct str volume_class(const struct json *obj)
{
	struct str c = meta_annotation(obj, BETA_CLASS);

	return str_empty(c) ? json_str_at(obj, "spec.storageClassName") : c;
}

/* The columns both kinds have; false: another one. */
static bool volume_cell(struct arena *a, const struct json *obj, struct str column,
			struct json *cells)
{
	struct str vac = json_str_at(obj, "spec.volumeAttributesClassName");

	if (str_eqz(column, "Status"))
		cell_str(a, cells, volume_phase(obj));
	else if (str_eqz(column, "StorageClass"))
		cell_str(a, cells, volume_class(obj));
	else if (str_eqz(column, "VolumeAttributesClass"))
		cell_str(a, cells, str_empty(vac) ? STR("<unset>") : vac);
	else if (str_eqz(column, "VolumeMode"))
		cell_str(a, cells, json_str_at(obj, "spec.volumeMode"));
	else
		return false;
	return true;
}

/* PersistentVolume */
static void pv_cell(struct arena *a, const struct json *obj, struct str column, struct json *cells)
{
	const struct json *claim = json_at(obj, "spec.claimRef");

	if (volume_cell(a, obj, column, cells))
		return;
	if (str_eqz(column, "Capacity"))
		cell_str(a, cells, json_str_at(obj, "spec.capacity.storage"));
	else if (str_eqz(column, "Access Modes"))
		cell_str(a, cells, access_modes_text(a, json_at(obj, "spec.accessModes")));
	else if (str_eqz(column, "Reclaim Policy"))
		cell_str(a, cells, json_str_at(obj, "spec.persistentVolumeReclaimPolicy"));
	else if (str_eqz(column, "Claim"))
		cell_str(a, cells,
			 claim ? arena_fmt(a, STR_FMT "/" STR_FMT,
					   STR_ARG(json_str_at(claim, "namespace")),
					   STR_ARG(json_str_at(claim, "name")))
			       : STR_EMPTY);
	else
		cell_str(a, cells, json_str_at(obj, "status.reason"));
}

/* The members of a PV's spec that are not a source of storage. */
static const char *const pv_plain[] = { "capacity",
					"accessModes",
					"claimRef",
					"persistentVolumeReclaimPolicy",
					"storageClassName",
					"mountOptions",
					"volumeMode",
					"nodeAffinity",
					"volumeAttributesClassName",
					NULL };

static void pv_capacity(const struct valid *v, const struct json *spec)
{
	static const char *const supported[] = { "storage", NULL };
	const struct json *cap = json_get(spec, "capacity"), *size = json_get(cap, "storage");
	const struct place *sp = AT(NULL, "spec"), *p = AT(sp, "capacity"),
			   *at = AT_KEY(p, STR("storage"));
	struct quantity q;

	if (!json_len(cap))
		valid_required(v, p, NULL);
	if (!size || json_len(cap) > 1)
		valid_unsupported_json(v, p, cap, supported);
	if (!size || !valid_quantity(v, size, &q) || q.nano > 0)
		return;
	if (q.nano < 0)
		valid_invalid(v, at, json_int(v->a, quantity_value(q)),
			      "must be a valid resource quantity");
	valid_invalid(v, at, valid_quantity_json(v, q), "must be greater than zero");
}

static void pv_source(const struct valid *v, const struct json *spec)
{
	const struct place *p = AT(NULL, "spec");
	const char *recycle = "persistentVolumeReclaimPolicy";
	size_t n = 0;

	json_for_each(it, spec)
	{
		if (text_in(it.key, pv_plain) || json_is_null(it.val))
			continue;
		if (n++)
			valid_forbidden(v, AT(p, arena_strz(v->a, it.key)),
					"may not specify more than 1 volume type");
	}
	if (!n)
		valid_required(v, p, "must specify a volume type");
	if (json_get(spec, "hostPath"))
		host_path_validate(v, json_get(spec, "hostPath"), AT(p, "hostPath"));
	if (json_get(spec, "nfs"))
		nfs_validate(v, json_get(spec, "nfs"), AT(p, "nfs"));
	if (json_get(spec, "iscsi"))
		iscsi_validate(v, json_get(spec, "iscsi"), AT(p, "iscsi"));
	if (json_get(spec, "csi") && !str_empty(json_str_at(spec, "csi.driver")))
		csi_driver_name_validate(v, json_str_at(spec, "csi.driver"),
					 AT(AT(p, "csi"), "driver"));
	if (json_get(spec, "local") && !json_get(spec, "nodeAffinity"))
		valid_required(v, AT(p, "nodeAffinity"), "Local volume requires node affinity");
	if (str_eqz(json_str_at(spec, "hostPath.path"), "/") &&
	    str_eqz(json_str_at(spec, recycle), "Recycle"))
		valid_forbidden(v, AT(p, recycle),
				"may not be 'recycle' for a hostPath mount of '/'");
}

static void pv_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec"), *affinity = json_get(spec, "nodeAffinity");
	const struct place *p = AT(NULL, "spec"), *ap = AT(p, "nodeAffinity");

	check_access_modes(&v, json_get(spec, "accessModes"), false);
	pv_capacity(&v, spec);
	pv_source(&v, spec);
	check_class_names(&v, spec);
	if (affinity && !json_get(affinity, "required"))
		valid_required(&v, AT(ap, "required"), "must specify required node constraints");
	else if (affinity)
		node_selector_validate(&v, json_get(affinity, "required"), AT(ap, "required"));
	if (json_get(spec, "volumeAttributesClassName") && !json_get(spec, "csi"))
		valid_required(&v, AT(p, "csi"),
			       "has to be specified when using volumeAttributesClassName");
}

static struct json *pv_sources(struct arena *a, const struct json *obj)
{
	struct json *spec = json_copy(a, json_get(obj, "spec"));

	for (size_t i = 0; pv_plain[i]; i++)
		json_delz(spec, pv_plain[i]);
	return spec;
}

static void pv_validate_update(struct api_request *rq, const struct json *obj,
			       const struct json *old, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct place *p = AT(NULL, "spec");

	if (request_is_status(rq))
		return;
	if (!json_equal(pv_sources(rq->arena, obj), pv_sources(rq->arena, old)))
		valid_forbidden(&v, AT(p, "persistentvolumesource"),
				"spec.persistentvolumesource is immutable after creation");
	valid_immutable(&v, AT(NULL, "volumeMode"), json_at(obj, "spec.volumeMode"),
			json_at(old, "spec.volumeMode"));
}

const struct strategy pv_strategy = {
	.delete_returns_obj = true,
	.prepare_create = pv_prepare_create,
	.prepare_update = pv_prepare_update,
	.validate = pv_validate,
	.validate_update = pv_validate_update,
	.warn = pv_warn,
	.cell = pv_cell,
};

/* PersistentVolumeClaim */
/* dataSource and dataSourceRef say the same: a client may know one of them only. */
static void pvc_defaults(struct api_request *rq, struct json *obj)
{
	struct json *spec = json_get(obj, "spec");
	const struct json *src = json_get(spec, "dataSource"),
			  *ref = json_get(spec, "dataSourceRef");

	if (!json_is(spec, JSON_OBJECT))
		return;
	if (json_len(src) && str_empty(json_str_at(src, "kind")) &&
	    str_empty(json_str_at(src, "name"))) {
		json_delz(spec, "dataSource");
		src = NULL;
	}
	if (src && !ref)
		json_set(rq->arena, spec, "dataSourceRef", json_copy(rq->arena, src));
	else if (ref && !src && !json_get(ref, "namespace"))
		json_set(rq->arena, spec, "dataSource", json_copy(rq->arena, ref));
}

static void pvc_source(const struct valid *v, const struct json *spec, const char *member)
{
	const struct json *src = json_get(spec, member);
	const struct place *sp = AT(NULL, "spec"), *p = AT(sp, member);
	struct str kind = json_str_at(src, "kind");

	if (!src)
		return;
	if (str_empty(json_str_at(src, "name")))
		valid_required(v, AT(p, "name"), NULL);
	if (str_empty(kind))
		valid_required(v, AT(p, "kind"), NULL);
	else if (str_empty(json_str_at(src, "apiGroup")) && !str_eqz(kind, "PersistentVolumeClaim"))
		valid_invalid_str(v, p, kind,
				  "must be 'PersistentVolumeClaim' when referencing the default "
				  "apiGroup");
}

static void pvc_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec"),
			  *req = json_at(spec, "resources.requests.storage");
	const struct place *p = AT(NULL, "spec"), *rp = AT(p, "resources"),
			   *at = AT_KEY(rp, STR("storage"));
	struct quantity q;

	valid_selector(&v, AT(p, "selector"), json_get(spec, "selector"));
	check_access_modes(&v, json_get(spec, "accessModes"), true);
	if (!req)
		valid_required(&v, at, NULL);
	else if (valid_quantity(&v, req, &q) && q.nano <= 0)
		valid_invalid(&v, at, valid_quantity_json(&v, q), "must be greater than zero");
	check_class_names(&v, spec);
	pvc_source(&v, spec, "dataSource");
	pvc_source(&v, spec, "dataSourceRef");
}

/* Whether the class may be set: one that was not named, or only by the older annotation. */
static bool pvc_class_free(const struct json *obj, const struct json *old)
{
	const struct json *now = json_at(obj, "spec.storageClassName");
	const struct json *said = json_get(meta_annotations(old), BETA_CLASS);

	return now && !json_at(old, "spec.storageClassName") &&
	       (!said || str_eq(json_as_str(said), json_as_str(now)));
}

/* The annotation stays, or goes when the spec says the same. */
static bool pvc_class_moves(const struct json *obj, const struct json *old)
{
	const struct json *was = json_get(meta_annotations(old), BETA_CLASS);
	const struct json *is = json_get(meta_annotations(obj), BETA_CLASS);

	return was && pvc_class_free(obj, old) &&
	       (!is || str_eq(json_as_str(is), json_as_str(was)));
}

/* to gets the member of from, or none. */
static void pvc_take(struct arena *a, struct json *to, const struct json *from, const char *name)
{
	const struct json *v = json_get(from, name);

	json_delz(to, name);
	if (v)
		json_set(a, to, name, json_copy(a, v));
}

/* Whether the spec differs in what may not change; what may is taken from the old one. */
static bool pvc_changed(struct arena *a, const struct json *obj, const struct json *old)
{
	const struct json *was = json_get(old, "spec"), *then = json_at(was, "resources.requests");
	struct json *is = json_copy(a, json_get(obj, "spec"));
	struct json *now = json_at(is, "resources.requests");

	if (str_empty(json_str_at(was, "volumeName")))
		pvc_take(a, is, was, "volumeName");
	if (pvc_class_free(obj, old))
		pvc_take(a, is, was, "storageClassName");
	if (str_eqz(json_str_at(old, "status.phase"), "Bound")) {
		pvc_take(a, is, was, "volumeAttributesClassName");
		if (now)
			pvc_take(a, now, then, "storage");
	}
	return !json_equal(is, was);
}

static void pvc_validate_update(struct api_request *rq, const struct json *obj,
				const struct json *old, struct err **e)
{
	const struct valid v = { rq->arena, e };
	struct str is_class = meta_annotation(obj, BETA_CLASS);
	const struct json *now = json_at(obj, "spec.resources.requests.storage"),
			  *then = json_at(old, "spec.resources.requests.storage");
	struct quantity was, is, cap;

	if (request_is_status(rq))
		return;
	if (!pvc_class_moves(obj, old) && !str_eq(is_class, meta_annotation(old, BETA_CLASS)))
		valid_invalid_str(&v, AT(AT(AT(NULL, "metadata"), "annotations"), BETA_CLASS),
				  is_class, "field is immutable");
	if (pvc_changed(rq->arena, obj, old))
		valid_forbidden(&v, AT(NULL, "spec"),
				"spec is immutable after creation except resources.requests and "
				"volumeAttributesClassName for bound claims");
	/* down to what there is, for one whose growth failed */
	if (valid_quantity(&v, now, &is) && valid_quantity(&v, then, &was) &&
	    quantity_cmp(is, was) < 0 &&
	    quantity_parse(json_str_at(old, "status.capacity.storage"), &cap) &&
	    quantity_cmp(is, cap) <= 0)
		cause_forbidden(e, STR("spec.resources.requests.storage"),
				"field can not be less than status.capacity");
	valid_immutable(&v, AT(NULL, "volumeMode"), json_at(obj, "spec.volumeMode"),
			json_at(old, "spec.volumeMode"));
}

static void pvc_cell(struct arena *a, const struct json *obj, struct str column, struct json *cells)
{
	bool bound = !str_empty(json_str_at(obj, "spec.volumeName"));

	if (volume_cell(a, obj, column, cells))
		return;
	if (str_eqz(column, "Capacity"))
		cell_str(a, cells, bound ? json_str_at(obj, "status.capacity.storage") : STR_EMPTY);
	else
		cell_str(a, cells,
			 bound ? access_modes_text(a, json_at(obj, "status.accessModes"))
			       : STR_EMPTY);
}

const struct strategy pvc_strategy = {
	.set_defaults = pvc_defaults,
	.delete_returns_obj = true,
	.prepare_create = volume_prepare_create,
	.validate = pvc_validate,
	.validate_update = pvc_validate_update,
	.warn = pvc_warn,
	.cell = pvc_cell,
};
