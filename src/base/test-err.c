/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>

#include "testkit/test.h"

TEST(err_wrap_keeps_code)
{
	struct err *e = err_new(ERR_NOT_FOUND, "no %s", "disk");

	e = err_wrap(e, "pod '%s'", "a");
	assert_str(err_msg(e), "pod 'a': no disk");
	assert_true(err_is(e, ERR_NOT_FOUND));
	assert_int_equal(err_http_status(e), 404);
	assert_str(err_reason(e), "NotFound");
	err_free(e);
	assert_null(err_wrap(NULL, "x"));
}

TEST(err_from_errno)
{
	struct err *e = err_errno(ENOENT, "open '%s'", "/x");

	assert_true(err_is(e, ERR_NOT_FOUND));
	assert_str(err_msg(e), "open '/x': No such file or directory");
	err_free(e);
}

TEST(err_causes)
{
	struct err *e = err_new(ERR_INVALID, "bad");

	for (int i = 0; i < 5; i++)
		err_add_cause(e, STR("spec.x"), STR("FieldValueRequired"), STR("Required value"));
	err_details(e, STR("apps"), STR("ReplicaSet"), STR("a"));
	assert_int_equal(err_n_causes(e), 5);
	assert_str(err_get_cause(e, 4).field, "spec.x");
	assert_str(err_detail_group(e), "apps");
	assert_str(err_detail_uid(e), "");
	err_free(e);
}

TEST(err_reason_lookup)
{
	assert_int_equal(err_code_from_reason(STR("AlreadyExists"), 409), ERR_ALREADY_EXISTS);
	assert_int_equal(err_code_from_reason(STR_EMPTY, 409), ERR_CONFLICT);
	assert_int_equal(err_code_from_reason(STR("Odd"), 418), ERR_UNKNOWN);
}

TEST_MAIN(T(err_wrap_keeps_code), T(err_from_errno), T(err_causes), T(err_reason_lookup))
