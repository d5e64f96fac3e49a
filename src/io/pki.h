/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * X.509 for the cluster: P-256 keys, CAs, certificates, all as PEM text in the arena. An EC key
 * takes under a millisecond to make, so nothing here suspends.
 */

#include "base/str.h"

struct arena;
struct err;

struct pki_pair {
	struct str cert_pem, key_pem;
};

struct pki_cert_opts {
	struct str common_name;
	const struct str *orgs;
	size_t n_orgs;
	const struct str *dns_names;
	size_t n_dns_names;
	const struct str *ips; /* text */
	size_t n_ips;
	bool server, client; /* extended key usages */
	int days;            /* 0: 365 */
};

MUST_USE struct err *pki_make_ca(struct arena *a, struct str common_name, int days,
				 struct pki_pair *ret);
MUST_USE struct err *pki_issue(struct arena *a, const struct pki_pair *ca,
			       const struct pki_cert_opts *opts, struct pki_pair *ret);
/* A key pair without a certificate (token signing): PKCS#8 and SubjectPublicKeyInfo PEM. */
MUST_USE struct err *pki_make_key(struct arena *a, struct str *ret_private_pem,
				  struct str *ret_public_pem);
/* Seconds from now until the first certificate in pem expires (negative: expired). */
MUST_USE struct err *pki_seconds_left(struct str cert_pem, int64_t *ret);
/* Lower-case hex SHA-256 of the first certificate in pem. */
MUST_USE struct err *pki_fingerprint(struct arena *a, struct str cert_pem, struct str *ret);
