/* SPDX-License-Identifier: Apache-2.0 */
#include "base/encode.h"

#include "testkit/test.h"

TEST(base64_table)
{
	static const char *const rows[][2] = {
		{ "", "" },        { "f", "Zg==" },        { "fo", "Zm8=" },
		{ "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "\xff\xfe", "//4=" },
	};
	struct arena *a = arena_new();
	struct str back;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_str(base64_encode(a, str_from(rows[i][0])), rows[i][1]);
		assert_true(base64_decode(a, str_from(rows[i][1]), &back));
		assert_str(back, rows[i][0]);
	}
	assert_str(base64url_encode(a, STR("\xff\xfe")), "__4");
	assert_true(base64url_decode(a, STR("__4"), &back));
	assert_false(base64_decode(a, STR("Zg="), &back));
	assert_false(base64_decode(a, STR("Zg"), &back));
	assert_false(base64_decode(a, STR("Z==="), &back));
	assert_false(base64_decode(a, STR("Zm9*"), &back));
	assert_false(base64url_decode(a, STR("__4="), &back));
	arena_free(a);
}

TEST(digests)
{
	struct arena *a = arena_new();

	assert_str(sha256_hex(a, STR("abc")),
		   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_int_equal(fnv32a(STR("a")), 0xe40c292cu);
	arena_free(a);
}

TEST_MAIN(T(base64_table), T(digests))
