/* SPDX-License-Identifier: Apache-2.0 */

#include "control/discovery.h"

#include "base/arena.h"
#include "base/err.h"
#include "client/rest.h"
#include "json/json.h"

static const struct {
	const char *verb;
	unsigned bit;
} discovery_verbs[] = {
	{ "list", DISCOVERY_LIST },
	{ "watch", DISCOVERY_WATCH },
	{ "delete", DISCOVERY_DELETE },
	{ "deletecollection", DISCOVERY_DELETECOLLECTION },
};

static unsigned discovery_verb_bits(const struct json *verbs)
{
	unsigned bits = 0;

	json_for_each(it, verbs)
	{
		for (size_t i = 0; i < ARRAY_LEN(discovery_verbs); i++)
			if (str_eqz(json_as_str(it.val), discovery_verbs[i].verb))
				bits |= discovery_verbs[i].bit;
	}
	return bits;
}

static bool discovery_has(const struct discovery *d, struct str group, struct str resource)
{
	for (size_t i = 0; i < d->n; i++)
		if (str_eq(d->v[i].gvr.group, group) && str_eq(d->v[i].gvr.resource, resource))
			return true;
	return false;
}

static void *discovery_grow(struct arena *a, void *v, size_t n, size_t *cap, size_t size)
{
	void *bigger;

	if (n < *cap)
		return v;
	*cap = *cap ? *cap * 2 : 64;
	bigger = arena_array(a, *cap, size);
	if (n)
		memcpy(bigger, v, n * size);
	return bigger;
}

static void discovery_add_resources(struct arena *a, struct discovery *d, struct str group,
				    struct str version, const struct json *list)
{
	json_for_each(it, json_get(list, "resources"))
	{
		struct str name = json_as_str(json_get(it.val, "name"));

		if (str_find_char(name, '/', 0) < name.n || discovery_has(d, group, name))
			continue;
		d->v = discovery_grow(a, d->v, d->n, &d->cap, sizeof(*d->v));
		d->v[d->n++] = (struct discovered){
			.gvr = { group, version, name },
			.kind = json_as_str(json_get(it.val, "kind")),
			.namespaced = json_bool_at(it.val, "namespaced", false),
			.verbs = discovery_verb_bits(json_get(it.val, "verbs")),
		};
	}
}

static void discovery_add_failure(struct arena *a, struct discovery *d, struct str gv,
				  const struct err *e)
{
	/* upstream's words for an aggregated group whose server does not answer */
	struct str why =
		err_http_status(e) >= 500
			? arena_fmt(a, "stale GroupVersion discovery: " STR_FMT, STR_ARG(gv))
			: arena_str(a, err_msg(e));

	d->failures = discovery_grow(a, d->failures, d->n_failures, &d->cap_failures,
				     sizeof(*d->failures));
	d->failures[d->n_failures++] = (struct discovery_failure){ gv, why };
}

static struct err *discovery_group_version(struct client *c, struct arena *a, struct discovery *d,
					   struct str group, struct str version)
{
	struct str gv = gv_format(a, group, version);
	struct str path =
		arena_fmt(a, "/%s/" STR_FMT, str_empty(group) ? "api" : "apis", STR_ARG(gv));
	struct json *list;
	struct err *e = client_raw(c, a, "GET", path, NULL, &list);

	if (!e) {
		discovery_add_resources(a, d, group, version, list);
		return NULL;
	}
	/* a group that went away between the two requests is no failure */
	if (err_is(e, ERR_CANCELED))
		return e;
	if (!err_is(e, ERR_NOT_FOUND))
		discovery_add_failure(a, d, gv, e);
	err_ignore(e, "noted as a failing group");
	return NULL;
}

struct err *discovery_load(struct client *c, struct arena *a, struct discovery *ret)
{
	struct json *groups;
	struct json *core;

	*ret = (struct discovery){ 0 };
	TRY(client_raw(c, a, "GET", STR("/api/v1"), NULL, &core));
	discovery_add_resources(a, ret, STR_EMPTY, STR("v1"), core);
	TRY(client_raw(c, a, "GET", STR("/apis"), NULL, &groups));
	json_for_each(it, json_get(groups, "groups"))
	{
		struct str group = json_as_str(json_get(it.val, "name"));
		struct str preferred = json_str_at(it.val, "preferredVersion.version");

		if (!str_empty(preferred))
			TRY(discovery_group_version(c, a, ret, group, preferred));
		json_for_each(v, json_get(it.val, "versions"))
		{
			struct str version = json_as_str(json_get(v.val, "version"));

			if (!str_eq(version, preferred))
				TRY(discovery_group_version(c, a, ret, group, version));
		}
	}
	return NULL;
}

const struct discovered *discovery_find_kind(const struct discovery *d, struct str group,
					     struct str kind)
{
	for (size_t i = 0; i < d->n; i++)
		if (str_eq(d->v[i].gvr.group, group) && str_eq(d->v[i].kind, kind))
			return &d->v[i];
	return NULL;
}

bool discovery_failed_group(const struct discovery *d, struct str group)
{
	for (size_t i = 0; i < d->n_failures; i++) {
		struct str gv = d->failures[i].group_version;
		struct str head;

		str_cut(&gv, '/', &head);
		if (str_eq(head, group))
			return true;
	}
	return false;
}
