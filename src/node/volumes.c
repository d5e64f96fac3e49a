/* SPDX-License-Identifier: Apache-2.0 */

#include "node/volumes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "api/meta.h"
#include "api/quantity.h"
#include "base/arena.h"
#include "base/err.h"
#include "io/fiber.h"
#include "io/file.h"
#include "node/agent.h"
#include "node/env.h"
#include "node/images.h"
#include "node/mount.h"

const struct volume *volume_find(const struct volume_set *set, struct str name)
{
	for (size_t i = 0; i < set->n; i++)
		if (str_eq(set->v[i].name, name))
			return &set->v[i];
	return NULL;
}

struct err *volume_dir(struct volume_ctx *ctx, const char *plugin, struct str name, struct str *ret)
{
	struct str pod = agent_pod_dir(ctx->agent, ctx->arena, meta_uid(ctx->pod));
	struct str dir = arena_fmt(ctx->arena, "%.*s/volumes/kubernetes.io~%s/%.*s", STR_ARG(pod),
				   plugin, STR_ARG(name));

	*ret = dir;
	if (access(dir.p, F_OK) == 0)
		return NULL;
	TRY(file_mkdir_p(dir.p, 0777));
	/* On a refresh an image is mounted there already, read-only. */
	if (chmod(dir.p, 0777) < 0 && errno != EROFS)
		return err_errno(errno, "chmod %s", dir.p);
	return NULL;
}

/* emptyDir */

static struct err *volume_own_by_group(struct volume_ctx *ctx, const char *dir)
{
	if (ctx->fs_group == (gid_t)-1)
		return NULL;
	if (chown(dir, (uid_t)-1, ctx->fs_group) < 0)
		return err_errno(errno, "chown %s", dir);
	return chmod(dir, 02777) < 0 ? err_errno(errno, "chmod %s", dir) : NULL;
}

static struct err *volume_empty_dir(struct volume_ctx *ctx, const struct json *source,
				    struct volume *v)
{
	struct str medium = json_str_at(source, "medium"), opts = STR("mode=0777");
	struct quantity size;

	TRY(volume_dir(ctx, "empty-dir", v->name, &v->path));
	if (str_eqz(medium, "Memory")) {
		if (quantity_parse(json_str_at(source, "sizeLimit"), &size) &&
		    quantity_value(size) > 0)
			opts = arena_fmt(ctx->arena, "mode=0777,size=%lld",
					 (long long)quantity_value(size));
		TRY(mount_tmpfs(ctx->arena, v->path, opts));
	} else if (str_has_prefix(medium, STR("HugePages"))) {
		return err_new(ERR_INVALID, "emptyDir medium %.*s is not supported by this node",
			       STR_ARG(medium));
	}
	return volume_own_by_group(ctx, v->path.p);
}

/* hostPath */

struct host_path_type {
	const char *name;
	mode_t fmt; /* 0: create_mode decides */
	const char *noun;
};

static const struct host_path_type host_path_types[] = {
	{ "Directory", S_IFDIR, "a directory" },
	{ "DirectoryOrCreate", S_IFDIR, "a directory" },
	{ "File", S_IFREG, "a file" },
	{ "FileOrCreate", S_IFREG, "a file" },
	{ "Socket", S_IFSOCK, "a socket file" },
	{ "CharDevice", S_IFCHR, "a character device" },
	{ "BlockDevice", S_IFBLK, "a block device" },
};

static struct err *host_path_create(struct str type, const char *path)
{
	int fd;

	if (str_eqz(type, "DirectoryOrCreate"))
		return file_mkdir_p(path, 0755);
	if (!str_eqz(type, "FileOrCreate"))
		return NULL;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
	if (fd < 0)
		return err_errno(errno, "create %s", path);
	close(fd);
	return NULL;
}

static struct err *volume_host_path(struct volume_ctx *ctx, const struct json *source,
				    struct volume *v)
{
	struct str type = json_str_at(source, "type");
	struct stat st;
	char *path;

	v->path = json_str_at(source, "path");
	path = arena_strz(ctx->arena, v->path);
	for (size_t i = 0; i < ARRAY_LEN(host_path_types); i++) {
		const struct host_path_type *t = &host_path_types[i];

		if (!str_eqz(type, t->name))
			continue;
		if (stat(path, &st) < 0) {
			TRY(host_path_create(type, path));
			if (stat(path, &st) < 0)
				return err_new(ERR_INVALID,
					       "hostPath type check failed: %s is not %s", path,
					       t->noun);
		}
		if ((st.st_mode & S_IFMT) != t->fmt)
			return err_new(ERR_INVALID, "hostPath type check failed: %s is not %s",
				       path, t->noun);
		return NULL;
	}
	if (type.n)
		return err_new(ERR_INVALID, "unknown hostPath type %.*s", STR_ARG(type));
	return NULL;
}

/* all of them */

static const struct {
	const char *member;
	volume_fn fn;
} volume_kinds[] = {
	{ "emptyDir", volume_empty_dir },
	{ "hostPath", volume_host_path },
	{ "configMap", volume_config_map },
	{ "secret", volume_secret },
	{ "downwardAPI", volume_downward },
	{ "projected", volume_projected },
	{ "persistentVolumeClaim", volume_claim },
	{ "ephemeral", volume_ephemeral },
	{ "image", volume_image },
};

