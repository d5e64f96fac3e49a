/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/launcher/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/loop.h"
#include "io/stream.h"
#include "virt/kvm.h"
#include "virt/launcher-api.h"
#include "virt/launcher/console-log.h"
#include "virt/launcher/dhcp.h"
#include "virt/launcher/jsonl.h"
#include "virt/launcher/machine.h"
#include "virt/launcher/vm.h"
#include "json/json.h"

#define LAUNCHER_IDLE_SECONDS   300
#define LAUNCHER_LINGER_MS      30000 /* after the VM's end, for the handler to learn of it */
#define LAUNCHER_TERM_LINGER_MS 3000  /* the same after SIGTERM */
#define LAUNCHER_MAX_CONNS      16
#define LAUNCHER_MAX_DHCP       8

const struct launcher_opts launcher_default_opts = {
	.sockets_dir = LAUNCHER_SOCKETS_DIR,
	.qemu = "/usr/bin/qemu-system-x86_64",
	.resolv_conf = "/etc/resolv.conf",
	.ovmf_dir = "/usr/share/OVMF",
	.dirs = &disks_default_dirs,
};

struct launcher {
	const struct launcher_opts *opts;
	struct loop *loop;
	struct machine *machine;
	struct arena *vm_arena; /* of the VM that runs */
	struct fiber *log_watch;
	struct dhcp *dhcp[LAUNCHER_MAX_DHCP];
	size_t n_dhcp;
	struct list conns;
	unsigned n_conns;
	bool busy; /* a command is running */
	struct waitq turn;
	bool exit_asked, terminated, idle;
	struct waitq ended; /* something main waits for has changed */
	struct signal_source sigterm;
};

struct conn {
	struct list link;
	struct launcher *l;
	struct jsonl line;
	bool dirty, closing;
	struct waitq wake;
};

/* state changes */

static void launcher_save(struct launcher *l)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str path = arena_fmt(a, "%s/%s", l->opts->sockets_dir, LAUNCHER_FINAL_STATE);

	err_log(NULL, LOG_WARN, "cannot write the domain's state",
		file_write_atomic(path.p, json_text(a, machine_describe(l->machine, a)), 0640));
}

static void launcher_changed(void *ctx)
{
	struct launcher *l = ctx;
	struct conn *c;

	launcher_save(l);
	list_for_each(c, &l->conns, link) {
		c->dirty = true;
		waitq_wake_all(&c->wake);
	}
	waitq_wake_all(&l->ended);
}

/* commands */

static struct err *launcher_prepare_efi(struct launcher *l, struct arena *a, struct vm *vm)
{
	const char *kind = vm->secure_boot ? ".ms" : "";
	struct str vars;

	if (!json_at(vm->domain, "firmware.bootloader.efi"))
		return NULL;
	vm->efi_code = arena_fmt(a, "%s/OVMF_CODE_4M%s.fd", l->opts->ovmf_dir, kind);
	vm->efi_vars = arena_fmt(a, STR_FMT "/" STR_FMT "_VARS.fd", STR_ARG(vm->private_dir),
				 STR_ARG(vm->name));
	TRY(file_read(a, arena_fmt(a, "%s/OVMF_VARS_4M%s.fd", l->opts->ovmf_dir, kind).p,
		      4 * 1024 * 1024, &vars));
	return file_write_atomic(vm->efi_vars.p, vars, 0640);
}

static void launcher_stop_dhcp(struct launcher *l)
{
	while (l->n_dhcp)
		dhcp_free(l->dhcp[--l->n_dhcp]);
}

static struct err *launcher_start_dhcp(struct launcher *l, struct arena *a, const struct json *list)
{
	struct str resolv = STR_EMPTY;

	err_ignore(file_read(a, l->opts->resolv_conf, 65536, &resolv), "a Pod may have none");
	json_for_each(it, list)
	{
		struct dhcp_config *c = arena_new_obj(a, struct dhcp_config);

		if (l->n_dhcp == LAUNCHER_MAX_DHCP)
			return err_new(ERR_BAD_REQUEST, "more than %d DHCP servers",
				       LAUNCHER_MAX_DHCP);
		TRY(dhcp_config_parse(a, it.val, resolv, c));
		TRY(dhcp_start(l->loop, c, &l->dhcp[l->n_dhcp]));
		l->n_dhcp++;
	}
	return NULL;
}

