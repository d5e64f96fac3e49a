/* SPDX-License-Identifier: Apache-2.0 */
#include "json/yaml.h"

#include "base/buf.h"
#include "testkit/test.h"
#include "json/json.h"

TEST(yaml_table)
{
	static const char *const rows[][2] = {
		{ "a: 1\nb: [x, 'y', \"z\"]\n", "{\"a\":1,\"b\":[\"x\",\"y\",\"z\"]}" },
		{ "a: yes\nb: 'yes'\nc: ~\nd:\n",
		  "{\"a\":true,\"b\":\"yes\",\"c\":null,\"d\":null}" },
		{ "a: 0777\nb: 0x1f\nc: 1.5\nd: 1e3\ne: 1_000\n",
		  "{\"a\":511,\"b\":31,\"c\":1.5,\"d\":1000.0,\"e\":1000}" },
		{ "a: |\n  x\n  y\n", "{\"a\":\"x\\ny\\n\"}" },
		{ "1: a\ntrue: b\n", "{\"1\":\"a\",\"true\":\"b\"}" },
		{ "x: &q {a: 1}\ny: *q\nz:\n  <<: *q\n  b: 2\n",
		  "{\"x\":{\"a\":1},\"true\":{\"a\":1},\"z\":{\"a\":1,\"b\":2}}" },
		{ "{\"json\": [1, true]}", "{\"json\":[1,true]}" },
		{ "a: 2026-01-01\nb: 1.2.3\nc: 100m\n",
		  "{\"a\":\"2026-01-01\",\"b\":\"1.2.3\",\"c\":\"100m\"}" },
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *v = NULL;

		assert_no_err(yaml_parse(a, str_from(rows[i][0]), &v));
		assert_str(json_text(a, v), rows[i][1]);
	}
	arena_free(a);
}

TEST(yaml_documents)
{
	struct arena *a = arena_new();
	struct json *v;

	assert_no_err(yaml_parse_all(a, STR("---\na: 1\n---\n---\nb: 2\n"), &v));
	assert_str(json_text(a, v), "[{\"a\":1},{\"b\":2}]");
	assert_err(yaml_parse(a, STR("a: 1\n---\nb: 1\n"), &v), ERR_BAD_REQUEST);
	arena_free(a);
}

TEST(yaml_refuses)
{
	static const char *const rows[] = {
		"a: [1",
		"a: *nope",
		"a: 1\na: 2\n",
		"? [x]\n: 1\n",
		"a: !!binary QQ==\n",
		"a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
		"c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
		"e: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n",
	};
	struct arena *a = arena_new();
	struct json *v;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_err(yaml_parse(a, str_from(rows[i]), &v), ERR_BAD_REQUEST);
	arena_free(a);
}

TEST(yaml_write_reads_back)
{
	static const char text[] =
		"{\"a\":\"yes\",\"b\":\"1\",\"c\":[{\"x\":null},[],{}],"
		"\"d\":\"l1\\nl2\\n\",\"e\":1.5,\"f\":true,\"g\":\"\",\"h\":\": x\"}";
	struct arena *a = arena_new();
	_cleanup_buf_ struct buf b = { 0 };
	struct json *v, *back;

	assert_no_err(json_parse(a, str_from(text), &v));
	yaml_write(&b, v);
	assert_no_err(yaml_parse(a, buf_str(&b), &back));
	assert_str(json_text(a, back), text);
	arena_free(a);
}

TEST(yaml_aliases_are_limited)
{
	struct arena *a = arena_new();
	_cleanup_buf_ struct buf b = { 0 };
	struct json *v;

	/* few nodes, but a long text again and again */
	buf_addz(&b, "a: &a ");
	for (int i = 0; i < 100000; i++)
		buf_addc(&b, 'x');
	buf_addz(&b, "\nb: [");
	for (int i = 0; i < 50; i++)
		buf_addz(&b, "*a,");
	buf_addz(&b, "]\n");
	assert_no_err(yaml_parse(a, buf_str(&b), &v));
	buf_addz(&b, "c: [");
	for (int i = 0; i < 50000; i++)
		buf_addz(&b, "*a,");
	buf_addz(&b, "]\n");
	assert_err(yaml_parse(a, buf_str(&b), &v), ERR_BAD_REQUEST);
	assert_true(arena_used(a) < 64 << 20);
	arena_free(a);
}

TEST_MAIN(T(yaml_table), T(yaml_documents), T(yaml_refuses), T(yaml_write_reads_back),
	  T(yaml_aliases_are_limited))
