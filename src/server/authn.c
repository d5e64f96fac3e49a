/* SPDX-License-Identifier: Apache-2.0 */
#include "server/authn.h"

#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/log.h"
#include "io/http-server.h"
#include "io/pki.h"
#include "server/authn-config.h"
#include "server/oidc.h"
#include "server/request.h"
#include "server/server.h"

#define PROXY_NAME     "front-proxy-client"
#define TOKEN_PROTOCOL "base64url.bearer.authorization.k8s.io."

struct authn {
	struct str proxy_root; /* fingerprint of the CA that vouches for front proxies */
	struct authn_config config;
	struct oidc *oidc;
};

enum authn_answer {
	AUTHN_NONE, /* nothing of this kind was presented */
	AUTHN_OK,
	AUTHN_BAD,
};

struct err *authn_new(struct apiserver *s, struct authn **ret)
{
	struct authn *an = arena_new_obj(s->arena, struct authn);

	TRY(pki_fingerprint(s->arena, s->pki.proxy_ca_cert, &an->proxy_root));
	TRY(err_wrap(authn_config_read(s->arena, &s->opts.authn, &an->config), "authentication"));
	if (an->config.n_issuers)
		an->oidc = oidc_new(an->config.issuers, an->config.n_issuers);
	*ret = an;
	return NULL;
}

struct oidc *authn_oidc(struct apiserver *s)
{
	return s->authn->oidc;
}

/* Everybody who is somebody is authenticated. */
static void authn_add_group(struct api_request *rq)
{
	struct user_info *u = &rq->user;

	if (!str_eqz(u->name, "system:anonymous") &&
	    !user_in_group(u, STR("system:unauthenticated")))
		user_add_group(rq->arena, u, STR("system:authenticated"));
}

/* certificates */
static void authn_certificate_user(struct api_request *rq)
{
	const struct tls_peer *peer = &rq->http->peer;
	struct user_extra *x = arena_new_obj(rq->arena, struct user_extra);
	struct str *id = arena_new_obj(rq->arena, struct str);
	struct str *groups = arena_array(rq->arena, peer->n_orgs + 1, sizeof(*groups));

	for (size_t i = 0; i < peer->n_orgs; i++)
		groups[i] = peer->orgs[i];
	*id = arena_cat(rq->arena, STR("X509SHA256="), peer->fingerprint);
	*x = (struct user_extra){ STR("authentication.kubernetes.io/credential-id"), id, 1 };
	rq->user = (struct user_info){
		.name = peer->common_name,
		.uid = peer->uid,
		.groups = groups,
		.n_groups = peer->n_orgs,
		.extra = x,
		.n_extra = 1,
	};
}

/* A front proxy speaks for others, never for itself. */
static enum authn_answer authn_proxy(struct api_request *rq)
{
	const struct http_headers *h = &rq->http->headers;
	struct str name = http_headers_find(h, "x-remote-user");
	struct user_info u = { .name = name };

	if (!str_eqz(rq->http->peer.common_name, PROXY_NAME) || str_empty(name))
		return AUTHN_BAD;
	u.uid = http_headers_find(h, "x-remote-uid");
	u.groups = header_values(rq->arena, h, "x-remote-group", 1, &u.n_groups);
	user_extra_from_headers(rq->arena, h, "X-Remote-Extra-", &u);
	rq->user = u;
	return AUTHN_OK;
}

static enum authn_answer authn_certificate(struct api_request *rq)
{
	const struct http_request *http = rq->http;
	struct authn *an = rq->server->authn;

	if (http->bad_peer_cert)
		return AUTHN_BAD;
	if (!http->has_peer_cert)
		return AUTHN_NONE;
	/* connections live longer than some certificates */
	if (http->peer.not_after < rq->now.ns / NS_PER_SEC)
		return AUTHN_BAD;
	if (str_eq(http->peer.root, an->proxy_root))
		return authn_proxy(rq);
	if (http->peer.bad_uid)
		return AUTHN_BAD;
	if (str_empty(http->peer.common_name))
		return AUTHN_NONE;
	authn_certificate_user(rq);
	return AUTHN_OK;
}

