/* SPDX-License-Identifier: Apache-2.0 */
#include "server/discovery.h"

#include <stdlib.h>

#include "api/gvk.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/aggregate.h"
#include "server/errors.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"
#include "json/json.h"
#include "json/yaml.h"

#define DISCOVERY_MAX_PATHS 1024
#define AGGREGATED_FORM     ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

/* How one resource is shown. Custom ones list their verbs in an order of their own, as upstream's
 * do. */
static const enum verb discovery_sorted[] = { VERB_CREATE, VERB_DELETE, VERB_DELETECOLLECTION,
					      VERB_GET,    VERB_LIST,   VERB_PATCH,
					      VERB_UPDATE, VERB_WATCH };
static const enum verb discovery_custom[] = { VERB_DELETE, VERB_DELETECOLLECTION,
					      VERB_GET,    VERB_LIST,
					      VERB_PATCH,  VERB_CREATE,
					      VERB_UPDATE, VERB_WATCH };

/* ---- groups and versions */

struct discovery_group {
	struct str name, first_name;
	int64_t priority;
	struct aggregate_version *versions;
	size_t n, cap;
};

struct discovery_groups {
	struct arena *a;
	struct discovery_group *v;
	size_t n, cap;
};

static struct discovery_group *discovery_group_of(struct discovery_groups *gs, struct str name)
{
	for (size_t i = 0; i < gs->n; i++)
		if (str_eq(gs->v[i].name, name))
			return &gs->v[i];
	if (gs->n == gs->cap) {
		struct discovery_group *more;

		gs->cap = gs->cap ? gs->cap * 2 : 32;
		more = arena_array(gs->a, gs->cap, sizeof(*more));
		if (gs->n)
			memcpy(more, gs->v, gs->n * sizeof(*more));
		gs->v = more;
	}
	gs->v[gs->n] = (struct discovery_group){ .name = name };
	return &gs->v[gs->n++];
}

static void discovery_add(struct discovery_groups *gs, const struct aggregate_version *v)
{
	struct discovery_group *g = discovery_group_of(gs, v->group);

	for (size_t i = 0; i < g->n; i++)
		if (str_eq(g->versions[i].version, v->version))
			return;
	if (g->n == g->cap) {
		struct aggregate_version *more;

		g->cap = g->cap ? g->cap * 2 : 4;
		more = arena_array(gs->a, g->cap, sizeof(*more));
		if (g->n)
			memcpy(more, g->versions, g->n * sizeof(*more));
		g->versions = more;
	}
	g->versions[g->n++] = *v;
	g->priority = MAX(g->priority, v->group_priority);
}

static int discovery_by_version(const void *x, const void *y)
{
	const struct aggregate_version *a = x, *b = y;

	if (a->version_priority != b->version_priority)
		return a->version_priority > b->version_priority ? -1 : 1;
	return -version_cmp(a->version, b->version);
}

static int discovery_by_priority(const void *x, const void *y)
{
	const struct discovery_group *a = x, *b = y;

	if (a->priority != b->priority)
		return a->priority > b->priority ? -1 : 1;
	return str_cmp(a->name, b->name);
}

/* The name of the APIService that puts g where it is: of those with its priority the first. */
static struct str discovery_first_name(struct arena *a, const struct discovery_group *g)
{
	struct str first = STR_EMPTY;

	for (size_t i = 0; i < g->n; i++) {
		struct str version = g->versions[i].version;

		if (g->versions[i].group_priority == g->priority &&
		    (!first.n || str_cmp(version, first) < 0))
			first = version;
	}
	return arena_fmt(a, STR_FMT "." STR_FMT, STR_ARG(first), STR_ARG(g->name));
}

static int discovery_by_first_name(const void *x, const void *y)
{
	const struct discovery_group *a = x, *b = y;

	if (a->priority != b->priority)
		return a->priority > b->priority ? -1 : 1;
	return str_cmp(a->first_name, b->first_name);
}

