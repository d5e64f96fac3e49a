/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Services: defaults, validation, and the addresses and node ports they are given. An address is
 * taken by an IPAddress object (named by it) that is created in the same transaction as its
 * Service, and deleted with it: a crash leaves neither half, and two servers over one store cannot
 * take the same one. Node ports are taken alike, by records of our own.
 */

#include "api/meta.h"
#include "api/names.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/rand.h"
#include "server/errors.h"
#include "server/request.h"
#include "server/server.h"
#include "server/service-cidr.h"
#include "server/service-validate.h"
#include "server/strategies.h"
#include "server/table.h"
#include "server/valid.h"
#include "server/warn.h"
#include "server/write.h"
#include "json/json.h"

#define ADDRESS_RESOURCE STR("ipaddresses.networking.k8s.io")
#define PORT_RESOURCE    STR("nodeports.isoplane")
#define PORT_FIRST       30000
#define PORT_N           2768
/* Random picks stay above what people choose by hand. */
#define PORT_STATIC 86

static bool service_is(const struct json *obj, const char *type)
{
	return str_eqz(json_str_at(obj, "spec.type"), type);
}

static bool service_has_ports_on_nodes(const struct json *obj)
{
	return service_is(obj, "NodePort") ||
	       (service_is(obj, "LoadBalancer") &&
		json_bool_at(obj, "spec.allocateLoadBalancerNodePorts", true));
}

static void default_str(struct arena *a, struct json *obj, const char *key, const char *val)
{
	if (str_empty(json_as_str(json_get(obj, key))))
		json_set_str(a, obj, key, str_from(val));
}

/* Go's clients write the number 0 when they mean none. */
static bool service_has_target(const struct json *port)
{
	const struct json *t = json_get(port, "targetPort");

	return json_as_int(t, 0) || !str_empty(json_as_str(t));
}

static void service_default_ports(struct arena *a, struct json *spec)
{
	json_for_each(it, json_get(spec, "ports"))
	{
		if (!json_is(it.val, JSON_OBJECT))
			continue;
		default_str(a, it.val, "protocol", "TCP");
		if (!service_has_target(it.val))
			json_set_int(a, it.val, "targetPort", json_int_at(it.val, "port", 0));
	}
}

static void service_defaults(struct api_request *rq, struct json *obj)
{
	struct arena *a = rq->arena;
	struct json *spec = json_sub(a, obj, "spec");

	default_str(a, spec, "type", "ClusterIP");
	default_str(a, spec, "sessionAffinity", "None");
	if (str_eqz(json_str_at(spec, "sessionAffinity"), "ClientIP") &&
	    !json_at(spec, "sessionAffinityConfig.clientIP.timeoutSeconds"))
		json_set_at(a, spec, "sessionAffinityConfig.clientIP.timeoutSeconds",
			    json_int(a, 10800));
	service_default_ports(a, spec);
	if (service_is(obj, "ExternalName"))
		return;
	default_str(a, spec, "internalTrafficPolicy", "Cluster");
	if (service_is(obj, "NodePort") || service_is(obj, "LoadBalancer"))
		default_str(a, spec, "externalTrafficPolicy", "Cluster");
	if (service_is(obj, "LoadBalancer") && !json_get(spec, "allocateLoadBalancerNodePorts"))
		json_set_bool(a, spec, "allocateLoadBalancerNodePorts", true);
}

/* A client of old says clusterIP alone. */
static void service_align_ips(struct arena *a, struct json *spec)
{
	struct str ip = json_str_at(spec, "clusterIP");
	struct json *ips = json_get(spec, "clusterIPs");

	if (!str_empty(ip) && !json_len(ips))
		json_push(json_sub_array(a, spec, "clusterIPs"), json_str(a, ip));
}

