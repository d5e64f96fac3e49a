/* SPDX-License-Identifier: Apache-2.0 */

#include "node/server.h"

#include "api/meta.h"
#include "api/status.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/informer.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/http-server.h"
#include "io/tls.h"
#include "node/agent.h"
#include "node/cri.h"
#include "node/logs.h"
#include "node/pod-runtime.h"
#include "node/pod-worker.h"
#include "node/pod.h"
#include "node/server-stream.h"
#include "json/json.h"

#define KUBELET_PORT 10250
#define PEM_MAX      (1 << 20)
#define PATH_PARTS   6

struct server {
	struct agent *agent;
	struct http_server *http;
};

/* The path in parts: /containerLogs/NS/POD/CONTAINER. */
struct route {
	struct str part[PATH_PARTS];
	size_t n;
};

static struct route route_parse(struct arena *a, struct str path)
{
	struct route r = { .n = 0 };
	struct str part;

	while (r.n < PATH_PARTS && str_split_next(&path, '/', &part))
		if (part.n)
			r.part[r.n++] = http_url_decode(a, part);
	return r;
}

/* who may ask */

static bool server_allows(const struct http_request *rq)
{
	if (!rq->has_peer_cert)
		return false;
	if (str_eqz(rq->peer.common_name, "kube-apiserver-kubelet-client"))
		return true;
	for (size_t i = 0; i < rq->peer.n_orgs; i++)
		if (str_eqz(rq->peer.orgs[i], "system:masters"))
			return true;
	return false;
}

/* logs */

struct log_request {
	struct agent *agent;
	struct http_exchange *x;
	char *uid, *id;
};

static struct err *log_request_write(void *ctx, struct str data)
{
	struct log_request *lr = ctx;

	return http_body_write(lr->x, data);
}

/* A container that ended writes no more, and neither does one of a Pod that is gone. */
static bool log_request_alive(void *ctx)
{
	struct log_request *lr = ctx;
	_cleanup_arena_ struct arena *a = arena_new();
	const CRI(ContainerStatus) * st;
	struct err *e = cri_container_status(lr->agent->cri, a, str_from(lr->id), &st);

	if (e) {
		err_ignore(e, "gone");
		return false;
	}
	return st->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING ||
	       st->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_CREATED;
}

static int64_t query_int(const struct http_query *q, const char *name, int64_t dflt)
{
	struct str v = http_query_find(q, name);
	int64_t n;

	return v.p && str_to_i64(v, &n) ? n : dflt;
}

static struct log_opts log_request_opts(const struct http_query *q)
{
	struct log_opts o = {
		.follow = http_query_true(q, "follow"),
		.timestamps = http_query_true(q, "timestamps"),
		.tail = query_int(q, "tailLines", -1),
		.limit_bytes = query_int(q, "limitBytes", -1),
	};
	int64_t seconds = query_int(q, "sinceSeconds", -1);
	struct str since = http_query_find(q, "sinceTime");

	if (seconds >= 0)
		o.since.ns = wall_now().ns - MIN(seconds, INT64_C(1) << 32) * NS_PER_SEC;
	else if (since.p)
		wall_parse(since, &o.since);
	return o;
}

/* Why there is nothing to read yet, as upstream words it. */
static struct err *log_request_waiting(const struct pod *p, struct str container)
{
	const struct json *pod = p->obj ? obj_tree(p->obj) : NULL;
	const struct json *cs =
		json_find_by(json_at(pod, "status.containerStatuses"), "name", container);
	struct str reason;

	if (!cs)
		cs = json_find_by(json_at(pod, "status.initContainerStatuses"), "name", container);
	reason = json_str_at(cs, "state.waiting.reason");
	if (str_eqz(reason, "ErrImagePull") || str_eqz(reason, "ImagePullBackOff"))
		return err_new(ERR_BAD_REQUEST,
			       "container \"%.*s\" in pod \"%s\" is waiting to start: trying and "
			       "failing to pull image",
			       STR_ARG(container), p->name);
	return err_new(
		ERR_BAD_REQUEST, "container \"%.*s\" in pod \"%s\" is waiting to start: %.*s",
		STR_ARG(container), p->name, STR_ARG(reason.n ? reason : STR("ContainerCreating")));
}

