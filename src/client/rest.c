/* SPDX-License-Identifier: Apache-2.0 */

#include "client/rest.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "api/meta.h"
#include "api/status.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "client/kubeconfig.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/http-client.h"
#include "io/tls.h"
#include "io/websocket.h"
#include "json/json.h"

#define CLIENT_MAX_BODY      (512 * 1024 * 1024)
#define CLIENT_MAX_TOKEN     (64 * 1024)
#define CLIENT_TIMEOUT_MS    30000
#define CLIENT_MAX_THROTTLED 5
#define SERVICE_ACCOUNT_DIR  "/var/run/secrets/kubernetes.io/serviceaccount"

struct client {
	struct http_client *http;
	struct tls_config *tls;
	char *server; /* the URL, without a slash at its end */
	char *prefix; /* its path, usually empty */
	char *ca_pem;
	char *user_agent;
	char *authorization; /* the header's value; NULL: none */
	char *token_file;
	struct timespec token_mtime;
	ino_t token_ino;
};

/* What one request needs beyond method and path. */
struct client_request {
	const char *method;
	struct str path;
	const char *accept;
	const char *content_type;
	const struct http_headers *headers;
	struct str body;
	bool has_body;
};

/* credentials */

static void client_set_token(struct client *c, struct str token)
{
	free(c->authorization);
	c->authorization =
		str_empty(token) ? NULL : mem_fmt("Bearer " STR_FMT, STR_ARG(str_trim(token)));
}

/* Reads the token file again when it was replaced. */
static struct err *client_refresh_token(struct client *c)
{
	_cleanup_arena_ struct arena *a = NULL;
	struct stat sb;
	struct str token;

	if (!c->token_file)
		return NULL;
	if (stat(c->token_file, &sb) == 0 && c->authorization && sb.st_ino == c->token_ino &&
	    sb.st_mtim.tv_sec == c->token_mtime.tv_sec &&
	    sb.st_mtim.tv_nsec == c->token_mtime.tv_nsec)
		return NULL;
	a = arena_new();
	TRY(file_read(a, c->token_file, CLIENT_MAX_TOKEN, &token));
	client_set_token(c, token);
	c->token_ino = sb.st_ino;
	c->token_mtime = sb.st_mtim;
	return NULL;
}

/* lifecycle */

static struct err *client_connect_opts(struct client *c, const struct kubeconfig *k)
{
	struct http_client_opts http = { .server_name = k->tls_server_name };
	struct str rest = k->server;
	_cleanup_free_ char *address = NULL;
	bool secure = str_strip_prefix(&rest, STR("https://"));
	struct str host;

	if (!secure && !str_strip_prefix(&rest, STR("http://")))
		return err_new(ERR_INVALID, "server '" STR_FMT "' is no http or https URL",
			       STR_ARG(k->server));
	str_cut(&rest, '/', &host);
	while (str_strip_suffix(&rest, STR("/")))
		;
	c->server = mem_strdup(k->server);
	c->prefix = str_empty(rest) ? mem_strdup(rest) : mem_fmt("/" STR_FMT, STR_ARG(rest));
	if (host.n && (host.p[host.n - 1] == ']' || str_find_char(host, ':', 0) == host.n))
		address = mem_fmt(STR_FMT ":%d", STR_ARG(host), secure ? 443 : 80);
	else
		address = mem_strdup(host);
	http.address = str_from(address);
	if (secure) {
		const struct tls_opts tls = { .ca_pem = k->ca_pem,
					      .cert_pem = k->cert_pem,
					      .key_pem = k->key_pem,
					      .insecure = k->insecure };

		TRY(tls_config_new(&tls, &c->tls));
		http.tls = c->tls;
	}
	c->http = http_client_new(&http);
	return NULL;
}

static struct err *client_from(const struct kubeconfig *k, const char *user_agent,
			       struct client **ret)
{
	struct client *c = mem_new(struct client);
	struct err *e;

	c->user_agent = mem_strdup(user_agent ? str_from(user_agent) : STR("isoplane"));
	c->ca_pem = mem_strdup(k->ca_pem);
	if (k->token_file)
		c->token_file = mem_strdup(str_from(k->token_file));
	client_set_token(c, k->token);
	e = client_connect_opts(c, k);
	if (e) {
		client_free(c);
		return e;
	}
	*ret = c;
	return NULL;
}

