/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log, exec, attach, port-forward: passed on to the node's agent on its port 10250, over TLS with
 * our client certificate, as upstream passes them to a kubelet. Upgraded connections are relayed
 * raw, so SPDY and the old WebSocket protocols are between the client and the runtime. The
 * WebSockets of current clients are translated (pod-websocket.c).
 */

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/http-client.h"
#include "io/http-server.h"
#include "io/websocket.h"
#include "server/admission.h"
#include "server/engine.h"
#include "server/errors.h"
#include "server/kubelet.h"
#include "server/object.h"
#include "server/pod-websocket.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"
#include "server/strategies.h"
#include "json/json.h"

#define CHUNK 16384

struct target {
	struct api_request *rq;
	struct json *pod;
	struct str container;
	struct kubelet kubelet;
};

static struct str target_containers(struct arena *a, const struct json *pod, const char *list)
{
	_cleanup_buf_ struct buf b = { 0 };

	json_for_each(it, json_at(pod, list))
		buf_addf(&b, "%s" STR_FMT, b.n ? " " : "", STR_ARG(json_str_at(it.val, "name")));
	return buf_to_arena(&b, a);
}

static bool target_has_container(const struct json *pod, struct str name)
{
	static const char *const lists[] = { "spec.containers", "spec.initContainers",
					     "spec.ephemeralContainers" };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		if (json_find_by(json_at(pod, lists[i]), "name", name))
			return true;
	}
	return false;
}

static struct err *target_container(struct target *t)
{
	struct api_request *rq = t->rq;
	const struct json *containers = json_at(t->pod, "spec.containers");

	t->container = http_query_find(&rq->http->query, "container");
	if (!str_empty(t->container)) {
		if (target_has_container(t->pod, t->container))
			return NULL;
		return err_new(ERR_BAD_REQUEST,
			       "container " STR_FMT " is not valid for pod " STR_FMT,
			       STR_ARG(t->container), STR_ARG(rq->name));
	}
	if (json_len(containers) == 1) {
		t->container = json_str_at(json_idx(containers, 0), "name");
		return NULL;
	}
	return err_new(ERR_BAD_REQUEST,
		       "a container name must be specified for pod " STR_FMT
		       ", choose one of: [" STR_FMT "]",
		       STR_ARG(rq->name),
		       STR_ARG(target_containers(rq->arena, t->pod, "spec.containers")));
}

static struct err *target_pod(struct api_request *rq, struct target *t)
{
	_cleanup_obj_ const struct obj *o = NULL;

	*t = (struct target){ .rq = rq };
	TRY(engine_get(rq, &o));
	return object_tree(rq, o, &t->pod);
}

static struct err *target_node(struct target *t)
{
	return kubelet_find(t->rq, json_str_at(t->pod, "spec.nodeName"), &t->kubelet);
}

static struct http_client *target_client(struct target *t)
{
	return kubelet_client(t->rq, &t->kubelet);
}

static struct err *target_unreachable(struct target *t, struct err *e)
{
	return err_recode(err_remsg(e, "error dialing backend: " STR_FMT, STR_ARG(err_msg(e))),
			  ERR_INTERNAL);
}

/* log */
static struct err *log_check_options(struct api_request *rq)
{
	static const struct {
		const char *name;
		int64_t min;
		const char *text;
	} rows[] = {
		{ "tailLines", 0, "must be greater than or equal to 0" },
		{ "sinceSeconds", 1, "must be greater than 0" },
		{ "limitBytes", 1, "must be greater than 0" },
	};
	struct err *e = NULL;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str s = http_query_find(&rq->http->query, rows[i].name);
		int64_t v;

		if (!str_empty(s) && str_to_i64(s, &v) && v < rows[i].min)
			cause_invalid(&e, str_from(rows[i].name), json_int(rq->arena, v), "%s",
				      rows[i].text);
	}
	return error_invalid(e, STR_EMPTY, STR("PodLogOptions"), rq->name);
}

static struct err *log_copy(struct api_request *rq, struct http_call *call)
{
	_cleanup_free_ char *buf = mem_alloc(CHUNK);
	size_t n = 0;

	for (;;) {
		TRY(http_call_read(call, buf, CHUNK, &n));
		if (!n)
			return http_body_end(rq->x);
		TRY(http_body_write(rq->x, str_make(buf, n)));
	}
}

/* The protocols of a log over a WebSocket; a client may name none and then gets binary. */
static struct err *log_copy_websocket(struct api_request *rq, struct http_call *call)
{
	static const char *const protocols[] = { "binary.k8s.io", "base64.binary.k8s.io", NULL };
	bool named = http_headers_find(&rq->http->headers, "sec-websocket-protocol").n;
	_cleanup_free_ char *buf = mem_alloc(CHUNK);
	struct websocket *ws = NULL;
	struct err *e = NULL;
	size_t n = 1;
	bool base64;

