/* SPDX-License-Identifier: Apache-2.0 */
#include "testkit/test.h"

#include "api/quantity.h"

TEST(quantity_parse_table)
{
	static const struct {
		const char *in;
		const char *text; /* NULL: malformed */
		int64_t value, milli;
	} rows[] = {
		{ "0", "0", 0, 0 },
		{ "1", "1", 1, 1000 },
		{ "100m", "100m", 1, 100 },
		{ "1000m", "1", 1, 1000 },
		{ "1500m", "1500m", 2, 1500 },
		{ "1.5", "1500m", 2, 1500 },
		{ "0.1", "100m", 1, 100 },
		{ ".5", "500m", 1, 500 },
		{ "2.", "2", 2, 2000 },
		{ "1000", "1k", 1000, 1000000 },
		{ "1001", "1001", 1001, 1001000 },
		{ "2Gi", "2Gi", 2147483648, 2147483648000 },
		{ "1024Mi", "1Gi", 1073741824, 1073741824000 },
		{ "1.5Gi", "1536Mi", 1610612736, 1610612736000 },
		{ "1000Ki", "1000Ki", 1024000, 1024000000 },
		{ "0.5Ki", "512", 512, 512000 },
		{ "1.0010Ki", "1025024m", 1026, 1025024 },
		{ "-6937.5Ki", "-7104000", -7104000, -7104000000 },
		{ "1.1Gi", "1181116006400m", 1181116007, 1181116006400 },
		{ "1024.000000001Ki", "1048576000001024n", 1048577, 1048576001 },
		{ "1e3", "1e3", 1000, 1000000 },

		{ "1E", "1E", 1000000000000000000, INT64_MAX },
		{ "1E2", "100", 100, 100000 },
		{ "5u", "5u", 1, 1 },
		{ "1n", "1n", 1, 1 },
		{ "0.0000000001", "1n", 1, 1 },
		{ "-1", "-1", -1, -1000 },
		{ "+2k", "2k", 2000, 2000000 },
		{ "100000000000000000000000000000", "9223372036854775807", INT64_MAX, INT64_MAX },
		{ "", NULL, 0, 0 },
		{ "1e", NULL, 0, 0 },
		{ "1 ", NULL, 0, 0 },
		{ "1i", NULL, 0, 0 },
		{ "ki", NULL, 0, 0 },
		{ "1ki", NULL, 0, 0 },
		{ "1K", NULL, 0, 0 },
		{ "1.2.3", NULL, 0, 0 },
		{ "--1", NULL, 0, 0 },
		{ ".", NULL, 0, 0 },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct quantity q;
		bool ok = quantity_parse(str_from(rows[i].in), &q);

		if (ok != (rows[i].text != NULL))
			fail_msg("'%s': %d", rows[i].in, ok);
		if (!ok)
			continue;
		if (!str_eqz(quantity_text(a, q), rows[i].text))
			fail_msg("'%s' prints as '%s'", rows[i].in, quantity_text(a, q).p);
		if (quantity_value(q) != rows[i].value || quantity_milli(q) != rows[i].milli)
			fail_msg("'%s': %lld, %lldm", rows[i].in, (long long)quantity_value(q),
				 (long long)quantity_milli(q));
	}
}

TEST(quantity_arithmetic)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct quantity x, y;

	assert_true(quantity_parse(STR("1Gi"), &x));
	assert_true(quantity_parse(STR("512Mi"), &y));
	assert_str(quantity_text(a, quantity_add(x, y)), "1536Mi");
	assert_str(quantity_text(a, quantity_sub(x, y)), "512Mi");
	assert_str(quantity_text(a, quantity_sub(y, x)), "-512Mi");
	assert_true(quantity_cmp(x, y) > 0);
	assert_true(quantity_cmp(y, y) == 0);
	assert_str(quantity_text(a, quantity_from_milli(250, QUANTITY_DECIMAL_SI)), "250m");
	assert_str(quantity_text(a, quantity_from_value(4096, QUANTITY_BINARY_SI)), "4Ki");
}

/* Printing and parsing again is the identity. */
TEST(quantity_round_trip)
{
	_cleanup_arena_ struct arena *a = arena_new();
	uint64_t x = 88172645463325252u;

	for (int i = 0; i < 20000; i++) {
		struct quantity q, back;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		q.nano = (__int128)(x >> (x % 50)) * (i % 3 == 0 ? 1000000 : 1);
		q.format = (enum quantity_format)(i % 3);
		if (q.format == QUANTITY_BINARY_SI)
			q.nano = q.nano / 1000000000 * 1000000000;
		assert_true(quantity_parse(quantity_text(a, q), &back));
		if (quantity_cmp(q, back))
			fail_msg("'%s'", quantity_text(a, q).p);
	}
}

TEST_MAIN(T(quantity_parse_table), T(quantity_arithmetic), T(quantity_round_trip))
