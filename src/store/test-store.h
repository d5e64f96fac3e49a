/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the store's tests share: a store of Pods whose spec.val is a number. */

#include <stdio.h>
#include <stdlib.h>

#include "api/obj.h"
#include "base/arena.h"
#include "base/buf.h"
#include "io/fiber.h"
#include "io/file.h"
#include "store/store.h"
#include "testkit/test.h"
#include "json/json.h"

static char dir[64];

static inline struct store *open_with(struct store_opts opts)
{
	struct store *s = NULL;

	opts.path = dir;
	if (!opts.map_size)
		opts.map_size = 1u << 28;
	assert_no_err(store_open(fiber_loop(), &opts, &s));
	return s;
}

static inline struct store *open_fresh(void)
{
	snprintf(dir, sizeof(dir), "/tmp/test-store-XXXXXX");
	assert_non_null(mkdtemp(dir));
	return open_with((struct store_opts){ 0 });
}

static inline void done(struct store *s)
{
	store_close(s);
	assert_no_err(file_remove_tree(dir));
}

static inline const struct obj *make(const char *ns, const char *name, int val, const char *app)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *o = json_object(a);
	struct obj_pair fields[] = { { STR("spec.val"), arena_fmt(a, "%d", val) } };

	json_set_at(a, o, "metadata.name", json_strz(a, name));
	json_set_at(a, o, "metadata.namespace", json_strz(a, ns));
	if (app)
		json_set_at(a, o, "metadata.labels.app", json_strz(a, app));
	json_set_at(a, o, "spec.val", json_int(a, val));
	return obj_new(o, (struct rev){ 0 }, 0, fields, 1);
}

static inline int val_of(const struct obj *o)
{
	return o ? (int)json_int_at(obj_tree(o), "spec.val", -1) : -1;
}

static inline struct store_key key(const char *res, const char *ns, const char *name)
{
	return (struct store_key){ str_from(res), str_from(ns), str_from(name) };
}

static inline struct err *put_expect(struct store *s, const char *ns, const char *name, int val,
				     struct rev expect, struct rev *ret)
{
	_cleanup_obj_ const struct obj *o = make(ns, name, val, val % 2 ? "odd" : "even");
	struct store_op op = { .key = key("pods", ns, name), .put = o, .expect = expect };
	size_t failed;
	struct err *e = store_commit(s, &op, 1, ret, &failed);

	obj_unref(op.result);
	return e;
}

static inline struct rev put(struct store *s, const char *ns, const char *name, int val)
{
	struct rev rev = { 0 };

	assert_no_err(put_expect(s, ns, name, val, STORE_ANY, &rev));
	return rev;
}

static inline struct rev del(struct store *s, const char *ns, const char *name)
{
	struct store_op op = { .key = key("pods", ns, name), .expect = STORE_ANY };
	struct rev rev = { 0 };
	size_t failed;

	assert_no_err(store_commit(s, &op, 1, &rev, &failed));
	obj_unref(op.result);
	return rev;
}

static inline int get(struct store *s, const char *ns, const char *name)
{
	_cleanup_obj_ const struct obj *o = NULL;
	struct store_key k = key("pods", ns, name);

	assert_no_err(store_get(s, &k, &o));
	return val_of(o);
}

/* "ns/name=val@rev " per object. */
struct text {
	struct buf b;
	bool (*keep)(const struct obj *o);
};

static inline bool text_add(const struct obj *o, void *ctx)
{
	struct text *t = ctx;

	if (t->keep && !t->keep(o))
		return false;
	buf_addf(&t->b, STR_FMT "/" STR_FMT "=%d ", STR_ARG(o->ns), STR_ARG(o->name), val_of(o));
	return true;
}

static inline struct store_list_result list(struct store *s, struct store_list_opts opts,
					    struct text *t)
{
	struct store_list_result res = { .more = false };

	opts.resource = STR("pods");
	buf_clear(&t->b);
	assert_no_err(store_list(s, &opts, text_add, t, &res));
	return res;
}

static inline void settle(void)
{
	for (int i = 0; i < 5; i++)
		assert_no_err(fiber_yield());
}
