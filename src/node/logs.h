/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Reading container logs: CRI log files with tail, since, limit, timestamps, and following them
 * over rotations. One line of a file is
 *
 *     2026-01-02T03:04:05.123456789Z stdout F the text
 *
 * with P instead of F where a line goes on in the next one.
 */

#include "base/clock.h"
#include "base/str.h"

struct arena;
struct err;

struct log_opts {
	bool follow, timestamps;
	int64_t tail;        /* -1: all */
	struct wall since;   /* 0: all */
	int64_t limit_bytes; /* -1: none */
};

/* Lines go out through write; its error ends the reading (the client is gone). */
struct log_sink {
	MUST_USE struct err *(*write)(void *ctx, struct str data); /* SUSPENDS */
	/* Whether more may come: false ends a follow once all is read. SUSPENDS. */
	bool (*alive)(void *ctx);
	void *ctx;
};

MUST_USE SUSPENDS struct err *logs_read(const char *path, const struct log_opts *opts,
					const struct log_sink *sink);

/* One line taken apart; false when it is none. */
struct log_line {
	struct str stamp, text; /* text without a newline */
	struct wall time;
	bool partial;
};
bool log_line_parse(struct str line, struct log_line *ret);
