/* SPDX-License-Identifier: Apache-2.0 */
#include "server/write.h"

#include "base/assert.h"
#include "base/err.h"
#include "server/server.h"
#include "json/json.h"

void write_put(struct write *w, const struct store_key *key, const struct obj *o, struct rev expect)
{
	ASSERT(w->n < WRITE_MAX_OPS);
	w->ops[w->n++] = (struct store_op){ .key = *key, .put = o, .expect = expect };
}

void write_del(struct write *w, const struct store_key *key, struct rev expect)
{
	ASSERT(w->n < WRITE_MAX_OPS);
	w->ops[w->n++] = (struct store_op){ .key = *key, .expect = expect };
}

bool write_is_heartbeat(struct arena *a, const struct json *obj, const struct json *old,
			void (*strip)(struct json *copy, const struct json *from))
{
	const struct json *const both[] = { obj, old };
	struct json *rest[2];

	for (size_t i = 0; i < ARRAY_LEN(both); i++) {
		rest[i] = json_copy(a, both[i]);
		json_delz(json_get(rest[i], "metadata"), "managedFields");
		json_delz(json_get(rest[i], "metadata"), "resourceVersion");
		strip(rest[i], both[i]);
	}
	return json_equal(rest[0], rest[1]);
}

void write_on_fini(struct write *w, void (*fn)(void *ctx), void *ctx)
{
	ASSERT(!w->on_fini);
	w->on_fini = fn;
	w->on_fini_ctx = ctx;
}

void write_fini(struct write *w)
{
	if (w->on_fini)
		w->on_fini(w->on_fini_ctx);
	w->on_fini = NULL;
	for (size_t i = 0; i < w->n; i++) {
		obj_unref(w->ops[i].put);
		obj_unref(w->ops[i].result);
	}
	w->n = 0;
	w->lazy = false;
}

struct err *write_commit(struct apiserver *s, struct write *w, bool *ret_conflict)
{
	struct rev rev;
	size_t failed = 0;
	struct err *e = w->lazy && w->n == 1
				? store_commit_lazy(s->store, w->ops, w->n, &rev, &failed)
				: store_commit(s->store, w->ops, w->n, &rev, &failed);

	*ret_conflict = e && err_is(e, ERR_CONFLICT);
	if (!*ret_conflict)
		return e;
	err_ignore(e, "the caller tries again");
	w->failed = (int)failed;
	w->attempt++;
	return NULL;
}
