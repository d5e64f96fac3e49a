/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * SPDY/3.1, the client's side, as far as the streaming servers of container runtimes use it (exec,
 * attach, port-forward): we open streams, bytes go both ways, either side ends its half. Those
 * servers have no flow control beyond that of TCP and read no WINDOW_UPDATE, so none is sent.
 * Answers' headers carry nothing and are skipped, not decompressed.
 *
 * One reader fiber; any number of writers.
 */

#include "base/str.h"

struct err;
struct spdy;
struct stream;

struct spdy_header {
	struct str name, value; /* names in lower case */
};

enum spdy_event_kind {
	SPDY_DATA,  /* data holds bytes of stream id, fin: nothing follows */
	SPDY_RESET, /* stream id was refused or aborted */
	SPDY_END,   /* the connection's */
};

struct spdy_event {
	enum spdy_event_kind kind;
	uint32_t id;
	struct str data; /* valid until the next read */
	bool fin;
};

/* lifecycle */
/* Takes st. */
struct spdy *spdy_new(struct stream *st);
struct spdy *spdy_free(struct spdy *s);

/* operations */
/* Headers of all streams together may take 60 KB. */
MUST_USE SUSPENDS struct err *spdy_open(struct spdy *s, const struct spdy_header *headers, size_t n,
					uint32_t *ret_id);
/* Empty data with fin ends our half alone. */
MUST_USE SUSPENDS struct err *spdy_write(struct spdy *s, uint32_t id, struct str data, bool fin);
/* The next of what came; pings are answered. */
MUST_USE SUSPENDS struct err *spdy_read(struct spdy *s, struct spdy_event *ret);
