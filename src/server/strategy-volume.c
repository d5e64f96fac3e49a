/* SPDX-License-Identifier: Apache-2.0 */

/* PersistentVolume and PersistentVolumeClaim. */

#include "api/meta.h"
#include "api/quantity.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/errors.h"
#include "server/request.h"
#include "server/server.h"
#include "server/strategies.h"
#include "server/table.h"
#include "json/json.h"

static struct err *volume_prepare_create(struct api_request *rq, struct json *obj)
{
	json_set_str(rq->arena, json_sub(rq->arena, obj, "status"), "phase", STR("Pending"));
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

static void check_access_modes(const struct json *arr, struct err **e)
{
	static const char *const supported[] = { "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce",
						 "ReadWriteOncePod", NULL };

	if (!json_len(arr))
		cause_required(e, STR("spec.accessModes"), "at least 1 access mode is required");
	json_for_each(it, arr)
	{
		bool known = false;

		for (size_t i = 0; i < ARRAY_LEN(access_modes); i++)
			known |= str_eqz(json_as_str(it.val), access_modes[i].mode);
		if (!known)
			cause_not_supported(e, STR("spec.accessModes"), json_as_str(it.val),
					    supported);
	}
}

static struct str volume_phase(const struct json *obj)
{
	return meta_deleting(obj) ? STR("Terminating") : json_str_at(obj, "status.phase");
}

static struct str volume_class(const struct json *obj)
{
	struct str c = meta_annotation(obj, "volume.beta.kubernetes.io/storage-class");

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

static void pv_validate(struct api_request *rq UNUSED, const struct json *obj, struct err **e)
{
	check_access_modes(json_at(obj, "spec.accessModes"), e);
}

const struct strategy pv_strategy = {
	.delete_returns_obj = true,
	.prepare_create = volume_prepare_create,
	.validate = pv_validate,
	.cell = pv_cell,
};

/* PersistentVolumeClaim */
static void pvc_validate(struct api_request *rq UNUSED, const struct json *obj, struct err **e)
{
	const struct json *req = json_at(obj, "spec.resources.requests.storage");
	struct quantity q;

	check_access_modes(json_at(obj, "spec.accessModes"), e);
	if (!req)
		cause_required(e, STR("spec.resources[storage]"), NULL);
	else if (quantity_parse(json_as_str(req), &q) && quantity_value(q) <= 0)
		cause_invalid(e, STR("spec.resources[storage]"), req, "must be greater than zero");
}

/* What of a claim's spec may never change; the volume's name may be set once. */
static struct json *pvc_fixed(struct arena *a, const struct json *obj, bool keep_volume)
{
	struct json *spec = json_copy(a, json_get(obj, "spec"));

	json_delz(spec, "resources");
	json_delz(spec, "volumeAttributesClassName");
	if (!keep_volume)
		json_delz(spec, "volumeName");
	return spec;
}

static void pvc_validate_update(struct api_request *rq, const struct json *obj,
				const struct json *old, struct err **e)
{
	bool named = !str_empty(json_str_at(old, "spec.volumeName"));
	struct quantity was, is;

	if (!json_equal(pvc_fixed(rq->arena, obj, named), pvc_fixed(rq->arena, old, named)))
		cause_forbidden(e, STR("spec"),
				"spec is immutable after creation except resources.requests and "
				"volumeAttributesClassName for bound claims");
	if (quantity_parse(json_str_at(obj, "spec.resources.requests.storage"), &is) &&
	    quantity_parse(json_str_at(old, "spec.resources.requests.storage"), &was) &&
	    quantity_cmp(is, was) < 0)
		cause_forbidden(e, STR("spec.resources.requests.storage"),
				"field can not be less than status.capacity");
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
	.delete_returns_obj = true,
	.prepare_create = volume_prepare_create,
	.validate = pvc_validate,
	.validate_update = pvc_validate_update,
	.cell = pvc_cell,
};
