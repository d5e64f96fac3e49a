/* SPDX-License-Identifier: Apache-2.0 */

#include "node/snapshots.h"

#include <errno.h>
#include <sys/mount.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/grpc.h"
#include "snapshots.pb-c.h"

#define SN(type)    Containerd__Services__Snapshots__V1__##type
#define METHOD(m)   "/containerd.services.snapshots.v1.Snapshots/" m
#define SNAPSHOTTER "overlayfs"
#define CALL_MS     (30 * 1000)

struct snapshots {
	struct grpc_client *grpc;
};

struct snapshots *snapshots_new(struct str socket)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct snapshots *s = mem_new(struct snapshots);

	s->grpc = grpc_client_new(arena_fmt(a, "unix:%.*s", STR_ARG(socket)));
	grpc_client_set_header(s->grpc, "containerd-namespace", "k8s.io");
	return s;
}

struct snapshots *snapshots_free(struct snapshots *s)
{
	if (!s)
		return NULL;
	grpc_client_free(s->grpc);
	free(s);
	return NULL;
}

static struct err *snapshots_call(struct snapshots *s, struct arena *a, const char *method,
				  const ProtobufCMessage *req,
				  const ProtobufCMessageDescriptor *type, void *ret)
{
	struct mono old = fiber_limit_ms(CALL_MS);
	struct err *e = grpc_unary(s->grpc, a, method, req, type, ret);

	fiber_restore_deadline(old);
	return e;
}

/* The label keeps containerd's garbage collector off. */
static struct err *snapshots_view(struct snapshots *s, struct arena *a, struct str chain,
				  struct str key, SN(MountsResponse) * *ret)
{
	SN(ViewSnapshotRequest) req;
	SN(StringPair) label;
	SN(StringPair) * labels[] = { &label };

	containerd__services__snapshots__v1__view_snapshot_request__init(&req);
	containerd__services__snapshots__v1__string_pair__init(&label);
	label.key = arena_strz(a, STR("containerd.io/gc.root"));
	label.value = arena_strz(a, wall_format(a, wall_now()));
	req.snapshotter = arena_strz(a, STR(SNAPSHOTTER));
	req.key = arena_strz(a, key);
	req.parent = arena_strz(a, chain);
	req.labels = labels;
	req.n_labels = 1;
	return snapshots_call(s, a, METHOD("View"), &req.base,
			      &containerd__services__snapshots__v1__mounts_response__descriptor,
			      ret);
}

static struct err *snapshots_mounts(struct snapshots *s, struct arena *a, struct str key,
				    SN(MountsResponse) * *ret)
{
	SN(MountsRequest) req;

	containerd__services__snapshots__v1__mounts_request__init(&req);
	req.snapshotter = arena_strz(a, STR(SNAPSHOTTER));
	req.key = arena_strz(a, key);
	return snapshots_call(s, a, METHOD("Mounts"), &req.base,
			      &containerd__services__snapshots__v1__mounts_response__descriptor,
			      ret);
}

/* One layer is a bind mount, several are an overlay of lower directories alone. */
static struct err *snapshots_mount_one(struct arena *a, const SN(Mount) * m, const char *dir)
{
	_cleanup_buf_ struct buf data = { 0 };
	bool bind = strcmp(m->type, "bind") == 0;

	if (bind) {
		if (mount(m->source, dir, NULL, MS_BIND | MS_REC, NULL) < 0)
			return err_errno(errno, "bind '%s' on %s", m->source, dir);
		if (mount(NULL, dir, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) < 0) {
			struct err *e = err_errno(errno, "bind '%s' read-only", m->source);

			/* a writable layer must not be found here, and used, the next time */
			umount2(dir, MNT_DETACH | UMOUNT_NOFOLLOW);
			return e;
		}
		return NULL;
	}
	for (size_t i = 0; i < m->n_options; i++)
		if (strchr(m->options[i], '='))
			buf_addf(&data, "%s%s", data.n ? "," : "", m->options[i]);
	if (mount(m->source, dir, m->type, MS_RDONLY, buf_to_arena(&data, a).p) < 0)
		return err_errno(errno, "mount %s on %s", m->type, dir);
	return NULL;
}

struct err *snapshots_mount(struct snapshots *s, struct arena *a, struct str chain, struct str key,
			    const char *dir)
{
	SN(MountsResponse) *resp = NULL;
	struct err *e = snapshots_view(s, a, chain, key, &resp);

	if (e && err_is(e, ERR_ALREADY_EXISTS)) { /* made before a crash or a power cut */
		err_ignore(e, "it is as good as new");
		e = snapshots_mounts(s, a, key, &resp);
	}
	TRY(e);
	if (resp->n_mounts != 1)
		return err_new(ERR_PROTOCOL, "snapshot '%.*s' has %zu mounts", STR_ARG(key),
			       resp->n_mounts);
	return snapshots_mount_one(a, resp->mounts[0], dir);
}

struct err *snapshots_unmount(struct snapshots *s, struct arena *a, struct str key, const char *dir)
{
	SN(RemoveSnapshotRequest) req;
	SN(Empty) *resp = NULL;
	struct err *e;

	if (umount2(dir, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
		return err_errno(errno, "unmount %s", dir);
	containerd__services__snapshots__v1__remove_snapshot_request__init(&req);
	req.snapshotter = arena_strz(a, STR(SNAPSHOTTER));
	req.key = arena_strz(a, key);
	e = snapshots_call(s, a, METHOD("Remove"), &req.base,
			   &containerd__services__snapshots__v1__empty__descriptor, &resp);
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "already gone");
		return NULL;
	}
	return e;
}
