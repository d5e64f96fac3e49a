/* SPDX-License-Identifier: Apache-2.0 */

/* From a verified token to its user: what it is bound to must still exist, with the same uid. */

#include "base/arena.h"
#include "base/err.h"
#include "server/request.h"
#include "server/server.h"
#include "server/tokens.h"
#include "json/json.h"

static struct err *bound_check(struct apiserver *s, const char *gr, struct str ns,
			       const struct json *ref)
{
	_cleanup_obj_ const struct obj *o = NULL;

	if (json_is_null(ref))
		return NULL;
	TRY(local_get(s, gr, ns, json_str_at(ref, "name"), &o));
	if (!o || !str_eq(o->uid, json_str_at(ref, "uid")))
		return err_new(ERR_UNAUTHORIZED,
			       "invalid bearer token: the %s it is bound to is gone", gr);
	return NULL;
}

static struct err *bound_check_all(struct apiserver *s, const struct json *k8s)
{
	struct str ns = json_str_at(k8s, "namespace");

	TRY(bound_check(s, "serviceaccounts", ns, json_get(k8s, "serviceaccount")));
	TRY(bound_check(s, "pods", ns, json_get(k8s, "pod")));
	TRY(bound_check(s, "secrets", ns, json_get(k8s, "secret")));
	/* a token of a Pod names its node for information only */
	if (json_is_null(json_get(k8s, "pod")))
		TRY(bound_check(s, "nodes", STR_EMPTY, json_get(k8s, "node")));
	return NULL;
}

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

static struct json *audiences_common(struct arena *a, const struct json *aud,
				     const struct str *want, size_t n)
{
	static const struct str own[] = { STR_INIT(TOKEN_ISSUER) };
	struct json *common = json_array(a);

	if (!n) {
		want = own;
		n = 1;
	}
	for (size_t i = 0; i < n; i++) {
		if (audience_of(aud, want[i]))
			json_push(common, json_str(a, want[i]));
	}
	return common;
}

struct extra_row {
	const char *key, *path;
};

static const struct extra_row extra_rows[] = {
	{ "authentication.kubernetes.io/node-name", "node.name" },
	{ "authentication.kubernetes.io/node-uid", "node.uid" },
	{ "authentication.kubernetes.io/pod-name", "pod.name" },
	{ "authentication.kubernetes.io/pod-uid", "pod.uid" },
};

static void token_user_extra(struct arena *a, const struct json *claims, struct user_info *u)
{
	struct user_extra *x = arena_array(a, ARRAY_LEN(extra_rows) + 1, sizeof(*x));
	struct str *v = arena_array(a, ARRAY_LEN(extra_rows) + 1, sizeof(*v));
	const struct json *k8s = json_get(claims, "kubernetes.io");
	size_t n = 0;

	v[n] = arena_fmt(a, "JTI=" STR_FMT, STR_ARG(json_str_at(claims, "jti")));
	x[n] = (struct user_extra){ STR("authentication.kubernetes.io/credential-id"), &v[n], 1 };
	n++;
	for (size_t i = 0; i < ARRAY_LEN(extra_rows); i++) {
		struct str s = json_str_at(k8s, extra_rows[i].path);

		if (str_empty(s))
			continue;
		v[n] = s;
		x[n] = (struct user_extra){ str_from(extra_rows[i].key), &v[n], 1 };
		n++;
	}
	u->extra = x;
	u->n_extra = n;
}

static void token_user(struct arena *a, const struct json *claims, struct user_info *u)
{
	const struct json *k8s = json_get(claims, "kubernetes.io");
	struct str *groups = arena_array(a, 3, sizeof(*groups));

	groups[0] = STR("system:serviceaccounts");
	groups[1] = arena_fmt(a, "system:serviceaccounts:" STR_FMT,
			      STR_ARG(json_str_at(k8s, "namespace")));
	groups[2] = STR("system:authenticated");
	*u = (struct user_info){
		.name = json_str_at(claims, "sub"),
		.uid = json_str_at(k8s, "serviceaccount.uid"),
		.groups = groups,
		.n_groups = 3,
	};
	token_user_extra(a, claims, u);
}

struct err *tokens_authenticate(struct apiserver *s, struct arena *a, struct str token,
				const struct str *audiences, size_t n_audiences,
				struct user_info *ret, struct json **ret_auds)
{
	struct json *claims = NULL, *common;

	TRY(tokens_verify(s->tokens, a, token, wall_now(), &claims));
	common = audiences_common(a, json_get(claims, "aud"), audiences, n_audiences);
	if (!json_len(common))
		return err_new(ERR_UNAUTHORIZED,
			       "token audiences " STR_FMT " is invalid for the target audiences",
			       STR_ARG(json_text(a, json_get(claims, "aud"))));
	TRY(bound_check_all(s, json_get(claims, "kubernetes.io")));
	token_user(a, claims, ret);
	if (ret_auds)
		*ret_auds = common;
	return NULL;
}
