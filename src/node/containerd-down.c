/* SPDX-License-Identifier: Apache-2.0 */
/* The end of everything an instance runs on this machine. */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/process.h"
#include "node/containerd.h"
#include "node/cri.h"
#include "node/pod-runtime.h"

#define DOWN_GRACE_S    30
#define DOWN_WAIT_MS    15000
#define MAX_MOUNTS_TEXT (16 * 1024 * 1024)

struct down_pod {
	struct cri *cri;
	const char *id;
	const CRI(ListContainersResponse) * containers;
};

/* The grace of the Pod, noted on its containers. */
static int64_t down_grace(const CRI(Container) * c)
{
	struct str text = cri_pair_find(c->annotations, c->n_annotations, ANNOTATION_GRACE);
	int64_t s;

	return str_to_i64(text, &s) ? MIN(MAX(s, 1), DOWN_GRACE_S) : DOWN_GRACE_S;
}

/* The containers of one sandbox, then the sandbox. */
static struct err *down_stop_pod(void *arg)
{
	const struct down_pod *p = arg;
	_cleanup_arena_ struct arena *a = arena_new();
	struct str id = str_from(p->id);

	for (size_t i = 0; i < p->containers->n_containers; i++) {
		const CRI(Container) *c = p->containers->containers[i];

		if (!str_eqz(id, c->pod_sandbox_id))
			continue;
		err_log(NULL, LOG_WARN, "container not stopped",
			cri_stop_container(p->cri, a, str_from(c->id), down_grace(c)));
	}
	err_log(NULL, LOG_WARN, "sandbox not stopped", cri_stop_sandbox(p->cri, a, id));
	err_log(NULL, LOG_WARN, "sandbox not removed", cri_remove_sandbox(p->cri, a, id));
	return NULL;
}

static struct err *down_stop_pods(struct arena *a, struct cri *cri)
{
	const CRI(ListPodSandboxResponse) * sandboxes;
	const CRI(ListContainersResponse) * containers;
	struct fiber_group *g;

	TRY(cri_list_sandboxes(cri, a, STR_EMPTY, &sandboxes));
	TRY(cri_list_containers(cri, a, STR_EMPTY, &containers));
	g = fiber_group_new();
	for (size_t i = 0; i < sandboxes->n_items; i++) {
		struct down_pod *p = arena_new_obj(a, struct down_pod);

		*p = (struct down_pod){ .cri = cri,
					.id = sandboxes->items[i]->id,
					.containers = containers };
		fiber_group_add(g, "stop pod", down_stop_pod, p);
	}
	return fiber_group_join(g);
}

/* Signals every process whose command line names the run-time directory; how many there were. */
static size_t down_signal_all(struct arena *a, const char *run_dir, const char *what, int signo)
{
	DIR *d = opendir("/proc");
	struct dirent *ent;
	size_t n = 0;

	while (d && (ent = readdir(d))) {
		struct str cmdline;
		int64_t pid;
		struct err *e;

		if (!str_to_i64(str_from(ent->d_name), &pid) || pid == getpid())
			continue;
		e = file_read(a, arena_fmt(a, "/proc/%s/cmdline", ent->d_name).p, 65536, &cmdline);
		if (e) {
			err_ignore(e, "ended meanwhile");
			continue;
		}
		if (!str_contains(str_sub(cmdline, 0, 64), str_from(what)) ||
		    !str_contains(cmdline, str_from(run_dir)))
			continue;
		kill((pid_t)pid, signo);
		n++;
	}
	if (d)
		closedir(d);
	return n;
}

static struct err *down_end_processes(struct arena *a, const char *run_dir, const char *what)
{
	struct mono began = mono_now();

	while (down_signal_all(a, run_dir, what,
			       mono_ms_since(began) > DOWN_WAIT_MS / 2 ? SIGKILL : SIGTERM)) {
		if (mono_ms_since(began) > DOWN_WAIT_MS)
			return err_new(ERR_TIMEOUT, "'%s' does not end", what);
		TRY(fiber_sleep_ms(50));
	}
	return NULL;
}

