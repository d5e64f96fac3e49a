/* SPDX-License-Identifier: Apache-2.0 */
#include "server/resource.h"

#include "api/gvk.h"
#include "api/schema.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"

/*
 * Resources by "group/plural". There are some hundred of them, and requests look up one: the
 * other queries walk the list.
 */
struct registry {
	struct schema_registry *types;
	struct map by_name;
	struct list all, listeners;
	uint64_t generation;
};

const struct resource *resource_ref(const struct resource *res)
{
	struct resource *r = (struct resource *)(uintptr_t)res;

	r->refs++;
	return res;
}

const struct resource *resource_unref(const struct resource *res)
{
	struct resource *r = (struct resource *)(uintptr_t)res;

	if (r && --r->refs == 0 && r->release)
		r->release(r);
	return NULL;
}

const struct resource_version *resource_version_find(const struct resource *res, struct str version)
{
	for (size_t i = 0; i < res->n_versions; i++) {
		if (res->versions[i].served && str_eq(res->versions[i].version, version))
			return &res->versions[i];
	}
	return NULL;
}

const struct subresource *subresource_find(const struct resource_version *v, struct str name)
{
	for (size_t i = 0; i < v->n_subresources; i++) {
		if (str_eq(v->subresources[i].name, name))
			return &v->subresources[i];
	}
	return NULL;
}

const struct schema *resource_schema(struct registry *reg, const struct resource *res,
				     const struct resource_version *v)
{
	if (v->schema || str_empty(v->type) || !reg->types)
		return v->schema;
	/* a cache in a published struct: the registry's types outlive it */
	((struct resource_version *)(uintptr_t)v)->schema =
		schema_registry_find(reg->types, v->type);
	return v->schema;
}

struct str resource_stored_group(const struct resource *res)
{
	struct str group = res->store_name, name;

	return str_cut(&group, '.', &name) ? group : STR_EMPTY;
}

struct str resource_api_version(struct arena *a, const struct resource *res,
				const struct resource_version *v)
{
	return str_empty(res->group) ? v->version : gv_format(a, res->group, v->version);
}

struct registry *registry_new(struct schema_registry *types)
{
	struct registry *reg = mem_new(struct registry);

	reg->types = types;
	list_init(&reg->all);
	list_init(&reg->listeners);
	return reg;
}

struct registry *registry_free(struct registry *reg)
{
	struct resource *res, *tmp;

	if (!reg)
		return NULL;
	list_for_each_safe(res, tmp, &reg->all, link) {
		list_unlink(&res->link);
		resource_unref(res);
	}
	map_fini(&reg->by_name);
	free(reg);
	return NULL;
}

struct schema_registry *registry_types(struct registry *reg)
{
	return reg->types;
}

static struct str registry_key(struct buf *b, struct str group, struct str plural)
{
	buf_add(b, group);
	buf_addc(b, '/');
	buf_add(b, plural);
	return buf_str(b);
}

static void registry_notify(struct registry *reg, const struct resource *old,
			    const struct resource *new)
{
	struct registry_listener *l, *tmp;

	reg->generation++;
	list_for_each_safe(l, tmp, &reg->listeners, link)
		l->changed(l, old, new);
}

void registry_add(struct registry *reg, struct resource *res)
{
	static const struct strategy none;
	_cleanup_buf_ struct buf b = { 0 };
	struct str key = registry_key(&b, res->group, res->plural);
	struct resource *old = map_find(&reg->by_name, key);

	if (!res->strategy)
		res->strategy = &none;
	res->refs = MAX(res->refs, 1);
	map_put(&reg->by_name, key, res);
	if (old) {
		list_insert_before(&old->link, &res->link);
		list_unlink(&old->link);
	} else {
		list_push_back(&reg->all, &res->link);
	}
	registry_notify(reg, old, res);
	resource_unref(old);
}

void registry_del(struct registry *reg, struct str group, struct str plural)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct resource *old = map_del(&reg->by_name, registry_key(&b, group, plural));

	if (!old)
		return;
	list_unlink(&old->link);
	registry_notify(reg, old, NULL);
	resource_unref(old);
}

const struct resource *registry_find(struct registry *reg, struct str group, struct str version,
				     struct str plural, const struct resource_version **ret_v)
{
	_cleanup_buf_ struct buf b = { 0 };
	const struct resource *res = map_find(&reg->by_name, registry_key(&b, group, plural));
	const struct resource_version *v = res ? resource_version_find(res, version) : NULL;

	if (!v)
		return NULL;
	*ret_v = v;
	return res;
}

const struct resource *registry_find_kind(struct registry *reg, struct str group,
					  struct str version, struct str kind,
					  const struct resource_version **ret_v)
{
	struct resource *res;

	list_for_each(res, &reg->all, link) {
		const struct resource_version *v;

		if (!str_eq(res->group, group) || !str_eq(res->kind, kind))
			continue;
		v = resource_version_find(res, version);
		if (!v)
			continue;
		*ret_v = v;
		return res;
	}
	return NULL;
}

const struct resource *registry_find_stored(struct registry *reg, struct str store_name)
{
	struct str group = store_name, plural;
	struct resource *res;
	_cleanup_buf_ struct buf b = { 0 };

	str_cut(&group, '.', &plural);
	res = map_find(&reg->by_name, registry_key(&b, group, plural));
	if (res && str_eq(res->store_name, store_name))
		return res;
	list_for_each(res, &reg->all, link) {
		if (str_eq(res->store_name, store_name))
			return res;
	}
	return NULL;
}

bool registry_has_group(struct registry *reg, struct str group)
{
	struct resource *res;

	list_for_each(res, &reg->all, link) {
		if (str_eq(res->group, group))
			return true;
	}
	return false;
}

bool registry_has_version(struct registry *reg, struct str group, struct str version)
{
	struct resource *res;

	list_for_each(res, &reg->all, link) {
		if (str_eq(res->group, group) && resource_version_find(res, version))
			return true;
	}
	return false;
}

const struct resource *registry_next(struct registry *reg, const struct resource *prev)
{
	struct list *next = prev ? prev->link.next : reg->all.next;

	return next == &reg->all ? NULL : list_entry(next, struct resource, link);
}

uint64_t registry_generation(const struct registry *reg)
{
	return reg->generation;
}

void registry_listen(struct registry *reg, struct registry_listener *l)
{
	list_push_back(&reg->listeners, &l->link);
}