/* As upstream's list of groups has them, which differs from the aggregated document. */
static void discovery_sort_legacy(struct discovery_groups *gs)
{
	for (size_t i = 0; i < gs->n; i++)
		gs->v[i].first_name = discovery_first_name(gs->a, &gs->v[i]);
	if (gs->n)
		qsort(gs->v, gs->n, sizeof(*gs->v), discovery_by_first_name);
}

static struct discovery_groups discovery_collect(struct apiserver *s, struct arena *a, bool remotes)
{
	struct discovery_groups gs = { .a = a };
	struct aggregate_version *more = NULL;
	const struct resource *res = NULL;
	size_t n = remotes ? aggregate_remotes(a, &more) : 0;

	while ((res = registry_next(s->registry, res)))
		for (size_t i = 0; i < res->n_versions; i++) {
			struct str version = res->versions[i].version;
			const struct aggregate_version v = {
				.group = res->group,
				.version = version,
				.group_priority = aggregate_group_priority(res->group),
				.version_priority = aggregate_version_priority(res->group, version),
			};

			/* who answers is also who is asked what there is */
			if (res->versions[i].served &&
			    !(remotes && aggregate_is_remote(res->group, version)))
				discovery_add(&gs, &v);
		}
	for (size_t i = 0; i < n; i++)
		discovery_add(&gs, &more[i]);
	for (size_t i = 0; i < gs.n; i++)
		qsort(gs.v[i].versions, gs.v[i].n, sizeof(*gs.v[i].versions), discovery_by_version);
	if (gs.n)
		qsort(gs.v, gs.n, sizeof(*gs.v), discovery_by_priority);
	return gs;
}

size_t discovery_versions(struct apiserver *s, struct arena *a, struct discovery_gv **ret)
{
	struct discovery_groups gs = discovery_collect(s, a, false);
	struct discovery_gv *v;
	size_t n = 0;

	for (size_t i = 0; i < gs.n; i++)
		n += gs.v[i].n;
	v = arena_array(a, n ? n : 1, sizeof(*v));
	n = 0;
	for (size_t i = 0; i < gs.n; i++)
		for (size_t k = 0; k < gs.v[i].n; k++)
			v[n++] = (struct discovery_gv){ gs.v[i].name, gs.v[i].versions[k].version };
	*ret = v;
	return n;
}

struct str discovery_path(struct arena *a, struct discovery_gv gv)
{
	if (!gv.group.n)
		return arena_fmt(a, "/api/" STR_FMT, STR_ARG(gv.version));
	return arena_fmt(a, "/apis/" STR_FMT "/" STR_FMT, STR_ARG(gv.group), STR_ARG(gv.version));
}

/* ---- resources, the legacy way */

static struct json *discovery_verbs(struct arena *a, const struct resource *res, unsigned verbs)
{
	const enum verb *order = res->custom ? discovery_custom : discovery_sorted;
	struct json *out = json_array(a);

	for (size_t i = 0; i < ARRAY_LEN(discovery_sorted); i++)
		if (verbs & order[i])
			json_push(out, json_str(a, verb_name(order[i])));
	return out;
}

static struct json *discovery_strings(struct arena *a, const struct str *v, size_t n)
{
	struct json *out = json_array(a);

	for (size_t i = 0; i < n; i++)
		json_push(out, json_str(a, v[i]));
	return out;
}

/* Clients compare it with what they saw of other servers: what these store differently counts. */
static struct str discovery_storage_hash(struct arena *a, const struct resource *res)
{
	static const struct {
		const char *kind, *group, *version;
	} rows[] = {
		{ "Event", "", "v1" },
		{ "CustomResourceDefinition", "apiextensions.k8s.io", "v1beta1" },
		{ "MutatingAdmissionPolicy", "admissionregistration.k8s.io", "v1beta1" },
		{ "MutatingAdmissionPolicyBinding", "admissionregistration.k8s.io", "v1beta1" },
	};
	struct str group = res->group, version = res->versions[res->storage].version;
	uint8_t digest[32];

