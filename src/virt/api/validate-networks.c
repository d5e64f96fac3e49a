/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>

#include "api/names.h"
#include "virt/api/validate.h"
#include "virt/mapping/virt-config.h"
#include "json/json.h"

#define RESERVED_MAC "02:00:00:00:00:00"

struct networks {
	struct causes *c;
	const struct virt_config *cfg;
	const struct json *networks, *interfaces;
	struct str path;
};

static struct str iface_field(const struct networks *n, size_t i, const char *key)
{
	return field(n->c, STR_FMT ".domain.devices.interfaces[%zu]%s%s", STR_ARG(n->path), i,
		     *key ? "." : "", key);
}

static struct str network_field(const struct networks *n, size_t i, const char *key)
{
	return field(n->c, STR_FMT ".networks[%zu]%s%s", STR_ARG(n->path), i, *key ? "." : "", key);
}

static bool mac_is_valid(struct str mac)
{
	if (mac.n != 17)
		return false;
	for (size_t i = 0; i < mac.n; i++) {
		if (i % 3 == 2 ? mac.p[i] != ':' && mac.p[i] != '-'
			       : !isxdigit((unsigned char)mac.p[i]))
			return false;
	}
	return true;
}

/* bindings */

static void check_binding(const struct networks *n, const struct json *iface, size_t i)
{
	static const char *const bindings[] = { "bridge",  "masquerade", "sriov",   "passtBinding",
						"binding", "slirp",      "macvtap", "passt" };
	static const char *const gone[][2] = { { "slirp", "Slirp interface support" },
					       { "passt", "Passt network binding" },
					       { "macvtap", "Macvtap network binding" } };
	struct str name = json_str_at(iface, "name");
	size_t count = 0;

	for (size_t k = 0; k < ARRAY_LEN(bindings); k++)
		count += json_get(iface, bindings[k]) != NULL;
	if (count != 1)
		cause_add(n->c, CAUSE_INVALID, iface_field(n, i, ""),
			  "logical " STR_FMT
			  " interface must have exactly one binding method or binding plugin",
			  STR_ARG(name));
	for (size_t k = 0; k < ARRAY_LEN(gone); k++) {
		if (json_get(iface, gone[k][0]))
			cause_add(n->c, CAUSE_INVALID, iface_field(n, i, gone[k][0]),
				  "%s has been discontinued since v1.3", gone[k][1]);
	}
}

static void check_binding_fits(const struct networks *n, const struct json *iface, size_t i,
			       const struct json *net)
{
	bool pod = json_get(net, "pod") != NULL;

	if (json_get(iface, "masquerade") && !pod)
		cause_add(n->c, CAUSE_INVALID, iface_field(n, i, "name"),
			  "Masquerade interface only implemented with pod network");
	if (json_get(iface, "masquerade") &&
	    str_eqz(json_str_at(iface, "macAddress"), RESERVED_MAC))
		cause_add(n->c, CAUSE_INVALID, iface_field(n, i, "macAddress"),
			  "The requested MAC address is reserved for the in-pod bridge. Please "
			  "choose another one.");
	if (json_get(iface, "bridge") && pod && !n->cfg->permit_bridge_on_pod_network)
		cause_add(n->c, CAUSE_INVALID, iface_field(n, i, "name"),
			  "Bridge on pod network configuration is not enabled under "
			  "kubevirt-config");
}

/* members */

static bool name_is_valid(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!isalnum((unsigned char)s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
			return false;
	}
	return true;
}

