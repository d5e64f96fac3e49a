/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the Pods of a node refer to: the objects that the node's agent may read. Kept from the
 * store's events; a Pod is parsed once, when it comes to its node, for what it refers to does not
 * change afterwards (claims that were made for it aside).
 *
 *     Pod -> Secret, ConfigMap, ServiceAccount, PersistentVolumeClaim, ResourceClaim
 *     PersistentVolumeClaim <- PersistentVolume -> Secret
 *     VolumeAttachment, ResourceSlice -> node
 */

#include "base/base.h"
#include "base/str.h"

struct apiserver;
struct err;
struct json;
struct node_graph;

enum node_ref {
	NODE_REF_POD,
	NODE_REF_SECRET,
	NODE_REF_CONFIGMAP,
	NODE_REF_ACCOUNT,
	NODE_REF_PVC,
	NODE_REF_PV,
	NODE_REF_CLAIM,
	NODE_REF_ATTACHMENT,
	NODE_REF_SLICE,
};

struct node_graph *node_graph_new(struct apiserver *s);
struct node_graph *node_graph_free(struct node_graph *g);
/* Follows the store; the Pods that are there already are read by a fiber of its own. */
MUST_USE SUSPENDS struct err *node_graph_start(struct node_graph *g);

/* Whether the node has to do with the object. ns empty for cluster-scoped ones. */
bool node_graph_has(struct node_graph *g, struct str node, enum node_ref kind, struct str ns,
		    struct str name);

/* what events come down to */
void node_graph_set_pod(struct node_graph *g, struct str ns, struct str name,
			const struct json *pod);
void node_graph_del_pod(struct node_graph *g, struct str ns, struct str name);
/* pv NULL: deleted */
void node_graph_set_pv(struct node_graph *g, struct str name, const struct json *pv);
