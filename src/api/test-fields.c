/* SPDX-License-Identifier: Apache-2.0 */
#include "api/fields.h"

#include "api/schema.h"
#include "testkit/test.h"
#include "json/json.h"

#define POD     "io.k8s.api.core.v1.Pod"
#define SERVICE "io.k8s.api.core.v1.Service"
#define CMAP    "io.k8s.api.core.v1.ConfigMap"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *j = NULL;

	assert_no_err(json_parse(a, str_from(text), &j));
	return j;
}

static struct fields *set(struct arena *a, const char *text)
{
	struct fields *f = NULL;

	assert_no_err(fields_from_json(a, parse(a, text), &f));
	return f;
}

static struct str text(struct arena *a, const struct fields *f)
{
	return json_text(a, fields_to_json(a, f));
}

TEST(set_operations)
{
	static const struct {
		const char *x, *y, *both, *minus, *common;
	} rows[] = {
		{ "{}", "{}", "{}", "{}", "{}" },
		{ "{\"f:a\":{}}", "{\"f:b\":{}}", "{\"f:a\":{},\"f:b\":{}}", "{\"f:a\":{}}", "{}" },
		{ "{\"f:a\":{},\"f:b\":{}}", "{\"f:b\":{}}", "{\"f:a\":{},\"f:b\":{}}",
		  "{\"f:a\":{}}", "{\"f:b\":{}}" },
		{ "{\"f:a\":{\".\":{},\"f:b\":{}}}", "{\"f:a\":{\"f:c\":{}}}",
		  "{\"f:a\":{\".\":{},\"f:b\":{},\"f:c\":{}}}", "{\"f:a\":{\".\":{},\"f:b\":{}}}",
		  "{}" },
		{ "{\"f:a\":{\".\":{},\"f:b\":{}}}", "{\"f:a\":{}}",
		  "{\"f:a\":{\".\":{},\"f:b\":{}}}", "{\"f:a\":{\"f:b\":{}}}", "{\"f:a\":{}}" },
		{ "{\"f:l\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\"f:image\":{}}}}",
		  "{\"f:l\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\".\":{}}}}",
		  "{\"f:l\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\".\":{},\"f:image\":{}}}}",
		  "{\"f:l\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\"f:image\":{}}}}", "{}" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct fields *x = set(a, rows[i].x), *y = set(a, rows[i].y);

		assert_str(text(a, fields_union(a, x, y)), rows[i].both);
		assert_str(text(a, fields_difference(a, x, y)), rows[i].minus);
		assert_str(text(a, fields_intersection(a, x, y)), rows[i].common);
		assert_str(text(a, x), rows[i].x);
	}
}

/* A small random set over few names, so that sets meet. */
static struct fields *random_set(struct arena *a, unsigned *seed)
{
	static const char *const names[] = { "f:a", "f:b", "v:1", "k:{\"name\":\"c\"}" };
	struct fields *f = fields_new(a);

	for (int i = 0; i < 12; i++) {
		struct fields *at = f;

		for (unsigned depth = 0; depth < 1 + i % 3u; depth++) {
			*seed = *seed * 1103515245u + 12345u;
			at = fields_sub(a, at, str_from(names[(*seed >> 16) % 4]));
		}
		at->owned = *seed & 0x10000000;
	}
	return f;
}

TEST(laws_hold)
{
	unsigned seed = 7;

	for (int i = 0; i < 300; i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct fields *x = random_set(a, &seed), *y = random_set(a, &seed), *back = NULL;
		struct fields *u = fields_union(a, x, y), *n = fields_intersection(a, x, y);
		struct fields *d = fields_difference(a, x, y);

		assert_true(fields_equal(u, fields_union(a, y, x)));
		assert_true(fields_equal(n, fields_intersection(a, y, x)));
		assert_true(fields_equal(x, fields_union(a, d, n)));
		assert_true(fields_empty(fields_intersection(a, d, y)));
		assert_int_equal(fields_count(u) + fields_count(n),
				 fields_count(x) + fields_count(y));
		assert_true(fields_empty(fields_difference(a, x, x)));
		if (fields_empty(x))
			continue;
		assert_no_err(fields_from_json(a, fields_to_json(a, x), &back));
		assert_true(fields_equal(x, back));
	}
}

TEST(malformed_sets)
{
	static const char *const rows[] = { "[]",           "{\"a\":{}}",    "{\"f:a\":1}",
					    "{\"k:x\":{}}", "{\"k:{}\":{}}", "{\"i:x\":{}}",
					    "{\"v:\":{}}",  "{\"\":{}}" };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct fields *f;

		assert_err(fields_from_json(a, parse(a, rows[i]), &f), ERR_BAD_REQUEST);
	}
}

