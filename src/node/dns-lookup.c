/* SPDX-License-Identifier: Apache-2.0 */

/* Cluster names to records, as the Kubernetes DNS specification has them. */

#include <arpa/inet.h>

#include "api/meta.h"
#include "base/arena.h"
#include "node/dns-server.h"
#include "json/json.h"

/* Cuts the last label off. */
static struct str dns_last_label(struct str *name)
{
	size_t i = name->n;
	struct str last;

	while (i > 0 && name->p[i - 1] != '.')
		i--;
	last = str_skip(*name, i);
	name->n = i ? i - 1 : 0;
	return last;
}

static bool dns_underscored(struct str *label)
{
	return str_strip_prefix(label, STR("_")) && label->n;
}

bool dns_cluster_name_parse(struct str name, struct dns_cluster_name *ret)
{
	struct str kind, rest = name;

	*ret = (struct dns_cluster_name){ 0 };
	if (!str_strip_suffix(&rest, STR("." CLUSTER_DOMAIN)))
		return false;
	kind = dns_last_label(&rest);
	ret->ns = dns_last_label(&rest);
	if (str_eqz(kind, "pod")) {
		ret->pod_ip = rest;
		return ret->ns.n && rest.n;
	}
	if (!str_eqz(kind, "svc") || !ret->ns.n)
		return false;
	ret->service = dns_last_label(&rest);
	if (!rest.n)
		return ret->service.n > 0;
	ret->proto = rest;
	if (str_cut(&ret->proto, '.', &ret->port) && dns_underscored(&ret->port) &&
	    dns_underscored(&ret->proto))
		return true;
	ret->port = ret->proto = (struct str){ NULL, 0 };
	ret->host = rest;
	return true;
}

static void dns_add_ip(struct arena *a, struct dns_records *r, struct str ip)
{
	struct dns_record rec = { .type = DNS_A };

	if (r->n >= DNS_RECORDS_MAX || inet_pton(AF_INET, arena_strz(a, ip), rec.ip) != 1)
		return;
	for (size_t i = 0; i < r->n; i++)
		if (r->v[i].type == DNS_A && !memcmp(r->v[i].ip, rec.ip, 4))
			return;
	r->v[r->n++] = rec;
}

/* An endpoint's first label: the hostname it asked for, or its address with dashes. */
static struct str dns_endpoint_label(struct arena *a, const struct json *ep, struct str ip)
{
	struct str host = json_str_at(ep, "hostname");
	char *z;

	if (host.n)
		return host;
	z = arena_strz(a, ip);
	for (char *p = z; *p; p++)
		if (*p == '.')
			*p = '-';
	return str_from(z);
}

/* Ready endpoints of a Service, all or the one with that label. */
static void dns_add_endpoints(struct arena *a, struct dns_records *r, struct str host,
			      const struct json *slices)
{
	json_for_each(sl, slices)
	{
		json_for_each(ep, json_get(sl.val, "endpoints"))
		{
			if (!json_bool_at(ep.val, "conditions.ready", true))
				continue;
			json_for_each(it, json_get(ep.val, "addresses"))
			{
				struct str ip = json_as_str(it.val);

				if (!host.n || str_eq(host, dns_endpoint_label(a, ep.val, ip)))
					dns_add_ip(a, r, ip);
			}
		}
	}
}

static bool dns_port_matches(const struct json *port, const struct dns_cluster_name *name)
{
	struct str proto = json_str_at(port, "protocol");

	return str_eq(json_str_at(port, "name"), name->port) &&
	       str_eq_nocase(proto.n ? proto : STR("tcp"), name->proto);
}

static void dns_add_srv(struct dns_records *r, int64_t port, struct str target)
{
	if (r->n < DNS_RECORDS_MAX)
		r->v[r->n++] = (struct dns_record){ .type = DNS_SRV,
						    .port = (uint16_t)port,
						    .target = target };
}

/* One for each endpoint. */
static void dns_add_srv_headless(struct arena *a, struct dns_records *r,
				 const struct dns_cluster_name *name, const struct json *slice,
				 int64_t port)
{
	json_for_each(ep, json_get(slice, "endpoints"))
	{
		if (!json_bool_at(ep.val, "conditions.ready", true))
			continue;
		json_for_each(it, json_get(ep.val, "addresses"))
		{
			struct str label = dns_endpoint_label(a, ep.val, json_as_str(it.val));

			dns_add_srv(r, port,
				    arena_fmt(a, "%.*s.%.*s.%.*s.svc." CLUSTER_DOMAIN,
					      STR_ARG(label), STR_ARG(name->service),
					      STR_ARG(name->ns)));
		}
	}
}

static void dns_add_srvs(struct arena *a, struct dns_records *r,
			 const struct dns_cluster_name *name, const struct json *service,
			 const struct json *slices)
{
	struct str target = arena_fmt(a, "%.*s.%.*s.svc." CLUSTER_DOMAIN, STR_ARG(name->service),
				      STR_ARG(name->ns));

	if (!str_eqz(json_str_at(service, "spec.clusterIP"), "None")) {
		json_for_each(it, json_at(service, "spec.ports"))
		{
			if (dns_port_matches(it.val, name))
				dns_add_srv(r, json_int_at(it.val, "port", 0), target);
		}
		return;
	}
	json_for_each(sl, slices)
	{
		json_for_each(it, json_get(sl.val, "ports"))
		{
			if (dns_port_matches(it.val, name))
				dns_add_srv_headless(a, r, name, sl.val,
						     json_int_at(it.val, "port", 0));
		}
	}
}