static void service_families(struct arena *a, struct json *spec)
{
	/* nobody asks for the addresses of those: they may be of any family */
	if (str_eqz(json_str_at(spec, "clusterIP"), "None") &&
	    !json_len(json_get(spec, "selector")) && !json_get(spec, "ipFamilyPolicy") &&
	    !json_len(json_get(spec, "ipFamilies"))) {
		json_set_str(a, spec, "ipFamilyPolicy", STR("RequireDualStack"));
		json_push(json_sub_array(a, spec, "ipFamilies"), json_strz(a, "IPv4"));
		json_push(json_get(spec, "ipFamilies"), json_strz(a, "IPv6"));
	}
	default_str(a, spec, "ipFamilyPolicy", "SingleStack");
	if (!json_len(json_get(spec, "ipFamilies")))
		json_push(json_sub_array(a, spec, "ipFamilies"), json_strz(a, "IPv4"));
}

static struct err *service_prepare_create(struct api_request *rq, struct json *obj)
{
	struct json *spec = json_sub(rq->arena, obj, "spec");

	json_sub(rq->arena, json_sub(rq->arena, obj, "status"), "loadBalancer");
	if (service_is(obj, "ExternalName")) {
		json_delz(spec, "clusterIP");
		json_delz(spec, "clusterIPs");
		return NULL;
	}
	service_align_ips(rq->arena, spec);
	service_families(rq->arena, spec);
	return NULL;
}

static bool service_is_external(const struct json *obj)
{
	return service_is(obj, "NodePort") || service_is(obj, "LoadBalancer") ||
	       (service_is(obj, "ClusterIP") && json_len(json_at(obj, "spec.externalIPs")));
}

static bool port_in(const struct json *old, int64_t port)
{
	json_for_each(it, json_at(old, "spec.ports"))
	{
		if (json_int_at(it.val, "nodePort", 0) == port)
			return true;
	}
	return false;
}

/* No node port that the old one had not. */
static bool node_ports_known(const struct json *obj, const struct json *old)
{
	json_for_each(it, json_at(obj, "spec.ports"))
	{
		int64_t port = json_int_at(it.val, "nodePort", 0);

		if (port && !port_in(old, port))
			return false;
	}
	return true;
}

/* A change of type takes away what no longer means anything, unless it is changed as well. */
static void service_drop_dependent(struct json *obj, const struct json *old)
{
	static const char *const balanced[] = { "allocateLoadBalancerNodePorts",
						"loadBalancerClass", "healthCheckNodePort" };
	struct json *spec = json_get(obj, "spec");
	const struct json *was = json_get(old, "spec");
	bool had_ports = service_is(old, "NodePort") || service_is(old, "LoadBalancer");
	bool has_ports = service_is(obj, "NodePort") || service_is(obj, "LoadBalancer");

	if (had_ports && !has_ports && node_ports_known(obj, old)) {
		json_for_each(it, json_get(spec, "ports")) json_delz(it.val, "nodePort");
	}
	for (size_t i = 0; i < ARRAY_LEN(balanced); i++) {
		if (service_is(old, "LoadBalancer") && !service_is(obj, "LoadBalancer") &&
		    valid_same(json_get(spec, balanced[i]), json_get(was, balanced[i])))
			json_delz(spec, balanced[i]);
	}
	if (service_is_external(old) && !service_is_external(obj) &&
	    valid_same(json_get(spec, "externalTrafficPolicy"),
		       json_get(was, "externalTrafficPolicy")))
		json_delz(spec, "externalTrafficPolicy");
}

/* A port of the same name keeps its node port, unless another one has it by now. */
static void service_keep_node_ports(struct arena *a, struct json *obj, const struct json *old)
{
	json_for_each(it, json_at(obj, "spec.ports"))
	{
		const struct json *port = NULL;

		if (json_int_at(it.val, "nodePort", 0))
			continue;
		json_for_each(o, json_at(old, "spec.ports"))
		{
			if (str_eq(json_str_at(o.val, "name"), json_str_at(it.val, "name")))
				port = json_get(o.val, "nodePort");
		}
		if (port && !port_in(obj, json_as_int(port, 0)))
			json_set(a, it.val, "nodePort", json_copy(a, port));
	}
}

