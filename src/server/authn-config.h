/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Whom else we believe: OpenID Connect issuers, from flags or from a file of kind
 * AuthenticationConfiguration, and what may be asked anonymously.
 */

#include "base/base.h"
#include "base/str.h"

struct arena;
struct authn_opts;
struct err;

#define MAX_ISSUERS 64

struct claim_mapping {
	struct str claim; /* empty: none */
	struct str prefix;
};

struct claim_rule {
	struct str claim, value;
};

struct oidc_issuer {
	struct str url, discovery_url; /* the latter is empty or another one */
	struct str ca_pem;             /* empty: the system's */
	const struct str *audiences;
	size_t n_audiences;
	struct claim_mapping username, groups, uid;
	const struct claim_rule *required;
	size_t n_required;
	struct str algs; /* "RS256,ES256"; empty: all */
};

struct authn_config {
	const struct oidc_issuer *issuers;
	size_t n_issuers;
	bool no_anonymous;
	const struct str *anonymous_paths; /* none: all */
	size_t n_anonymous_paths;
};

/* Everything lives in the arena. INVALID says what is wrong, with its field. */
MUST_USE struct err *authn_config_read(struct arena *a, const struct authn_opts *o,
				       struct authn_config *ret);
/* The file alone, for tests. */
MUST_USE struct err *authn_config_parse(struct arena *a, struct str text, struct authn_config *ret);
