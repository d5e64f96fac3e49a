/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * All objects of one resource kept in memory and up to date: for what nearly every request consults
 * (RBAC, webhook configurations, CRDs, APIServices). Follows the store's events; commits of this
 * server show before their responses are sent only after a turn of the loop.
 */

#include "base/map.h"
#include "store/store.h"

struct apiserver;

struct mirror {
	/* Optional. old NULL: added; new NULL: deleted. Also called for what is there at the start.
	 */
	void (*changed)(struct mirror *m, const struct obj *old, const struct obj *new);
	void *ctx;       /* for changed */
	struct map objs; /* "NS/NAME" or "NAME" -> const struct obj * */
	/* private */
	struct apiserver *server;
	struct str store_name;
	struct store_watch watch;
};

/* gr: "pods", "clusterroles.rbac.authorization.k8s.io"; a literal. */
MUST_USE SUSPENDS struct err *mirror_start(struct mirror *m, struct apiserver *s, const char *gr);
void mirror_stop(struct mirror *m);
const struct obj *mirror_find(const struct mirror *m, struct str ns, struct str name);
