/* SPDX-License-Identifier: Apache-2.0 */

#include "node/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "io/file.h"
#include "json/json.h"

#define CGROUP_MOUNT  "/sys/fs/cgroup"
#define CGROUP2_MAGIC 0x63677270

/* The v1 trees we place Pods in; those absent on the host are skipped. */
static const char *const cgroup_v1_trees[] = {
	"cpu",      "cpuacct",    "cpu,cpuacct",      "cpuset",  "memory",  "pids",
	"blkio",    "devices",    "freezer",          "hugetlb", "systemd", "net_cls",
	"net_prio", "perf_event", "net_cls,net_prio", "rdma",    "misc",
};

bool cgroup_is_v2(void)
{
	struct statfs fs;

	return statfs(CGROUP_MOUNT, &fs) == 0 && (unsigned long)fs.f_type == CGROUP2_MAGIC;
}

static struct str cgroup_of_qos(struct arena *a, struct str root, enum qos q)
{
	static const char *const dirs[] = {
		[QOS_GUARANTEED] = "",
		[QOS_BURSTABLE] = "/burstable",
		[QOS_BEST_EFFORT] = "/besteffort",
	};

	return arena_fmt(a, "%.*s/kubepods%s", STR_ARG(root), dirs[q]);
}

struct str cgroup_of_pod(struct arena *a, struct str root, enum qos q, struct str uid)
{
	return arena_fmt(a, "%.*s/pod%.*s", STR_ARG(cgroup_of_qos(a, root, q)), STR_ARG(uid));
}

/* Writes text to a control file; a file that is not there (controller off) is fine. */
static struct err *cgroup_write(const char *dir, const char *file, struct str text)
{
	char path[512];
	int fd, rc;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? NULL : err_errno(errno, "open %s", path);
	rc = write(fd, text.p, text.n) < 0 ? errno : 0;
	close(fd);
	return rc ? err_errno(rc, "write '%.*s' to %s", STR_ARG(text), path) : NULL;
}

/* A v1 cpuset takes no process before it has CPUs and memory nodes: copies the parent's. */
static struct err *cgroup_cpuset_inherit(struct arena *a, const char *parent, const char *dir)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		struct str own, theirs;
		struct err *e = file_read(a, arena_fmt(a, "%s/%s", dir, files[i]).p, 4096, &own);

		if (e) {
			err_ignore(e, "no cpuset here");
			return NULL;
		}
		if (str_trim(own).n)
			continue;
		TRY(file_read(a, arena_fmt(a, "%s/%s", parent, files[i]).p, 4096, &theirs));
		TRY(cgroup_write(dir, files[i], str_trim(theirs)));
	}
	return NULL;
}

/* mkdir -p below a tree's mount, preparing each level for the next. */
static struct err *cgroup_mkdir(struct arena *a, struct str tree, struct str path, bool v2)
{
	struct str at = tree, rest = path, part;

	while (str_split_next(&rest, '/', &part)) {
		struct str next;

		if (!part.n)
			continue;
		next = arena_fmt(a, "%.*s/%.*s", STR_ARG(at), STR_ARG(part));
		if (v2)
			err_ignore(cgroup_write(at.p, "cgroup.subtree_control",
						STR("+cpu +memory +pids +cpuset +io")),
				   "controllers the host does not delegate");
		if (mkdir(next.p, 0755) < 0 && errno != EEXIST)
			return err_errno(errno, "cgroup: mkdir %s", next.p);
		if (!v2)
			TRY(cgroup_cpuset_inherit(a, at.p, next.p));
		at = next;
	}
	return NULL;
}

static int64_t cgroup_weight(int64_t shares)
{
	return 1 + (shares - 2) * 9999 / 262142;
}

