/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/main.h"
#include "api/meta.h"
#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/log.h"
#include "client/component.h"
#include "client/controller.h"
#include "client/informer.h"
#include "client/rest.h"
#include "io/fiber.h"
#include "virt/names.h"
#include "virt/operator/certs.h"
#include "virt/operator/ensure.h"
#include "virt/operator/manifests.h"
#include "virt/version.h"
#include "json/json.h"

/*
 * virt-operator: installs what virtualization needs and keeps it installed. One controller over
 * KubeVirt objects; its sync brings every manifest, certificate and the status to their desired
 * state, on every change of the KubeVirt, and every few minutes.
 */

#define RESYNC_MS   (5 * 60 * 1000)
#define CRD_POLL_MS 20

static struct str opt_namespace = STR_INIT(VIRT_NAMESPACE_DEFAULT);
static struct str opt_address, opt_use_emulation;

struct virt_operator {
	struct client *client;
	struct informer *kubevirts;
	struct controller *controller;
};

/* manifests */

/* Fills in the two variables, wherever a string is exactly one of them. */
static void fill_in(struct arena *a, struct json *v, struct str bundle)
{
	json_for_each(it, v)
	{
		struct json *filled = NULL;

		if (!json_is(it.val, JSON_STR)) {
			fill_in(a, it.val, bundle);
			continue;
		}
		if (str_eqz(json_as_str(it.val), "$(NAMESPACE)"))
			filled = json_str(a, opt_namespace);
		else if (str_eqz(json_as_str(it.val), "$(CA_BUNDLE)"))
			filled = json_str(a, bundle);
		if (filled)
			json_set_s(a, v, it.key, filled);
	}
}

/* On a cluster virt-api is a Pod; as a host process it has an EndpointSlice instead. */
static void add_selector(struct arena *a, struct json *obj)
{
	if (str_eqz(json_str_at(obj, "kind"), "Service") && str_empty(opt_address))
		json_set_at(a, obj, "spec.selector", json_object(a)),
			json_set(a, json_at(obj, "spec.selector"), LABEL_VIRT,
				 json_strz(a, "virt-api"));
}

static struct err *ensure_manifest(struct client *c, struct arena *a, const struct manifest *m,
				   struct str bundle)
{
	struct json *obj = NULL;

	TRY(json_parse(a, m->json, &obj));
	fill_in(a, obj, bundle);
	add_selector(a, obj);
	meta_set_label(a, obj, "app.kubernetes.io/managed-by", STR("virt-operator"));
	return ensure_object(c, a, obj, NULL);
}

static bool is_crd(const struct manifest *m)
{
	return str_eqz(m->kind, "CustomResourceDefinition");
}

static struct err *ensure_manifests(struct client *c, bool crds, struct str bundle)
{
	for (size_t i = 0; i < virt_n_manifests; i++) {
		_cleanup_arena_ struct arena *a = arena_new();

		if (is_crd(&virt_manifests[i]) == crds)
			TRY(ensure_manifest(c, a, &virt_manifests[i], bundle));
	}
	return NULL;
}

static struct err *wait_established(struct client *c, struct str name)
{
	for (;;) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *crd = NULL;

		TRY(client_get(c, a, GVR_CRD, STR_EMPTY, name, &crd));
		if (condition_is_true(json_get(crd, "status"), "Established"))
			return NULL;
		TRY(fiber_sleep_ms(CRD_POLL_MS));
	}
}

static struct err *wait_crds(struct client *c)
{
	for (size_t i = 0; i < virt_n_manifests; i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *crd = NULL;

		if (!is_crd(&virt_manifests[i]))
			continue;
		TRY(json_parse(a, virt_manifests[i].json, &crd));
		TRY(wait_established(c, meta_name(crd)));
	}
	return NULL;
}

static struct err *ensure_namespace(struct client *c, struct arena *a)
{
	struct json *ns = json_object(a);

	json_set_str(a, ns, "apiVersion", STR("v1"));
	json_set_str(a, ns, "kind", STR("Namespace"));
	json_set_at(a, ns, "metadata.name", json_str(a, opt_namespace));
	meta_set_label(a, ns, "kubevirt.io", STR_EMPTY);
	return ensure_object(c, a, ns, NULL);
}

