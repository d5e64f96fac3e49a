/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The node agent: what its parts share. One per process, made by node_main; the parts hold a
 * pointer to it and live as long.
 *
 *     informers -> pod workers (one fiber per Pod) -> CRI, volumes, probes -> status
 *     relist of the runtime each second -> wakes the worker of a Pod that changed
 *     kubelet server: logs, exec; services: nftables; node status and lease
 */

#include "base/map.h"
#include "base/str.h"

struct arena;
struct client;
struct cri;
struct devices;
struct dns_server;
struct err;
struct event_recorder;
struct images;
struct informer;
struct json;
struct loop;
struct pod_workers;

struct node_config {
	struct str name, ip;
	struct str data_dir, run_dir, kubelet_root;
	struct str cri_socket;
	struct str pod_cidr, service_cidr;
	struct str server_cert, server_key, client_ca;
	struct str id; /* of the instance: names of bridge, table, cgroup */
	struct str bridge;
	struct str cgroup_root; /* "/isoplane-ID" */
	struct str log_dir;     /* containers' logs */
};

struct agent {
	struct node_config cfg;
	struct loop *loop;
	struct client *client;
	struct cri *cri;
	struct event_recorder *events;
	struct informer *pods, *services, *slices;
	struct pod_workers *workers;
	struct devices *devices;
	struct images *images;
	struct dns_server *dns; /* NULL: Pods use the host's resolver */
	int64_t cpu_capacity_milli, memory_capacity;
};

/* events on a Pod */
void agent_event(struct agent *ag, const struct json *pod, const char *type, const char *reason,
		 const char *fmt, ...) PRINTF_LIKE(5, 6);

/* paths below the kubelet root, in the arena */
struct str agent_pod_dir(const struct agent *ag, struct arena *a, struct str uid);
struct str agent_pod_log_dir(const struct agent *ag, struct arena *a, const struct json *pod);
