/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/main.h"
#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/component.h"
#include "client/controller.h"
#include "client/events.h"
#include "client/replica-set.h"
#include "io/fiber.h"
#include "virt/controller/virt-controller.h"
#include "virt/names.h"
#include "virt/storage/datavolume.h"
#include "json/json.h"

static struct str opt_namespace = STR_INIT(VIRT_NAMESPACE_DEFAULT);
static struct str opt_image;

static bool first_object(const struct obj *o, void *ctx)
{
	*(const struct obj **)ctx = o;
	return false;
}

void virt_controller_config(const struct virt_controller *vc, struct arena *a,
			    struct virt_config *ret)
{
	const struct obj *o = NULL;

	informer_each(vc->kubevirts, STR_EMPTY, first_object, (void *)&o);
	virt_config_read(a, o ? json_copy(a, obj_tree(o)) : NULL, ret);
	if (!str_empty(vc->launcher_image))
		ret->launcher_image = vc->launcher_image;
}

struct err *virt_obj_parse(struct arena *a, const struct obj *o, const char *api_version,
			   const char *kind, struct json **ret)
{
	*ret = NULL;
	return o ? obj_parse(a, o, str_from(api_version), str_from(kind), ret) : NULL;
}

bool virt_mark_api_version(struct arena *a, struct json *obj)
{
	bool marked = str_eqz(meta_annotation(obj, ANNO_LATEST_API), "v1") &&
		      str_eqz(meta_annotation(obj, ANNO_STORAGE_API), "v1");

	if (marked)
		return false;
	meta_set_annotation(a, obj, ANNO_LATEST_API, STR("v1"));
	meta_set_annotation(a, obj, ANNO_STORAGE_API, STR("v1"));
	return true;
}

static void open_informers(struct virt_controller *vc)
{
	const struct {
		struct informer **inf;
		struct gvr gvr;
		const char *labels;
	} rows[] = {
		{ &vc->kubevirts, GVR_KUBEVIRT, "" },
		{ &vc->vms, GVR_VM, "" },
		{ &vc->vmis, GVR_VMI, "" },
		{ &vc->vmirs, GVR_VMIRS, "" },
		{ &vc->pods, GVR_POD, LABEL_VIRT "=virt-launcher" },
		{ &vc->nodes, GVR_NODE, "" },
		{ &vc->datavolumes, GVR_DATAVOLUME, "" },
		{ &vc->claims, GVR_PVC, "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct informer_opts opts = { .gvr = rows[i].gvr,
					      .label_selector = str_from(rows[i].labels),
					      .resync_ms = 5 * 60 * 1000 };

		*rows[i].inf = informer_new(vc->loop, vc->client, &opts);
	}
	vc->pods_by_owner = informer_add_index(vc->pods, informer_index_by_owner);
}

static void close_all(struct virt_controller *vc)
{
	struct informer **informers[] = {
		&vc->kubevirts, &vc->vms,   &vc->vmis,        &vc->vmirs,
		&vc->pods,      &vc->nodes, &vc->datavolumes, &vc->claims
	};

	vc->vm = controller_free(vc->vm);
	vc->vmi = controller_free(vc->vmi);
	vc->sets = replica_sets_free(vc->sets);
	vc->dvs = datavolumes_free(vc->dvs);
	vc->node = controller_free(vc->node);
	vc->events = event_recorder_free(vc->events);
	for (size_t i = 0; i < ARRAY_LEN(informers); i++)
		*informers[i] = informer_free(*informers[i]);
	expectations_fini(&vc->vm_expect);
	expectations_fini(&vc->vmi_expect);
}

/* Lookups across informers (a VMI's owner) need them all. */
static struct err *wait_synced(const struct virt_controller *vc)
{
	struct informer *const informers[] = {
		vc->kubevirts, vc->vms,   vc->vmis,        vc->vmirs,
		vc->pods,      vc->nodes, vc->datavolumes, vc->claims
	};

	for (size_t i = 0; i < ARRAY_LEN(informers); i++)
		TRY(informer_wait_synced(informers[i]));
	return NULL;
}

static struct err *serve(struct virt_controller *vc)
{
	TRY(wait_synced(vc));
	controller_start(vc->vm);
	controller_start(vc->vmi);
	controller_start(vc->node);
	for (;;)
		TRY(fiber_sleep_ms(INT64_C(3600) * 1000));
}

static struct err *run(struct client *c, void *ctx)
{
	struct virt_controller vc = {
		.loop = fiber_loop(),
		.client = c,
		.ns = opt_namespace,
		.launcher_image = opt_image,
	};
	struct err *e;

	vc.events = event_recorder_new(vc.loop, c, "virtualmachine-controller", STR_EMPTY);
	open_informers(&vc);
	vm_controller_init(&vc);
	vmi_controller_init(&vc);
	vmirs_controller_init(&vc);
	vc.dvs = datavolumes_new(&vc);
	node_controller_init(&vc);
	e = serve(&vc);
	close_all(&vc);
	return e;
}

int virt_controller_main(int argc, char **argv)
{
	static const struct component_flag flags[] = {
		{ "--namespace", "NAME", "where the virtualization components live", &opt_namespace,
		  false },
		{ "--launcher-image", "REF", "image of the launcher Pods", &opt_image, false },
		{ NULL },
	};
	const struct component comp = { .name = "virt-controller", .flags = flags, .run = run };

	return component_main(&comp, argc, argv);
}
