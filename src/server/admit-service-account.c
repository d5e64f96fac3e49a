/* SPDX-License-Identifier: Apache-2.0 */

/* ServiceAccount: who a Pod is, how it gets its token, and which secrets it may name. */

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/rand.h"
#include "io/fiber.h"
#include "server/builtin-admission.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"

/* What the kubelet asks for; such a token lives a year. */
#define TOKEN_VOLUME_S 3607
#define MOUNT_PATH     "/var/run/secrets/kubernetes.io/serviceaccount"
#define MIRROR         "kubernetes.io/config.mirror"
#define ENFORCE        "kubernetes.io/enforce-mountable-secrets"
/* The controller makes "default" soon after the namespace. */
#define DEFAULT_ATTEMPTS 10
#define DEFAULT_WAIT_MS  100

static bool account_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	if (!str_eqz(ad->res->store_name, "pods"))
		return false;
	if (ad->op == ADMISSION_CREATE)
		return !ad->sub.n;
	return ad->op == ADMISSION_UPDATE && str_eqz(ad->sub, "ephemeralcontainers");
}

/* ---- the volume */

static struct json *projected_source(struct arena *a, struct json *sources, const char *kind)
{
	struct json *s = json_object(a);

	json_push(sources, s);
	return json_sub(a, s, kind);
}

static struct json *account_volume(struct arena *a, struct str name)
{
	struct json *vol = json_object(a), *proj, *sources, *s, *item;

	json_set_str(a, vol, "name", name);
	proj = json_sub(a, vol, "projected");
	json_set_int(a, proj, "defaultMode", 420);
	sources = json_sub_array(a, proj, "sources");
	s = projected_source(a, sources, "serviceAccountToken");
	json_set_int(a, s, "expirationSeconds", TOKEN_VOLUME_S);
	json_set_str(a, s, "path", STR("token"));
	s = projected_source(a, sources, "configMap");
	json_set_str(a, s, "name", STR("kube-root-ca.crt"));
	item = json_object(a);
	json_set_str(a, item, "key", STR("ca.crt"));
	json_set_str(a, item, "path", STR("ca.crt"));
	json_push(json_sub_array(a, s, "items"), item);
	s = projected_source(a, sources, "downwardAPI");
	item = json_object(a);
	json_set_str(a, item, "path", STR("namespace"));
	json_set_str(a, json_sub(a, item, "fieldRef"), "apiVersion", STR("v1"));
	json_set_str(a, json_get(item, "fieldRef"), "fieldPath", STR("metadata.namespace"));
	json_push(json_sub_array(a, s, "items"), item);
	return vol;
}

/* True when it was missing. */
static bool account_mount(struct arena *a, struct json *container, struct str volume)
{
	struct json *mounts = json_get(container, "volumeMounts"), *m;

	if (json_find_by(mounts, "mountPath", STR(MOUNT_PATH)))
		return false;
	m = json_object(a);
	json_set_str(a, m, "name", volume);
	json_set_bool(a, m, "readOnly", true);
	json_set_str(a, m, "mountPath", STR(MOUNT_PATH));
	json_push(json_sub_array(a, container, "volumeMounts"), m);
	return true;
}

static void account_automount(struct arena *a, struct json *spec)
{
	static const char *const lists[] = { "initContainers", "containers" };
	struct str name = STR_EMPTY;
	bool needed = false, present = false;

	json_for_each(it, json_get(spec, "volumes"))
	{
		if (present ||
		    !str_has_prefix(json_str_at(it.val, "name"), STR("kube-api-access-")))
			continue;
		/* one that someone put there before us is used */
		name = json_str_at(it.val, "name");
		present = true;
	}
	if (!present)
		name = arena_cat(a, STR("kube-api-access-"), rand_suffix(a, 5));
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_for_each(it, json_get(spec, lists[i])) needed |=
			account_mount(a, it.val, name);
	}
	if (needed && !present)
		json_push(json_sub_array(a, spec, "volumes"), account_volume(a, name));
}

static bool account_wants_mount(const struct json *spec, const struct json *sa)
{
	const struct json *pod = json_get(spec, "automountServiceAccountToken");

	if (json_is(pod, JSON_BOOL))
		return json_as_bool(pod, true);
	return json_bool_at(sa, "automountServiceAccountToken", true);
}

/* ---- the account */

