/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * TLS settings shared by connections; reference counted, immutable. TLS 1.2 or later.
 * Connections keep what they need of it.
 */

#include "base/str.h"

struct err;
struct tls_config;

struct tls_opts {
	struct str cert_pem, key_pem; /* ours; both or neither */
	struct str ca_pem;            /* whom we trust; empty on a client: the system's store */
	bool server;
	/*
	 * Server: ask, verify when given (against ca_pem). A certificate that does not verify
	 * still passes the handshake: see stream_tls_peer_bad().
	 */
	bool request_client_cert;
	bool require_client_cert;
	bool insecure; /* client: do not verify the server */
	bool no_h2;    /* do not offer HTTP/2 by ALPN */
};

MUST_USE struct err *tls_config_new(const struct tls_opts *opts, struct tls_config **ret);
struct tls_config *tls_config_ref(struct tls_config *c);
struct tls_config *tls_config_unref(struct tls_config *c); /* NULL is fine */
/* A new reference to the same settings that offer only HTTP/1.1 (upgrades need it). */
struct tls_config *tls_config_without_h2(const struct tls_config *c);
void tls_config_unrefp(struct tls_config **c);