static const char *const service_kept[] = { "clusterIP", "clusterIPs", "ipFamilies",
					    "ipFamilyPolicy" };

static void service_unaddress(struct json *spec, const struct json *old)
{
	for (size_t i = 0; i < ARRAY_LEN(service_kept); i++) {
		if (!service_is(old, "ExternalName") &&
		    valid_same(json_get(spec, service_kept[i]),
			       json_get(json_get(old, "spec"), service_kept[i])))
			json_delz(spec, service_kept[i]);
	}
	json_delz(spec, "internalTrafficPolicy");
}

/* What a client left out of an update. */
static struct err *service_prepare_update(struct api_request *rq, struct json *obj,
					  const struct json *old)
{
	struct arena *a = rq->arena;
	struct json *spec = json_sub(a, obj, "spec");
	const struct json *was = json_get(old, "spec");

	if (rq->subres)
		return NULL;
	service_drop_dependent(obj, old);
	if (!service_is(obj, "LoadBalancer"))
		json_set(a, json_sub(a, obj, "status"), "loadBalancer", json_object(a));
	if (service_is(obj, "ExternalName")) {
		service_unaddress(spec, old);
		return NULL;
	}
	/* who changed clusterIP alone meant both */
	if (!str_empty(json_str_at(spec, "clusterIP")) &&
	    !json_equal(json_get(spec, "clusterIP"), json_get(was, "clusterIP")) &&
	    valid_same(json_get(spec, "clusterIPs"), json_get(was, "clusterIPs"))) {
		json_delz(spec, "clusterIPs");
		service_align_ips(a, spec);
	}
	for (size_t i = 0; i < ARRAY_LEN(service_kept) && !service_is(old, "ExternalName"); i++) {
		const struct json *v = json_get(was, service_kept[i]);
		const struct json *w = json_get(spec, service_kept[i]);

		if (v && (!w || (json_is(w, JSON_STR) && str_empty(json_as_str(w)))))
			json_set(a, spec, service_kept[i], json_copy(a, v));
	}
	service_align_ips(a, spec);
	service_families(a, spec);
	if (service_has_ports_on_nodes(obj) && service_has_ports_on_nodes(old))
		service_keep_node_ports(a, obj, old);
	return NULL;
}

/* taking and giving back */
static struct obj *record_for(struct api_request *rq, struct str name)
{
	struct arena *a = rq->arena;
	struct json *o = json_object(a), *meta = json_sub(a, o, "metadata"), *ref;

	json_set_str(a, meta, "name", name);
	json_set_str(a, meta, "uid", rand_uuid(a));
	json_set_str(a, meta, "creationTimestamp", wall_format(a, rq->now));
	meta_set_label(a, o, "ipaddress.kubernetes.io/ip-family", STR("IPv4"));
	meta_set_label(a, o, "ipaddress.kubernetes.io/managed-by", STR("ipallocator.k8s.io"));
	ref = json_sub(a, json_sub(a, o, "spec"), "parentRef");
	json_set_str(a, ref, "resource", STR("services"));
	json_set_str(a, ref, "namespace", rq->ns);
	json_set_str(a, ref, "name", rq->name);
	return obj_new(o, (struct rev){ 0 }, 0, NULL, 0);
}

static void record_take(struct api_request *rq, struct write *w, struct str resource,
			struct str name)
{
	struct store_key key = { resource, STR_EMPTY, name };

	write_put(w, &key, record_for(rq, name), (struct rev){ 0 });
}

static void record_give(struct write *w, struct str resource, struct str name)
{
	struct store_key key = { resource, STR_EMPTY, name };

	write_del(w, &key, STORE_ANY);
}

static struct str port_text(struct api_request *rq, int64_t port)
{
	return arena_fmt(rq->arena, "%lld", (long long)port);
}

/*
 * What this request takes, by index of the transaction's operation, over all its attempts. What we
 * picked and someone else has is picked again; what the client named is refused.
 */
