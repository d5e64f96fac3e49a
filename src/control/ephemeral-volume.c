/* SPDX-License-Identifier: Apache-2.0 */

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/events.h"
#include "client/informer.h"
#include "client/rest.h"
#include "control/control.h"
#include "json/json.h"

/*
 * Generic ephemeral volumes: the claim `<pod>-<volume>` of a Pod's own, made from the volume's
 * template and gone with the Pod. Keys are Pods.
 */

struct ephemeral_volumes {
	struct control *control;
	struct controller *controller;
	struct informer *pods, *claims;
};

static struct json *ephemeral_make_claim(struct arena *a, const struct json *pod,
					 const struct json *volume, struct str name)
{
	static const char *const kept[] = { "labels", "annotations" };
	const struct json *template = json_at(volume, "ephemeral.volumeClaimTemplate");
	struct json *claim = json_object(a), *meta;

	json_set_str(a, claim, "apiVersion", STR("v1"));
	json_set_str(a, claim, "kind", STR("PersistentVolumeClaim"));
	meta = json_sub(a, claim, "metadata");
	json_set_str(a, meta, "name", name);
	json_set(a, meta, "namespace", json_strcpy(a, meta_namespace(pod)));
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		const struct json *v = json_get(json_get(template, "metadata"), kept[i]);

		if (v)
			json_set(a, meta, kept[i], json_copy(a, v));
	}
	meta_set_controller(a, claim, pod, STR("v1"), STR("Pod"));
	if (json_get(template, "spec"))
		json_set(a, claim, "spec", json_copy(a, json_get(template, "spec")));
	return claim;
}

static struct err *ephemeral_volume(struct ephemeral_volumes *ev, struct arena *a,
				    const struct json *pod, const struct json *volume)
{
	struct str name = arena_fmt(a, STR_FMT "-" STR_FMT, STR_ARG(meta_name(pod)),
				    STR_ARG(json_str_at(volume, "name")));
	const struct obj *claim = informer_find(ev->claims, meta_namespace(pod), name);
	struct err *e;

	if (claim && meta_controlled_by(obj_tree(claim), meta_uid(pod)))
		return NULL;
	if (claim)
		return err_new(ERR_CONFLICT,
			       "PVC " STR_FMT "/" STR_FMT " was not created for pod " STR_FMT
			       "/" STR_FMT " (pod is not owner)",
			       STR_ARG(meta_namespace(pod)), STR_ARG(name),
			       STR_ARG(meta_namespace(pod)), STR_ARG(meta_name(pod)));
	e = client_create(ev->control->client, a, gvr_persistentvolumeclaims, meta_namespace(pod),
			  ephemeral_make_claim(a, pod, volume, name), NULL);
	if (e && err_is(e, ERR_ALREADY_EXISTS)) {
		err_ignore(e, "the informer will show whose it is");
		return NULL;
	}
	return e && !control_ns_terminating(e) ? err_wrap(e, "create PVC " STR_FMT, STR_ARG(name))
					       : e;
}

static struct err *ephemeral_sync_pod(struct ephemeral_volumes *ev, struct arena *a,
				      const struct json *pod)
{
	json_for_each(it, json_at(pod, "spec.volumes"))
	{
		struct err *e;

		if (!json_get(it.val, "ephemeral"))
			continue;
		e = ephemeral_volume(ev, a, pod, it.val);
		if (!e)
			continue;
		if (control_ns_terminating(e)) {
			err_ignore(e, "nothing can be created there any more");
			return NULL;
		}
		event_record(ev->control->events, pod, STR("v1"), STR("Pod"), "Warning",
			     "FailedBinding", "ephemeral volume " STR_FMT ": " STR_FMT,
			     STR_ARG(json_str_at(it.val, "name")), STR_ARG(err_msg(e)));
		return err_wrap(e, "ephemeral volume " STR_FMT,
				STR_ARG(json_str_at(it.val, "name")));
	}
	return NULL;
}

static struct err *ephemeral_sync(void *ctx, struct arena *a, struct str key)
{
	struct ephemeral_volumes *ev = ctx;
	const struct obj *o = informer_find_key(ev->pods, key);

	if (!o || o->deleting)
		return NULL;
	return ephemeral_sync_pod(ev, a, json_copy(a, obj_tree(o)));
}

static void ephemeral_route_pod(struct controller *c, const struct obj *pod, void *ctx UNUSED)
{
	json_for_each(it, json_at(obj_tree(pod), "spec.volumes"))
	{
		if (json_get(it.val, "ephemeral")) {
			controller_enqueue_obj(c, pod);
			return;
		}
	}
}

void ephemeral_volume_start(struct control *c)
{
	static struct ephemeral_volumes ev;
	const struct controller_opts opts = {
		.name = "ephemeral-volume", .workers = 2, .sync = ephemeral_sync, .ctx = &ev
	};

	ev.control = c;
	ev.controller = controller_new(c->loop, &opts);
	ev.pods = control_informer(c, gvr_pods);
	ev.claims = control_informer(c, gvr_persistentvolumeclaims);
	controller_watch_fn(ev.controller, ev.pods, ephemeral_route_pod, NULL);
	controller_watch_owned(ev.controller, ev.claims, STR("Pod"));
	controller_start(ev.controller);
}
