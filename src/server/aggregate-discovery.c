/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What remote servers serve: their APIVersionDiscovery out of the aggregated document when they
 * know it (apidiscovery.k8s.io), else made from their APIResourceList. It is kept as it was
 * answered, and is stale from the first failure to the next success.
 */

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "server/aggregate-internal.h"
#include "json/json.h"

#define DISCOVERY_MAX_BODY ((size_t)8 * 1024 * 1024)
#define DISCOVERY_ACCEPT                                                        \
	"application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList," \
	"application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"

/* ---- the aggregated document */

static bool discovery_type_is_aggregated(struct str type)
{
	struct str first, param;
	bool group = false, kind = false, version = false;

	str_cut(&type, ';', &first);
	while (str_split_next(&type, ';', &param)) {
		param = str_trim(param);
		group |= str_eqz(param, "g=apidiscovery.k8s.io");
		kind |= str_eqz(param, "as=APIGroupDiscoveryList");
		version |= str_eqz(param, "v=v2") || str_eqz(param, "v=v2beta1");
	}
	return str_eqz(str_trim(first), "application/json") && group && kind && version;
}

/* Clients of some versions fall over an entry without it. */
static void discovery_fill_kind(struct arena *a, struct json *entry)
{
	struct json *kind;

	if (json_is(json_get(entry, "responseKind"), JSON_OBJECT))
		return;
	kind = json_sub(a, entry, "responseKind");
	json_set_str(a, kind, "group", STR_EMPTY);
	json_set_str(a, kind, "version", STR_EMPTY);
	json_set_str(a, kind, "kind", STR_EMPTY);
}

/* Whether list is one of objects that have a name under key and verbs. */
static struct err *discovery_check_entries(struct arena *a, const struct json *list,
					   const char *key)
{
	if (!list)
		return NULL;
	if (!json_is(list, JSON_ARRAY))
		return err_new(ERR_PROTOCOL, "discovery has no list of resources");
	json_for_each(it, list)
	{
		if (!json_is(json_get(it.val, key), JSON_STR))
			return err_new(ERR_PROTOCOL, "discovery has a %s without a name", key);
		if (json_get(it.val, "verbs") && !json_is(json_get(it.val, "verbs"), JSON_ARRAY))
			return err_new(ERR_PROTOCOL, "discovery has verbs that are no list");
		discovery_fill_kind(a, it.val);
	}
	return NULL;
}

static struct err *discovery_check_version(struct arena *a, const struct json *version)
{
	const struct json *list = json_get(version, "resources");

	TRY(discovery_check_entries(a, list, "resource"));
	json_for_each(it, list)
		TRY(discovery_check_entries(a, json_get(it.val, "subresources"), "subresource"));
	return NULL;
}

static struct json *discovery_pick(struct arena *a, const struct json *doc,
				   const struct aggregate_entry *e)
{
	struct json *v = NULL;

	json_for_each(it, json_get(doc, "items"))
	{
		if (!v && str_eq(json_str_at(it.val, "metadata.name"), e->group))
			v = json_find_by(json_get(it.val, "versions"), "version", e->version);
	}
	if (v)
		return v;
	/* it answers, but not for this version */
	v = json_object(a);
	json_set_str(a, v, "version", e->version);
	return v;
}

/* ---- the legacy list */

/* A server of nothing but subresources has no entry for what they are of. */
static struct json *discovery_parent(struct arena *a, struct json *list, struct str name,
				     const struct json *sub)
{
	struct json *of = json_find_by(list, "resource", name);

	if (of)
		return of;
	of = json_object(a);
	json_set_str(a, of, "resource", name);
	json_set_str(a, of, "scope",
		     json_bool_at(sub, "namespaced", false) ? STR("Namespaced") : STR("Cluster"));
	json_set_str(a, of, "singularResource", STR_EMPTY);
	json_sub_array(a, of, "verbs");
	json_push(list, of);
	return of;
}

static struct json *discovery_legacy_kind(struct arena *a, const struct json *r)
{
	struct json *k = json_object(a);

	json_set_str(a, k, "group", json_str_at(r, "group"));
	json_set_str(a, k, "version", json_str_at(r, "version"));
	json_set_str(a, k, "kind", json_str_at(r, "kind"));
	return k;
}

static void discovery_legacy_copy(struct arena *a, struct json *to, const struct json *r,
				  const char *key)
{
	if (json_len(json_get(r, key)))
		json_set(a, to, key, json_copy(a, json_get(r, key)));
}

