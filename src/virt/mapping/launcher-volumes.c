/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/mapping/launcher-volumes.h"

#include "api/meta.h"
#include "base/arena.h"
#include "virt/launcher-api.h"
#include "virt/mapping/align.h"
#include "virt/mapping/vmi.h"
#include "virt/names.h"
#include "json/json.h"

struct volumes {
	struct arena *a;
	struct json *pod, *mounts, *devices;
	const struct json *block_claims;
};

static const struct {
	const char *name, *path;
} directories[] = {
	{ LAUNCHER_VOL_PRIVATE, LAUNCHER_PRIVATE_DIR },
	{ LAUNCHER_VOL_PUBLIC, LAUNCHER_PUBLIC_DIR },
	{ LAUNCHER_VOL_EPHEMERAL, LAUNCHER_EPHEMERAL_DIR },
	{ LAUNCHER_VOL_LIBVIRT, LAUNCHER_LIBVIRT_DIR },
	{ LAUNCHER_VOL_SOCKETS, LAUNCHER_SOCKETS_DIR },
};

/* Sources that virt-launcher packs into an ISO: where it finds the files. */
static const struct {
	const char *source, *dir;
} packed[] = {
	{ "configMap", LAUNCHER_PRIVATE_DIR "/config-map/" },
	{ "secret", LAUNCHER_PRIVATE_DIR "/secret/" },
	{ "downwardAPI", LAUNCHER_PRIVATE_DIR "/downwardapi/" },
};

static void mount(struct volumes *v, struct str name, struct str path, bool read_only)
{
	struct json *m = json_object(v->a);

	json_set_str(v->a, m, "name", name);
	json_set_str(v->a, m, "mountPath", path);
	if (read_only)
		json_set_bool(v->a, m, "readOnly", true);
	json_push(v->mounts, m);
}

static struct json *volume(struct volumes *v, struct str name, const char *source)
{
	struct json *vol = json_object(v->a);

	json_set_str(v->a, vol, "name", name);
	json_push(v->pod, vol);
	return json_sub(v->a, vol, source);
}

static void add_directories(struct volumes *v)
{
	for (size_t i = 0; i < ARRAY_LEN(directories); i++) {
		struct str name = str_from(directories[i].name);

		volume(v, name, "emptyDir");
		mount(v, name, str_from(directories[i].path), false);
	}
}

static void add_claim(struct volumes *v, struct str name, const struct json *vol)
{
	struct json *d;

	if (!json_get_s(v->block_claims, vmi_volume_claim(vol))) {
		mount(v, name, arena_fmt(v->a, LAUNCHER_VMI_DISKS_DIR "/" STR_FMT, STR_ARG(name)),
		      false);
		return;
	}
	d = json_object(v->a);
	json_set_str(v->a, d, "name", name);
	json_set(v->a, d, "devicePath", json_strf(v->a, "/dev/" STR_FMT, STR_ARG(name)));
	json_push(v->devices, d);
}

static void add_secret_ref(struct volumes *v, struct str name, const struct json *ref,
			   const char *suffix)
{
	struct str secret = json_str_at(ref, "name");
	struct str full = arena_fmt(v->a, STR_FMT "-%s", STR_ARG(name), suffix);

	if (str_empty(secret))
		return;
	json_set_str(v->a, volume(v, full, "secret"), "secretName", secret);
	mount(v, full, arena_fmt(v->a, LAUNCHER_SECRET_DIR "/" STR_FMT, STR_ARG(full)), true);
}

