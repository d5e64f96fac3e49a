/* SPDX-License-Identifier: Apache-2.0 */
#include "server/access-opts.h"

const char access_usage[] =
	"           [--anonymous-auth=BOOL] [--authentication-config FILE]\n"
	"           [--oidc-issuer-url URL --oidc-client-id ID] [--oidc-ca-file FILE]\n"
	"           [--oidc-username-claim C] [--oidc-username-prefix P] [--oidc-groups-claim C]\n"
	"           [--oidc-groups-prefix P] [--oidc-required-claim K=V]... "
	"[--oidc-signing-algs A,B]\n"
	"           [--audit-policy-file FILE --audit-log-path FILE]\n"
	"           [--audit-log-maxage DAYS] [--audit-log-maxbackup N] [--audit-log-maxsize "
	"MB]\n";

bool flag_value(int argc, char **argv, int *i, const char *flag, struct str *ret)
{
	struct str arg = str_from(argv[*i]);

	if (!str_strip_prefix(&arg, str_from(flag)))
		return false;
	if (arg.n && arg.p[0] == '=') {
		*ret = str_skip(arg, 1);
		return true;
	}
	if (arg.n || *i + 1 >= argc)
		return false;
	*ret = str_from(argv[++*i]);
	return true;
}

struct number_flag {
	const char *name;
	int64_t *to;
};

static bool number_flag(const struct number_flag *f, int argc, char **argv, int *i, bool *ret_known)
{
	struct str v;
	int64_t n;

	*ret_known = flag_value(argc, argv, i, f->name, &v);
	if (!*ret_known || !str_to_i64(v, &n) || n < 0 || n > 1000000)
		return false;
	*f->to = n;
	return true;
}

static bool bool_value(struct str v, bool *ret)
{
	*ret = str_eqz(v, "true");
	return *ret || str_eqz(v, "false");
}

static bool anonymous_flag(struct authn_opts *authn, int argc, char **argv, int *i, bool *ret_known)
{
	struct str arg = str_from(argv[*i]), v;
	bool yes = true;

	*ret_known = true;
	if (str_eqz(arg, "--anonymous-auth")) {
		authn->no_anonymous = false;
		return true;
	}
	*ret_known = flag_value(argc, argv, i, "--anonymous-auth", &v);
	if (!*ret_known || !bool_value(v, &yes))
		return false;
	authn->no_anonymous = !yes;
	return true;
}

static bool claim_flag(struct authn_opts *authn, int argc, char **argv, int *i)
{
	struct str v;

	if (authn->n_required_claims == MAX_OIDC_LIST ||
	    !flag_value(argc, argv, i, "--oidc-required-claim", &v) ||
	    str_find_char(v, '=', 0) == v.n)
		return false;
	authn->required_claims[authn->n_required_claims++] = v;
	return true;
}

bool access_flag(struct authn_opts *authn, struct audit_opts *audit, int argc, char **argv, int *i)
{
	const struct {
		const char *name;
		struct str *to;
	} texts[] = {
		{ "--authentication-config", &authn->config_file },
		{ "--oidc-issuer-url", &authn->issuer_url },
		{ "--oidc-client-id", &authn->client_id },
		{ "--oidc-ca-file", &authn->ca_file },
		{ "--oidc-username-claim", &authn->username_claim },
		{ "--oidc-username-prefix", &authn->username_prefix },
		{ "--oidc-groups-claim", &authn->groups_claim },
		{ "--oidc-groups-prefix", &authn->groups_prefix },
		{ "--oidc-signing-algs", &authn->signing_algs },
		{ "--audit-policy-file", &audit->policy_file },
		{ "--audit-log-path", &audit->log_path },
	};
	const struct number_flag numbers[] = {
		{ "--audit-log-maxage", &audit->max_age },
		{ "--audit-log-maxbackup", &audit->max_backup },
		{ "--audit-log-maxsize", &audit->max_size_mb },
	};
	bool known;

	for (size_t k = 0; k < ARRAY_LEN(texts); k++) {
		if (flag_value(argc, argv, i, texts[k].name, texts[k].to))
			return true;
	}
	for (size_t k = 0; k < ARRAY_LEN(numbers); k++) {
		bool ok = number_flag(&numbers[k], argc, argv, i, &known);

		if (known)
			return ok;
	}
	if (anonymous_flag(authn, argc, argv, i, &known))
		return true;
	return !known && claim_flag(authn, argc, argv, i);
}