static struct err *server_find_container(struct server *s, struct arena *a, struct str ns,
					 struct str pod, struct str container, bool previous,
					 const struct rt_container **ret)
{
	struct pod *p = pod_workers_find(s->agent, ns, pod);
	const struct json *spec = p && p->obj ? obj_tree(p->obj) : NULL;
	struct rt_pod *rt = arena_new_obj(a, struct rt_pod);

	if (!p)
		return err_new(ERR_NOT_FOUND, "pod \"%.*s\" does not exist", STR_ARG(pod));
	if (!pod_spec_container(spec, container, NULL))
		return err_new(ERR_NOT_FOUND, "container \"%.*s\" not found in pod \"%.*s\"",
			       STR_ARG(container), STR_ARG(pod));
	/* a copy: the Pod may go while we wait */
	TRY(rt_pod_read(s->agent->cri, a, arena_str(a, str_from(p->uid)), rt));
	*ret = rt_pod_container(rt, container, previous ? 1 : 0);
	if (!*ret && previous)
		return err_new(ERR_BAD_REQUEST,
			       "previous terminated container \"%.*s\" in pod \"%.*s\" not found",
			       STR_ARG(container), STR_ARG(pod));
	if (!*ret || (*ret)->state == RT_CREATED) {
		p = pod_workers_find(s->agent, ns, pod);
		return p ? log_request_waiting(p, container)
			 : err_new(ERR_NOT_FOUND, "pod \"%.*s\" does not exist", STR_ARG(pod));
	}
	return NULL;
}

static struct err *server_logs(struct server *s, struct http_exchange *x, const struct route *r)
{
	const struct http_request *rq = http_request(x);
	struct log_request lr = { .agent = s->agent, .x = x };
	struct log_opts opts = log_request_opts(&rq->query);
	struct log_sink sink = { log_request_write, log_request_alive, &lr };
	const struct rt_container *rc;
	struct err *e;

	TRY(server_find_container(s, rq->arena, r->part[1], r->part[2], r->part[3],
				  http_query_true(&rq->query, "previous"), &rc));
	lr.id = arena_strz(rq->arena, rc->id);
	http_respond_stream(x, 200, "text/plain");
	e = logs_read(arena_strz(rq->arena, rc->log_path), &opts, &sink);
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "a container that has not written yet has no file");
		e = NULL;
	}
	TRY(e);
	return http_body_end(x);
}

/* pods */

static bool server_add_pod(const struct obj *o, void *ctx)
{
	struct json **list = ctx; /* list, arena */

	json_push(list[0], json_copy((struct arena *)(void *)list[1], obj_tree(o)));
	return true;
}

static struct err *server_pods(struct server *s, struct http_exchange *x, const struct route *r)
{
	struct arena *a = http_request(x)->arena;
	struct json *out = json_object(a);
	struct json *ctx[2];

	(void)r;
	json_set_str(a, out, "kind", STR("PodList"));
	json_set_str(a, out, "apiVersion", STR("v1"));
	json_set(a, out, "metadata", json_object(a));
	ctx[0] = json_sub_array(a, out, "items");
	ctx[1] = (struct json *)(void *)a;
	informer_each(s->agent->pods, STR_EMPTY, server_add_pod, ctx);
	http_respond(x, 200, "application/json", json_text(a, out));
	return NULL;
}

static struct err *server_healthz(struct server *s, struct http_exchange *x, const struct route *r)
{
	(void)s;
	(void)r;
	http_respond(x, 200, "text/plain; charset=utf-8", STR("ok"));
	return NULL;
}

