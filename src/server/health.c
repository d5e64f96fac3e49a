/* SPDX-License-Identifier: Apache-2.0 */

/* What is not a resource: /version, /healthz, /livez, /readyz, /metrics, the token issuer's
 * documents. */

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/handler.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"
#include "server/tokens.h"
#include "json/json.h"

struct check {
	const char *name;
	bool (*ok)(const struct apiserver *s);
	unsigned endpoints;
};

enum { AT_HEALTHZ = 1, AT_LIVEZ = 2, AT_READYZ = 4 };

static bool check_ping(const struct apiserver *s UNUSED)
{
	return true;
}

static bool check_store(const struct apiserver *s)
{
	return s->store != NULL;
}

static bool check_ready(const struct apiserver *s)
{
	return s->ready;
}

/* etcd: what upstream calls its store, and what people exclude by name */
static const struct check checks[] = {
	{ "ping", check_ping, AT_HEALTHZ | AT_LIVEZ | AT_READYZ },
	{ "log", check_ping, AT_HEALTHZ | AT_LIVEZ | AT_READYZ },
	{ "etcd", check_store, AT_HEALTHZ | AT_LIVEZ | AT_READYZ },
	{ "poststarthook/rbac/bootstrap-roles", check_ready, AT_HEALTHZ | AT_READYZ },
	{ "informer-sync", check_ready, AT_READYZ },
	{ "shutdown", check_ping, AT_READYZ },
};

static const struct {
	const char *path;
	unsigned bit;
} endpoints[] = {
	{ "healthz", AT_HEALTHZ },
	{ "livez", AT_LIVEZ },
	{ "readyz", AT_READYZ },
};

static void health_text(struct api_request *rq, int status, struct str text)
{
	http_set_header(rq->x, "X-Content-Type-Options", STR("nosniff"));
	respond_text(rq, status, "text/plain; charset=utf-8", text);
}

static bool health_excluded(struct api_request *rq, const char *name)
{
	const struct http_query *q = &rq->http->query;

	for (size_t i = 0; i < q->n; i++) {
		if (str_eqz(q->v[i].name, "exclude") && str_eqz(q->v[i].value, name))
			return true;
	}
	return false;
}

static void health_unknown_excludes(struct api_request *rq, struct buf *b, unsigned at)
{
	const struct http_query *q = &rq->http->query;

	for (size_t i = 0; i < q->n; i++) {
		bool known = false;

		if (!str_eqz(q->v[i].name, "exclude"))
			continue;
		for (size_t k = 0; k < ARRAY_LEN(checks); k++)
			known |= (checks[k].endpoints & at) &&
				 str_eqz(q->v[i].value, checks[k].name);
		if (!known)
			buf_addf(b,
				 "warn: some health checks cannot be excluded: no matches for "
				 "\"" STR_FMT "\"\n",
				 STR_ARG(q->v[i].value));
	}
}

static void health_all(struct api_request *rq, const char *name, unsigned at)
{
	_cleanup_buf_ struct buf b = { 0 };
	bool ok = true;

	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		if (!(checks[i].endpoints & at))
			continue;
		if (health_excluded(rq, checks[i].name)) {
			buf_addf(&b, "[+]%s excluded: ok\n", checks[i].name);
		} else if (checks[i].ok(rq->server)) {
			buf_addf(&b, "[+]%s ok\n", checks[i].name);
		} else {
			buf_addf(&b, "[-]%s failed: reason withheld\n", checks[i].name);
			ok = false;
		}
	}
	health_unknown_excludes(rq, &b, at);
	buf_addf(&b, "%s check %s\n", name, ok ? "passed" : "failed");
	if (ok && !http_query_find(&rq->http->query, "verbose").p)
		health_text(rq, 200, STR("ok"));
	else
		health_text(rq, ok ? 200 : 500, buf_str(&b));
}

static struct err *health_handle(struct path_handler *h UNUSED, struct api_request *rq)
{
	struct str rest = str_skip(rq->path, 1), first;
	unsigned at = 0;
	const char *name = "";