static struct err *account_get(struct admission *ad, struct str name, struct json **ret)
{
	int attempts = str_eqz(name, "default") ? DEFAULT_ATTEMPTS : 1;

	for (int i = 0; i < attempts; i++) {
		if (i)
			TRY(fiber_sleep_ms(DEFAULT_WAIT_MS));
		TRY(local_get_json(ad->rq->server, ad->rq->arena, "serviceaccounts", ad->ns, name,
				   ret));
		if (*ret)
			return NULL;
	}
	return admission_deny(ad,
			      "error looking up service account " STR_FMT "/" STR_FMT
			      ": serviceaccount \"" STR_FMT "\" not found",
			      STR_ARG(ad->ns), STR_ARG(name), STR_ARG(name));
}

/* ---- secrets: an account may be limited to those it lists */

static bool account_enforces(const struct json *sa)
{
	static const char *const yes[] = { "1", "t", "T", "TRUE", "true", "True" };
	struct str v = meta_annotation(sa, ENFORCE);

	for (size_t i = 0; i < ARRAY_LEN(yes); i++)
		if (str_eqz(v, yes[i]))
			return true;
	return false;
}

static bool account_lists(const struct json *sa, const char *member, struct str secret)
{
	return json_find_by(json_get(sa, member), "name", secret) != NULL;
}

#define NOT_LISTED \
	"is not allowed because service account " STR_FMT " does not reference that secret"

static struct err *limit_container(const struct admission *ad, const struct json *sa,
				   const char *kind, const struct json *c)
{
	struct str name = json_str_at(c, "name");

	json_for_each(it, json_get(c, "env"))
	{
		const struct json *ref = json_at(it.val, "valueFrom.secretKeyRef");

		if (ref && !account_lists(sa, "secrets", json_str_at(ref, "name")))
			return admission_deny(
				ad,
				"%s " STR_FMT " with envVar " STR_FMT
				" referencing secret.secretName=\"" STR_FMT "\" " NOT_LISTED,
				kind, STR_ARG(name), STR_ARG(json_str_at(it.val, "name")),
				STR_ARG(json_str_at(ref, "name")), STR_ARG(meta_name(sa)));
	}
	json_for_each(it, json_get(c, "envFrom"))
	{
		const struct json *ref = json_get(it.val, "secretRef");

		if (ref && !account_lists(sa, "secrets", json_str_at(ref, "name")))
			return admission_deny(
				ad,
				"%s " STR_FMT
				" with envFrom referencing secret.secretName=\"" STR_FMT
				"\" " NOT_LISTED,
				kind, STR_ARG(name), STR_ARG(json_str_at(ref, "name")),
				STR_ARG(meta_name(sa)));
	}
	return NULL;
}

static struct err *limit_secrets(const struct admission *ad, const struct json *sa)
{
	const struct json *spec = json_get(ad->obj, "spec");

	json_for_each(it, json_get(spec, "volumes"))
	{
		const struct json *secret = json_get(it.val, "secret");
		struct str name = json_str_at(secret, "secretName");

		if (secret && !account_lists(sa, "secrets", name))
			return admission_deny(
				ad, "volume with secret.secretName=\"" STR_FMT "\" " NOT_LISTED,
				STR_ARG(name), STR_ARG(meta_name(sa)));
	}
	json_for_each(it, json_get(spec, "initContainers"))
		TRY(limit_container(ad, sa, "init container", it.val));
	json_for_each(it, json_get(spec, "containers"))
		TRY(limit_container(ad, sa, "container", it.val));
	json_for_each(it, json_get(spec, "imagePullSecrets"))
	{
		if (!account_lists(sa, "imagePullSecrets", json_str_at(it.val, "name")))
			return admission_deny(ad,
					      "imagePullSecrets[%zu].name=\"" STR_FMT
					      "\" is not allowed because service account " STR_FMT
					      " does not reference that imagePullSecret",
					      it.i, STR_ARG(json_str_at(it.val, "name")),
					      STR_ARG(meta_name(sa)));
	}
	return NULL;
}

/* ---- mirror Pods speak for nobody */

static bool container_names_secret(const struct json *c)
{
	json_for_each(it, json_get(c, "env"))
	{
		if (json_at(it.val, "valueFrom.secretKeyRef"))
			return true;
	}
	json_for_each(it, json_get(c, "envFrom"))
	{
		if (json_get(it.val, "secretRef"))
			return true;
	}
	return false;
}

