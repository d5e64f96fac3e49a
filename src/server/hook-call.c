/* SPDX-License-Identifier: Apache-2.0 */
#include "server/hook-call.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "io/fiber.h"
#include "io/http-client.h"
#include "server/backend.h"
#include "server/server.h"
#include "json/json.h"

#define CALL_MAX_BODY (6 * 1024 * 1024)
/* Of an answer that is not ours to read, in messages. */
#define ERROR_MAX_TEXT 2048

/* ---- where to */

/* "https://host:port/path?query": host, port and path apart. */
static void hook_url(struct arena *a, struct str url, struct backend *b, struct str *ret_path)
{
	struct str host, name;
	size_t at;

	str_strip_prefix(&url, STR("https://"));
	at = MIN(str_find_char(url, '/', 0), str_find_char(url, '?', 0));
	host = str_sub(url, 0, at);
	*ret_path = at < url.n ? str_skip(url, at) : STR("/");
	name = host;
	if (str_has_prefix(host, STR("["))) {
		name = str_sub(host, 1, str_find_char(host, ']', 0));
		b->address = str_find_char(host, ']', 0) + 1 < host.n
				     ? host
				     : arena_cat(a, host, STR(":443"));
	} else if (str_contains(host, STR(":"))) {
		name = str_sub(host, 0, str_find_char(host, ':', 0));
		b->address = host;
	} else {
		b->address = arena_cat(a, host, STR(":443"));
	}
	b->server_name = name;
}

struct hook_target {
	struct backend backend;
	struct str path; /* with the timeout */
	struct str url;
	int64_t timeout_s;
};

static struct err *hook_resolve(const struct hook_call *c, const struct json *svc,
				struct hook_target *t, int64_t port)
{
	struct str name = json_str_at(svc, "name");
	struct backend_problem problem = { .reason = NULL };
	struct err *e = backend_resolve(c->server, c->arena, json_str_at(svc, "namespace"), name,
					port, &t->backend.address, &problem);

	if (!e || !problem.reason)
		return e;
	if (str_eqz(str_from(problem.reason), "ServiceNotFound"))
		return err_remsg(e, "service \"" STR_FMT "\" not found", STR_ARG(name));
	if (str_eqz(str_from(problem.reason), "ServicePortError"))
		return err_remsg(e, "no service port %lld found for service \"" STR_FMT "\"",
				 (long long)port, STR_ARG(name));
	return err_remsg(e, "no endpoints available for service \"" STR_FMT "\"", STR_ARG(name));
}

static struct err *hook_target(const struct hook_call *c, struct hook_target *t)
{
	const struct json *cc = c->client_config, *svc = json_get(cc, "service");
	struct arena *a = c->arena;
	int64_t port = json_int_at(svc, "port", 443);
	struct str bundle = json_str_at(cc, "caBundle"), path = STR("/"), ns;

	t->timeout_s = c->timeout_s;
	if (bundle.n && !base64_decode(a, bundle, &t->backend.ca_pem))
		return err_new(ERR_INTERNAL, "caBundle is not base64");
	if (!svc) {
		t->url = json_str_at(cc, "url");
		hook_url(a, t->url, &t->backend, &path);
		t->url = str_sub(t->url, 0, str_find_char(t->url, '?', 0));
	} else {
		ns = json_str_at(svc, "namespace");
		if (json_str_at(svc, "path").n)
			path = json_str_at(svc, "path");
		t->backend.server_name = backend_service_name(a, ns, json_str_at(svc, "name"));
		t->url = arena_fmt(a, "https://" STR_FMT ":%lld" STR_FMT,
				   STR_ARG(t->backend.server_name), (long long)port, STR_ARG(path));
	}
	t->path = arena_fmt(a, STR_FMT "%stimeout=%llds", STR_ARG(path),
			    str_contains(path, STR("?")) ? "&" : "?", (long long)t->timeout_s);
	t->url = arena_fmt(a, STR_FMT "?timeout=%llds", STR_ARG(t->url), (long long)t->timeout_s);
	return svc ? hook_resolve(c, svc, t, port) : NULL;
}

/* ---- the exchange */

#define TLS_FAILED "tls: failed to verify certificate: x509: "

/* The words that clients know for what goes wrong below HTTP. */
static struct err *hook_transport(struct arena *a, const struct hook_target *t, struct err *e)
{
	static const struct {
		const char *ours, *theirs;
	} rows[] = {
		{ "refused", "connect: connection refused" },
		{ "unreachable", "connect: network is unreachable" },
		{ "No route", "connect: no route to host" },
	};
	struct str msg = err_msg(e);

