/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json.h"

#include "base/buf.h"
#include "testkit/test.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v = NULL;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

TEST(json_round_trip)
{
	static const char *const rows[] = {
		"null",      "true", "-5", "18446744073709551615", "1.5",
		"\"a\\nb\"", "[]",   "{}", "[1,[2,{\"a\":[]}]]",   "{\"b\":1,\"a\":{\"c\":null}}",
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *v = parse(a, rows[i]);

		assert_str(json_text(a, v), rows[i]);
		assert_str(json_text(a, json_copy(a, v)), rows[i]);
		assert_true(json_equal(v, json_copy(a, v)));
	}
	arena_free(a);
}

TEST(json_refuses)
{
	static const char *const rows[] = { "",    "{",        "[1,]",  "{\"a\":1,}",
					    "nul", "\"\xff\"", "{} {}", "// x" };
	struct arena *a = arena_new();
	struct json *v;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_err(json_parse(a, str_from(rows[i]), &v), ERR_BAD_REQUEST);
	arena_free(a);
}

TEST(json_depth_is_limited)
{
	struct arena *a = arena_new();
	_cleanup_buf_ struct buf b = { 0 };
	struct json *v;

	for (int i = 0; i < 100000; i++)
		buf_addc(&b, '[');
	for (int i = 0; i < 100000; i++)
		buf_addc(&b, ']');
	assert_err(json_parse(a, buf_str(&b), &v), ERR_BAD_REQUEST);
	arena_free(a);
}

TEST(json_duplicates)
{
	struct arena *a = arena_new();
	struct json *v, *dups;

	assert_no_err(json_parse_dups(a, STR("{\"s\":{\"a\":1,\"a\":2},\"l\":[{\"x\":1,\"x\":1}]}"),
				      &v, &dups));
	assert_str(json_text(a, dups), "[\"s.a\",\"l[0].x\"]");
	assert_int_equal(json_int_at(v, "s.a", 0), 2);
	arena_free(a);
}

TEST(json_editing)
{
	struct arena *a = arena_new();
	struct json *v = parse(a, "{\"a\":1,\"b\":2,\"c\":3}");
	struct json *l = parse(a, "[1,2,3]");

	json_set_int(a, v, "b", 5);
	json_set_str(a, v, "d", STR("x"));
	assert_true(json_delz(v, "a"));
	assert_false(json_delz(v, "a"));
	json_set_at(a, v, "e.f", json_bool(a, true));
	json_set_first(a, v, "z", json_null(a));
	assert_str(json_text(a, v), "{\"z\":null,\"b\":5,\"c\":3,\"d\":\"x\",\"e\":{\"f\":true}}");
	json_insert_idx(l, 0, json_int(a, 0));
	json_remove_idx(l, 2);
	json_replace_idx(l, 1, json_int(a, 9));
	assert_str(json_text(a, l), "[0,9,3]");
	while (json_len(l))
		json_remove_idx(l, json_len(l) - 1);
	json_push(l, json_int(a, 4));
	assert_str(json_text(a, l), "[4]");
	arena_free(a);
}

TEST(json_queries_accept_null)
{
	assert_null(json_get(NULL, "a"));
	assert_null(json_at(NULL, "a.b"));
	assert_int_equal(json_len(NULL), 0);
	assert_str(json_as_str(NULL), "");
	assert_true(json_is_null(NULL));
	assert_int_equal(json_as_int(NULL, 7), 7);
	json_for_each(it, NULL) fail();
}

TEST(json_numbers_equal_by_value)
{
	struct arena *a = arena_new();

	assert_true(json_equal(parse(a, "1"), parse(a, "1.0")));
	assert_false(json_equal(parse(a, "1"), parse(a, "\"1\"")));
	assert_false(json_equal(parse(a, "-1"), parse(a, "18446744073709551615")));
	assert_true(json_equal(parse(a, "-0"), parse(a, "0")));
	arena_free(a);
}

/* What holds of an object whose member "kN" is N where have[N]. */
static void check_members(struct arena *a, const struct json *o, const bool *have, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		const struct json *v = json_get_s(o, arena_fmt(a, "k%zu", i));

		assert_true(have[i] ? json_as_int(v, -1) == (int64_t)i : !v);
		count += have[i];
	}
	assert_int_equal(json_len(o), count);
	json_for_each(it, o) assert_ptr_equal(json_get_s(o, it.key), it.val);
	assert_true(json_equal(o, json_copy(a, o)));
	assert_true(json_equal(o, parse(a, json_text(a, o).p)));
}

/* Members are found, replaced and removed alike below and above the number that is hashed. */
TEST(json_objects_of_many_members)
{
	struct arena *a = arena_new();
	struct json *o = json_object(a), *gone = json_array(a);
	bool have[300] = { 0 };
	unsigned seed = 11;

	for (int round = 0; round < 3000; round++) {
		size_t i;
		struct str key;

		seed = seed * 1103515245u + 12345u;
		i = (seed >> 16) % ARRAY_LEN(have);
		key = arena_fmt(a, "k%zu", i);
		if (round % 3 == 0) {
			assert_true(json_del(o, key) == have[i]);
		} else if (i % 7 == 0) {
			json_set_first(a, o, key.p, json_int(a, (int64_t)i));
		} else {
			json_set_s(a, o, key, json_int(a, (int64_t)i));
		}
		have[i] = round % 3 != 0;
		if (round % 100 == 0)
			check_members(a, o, have, ARRAY_LEN(have));
	}
	json_for_each(it, o)
	{
		int64_t i = json_as_int(it.val, 0);

		if (i % 3 == 1)
			continue;
		json_push(gone, json_str(a, it.key));
		have[i] = false;
	}
	json_del_all(o, gone);
	check_members(a, o, have, ARRAY_LEN(have));
	json_del_all(o, json_array(a));
	check_members(a, o, have, ARRAY_LEN(have));
	arena_free(a);
}