	for (size_t i = 0; !res->custom && i < ARRAY_LEN(rows); i++) {
		if (!str_eqz(res->kind, rows[i].kind))
			continue;
		group = str_from(rows[i].group);
		version = str_from(rows[i].version);
	}
	sha256(arena_fmt(a, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(group), STR_ARG(version),
			 STR_ARG(res->kind)),
	       digest);
	return base64_encode(a, str_make((const char *)digest, 8));
}

static void discovery_legacy_sub(struct arena *a, struct json *list, const struct resource *res,
				 const struct subresource *sub)
{
	struct json *r = json_object(a);

	json_set(a, r, "name",
		 json_strf(a, STR_FMT "/" STR_FMT, STR_ARG(res->plural), STR_ARG(sub->name)));
	json_set_str(a, r, "singularName", STR_EMPTY);
	json_set_bool(a, r, "namespaced", res->namespaced);
	if (sub->kind_version.n) {
		json_set_str(a, r, "group", sub->kind_group);
		json_set_str(a, r, "version", sub->kind_version);
	}
	json_set_str(a, r, "kind", sub->kind.n ? sub->kind : res->kind);
	json_set(a, r, "verbs", discovery_verbs(a, res, sub->verbs));
	json_push(list, r);
}

static void discovery_legacy_resource(struct arena *a, struct json *list,
				      const struct resource *res, const struct resource_version *v)
{
	struct json *r = json_object(a);

	json_set_str(a, r, "name", res->plural);
	json_set_str(a, r, "singularName", res->singular);
	json_set_bool(a, r, "namespaced", res->namespaced);
	json_set_str(a, r, "kind", res->kind);
	json_set(a, r, "verbs", discovery_verbs(a, res, res->verbs));
	if (res->n_short_names)
		json_set(a, r, "shortNames",
			 discovery_strings(a, res->short_names, res->n_short_names));
	if (res->n_categories)
		json_set(a, r, "categories",
			 discovery_strings(a, res->categories, res->n_categories));
	if (res->verbs & VERB_LIST && res->verbs & VERB_WATCH)
		json_set_str(a, r, "storageVersionHash", discovery_storage_hash(a, res));
	json_push(list, r);
	for (size_t i = 0; i < v->n_subresources; i++)
		discovery_legacy_sub(a, list, res, &v->subresources[i]);
}

static struct err *discovery_serve_resources(struct api_request *rq, struct str group,
					     struct str version)
{
	struct arena *a = rq->arena;
	struct json *doc = json_object(a), *list;
	const struct resource *res = NULL;

	json_set_str(a, doc, "kind", STR("APIResourceList"));
	if (group.n)
		json_set_str(a, doc, "apiVersion", STR("v1"));
	json_set_str(a, doc, "groupVersion", gv_format(a, group, version));
	list = json_sub_array(a, doc, "resources");
	while ((res = registry_next(rq->server->registry, res))) {
		const struct resource_version *v;

		if (!str_eq(res->group, group))
			continue;
		v = resource_version_find(res, version);
		if (v)
			discovery_legacy_resource(a, list, res, v);
	}
	respond_json(rq, 200, doc);
	return NULL;
}

static struct json *discovery_group_version(struct arena *a, struct str group, struct str version)
{
	struct json *v = json_object(a);

	json_set_str(a, v, "groupVersion", gv_format(a, group, version));
	json_set_str(a, v, "version", version);
	return v;
}

static struct json *discovery_group_json(struct arena *a, const struct discovery_group *g)
{
	struct json *j = json_object(a), *versions;

