/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/handler/net-plan.h"

#include <arpa/inet.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "virt/launcher-api.h"
#include "virt/mapping/vmi.h"
#include "json/json.h"

#define NET_VM_CIDR    "10.0.2.0/24"
#define NET_BRIDGE_MAC "02:00:00:00:00:00"

struct net {
	struct arena *a;
	const struct json *vmi, *addrs, *routes;
	struct buf *script;
	struct json *ifaces, *dhcp;
};

/* One interface while it is planned. */
struct net_iface {
	struct str name, pod_nic, bridge, tap, nic; /* nic: what the Pod's NIC is renamed to */
	const struct json *spec, *network, *host;   /* host: the Pod's NIC in addrs */
	unsigned index;
};

/* Names as upstream makes them: k6t-eth0, tap0, eth0-nic; k6t-<hash>, tap<hash>, <hash>-nic. */
static void net_names(struct arena *a, struct net_iface *n)
{
	struct str tail = n->pod_nic;
	bool primary = str_eqz(tail, "eth0");

	if (!primary)
		str_strip_prefix(&tail, STR("pod"));
	n->bridge = arena_fmt(a, "k6t-" STR_FMT, STR_ARG(tail));
	n->tap = primary ? STR("tap0") : arena_fmt(a, "tap" STR_FMT, STR_ARG(tail));
	n->nic = arena_fmt(a, STR_FMT "-nic", STR_ARG(tail));
}

/* The guest's MAC where nothing gives one: the same for this VM on every start. */
static struct str net_make_mac(struct net *net, struct str iface)
{
	struct str seed = arena_fmt(net->a, STR_FMT "/" STR_FMT "/" STR_FMT "/" STR_FMT,
				    STR_ARG(json_str_at(net->vmi, "spec.domain.firmware.uuid")),
				    STR_ARG(meta_namespace(net->vmi)), STR_ARG(meta_name(net->vmi)),
				    STR_ARG(iface));
	uint8_t h[32];

	sha256(seed, h);
	return arena_fmt(net->a, "02:%02x:%02x:%02x:%02x:%02x", h[0] | 1, h[1], h[2], h[3], h[4]);
}

static struct str net_mac(struct net *net, const struct net_iface *n, struct str dflt)
{
	struct str mac = json_str_at(n->spec, "macAddress");
	_cleanup_buf_ struct buf b = { 0 };

	if (str_empty(mac))
		return dflt;
	/* "-" is as good as ":" to people. */
	for (size_t i = 0; i < mac.n; i++)
		buf_addc(&b, mac.p[i] == '-' ? ':' : mac.p[i]);
	return buf_to_arena(&b, net->a);
}

/* The first IPv4 address of a NIC; prefix -1 when it has none. */
static struct str net_ipv4(const struct json *host, int64_t *ret_prefix)
{
	*ret_prefix = -1;
	json_for_each(it, json_get(host, "addr_info"))
	{
		if (!str_eqz(json_str_at(it.val, "family"), "inet"))
			continue;
		*ret_prefix = json_int_at(it.val, "prefixlen", 32);
		return json_str_at(it.val, "local");
	}
	return STR_EMPTY;
}

static struct json *net_ips(struct net *net, const struct json *host)
{
	struct json *ips = json_array(net->a);

	json_for_each(it, json_get(host, "addr_info"))
	{
		if (str_eqz(json_str_at(it.val, "scope"), "global"))
			json_push(ips, json_strcpy(net->a, json_str_at(it.val, "local")));
	}
	return ips;
}

static void net_add(struct net *net, const struct net_iface *n, struct str mac)
{
	struct json *o = json_object(net->a);

	json_set_str(net->a, o, "name", n->name);
	json_set_str(net->a, o, "tap", n->tap);
	json_set_str(net->a, o, "mac", mac);
	json_set_int(net->a, o, "mtu", json_int_at(n->host, "mtu", 1500));
	json_set_str(net->a, o, "podInterface", n->pod_nic);
	json_set(net->a, o, "ips", net_ips(net, n->host));
	json_push(net->ifaces, o);
}

