/* SPDX-License-Identifier: Apache-2.0 */
#include "server/backend.h"

#include <stdlib.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/rand.h"
#include "io/http-client.h"
#include "io/tls.h"
#include "server/server.h"
#include "json/json.h"

#define ENDPOINTSLICES "endpointslices.discovery.k8s.io"
#define SERVICE_LABEL  "kubernetes.io/service-name"
/* Clients kept although nobody uses them now. */
#define BACKEND_MAX_IDLE 16

/* ---- resolving */

struct backend_search {
	struct arena *a;
	struct str service;
	struct str port_name; /* of the Service's port */
	struct json *addresses;
	size_t slices;
};

static int64_t backend_slice_port(const struct json *slice, struct str name)
{
	json_for_each(it, json_get(slice, "ports")) if (str_eq(json_str_at(it.val, "name"),
							       name)) return json_int_at(it.val,
											 "port", 0);
	return 0;
}

static void backend_add_slice(struct backend_search *q, const struct json *slice)
{
	int64_t port = backend_slice_port(slice, q->port_name);
	bool v6 = str_eqz(json_str_at(slice, "addressType"), "IPv6");

	if (!port)
		return;
	json_for_each(it, json_get(slice, "endpoints"))
	{
		struct str ip = json_as_str(json_idx(json_get(it.val, "addresses"), 0));

		if (!ip.n || !json_bool_at(it.val, "conditions.ready", true))
			continue;
		json_push(q->addresses, json_strf(q->a, v6 ? "[" STR_FMT "]:%lld" : STR_FMT ":%lld",
						  STR_ARG(ip), (long long)port));
	}
}

static void backend_see_slice(const struct obj *o, void *ctx)
{
	struct backend_search *q = ctx;
	struct json *slice = NULL;
	struct err *e;

	if (!str_eq(obj_label(o, STR(SERVICE_LABEL)), q->service))
		return;
	q->slices++;
	e = obj_parse(q->a, o, STR("discovery.k8s.io/v1"), STR("EndpointSlice"), &slice);
	if (!e)
		backend_add_slice(q, slice);
	err_ignore(e, "an unreadable slice has no endpoints");
}

static struct err *backend_fail(struct backend_problem *ret, const char *reason, struct str message)
{
	if (ret)
		*ret = (struct backend_problem){ reason, message };
	return err_new(ERR_UNAVAILABLE, STR_FMT, STR_ARG(message));
}

static const struct json *backend_service_port(const struct json *svc, int64_t port)
{
	json_for_each(it, json_at(svc, "spec.ports")) if (json_int_at(it.val, "port", 0) ==
							  port) return it.val;
	return NULL;
}

struct err *backend_resolve(struct apiserver *s, struct arena *a, struct str ns, struct str name,
			    int64_t port, struct str *ret_address,
			    struct backend_problem *ret_problem)
{
	struct backend_search q = { .a = a, .service = name, .addresses = json_array(a) };
	const struct json *svc_port;
	struct json *svc = NULL;
	size_t n;

	TRY(local_get_json(s, a, "services", ns, name, &svc));
	if (!svc)
		return backend_fail(
			ret_problem, "ServiceNotFound",
			arena_fmt(a, "service/" STR_FMT " in \"" STR_FMT "\" is not present",
				  STR_ARG(name), STR_ARG(ns)));
	svc_port = backend_service_port(svc, port);
	if (!svc_port)
		return backend_fail(ret_problem, "ServicePortError",
				    arena_fmt(a,
					      "service/" STR_FMT " in \"" STR_FMT
					      "\" is not listening on port %lld",
					      STR_ARG(name), STR_ARG(ns), (long long)port));
	if (str_eqz(json_str_at(svc, "spec.type"), "ExternalName")) {
		*ret_address =
			arena_fmt(a, STR_FMT ":%lld",
				  STR_ARG(json_str_at(svc, "spec.externalName")), (long long)port);
		return NULL;
	}
	q.port_name = json_str_at(svc_port, "name");
	TRY(local_list(s, ENDPOINTSLICES, ns, backend_see_slice, &q));
	n = json_len(q.addresses);
	if (!q.slices)
		return backend_fail(ret_problem, "EndpointsNotFound",
				    arena_fmt(a,
					      "cannot find endpointslices for service/" STR_FMT
					      " in \"" STR_FMT "\"",
					      STR_ARG(name), STR_ARG(ns)));
	if (!n)
		return backend_fail(ret_problem, "MissingEndpoints",
				    arena_fmt(a,
					      "endpointslices for service/" STR_FMT " in \"" STR_FMT
					      "\" have no addresses with port name \"" STR_FMT "\"",
					      STR_ARG(name), STR_ARG(ns), STR_ARG(q.port_name)));
	*ret_address = json_as_str(json_idx(q.addresses, rand_below(n)));
	return NULL;
}

