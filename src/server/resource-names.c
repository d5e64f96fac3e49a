/* SPDX-License-Identifier: Apache-2.0 */
#include "server/resource-names.h"

#include "api/names.h"
#include "base/arena.h"
#include "server/valid.h"
#include "json/json.h"

static const char *const container_names[] = { "cpu", "memory", "ephemeral-storage", NULL };

/* What only namespaces count. */
static const char *const quota_names[] = { "requests.cpu",
					   "requests.memory",
					   "requests.storage",
					   "requests.ephemeral-storage",
					   "limits.cpu",
					   "limits.memory",
					   "limits.ephemeral-storage",
					   "pods",
					   "resourcequotas",
					   "services",
					   "replicationcontrollers",
					   "secrets",
					   "configmaps",
					   "persistentvolumeclaims",
					   "services.nodeports",
					   "services.loadbalancers",
					   NULL };

static const char *const integer_names[] = { "pods",
					     "resourcequotas",
					     "services",
					     "replicationcontrollers",
					     "secrets",
					     "configmaps",
					     "persistentvolumeclaims",
					     "services.nodeports",
					     "services.loadbalancers",
					     NULL };

bool text_in(struct str s, const char *const *list)
{
	for (; *list; list++) {
		if (str_eqz(s, *list))
			return true;
	}
	return false;
}

static bool resource_is_plain(struct str name)
{
	return str_find_char(name, '/', 0) == name.n;
}

static bool resource_is_native(struct str name)
{
	return resource_is_plain(name) ||
	       str_contains(str_sub(name, 0, str_find_char(name, '/', 0)), STR("kubernetes.io"));
}

bool resource_is_huge(struct str name)
{
	return str_has_prefix(name, STR("hugepages-"));
}

static bool quota_is_huge(struct str name)
{
	return resource_is_huge(name) || str_has_prefix(name, STR("requests.hugepages-"));
}

bool resource_overcommits(struct str name)
{
	return resource_is_native(name) && !resource_is_huge(name);
}

struct json *valid_quantity_json(const struct valid *v, struct quantity q)
{
	return json_str(v->a, quantity_text(v->a, q));
}

bool valid_quantity(const struct valid *v, const struct json *j, struct quantity *q)
{
	return quantity_parse(json_is(j, JSON_STR) ? json_as_str(j) : json_text(v->a, j), q);
}

/* False: it is not even a name. */
static bool resource_name_form(const struct valid *v, struct str name, const struct place *p)
{
	const char *why = name_check_qualified(name);

	if (str_empty(name))
		valid_invalid_str(v, p, name, "name part must be non-empty");
	if (str_empty(name))
		why = name_check_qualified_part(name);
	if (why)
		valid_invalid_str(v, p, name, "%s", why);
	return !why;
}

void resource_name_validate(const struct valid *v, struct str name, const struct place *p)
{
	if (!resource_name_form(v, name, p) || !resource_is_plain(name))
		return;
	if (!text_in(name, container_names) && !text_in(name, quota_names) &&
	    !str_eqz(name, "storage") && !quota_is_huge(name))
		valid_invalid_str(v, p, name,
				  "must be a standard resource type or fully qualified");
}

void container_resource_name_validate(const struct valid *v, struct str name, const struct place *p)
{
	resource_name_validate(v, name, p);
	if (resource_is_plain(name) && !text_in(name, container_names) && !resource_is_huge(name))
		valid_invalid_str(v, p, name, "must be a standard resource for containers");
}

void quota_resource_name_validate(const struct valid *v, struct str name, const struct place *p)
{
	resource_name_validate(v, name, p);
	if (resource_is_plain(name) && !text_in(name, container_names) &&
	    !text_in(name, quota_names) && !quota_is_huge(name))
		valid_invalid_str(v, p, name, "must be a standard resource for quota");
}

void resource_quantity_validate(const struct valid *v, struct str name, const struct json *val,
				const struct place *p)
{
	struct quantity q, page;
	bool whole = text_in(name, integer_names) || !resource_is_native(name);

	if (!valid_quantity(v, val, &q))
		return; /* refused when it was decoded */
	if (q.nano < 0)
		valid_invalid(v, p, valid_quantity_json(v, q),
			      "must be greater than or equal to 0");
	if (whole && quantity_milli(q) % 1000)
		valid_invalid(v, p, valid_quantity_json(v, q), "must be an integer");
	if (resource_is_huge(name) && quantity_parse(str_skip(name, 10), &page) && page.nano > 0 &&
	    q.nano % page.nano)
		valid_invalid(v, p, valid_quantity_json(v, q),
			      STR_FMT " is not positive integer multiple of " STR_FMT,
			      STR_ARG(quantity_text(v->a, q)), STR_ARG(name));
}

void overhead_validate(const struct valid *v, const struct json *map, const struct place *p)
{
	json_for_each(it, map)
	{
		const struct place *at = AT_KEY(AT(p, "limits"), it.key);

		container_resource_name_validate(v, it.key, at);
		resource_quantity_validate(v, it.key, it.val, at);
	}
}