static struct err *launcher_boot(struct launcher *l, struct arena *a, const struct json *req)
{
	const struct json *options = json_get(req, "options");
	const char *why = "";
	struct vm *vm;

	TRY(vm_decode(a, json_get(req, "vmi"), &vm));
	if (!str_eq(vm->uid, l->opts->uid))
		return err_new(ERR_CONFLICT, "this launcher is for the VMI with uid " STR_FMT,
			       STR_ARG(l->opts->uid));
	vm->kvm = kvm_usable(&why);
	if (!vm->kvm && !l->opts->allow_emulation)
		return err_new(ERR_UNAVAILABLE,
			       "no KVM (%s) and emulation is not allowed "
			       "(spec.configuration.developerConfiguration.useEmulation)",
			       why);
	vm->private_dir = arena_fmt(a, "%s/" STR_FMT, l->opts->dirs->private_dir, STR_ARG(vm->uid));
	TRY(file_mkdir_p(vm->private_dir.p, 0770));
	TRY(vm_set_interfaces(a, vm, json_get(options, "interfaces")));
	TRY(disks_prepare(a, l->opts->dirs, vm, json_get(options, "disks")));
	TRY(launcher_prepare_efi(l, a, vm));
	TRY(launcher_start_dhcp(l, a, json_get(options, "dhcp")));
	return machine_start(l->machine, vm);
}

static struct err *cmd_info(struct launcher *l UNUSED, struct arena *a UNUSED,
			    const struct json *req UNUSED)
{
	return NULL;
}

static char *launcher_log_path(struct launcher *l, struct arena *a)
{
	return arena_strz(a, arena_fmt(a, "%s/" STR_FMT "/" LAUNCHER_SERIAL_LOG,
				       l->opts->dirs->private_dir, STR_ARG(l->opts->uid)));
}

static struct err *cmd_sync(struct launcher *l, struct arena *a UNUSED, const struct json *req)
{
	struct arena *vm_arena;
	struct err *e;

	if (machine_state(l->machine) != MACHINE_NOSTATE || l->terminated)
		return NULL;
	vm_arena = arena_new();
	e = launcher_boot(l, vm_arena, json_copy(vm_arena, req));
	if (e) {
		launcher_stop_dhcp(l);
		arena_free(vm_arena);
		return e;
	}
	l->vm_arena = vm_arena;
	l->log_watch = fiber_spawn(l->loop, "console-log", console_log_watch,
				   launcher_log_path(l, vm_arena));
	if (l->terminated)
		return machine_shutdown(l->machine, l->opts->grace_seconds);
	return NULL;
}

static struct err *cmd_pause(struct launcher *l, struct arena *a UNUSED,
			     const struct json *req UNUSED)
{
	return machine_pause(l->machine);
}

static struct err *cmd_unpause(struct launcher *l, struct arena *a UNUSED,
			       const struct json *req UNUSED)
{
	return machine_unpause(l->machine);
}

static struct err *cmd_shutdown(struct launcher *l, struct arena *a UNUSED, const struct json *req)
{
	return machine_shutdown(l->machine, json_int_at(req, "gracePeriodSeconds", 30));
}

static struct err *cmd_kill(struct launcher *l, struct arena *a UNUSED,
			    const struct json *req UNUSED)
{
	return machine_shutdown(l->machine, 0);
}

static struct err *cmd_reset(struct launcher *l, struct arena *a UNUSED,
			     const struct json *req UNUSED)
{
	return machine_reset(l->machine);
}

static struct err *cmd_softreboot(struct launcher *l, struct arena *a UNUSED,
				  const struct json *req UNUSED)
{
	return machine_soft_reboot(l->machine);
}

static struct err *cmd_exit(struct launcher *l, struct arena *a UNUSED,
			    const struct json *req UNUSED)
{
	if (machine_state(l->machine) != MACHINE_NOSTATE && !machine_is_final(l->machine))
		return err_new(ERR_CONFLICT, "the VM still runs");
	l->exit_asked = true;
	waitq_wake_all(&l->ended);
	return NULL;
}

static const struct {
	const char *name;
	struct err *(*fn)(struct launcher *l, struct arena *a, const struct json *req);
} launcher_commands[] = {
	{ "info", cmd_info },         { "sync", cmd_sync },
	{ "pause", cmd_pause },       { "unpause", cmd_unpause },
	{ "shutdown", cmd_shutdown }, { "kill", cmd_kill },
	{ "reset", cmd_reset },       { "softreboot", cmd_softreboot },
	{ "exit", cmd_exit },
};