/* metrics */

static void metrics_count(struct pod *p, void *ctx)
{
	int64_t *n = ctx;

	if (!p->gone && !p->ended)
		(*n)++;
}

static struct err *server_metrics(struct server *s, struct http_exchange *x, const struct route *r)
{
	struct arena *a = http_request(x)->arena;
	int64_t pods = 0;

	(void)r;
	pod_workers_each(s->agent, metrics_count, &pods);
	http_respond(x, 200, "text/plain; version=0.0.4",
		     arena_fmt(a,
			       "# HELP kubelet_running_pods Number of pods on this node.\n"
			       "# TYPE kubelet_running_pods gauge\n"
			       "kubelet_running_pods %lld\n",
			       (long long)pods));
	return NULL;
}

/* streams */

static struct err *server_stream_container(struct server *s, struct http_exchange *x,
					   const struct route *r, struct cri_stream_opts *o)
{
	const struct http_request *rq = http_request(x);
	struct str container = r->part[r->n - 1];
	const struct rt_container *rc = NULL;
	struct str *argv = arena_array(rq->arena, rq->query.n + 1, sizeof(*argv));
	struct err *e;

	e = server_find_container(s, rq->arena, r->part[1], r->part[2], container, false, &rc);
	if (!e && rc->state != RT_RUNNING)
		e = err_new(ERR_NOT_FOUND, "container is not running");
	if (e) {
		err_ignore(e, "upstream says it in one way");
		return err_new(ERR_NOT_FOUND, "container not found (\"%.*s\")", STR_ARG(container));
	}
	o->container = rc->id;
	o->argv = argv;
	for (size_t i = 0; i < rq->query.n; i++)
		if (str_eqz(rq->query.v[i].name, "command"))
			argv[o->n_argv++] = rq->query.v[i].value;
	o->tty = http_query_true(&rq->query, "tty");
	o->in = http_query_true(&rq->query, "input") || http_query_true(&rq->query, "stdin");
	o->out = http_query_true(&rq->query, "output") || http_query_true(&rq->query, "stdout");
	o->err = !o->tty &&
		 (http_query_true(&rq->query, "error") || http_query_true(&rq->query, "stderr"));
	return NULL;
}

static struct err *server_exec(struct server *s, struct http_exchange *x, const struct route *r)
{
	struct cri_stream_opts o = { 0 };
	struct str url;

	TRY(server_stream_container(s, x, r, &o));
	if (!o.n_argv)
		return err_new(ERR_BAD_REQUEST, "you must specify a command");
	TRY(cri_exec_url(s->agent->cri, http_request(x)->arena, &o, &url));
	return server_stream_relay(x, url);
}

static struct err *server_attach(struct server *s, struct http_exchange *x, const struct route *r)
{
	struct cri_stream_opts o = { 0 };
	struct str url;

	TRY(server_stream_container(s, x, r, &o));
	TRY(cri_attach_url(s->agent->cri, http_request(x)->arena, &o, &url));
	return server_stream_relay(x, url);
}

/* A WebSocket names its ports beforehand, SPDY's streams each their own. */
static struct err *forward_ports(const struct http_request *rq, int32_t **ret, size_t *ret_n)
{
	struct str left = http_query_find(&rq->query, "port"), part;
	struct arena *a = rq->arena;
	size_t n = 0;

	*ret = NULL;
	*ret_n = 0;
	if (!http_headers_has_token(&rq->headers, "upgrade", "websocket"))
		return NULL;
	if (!left.n)
		return err_new(ERR_BAD_REQUEST, "query parameter \"port\" is required");
	*ret = arena_array(a, left.n, sizeof(**ret));
	while (left.n) {
		uint64_t port;

		str_cut(&left, ',', &part);
		if (!str_to_u64(part, &port) || port < 1 || port > 65535)
			return err_new(ERR_BAD_REQUEST, "unable to parse \"" STR_FMT "\" as a port",
				       STR_ARG(part));
		(*ret)[n++] = (int32_t)port;
	}
	*ret_n = n;
	return NULL;
}