static struct err *cgroup_limits(struct arena *a, const char *dir, const struct resource_amounts *r,
				 bool v2)
{
	int64_t quota = cpu_quota_us(r->cpu_limit);
	int64_t shares = cpu_shares(r->cpu_request);

	if (v2) {
		TRY(cgroup_write(dir, "cpu.weight",
				 arena_fmt(a, "%lld", (long long)cgroup_weight(shares))));
		TRY(cgroup_write(
			dir, "cpu.max",
			quota < 0 ? STR("max")
				  : arena_fmt(a, "%lld %d", (long long)quota, CPU_PERIOD_US)));
		return cgroup_write(dir, "memory.max",
				    r->memory_limit
					    ? arena_fmt(a, "%lld", (long long)r->memory_limit)
					    : STR("max"));
	}
	TRY(cgroup_write(dir, "cpu.shares", arena_fmt(a, "%lld", (long long)shares)));
	TRY(cgroup_write(dir, "cpu.cfs_quota_us", arena_fmt(a, "%lld", (long long)quota)));
	return cgroup_write(
		dir, "memory.limit_in_bytes",
		arena_fmt(a, "%lld", (long long)(r->memory_limit ? r->memory_limit : -1)));
}

static struct err *cgroup_ensure_in(struct arena *a, struct str tree, struct str path,
				    const struct resource_amounts *r, bool v2)
{
	struct str dir = arena_fmt(a, "%.*s%.*s", STR_ARG(tree), STR_ARG(path));

	if (access(dir.p, F_OK) == 0)
		return NULL;
	TRY(cgroup_mkdir(a, tree, path, v2));
	return cgroup_limits(a, dir.p, r, v2);
}

struct err *cgroup_ensure_pod(struct arena *a, struct str root, const struct json *pod)
{
	struct resource_amounts r = resources_of_pod(pod);
	struct str path = cgroup_of_pod(a, root, qos_of_pod(pod), meta_uid(pod));

	if (cgroup_is_v2())
		return cgroup_ensure_in(a, STR(CGROUP_MOUNT), path, &r, true);
	for (size_t i = 0; i < ARRAY_LEN(cgroup_v1_trees); i++) {
		struct str tree = arena_fmt(a, CGROUP_MOUNT "/%s", cgroup_v1_trees[i]);
		struct stat st;

		if (lstat(tree.p, &st) < 0 || !S_ISDIR(st.st_mode))
			continue;
		TRY(cgroup_ensure_in(a, tree, path, &r, false));
	}
	return NULL;
}

static void cgroup_kill(struct arena *a, const char *dir)
{
	struct str text, line;
	struct err *e = file_read(a, arena_fmt(a, "%s/cgroup.procs", dir).p, 1 << 20, &text);

	if (e) {
		err_ignore(e, "no such cgroup");
		return;
	}
	while (str_split_next(&text, '\n', &line)) {
		int64_t pid;

		if (str_to_i64(line, &pid) && pid > 1)
			kill((pid_t)pid, SIGKILL);
	}
}

/* Bottom up: the kernel refuses to remove a cgroup that has children. */
static void cgroup_remove(struct arena *a, struct str dir)
{
	DIR *d = opendir(dir.p);
	struct dirent *ent;

	if (!d)
		return;
	while ((ent = readdir(d)))
		if (ent->d_type == DT_DIR && ent->d_name[0] != '.')
			cgroup_remove(a, arena_fmt(a, "%.*s/%s", STR_ARG(dir), ent->d_name));
	closedir(d);
	cgroup_kill(a, dir.p);
	rmdir(dir.p);
}

void cgroup_remove_pod(struct arena *a, struct str root, struct str uid)
{
	for (enum qos q = QOS_GUARANTEED; q <= QOS_BEST_EFFORT; q++) {
		struct str path = cgroup_of_pod(a, root, q, uid);

		if (cgroup_is_v2()) {
			cgroup_remove(a, arena_fmt(a, CGROUP_MOUNT "%.*s", STR_ARG(path)));
			continue;
		}
		for (size_t i = 0; i < ARRAY_LEN(cgroup_v1_trees); i++)
			cgroup_remove(a, arena_fmt(a, CGROUP_MOUNT "/%s%.*s", cgroup_v1_trees[i],
						   STR_ARG(path)));
	}
}
