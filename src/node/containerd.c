/* SPDX-License-Identifier: Apache-2.0 */
#include "node/containerd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/process.h"
#include "node/pause-image.h"
#include "json/json.h"

#define CONTAINERD_READY_MS 20000
#define CNI_SYSTEM_DIR      "/usr/lib/cni"
#define CTR_MAX_OUTPUT      (256 * 1024)

/* our CNI plugins, beside the binary */
static const char *const own_plugins[] = { "isoplane-multus" };

static const char *containerd_path(struct arena *a, const char *dir, const char *name)
{
	return arena_fmt(a, "%s/%s", dir, name).p;
}

static const char *containerd_socket(struct arena *a, const char *run_dir)
{
	return containerd_path(a, run_dir, "containerd.sock");
}

/* configuration */

static struct str containerd_config(struct arena *a, const struct containerd_opts *o)
{
	return arena_fmt(
		a,
		"version = 2\n"
		"root = \"%s/containerd\"\n"
		"state = \"%s/containerd\"\n"
		"disabled_plugins = [\"io.containerd.snapshotter.v1.aufs\", "
		"\"io.containerd.snapshotter.v1.btrfs\", "
		"\"io.containerd.snapshotter.v1.devmapper\", "
		"\"io.containerd.snapshotter.v1.zfs\", "
		"\"io.containerd.tracing.processor.v1.otlp\", "
		"\"io.containerd.internal.v1.tracing\"]\n"
		"[grpc]\n"
		"  address = \"%s\"\n"
		"[plugins.\"io.containerd.grpc.v1.cri\"]\n"
		"  sandbox_image = \"" PAUSE_IMAGE_NAME "\"\n"
		"  restrict_oom_score_adj = true\n"
		"  disable_tcp_service = true\n"
		"  stream_server_address = \"127.0.0.1\"\n"
		"  stream_server_port = \"0\"\n"
		"  stream_idle_timeout = \"4h0m0s\"\n"
		"  netns_mounts_under_state_dir = true\n"
		"  [plugins.\"io.containerd.grpc.v1.cri\".containerd]\n"
		"    default_runtime_name = \"runc\"\n"
		"    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n"
		"      runtime_type = \"io.containerd.runc.v2\"\n"
		"      [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n"
		"        SystemdCgroup = false\n"
		"  [plugins.\"io.containerd.grpc.v1.cri\".cni]\n"
		"    bin_dir = \"%s/cni-bin\"\n"
		"    conf_dir = \"%s/containerd/cni\"\n",
		o->data_dir, o->run_dir, containerd_socket(a, o->run_dir), o->data_dir, o->run_dir);
}

static struct json *cni_bridge(struct arena *a, const struct containerd_opts *o)
{
	struct json *p = json_object(a), *ipam = json_object(a), *route = json_object(a);

	json_set_str(a, p, "type", STR("bridge"));
	json_set_str(a, p, "bridge", o->bridge);
	json_set_bool(a, p, "isGateway", true);
	json_set_bool(a, p, "ipMasq", true);
	json_set_bool(a, p, "hairpinMode", true);
	json_set_str(a, ipam, "type", STR("host-local"));
	json_set_str(a, ipam, "subnet", o->pod_cidr);
	/* Beside the run-time state: a power cut frees all addresses. */
	json_set_str(a, ipam, "dataDir", arena_fmt(a, "%s/containerd/ipam", o->run_dir));
	json_set_str(a, route, "dst", STR("0.0.0.0/0"));
	json_push(json_sub_array(a, ipam, "routes"), route);
	json_set(a, p, "ipam", ipam);
	return p;
}

static struct json *cni_portmap(struct arena *a)
{
	struct json *p = json_object(a);

	json_set_str(a, p, "type", STR("portmap"));
	json_set_bool(a, p, "snat", true);
	json_set_bool(a, json_sub(a, p, "capabilities"), "portMappings", true);
	return p;
}

