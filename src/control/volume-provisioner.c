/* SPDX-License-Identifier: Apache-2.0 */

#include "api/local-volume.h"
#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "client/controller.h"
#include "client/events.h"
#include "client/rest.h"
#include "control/control.h"
#include "control/volumes.h"
#include "io/fiber.h"
#include "json/json.h"

/*
 * The provisioner of the StorageClass `local`: for a claim and the node that the scheduler chose, a
 * PersistentVolume on that node (api/local-volume.h). It only writes objects; the node agent makes
 * the directory or file. Keys are claims. The StorageClass itself is made once, and not again when
 * an administrator deleted it while we ran.
 */

#define HOSTNAME_LABEL "kubernetes.io/hostname"

struct volume_provisioner {
	struct control *control;
	struct controller *controller;
	struct informer *claims, *volumes, *classes, *nodes;
};

static const struct json *provisioner_class(struct volume_provisioner *p, const struct json *claim)
{
	const struct obj *c = informer_find(p->classes, STR_EMPTY, volume_class(claim));

	if (!c ||
	    !str_eqz(json_as_str(json_get(obj_tree(c), "provisioner")), LOCAL_VOLUME_PROVISIONER))
		return NULL;
	return obj_tree(c);
}

static bool provisioner_first_ready(const struct obj *o, void *ctx)
{
	const struct obj **ret = ctx;

	if (json_bool_at(obj_tree(o), "spec.unschedulable", false) ||
	    !condition_is_true(json_get(obj_tree(o), "status"), "Ready"))
		return true;
	*ret = o;
	return false;
}

/* The node chosen for the claim, or any for a class that does not wait. */
static const struct obj *provisioner_node(struct volume_provisioner *p, const struct json *claim,
					  const struct json *class)
{
	struct str name = meta_annotation(claim, VOLUME_SELECTED_NODE);
	const struct obj *node = NULL;

	if (!str_empty(name))
		return informer_find(p->nodes, STR_EMPTY, name);
	if (!volume_class_waits(class))
		informer_each(p->nodes, STR_EMPTY, provisioner_first_ready, &node);
	return node;
}

static struct json *provisioner_affinity(struct arena *a, struct str hostname)
{
	struct json *affinity = json_object(a);
	struct json *expr = json_object(a);
	struct json *term = json_object(a);

	json_set_str(a, expr, "key", STR(HOSTNAME_LABEL));
	json_set_str(a, expr, "operator", STR("In"));
	json_push(json_sub_array(a, expr, "values"), json_strcpy(a, hostname));
	json_push(json_sub_array(a, term, "matchExpressions"), expr);
	json_push(json_sub_array(a, json_sub(a, affinity, "required"), "nodeSelectorTerms"), term);
	return affinity;
}

static struct json *provisioner_make(struct volume_provisioner *p, struct arena *a,
				     const struct json *claim, const struct json *class,
				     struct str hostname)
{
	struct json *pv = json_object(a);
	struct str name = arena_fmt(a, "pvc-" STR_FMT, STR_ARG(meta_uid(claim)));
	struct str policy = json_as_str(json_get(class, "reclaimPolicy"));
	struct str mode = json_str_at(claim, "spec.volumeMode");
	struct json *spec;
	bool block = str_eqz(mode, "Block");

	json_set_str(a, pv, "apiVersion", STR("v1"));
	json_set_str(a, pv, "kind", STR("PersistentVolume"));
	json_set_str(a, json_sub(a, pv, "metadata"), "name", name);
	meta_set_annotation(a, pv, LOCAL_VOLUME_ANNOTATION, STR(LOCAL_VOLUME_PROVISIONER));
	meta_add_finalizer(a, pv, STR(LOCAL_VOLUME_FINALIZER));
	spec = json_sub(a, pv, "spec");
	json_set(a, json_sub(a, spec, "capacity"), "storage",
		 json_copy(a, json_at(claim, "spec.resources.requests.storage")));
	json_set(a, spec, "accessModes", json_copy(a, json_at(claim, "spec.accessModes")));
	json_set(a, spec, "persistentVolumeReclaimPolicy",
		 json_strcpy(a, str_empty(policy) ? STR("Delete") : policy));
	json_set(a, spec, "storageClassName", json_strcpy(a, volume_class(claim)));
	json_set(a, spec, "volumeMode", json_strcpy(a, block ? mode : STR("Filesystem")));
	json_set(a, spec, "claimRef", volume_claim_ref(a, claim));
	json_set(a, json_sub(a, spec, "local"), "path",
		 json_strf(a, STR_FMT "/" STR_FMT "%s", STR_ARG(p->control->volume_dir),
			   STR_ARG(name), block ? ".img" : ""));
	json_set(a, spec, "nodeAffinity", provisioner_affinity(a, hostname));
	return pv;
}

