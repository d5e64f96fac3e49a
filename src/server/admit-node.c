/* SPDX-License-Identifier: Apache-2.0 */

/* NodeRestriction: what node agents write, by what is in it. Which objects they may touch at all
 * is the node authorizer's to say. */

#include <stdlib.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "io/pki-request.h"
#include "server/builtin-admission.h"
#include "server/csr-validate.h"
#include "server/errors.h"
#include "server/node-authorizer.h"
#include "server/server.h"
#include "json/json.h"

#define MIRROR    "kubernetes.io/config.mirror"
#define LEASES_NS "kube-node-lease"

/* One write of one node. */
struct node_write {
	struct admission *ad;
	struct str node;
};

static struct err *node_get(struct node_write *w, const char *gr, struct str ns, struct str name,
			    struct json **ret)
{
	struct apiserver *s = w->ad->rq->server;

	TRY(local_get_json(s, w->ad->rq->arena, gr, ns, name, ret));
	if (*ret)
		return NULL;
	return error_not_found(registry_find_stored(s->registry, str_from(gr)), name);
}

static bool node_has(struct node_write *w, const struct json *pod)
{
	return str_eq(json_str_at(pod, "spec.nodeName"), w->node);
}

static struct err *node_unexpected(struct node_write *w)
{
	return admission_deny(w->ad, "unexpected operation \"" STR_FMT "\"",
			      STR_ARG(admission_op_name(w->ad->op)));
}

/* ---- mirror Pods */

static const char *container_refers(const struct json *c)
{
	json_for_each(it, json_get(c, "env"))
	{
		if (json_at(it.val, "valueFrom.configMapKeyRef"))
			return "configmaps";
	}
	json_for_each(it, json_get(c, "envFrom"))
	{
		if (json_get(it.val, "configMapRef"))
			return "configmaps";
	}
	return NULL;
}

