/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/launcher/machine.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/process.h"
#include "io/stream.h"
#include "virt/launcher/argv.h"
#include "virt/launcher/qmp.h"
#include "virt/launcher/vm.h"
#include "json/json.h"

#define MACHINE_POWER_BUTTON_MS     1000 /* between the first two presses, doubling */
#define MACHINE_POWER_BUTTON_MAX_MS 2000
#define MACHINE_TERM_MS             5000 /* SIGTERM to SIGKILL */
#define MACHINE_STDERR_KEEP         2048

static const char *const machine_state_names[] = {
	[MACHINE_NOSTATE] = "NoState", [MACHINE_STARTING] = "Starting",
	[MACHINE_RUNNING] = "Running", [MACHINE_PAUSED] = "Paused",
	[MACHINE_SHUTOFF] = "Shutoff", [MACHINE_CRASHED] = "Crashed",
};
static_assert(ARRAY_LEN(machine_state_names) == MACHINE_STATE_N_, "a name per state");

struct machine {
	struct loop *loop;
	struct machine_opts opts;
	enum machine_state state;
	const char *reason;
	struct arena *arena; /* of the current attempt */
	struct str message, machine_type;
	struct process *proc;
	struct qmp *qmp;
	struct stream *stderr_pipe;
	struct buf stderr_tail;
	struct fiber *stderr_fiber, *watcher, *stopper;
	struct waitq ended; /* woken when QEMU has ended */
	bool exited;
	int exit_status;
	bool panicked, killed, io_error, emulation;
	bool shutdown_seen, shutdown_guest;
	bool soft_reboot, rebooting; /* asked for; the guest is off and about to be reset */
	struct fiber *rebooter;
	int64_t resets;
	bool shutdown_requested;
	struct mono shutdown_deadline;
	struct waitq shutdown_changed;
	struct wall started;
};

static void machine_set(struct machine *m, enum machine_state state, const char *reason)
{
	if (m->state == state && strcmp(m->reason, reason) == 0)
		return;
	m->state = state;
	m->reason = reason;
	log_info(NULL, "domain changed", KV_Z("state", machine_state_names[state]),
		 KV_Z("reason", reason));
	m->opts.changed(m->opts.ctx);
}

/* commands */

static struct err *machine_command(struct machine *m, const char *command, struct json *args)
{
	_cleanup_arena_ struct arena *a = arena_new();

	return qmp_call(m->qmp, a, command, args, NULL);
}

/* QEMU stays, paused, when the guest powers off. */
static struct err *machine_keep_on_shutdown(struct machine *m, bool keep)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *args = json_object(a);

	json_set_str(a, args, "shutdown", keep ? STR("pause") : STR("poweroff"));
	return qmp_call(m->qmp, a, "set-action", args, NULL);
}

/* The guest has powered off and shall come back. */
static struct err *machine_finish_reboot(void *arg)
{
	struct machine *m = arg;
	struct err *e = machine_keep_on_shutdown(m, false);

	if (!e)
		e = machine_command(m, "system_reset", NULL);
	if (!e)
		e = machine_command(m, "cont", NULL);
	m->rebooting = false;
	m->resets++;
	m->opts.changed(m->opts.ctx);
	err_log(NULL, LOG_WARN, "soft reboot failed", e);
	return NULL;
}

/* QMP events */

static void machine_on_shutdown(struct machine *m, const struct json *data)
{
	if (m->soft_reboot && str_eqz(json_str_at(data, "reason"), "guest-shutdown")) {
		m->soft_reboot = false;
		m->rebooting = true;
		fiber_unref(m->rebooter);
		m->rebooter = fiber_spawn(m->loop, "qemu-reboot", machine_finish_reboot, m);
		return;
	}
	m->shutdown_seen = true;
	m->shutdown_guest = json_as_bool(json_get(data, "guest"), false);
	if (str_has_prefix(json_str_at(data, "reason"), STR("guest-panic")))
		m->panicked = true;
}

static void machine_on_stop(struct machine *m, const struct json *data UNUSED)
{
	if (m->state == MACHINE_RUNNING && !m->shutdown_seen && !m->rebooting)
		machine_set(m, MACHINE_PAUSED, m->io_error ? "IOError" : "UserPause");
}

static void machine_on_resume(struct machine *m, const struct json *data UNUSED)
{
	m->io_error = false;
	if (m->state == MACHINE_PAUSED)
		machine_set(m, MACHINE_RUNNING, "");
}

