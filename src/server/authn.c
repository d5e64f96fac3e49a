/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Who makes a request: a verified client certificate (CN and Os), a service account token, or
 * nobody (system:anonymous, which RBAC lets see versions and health). A token that does not hold is
 * a 401 even so. Impersonation by the Impersonate-* headers is authorized here, as it changes who
 * asks.
 */

#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/log.h"
#include "io/http-server.h"
#include "io/stream.h"
#include "server/errors.h"
#include "server/request.h"
#include "server/server.h"
#include "server/tokens.h"

static struct err *authn_refuse(void)
{
	return err_new(ERR_UNAUTHORIZED, "Unauthorized");
}

static void authn_certificate(struct api_request *rq)
{
	const struct tls_peer *peer = &rq->http->peer;
	struct str *groups = arena_array(rq->arena, peer->n_orgs + 1, sizeof(*groups));

	for (size_t i = 0; i < peer->n_orgs; i++)
		groups[i] = peer->orgs[i];
	groups[peer->n_orgs] = STR("system:authenticated");
	rq->user = (struct user_info){
		.name = peer->common_name,
		.groups = groups,
		.n_groups = peer->n_orgs + 1,
	};
}

static void authn_anonymous(struct api_request *rq)
{
	static const struct str groups[] = { STR_INIT("system:unauthenticated") };

	rq->user = (struct user_info){
		.name = STR("system:anonymous"),
		.groups = groups,
		.n_groups = 1,
	};
}

/* WebSocket clients in browsers cannot set headers: the token may come as a subprotocol. */
static struct str authn_protocol_token(struct api_request *rq)
{
	struct str list = http_headers_find(&rq->http->headers, "sec-websocket-protocol"), p;
	struct str raw;

	while (str_split_next(&list, ',', &p)) {
		p = str_trim(p);
		if (str_strip_prefix(&p, STR("base64url.bearer.authorization.k8s.io.")) &&
		    base64url_decode(rq->arena, p, &raw))
			return raw;
	}
	return (struct str){ 0 };
}

static struct err *authn_token(struct api_request *rq, struct str token)
{
	struct err *e = tokens_authenticate(rq->server, rq->arena, token, NULL, 0, &rq->user, NULL);

	if (!e)
		return NULL;
	if (!err_is(e, ERR_UNAUTHORIZED))
		return e;
	log_debug(NULL, "bearer token refused", KV_ERR(e));
	err_free(e);
	return authn_refuse();
}

static struct err *authn_user(struct api_request *rq)
{
	struct str auth = http_headers_find(&rq->http->headers, "authorization"), scheme;

	if (rq->http->bad_peer_cert)
		return authn_refuse();
	if (rq->http->has_peer_cert && !str_empty(rq->http->peer.common_name)) {
		authn_certificate(rq);
		return NULL;
	}
	if (!str_empty(auth)) {
		str_cut(&auth, ' ', &scheme);
		if (str_eq_nocase(scheme, STR("Bearer")) && !str_empty(str_trim(auth)))
			return authn_token(rq, str_trim(auth));
	}
	auth = authn_protocol_token(rq);
	if (!str_empty(auth))
		return authn_token(rq, auth);
	authn_anonymous(rq);
	return NULL;
}

/* impersonation */
static struct err *impersonate_check(struct api_request *rq, const char *resource, struct str name,
				     struct str ns)
{
	struct authz_attrs at = {
		.user = &rq->user,
		.verb = STR("impersonate"),
		.is_resource = true,
		.resource = str_from(resource),
		.ns = ns,
		.name = name,
	};
	struct str reason;

	if (authz_allowed(rq->server->authz, rq->arena, &at, &reason))
		return NULL;
	return err_details(err_new(ERR_FORBIDDEN,
				   "%s \"" STR_FMT "\" is forbidden: User \"" STR_FMT
				   "\" cannot impersonate resource \"%s\" in API group \"\" %s",
				   resource, STR_ARG(name), STR_ARG(rq->user.name), resource,
				   str_empty(ns) ? "at the cluster scope" : "in the namespace"),
			   STR_EMPTY, str_from(resource), name);
}

static bool impersonate_service_account(struct str user, struct str *ret_ns, struct str *ret_name)
{
	if (!str_strip_prefix(&user, STR("system:serviceaccount:")))
		return false;
	if (!str_cut(&user, ':', ret_ns))
		return false;
	*ret_name = user;
	return true;
}

static struct err *impersonate_groups(struct api_request *rq, struct user_info *to)
{
	const struct http_headers *h = &rq->http->headers;
	struct str *groups = arena_array(rq->arena, h->n + 3, sizeof(*groups));
	struct str ns, name;
	size_t n = 0;

	for (size_t i = 0; i < h->n; i++) {
		if (!str_eq_nocase(h->v[i].name, STR("impersonate-group")))
			continue;
		TRY(impersonate_check(rq, "groups", h->v[i].value, STR_EMPTY));
		groups[n++] = h->v[i].value;
	}
	if (!n && impersonate_service_account(to->name, &ns, &name)) {
		groups[n++] = STR("system:serviceaccounts");
		groups[n++] = arena_fmt(rq->arena, "system:serviceaccounts:" STR_FMT, STR_ARG(ns));
	}
	to->groups = groups;
	to->n_groups = n;
	if (!str_eqz(to->name, "system:anonymous") &&
	    !user_in_group(to, STR("system:authenticated")))
		groups[to->n_groups++] = STR("system:authenticated");
	return NULL;
}

static struct err *impersonate(struct api_request *rq)
{
	struct str user = http_headers_find(&rq->http->headers, "impersonate-user"), ns, name;
	struct user_info to = { .name = user };

	if (!user.p) {
		if (http_headers_find(&rq->http->headers, "impersonate-group").p)
			return err_new(ERR_BAD_REQUEST,
				       "requested groups without impersonating a user name");
		return NULL;
	}
	if (impersonate_service_account(user, &ns, &name))
		TRY(impersonate_check(rq, "serviceaccounts", name, ns));
	else
		TRY(impersonate_check(rq, "users", user, STR_EMPTY));
	TRY(impersonate_groups(rq, &to));
	rq->user = to;
	return NULL;
}

struct err *authenticate(struct api_request *rq)
{
	TRY(authn_user(rq));
	return impersonate(rq);
}
