/* SPDX-License-Identifier: Apache-2.0 */
#include "testkit/test.h"

#include "api/names.h"

#define X10 "xxxxxxxxxx"
#define X63 X10 X10 X10 X10 X10 X10 "xxx"

struct row {
	const char *in;
	const char *msg; /* beginning; NULL: fine */
};

static void check(const char *what, const char *(*fn)(struct str s), const struct row *rows,
		  size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *msg = fn(str_from(rows[i].in));

		if (!msg != !rows[i].msg ||
		    (msg && strncmp(msg, rows[i].msg, strlen(rows[i].msg)) != 0))
			fail_msg("%s '%s': %s", what, rows[i].in, msg ? msg : "accepted");
	}
}

#define CHECK(fn, ...)                                             \
	do {                                                       \
		static const struct row rows_[] = { __VA_ARGS__ }; \
		check(#fn, fn, rows_, ARRAY_LEN(rows_));           \
	} while (0)

TEST(dns_names)
{
	CHECK(name_check_dns_label, { "a", NULL }, { "a-1", NULL }, { X63, NULL },
	      { X63 "x", "must be no more than 63 characters" },
	      { "", "a lowercase RFC 1123 label" }, { "-a", "a lowercase RFC 1123 label" },
	      { "a.b", "must not contain dots" },
	      { "a_b", "a lowercase RFC 1123 label must consist of lower case alphanumeric "
		       "characters or '-', and must start and end with an alphanumeric character "
		       "(e.g. 'my-name',  or '123-abc', regex used for validation is "
		       "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')" });
	CHECK(name_check_dns_subdomain, { "a.b-c.d", NULL }, { "a..b", "a lowercase RFC 1123 sub" },
	      { "A", "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
		     "characters, '-' or '.', and must start and end with an alphanumeric "
		     "character (e.g. 'example.com', regex used for validation is "
		     "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')" },
	      { X63 X63 X63 X63 "xx", "must be no more than 253 characters" });
	CHECK(name_check_dns1035_label, { "a1", NULL }, { "1a", "a DNS-1035 label must" });
	CHECK(name_check_path_segment, { "system:node", NULL }, { "", NULL },
	      { ".", "may not be '.'" }, { "a/b", "may not contain '/'" },
	      { "a%b", "may not contain '%'" });
}

TEST(qualified_names)
{
	CHECK(name_check_qualified, { "app", NULL }, { "a.b/C_d.e", NULL },
	      { "/a", "prefix part must be non-empty" }, { "a/", "name part must be non-empty" },
	      { "a/b/c", "a valid label key must consist of" },
	      { "A/b", "prefix part a lowercase RFC 1123 subdomain" },
	      { "-bad", "name part must consist of alphanumeric characters, '-', '_' or '.', and "
			"must start and end with an alphanumeric character (e.g. 'MyName',  or "
			"'my.name',  or '123-abc', regex used for validation is "
			"'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')" });
	CHECK(name_check_label_value, { "", NULL }, { "A.b_c", NULL }, { "a b", "a valid label" },
	      { X63 "x", "must be no more than 63 bytes" });
}

TEST(other_names)
{
	CHECK(name_check_env_var, { "A_B", NULL }, { "a b-c", NULL },
	      { "", "environment variable name must be non-empty" },
	      { "a=b", "a valid environment variable name must" });
	CHECK(name_check_port_name, { "http", NULL }, { "80", "must contain at least one letter" },
	      { "a--b", "must not contain consecutive hyphens" },
	      { "a-", "must not begin or end with a hyphen" },
	      { "Http", "must contain only alpha-numeric" },
	      { "abcdefghijklmnop", "must be no more than 15 characters" });
	assert_true(ip_is_valid(STR("10.0.0.1")));
	assert_true(ip_is_valid(STR("fe80::1")));
	assert_false(ip_is_valid(STR("10.0.0.256")));
	assert_false(ip_is_valid(STR("")));
	assert_false(ip_is_valid(STR("10.0.0.1\0x")));
}

TEST_MAIN(T(dns_names), T(qualified_names), T(other_names))
