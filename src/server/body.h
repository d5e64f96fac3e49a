/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A large response body as it is written: 64 KB pieces that the connection takes by reference, so
 * that nothing grows by copying and memory goes as the bytes do. Zero is empty.
 */

#include "base/str.h"

struct blob;
struct buf;

struct body {
	size_t total;
	/* private */
	struct blob **v;
	size_t n, cap;
	size_t room; /* in the last piece */
};

void body_add(struct body *b, struct str s);
/*
 * For writing up to n bytes in place: buf ends where the body does, and is given back with
 * body_commit. It must not outgrow n. False when n is too much for a piece: then body_add.
 */
bool body_begin(struct body *b, size_t n, struct buf *ret);
void body_commit(struct body *b, const struct buf *written);
/* Cuts the last piece to what is in it; the pieces may be sent then, the body not added to. */
struct blob *const *body_pieces(struct body *b, size_t *ret_n);
void body_fini(struct body *b);