	json_set_str(a, j, "name", g->name);
	versions = json_sub_array(a, j, "versions");
	for (size_t i = 0; i < g->n; i++)
		json_push(versions, discovery_group_version(a, g->name, g->versions[i].version));
	json_set(a, j, "preferredVersion",
		 discovery_group_version(a, g->name, g->versions[0].version));
	return j;
}

static struct err *discovery_serve_group(struct api_request *rq, struct str name)
{
	struct discovery_groups gs = discovery_collect(rq->server, rq->arena, true);

	for (size_t i = 0; i < gs.n; i++) {
		struct json *doc;

		if (!name.n || !str_eq(gs.v[i].name, name))
			continue;
		doc = discovery_group_json(rq->arena, &gs.v[i]);
		json_set_first(rq->arena, doc, "apiVersion", json_strz(rq->arena, "v1"));
		json_set_first(rq->arena, doc, "kind", json_strz(rq->arena, "APIGroup"));
		respond_json(rq, 200, doc);
		return NULL;
	}
	respond_plain_error(rq, 404, STR("404 page not found"));
	return NULL;
}

static struct err *discovery_serve_groups(struct api_request *rq)
{
	struct arena *a = rq->arena;
	struct discovery_groups gs = discovery_collect(rq->server, a, true);
	struct json *doc = json_object(a), *list;

	discovery_sort_legacy(&gs);
	json_set_str(a, doc, "kind", STR("APIGroupList"));
	json_set_str(a, doc, "apiVersion", STR("v1"));
	list = json_sub_array(a, doc, "groups");
	for (size_t i = 0; i < gs.n; i++)
		if (gs.v[i].name.n)
			json_push(list, discovery_group_json(a, &gs.v[i]));
	respond_json(rq, 200, doc);
	return NULL;
}

static struct err *discovery_serve_core(struct api_request *rq)
{
	struct arena *a = rq->arena;
	struct json *doc = json_object(a), *addr = json_object(a);

	json_set_str(a, doc, "kind", STR("APIVersions"));
	json_push(json_sub_array(a, doc, "versions"), json_strz(a, "v1"));
	json_set_str(a, addr, "clientCIDR", STR("0.0.0.0/0"));
	json_set(a, addr, "serverAddress",
		 json_strf(a, STR_FMT ":%d", STR_ARG(rq->server->advertise_ip),
			   rq->server->advertise_port));
	json_push(json_sub_array(a, doc, "serverAddressByClientCIDRs"), addr);
	respond_json(rq, 200, doc);
	return NULL;
}

/* ---- the aggregated document */

static struct json *discovery_kind(struct arena *a, struct str group, struct str version,
				   struct str kind)
{
	struct json *k = json_object(a);

	json_set_str(a, k, "group", group);
	json_set_str(a, k, "version", version);
	json_set_str(a, k, "kind", kind);
	return k;
}

static struct json *discovery_sub_json(struct arena *a, const struct resource *res,
				       const struct resource_version *v,
				       const struct subresource *sub)
{
	struct json *j = json_object(a);
	struct str group = sub->kind_version.n ? sub->kind_group : STR_EMPTY;
	struct str version = sub->kind_version;

	if (!version.n && res->custom) {
		group = res->group;
		version = v->version;
	}
	json_set_str(a, j, "subresource", sub->name);
	json_set(a, j, "responseKind",
		 discovery_kind(a, group, version, sub->kind.n ? sub->kind : res->kind));
	json_set(a, j, "verbs", discovery_verbs(a, res, sub->verbs));
	return j;
}