	TRY(websocket_accept(rq->x, named ? protocols : NULL, &ws));
	base64 = str_eqz(websocket_protocol(ws), protocols[1]);
	while (!e && n) {
		e = http_call_read(call, buf, CHUNK, &n);
		if (!e && n) {
			struct arena *a = arena_new();
			struct str s = str_make(buf, n);

			e = websocket_write(ws, base64 ? base64_encode(a, s) : s, base64);
			arena_free(a);
		}
	}
	if (!e)
		e = websocket_close(ws, 1000, STR_EMPTY);
	err_ignore(e, "the client may go first");
	websocket_free(ws);
	return NULL;
}

static struct err *log_fail(struct http_call *call, int status)
{
	_cleanup_buf_ struct buf b = { 0 };
	char buf[1024];
	size_t n = 1;

	while (n && b.n < CHUNK) {
		struct err *e = http_call_read(call, buf, sizeof(buf), &n);

		if (e) {
			err_ignore(e, "what came of the text is told");
			break;
		}
		buf_add(&b, str_make(buf, n));
	}
	return err_set_status(err_new(status == 404  ? ERR_NOT_FOUND
				      : status < 500 ? ERR_BAD_REQUEST
						     : ERR_INTERNAL,
				      STR_FMT, STR_ARG(str_trim(buf_str(&b)))),
			      status);
}

struct err *pod_log(struct api_request *rq)
{
	struct http_client_response resp = { 0 };
	struct http_client_request req = { 0 };
	struct http_call *call = NULL;
	struct http_client *c;
	struct target t;
	struct err *e;

	TRY(log_check_options(rq));
	TRY(target_pod(rq, &t));
	TRY(target_container(&t));
	if (str_empty(json_str_at(t.pod, "spec.nodeName"))) {
		http_respond(rq->x, 204, NULL, STR_EMPTY);
		return NULL;
	}
	TRY(target_node(&t));
	req.target =
		arena_fmt(rq->arena, "/containerLogs/" STR_FMT "/" STR_FMT "/" STR_FMT "?" STR_FMT,
			  STR_ARG(rq->ns), STR_ARG(rq->name), STR_ARG(t.container),
			  STR_ARG(rq->http->raw_query));
	c = target_client(&t);
	e = http_client_start(c, rq->arena, &req, &resp, &call);
	if (e) {
		e = target_unreachable(&t, e);
	} else if (resp.status != 200) {
		e = log_fail(call, resp.status);
	} else if (http_headers_has_token(&rq->http->headers, "upgrade", "websocket")) {
		e = log_copy_websocket(rq, call);
	} else {
		http_respond_stream(rq->x, 200, "text/plain");
		e = log_copy(rq, call);
	}
	http_call_free(call);
	http_client_free(c);
	return e;
}

/* exec, attach, port-forward */
static const struct {
	const char *ours, *kubelets;
} stream_params[] = {
	{ "stdin", "input" },
	{ "stdout", "output" },
	{ "stderr", "error" },
	{ "tty", "tty" },
};

/* "ports" of each value become one "port" of them all, which WebSockets need. */
static struct str stream_forward_target(const struct api_request *rq)
{
	const struct http_query *q = &rq->http->query;
	_cleanup_buf_ struct buf b = { 0 };
	const char *sep = "?port=";

	buf_addf(&b, "/portForward/" STR_FMT "/" STR_FMT, STR_ARG(rq->ns), STR_ARG(rq->name));
	for (size_t i = 0; i < q->n; i++) {
		int64_t port;

		if (!str_eqz(q->v[i].name, "ports") || !str_to_i64(q->v[i].value, &port))
			continue;
		buf_addf(&b, "%s%lld", sep, (long long)port);
		sep = ",";
	}
	return buf_to_arena(&b, rq->arena);
}

static struct str stream_target(struct target *t)
{
	struct api_request *rq = t->rq;
	const struct http_query *q = &rq->http->query;
	_cleanup_buf_ struct buf b = { 0 };
	const char *sep = "?";