static const char *source_refers(const struct json *src)
{
	static const struct {
		const char *member, *what;
	} rows[] = {
		{ "configMap", "configmaps (via projected volumes)" },
		{ "secret", "secrets (via projected volumes)" },
		{ "serviceAccountToken", "serviceaccounts (via projected volumes)" },
		{ "clusterTrustBundle", "clustertrustbundles" },
		{ "podCertificate", "podcertificates" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (json_get(src, rows[i].member))
			return rows[i].what;
	return NULL;
}

static const char *volume_refers(const struct json *v)
{
	static const struct {
		const char *member, *what;
	} rows[] = {
		{ "configMap", "configmaps (via configmap volumes)" },
		{ "secret", "secrets (via secret volumes)" },
		{ "csi", "csidrivers (via CSI volumes)" },
		{ "glusterfs", "endpoints (via glusterFS volumes)" },
		{ "persistentVolumeClaim", "persistentvolumeclaims" },
		{ "ephemeral", "persistentvolumeclaims (via ephemeral volumes)" },
		{ "azureFile", "secrets (via azureFile volumes)" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (json_get(v, rows[i].member))
			return rows[i].what;
	json_for_each(it, json_at(v, "projected.sources"))
	{
		if (source_refers(it.val))
			return source_refers(it.val);
	}
	return NULL;
}

/* What the Pod refers to in the API, or NULL. Secrets and accounts were ServiceAccount's part. */
static const char *pod_refers(const struct json *spec)
{
	static const char *const lists[] = { "initContainers", "containers",
					     "ephemeralContainers" };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		json_for_each(it, json_get(spec, lists[i]))
		{
			if (container_refers(it.val))
				return container_refers(it.val);
		}
	if (json_len(json_get(spec, "resourceClaims")))
		return "resourceclaims";
	json_for_each(it, json_get(spec, "volumes"))
	{
		if (volume_refers(it.val))
			return volume_refers(it.val);
	}
	return NULL;
}

static struct err *mirror_owner(struct node_write *w, const struct json *owners)
{
	const struct json *o = json_idx(owners, 0);
	struct str uid = json_str_at(o, "uid"), node_uid;
	struct json *node = NULL;

	if (json_len(owners) > 1)
		return admission_deny(w->ad,
				      "node \"" STR_FMT "\" can only create pods with a single "
				      "owner reference set to itself",
				      STR_ARG(w->node));
	if (!str_eqz(json_str_at(o, "apiVersion"), "v1") ||
	    !str_eqz(json_str_at(o, "kind"), "Node") || !str_eq(json_str_at(o, "name"), w->node))
		return admission_deny(w->ad,
				      "node \"" STR_FMT "\" can only create pods with an owner "
				      "reference set to itself",
				      STR_ARG(w->node));
	if (!json_bool_at(o, "controller", false))
		return admission_deny(w->ad,
				      "node \"" STR_FMT "\" can only create pods with a "
				      "controller owner reference set to itself",
				      STR_ARG(w->node));
	if (json_bool_at(o, "blockOwnerDeletion", false))
		return admission_deny(w->ad,
				      "node \"" STR_FMT "\" must not set blockOwnerDeletion on an "
				      "owner reference",
				      STR_ARG(w->node));
	TRY(node_get(w, "nodes", STR_EMPTY, w->node, &node));
	node_uid = json_str_at(node, "metadata.uid");
	if (str_eq(uid, node_uid))
		return NULL;
	return admission_deny(w->ad,
			      "node " STR_FMT " UID mismatch: expected " STR_FMT " got " STR_FMT,
			      STR_ARG(w->node), STR_ARG(uid), STR_ARG(node_uid));
}

static struct err *pod_create(struct node_write *w)
{
	const struct json *pod = w->ad->obj;
	const char *what;

	if (!json_get(json_at(pod, "metadata.annotations"), MIRROR))
		return admission_deny(w->ad,
				      "pod does not have \"" MIRROR "\" annotation, node \"" STR_FMT
				      "\" can only create mirror pods",
				      STR_ARG(w->node));
	if (!node_has(w, pod))
		return admission_deny(w->ad,
				      "node \"" STR_FMT "\" can only create pods with "
				      "spec.nodeName set to itself",
				      STR_ARG(w->node));
	TRY(mirror_owner(w, json_at(pod, "metadata.ownerReferences")));
	what = pod_refers(json_get(pod, "spec"));
	if (!what)
		return NULL;
	return admission_deny(w->ad, "node \"" STR_FMT "\" can not create pods that reference %s",
			      STR_ARG(w->node), what);
}

/* ---- Pods */

static bool claims_equal(const struct json *x, const struct json *y)
{
	if (json_len(x) != json_len(y))
		return false;
	json_for_each(it, x)
	{
		const struct json *o = json_idx(y, it.i);

		if (!str_eq(json_str_at(it.val, "name"), json_str_at(o, "name")) ||
		    !json_equal(json_get(it.val, "resourceClaimName"),
				json_get(o, "resourceClaimName")))
			return false;
	}
	return true;
}

static bool same(const struct json *x, const struct json *y, const char *path)
{
	const struct json *p = json_at(x, path), *q = json_at(y, path);

	/* nothing and an empty thing are the same */
	if (!json_len(p) && !json_len(q))
		return true;
	return p && q && json_equal(p, q);
}

static struct err *pod_status(struct node_write *w)
{
	const struct json *now = w->ad->obj, *was = w->ad->old;

	if (w->ad->op != ADMISSION_UPDATE)
		return node_unexpected(w);
	if (!node_has(w, was))
		return admission_deny(w->ad,
				      "node \"" STR_FMT "\" can only update pod status for pods "
				      "with spec.nodeName set to itself",
				      STR_ARG(w->node));
	if (!same(now, was, "metadata.labels"))
		return admission_deny(
			w->ad, "node \"" STR_FMT "\" cannot update labels through pod status",
			STR_ARG(w->node));
	if (!claims_equal(json_at(now, "status.resourceClaimStatuses"),
			  json_at(was, "status.resourceClaimStatuses")))
		return admission_deny(w->ad,
				      "node \"" STR_FMT "\" cannot update resource claim statues",
				      STR_ARG(w->node));
	if (!same(now, was, "status.extendedResourceClaimStatus"))
		return admission_deny(
			w->ad, "node \"" STR_FMT "\" cannot update extended resource claim status",
			STR_ARG(w->node));
	return NULL;
}

static struct err *pod_evict(struct node_write *w)
{
	struct json *pod = NULL;

	if (w->ad->op != ADMISSION_CREATE)
		return node_unexpected(w);
	TRY(node_get(w, "pods", w->ad->ns, w->ad->name, &pod));
	if (node_has(w, pod))
		return NULL;
	return admission_deny(
		w->ad, "node " STR_FMT " can only evict pods with spec.nodeName set to itself",
		STR_ARG(w->node));
}

static struct err *node_writes_pod(struct node_write *w)
{
	struct admission *ad = w->ad;

	if (str_eqz(ad->sub, "status"))
		return pod_status(w);
	if (str_eqz(ad->sub, "eviction"))
		return pod_evict(w);
	if (ad->sub.n)
		return admission_deny(ad,
				      "unexpected pod subresource \"" STR_FMT
				      "\", only 'status' and 'eviction' are allowed",
				      STR_ARG(ad->sub));
	if (ad->op == ADMISSION_CREATE)
		return pod_create(w);
	if (ad->op == ADMISSION_UPDATE)
		return admission_deny(ad,
				      "unexpected operation \"UPDATE\", node \"" STR_FMT
				      "\" can only create and delete mirror pods",
				      STR_ARG(w->node));
	if (node_has(w, ad->old))
		return NULL;
	return admission_deny(
		ad, "node \"" STR_FMT "\" can only delete pods with spec.nodeName set to itself",
		STR_ARG(w->node));
}

/* ---- the Node itself */

static bool in_domain(struct str ns, const char *domain)
{
	size_t n = strlen(domain);

	if (str_eqz(ns, domain))
		return true;
	return ns.n > n && ns.p[ns.n - n - 1] == '.' && str_has_suffix(ns, str_from(domain));
}

/* Labels of kubernetes.io a node agent may set. */
static bool label_is_agents(struct str key, struct str ns)
{
	static const char *const keys[] = {
		"kubernetes.io/hostname",
		"topology.kubernetes.io/zone",
		"topology.kubernetes.io/region",
		"failure-domain.beta.kubernetes.io/zone",
		"failure-domain.beta.kubernetes.io/region",
		"beta.kubernetes.io/instance-type",
		"node.kubernetes.io/instance-type",
		"kubernetes.io/os",
		"kubernetes.io/arch",
		"beta.kubernetes.io/os",
		"beta.kubernetes.io/arch",
	};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (str_eqz(key, keys[i]))
			return true;
	return in_domain(ns, "kubelet.kubernetes.io") || in_domain(ns, "node.kubernetes.io");
}

static bool label_is_forbidden(struct str key)
{
	size_t slash = str_find_char(key, '/', 0);
	struct str ns = slash < key.n ? str_sub(key, 0, slash) : STR_EMPTY;

	if (in_domain(ns, "node-restriction.kubernetes.io"))
		return true;
	return (in_domain(ns, "kubernetes.io") || in_domain(ns, "k8s.io")) &&
	       !label_is_agents(key, ns);
}

static int labels_by_key(const void *x, const void *y)
{
	return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

/* Forbidden keys of x that y lacks or (with differ) has another value for. */
static size_t labels_changed(const struct json *x, const struct json *y, bool differ,
			     struct str *keys, size_t n)
{
	json_for_each(it, x)
	{
		const struct json *o = json_get_s(y, it.key);

		if ((!o || (differ && !json_equal(o, it.val))) && label_is_forbidden(it.key))
			keys[n++] = it.key;
	}
	return n;
}

/* The forbidden ones among those that were changed, sorted. */
static struct str labels_forbidden(struct arena *a, const struct json *now, const struct json *was)
{
	const struct json *x = json_at(now, "metadata.labels"),
			  *y = json_at(was, "metadata.labels");
	struct str *keys = arena_array(a, json_len(x) + json_len(y) + 1, sizeof(*keys));
	_cleanup_buf_ struct buf b = { 0 };
	size_t n;

	n = labels_changed(x, y, true, keys, 0);
	n = labels_changed(y, x, false, keys, n);
	if (n)
		qsort(keys, n, sizeof(*keys), labels_by_key);
	for (size_t i = 0; i < n; i++)
		buf_addf(&b, "%s" STR_FMT, i ? ", " : "", STR_ARG(keys[i]));
	return buf_to_arena(&b, a);
}

static struct err *node_create(struct node_write *w)
{
	struct str bad = labels_forbidden(w->ad->rq->arena, w->ad->obj, NULL);

	if (!json_is_null(json_at(w->ad->obj, "spec.configSource")))
		return admission_deny(w->ad,
				      "node \"" STR_FMT "\" is not allowed to create pods with a "
				      "non-nil configSource",
				      STR_ARG(w->node));
	if (!bad.n)
		return NULL;
	return admission_deny(
		w->ad, "node \"" STR_FMT "\" is not allowed to set the following labels: " STR_FMT,
		STR_ARG(w->node), STR_ARG(bad));
}

static struct err *node_update(struct node_write *w)
{
	const struct json *now = w->ad->obj, *was = w->ad->old;
	struct str bad;

	if (!json_is_null(json_at(now, "spec.configSource")) &&
	    !same(now, was, "spec.configSource"))
		return admission_deny(w->ad,
				      "node \"" STR_FMT "\" is not allowed to update configSource "
				      "to a new non-nil configSource",
				      STR_ARG(w->node));
	if (!same(now, was, "spec.taints"))
		return admission_deny(w->ad, "node \"" STR_FMT "\" is not allowed to modify taints",
				      STR_ARG(w->node));
	if (!same(now, was, "metadata.ownerReferences"))
		return admission_deny(
			w->ad, "node \"" STR_FMT "\" is not allowed to modify ownerReferences",
			STR_ARG(w->node));
	bad = labels_forbidden(w->ad->rq->arena, now, was);
	if (!bad.n)
		return NULL;
	return admission_deny(w->ad, "is not allowed to modify labels: " STR_FMT, STR_ARG(bad));
}

static struct err *node_writes_node(struct node_write *w)
{
	if (!str_eq(w->ad->name, w->node))
		return admission_deny(
			w->ad, "node \"" STR_FMT "\" is not allowed to modify node \"" STR_FMT "\"",
			STR_ARG(w->node), STR_ARG(w->ad->name));
	if (w->ad->op == ADMISSION_CREATE)
		return node_create(w);
	return w->ad->op == ADMISSION_UPDATE ? node_update(w) : NULL;
}

/* ---- claims */

static struct json *claim_rest(struct arena *a, const struct json *claim)
{
	static const char *const status[] = { "capacity", "conditions", "allocatedResourceStatuses",
					      "allocatedResources" };
	struct json *c = json_copy(a, claim), *s = json_get(c, "status"),
		    *m = json_get(c, "metadata");

	json_del(m, STR("resourceVersion"));
	json_del(m, STR("managedFields"));
	for (size_t i = 0; i < ARRAY_LEN(status); i++)
		json_del(s, str_from(status[i]));
	if (!json_len(s))
		json_del(c, STR("status"));
	return c;
}

static struct err *node_writes_claim(struct node_write *w)
{
	struct arena *a = w->ad->rq->arena;

	if (!str_eqz(w->ad->sub, "status"))
		return admission_deny(w->ad, "may only update PVC status");
	if (w->ad->op != ADMISSION_UPDATE)
		return node_unexpected(w);
	if (json_equal(claim_rest(a, w->ad->obj), claim_rest(a, w->ad->old)))
		return NULL;
	return admission_deny(w->ad,
			      "node \"" STR_FMT "\" is not allowed to update fields other than "
			      "status.quantity and status.conditions",
			      STR_ARG(w->node));
}

/* ---- tokens */

static struct str claim_driver(struct node_write *w, struct str claim)
{
	struct json *pvc = NULL, *pv = NULL;
	struct err *e = node_get(w, "persistentvolumeclaims", w->ad->ns, claim, &pvc);

	if (!e)
		e = node_get(w, "persistentvolumes", STR_EMPTY, json_str_at(pvc, "spec.volumeName"),
			     &pv);
	err_ignore(e, "a volume that is not there names no audience");
	return json_str_at(pv, "spec.csi.driver");
}

static bool driver_has_audience(struct node_write *w, struct str driver, struct str audience)
{
	struct json *d = NULL;

	err_ignore(node_get(w, "csidrivers.storage.k8s.io", STR_EMPTY, driver, &d),
		   "nor does a driver that is not there");
	return json_find_by(json_at(d, "spec.tokenRequests"), "audience", audience) != NULL;
}

static bool volume_has_audience(struct node_write *w, const struct json *pod, const struct json *v,
				struct str audience)
{
	struct str driver = json_str_at(v, "csi.driver");

	json_for_each(it, json_at(v, "projected.sources"))
	{
		const struct json *t = json_get(it.val, "serviceAccountToken");

		if (t && str_eq(json_str_at(t, "audience"), audience))
			return true;
	}
	if (json_at(v, "ephemeral.volumeClaimTemplate"))
		driver = claim_driver(w, arena_fmt(w->ad->rq->arena, STR_FMT "-" STR_FMT,
						   STR_ARG(meta_name(pod)),
						   STR_ARG(json_str_at(v, "name"))));
	else if (json_get(v, "persistentVolumeClaim"))
		driver = claim_driver(w, json_str_at(v, "persistentVolumeClaim.claimName"));
	return driver.n && driver_has_audience(w, driver, audience);
}

static struct err *token_audience(struct node_write *w, const struct json *pod)
{
	struct admission *ad = w->ad;
	const struct json *list = json_at(ad->obj, "spec.audiences");
	struct str audience = json_as_str(json_idx(list, 0));
	struct authz_attrs at = {
		.user = &ad->rq->user,
		.verb = STR("request-serviceaccounts-token-audience"),
		.is_resource = true,
		.version = STR("v1"),
		.resource = audience,
		.ns = ad->ns,
		.name = ad->name,
	};

	if (json_len(list) > 1)
		return admission_deny(ad, "node may only request 0 or 1 audiences");
	json_for_each(it, json_at(pod, "spec.volumes"))
	{
		if (volume_has_audience(w, pod, it.val, audience))
			return NULL;
	}
	if (authz_allowed(ad->rq->server->authz, ad->rq->arena, &at, NULL))
		return NULL;
	return admission_deny(ad,
			      "audience \"" STR_FMT "\" not found in pod spec volume, " STR_FMT
			      " is not authorized to request tokens for this audience",
			      STR_ARG(audience), STR_ARG(ad->rq->user.name));
}

static struct err *node_writes_account(struct node_write *w)
{
	struct admission *ad = w->ad;
	const struct json *ref = json_at(ad->obj, "spec.boundObjectRef");
	struct str uid = json_str_at(ref, "uid"), name = json_str_at(ref, "name");
	struct json *pod = NULL;

	if (ad->op != ADMISSION_CREATE || !str_eqz(ad->sub, "token"))
		return NULL;
	if (!str_eqz(json_str_at(ref, "apiVersion"), "v1") ||
	    !str_eqz(json_str_at(ref, "kind"), "Pod") || !name.n)
		return admission_deny(ad, "node requested token not bound to a pod");
	if (!uid.n)
		return admission_deny(ad, "node requested token with a pod binding without a uid");
	TRY(node_get(w, "pods", ad->ns, name, &pod));
	if (!str_eq(uid, json_str_at(pod, "metadata.uid")))
		return admission_deny(ad,
				      "the UID in the bound object reference (" STR_FMT
				      ") does not match the UID in record. The object might have "
				      "been deleted and then recreated",
				      STR_ARG(uid));
	if (!node_has(w, pod))
		return admission_deny(
			ad, "node requested token bound to a pod scheduled on a different node");
	return token_audience(w, pod);
}

/* ---- what bears the node's name */

static struct err *node_writes_lease(struct node_write *w)
{
	if (!str_eqz(w->ad->ns, LEASES_NS))
		return admission_deny(w->ad, "can only access leases in the \"" LEASES_NS
					     "\" system namespace");
	if (str_eq(w->ad->name, w->node))
		return NULL;
	return admission_deny(w->ad, "can only access node lease with the same name as the "
				     "requesting node");
}

static struct err *node_writes_csi_node(struct node_write *w)
{
	if (str_eq(w->ad->name, w->node))
		return NULL;
	return admission_deny(w->ad, "can only access CSINode with the same name as the requesting "
				     "node");
}

static struct err *node_writes_slice(struct node_write *w)
{
	if (w->ad->op == ADMISSION_CREATE && !node_has(w, w->ad->obj))
		return admission_deny(w->ad, "can only create ResourceSlice with the same NodeName "
					     "as the requesting node");
	if (w->ad->op == ADMISSION_DELETE && !node_has(w, w->ad->old))
		return admission_deny(w->ad, "can only delete ResourceSlice with the same NodeName "
					     "as the requesting node");
	return NULL;
}

static struct err *node_writes_csr(struct node_write *w)
{
	struct str signer = json_str_at(w->ad->obj, "spec.signerName"), name;
	struct pki_request req;
	struct err *e;

	if (w->ad->op != ADMISSION_CREATE ||
	    (!str_eqz(signer, "kubernetes.io/kubelet-serving") &&
	     !str_eqz(signer, "kubernetes.io/kube-apiserver-client-kubelet")))
		return NULL;
	e = csr_parse(w->ad->rq->arena, w->ad->obj, &req);
	if (e) {
		struct err *denied =
			admission_deny(w->ad, "unable to parse csr: " STR_FMT, STR_ARG(err_msg(e)));

		err_free(e);
		return denied;
	}
	name = req.common_name;
	if (str_strip_prefix(&name, STR("system:node:")) && str_eq(name, w->node))
		return NULL;
	return admission_deny(w->ad, "can only create a node CSR with CN=system:node:" STR_FMT,
			      STR_ARG(w->node));
}

/* ---- the plugin */

static const struct {
	const char *stored;
	MUST_USE struct err *(*check)(struct node_write *w);
} node_kinds[] = {
	{ "pods", node_writes_pod },
	{ "nodes", node_writes_node },
	{ "persistentvolumeclaims", node_writes_claim },
	{ "serviceaccounts", node_writes_account },
	{ "leases.coordination.k8s.io", node_writes_lease },
	{ "csinodes.storage.k8s.io", node_writes_csi_node },
	{ "resourceslices.resource.k8s.io", node_writes_slice },
	{ "certificatesigningrequests.certificates.k8s.io", node_writes_csr },
};

static bool node_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	return ad->op != ADMISSION_CONNECT && node_identity(&ad->rq->user).p;
}

static struct err *node_restrict(struct admission_plugin *p UNUSED, struct admission *ad)
{
	struct node_write w = { ad, node_identity(&ad->rq->user) };

	if (!w.node.n)
		return admission_deny(ad, "could not determine node from user \"" STR_FMT "\"",
				      STR_ARG(ad->rq->user.name));
	for (size_t i = 0; i < ARRAY_LEN(node_kinds); i++)
		if (str_eqz(ad->res->store_name, node_kinds[i].stored))
			return node_kinds[i].check(&w);
	return NULL;
}

struct admission_plugin node_restriction_plugin = {
	.name = "NodeRestriction",
	.wants = node_wants,
	.mutate = node_restrict,
};