static struct json *discovery_resource_json(struct arena *a, const struct resource *res,
					    const struct resource_version *v)
{
	struct json *j = json_object(a);

	json_set_str(a, j, "resource", res->plural);
	json_set(a, j, "responseKind",
		 discovery_kind(a, res->custom ? res->group : STR_EMPTY,
				res->custom ? v->version : STR_EMPTY, res->kind));
	json_set_str(a, j, "scope", res->namespaced ? STR("Namespaced") : STR("Cluster"));
	json_set_str(a, j, "singularResource", res->singular);
	json_set(a, j, "verbs", discovery_verbs(a, res, res->verbs));
	if (res->n_short_names)
		json_set(a, j, "shortNames",
			 discovery_strings(a, res->short_names, res->n_short_names));
	if (res->n_categories)
		json_set(a, j, "categories",
			 discovery_strings(a, res->categories, res->n_categories));
	for (size_t i = 0; i < v->n_subresources; i++)
		json_push(json_sub_array(a, j, "subresources"),
			  discovery_sub_json(a, res, v, &v->subresources[i]));
	return j;
}

static struct json *discovery_local_version(struct apiserver *s, struct arena *a, struct str group,
					    struct str version)
{
	struct json *j = json_object(a), *list;
	const struct resource *res = NULL;

	json_set_str(a, j, "version", version);
	list = json_sub_array(a, j, "resources");
	while ((res = registry_next(s->registry, res))) {
		const struct resource_version *v;

		if (!str_eq(res->group, group))
			continue;
		v = resource_version_find(res, version);
		if (v)
			json_push(list, discovery_resource_json(a, res, v));
	}
	json_set_str(a, j, "freshness", STR("Current"));
	return j;
}

static struct json *discovery_aggregated(struct apiserver *s, struct arena *a, bool core)
{
	struct discovery_groups gs = discovery_collect(s, a, true);
	struct json *doc = json_object(a), *items;

	json_set_str(a, doc, "kind", STR("APIGroupDiscoveryList"));
	json_set_str(a, doc, "apiVersion", STR("apidiscovery.k8s.io/v2"));
	json_sub(a, doc, "metadata");
	items = json_sub_array(a, doc, "items");
	for (size_t i = 0; i < gs.n; i++) {
		struct json *item, *meta, *versions;

		if ((gs.v[i].name.n == 0) != core)
			continue;
		item = json_object(a);
		meta = json_sub(a, item, "metadata");
		if (!core)
			json_set_str(a, meta, "name", gs.v[i].name);
		versions = json_sub_array(a, item, "versions");
		for (size_t k = 0; k < gs.v[i].n; k++) {
			const struct aggregate_version *v = &gs.v[i].versions[k];

			json_push(versions, v->discovery ? json_copy(a, v->discovery)
							 : discovery_local_version(s, a, v->group,
										   v->version));
		}
		json_push(items, item);
	}
	return doc;
}

static struct err *discovery_serve_aggregated(struct api_request *rq, bool core)
{
	struct json *doc = discovery_aggregated(rq->server, rq->arena, core);
	bool yaml = rq->out.media == MEDIA_YAML;
	const char *type =
		yaml ? "application/yaml" AGGREGATED_FORM : "application/json" AGGREGATED_FORM;
	_cleanup_buf_ struct buf b = { 0 };
	struct str etag;

	if (yaml)
		yaml_write(&b, doc);
	else
		json_write(&b, doc);
	if (!yaml)
		buf_addc(&b, '\n');
	etag = arena_fmt(rq->arena, "\"" STR_FMT "\"",
			 STR_ARG(sha512_hex_upper(rq->arena, buf_str(&b))));
	http_set_header(rq->x, "Vary", STR("Accept"));
	http_set_header(rq->x, "Cache-Control", STR("public"));
	http_set_header(rq->x, "ETag", etag);
	if (str_eq(http_headers_find(&rq->http->headers, "if-none-match"), etag))
		respond_text(rq, 304, type, STR_EMPTY);
	else
		respond_text(rq, 200, type, buf_str(&b));
	return NULL;
}

/* ---- paths */

static struct err *discovery_not_found(struct api_request *rq)
{
	respond_plain_error(rq, 404, STR("404 page not found"));
	return NULL;
}

