/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/launcher/disks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "api/quantity.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "io/file.h"
#include "io/process.h"
#include "virt/launcher-api.h"
#include "virt/launcher/cloudinit.h"
#include "virt/launcher/iso9660.h"
#include "virt/launcher/vm.h"
#include "json/json.h"

#define DISKS_MAX_DATA (8 * 1024 * 1024)

const struct disks_dirs disks_default_dirs = {
	.private_dir = LAUNCHER_PRIVATE_DIR,
	.ephemeral_dir = LAUNCHER_EPHEMERAL_DIR,
	.libvirt_dir = LAUNCHER_LIBVIRT_DIR,
	.image_volumes_dir = LAUNCHER_IMAGE_VOLUMES_DIR,
	.dev_dir = "/dev",
	.qemu_img = "/usr/bin/qemu-img",
};

struct disks {
	struct arena *a;
	const struct disks_dirs *dirs;
	struct vm *vm;
	const struct json *sizes;
};

static void disks_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define _cleanup_fd_ _cleanup_(disks_closep)

/* paths inside images, which a tenant made: symbolic links are followed, but never out of root */
static struct err *disks_open_in(const char *root, struct str path, int flags, int *ret)
{
	_cleanup_fd_ int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char z[4096];
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};

	if (dir < 0)
		return err_errno(errno, "open %s", root);
	if (path.n >= sizeof(z))
		return err_new(ERR_INVALID, "a path of %zu bytes", path.n);
	memcpy(z, path.p, path.n);
	z[path.n] = '\0';
	*ret = (int)syscall(SYS_openat2, dir, z, &how, sizeof(how));
	if (*ret < 0)
		return err_errno(errno, "open '" STR_FMT "' of the image", STR_ARG(path));
	return NULL;
}

/* The path of a regular file in an image, links resolved. */
static struct err *disks_resolve(struct arena *a, const char *root, struct str path,
				 struct str *ret)
{
	_cleanup_fd_ int fd = -1;
	struct stat st;
	char link[64], real[4096];
	ssize_t n;

	TRY(disks_open_in(root, path, O_RDONLY | O_NONBLOCK, &fd));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_new(ERR_INVALID, "'" STR_FMT "' of the image is not a file",
			       STR_ARG(path));
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, real, sizeof(real));
	if (n < 0 || n == sizeof(real))
		return err_new(ERR_IO, "cannot tell the path of '" STR_FMT "'", STR_ARG(path));
	*ret = arena_str(a, str_make(real, (size_t)n));
	*ret = str_from(arena_strz(a, *ret));
	return NULL;
}

/* The only file below /disk, as upstream finds it. */
static struct err *disks_find_only(struct arena *a, const char *root, struct str *ret)
{
	_cleanup_fd_ int fd = -1;
	struct str found = STR_EMPTY;
	struct dirent *de;
	unsigned n = 0;
	DIR *d;

	TRY(disks_open_in(root, STR("disk"), O_RDONLY | O_DIRECTORY, &fd));
	d = fdopendir(TAKE_FD(fd));
	if (!d)
		return err_errno(errno, "list /disk of the image");
	while ((de = readdir(d))) {
		if (de->d_name[0] == '.')
			continue;
		n++;
		found = arena_fmt(a, "disk/%s", de->d_name);
	}
	closedir(d);
	if (n != 1)
		return err_new(
			ERR_INVALID,
			"found %u files in /disk of the image, there must be one (or set path)", n);
	*ret = found;
	return NULL;
}

static bool disks_is_qcow2(const char *path)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char magic[4];

	return fd >= 0 && pread(fd, magic, 4, 0) == 4 && memcmp(magic, "QFI\xfb", 4) == 0;
}

static bool disks_direct_works(const char *path)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC | O_NONBLOCK);

	return fd >= 0;
}

static struct vm_image *disks_image(struct disks *ds, struct str path, const char *format,
				    bool readonly)
{
	struct vm_image *img = arena_new_obj(ds->a, struct vm_image);

	img->path = str_from(arena_strz(ds->a, path));
	img->format = str_from(format);
	img->readonly = readonly;
	return img;
}