static struct err *provisioner_create(struct volume_provisioner *p, struct arena *a,
				      const struct json *claim, const struct json *pv)
{
	struct err *e =
		client_create(p->control->client, a, gvr_persistentvolumes, STR_EMPTY, pv, NULL);

	if (e && err_is(e, ERR_ALREADY_EXISTS)) {
		err_ignore(e, "made by a sync before this one");
		return NULL;
	}
	if (e) {
		event_record(p->control->events, claim, STR("v1"), STR("PersistentVolumeClaim"),
			     "Warning", "ProvisioningFailed",
			     "failed to provision volume with StorageClass \"" STR_FMT
			     "\": " STR_FMT,
			     STR_ARG(volume_class(claim)), STR_ARG(err_msg(e)));
		return e;
	}
	event_record(p->control->events, claim, STR("v1"), STR("PersistentVolumeClaim"), "Normal",
		     "ProvisioningSucceeded", "Successfully provisioned volume " STR_FMT,
		     STR_ARG(meta_name(pv)));
	return NULL;
}

/* The chosen node is gone: the scheduler shall choose again. */
static struct err *provisioner_unselect(struct volume_provisioner *p, struct arena *a,
					const struct json *claim)
{
	struct json *patch = json_object(a);

	json_set(a, json_sub(a, json_sub(a, patch, "metadata"), "annotations"),
		 VOLUME_SELECTED_NODE, json_null(a));
	json_set_str(a, json_sub(a, patch, "metadata"), "resourceVersion", meta_rv(claim));
	return client_patch(p->control->client, a, gvr_persistentvolumeclaims,
			    meta_namespace(claim), meta_name(claim), NULL, CLIENT_PATCH_MERGE,
			    patch, NULL);
}

static struct err *provisioner_sync(void *ctx, struct arena *a, struct str key)
{
	struct volume_provisioner *p = ctx;
	const struct obj *o = informer_find_key(p->claims, key);
	const struct json *class;
	const struct obj *node;
	struct json *claim;
	struct str host;

	if (!o || o->deleting || !str_empty(json_str_at(obj_tree(o), "spec.volumeName")))
		return NULL;
	claim = json_copy(a, obj_tree(o));
	class = provisioner_class(p, claim);
	/* the binder asks for it once no present volume fits */
	if (!class ||
	    !str_eqz(meta_annotation(claim, VOLUME_PROVISIONER), LOCAL_VOLUME_PROVISIONER))
		return NULL;
	node = provisioner_node(p, claim, class);
	if (!node && !str_empty(meta_annotation(claim, VOLUME_SELECTED_NODE)))
		return provisioner_unselect(p, a, claim);
	if (!node)
		return NULL;
	host = obj_label(node, STR(HOSTNAME_LABEL));
	return provisioner_create(
		p, a, claim,
		provisioner_make(p, a, claim, class, str_empty(host) ? node->name : host));
}

/* the StorageClass */

static struct err *provisioner_make_class(struct volume_provisioner *p)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *class = json_object(a);
	struct err *e;

	json_set_str(a, class, "apiVersion", STR("storage.k8s.io/v1"));
	json_set_str(a, class, "kind", STR("StorageClass"));
	json_set_str(a, json_sub(a, class, "metadata"), "name", STR(LOCAL_VOLUME_CLASS));
	meta_set_annotation(a, class, "storageclass.kubernetes.io/is-default-class", STR("true"));
	json_set_str(a, class, "provisioner", STR(LOCAL_VOLUME_PROVISIONER));
	json_set_str(a, class, "reclaimPolicy", STR("Delete"));
	json_set_str(a, class, "volumeBindingMode", STR("WaitForFirstConsumer"));
	e = client_create(p->control->client, a, gvr_storageclasses, STR_EMPTY, class, NULL);
	if (e && err_is(e, ERR_ALREADY_EXISTS)) {
		err_ignore(e, "from an earlier start, perhaps changed since: left alone");
		return NULL;
	}
	return e;
}

static struct err *provisioner_class_fiber(void *arg)
{
	struct volume_provisioner *p = arg;

	for (;;) {
		struct err *e = provisioner_make_class(p);

		if (!e || err_is(e, ERR_CANCELED))
			return e;
		err_log(controller_log(p->controller), LOG_WARN,
			"StorageClass local not made, will be tried again", e);
		TRY(fiber_sleep_ms(2000));
	}
}

void volume_provisioner_start(struct control *c)
{
	static struct volume_provisioner p;
	const struct controller_opts opts = { .name = "volume-provisioner",
					      .sync = provisioner_sync,
					      .ctx = &p };

	p.control = c;
	p.claims = control_informer(c, gvr_persistentvolumeclaims);
	p.volumes = control_informer(c, gvr_persistentvolumes);
	p.classes = control_informer(c, gvr_storageclasses);
	p.nodes = control_informer(c, gvr_nodes);
	p.controller = controller_new(c->loop, &opts);
	controller_watch(p.controller, p.claims);
	controller_start(p.controller);
	fiber_unref(fiber_spawn(c->loop, "storage-class", provisioner_class_fiber, &p));
}
