/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Byte streams that suspend: TCP, Unix, TLS, pipes. One reader and one writer at a time,
 * which may be different fibers. Owned by whoever opened or accepted it.
 */

#include "base/str.h"

struct arena;
struct err;
struct loop;
struct stream;
struct tls_config; /* io/tls.h */

struct stream_peer_cred {
	uint32_t uid, gid;
	int32_t pid;
};

/* opening */
/* address is "HOST:PORT" or "unix:/path"; tls NULL means plain; server_name for SNI and checks. */
MUST_USE SUSPENDS struct err *stream_connect(struct str address, const struct tls_config *tls,
					     struct str server_name, struct stream **ret);
/* Takes fd (socket, pipe, terminal, file), which becomes non-blocking. */
struct stream *stream_from_fd(int fd);
/* Takes an accepted socket and performs the server's handshake. */
MUST_USE SUSPENDS struct err *stream_accept_tls(int fd, const struct tls_config *tls,
						struct stream **ret);
/* Closes; NULL is fine. Never suspends. */
struct stream *stream_free(struct stream *s);
void stream_freep(struct stream **s);

/* operations */
/* At least one byte; *ret_n is 0 at the end of the stream. */
MUST_USE SUSPENDS struct err *stream_read(struct stream *s, void *p, size_t n, size_t *ret_n);
/* Exactly n bytes, or PROTOCOL when the stream ends before. */
MUST_USE SUSPENDS struct err *stream_read_full(struct stream *s, void *p, size_t n);
/* All of it. */
MUST_USE SUSPENDS struct err *stream_write(struct stream *s, struct str data);
/* Ends our direction (TLS close_notify, TCP FIN). */
MUST_USE SUSPENDS struct err *stream_shutdown(struct stream *s);
/* Puts bytes back in front of what will be read next (upgrades: what the parser over-read). */
void stream_unread(struct stream *s, struct str data);
/* Takes both. SUSPENDS until both directions ended or one failed, and frees them. */
MUST_USE SUSPENDS struct err *stream_relay(struct stream *a, struct stream *b);

/* queries */
int stream_fd(const struct stream *s);
/* "127.0.0.1:4711" or "unix". */
struct str stream_peer_address(const struct stream *s);
struct str stream_alpn(const struct stream *s);
/* The peer's verified certificate; stream_tls_peer is false when it sent none. */
struct tls_peer {
	struct str common_name; /* of the subject, the last one */
	struct str *orgs;
	size_t n_orgs;
	struct str uid;         /* attribute 1.3.6.1.4.1.57683.2 */
	bool bad_uid;           /* several of these, or an empty one */
	struct str fingerprint; /* lower-case hex SHA-256 of the certificate */
	struct str root;        /* the same of what the chain ends in: which CA vouches */
	int64_t not_after;      /* seconds since 1970 */
};
bool stream_tls_peer(const struct stream *s, struct arena *a, struct tls_peer *ret);
/* It sent one that did not verify. */
bool stream_tls_peer_bad(const struct stream *s);
bool stream_peer_cred(const struct stream *s, struct stream_peer_cred *ret);

/* listening */
/* "HOST:PORT" (port 0 picks one) or "unix:/path" (an old socket file is replaced). */
MUST_USE struct err *stream_listen(struct str address, int *ret_fd);
/* The port a listening socket is bound to. */
int stream_listen_port(int fd);