/* tokens */
static struct err *authn_token(struct api_request *rq, struct str token, enum authn_answer *ret)
{
	struct token_query q = { .server = rq->server, .arena = rq->arena, .token = token };
	struct token_result r = { .user = NULL };
	struct err *e = authn_bearer(&q, &r);

	*ret = AUTHN_BAD;
	if (err_is(e, ERR_UNAUTHORIZED)) {
		log_debug(NULL, "bearer token refused", KV_ERR(e));
		err_free(e);
		return NULL;
	}
	TRY(e);
	for (size_t i = 0; i < r.n_warnings; i++)
		request_warn(rq, STR_FMT, STR_ARG(r.warnings[i]));
	rq->user = *r.user;
	*ret = AUTHN_OK;
	return NULL;
}

static struct err *authn_header_token(struct api_request *rq, enum authn_answer *ret)
{
	struct str auth = str_trim(http_headers_find(&rq->http->headers, "authorization"));
	struct str scheme, token;

	*ret = AUTHN_NONE;
	if (!str_cut(&auth, ' ', &scheme) || !str_eq_nocase(scheme, STR("Bearer")))
		return NULL;
	str_cut(&auth, ' ', &token);
	if (str_empty(token)) {
		if (!str_empty(auth))
			request_warn(rq, "the provided Authorization header contains extra space "
					 "before the bearer token, and is ignored");
		return NULL;
	}
	return authn_token(rq, token, ret);
}

/* WebSocket clients in browsers cannot set headers: the token may come as a subprotocol. */
static struct err *authn_protocol_token(struct api_request *rq, enum authn_answer *ret)
{
	struct str list = http_headers_find(&rq->http->headers, "sec-websocket-protocol"), p;
	struct str token = STR_EMPTY;
	size_t others = 0, tokens = 0;

	*ret = AUTHN_NONE;
	if (!list.p || !http_headers_has_token(&rq->http->headers, "upgrade", "websocket"))
		return NULL;
	while (str_split_next(&list, ',', &p)) {
		p = str_trim(p);
		if (!str_strip_prefix(&p, STR(TOKEN_PROTOCOL))) {
			others++;
			continue;
		}
		*ret = AUTHN_BAD;
		if (tokens++ || !base64url_decode(rq->arena, p, &token) || !str_is_utf8(token))
			return NULL;
	}
	if (str_empty(token)) {
		*ret = AUTHN_NONE;
		return NULL;
	}
	/* one must be left to be echoed */
	return others ? authn_token(rq, token, ret) : NULL;
}

static bool authn_anonymous_may(const struct api_request *rq)
{
	const struct authn_config *c = &rq->server->authn->config;

	for (size_t i = 0; i < c->n_anonymous_paths; i++) {
		if (str_eq(rq->path, c->anonymous_paths[i]))
			return true;
	}
	return !c->no_anonymous && !c->n_anonymous_paths;
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

struct err *authenticate(struct api_request *rq)
{
	enum authn_answer cert = authn_certificate(rq), header = AUTHN_NONE, proto = AUTHN_NONE;

	if (cert != AUTHN_OK)
		TRY(authn_header_token(rq, &header));
	if (cert != AUTHN_OK && header != AUTHN_OK)
		TRY(authn_protocol_token(rq, &proto));
	if (cert == AUTHN_OK || header == AUTHN_OK || proto == AUTHN_OK) {
		authn_add_group(rq);
		return NULL;
	}
	if (cert == AUTHN_BAD || header == AUTHN_BAD || proto == AUTHN_BAD)
		return err_new(ERR_UNAUTHORIZED, "Unauthorized");
	if (!authn_anonymous_may(rq))
		return err_new(ERR_UNAUTHORIZED, "Unauthorized");
	authn_anonymous(rq);
	return NULL;
}
