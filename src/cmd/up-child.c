/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/up-child.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/process.h"

#define CHILD_BACKOFF_MS      100
#define CHILD_MAX_BACKOFF_MS  5000
#define CHILD_YOUNG_MS        10000
#define CHILD_STOP_TIMEOUT_MS 5000

struct child {
	struct child_opts opts;
	struct fiber *fiber;
	struct process *proc;
};

static struct err *child_spawn(struct child *c)
{
	const struct process_opts opts = {
		.argv = c->opts.argv,
		.exec_fd = c->opts.exe_fd,
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = -1,
		.pass_fds = c->opts.pass_fds,
		.n_pass_fds = c->opts.n_pass_fds,
		.set_uid = c->opts.uid != 0,
		.uid = c->opts.uid,
		.gid = c->opts.uid,
		.pdeathsig = true,
	};

	return process_start(&opts, &c->proc);
}

/* Asks, waits, insists. Runs while our own fiber is cancelled already. */
static void child_end(struct child *c)
{
	struct mono deadline = mono_add_ms(mono_now(), CHILD_STOP_TIMEOUT_MS);
	bool killed = false;
	int status;

	fiber_mask_cancel();
	process_kill(c->proc, SIGTERM);
	while (!process_exited(c->proc, &status)) {
		if (!killed && mono_now().ns > deadline.ns) {
			process_kill(c->proc, SIGKILL);
			killed = true;
		}
		err_ignore(fiber_sleep_ms(10), "masked");
	}
	fiber_unmask_cancel();
	c->proc = process_free(c->proc);
}

static void child_log_end(const struct child *c, int status)
{
	if (WIFSIGNALED(status))
		log_warn(NULL, "component died, starting it again", KV_Z("name", c->opts.name),
			 KV_INT("signal", WTERMSIG(status)));
	else
		log_warn(NULL, "component ended, starting it again", KV_Z("name", c->opts.name),
			 KV_INT("status", WEXITSTATUS(status)));
}

/* One life of the process. */
static struct err *child_live(struct child *c)
{
	int status = 0;
	struct err *e = child_spawn(c);

	if (e) {
		err_log(NULL, LOG_ERROR, "cannot start component", e);
		return NULL;
	}
	log_info(NULL, "component started", KV_Z("name", c->opts.name),
		 KV_INT("pid", process_pid(c->proc)));
	e = process_wait(c->proc, &status);
	if (e) {
		child_end(c);
		return e;
	}
	child_log_end(c, status);
	c->proc = process_free(c->proc);
	return NULL;
}

static struct err *child_fiber(void *arg)
{
	struct child *c = arg;
	int64_t backoff = 0;

	for (;;) {
		struct mono born = mono_now();

		TRY(child_live(c));
		if (mono_ms_since(born) > CHILD_YOUNG_MS)
			backoff = 0;
		TRY(fiber_sleep_ms(backoff));
		backoff = backoff ? MIN(backoff * 2, CHILD_MAX_BACKOFF_MS) : CHILD_BACKOFF_MS;
	}
}

struct child *child_start(struct loop *l, const struct child_opts *opts)
{
	struct child *c = mem_new(struct child);

	c->opts = *opts;
	c->fiber = fiber_spawn(l, opts->name, child_fiber, c);
	return c;
}

struct child *child_stop(struct child *c)
{
	if (!c)
		return NULL;
	fiber_cancel(c->fiber);
	fiber_mask_cancel();
	err_ignore(fiber_join(c->fiber), "ends by our cancel");
	fiber_unmask_cancel();
	fiber_unref(c->fiber);
	free(c);
	return NULL;
}

const char *child_name(const struct child *c)
{
	return c->opts.name;
}
