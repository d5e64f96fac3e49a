/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Who makes a request. The ways are tried in upstream's order: front proxy, client certificate,
 * bearer token (service account, bootstrap, OpenID Connect), nobody (system:anonymous). What is
 * presented and does not hold makes the request fail, unless a later way succeeds.
 */

#include "base/base.h"
#include "base/str.h"

struct apiserver;
struct arena;
struct authn;
struct err;
struct http_headers;
struct json;
struct oidc;
struct user_info;

/* what the audience-agnostic tokens, and those without an audience, are good for */
#define API_AUDIENCE "https://kubernetes.default.svc.cluster.local"

MUST_USE struct err *authn_new(struct apiserver *s, struct authn **ret);

/* Whom a token stands for. */
struct token_result {
	struct str *warnings;
	size_t n_warnings;
	struct user_info *user;
	struct json *audiences; /* those of the wanted ones that it is for */
};

struct token_query {
	struct apiserver *server;
	struct arena *arena;
	struct str token;
	const struct str *audiences; /* never empty */
	size_t n_audiences;
};

/*
 * UNAUTHORIZED with everything that was wrong, worded as TokenReview shows it. audiences n 0: the
 * API's own.
 */
MUST_USE SUSPENDS struct err *authn_bearer(struct token_query *q, struct token_result *ret);

/*
 * One kind of token each: *ret->user stays NULL, without an error, when the token is none of its
 * kind; UNAUTHORIZED when it is and does not hold.
 */
MUST_USE SUSPENDS struct err *authn_account_token(struct token_query *q, struct token_result *ret);
MUST_USE SUSPENDS struct err *authn_bootstrap_token(struct token_query *q,
						    struct token_result *ret);

MUST_USE SUSPENDS struct err *authn_oidc_token(struct token_query *q, struct token_result *ret);
/* NULL: no issuer is configured. */
struct oidc *authn_oidc(struct apiserver *s);

/* The wanted audiences that are in aud (a string or an array of them). */
struct json *audiences_common(struct token_query *q, const struct json *aud);

/*
 * Headers PREFIX-KEY: VALUE as extra of u: keys lower-cased and unescaped, sorted, equal ones
 * gathered.
 */
void user_extra_from_headers(struct arena *a, const struct http_headers *h, const char *prefix,
			     struct user_info *u);
/* All values of one header, with room for spare more. */
struct str *header_values(struct arena *a, const struct http_headers *h, const char *name,
			  size_t spare, size_t *ret_n);
/* NAMESPACE and NAME of "system:serviceaccount:NAMESPACE:NAME"; false for anything else. */
bool user_is_account(struct str user, struct str *ret_ns, struct str *ret_name);
/* Takes the place of u->groups: adds group at the end unless it is there. */
void user_add_group(struct arena *a, struct user_info *u, struct str group);
