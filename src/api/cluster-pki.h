/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The cluster's key material in DIR/pki: two CAs, the key that signs ServiceAccount tokens, and the
 * certificates that more than one process uses. Both the API server (alone) and the supervisor
 * make what is missing; nothing that is there is replaced, but for certificates near their end or
 * a server certificate whose names no longer cover what is asked for.
 */

#include "io/pki.h"

struct arena;
struct err;

struct cluster_pki_opts {
	const char *dir; /* DIR/pki; created (0700) when absent */
	/* Names and addresses the API server is reached by, beside localhost and the usual ones. */
	const struct str *ips;
	size_t n_ips;
	const struct str *dns_names;
	size_t n_dns_names;
};

struct cluster_pki {
	struct pki_pair ca;                       /* ca.crt, ca.key: clients, servers, kubelets */
	struct pki_pair server;                   /* server.crt, server.key */
	struct pki_pair kubelet_client;           /* API server -> node agents */
	struct pki_pair front_proxy_ca;           /* front-proxy-ca.crt, .key: aggregation */
	struct pki_pair front_proxy_client;       /* API server -> aggregated servers */
	struct pki_pair admin;                    /* admin.crt, admin.key: system:masters */
	struct str sa_private_pem, sa_public_pem; /* sa.key, sa.pub */
};

MUST_USE struct err *cluster_pki_ensure(struct arena *a, const struct cluster_pki_opts *opts,
					struct cluster_pki *ret);