static void check_members(const struct networks *n, const struct json *iface, size_t i)
{
	static const char *const models[] = { "virtio",   "e1000", "e1000e", "igb",
					      "ne2k_pci", "pcnet", "rtl8139" };
	struct str name = json_str_at(iface, "name"), model = json_str_at(iface, "model");
	struct str mac = json_str_at(iface, "macAddress"), state = json_str_at(iface, "state");
	bool known = str_empty(model);

	if (!name_is_valid(name))
		cause_add(n->c, CAUSE_INVALID, iface_field(n, i, "name"),
			  "Network interface name can only contain alphabetical characters, "
			  "numbers, dashes (-) or underscores (_)");
	for (size_t k = 0; k < ARRAY_LEN(models); k++)
		known |= str_eqz(model, models[k]);
	if (!known)
		cause_add(n->c, CAUSE_NOT_SUPPORTED, iface_field(n, i, "model"),
			  "interface " STR_FMT " uses model " STR_FMT " that is not supported.",
			  STR_ARG(iface_field(n, i, "name")), STR_ARG(model));
	if (!str_empty(mac) && !mac_is_valid(mac))
		cause_add(n->c, CAUSE_INVALID, iface_field(n, i, "macAddress"),
			  "interface " STR_FMT " has malformed MAC address (" STR_FMT ").",
			  STR_ARG(iface_field(n, i, "name")), STR_ARG(mac));
	if (!str_empty(state) && !str_eqz(state, "up") && !str_eqz(state, "down") &&
	    !str_eqz(state, "absent"))
		cause_add(n->c, CAUSE_INVALID, iface_field(n, i, "state"),
			  "logical " STR_FMT " interface state value is unsupported: " STR_FMT,
			  STR_ARG(name), STR_ARG(state));
	if (json_get(iface, "bootOrder") && json_int_at(iface, "bootOrder", 0) < 1)
		cause_add(n->c, CAUSE_INVALID, iface_field(n, i, "bootOrder"),
			  STR_FMT " must have a boot order > 0, if supplied",
			  STR_ARG(iface_field(n, i, "")));
}

static void check_port(const struct networks *n, const struct json *ports, size_t i,
		       const struct json *port, size_t k)
{
	struct str base = field(n->c, STR_FMT "[%zu]", STR_ARG(iface_field(n, i, "ports")), k);
	struct str name = json_str_at(port, "name"), protocol = json_str_at(port, "protocol");
	int64_t number = json_int_at(port, "port", 0);

	for (size_t j = 0; !str_empty(name) && j < k; j++) {
		if (str_eq(name, json_str_at(json_idx(ports, j), "name")))
			cause_add(n->c, CAUSE_DUPLICATE,
				  field(n->c, STR_FMT ".name", STR_ARG(base)),
				  "Duplicate name of the port: " STR_FMT, STR_ARG(name));
	}
	if (!str_empty(name) && name_check_port_name(name))
		cause_add(n->c, CAUSE_INVALID, field(n->c, STR_FMT ".name", STR_ARG(base)),
			  "Invalid name of the port: " STR_FMT, STR_ARG(name));
	if (!str_empty(protocol) && !str_eqz(protocol, "TCP") && !str_eqz(protocol, "UDP"))
		cause_add(n->c, CAUSE_INVALID, field(n->c, STR_FMT ".protocol", STR_ARG(base)),
			  "Unknown protocol, only TCP or UDP allowed");
	if (number == 0)
		cause_add(n->c, CAUSE_REQUIRED, field(n->c, STR_FMT ".port", STR_ARG(base)),
			  "Port field is mandatory.");
	else if (number < 0 || number > 65535)
		cause_add(n->c, CAUSE_INVALID, field(n->c, STR_FMT ".port", STR_ARG(base)),
			  "Port field must be in range 0 < x < 65536.");
}

static void check_dhcp(const struct networks *n, const struct json *iface, size_t i)
{
	const struct json *options = json_at(iface, "dhcpOptions.privateOptions");
	struct str path = n->path;

	json_for_each(it, options)
	{
		int64_t number = json_int_at(it.val, "option", 0);

		if (number < 224 || number > 254)
			cause_add(n->c, CAUSE_INVALID, path,
				  "provided DHCPPrivateOptions are out of range, must be in range "
				  "224 to 254");
		for (size_t k = 0; k < it.i; k++) {
			if (json_int_at(json_idx(options, k), "option", 0) == number)
				cause_add(n->c, CAUSE_INVALID, path,
					  "Found Duplicates: you have provided duplicate "
					  "DHCPPrivateOptions");
		}
	}
	json_for_each(it, json_at(iface, "dhcpOptions.ntpServers"))
	{
		struct str ip = json_as_str(it.val);

		if (!ip_is_valid(ip) || str_find_char(ip, ':', 0) < ip.n)
			cause_add(n->c, CAUSE_INVALID,
				  field(n->c, STR_FMT "[%zu]",
					STR_ARG(iface_field(n, i, "dhcpOptions.ntpServers")), it.i),
				  "NTP servers must be a list of valid IPv4 addresses.");
	}
}