static struct dns_records dns_of_pod_ip(struct arena *a, struct str dashed, struct dns_records r)
{
	char *ip = arena_strz(a, dashed);

	for (char *p = ip; *p; p++)
		if (*p == '-')
			*p = '.';
	dns_add_ip(a, &r, str_from(ip));
	return r;
}

static void dns_of_service(struct arena *a, struct dns_records *r,
			   const struct dns_cluster_name *name, const struct json *service,
			   const struct json *slices)
{
	struct str ip = json_str_at(service, "spec.clusterIP");
	bool external = str_eqz(json_str_at(service, "spec.type"), "ExternalName");
	struct str target = json_str_at(service, "spec.externalName");

	if (external) {
		str_strip_suffix(&target, STR("."));
		if (target.n && !name->host.n && !name->port.n)
			r->v[r->n++] = (struct dns_record){ .type = DNS_CNAME, .target = target };
	} else if (name->port.n) {
		dns_add_srvs(a, r, name, service, slices);
	} else if (str_eqz(ip, "None") || name->host.n) {
		dns_add_endpoints(a, r, name->host, slices);
	} else {
		dns_add_ip(a, r, ip);
	}
}

struct dns_records dns_lookup(struct arena *a, const struct dns_cluster_name *name,
			      enum dns_type type, const struct json *service,
			      const struct json *slices)
{
	struct dns_records r = { .v = arena_array(a, DNS_RECORDS_MAX, sizeof(*r.v)) };

	if (name->pod_ip.n)
		r = dns_of_pod_ip(a, name->pod_ip, r);
	else if (service)
		dns_of_service(a, &r, name, service, slices);
	if (!r.n) {
		r.rcode = DNS_NXDOMAIN;
		return r;
	}
	/* the name exists, this type of it does not; an alias is one for every type */
	if (type != DNS_ANY && r.v[0].type != type && r.v[0].type != DNS_CNAME)
		r.n = 0;
	return r;
}

/* addresses to names */

bool dns_reverse_name(struct arena *a, struct str name, struct str *ret_ip)
{
	struct str part[4], rest = name;
	uint8_t ip[4];

	if (!str_strip_suffix(&rest, STR(".in-addr.arpa")))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(part); i++)
		part[i] = dns_last_label(&rest);
	if (rest.n)
		return false;
	*ret_ip = arena_fmt(a, "%.*s.%.*s.%.*s.%.*s", STR_ARG(part[0]), STR_ARG(part[1]),
			    STR_ARG(part[2]), STR_ARG(part[3]));
	return inet_pton(AF_INET, arena_strz(a, *ret_ip), ip) == 1;
}

static void dns_add_ptr(struct dns_records *r, struct str target)
{
	if (!r->n)
		r->v[r->n++] = (struct dns_record){ .type = DNS_PTR, .target = target };
}

static void dns_reverse_slice(struct arena *a, struct dns_records *r, struct str ip,
			      const struct json *slice)
{
	struct str service = meta_label(slice, "kubernetes.io/service-name");

	json_for_each(ep, json_get(slice, "endpoints"))
	{
		json_for_each(it, json_get(ep.val, "addresses"))
		{
			struct str label;

			if (!service.n || !str_eq(json_as_str(it.val), ip))
				continue;
			label = dns_endpoint_label(a, ep.val, ip);
			dns_add_ptr(r, arena_fmt(a, "%.*s.%.*s.%.*s.svc." CLUSTER_DOMAIN,
						 STR_ARG(label), STR_ARG(service),
						 STR_ARG(meta_namespace(slice))));
		}
	}
}

struct dns_records dns_reverse(struct arena *a, struct str ip, const struct json *services,
			       const struct json *slices)
{
	struct dns_records r = { .v = arena_new_obj(a, struct dns_record) };

	json_for_each(it, services) dns_add_ptr(&r, arena_fmt(a, "%.*s.%.*s.svc." CLUSTER_DOMAIN,
							      STR_ARG(meta_name(it.val)),
							      STR_ARG(meta_namespace(it.val))));
	json_for_each(it, slices) dns_reverse_slice(a, &r, ip, it.val);
	r.rcode = r.n ? DNS_NOERROR : DNS_NXDOMAIN;
	return r;
}

bool dns_cidr_has(struct arena *a, struct str cidr, struct str ip)
{
	struct in_addr net, addr;
	uint64_t bits;
	struct str head;

	if (!str_cut(&cidr, '/', &head) || !str_to_u64(cidr, &bits) || bits > 32 ||
	    inet_pton(AF_INET, arena_strz(a, head), &net) != 1 ||
	    inet_pton(AF_INET, arena_strz(a, ip), &addr) != 1)
		return false;
	return !bits || !((ntohl(net.s_addr) ^ ntohl(addr.s_addr)) >> (32 - bits));
}