static struct err *launcher_command(struct launcher *l, struct arena *a, const struct json *req)
{
	struct str cmd = json_str_at(req, "cmd");
	struct err *e;

	for (size_t i = 0; i < ARRAY_LEN(launcher_commands); i++) {
		if (!str_eqz(cmd, launcher_commands[i].name))
			continue;
		while (l->busy)
			TRY(waitq_wait(&l->turn));
		l->busy = true;
		e = launcher_commands[i].fn(l, a, req);
		l->busy = false;
		waitq_wake_one(&l->turn);
		return e;
	}
	return err_new(ERR_BAD_REQUEST, "unknown command '" STR_FMT "'", STR_ARG(cmd));
}

/* connections */

static struct err *conn_serve_one(struct conn *c, struct arena *a, const struct json *req)
{
	struct json *reply = json_object(a);
	struct err *e = launcher_command(c->l, a, req);

	json_set_int(a, reply, "id", json_int_at(req, "id", 0));
	if (e) {
		struct json *error = json_sub(a, reply, "error");

		json_set_int(a, error, "code", err_http_status(e));
		json_set(a, error, "message", json_strcpy(a, err_msg(e)));
		json_set(a, reply, "domain", machine_describe(c->l->machine, a));
		err_log(NULL, LOG_WARN, "command failed", e);
	} else {
		json_set(a, json_sub(a, reply, "result"), "domain",
			 machine_describe(c->l->machine, a));
	}
	return jsonl_write(&c->line, reply);
}

static struct err *conn_read_all(struct conn *c)
{
	for (;;) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *req = NULL;

		TRY(jsonl_read(&c->line, a, &req));
		if (!req)
			return NULL;
		TRY(conn_serve_one(c, a, req));
	}
}

static struct err *conn_reader(void *arg)
{
	struct conn *c = arg;
	struct err *e = conn_read_all(c);

	c->closing = true;
	waitq_wake_all(&c->wake);
	err_log(NULL, LOG_INFO, "connection ended", e);
	return NULL;
}

static struct err *conn_writer(void *arg)
{
	struct conn *c = arg;

	while (!c->closing) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *event;

		if (!c->dirty) {
			TRY(waitq_wait(&c->wake));
			continue;
		}
		c->dirty = false;
		event = json_object(a);
		json_set_str(a, event, "event", STR("domain"));
		json_set(a, event, "domain", machine_describe(c->l->machine, a));
		TRY(jsonl_write(&c->line, event));
	}
	return NULL;
}

static struct err *conn_main(void *arg)
{
	struct conn *c = arg;
	struct launcher *l = c->l;
	struct fiber_group *g = fiber_group_new();

	fiber_group_add(g, "conn-read", conn_reader, c);
	fiber_group_add(g, "conn-write", conn_writer, c);
	err_ignore(fiber_group_join(g), "a handler may leave at any time");
	list_unlink(&c->link);
	l->n_conns--;
	waitq_wake_all(&l->ended);
	jsonl_fini(&c->line);
	free(c);
	return NULL;
}

static void launcher_accepted(struct launcher *l, int fd)
{
	struct stream *st = stream_from_fd(fd);
	struct stream_peer_cred cred = { 0 };
	struct conn *c;

	if (l->n_conns == LAUNCHER_MAX_CONNS || !stream_peer_cred(st, &cred) ||
	    (cred.uid != 0 && cred.uid != getuid())) {
		log_warn(NULL, "connection refused", KV_INT("uid", cred.uid));
		stream_free(st);
		return;
	}
	c = mem_new(struct conn);
	c->l = l;
	c->dirty = true;
	jsonl_init(&c->line, st, LAUNCHER_MAX_LINE);
	waitq_init(&c->wake);
	list_push_back(&l->conns, &c->link);
	l->n_conns++;
	fiber_unref(fiber_spawn(l->loop, "conn", conn_main, c));
}

struct accept_arg {
	struct launcher *l;
	int fd;
};

static struct err *launcher_accept(void *arg)
{
	struct accept_arg *aa = arg;

