/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Sets of fields as managedFields has them: two a line apart. What reads as a set is written as one
 * that reads the same, and the laws of sets hold for any two.
 */

#include "api/fields.h"

#include "base/arena.h"
#include "base/assert.h"
#include "base/err.h"
#include "testkit/fuzz.h"
#include "json/json.h"

const char *const fuzz_seeds[] = {
	"{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\".\":{},\"f:image\":{}}}},"
	"\"f:metadata\":{\"f:finalizers\":{\"v:\\\"x\\\"\":{}}}}\n"
	"{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\"f:image\":{}}}}}",
	"{\"f:l\":{\"i:0\":{},\"v:1\":{},\"k:{\\\"a\\\":1,\\\"b\\\":null}\":{}}}\n{\"f:l\":{\".\":{"
	"}}}",
	"{}\n{\"f:\":{}}",
	NULL,
};

static bool read_set(struct arena *a, struct str text, struct fields **ret)
{
	struct json *v = NULL;
	struct err *e = json_parse(a, text, &v);

	if (!e)
		e = fields_from_json(a, v, ret);
	if (!e)
		return true;
	err_free(e);
	return false;
}

static void note_path(struct str path, void *ctx)
{
	size_t *left = ctx;

	ASSERT(*left && path.n + 1);
	--*left;
}

static void round_trip(struct arena *a, const struct fields *x)
{
	size_t left = fields_count(x);
	struct fields *back = NULL;
	struct err *e = fields_from_json(a, fields_to_json(a, x), &back);

	ASSERT(!e);
	/* the root alone cannot be written */
	ASSERT(fields_empty(x) || (x->owned && !x->n) || fields_equal(x, back));
	fields_each(a, x, note_path, &left);
	ASSERT(!left);
}

static void laws(struct arena *a, const struct fields *x, const struct fields *y)
{
	const struct fields *u = fields_union(a, x, y), *n = fields_intersection(a, x, y);
	const struct fields *d = fields_difference(a, x, y);

	ASSERT(fields_equal(u, fields_union(a, y, x)));
	ASSERT(fields_equal(n, fields_intersection(a, y, x)));
	ASSERT(fields_equal(x, fields_union(a, d, n)));
	ASSERT(fields_empty(fields_intersection(a, d, y)));
	ASSERT(fields_empty(fields_difference(a, x, x)));
	ASSERT(fields_count(u) + fields_count(n) == fields_count(x) + fields_count(y));
	round_trip(a, u);
	round_trip(a, d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str in = str_make((const char *)data, n), first;
	_cleanup_arena_ struct arena *a = arena_new();
	struct fields *x = NULL, *y = NULL;

	str_cut(&in, '\n', &first);
	if (!read_set(a, first, &x))
		return 0;
	round_trip(a, x);
	if (read_set(a, in, &y))
		laws(a, x, y);
	return 0;
}
