/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Unit tests: a thin layer over cmocka.
 *
 *     TEST(quantity_parse) { ... assert_int_equal(...); }
 *     TEST_MAIN(T(quantity_parse))
 *
 * FIBER_TEST bodies run in a fiber on a loop of their own, with a 10 s deadline.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#define TEST(name) static void test_##name(void **state __attribute__((unused)))
#define T(name)    cmocka_unit_test(test_##name)

#define FIBER_TEST(name)                                                \
	static struct err *fiber_test_##name(void *arg);                \
	static struct err *fiber_test_run_##name(void *arg)             \
	{                                                               \
		(void)fiber_limit_ms(10000);                            \
		return fiber_test_##name(arg);                          \
	}                                                               \
	TEST(name)                                                      \
	{                                                               \
		assert_no_err(fiber_main(fiber_test_run_##name, NULL)); \
	}                                                               \
	static struct err *fiber_test_##name(void *arg __attribute__((unused)))

#define TEST_MAIN(...)                                              \
	int main(void)                                              \
	{                                                           \
		const struct CMUnitTest tests_[] = { __VA_ARGS__ }; \
		return cmocka_run_group_tests(tests_, NULL, NULL);  \
	}

/* Fails the test with the error's text. */
#define assert_no_err(expr)                                                \
	do {                                                               \
		struct err *e_ = (expr);                                   \
		if (e_)                                                    \
			fail_msg("%s: %.*s", #expr, STR_ARG(err_msg(e_))); \
	} while (0)

#define assert_err(expr, code)                                             \
	do {                                                               \
		struct err *e_ = (expr);                                   \
		if (!e_)                                                   \
			fail_msg("%s: succeeded", #expr);                  \
		if (!err_is(e_, (code)))                                   \
			fail_msg("%s: %.*s", #expr, STR_ARG(err_msg(e_))); \
		err_free(e_);                                              \
	} while (0)

#define assert_str(s, lit)                                                       \
	do {                                                                     \
		struct str s_ = (s);                                             \
		const char *l_ = (lit);                                          \
		if (!str_eqz(s_, l_))                                            \
			fail_msg("%s is '%.*s', not '%s'", #s, STR_ARG(s_), l_); \
	} while (0)
