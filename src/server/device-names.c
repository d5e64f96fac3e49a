/* SPDX-License-Identifier: Apache-2.0 */

#include "server/device-names.h"

#include "api/names.h"
#include "server/valid.h"
#include "json/json.h"

#define ID_MAX         32
#define CONDITIONS_MAX 4

bool device_list_fits(const struct valid *v, const struct json *list, size_t max,
		      const struct place *p)
{
	if (json_len(list) <= max)
		return true;
	valid_too_many(v, p, json_len(list), max);
	return false;
}

void device_list_unique(const struct valid *v, const struct json *list, const char *member,
			const struct place *p)
{
	const bool *again = json_repeats(v->a, list, member);

	json_for_each(it, list)
	{
		const struct json *key = member ? json_get(it.val, member) : it.val;

		if (again && again[it.i])
			valid_duplicate(v, AT_IDX(p, it.i), key);
	}
}

void device_name_validate(const struct valid *v, struct str name,
			  const char *(*check)(struct str s), const struct place *p)
{
	const char *why = check(name);

	if (why)
		valid_invalid_str(v, p, name, "%s", why);
}

void device_pool_validate(const struct valid *v, struct str name, const struct place *p)
{
	size_t slash;

	if (str_empty(name)) {
		valid_required(v, p, NULL);
		return;
	}
	if (name.n > 253)
		valid_too_long(v, p, 253);
	while ((slash = str_find_char(name, '/', 0)) < name.n) {
		device_name_validate(v, str_sub(name, 0, slash), name_check_dns_subdomain, p);
		name = str_skip(name, slash + 1);
	}
	device_name_validate(v, name, name_check_dns_subdomain, p);
}

static void identifier_validate(const struct valid *v, struct str id, const struct place *p)
{
	bool ok = id.n && !(id.p[0] >= '0' && id.p[0] <= '9');

	if (id.n > ID_MAX)
		valid_too_long(v, p, ID_MAX);
	for (size_t i = 0; i < id.n; i++)
		ok &= (id.p[i] >= '0' && id.p[i] <= '9') || (id.p[i] >= 'a' && id.p[i] <= 'z') ||
		      (id.p[i] >= 'A' && id.p[i] <= 'Z') || id.p[i] == '_';
	if (!ok)
		valid_invalid_str(v, p, id,
				  "a valid C identifier must start with alphabetic character or "
				  "'_', followed by a string of alphanumeric characters or '_' "
				  "(e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for "
				  "validation is '[A-Za-z_][A-Za-z0-9_]*')");
}

void device_attribute_name_validate(const struct valid *v, struct str name, bool full,
				    const struct place *p)
{
	struct str id = name, domain;

	if (!str_cut(&id, '/', &domain)) {
		identifier_validate(v, name, p);
		if (full)
			valid_invalid_str(v, p, name,
					  "a fully qualified name must be a domain and a name "
					  "separated by a slash");
		return;
	}
	/* upstream lets names with more slashes pass */
	if (str_find_char(id, '/', 0) < id.n)
		return;
	if (str_empty(domain))
		valid_invalid_str(v, p, STR_EMPTY, "the domain must not be empty");
	else
		csi_driver_name_validate(v, domain, p);
	if (str_empty(id))
		valid_invalid_str(v, p, STR_EMPTY, "the name must not be empty");
	else
		identifier_validate(v, id, p);
}

void device_label_validate(const struct valid *v, struct str key, const struct place *p)
{
	const char *why =
		str_empty(key) ? name_check_qualified_part(key) : name_check_qualified(key);

	if (str_empty(key))
		valid_invalid_str(v, p, key, "name part must be non-empty");
	if (why)
		valid_invalid_str(v, p, key, "%s", why);
}

static void conditions_validate(const struct valid *v, const struct json *list,
				const struct place *p)
{
	if (!device_list_fits(v, list, CONDITIONS_MAX, p))
		return;
	json_for_each(it, list) device_label_validate(v, json_as_str(it.val), AT_IDX(p, it.i));
}

void device_binding_validate(const struct valid *v, const struct json *obj, const struct place *p)
{
	const struct json *good = json_get(obj, "bindingConditions");
	const struct json *bad = json_get(obj, "bindingFailureConditions");
	const struct place *gp = AT(p, "bindingConditions"),
			   *bp = AT(p, "bindingFailureConditions");

	conditions_validate(v, good, gp);
	conditions_validate(v, bad, bp);
	device_list_unique(v, good, NULL, gp);
	device_list_unique(v, bad, NULL, bp);
	json_for_each(it, bad)
	{
		json_for_each(jt, good)
		{
			if (json_equal(it.val, jt.val))
				valid_invalid(v, AT_IDX(bp, it.i), it.val,
					      "bindingFailureConditions must not overlap with "
					      "bindingConditions");
		}
	}
	if (!json_len(good) && json_len(bad))
		valid_invalid(v, gp, good,
			      "bindingConditions are required to use bindingFailureConditions");
	if (!json_len(bad) && json_len(good))
		valid_invalid(v, bp, bad,
			      "bindingFailureConditions are required to use bindingConditions");
}