struct service_takes {
	struct {
		struct str resource, name;
		size_t port; /* index in spec.ports */
	} v[WRITE_MAX_OPS];
	bool ip_picked;
	bool port_picked[WRITE_MAX_OPS];
};

static struct err *service_taken(struct api_request *rq, const struct json *obj,
				 struct service_takes *t, int op)
{
	struct err *e = NULL;

	if (str_eq(t->v[op].resource, ADDRESS_RESOURCE))
		cause_invalid(&e, STR("spec.clusterIPs"), json_at(obj, "spec.clusterIPs"),
			      "failed to allocate IP " STR_FMT ": provided IP is already allocated",
			      STR_ARG(t->v[op].name));
	else
		cause_invalid(
			&e, arena_fmt(rq->arena, "spec.ports[%zu].nodePort", t->v[op].port),
			json_get(json_idx(json_at(obj, "spec.ports"), t->v[op].port), "nodePort"),
			"provided port is already allocated");
	return error_invalid(e, STR_EMPTY, STR("Service"), rq->name);
}

/* Forgets the pick that failed, or refuses what was not picked. */
static struct err *service_retry(struct api_request *rq, struct json *obj, struct service_takes *t,
				 int op)
{
	struct json *spec = json_get(obj, "spec");

	if (str_eq(t->v[op].resource, ADDRESS_RESOURCE)) {
		if (!t->ip_picked)
			return service_taken(rq, obj, t, op);
		json_delz(spec, "clusterIP");
		json_delz(spec, "clusterIPs");
		return NULL;
	}
	if (!t->port_picked[t->v[op].port])
		return service_taken(rq, obj, t, op);
	json_delz(json_idx(json_get(spec, "ports"), t->v[op].port), "nodePort");
	return NULL;
}

static void service_take_address(struct api_request *rq, struct write *w, struct json *spec,
				 struct service_takes *t)
{
	struct arena *a = rq->arena;
	struct str ip = json_str_at(spec, "clusterIP");

	if (str_empty(ip)) {
		struct json *ips = json_array(a);

		ip = service_cidr_pick(a, rq->server->opts.service_cidr);
		json_push(ips, json_str(a, ip));
		json_set_str(a, spec, "clusterIP", ip);
		json_set(a, spec, "clusterIPs", ips);
		t->ip_picked = true;
	}
	t->v[w->n].resource = ADDRESS_RESOURCE;
	t->v[w->n].name = ip;
	record_take(rq, w, ADDRESS_RESOURCE, ip);
}

static struct err *service_take_ports(struct api_request *rq, struct write *w, struct json *obj,
				      const struct json *old, struct service_takes *t)
{
	json_for_each(it, json_at(obj, "spec.ports"))
	{
		int64_t port = json_int_at(it.val, "nodePort", 0);

		if (port && port_in(old, port))
			continue;
		if (w->n >= WRITE_MAX_OPS - 2 || it.i >= WRITE_MAX_OPS)
			return err_new(ERR_INVALID, "a Service may have at most %d node ports",
				       WRITE_MAX_OPS - 4);
		if (!port) {
			port = PORT_FIRST + PORT_STATIC + (int64_t)rand_below(PORT_N - PORT_STATIC);
			json_set_int(rq->arena, it.val, "nodePort", port);
			t->port_picked[it.i] = true;
		}
		t->v[w->n].resource = PORT_RESOURCE;
		t->v[w->n].name = port_text(rq, port);
		t->v[w->n].port = it.i;
		record_take(rq, w, PORT_RESOURCE, t->v[w->n].name);
	}
	return NULL;
}

static void service_give_back(struct api_request *rq, struct write *w, const struct json *obj,
			      const struct json *old)
{
	struct str ip = json_str_at(old, "spec.clusterIP");

	if (!str_empty(ip) && !str_eqz(ip, "None") &&
	    (!obj || str_empty(json_str_at(obj, "spec.clusterIP"))))
		record_give(w, ADDRESS_RESOURCE, ip);
	json_for_each(it, json_at(old, "spec.ports"))
	{
		int64_t port = json_int_at(it.val, "nodePort", 0);

		if (port && !port_in(obj, port) && w->n < WRITE_MAX_OPS - 1)
			record_give(w, PORT_RESOURCE, port_text(rq, port));
	}
}

