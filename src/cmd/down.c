/* SPDX-License-Identifier: Apache-2.0 */
/* isoplane down: ends the supervisor and the workloads that outlive it. Data stays. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "cmd/flags.h"
#include "cmd/instance.h"
#include "cmd/main.h"
#include "io/fiber.h"
#include "io/file.h"
#include "node/containerd.h"

#define DOWN_TIMEOUT_MS 20000

static const char down_usage[] = "usage: isoplane down [--data-dir DIR]\n";

/* SIGTERM to the supervisor, until it has let go of its lock, which we then hold. */
static struct err *down_stop_up(struct arena *a, const struct instance *inst)
{
	struct mono began = mono_now();
	pid_t told = 0, pid;
	int fd;

	for (;;) {
		TRY(instance_lock(a, inst, &fd, &pid));
		if (fd >= 0)
			return NULL; /* kept until we end */
		if (pid > 0 && pid != told) {
			if (kill(pid, SIGTERM) && errno != ESRCH)
				return err_errno(errno, "end 'isoplane up' (pid %d)", (int)pid);
			told = pid;
		}
		if (mono_ms_since(began) > DOWN_TIMEOUT_MS)
			return err_new(ERR_TIMEOUT, "'isoplane up' (pid %d) does not end",
				       (int)pid);
		TRY(fiber_sleep_ms(50));
	}
}

static struct err *down_fiber(void *arg)
{
	const struct str *dir = arg;
	_cleanup_arena_ struct arena *a = arena_new();
	struct instance inst;

	TRY(instance_find(a, *dir, &inst));
	TRY(down_stop_up(a, &inst));
	TRY(instance_choose_network(a, &inst));
	TRY(containerd_down(a, &(struct containerd_opts){
				       .data_dir = inst.dir,
				       .run_dir = inst.run_dir,
				       .id = inst.id,
				       .bridge = inst.bridge,
				       .pod_cidr = inst.node_cidr,
				       .kubelet_root = inst.kubelet_root,
			       }));
	return file_remove_tree(inst.run_dir);
}

int down_main(int argc, char **argv)
{
	struct str dir = STR_EMPTY;
	const struct flag flags[] = { { "--data-dir", &dir }, { 0 } };
	struct err *e;

	if (!flags_parse(flags, argc, argv, down_usage))
		return 2;
	log_init("down", LOG_INFO);
	e = fiber_main(down_fiber, &dir);
	if (!e)
		return 0;
	fprintf(stderr, "isoplane: " STR_FMT "\n", STR_ARG(err_msg(e)));
	err_free(e);
	return 1;
}