	if (str_eqz(rq->sub, "portforward"))
		return stream_forward_target(rq);
	buf_addf(&b, "/" STR_FMT "/" STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(rq->sub),
		 STR_ARG(rq->ns), STR_ARG(rq->name), STR_ARG(t->container));
	for (size_t i = 0; i < q->n; i++) {
		if (str_eqz(q->v[i].name, "command")) {
			buf_addf(&b, "%scommand=" STR_FMT, sep,
				 STR_ARG(http_url_encode(rq->arena, q->v[i].value)));
			sep = "&";
		}
	}
	for (size_t k = 0; k < ARRAY_LEN(stream_params); k++) {
		if (!http_query_true(q, stream_params[k].ours))
			continue;
		buf_addf(&b, "%s%s=1", sep, stream_params[k].kubelets);
		sep = "&";
	}
	return buf_to_arena(&b, rq->arena);
}

/* What the protocols of an upgrade are agreed on by. */
static void stream_copy_headers(struct arena *a, const struct http_headers *from,
				struct http_headers *to)
{
	static const char *const names[] = {
		"X-Stream-Protocol-Version",
		"Upgrade",
		"Connection",
		"User-Agent",
		"Sec-WebSocket-Key",
		"Sec-WebSocket-Version",
		"Sec-WebSocket-Protocol",
	};

	for (size_t i = 0; i < from->n; i++) {
		for (size_t k = 0; k < ARRAY_LEN(names); k++) {
			if (str_eq_nocase(from->v[i].name, str_from(names[k])))
				http_headers_add(a, to, from->v[i].name, from->v[i].value);
		}
	}
}

static struct err *stream_join(struct api_request *rq, const struct http_client_response *resp,
			       struct stream *kubelet)
{
	static const char *const names[] = { "Upgrade", "Connection", "X-Stream-Protocol-Version",
					     "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol" };
	struct stream *client = NULL;
	struct err *e;

	for (size_t i = 0; i < resp->headers.n; i++) {
		const struct http_header *h = &resp->headers.v[i];

		for (size_t k = 0; k < ARRAY_LEN(names); k++) {
			if (str_eq_nocase(h->name, str_from(names[k])))
				http_add_header(rq->x, arena_strz(rq->arena, h->name), h->value);
		}
	}
	e = http_respond_upgrade(rq->x, &client);
	if (e) {
		stream_free(kubelet);
		return e;
	}
	/* how a session ended is told inside it */
	e = stream_relay(client, kubelet);
	err_ignore(e, "the session has ended either way");
	return NULL;
}

static struct err *stream_proxy(struct target *t)
{
	struct api_request *rq = t->rq;
	struct http_client_request req = { .method = arena_strz(rq->arena, rq->http->method) };
	struct http_client_response resp = { 0 };
	struct stream *kubelet = NULL;
	struct http_client *c = target_client(t);
	struct err *e;

	req.target = stream_target(t);
	req.has_body = str_eqz(rq->http->method, "POST");
	stream_copy_headers(rq->arena, &rq->http->headers, &req.headers);
	e = http_client_upgrade(c, rq->arena, &req, &resp, &kubelet);
	http_client_free(c);
	if (e)
		return target_unreachable(t, e);
	if (resp.status != 101) {
		respond_text(rq, resp.status, "text/plain", resp.body);
		return NULL;
	}
	return stream_join(rq, &resp, kubelet);
}

static struct err *stream_translate(struct target *t)
{
	struct api_request *rq = t->rq;
	const struct http_query *q = &rq->http->query;
	const struct pod_channels ch = {
		.in = http_query_true(q, "stdin"),
		.out = http_query_true(q, "stdout"),
		.err = http_query_true(q, "stderr"),
		.tty = http_query_true(q, "tty"),
	};
	struct http_client *c = target_client(t);
	struct err *e;

	if (str_eqz(rq->sub, "portforward"))
		e = pod_websocket_forward(rq, c, stream_target(t));
	else
		e = pod_websocket_exec(rq, c, stream_target(t), &ch);
	http_client_free(c);
	return e;
}

struct err *pod_stream(struct api_request *rq)
{
	struct target t;
	bool websocket = http_headers_has_token(&rq->http->headers, "upgrade", "websocket");

	/* a WebSocket is a GET, yet it does what a POST does */
	if (websocket && rq->verb == VERB_GET)
		TRY(authorize_verb(rq, VERB_CREATE));
	TRY(target_pod(rq, &t));
	if (!str_eqz(rq->sub, "portforward"))
		TRY(target_container(&t));
	if (str_empty(json_str_at(t.pod, "spec.nodeName")))
		return err_new(ERR_BAD_REQUEST, "pod " STR_FMT " does not have a host assigned",
			       STR_ARG(rq->name));
	TRY(admission_connect(rq, t.container));
	if (!http_headers_has_token(&rq->http->headers, "connection", "upgrade"))
		return err_new(ERR_BAD_REQUEST, "Upgrade request required");
	TRY(target_node(&t));
	return pod_websocket_translated(rq) ? stream_translate(&t) : stream_proxy(&t);
}
