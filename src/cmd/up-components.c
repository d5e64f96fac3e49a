/* SPDX-License-Identifier: Apache-2.0 */
/* Which components run, as whom and with which flags. */
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "client/rest.h"
#include "cmd/up.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/http-client.h"
#include "io/process.h"
#include "node/containerd.h"
#include "virt/launcher-api.h"

#define UP_READY_TIMEOUT_MS 30000

bool up_is_without(const struct up *u, const char *component)
{
	for (size_t i = 0; i < u->flags.n_without; i++)
		if (str_eqz(u->flags.without[i], component))
			return true;
	return false;
}

bool up_has_hollow(const struct up *u)
{
	return u->flags.hollow_nodes.n && !str_eqz(u->flags.hollow_nodes, "0");
}

/* argv: isoplane NAME ARGS... */
void up_start(struct up *u, const char *name, uid_t uid, const char *const *args)
{
	const char **argv;
	int *fds = NULL;
	size_t n = 0, n_fds = 0;

	if (up_is_without(u, name))
		return;
	while (args[n])
		n++;
	argv = arena_array(u->a, n + 5, sizeof(*argv));
	argv[0] = "isoplane";
	argv[1] = name;
	memcpy(argv + 2, args, n * sizeof(*argv));
	if (u->flags.log_level.n) {
		argv[n + 2] = "--log-level";
		argv[n + 3] = arena_strz(u->a, u->flags.log_level);
	}
	if (str_eqz(str_from(name), "apiserver")) {
		/* 3: the data directory, then the sockets, then the audit log */
		fds = arena_array(u->a, 4, sizeof(*fds));
		fds[n_fds++] = u->dir_fd;
		for (size_t i = 0; i < u->n_listen_fds; i++)
			fds[n_fds++] = u->listen_fds[i];
		if (u->audit_fd > 0)
			fds[n_fds++] = u->audit_fd;
	}
	u->children[u->n_children++] = child_start(fiber_loop(), &(struct child_opts){
									 .name = name,
									 .argv = argv,
									 .exe_fd = u->exe_fd,
									 .uid = u->root ? uid : 0,
									 .pass_fds = fds,
									 .n_pass_fds = n_fds,
								 });
}

static void up_start_apiserver(struct up *u)
{
	const char *args[16 + UP_ACCESS_MAX];
	size_t n = 0;

	args[n++] = "--data-dir";
	args[n++] = "/proc/self/fd/3";
	for (size_t i = 0; i < u->n_listen_fds; i++) {
		args[n++] = "--listen-fd";
		args[n++] = arena_fmt(u->a, "%zu", 4 + i).p;
	}
	args[n++] = "--service-cidr";
	args[n++] = u->inst.service_cidr.p;
	if (u->with_node) {
		args[n++] = "--advertise";
		args[n++] = str_skip(u->node_api_url, strlen("https://")).p;
	}
	n = up_access_args(u, args, n);
	args[n] = NULL;
	up_start(u, "apiserver", UP_UID_APISERVER, args);
}

struct err *up_start_core(struct up *u)
{
	const char *volumes = arena_fmt(u->a, "%s/volumes", u->inst.dir).p;

	up_start_apiserver(u);
	up_start(u, "controllers", UP_UID_CONTROLLERS,
		 (const char *const[]){ "--kubeconfig", up_run_path(u, "controllers.kubeconfig"),
					"--volume-dir", volumes, NULL });
	up_start(u, "scheduler", UP_UID_SCHEDULER,
		 (const char *const[]){ "--kubeconfig", up_run_path(u, "scheduler.kubeconfig"),
					NULL });
	if (up_has_hollow(u))
		up_start(u, "hollow-nodes", UP_UID_HOLLOW,
			 (const char *const[]){
				 "--kubeconfig", up_run_path(u, "hollow-nodes.kubeconfig"),
				 "--count", arena_strz(u->a, u->flags.hollow_nodes), NULL });
	return NULL;
}

static struct err *up_ensure_containerd(struct up *u, struct arena *a, const char **ret_socket)
{
	const struct containerd_opts opts = {
		.data_dir = u->inst.dir,
		.run_dir = u->inst.run_dir,
		.id = u->inst.id,
		.bridge = u->inst.bridge,
		.pod_cidr = u->inst.node_cidr,
		.kubeconfig = up_run_path(u, "node.kubeconfig"),
	};

