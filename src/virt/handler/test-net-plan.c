/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/handler/net-plan.h"

#include "base/buf.h"
#include "testkit/test.h"
#include "json/json.h"
#include "json/yaml.h"

static const char host[] = "[{\"ifname\":\"lo\",\"mtu\":65536,\"addr_info\":[{\"family\":\"inet\","
			   "\"local\":\"127.0.0.1\","
			   "\"prefixlen\":8,\"scope\":\"host\"}]},"
			   "{\"ifname\":\"eth0\",\"mtu\":1450,\"address\":\"0a:00:00:00:00:01\","
			   "\"addr_info\":[{\"family\":"
			   "\"inet\",\"local\":\"10.244.0.7\",\"prefixlen\":24,\"scope\":"
			   "\"global\"},{\"family\":\"inet6\","
			   "\"local\":\"fe80::1\",\"prefixlen\":64,\"scope\":\"link\"}]},"
			   /* sha256("red") = b1f51a511f1... */
			   "{\"ifname\":\"podb1f51a511f1\",\"mtu\":1500,\"address\":\"0a:00:00:00:"
			   "00:02\",\"addr_info\":[]}]";
static const char routes[] =
	"[{\"dst\":\"default\",\"gateway\":\"10.244.0.1\",\"dev\":\"eth0\"},"
	"{\"dst\":\"10.96.0.0/16\",\"gateway\":\"10.244.0.9\",\"dev\":\"eth0\"},"
	"{\"dst\":\"10.244.0.0/24\",\"dev\":\"eth0\",\"scope\":\"link\"}]";

static struct err *plan(struct arena *a, const char *spec, struct buf *script, struct json **ret)
{
	struct json *vmi, *h, *r;

	assert_no_err(yaml_parse(
		a, arena_fmt(a, "{metadata: {name: vm, namespace: ns, uid: u}, spec: %s}", spec),
		&vmi));
	assert_no_err(json_parse(a, str_from(host), &h));
	assert_no_err(json_parse(a, str_from(routes), &r));
	return net_plan(a, vmi, h, r, script, ret);
}

static void has(const struct buf *script, const char *line)
{
	if (!str_contains(buf_str(script), str_from(line)))
		fail_msg("no '%s' in:\n%s", line, script->p);
}

TEST(masquerade)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_buf_ struct buf script = { 0 };
	struct json *doc;

	assert_no_err(
		plan(a,
		     "{domain: {devices: {interfaces: [{name: default, masquerade: {}, ports: "
		     "[{port: 80}, {port: 53, protocol: UDP}]}]}}, networks: [{name: default, pod: "
		     "{}}]}",
		     &script, &doc));
	has(&script, "ip link add k6t-eth0 address 02:00:00:00:00:00 type bridge\n");
	has(&script, "ip addr add 10.0.2.1/24 dev k6t-eth0\n");
	has(&script, "ip tuntap add dev tap0 mode tap user 107\n");
	has(&script, "KUBEVIRT_PREINBOUND tcp dport 80 counter dnat to 10.0.2.2\n");
	has(&script, "KUBEVIRT_PREINBOUND udp dport 53 counter dnat to 10.0.2.2\n");
	has(&script, "postrouting ip saddr 10.0.2.2 counter masquerade\n");
	assert_str(json_str_at(json_idx(json_get(doc, "interfaces"), 0), "tap"), "tap0");
	assert_str(
		json_as_str(json_idx(json_get(json_idx(json_get(doc, "interfaces"), 0), "ips"), 0)),
		"10.244.0.7");
	assert_str(json_str_at(json_idx(json_get(doc, "dhcp"), 0), "address"), "10.0.2.2");
}

TEST(another_subnet_and_mac)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_buf_ struct buf script = { 0 };
	struct json *doc;

	assert_no_err(
		plan(a,
		     "{domain: {devices: {interfaces: [{name: net, masquerade: {}, macAddress: "
		     "02-00-00-00-00-09}]}}, networks: [{name: net, pod: {vmNetworkCIDR: "
		     "192.168.100.128/25}}]}",
		     &script, &doc));
	has(&script, "ip addr add 192.168.100.129/25 dev k6t-eth0\n");
	has(&script, "KUBEVIRT_PREINBOUND counter dnat to 192.168.100.130\n");
	assert_str(json_str_at(json_idx(json_get(doc, "dhcp"), 0), "mac"), "02:00:00:00:00:09");
}

TEST(bridges)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_buf_ struct buf script = { 0 };
	struct json *doc, *dhcp;

	assert_no_err(
		plan(a,
		     "{domain: {devices: {interfaces: [{name: default, bridge: {}}, {name: red, "
		     "bridge: {}}]}}, networks: [{name: default, pod: {}}, {name: red, multus: "
		     "{networkName: red}}]}",
		     &script, &doc));
	has(&script, "ip link set eth0 name eth0-nic\n");
	has(&script, "ip link set eth0-nic master k6t-eth0 up\n");
	has(&script, "ip link set podb1f51a511f1 name b1f51a511f1-nic\n");
	has(&script, "ip tuntap add dev tapb1f51a511f1 mode tap user 107\n");
	assert_int_equal(json_len(json_get(doc, "interfaces")), 2);
	assert_str(json_str_at(json_idx(json_get(doc, "interfaces"), 1), "mac"),
		   "0a:00:00:00:00:02");
	/* Only the NIC with an address gets a DHCP server. */
	assert_int_equal(json_len(json_get(doc, "dhcp")), 1);
	dhcp = json_idx(json_get(doc, "dhcp"), 0);
	assert_str(json_str_at(dhcp, "address"), "10.244.0.7");
	assert_str(json_str_at(dhcp, "router"), "10.244.0.1");
	assert_int_equal(json_len(json_get(dhcp, "routes")), 1);
}

TEST(refusals)
{
	static const struct {
		const char *spec;
		enum err_code code;
	} rows[] = {
		{ "{domain: {devices: {interfaces: [{name: x, masquerade: {}}]}}}", ERR_INVALID },
		{ "{domain: {devices: {interfaces: [{name: x, sriov: {}}]}}, networks: [{name: x, "
		  "pod: "
		  "{}}]}",
		  ERR_INVALID },
		{ "{domain: {devices: {interfaces: [{name: x, bridge: {}}]}}, networks: [{name: x, "
		  "multus: {networkName: y}}]}",
		  ERR_NOT_FOUND },
		{ "{domain: {devices: {interfaces: [{name: x, masquerade: {}}]}}, networks: "
		  "[{name: x, "
		  "pod: {vmNetworkCIDR: 10.0.0.0/31}}]}",
		  ERR_INVALID },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		_cleanup_buf_ struct buf script = { 0 };
		struct json *doc;

		assert_err(plan(a, rows[i].spec, &script, &doc), rows[i].code);
	}
}

TEST_MAIN(T(masquerade), T(another_subnet_and_mac), T(bridges), T(refusals))