	for (;;) {
		int fd;

		TRY(fiber_wait_fd(aa->fd, IO_READABLE));
		fd = accept4(aa->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			launcher_accepted(aa->l, fd);
		else if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			return err_errno(errno, "accept");
	}
}

/* the end */

static void launcher_sigterm(struct signal_source *s, int signo UNUSED)
{
	struct launcher *l = container_of(s, struct launcher, sigterm);

	log_info(NULL, "asked to end, shutting the guest down");
	l->terminated = true;
	err_ignore(machine_shutdown(l->machine, l->opts->grace_seconds), "it may not run yet");
	waitq_wake_all(&l->ended);
}

static bool launcher_may_end(const struct launcher *l)
{
	if (machine_is_final(l->machine))
		return true;
	return machine_state(l->machine) == MACHINE_NOSTATE && (l->terminated || l->exit_asked);
}

static struct err *launcher_wait_start(struct launcher *l)
{
	int64_t idle = l->opts->idle_seconds ? l->opts->idle_seconds : LAUNCHER_IDLE_SECONDS;
	struct mono until = mono_add_ms(mono_now(), idle * 1000);
	bool woken;

	while (machine_state(l->machine) == MACHINE_NOSTATE && !launcher_may_end(l)) {
		int64_t left = (until.ns - mono_now().ns) / NS_PER_MS;

		if (left <= 0)
			return err_new(ERR_TIMEOUT, "no handler started the VM in %lld s",
				       (long long)idle);
		TRY(waitq_wait_ms(&l->ended, left, &woken));
	}
	return NULL;
}

static struct err *launcher_wait_end(struct launcher *l)
{
	struct mono until;
	bool woken;

	do {
		TRY(launcher_wait_start(l));
		while (machine_state(l->machine) != MACHINE_NOSTATE && !launcher_may_end(l))
			TRY(waitq_wait(&l->ended));
	} while (!launcher_may_end(l));
	/* Let the handler learn how it ended; the state file is there for one that comes later. */
	until = mono_add_ms(mono_now(),
			    l->terminated ? LAUNCHER_TERM_LINGER_MS : LAUNCHER_LINGER_MS);
	while (!l->exit_asked && machine_is_final(l->machine)) {
		int64_t left = (until.ns - mono_now().ns) / NS_PER_MS;

		if (left <= 0 || (l->terminated && l->n_conns == 0))
			break;
		TRY(waitq_wait_ms(&l->ended, left, &woken));
	}
	/* Replies under way. */
	return fiber_sleep_ms(20);
}

static struct err *launcher_listen(struct launcher *l, int *ret)
{
	_cleanup_arena_ struct arena *a = arena_new();

	TRY(file_mkdir_p(l->opts->sockets_dir, 0755));
	return stream_listen(arena_fmt(a, "unix:%s/%s", l->opts->sockets_dir, LAUNCHER_SOCKET),
			     ret);
}

static void launcher_close(struct launcher *l)
{
	struct conn *c;

	list_for_each(c, &l->conns, link)
		shutdown(stream_fd(c->line.st), SHUT_RDWR);
	fiber_mask_cancel();
	while (l->n_conns)
		err_ignore(waitq_wait(&l->ended), "connections close themselves");
	l->machine = machine_free(l->machine);
	if (l->log_watch) {
		fiber_cancel(l->log_watch);
		err_ignore(fiber_join(l->log_watch), "cancelled");
		l->log_watch = fiber_unref(l->log_watch);
	}
	fiber_unmask_cancel();
	launcher_stop_dhcp(l);
	arena_free(l->vm_arena);
	signal_source_del(&l->sigterm);
}

struct err *launcher_run(const struct launcher_opts *opts)
{
	struct launcher l = { .opts = opts, .loop = fiber_loop() };
	struct accept_arg aa = { .l = &l };
	struct fiber *acceptor;
	struct err *e;

	list_init(&l.conns);
	waitq_init(&l.turn);
	waitq_init(&l.ended);
	TRY(launcher_listen(&l, &aa.fd));
	l.machine = machine_new(l.loop, &(struct machine_opts){
						.qemu = opts->qemu,
						.changed = launcher_changed,
						.ctx = &l,
					});
	l.sigterm.fn = launcher_sigterm;
	signal_source_add(l.loop, &l.sigterm, SIGTERM);
	acceptor = fiber_spawn(l.loop, "accept", launcher_accept, &aa);
	log_info(NULL, "waiting for the handler", KV_STR("vmi", opts->name));
	e = launcher_wait_end(&l);
	fiber_mask_cancel();
	fiber_cancel(acceptor);
	err_ignore(fiber_join(acceptor), "cancelled");
	fiber_unref(acceptor);
	fiber_unmask_cancel();
	close(aa.fd);
	launcher_close(&l);
	return e;
}
