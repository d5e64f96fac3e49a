/* SPDX-License-Identifier: Apache-2.0 */

/* One PolicyRule against one request. */

#include "server/rbac.h"
#include "server/server.h"
#include "json/json.h"

static bool list_has(const struct json *arr, struct str s)
{
	json_for_each(it, arr)
	{
		struct str v = json_as_str(it.val);

		if (str_eqz(v, "*") || str_eq(v, s))
			return true;
	}
	return false;
}

/* "pods/log", "*", or a subresource of all: "*" followed by "/SUB" */
static bool rule_has_resource(const struct json *arr, const struct authz_attrs *at)
{
	json_for_each(it, arr)
	{
		struct str v = json_as_str(it.val), res;

		if (str_eqz(v, "*"))
			return true;
		if (str_empty(at->sub)) {
			if (str_eq(v, at->resource))
				return true;
			continue;
		}
		if (!str_cut(&v, '/', &res))
			continue;
		if (str_eq(v, at->sub) && (str_eqz(res, "*") || str_eq(res, at->resource)))
			return true;
	}
	return false;
}

static bool rule_has_name(const struct json *names, struct str name)
{
	if (!json_len(names))
		return true;
	json_for_each(it, names)
	{
		if (str_eq(json_as_str(it.val), name))
			return true;
	}
	return false;
}

static bool rule_has_path(const struct json *arr, struct str path)
{
	json_for_each(it, arr)
	{
		struct str v = json_as_str(it.val);

		if (str_eqz(v, "*") || str_eq(v, path))
			return true;
		if (!str_has_suffix(v, STR("*")))
			continue;
		while (str_strip_suffix(&v, STR("*")))
			continue;
		if (str_has_prefix(path, v))
			return true;
	}
	return false;
}

bool rule_allows(const struct json *rule, const struct authz_attrs *at)
{
	if (!list_has(json_get(rule, "verbs"), at->verb))
		return false;
	if (!at->is_resource)
		return rule_has_path(json_get(rule, "nonResourceURLs"), at->path);
	return list_has(json_get(rule, "apiGroups"), at->group) &&
	       rule_has_resource(json_get(rule, "resources"), at) &&
	       rule_has_name(json_get(rule, "resourceNames"), at->name);
}