struct paths {
	struct arena *a;
	struct str all;
};

static void join_path(struct str path, void *ctx)
{
	struct paths *p = ctx;

	p->all = arena_fmt(p->a, STR_FMT STR_FMT "\n", STR_ARG(p->all), STR_ARG(path));
}

TEST(paths_as_text)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct paths p = { a, STR_EMPTY };

	fields_each(a,
		    set(a, "{\"f:spec\":{\"f:ports\":{\"k:{\\\"port\\\":80,\\\"protocol\\\":"
			   "\\\"TCP\\\"}\":"
			   "{\".\":{},\"f:name\":{}}}},\"f:s\":{\"v:\\\"x\\\"\":{}}}"),
		    join_path, &p);
	assert_str(p.all, ".s[=\"x\"]\n.spec.ports[port=80,protocol=\"TCP\"]\n"
			  ".spec.ports[port=80,protocol=\"TCP\"].name\n");
}

TEST(large_containers_are_leaves)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *obj = json_object(a), *big = json_sub(a, obj, "data");

	for (int i = 0; i < FIELDS_MEMBERS_MAX; i++)
		json_set_int(a, big, arena_fmt(a, "k%d", i).p, i);
	assert_false(fields_too_large(obj));
	assert_int_equal(fields_count(fields_of(a, NULL, obj)), 1 + FIELDS_MEMBERS_MAX);
	json_set_int(a, big, "one-more", 1);
	assert_true(fields_too_large(obj));
	assert_int_equal(fields_count(fields_of(a, NULL, obj)), 1);
}

/* ---- objects */

#define C(list)     "{\"spec\":{\"containers\":[" list "]}}"
#define F_C(key, x) "{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"" key "\\\"}\":" x "}}}"

TEST(sets_of_objects)
{
	static const struct {
		const char *type, *obj, *want;
	} rows[] = {
		{ CMAP, "{\"data\":{\"a\":\"1\"}}", "{\"f:data\":{\"f:a\":{}}}" },
		{ CMAP, "{\"data\":{}}", "{\"f:data\":{}}" },
		{ POD, C("{\"name\":\"c\",\"image\":\"x\",\"args\":[\"1\"]}"),
		  F_C("c", "{\".\":{},\"f:args\":{},\"f:image\":{},\"f:name\":{}}") },
		/* keys have defaults; selectors are atomic */
		{ SERVICE, "{\"spec\":{\"selector\":{\"a\":\"b\"},\"ports\":[{\"port\":80}]}}",
		  "{\"f:spec\":{\"f:ports\":{\"k:{\\\"port\\\":80,\\\"protocol\\\":\\\"TCP\\\"}\":{"
		  "\".\":{},\"f:port\":{}}},\"f:selector\":{}}}" },
		{ POD, "{\"metadata\":{\"finalizers\":[\"a/b\"]}}",
		  "{\"f:metadata\":{\"f:finalizers\":{\"v:\\\"a/b\\\"\":{}}}}" },
		/* without a schema */
		{ NULL, "{\"a\":{\"b\":[1,2]}}", "{\"f:a\":{\".\":{},\"f:b\":{}}}" },
	};
	struct schema_registry *r = schema_registry_builtin();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		const struct schema *s =
			rows[i].type ? schema_registry_find(r, str_from(rows[i].type)) : NULL;

		assert_str(text(a, fields_of(a, s, parse(a, rows[i].obj))), rows[i].want);
	}
	schema_registry_free(r);
}