static struct json *net_add_dhcp(struct net *net, const struct net_iface *n, struct str mac)
{
	static const char *const options[] = { "bootFileName", "tftpServerName", "ntpServers",
					       "privateOptions" };
	struct json *d = json_object(net->a);

	json_set_str(net->a, d, "ifname", n->bridge);
	json_set_str(net->a, d, "mac", mac);
	json_set_int(net->a, d, "mtu", json_int_at(n->host, "mtu", 1500));
	json_set_str(net->a, d, "hostname", vmi_hostname(net->a, net->vmi));
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		const struct json *v = json_path(n->spec, "dhcpOptions", options[i], NULL);

		if (v)
			json_set(net->a, d, options[i], json_copy(net->a, v));
	}
	json_push(net->dhcp, d);
	return d;
}

/* The bridge and the tap on it; whatever an interrupted run left goes first. */
static void net_bridge_script(struct net *net, const struct net_iface *n, const char *bridge_opts)
{
	long long mtu = (long long)json_int_at(n->host, "mtu", 1500);

	buf_addf(net->script,
		 "ip link del " STR_FMT " 2>/dev/null || :\n"
		 "ip link del " STR_FMT " 2>/dev/null || :\n"
		 "ip link add " STR_FMT " %s type bridge\n"
		 "ip link set " STR_FMT " mtu %lld up\n"
		 "ip tuntap add dev " STR_FMT " mode tap user %d\n"
		 "ip link set " STR_FMT " mtu %lld master " STR_FMT " up\n",
		 STR_ARG(n->tap), STR_ARG(n->bridge), STR_ARG(n->bridge), bridge_opts,
		 STR_ARG(n->bridge), mtu, STR_ARG(n->tap), LAUNCHER_UID, STR_ARG(n->tap), mtu,
		 STR_ARG(n->bridge));
}

/* masquerade */

static bool net_parse_cidr(struct str cidr, uint32_t *ret_base, uint64_t *ret_prefix)
{
	struct str head;
	char z[16];
	struct in_addr in;

	if (!str_cut(&cidr, '/', &head) || !str_to_u64(cidr, ret_prefix) || *ret_prefix > 30 ||
	    head.n >= sizeof(z))
		return false;
	memcpy(z, head.p, head.n);
	z[head.n] = '\0';
	if (inet_pton(AF_INET, z, &in) != 1)
		return false;
	*ret_base = ntohl(in.s_addr) & (*ret_prefix ? ~UINT32_C(0) << (32 - *ret_prefix) : 0);
	return true;
}

static struct str net_ip_text(struct arena *a, uint32_t ip)
{
	return arena_fmt(a, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
}

/* Without ports everything goes to the guest; with ports only they do. */
static void net_masquerade_ports(struct net *net, const struct net_iface *n, struct str guest,
				 struct str gateway)
{
	const struct json *ports = json_get(n->spec, "ports");

