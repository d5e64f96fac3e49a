/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The launcher runs as uid 107 without capabilities. What it opens must be its own: the device
 * nodes the kubelet put into its container, and disk.img of its claims. All paths lead through the
 * container's root, which a tenant may have filled: no link is followed.
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "api/meta.h"
#include "api/quantity.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/rest.h"
#include "io/file.h"
#include "virt/handler/handler.h"
#include "virt/launcher-api.h"
#include "virt/mapping/vmi.h"
#include "virt/names.h"
#include "json/json.h"

static const struct {
	const char *path;
	unsigned major, minor;
} claims_devices[] = {
	{ "dev/kvm", 10, 232 },
	{ "dev/net/tun", 10, 200 },
	{ "dev/vhost-net", 10, 238 },
};

static struct err *claims_device(int root, size_t i)
{
	struct stat st;
	int fd;
	struct err *e = file_open_beneath(root, claims_devices[i].path,
					  O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, &fd);

	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "the Pod did not ask for it");
		return NULL;
	}
	TRY(e);
	if (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) &&
	    st.st_rdev == makedev(claims_devices[i].major, claims_devices[i].minor) &&
	    fchownat(fd, "", LAUNCHER_UID, LAUNCHER_UID, AT_EMPTY_PATH) < 0)
		e = err_errno(errno, "chown %s", claims_devices[i].path);
	close(fd);
	return e;
}

/* disks */

static struct err *claims_capacity(struct handler *h, struct arena *a, const struct json *vmi,
				   const struct json *volume, int64_t *ret)
{
	struct str name = json_str_at(volume, "name");
	const struct json *vs = json_find_by(json_at(vmi, "status.volumeStatus"), "name", name);
	struct str text = json_str_at(vs, "persistentVolumeClaimInfo.capacity.storage");
	double overhead = 0;
	struct json *pvc;
	struct quantity q;

	if (str_empty(text)) {
		TRY(client_get(h->client, a, GVR_PVC, meta_namespace(vmi), vmi_volume_claim(volume),
			       &pvc));
		text = json_str_at(pvc, "status.capacity.storage");
	}
	*ret = quantity_parse(text, &q) ? quantity_value(q) : 0;
	/* As upstream: what a file system may need for itself is left to it. */
	if (str_to_double(json_str_at(vs, "persistentVolumeClaimInfo.filesystemOverhead"),
			  &overhead) &&
	    overhead > 0 && overhead < 1)
		*ret = (int64_t)((double)*ret * (1 - overhead)) & ~(INT64_C(1024) * 1024 - 1);
	return NULL;
}

/* disk.img: made sparse when it is absent, and given to the launcher. One that is there is not
 * opened for real: a tenant may have put a device in its place. */
static struct err *claims_image(int dir, int64_t size)
{
	struct stat st;
	struct err *e = NULL;
	int fd = openat(dir, "disk.img", O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && size > 0) {
		fd = openat(dir, "disk.img", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			    0660);
		if (fd >= 0 && ftruncate(fd, size) < 0)
			e = err_errno(errno, "resize disk.img to %lld", (long long)size);
	}
	if (fd < 0)
		return err_errno(errno, "disk.img");
	if (!e && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)))
		e = err_new(ERR_INVALID, "disk.img is not a file");
	if (!e && st.st_uid != LAUNCHER_UID &&
	    fchownat(fd, "", LAUNCHER_UID, LAUNCHER_UID, AT_EMPTY_PATH) < 0)
		e = err_errno(errno, "chown disk.img");
	close(fd);
	return e;
}

static struct err *claims_volume(struct handler *h, struct arena *a, const struct json *vmi,
				 int root, const struct json *volume, struct json *sizes)
{
	struct str name = json_str_at(volume, "name");
	/* /var/run is a link to /run in the launcher's image. */
	const char *path = arena_fmt(a, "run/kubevirt-private/vmi-disks/" STR_FMT, STR_ARG(name)).p;
	int64_t size;
	struct err *e;
	int dir;

	TRY(claims_capacity(h, a, vmi, volume, &size));
	json_set_int(a, json_sub(a, sizes, arena_strz(a, name)), "size", size);
	e = file_open_beneath(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, &dir);
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "a block volume");
		return NULL;
	}
	TRY(e);
	e = claims_image(dir, size);
	close(dir);
	return err_wrap(e, "volume '" STR_FMT "'", STR_ARG(name));
}

struct err *claims_prepare(struct handler *h, struct arena *a, const struct json *vmi, int root,
			   struct json **ret_sizes)
{
	*ret_sizes = json_object(a);
	for (size_t i = 0; i < ARRAY_LEN(claims_devices); i++)
		TRY(claims_device(root, i));
	json_for_each(it, json_at(vmi, "spec.volumes"))
	{
		if (json_get(it.val, "persistentVolumeClaim") || json_get(it.val, "dataVolume"))
			TRY(claims_volume(h, a, vmi, root, it.val, *ret_sizes));
	}
	return NULL;
}
