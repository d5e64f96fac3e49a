/* SPDX-License-Identifier: Apache-2.0 */

/* Cluster names to records, as the Kubernetes DNS specification has them. */

#include <arpa/inet.h>

#include "api/meta.h"
#include "base/arena.h"
#include "node/dns-server.h"
#include "json/json.h"

#define RECORDS_MAX 64

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

static void dns_add_ip(struct arena *a, struct dns_records *r, struct str ip, struct str owner)
{
	struct dns_record rec = { .type = DNS_A, .name = owner };

	if (r->n < RECORDS_MAX && inet_pton(AF_INET, arena_strz(a, ip), rec.ip) == 1)
		r->v[r->n++] = rec;
}

/* Ready endpoints of a headless Service, all or the one with that hostname. */
static void dns_add_endpoints(struct arena *a, struct dns_records *r, struct str host,
			      const struct json *slices)
{
	json_for_each(sl, slices)
	{
		json_for_each(ep, json_get(sl.val, "endpoints"))
		{
			if (!json_bool_at(ep.val, "conditions.ready", true) ||
			    (host.n && !str_eq(host, json_str_at(ep.val, "hostname"))))
				continue;
			json_for_each(addr, json_get(ep.val, "addresses"))
				dns_add_ip(a, r, json_as_str(addr.val), STR_EMPTY);
		}
	}
}

static void dns_add_srv(struct arena *a, struct dns_records *r, const struct dns_cluster_name *name,
			const struct json *service)
{
	json_for_each(it, json_at(service, "spec.ports"))
	{
		struct str proto = json_str_at(it.val, "protocol");
		struct dns_record rec = { .type = DNS_SRV };

		if (!str_eq(json_str_at(it.val, "name"), name->port) ||
		    !str_eq_nocase(proto.n ? proto : STR("tcp"), name->proto))
			continue;
		rec.port = (uint16_t)json_int_at(it.val, "port", 0);
		rec.target = arena_fmt(a, "%.*s.%.*s.svc." CLUSTER_DOMAIN, STR_ARG(name->service),
				       STR_ARG(name->ns));
		if (r->n < RECORDS_MAX)
			r->v[r->n++] = rec;
	}
}

static struct dns_records dns_of_pod_ip(struct arena *a, struct str dashed, enum dns_type type,
					struct dns_records r)
{
	char *ip = arena_strz(a, dashed);

	for (char *p = ip; *p; p++)
		if (*p == '-')
			*p = '.';
	dns_add_ip(a, &r, str_from(ip), STR_EMPTY);
	if (!r.n)
		r.rcode = DNS_NXDOMAIN;
	if (type != DNS_A && type != DNS_ANY)
		r.n = 0;
	return r;
}

struct dns_records dns_lookup(struct arena *a, const struct dns_cluster_name *name,
			      enum dns_type type, const struct json *service,
			      const struct json *slices)
{
	struct dns_records r = { .v = arena_array(a, RECORDS_MAX, sizeof(*r.v)) };
	struct str ip = json_str_at(service, "spec.clusterIP");

	if (name->pod_ip.n)
		return dns_of_pod_ip(a, name->pod_ip, type, r);
	if (!service) {
		r.rcode = DNS_NXDOMAIN;
		return r;
	}
	if (name->port.n) {
		dns_add_srv(a, &r, name, service);
	} else if (str_eqz(json_str_at(service, "spec.type"), "ExternalName")) {
		r.v[r.n++] = (struct dns_record){
			.type = DNS_CNAME,
			.target = json_str_at(service, "spec.externalName"),
		};
		return r;
	} else if (str_eqz(ip, "None")) {
		dns_add_endpoints(a, &r, name->host, slices);
	} else if (!name->host.n) {
		dns_add_ip(a, &r, ip, STR_EMPTY);
	}
	if (!r.n && (name->host.n || name->port.n))
		r.rcode = DNS_NXDOMAIN;
	/* the name exists, this type of it does not */
	if (type != DNS_ANY && r.n && r.v[0].type != type)
		r.n = 0;
	return r;
}
