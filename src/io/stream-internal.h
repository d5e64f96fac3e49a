/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Between stream.c and stream-connect.c. */

#include "io/stream.h"

/* Sets up TLS on a fresh stream; server_name may be NULL. */
MUST_USE struct err *stream_start_tls(struct stream *s, const struct tls_config *tls,
				      const char *server_name);
MUST_USE SUSPENDS struct err *stream_handshake(struct stream *s);
