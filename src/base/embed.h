/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What build tools share that turn files into C source. For nothing that runs later. */

#include "base/str.h"

struct arena;
struct buf;
struct err;

MUST_USE struct err *embed_read(struct arena *a, const char *path, struct str *ret);
MUST_USE struct err *embed_write(const char *path, struct str text);
/* An initializer of a struct str, over as many lines as it takes; s is one line itself. */
void embed_literal(struct buf *out, struct str s);
/* The tool's exit status; a message when e is an error, which it takes. */
int embed_finish(const char *tool, struct err *e);
