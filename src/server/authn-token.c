/* SPDX-License-Identifier: Apache-2.0 */

/* The kinds of bearer tokens, one after the other. */

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/authn.h"
#include "server/request.h"
#include "json/json.h"

#define MAX_TOKEN ((size_t)64 * 1024)

typedef struct err *(*token_kind_fn)(struct token_query *q, struct token_result *ret);

static const token_kind_fn kinds[] = {
	authn_account_token,
	authn_bootstrap_token,
	/* last: it may have to ask the issuer */
	authn_oidc_token,
};

static bool audience_of(const struct json *aud, struct str want)
{
	if (json_is(aud, JSON_STR))
		return str_eq(json_as_str(aud), want);
	json_for_each(it, aud)
	{
		if (str_eq(json_as_str(it.val), want))
			return true;
	}
	return false;
}

struct json *audiences_common(struct token_query *q, const struct json *aud)
{
	struct json *common = json_array(q->arena);

	for (size_t i = 0; i < q->n_audiences; i++) {
		if (audience_of(aud, q->audiences[i]))
			json_push(common, json_str(q->arena, q->audiences[i]));
	}
	return common;
}

static struct err *bearer_refuse(struct buf *why)
{
	if (!why->n)
		return err_new(ERR_UNAUTHORIZED, "invalid bearer token");
	return err_new(ERR_UNAUTHORIZED, "[invalid bearer token%s]", why->p);
}

struct err *authn_bearer(struct token_query *q, struct token_result *ret)
{
	static const struct str own[] = { STR_INIT(API_AUDIENCE) };
	_cleanup_buf_ struct buf why = { 0 };

	ret->user = NULL;
	if (!q->n_audiences) {
		q->audiences = own;
		q->n_audiences = 1;
	}
	for (size_t i = 0; i < ARRAY_LEN(kinds) && q->token.n <= MAX_TOKEN; i++) {
		struct err *e = kinds[i](q, ret);

		if (e && !err_is(e, ERR_UNAUTHORIZED))
			return e;
		if (e)
			buf_addf(&why, ", " STR_FMT, STR_ARG(err_msg(e)));
		err_free(e);
		if (ret->user)
			return NULL;
	}
	return bearer_refuse(&why);
}