static struct err *server_port_forward(struct server *s, struct http_exchange *x,
				       const struct route *r)
{
	struct arena *a = http_request(x)->arena;
	struct pod *p = pod_workers_find(s->agent, r->part[1], r->part[2]);
	const struct rt_sandbox *sb;
	struct rt_pod rt;
	struct str url;
	int32_t *ports;
	size_t n_ports;

	if (!p)
		return err_new(ERR_NOT_FOUND, "pod \"%.*s\" does not exist", STR_ARG(r->part[2]));
	TRY(forward_ports(http_request(x), &ports, &n_ports));
	TRY(rt_pod_read(s->agent->cri, a, arena_str(a, str_from(p->uid)), &rt));
	sb = rt_pod_sandbox(&rt);
	if (!sb)
		return err_new(ERR_NOT_FOUND, "pod \"%.*s\" is not running", STR_ARG(r->part[2]));
	TRY(cri_port_forward_url(s->agent->cri, a, sb->id, ports, n_ports, &url));
	return server_stream_relay(x, url);
}

/* routing */

static const struct {
	const char *name;
	size_t min_parts, max_parts;
	struct err *(*fn)(struct server *s, struct http_exchange *x, const struct route *r);
} routes[] = {
	{ "healthz", 1, 1, server_healthz },
	{ "pods", 1, 1, server_pods },
	{ "metrics", 1, 1, server_metrics },
	{ "containerLogs", 4, 4, server_logs },
	{ "exec", 4, 5, server_exec },
	{ "attach", 4, 5, server_attach },
	{ "portForward", 3, 4, server_port_forward },
};

static struct err *server_handle(struct http_exchange *x, void *ctx)
{
	const struct http_request *rq = http_request(x);
	struct route r = route_parse(rq->arena, rq->path);

	if (!server_allows(rq))
		return err_new(rq->has_peer_cert ? ERR_FORBIDDEN : ERR_UNAUTHORIZED,
			       rq->has_peer_cert ? "Forbidden" : "Unauthorized");
	for (size_t i = 0; i < ARRAY_LEN(routes); i++)
		if (r.n >= routes[i].min_parts && r.n <= routes[i].max_parts &&
		    str_eqz(r.part[0], routes[i].name))
			return routes[i].fn(ctx, x, &r);
	return err_new(ERR_NOT_FOUND, "404 page not found");
}

/* The kubelet answers in plain text; the API server makes Statuses of it. */
static void server_on_error(struct http_exchange *x, struct err *e, void *ctx)
{
	(void)ctx;
	if (!http_responded(x))
		http_respond(x, err_http_status(e), "text/plain; charset=utf-8", err_msg(e));
}

struct err *server_start(struct agent *ag)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct server *s = mem_new(struct server);
	struct tls_opts tls = { .server = true, .request_client_cert = true, .no_h2 = true };
	struct http_server_opts opts = { .handler = server_handle,
					 .on_error = server_on_error,
					 .ctx = s };
	struct tls_config *cfg;
	int fd;

	s->agent = ag;
	TRY(file_read(a, arena_strz(a, ag->cfg.server_cert), PEM_MAX, &tls.cert_pem));
	TRY(file_read(a, arena_strz(a, ag->cfg.server_key), PEM_MAX, &tls.key_pem));
	TRY(file_read(a, arena_strz(a, ag->cfg.client_ca), PEM_MAX, &tls.ca_pem));
	TRY(tls_config_new(&tls, &cfg));
	opts.tls = cfg;
	TRY(stream_listen(arena_fmt(a, "%.*s:%d", STR_ARG(ag->cfg.ip), KUBELET_PORT), &fd));
	s->http = http_server_new(ag->loop, &opts);
	http_server_listen(s->http, fd);
	return NULL;
}