struct str backend_service_name(struct arena *a, struct str ns, struct str name)
{
	return arena_fmt(a, STR_FMT "." STR_FMT ".svc", STR_ARG(name), STR_ARG(ns));
}

/* ---- clients */

struct backend_ref {
	struct list link; /* idle ones: least recently used first */
	unsigned users;
	struct http_client *client;
	struct tls_config *tls;
	uint8_t key[32];
};

static struct list backend_all = LIST_INIT(backend_all);
static size_t backend_n_idle;

static void backend_key(const struct backend *b, uint8_t *ret)
{
	_cleanup_arena_ struct arena *a = arena_new();

	sha256(arena_fmt(a, STR_FMT "\n" STR_FMT "\n%d%d\n" STR_FMT, STR_ARG(b->address),
			 STR_ARG(b->server_name), b->insecure, b->identify, STR_ARG(b->ca_pem)),
	       ret);
}

static void backend_free(struct backend_ref *r)
{
	list_unlink(&r->link);
	http_client_free(r->client);
	tls_config_unref(r->tls);
	free(r);
}

static struct err *backend_new(struct apiserver *s, const struct backend *b, const uint8_t *key,
			       struct backend_ref **ret)
{
	struct backend_ref *r = mem_new(struct backend_ref);
	const struct tls_opts tls = {
		.ca_pem = b->insecure ? STR_EMPTY : b->ca_pem,
		.insecure = b->insecure,
		.cert_pem = b->identify ? s->pki.proxy_client_cert : STR_EMPTY,
		.key_pem = b->identify ? s->pki.proxy_client_key : STR_EMPTY,
	};
	struct err *e = tls_config_new(&tls, &r->tls);

	if (e) {
		free(r);
		return e;
	}
	memcpy(r->key, key, sizeof(r->key));
	r->client = http_client_new(&(struct http_client_opts){
		.address = b->address,
		.host_header = b->server_name.n ? b->server_name : b->address,
		.server_name = b->server_name,
		.tls = r->tls,
	});
	list_push_back(&backend_all, &r->link);
	*ret = r;
	return NULL;
}

static void backend_trim(void)
{
	struct list *l = backend_all.next;

	while (backend_n_idle > BACKEND_MAX_IDLE && l != &backend_all) {
		struct backend_ref *r = list_entry(l, struct backend_ref, link);

		l = l->next;
		if (r->users)
			continue;
		backend_free(r);
		backend_n_idle--;
	}
}

struct err *backend_get(struct apiserver *s, const struct backend *b, struct backend_ref **ret)
{
	struct backend_ref *r = NULL;
	uint8_t key[32];

	backend_key(b, key);
	for (struct list *l = backend_all.next; l != &backend_all; l = l->next) {
		struct backend_ref *one = list_entry(l, struct backend_ref, link);

		if (memcmp(one->key, key, sizeof(key)) == 0)
			r = one;
	}
	if (r && !r->users)
		backend_n_idle--;
	if (!r)
		TRY(backend_new(s, b, key, &r));
	r->users++;
	*ret = r;
	return NULL;
}

struct http_client *backend_client(struct backend_ref *r)
{
	return r->client;
}

void backend_put(struct backend_ref *r)
{
	if (!r || --r->users)
		return;
	list_unlink(&r->link);
	list_push_back(&backend_all, &r->link);
	backend_n_idle++;
	backend_trim();
}
