/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One VMI: desired (spec, deletion) and actual (what the launcher says) -> what to do -> status.
 *
 * The launcher's events and the informer's both end in the queue; every sync starts from scratch,
 * so a restarted handler adopts running VMs by the same code.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/controller.h"
#include "client/events.h"
#include "client/informer.h"
#include "client/rest.h"
#include "io/fiber.h"
#include "io/file.h"
#include "virt/handler/handler.h"
#include "virt/handler/launcher-conn.h"
#include "virt/handler/net.h"
#include "virt/handler/status.h"
#include "virt/launcher-api.h"
#include "virt/mapping/vmi.h"
#include "virt/names.h"
#include "json/json.h"

#define SYNC_LAUNCHER_WAIT_NS (30 * NS_PER_SEC) /* for a launcher's socket to appear */
#define SYNC_POLL_MS          200
#define SYNC_MAX_STATE        (256 * 1024)

/* One run of sync(key). */
struct sync {
	struct handler *h;
	struct handler_vm *vm;
	struct arena *a;
	struct json *vmi;    /* ours to change */
	struct json *domain; /* NULL: no launcher */
	struct json *net;
};

/* VMs we know */

static void sync_launcher_changed(void *ctx)
{
	struct handler_vm *vm = ctx;

	if (vm->h->controller)
		controller_enqueue(vm->h->controller, str_from(vm->key));
}

static struct handler_vm *sync_vm(struct handler *h, struct str key, struct str uid)
{
	struct handler_vm *vm = map_find(&h->vms, key);

	if (vm && !str_eqz(uid, vm->uid)) {
		map_del(&h->vms, key);
		handler_vm_free(vm);
		vm = NULL;
	}
	if (vm)
		return vm;
	vm = mem_new(struct handler_vm);
	vm->h = h;
	vm->key = mem_strdup(key);
	vm->uid = mem_strdup(uid);
	map_put(&h->vms, key, vm);
	return vm;
}

void handler_vm_free(struct handler_vm *vm)
{
	vm->conn = launcher_conn_free(vm->conn);
	free(vm->sync_error);
	free(vm->key);
	free(vm->uid);
	free(vm);
}

static void sync_forget(struct handler *h, struct str key)
{
	struct handler_vm *vm = map_del(&h->vms, key);

	if (!vm)
		return;
	net_forget(str_from(vm->uid));
	handler_vm_free(vm);
}

struct json *handler_vmi(struct handler *h, struct arena *a, struct str key)
{
	const struct obj *o = informer_find_key(h->vmis, key);
	struct json *vmi = NULL;

	if (o)
		err_ignore(
			obj_parse(a, o, STR(VIRT_API_VERSION), STR("VirtualMachineInstance"), &vmi),
			"the informer holds valid objects");
	return vmi;
}

/* the launcher Pod's directories */

/* Uids come from the API: they name one path component and nothing else. */
static bool sync_is_component(struct str s)
{
	return !str_empty(s) && s.n <= 64 && str_find_char(s, '/', 0) == s.n && s.p[0] != '.';
}

static struct err *sync_open_pod_volume(struct handler *h, struct str pod_uid, const char *volume,
					int *ret_fd)
{
	_cleanup_arena_ struct arena *a = arena_new();
	int root = open(arena_strz(a, h->kubelet_root), O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct err *e;

	if (root < 0)
		return err_errno(errno, "open " STR_FMT, STR_ARG(h->kubelet_root));
	e = file_open_beneath(root,
			      arena_fmt(a, "pods/" STR_FMT "/volumes/kubernetes.io~empty-dir/%s",
					STR_ARG(pod_uid), volume)
				      .p,
			      O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, ret_fd);
	close(root);
	return e;
}

struct err *handler_open_volume(struct handler *h, const struct json *vmi, const char *volume,
				int *ret_fd)
{
	json_for_each(it, json_at(vmi, "status.activePods"))
	{
		struct err *e;

		if (!str_eq(json_as_str(it.val), h->node_name) || !sync_is_component(it.key))
			continue;
		e = sync_open_pod_volume(h, it.key, volume, ret_fd);
		if (!e)
			return NULL;
		err_ignore(e, "another Pod may be the one");
	}
	return err_new(ERR_NOT_FOUND, "no launcher Pod with a directory '%s' on this node", volume);
}

/* A regular file, whole: what else a tenant may have put there must not hold us up. */
static struct err *sync_read_file(struct arena *a, int fd, struct str *ret)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > SYNC_MAX_STATE)
		return err_new(ERR_INVALID, "not a small file");
	buf_reserve(&b, (size_t)st.st_size);
	while (b.n < (size_t)st.st_size) {
		n = read(fd, b.p + b.n, (size_t)st.st_size - b.n);
		if (n <= 0)
			return err_new(ERR_IO, "cannot read it");
		b.n += (size_t)n;
	}
	*ret = buf_to_arena(&b, a);
	return NULL;
}

