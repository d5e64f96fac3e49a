/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Volumes of a Pod, made ready on the host before its containers start and kept up to date
 * afterwards. Everything lies below KUBELET_ROOT/pods/UID, in upstream's layout, so that it goes
 * with the Pod.
 */

#include <sys/types.h>

#include "base/str.h"
#include "json/json.h"

struct agent;
struct arena;
struct env_list;
struct env_source;
struct err;

struct volume {
	struct str name;
	struct str path;      /* on the host: a directory, a file, a socket or a device */
	bool block;           /* a raw block device for volumeDevices */
	bool read_only;       /* whatever the mount says */
	struct str image_ref; /* of image volumes */
};

struct volume_set {
	struct volume *v;
	size_t n;
};

/* What a kind of volume gets to work with. */
struct volume_ctx {
	struct agent *agent;
	struct arena *arena;
	const struct json *pod;
	const struct env_source *env;
	gid_t fs_group; /* (gid_t)-1: none */
};

/* lifecycle */
/* Idempotent: also the way to refresh. The error says which volume and why. */
MUST_USE SUSPENDS struct err *volumes_set_up(struct volume_ctx *ctx, struct volume_set *ret);
/* Unmounts and removes everything of the Pod. */
MUST_USE SUSPENDS struct err *volumes_tear_down(struct agent *ag, struct arena *a, struct str uid);

/* queries */
const struct volume *volume_find(const struct volume_set *set, struct str name);
/* The directory of one volume: created. */
MUST_USE struct err *volume_dir(struct volume_ctx *ctx, const char *plugin, struct str name,
				struct str *ret);
/*
 * What a volumeMount shows: the volume itself, or a path inside it that cannot lead out of it
 * (openat2), bind-mounted to a place of its own.
 */
MUST_USE struct err *volume_mount_source(struct volume_ctx *ctx, const struct volume *v,
					 const struct json *container, const struct json *mount,
					 size_t index, const struct env_list *env, struct str *ret);

/* kinds; source is the member that names the kind */
typedef struct err *(*volume_fn)(struct volume_ctx *ctx, const struct json *source,
				 struct volume *v);
MUST_USE SUSPENDS struct err *volume_config_map(struct volume_ctx *ctx, const struct json *source,
						struct volume *v);
MUST_USE SUSPENDS struct err *volume_secret(struct volume_ctx *ctx, const struct json *source,
					    struct volume *v);
MUST_USE SUSPENDS struct err *volume_downward(struct volume_ctx *ctx, const struct json *source,
					      struct volume *v);
MUST_USE SUSPENDS struct err *volume_projected(struct volume_ctx *ctx, const struct json *source,
					       struct volume *v);
MUST_USE SUSPENDS struct err *volume_claim(struct volume_ctx *ctx, const struct json *source,
					   struct volume *v);
MUST_USE SUSPENDS struct err *volume_ephemeral(struct volume_ctx *ctx, const struct json *source,
					       struct volume *v);
MUST_USE SUSPENDS struct err *volume_image(struct volume_ctx *ctx, const struct json *source,
					   struct volume *v);
