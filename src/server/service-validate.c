/* SPDX-License-Identifier: Apache-2.0 */

/* Validation of Services, and of the addresses behind them. */

#include "server/service-validate.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "api/names.h"
#include "base/arena.h"
#include "server/cidr.h"
#include "server/request.h"
#include "server/resource-names.h"
#include "server/server.h"
#include "server/service-cidr.h"
#include "server/valid.h"
#include "server/workload.h"
#include "json/json.h"

#define PORT_FIRST      30000
#define PORT_LAST       32767
#define AFFINITY_MAX    86400
#define SLICE_ENDPOINTS 1000
#define SLICE_ADDRESSES 100

static bool service_is(const struct json *obj, const char *type)
{
	return str_eqz(json_str_at(obj, "spec.type"), type);
}

static bool service_headless(const struct json *obj)
{
	return str_eqz(json_as_str(json_idx(json_at(obj, "spec.clusterIPs"), 0)), "None");
}

static bool ip_is_six(struct str ip)
{
	return str_find_char(ip, ':', 0) < ip.n;
}

/* ---- addresses nobody may route to */

static bool ip_in(struct str ip, const char *range)
{
	struct cidr outer, inner;
	char text[64];

	if (ip.n > 45)
		return false;
	snprintf(text, sizeof(text), STR_FMT "/%d", STR_ARG(ip), ip_is_six(ip) ? 128 : 32);
	return cidr_parse(str_from(range), &outer) && cidr_parse(str_from(text), &inner) &&
	       cidr_has(&outer, &inner, false);
}

static void ip_not_special(const struct valid *v, const struct place *p, struct str ip)
{
	static const struct {
		const char *four, *six, *text;
	} ranges[] = {
		{ "0.0.0.0/32", "::/128", "may not be unspecified (0.0.0.0 or ::)" },
		{ "127.0.0.0/8", "::1/128",
		  "may not be in the loopback range (127.0.0.0/8, ::1/128)" },
		{ "169.254.0.0/16", "fe80::/10",
		  "may not be in the link-local range (169.254.0.0/16, fe80::/10)" },
		{ "224.0.0.0/24", "ff02::/10",
		  "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)" },
	};

	for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
		if (v->loopback_ok && i == 1)
			continue;
		if (ip_in(ip, ip_is_six(ip) ? ranges[i].six : ranges[i].four))
			valid_invalid_str(v, p, ip, "%s", ranges[i].text);
	}
}

/* A server that is itself only on its machine's loopback has its nodes and their Pods there. */
static bool loopback_ok(const struct api_request *rq)
{
	return ip_in(rq->server->advertise_ip, "127.0.0.0/8");
}

/* ---- ports */

/* As Go prints the key it compares by. */
static struct json *port_shown(const struct valid *v, const struct json *port)
{
	struct json *o = json_object(v->a);

	json_set_str(v->a, o, "Name", STR_EMPTY);
	json_set_str(v->a, o, "Protocol", json_str_at(port, "protocol"));
	json_set(v->a, o, "AppProtocol", json_null(v->a));
	json_set_int(v->a, o, "Port", json_int_at(port, "port", 0));
	json_set_int(v->a, o, "TargetPort", 0);
	json_set_int(v->a, o, "NodePort", 0);
	return o;
}

static void port_target(const struct valid *v, const struct json *port, const struct place *p)
{
	const struct json *t = json_get(port, "targetPort");
	struct str app = json_str_at(port, "appProtocol");

	if (json_is(t, JSON_STR))
		valid_port_name(v, AT(p, "targetPort"), json_as_str(t));
	else if (t)
		valid_port(v, AT(p, "targetPort"), json_as_int(t, 0));
	if (json_get(port, "appProtocol"))
		valid_name(v, AT(p, "appProtocol"), app, name_check_qualified);
}

/* What earlier ports have: "n" and a name, "p" or "h" with a protocol and a number. */
static bool port_seen(const struct valid *v, struct json *seen, struct str what)
{
	if (json_get_s(seen, what))
		return true;
	json_set_s(v->a, seen, what, json_null(v->a));
	return false;
}

static bool port_number_seen(const struct valid *v, struct json *seen, const char *kind,
			     const struct json *port, int64_t n)
{
	struct str protocol = json_str_at(port, "protocol");

	return port_seen(
		v, seen,
		arena_fmt(v->a, "%s" STR_FMT "/%lld", kind, STR_ARG(protocol), (long long)n));
}

