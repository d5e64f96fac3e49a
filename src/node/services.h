/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Services on this node: ClusterIPs and NodePorts as nftables rules in a table of our own, replaced
 * atomically a moment after Services or EndpointSlices change.
 */

#include "base/str.h"

struct agent;
struct arena;
struct err;
struct json;

MUST_USE struct err *services_start(struct agent *ag);

struct services_input {
	struct str table;            /* "isoplane-ID" */
	struct str bridge, pod_cidr; /* of this node */
	struct str cluster_cidr;     /* of all nodes: what Pods reach as themselves */
	/*
	 * Bridged packets pass the rules, so that a reply from one Pod to another on the bridge is
	 * translated back; without it such connections are masqueraded.
	 */
	bool bridge_netfilter;
	const struct json *services; /* array of Services */
	const struct json *slices;   /* array of EndpointSlices */
};

/* The whole ruleset for `nft -f -`. A pure function. */
struct str services_render(struct arena *a, const struct services_input *in);
