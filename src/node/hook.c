/* SPDX-License-Identifier: Apache-2.0 */

/* What probes and lifecycle hooks do: exec, HTTP request, TCP connect, sleep, gRPC health check. */

#include "base/arena.h"
#include "base/err.h"
#include "health.pb-c.h"
#include "io/grpc.h"
#include "io/http-client.h"
#include "io/stream.h"
#include "io/tls.h"
#include "node/cri.h"
#include "node/pod.h"

#define HTTP_BODY_MAX (10 * 1024)
#define HOOK_ARGV_MAX 256

/* A port by number or by the container's name for it; 0 when there is none. */
static int64_t hook_port(const struct hook *h, const struct json *port)
{
	const struct json *p;
	int64_t n;

	if (json_is(port, JSON_INT))
		return json_as_int(port, 0);
	if (str_to_i64(json_as_str(port), &n))
		return n;
	p = json_find_by(json_get(h->container, "ports"), "name", json_as_str(port));
	return json_int_at(p, "containerPort", 0);
}

static struct err *hook_exec(const struct hook *h, struct arena *a, const struct json *exec,
			     int64_t timeout_ms)
{
	const struct json *cmd = json_get(exec, "command");
	struct str *argv =
		arena_array(a, MIN(json_len(cmd), (size_t)HOOK_ARGV_MAX) + 1, sizeof(*argv));
	struct cri_exec_result r;
	size_t n = 0;

	json_for_each(it, cmd) if (n < HOOK_ARGV_MAX) argv[n++] = json_as_str(it.val);
	TRY(cri_exec_sync(h->pod->agent->cri, a, h->container_id, argv, n,
			  MAX((timeout_ms + 999) / 1000, 1), &r));
	if (r.exit_code == 0)
		return NULL;
	if (!r.out.n)
		r.out = r.err;
	return err_new(ERR_UNKNOWN, "%.*s",
		       STR_ARG(r.out.n ? str_trim(r.out) : STR("command failed")));
}

/* Not pooled and not verified: what a probe talks to has a certificate of its own making. */
static struct err *hook_http_client(struct str address, bool https, struct http_client **ret)
{
	struct http_client_opts opts = { .address = address };
	struct tls_opts tls = { .insecure = true };
	struct tls_config *cfg = NULL;

	if (https) {
		TRY(tls_config_new(&tls, &cfg));
		opts.tls = cfg;
	}
	*ret = http_client_new(&opts);
	tls_config_unref(cfg);
	return NULL;
}

static struct err *hook_http(const struct hook *h, struct arena *a, const struct json *get)
{
	struct str host = json_str_at(get, "host"), path = json_str_at(get, "path"), address;
	struct http_client_request req = { .method = "GET", .target = path };
	struct http_client_response resp;
	struct http_client *c;
	struct err *e;

	if (!host.n)
		host = h->pod_ip;
	if (!path.n || path.p[0] != '/')
		req.target = arena_fmt(a, "/%.*s", STR_ARG(path));
	address = arena_fmt(a, "%.*s:%lld", STR_ARG(host),
			    (long long)hook_port(h, json_get(get, "port")));
	http_headers_add(a, &req.headers, STR("User-Agent"), STR("kube-probe/1.36"));
	http_headers_add(a, &req.headers, STR("Accept"), STR("*/*"));
	http_headers_add(a, &req.headers, STR("Connection"), STR("close"));
	json_for_each(it, json_get(get, "httpHeaders")) http_headers_add(
		a, &req.headers, json_str_at(it.val, "name"), json_str_at(it.val, "value"));
	TRY(hook_http_client(address, str_eqz(json_str_at(get, "scheme"), "HTTPS"), &c));
	e = http_client_do(c, a, &req, HTTP_BODY_MAX, &resp);
	http_client_free(c);
	if (e && err_is(e, ERR_TOO_LARGE)) {
		err_ignore(e, "the status was fine or we would not read on");
		return NULL;
	}
	TRY(e);
	if (resp.status >= 200 && resp.status < 400)
		return NULL;
	return err_new(ERR_UNKNOWN, "HTTP probe failed with statuscode: %d", resp.status);
}

static struct err *hook_tcp(const struct hook *h, struct arena *a, const struct json *tcp)
{
	struct str host = json_str_at(tcp, "host");
	struct stream *st;

	TRY(stream_connect(arena_fmt(a, "%.*s:%lld", STR_ARG(host.n ? host : h->pod_ip),
				     (long long)hook_port(h, json_get(tcp, "port"))),
			   NULL, STR_EMPTY, &st));
	stream_free(st);
	return NULL;
}

static struct err *hook_grpc(const struct hook *h, struct arena *a, const struct json *grpc)
{
	Grpc__Health__V1__HealthCheckRequest req;
	Grpc__Health__V1__HealthCheckResponse *resp = NULL;
	struct grpc_client *c = grpc_client_new(arena_fmt(a, "%.*s:%lld", STR_ARG(h->pod_ip),
							  (long long)json_int_at(grpc, "port", 0)));
	struct err *e;

	grpc__health__v1__health_check_request__init(&req);
	req.service = arena_strz(a, json_str_at(grpc, "service"));
	e = grpc_unary(c, a, "/grpc.health.v1.Health/Check", &req.base,
		       &grpc__health__v1__health_check_response__descriptor, &resp);
	grpc_client_free(c);
	TRY(e);
	if (resp->status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING)
		return NULL;
	return err_new(ERR_UNKNOWN, "service unhealthy (responded with %d)", (int)resp->status);
}

struct err *hook_run(const struct hook *h, struct arena *a, const struct json *handler,
		     int64_t timeout_ms)
{
	struct mono old = fiber_limit_ms(timeout_ms);
	const struct json *x;
	struct err *e;

	if ((x = json_get(handler, "exec")))
		e = hook_exec(h, a, x, timeout_ms);
	else if ((x = json_get(handler, "httpGet")))
		e = hook_http(h, a, x);
	else if ((x = json_get(handler, "tcpSocket")))
		e = hook_tcp(h, a, x);
	else if ((x = json_get(handler, "grpc")))
		e = hook_grpc(h, a, x);
	else if ((x = json_get(handler, "sleep")))
		e = fiber_sleep_ms(MIN(json_int_at(x, "seconds", 0) * 1000, timeout_ms));
	else
		e = err_new(ERR_INVALID, "missing probe handler");
	fiber_restore_deadline(old);
	return e;
}
