/* SPDX-License-Identifier: Apache-2.0 */

/* The audit policy file: what is read decides about any request, the same each time. */

#include "base/assert.h"
#include "base/err.h"
#include "server/audit-policy.h"
#include "server/request.h"
#include "server/server.h"
#include "testkit/fuzz.h"

const char *const fuzz_seeds[] = {
	"apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n"
	"- level: Metadata\n  users: [\"system:admin\"]\n  verbs: [get, list]\n  resources:\n"
	"  - group: \"\"\n    resources: [pods, \"pods/*\", \"*/status\"]\n    resourceNames: [x]\n"
	"- level: None\n  nonResourceURLs: [/healthz*, \"*\"]\n- level: RequestResponse\n"
	"  userGroups: [\"system:authenticated\"]\n  namespaces: [a, \"\"]\n  omitManagedFields: "
	"true\n",
	"{\"apiVersion\":\"audit.k8s.io/"
	"v1\",\"kind\":\"Policy\",\"rules\":[{\"level\":\"Request\"}]}",
	NULL,
};

static struct audit_verdict decide(const struct audit_policy *p, bool resource)
{
	static const struct str groups[] = { STR_INIT("system:authenticated") };
	const struct user_info user = { .name = STR("system:admin"),
					.groups = groups,
					.n_groups = 1 };
	const struct authz_attrs at = {
		.user = &user,
		.verb = STR("get"),
		.is_resource = resource,
		.resource = STR("pods"),
		.sub = STR("log"),
		.ns = STR("a"),
		.name = STR("x"),
		.path = STR("/healthz/ping"),
	};

	return audit_policy_decide(p, &at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct audit_policy *p = NULL;
	struct err *e = audit_policy_parse(str_make((const char *)data, n), &p);

	ASSERT(!e == !!p);
	for (int i = 0; p && i < 2; i++) {
		struct audit_verdict v = decide(p, i), again = decide(p, i);

		ASSERT(v.level <= AUDIT_RESPONSE && v.omit < 1u << STAGE_N_);
		ASSERT(v.level == again.level && v.omit == again.omit);
	}
	err_free(e);
	audit_policy_free(p);
	return 0;
}
