/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Bootstrap tokens ("abcdef.0123456789abcdef"): a Secret of that name in kube-system says what it
 * is good for. A node joins with one.
 */

#include <openssl/crypto.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "server/authn.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"

#define ID_LEN     6
#define SECRET_LEN 16
#define MAX_GROUPS 64

static bool token_part_fits(struct str s, size_t n)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9')))
			return false;
	}
	return s.n == n;
}

static struct str secret_data(struct arena *a, const struct json *secret, const char *key)
{
	struct str raw = json_as_str(json_path(secret, "data", key, NULL)), s = STR_EMPTY;

	return base64_decode(a, raw, &s) ? s : STR_EMPTY;
}

static bool secret_expired(struct arena *a, const struct json *secret)
{
	struct str text = secret_data(a, secret, "expiration");
	struct wall t;

	return !str_empty(text) && (!wall_parse(text, &t) || t.ns <= wall_now().ns);
}

static bool secret_matches(struct arena *a, const struct json *secret, struct str id,
			   struct str token)
{
	struct str have = secret_data(a, secret, "token-secret");

	return str_eqz(json_str_at(secret, "type"), "bootstrap.kubernetes.io/token") &&
	       !json_get(json_get(secret, "metadata"), "deletionTimestamp") && have.n == token.n &&
	       CRYPTO_memcmp(have.p, token.p, token.n) == 0 &&
	       str_eq(secret_data(a, secret, "token-id"), id) && !secret_expired(a, secret) &&
	       str_eqz(secret_data(a, secret, "usage-bootstrap-authentication"), "true");
}

/* system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9] */
static bool group_valid(struct str g)
{
	if (!str_strip_prefix(&g, STR("system:bootstrappers:")) || !g.n || g.n > 256)
		return false;
	for (size_t i = 0; i < g.n; i++) {
		bool alnum = (g.p[i] >= 'a' && g.p[i] <= 'z') || (g.p[i] >= '0' && g.p[i] <= '9');

		if (!alnum && (i + 1 == g.n || (g.p[i] != ':' && g.p[i] != '-')))
			return false;
	}
	return true;
}

static int group_cmp(const void *x, const void *y)
{
	return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

/* False when one of them is none. */
static bool secret_groups(struct arena *a, const struct json *secret, struct user_info *u)
{
	struct str *v = arena_array(a, MAX_GROUPS + 1, sizeof(*v)), g;
	struct str rest = secret_data(a, secret, "auth-extra-groups");
	size_t n = 1;

	v[0] = STR("system:bootstrappers");
	while (!str_empty(rest) && str_split_next(&rest, ',', &g)) {
		if (n > MAX_GROUPS || !group_valid(g))
			return false;
		v[n++] = g;
	}
	qsort(v, n, sizeof(*v), group_cmp);
	for (size_t i = 0; i < n; i++) {
		if (!u->n_groups || !str_eq(v[u->n_groups - 1], v[i]))
			v[u->n_groups++] = v[i];
	}
	u->groups = v;
	return true;
}

struct err *authn_bootstrap_token(struct token_query *q, struct token_result *ret)
{
	struct arena *a = q->arena;
	struct str secret = q->token, id;
	struct json *aud = audiences_common(q, json_strz(a, API_AUDIENCE)), *s = NULL;
	struct user_info *u;

	if (!str_cut(&secret, '.', &id) || !token_part_fits(id, ID_LEN) ||
	    !token_part_fits(secret, SECRET_LEN) || !json_len(aud))
		return NULL;
	TRY(local_get_json(q->server, a, "secrets", STR("kube-system"),
			   arena_cat(a, STR("bootstrap-token-"), id), &s));
	if (!s || !secret_matches(a, s, id, secret))
		return NULL;
	u = arena_new_obj(a, struct user_info);
	if (!secret_groups(a, s, u))
		return NULL;
	u->name = arena_cat(a, STR("system:bootstrap:"), id);
	user_add_group(a, u, STR("system:authenticated"));
	ret->user = u;
	ret->audiences = aud;
	return NULL;
}
