/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who may come in and what is written about it: the flags, named as upstream's. */

#include "base/base.h"
#include "base/str.h"

#define MAX_OIDC_LIST 16

struct audit_opts {
	struct str policy_file;
	struct str log_path;
	int64_t max_age, max_backup, max_size_mb;
};

struct authn_opts {
	bool no_anonymous;
	struct str config_file; /* AuthenticationConfiguration */
	struct str issuer_url, client_id, ca_file;
	struct str username_claim, username_prefix, groups_claim, groups_prefix;
	struct str required_claims[MAX_OIDC_LIST]; /* "KEY=VALUE" */
	size_t n_required_claims;
	struct str signing_algs; /* "RS256,ES256" */
};

/* True when flag is argv[*i], alone or as --flag=value; its value is in *ret. */
bool flag_value(int argc, char **argv, int *i, const char *flag, struct str *ret);
/* Whether argv[*i] is one of these flags, and well-formed. */
bool access_flag(struct authn_opts *authn, struct audit_opts *audit, int argc, char **argv, int *i);
extern const char access_usage[];