	if (json_len(ports) == 0) {
		buf_addf(net->script,
			 "add rule ip nat KUBEVIRT_PREINBOUND counter dnat to " STR_FMT "\n"
			 "add rule ip nat KUBEVIRT_POSTINBOUND ip saddr 127.0.0.1 counter snat "
			 "to " STR_FMT "\n"
			 "add rule ip nat output ip daddr 127.0.0.1 counter dnat to " STR_FMT "\n",
			 STR_ARG(guest), STR_ARG(gateway), STR_ARG(guest));
		return;
	}
	json_for_each(it, ports)
	{
		const char *proto =
			str_eq_nocase(json_str_at(it.val, "protocol"), STR("UDP")) ? "udp" : "tcp";
		long long port = (long long)json_int_at(it.val, "port", 0);

		if (port < 1 || port > 65535)
			continue;
		buf_addf(
			net->script,
			"add rule ip nat KUBEVIRT_PREINBOUND %s dport %lld counter dnat to " STR_FMT
			"\n"
			"add rule ip nat KUBEVIRT_POSTINBOUND %s dport %lld ip saddr 127.0.0.1 "
			"counter "
			"snat to " STR_FMT "\n"
			"add rule ip nat output ip daddr 127.0.0.1 %s dport %lld counter dnat "
			"to " STR_FMT "\n",
			proto, port, STR_ARG(guest), proto, port, STR_ARG(gateway), proto, port,
			STR_ARG(guest));
	}
}

static void net_masquerade_nft(struct net *net, const struct net_iface *n, struct str guest,
			       struct str gateway)
{
	buf_addf(net->script,
		 "nft -f - <<'END_OF_RULES'\n"
		 "add table ip nat\n"
		 "flush table ip nat\n"
		 "add chain ip nat prerouting { type nat hook prerouting priority -100; }\n"
		 "add chain ip nat input { type nat hook input priority 100; }\n"
		 "add chain ip nat output { type nat hook output priority -100; }\n"
		 "add chain ip nat postrouting { type nat hook postrouting priority 100; }\n"
		 "add chain ip nat KUBEVIRT_PREINBOUND\n"
		 "add chain ip nat KUBEVIRT_POSTINBOUND\n"
		 "add rule ip nat postrouting ip saddr " STR_FMT " counter masquerade\n"
		 "add rule ip nat prerouting iifname \"" STR_FMT
		 "\" counter jump KUBEVIRT_PREINBOUND\n"
		 "add rule ip nat postrouting oifname \"" STR_FMT
		 "\" counter jump KUBEVIRT_POSTINBOUND\n",
		 STR_ARG(guest), STR_ARG(n->pod_nic), STR_ARG(n->bridge));
	net_masquerade_ports(net, n, guest, gateway);
	buf_addz(net->script, "END_OF_RULES\n");
}

static struct err *net_masquerade(struct net *net, const struct net_iface *n)
{
	struct str cidr = json_str_at(n->network, "pod.vmNetworkCIDR");
	struct str gateway, guest, mac = net_mac(net, n, net_make_mac(net, n->name));
	uint64_t prefix;
	uint32_t base;
	struct json *d;

	if (!net_parse_cidr(str_empty(cidr) ? STR(NET_VM_CIDR) : cidr, &base, &prefix))
		return err_new(ERR_INVALID, "bad vmNetworkCIDR '" STR_FMT "'", STR_ARG(cidr));
	gateway = net_ip_text(net->a, base + 1);
	guest = net_ip_text(net->a, base + 2);
	net_bridge_script(net, n, "address " NET_BRIDGE_MAC);
	/* DHCP is served by the launcher, which is no root: port 67 must be open to it. */
	buf_addf(net->script,
		 "ip addr add " STR_FMT "/%llu dev " STR_FMT "\n"
		 "echo 1 >/proc/sys/net/ipv4/ip_forward\n"
		 "echo 1 >/proc/sys/net/ipv4/conf/" STR_FMT "/route_localnet\n"
		 "echo 67 >/proc/sys/net/ipv4/ip_unprivileged_port_start\n",
		 STR_ARG(gateway), (unsigned long long)prefix, STR_ARG(n->bridge),
		 STR_ARG(n->bridge));
	net_masquerade_nft(net, n, guest, gateway);
	net_add(net, n, mac);
	d = net_add_dhcp(net, n, mac);
	json_set_str(net->a, d, "address", guest);
	json_set_int(net->a, d, "prefix", (int64_t)prefix);
	json_set_str(net->a, d, "server", gateway);
	json_set_str(net->a, d, "router", gateway);
	return NULL;
}

/* bridge */

static void net_bridge_routes(struct net *net, const struct net_iface *n, struct json *d)
{
	struct json *routes = json_sub_array(net->a, d, "routes");

	json_for_each(it, net->routes)
	{
		struct str dst = json_str_at(it.val, "dst"), via = json_str_at(it.val, "gateway");
		struct json *r;

		if (!str_eq(json_str_at(it.val, "dev"), n->pod_nic) || str_empty(via))
			continue;
		if (str_eqz(dst, "default")) {
			json_set(net->a, d, "router", json_strcpy(net->a, via));
			continue;
		}
		r = json_object(net->a);
		json_set(net->a, r, "dst", json_strcpy(net->a, dst));
		json_set(net->a, r, "via", json_strcpy(net->a, via));
		json_push(routes, r);
	}
}

static struct err *net_bridge(struct net *net, const struct net_iface *n)
{
	struct str mac = net_mac(net, n, json_str_at(n->host, "address"));
	struct str server = arena_fmt(net->a, "169.254.75.%u", 10 + n->index), ip;
	int64_t prefix;
	struct json *d;

