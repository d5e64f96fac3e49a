/* SPDX-License-Identifier: Apache-2.0 */
#include "server/pod-security.h"

#include <limits.h>

#include "testkit/test.h"
#include "json/json.h"

/* Single quotes stand for double ones. */
static struct json *parse(struct arena *a, const char *text)
{
	char *z = arena_strz(a, str_from(text));
	struct json *j = NULL;

	for (char *p = z; *p; p++)
		if (*p == '\'')
			*p = '"';
	assert_no_err(json_parse(a, str_from(z), &j));
	return j;
}

#define GOOD                                                                \
	"'allowPrivilegeEscalation':false,'capabilities':{'drop':['ALL']}," \
	"'runAsNonRoot':true,'seccompProfile':{'type':'RuntimeDefault'}"
#define ONE(sc)   "{'containers':[{'name':'c','securityContext':{" sc "}}]}"
#define POD(rest) "{'containers':[{'name':'c','securityContext':{" GOOD "}}]," rest "}"

/* What each level says, by version. */
TEST(checks_table)
{
	static const struct {
		enum pod_security_level level;
		int minor;
		const char *spec, *reasons;
	} rows[] = {
		{ POD_PRIVILEGED, INT_MAX, ONE("'privileged':true"), "" },
		{ POD_BASELINE, INT_MAX, ONE("'privileged':true"), "privileged" },
		{ POD_BASELINE, INT_MAX, ONE("'capabilities':{'add':['NET_ADMIN']}"),
		  "non-default capabilities" },
		{ POD_BASELINE, INT_MAX, ONE("'capabilities':{'add':['CHOWN']}"), "" },
		{ POD_BASELINE, INT_MAX, ONE("'procMount':'Unmasked'"), "procMount" },
		{ POD_BASELINE, INT_MAX,
		  "{'hostUsers':false,'containers':[{'name':'c','securityContext':{'procMount':"
		  "'Unmasked'}}]}",
		  "" },
		{ POD_BASELINE, 34,
		  "{'hostUsers':false,'containers':[{'name':'c','securityContext':{'procMount':"
		  "'Unmasked'}}]}",
		  "procMount" },
		{ POD_BASELINE, INT_MAX, ONE("'windowsOptions':{'hostProcess':true}"),
		  "hostProcess" },
		{ POD_BASELINE, INT_MAX, ONE("'appArmorProfile':{'type':'Unconfined'}"),
		  "forbidden AppArmor profile" },
		{ POD_BASELINE, INT_MAX, ONE("'seccompProfile':{'type':'Unconfined'}"),
		  "seccompProfile" },
		{ POD_BASELINE, 18, ONE("'seccompProfile':{'type':'Unconfined'}"), "" },
		{ POD_BASELINE, INT_MAX, ONE("'seLinuxOptions':{'type':'container_engine_t'}"),
		  "" },
		{ POD_BASELINE, 30, ONE("'seLinuxOptions':{'type':'container_engine_t'}"),
		  "seLinuxOptions" },
		{ POD_BASELINE, INT_MAX, POD("'volumes':[{'name':'v','hostPath':{}}]"),
		  "hostPath volumes" },
		{ POD_BASELINE, INT_MAX,
		  "{'initContainers':[{'name':'c','livenessProbe':{'tcpSocket':{'host':'h'}}}]}",
		  "probe or lifecycle host" },
		{ POD_BASELINE, 33,
		  "{'initContainers':[{'name':'c','livenessProbe':{'tcpSocket':{'host':'h'}}}]}",
		  "" },
		{ POD_BASELINE, 28,
		  POD("'securityContext':{'sysctls':[{'name':'net.ipv4.tcp_fin_timeout'}]}"),
		  "forbidden sysctls" },
		{ POD_BASELINE, 29,
		  POD("'securityContext':{'sysctls':[{'name':'net.ipv4.tcp_fin_timeout'}]}"), "" },
		{ POD_RESTRICTED, INT_MAX, ONE(GOOD), "" },
		{ POD_RESTRICTED, INT_MAX, ONE(""),
		  "allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != "
		  "true, seccompProfile" },
		{ POD_RESTRICTED, 7, ONE(""), "runAsNonRoot != true" },
		{ POD_RESTRICTED, INT_MAX, POD("'volumes':[{'name':'v','hostPath':{}}]"),
		  "restricted volume types" },
		{ POD_RESTRICTED, INT_MAX, POD("'volumes':[{'name':'v','image':{}}]"), "" },
		{ POD_RESTRICTED, INT_MAX, ONE(GOOD ",'runAsUser':0"), "runAsUser=0" },
		{ POD_RESTRICTED, 22, ONE(GOOD ",'runAsUser':0"), "" },
		{ POD_RESTRICTED, INT_MAX,
		  "{'os':{'name':'windows'},'securityContext':{'runAsNonRoot':true},'containers':[{"
		  "'name':'c'}]}",
		  "" },
		{ POD_RESTRICTED, INT_MAX,
		  "{'ephemeralContainers':[{'name':'e','securityContext':{'runAsNonRoot':false}}]}",
		  "allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != "
		  "true, seccompProfile" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		const struct pod_security p = { rows[i].level, rows[i].minor };
		struct str s = pod_security_check(a, p, NULL, parse(a, rows[i].spec), false);

		if (!str_eqz(s, rows[i].reasons))
			fail_msg("row %zu: '" STR_FMT "'", i, STR_ARG(s));
	}
}

TEST(policies_from_labels)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_err_ struct err *e = NULL;
	struct pod_security_policy p;

	p = pod_security_policy(a, NULL, &e);
	assert_null(e);
	assert_str(pod_security_text(a, p.enforce), "privileged:latest");
	p = pod_security_policy(a,
				parse(a, "{'pod-security.kubernetes.io/enforce':'baseline',"
					 "'pod-security.kubernetes.io/enforce-version':'v1.20'}"),
				&e);
	assert_null(e);
	assert_str(pod_security_text(a, p.enforce), "baseline:v1.20");
	assert_str(pod_security_text(a, p.warn), "baseline:v1.20");
	assert_str(pod_security_text(a, p.audit), "privileged:latest");
	p = pod_security_policy(a,
				parse(a, "{'pod-security.kubernetes.io/enforce':'no',"
					 "'pod-security.kubernetes.io/warn':'no',"
					 "'pod-security.kubernetes.io/warn-version':'v1.01'}"),
				&e);
	assert_int_equal(err_n_causes(e), 3);
	assert_str(pod_security_text(a, p.enforce), "restricted:latest");
	assert_str(pod_security_text(a, p.warn), "privileged:latest");
}

TEST_MAIN(T(checks_table), T(policies_from_labels))
