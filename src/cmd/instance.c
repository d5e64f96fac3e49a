/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/instance.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "io/file.h"
#include "json/json.h"

#define RUN_ROOT         "/run/isoplane"
#define NETWORKS         16u /* 10.244 down to 10.229 for Pods, 10.96 up to 10.111 for Services */
#define INSTANCE_MAX_DOC 65536

static void instance_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define _cleanup_fd_ _cleanup_(instance_close)

static struct err *instance_read_json(struct arena *a, const char *path, struct json **ret)
{
	struct str text;

	TRY(file_read(a, path, INSTANCE_MAX_DOC, &text));
	return err_wrap(json_parse(a, text, ret), "'%s'", path);
}

static struct err *instance_kubelet_root(struct arena *a, struct instance *inst)
{
	struct json *doc = NULL;
	struct err *e =
		instance_read_json(a, arena_fmt(a, "%s/instance.json", inst->run_dir).p, &doc);

	if (e && !err_is(e, ERR_NOT_FOUND))
		return e;
	err_ignore(e, "does not run");
	if (json_str_at(doc, "kubeletRoot").n)
		inst->kubelet_root = json_str_at(doc, "kubeletRoot").p;
	else if (str_eqz(str_from(inst->dir), INSTANCE_DEFAULT_DIR))
		inst->kubelet_root = "/var/lib/kubelet";
	else
		inst->kubelet_root = arena_fmt(a, "%s/kubelet", inst->dir).p;
	return NULL;
}

struct err *instance_open(struct arena *a, const char *dir, bool create, struct instance *ret)
{
	struct instance inst = { 0 };
	char real[PATH_MAX];

	if (create)
		TRY(err_wrap(file_mkdir_p(dir, 0711), "data directory"));
	if (!realpath(dir, real))
		return err_errno(errno, "data directory '%s'", dir);
	inst.dir = arena_strz(a, str_from(real));
	inst.id = arena_str(a, str_sub(sha256_hex(a, str_from(inst.dir)), 0, 8));
	inst.run_dir = arena_fmt(a, RUN_ROOT "/" STR_FMT, STR_ARG(inst.id)).p;
	inst.bridge = arena_fmt(a, "iso-" STR_FMT, STR_ARG(inst.id));
	TRY(instance_kubelet_root(a, &inst));
	*ret = inst;
	return NULL;
}

static void instance_set_network(struct arena *a, struct instance *inst, unsigned n)
{
	inst->net = n;
	inst->pod_cidr = arena_fmt(a, "10.%u.0.0/16", 244 - n);
	inst->node_cidr = arena_fmt(a, "10.%u.0.0/24", 244 - n);
	inst->node_ip = arena_fmt(a, "10.%u.0.1", 244 - n);
	inst->service_cidr = arena_fmt(a, "10.%u.0.0/16", 96 + n);
	inst->service_ip = arena_fmt(a, "10.%u.0.1", 96 + n);
}

/* Whether an interface other than ours has an address in either range. */
static bool instance_network_used(const struct ifaddrs *all, const struct instance *inst,
				  unsigned n)
{
	for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
		uint32_t ip;

		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET)
			continue;
		if (str_eqz(inst->bridge, i->ifa_name))
			continue;
		ip = ntohl(
			((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr.s_addr);
		if (ip >> 16 == (10u << 8 | (244 - n)) || ip >> 16 == (10u << 8 | (96 + n)))
			return true;
	}
	return false;
}

static struct err *instance_write_json(struct arena *a, const char *path, const struct json *doc)
{
	return file_write_atomic(path, json_text(a, doc), 0644);
}

struct err *instance_choose_network(struct arena *a, struct instance *inst)
{
	const char *path = arena_fmt(a, "%s/network.json", inst->dir).p;
	struct ifaddrs *all = NULL;
	struct json *doc;
	struct err *e = instance_read_json(a, path, &doc);
	int64_t n = 0;

	if (!e) {
		n = json_int_at(doc, "index", -1);
		if (n < 0 || n >= NETWORKS)
			return err_new(ERR_CORRUPT, "'%s': index must be 0 to %u", path,
				       NETWORKS - 1);
		instance_set_network(a, inst, (unsigned)n);
		return NULL;
	}
	if (!err_is(e, ERR_NOT_FOUND))
		return e;
	err_ignore(e, "chosen now");
	n = 0;
	if (getifaddrs(&all))
		return err_errno(errno, "list this machine's addresses");
	while (n < NETWORKS && instance_network_used(all, inst, (unsigned)n))
		n++;
	freeifaddrs(all);
	if (n == NETWORKS)
		return err_new(
			ERR_UNAVAILABLE,
			"no free address ranges: 10.229 to 10.244 or 10.96 to 10.111 are all "
			"in use on this machine");
	instance_set_network(a, inst, (unsigned)n);
	doc = json_object(a);
	json_set_int(a, doc, "index", n);
	return instance_write_json(a, path, doc);
}

