/* SPDX-License-Identifier: Apache-2.0 */

/* Volumes with a life of their own: claims (hostPath and local PersistentVolumes) and images. */

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/rest.h"
#include "io/file.h"
#include "io/process.h"
#include "node/agent.h"
#include "node/images.h"
#include "node/local-volume.h"
#include "node/volumes.h"

/* A regular file as a block device: its loop device, the one it has or a new one. */
static struct err *claim_loop_device(struct arena *a, struct str file, struct str *ret)
{
	const char *z = arena_strz(a, file);
	const char *find[] = { "losetup", "--noheadings", "--output", "NAME", "--associated", z,
			       NULL };
	const char *make[] = { "losetup", "--find", "--show", z, NULL };
	struct str out;

	TRY(process_run(a, find, STR_EMPTY, 4096, &out));
	out = str_trim(out);
	if (!out.n) {
		TRY(process_run(a, make, STR_EMPTY, 4096, &out));
		out = str_trim(out);
	}
	*ret = str_sub(out, 0, str_find_char(out, '\n', 0));
	return NULL;
}

static struct err *claim_path(struct volume_ctx *ctx, const struct json *pv, struct volume *v)
{
	struct str path = json_str_at(pv, "spec.local.path");
	struct str type = json_str_at(pv, "spec.hostPath.type");
	struct stat st;

	if (!path.n)
		path = json_str_at(pv, "spec.hostPath.path");
	if (!path.n)
		return err_new(ERR_INVALID,
			       "PersistentVolume \"%.*s\" has no source this node can mount",
			       STR_ARG(meta_name(pv)));
	v->path = path;
	v->block = str_eqz(json_str_at(pv, "spec.volumeMode"), "Block");
	if (str_eqz(type, "DirectoryOrCreate"))
		TRY(file_mkdir_p(arena_strz(ctx->arena, path), 0755));
	TRY(local_volume_prepare(ctx->arena, pv));
	if (stat(arena_strz(ctx->arena, path), &st) < 0)
		return err_errno(errno, "stat %.*s", STR_ARG(path));
	if (v->block && S_ISREG(st.st_mode))
		return claim_loop_device(ctx->arena, path, &v->path);
	if (!v->block && ctx->fs_group != (gid_t)-1 && S_ISDIR(st.st_mode)) {
		if (chown(arena_strz(ctx->arena, path), (uid_t)-1, ctx->fs_group) < 0 ||
		    chmod(arena_strz(ctx->arena, path), st.st_mode | 02770) < 0)
			return err_errno(errno, "fsGroup of %.*s", STR_ARG(path));
	}
	return NULL;
}

static struct err *claim_mount(struct volume_ctx *ctx, struct str name, bool read_only,
			       const struct json *owner, struct volume *v)
{
	struct client *c = ctx->agent->client;
	struct str ns = meta_namespace(ctx->pod), pv_name;
	struct json *pvc, *pv;

	TRY(client_get(c, ctx->arena, GVR("", "v1", "persistentvolumeclaims"), ns, name, &pvc));
	if (owner && !meta_controlled_by(pvc, meta_uid(owner)))
		return err_new(ERR_INVALID,
			       "PVC %.*s/%.*s was not created for pod %.*s/%.*s "
			       "(pod is not owner)",
			       STR_ARG(ns), STR_ARG(name), STR_ARG(ns), STR_ARG(meta_name(owner)));
	pv_name = json_str_at(pvc, "spec.volumeName");
	if (!pv_name.n || !str_eqz(json_str_at(pvc, "status.phase"), "Bound"))
		return err_new(ERR_INVALID, "PVC %.*s/%.*s is not bound", STR_ARG(ns),
			       STR_ARG(name));
	if (meta_deleting(pvc) && !json_at(ctx->pod, "status.startTime"))
		return err_new(ERR_INVALID, "PVC is being deleted");
	TRY(client_get(c, ctx->arena, GVR("", "v1", "persistentvolumes"), STR_EMPTY, pv_name, &pv));
	if (!str_eq(json_str_at(pv, "spec.claimRef.uid"), meta_uid(pvc)))
		return err_new(ERR_INVALID, "PersistentVolume \"%.*s\" is bound to another claim",
			       STR_ARG(pv_name));
	v->read_only = read_only;
	return claim_path(ctx, pv, v);
}

struct err *volume_claim(struct volume_ctx *ctx, const struct json *source, struct volume *v)
{
	return claim_mount(ctx, json_str_at(source, "claimName"),
			   json_bool_at(source, "readOnly", false), NULL, v);
}

struct err *volume_ephemeral(struct volume_ctx *ctx, const struct json *source, struct volume *v)
{
	struct str claim =
		arena_fmt(ctx->arena, "%.*s-%.*s", STR_ARG(meta_name(ctx->pod)), STR_ARG(v->name));

	return claim_mount(ctx, claim, false, ctx->pod, v);
}

struct err *volume_image(struct volume_ctx *ctx, const struct json *source, struct volume *v)
{
	const struct image_request rq = {
		.pod = ctx->pod,
		.image = json_str_at(source, "reference"),
		.policy = json_str_at(source, "pullPolicy"),
	};
	struct image_result img = { 0 };

	if (!images_ensure(ctx->agent->images, ctx->arena, &rq, &img))
		return err_set_reason(err_new(ERR_INVALID, "%.*s", STR_ARG(img.message)),
				      str_from(img.reason));
	v->read_only = true;
	v->image_ref = img.ref;
	TRY(volume_dir(ctx, "image", v->name, &v->path));
	return images_mount(ctx->agent->images, ctx->arena, img.id, v->path);
}
