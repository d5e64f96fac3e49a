/* SPDX-License-Identifier: Apache-2.0 */

#include "node/atomic-writer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "io/file.h"

#define DATA_LINK     "..data"
#define DATA_LINK_TMP "..data_tmp"
#define MAX_FILE      (4 << 20)

bool atomic_path_ok(struct str path)
{
	struct str part;

	if (!path.n || path.p[0] == '/' || path.n > 4096 || str_has_prefix(path, STR("..")))
		return false;
	while (str_split_next(&path, '/', &part))
		if (str_eqz(part, ".."))
			return false;
	return true;
}

static struct str atomic_first_part(struct str path)
{
	return str_sub(path, 0, str_find_char(path, '/', 0));
}

static size_t atomic_count_files(struct arena *a, const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *ent;
	size_t n = 0;

	if (!d)
		return 0;
	while ((ent = readdir(d))) {
		if (strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0)
			continue;
		if (ent->d_type == DT_DIR)
			n += atomic_count_files(a, arena_fmt(a, "%s/%s", dir, ent->d_name).p);
		else
			n++;
	}
	closedir(d);
	return n;
}

static bool atomic_same_file(struct arena *a, const char *data_dir, const struct atomic_file *f,
			     gid_t gid)
{
	const char *path = arena_fmt(a, "%s/%.*s", data_dir, STR_ARG(f->path)).p;
	struct stat st;
	struct str old;
	struct err *e;

	if (lstat(path, &st) < 0 || (st.st_mode & 07777) != f->mode)
		return false;
	if (gid != (gid_t)-1 && st.st_gid != gid)
		return false;
	if (f->has_uid && st.st_uid != f->uid)
		return false;
	e = file_read(a, path, MAX_FILE, &old);
	if (e) {
		err_ignore(e, "written anew");
		return false;
	}
	return str_eq(old, f->data);
}

static bool atomic_same(struct arena *a, const char *data_dir, const struct atomic_file *files,
			size_t n, gid_t gid)
{
	if (access(data_dir, F_OK) < 0 || atomic_count_files(a, data_dir) != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!atomic_same_file(a, data_dir, &files[i], gid))
			return false;
	return true;
}

static struct err *atomic_write_file(struct arena *a, const char *dir, const struct atomic_file *f,
				     gid_t gid)
{
	const char *path = arena_fmt(a, "%s/%.*s", dir, STR_ARG(f->path)).p;
	char *slash = strrchr(path, '/');
	int fd, rc = 0;

	*slash = '\0';
	TRY(file_mkdir_p(path, 0755));
	*slash = '/';
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(errno, "create %s", path);
	for (size_t done = 0; done < f->data.n && !rc;) {
		ssize_t w = write(fd, f->data.p + done, f->data.n - done);

		if (w < 0)
			rc = errno;
		else
			done += (size_t)w;
	}
	if (!rc && (gid != (gid_t)-1 || f->has_uid) &&
	    fchown(fd, f->has_uid ? f->uid : (uid_t)-1, gid) < 0)
		rc = errno;
	if (!rc && fchmod(fd, f->mode) < 0)
		rc = errno;
	close(fd);
	return rc ? err_errno(rc, "write %s", path) : NULL;
}

static struct err *atomic_new_dir(struct arena *a, const char *dir, char **ret)
{
	struct tm tm;
	time_t now = (time_t)(wall_now().ns / NS_PER_SEC);
	char stamp[32];
	char *path;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y_%m_%d_%H_%M_%S", &tm);
	path = arena_strz(a, arena_fmt(a, "%s/..%s.XXXXXX", dir, stamp));
	if (!mkdtemp(path))
		return err_errno(errno, "mkdtemp %s", path);
	if (chmod(path, 0755) < 0)
		return err_errno(errno, "chmod %s", path);
	*ret = path;
	return NULL;
}

static bool atomic_wants(const struct atomic_file *files, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eqz(atomic_first_part(files[i].path), name))
			return true;
	return false;
}

/* Links for what is new, none for what is gone, and no directory but the current one. */
static struct err *atomic_links(struct arena *a, const char *dir, const char *current,
				const struct atomic_file *files, size_t n)
{
	DIR *d;
	struct dirent *ent;

	for (size_t i = 0; i < n; i++) {
		struct str first = atomic_first_part(files[i].path);

		if (symlink(arena_fmt(a, DATA_LINK "/%.*s", STR_ARG(first)).p,
			    arena_fmt(a, "%s/%.*s", dir, STR_ARG(first)).p) < 0 &&
		    errno != EEXIST)
			return err_errno(errno, "link %s/%.*s", dir, STR_ARG(first));
	}
	d = opendir(dir);
	if (!d)
		return err_errno(errno, "open %s", dir);
	while ((ent = readdir(d))) {
		const char *path = arena_fmt(a, "%s/%s", dir, ent->d_name).p;

		if (strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0 ||
		    strcmp(ent->d_name, DATA_LINK) == 0 || strcmp(ent->d_name, current) == 0)
			continue;
		if (strncmp(ent->d_name, "..", 2) == 0)
			err_ignore(file_remove_tree(path), "retried with the next change");
		else if (!atomic_wants(files, n, ent->d_name))
			unlink(path);
	}
	closedir(d);
	return NULL;
}

struct err *atomic_write(struct arena *a, const char *dir, const struct atomic_file *files,
			 size_t n, gid_t gid)
{
	const char *data = arena_fmt(a, "%s/" DATA_LINK, dir).p;
	const char *tmp = arena_fmt(a, "%s/" DATA_LINK_TMP, dir).p;
	const char *base;
	char *fresh;

	for (size_t i = 0; i < n; i++)
		if (!atomic_path_ok(files[i].path))
			return err_new(ERR_INVALID, "invalid path '%.*s' in a volume",
				       STR_ARG(files[i].path));
	if (atomic_same(a, data, files, n, gid))
		return NULL;
	TRY(atomic_new_dir(a, dir, &fresh));
	for (size_t i = 0; i < n; i++)
		TRY(atomic_write_file(a, fresh, &files[i], gid));
	base = strrchr(fresh, '/') + 1;
	unlink(tmp);
	if (symlink(base, tmp) < 0)
		return err_errno(errno, "link %s", tmp);
	if (rename(tmp, data) < 0)
		return err_errno(errno, "rename %s", tmp);
	return atomic_links(a, dir, base, files, n);
}
