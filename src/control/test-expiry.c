/* SPDX-License-Identifier: Apache-2.0 */

#include "control/expiry.h"

#include "testkit/test.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

static struct wall at(const char *text)
{
	struct wall t;

	assert_true(wall_parse(str_from(text), &t));
	return t;
}

TEST(events_live_an_hour_after_the_last_write)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *e = parse(a, "{\"metadata\":{\"creationTimestamp\":\"2026-01-01T00:00:00Z\","
				  "\"managedFields\":[{\"time\":\"2026-01-01T00:30:00Z\"}]}}");

	assert_false(expiry_event(e, at("2026-01-01T01:00:00Z")));
	assert_false(expiry_event(e, at("2026-01-01T01:29:59Z")));
	assert_true(expiry_event(e, at("2026-01-01T01:30:00Z")));
	assert_false(expiry_event(parse(a, "{}"), at("2026-01-01T01:30:00Z")));
}

TEST(leases)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *l = parse(a, "{\"spec\":{\"leaseDurationSeconds\":3600,"
				  "\"renewTime\":\"2026-01-01T00:00:00.000000Z\"}}");

	assert_false(expiry_lease(l, at("2026-01-01T00:59:59Z")));
	assert_true(expiry_lease(l, at("2026-01-01T01:00:00Z")));
	assert_false(expiry_lease(parse(a, "{\"spec\":{}}"), at("2026-01-01T01:00:00Z")));
}

TEST(tokens)
{
	/* 2026-01-01T00:00:00Z and "x" in base64 */
	static const struct {
		const char *secret;
		int64_t ms;
	} rows[] = {
		{ "{\"type\":\"bootstrap.kubernetes.io/token\",\"data\":{\"expiration\":"
		  "\"MjAyNi0wMS0wMVQwMDowMDowMFo=\"}}",
		  5000 },
		{ "{\"type\":\"bootstrap.kubernetes.io/token\",\"data\":{\"expiration\":\"eA==\"}}",
		  0 },
		{ "{\"type\":\"bootstrap.kubernetes.io/token\",\"data\":{}}", -1 },
		{ "{\"type\":\"Opaque\",\"data\":{\"expiration\":\"eA==\"}}", -1 },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(
			expiry_token_ms(parse(a, rows[i].secret), at("2025-12-31T23:59:55Z")),
			rows[i].ms);
}

TEST_MAIN(T(events_live_an_hour_after_the_last_write), T(leases), T(tokens))