struct err *client_new(const struct client_opts *opts, struct client **ret)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kubeconfig k = { 0 };

	if (opts->kubeconfig)
		TRY(kubeconfig_load(a, opts->kubeconfig, opts->context, &k));
	if (!str_empty(opts->server))
		k.server = opts->server;
	if (!str_empty(opts->ca_pem))
		k.ca_pem = opts->ca_pem;
	if (!str_empty(opts->cert_pem)) {
		k.cert_pem = opts->cert_pem;
		k.key_pem = opts->key_pem;
	}
	if (opts->token_file)
		k.token_file = opts->token_file;
	return client_from(&k, opts->user_agent, ret);
}

struct err *client_new_in_cluster(const char *user_agent, struct client **ret)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *host = getenv("KUBERNETES_SERVICE_HOST");
	const char *port = getenv("KUBERNETES_SERVICE_PORT");
	struct kubeconfig k = { .token_file = SERVICE_ACCOUNT_DIR "/token" };

	if (!host || !port)
		return err_new(ERR_UNAVAILABLE, "not in a cluster: KUBERNETES_SERVICE_HOST and "
						"KUBERNETES_SERVICE_PORT are not set");
	TRY(file_read(a, SERVICE_ACCOUNT_DIR "/ca.crt", 1024 * 1024, &k.ca_pem));
	k.server =
		arena_fmt(a, strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host, port);
	return client_from(&k, user_agent, ret);
}

struct client *client_free(struct client *c)
{
	if (!c)
		return NULL;
	http_client_free(c->http);
	tls_config_unref(c->tls);
	free(c->server);
	free(c->prefix);
	free(c->ca_pem);
	free(c->user_agent);
	free(c->authorization);
	free(c->token_file);
	free(c);
	return NULL;
}

struct str client_ca_pem(const struct client *c)
{
	return str_from(c->ca_pem);
}

struct str client_server(const struct client *c)
{
	return str_from(c->server);
}

/* paths */

struct str client_path(struct arena *a, struct gvr r, struct str ns, struct str name,
		       const char *sub)
{
	struct str s = str_empty(r.group) ? arena_fmt(a, "/api/" STR_FMT, STR_ARG(r.version))
					  : arena_fmt(a, "/apis/" STR_FMT "/" STR_FMT,
						      STR_ARG(r.group), STR_ARG(r.version));

	if (!str_empty(ns))
		s = arena_fmt(a, STR_FMT "/namespaces/" STR_FMT, STR_ARG(s), STR_ARG(ns));
	s = arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(s), STR_ARG(r.resource));
	if (!str_empty(name)) {
		struct str encoded = http_url_encode(a, name);

		s = arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(s), STR_ARG(encoded));
	}
	return sub ? arena_fmt(a, STR_FMT "/%s", STR_ARG(s), sub) : s;
}

/* exchanges */

static struct err *client_prepare(struct client *c, struct arena *a,
				  const struct client_request *req, struct http_client_request *ret)
{
	*ret = (struct http_client_request){ .method = req->method,
					     .target = arena_fmt(a, "%s" STR_FMT, c->prefix,
								 STR_ARG(req->path)),
					     .body = req->body,
					     .has_body = req->has_body };
	TRY(err_wrap(client_refresh_token(c), "token file"));
	if (req->headers)
		for (size_t i = 0; i < req->headers->n; i++)
			http_headers_add(a, &ret->headers, req->headers->v[i].name,
					 req->headers->v[i].value);
	if (req->accept)
		http_headers_add(a, &ret->headers, STR("Accept"), str_from(req->accept));
	if (req->content_type)
		http_headers_add(a, &ret->headers, STR("Content-Type"),
				 str_from(req->content_type));
	if (c->authorization)
		http_headers_add(a, &ret->headers, STR("Authorization"),
				 arena_str(a, str_from(c->authorization)));
	http_headers_add(a, &ret->headers, STR("User-Agent"), str_from(c->user_agent));
	return NULL;
}

/* The error that a refused request's body tells of. */
static struct err *client_refusal(struct arena *a, int status, struct str body)
{
	struct json *doc = NULL;

	if (str_has_prefix(str_trim(body), STR("{")))
		err_ignore(json_parse(a, body, &doc), "then the HTTP status alone must do");
	return status_to_err(doc, status);
}

/* Whether to wait and try again, as the server asked. */
static bool client_throttled(const struct http_client_response *resp, int64_t *ret_seconds)
{
	if (resp->status != 429)
		return false;
	return str_to_i64(http_headers_find(&resp->headers, "retry-after"), ret_seconds) &&
	       *ret_seconds > 0 && *ret_seconds <= 30;
}

