/* SPDX-License-Identifier: Apache-2.0 */

#include "node/mount.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mount.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "io/file.h"

#define MOUNTINFO_MAX (16 << 20)

/* The mount point of one line of mountinfo: its fifth field (octal escapes are not ours). */
static struct str mount_point_of(struct str line)
{
	struct str f = STR_EMPTY;

	for (int i = 0; i < 5; i++)
		if (!str_cut(&line, ' ', &f))
			return STR_EMPTY;
	return f;
}

static struct str mount_table(struct arena *a)
{
	struct str text;
	struct err *e = file_read(a, "/proc/self/mountinfo", MOUNTINFO_MAX, &text);

	if (e) {
		err_log(NULL, LOG_WARN, "cannot read the mount table", e);
		return STR_EMPTY;
	}
	return text;
}

bool mount_is_at(struct arena *a, struct str path)
{
	struct str text = mount_table(a), line;

	while (str_split_next(&text, '\n', &line))
		if (str_eq(mount_point_of(line), path))
			return true;
	return false;
}

struct err *mount_tmpfs(struct arena *a, struct str path, struct str options)
{
	if (mount_is_at(a, path))
		return NULL;
	if (mount("tmpfs", arena_strz(a, path), "tmpfs", MS_NOSUID | MS_NODEV,
		  arena_strz(a, options)) < 0)
		return err_errno(errno, "mount tmpfs on %.*s", STR_ARG(path));
	return NULL;
}

struct err *mount_bind_fd(int fd, const char *path)
{
	char src[64];

	snprintf(src, sizeof(src), "/proc/self/fd/%d", fd);
	if (mount(src, path, NULL, MS_BIND | MS_REC, NULL) < 0)
		return err_errno(errno, "bind mount on %s", path);
	return NULL;
}

static bool mount_is_below(struct str point, struct str prefix)
{
	return str_has_prefix(point, prefix) && (point.n == prefix.n || point.p[prefix.n] == '/');
}

void mount_detach_below(struct arena *a, struct str prefix)
{
	struct str text = mount_table(a);

	/* Later lines are younger mounts: backwards is deepest first. */
	while (text.n) {
		size_t i = text.n - 1;
		struct str point;

		while (i > 0 && text.p[i - 1] != '\n')
			i--;
		point = mount_point_of(str_skip(text, i));
		text.n = i;
		if (point.n && mount_is_below(point, prefix))
			umount2(arena_strz(a, point), MNT_DETACH | UMOUNT_NOFOLLOW);
	}
}