static void check_interface(const struct networks *n, const struct json *iface, size_t i)
{
	struct str name = json_str_at(iface, "name");
	const struct json *net = json_find_by(n->networks, "name", name);

	if (!net)
		cause_add(n->c, CAUSE_INVALID, iface_field(n, i, "name"),
			  STR_FMT " '" STR_FMT "' not found.", STR_ARG(iface_field(n, i, "name")),
			  STR_ARG(name));
	for (size_t k = 0; k < i; k++) {
		if (str_eq(name, json_str_at(json_idx(n->interfaces, k), "name")))
			cause_add(n->c, CAUSE_DUPLICATE, iface_field(n, i, "name"),
				  "Only one interface can be connected to one specific network");
	}
	check_binding(n, iface, i);
	if (net)
		check_binding_fits(n, iface, i, net);
	check_members(n, iface, i);
	json_for_each(it, json_get(iface, "ports"))
		check_port(n, json_get(iface, "ports"), i, it.val, it.i);
	check_dhcp(n, iface, i);
}

static void check_network(const struct networks *n, const struct json *net, size_t i)
{
	static const char *const kinds[] = { "pod", "multus", "resourceClaim" };
	struct str name = json_str_at(net, "name");
	size_t count = 0;

	for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
		count += json_get(net, kinds[k]) != NULL;
	if (count == 0)
		cause_add(n->c, CAUSE_REQUIRED, network_field(n, i, ""),
			  "should have a network type");
	else if (count > 1)
		cause_add(n->c, CAUSE_REQUIRED, network_field(n, i, ""),
			  "should have only one network type");
	if (json_get(net, "multus") && str_empty(json_str_at(net, "multus.networkName")))
		cause_add(n->c, CAUSE_REQUIRED, network_field(n, i, ""),
			  "CNI delegating plugin must have a networkName");
	for (size_t k = 0; k < i; k++) {
		if (str_eq(name, json_str_at(json_idx(n->networks, k), "name")))
			cause_add(n->c, CAUSE_DUPLICATE, network_field(n, i, "name"),
				  "Network with name \"" STR_FMT
				  "\" already exists, every network must have a unique name",
				  STR_ARG(name));
	}
	if (!json_find_by(n->interfaces, "name", name))
		cause_add(n->c, CAUSE_REQUIRED, network_field(n, i, "name"),
			  STR_FMT " '" STR_FMT "' not found.", STR_ARG(network_field(n, i, "name")),
			  STR_ARG(name));
}

static void check_defaults(const struct networks *n)
{
	size_t pods = 0, defaults = 0;

	json_for_each(it, n->networks)
	{
		pods += json_get(it.val, "pod") != NULL;
		defaults += json_bool_at(it.val, "multus.default", false);
	}
	if (pods > 1)
		cause_add(n->c, CAUSE_DUPLICATE,
			  field(n->c, STR_FMT ".interfaces", STR_ARG(n->path)),
			  "more than one interface is connected to a pod network in " STR_FMT
			  ".interfaces",
			  STR_ARG(n->path));
	if (defaults > 1)
		cause_add(n->c, CAUSE_INVALID, field(n->c, STR_FMT ".networks", STR_ARG(n->path)),
			  "Multus CNI should only have one default network");
	if (pods && defaults)
		cause_add(n->c, CAUSE_INVALID, field(n->c, STR_FMT ".networks", STR_ARG(n->path)),
			  "Pod network cannot be defined when Multus default network is defined");
}

void validate_networks(struct causes *c, const struct virt_config *cfg, const struct json *spec,
		       struct str path)
{
	struct networks n = { c, cfg, json_get(spec, "networks"),
			      json_at(spec, "domain.devices.interfaces"), path };

	check_defaults(&n);
	json_for_each(it, n.networks) check_network(&n, it.val, it.i);
	json_for_each(it, n.interfaces) check_interface(&n, it.val, it.i);
}