TEST(comparisons)
{
	static const struct {
		const char *type, *old, *new, *added, *modified, *removed;
	} rows[] = {
		{ CMAP, "{\"data\":{\"a\":\"1\",\"b\":\"1\"}}",
		  "{\"data\":{\"a\":\"2\",\"c\":\"1\"}}", "{\"f:data\":{\"f:c\":{}}}",
		  "{\"f:data\":{\"f:a\":{}}}", "{\"f:data\":{\"f:b\":{}}}" },
		{ CMAP, "{}", "{\"data\":{\"a\":\"2\"}}", "{\"f:data\":{\".\":{},\"f:a\":{}}}",
		  "{}", "{}" },
		{ POD, C("{\"name\":\"a\",\"image\":\"1\"}"),
		  C("{\"name\":\"b\",\"image\":\"1\"},{\"name\":\"a\",\"image\":\"2\"}"),
		  F_C("b", "{\".\":{},\"f:image\":{},\"f:name\":{}}"), F_C("a", "{\"f:image\":{}}"),
		  "{}" },
		{ POD, C("{\"name\":\"a\",\"args\":[\"1\"]}"),
		  C("{\"name\":\"a\",\"args\":[\"2\"]}"), "{}", F_C("a", "{\"f:args\":{}}"), "{}" },
	};
	struct schema_registry *r = schema_registry_builtin();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct fields_diff d;

		fields_compare(a, schema_registry_find(r, str_from(rows[i].type)),
			       parse(a, rows[i].old), parse(a, rows[i].new), &d);
		assert_str(text(a, d.added), rows[i].added);
		assert_str(text(a, d.modified), rows[i].modified);
		assert_str(text(a, d.removed), rows[i].removed);
	}
	schema_registry_free(r);
}

TEST(merges)
{
	static const struct {
		const char *type, *live, *config, *want;
	} rows[] = {
		{ CMAP, "{\"data\":{\"a\":\"1\",\"b\":\"1\"}}",
		  "{\"data\":{\"b\":\"2\",\"c\":\"3\"}}",
		  "{\"data\":{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}}" },
		{ POD, C("{\"name\":\"a\",\"image\":\"1\"},{\"name\":\"b\"}"),
		  C("{\"name\":\"b\",\"image\":\"2\"},{\"name\":\"n\"}"),
		  C("{\"name\":\"a\",\"image\":\"1\"},{\"name\":\"b\",\"image\":\"2\"},"
		    "{\"name\":\"n\"}") },
		/* config's order of what both have; what only live has stays before the next */
		{ POD, C("{\"name\":\"a\"},{\"name\":\"x\"},{\"name\":\"b\"}"),
		  C("{\"name\":\"b\"},{\"name\":\"a\"}"),
		  C("{\"name\":\"x\"},{\"name\":\"b\"},{\"name\":\"a\"}") },
		{ POD, C(""), C("{\"name\":\"b\"},{\"name\":\"a\"}"),
		  C("{\"name\":\"b\"},{\"name\":\"a\"}") },
		/* atomic */
		{ POD, C("{\"name\":\"a\",\"args\":[\"1\",\"2\"]}"),
		  C("{\"name\":\"a\",\"args\":[\"3\"]}"), C("{\"name\":\"a\",\"args\":[\"3\"]}") },
		{ SERVICE, "{\"spec\":{\"selector\":{\"a\":\"b\"}}}",
		  "{\"spec\":{\"selector\":{\"c\":\"d\"}}}",
		  "{\"spec\":{\"selector\":{\"c\":\"d\"}}}" },
		/* two keys, one by default */
		{ SERVICE,
		  "{\"spec\":{\"ports\":[{\"port\":53,\"protocol\":\"UDP\"},{\"port\":53,"
		  "\"protocol\":\"TCP\"}]}}",
		  "{\"spec\":{\"ports\":[{\"port\":53,\"name\":\"t\"}]}}",
		  "{\"spec\":{\"ports\":[{\"port\":53,\"protocol\":\"UDP\"},{\"port\":53,"
		  "\"protocol\":"
		  "\"TCP\",\"name\":\"t\"}]}}" },
		/* sets */
		{ POD, "{\"metadata\":{\"finalizers\":[\"a\",\"b\"]}}",
		  "{\"metadata\":{\"finalizers\":[\"c\",\"b\"]}}",
		  "{\"metadata\":{\"finalizers\":[\"a\",\"c\",\"b\"]}}" },
		/* null takes nothing away */
		{ CMAP, "{\"data\":{\"a\":\"1\"}}", "{\"data\":null}", "{\"data\":{\"a\":\"1\"}}" },
		{ NULL, "{\"a\":{\"b\":[1],\"c\":1}}", "{\"a\":{\"b\":[2]}}",
		  "{\"a\":{\"b\":[2],\"c\":1}}" },
	};
	struct schema_registry *r = schema_registry_builtin();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		const struct schema *s =
			rows[i].type ? schema_registry_find(r, str_from(rows[i].type)) : NULL;
		struct json *live = parse(a, rows[i].live);

		assert_str(json_text(a, fields_merge(a, s, live, parse(a, rows[i].config))),
			   rows[i].want);
		assert_str(json_text(a, live), rows[i].live);
	}
	schema_registry_free(r);
}

