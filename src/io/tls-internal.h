/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What streams need of TLS settings: OpenSSL is named only here, in tls.c and in pki.c. */

#include <openssl/ssl.h>

#include "io/stream.h"

struct tls_config;

/*
 * A connection in its initial state over bio (taken); server_name (client side, NUL-terminated or
 * NULL) is sent as SNI unless it is an address, and checked against the certificate.
 */
MUST_USE struct err *tls_new(const struct tls_config *c, const char *server_name, BIO *bio,
			     SSL **ret);
/* False when the peer sent no certificate or one that did not verify (*ret_bad). */
bool tls_peer_of(const SSL *ssl, struct arena *a, struct tls_peer *ret, bool *ret_bad);
/* Text of the last failure of this thread; clears the queue. Never empty. */
void tls_error_text(const SSL *ssl, char *text, size_t n);