/* Cache mode as upstream: none where O_DIRECT works, else writethrough. */
static struct err *disks_cache(struct vm_disk *d, struct vm_image *img)
{
	bool direct = disks_direct_works(img->path.p);

	if (str_eqz(d->cache, "none") && !direct)
		return err_new(ERR_INVALID,
			       "disk '" STR_FMT "': cache none, but its storage has no direct I/O",
			       STR_ARG(d->name));
	if (str_empty(d->cache))
		d->cache = direct ? STR("none") : STR("writethrough");
	img->direct = str_eqz(d->cache, "none");
	return NULL;
}

static struct err *disks_mkparent(struct disks *ds, struct str path)
{
	size_t end = path.n;

	while (end > 0 && path.p[end - 1] != '/')
		end--;
	return file_mkdir_p(arena_strz(ds->a, str_sub(path, 0, end - (end > 1))), 0755);
}

/* A qcow2 overlay of backing, in the Pod's ephemeral directory. */
static struct err *disks_overlay(struct disks *ds, struct vm_disk *d, struct vm_image *backing)
{
	struct str path = arena_fmt(ds->a, "%s/disk-data/" STR_FMT "/disk.qcow2",
				    ds->dirs->ephemeral_dir, STR_ARG(d->name));
	const char *argv[] = {
		ds->dirs->qemu_img, "create", "-q", "-f", "qcow2", "-F", backing->format.p, "-b",
		backing->path.p,    path.p,   NULL
	};
	struct str out;

	TRY(disks_mkparent(ds, path));
	if (unlink(path.p) < 0 && errno != ENOENT)
		return err_errno(errno, "remove %s", path.p);
	TRY(process_run(ds->a, argv, STR_EMPTY, 65536, &out));
	d->image = disks_image(ds, path, "qcow2", false);
	d->image->backing = backing;
	return disks_cache(d, d->image);
}

static struct err *disks_container_disk(struct disks *ds, struct vm_disk *d, const struct json *src)
{
	struct str root =
		arena_fmt(ds->a, "%s/disk_%zu", ds->dirs->image_volumes_dir, d->volume_index);
	struct str inside = json_str_at(src, "path"), path;

	if (str_empty(inside))
		TRY(disks_find_only(ds->a, root.p, &inside));
	TRY(disks_resolve(ds->a, root.p, inside, &path));
	return disks_overlay(ds, d,
			     disks_image(ds, path, disks_is_qcow2(path.p) ? "qcow2" : "raw", true));
}

/* disk.img of a claim: made sparse, at the claim's size, when it is not there. */
static struct err *disks_claim_file(struct disks *ds, struct vm_disk *d, struct str path,
				    bool readonly)
{
	int64_t size = json_as_int(json_get(json_get_s(ds->sizes, d->name), "size"), 0);
	_cleanup_fd_ int fd = -1;
	struct stat st;

	if (lstat(path.p, &st) == 0) {
		if (!S_ISREG(st.st_mode))
			return err_new(ERR_INVALID, "%s is not a file", path.p);
		return NULL;
	}
	if (errno != ENOENT)
		return err_errno(errno, "%s", path.p);
	if (readonly || size <= 0)
		return err_new(ERR_NOT_FOUND, "volume '" STR_FMT "' has no disk.img",
			       STR_ARG(d->name));
	fd = open(path.p, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0660);
	if (fd < 0)
		return err_errno(errno, "create %s", path.p);
	if (ftruncate(fd, size) < 0)
		return err_errno(errno, "resize %s to %lld", path.p, (long long)size);
	return NULL;
}

static struct err *disks_claim_image(struct disks *ds, struct vm_disk *d, bool readonly,
				     struct vm_image **ret)
{
	struct str dev = arena_fmt(ds->a, "%s/" STR_FMT, ds->dirs->dev_dir, STR_ARG(d->name));
	struct str file = arena_fmt(ds->a, "%s/vmi-disks/" STR_FMT "/disk.img",
				    ds->dirs->private_dir, STR_ARG(d->name));
	struct stat st;

	if (stat(dev.p, &st) == 0 && S_ISBLK(st.st_mode)) {
		*ret = disks_image(ds, dev, "raw", readonly);
		(*ret)->block_device = true;
		return NULL;
	}
	TRY(disks_claim_file(ds, d, file, readonly));
	*ret = disks_image(ds, file, "raw", readonly);
	return NULL;
}

