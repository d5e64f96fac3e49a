/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/storage/datavolume.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "client/controller.h"
#include "client/events.h"
#include "client/rest.h"
#include "io/http-client.h"
#include "virt/controller/virt-controller.h"
#include "virt/names.h"
#include "virt/storage/datavolume-plan.h"
#include "json/json.h"

#define DV_API        "cdi.kubevirt.io/v1beta1"
#define PROGRESS_MS   1000
#define DEFAULT_CLASS "storageclass.kubernetes.io/is-default-class"

struct datavolumes {
	struct virt_controller *vc;
	struct informer *pods, *classes;
	struct controller *controller;
};

struct dv_sync {
	struct datavolumes *d;
	struct arena *a;
	struct str key;
	struct json *dv;
	struct dv_world world;
};

#define dv_event(s, type, reason, ...)                                                          \
	event_record((s)->d->vc->events, (s)->dv, STR(DV_API), STR("DataVolume"), type, reason, \
		     __VA_ARGS__)

/* the world */

struct class_search {
	struct str name;
	const struct json *found;
};

static bool match_class(const struct obj *o, void *ctx)
{
	struct class_search *s = ctx;
	bool dflt = str_eqz(meta_annotation(obj_tree(o), DEFAULT_CLASS), "true");

	if (str_empty(s->name) ? !dflt : !str_eq(s->name, o->name))
		return true;
	s->found = obj_tree(o);
	return false;
}

static bool class_waits(struct dv_sync *s, struct str name)
{
	struct class_search search = { .name = name };

	informer_each(s->d->classes, STR_EMPTY, match_class, &search);
	return str_eqz(json_str_at(search.found, "volumeBindingMode"), "WaitForFirstConsumer");
}

static struct err *look(struct dv_sync *s)
{
	struct str ns = meta_namespace(s->dv), name = meta_name(s->dv);
	const struct obj *o = informer_find(s->d->vc->claims, ns, name);

	s->world.dv = s->dv;
	s->world.now = wall_now();
	if (o && !meta_controlled_by(obj_tree(o), meta_uid(s->dv)))
		return err_new(ERR_CONFLICT,
			       "Resource \"" STR_FMT
			       "\" already exists and is not managed by DataVolume",
			       STR_ARG(name));
	if (o)
		s->world.claim = json_copy(s->a, obj_tree(o));
	s->world.waits_for_consumer =
		class_waits(s, json_str_at(s->world.claim, "spec.storageClassName"));
	o = informer_find(s->d->pods, ns, dv_importer_name(s->a, name));
	if (o && meta_controlled_by(obj_tree(o), meta_uid(s->dv)))
		s->world.pod = json_copy(s->a, obj_tree(o));
	return NULL;
}

/* The last "progress N" line of the importer's log, as "N%". */
static void read_progress(struct dv_sync *s)
{
	struct http_client_response resp = { 0 };
	struct str path, line, last = STR_EMPTY;
	struct err *e;

	if (!s->world.pod ||
	    !json_at(json_idx(json_at(s->world.pod, "status.containerStatuses"), 0),
		     "state.running"))
		return;
	controller_enqueue_after(s->d->controller, s->key, PROGRESS_MS);
	path = client_path(s->a, GVR_POD, meta_namespace(s->dv), meta_name(s->world.pod), "log");
	path = arena_cat(s->a, path, STR("?tailLines=5"));
	e = client_raw_http(s->d->vc->client, s->a, "GET", path, NULL, STR_EMPTY, &resp);
	if (e || resp.status != 200) {
		err_ignore(e, "progress is only told, nothing depends on it");
		return;
	}
	while (str_split_next(&resp.body, '\n', &line)) {
		if (str_strip_prefix(&line, STR("progress ")))
			last = line;
	}
	if (!str_empty(last))
		s->world.progress = arena_fmt(s->a, STR_FMT "%%", STR_ARG(str_trim(last)));
}

/* acts */

static struct err *exists_is_fine(struct err *e)
{
	if (!err_is(e, ERR_ALREADY_EXISTS))
		return e;
	err_ignore(e, "our informer lags behind");
	return NULL;
}

static struct err *create_pod(struct dv_sync *s)
{
	struct virt_config cfg;

	virt_controller_config(s->d->vc, s->a, &cfg);
	TRY(exists_is_fine(client_create(s->d->vc->client, s->a, GVR_POD, meta_namespace(s->dv),
					 dv_make_importer(s->a, s->dv, cfg.launcher_image), NULL)));
	dv_event(s, "Normal", "ImportScheduled", "Import into " STR_FMT " scheduled",
		 STR_ARG(meta_name(s->dv)));
	return NULL;
}