struct err *instance_lock(struct arena *a, const struct instance *inst, int *ret_fd, pid_t *ret_pid)
{
	const char *path = arena_fmt(a, "%s/up.lock", inst->dir).p;
	_cleanup_fd_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char pid[32];
	ssize_t n;
	int64_t v;

	if (fd < 0)
		return err_errno(errno, "open '%s'", path);
	*ret_pid = 0;
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK)
			return err_errno(errno, "lock '%s'", path);
		n = pread(fd, pid, sizeof(pid), 0);
		if (n > 0 && str_to_i64(str_trim(str_make(pid, (size_t)n)), &v))
			*ret_pid = (pid_t)v;
		*ret_fd = -1;
		return NULL;
	}
	if (ftruncate(fd, 0))
		return err_errno(errno, "truncate '%s'", path);
	TRY(file_write_all(fd, arena_fmt(a, "%d\n", (int)getpid())));
	*ret_fd = TAKE_FD(fd);
	return NULL;
}

struct err *instance_announce(struct arena *a, const struct instance *inst)
{
	struct json *doc = json_object(a);

	json_set_str(a, doc, "dataDir", str_from(inst->dir));
	json_set_str(a, doc, "kubeletRoot", str_from(inst->kubelet_root));
	TRY(file_mkdir_p(RUN_ROOT, 0755));
	TRY(file_mkdir_p(inst->run_dir, 0711));
	return instance_write_json(a, arena_fmt(a, "%s/instance.json", inst->run_dir).p, doc);
}

/* Data directories of everything announced on this machine. */
static struct err *instance_list(struct arena *a, struct json **ret)
{
	struct json *dirs = json_array(a);
	DIR *d = opendir(RUN_ROOT);
	struct dirent *ent;

	*ret = dirs;
	if (!d)
		return errno == ENOENT ? NULL : err_errno(errno, "open '%s'", RUN_ROOT);
	while ((ent = readdir(d))) {
		struct json *doc;
		struct err *e;

		if (ent->d_name[0] == '.')
			continue;
		e = instance_read_json(a, arena_fmt(a, RUN_ROOT "/%s/instance.json", ent->d_name).p,
				       &doc);
		if (e)
			err_ignore(e, "not announced: not running");
		else
			json_push(dirs, json_copy(a, json_get(doc, "dataDir")));
	}
	closedir(d);
	return NULL;
}

struct err *instance_find(struct arena *a, struct str dir, struct instance *ret)
{
	struct json *dirs;
	struct str names = STR_EMPTY;

	if (dir.n)
		return instance_open(a, arena_strz(a, dir), false, ret);
	TRY(instance_list(a, &dirs));
	if (json_len(dirs) == 0)
		return err_new(ERR_NOT_FOUND,
			       "no instance runs on this machine: name its data directory with "
			       "--data-dir, or start one with 'isoplane up'");
	json_for_each(it, dirs) names = arena_fmt(a, STR_FMT "%s" STR_FMT, STR_ARG(names),
						  it.i ? ", " : "", STR_ARG(json_as_str(it.val)));
	if (json_len(dirs) > 1)
		return err_new(ERR_BAD_REQUEST,
			       "several instances run here (" STR_FMT "): choose with --data-dir",
			       STR_ARG(names));
	return instance_open(a, arena_strz(a, names), false, ret);
}

/* The directory of our binary, with its last slash. */
static struct err *instance_exe_dir(struct arena *a, struct str *ret)
{
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	struct str dir;

	if (n <= 0)
		return err_errno(errno, "find our own binary");
	dir = str_make(exe, (size_t)n);
	while (dir.n && dir.p[dir.n - 1] != '/')
		dir.n--;
	*ret = arena_str(a, dir);
	return NULL;
}

struct err *instance_sibling(struct arena *a, const char *name, const char **ret_path)
{
	struct str dir;

	TRY(instance_exe_dir(a, &dir));
	*ret_path = arena_fmt(a, STR_FMT "%s", STR_ARG(dir), name).p;
	if (access(*ret_path, X_OK))
		return err_errno(errno, "'%s'", *ret_path);
	return NULL;
}

struct err *instance_resource(struct arena *a, const char *name, const char **ret_path)
{
	const char *candidates[3];
	struct str dir;

	TRY(instance_exe_dir(a, &dir));
	candidates[0] = arena_fmt(a, STR_FMT "../%s", STR_ARG(dir), name).p;
	candidates[1] = arena_fmt(a, STR_FMT "../lib/isoplane/%s", STR_ARG(dir), name).p;
	candidates[2] = arena_fmt(a, "/usr/lib/isoplane/%s", name).p;
	for (size_t i = 0; i < ARRAY_LEN(candidates); i++) {
		if (access(candidates[i], R_OK) == 0) {
			*ret_path = candidates[i];
			return NULL;
		}
	}
	return err_new(ERR_NOT_FOUND, "'%s' is neither in the source tree nor in /usr/lib/isoplane",
		       name);
}