	str_cut(&rest, '/', &first);
	for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
		if (str_eqz(first, endpoints[i].path)) {
			at = endpoints[i].bit;
			name = endpoints[i].path;
		}
	}
	if (str_has_suffix(rq->path, STR("/")))
		at = 0;
	if (at && str_empty(rest)) {
		health_all(rq, name, at);
		return NULL;
	}
	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		if (!(checks[i].endpoints & at) || !str_eqz(rest, checks[i].name))
			continue;
		if (checks[i].ok(rq->server))
			respond_text(rq, 200, "text/plain; charset=utf-8", STR("ok"));
		else
			health_text(rq, 500,
				    arena_fmt(rq->arena, "internal server error: %s check failed\n",
					      checks[i].name));
		return NULL;
	}
	respond_plain_error(rq, 404, STR("404 page not found"));
	return NULL;
}

/* Each check as a gauge. */
static struct err *slis_handle(struct path_handler *h UNUSED, struct api_request *rq)
{
	_cleanup_buf_ struct buf b = { 0 };

	buf_addz(&b, "# HELP kubernetes_healthcheck [STABLE] The result of one health check.\n"
		     "# TYPE kubernetes_healthcheck gauge\n");
	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		for (size_t k = 0; k < ARRAY_LEN(endpoints); k++) {
			if (checks[i].endpoints & endpoints[k].bit)
				buf_addf(&b, "kubernetes_healthcheck{name=\"%s\",type=\"%s\"} %d\n",
					 checks[i].name, endpoints[k].path,
					 checks[i].ok(rq->server));
		}
	}
	respond_text(rq, 200, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
		     buf_str(&b));
	return NULL;
}

static const struct {
	const char *key, *val;
} version_rows[] = {
	{ "major", "1" },
	{ "minor", "36" },
	{ "emulationMajor", "1" },
	{ "emulationMinor", "36" },
	{ "minCompatibilityMajor", "1" },
	{ "minCompatibilityMinor", "35" },
	{ "gitVersion", "v1.36.0+isoplane" },
	{ "gitCommit", "" },
	{ "gitTreeState", "clean" },
	{ "buildDate", "1970-01-01T00:00:00Z" },
	{ "goVersion", "none" },
	{ "compiler", "gcc" },
	{ "platform", "linux/amd64" },
};

static struct err *version_handle(struct path_handler *h UNUSED, struct api_request *rq)
{
	struct json *v = json_object(rq->arena);

	for (size_t i = 0; i < ARRAY_LEN(version_rows); i++)
		json_set_str(rq->arena, v, version_rows[i].key, str_from(version_rows[i].val));
	rq->out.pretty = true;
	respond_json(rq, 200, v);
	return NULL;
}

static struct err *issuer_handle(struct path_handler *h UNUSED, struct api_request *rq)
{
	static const struct {
		const char *key, *val;
	} lists[] = {
		{ "response_types_supported", "id_token" },
		{ "subject_types_supported", "public" },
		{ "id_token_signing_alg_values_supported", "ES256" },
	};
	struct arena *a = rq->arena;
	struct json *d = json_object(a);

	json_set_str(a, d, "issuer", STR(TOKEN_ISSUER));
	json_set(a, d, "jwks_uri",
		 json_strf(a, "https://" STR_FMT ":%d/openid/v1/jwks",
			   STR_ARG(rq->server->advertise_ip), rq->server->advertise_port));
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		json_push(json_sub_array(a, d, lists[i].key), json_strz(a, lists[i].val));
	http_set_header(rq->x, "Cache-Control", STR("public, max-age=3600"));
	respond_json(rq, 200, d);
	return NULL;
}

static struct err *jwks_handle(struct path_handler *h UNUSED, struct api_request *rq)
{
	http_set_header(rq->x, "Cache-Control", STR("public, max-age=3600"));
	respond_text(rq, 200, "application/jwk-set+json",
		     json_text(rq->arena, tokens_jwks(rq->server->tokens, rq->arena)));
	return NULL;
}

static struct path_handler handlers[] = {
	{ .path = "/version", .type = "application/json", .handle = version_handle },
	{ .path = "/healthz*", .handle = health_handle },
	{ .path = "/livez*", .handle = health_handle },
	{ .path = "/readyz*", .handle = health_handle },
	{ .path = "/metrics/slis", .handle = slis_handle },
	{ .path = "/.well-known/openid-configuration",
	  .type = "application/json",
	  .handle = issuer_handle },
	{ .path = "/openid/v1/jwks", .type = "application/jwk-set+json", .handle = jwks_handle },
};

void health_init(struct apiserver *s)
{
	for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
		apiserver_add_path(s, &handlers[i]);
}