/* The Pod network; our meta-plugin comes last and adds a Pod's secondary networks. */
static struct json *cni_conflist(struct arena *a, const struct containerd_opts *o, bool multus)
{
	struct json *list = json_object(a), *plugins = json_sub_array(a, list, "plugins");

	json_set_first(a, list, "name", json_strz(a, "isoplane"));
	json_set_first(a, list, "cniVersion", json_strz(a, "0.4.0"));
	json_push(plugins, cni_bridge(a, o));
	json_push(plugins, cni_portmap(a));
	if (multus) {
		struct json *p = json_object(a);

		json_set_str(a, p, "type", str_from(own_plugins[0]));
		json_set_str(a, p, "kubeconfig", str_from(o->kubeconfig));
		json_set_str(a, p, "dataDir", arena_fmt(a, "%s/containerd/multus", o->run_dir));
		json_set_str(a, p, "binDir", arena_fmt(a, "%s/cni-bin", o->data_dir));
		json_push(plugins, p);
	}
	return list;
}

static struct err *cni_link(struct arena *a, const char *dir, const char *name, const char *target)
{
	const char *path = containerd_path(a, dir, name);

	if (unlink(path) && errno != ENOENT)
		return err_errno(errno, "unlink '%s'", path);
	if (symlink(target, path))
		return err_errno(errno, "link '%s'", path);
	return NULL;
}

/* One directory with all plugins, since containerd searches one. */
static struct err *cni_link_plugins(struct arena *a, const struct containerd_opts *o, bool *ret_own)
{
	static const char *const system[] = { "bandwidth",   "bridge",     "dhcp",   "firewall",
					      "host-device", "host-local", "ipvlan", "loopback",
					      "macvlan",     "portmap",    "ptp",    "sbr",
					      "static",      "tuning",     "vlan",   "vrf" };
	const char *dir = containerd_path(a, o->data_dir, "cni-bin");
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	struct str own;

	TRY(file_mkdir_p(dir, 0755));
	for (size_t i = 0; i < ARRAY_LEN(system); i++)
		TRY(cni_link(a, dir, system[i], containerd_path(a, CNI_SYSTEM_DIR, system[i])));
	own = str_make(exe, n > 0 ? (size_t)n : 0);
	while (own.n && own.p[own.n - 1] != '/')
		own.n--;
	*ret_own = false;
	for (size_t i = 0; i < ARRAY_LEN(own_plugins); i++) {
		const char *target = arena_fmt(a, STR_FMT "%s", STR_ARG(own), own_plugins[i]).p;

		if (access(target, X_OK))
			continue;
		TRY(cni_link(a, dir, own_plugins[i], target));
		*ret_own = true;
	}
	return NULL;
}

static struct err *containerd_write_config(struct arena *a, const struct containerd_opts *o)
{
	const char *state = containerd_path(a, o->run_dir, "containerd");
	const char *cni = containerd_path(a, state, "cni");
	bool multus;

	TRY(file_mkdir_p(containerd_path(a, o->data_dir, "containerd"), 0711));
	TRY(file_mkdir_p(cni, 0700));
	TRY(cni_link_plugins(a, o, &multus));
	TRY(file_write_atomic(containerd_path(a, cni, "10-isoplane.conflist"),
			      json_text(a, cni_conflist(a, o, multus && o->kubeconfig)), 0600));
	return file_write_atomic(containerd_path(a, state, "config.toml"), containerd_config(a, o),
				 0600);
}

/* running */

static struct err *containerd_ctr(struct arena *a, const char *run_dir, const char *const *args,
				  struct str *ret_out)
{
	const char *argv[16] = { "ctr", "--address", containerd_socket(a, run_dir), "--namespace",
				 "k8s.io" };
	size_t n = 5;

	while (*args && n + 1 < ARRAY_LEN(argv))
		argv[n++] = *args++;
	argv[n] = NULL;
	return process_run(a, argv, STR_EMPTY, CTR_MAX_OUTPUT, ret_out);
}