static void port_unique(const struct valid *v, struct json *seen, const struct json *port,
			const struct place *p)
{
	struct str name = json_str_at(port, "name");
	int64_t node = json_int_at(port, "nodePort", 0);
	bool name_dup = !str_empty(name) && port_seen(v, seen, arena_cat(v->a, STR("n"), name));
	bool port_dup = port_number_seen(v, seen, "p", port, json_int_at(port, "port", 0));
	bool node_dup = node && port_number_seen(v, seen, "h", port, node);

	if (name_dup)
		valid_duplicate(v, AT(p, "name"), json_get(port, "name"));
	if (port_dup)
		valid_duplicate(v, p, port_shown(v, port));
	if (node_dup)
		valid_invalid(v, AT(p, "nodePort"), json_get(port, "nodePort"),
			      "provided port is already allocated");
}

static void port_node(const struct valid *v, const struct json *obj, const struct json *port,
		      const struct place *p)
{
	const struct json *n = json_get(port, "nodePort");

	if (!json_as_int(n, 0))
		return;
	if (service_is(obj, "ClusterIP"))
		valid_forbidden(v, AT(p, "nodePort"), "may not be used when `type` is 'ClusterIP'");
	else if (json_as_int(n, 0) < PORT_FIRST || json_as_int(n, 0) > PORT_LAST)
		valid_invalid(v, AT(p, "nodePort"), n,
			      "provided port is not in the valid range. The range of valid ports "
			      "is 30000-32767");
}

static void ports_validate(const struct valid *v, const struct json *obj, const struct place *up)
{
	const struct json *ports = json_at(obj, "spec.ports");
	struct json *seen = json_object(v->a);
	const struct place *p = AT(up, "ports");

	if (!json_len(ports) && !service_is(obj, "ExternalName") && !service_headless(obj))
		valid_required(v, p, NULL);
	json_for_each(it, ports)
	{
		const struct place *at = AT_IDX(p, it.i);

		if (json_len(ports) > 1 && str_empty(json_str_at(it.val, "name")))
			valid_required(v, AT(at, "name"), NULL);
		port_target(v, it.val, at);
		port_unique(v, seen, it.val, at);
		port_node(v, obj, it.val, at);
	}
}

/* ---- cluster addresses */

static void families_validate(const struct valid *v, const struct json *spec, const struct place *p)
{
	static const char *const policies[] = { "PreferDualStack", "RequireDualStack",
						"SingleStack", NULL };
	static const char *const families[] = { "IPv4", "IPv6", NULL };
	const struct json *list = json_get(spec, "ipFamilies");
	bool selectorless_headless = !json_len(json_get(spec, "selector")) &&
				     str_eqz(json_str_at(spec, "clusterIP"), "None");

	valid_enum(v, AT(p, "ipFamilyPolicy"), json_get(spec, "ipFamilyPolicy"), policies);
	json_for_each(it, list)
	{
		const struct place *at = AT_IDX(AT(p, "ipFamilies"), it.i);

		valid_enum(v, at, it.val, families);
		if (str_eqz(json_as_str(it.val), "IPv6") && !selectorless_headless)
			valid_invalid(v, at, it.val, "not configured on this cluster");
	}
	if (str_eqz(json_str_at(spec, "ipFamilyPolicy"), "RequireDualStack") &&
	    !selectorless_headless)
		valid_invalid(v, AT(p, "ipFamilyPolicy"), json_get(spec, "ipFamilyPolicy"),
			      "this cluster is not configured for dual-stack services");
}