/* In time that grows with the text, not with its square. */
TEST(json_many_names_and_repeated_ones)
{
	struct arena *a = arena_new();
	_cleanup_buf_ struct buf b = { 0 };
	struct json *v, *dups;

	for (int i = 0; i < 200000; i++)
		buf_addf(&b, "%s\"k%d\":1", i ? "," : "{", i % 100000);
	buf_addc(&b, '}');
	assert_no_err(json_parse_dups(a, buf_str(&b), &v, &dups));
	assert_int_equal(json_len(v), 100000);
	assert_int_equal(json_len(dups), 100000);
	arena_free(a);
}

/* What is escaped is found wherever it stands in a word of eight bytes. */
TEST(json_writes_escapes)
{
	static const struct {
		const char *c, *want;
	} rows[] = {
		{ "\"", "\\\"" },   { "\\", "\\\\" },      { "\n", "\\n" },
		{ "\b", "\\b" },    { "\x01", "\\u0001" }, { "\x1f", "\\u001f" },
		{ "\x7f", "\x7f" }, { "/", "/" },          { "\xc3\xa4", "\xc3\xa4" },
		{ "\xff", "\xff" },
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (int before = 0; before < 17; before++) {
			struct str in = arena_fmt(a, "%.*s%sabcdefghi", before, "ABCDEFGHIJKLMNOPQ",
						  rows[i].c);
			struct str want = arena_fmt(a, "\"%.*s%sabcdefghi\"", before,
						    "ABCDEFGHIJKLMNOPQ", rows[i].want);

			assert_str(json_text(a, json_str(a, in)), want.p);
		}
	}
	arena_free(a);
}

TEST(json_writes_numbers)
{
	static const char *const texts[] = { "0",
					     "-1",
					     "9223372036854775807",
					     "-9223372036854775808",
					     "18446744073709551615",
					     "1.5",
					     "1e300" };
	struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_str(json_text(a, parse(a, texts[i])), texts[i]);
	assert_str(json_text(a, NULL), "null");
	arena_free(a);
}

TEST(json_dup_is_a_tree_of_its_own)
{
	struct arena *a = arena_new();
	struct json *v = parse(a, "{\"a\":{\"b\":[1,\"x\",{}]},\"c\":null}"), *d = json_dup(a, v);

	assert_true(json_equal(v, d));
	json_push(json_at(d, "a.b"), json_int(a, 2));
	json_delz(d, "c");
	assert_str(json_text(a, v), "{\"a\":{\"b\":[1,\"x\",{}]},\"c\":null}");
	assert_str(json_text(a, d), "{\"a\":{\"b\":[1,\"x\",{},2]}}");
	arena_free(a);
}

TEST(json_texts_of_elements)
{
	struct arena *a = arena_new();
	struct json *names = parse(a, "[{\"n\":\"a\"},{\"n\":\"b\"},{},{\"n\":\"a\"},{\"n\":1}]");
	struct json *texts = parse(a, "[\"x\",\"y\",\"x\",\"x\"]"), *many = json_array(a);
	const bool *again = json_repeats(a, names, "n");
	struct json_texts *t = json_texts_new(a, names, "n");

	assert_true(again);
	/* what is no text is "" */
	assert_true(!again[0] && !again[1] && !again[2] && again[3] && again[4]);
	again = json_repeats(a, texts, NULL);
	assert_true(again);
	assert_true(!again[0] && !again[1] && again[2] && again[3]);
	assert_ptr_equal(json_texts_find(t, STR("a")), json_idx(names, 0));
	assert_ptr_equal(json_texts_find(t, STR("b")), json_idx(names, 1));
	assert_null(json_texts_find(t, STR("c")));
	assert_null(json_texts_find(json_texts_new(a, NULL, NULL), STR("a")));
	for (int i = 0; i < 5000; i++)
		json_push(many, json_strf(a, "%d", i));
	assert_null(json_repeats(a, many, NULL));
	json_push(many, json_strz(a, "4999"));
	assert_true(json_repeats(a, many, NULL)[5000]);
	assert_null(json_repeats(a, NULL, NULL));
	arena_free(a);
}

TEST_MAIN(T(json_writes_escapes), T(json_texts_of_elements), T(json_writes_numbers),
	  T(json_dup_is_a_tree_of_its_own), T(json_round_trip), T(json_refuses),
	  T(json_depth_is_limited), T(json_duplicates), T(json_editing),
	  T(json_queries_accept_null), T(json_numbers_equal_by_value),
	  T(json_objects_of_many_members), T(json_many_names_and_repeated_ones))
