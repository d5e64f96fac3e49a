/* SPDX-License-Identifier: Apache-2.0 */

#include "api/meta.h"
#include "base/arena.h"
#include "control/statefulset-plan.h"
#include "json/json.h"

/*
 * The claims of a StatefulSet's volumeClaimTemplates: one for each template and ordinal. Who owns
 * one follows spec.persistentVolumeClaimRetentionPolicy: the set when whenDeleted is Delete, the
 * Pod once it is scaled down when whenScaled is.
 */

struct str stateful_claim_name(struct arena *a, const struct json *set, const struct json *template,
			       int64_t ordinal)
{
	return arena_fmt(a, STR_FMT "-" STR_FMT "-%lld", STR_ARG(meta_name(template)),
			 STR_ARG(meta_name(set)), (long long)ordinal);
}

struct json *stateful_make_claim(struct arena *a, const struct json *set,
				 const struct json *template, int64_t ordinal)
{
	struct json *claim = json_object(a), *meta;
	const struct json *own = json_get(template, "metadata");

	json_set_str(a, claim, "apiVersion", STR("v1"));
	json_set_str(a, claim, "kind", STR("PersistentVolumeClaim"));
	json_set(a, claim, "metadata", own ? json_copy(a, own) : json_object(a));
	meta = json_get(claim, "metadata");
	json_set(a, meta, "name", json_strcpy(a, stateful_claim_name(a, set, template, ordinal)));
	json_set(a, meta, "namespace", json_strcpy(a, meta_namespace(set)));
	json_for_each(it, json_at(set, "spec.selector.matchLabels")) json_set_s(
		a, json_sub(a, meta, "labels"), arena_str(a, it.key), json_copy(a, it.val));
	if (json_get(template, "spec"))
		json_set(a, claim, "spec", json_copy(a, json_get(template, "spec")));
	return claim;
}

/* ---- owners */

struct stateful_owner {
	struct str api_version, kind;
	const struct json *obj;
};

static bool stateful_ref_names(const struct json *ref, const struct stateful_owner *o)
{
	return str_eq(json_str_at(ref, "apiVersion"), o->api_version) &&
	       str_eq(json_str_at(ref, "kind"), o->kind) &&
	       str_eq(json_str_at(ref, "name"), meta_name(o->obj));
}

static bool stateful_ref_is(const struct json *ref, const struct stateful_owner *o)
{
	return str_eq(json_str_at(ref, "uid"), meta_uid(o->obj));
}

static bool stateful_stale(const struct json *claim, const struct stateful_owner *o)
{
	json_for_each(it, json_at(claim, "metadata.ownerReferences"))
	{
		if (stateful_ref_names(it.val, o))
			return !stateful_ref_is(it.val, o);
	}
	return false;
}

bool stateful_claim_stale(const struct json *claim, struct str pod_name, struct str pod_uid)
{
	json_for_each(it, json_at(claim, "metadata.ownerReferences"))
	{
		if (str_eqz(json_str_at(it.val, "apiVersion"), "v1") &&
		    str_eqz(json_str_at(it.val, "kind"), "Pod") &&
		    str_eq(json_str_at(it.val, "name"), pod_name))
			return !str_eq(json_str_at(it.val, "uid"), pod_uid);
	}
	return false;
}

static bool stateful_owned_by(const struct json *claim, const struct stateful_owner *o)
{
	json_for_each(it, json_at(claim, "metadata.ownerReferences"))
	{
		if (stateful_ref_is(it.val, o))
			return true;
	}
	return false;
}

static bool stateful_owner_controls_not(const struct json *claim, const struct stateful_owner *o)
{
	json_for_each(it, json_at(claim, "metadata.ownerReferences"))
	{
		if (stateful_ref_is(it.val, o) && !json_bool_at(it.val, "controller", false))
			return true;
	}
	return false;
}

static bool stateful_policy_deletes(const struct json *set, const char *when)
{
	return str_eqz(json_str_at(json_at(set, "spec.persistentVolumeClaimRetentionPolicy"), when),
		       "Delete");
}

/* Somebody else manages the claim. */
static bool stateful_conflict(const struct json *claim, const struct stateful_owner *set,
			      const struct stateful_owner *pod)
{
	json_for_each(it, json_at(claim, "metadata.ownerReferences"))
	{
		if (!stateful_ref_names(it.val, set) && !stateful_ref_names(it.val, pod) &&
		    json_bool_at(it.val, "controller", false))
			return true;
	}
	return false;
}

static struct json *stateful_refs(struct arena *a, const struct json *claim,
				  const struct stateful_owner *set,
				  const struct stateful_owner *pod,
				  const struct stateful_owner *add)
{
	struct json *o = json_object(a), *refs = json_array(a);

	json_for_each(it, json_at(claim, "metadata.ownerReferences"))
	{
		if (!stateful_ref_names(it.val, set) && !stateful_ref_names(it.val, pod))
			json_push(refs, json_copy(a, it.val));
	}
	json_set(a, json_sub(a, o, "metadata"), "ownerReferences", refs);
	if (add)
		meta_set_controller(a, o, add->obj, add->api_version, add->kind);
	return json_copy(a, json_at(o, "metadata.ownerReferences"));
}

struct json *stateful_claim_owners(struct arena *a, const struct json *set, const struct json *pod,
				   const struct json *claim, bool *conflict)
{
	const struct stateful_owner s = { STR("apps/v1"), STR("StatefulSet"), set };
	const struct stateful_owner p = { STR("v1"), STR("Pod"), pod };
	bool scaled = stateful_policy_deletes(set, "whenScaled");
	bool deleted = stateful_policy_deletes(set, "whenDeleted");
	int64_t i = stateful_ordinal(set, pod) - json_int_at(set, "spec.ordinals.start", 0);
	bool down = i < 0 || i >= json_int_at(set, "spec.replicas", 1);
	bool want_pod = scaled && down, want_set = deleted && !want_pod;

	*conflict = false;
	if (stateful_stale(claim, &s) || stateful_stale(claim, &p))
		return NULL;
	if ((scaled || deleted) && stateful_conflict(claim, &s, &p)) {
		*conflict = true;
		if (!stateful_owned_by(claim, &s) && !stateful_owned_by(claim, &p))
			return NULL;
		return stateful_refs(a, claim, &s, &p, NULL);
	}
	if (stateful_owned_by(claim, &s) == want_set && stateful_owned_by(claim, &p) == want_pod &&
	    !stateful_owner_controls_not(claim, &s) && !stateful_owner_controls_not(claim, &p))
		return NULL;
	return stateful_refs(a, claim, &s, &p, want_set ? &s : want_pod ? &p : NULL);
}
