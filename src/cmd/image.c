/* SPDX-License-Identifier: Apache-2.0 */
/* isoplane image import, isoplane guest build: what gets images into the node's runtime. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "cmd/flags.h"
#include "cmd/instance.h"
#include "cmd/main.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/process.h"
#include "node/containerd.h"

static const char image_usage[] = "usage: isoplane image import [--data-dir DIR] FILE.tar\n";
static const char guest_usage[] = "usage: isoplane guest build [--data-dir DIR]\n";

struct image_command {
	struct str dir;
	const char *file;
};

static struct err *image_import_fiber(void *arg)
{
	const struct image_command *cmd = arg;
	_cleanup_arena_ struct arena *a = arena_new();
	struct instance inst;

	TRY(instance_find(a, cmd->dir, &inst));
	if (access(cmd->file, R_OK))
		return err_new(ERR_NOT_FOUND, "cannot read '%s'", cmd->file);
	return containerd_import(a, inst.run_dir, cmd->file);
}

static struct err *guest_import_all(struct arena *a, const struct instance *inst, const char *dir)
{
	static const char *const archives[] = { "guest-kernel.tar", "guest-disk.tar" };

	for (size_t i = 0; i < ARRAY_LEN(archives); i++)
		TRY(containerd_import(a, inst->run_dir, arena_fmt(a, "%s/%s", dir, archives[i]).p));
	return NULL;
}

static struct err *guest_build_fiber(void *arg)
{
	const struct image_command *cmd = arg;
	_cleanup_arena_ struct arena *a = arena_new();
	struct instance inst;
	const char *script;
	char dir[] = "/tmp/isoplane-guest-XXXXXX";
	struct err *e;

	TRY(instance_find(a, cmd->dir, &inst));
	TRY(instance_resource(a, "guest/build", &script));
	if (!mkdtemp(dir))
		return err_new(ERR_IO, "cannot make a temporary directory in /tmp");
	e = process_run(a, (const char *const[]){ script, "--out", dir, NULL }, STR_EMPTY, 65536,
			NULL);
	if (!e)
		e = guest_import_all(a, &inst, dir);
	err_ignore(file_remove_tree(dir), "temporary");
	return e;
}

static int image_run(fiber_fn fn, struct image_command *cmd)
{
	struct err *e;

	log_init("image", LOG_INFO);
	e = fiber_main(fn, cmd);
	if (!e)
		return 0;
	fprintf(stderr, "isoplane: " STR_FMT "\n", STR_ARG(err_msg(e)));
	err_free(e);
	return 1;
}

int image_main(int argc, char **argv)
{
	struct image_command cmd = { 0 };
	const struct flag flags[] = { { "--data-dir", &cmd.dir }, { 0 } };
	int n;

	if (!flags_parse_args(flags, argc, argv, image_usage, &n))
		return 2;
	if (n != 2 || !str_eqz(str_from(argv[1]), "import")) {
		fputs(image_usage, stderr);
		return 2;
	}
	cmd.file = argv[2];
	return image_run(image_import_fiber, &cmd);
}

int guest_main(int argc, char **argv)
{
	struct image_command cmd = { 0 };
	const struct flag flags[] = { { "--data-dir", &cmd.dir }, { 0 } };
	int n;

	if (!flags_parse_args(flags, argc, argv, guest_usage, &n))
		return 2;
	if (n != 1 || !str_eqz(str_from(argv[1]), "build")) {
		fputs(guest_usage, stderr);
		return 2;
	}
	return image_run(guest_build_fiber, &cmd);
}