/* virt-api as a host process: the Service has no selector, the slice names the process. */
static struct err *ensure_endpoints(struct client *c, struct arena *a)
{
	struct json *slice, *ep, *port;
	struct str rest = opt_address, host;
	int64_t number;

	if (str_empty(opt_address))
		return NULL;
	str_cut(&rest, ':', &host);
	if (!str_to_i64(rest, &number))
		return err_new(ERR_INVALID, "--virt-api-address: '" STR_FMT "' is not IP:PORT",
			       STR_ARG(opt_address));
	slice = json_object(a);
	json_set_str(a, slice, "apiVersion", STR("discovery.k8s.io/v1"));
	json_set_str(a, slice, "kind", STR("EndpointSlice"));
	json_set_at(a, slice, "metadata.name", json_strz(a, "virt-api-host"));
	json_set_at(a, slice, "metadata.namespace", json_str(a, opt_namespace));
	meta_set_label(a, slice, "kubernetes.io/service-name", STR("virt-api"));
	meta_set_label(a, slice, "endpointslice.kubernetes.io/managed-by", STR("virt-operator"));
	json_set_str(a, slice, "addressType", STR("IPv4"));
	ep = json_object(a);
	json_push(json_sub_array(a, ep, "addresses"), json_str(a, host));
	json_set_at(a, ep, "conditions.ready", json_bool(a, true));
	json_push(json_sub_array(a, slice, "endpoints"), ep);
	port = json_object(a);
	json_set_str(a, port, "name", STR("https"));
	json_set_int(a, port, "port", number);
	json_set_str(a, port, "protocol", STR("TCP"));
	json_push(json_sub_array(a, slice, "ports"), port);
	return ensure_object(c, a, slice, NULL);
}

/* KubeVirt */

/* One of ours when the cluster has none; a KubeVirt somebody made is left as it is. */
static struct err *ensure_kubevirt(struct client *c, struct arena *a)
{
	struct json *list = NULL, *kv;

	TRY(client_list(c, a, GVR_KUBEVIRT, STR_EMPTY, STR_EMPTY, &list));
	if (json_len(json_get(list, "items")))
		return NULL;
	kv = json_object(a);
	json_set_str(a, kv, "apiVersion", STR(VIRT_API_VERSION));
	json_set_str(a, kv, "kind", STR("KubeVirt"));
	json_set_at(a, kv, "metadata.name", json_strz(a, "kubevirt"));
	json_set_at(a, kv, "metadata.namespace", json_str(a, opt_namespace));
	json_set_at(a, kv, "spec.configuration.network.defaultNetworkInterface",
		    json_strz(a, "masquerade"));
	json_set_at(a, kv, "spec.configuration.developerConfiguration.useEmulation",
		    json_bool(a, !str_empty(opt_use_emulation)));
	return client_create(c, a, GVR_KUBEVIRT, opt_namespace, kv, NULL);
}

static const char *own_architecture(void)
{
#if defined(__aarch64__)
	return "arm64";
#elif defined(__s390x__)
	return "s390x";
#else
	return "amd64";
#endif
}

static void fill_status(struct arena *a, struct json *kv, const struct err *failure)
{
	static const char *const versions[] = { "observedKubeVirtVersion", "targetKubeVirtVersion",
						"operatorVersion" };
	struct json *st = json_sub(a, kv, "status");
	struct wall now = wall_now();

	for (size_t i = 0; i < ARRAY_LEN(versions); i++)
		json_set_str(a, st, versions[i], STR(VIRT_VERSION));
	json_set_str(a, st, "defaultArchitecture", str_from(own_architecture()));
	json_set_int(a, st, "observedGeneration", json_int_at(kv, "metadata.generation", 0));
	json_set_str(a, st, "phase", failure ? STR("Deploying") : STR("Deployed"));
	condition_set(a, st, "Created", "True", STR("AllResourcesCreated"),
		      STR("All resources were created."), now);
	if (failure) {
		condition_set(a, st, "Available", "False", STR("DeploymentInProgress"),
			      err_msg(failure), now);
		condition_set(a, st, "Progressing", "True", STR("DeploymentInProgress"),
			      STR("Deploying"), now);
		condition_set(a, st, "Degraded", "True", STR("DeploymentInProgress"),
			      err_msg(failure), now);
		return;
	}
	condition_set(a, st, "Available", "True", STR("AllComponentsReady"),
		      STR("All components are ready."), now);
	condition_set(a, st, "Progressing", "False", STR("AllComponentsReady"),
		      STR("All components are ready."), now);
	condition_set(a, st, "Degraded", "False", STR("AllComponentsReady"),
		      STR("All components are ready."), now);
}