/* What a launcher that has ended left behind. */
static struct json *sync_final_state(struct sync *s, int dir)
{
	struct json *domain = NULL;
	struct str text = STR_EMPTY;
	int fd;
	struct err *e = file_open_beneath(dir, LAUNCHER_FINAL_STATE,
					  O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0, &fd);

	if (!e) {
		e = sync_read_file(s->a, fd, &text);
		close(fd);
	}
	if (!e)
		e = json_parse(s->a, text, &domain);
	err_ignore(e, "it may never have started");
	if (str_eqz(json_str_at(domain, "state"), "Shutoff") ||
	    str_eqz(json_str_at(domain, "state"), "Crashed"))
		return domain;
	return NULL;
}

static bool sync_launcher_may_come(const struct json *vmi)
{
	const struct json *t = json_find_by(json_at(vmi, "status.phaseTransitionTimestamps"),
					    "phase", STR("Scheduled"));
	struct wall since;

	if (!vmi_phase_is(vmi, "Scheduled") || meta_deleting(vmi))
		return false;
	return !wall_parse(json_str_at(t, "phaseTransitionTimestamp"), &since) ||
	       wall_now().ns - since.ns < SYNC_LAUNCHER_WAIT_NS;
}

/* Connects, or finds out that there is nobody to connect to. *ret_wait: try again soon. */
static struct err *sync_connect(struct sync *s, bool *ret_wait)
{
	struct launcher_conn_opts o = { .changed = sync_launcher_changed, .ctx = s->vm };
	struct err *e;

	*ret_wait = false;
	if (s->vm->conn && launcher_conn_is_closed(s->vm->conn))
		s->vm->conn = launcher_conn_free(s->vm->conn);
	if (!s->vm->conn) {
		e = handler_open_volume(s->h, s->vmi, LAUNCHER_VOL_SOCKETS, &o.sockets_dir);
		if (!e) {
			e = launcher_conn_open(&o, &s->vm->conn);
			if (e)
				s->domain = sync_final_state(s, o.sockets_dir);
			close(o.sockets_dir);
		}
		/* Only "no such file" and "nobody listens" tell that there is no launcher. */
		if (e && !err_is(e, ERR_NOT_FOUND) && !err_is(e, ERR_UNAVAILABLE))
			return e;
		err_log(controller_log(s->h->controller), LOG_INFO, "launcher does not answer", e);
	}
	if (s->vm->conn)
		s->domain = json_copy(s->a, launcher_conn_domain(s->vm->conn));
	else if (!s->domain)
		*ret_wait = sync_launcher_may_come(s->vmi);
	return NULL;
}

/* acting */

static void sync_event(struct sync *s, const char *type, const char *reason, struct str text)
{
	event_record(s->h->events, s->vmi, STR(VIRT_API_VERSION), STR("VirtualMachineInstance"),
		     type, reason, STR_FMT, STR_ARG(text));
}

static struct err *sync_start_vm(struct sync *s)
{
	struct json *args = json_object(s->a), *options = json_sub(s->a, args, "options");
	struct json *sizes;

	TRY(claims_prepare(s->h, s->a, s->vmi, launcher_conn_root(s->vm->conn), &sizes));
	TRY(net_prepare(s->a, s->vmi, launcher_conn_netns(s->vm->conn), &s->net));
	json_set(s->a, options, "interfaces", json_copy(s->a, json_get(s->net, "interfaces")));
	json_set(s->a, options, "dhcp", json_copy(s->a, json_get(s->net, "dhcp")));
	json_set(s->a, options, "disks", sizes);
	json_set(s->a, args, "vmi", json_copy(s->a, s->vmi));
	return launcher_conn_call(s->vm->conn, s->a, "sync", args);
}

/* Starts the VM; a failure goes into the status, and comes back to be tried again. */
static struct err *sync_start(struct sync *s)
{
	struct err *e = sync_start_vm(s);

	free(s->vm->sync_error);
	s->vm->sync_error = NULL;
	if (s->vm->conn)
		s->domain = json_copy(s->a, launcher_conn_domain(s->vm->conn));
	if (!e) {
		sync_event(s, "Normal", "Created", STR("VirtualMachineInstance defined."));
		return NULL;
	}
	if (err_is(e, ERR_CANCELED))
		return e;
	s->vm->sync_error = mem_fmt("server error. command SyncVMI failed: \"" STR_FMT "\"",
				    STR_ARG(err_msg(e)));
	sync_event(s, "Warning", "SyncFailed", str_from(s->vm->sync_error));
	return e;
}

static struct err *sync_shutdown(struct sync *s)
{
	struct json *args = json_object(s->a);

	json_set_int(s->a, args, "gracePeriodSeconds", vmi_grace_seconds(s->vmi));
	TRY(launcher_conn_call(s->vm->conn, s->a, "shutdown", args));
	if (!s->vm->shutdown_told)
		sync_event(s, "Normal", "ShuttingDown", STR("Signaled Graceful Shutdown"));
	s->vm->shutdown_told = true;
	return NULL;
}