static struct err *disks_claim(struct disks *ds, struct vm_disk *d, const struct json *src)
{
	bool readonly = d->readonly || vm_flag(src, "readOnly", false);

	TRY(disks_claim_image(ds, d, readonly, &d->image));
	d->readonly = readonly;
	return disks_cache(d, d->image);
}

static struct err *disks_ephemeral(struct disks *ds, struct vm_disk *d, const struct json *src)
{
	struct vm_image *backing;

	TRY(disks_claim_image(ds, d, true, &backing));
	return disks_overlay(ds, d, backing);
}

static struct err *disks_empty(struct disks *ds, struct vm_disk *d, const struct json *src)
{
	struct str path = arena_fmt(ds->a, "%s/empty-disks/" STR_FMT ".qcow2",
				    ds->dirs->libvirt_dir, STR_ARG(d->name));
	struct quantity q;
	struct str size, out;

	if (!quantity_parse(json_str_at(src, "capacity"), &q) || quantity_value(q) <= 0)
		return err_new(ERR_INVALID, "volume '" STR_FMT "': bad capacity", STR_ARG(d->name));
	size = arena_fmt(ds->a, "%lld", (long long)quantity_value(q));
	const char *argv[] = {
		ds->dirs->qemu_img, "create", "-q", "-f", "qcow2", path.p, size.p, NULL
	};

	TRY(disks_mkparent(ds, path));
	TRY(process_run(ds->a, argv, STR_EMPTY, 65536, &out));
	d->image = disks_image(ds, path, "qcow2", d->readonly);
	return disks_cache(d, d->image);
}

/* ISOs */

static struct err *disks_store_iso(struct disks *ds, struct vm_disk *d, struct str path,
				   const struct buf *iso)
{
	TRY(disks_mkparent(ds, path));
	TRY(file_write_atomic(path.p, buf_str(iso), 0640));
	d->image = disks_image(ds, path, "raw", true);
	d->readonly = true;
	return NULL;
}

static struct err *disks_cloudinit(struct disks *ds, struct vm_disk *d, const struct json *src,
				   bool config_drive)
{
	_cleanup_buf_ struct buf iso = { 0 };
	struct str secrets = arena_fmt(ds->a, "%s/secret", ds->dirs->private_dir);

	TRY(cloudinit_iso(ds->a, ds->vm, d->name, src, config_drive, secrets.p, &iso));
	return disks_store_iso(ds, d,
			       arena_fmt(ds->a, "%s/cloud-init-data/" STR_FMT "/" STR_FMT "/%s",
					 ds->dirs->ephemeral_dir, STR_ARG(ds->vm->ns),
					 STR_ARG(ds->vm->name),
					 config_drive ? "configdrive.iso" : "noCloud.iso"),
			       &iso);
}

static struct err *disks_nocloud(struct disks *ds, struct vm_disk *d, const struct json *src)
{
	return disks_cloudinit(ds, d, src, false);
}

static struct err *disks_configdrive(struct disks *ds, struct vm_disk *d, const struct json *src)
{
	return disks_cloudinit(ds, d, src, true);
}

/* Files of a mounted ConfigMap, Secret, ...: the visible ones, not the kubelet's ..data links. */
static struct err *disks_read_dir(struct disks *ds, const char *path, struct iso_file *files,
				  size_t *ret_n)
{
	DIR *d = opendir(path);
	struct dirent *de;
	size_t n = 0, total = 0;
	struct err *e = NULL;

	if (!d)
		return err_errno(errno, "list %s", path);
	while (!e && (de = readdir(d)) && n < ISO_MAX_FILES) {
		if (de->d_name[0] == '.')
			continue;
		files[n].path = str_from(arena_strz(ds->a, str_from(de->d_name)));
		e = file_read(ds->a, arena_fmt(ds->a, "%s/%s", path, de->d_name).p,
			      DISKS_MAX_DATA - total, &files[n].data);
		total += e ? 0 : files[n++].data.n;
	}
	closedir(d);
	*ret_n = n;
	return e;
}