static void discovery_legacy_entry(struct arena *a, struct json *list, const struct json *r)
{
	struct str name = json_str_at(r, "name"), parent;
	struct json *j = json_object(a);

	if (str_cut(&name, '/', &parent)) {
		json_set_str(a, j, "subresource", name);
		json_set(a, j, "responseKind", discovery_legacy_kind(a, r));
		json_set(a, j, "verbs", json_copy(a, json_get(r, "verbs")));
		json_push(json_sub_array(a, discovery_parent(a, list, parent, r), "subresources"),
			  j);
		return;
	}
	json_set_str(a, j, "resource", parent);
	json_set(a, j, "responseKind", discovery_legacy_kind(a, r));
	json_set_str(a, j, "scope",
		     json_bool_at(r, "namespaced", false) ? STR("Namespaced") : STR("Cluster"));
	json_set_str(a, j, "singularResource", json_str_at(r, "singularName"));
	json_set(a, j, "verbs", json_copy(a, json_get(r, "verbs")));
	discovery_legacy_copy(a, j, r, "shortNames");
	discovery_legacy_copy(a, j, r, "categories");
	json_push(list, j);
}

static struct err *discovery_from_legacy(struct arena *a, const struct aggregate_entry *e,
					 const struct json *doc, struct json **ret)
{
	const struct json *entries = json_get(doc, "resources");
	struct json *v = json_object(a), *list;

	if (!json_is(entries, JSON_ARRAY))
		return err_new(ERR_PROTOCOL, "discovery has no list of resources");
	json_set_str(a, v, "version", e->version);
	list = json_sub_array(a, v, "resources");
	json_for_each(it, entries)
	{
		if (!json_is(json_get(it.val, "name"), JSON_STR) ||
		    !json_is(json_get(it.val, "verbs"), JSON_ARRAY))
			return err_new(ERR_PROTOCOL, "discovery has a resource without its name");
		discovery_legacy_entry(a, list, it.val);
	}
	*ret = v;
	return NULL;
}

/* ---- asking */

static struct err *discovery_ask_legacy(struct arena *a, struct aggregate_entry *e,
					struct json **ret)
{
	const struct aggregate_question q = {
		.path = arena_fmt(a, "/apis/" STR_FMT "/" STR_FMT, STR_ARG(e->group),
				  STR_ARG(e->version)),
		.accept = "application/json",
		.max = DISCOVERY_MAX_BODY,
	};
	struct http_client_response resp = { 0 };
	struct json *doc = NULL;

	TRY(aggregate_ask(a, e, &q, &resp));
	if (resp.status != 200)
		return err_new(ERR_UNAVAILABLE, "discovery was answered with status %d",
			       resp.status);
	TRY(json_parse(a, resp.body, &doc));
	return discovery_from_legacy(a, e, doc, ret);
}

/* *ret stays NULL when what we have is still true. */
static struct err *discovery_ask(struct arena *a, struct aggregate_entry *e, struct json **ret,
				 struct str *ret_etag)
{
	const struct aggregate_question q = {
		.path = STR("/apis"),
		.accept = DISCOVERY_ACCEPT,
		.etag = e->discovery.etag,
		.max = DISCOVERY_MAX_BODY,
	};
	struct http_client_response resp = { 0 };
	struct json *doc = NULL;

	TRY(aggregate_ask(a, e, &q, &resp));
	if (resp.status == 304 && q.etag.n)
		return NULL;
	if (resp.status != 200 ||
	    !discovery_type_is_aggregated(http_headers_find(&resp.headers, "content-type")))
		return discovery_ask_legacy(a, e, ret);
	TRY(json_parse(a, resp.body, &doc));
	*ret = discovery_pick(a, doc, e);
	*ret_etag = http_headers_find(&resp.headers, "etag");
	return discovery_check_version(a, *ret);
}

void aggregate_discovery_refresh(struct aggregate_entry *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str etag = STR_EMPTY;
	struct json *v = NULL;
	struct err *err = e->available ? discovery_ask(a, e, &v, &etag)
				       : err_new(ERR_UNAVAILABLE, "service unavailable");

	e->discovery_fresh = !err;
	if (!err && v) {
		struct aggregate_doc next = { .arena = arena_new() };

		next.json = json_copy(next.arena, v);
		next.etag = arena_str(next.arena, etag);
		aggregate_doc_keep(&e->discovery, &next);
	} else if (err) {
		/* upstream forgets it too: what cannot be asked is not promised */
		aggregate_doc_keep(&e->discovery, &(struct aggregate_doc){ 0 });
	}
	err_log(NULL, LOG_DEBUG, "discovery of an aggregated API failed", err);
}