static struct err *service_commit(struct api_request *rq, struct write *w, struct json *obj,
				  const struct json *old)
{
	struct json *spec = json_sub(rq->arena, obj, "spec");
	struct service_takes *t = rq->strategy_data;
	struct str ip;

	if (rq->subres)
		return NULL;
	if (!t)
		t = rq->strategy_data = arena_new_obj(rq->arena, struct service_takes);
	if (w->failed > 0 && t->v[w->failed].name.n)
		TRY(service_retry(rq, obj, t, w->failed));
	memset(t->v, 0, sizeof(t->v));
	w->failed = -1;
	if (old)
		service_give_back(rq, w, obj, old);
	ip = json_str_at(spec, "clusterIP");
	if (!service_is(obj, "ExternalName") && !str_eqz(ip, "None") &&
	    (str_empty(ip) || !str_eq(json_str_at(old, "spec.clusterIP"), ip)))
		service_take_address(rq, w, spec, t);
	if (service_has_ports_on_nodes(obj))
		return service_take_ports(rq, w, obj, old, t);
	return NULL;
}

static struct err *service_commit_delete(struct api_request *rq, struct write *w,
					 const struct json *obj)
{
	service_give_back(rq, w, NULL, obj);
	return NULL;
}

/* Tables */
static void service_ports_cell(struct buf *b, const struct json *obj)
{
	json_for_each(it, json_at(obj, "spec.ports"))
	{
		int64_t np = json_int_at(it.val, "nodePort", 0);

		buf_addf(b, "%s%lld", b->n ? "," : "", (long long)json_int_at(it.val, "port", 0));
		if (np)
			buf_addf(b, ":%lld", (long long)np);
		buf_addf(b, "/" STR_FMT, STR_ARG(json_str_at(it.val, "protocol")));
	}
}

static void service_external_cell(struct buf *b, const struct json *obj)
{
	if (service_is(obj, "ExternalName"))
		buf_add(b, json_str_at(obj, "spec.externalName"));
	json_for_each(it, json_at(obj, "status.loadBalancer.ingress"))
	{
		struct str ip = json_str_at(it.val, "ip");

		buf_addf(b, "%s" STR_FMT, b->n ? "," : "",
			 STR_ARG(str_empty(ip) ? json_str_at(it.val, "hostname") : ip));
	}
	json_for_each(it, json_at(obj, "spec.externalIPs"))
		buf_addf(b, "%s" STR_FMT, b->n ? "," : "", STR_ARG(json_as_str(it.val)));
	if (!b->n && service_is(obj, "LoadBalancer"))
		buf_addz(b, "<pending>");
}

static void service_cell(struct arena *a, const struct json *obj, struct str column,
			 struct json *cells)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (str_eqz(column, "Selector")) {
		cell_str(a, cells, cell_labels(a, json_at(obj, "spec.selector")));
		return;
	}
	if (str_eqz(column, "Cluster-IP"))
		buf_add(&b, json_str_at(obj, "spec.clusterIP"));
	else if (str_eqz(column, "External-IP"))
		service_external_cell(&b, obj);
	else
		service_ports_cell(&b, obj);
	cell_or_none(a, cells, buf_to_arena(&b, a));
}

const struct strategy service_strategy = {
	.check_name = name_check_dns_label,
	.create_on_update = true,
	.delete_returns_obj = true,
	.set_defaults = service_defaults,
	.prepare_create = service_prepare_create,
	.prepare_update = service_prepare_update,
	.validate = service_validate,
	.validate_update = service_validate_update,
	.warn = service_warn,
	.commit = service_commit,
	.commit_delete = service_commit_delete,
	.cell = service_cell,
};