static struct err *delete_pod(struct dv_sync *s)
{
	struct client_delete_opts opts = CLIENT_DELETE_DEFAULT;
	struct err *e;

	opts.uid = meta_uid(s->world.pod);
	e = client_delete(s->d->vc->client, s->a, GVR_POD, meta_namespace(s->dv),
			  meta_name(s->world.pod), &opts);
	if (!err_is(e, ERR_NOT_FOUND) && !err_is(e, ERR_CONFLICT))
		return e;
	err_ignore(e, "gone already");
	return NULL;
}

static struct err *act(struct dv_sync *s)
{
	switch (dv_decide(&s->world)) {
	case DV_CREATE_CLAIM:
		return exists_is_fine(client_create(s->d->vc->client, s->a, GVR_PVC,
						    meta_namespace(s->dv),
						    dv_make_claim(s->a, s->dv), NULL));
	case DV_CREATE_POD:
		return create_pod(s);
	case DV_DELETE_POD:
		return delete_pod(s);
	case DV_NONE:
		break;
	}
	return NULL;
}

static void tell_phase(struct dv_sync *s, struct str before)
{
	struct str phase = json_str_at(s->dv, "status.phase"), name = meta_name(s->dv);

	if (str_eq(before, phase))
		return;
	if (str_eqz(phase, "ImportInProgress"))
		dv_event(s, "Normal", "ImportInProgress", "Import into " STR_FMT " in progress",
			 STR_ARG(name));
	else if (str_eqz(phase, "Succeeded"))
		dv_event(s, "Normal", "ImportSucceeded", "Successfully imported into PVC " STR_FMT,
			 STR_ARG(name));
}

static struct err *refuse(struct dv_sync *s, struct err *e)
{
	dv_event(s, "Warning", "ErrResourceExists", STR_FMT, STR_ARG(err_msg(e)));
	return e;
}

static struct err *datavolume_sync(void *ctx, struct arena *a, struct str key)
{
	struct dv_sync s = { .d = ctx, .a = a, .key = key };
	const struct obj *o = informer_find_key(s.d->vc->datavolumes, key);
	struct json *before;
	struct err *e;

	if (!o)
		return NULL;
	TRY(virt_obj_parse(a, o, DV_API, "DataVolume", &s.dv));
	before = json_copy(a, json_get(s.dv, "status"));
	e = look(&s);
	if (e)
		return refuse(&s, e);
	read_progress(&s);
	/* the status first: once the importer is deleted nothing tells that it succeeded */
	dv_status_update(a, &s.world, s.dv);
	if (!json_equal(before, json_get(s.dv, "status"))) {
		e = client_update(s.d->vc->client, a, GVR_DATAVOLUME, "status", s.dv, NULL);
		if (err_is(e, ERR_CONFLICT) || err_is(e, ERR_NOT_FOUND)) {
			err_ignore(e, "somebody wrote first: look again");
			controller_enqueue_after(s.d->controller, key, 50);
			return NULL;
		}
		TRY(e);
		tell_phase(&s, json_str_at(before, "phase"));
	}
	return act(&s);
}

struct datavolumes *datavolumes_new(struct virt_controller *vc)
{
	struct informer_opts pods = { .gvr = GVR_POD,
				      .label_selector = STR("cdi.kubevirt.io=importer") };
	struct informer_opts classes = { .gvr = GVR_STORAGECLASS };
	struct datavolumes *d = mem_new(struct datavolumes);
	struct controller_opts opts = {
		.name = "datavolume", .sync = datavolume_sync, .ctx = d, .max_backoff_ms = 10000
	};

	d->vc = vc;
	d->pods = informer_new(vc->loop, vc->client, &pods);
	d->classes = informer_new(vc->loop, vc->client, &classes);
	d->controller = controller_new(vc->loop, &opts);
	controller_watch(d->controller, vc->datavolumes);
	controller_watch_owned(d->controller, vc->claims, STR("DataVolume"));
	controller_watch_owned(d->controller, d->pods, STR("DataVolume"));
	/* a class that comes later changes nothing that is not looked at again anyway */
	controller_start(d->controller);
	return d;
}

struct datavolumes *datavolumes_free(struct datavolumes *d)
{
	if (!d)
		return NULL;
	d->controller = controller_free(d->controller);
	d->pods = informer_free(d->pods);
	d->classes = informer_free(d->classes);
	free(d);
	return NULL;
}
