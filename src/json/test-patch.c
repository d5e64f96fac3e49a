/* SPDX-License-Identifier: Apache-2.0 */
#include "json/patch.h"

#include "testkit/test.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v = NULL;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

TEST(json_patch_table)
{
	static const struct {
		const char *doc, *ops, *want; /* want NULL: rejected */
	} rows[] = {
		{ "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":2}]",
		  "{\"a\":1,\"b\":2}" },
		{ "{\"a\":[1,3]}", "[{\"op\":\"add\",\"path\":\"/a/1\",\"value\":2}]",
		  "{\"a\":[1,2,3]}" },
		{ "{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/-\",\"value\":2}]",
		  "{\"a\":[1,2]}" },
		{ "{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/b\"}]", NULL },
		{ "{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/b\",\"value\":1}]",
		  "{\"a\":1,\"b\":1}" },
		{ "{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]", NULL },
		{ "{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":1}]", "{\"a\":1}" },
		{ "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/x/y\",\"value\":1}]", NULL },
		{ "{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/b\"}]", "{\"b\":1}" },
		{ "{\"a\":1}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"}]",
		  "{\"a\":1,\"b\":1}" },
		{ "{\"a/b\":{\"~\":1}}", "[{\"op\":\"remove\",\"path\":\"/a~1b/~0\"}]",
		  "{\"a/b\":{}}" },
		{ "{\"a\":[1]}", "[{\"op\":\"remove\",\"path\":\"/a/1\"}]", NULL },
		{ "{\"a\":[1]}", "[{\"op\":\"remove\",\"path\":\"/a/00\"}]", NULL },
		{ "{\"a\":1}", "[{\"op\":\"frob\",\"path\":\"/a\"}]", NULL },
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *out;
		struct json *doc = parse(a, rows[i].doc);

		if (!rows[i].want) {
			assert_err(json_patch_apply(a, doc, parse(a, rows[i].ops), &out),
				   ERR_INVALID);
			continue;
		}
		assert_no_err(json_patch_apply(a, doc, parse(a, rows[i].ops), &out));
		assert_str(json_text(a, out), rows[i].want);
		assert_str(json_text(a, doc), rows[i].doc);
	}
	arena_free(a);
}

TEST(json_merge_table)
{
	static const char *const rows[][3] = {
		{ "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
		{ "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}" },
		{ "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}",
		  "{\"a\":{\"b\":\"d\"}}" },
		{ "{\"a\":[1]}", "{\"a\":{\"x\":null}}", "{\"a\":{}}" },
		{ "[1]", "{\"a\":1}", "{\"a\":1}" },
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_str(json_text(a, json_merge_patch(a, parse(a, rows[i][0]),
							 parse(a, rows[i][1]))),
			   rows[i][2]);
	arena_free(a);
}

TEST(json_diffs_apply)
{
	static const char *const rows[][2] = {
		{ "{\"a\":1,\"b\":{\"c\":[1,2]}}", "{\"b\":{\"c\":[2],\"d/e\":\"x\"},\"f\":true}" },
		{ "{}", "{\"a\":{\"b\":1}}" },
		{ "{\"a\":{\"b\":1}}", "{\"a\":5}" },
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *from = parse(a, rows[i][0]), *to = parse(a, rows[i][1]), *out;

		assert_true(
			json_equal(json_merge_patch(a, from, json_merge_diff(a, from, to)), to));
		assert_no_err(json_patch_apply(a, from, json_patch_diff(a, from, to), &out));
		assert_true(json_equal(out, to));
	}
	arena_free(a);
}

/* n operations of which every second puts the document into itself. */
static struct json *nesting(struct arena *a, int n)
{
	struct json *ops = json_array(a);

	for (int i = 0; i < n; i++)
		json_push(ops, parse(a, i % 2 ? "{\"op\":\"move\",\"from\":\"/c\",\"path\":\"/b\"}"
					      : "{\"op\":\"copy\",\"from\":\"\",\"path\":\"/c\"}"));
	return ops;
}

TEST(json_patch_copies_are_limited)
{
	struct arena *a = arena_new();
	struct json *doc = parse(a, "{\"x\":\"0123456789\"}"), *ops = json_array(a), *out;

	for (int i = 0; i < 40; i++) { /* each doubles it */
		struct json *op = parse(a, "{\"op\":\"copy\",\"from\":\"\"}");

		json_set(a, op, "path", json_strf(a, "/b%d", i));
		json_push(ops, op);
	}
	assert_err(json_patch_apply(a, doc, ops, &out), ERR_INVALID);
	ops = json_array(a);
	assert_no_err(json_patch_apply(a, doc, nesting(a, 20), &out));
	/* one more level each: as deep as may be, and no deeper */
	assert_err(json_patch_apply(a, doc, nesting(a, 400), &out), ERR_INVALID);
	doc = json_object(a);
	json_set_str(a, doc, "x", arena_str(a, str_make(arena_alloc(a, 400000), 400000)));
	for (int i = 0; i < 8; i++) {
		struct json *op = parse(a, "{\"op\":\"copy\",\"from\":\"/x\"}");

		json_set(a, op, "path", json_strf(a, "/y%d", i));
		json_push(ops, op);
	}
	assert_err(json_patch_apply(a, doc, ops, &out), ERR_INVALID);
	json_remove_idx(ops, 7);
	assert_err(json_patch_apply(a, doc, ops, &out), ERR_INVALID); /* "\u0000" is six bytes */
	while (json_len(ops) > 1)
		json_remove_idx(ops, 1);
	assert_no_err(json_patch_apply(a, doc, ops, &out));
	arena_free(a);
}

TEST(json_patch_results_can_be_read)
{
	struct arena *a = arena_new();
	struct json *doc = json_object(a), *ops = json_array(a), *out, *back;
	struct str path = STR_EMPTY;

	for (int i = 1; i < JSON_MAX_DEPTH; i++) {
		struct json *op = parse(a, "{\"op\":\"add\",\"value\":{}}");

		path = arena_cat(a, path, STR("/a"));
		json_set_str(a, op, "path", path);
		json_push(ops, op);
	}
	assert_no_err(json_patch_apply(a, doc, ops, &out));
	assert_no_err(json_parse(a, json_text(a, out), &back));
	json_set_str(a, json_idx(ops, JSON_MAX_DEPTH - 2), "op", STR("replace"));
	assert_no_err(json_patch_apply(a, doc, ops, &out));
	json_set(a, json_idx(ops, JSON_MAX_DEPTH - 2), "value", parse(a, "[0]"));
	assert_err(json_patch_apply(a, doc, ops, &out), ERR_INVALID);
	arena_free(a);
}

TEST_MAIN(T(json_patch_table), T(json_merge_table), T(json_diffs_apply),
	  T(json_patch_copies_are_limited), T(json_patch_results_can_be_read))
