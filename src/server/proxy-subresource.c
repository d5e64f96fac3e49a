/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The proxy subresources: pods/[SCHEME:]NAME[:PORT]/proxy/PATH, the same of services and nodes.
 * Whatever is asked is passed on to the Pod, to a ready endpoint of the Service, or to the node's
 * agent. TLS towards Pods is not verified, as upstream: their certificates are their own business.
 */

#include <arpa/inet.h>

#include "base/arena.h"
#include "base/err.h"
#include "io/http-client.h"
#include "io/http-server.h"
#include "io/tls.h"
#include "server/admission.h"
#include "server/backend.h"
#include "server/errors.h"
#include "server/kubelet.h"
#include "server/request.h"
#include "server/reverse-proxy.h"
#include "server/server.h"
#include "server/strategies.h"
#include "json/json.h"

struct proxy_target {
	struct reverse_proxy proxy;
	struct str scheme, name, port; /* of the path */
	struct str address, host;      /* where to */
	struct str prefix;             /* our path before what is passed on */
	const struct tls_config *tls;
	struct tls_config *own_tls; /* to be unreferenced */
};

static bool proxy_split_id(struct str id, struct proxy_target *t)
{
	struct str parts[3];
	size_t n = 0;

	while (n < ARRAY_LEN(parts) && str_split_next(&id, ':', &parts[n]))
		n++;
	if (!n || id.n)
		return false;
	if (n == 3)
		t->scheme = parts[0];
	t->name = parts[n == 3];
	if (n > 1)
		t->port = parts[n - 1];
	return !str_empty(t->name) &&
	       (str_empty(t->scheme) || str_eqz(t->scheme, "http") || str_eqz(t->scheme, "https"));
}

/* Neither our own loopback nor a cloud's metadata server. */
static bool proxy_ip_allowed(struct arena *a, struct str ip)
{
	struct in6_addr v6;
	struct in_addr v4;

	if (inet_pton(AF_INET, arena_strz(a, ip), &v4) == 1) {
		uint32_t h = ntohl(v4.s_addr);

		return h && h != UINT32_MAX && h >> 24 != 127 && h >> 28 != 14 &&
		       h >> 16 != (169 << 8 | 254);
	}
	return inet_pton(AF_INET6, arena_strz(a, ip), &v6) == 1 && !IN6_IS_ADDR_LOOPBACK(&v6) &&
	       !IN6_IS_ADDR_UNSPECIFIED(&v6) && !IN6_IS_ADDR_MULTICAST(&v6) &&
	       !IN6_IS_ADDR_LINKLOCAL(&v6);
}

static struct str proxy_join_port(struct arena *a, struct str ip, struct str port)
{
	bool v6 = str_find_char(ip, ':', 0) < ip.n;

	return arena_fmt(a, v6 ? "[" STR_FMT "]:" STR_FMT : STR_FMT ":" STR_FMT, STR_ARG(ip),
			 STR_ARG(port));
}

static struct err *proxy_tls(struct proxy_target *t)
{
	const struct tls_opts o = { .insecure = true };

	if (!str_eqz(t->scheme, "https"))
		return NULL;
	TRY(tls_config_new(&o, &t->own_tls));
	t->tls = t->own_tls;
	return NULL;
}

/* ---- where to */

static struct err *proxy_to_pod(struct api_request *rq, struct proxy_target *t)
{
	struct arena *a = rq->arena;
	struct json *pod = NULL;
	struct str ip;

	TRY(local_get_json(rq->server, a, "pods", rq->ns, t->name, &pod));
	if (!pod)
		return error_not_found(rq->res, t->name);
	json_for_each(it, json_at(pod, "spec.containers"))
	{
		const struct json *port = json_idx(json_get(it.val, "ports"), 0);

		if (str_empty(t->port) && port)
			t->port = arena_fmt(a, "%lld",
					    (long long)json_int_at(port, "containerPort", 0));
	}
	ip = json_str_at(json_idx(json_at(pod, "status.podIPs"), 0), "ip");
	if (str_empty(ip))
		ip = json_str_at(pod, "status.podIP");
	if (!proxy_ip_allowed(a, ip))
		return err_new(ERR_BAD_REQUEST, "address not allowed");
	if (str_empty(t->port))
		t->port = str_eqz(t->scheme, "https") ? STR("443") : STR("80");
	t->address = proxy_join_port(a, ip, t->port);
	return proxy_tls(t);
}

/* The port's name, from its name or number in the path. */
static struct err *proxy_service_port(const struct json *svc, struct proxy_target *t, int64_t *ret)
{
	int64_t number = 0;
	bool numeric = !str_empty(t->port) && str_to_i64(t->port, &number);

	*ret = 0;
	json_for_each(it, json_at(svc, "spec.ports"))
	{
		int64_t port = json_int_at(it.val, "port", 0);

		if (numeric ? port == number : str_eq(json_str_at(it.val, "name"), t->port)) {
			*ret = port;
			return NULL;
		}
	}
	if (numeric)
		return err_new(ERR_UNAVAILABLE,
			       "no service port %lld found for service \"" STR_FMT "\"",
			       (long long)number, STR_ARG(t->name));
	return NULL;
}

static struct err *proxy_to_service(struct api_request *rq, struct proxy_target *t)
{
	struct backend_problem problem = { 0 };
	struct json *svc = NULL;
	struct err *e = NULL;
	int64_t port;