static bool sync_domain_is(const struct sync *s, const char *state)
{
	return str_eqz(json_str_at(s->domain, "state"), state);
}

/* What the present state of things calls for. */
static struct err *sync_act(struct sync *s)
{
	bool alive = sync_domain_is(s, "Running") || sync_domain_is(s, "Paused");

	if (!s->vm->conn)
		return NULL;
	if (meta_deleting(s->vmi))
		return alive ? sync_shutdown(s) : NULL;
	if (sync_domain_is(s, "NoState") && vmi_phase_is(s->vmi, "Scheduled"))
		return sync_start(s);
	return NULL;
}

/* status */

static void sync_tell_phase(struct sync *s)
{
	if (vmi_phase_is(s->vmi, "Running"))
		sync_event(s, "Normal", "Started", STR("VirtualMachineInstance started."));
	else if (vmi_phase_is(s->vmi, "Succeeded"))
		sync_event(s, "Normal", "Stopped",
			   STR("The VirtualMachineInstance was shut down."));
	else if (vmi_phase_is(s->vmi, "Failed"))
		sync_event(s, "Warning", "Stopped", STR("The VirtualMachineInstance crashed."));
}

static struct err *sync_write_status(struct sync *s)
{
	struct json *old = json_copy(s->a, s->vmi);

	if (!s->net)
		s->net = net_recall(s->a, meta_uid(s->vmi));
	status_update(s->a, s->vmi, s->domain, s->net,
		      s->vm->sync_error ? str_from(s->vm->sync_error) : STR_EMPTY, wall_now());
	if (json_equal(json_get(old, "status"), json_get(s->vmi, "status")))
		return NULL;
	TRY(client_update(s->h->client, s->a, GVR_VMI, NULL, s->vmi, NULL));
	if (!str_eq(vmi_phase(old), vmi_phase(s->vmi)))
		sync_tell_phase(s);
	return NULL;
}

/* A final VMI's launcher has nothing more to do. */
static void sync_finish(struct sync *s, struct str key)
{
	if (s->vm->conn && !launcher_conn_is_closed(s->vm->conn))
		err_ignore(launcher_conn_call(s->vm->conn, s->a, "exit", NULL),
			   "it ends by itself, later");
	sync_forget(s->h, key);
}

static struct err *sync_one(struct sync *s, struct str key)
{
	bool wait;
	struct err *e, *e2;

	TRY(sync_connect(s, &wait));
	if (wait) {
		controller_enqueue_after(s->h->controller, key, SYNC_POLL_MS);
		return NULL;
	}
	e = sync_act(s);
	if (e && err_is(e, ERR_CANCELED))
		return e;
	e2 = sync_write_status(s);
	if (e2 && err_is(e2, ERR_CONFLICT) && !e) {
		/* Somebody was faster; the informer will bring the news. */
		err_ignore(e2, "tried again at once");
		controller_enqueue_after(s->h->controller, key, 20);
		return NULL;
	}
	if (e) {
		err_log(controller_log(s->h->controller), LOG_WARN, "status not written", e2);
		return e;
	}
	TRY(e2);
	if (vmi_is_final(s->vmi))
		sync_finish(s, key);
	return NULL;
}

struct err *handler_sync(void *ctx, struct arena *a, struct str key)
{
	struct handler *h = ctx;
	struct sync s = { .h = h, .a = a, .vmi = handler_vmi(h, a, key) };

	if (!s.vmi || !str_eq(json_str_at(s.vmi, "status.nodeName"), h->node_name)) {
		sync_forget(h, key);
		return NULL;
	}
	if (vmi_is_final(s.vmi)) {
		s.vm = map_find(&h->vms, key);
		if (s.vm)
			sync_finish(&s, key);
		return NULL;
	}
	if (!vmi_phase_is(s.vmi, "Scheduled") && !vmi_phase_is(s.vmi, "Running"))
		return NULL;
	s.vm = sync_vm(h, key, meta_uid(s.vmi));
	return sync_one(&s, key);
}

/* for the server */

struct err *handler_find(struct handler *h, struct str key, struct handler_vm **ret)
{
	struct handler_vm *vm = map_find(&h->vms, key);

	if (!vm || !vm->conn || launcher_conn_is_closed(vm->conn))
		return err_new(ERR_NOT_FOUND,
			       "VirtualMachineInstance " STR_FMT " does not run here",
			       STR_ARG(key));
	*ret = vm;
	return NULL;
}

struct err *handler_command(struct handler_vm *vm, const char *command)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct controller *c = vm->h->controller;
	struct str key = arena_str(a, str_from(vm->key));

	TRY(launcher_conn_call(vm->conn, a, command, NULL));
	controller_enqueue(c, key);
	return NULL;
}
