/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Certificate requests (PKCS#10) of others: read, checked, signed with a CA; and what certificates
 * others send look like. Nothing here suspends.
 */

#include "io/pki.h"

struct pki_request {
	struct str common_name;
	struct str *orgs;
	size_t n_orgs;
	bool dns_names, ips, emails, uris; /* it asks for such alternative names */
	bool rsa;
};

/*
 * The first PEM block, its signature checked; INVALID in the words of Go's parser where those are
 * known.
 */
MUST_USE struct err *pki_request_parse(struct arena *a, struct str pem, struct pki_request *ret);

struct pki_sign_opts {
	const struct str *usages; /* as the API names them: "client auth" */
	size_t n_usages;
	int64_t seconds;
	int64_t backdate_seconds; /* the certificate begins so long ago */
	int64_t short_seconds;    /* one that lives less ends later by that */
};

/* Subject, key and alternative names come from the request, nothing else. */
MUST_USE struct err *pki_request_sign(struct arena *a, const struct pki_pair *ca, struct str pem,
				      const struct pki_sign_opts *opts, struct str *ret_cert_pem);
/* Whether usage is one the API knows. */
bool pki_usage_known(struct str usage);
/* All of them, sorted; NULL ends. */
extern const char *const pki_usage_names[];
/* PEM certificates and nothing else; INVALID says what is wrong. */
MUST_USE struct err *pki_check_certificates(struct str pem);