	TRY(local_get_json(rq->server, rq->arena, "services", rq->ns, t->name, &svc));
	if (!svc)
		return error_not_found(rq->res, t->name);
	TRY(proxy_service_port(svc, t, &port));
	if (port && !str_eqz(json_str_at(svc, "spec.type"), "ExternalName"))
		e = backend_resolve(rq->server, rq->arena, rq->ns, t->name, port, &t->address,
				    &problem);
	err_ignore(e, "said below in upstream's words");
	if (str_empty(t->address))
		return err_new(ERR_UNAVAILABLE,
			       "no endpoints available for service \"" STR_FMT "\"",
			       STR_ARG(problem.reason ? t->name : rq->name));
	return proxy_tls(t);
}

static struct err *proxy_to_node(struct api_request *rq, struct proxy_target *t)
{
	struct kubelet k = { 0 };

	TRY(kubelet_find(rq, t->name, &k));
	t->address = k.address;
	t->host = k.host;
	t->tls = rq->server->kubelet_tls;
	if (!str_empty(t->port) &&
	    !str_eq(proxy_join_port(rq->arena, k.host, t->port), k.address)) {
		t->address = proxy_join_port(rq->arena, k.host, t->port);
		t->tls = NULL;
		return proxy_tls(t);
	}
	return NULL;
}

/* ---- the answer */

/* A Location on the same host leads through us, too (as upstream rewrites it). */
static void proxy_edit(struct reverse_proxy *p, struct api_request *rq,
		       struct http_client_response *resp)
{
	struct proxy_target *t = container_of(p, struct proxy_target, proxy);

	for (size_t i = 0; i < resp->headers.n; i++) {
		struct http_header *h = &resp->headers.v[i];
		struct str host = STR_EMPTY, path = h->value;

		if (!str_eq_nocase(h->name, STR("location")))
			continue;
		if (str_strip_prefix(&path, STR("http://")) ||
		    str_strip_prefix(&path, STR("https://"))) {
			host = str_sub(path, 0, str_find_char(path, '/', 0));
			path = str_skip(path, host.n);
		}
		if ((host.n && !str_eq(host, t->address) &&
		     !str_eq(host, http_headers_find(&rq->http->headers, "host"))) ||
		    !str_has_prefix(path, STR("/")) || str_has_prefix(path, t->prefix))
			continue;
		h->value = arena_cat(rq->arena, t->prefix, path);
	}
}

/* ---- the request */

static struct err *proxy_admit(struct api_request *rq, struct str path)
{
	struct admission ad = {
		.rq = rq,
		.op = ADMISSION_CONNECT,
		.res = rq->res,
		.v = rq->v,
		.sub = rq->sub,
		.ns = rq->ns,
		.name = rq->name,
	};

	if (!admission_wanted(rq->server, &ad))
		return NULL;
	ad.obj = json_object(rq->arena);
	json_set_str(rq->arena, ad.obj, "kind", rq->subres->kind);
	json_set_str(rq->arena, ad.obj, "apiVersion", STR("v1"));
	json_set_str(rq->arena, ad.obj, "path", path);
	TRY(admission_mutate(rq->server, &ad));
	return admission_validate(rq->server, &ad);
}

/* "/a/b" of ".../proxy/a/b", with the slash that may end it; empty for ".../proxy". */
static void proxy_split_path(struct api_request *rq, struct proxy_target *t, struct str *ret)
{
	size_t n = rq->rest.n;

	if (!n && str_has_suffix(rq->path, STR("/")))
		n = 1;
	t->prefix = str_sub(rq->path, 0, rq->path.n - n);
	*ret = str_skip(rq->path, rq->path.n - n);
}

static struct err *proxy_pass(struct api_request *rq, struct proxy_target *t, struct str path)
{
	struct arena *a = rq->arena;
	struct str query = rq->http->raw_query;
	const struct http_client_opts o = {
		.address = t->address,
		.server_name = t->host,
		.tls = t->tls,
		.max_idle = 1,
	};
	struct err *e;

	t->proxy.client = http_client_new(&o);
	t->proxy.target = arena_fmt(a, STR_FMT "%s" STR_FMT, STR_ARG(path), query.n ? "?" : "",
				    STR_ARG(query));
	t->proxy.edit = proxy_edit;
	reverse_proxy_headers(rq, &t->proxy.headers);
	e = reverse_proxy(&t->proxy, rq);
	http_client_free(t->proxy.client);
	return e;
}

static struct err *proxy_serve(struct api_request *rq,
			       MUST_USE struct err *(*find)(struct api_request *rq,
							    struct proxy_target *t))
{
	struct proxy_target t = { 0 };
	bool reads = str_eqz(rq->http->method, "GET") || str_eqz(rq->http->method, "HEAD");
	struct str path;
	struct err *e;

	if (!proxy_split_id(rq->name, &t))
		return err_new(ERR_BAD_REQUEST, "invalid " STR_FMT " request \"" STR_FMT "\"",
			       STR_ARG(rq->res->singular), STR_ARG(rq->name));
	proxy_split_path(rq, &t, &path);
	TRY(proxy_admit(rq, path));
	TRY(find(rq, &t));
	if (!path.n && reads) {
		http_set_header(rq->x, "Location",
				arena_fmt(rq->arena, STR_FMT "/%s" STR_FMT, STR_ARG(rq->path),
					  rq->http->raw_query.n ? "?" : "",
					  STR_ARG(rq->http->raw_query)));
		http_respond(rq->x, 301, NULL, STR_EMPTY);
		e = NULL;
	} else {
		e = proxy_pass(rq, &t, path.n ? path : STR("/"));
	}
	tls_config_unref(t.own_tls);
	return e;
}

struct err *pod_proxy(struct api_request *rq)
{
	return proxy_serve(rq, proxy_to_pod);
}

struct err *service_proxy(struct api_request *rq)
{
	return proxy_serve(rq, proxy_to_service);
}

struct err *node_proxy(struct api_request *rq)
{
	return proxy_serve(rq, proxy_to_node);
}
