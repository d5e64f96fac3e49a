/* SPDX-License-Identifier: Apache-2.0 */
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rand.h"

/* How deep file_remove_tree recurses before it flattens what is below. */
#define REMOVE_DEPTH 32

static void file_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
#define _cleanup_fd_ _cleanup_(file_closep)

/* reading */

static struct err *file_read_fd(struct arena *a, int fd, const char *path, size_t max,
				struct str *ret)
{
	_cleanup_free_ char *p = NULL;
	size_t n = 0, cap;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(errno, "stat %s", path);
	/* Files of proc and sys say 0; one byte more than the size sees the end at once. */
	cap = st.st_size > 0 ? MIN((size_t)st.st_size, max) + 1 : MIN((size_t)4096, max + 1);
	p = mem_alloc(cap);
	for (;;) {
		ssize_t r = read(fd, p + n, cap - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_errno(errno, "read %s", path);
		if (r == 0)
			break;
		n += (size_t)r;
		if (n > max)
			return err_new(ERR_TOO_LARGE, "%s is larger than %zu bytes", path, max);
		if (n == cap) {
			cap = MIN(2 * cap, max + 1);
			p = mem_realloc(p, cap, 1);
		}
	}
	*ret = str_from(arena_strz(a, str_make(p, n)));
	ret->n = n;
	return NULL;
}

struct err *file_read_at(struct arena *a, int dirfd, const char *path, size_t max, struct str *ret)
{
	_cleanup_fd_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return err_errno(errno, "open %s", path);
	return file_read_fd(a, fd, path, max, ret);
}

struct err *file_read(struct arena *a, const char *path, size_t max, struct str *ret)
{
	return file_read_at(a, AT_FDCWD, path, max, ret);
}

/* writing */

struct err *file_write_all(int fd, struct str data)
{
	while (data.n) {
		ssize_t n = write(fd, data.p, data.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(errno, "write");
		data = str_skip(data, (size_t)n);
	}
	return NULL;
}

static struct err *file_sync_parent(const char *path)
{
	_cleanup_free_ char *dir = mem_strdup(str_from(path));
	char *slash = strrchr(dir, '/');
	_cleanup_fd_ int fd = -1;

	if (slash)
		slash[slash == dir] = 0;
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_errno(errno, "sync the directory of %s", path);
	return NULL;
}

static struct err *file_write_new(const char *path, struct str data, mode_t mode)
{
	_cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct err *e;

	if (fd < 0)
		return err_errno(errno, "create %s", path);
	e = file_write_all(fd, data);
	if (e)
		return err_wrap(e, "%s", path);
	/* Not by open's mode: the umask is not what the caller means. */
	if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
		return err_errno(errno, "sync %s", path);
	return NULL;
}

struct err *file_write_atomic(const char *path, struct str data, mode_t mode)
{
	_cleanup_free_ char *tmp = NULL;
	struct err *e;

	tmp = mem_fmt("%s.tmp-%08x", path, (unsigned)rand_below(UINT32_MAX));
	e = file_write_new(tmp, data, mode);
	if (!e && rename(tmp, path) < 0)
		e = err_errno(errno, "rename %s to %s", tmp, path);
	if (e) {
		unlink(tmp);
		return e;
	}
	return file_sync_parent(path);
}

struct err *file_mkdir_p(const char *path, mode_t mode)
{
	_cleanup_free_ char *p = mem_strdup(str_from(path));
	struct stat st;