/* Drivers of volumes that take a secret by reference. */
static bool volume_names_secret(const struct json *v)
{
	static const char *const refs[] = { "azureFile.secretName",
					    "cephfs.secretRef",
					    "cinder.secretRef",
					    "csi.nodePublishSecretRef",
					    "flexVolume.secretRef",
					    "iscsi.secretRef",
					    "rbd.secretRef",
					    "scaleIO.secretRef",
					    "secret",
					    "storageos.secretRef" };

	for (size_t i = 0; i < ARRAY_LEN(refs); i++)
		if (json_at(v, refs[i]))
			return true;
	json_for_each(it, json_at(v, "projected.sources"))
	{
		if (json_get(it.val, "secret"))
			return true;
	}
	return false;
}

static bool pod_names_secret(const struct json *spec)
{
	static const char *const lists[] = { "initContainers", "containers",
					     "ephemeralContainers" };

	if (json_len(json_get(spec, "imagePullSecrets")))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_for_each(it, json_get(spec, lists[i]))
		{
			if (container_names_secret(it.val))
				return true;
		}
	}
	json_for_each(it, json_get(spec, "volumes"))
	{
		if (volume_names_secret(it.val))
			return true;
	}
	return false;
}

static struct err *mirror_check(const struct admission *ad)
{
	const struct json *spec = json_get(ad->obj, "spec");

	if (json_str_at(spec, "serviceAccountName").n)
		return admission_deny(ad, "a mirror pod may not reference service accounts");
	if (pod_names_secret(spec))
		return admission_deny(ad, "a mirror pod may not reference secrets");
	json_for_each(it, json_get(spec, "volumes"))
	{
		json_for_each(src, json_at(it.val, "projected.sources"))
		{
			if (json_get(src.val, "serviceAccountToken"))
				return admission_deny(ad, "a mirror pod may not use "
							  "ServiceAccountToken volume projections");
		}
	}
	return NULL;
}

/* ---- the plugin */

static struct err *account_check(struct admission *ad, const struct json *sa)
{
	if (!account_enforces(sa))
		return NULL;
	if (!ad->sub.n)
		return limit_secrets(ad, sa);
	json_for_each(it, json_at(ad->obj, "spec.ephemeralContainers"))
		TRY(limit_container(ad, sa, "ephemeral container", it.val));
	return NULL;
}

static bool is_mirror(const struct json *pod)
{
	return json_get(meta_annotations(pod), MIRROR) != NULL;
}

static struct err *account_mutate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	struct arena *a = ad->rq->arena;
	struct json *spec = json_sub(a, ad->obj, "spec"), *sa = NULL;
	struct str name = json_str_at(spec, "serviceAccountName");

	if (ad->op != ADMISSION_CREATE)
		return NULL;
	if (is_mirror(ad->obj))
		return mirror_check(ad);
	if (str_empty(name))
		name = json_str_at(spec, "serviceAccount");
	if (str_empty(name))
		name = STR("default");
	json_set_str(a, spec, "serviceAccountName", name);
	json_set_str(a, spec, "serviceAccount", name);
	TRY(account_get(ad, name, &sa));
	if (account_wants_mount(spec, sa))
		account_automount(a, spec);
	if (!json_len(json_get(spec, "imagePullSecrets")) &&
	    json_len(json_get(sa, "imagePullSecrets")))
		json_set(a, spec, "imagePullSecrets",
			 json_copy(a, json_get(sa, "imagePullSecrets")));
	return account_check(ad, sa);
}

static struct err *account_validate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	struct str name = json_str_at(ad->obj, "spec.serviceAccountName");
	struct json *sa = NULL;

	if (ad->op == ADMISSION_CREATE && is_mirror(ad->obj))
		return mirror_check(ad);
	if (!name.n)
		return admission_deny(ad,
				      "no service account specified for pod " STR_FMT "/" STR_FMT,
				      STR_ARG(ad->ns), STR_ARG(meta_name(ad->obj)));
	TRY(account_get(ad, name, &sa));
	return account_check(ad, sa);
}

struct admission_plugin service_account_plugin = {
	.name = "ServiceAccount",
	.wants = account_wants,
	.mutate = account_mutate,
	.validate = account_validate,
};