static struct err *volume_set_up(struct volume_ctx *ctx, const struct json *vol, struct volume *v)
{
	v->name = json_str_at(vol, "name");
	for (size_t i = 0; i < ARRAY_LEN(volume_kinds); i++) {
		const struct json *source = json_get(vol, volume_kinds[i].member);

		if (source)
			return volume_kinds[i].fn(ctx, source, v);
	}
	if (json_len(vol) <= 1) /* no source at all means emptyDir */
		return volume_empty_dir(ctx, NULL, v);
	return err_new(ERR_INVALID, "no volume plugin matched");
}

struct err *volumes_set_up(struct volume_ctx *ctx, struct volume_set *ret)
{
	const struct json *vols = json_at(ctx->pod, "spec.volumes");
	struct volume_set set = { 0 };

	set.v = arena_array(ctx->arena, json_len(vols) + 1, sizeof(*set.v));
	json_for_each(it, vols)
	{
		struct err *e = volume_set_up(ctx, it.val, &set.v[set.n]);

		if (e)
			return err_wrap(e, "MountVolume.SetUp failed for volume \"%.*s\" ",
					STR_ARG(json_str_at(it.val, "name")));
		set.n++;
	}
	*ret = set;
	return NULL;
}

struct err *volumes_tear_down(struct agent *ag, struct arena *a, struct str uid)
{
	struct str dir = agent_pod_dir(ag, a, uid);

	images_unmount_below(ag->images, a, dir);
	mount_detach_below(a, dir);
	return file_remove_tree(dir.p);
}

/* subPath */

static int openat2_in(int dirfd, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = resolve };

	return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
}

/* Follows links inside the volume (configMap keys are links), never out of it. */
static int sub_path_open(int root, const char *path)
{
	return openat2_in(root, path, O_PATH, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

/* One directory more, entered through no link; a new one gets mode by its descriptor, since whoever
 * else has the volume may put a link in the name's place. */
static int sub_path_enter(int at, const char *name, mode_t mode)
{
	bool made = mkdirat(at, name, 0750) == 0;
	int fd, rc;

	if (!made && errno != EEXIST)
		return -1;
	fd = openat2_in(at, name, (made ? O_RDONLY : O_PATH) | O_DIRECTORY,
			RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
	if (fd < 0 || !made || fchmod(fd, mode) == 0)
		return fd;
	rc = errno;
	close(fd);
	errno = rc;
	return -1;
}

/* mkdir -p inside the volume, through no link; new directories get the volume's own mode. */
static struct err *sub_path_mkdir(struct arena *a, int root, struct str path)
{
	int at = fcntl(root, F_DUPFD_CLOEXEC, 0);
	struct str part;
	struct stat st;

	if (at < 0 || fstat(root, &st) < 0)
		return err_errno(errno, "stat a volume");
	while (str_split_next(&path, '/', &part)) {
		const char *z = arena_strz(a, part);
		int next, rc;

		if (!part.n || str_eqz(part, "."))
			continue;
		next = sub_path_enter(at, z, st.st_mode & 07777);
		rc = errno;
		close(at);
		if (next < 0)
			return err_errno(rc, "make directory %s", z);
		at = next;
	}
	close(at);
	return NULL;
}

static struct err *sub_path_target(const char *path, bool directory)
{
	char *slash = strrchr(path, '/');
	int fd;

	if (directory)
		return file_mkdir_p(path, 0750);
	*slash = '\0';
	TRY(file_mkdir_p(path, 0750));
	*slash = '/';
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0)
		return err_errno(errno, "create %s", path);
	close(fd);
	return NULL;
}

static struct err *sub_path_bind(struct volume_ctx *ctx, int root, struct str sub,
				 struct str target)
{
	int fd = sub_path_open(root, arena_strz(ctx->arena, sub));
	struct err *e;
	struct stat st;

	if (fd < 0 && errno == ENOENT) {
		TRY(sub_path_mkdir(ctx->arena, root, sub));
		fd = sub_path_open(root, arena_strz(ctx->arena, sub));
	}
	if (fd < 0)
		return err_errno(errno, "subPath '%.*s'", STR_ARG(sub));
	if (fstat(fd, &st) < 0) {
		close(fd);
		return err_errno(errno, "subPath '%.*s'", STR_ARG(sub));
	}
	e = sub_path_target(target.p, S_ISDIR(st.st_mode));
	if (!e)
		e = mount_bind_fd(fd, target.p);
	close(fd);
	return e;
}

struct err *volume_mount_source(struct volume_ctx *ctx, const struct volume *v,
				const struct json *container, const struct json *mount,
				size_t index, const struct env_list *env, struct str *ret)
{
	struct str sub = json_str_at(mount, "subPath"), expr = json_str_at(mount, "subPathExpr");
	struct str dir = agent_pod_dir(ctx->agent, ctx->arena, meta_uid(ctx->pod)), target;
	struct err *e;
	int root;

	if (expr.n)
		sub = env_expand(ctx->arena, env, expr);
	if (!sub.n) {
		*ret = v->path;
		return NULL;
	}
	if (sub.p[0] == '/')
		return err_new(ERR_INVALID, "subPath '%.*s' must be relative", STR_ARG(sub));
	target = arena_fmt(ctx->arena, "%.*s/volume-subpaths/%.*s/%.*s/%zu", STR_ARG(dir),
			   STR_ARG(v->name), STR_ARG(json_str_at(container, "name")), index);
	mount_detach_below(ctx->arena, target);
	root = open(arena_strz(ctx->arena, v->path), O_PATH | O_CLOEXEC);
	if (root < 0)
		return err_errno(errno, "open volume '%.*s'", STR_ARG(v->name));
	e = sub_path_bind(ctx, root, sub, target);
	close(root);
	TRY(e);
	*ret = target;
	return NULL;
}