	for (char *slash = p; (slash = strchr(slash + 1, '/'));) {
		*slash = 0;
		if (mkdir(p, 0755) < 0 && errno != EEXIST)
			return err_errno(errno, "make directory %s", p);
		*slash = '/';
	}
	if (mkdir(p, mode) == 0) {
		if (chmod(p, mode) < 0)
			return err_errno(errno, "change the mode of %s", path);
		return NULL;
	}
	if (errno != EEXIST)
		return err_errno(errno, "make directory %s", path);
	if (stat(p, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_errno(ENOTDIR, "make directory %s", path);
	return NULL;
}

/* removing */

struct remove {
	int root;
	const char *path;
	dev_t dev;
	unsigned moved;
};

static struct err *file_remove_entries(struct remove *r, int fd, int depth);

static bool file_is_mount_point(int dirfd, const char *name, dev_t dev)
{
	struct statx stx;

	if (statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE, &stx) < 0)
		return false;
	if (stx.stx_attributes_mask & stx.stx_attributes & STATX_ATTR_MOUNT_ROOT)
		return true;
	return makedev(stx.stx_dev_major, stx.stx_dev_minor) != dev;
}

/* A directory that is not empty. */
static struct err *file_remove_dir(struct remove *r, int dirfd, const char *name, int depth)
{
	_cleanup_fd_ int fd = -1;

	if (file_is_mount_point(dirfd, name, r->dev))
		return err_errno(EBUSY, "remove %s: %s is a mount point", r->path, name);
	if (depth >= REMOVE_DEPTH) {
		/* A tenant's tree may be deeper than our stack and descriptors: move it up. */
		char up[48];

		/* a name the tenant cannot have taken */
		snprintf(up, sizeof(up), ".isoplane-removed-%08x-%u",
			 (unsigned)rand_below(UINT32_MAX), r->moved++);
		if (renameat(dirfd, name, r->root, up) < 0)
			return err_errno(errno, "remove %s: move %s up", r->path, name);
		return NULL;
	}
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(errno, "remove %s: open %s", r->path, name);
	TRY(file_remove_entries(r, fd, depth + 1));
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_errno(errno, "remove %s: %s", r->path, name);
	return NULL;
}

static struct err *file_remove_entry(struct remove *r, int dirfd, const char *name, int depth)
{
	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return NULL;
	if (errno != EISDIR && errno != EPERM)
		return err_errno(errno, "remove %s: %s", r->path, name);
	if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return NULL;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return err_errno(errno, "remove %s: %s", r->path, name);
	return file_remove_dir(r, dirfd, name, depth);
}

static void file_closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

static struct err *file_remove_entries(struct remove *r, int fd, int depth)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	_cleanup_(file_closedirp) DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *ent;

	if (!d) {
		if (copy >= 0)
			close(copy);
		return err_errno(errno, "remove %s", r->path);
	}
	for (;;) {
		errno = 0;
		ent = readdir(d);
		if (!ent)
			break;
		if (strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0)
			continue;
		TRY(file_remove_entry(r, fd, ent->d_name, depth));
	}
	return errno ? err_errno(errno, "remove %s", r->path) : NULL;
}

struct err *file_remove_tree(const char *path)
{
	struct remove r = { .path = path };
	_cleanup_fd_ int fd = -1;
	unsigned moved;
	struct stat st;

	if (unlink(path) == 0 || errno == ENOENT)
		return NULL;
	if (errno != EISDIR && errno != EPERM)
		return err_errno(errno, "remove %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? NULL : err_errno(errno, "remove %s", path);
	if (fstat(fd, &st) < 0)
		return err_errno(errno, "remove %s", path);
	r.root = fd;
	r.dev = st.st_dev;
	do {
		moved = r.moved;
		if (lseek(fd, 0, SEEK_SET) < 0)
			return err_errno(errno, "remove %s", path);
		TRY(file_remove_entries(&r, fd, 0));
	} while (r.moved != moved);
	if (rmdir(path) < 0 && errno != ENOENT)
		return err_errno(errno, "remove %s", path);
	return NULL;
}

/* beneath */

struct err *file_open_beneath(int dirfd, const char *path, int flags, mode_t mode, int *ret_fd)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.mode = flags & (O_CREAT | __O_TMPFILE) ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	while (*path == '/')
		path++;
	if (!*path)
		path = ".";
	do
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
	while (fd < 0 && errno == EAGAIN); /* a rename raced with the walk */
	if (fd < 0 && (errno == ELOOP || errno == EXDEV))
		return err_new(ERR_FORBIDDEN, "open %s: it leaves its directory or is a link",
			       path);
	if (fd < 0)
		return err_errno(errno, "open %s", path);
	*ret_fd = (int)fd;
	return NULL;
}
