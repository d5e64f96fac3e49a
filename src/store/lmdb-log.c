/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a record of the log. */

#include "store/lmdb-engine.h"

static bool log_take(struct log_iter *it, size_t n, struct str *ret)
{
	if (it->rest.n < n)
		return false;
	*ret = str_sub(it->rest, 0, n);
	it->rest = str_skip(it->rest, n);
	return true;
}

bool log_iter_init(struct log_iter *it, struct str record)
{
	struct log_head h;
	struct str s;

	*it = (struct log_iter){ .rest = record };
	if (!log_take(it, sizeof(h), &s))
		return false;
	memcpy(&h, s.p, sizeof(h));
	it->left = h.n;
	return true;
}

bool log_iter_next(struct log_iter *it)
{
	struct log_op op;
	struct str s;

	if (!it->left || !log_take(it, sizeof(op), &s))
		return false;
	memcpy(&op, s.p, sizeof(op));
	it->left--;
	it->put = op.put;
	it->prev_rev.n = op.prev_rev;
	if (!log_take(it, op.key_n, &it->key) || !log_take(it, op.prev_n, &it->prev))
		return false;
	if (!op.prev_n)
		it->prev = (struct str){ 0 };
	return true;
}
