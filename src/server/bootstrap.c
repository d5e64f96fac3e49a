/* SPDX-License-Identifier: Apache-2.0 */
#include "server/bootstrap.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/bootstrap-flow.h"
#include "server/bootstrap-internal.h"
#include "server/metadata.h"
#include "server/object.h"
#include "server/request.h"
#include "server/server.h"
#include "server/service-cidr.h"
#include "json/json.h"

static struct err *batch_flush(struct batch *b)
{
	struct rev rev;
	size_t failed;
	struct err *e = NULL;

	if (b->n)
		e = store_commit(b->s->store, b->ops, b->n, &rev, &failed);
	for (size_t i = 0; i < b->n; i++) {
		obj_unref(b->ops[i].put);
		obj_unref(b->ops[i].result);
	}
	b->n = 0;
	return e;
}

struct err *batch_add(struct batch *b, const char *gr, struct str ns, struct str name,
		      struct json *obj)
{
	const struct resource *res = registry_find_stored(b->s->registry, str_from(gr));
	struct store_key key = { str_from(gr), ns, name };
	_cleanup_obj_ const struct obj *present = NULL;
	struct api_request *rq;
	struct obj *o = NULL;

	TRY(store_get(b->s->store, &key, &present));
	if (present)
		return NULL;
	rq = request_local(b->s, b->a, res, &res->versions[res->storage], VERB_CREATE, ns, name);
	json_set_str(b->a, json_sub(b->a, obj, "metadata"), "name", name);
	if (!str_empty(ns))
		json_set_str(b->a, json_get(obj, "metadata"), "namespace", ns);
	object_default(rq, obj);
	metadata_stamp(rq, obj);
	if (res->strategy->prepare_create)
		TRY(res->strategy->prepare_create(rq, obj));
	TRY(object_make(rq, obj, &o));
	b->ops[b->n++] = (struct store_op){ .key = key, .put = o };
	return b->n == BATCH ? batch_flush(b) : NULL;
}

static const char *const namespaces[] = { "default", "kube-system", "kube-public",
					  "kube-node-lease" };

static struct err *bootstrap_namespaces(struct batch *b)
{
	for (size_t i = 0; i < ARRAY_LEN(namespaces); i++)
		TRY(batch_add(b, "namespaces", STR_EMPTY, str_from(namespaces[i]),
			      json_object(b->a)));
	return NULL;
}

static const struct {
	const char *name;
	int64_t value;
	const char *description;
} priorities[] = {
	{ "system-cluster-critical", 2000000000,
	  "Used for system critical pods that must run in the cluster, but can be moved to another "
	  "node if necessary." },
	{ "system-node-critical", 2000001000,
	  "Used for system critical pods that must not be moved from their current node." },
};

static struct err *bootstrap_priorities(struct batch *b)
{
	for (size_t i = 0; i < ARRAY_LEN(priorities); i++) {
		struct json *o = json_object(b->a);

		json_set_int(b->a, o, "value", priorities[i].value);
		json_set_str(b->a, o, "description", str_from(priorities[i].description));
		TRY(batch_add(b, "priorityclasses.scheduling.k8s.io", STR_EMPTY,
			      str_from(priorities[i].name), o));
	}
	return NULL;
}

static struct err *bootstrap_flows(struct batch *b)
{
	for (size_t i = 0; i < bootstrap_n_flow_objects(); i++) {
		const char *gr;
		struct str name;
		struct json *o = bootstrap_flow_object(b->a, i, wall_now(), &gr, &name);

		TRY(batch_add(b, gr, STR_EMPTY, name, o));
	}
	return NULL;
}

static struct err *bootstrap_service_cidr(struct batch *b)
{
	struct json *o = json_object(b->a);

	json_push(json_sub_array(b->a, json_sub(b->a, o, "spec"), "cidrs"),
		  json_str(b->a, b->s->opts.service_cidr));
	condition_set(b->a, json_sub(b->a, o, "status"), "Ready", "True", STR_EMPTY,
		      STR("Kubernetes default Service CIDR is ready"), wall_now());
	return batch_add(b, "servicecidrs.networking.k8s.io", STR_EMPTY, STR("kubernetes"), o);
}

/* What aggregated API servers need to know about us. */
static struct err *bootstrap_authentication(struct batch *b)
{
	struct json *o = json_object(b->a), *d = json_sub(b->a, o, "data");

	json_set_str(b->a, d, "client-ca-file", b->s->pki.ca_cert);
	json_set_str(b->a, d, "requestheader-client-ca-file", b->s->pki.proxy_ca_cert);
	json_set_str(b->a, d, "requestheader-allowed-names", STR("[\"front-proxy-client\"]"));
	json_set_str(b->a, d, "requestheader-username-headers", STR("[\"X-Remote-User\"]"));
	json_set_str(b->a, d, "requestheader-group-headers", STR("[\"X-Remote-Group\"]"));
	json_set_str(b->a, d, "requestheader-extra-headers-prefix", STR("[\"X-Remote-Extra-\"]"));
	return batch_add(b, "configmaps", STR("kube-system"),
			 STR("extension-apiserver-authentication"), o);
}

