/* SPDX-License-Identifier: Apache-2.0 */

#include "node/local-volume.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/local-volume.h"
#include "api/meta.h"
#include "api/obj.h"
#include "api/quantity.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/controller.h"
#include "client/rest.h"
#include "io/file.h"
#include "io/process.h"
#include "node/agent.h"
#include "json/json.h"

#define PV_PROTECTION "kubernetes.io/pv-protection"

struct local_volumes {
	struct agent *agent;
	struct informer *volumes;
	struct controller *controller;
};

/* The path, after checking that it is one our provisioner would give: absolute, and named like the
 * volume. */
static struct err *local_volume_path(struct arena *a, const struct json *pv, const char **ret)
{
	struct str path = json_str_at(pv, "spec.local.path");
	struct str name = meta_name(pv);
	struct str rest = path;

	str_strip_suffix(&rest, STR(".img"));
	if (!str_has_prefix(path, STR("/")) || !str_strip_suffix(&rest, name) ||
	    !str_has_suffix(rest, STR("/")) || rest.n < 2 || str_contains(path, STR("/../")) ||
	    !str_has_prefix(name, STR("pvc-")))
		return err_new(ERR_INVALID, "'" STR_FMT "' is no path of a local volume",
			       STR_ARG(path));
	*ret = arena_strz(a, path);
	return NULL;
}

static bool local_volume_ours(const struct json *pv)
{
	return str_eqz(meta_annotation(pv, LOCAL_VOLUME_ANNOTATION), LOCAL_VOLUME_PROVISIONER);
}

/* making */

static struct err *local_volume_make_dir(const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0)
		return NULL;
	TRY(file_mkdir_p(path, 0777));
	/* any uid may be the one that writes; the umask is not asked */
	return chmod(path, 0777) < 0 ? err_errno(errno, "chmod %s", path) : NULL;
}

static struct err *local_volume_make_file(struct arena *a, const char *path, const struct json *pv)
{
	const char *slash = strrchr(path, '/');
	struct quantity size;
	struct err *e = NULL;
	int fd;

	if (!quantity_parse(json_str_at(pv, "spec.capacity.storage"), &size))
		return err_new(ERR_INVALID, "the volume has no capacity");
	TRY(file_mkdir_p(arena_strz(a, str_make(path, (size_t)(slash - path))), 0711));
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return errno == EEXIST ? NULL : err_errno(errno, "create %s", path);
	if (ftruncate(fd, quantity_value(size)) < 0)
		e = err_errno(errno, "size of %s", path);
	close(fd);
	if (e)
		unlink(path);
	return e;
}

struct err *local_volume_prepare(struct arena *a, const struct json *pv)
{
	const char *path;

	if (!local_volume_ours(pv))
		return NULL;
	TRY(local_volume_path(a, pv, &path));
	if (str_eqz(json_str_at(pv, "spec.volumeMode"), "Block"))
		return local_volume_make_file(a, path, pv);
	return local_volume_make_dir(path);
}

/* removing */

static struct err *local_volume_detach(struct arena *a, const char *path)
{
	const char *find[] = { "losetup",      "--noheadings", "--output", "NAME",
			       "--associated", path,           NULL };
	struct str out;
	struct str dev;

	TRY(process_run(a, find, STR_EMPTY, 4096, &out));
	while (str_split_next(&out, '\n', &dev)) {
		const char *detach[] = { "losetup", "--detach", arena_strz(a, str_trim(dev)),
					 NULL };
		struct str none;

		if (!str_empty(str_trim(dev)))
			TRY(process_run(a, detach, STR_EMPTY, 4096, &none));
	}
	return NULL;
}

static struct err *local_volume_remove(struct arena *a, const struct json *pv)
{
	const char *argv[] = { "rm", "-rf", "--one-file-system", "--", NULL, NULL };
	const char *path;
	struct stat st;
	struct str out;

	TRY(local_volume_path(a, pv, &path));
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? NULL : err_errno(errno, "stat %s", path);
	if (S_ISREG(st.st_mode))
		TRY(local_volume_detach(a, path));
	/* a large tree takes long, so not in this process */
	argv[4] = path;
	return process_run(a, argv, STR_EMPTY, 4096, &out);
}

/* The controller removes the finalizer then. */
static struct err *local_volume_tell(struct local_volumes *lv, struct arena *a,
				     const struct json *pv)
{
	struct json *patch = json_object(a);
	struct err *e;

	json_set_str(a, json_sub(a, patch, "metadata"), "uid", meta_uid(pv));
	json_set_str(a, json_sub(a, patch, "status"), "reason", STR(LOCAL_VOLUME_REMOVED));
	e = client_patch(lv->agent->client, a, GVR("", "v1", "persistentvolumes"), STR_EMPTY,
			 meta_name(pv), "status", CLIENT_PATCH_MERGE, patch, NULL);
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "gone already");
		return NULL;
	}
	return e;
}

static bool local_volume_here(const struct local_volumes *lv, const struct json *pv)
{
	const struct json *term =
		json_idx(json_at(pv, "spec.nodeAffinity.required.nodeSelectorTerms"), 0);
	const struct json *expr = json_idx(json_get(term, "matchExpressions"), 0);

	return str_eq(json_as_str(json_idx(json_get(expr, "values"), 0)), lv->agent->cfg.name);
}

static struct err *local_volumes_sync(void *ctx, struct arena *a, struct str name)
{
	struct local_volumes *lv = ctx;
	const struct obj *o = informer_find(lv->volumes, STR_EMPTY, name);
	const struct json *pv;

	if (!o || !o->deleting)
		return NULL;
	pv = json_copy(a, obj_tree(o));
	/* protection goes first: then no claim has it any more */
	if (!local_volume_ours(pv) || !local_volume_here(lv, pv) ||
	    !meta_has_finalizer(pv, STR(LOCAL_VOLUME_FINALIZER)) ||
	    meta_has_finalizer(pv, STR(PV_PROTECTION)) ||
	    str_eqz(json_str_at(pv, "status.reason"), LOCAL_VOLUME_REMOVED))
		return NULL;
	TRY(err_wrap(local_volume_remove(a, pv), "volume " STR_FMT, STR_ARG(name)));
	log_info(controller_log(lv->controller), "volume removed", KV_STR("volume", name));
	return local_volume_tell(lv, a, pv);
}

struct err *local_volumes_start(struct agent *ag)
{
	struct local_volumes *lv = mem_new(struct local_volumes);
	const struct controller_opts opts = { .name = "local-volumes",
					      .sync = local_volumes_sync,
					      .sync_timeout_ms = 30 * 60 * 1000,
					      .ctx = lv };

	lv->agent = ag;
	lv->volumes =
		informer_new(ag->loop, ag->client,
			     &(struct informer_opts){ .gvr = GVR("", "v1", "persistentvolumes") });
	lv->controller = controller_new(ag->loop, &opts);
	controller_watch(lv->controller, lv->volumes);
	controller_start(lv->controller);
	return NULL;
}
