/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Read-only views of images by containerd's snapshot service, mounted by ourselves: containerd
 * before 2.1 has no image volumes in CRI.
 */

#include "base/str.h"

struct arena;
struct err;
struct snapshots;

/* lifecycle */
struct snapshots *snapshots_new(struct str socket);
struct snapshots *snapshots_free(struct snapshots *s);

/* operations */
/* chain: the image's chain id ("sha256:..."), key: ours for this view; dir exists and is empty. */
MUST_USE SUSPENDS struct err *snapshots_mount(struct snapshots *s, struct arena *a,
					      struct str chain, struct str key, const char *dir);
/* The mount goes first. Fine with a view that is gone. */
MUST_USE SUSPENDS struct err *snapshots_unmount(struct snapshots *s, struct arena *a,
						struct str key, const char *dir);
