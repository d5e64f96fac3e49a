/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The Multus convention as data: the annotation that asks for networks, and the one that reports
 * them. Pure.
 */

#include "base/str.h"

struct arena;
struct err;
struct json;

#define NETWORKS_MAX 32

struct network_request {
	struct str ns, name;  /* of the NetworkAttachmentDefinition */
	struct str interface; /* in the Pod; "net1", ... when none is asked for */
	struct str mac;       /* may be empty */
	const struct json *ips;
};

/* "a, ns/b@eth1" or a JSON list; names without a namespace are the Pod's. INVALID names the entry.
 */
MUST_USE struct err *networks_parse(struct arena *a, struct str annotation, struct str pod_ns,
				    struct network_request *ret, size_t *ret_n);
/* The plugins of a definition's config: its one, or those of a list; name and cniVersion filled in.
 */
MUST_USE struct err *networks_plugins(struct arena *a, const struct json *nad,
				      struct json **ret_plugins);
/* One entry of the network-status annotation, from a CNI result. */
struct json *networks_status(struct arena *a, struct str name, struct str interface,
			     const struct json *result, bool is_default);