static void cluster_ips_validate(struct api_request *rq, const struct valid *v,
				 const struct json *obj, const struct place *up)
{
	const struct json *spec = json_get(obj, "spec"), *ips = json_get(spec, "clusterIPs");
	struct str ip = json_str_at(spec, "clusterIP"), first = json_as_str(json_idx(ips, 0));
	const struct place *p = AT(up, "clusterIPs"), *p0 = AT_IDX(p, 0);

	if (str_empty(ip) && json_len(ips))
		valid_invalid(v, p, ips, "must be empty when `clusterIP` is not specified");
	else if (json_len(ips) && !str_eq(ip, first))
		valid_invalid(v, p, ips, "first value must match `clusterIP`");
	if (json_len(ips) > 1)
		valid_invalid(v, p, ips, "may specify no more than one IP for each IP family");
	if (str_eqz(first, "None")) {
		if (!service_is(obj, "ClusterIP"))
			valid_invalid_str(v, p0, first,
					  "may not be set to 'None' for " STR_FMT " services",
					  STR_ARG(json_str_at(spec, "type")));
		return;
	}
	if (!json_len(ips) || !str_eq(ip, first) || json_len(ips) > 1)
		return;
	if (valid_ip(v, p0, first) && !service_cidr_has(rq->server->opts.service_cidr, first))
		valid_invalid(v, p, ips,
			      "failed to allocate IP " STR_FMT
			      ": the provided network does not match the current range",
			      STR_ARG(first));
}

/* ---- the rest of the spec */

static void external_name(const struct valid *v, const struct json *spec, const struct place *p)
{
	struct str name = json_str_at(spec, "externalName");

	str_strip_suffix(&name, STR("."));
	if (str_empty(name))
		valid_required(v, AT(p, "externalName"), NULL);
	else
		valid_name(v, AT(p, "externalName"), name, name_check_dns_subdomain);
}

static void source_ranges(const struct valid *v, const struct json *spec, bool balanced,
			  const struct place *up)
{
	const struct json *list = json_get(spec, "loadBalancerSourceRanges");
	const struct place *p = AT(up, "LoadBalancerSourceRanges");
	struct cidr c;

	if (json_len(list) && !balanced)
		valid_forbidden(v, p, "may only be used when `type` is 'LoadBalancer'");
	json_for_each(it, list)
	{
		cidr_validate(v, str_trim(json_as_str(it.val)), AT_IDX(p, it.i), &c);
	}
}

static void load_balancer(const struct valid *v, const struct json *obj, const struct place *p)
{
	const struct json *spec = json_get(obj, "spec"), *cls = json_get(spec, "loadBalancerClass");
	bool balanced = service_is(obj, "LoadBalancer");

	source_ranges(v, spec, balanced, p);
	if (json_get(spec, "allocateLoadBalancerNodePorts") && !balanced)
		valid_forbidden(v, AT(p, "allocateLoadBalancerNodePorts"),
				"may only be used when `type` is 'LoadBalancer'");
	if (!cls)
		return;
	if (!balanced)
		valid_forbidden(v, AT(p, "loadBalancerClass"),
				"may only be used when `type` is 'LoadBalancer'");
	else
		valid_name(v, AT(p, "loadBalancerClass"), json_as_str(cls), name_check_qualified);
}

static void policies_validate(const struct valid *v, const struct json *obj, const struct place *p)
{
	static const char *const distributions[] = { "PreferClose", "PreferSameZone",
						     "PreferSameNode", NULL };
	const struct json *spec = json_get(obj, "spec"),
			  *external = json_get(spec, "externalTrafficPolicy"),
			  *health = json_get(spec, "healthCheckNodePort");
	bool outside = service_is(obj, "NodePort") || service_is(obj, "LoadBalancer") ||
		       json_len(json_get(spec, "externalIPs"));
	bool local = service_is(obj, "LoadBalancer") && str_eqz(json_as_str(external), "Local");

	if (!str_empty(json_as_str(external)) && !outside)
		valid_invalid(v, AT(p, "externalTrafficPolicy"), external,
			      "may only be set for externally-accessible services");
	if (json_as_int(health, 0) && !local)
		valid_invalid(v, AT(p, "healthCheckNodePort"), health,
			      "may only be set when `type` is 'LoadBalancer' and "
			      "`externalTrafficPolicy` is 'Local'");
	valid_enum(v, AT(p, "trafficDistribution"), json_get(spec, "trafficDistribution"),
		   distributions);
}

static void affinity_validate(const struct valid *v, const struct json *spec,
			      const struct place *up)
{
	const struct json *n = json_at(spec, "sessionAffinityConfig.clientIP.timeoutSeconds");
	const struct place *p = AT(AT(up, "sessionAffinityConfig"), "clientIP");

	if (n && (json_as_int(n, 0) <= 0 || json_as_int(n, 0) > AFFINITY_MAX))
		valid_invalid(v, AT(p, "timeoutSeconds"), n,
			      "must be greater than 0 and less than %d", AFFINITY_MAX);
}

