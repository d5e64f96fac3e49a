/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One chain per Service port, reached by a map from address, protocol and port, so that the cost of
 * a packet does not grow with the number of Services:
 *
 *     prerouting, output -> @services -> svc-HASH: dnat to one of its endpoints
 *                        -> @nodeports -> ext-HASH: mark for masquerade -> svc-HASH
 *     a Service without endpoints is in @empty and refused
 */

#include "node/services.h"

#include <arpa/inet.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/encode.h"
#include "json/json.h"

#define MASQUERADE_MARK "0x4000"

struct endpoint {
	struct str ip;
	int64_t port;
};

struct endpoints {
	struct endpoint *v;
	size_t n, cap;
};

/* Parts of the ruleset that are collected side by side. */
struct ruleset {
	struct arena *a;
	struct buf services, nodeports, empty, hairpin, chains;
};

/* What goes into the text of rules is checked here, whoever wrote it into the API. */
static bool is_ipv4(struct str s)
{
	char z[INET_ADDRSTRLEN];
	struct in_addr in;

	if (s.n >= sizeof(z))
		return false;
	memcpy(z, s.p, s.n);
	z[s.n] = '\0';
	return inet_pton(AF_INET, z, &in) == 1;
}

static bool is_port(int64_t port)
{
	return port > 0 && port < 65536;
}

static void endpoints_add(struct arena *a, struct endpoints *eps, struct str ip, int64_t port)
{
	for (size_t i = 0; i < eps->n; i++)
		if (str_eq(eps->v[i].ip, ip) && eps->v[i].port == port)
			return;
	if (eps->n == eps->cap) {
		size_t cap = eps->cap ? eps->cap * 2 : 8;
		struct endpoint *v = arena_array(a, cap, sizeof(*v));

		if (eps->n)
			memcpy(v, eps->v, eps->n * sizeof(*v));
		eps->v = v;
		eps->cap = cap;
	}
	eps->v[eps->n++] = (struct endpoint){ ip, port };
}

static struct str service_protocol(const struct json *port)
{
	struct str p = json_str_at(port, "protocol");

	if (str_eqz(p, "UDP"))
		return STR("udp");
	return str_eqz(p, "SCTP") ? STR("sctp") : STR("tcp");
}

static int64_t slice_port(const struct json *slice, const struct json *port)
{
	json_for_each(
		it, json_get(slice, "ports")) if (str_eq(json_str_at(it.val, "name"),
							 json_str_at(port, "name")) &&
						  str_eq(service_protocol(it.val),
							 service_protocol(
								 port))) return json_int_at(it.val,
											    "port",
											    0);
	return 0;
}

/* Ready ones; without any, those that still serve while they end, as upstream. */
static void endpoints_of_slice(struct arena *a, const struct json *slice, int64_t port,
			       bool terminating, struct endpoints *eps)
{
	json_for_each(ep, json_get(slice, "endpoints"))
	{
		bool ready = json_bool_at(ep.val, "conditions.ready", true);
		bool serving = json_bool_at(ep.val, "conditions.serving", ready);
		bool ends = json_bool_at(ep.val, "conditions.terminating", false);

		if (terminating ? !(serving && ends) : !ready)
			continue;
		json_for_each(addr, json_get(ep.val, "addresses"))
		{
			if (is_ipv4(json_as_str(addr.val)))
				endpoints_add(a, eps, json_as_str(addr.val), port);
		}
	}
}

static struct endpoints endpoints_of_port(struct arena *a, const struct services_input *in,
					  const struct json *svc, const struct json *port)
{
	struct endpoints eps = { 0 };

	for (int terminating = 0; terminating < 2 && !eps.n; terminating++) {
		json_for_each(it, in->slices)
		{
			int64_t target = slice_port(it.val, port);

			if (!is_port(target) ||
			    !str_eq(meta_namespace(it.val), meta_namespace(svc)) ||
			    !str_eq(meta_label(it.val, "kubernetes.io/service-name"),
				    meta_name(svc)))
				continue;
			endpoints_of_slice(a, it.val, target, terminating != 0, &eps);
		}
	}
	return eps;
}

static void ruleset_chain(struct ruleset *rs, const char *id, struct str proto, bool sticky,
			  const struct endpoints *eps)
{
	buf_addf(&rs->chains, "\tchain svc-%s {\n\t\tmeta l4proto %.*s dnat ip to ", id,
		 STR_ARG(proto));
	if (eps->n == 1) {
		buf_addf(&rs->chains, "%.*s:%lld", STR_ARG(eps->v[0].ip),
			 (long long)eps->v[0].port);
	} else {
		buf_addf(&rs->chains, "%s mod %zu map { ",
			 sticky ? "jhash ip saddr" : "numgen random", eps->n);
		for (size_t i = 0; i < eps->n; i++)
			buf_addf(&rs->chains, "%s%zu : %.*s . %lld", i ? ", " : "", i,
				 STR_ARG(eps->v[i].ip), (long long)eps->v[i].port);
		buf_addz(&rs->chains, " }");
	}
	buf_addz(&rs->chains, "\n\t}\n");
	for (size_t i = 0; i < eps->n; i++)
		buf_addf(&rs->hairpin, "%s%.*s . %.*s", rs->hairpin.n ? ", " : "",
			 STR_ARG(eps->v[i].ip), STR_ARG(eps->v[i].ip));
}