static void machine_on_reset(struct machine *m, const struct json *data)
{
	if (!json_as_bool(json_get(data, "guest"), false))
		return;
	m->resets++;
	m->opts.changed(m->opts.ctx);
}

static void machine_on_panic(struct machine *m, const struct json *data UNUSED)
{
	m->panicked = true;
}

static void machine_on_io_error(struct machine *m, const struct json *data)
{
	if (!str_eqz(json_str_at(data, "action"), "stop"))
		return;
	m->io_error = true;
	m->message = arena_fmt(m->arena, "I/O error on " STR_FMT ": " STR_FMT,
			       STR_ARG(json_str_at(data, "device")),
			       STR_ARG(json_str_at(data, "reason")));
}

static const struct {
	const char *name;
	void (*fn)(struct machine *m, const struct json *data);
} machine_events[] = {
	{ "SHUTDOWN", machine_on_shutdown },    { "STOP", machine_on_stop },
	{ "RESUME", machine_on_resume },        { "RESET", machine_on_reset },
	{ "GUEST_PANICKED", machine_on_panic }, { "BLOCK_IO_ERROR", machine_on_io_error },
};

static void machine_event(void *ctx, struct str name, const struct json *data)
{
	for (size_t i = 0; i < ARRAY_LEN(machine_events); i++) {
		if (str_eqz(name, machine_events[i].name))
			machine_events[i].fn(ctx, data);
	}
	log_debug(NULL, "qmp event", KV_STR("event", name));
}

/* the process */

static struct err *machine_read_stderr(void *arg)
{
	struct machine *m = arg;
	char chunk[512];
	size_t n;

	for (;;) {
		TRY(stream_read(m->stderr_pipe, chunk, sizeof(chunk), &n));
		if (n == 0)
			return NULL;
		if (write(STDERR_FILENO, chunk, n) < 0)
			log_debug(NULL, "cannot pass on QEMU's standard error");
		buf_add(&m->stderr_tail, str_make(chunk, n));
		if (m->stderr_tail.n > MACHINE_STDERR_KEEP)
			buf_consume(&m->stderr_tail, m->stderr_tail.n - MACHINE_STDERR_KEEP);
	}
}

/* What a finished QEMU means for the domain. */
static void machine_conclude(struct machine *m)
{
	int st = m->exit_status;

	if (m->state == MACHINE_STARTING || m->state == MACHINE_NOSTATE)
		return;
	if (m->panicked) {
		m->message = STR("the guest panicked");
		machine_set(m, MACHINE_CRASHED, "Crashed");
	} else if (m->killed && !(m->shutdown_seen && m->shutdown_guest)) {
		m->message = STR("the guest was killed");
		machine_set(m, MACHINE_SHUTOFF, "Destroyed");
	} else if (m->shutdown_seen && m->shutdown_guest) {
		m->message = STR("the guest shut down");
		machine_set(m, MACHINE_SHUTOFF, "Shutdown");
	} else {
		m->message = arena_fmt(m->arena, "QEMU ended with %s %d: " STR_FMT,
				       WIFSIGNALED(st) ? "signal" : "status",
				       WIFSIGNALED(st) ? WTERMSIG(st) : WEXITSTATUS(st),
				       STR_ARG(str_trim(buf_str(&m->stderr_tail))));
		machine_set(m, MACHINE_CRASHED, "Failed");
	}
}

static struct err *machine_watch(void *arg)
{
	struct machine *m = arg;

	TRY(process_wait(m->proc, &m->exit_status));
	m->exited = true;
	/* The monitor may hold events that QEMU sent just before its end. */
	while (m->qmp && !qmp_is_closed(m->qmp))
		TRY(fiber_sleep_ms(1));
	machine_conclude(m);
	waitq_wake_all(&m->ended);
	return NULL;
}

static struct err *machine_spawn(struct machine *m, const struct vm *vm, int *ret_qmp_fd)
{
	const char *const *argv;
	int sv[2], errpipe[2];
	struct err *e;

	TRY(vm_argv_build(m->arena, vm, m->opts.qemu, &argv));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return err_errno(errno, "socketpair");
	if (pipe2(errpipe, O_CLOEXEC) < 0) {
		close(sv[0]);
		close(sv[1]);
		return err_errno(errno, "pipe");
	}
	struct process_opts o = {
		.argv = argv,
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = errpipe[1],
		.pass_fds = &sv[1],
		.n_pass_fds = 1,
		.pdeathsig = true,
	};

