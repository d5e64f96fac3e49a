/* SPDX-License-Identifier: Apache-2.0 */
/* isoplane backup and restore: the store, online and consistent, as one file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "cmd/flags.h"
#include "cmd/instance.h"
#include "cmd/main.h"
#include "store/store.h"

static const char backup_usage[] = "usage: isoplane backup [--data-dir DIR] FILE\n";
static const char restore_usage[] = "usage: isoplane restore [--data-dir DIR] FILE\n";

/* Beside FILE first: a backup that was cut short must not look like one. */
static struct err *backup_write(struct arena *a, const struct instance *inst, const char *file)
{
	const char *tmp = arena_fmt(a, "%s.part", file).p;
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct err *e;

	if (fd < 0)
		return err_errno(errno, "open '%s'", tmp);
	e = store_copy(arena_fmt(a, "%s/store", inst->dir).p, fd);
	close(fd);
	if (!e && rename(tmp, file))
		e = err_errno(errno, "rename '%s' to '%s'", tmp, file);
	if (e)
		unlink(tmp);
	return e;
}

static struct err *backup_read(struct arena *a, const struct instance *inst, const char *file)
{
	const char *store = arena_fmt(a, "%s/store", inst->dir).p;
	int fd = open(file, O_RDONLY | O_CLOEXEC), lock;
	struct stat st;
	pid_t pid;
	struct err *e;

	if (fd < 0)
		return err_errno(errno, "open '%s'", file);
	e = instance_lock(a, inst, &lock, &pid);
	if (!e && lock < 0)
		e = err_new(ERR_UNAVAILABLE,
			    "'isoplane up' (pid %d) runs on '%s': stop it first (workloads go on)",
			    (int)pid, inst->dir);
	if (!e)
		e = store_restore(store, fd);
	close(fd);
	/* New files belong to whom the directory belongs to. */
	if (!e && stat(store, &st) == 0) {
		static const char *const files[] = { "data.mdb", "lock.mdb", "lock" };

		for (size_t i = 0; i < ARRAY_LEN(files); i++)
			if (lchown(arena_fmt(a, "%s/%s", store, files[i]).p, st.st_uid,
				   st.st_gid) &&
			    errno != ENOENT)
				return err_errno(errno, "chown '%s/%s'", store, files[i]);
	}
	return e;
}

static int backup_run(int argc, char **argv, const char *usage,
		      struct err *(*fn)(struct arena *a, const struct instance *inst,
					const char *file),
		      bool dir_default)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str dir = STR_EMPTY;
	const struct flag flags[] = { { "--data-dir", &dir }, { 0 } };
	struct instance inst;
	struct err *e;
	int n;

	if (!flags_parse_args(flags, argc, argv, usage, &n))
		return 2;
	if (n != 1) {
		fputs(usage, stderr);
		return 2;
	}
	/* What is restored does not run: nothing could tell which one is meant. */
	if (dir_default && !dir.n)
		dir = STR(INSTANCE_DEFAULT_DIR);
	e = instance_find(a, dir, &inst);
	if (!e)
		e = fn(a, &inst, argv[1]);
	if (!e)
		return 0;
	fprintf(stderr, "isoplane: " STR_FMT "\n", STR_ARG(err_msg(e)));
	err_free(e);
	return 1;
}

int backup_main(int argc, char **argv)
{
	return backup_run(argc, argv, backup_usage, backup_write, false);
}

int restore_main(int argc, char **argv)
{
	return backup_run(argc, argv, restore_usage, backup_read, true);
}
