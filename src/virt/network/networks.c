/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/network/networks.h"

#include "api/meta.h"
#include "api/names.h"
#include "base/arena.h"
#include "base/err.h"
#include "json/json.h"

#define INTERFACE_MAX 15

/* It goes into CNI_ARGS, where ";" begins the next one. */
static bool mac_is_safe(struct str mac)
{
	for (size_t i = 0; i < mac.n; i++)
		if (mac.p[i] == '\0' || !strchr("0123456789abcdefABCDEF:-", mac.p[i]))
			return false;
	return true;
}

static struct err *check(const struct network_request *r)
{
	const char *why = name_check_dns_subdomain(r->name);

	if (!why)
		why = name_check_dns_label(r->ns);
	if (why)
		return err_new(ERR_INVALID, "network '" STR_FMT "/" STR_FMT "': %s", STR_ARG(r->ns),
			       STR_ARG(r->name), why);
	if (r->interface.n > INTERFACE_MAX ||
	    str_find_char(r->interface, '/', 0) < r->interface.n ||
	    str_find_char(r->interface, ' ', 0) < r->interface.n || str_eqz(r->interface, "eth0"))
		return err_new(ERR_INVALID,
			       "network '" STR_FMT "/" STR_FMT "': '" STR_FMT
			       "' is no name for an interface",
			       STR_ARG(r->ns), STR_ARG(r->name), STR_ARG(r->interface));
	if (!mac_is_safe(r->mac))
		return err_new(ERR_INVALID,
			       "network '" STR_FMT "/" STR_FMT "': '" STR_FMT "' is no MAC address",
			       STR_ARG(r->ns), STR_ARG(r->name), STR_ARG(r->mac));
	return NULL;
}

static struct err *add(struct arena *a, struct network_request r, struct str pod_ns,
		       struct network_request *ret, size_t *n)
{
	if (*n == NETWORKS_MAX)
		return err_new(ERR_INVALID, "more than %d networks", NETWORKS_MAX);
	if (str_empty(r.ns))
		r.ns = pod_ns;
	if (str_empty(r.interface))
		r.interface = arena_fmt(a, "net%zu", *n + 1);
	TRY(check(&r));
	ret[(*n)++] = r;
	return NULL;
}

static struct err *parse_list(struct arena *a, struct str text, struct str pod_ns,
			      struct network_request *ret, size_t *n)
{
	struct json *list = NULL;

	TRY(json_parse(a, text, &list));
	json_for_each(it, list)
	{
		struct network_request r = { .ns = json_str_at(it.val, "namespace"),
					     .name = json_str_at(it.val, "name"),
					     .interface = json_str_at(it.val, "interface"),
					     .mac = json_str_at(it.val, "mac"),
					     .ips = json_get(it.val, "ips") };

		TRY(add(a, r, pod_ns, ret, n));
	}
	return NULL;
}

static struct err *parse_names(struct arena *a, struct str text, struct str pod_ns,
			       struct network_request *ret, size_t *n)
{
	struct str item;

	while (str_split_next(&text, ',', &item)) {
		struct network_request r = { 0 };
		struct str head;

		item = str_trim(item);
		if (str_empty(item))
			continue;
		if (str_cut(&item, '@', &head)) {
			r.interface = item;
			item = head;
		} else {
			item = head;
		}
		if (str_cut(&item, '/', &head)) {
			r.ns = head;
			r.name = item;
		} else {
			r.name = head;
		}
		TRY(add(a, r, pod_ns, ret, n));
	}
	return NULL;
}

struct err *networks_parse(struct arena *a, struct str annotation, struct str pod_ns,
			   struct network_request *ret, size_t *ret_n)
{
	struct str text = str_trim(annotation);
	size_t n = 0;

	if (!str_empty(text) && text.p[0] == '[')
		TRY(parse_list(a, text, pod_ns, ret, &n));
	else
		TRY(parse_names(a, text, pod_ns, ret, &n));
	*ret_n = n;
	return NULL;
}

/* A plugin beside us, but not ourselves: our own configuration says what is run as root. */
static bool type_is_safe(struct str type)
{
	if (str_eqz(type, "isoplane-multus"))
		return false;
	return !str_empty(type) && str_find_char(type, '/', 0) == type.n && type.p[0] != '.';
}

struct err *networks_plugins(struct arena *a, const struct json *nad, struct json **ret_plugins)
{
	struct str text = json_str_at(nad, "spec.config"), version, name;
	struct json *config = NULL, *plugins = json_array(a);
	const struct json *list;

	if (str_empty(text))
		return err_new(ERR_INVALID,
			       "NetworkAttachmentDefinition '" STR_FMT "' has no spec.config",
			       STR_ARG(meta_name(nad)));
	TRY(err_wrap(json_parse(a, text, &config), "NetworkAttachmentDefinition '" STR_FMT "'",
		     STR_ARG(meta_name(nad))));
	version = json_str_at(config, "cniVersion");
	name = json_str_at(config, "name");
	list = json_get(config, "plugins");
	if (!list) {
		json_push(plugins, config);
		list = plugins;
	} else {
		list = json_copy(a, list);
	}
	json_for_each(it, list)
	{
		json_set_str(a, it.val, "cniVersion", str_empty(version) ? STR("0.3.1") : version);
		json_set_str(a, it.val, "name", str_empty(name) ? meta_name(nad) : name);
		if (!type_is_safe(json_str_at(it.val, "type")))
			return err_new(ERR_INVALID,
				       "NetworkAttachmentDefinition '" STR_FMT "': '" STR_FMT
				       "' is no type of a plugin",
				       STR_ARG(meta_name(nad)),
				       STR_ARG(json_str_at(it.val, "type")));
	}
	*ret_plugins = json_copy(a, list);
	return NULL;
}

/* The MAC address of the interface inside the Pod. */
static struct str result_mac(const struct json *result, struct str interface)
{
	json_for_each(it, json_get(result, "interfaces"))
	{
		if (!str_empty(json_str_at(it.val, "sandbox")) &&
		    str_eq(json_str_at(it.val, "name"), interface))
			return json_str_at(it.val, "mac");
	}
	return STR_EMPTY;
}

struct json *networks_status(struct arena *a, struct str name, struct str interface,
			     const struct json *result, bool is_default)
{
	struct json *s = json_object(a), *ips = json_array(a);
	struct str mac = result_mac(result, interface);

	json_set_str(a, s, "name", name);
	json_set_str(a, s, "interface", interface);
	json_for_each(it, json_get(result, "ips"))
	{
		struct str addr = json_str_at(it.val, "address");

		json_push(ips, json_str(a, str_sub(addr, 0, str_find_char(addr, '/', 0))));
	}
	if (json_len(ips))
		json_set(a, s, "ips", ips);
	if (!str_empty(mac))
		json_set_str(a, s, "mac", mac);
	if (is_default)
		json_set_bool(a, s, "default", true);
	json_set(a, s, "dns",
		 json_get(result, "dns") ? json_copy(a, json_get(result, "dns")) : json_object(a));
	return s;
}
