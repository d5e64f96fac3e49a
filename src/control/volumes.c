/* SPDX-License-Identifier: Apache-2.0 */

#include "control/volumes.h"

#include "api/meta.h"
#include "api/quantity.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/err.h"
#include "json/json.h"

bool volume_claimed_by(const struct json *pv, const struct json *claim)
{
	const struct json *ref = json_at(pv, "spec.claimRef");
	struct str uid = json_as_str(json_get(ref, "uid"));

	return ref && str_eq(json_as_str(json_get(ref, "namespace")), meta_namespace(claim)) &&
	       str_eq(json_as_str(json_get(ref, "name")), meta_name(claim)) &&
	       (str_empty(uid) || str_eq(uid, meta_uid(claim)));
}

struct json *volume_claim_ref(struct arena *a, const struct json *claim)
{
	struct json *ref = json_object(a);

	json_set_str(a, ref, "kind", STR("PersistentVolumeClaim"));
	json_set_str(a, ref, "apiVersion", STR("v1"));
	json_set(a, ref, "namespace", json_strcpy(a, meta_namespace(claim)));
	json_set(a, ref, "name", json_strcpy(a, meta_name(claim)));
	json_set(a, ref, "uid", json_strcpy(a, meta_uid(claim)));
	return ref;
}

struct str volume_class(const struct json *obj)
{
	struct str old = meta_annotation(obj, "volume.beta.kubernetes.io/storage-class");

	return str_empty(old) ? json_str_at(obj, "spec.storageClassName") : old;
}

static struct str volume_mode(const struct json *obj)
{
	struct str mode = json_str_at(obj, "spec.volumeMode");

	return str_empty(mode) ? STR("Filesystem") : mode;
}

static bool volume_has_modes(const struct json *pv, const struct json *claim)
{
	json_for_each(want, json_at(claim, "spec.accessModes"))
	{
		bool found = false;

		json_for_each(have, json_at(pv, "spec.accessModes")) found =
			found || str_eq(json_as_str(have.val), json_as_str(want.val));
		if (!found)
			return false;
	}
	return true;
}

static bool volume_large_enough(const struct json *pv, const struct json *claim)
{
	struct quantity have;
	struct quantity want;

	if (!quantity_parse(json_str_at(claim, "spec.resources.requests.storage"), &want))
		return true;
	return quantity_parse(json_str_at(pv, "spec.capacity.storage"), &have) &&
	       quantity_cmp(have, want) >= 0;
}

static bool volume_selected(struct arena *a, const struct json *pv, const struct json *claim)
{
	const struct json *sel = json_at(claim, "spec.selector");
	struct selector *s;
	struct err *e;

	if (!sel)
		return true;
	e = label_selector_from_json(a, sel, &s);
	if (e) {
		err_ignore(e, "a selector that means nothing selects nothing");
		return false;
	}
	return selector_matches(s, meta_labels(pv));
}

bool volume_fits(struct arena *a, const struct json *pv, const struct json *claim)
{
	return str_eq(volume_class(pv), volume_class(claim)) &&
	       str_eq(volume_mode(pv), volume_mode(claim)) && volume_has_modes(pv, claim) &&
	       volume_large_enough(pv, claim) && volume_selected(a, pv, claim);
}

int volume_cmp_size(const struct json *x, const struct json *y)
{
	struct quantity qx = { 0 };
	struct quantity qy = { 0 };

	quantity_parse(json_str_at(x, "spec.capacity.storage"), &qx);
	quantity_parse(json_str_at(y, "spec.capacity.storage"), &qy);
	return quantity_cmp(qx, qy);
}

bool claim_bind_completed(const struct json *claim)
{
	return !str_empty(meta_annotation(claim, VOLUME_BIND_COMPLETED));
}

bool volume_class_waits(const struct json *storage_class)
{
	return str_eqz(json_as_str(json_get(storage_class, "volumeBindingMode")),
		       "WaitForFirstConsumer");
}
