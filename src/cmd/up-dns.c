/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Service kube-system/kube-dns: where tools look for cluster DNS. Pods are told the node's address
 * (node/dns.c); this is a second way to the same server, at the Service address usual for it.
 */
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "client/rest.h"
#include "cmd/up.h"
#include "io/fiber.h"
#include "json/json.h"
#include "json/yaml.h"

#define DNS_NS "kube-system"

static const struct gvr gvr_services = GVR("", "v1", "services");
static const struct gvr gvr_slices = GVR("discovery.k8s.io", "v1", "endpointslices");

static const char dns_service[] = "apiVersion: v1\n"
				  "kind: Service\n"
				  "metadata:\n"
				  "  name: kube-dns\n"
				  "  labels:\n"
				  "    k8s-app: kube-dns\n"
				  "    kubernetes.io/cluster-service: \"true\"\n"
				  "    kubernetes.io/name: CoreDNS\n"
				  "spec:\n"
				  "  clusterIP: " STR_FMT ".10\n"
				  "  ports:\n"
				  "  - {name: dns, port: 53, protocol: UDP}\n"
				  "  - {name: dns-tcp, port: 53, protocol: TCP}\n";

static const char dns_slice[] = "apiVersion: discovery.k8s.io/v1\n"
				"kind: EndpointSlice\n"
				"metadata:\n"
				"  name: kube-dns\n"
				"  labels:\n"
				"    k8s-app: kube-dns\n"
				"    kubernetes.io/service-name: kube-dns\n"
				"addressType: IPv4\n"
				"ports:\n"
				"- {name: dns, port: 53, protocol: UDP}\n"
				"- {name: dns-tcp, port: 53, protocol: TCP}\n"
				"endpoints:\n"
				"- addresses: [" STR_FMT "]\n"
				"  conditions: {ready: true}\n";

static struct err *dns_create(struct up *u, struct arena *a, struct gvr r, struct str yaml)
{
	struct json *obj;
	struct err *e;

	TRY(yaml_parse(a, yaml, &obj));
	e = client_create(u->admin, a, r, STR(DNS_NS), obj, NULL);
	if (err_is(e, ERR_ALREADY_EXISTS)) {
		err_ignore(e, "made by an earlier run, or by the user");
		return NULL;
	}
	return e;
}

static struct err *dns_create_all(struct up *u, struct arena *a)
{
	struct str net = u->inst.service_ip;

	while (net.n && net.p[net.n - 1] != '.')
		net.n--;
	net.n -= net.n > 0;
	TRY(dns_create(u, a, gvr_services, arena_fmt(a, dns_service, STR_ARG(net))));
	return dns_create(u, a, gvr_slices, arena_fmt(a, dns_slice, STR_ARG(u->inst.node_ip)));
}

struct err *up_dns(struct up *u)
{
	int64_t pause_ms = 50;

	for (;;) {
		struct arena *a = arena_new();
		struct err *e = dns_create_all(u, a);
		bool never = err_is(e, ERR_INVALID);

		arena_free(a);
		TRY(fiber_check());
		if (!e)
			return NULL;
		err_log(NULL, never || pause_ms > 1000 ? LOG_WARN : LOG_DEBUG,
			"Service kube-dns was not made", e);
		if (never)
			return NULL;
		TRY(fiber_sleep_ms(pause_ms));
		pause_ms = MIN(pause_ms * 2, (int64_t)5000);
	}
}
