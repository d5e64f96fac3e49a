/* SPDX-License-Identifier: Apache-2.0 */

#include "node/dns.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "io/file.h"
#include "node/agent.h"
#include "node/dns-server.h"
#include "json/json.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define RESOLV_MAX  (64 * 1024)
#define LIST_MAX    32

struct dns_list {
	char *v[LIST_MAX];
	size_t n;
};

static void dns_add(struct arena *a, struct dns_list *l, struct str s)
{
	for (size_t i = 0; i < l->n; i++)
		if (str_eqz(s, l->v[i]))
			return;
	if (s.n && l->n < LIST_MAX)
		l->v[l->n++] = cri_z(a, s);
}

/* An option takes the place of one with the same name. */
static void dns_add_option(struct arena *a, struct dns_list *l, struct str s)
{
	size_t n = str_find_char(s, ':', 0);

	for (size_t i = 0; i < l->n; i++) {
		struct str old = str_from(l->v[i]);

		if (str_eq(str_sub(old, 0, str_find_char(old, ':', 0)), str_sub(s, 0, n))) {
			l->v[i] = cri_z(a, s);
			return;
		}
	}
	dns_add(a, l, s);
}

static void dns_add_words(struct arena *a, struct dns_list *l, struct str words)
{
	struct str w;

	while (str_split_next(&words, ' ', &w))
		dns_add(a, l, str_trim(w));
}

static void dns_of_host(struct arena *a, struct dns_list *servers, struct dns_list *searches,
			struct dns_list *options)
{
	struct str text, line, word;
	struct err *e = file_read(a, RESOLV_CONF, RESOLV_MAX, &text);

	if (e) {
		err_ignore(e, "a host without resolv.conf gives none");
		return;
	}
	while (str_split_next(&text, '\n', &line)) {
		line = str_trim(line);
		if (!str_cut(&line, ' ', &word))
			continue;
		if (str_eqz(word, "nameserver") && servers)
			dns_add(a, servers, str_trim(line));
		else if (str_eqz(word, "search"))
			dns_add_words(a, searches, line);
		else if (str_eqz(word, "options") && options)
			dns_add_words(a, options, line);
	}
}

static void dns_of_config(struct arena *a, const struct json *cfg, struct dns_list *servers,
			  struct dns_list *searches, struct dns_list *options)
{
	json_for_each(it, json_get(cfg, "nameservers")) dns_add(a, servers, json_as_str(it.val));
	json_for_each(it, json_get(cfg, "searches")) dns_add(a, searches, json_as_str(it.val));
	json_for_each(it, json_get(cfg, "options"))
	{
		struct str name = json_str_at(it.val, "name"), value = json_str_at(it.val, "value");

		dns_add_option(a, options,
			       value.n ? arena_fmt(a, "%.*s:%.*s", STR_ARG(name), STR_ARG(value))
				       : name);
	}
}

static char **dns_array(struct arena *a, const struct dns_list *l, size_t *ret_n)
{
	char **v = arena_array(a, l->n + 1, sizeof(char *));

	memcpy(v, l->v, l->n * sizeof(char *));
	*ret_n = l->n;
	return v;
}

/* Whether the Pod's policy asks for cluster DNS, and there is one. */
static bool dns_wants_cluster(const struct agent *ag, const struct json *pod)
{
	struct str policy = json_str_at(pod, "spec.dnsPolicy");

	if (!ag->dns)
		return false;
	if (str_eqz(policy, "ClusterFirstWithHostNet"))
		return true;
	return str_eqz(policy, "ClusterFirst") && !json_bool_at(pod, "spec.hostNetwork", false);
}

CRI(DNSConfig) * dns_config_of_pod(struct agent *ag, struct arena *a, const struct json *pod)
{
	struct dns_list *servers = arena_new_obj(a, struct dns_list);
	struct dns_list *searches = arena_new_obj(a, struct dns_list);
	struct dns_list *options = arena_new_obj(a, struct dns_list);
	const struct json *cfg = json_at(pod, "spec.dnsConfig");
	bool none = str_eqz(json_str_at(pod, "spec.dnsPolicy"), "None");
	bool cluster = dns_wants_cluster(ag, pod);
	CRI(DNSConfig) * dns;

	if (!none && !cfg && !cluster)
		return NULL;
	if (cluster) {
		dns_add(a, servers, ag->cfg.ip);
		dns_add(a, searches,
			arena_fmt(a, "%.*s.svc." CLUSTER_DOMAIN, STR_ARG(meta_namespace(pod))));
		dns_add(a, searches, STR("svc." CLUSTER_DOMAIN));
		dns_add(a, searches, STR(CLUSTER_DOMAIN));
		dns_add(a, options, STR("ndots:5"));
	}
	if (!none)
		dns_of_host(a, cluster ? NULL : servers, searches, cluster ? NULL : options);
	dns_of_config(a, cfg, servers, searches, options);
	dns = arena_new_obj(a, CRI(DNSConfig));
	runtime__v1__dnsconfig__init(dns);
	dns->servers = dns_array(a, servers, &dns->n_servers);
	dns->searches = dns_array(a, searches, &dns->n_searches);
	dns->options = dns_array(a, options, &dns->n_options);
	return dns;
}
