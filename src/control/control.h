/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the controllers of the built-in kinds share: the client, the event recorder and one
 * informer for each resource, however many controllers look at it. Controllers live as long
 * as the process.
 */

#include "api/gvk.h"
#include "base/str.h"

struct client;
struct err;
struct event_recorder;
struct informer;
struct informer_index;
struct loop;

struct control {
	struct loop *loop;
	struct client *client;
	struct event_recorder *events;
	struct str volume_dir; /* where `local` volumes live on nodes */
	/* private */
	struct control_informer *informers;
};

/* Made on first use. */
struct informer *control_informer(struct control *c, struct gvr gvr);
/* Pods by spec.nodeName. */
struct informer_index *control_pods_by_node(struct control *c);

/* Whether a create was refused because its namespace is being deleted. */
bool control_ns_terminating(const struct err *e);

/* controllers: one row each in controllers.c */
void namespace_start(struct control *c);
void gc_start(struct control *c);
void job_start(struct control *c);
void replicaset_start(struct control *c);
void replicationcontroller_start(struct control *c);
void serviceaccount_start(struct control *c);
void root_ca_start(struct control *c);
void deployment_start(struct control *c);
void cronjob_start(struct control *c);
void disruption_start(struct control *c);
void statefulset_start(struct control *c);
void daemonset_start(struct control *c);
void ttl_after_finished_start(struct control *c);
void expiry_start(struct control *c);
void token_cleaner_start(struct control *c);
void endpoints_start(struct control *c);
void endpointslice_mirroring_start(struct control *c);
void quota_controller_start(struct control *c);
void endpointslice_start(struct control *c);
void node_lifecycle_start(struct control *c);
void taint_eviction_start(struct control *c);
void pod_gc_start(struct control *c);
void ephemeral_volume_start(struct control *c);
void volume_binder_start(struct control *c);
void volume_provisioner_start(struct control *c);
void volume_protection_start(struct control *c);

/* resources */
extern const struct gvr gvr_namespaces, gvr_nodes, gvr_pods, gvr_services, gvr_configmaps,
	gvr_serviceaccounts, gvr_persistentvolumes, gvr_persistentvolumeclaims, gvr_deployments,
	gvr_endpoints, gvr_endpointslices, gvr_jobs, gvr_leases, gvr_replicasets,
	gvr_replicationcontrollers, gvr_storageclasses, gvr_controllerrevisions, gvr_statefulsets,
	gvr_daemonsets;