	e = process_start(&o, &m->proc);
	close(sv[1]);
	close(errpipe[1]);
	if (e) {
		close(sv[0]);
		close(errpipe[0]);
		return e;
	}
	m->stderr_pipe = stream_from_fd(errpipe[0]);
	m->stderr_fiber = fiber_spawn(m->loop, "qemu-stderr", machine_read_stderr, m);
	m->watcher = fiber_spawn(m->loop, "qemu-watch", machine_watch, m);
	*ret_qmp_fd = sv[0];
	return NULL;
}

static struct fiber *machine_end_fiber(struct fiber *f)
{
	if (!f)
		return NULL;
	fiber_cancel(f);
	err_ignore(fiber_join(f), "the machine is being taken down");
	return fiber_unref(f);
}

/* Kills what runs and forgets the process. */
static void machine_cleanup(struct machine *m)
{
	fiber_mask_cancel();
	m->stopper = machine_end_fiber(m->stopper);
	m->rebooter = machine_end_fiber(m->rebooter);
	m->watcher = machine_end_fiber(m->watcher);
	m->stderr_fiber = machine_end_fiber(m->stderr_fiber);
	m->qmp = qmp_free(m->qmp);
	m->proc = process_free(m->proc);
	m->stderr_pipe = stream_free(m->stderr_pipe);
	fiber_unmask_cancel();
}

/* Why QEMU did not come up: its last words are better than a closed monitor. */
static struct err *machine_explain(struct machine *m, struct err *e)
{
	struct str words;

	for (int i = 0; i < 200 && !m->exited; i++)
		err_ignore(fiber_sleep_ms(5), "waiting a second for QEMU's end");
	words = str_trim(buf_str(&m->stderr_tail));
	if (!m->exited || str_empty(words))
		return e;
	err_free(e);
	return err_new(ERR_INTERNAL, "QEMU did not start: " STR_FMT, STR_ARG(words));
}

static struct err *machine_boot(struct machine *m, const struct vm *vm)
{
	const struct qmp_events ev = { .event = machine_event, .ctx = m };
	struct json *type = NULL, *args = json_object(m->arena);
	int fd;

	TRY(machine_spawn(m, vm, &fd));
	TRY(qmp_open(stream_from_fd(fd), &ev, &m->qmp));
	json_set_str(m->arena, args, "path", STR("/machine"));
	json_set_str(m->arena, args, "property", STR("type"));
	TRY(qmp_call(m->qmp, m->arena, "qom-get", args, &type));
	m->machine_type = json_as_str(type);
	str_strip_suffix(&m->machine_type, STR("-machine"));
	if (!vm->paused)
		TRY(qmp_call(m->qmp, m->arena, "cont", NULL, NULL));
	return NULL;
}

/* public */

struct machine *machine_new(struct loop *l, const struct machine_opts *opts)
{
	struct machine *m = mem_new(struct machine);

	m->loop = l;
	m->opts = *opts;
	m->reason = "";
	m->arena = arena_new();
	waitq_init(&m->ended);
	waitq_init(&m->shutdown_changed);
	return m;
}

struct machine *machine_free(struct machine *m)
{
	if (!m)
		return NULL;
	machine_cleanup(m);
	buf_fini(&m->stderr_tail);
	arena_free(m->arena);
	free(m);
	return NULL;
}

struct err *machine_start(struct machine *m, const struct vm *vm)
{
	struct err *e;

	if (m->state != MACHINE_NOSTATE)
		return err_new(ERR_CONFLICT, "the domain is %s", machine_state_names[m->state]);
	buf_clear(&m->stderr_tail);
	m->exited = m->killed = m->panicked = m->shutdown_seen = false;
	m->emulation = !vm->kvm;
	m->message = STR_EMPTY;
	machine_set(m, MACHINE_STARTING, "");
	e = machine_boot(m, vm);
	if (e)
		e = machine_explain(m, e);
	else if (m->exited)
		e = err_new(ERR_INTERNAL, "QEMU ended while it started");
	if (e) {
		machine_cleanup(m);
		m->message = arena_str(m->arena, err_msg(e));
		machine_set(m, MACHINE_NOSTATE, "Failed");
		return e;
	}
	m->started = wall_now();
	if (vm->paused)
		machine_set(m, MACHINE_PAUSED, "UserPause");
	else
		machine_set(m, MACHINE_RUNNING, "");
	return NULL;
}

