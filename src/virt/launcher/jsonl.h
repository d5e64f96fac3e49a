/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * JSON objects, one per line, over a stream: what QMP and the handler's protocol are made of.
 * One fiber reads; any fiber may write, whole lines never interleave.
 */

#include "base/buf.h"
#include "io/fiber.h"

struct arena;
struct json;
struct stream;

struct jsonl {
	struct stream *st;
	size_t max_line;
	/* private */
	struct buf in;
	size_t scanned;
	bool writing;
	struct waitq write_turn;
};

/* Takes st. */
void jsonl_init(struct jsonl *j, struct stream *st, size_t max_line);
void jsonl_fini(struct jsonl *j);
/* *ret is NULL at the end; TOO_LARGE for a line over max_line, BAD_REQUEST when it is no JSON. */
MUST_USE SUSPENDS struct err *jsonl_read(struct jsonl *j, struct arena *a, struct json **ret);
MUST_USE SUSPENDS struct err *jsonl_write(struct jsonl *j, const struct json *v);