/* A volume the alignment table knows: the Pod's form of it, and its mount. */
static void add_aligned(struct volumes *v, const struct json *vol, size_t i)
{
	struct json *src = json_copy(v->a, vol), *out;
	struct str name = json_str_at(vol, "name");

	if (json_get(vol, "emptyDisk"))
		return;
	out = align_volume(v->a, ALIGN_VM, src);
	if (!out)
		return;
	if (json_get(out, "emptyDir"))
		return;
	json_push(v->pod, out);
	if (json_get(vol, "containerDisk")) {
		mount(v, name, arena_fmt(v->a, LAUNCHER_IMAGE_VOLUMES_DIR "/disk_%zu", i), true);
		return;
	}
	if (json_get(out, "persistentVolumeClaim")) {
		add_claim(v, name, vol);
		return;
	}
	for (size_t k = 0; k < ARRAY_LEN(packed); k++) {
		if (json_get(out, packed[k].source))
			mount(v, name, arena_fmt(v->a, "%s" STR_FMT, packed[k].dir, STR_ARG(name)),
			      true);
	}
}

static void add_cloud_init(struct volumes *v, const struct json *vol)
{
	static const char *const sources[] = { "cloudInitNoCloud", "cloudInitConfigDrive" };
	struct str name = json_str_at(vol, "name");

	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		const struct json *s = json_get(vol, sources[i]);

		add_secret_ref(v, name, json_get(s, "secretRef"), "udata");
		add_secret_ref(v, name, json_get(s, "networkDataSecretRef"), "ndata");
	}
}

static void add_kernel_boot(struct volumes *v, const struct json *vmi)
{
	const struct json *c = json_at(vmi, "spec.domain.firmware.kernelBoot.container");
	struct str policy = json_str_at(c, "imagePullPolicy");
	struct json *image;

	if (!c)
		return;
	image = volume(v, STR("kernel-boot-volume"), "image");
	json_set_str(v->a, image, "reference", json_str_at(c, "image"));
	if (!str_empty(policy))
		json_set_str(v->a, image, "pullPolicy", policy);
	mount(v, STR("kernel-boot-volume"), STR(LAUNCHER_DIR_KERNEL_BOOT), true);
}

static void add_pull_secrets(struct arena *a, const struct json *vmi, struct json *spec)
{
	struct json *list = json_array(a);
	struct str kernel =
		json_str_at(vmi, "spec.domain.firmware.kernelBoot.container.imagePullSecret");

	json_for_each(it, json_at(vmi, "spec.volumes"))
	{
		struct str s = json_str_at(it.val, "containerDisk.imagePullSecret");

		if (str_empty(s) || json_find_by(list, "name", s))
			continue;
		json_push(list, json_object(a));
		json_set_str(a, json_idx(list, json_len(list) - 1), "name", s);
	}
	if (!str_empty(kernel) && !json_find_by(list, "name", kernel)) {
		json_push(list, json_object(a));
		json_set_str(a, json_idx(list, json_len(list) - 1), "name", kernel);
	}
	if (json_len(list))
		json_set(a, spec, "imagePullSecrets", list);
}

static void add_service_account(struct json *spec, const struct json *vmi, struct arena *a)
{
	json_for_each(it, json_at(vmi, "spec.volumes"))
	{
		struct str sa = json_str_at(it.val, "serviceAccount.serviceAccountName");

		if (!str_empty(sa) && !json_get(spec, "serviceAccountName"))
			json_set_str(a, spec, "serviceAccountName", sa);
	}
}

void launcher_volumes_add(struct arena *a, const struct json *vmi, const struct json *block_claims,
			  struct json *spec, struct json *container)
{
	struct volumes v = { a, json_array(a), json_array(a), json_array(a), block_claims };

	add_directories(&v);
	json_for_each(it, json_at(vmi, "spec.volumes"))
	{
		add_aligned(&v, it.val, it.i);
		add_cloud_init(&v, it.val);
	}
	add_kernel_boot(&v, vmi);
	add_pull_secrets(a, vmi, spec);
	add_service_account(spec, vmi, a);
	json_set(a, container, "volumeMounts", v.mounts);
	if (json_len(v.devices))
		json_set(a, container, "volumeDevices", v.devices);
	json_set(a, spec, "volumes", v.pod);
}

bool launcher_volumes_want_token(const struct json *vmi)
{
	json_for_each(it, json_at(vmi, "spec.volumes"))
	{
		if (json_get(it.val, "serviceAccount"))
			return true;
	}
	return false;
}