void service_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec");
	const struct place *p = AT(NULL, "spec");

	ports_validate(&v, obj, p);
	valid_labels(&v, AT(p, "selector"), json_get(spec, "selector"));
	affinity_validate(&v, spec, p);
	if (service_is(obj, "ExternalName")) {
		external_name(&v, spec, p);
	} else {
		cluster_ips_validate(rq, &v, obj, p);
		families_validate(&v, spec, p);
	}
	json_for_each(it, json_get(spec, "externalIPs"))
	{
		const struct place *at = AT_IDX(AT(p, "externalIPs"), it.i);

		if (valid_ip(&v, at, json_as_str(it.val)))
			ip_not_special(&v, at, json_as_str(it.val));
	}
	load_balancer(&v, obj, p);
	policies_validate(&v, obj, p);
}

void load_balancer_status_validate(const struct valid *v, const struct json *obj)
{
	const struct place *lb = AT(AT(NULL, "status"), "loadBalancer"), *list = AT(lb, "ingress");

	json_for_each(it, json_at(obj, "status.loadBalancer.ingress"))
	{
		const struct place *at = AT_IDX(list, it.i);
		struct str ip = json_str_at(it.val, "ip"), host = json_str_at(it.val, "hostname");

		if (!str_empty(ip))
			valid_ip(v, AT(at, "ip"), ip);
		if (!str_empty(host))
			valid_name(v, AT(at, "hostname"), host, name_check_dns_subdomain);
		if (!str_empty(host) && ip_is_valid(host))
			valid_invalid_str(v, AT(at, "hostname"), host,
					  "must be a DNS name, not an IP address");
	}
}

void service_validate_update(struct api_request *rq, const struct json *obj, const struct json *old,
			     struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *is = json_at(obj, "spec.clusterIPs"),
			  *was = json_at(old, "spec.clusterIPs");
	const struct place *p = AT(NULL, "spec");

	if (request_is_status(rq)) {
		load_balancer_status_validate(&v, obj);
		return;
	}
	if (json_len(was) && !service_is(obj, "ExternalName") &&
	    !json_equal(json_idx(is, 0), json_idx(was, 0)) &&
	    str_eq(json_str_at(obj, "spec.clusterIP"), json_as_str(json_idx(is, 0))))
		valid_invalid(&v, AT_IDX(AT(p, "clusterIPs"), 0), is, "may not change once set");
	if (!valid_same(json_at(obj, "spec.loadBalancerClass"),
			json_at(old, "spec.loadBalancerClass")) &&
	    service_is(old, "LoadBalancer") && service_is(obj, "LoadBalancer"))
		valid_invalid(&v, AT(p, "loadBalancerClass"),
			      json_at(obj, "spec.loadBalancerClass"), "may not change once set");
}

/* ---- Endpoints */

static void endpoint_address(const struct valid *v, const struct json *a, const struct place *p)
{
	struct str ip = json_str_at(a, "ip"), host = json_str_at(a, "hostname");
	const struct json *node = json_get(a, "nodeName");

	if (!valid_ip(v, AT(p, "ip"), ip) && !ip_is_valid(ip) && !ip_has_leading_zeros(ip))
		valid_invalid_str(v, AT(p, "ip"), ip, "must be a valid IP address");
	if (!str_empty(host))
		valid_name(v, AT(p, "hostname"), host, name_check_dns_label);
	if (node)
		valid_name(v, AT(p, "nodeName"), json_as_str(node), name_check_dns_subdomain);
	if (ip_is_valid(ip))
		ip_not_special(v, AT(p, "ip"), ip);
}

static void endpoint_ports(const struct valid *v, const struct json *ports, const struct place *p)
{
	static const char *const protocols[] = { "SCTP", "TCP", "UDP", NULL };

	json_for_each(it, ports)
	{
		const struct place *at = AT_IDX(p, it.i);
		struct str name = json_str_at(it.val, "name");

		if (str_empty(name) && json_len(ports) > 1)
			valid_required(v, AT(at, "name"), NULL);
		else if (!str_empty(name))
			valid_name(v, AT(at, "name"), name, name_check_dns_label);
		valid_port(v, AT(at, "port"), json_int_at(it.val, "port", 0));
		valid_enum(v, AT(at, "protocol"), json_get(it.val, "protocol"), protocols);
		if (json_get(it.val, "appProtocol"))
			valid_name(v, AT(at, "appProtocol"), json_str_at(it.val, "appProtocol"),
				   name_check_qualified);
	}
}