static struct err *client_exchange(struct client *c, struct arena *a,
				   const struct client_request *req,
				   struct http_client_response *ret)
{
	for (int i = 0;; i++) {
		struct http_client_request http;
		int64_t seconds;

		TRY(client_prepare(c, a, req, &http));
		TRY(http_client_do(c->http, a, &http, CLIENT_MAX_BODY, ret));
		if (i >= CLIENT_MAX_THROTTLED || !client_throttled(ret, &seconds))
			return NULL;
		TRY(fiber_sleep_ms(seconds * 1000));
	}
}

static struct err *client_do_http(struct client *c, struct arena *a,
				  const struct client_request *req,
				  struct http_client_response *ret)
{
	struct mono old = fiber_limit_ms(CLIENT_TIMEOUT_MS);
	struct err *e = client_exchange(c, a, req, ret);

	fiber_restore_deadline(old);
	return e;
}

static struct err *client_do(struct client *c, struct arena *a, const struct client_request *req,
			     struct json **ret)
{
	struct http_client_response resp;
	struct json *doc = NULL;

	TRY(client_do_http(c, a, req, &resp));
	if (resp.status >= 400)
		return client_refusal(a, resp.status, resp.body);
	if (resp.status >= 300)
		return err_new(ERR_PROTOCOL, "unexpected HTTP status %d", resp.status);
	if (!ret)
		return NULL;
	if (!str_empty(resp.body))
		TRY(err_wrap(json_parse(a, resp.body, &doc), "the server's response"));
	*ret = doc;
	return NULL;
}

static struct err *client_send(struct client *c, struct arena *a, const char *method,
			       struct str path, const char *content_type, const struct json *body,
			       struct json **ret)
{
	struct client_request req = { .method = method,
				      .path = path,
				      .accept = "application/json" };

	if (body) {
		req.body = json_text(a, body);
		req.has_body = true;
		req.content_type = content_type ? content_type : "application/json";
	}
	return client_do(c, a, &req, ret);
}

/* verbs */

struct err *client_get(struct client *c, struct arena *a, struct gvr r, struct str ns,
		       struct str name, struct json **ret)
{
	PRE(!str_empty(name));
	return client_send(c, a, "GET", client_path(a, r, ns, name, NULL), NULL, NULL, ret);
}

struct err *client_list(struct client *c, struct arena *a, struct gvr r, struct str ns,
			struct str query, struct json **ret)
{
	struct str path = client_path(a, r, ns, STR_EMPTY, NULL);

	if (!str_empty(query))
		path = arena_fmt(a, STR_FMT "?" STR_FMT, STR_ARG(path), STR_ARG(query));
	return client_send(c, a, "GET", path, NULL, NULL, ret);
}

struct err *client_create(struct client *c, struct arena *a, struct gvr r, struct str ns,
			  const struct json *obj, struct json **ret)
{
	return client_send(c, a, "POST", client_path(a, r, ns, STR_EMPTY, NULL), NULL, obj, ret);
}

struct err *client_create_sub(struct client *c, struct arena *a, struct gvr r, struct str ns,
			      struct str name, const char *sub, const struct json *obj,
			      struct json **ret)
{
	return client_send(c, a, "POST", client_path(a, r, ns, name, sub), NULL, obj, ret);
}

struct err *client_update(struct client *c, struct arena *a, struct gvr r, const char *sub,
			  const struct json *obj, struct json **ret)
{
	struct str path = client_path(a, r, meta_namespace(obj), meta_name(obj), sub);

	PRE(!str_empty(meta_name(obj)));
	return client_send(c, a, "PUT", path, NULL, obj, ret);
}

struct err *client_patch(struct client *c, struct arena *a, struct gvr r, struct str ns,
			 struct str name, const char *sub, enum client_patch type,
			 const struct json *patch, struct json **ret)
{
	static const char *const types[] = {
		[CLIENT_PATCH_JSON] = "application/json-patch+json",
		[CLIENT_PATCH_MERGE] = "application/merge-patch+json",
		[CLIENT_PATCH_STRATEGIC] = "application/strategic-merge-patch+json",
		[CLIENT_PATCH_APPLY] = "application/apply-patch+yaml",
	};
	struct str path = client_path(a, r, ns, name, sub);

	PRE(!str_empty(name));
	if (type == CLIENT_PATCH_APPLY) {
		struct str manager = http_url_encode(a, str_from(c->user_agent));

		path = arena_fmt(a, STR_FMT "?fieldManager=" STR_FMT "&force=true", STR_ARG(path),
				 STR_ARG(manager));
	}
	return client_send(c, a, "PATCH", path, types[type], patch, ret);
}

