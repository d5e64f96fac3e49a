/* SPDX-License-Identifier: Apache-2.0 */
#include "testkit/test.h"

#include "api/status.h"
#include "json/json.h"

TEST(status_text)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_err_ struct err *e = err_new(ERR_NOT_FOUND, "configmaps \"cm\" not found");

	e = err_details(e, STR(""), STR("configmaps"), STR("cm"));
	assert_str(
		json_text(a, status_from_err(a, e)),
		"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
		"\"message\":\"configmaps \\\"cm\\\" not found\",\"reason\":\"NotFound\","
		"\"details\":{\"name\":\"cm\",\"kind\":\"configmaps\"},\"code\":404}");
}

/* from_status(to_status(e)) is e, for every code. */
TEST(status_round_trip)
{
	_cleanup_arena_ struct arena *a = arena_new();

	for (int c = 0; c < ERR_UNKNOWN; c++) {
		_cleanup_err_ struct err *e = err_new((enum err_code)c, "it went wrong: %d", c);
		_cleanup_err_ struct err *back = NULL;

		if (c % 2)
			e = err_details(e, STR("apps"), STR("replicasets"), STR("web"));
		if (c % 3)
			e = err_retry_after(e, c);
		if (c == ERR_INVALID)
			err_add_cause(e, STR("spec.a"), STR("FieldValueInvalid"), STR("no"));
		back = status_to_err(status_from_err(a, e), 500);
		assert_int_equal(err_code(back), err_code(e));
		assert_int_equal(err_http_status(back), err_http_status(e));
		assert_true(str_eq(err_msg(back), err_msg(e)));
		assert_true(str_eq(err_reason(back), err_reason(e)));
		assert_true(str_eq(err_detail_kind(back), err_detail_kind(e)));
		assert_int_equal(err_get_retry_after(back), err_get_retry_after(e));
		assert_int_equal(err_n_causes(back), err_n_causes(e));
	}
}

TEST(status_not_a_status)
{
	_cleanup_err_ struct err *e = status_to_err(NULL, 502);

	assert_int_equal(err_http_status(e), 502);
	assert_str(err_msg(e), "the server responded with HTTP status 502");
}

TEST_MAIN(T(status_text), T(status_round_trip), T(status_not_a_status))
