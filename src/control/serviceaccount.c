/* SPDX-License-Identifier: Apache-2.0 */

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/rest.h"
#include "control/control.h"
#include "json/json.h"

/*
 * Every active namespace has the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`.
 * Both controllers are the same: an object of a fixed name wanted in each namespace. Keys are
 * namespaces.
 */

#define ROOT_CA_NAME "kube-root-ca.crt"
#define ROOT_CA_DESCRIPTION                                                                       \
	"Contains a CA bundle that can be used to verify the kube-apiserver when using internal " \
	"endpoints such as the internal service IP or kubernetes.default.svc. No other usage is " \
	"guaranteed across distributions of Kubernetes clusters."

struct per_namespace {
	struct control *control;
	const char *name; /* of the object */
	struct informer *namespaces, *objects;
	struct gvr gvr;
	struct json *(*make)(struct control *c, struct arena *a);
	/* Whether a present one is as it should be; NULL: any is. */
	bool (*good)(struct control *c, const struct json *obj);
};

static bool per_namespace_wanted(const struct per_namespace *p, struct str ns)
{
	const struct obj *o = informer_find(p->namespaces, STR_EMPTY, ns);

	return o && !o->deleting &&
	       !str_eqz(json_str_at(obj_tree(o), "status.phase"), "Terminating");
}

/* A namespace that is going takes nothing new, and one that is gone neither. */
static struct err *per_namespace_settle(struct err *e)
{
	if (e && (err_is(e, ERR_ALREADY_EXISTS) || err_is(e, ERR_NOT_FOUND) ||
		  control_ns_terminating(e))) {
		err_ignore(e, "there already, or nowhere to put it");
		return NULL;
	}
	return e;
}

static struct err *per_namespace_sync(void *ctx, struct arena *a, struct str ns)
{
	struct per_namespace *p = ctx;
	const struct obj *have = informer_find(p->objects, ns, str_from(p->name));
	struct json *want;

	if (!per_namespace_wanted(p, ns))
		return NULL;
	if (have && (!p->good || p->good(p->control, obj_tree(have))))
		return NULL;
	want = p->make(p->control, a);
	json_set_str(a, json_sub(a, want, "metadata"), "name", str_from(p->name));
	json_set_str(a, json_sub(a, want, "metadata"), "namespace", ns);
	if (!have)
		return per_namespace_settle(
			client_create(p->control->client, a, p->gvr, ns, want, NULL));
	return client_patch(p->control->client, a, p->gvr, ns, str_from(p->name), NULL,
			    CLIENT_PATCH_MERGE, want, NULL);
}

static void per_namespace_route(struct controller *c, const struct obj *o, void *ctx)
{
	const struct per_namespace *p = ctx;

	if (str_eqz(o->name, p->name))
		controller_enqueue(c, o->ns);
}

static void per_namespace_start(struct per_namespace *p, struct control *c, const char *name)
{
	const struct controller_opts opts = { .name = name, .sync = per_namespace_sync, .ctx = p };
	struct controller *ctl = controller_new(c->loop, &opts);

	p->control = c;
	p->namespaces = control_informer(c, gvr_namespaces);
	p->objects = control_informer(c, p->gvr);
	controller_watch(ctl, p->namespaces);
	controller_watch_fn(ctl, p->objects, per_namespace_route, p);
	controller_start(ctl);
}

/* ServiceAccount default */

static struct json *serviceaccount_make(struct control *c, struct arena *a)
{
	struct json *o = json_object(a);

	json_set_str(a, o, "apiVersion", STR("v1"));
	json_set_str(a, o, "kind", STR("ServiceAccount"));
	return o;
}

void serviceaccount_start(struct control *c)
{
	static struct per_namespace p = { .name = "default", .make = serviceaccount_make };

	p.gvr = gvr_serviceaccounts;
	per_namespace_start(&p, c, "serviceaccount");
}

/* ConfigMap kube-root-ca.crt */

static struct json *root_ca_make(struct control *c, struct arena *a)
{
	struct json *o = json_object(a);

	json_set_str(a, o, "apiVersion", STR("v1"));
	json_set_str(a, o, "kind", STR("ConfigMap"));
	meta_set_annotation(a, o, "kubernetes.io/description", STR(ROOT_CA_DESCRIPTION));
	json_set_str(a, json_sub(a, o, "data"), "ca.crt", client_ca_pem(c->client));
	return o;
}

static bool root_ca_good(struct control *c, const struct json *obj)
{
	return str_eq(json_as_str(json_get(json_get(obj, "data"), "ca.crt")),
		      client_ca_pem(c->client));
}

void root_ca_start(struct control *c)
{
	static struct per_namespace p = { .name = ROOT_CA_NAME,
					  .make = root_ca_make,
					  .good = root_ca_good };

	p.gvr = gvr_configmaps;
	per_namespace_start(&p, c, "root-ca");
}