static void ruleset_port(struct ruleset *rs, const struct services_input *in,
			 const struct json *svc, struct str ip, const struct json *port)
{
	struct endpoints eps = endpoints_of_port(rs->a, in, svc, port);
	struct str proto = service_protocol(port);
	long long number = (long long)json_int_at(port, "port", 0);
	long long node_port = (long long)json_int_at(port, "nodePort", 0);
	struct str key =
		arena_fmt(rs->a, "%.*s . %.*s . %lld", STR_ARG(ip), STR_ARG(proto), number);
	struct str full = arena_fmt(rs->a, "%.*s/%.*s %.*s", STR_ARG(meta_namespace(svc)),
				    STR_ARG(meta_name(svc)), STR_ARG(key));
	const char *id = arena_fmt(rs->a, "%.*s", 16, sha256_hex(rs->a, full).p).p;

	if (!is_port(number))
		return;
	if (!eps.n) {
		buf_addf(&rs->empty, "%s%.*s", rs->empty.n ? ", " : "", STR_ARG(key));
		return;
	}
	ruleset_chain(rs, id, proto, str_eqz(json_str_at(svc, "spec.sessionAffinity"), "ClientIP"),
		      &eps);
	buf_addf(&rs->services, "%s\n\t\t\t%.*s : goto svc-%s", rs->services.n ? "," : "",
		 STR_ARG(key), id);
	if (!is_port(node_port))
		return;
	buf_addf(&rs->chains,
		 "\tchain ext-%s {\n\t\tmeta mark set meta mark or " MASQUERADE_MARK
		 " goto svc-%s\n\t}\n",
		 id, id);
	buf_addf(&rs->nodeports, "%s\n\t\t\t%.*s . %lld : goto ext-%s", rs->nodeports.n ? "," : "",
		 STR_ARG(proto), node_port, id);
}

static void ruleset_set(struct buf *b, const char *kind, const char *name, const char *type,
			const struct buf *elements)
{
	buf_addf(b, "\t%s %s { type %s;", kind, name, type);
	if (elements->n)
		buf_addf(b, " elements = { %s }", elements->p);
	buf_addz(b, " }\n");
}

/* A reset, not ICMP, for TCP: the kernel sends no ICMP error back over the bridge it came from. */
static void ruleset_refuse(struct buf *b, const char *hook)
{
	buf_addf(b,
		 "\tchain refuse-%s { type filter hook %s priority -1; policy accept;\n"
		 "\t\tmeta l4proto tcp ip daddr . meta l4proto . th dport @empty reject with tcp "
		 "reset\n"
		 "\t\tip daddr . meta l4proto . th dport @empty reject\n\t}\n",
		 hook, hook);
}

static struct str ruleset_text(const struct services_input *in, const struct ruleset *rs)
{
	_cleanup_buf_ struct buf b = { 0 };
	static const char dispatch[] =
		"\t\tip daddr . meta l4proto . th dport vmap @services\n"
		"\t\tfib daddr type local meta l4proto . th dport vmap @nodeports\n";

	buf_addf(&b, "table ip %.*s\ndelete table ip %.*s\ntable ip %.*s {\n", STR_ARG(in->table),
		 STR_ARG(in->table), STR_ARG(in->table));
	ruleset_set(&b, "set", "hairpin", "ipv4_addr . ipv4_addr", &rs->hairpin);
	ruleset_set(&b, "set", "empty", "ipv4_addr . inet_proto . inet_service", &rs->empty);
	ruleset_set(&b, "map", "services", "ipv4_addr . inet_proto . inet_service : verdict",
		    &rs->services);
	ruleset_set(&b, "map", "nodeports", "inet_proto . inet_service : verdict", &rs->nodeports);
	buf_addf(&b,
		 "\tchain prerouting { type nat hook prerouting priority dstnat; policy accept;\n"
		 "%s\t}\n",
		 dispatch);
	buf_addf(&b, "\tchain output { type nat hook output priority -100; policy accept;\n%s\t}\n",
		 dispatch);
	buf_addz(&b, "\tchain postrouting { type nat hook postrouting priority srcnat; policy "
		     "accept;\n\t\tmeta mark and " MASQUERADE_MARK " == " MASQUERADE_MARK
		     " masquerade\n\t\tct status dnat ip saddr . ip daddr @hairpin masquerade\n");
	buf_addf(&b,
		 "\t\tip saddr %.*s ip daddr != { %.*s, 224.0.0.0/4 } oifname != \"%.*s\" "
		 "masquerade\n",
		 STR_ARG(in->pod_cidr), STR_ARG(in->cluster_cidr), STR_ARG(in->bridge));
	if (!in->bridge_netfilter)
		buf_addf(&b, "\t\tct status dnat ip saddr %.*s oifname \"%.*s\" masquerade\n",
			 STR_ARG(in->pod_cidr), STR_ARG(in->bridge));
	buf_addz(&b, "\t}\n");
	ruleset_refuse(&b, "forward");
	ruleset_refuse(&b, "output");
	if (rs->chains.n)
		buf_add(&b, buf_str(&rs->chains));
	buf_addz(&b, "}\n");
	return buf_to_arena(&b, rs->a);
}

struct str services_render(struct arena *a, const struct services_input *in)
{
	struct ruleset rs = { .a = a };
	struct str text;

	json_for_each(svc, in->services)
	{
		struct str ip = json_str_at(svc.val, "spec.clusterIP");

		if (!is_ipv4(ip) || str_eqz(json_str_at(svc.val, "spec.type"), "ExternalName"))
			continue;
		json_for_each(port, json_at(svc.val, "spec.ports"))
			ruleset_port(&rs, in, svc.val, ip, port.val);
	}
	text = ruleset_text(in, &rs);
	buf_fini(&rs.services);
	buf_fini(&rs.nodeports);
	buf_fini(&rs.empty);
	buf_fini(&rs.hairpin);
	buf_fini(&rs.chains);
	return text;
}
