/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Images: pull policy, pulls with back-off, and read-only mounts of images (image volumes), which
 * containerd before 2.1 has no CRI call for.
 */

#include "base/str.h"
#include "json/json.h"

struct agent;
struct arena;
struct err;
struct images;

/* lifecycle */
struct images *images_new(struct agent *ag);
struct images *images_free(struct images *im);

/* What is asked for and, on failure, the waiting state it leads to. */
struct image_request {
	const struct json *pod;
	const struct json *container; /* for events; may be NULL */
	struct str image, policy;     /* policy empty: by the tag, as upstream defaults it */
};

struct image_result {
	struct str id;  /* "sha256:..." of the config: how containers refer to it */
	struct str ref; /* repository@digest where known, else the id */
	/* on failure */
	const char *reason; /* "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", ... */
	struct str message;
	int64_t retry_ms;
};

/* True when the image is there. */
SUSPENDS bool images_ensure(struct images *im, struct arena *a, const struct image_request *rq,
			    struct image_result *ret);
/* An image's files, read-only, at dir. Fine when they are there already. */
MUST_USE SUSPENDS struct err *images_mount(struct images *im, struct arena *a, struct str id,
					   struct str dir);
/* Undoes images_mount for every directory below prefix. */
SUSPENDS void images_unmount_below(struct images *im, struct arena *a, struct str prefix);