struct err *machine_pause(struct machine *m)
{
	if (m->state == MACHINE_PAUSED)
		return err_new(ERR_CONFLICT, "VMI is already paused");
	if (m->state != MACHINE_RUNNING)
		return err_new(ERR_CONFLICT, "VMI is not running");
	return machine_command(m, "stop", NULL);
}

struct err *machine_unpause(struct machine *m)
{
	if (m->state != MACHINE_PAUSED)
		return err_new(ERR_CONFLICT, "VMI is not paused");
	return machine_command(m, "cont", NULL);
}

struct err *machine_reset(struct machine *m)
{
	if (m->state != MACHINE_RUNNING && m->state != MACHINE_PAUSED)
		return err_new(ERR_CONFLICT, "VMI is not running");
	return machine_command(m, "system_reset", NULL);
}

/* As libvirt does without an agent: the power button, then a reset instead of the end. */
struct err *machine_soft_reboot(struct machine *m)
{
	if (m->state != MACHINE_RUNNING)
		return err_new(ERR_CONFLICT, "VMI is not running");
	TRY(machine_keep_on_shutdown(m, true));
	m->soft_reboot = true;
	return machine_command(m, "system_powerdown", NULL);
}

/* Ends QEMU by SIGTERM, which lets it flush its disks; SIGKILL when that does not help. */
static struct err *machine_terminate(struct machine *m)
{
	bool woken;

	m->killed = true;
	process_kill(m->proc, SIGTERM);
	if (!m->exited)
		TRY(waitq_wait_ms(&m->ended, MACHINE_TERM_MS, &woken));
	if (!m->exited)
		process_kill(m->proc, SIGKILL);
	return NULL;
}

static struct err *machine_stop(void *arg)
{
	int64_t pause_ms = MACHINE_POWER_BUTTON_MS;
	struct machine *m = arg;
	bool woken;

	err_log(NULL, LOG_WARN, "QEMU may outlive its guest", machine_keep_on_shutdown(m, false));
	while (!m->exited) {
		int64_t left = (m->shutdown_deadline.ns - mono_now().ns) / NS_PER_MS;

		if (left <= 0)
			return machine_terminate(m);
		/* A guest that still boots misses the first press. */
		if (m->state == MACHINE_RUNNING)
			err_log(NULL, LOG_WARN, "cannot press the power button",
				machine_command(m, "system_powerdown", NULL));
		TRY(waitq_wait_ms(&m->shutdown_changed, MIN(left, pause_ms), &woken));
		pause_ms = MIN(pause_ms * 2, (int64_t)MACHINE_POWER_BUTTON_MAX_MS);
	}
	return NULL;
}

struct err *machine_shutdown(struct machine *m, int64_t grace)
{
	struct mono deadline = mono_add_ms(mono_now(), MAX(grace, 0) * 1000);

	if (machine_is_final(m))
		return NULL;
	if (m->state == MACHINE_NOSTATE || m->state == MACHINE_STARTING)
		return err_new(ERR_CONFLICT, "VMI is not running");
	/* Asked again, only a shorter grace counts. */
	if (!m->shutdown_requested || deadline.ns < m->shutdown_deadline.ns)
		m->shutdown_deadline = deadline;
	m->shutdown_requested = true;
	m->soft_reboot = false;
	if (!m->stopper)
		m->stopper = fiber_spawn(m->loop, "qemu-stop", machine_stop, m);
	else
		waitq_wake_all(&m->shutdown_changed);
	return NULL;
}

enum machine_state machine_state(const struct machine *m)
{
	return m->state;
}

bool machine_is_final(const struct machine *m)
{
	return m->state == MACHINE_SHUTOFF || m->state == MACHINE_CRASHED;
}

struct json *machine_describe(const struct machine *m, struct arena *a)
{
	struct json *d = json_object(a);

	json_set_str(a, d, "state", str_from(machine_state_names[m->state]));
	json_set_str(a, d, "reason", str_from(m->reason));
	json_set(a, d, "message", json_strcpy(a, m->message));
	json_set(a, d, "machine", json_strcpy(a, m->machine_type));
	json_set_int(a, d, "pid", m->proc ? process_pid(m->proc) : 0);
	json_set_int(a, d, "resets", m->resets);
	json_set_bool(a, d, "emulation", m->emulation);
	json_set_bool(a, d, "shutdownRequested", m->shutdown_requested);
	if (m->started.ns)
		json_set_str(a, d, "startedAt", wall_format(a, m->started));
	return d;
}
