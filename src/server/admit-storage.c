/* SPDX-License-Identifier: Apache-2.0 */

/* Classes that are filled in (DefaultStorageClass, DefaultIngressClass), and what guards volumes
 * (StorageObjectInUseProtection, PersistentVolumeClaimResize). */

#include "api/meta.h"
#include "api/quantity.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/builtin-admission.h"
#include "server/mirror.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"

#define CLAIMS         "persistentvolumeclaims"
#define DEFAULT_CLASS  "storageclass.kubernetes.io/is-default-class"
#define BETA_CLASS     "storageclass.beta.kubernetes.io/is-default-class"
#define CLASS_OF_CLAIM "volume.beta.kubernetes.io/storage-class"
#define INGRESS_CLASS  "ingressclass.kubernetes.io/is-default-class"

static struct mirror storage_classes, ingress_classes;

static bool annotated(const struct json *obj, const char *key)
{
	return str_eqz(meta_annotation(obj, key), "true");
}

static bool storage_is_default(const struct json *class)
{
	return annotated(class, DEFAULT_CLASS) || annotated(class, BETA_CLASS);
}

static bool ingress_is_default(const struct json *class)
{
	return annotated(class, INGRESS_CLASS);
}

/* The newest of those that call themselves default; of the same second, the first by name. */
static struct str class_default(struct arena *a, const struct mirror *m,
				bool (*is)(const struct json *class))
{
	struct str name = STR_EMPTY, created = STR_EMPTY;

	map_for_each(e, &m->objs) {
		const struct json *t = obj_tree(e->val);
		struct str at = json_str_at(t, "metadata.creationTimestamp");
		int newer = str_cmp(at, created);

		if (!is(t) || newer < 0 || (newer == 0 && str_cmp(e->key, name) > 0))
			continue;
		name = e->key;
		created = at;
	}
	return arena_str(a, name);
}

static bool creates(const struct admission *ad, const char *what)
{
	return ad->op == ADMISSION_CREATE && !ad->sub.n && str_eqz(ad->res->store_name, what);
}

/* ---- DefaultStorageClass */

static bool claim_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	return storage_classes.objs.n && creates(ad, CLAIMS);
}

static struct err *claim_mutate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	struct arena *a = ad->rq->arena;
	struct json *spec = json_sub(a, ad->obj, "spec");
	struct str name;

	/* "" asks for no class at all */
	if (json_get(spec, "storageClassName") ||
	    json_get(meta_annotations(ad->obj), CLASS_OF_CLAIM))
		return NULL;
	name = class_default(a, &storage_classes, storage_is_default);
	if (name.n)
		json_set_str(a, spec, "storageClassName", name);
	return NULL;
}

struct admission_plugin default_storage_class_plugin = {
	.name = "DefaultStorageClass",
	.wants = claim_wants,
	.mutate = claim_mutate,
};

/* ---- DefaultIngressClass */

static bool ingress_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	return ingress_classes.objs.n && creates(ad, "ingresses.networking.k8s.io");
}

static struct err *ingress_mutate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	struct arena *a = ad->rq->arena;
	struct json *spec = json_sub(a, ad->obj, "spec");
	struct str name;

	if (json_get(spec, "ingressClassName") ||
	    json_get(meta_annotations(ad->obj), "kubernetes.io/ingress.class"))
		return NULL;
	name = class_default(a, &ingress_classes, ingress_is_default);
	if (name.n)
		json_set_str(a, spec, "ingressClassName", name);
	return NULL;
}

struct admission_plugin default_ingress_class_plugin = {
	.name = "DefaultIngressClass",
	.wants = ingress_wants,
	.mutate = ingress_mutate,
};

/* ---- StorageObjectInUseProtection */

static const char *protection_finalizer(const struct resource *res)
{
	if (str_eqz(res->store_name, CLAIMS))
		return "kubernetes.io/pvc-protection";
	if (str_eqz(res->store_name, "persistentvolumes"))
		return "kubernetes.io/pv-protection";
	return NULL;
}

static bool protection_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	return ad->op == ADMISSION_CREATE && !ad->sub.n && protection_finalizer(ad->res);
}

static struct err *protection_mutate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	meta_add_finalizer(ad->rq->arena, ad->obj, str_from(protection_finalizer(ad->res)));
	return NULL;
}

struct admission_plugin storage_protection_plugin = {
	.name = "StorageObjectInUseProtection",
	.wants = protection_wants,
	.mutate = protection_mutate,
};

/* ---- PersistentVolumeClaimResize */

static bool resize_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	return ad->op == ADMISSION_UPDATE && !ad->sub.n && str_eqz(ad->res->store_name, CLAIMS);
}

static struct quantity claim_size(const struct json *claim)
{
	struct quantity q = { .nano = 0 };

	quantity_parse(json_str_at(claim, "spec.resources.requests.storage"), &q);
	return q;
}

static struct str claim_class(const struct json *claim)
{
	const struct json *c = json_get(meta_annotations(claim), CLASS_OF_CLAIM);

	return c ? json_as_str(c) : json_str_at(claim, "spec.storageClassName");
}

static bool resize_allowed(const struct admission *ad)
{
	struct str class = claim_class(ad->obj);
	const struct obj *o;

	if (!class.n || !str_eq(class, claim_class(ad->old)))
		return false;
	o = mirror_find(&storage_classes, STR_EMPTY, class);
	return o && json_bool_at(obj_tree(o), "allowVolumeExpansion", false);
}

static struct err *resize_validate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	if (quantity_cmp(claim_size(ad->obj), claim_size(ad->old)) <= 0)
		return NULL;
	if (!str_eqz(json_str_at(ad->old, "status.phase"), "Bound"))
		return admission_deny(ad, "Only bound persistent volume claims can be expanded");
	if (!resize_allowed(ad))
		return admission_deny(ad, "only dynamically provisioned pvc can be resized and the "
					  "storageclass that provisions the pvc must support "
					  "resize");
	return NULL;
}

struct admission_plugin claim_resize_plugin = {
	.name = "PersistentVolumeClaimResize",
	.wants = resize_wants,
	.validate = resize_validate,
};

struct err *admit_storage_start(struct apiserver *s)
{
	TRY(mirror_start(&storage_classes, s, "storageclasses.storage.k8s.io"));
	return mirror_start(&ingress_classes, s, "ingressclasses.networking.k8s.io");
}