static struct json *client_delete_options(struct arena *a, const struct client_delete_opts *opts)
{
	struct json *o = json_object(a);

	json_set_str(a, o, "kind", STR("DeleteOptions"));
	json_set_str(a, o, "apiVersion", STR("v1"));
	if (opts->grace_seconds >= 0)
		json_set_int(a, o, "gracePeriodSeconds", opts->grace_seconds);
	if (opts->propagation)
		json_set_str(a, o, "propagationPolicy", str_from(opts->propagation));
	if (!str_empty(opts->uid))
		json_set_str(a, json_sub(a, o, "preconditions"), "uid", opts->uid);
	if (!str_empty(opts->rv))
		json_set_str(a, json_sub(a, o, "preconditions"), "resourceVersion", opts->rv);
	return o;
}

struct err *client_delete(struct client *c, struct arena *a, struct gvr r, struct str ns,
			  struct str name, const struct client_delete_opts *opts)
{
	const struct client_delete_opts dflt = CLIENT_DELETE_DEFAULT;

	PRE(!str_empty(name));
	return client_send(c, a, "DELETE", client_path(a, r, ns, name, NULL), NULL,
			   client_delete_options(a, opts ? opts : &dflt), NULL);
}

/* raw access */

struct err *client_raw(struct client *c, struct arena *a, const char *method, struct str path,
		       const struct json *body, struct json **ret)
{
	return client_send(c, a, method, path, NULL, body, ret);
}

struct err *client_get_as(struct client *c, struct arena *a, struct str path, const char *accept,
			  struct json **ret)
{
	const struct client_request req = { .method = "GET", .path = path, .accept = accept };

	return client_do(c, a, &req, ret);
}

struct err *client_raw_http(struct client *c, struct arena *a, const char *method, struct str path,
			    const struct http_headers *headers, struct str body,
			    struct http_client_response *ret)
{
	const struct client_request req = {
		.method = method, .path = path, .headers = headers, .body = body, .has_body = body.n
	};

	return client_do_http(c, a, &req, ret);
}

/* Up to 64 KB of a refusal's body. */
static struct err *client_stream_refusal(struct arena *a, int status, struct http_call *call)
{
	size_t max = 64 * 1024;
	char *p = arena_alloc(a, max);
	size_t n = 0;
	size_t k;

	do {
		TRY(http_call_read(call, p + n, max - n, &k));
		n += k;
	} while (k && n < max);
	return client_refusal(a, status, str_make(p, n));
}

static struct err *client_stream_start(struct client *c, struct arena *a,
				       const struct client_request *req, struct http_call **ret)
{
	_cleanup_(http_call_freep) struct http_call *call = NULL;
	struct http_client_response resp;
	struct http_client_request http;

	TRY(client_prepare(c, a, req, &http));
	TRY(http_client_start(c->http, a, &http, &resp, &call));
	if (resp.status >= 300)
		return client_stream_refusal(a, resp.status, call);
	*ret = TAKE(call);
	return NULL;
}

struct err *client_stream(struct client *c, struct arena *a, struct str path, const char *accept,
			  struct http_call **ret)
{
	const struct client_request req = { .method = "GET",
					    .path = path,
					    .accept = accept ? accept : "application/json" };
	struct mono old = fiber_limit_ms(CLIENT_TIMEOUT_MS);
	struct err *e = client_stream_start(c, a, &req, ret);

	fiber_restore_deadline(old);
	return e;
}

struct err *client_upgrade(struct client *c, struct arena *a, const char *method, struct str path,
			   const struct http_headers *headers, struct http_client_response *resp,
			   struct stream **ret)
{
	const struct client_request req = { .method = method, .path = path, .headers = headers };
	struct http_client_request http;

	TRY(client_prepare(c, a, &req, &http));
	return http_client_upgrade(c->http, a, &http, resp, ret);
}

struct err *client_websocket(struct client *c, struct str path, const char *const *protocols,
			     struct websocket **ret)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct client_request req = { .method = "GET", .path = path };
	struct http_client_response resp;
	struct http_client_request http;

	TRY(client_prepare(c, a, &req, &http));
	TRY(websocket_connect(c->http, a, &http, protocols, &resp, ret));
	if (!*ret)
		return client_refusal(a, resp.status, resp.body);
	return NULL;
}