static struct err *bootstrap_batch(struct batch *b)
{
	TRY(bootstrap_namespaces(b));
	TRY(bootstrap_rbac(b));
	TRY(bootstrap_priorities(b));
	TRY(bootstrap_flows(b));
	TRY(bootstrap_service_cidr(b));
	TRY(bootstrap_authentication(b));
	return batch_flush(b);
}

/* the Service default/kubernetes and who is behind it */
static struct err *bootstrap_kubernetes_service(struct apiserver *s, struct arena *a)
{
	_cleanup_obj_ const struct obj *present = NULL;
	struct json *o = json_object(a), *spec, *port = json_object(a);

	TRY(local_get(s, "services", STR("default"), STR("kubernetes"), &present));
	if (present)
		return NULL;
	json_set_str(a, json_sub(a, o, "metadata"), "name", STR("kubernetes"));
	meta_set_label(a, o, "component", STR("apiserver"));
	meta_set_label(a, o, "provider", STR("kubernetes"));
	spec = json_sub(a, o, "spec");
	json_set_str(a, spec, "type", STR("ClusterIP"));
	json_set_str(a, spec, "clusterIP", service_cidr_first(a, s->opts.service_cidr));
	json_set_str(a, port, "name", STR("https"));
	json_set_str(a, port, "protocol", STR("TCP"));
	json_set_int(a, port, "port", 443);
	json_set_int(a, port, "targetPort", s->advertise_port);
	json_push(json_sub_array(a, spec, "ports"), port);
	return local_create(s, a, "services", STR("default"), o, NULL);
}

static struct json *kubernetes_slice(struct apiserver *s, struct arena *a)
{
	struct json *o = json_object(a), *meta = json_sub(a, o, "metadata");
	struct json *port = json_object(a), *ep = json_object(a);

	json_set_str(a, meta, "name", STR("kubernetes"));
	json_set_str(a, meta, "namespace", STR("default"));
	meta_set_label(a, o, "kubernetes.io/service-name", STR("kubernetes"));
	json_set_str(a, o, "addressType", STR("IPv4"));
	json_set_str(a, port, "name", STR("https"));
	json_set_str(a, port, "protocol", STR("TCP"));
	json_set_int(a, port, "port", s->advertise_port);
	json_push(json_sub_array(a, o, "ports"), port);
	json_push(json_sub_array(a, ep, "addresses"), json_str(a, s->advertise_ip));
	json_set_bool(a, json_sub(a, ep, "conditions"), "ready", true);
	json_push(json_sub_array(a, o, "endpoints"), ep);
	return o;
}

static struct err *bootstrap_kubernetes_slice(struct apiserver *s, struct arena *a)
{
	_cleanup_obj_ const struct obj *present = NULL;
	struct json *o = kubernetes_slice(s, a);

	TRY(local_get(s, "endpointslices.discovery.k8s.io", STR("default"), STR("kubernetes"),
		      &present));
	if (present)
		return local_update(s, a, "endpointslices.discovery.k8s.io", "", o, NULL);
	return local_create(s, a, "endpointslices.discovery.k8s.io", STR("default"), o, NULL);
}

/* The same in the older form. A loopback address has no place in Endpoints. */
static struct err *bootstrap_kubernetes_endpoints(struct apiserver *s, struct arena *a)
{
	_cleanup_obj_ const struct obj *present = NULL;
	struct json *o = json_object(a), *meta = json_sub(a, o, "metadata");
	struct json *port = json_object(a), *addr = json_object(a), *subset = json_object(a);

	if (str_has_prefix(s->advertise_ip, STR("127.")))
		return NULL;
	json_set_str(a, meta, "name", STR("kubernetes"));
	json_set_str(a, meta, "namespace", STR("default"));
	meta_set_label(a, o, "endpointslice.kubernetes.io/skip-mirror", STR("true"));
	json_set(a, addr, "ip", json_str(a, s->advertise_ip));
	json_push(json_sub_array(a, subset, "addresses"), addr);
	json_set_str(a, port, "name", STR("https"));
	json_set_int(a, port, "port", s->advertise_port);
	json_set_str(a, port, "protocol", STR("TCP"));
	json_push(json_sub_array(a, subset, "ports"), port);
	json_push(json_sub_array(a, o, "subsets"), subset);
	TRY(local_get(s, "endpoints", STR("default"), STR("kubernetes"), &present));
	if (present)
		return local_update(s, a, "endpoints", "", o, NULL);
	return local_create(s, a, "endpoints", STR("default"), o, NULL);
}

struct err *bootstrap_run(struct apiserver *s)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct batch *b = arena_new_obj(a, struct batch);

	b->s = s;
	b->a = a;
	TRY(bootstrap_batch(b));
	TRY(bootstrap_kubernetes_service(s, a));
	TRY(bootstrap_kubernetes_endpoints(s, a));
	return bootstrap_kubernetes_slice(s, a);
}