	if (err_is(e, ERR_TIMEOUT))
		return err_remsg(e, "context deadline exceeded");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (str_contains(msg, str_from(rows[i].ours)))
			return err_remsg(e, "dial tcp " STR_FMT ": %s", STR_ARG(t->backend.address),
					 rows[i].theirs);
	if (str_contains(msg, STR("self-signed")) || str_contains(msg, STR("self signed")) ||
	    str_contains(msg, STR("unable to get local issuer")) ||
	    str_contains(msg, STR("unable to verify")))
		return err_remsg(e, TLS_FAILED "certificate signed by unknown authority");
	if (str_contains(msg, STR("x509: "))) {
		msg = str_skip(msg, str_find(msg, STR("x509: ")) + sizeof("x509: ") - 1);
		if (str_has_prefix(msg, STR("certificate has expired")) ||
		    str_has_prefix(msg, STR("certificate is not yet valid")))
			msg = STR("certificate has expired or is not yet valid");
		return err_remsg(e, TLS_FAILED STR_FMT, STR_ARG(arena_str(a, msg)));
	}
	if (str_contains(msg, STR("connection closed")))
		return err_remsg(e, "EOF");
	return err_remsg(e, STR_FMT, STR_ARG(arena_str(a, msg)));
}

/* A status that is no success, in the words of upstream's client. */
static struct str hook_status_text(struct arena *a, int status, struct str body)
{
	static const struct {
		int status;
		const char *text;
	} rows[] = {
		{ 400, "the server rejected our request for an unknown reason" },
		{ 401, "the server has asked for the client to provide credentials" },
		{ 404, "the server could not find the requested resource" },
		{ 405, "the server does not allow this method on the requested resource" },
		{ 409, "the server reported a conflict" },
		{ 422, "the server rejected our request due to an error in our request" },
		{ 429, "the server has received too many requests and has asked us to try again "
		       "later" },
		{ 503, "the server is currently unable to handle the request" },
		{ 504, "the server was unable to return a response in the time allotted, but may "
		       "still be processing the request" },
	};

	body = str_trim(str_sub(body, 0, ERROR_MAX_TEXT));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].status == status)
			return str_from(rows[i].text);
	if (status == 403 || status == 406 || status == 415)
		return body.n ? body : STR("unknown");
	if (status >= 500)
		return arena_fmt(
			a,
			"an error on the server (" STR_FMT
			") has prevented the request from succeeding",
			STR_ARG(json_text(a, json_str(a, body.n ? body : STR("unknown")))));
	return arena_fmt(
		a,
		"the server responded with the status code %d but did not return more information",
		status);
}

static struct err *hook_decode(struct arena *a, const struct http_client_response *resp,
			       struct json **ret)
{
	struct err *e;

	if (resp->status < 200 || resp->status > 206) {
		struct str text = hook_status_text(a, resp->status, resp->body);

		/* a Status explains itself */
		e = json_parse(a, resp->body, ret);
		if (!e && str_eqz(json_str_at(*ret, "kind"), "Status") &&
		    json_str_at(*ret, "message").n)
			text = json_str_at(*ret, "message");
		err_ignore(e, "plain text is what most servers send");
		return err_new(ERR_INTERNAL, STR_FMT, STR_ARG(text));
	}
	if (!resp->body.n)
		return err_new(ERR_INTERNAL,
			       "0-length response with status code: %d and content type: " STR_FMT,
			       resp->status,
			       STR_ARG(http_headers_find(&resp->headers, "content-type")));
	e = json_parse(a, resp->body, ret);
	if (!e)
		return NULL;
	return err_remsg(e, "couldn't get version/kind; json parse error: " STR_FMT,
			 STR_ARG(err_msg(e)));
}

struct err *hook_post(const struct hook_call *c, struct json **ret)
{
	struct arena *a = c->arena;
	struct http_client_response resp = { 0 };
	struct hook_target t = { .timeout_s = 0 };
	struct backend_ref *client = NULL;
	struct http_client_request req = { .method = "POST", .body = c->body, .has_body = true };
	struct mono old;
	struct err *e = hook_target(c, &t);

	if (!e)
		e = backend_get(c->server, &t.backend, &client);
	if (e)
		return t.url.n ? err_wrap(e, "Post \"" STR_FMT "\"", STR_ARG(t.url)) : e;
	req.target = t.path;
	http_headers_add(a, &req.headers, STR("Content-Type"), STR("application/json"));
	http_headers_add(a, &req.headers, STR("Accept"), STR("application/json, */*"));
	http_headers_add(a, &req.headers, STR("User-Agent"), str_from(c->user_agent));
	old = fiber_limit_ms(t.timeout_s * 1000);
	e = http_client_do(backend_client(client), a, &req, CALL_MAX_BODY, &resp);
	fiber_restore_deadline(old);
	backend_put(client);
	if (e && !err_is(e, ERR_CANCELED))
		e = err_wrap(hook_transport(a, &t, e), "Post \"" STR_FMT "\"", STR_ARG(t.url));
	return e ? e : hook_decode(a, &resp, ret);
}
