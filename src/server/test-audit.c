/* SPDX-License-Identifier: Apache-2.0 */
#include "server/audit-log.h"
#include "server/audit-policy.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/file.h"
#include "server/request.h"
#include "server/server.h"
#include "testkit/test.h"

#define HEAD "apiVersion: audit.k8s.io/v1\nkind: Policy\n"

static struct audit_policy *parse(const char *text)
{
	struct audit_policy *p = NULL;

	assert_no_err(audit_policy_parse(str_from(text), &p));
	return p;
}

TEST(rules)
{
	static const struct str devs[] = { STR_INIT("devs") };
	static const struct user_info alice = { .name = STR_INIT("alice"),
						.groups = devs,
						.n_groups = 1 };
	static const struct user_info bob = { .name = STR_INIT("bob") };
	static const struct {
		const char *rule;
		struct authz_attrs at;
		bool want;
	} rows[] = {
		{ "{level: Metadata}", { .user = &bob, .path = STR_INIT("/") }, true },
		{ "{level: Metadata, users: [alice]}", { .user = &alice }, true },
		{ "{level: Metadata, users: [alice]}", { .user = &bob }, false },
		{ "{level: Metadata, userGroups: [devs]}", { .user = &alice }, true },
		{ "{level: Metadata, userGroups: [devs]}", { .user = &bob }, false },
		{ "{level: Metadata, verbs: [get]}",
		  { .user = &bob, .verb = STR_INIT("list") },
		  false },
		{ "{level: Metadata, resources: [{group: '', resources: [pods]}]}",
		  { .user = &bob, .is_resource = true, .resource = STR_INIT("pods") },
		  true },
		{ "{level: Metadata, resources: [{group: '', resources: [pods]}]}",
		  { .user = &bob,
		    .is_resource = true,
		    .resource = STR_INIT("pods"),
		    .sub = STR_INIT("log") },
		  false },
		{ "{level: Metadata, resources: [{group: '', resources: ['pods/*']}]}",
		  { .user = &bob,
		    .is_resource = true,
		    .resource = STR_INIT("pods"),
		    .sub = STR_INIT("log") },
		  true },
		{ "{level: Metadata, resources: [{group: '*', resources: ['*/log']}]}",
		  { .user = &bob,
		    .is_resource = true,
		    .resource = STR_INIT("pods"),
		    .sub = STR_INIT("log") },
		  true },
		{ "{level: Metadata, resources: [{group: apps}]}",
		  { .user = &bob,
		    .is_resource = true,
		    .group = STR_INIT("apps"),
		    .resource = STR_INIT("x") },
		  true },
		{ "{level: Metadata, resources: [{group: '', resources: [pods], resourceNames: "
		  "[a]}]}",
		  { .user = &bob,
		    .is_resource = true,
		    .resource = STR_INIT("pods"),
		    .name = STR_INIT("b") },
		  false },
		{ "{level: Metadata, namespaces: ['']}",
		  { .user = &bob, .is_resource = true, .resource = STR_INIT("nodes") },
		  true },
		{ "{level: Metadata, namespaces: [a]}",
		  { .user = &bob, .path = STR_INIT("/healthz") },
		  false },
		{ "{level: Metadata, nonResourceURLs: ['/healthz*']}",
		  { .user = &bob, .path = STR_INIT("/healthz/etcd") },
		  true },
		{ "{level: Metadata, nonResourceURLs: ['*']}",
		  { .user = &bob, .is_resource = true, .resource = STR_INIT("pods") },
		  false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct audit_policy *p = parse(arena_fmt(a, HEAD "rules: [%s]", rows[i].rule).p);
		struct audit_verdict v = audit_policy_decide(p, &rows[i].at);

		if ((v.level == AUDIT_METADATA) != rows[i].want)
			fail_msg("row %zu: %s", i, rows[i].rule);
		audit_policy_free(p);
	}
}

TEST(first_rule_decides)
{
	struct user_info u = { .name = STR("x") };
	struct authz_attrs at = { .user = &u, .verb = STR("get") };
	struct audit_policy *p = parse(HEAD "omitStages: [RequestReceived]\n"
					    "omitManagedFields: true\n"
					    "rules:\n"
					    "- {level: None, verbs: [list]}\n"
					    "- {level: Request, omitStages: [Panic], "
					    "omitManagedFields: false}\n"
					    "- {level: RequestResponse}\n");
	struct audit_verdict v = audit_policy_decide(p, &at);

	assert_int_equal(v.level, AUDIT_REQUEST);
	assert_int_equal(v.omit, 1u << STAGE_RECEIVED | 1u << STAGE_PANIC);
	assert_false(v.omit_managed_fields);
	at.verb = STR("list");
	assert_int_equal(audit_policy_decide(p, &at).level, AUDIT_NONE);
	audit_policy_free(p);
}

TEST(bad_policies)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{ "kind: Policy\napiVersion: v1\nrules: [{level: None}]", "unknown group version" },
		{ HEAD, "loaded illegal policy with 0 rules" },
		{ HEAD "rules: [{}]", "rules[0].level: Required value" },
		{ HEAD "rules: [{level: Loud}]",
		  "rules[0].level: Unsupported value: \"Loud\": supported values: \"None\", "
		  "\"Metadata\", \"Request\", \"RequestResponse\"" },
		{ HEAD "rules: [{level: None, nonResourceURLs: [a]}]",
		  "rules[0].nonResourceURLs[0]: Invalid value: \"a\": non-resource URL rules must "
		  "begin with a '/' character" },
		{ HEAD "rules: [{level: None, omitStages: [X]}]",
		  "rules[0].omitStages[0]: Invalid value: \"X\": allowed stages are "
		  "RequestReceived,ResponseStarted,ResponseComplete,Panic" },
		{ HEAD "rules: [{level: None, nonResourceURLs: [/a], namespaces: [b]}]",
		  "rules cannot apply to both regular resources and non-resource URLs" },
		{ "{", "failed decoding" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct audit_policy *p = NULL;
		struct err *e = audit_policy_parse(str_from(rows[i].text), &p);

		if (!e || !str_contains(err_msg(e), str_from(rows[i].error)))
			fail_msg("row %zu: " STR_FMT, i, STR_ARG(e ? err_msg(e) : STR("no error")));
		err_free(e);
	}
}

