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

TEST_MAIN(T(json_patch_table), T(json_merge_table), T(json_diffs_apply))
