/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Cluster DNS on the node's own address: names of Services and of Pods below cluster.local from the
 * informers, everything else from the host's resolvers.
 */

#include "base/str.h"
#include "node/dns-wire.h"

struct agent;
struct arena;
struct err;
struct json;

#define CLUSTER_DOMAIN "cluster.local"

MUST_USE struct err *dns_server_start(struct agent *ag);

/* What there is to know about a name; services and slices are those of its namespace. */
struct dns_records {
	struct dns_record *v;
	size_t n;
	enum dns_rcode rcode;
};

/* A name below cluster.local, in parts: the labels before "svc" or "pod", and the namespace. */
struct dns_cluster_name {
	struct str ns, service;
	struct str host;        /* a Pod's hostname in a headless Service */
	struct str port, proto; /* of SRV names, without underscores */
	struct str pod_ip;      /* "10-0-0-5", of NS.pod names */
};
bool dns_cluster_name_parse(struct str name, struct dns_cluster_name *ret);
/* A pure function: service NULL when it does not exist. */
struct dns_records dns_lookup(struct arena *a, const struct dns_cluster_name *name,
			      enum dns_type type, const struct json *service,
			      const struct json *slices);

/* "5.0.0.10.in-addr.arpa" is about 10.0.0.5. */
bool dns_reverse_name(struct arena *a, struct str name, struct str *ret_ip);
/* PTR of the first Service, else of the endpoint; NXDOMAIN when there is none. */
struct dns_records dns_reverse(struct arena *a, struct str ip, const struct json *services,
			       const struct json *slices);
bool dns_cidr_has(struct arena *a, struct str cidr, struct str ip);