void endpoints_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	static const char *const lists[] = { "addresses", "notReadyAddresses" };
	const struct valid v = { rq->arena, e, loopback_ok(rq) };

	json_for_each(it, json_get(obj, "subsets"))
	{
		const struct place *at = AT_IDX(AT(NULL, "subsets"), it.i);
		size_t n = 0;

		for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
			n += json_len(json_get(it.val, lists[i]));
			json_for_each(a, json_get(it.val, lists[i]))
				endpoint_address(&v, a.val, AT_IDX(AT(at, lists[i]), a.i));
		}
		if (!n)
			valid_required(&v, at, "must specify `addresses` or `notReadyAddresses`");
		endpoint_ports(&v, json_get(it.val, "ports"), AT(at, "ports"));
	}
}

/* ---- EndpointSlice */

static void slice_address(const struct valid *v, struct str type, const struct json *address,
			  const struct place *list, size_t i)
{
	struct str ip = json_as_str(address);
	const struct place *at = AT_IDX(list, i);

	if (str_eqz(type, "FQDN")) {
		valid_name(v, at, ip, name_check_dns_subdomain);
		return;
	}
	if (str_eqz(type, "IPv6") ? !valid_ip_canonical(v, at, ip) : !valid_ip(v, at, ip))
		return;
	if (str_eqz(type, "IPv4") && ip_is_six(ip))
		valid_invalid_str(v, list, ip, "must be an IPv4 address");
	if (str_eqz(type, "IPv6") && !ip_is_six(ip))
		valid_invalid_str(v, list, ip, "must be an IPv6 address");
	ip_not_special(v, at, ip);
}

static void slice_endpoint(const struct valid *v, const struct json *obj, const struct json *ep,
			   const struct place *p)
{
	struct str type = json_str_at(obj, "addressType");
	const struct json *addresses = json_get(ep, "addresses");
	const struct place *list = AT(p, "addresses");

	if (!json_len(addresses))
		valid_required(v, list, "must contain at least 1 address");
	if (json_len(addresses) > SLICE_ADDRESSES)
		valid_too_many(v, list, json_len(addresses), SLICE_ADDRESSES);
	json_for_each(it, addresses) slice_address(v, type, it.val, list, it.i);
	if (json_get(ep, "hostname"))
		valid_name(v, AT(p, "hostname"), json_str_at(ep, "hostname"), name_check_dns_label);
	if (json_get(ep, "nodeName"))
		valid_name(v, AT(p, "nodeName"), json_str_at(ep, "nodeName"),
			   name_check_dns_subdomain);
}

static void slice_ports(const struct valid *v, const struct json *ports, const struct place *p)
{
	json_for_each(it, ports)
	{
		const struct place *at = AT_IDX(p, it.i);
		struct str name = json_str_at(it.val, "name");

		if (!str_empty(name))
			valid_name(v, AT(at, "name"), name, name_check_dns_label);
		for (size_t k = 0; k < it.i && k < SLICE_ADDRESSES; k++) {
			if (!str_eq(json_str_at(json_idx(ports, k), "name"), name))
				continue;
			valid_duplicate(v, AT(at, "name"), json_get(it.val, "name"));
			break;
		}
		if (json_get(it.val, "appProtocol"))
			valid_name(v, AT(at, "appProtocol"), json_str_at(it.val, "appProtocol"),
				   name_check_qualified);
	}
}

void endpointslice_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e, loopback_ok(rq) };
	const struct json *endpoints = json_get(obj, "endpoints");
	const struct place *p = AT(NULL, "endpoints");

	if (json_len(endpoints) > SLICE_ENDPOINTS)
		valid_too_many(&v, p, json_len(endpoints), SLICE_ENDPOINTS);
	json_for_each(it, endpoints) slice_endpoint(&v, obj, it.val, AT_IDX(p, it.i));
	slice_ports(&v, json_get(obj, "ports"), AT(NULL, "ports"));
}

void endpointslice_validate_update(struct api_request *rq, const struct json *obj,
				   const struct json *old, struct err **e)
{
	const struct valid v = { rq->arena, e };

	valid_immutable(&v, AT(NULL, "addressType"), json_get(obj, "addressType"),
			json_get(old, "addressType"));
}
