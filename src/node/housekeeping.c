/* SPDX-License-Identifier: Apache-2.0 */

#include "node/housekeeping.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "io/file.h"
#include "node/agent.h"
#include "node/cgroup.h"
#include "node/cri.h"
#include "node/devices.h"
#include "node/pod-worker.h"
#include "node/volumes.h"

#define LOG_MAX_BYTES (10 << 20)
#define LOG_MAX_FILES 5

/* A Pod's directory without a Pod: its mounts, files and cgroup. */
static void housekeeping_orphan(struct agent *ag, struct arena *a, const char *uid)
{
	struct str u = arena_str(a, str_from(uid));

	if (pod_workers_find_uid(ag, u))
		return;
	log_info(NULL, "removing what a pod left behind", KV_STR("uid", u));
	err_log(NULL, LOG_WARN, "cannot remove a pod's directory", volumes_tear_down(ag, a, u));
	cgroup_remove_pod(a, ag->cfg.cgroup_root, u);
	devices_release(ag->devices, u);
}

static void housekeeping_pods(struct agent *ag, struct arena *a)
{
	struct str dir = arena_fmt(a, "%.*s/pods", STR_ARG(ag->cfg.kubelet_root));
	DIR *d = opendir(dir.p);
	struct dirent *ent;

	if (!d)
		return;
	while ((ent = readdir(d)))
		if (ent->d_name[0] != '.')
			housekeeping_orphan(ag, a, ent->d_name);
	closedir(d);
}

/* NAMESPACE_NAME_UID */
static void housekeeping_logs(struct agent *ag, struct arena *a)
{
	DIR *d = opendir(arena_strz(a, ag->cfg.log_dir));
	struct dirent *ent;

	if (!d)
		return;
	while ((ent = readdir(d))) {
		const char *uid = strrchr(ent->d_name, '_');

		if (ent->d_name[0] == '.' || !uid || pod_workers_find_uid(ag, str_from(uid + 1)))
			continue;
		err_log(NULL, LOG_WARN, "cannot remove old logs",
			file_remove_tree(
				arena_fmt(a, "%.*s/%s", STR_ARG(ag->cfg.log_dir), ent->d_name).p));
	}
	closedir(d);
}

/* 0.log -> 0.log.1 -> ... ; the runtime then opens a new 0.log. */
static struct err *housekeeping_rotate(struct agent *ag, struct arena *a, struct str path,
				       struct str id)
{
	for (int i = LOG_MAX_FILES - 1; i > 0; i--) {
		struct str from = i == 1 ? path : arena_fmt(a, "%.*s.%d", STR_ARG(path), i - 1);
		struct str to = arena_fmt(a, "%.*s.%d", STR_ARG(path), i);

		rename(arena_strz(a, from), to.p);
	}
	return cri_reopen_log(ag->cri, a, id);
}

static struct err *housekeeping_rotate_all(struct agent *ag, struct arena *a)
{
	const CRI(ListContainersResponse) * list;

	TRY(cri_list_containers(ag->cri, a, STR_EMPTY, &list));
	for (size_t i = 0; i < list->n_containers; i++) {
		const CRI(ContainerStatus) * st;
		struct stat sb;
		struct err *e;

		if (list->containers[i]->state != RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING)
			continue;
		e = cri_container_status(ag->cri, a, str_from(list->containers[i]->id), &st);
		if (e) {
			err_ignore(e, "ended meanwhile");
			continue;
		}
		if (stat(st->log_path, &sb) == 0 && sb.st_size > LOG_MAX_BYTES)
			TRY(housekeeping_rotate(ag, a, str_from(st->log_path), str_from(st->id)));
	}
	return NULL;
}

void housekeeping(struct agent *ag, struct arena *a)
{
	housekeeping_pods(ag, a);
	housekeeping_logs(ag, a);
	err_log(NULL, LOG_WARN, "cannot rotate logs", housekeeping_rotate_all(ag, a));
}

/* host-local keeps one file per address, whose first line is the sandbox it is for. */
static void housekeeping_address(struct arena *a, const CRI(ListPodSandboxResponse) * list,
				 const char *path)
{
	struct str text, id;
	struct err *e = file_read(a, path, 4096, &text);

	if (e) {
		err_ignore(e, "released meanwhile");
		return;
	}
	str_cut(&text, '\n', &id);
	id = str_trim(id);
	for (size_t i = 0; i < list->n_items; i++)
		if (list->items[i]->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY &&
		    str_eqz(id, list->items[i]->id))
			return;
	unlink(path);
}

struct err *housekeeping_start(struct agent *ag, struct arena *a)
{
	const CRI(ListPodSandboxResponse) * list;
	struct str top = arena_fmt(a, "%.*s/containerd/ipam/isoplane", STR_ARG(ag->cfg.run_dir));
	struct dirent *ent;
	DIR *d;

	TRY(cri_list_sandboxes(ag->cri, a, STR_EMPTY, &list));
	d = opendir(top.p);
	if (!d)
		return NULL;
	while ((ent = readdir(d)))
		if (ent->d_name[0] >= '0' && ent->d_name[0] <= '9')
			housekeeping_address(a, list, arena_fmt(a, "%s/%s", top.p, ent->d_name).p);
	closedir(d);
	return NULL;
}