TEST(pruning)
{
	static const struct {
		const char *type, *obj, *last, *owned, *want;
	} rows[] = {
		{ CMAP, "{\"data\":{\"a\":\"1\",\"b\":\"1\"}}",
		  "{\"f:data\":{\"f:a\":{},\"f:b\":{}}}", "{\"f:data\":{\"f:b\":{}}}",
		  "{\"data\":{\"b\":\"1\"}}" },
		/* what nobody owned stays, with what holds it */
		{ CMAP, "{\"data\":{\"a\":\"1\"},\"immutable\":true}", "{\"f:data\":{\"f:a\":{}}}",
		  "{}", "{\"immutable\":true}" },
		/* a list item goes with its defaults */
		{ POD, C("{\"name\":\"a\",\"imagePullPolicy\":\"Always\"},{\"name\":\"b\"}"),
		  F_C("a", "{\".\":{},\"f:name\":{}}"), F_C("b", "{\".\":{}}"),
		  C("{\"name\":\"b\"}") },
		{ POD, C("{\"name\":\"a\",\"image\":\"x\"}"),
		  F_C("a", "{\".\":{},\"f:name\":{},\"f:image\":{}}"),
		  F_C("a", "{\".\":{},\"f:name\":{}}"), C("{\"name\":\"a\"}") },
	};
	struct schema_registry *r = schema_registry_builtin();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *obj = parse(a, rows[i].obj);

		fields_prune(a, schema_registry_find(r, str_from(rows[i].type)), obj,
			     set(a, rows[i].last), set(a, rows[i].owned));
		assert_str(json_text(a, obj), rows[i].want);
	}
	schema_registry_free(r);
}

TEST(checks)
{
	static const struct {
		const char *type, *obj, *want;
	} rows[] = {
		{ CMAP, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"data\":{\"a\":\"b\"}}",
		  "[]" },
		{ CMAP, "{\"zz\":1}", "[\".zz: field not declared in schema\"]" },
		{ CMAP, "{\"data\":{\"a\":1}}",
		  "[\".data.a: expected string, got &value.valueUnstructured{Value:1}\"]" },
		{ POD, C("{\"name\":\"c\"},{\"name\":\"c\"}"),
		  "[\".spec.containers: duplicate entries for key [name=\\\"c\\\"]\"]" },
		{ POD, "{\"spec\":{\"activeDeadlineSeconds\":\"x\"}}",
		  "[\".spec.activeDeadlineSeconds: expected numeric (int or float), got "
		  "string\"]" },
	};
	struct schema_registry *r = schema_registry_builtin();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *errors = json_array(a);

		fields_check(a, schema_registry_find(r, str_from(rows[i].type)),
			     parse(a, rows[i].obj), errors);
		assert_str(json_text(a, errors), rows[i].want);
	}
	schema_registry_free(r);
}

TEST_MAIN(T(set_operations), T(laws_hold), T(malformed_sets), T(paths_as_text),
	  T(large_containers_are_leaves), T(sets_of_objects), T(comparisons), T(merges), T(pruning),
	  T(checks))