/* The process id in RUN/containerd.pid, if that still is our containerd; else 0. */
static pid_t containerd_pid(struct arena *a, const char *run_dir)
{
	struct str text, cmdline;
	int64_t pid;
	struct err *e = file_read(a, containerd_path(a, run_dir, "containerd.pid"), 64, &text);

	if (e || !str_to_i64(str_trim(text), &pid)) {
		err_ignore(e, "never started, or all is gone");
		return 0;
	}
	e = file_read(a, arena_fmt(a, "/proc/%lld/cmdline", (long long)pid).p, 65536, &cmdline);
	if (e) {
		err_ignore(e, "no such process");
		return 0;
	}
	return str_contains(cmdline, str_from(run_dir)) ? (pid_t)pid : 0;
}

bool containerd_alive(struct arena *a, const char *run_dir)
{
	return containerd_pid(a, run_dir) != 0;
}

static struct err *containerd_start(struct arena *a, const struct containerd_opts *o)
{
	const char *log_path = containerd_path(a, o->data_dir, "containerd.log");
	const char *config = containerd_path(a, o->run_dir, "containerd/config.toml");
	const char *const argv[] = {
		"containerd", "--config", config, "--log-level", "warn", NULL
	};
	int log_fd = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct process_opts opts = { .argv = argv, .stdin_fd = -1, .new_session = true };
	struct process *p;
	struct err *e;

	if (log_fd < 0)
		return err_errno(errno, "open '%s'", log_path);
	opts.stdout_fd = opts.stderr_fd = log_fd;
	e = process_start(&opts, &p);
	close(log_fd);
	TRY(err_wrap(e, "start containerd"));
	e = file_write_atomic(containerd_path(a, o->run_dir, "containerd.pid"),
			      arena_fmt(a, "%d\n", (int)process_pid(p)), 0600);
	process_free(p);
	return e;
}

static struct err *containerd_wait(struct arena *a, const struct containerd_opts *o)
{
	struct mono began = mono_now();

	for (;;) {
		struct err *e = containerd_ctr(a, o->run_dir,
					       (const char *const[]){ "version", NULL }, NULL);

		if (!e)
			return NULL;
		if (mono_ms_since(began) > CONTAINERD_READY_MS || !containerd_alive(a, o->run_dir))
			return err_wrap(e, "containerd (log: %s/containerd.log)", o->data_dir);
		err_ignore(e, "not up yet");
		TRY(fiber_sleep_ms(20));
	}
}

bool containerd_has_image(struct arena *a, const char *run_dir, const char *name)
{
	const char *const args[] = { "images", "ls", "-q", arena_fmt(a, "name==%s", name).p, NULL };
	struct str have = STR_EMPTY;

	err_ignore(containerd_ctr(a, run_dir, args, &have),
		   "then it is imported, which tells more");
	return str_contains(have, str_from(name));
}

static struct err *containerd_import_pause(struct arena *a, const struct containerd_opts *o)
{
	const char *path = containerd_path(a, o->run_dir, "pause.tar");

	if (containerd_has_image(a, o->run_dir, PAUSE_IMAGE_NAME))
		return NULL;
	TRY(file_write_atomic(path, str_make((const char *)pause_image, (size_t)pause_image_size),
			      0600));
	TRY(containerd_import(a, o->run_dir, path));
	if (unlink(path))
		return err_errno(errno, "unlink '%s'", path);
	return NULL;
}

struct err *containerd_ensure(struct arena *a, const struct containerd_opts *opts,
			      const char **ret_socket)
{
	if (!containerd_alive(a, opts->run_dir)) {
		TRY(containerd_write_config(a, opts));
		TRY(containerd_start(a, opts));
	}
	TRY(containerd_wait(a, opts));
	TRY(err_wrap(containerd_import_pause(a, opts), "sandbox image"));
	*ret_socket = containerd_socket(a, opts->run_dir);
	return NULL;
}

struct err *containerd_import(struct arena *a, const char *run_dir, const char *path)
{
	return err_wrap(containerd_ctr(a, run_dir,
				       (const char *const[]){ "images", "import", path, NULL },
				       NULL),
			"import '%s'", path);
}