static size_t count_files(const char *dir)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

TEST(log_rotates)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char dir[] = "/tmp/isoplane-audit-XXXXXX";
	char line[4096];
	struct audit_log_opts o = { .max_backup = 2, .max_size_mb = 1 };
	struct audit_log *l = NULL;

	assert_non_null(mkdtemp(dir));
	o.path = arena_fmt(a, "%s/audit.log", dir);
	assert_no_err(audit_log_open(&o, &l));
	memset(line, 'x', sizeof(line));
	for (int i = 0; i < 2000; i++) {
		assert_true(audit_log_write(l, str_make(line, sizeof(line))));
		if (i % 100 == 0)
			audit_log_flush(l);
	}
	audit_log_close(l);
	assert_int_equal(count_files(dir), 3);
	assert_no_err(file_remove_tree(dir));
}

TEST(log_is_appended)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char dir[] = "/tmp/isoplane-audit-XXXXXX";
	struct audit_log_opts o = { .max_size_mb = 100 };
	struct audit_log *l = NULL;
	struct str text;

	assert_non_null(mkdtemp(dir));
	o.path = arena_fmt(a, "%s/audit.log", dir);
	for (int i = 0; i < 2; i++) {
		assert_no_err(audit_log_open(&o, &l));
		assert_true(audit_log_write(l, STR("{}")));
		audit_log_close(l);
	}
	assert_no_err(file_read(a, o.path.p, 100, &text));
	assert_str(text, "{}\n{}\n");
	o.path = arena_fmt(a, "%s/none/audit.log", dir);
	assert_err(audit_log_open(&o, &l), ERR_NOT_FOUND);
	assert_no_err(file_remove_tree(dir));
}

TEST_MAIN(T(rules), T(first_rule_decides), T(bad_policies), T(log_rotates), T(log_is_appended))
