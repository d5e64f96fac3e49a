/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The node as VMs see it: labels from what QEMU says it can do, and the heartbeat that keeps
 * kubevirt.io/schedulable true.
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/names.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/rand.h"
#include "client/rest.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/process.h"
#include "io/stream.h"
#include "virt/handler/handler.h"
#include "virt/kvm.h"
#include "virt/launcher/qmp.h"
#include "virt/names.h"
#include "json/json.h"

#define NODE_QEMU         "/usr/bin/qemu-system-x86_64"
#define NODE_HEARTBEAT_MS 90000 /* at least; virt-controller waits 5 minutes for one */
#define NODE_SPREAD_MS    60000
#define NODE_RETRY_MS     1000
#define NODE_PROBE_MS     20000

static void node_ignore_event(void *ctx UNUSED, struct str name UNUSED,
			      const struct json *data UNUSED)
{
}

/* A label's key: the prefix and a name of QEMU's, when that makes a valid one. */
static void node_label(struct arena *a, struct json *labels, const char *prefix, struct str name)
{
	struct str key = arena_fmt(a, "%s" STR_FMT, prefix, STR_ARG(name));

	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '-' || c == '_' || c == '.'))
			return;
	}
	if (name.n && name.n <= 63)
		json_set_str(a, labels, key.p, STR("true"));
}

static struct err *node_ask(struct qmp *q, struct arena *a, struct json *labels)
{
	struct json *machines, *cpus;

	TRY(qmp_call(q, a, "query-machines", NULL, &machines));
	json_for_each(it, machines)
	{
		struct str name = json_str_at(it.val, "name");

		if (!str_has_prefix(name, STR("pc-q35-")))
			continue;
		node_label(a, labels, LABEL_MACHINE_TYPE, name);
		if (!str_empty(json_str_at(it.val, "alias")))
			node_label(a, labels, LABEL_MACHINE_TYPE, json_str_at(it.val, "alias"));
	}
	TRY(qmp_call(q, a, "query-cpu-definitions", NULL, &cpus));
	json_for_each(it, cpus)
	{
		struct str name = json_str_at(it.val, "name");
		const struct json *missing = json_get(it.val, "unavailable-features");

		/* Versions (Haswell-v1) are QEMU's; libvirt's names, which people use, have none.
		 */
		if (missing && json_len(missing) == 0 && str_find(name, STR("-v")) == name.n)
			node_label(a, labels, LABEL_CPU_MODEL, name);
	}
	return NULL;
}

static struct err *node_probe(struct arena *a, bool kvm, struct json *labels)
{
	const char *argv[] = { NODE_QEMU,
			       "-machine",
			       kvm ? "none,accel=kvm" : "none,accel=tcg",
			       "-nodefaults",
			       "-no-user-config",
			       "-display",
			       "none",
			       "-chardev",
			       "socket,id=mon,fd=3",
			       "-mon",
			       "chardev=mon,mode=control",
			       NULL };
	const struct qmp_events ev = { .event = node_ignore_event };
	struct process *proc = NULL;
	struct qmp *q = NULL;
	struct err *e;
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return err_errno(errno, "socketpair");
	e = process_start(&(struct process_opts){ .argv = argv,
						  .stdin_fd = -1,
						  .stdout_fd = -1,
						  .stderr_fd = -1,
						  .pass_fds = &sv[1],
						  .n_pass_fds = 1,
						  .pdeathsig = true },
			  &proc);
	close(sv[1]);
	if (e) {
		close(sv[0]);
		return e;
	}
	e = qmp_open(stream_from_fd(sv[0]), &ev, &q);
	if (!e)
		e = node_ask(q, a, labels);
	qmp_free(q);
	process_free(proc);
	return e;
}

/* What of /proc/cpuinfo is worth a label. */
static void node_cpuinfo(struct arena *a, struct str cpuinfo, struct json *labels)
{
	struct str line;

	while (str_split_next(&cpuinfo, '\n', &line)) {
		struct str value = line, key, word;

		if (str_empty(line))
			return;
		str_cut(&value, ':', &key);
		key = str_trim(key);
		value = str_trim(value);
		if (str_eqz(key, "vendor_id")) {
			struct str vendor = str_eqz(value, "GenuineIntel")   ? STR("Intel")
					    : str_eqz(value, "AuthenticAMD") ? STR("AMD")
									     : value;

			node_label(a, labels, "cpu-vendor.node.kubevirt.io/", vendor);
		} else if (str_eqz(key, "flags")) {
			while (str_split_next(&value, ' ', &word))
				node_label(a, labels, LABEL_CPU_FEATURE, word);
		}
	}
}

static struct json *node_labels(struct handler *h, struct arena *a)
{
	struct json *labels = json_object(a);
	struct str cpuinfo = STR_EMPTY;
	const char *why = "";
	struct mono old;
	bool kvm;

	err_ignore(file_read(a, "/proc/cpuinfo", 64 * 1024 * 1024, &cpuinfo),
		   "labels are fewer then");
	kvm = kvm_usable(&why);
	if (kvm)
		node_cpuinfo(a, cpuinfo, labels);
	old = fiber_limit_ms(NODE_PROBE_MS);
	err_log(NULL, LOG_ERROR, "QEMU does not tell what it can do; no VM will be scheduled here",
		node_probe(a, kvm, labels));
	fiber_restore_deadline(old);
	json_set_str(a, labels, "kubevirt.io/ksm-enabled", STR("false"));
	log_info(NULL, "node probed", KV_STR("node", h->node_name), KV_BOOL("kvm", kvm),
		 KV_Z("why", kvm ? "" : why), KV_INT("labels", json_len(labels)));
	return labels;
}

static struct err *node_patch(struct handler *h, struct arena *a, struct json *labels,
			      bool schedulable)
{
	struct json *patch = json_object(a), *meta = json_sub(a, patch, "metadata");
	struct str value = schedulable ? STR("true") : STR("false");

	if (!labels)
		labels = json_object(a);
	json_set_str(a, labels, LABEL_SCHEDULABLE, value);
	json_set_str(a, labels, "cpumanager", STR("false"));
	json_set_str(a, labels, "kubevirt.io/cpumanager", STR("false"));
	json_set(a, meta, "labels", labels);
	json_set(a, json_sub(a, meta, "annotations"), ANNO_HEARTBEAT,
		 json_strf(a, "\"" STR_FMT "\"", STR_ARG(wall_format(a, wall_now()))));
	return client_patch(h->client, a, GVR_NODE, STR_EMPTY, h->node_name, NULL,
			    CLIENT_PATCH_STRATEGIC, patch, NULL);
}

struct err *node_run(void *arg)
{
	struct handler *h = arg;
	bool labelled = false;

	for (;;) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct err *e = node_patch(h, a, labelled ? NULL : node_labels(h, a), true);

		if (e && err_is(e, ERR_CANCELED))
			return e;
		if (!e) {
			labelled = true;
			TRY(fiber_sleep_ms(NODE_HEARTBEAT_MS +
					   (int64_t)rand_below(NODE_SPREAD_MS)));
			continue;
		}
		err_log(NULL, LOG_WARN, "heartbeat not written, trying again", e);
		TRY(fiber_sleep_ms(NODE_RETRY_MS));
	}
}

void node_leave(struct handler *h)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct mono old;

	fiber_mask_cancel();
	old = fiber_limit_ms(2000);
	err_log(NULL, LOG_INFO, "node not marked", node_patch(h, a, NULL, false));
	fiber_restore_deadline(old);
	fiber_unmask_cancel();
}