/* mounts */

static bool down_is_ours(struct str target, const struct containerd_opts *o)
{
	const char *const roots[] = { o->run_dir, o->data_dir, o->kubelet_root };

	for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
		struct str rest = target;

		if (roots[i] && str_strip_prefix(&rest, str_from(roots[i])) && rest.n &&
		    rest.p[0] == '/')
			return true;
	}
	return false;
}

/* Last mounted first. */
static struct err *down_unmount(struct arena *a, const struct containerd_opts *o)
{
	struct str text, line;

	TRY(file_read(a, "/proc/self/mounts", MAX_MOUNTS_TEXT, &text));
	text = str_trim(text);
	while (text.n) {
		size_t start = text.n;
		struct str device, target;

		while (start > 0 && text.p[start - 1] != '\n')
			start--;
		line = str_skip(text, start);
		text = str_sub(text, 0, start ? start - 1 : 0);
		str_cut(&line, ' ', &device);
		str_cut(&line, ' ', &target);
		if (down_is_ours(target, o) && umount2(arena_strz(a, target), MNT_DETACH))
			log_warn(NULL, "mount left behind", KV_STR("path", target));
	}
	return NULL;
}

/* network and cgroups */

static void down_run(struct arena *a, const char *const *argv)
{
	err_ignore(process_run(a, argv, STR_EMPTY, 65536, NULL), "it may be gone already");
}

static void down_remove_tables(struct arena *a, struct str id)
{
	const char *const list[] = { "nft", "list", "tables", NULL };
	struct str out = STR_EMPTY, line;

	err_ignore(process_run(a, list, STR_EMPTY, 65536, &out), "no nftables: nothing to remove");
	while (out.n && str_split_next(&out, '\n', &line)) {
		struct str word, family, name = line;

		str_cut(&name, ' ', &word);
		str_cut(&name, ' ', &family);
		if (str_contains(name, id))
			down_run(a, (const char *const[]){ "nft", "delete", "table",
							   arena_strz(a, family),
							   arena_strz(a, name), NULL });
	}
}

static int down_rmdir(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (type == FTW_DP && rmdir(path))
		return 0; /* what still runs keeps its cgroup */
	return 0;
}

static void down_remove_cgroups(struct arena *a, struct str id)
{
	DIR *d = opendir("/sys/fs/cgroup");
	struct dirent *ent;

	while (d && (ent = readdir(d))) {
		const char *path;

		if (ent->d_name[0] == '.')
			continue;
		path = arena_fmt(a, "/sys/fs/cgroup/%s/isoplane-" STR_FMT, ent->d_name, STR_ARG(id))
			       .p;
		nftw(path, down_rmdir, 16, FTW_DEPTH | FTW_PHYS);
	}
	if (d)
		closedir(d);
	nftw(arena_fmt(a, "/sys/fs/cgroup/isoplane-" STR_FMT, STR_ARG(id)).p, down_rmdir, 16,
	     FTW_DEPTH | FTW_PHYS);
}

struct err *containerd_down(struct arena *a, const struct containerd_opts *o)
{
	if (containerd_alive(a, o->run_dir)) {
		struct cri *cri = cri_new(arena_fmt(a, "%s/containerd.sock", o->run_dir));

		err_log(NULL, LOG_WARN, "not all Pods were stopped", down_stop_pods(a, cri));
		cri_free(cri);
	}
	TRY(down_end_processes(a, o->run_dir, "containerd-shim"));
	TRY(down_end_processes(a, o->run_dir, "containerd"));
	TRY(down_unmount(a, o));
	down_remove_tables(a, o->id);
	down_remove_cgroups(a, o->id);
	down_run(a, (const char *const[]){ "ip", "link", "del", arena_strz(a, o->bridge), NULL });
	return NULL;
}