static struct err *install(struct client *c, struct arena *a)
{
	struct str bundle;

	TRY(ensure_namespace(c, a));
	TRY(ensure_manifests(c, true, STR_EMPTY));
	TRY(certs_ensure(c, a, opt_namespace, &bundle));
	TRY(ensure_manifests(c, false, base64_encode(a, bundle)));
	return ensure_endpoints(c, a);
}

static struct err *operator_sync(void *ctx, struct arena *a, struct str key)
{
	struct virt_operator *op = ctx;
	const struct obj *o = informer_find_key(op->kubevirts, key);
	struct json *kv = NULL, *before;
	struct err *e, *written = NULL;

	if (!o || o->deleting)
		return NULL;
	TRY(obj_parse(a, o, STR(VIRT_API_VERSION), STR("KubeVirt"), &kv));
	before = json_copy(a, json_get(kv, "status"));
	e = install(op->client, a);
	fill_status(a, kv, e);
	if (!json_equal(before, json_get(kv, "status")))
		written = client_update(op->client, a, GVR_KUBEVIRT, "status", kv, NULL);
	if (!e)
		return written;
	err_ignore(written, "the first error says more, and both are retried");
	return e;
}

/* The CRDs and the KubeVirt come first: without them there is nothing to watch. */
static struct err *bootstrap(struct client *c)
{
	_cleanup_arena_ struct arena *a = arena_new();

	TRY(ensure_namespace(c, a));
	TRY(ensure_manifests(c, true, STR_EMPTY));
	TRY(wait_crds(c));
	return ensure_kubevirt(c, a);
}

static struct err *bootstrap_retrying(struct client *c)
{
	int64_t ms = 100;

	for (;;) {
		struct err *e = bootstrap(c);

		if (!e || err_is(e, ERR_CANCELED))
			return e;
		err_log(NULL, LOG_WARN, "install failed, trying again", e);
		TRY(fiber_sleep_ms(ms));
		ms = MIN(ms * 2, 5000);
	}
}

static struct err *wait_for_end(void)
{
	for (;;)
		TRY(fiber_sleep_ms(INT64_C(3600) * 1000));
}

static struct err *run(struct client *c, void *ctx)
{
	struct virt_operator op = { .client = c };
	struct informer_opts iopts = { .gvr = GVR_KUBEVIRT, .resync_ms = RESYNC_MS };
	struct controller_opts copts = {
		.name = "kubevirt", .workers = 1, .sync = operator_sync, .ctx = &op
	};
	struct err *e;

	TRY(bootstrap_retrying(c));
	op.kubevirts = informer_new(fiber_loop(), c, &iopts);
	op.controller = controller_new(fiber_loop(), &copts);
	controller_watch(op.controller, op.kubevirts);
	controller_start(op.controller);
	e = wait_for_end();
	controller_free(op.controller);
	informer_free(op.kubevirts);
	return e;
}

int virt_operator_main(int argc, char **argv)
{
	static const struct component_flag flags[] = {
		{ "--namespace", "NAME", "where to install", &opt_namespace, false },
		{ "--virt-api-address", "IP:PORT", "virt-api runs on this host, not in Pods",
		  &opt_address, false },
		{ "--use-emulation", NULL, "a KubeVirt made by us allows VMs without KVM",
		  &opt_use_emulation, false },
		{ NULL },
	};
	const struct component comp = { .name = "virt-operator", .flags = flags, .run = run };

	return component_main(&comp, argc, argv);
}