/* "/api", "/apis". Upstream's list of groups takes any method. */
static struct err *discovery_serve_root(struct api_request *rq, bool core)
{
	bool aggregated = false;

	if (core && !str_eqz(rq->http->method, "GET"))
		return error_bad_method();
	TRY(negotiate_discovery(rq, core, &aggregated));
	if (aggregated)
		return discovery_serve_aggregated(rq, core);
	return core ? discovery_serve_core(rq) : discovery_serve_groups(rq);
}

static struct err *discovery_serve_version(struct api_request *rq, struct str group,
					   struct str version, struct str rest)
{
	struct registry *r = rq->server->registry;

	if (rest.n || !registry_has_version(r, group, version))
		return registry_has_group(r, group) ? error_no_path() : discovery_not_found(rq);
	if (!str_eqz(rq->http->method, "GET"))
		return error_bad_method();
	TRY(negotiate_discovery(rq, true, NULL));
	return discovery_serve_resources(rq, group, version);
}

static struct err *discovery_handle(struct path_handler *h UNUSED, struct api_request *rq)
{
	struct str rest = str_skip(rq->path, 1), root, group = STR_EMPTY, version;
	bool core;

	str_cut(&rest, '/', &root);
	core = str_eqz(root, "api");
	if (!core && !str_eqz(root, "apis"))
		return discovery_not_found(rq);
	if (!rest.n)
		return discovery_serve_root(rq, core);
	if (!core)
		str_cut(&rest, '/', &group);
	if (!core && !group.n)
		return discovery_not_found(rq);
	str_cut(&rest, '/', &version);
	if (version.n)
		return discovery_serve_version(rq, group, version, rest);
	TRY(negotiate_discovery(rq, false, NULL));
	return discovery_serve_group(rq, group);
}

static int discovery_by_text(const void *x, const void *y)
{
	const struct str *a = x, *b = y;

	return str_cmp(*a, *b);
}

/* "/": every path there is. */
static struct err *discovery_root(struct path_handler *h UNUSED, struct api_request *rq)
{
	struct arena *a = rq->arena;
	struct discovery_groups gs = discovery_collect(rq->server, a, true);
	struct json *doc = json_object(a), *list = json_sub_array(a, doc, "paths");
	struct path_handler *p = NULL;
	struct str *paths = arena_array(a, DISCOVERY_MAX_PATHS, sizeof(*paths));
	size_t n = 0;

	paths[n++] = STR("/apis/");
	for (size_t i = 0; i < gs.n && n < DISCOVERY_MAX_PATHS / 2; i++) {
		if (gs.v[i].name.n)
			paths[n++] = arena_fmt(a, "/apis/" STR_FMT, STR_ARG(gs.v[i].name));
		for (size_t k = 0; k < gs.v[i].n && n < DISCOVERY_MAX_PATHS / 2; k++)
			paths[n++] = discovery_path(
				a,
				(struct discovery_gv){ gs.v[i].name, gs.v[i].versions[k].version });
	}
	while ((p = apiserver_next_path(rq->server, p)) && n < DISCOVERY_MAX_PATHS) {
		struct str path = str_from(p->path);

		str_strip_suffix(&path, STR("*"));
		if (path.n > 1)
			paths[n++] = path;
	}
	qsort(paths, n, sizeof(*paths), discovery_by_text);
	for (size_t i = 0; i < n; i++)
		json_push(list, json_str(a, paths[i]));
	rq->out.pretty = true;
	respond_json(rq, 200, doc);
	return NULL;
}

struct err *discovery_init(struct apiserver *s)
{
	static struct path_handler handlers[] = {
		{ .path = "/", .handle = discovery_root },
		{ .path = "/index.html", .handle = discovery_root },
		{ .path = "/apis*", .handle = discovery_handle },
		{ .path = "/api*", .handle = discovery_handle },
	};

	for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
		apiserver_add_path(s, &handlers[i]);
	return NULL;
}