	/* The guest takes over the NIC's MAC and address; the NIC keeps neither. */
	buf_addf(net->script,
		 "if ip link show " STR_FMT " >/dev/null 2>&1; then\n"
		 "\tip link set " STR_FMT " down\n"
		 "\tip link set " STR_FMT " name " STR_FMT "\n"
		 "fi\n"
		 "ip addr flush dev " STR_FMT "\n",
		 STR_ARG(n->pod_nic), STR_ARG(n->pod_nic), STR_ARG(n->pod_nic), STR_ARG(n->nic),
		 STR_ARG(n->nic));
	net_bridge_script(net, n, "");
	buf_addf(net->script,
		 "ip link set " STR_FMT " address " STR_FMT "\n"
		 "ip link set " STR_FMT " master " STR_FMT " up\n"
		 "ip addr add " STR_FMT "/32 dev " STR_FMT "\n"
		 "echo 67 >/proc/sys/net/ipv4/ip_unprivileged_port_start\n",
		 STR_ARG(n->nic),
		 STR_ARG(net_make_mac(net, arena_fmt(net->a, STR_FMT " nic", STR_ARG(n->name)))),
		 STR_ARG(n->nic), STR_ARG(n->bridge), STR_ARG(server), STR_ARG(n->bridge));
	net_add(net, n, mac);
	ip = net_ipv4(n->host, &prefix);
	if (prefix < 0)
		return NULL;
	d = net_add_dhcp(net, n, mac);
	json_set(net->a, d, "address", json_strcpy(net->a, ip));
	json_set_int(net->a, d, "prefix", prefix);
	json_set_str(net->a, d, "server", server);
	net_bridge_routes(net, n, d);
	return NULL;
}

static const struct {
	const char *name;
	struct err *(*plan)(struct net *net, const struct net_iface *n);
} net_bindings[] = {
	{ "masquerade", net_masquerade },
	{ "bridge", net_bridge },
};

static struct err *net_plan_iface(struct net *net, const struct json *spec, unsigned index)
{
	const struct json *networks = json_at(net->vmi, "spec.networks");
	struct net_iface n = { .spec = spec, .name = json_str_at(spec, "name"), .index = index };

	n.network = json_find_by(networks, "name", n.name);
	if (!n.network)
		return err_new(ERR_INVALID, "interface '" STR_FMT "' has no network",
			       STR_ARG(n.name));
	n.pod_nic = json_get(n.network, "pod") || json_bool_at(n.network, "multus.default", false)
			    ? STR("eth0")
			    : vmi_pod_interface_name(net->a, n.name);
	net_names(net->a, &n);
	n.host = json_find_by(net->addrs, "ifname", n.pod_nic);
	if (!n.host)
		return err_new(ERR_NOT_FOUND,
			       "interface '" STR_FMT "': the Pod has no NIC " STR_FMT,
			       STR_ARG(n.name), STR_ARG(n.pod_nic));
	for (size_t i = 0; i < ARRAY_LEN(net_bindings); i++) {
		if (json_get(spec, net_bindings[i].name))
			return net_bindings[i].plan(net, &n);
	}
	return err_new(ERR_INVALID,
		       "interface '" STR_FMT "': binding '" STR_FMT "' is not supported",
		       STR_ARG(n.name), STR_ARG(vmi_interface_binding(spec)));
}

struct err *net_plan(struct arena *a, const struct json *vmi, const struct json *addrs,
		     const struct json *routes, struct buf *script, struct json **ret)
{
	struct net net = { a, vmi, addrs, routes, script, json_array(a), json_array(a) };

	json_for_each(it, json_at(vmi, "spec.domain.devices.interfaces"))
	{
		if (!str_eqz(json_str_at(it.val, "state"), "absent"))
			TRY(net_plan_iface(&net, it.val, (unsigned)it.i));
	}
	*ret = json_object(a);
	json_set(a, *ret, "interfaces", net.ifaces);
	json_set(a, *ret, "dhcp", net.dhcp);
	return NULL;
}