static struct err *disks_dir_iso(struct disks *ds, struct vm_disk *d, const char *from,
				 const char *to, struct str label)
{
	struct iso_file *files = arena_array(ds->a, ISO_MAX_FILES, sizeof(*files));
	_cleanup_buf_ struct buf iso = { 0 };
	size_t n;

	TRY(disks_read_dir(
		ds,
		arena_fmt(ds->a, "%s/%s/" STR_FMT, ds->dirs->private_dir, from, STR_ARG(d->name)).p,
		files, &n));
	TRY(iso_write(ds->a, str_empty(label) ? STR("cfgdata") : label, files, n, &iso));
	return disks_store_iso(ds, d,
			       arena_fmt(ds->a, "%s/%s/" STR_FMT ".iso", ds->dirs->private_dir, to,
					 STR_ARG(d->name)),
			       &iso);
}

static struct err *disks_config_map(struct disks *ds, struct vm_disk *d, const struct json *src)
{
	return disks_dir_iso(ds, d, "config-map", "config-map-disks",
			     json_str_at(src, "volumeLabel"));
}

static struct err *disks_secret(struct disks *ds, struct vm_disk *d, const struct json *src)
{
	return disks_dir_iso(ds, d, "secret", "secret-disks", json_str_at(src, "volumeLabel"));
}

static struct err *disks_downward(struct disks *ds, struct vm_disk *d, const struct json *src)
{
	return disks_dir_iso(ds, d, "downwardapi", "downwardapi-disks",
			     json_str_at(src, "volumeLabel"));
}

static struct err *disks_account(struct disks *ds, struct vm_disk *d, const struct json *src)
{
	return disks_dir_iso(ds, d, "service-account", "service-account-disk", STR_EMPTY);
}

static const struct {
	const char *source;
	struct err *(*prepare)(struct disks *ds, struct vm_disk *d, const struct json *src);
} disks_sources[] = {
	{ "containerDisk", disks_container_disk },
	{ "persistentVolumeClaim", disks_claim },
	{ "dataVolume", disks_claim },
	{ "ephemeral", disks_ephemeral },
	{ "emptyDisk", disks_empty },
	{ "cloudInitNoCloud", disks_nocloud },
	{ "cloudInitConfigDrive", disks_configdrive },
	{ "configMap", disks_config_map },
	{ "secret", disks_secret },
	{ "downwardAPI", disks_downward },
	{ "serviceAccount", disks_account },
};

static struct err *disks_prepare_one(struct disks *ds, struct vm_disk *d)
{
	for (size_t i = 0; i < ARRAY_LEN(disks_sources); i++) {
		const struct json *src = json_get(d->volume, disks_sources[i].source);

		if (src)
			return err_wrap(disks_sources[i].prepare(ds, d, src),
					"volume '" STR_FMT "'", STR_ARG(d->name));
	}
	return err_new(ERR_INVALID,
		       "volume '" STR_FMT "' has a source this launcher does not support",
		       STR_ARG(d->name));
}

static struct err *disks_kernel(struct disks *ds)
{
	const struct json *c = json_at(ds->vm->domain, "firmware.kernelBoot.container");
	struct str root = arena_fmt(ds->a, "%s/kernel-boot", ds->dirs->image_volumes_dir);
	struct str kernel = json_str_at(c, "kernelPath"), initrd = json_str_at(c, "initrdPath");

	if (!c)
		return NULL;
	if (!str_empty(kernel))
		TRY(err_wrap(disks_resolve(ds->a, root.p, kernel, &ds->vm->kernel), "kernelBoot"));
	if (!str_empty(initrd))
		TRY(err_wrap(disks_resolve(ds->a, root.p, initrd, &ds->vm->initrd), "kernelBoot"));
	return NULL;
}

struct err *disks_prepare(struct arena *a, const struct disks_dirs *dirs, struct vm *vm,
			  const struct json *sizes)
{
	struct disks ds = { .a = a, .dirs = dirs, .vm = vm, .sizes = sizes };

	TRY(disks_kernel(&ds));
	for (size_t i = 0; i < vm->n_disks; i++)
		TRY(disks_prepare_one(&ds, &vm->disks[i]));
	return NULL;
}