	return containerd_ensure(a, &opts, ret_socket);
}

/*
 * The launcher image holds this machine's QEMU and our virt-launcher: made again when either
 * changed. Its tag says of which versions it is; DIR/launcher-image has the tag of the one imported
 * last. has: some launcher image is there.
 */
static struct err *up_ensure_launcher_image(struct up *u, bool has)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *mark = arena_fmt(a, "%s/launcher-image", u->inst.dir).p;
	const char *tar = arena_fmt(a, "%s/launcher-image.tar", u->inst.run_dir).p;
	const char *script, *launcher;
	struct str tag, old = STR_EMPTY;

	TRY(instance_resource(a, "tools/launcher-image", &script));
	TRY(instance_sibling(a, "virt-launcher", &launcher));
	TRY(process_run(a,
			(const char *const[]){ script, "--print-tag", "--binary", launcher, NULL },
			STR_EMPTY, 4096, &tag));
	err_ignore(file_read(a, mark, 4096, &old), "made for the first time");
	if (has && str_eq(str_trim(old), str_trim(tag)))
		return NULL;
	log_info(NULL, "making the launcher image", KV_STR("tag", str_trim(tag)));
	TRY(process_run(
		a, (const char *const[]){ script, "--output", tar, "--binary", launcher, NULL },
		STR_EMPTY, 65536, NULL));
	TRY(containerd_import(a, u->inst.run_dir, tar));
	unlink(tar);
	return file_write_atomic(mark, tag, 0644);
}

/* containerd is detached and has no parent that would notice its end: we look. */
struct err *up_watch_containerd(struct up *u)
{
	for (;;) {
		struct arena *a = arena_new();
		const char *socket;

		if (!containerd_alive(a, u->inst.run_dir)) {
			log_warn(NULL, "containerd died, starting it again");
			err_log(NULL, LOG_ERROR, "cannot start containerd",
				up_ensure_containerd(u, a, &socket));
		}
		arena_free(a);
		TRY(fiber_sleep_ms(1000));
	}
}

struct err *up_start_node(struct up *u)
{
	const char *socket;
	bool virt = !up_is_without(u, "virt"), has;

	TRY(up_ensure_containerd(u, u->a, &socket));
	has = containerd_has_image(u->a, u->inst.run_dir, LAUNCHER_IMAGE_DEFAULT);
	/* The first time machines would meet a missing image and back off; later the old one
	 * serves. */
	if (virt && !has)
		err_log(NULL, LOG_ERROR, "no launcher image: machines cannot start",
			up_ensure_launcher_image(u, has));
	up_start(u, "node", UP_UID_ROOT,
		 (const char *const[]){ "--kubeconfig",
					up_run_path(u, "node.kubeconfig"),
					"--node-name",
					arena_strz(u->a, u->node_name),
					"--node-ip",
					u->inst.node_ip.p,
					"--data-dir",
					u->inst.dir,
					"--run-dir",
					u->inst.run_dir,
					"--cri-socket",
					socket,
					"--kubelet-root",
					u->inst.kubelet_root,
					"--pod-cidr",
					u->inst.node_cidr.p,
					"--service-cidr",
					u->inst.service_cidr.p,
					"--server-cert",
					up_run_path(u, "kubelet.crt"),
					"--server-key",
					up_run_path(u, "kubelet.key"),
					"--client-ca",
					up_run_path(u, "client-ca.crt"),
					NULL });
	if (virt && has)
		err_log(NULL, LOG_ERROR, "new machines get the old launcher image",
			up_ensure_launcher_image(u, has));
	return NULL;
}

static bool up_is_ready(struct up *u)
{
	struct arena *a = arena_new();
	struct http_client_response resp = { 0 };
	struct err *e = client_raw_http(u->admin, a, "GET", STR("/readyz"), NULL, STR_EMPTY, &resp);
	bool ready = !e && resp.status == 200;

	err_ignore(e, "not up yet");
	arena_free(a);
	return ready;
}

struct err *up_wait_ready(struct up *u)
{
	struct mono began = mono_now();

	while (!up_is_ready(u)) {
		if (mono_ms_since(began) > UP_READY_TIMEOUT_MS)
			return err_new(ERR_TIMEOUT,
				       "the API server was not ready within %d s: its log lines "
				       "above tell why",
				       UP_READY_TIMEOUT_MS / 1000);
		TRY(fiber_sleep_ms(5));
	}
	return NULL;
}
