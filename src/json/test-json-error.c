/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json-error.h"

#include "base/err.h"
#include "testkit/test.h"
#include "json/json.h"

TEST(syntax_errors)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ "", "unexpected end of JSON input" },
		{ "{", "unexpected end of JSON input" },
		{ "[1,", "unexpected end of JSON input" },
		{ "\"a", "unexpected end of JSON input" },
		{ "{\"a\":}", "invalid character '}' looking for beginning of value" },
		{ "{a:1}", "invalid character 'a' looking for beginning of object key string" },
		{ "{\"a\" 1}", "invalid character '1' after object key" },
		{ "{\"a\":1 2}", "invalid character '2' after object key:value pair" },
		{ "[1 2]", "invalid character '2' after array element" },
		{ "[1]]", "invalid character ']' after top-level value" },
		{ "nul!", "invalid character '!' in literal null (expecting 'l')" },
		{ "-x", "invalid character 'x' in numeric literal" },
		{ "1.x", "invalid character 'x' after decimal point in numeric literal" },
		{ "1e", "unexpected end of JSON input" },
		{ "1ex", "invalid character 'x' in exponent of numeric literal" },
		{ "01", "invalid character '1' after top-level value" },
		{ "\"\x01\"", "invalid character '\\x01' in string literal" },
		{ "\"\\q\"", "invalid character 'q' in string escape code" },
		{ "\"\\u00g0\"", "invalid character 'g' in \\u hexadecimal character escape" },
		{ "'a'", "invalid character '\\'' looking for beginning of value" },
		{ "{\"a\":{\"b\":[1,{}]}}", NULL },
		{ " [] ", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		const char *why = json_syntax_error(a, str_from(rows[i].text));
		struct json *j = NULL;
		_cleanup_err_ struct err *e = json_parse(a, str_from(rows[i].text), &j);

		assert_true((why == NULL) == (rows[i].why == NULL));
		assert_true((e == NULL) == (why == NULL));
		if (!why)
			continue;
		assert_string_equal(why, rows[i].why);
		assert_str(err_msg(e), rows[i].why);
	}
}

/* Whatever the parser says of a damaged text, this says the same. */
TEST(agrees_with_the_parser)
{
	static const char text[] = "{\"a\":[1,-2.5e3,true,null,\"x\\u00e4\\n\"],\"b\":{\"c\":{}}}";
	unsigned seed = 7;

	for (int i = 0; i < 20000; i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		char copy[sizeof(text)];
		size_t n = sizeof(text) - 1;
		struct json *j = NULL;
		_cleanup_err_ struct err *e = NULL;

		memcpy(copy, text, sizeof(text));
		for (int k = 0; k < 2; k++) {
			seed = seed * 1103515245u + 12345u;
			copy[(seed >> 8) % n] = "{}[]:,\"\\0a e."[(seed >> 20) % 13];
		}
		n -= (seed >> 28) % 3;
		e = json_parse(a, str_make(copy, n), &j);
		if ((e == NULL) != (json_syntax_error(a, str_make(copy, n)) == NULL))
			fail_msg("they differ on %.*s", (int)n, copy);
	}
}

TEST_MAIN(T(syntax_errors), T(agrees_with_the_parser))
