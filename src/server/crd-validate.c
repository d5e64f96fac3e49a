/* SPDX-License-Identifier: Apache-2.0 */

/* The rules of a CustomResourceDefinition, in upstream's words; its schemas are checked by
 * api/schema. */

#include "server/crd-validate.h"

#include <ctype.h>

#include "api/cel-rules.h"
#include "api/meta.h"
#include "api/names.h"
#include "api/print.h"
#include "api/schema.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/errors.h"
#include "server/hook-config.h"
#include "json/json.h"

struct crd_check {
	struct arena *a;
	struct err **e;
	struct schema_registry *types;
};

#define APPROVAL_SEE "see https://github.com/kubernetes/enhancements/pull/1111"

const char *const crd_approval_texts[] = {
	[CRD_APPROVAL_MISSING] = "protected groups must have approval annotation \"" CRD_APPROVED
				 "\", " APPROVAL_SEE,
	[CRD_APPROVAL_INVALID] = "protected groups must have approval annotation \"" CRD_APPROVED
				 "\" with either a URL or a reason starting with "
				 "\"unapproved\", " APPROVAL_SEE,
	[CRD_APPROVAL_BYPASSED] = "not approved: ",
	[CRD_APPROVAL_GIVEN] = "approved in ",
};

enum crd_approval crd_approval(const struct json *crd)
{
	struct str s = meta_annotation(crd, CRD_APPROVED);
	size_t colon = str_find(s, STR("://"));

	if (!s.n)
		return CRD_APPROVAL_MISSING;
	if (str_has_prefix(s, STR("unapproved")))
		return CRD_APPROVAL_BYPASSED;
	if (colon > 0 && colon + 3 < s.n && s.p[colon + 3] != '/' &&
	    str_find_char(s, ' ', 0) >= s.n)
		return CRD_APPROVAL_GIVEN;
	return CRD_APPROVAL_INVALID;
}

bool crd_group_protected(struct str group)
{
	return str_eqz(group, "k8s.io") || str_eqz(group, "kubernetes.io") ||
	       str_has_suffix(group, STR(".k8s.io")) ||
	       str_has_suffix(group, STR(".kubernetes.io"));
}

static struct str crd_path(const struct crd_check *c, struct str base, const char *name)
{
	return arena_fmt(c->a, STR_FMT ".%s", STR_ARG(base), name);
}

static struct str crd_lower(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1);

	for (size_t i = 0; i < s.n; i++)
		p[i] = (char)tolower((unsigned char)s.p[i]);
	return str_make(p, s.n);
}

/* ---- names */

static void crd_check_label(const struct crd_check *c, struct str field, struct str val)
{
	const char *bad = val.n ? name_check_dns1035_label(crd_lower(c->a, val)) : NULL;

	if (bad)
		cause_invalid_str(c->e, field, val,
				  "may have mixed case, but should otherwise match: %s", bad);
}

static void crd_check_lower_label(const struct crd_check *c, struct str field, struct str val)
{
	const char *bad = name_check_dns1035_label(val);

	if (bad)
		cause_invalid_str(c->e, field, val, "%s", bad);
}

static void crd_check_names(const struct crd_check *c, const struct json *names)
{
	struct str base = STR("spec.names"), kind = json_str_at(names, "kind");
	struct str list_kind = json_str_at(names, "listKind");
	static const char *const required[] = { "plural", "singular", "kind", "listKind" };
	static const char *const lists[] = { "shortNames", "categories" };

	for (size_t i = 0; i < ARRAY_LEN(required); i++)
		if (!json_str_at(names, required[i]).n)
			cause_required(c->e, crd_path(c, base, required[i]), NULL);
	for (size_t i = 0; i < 2; i++)
		if (json_str_at(names, required[i]).n)
			crd_check_lower_label(c, crd_path(c, base, required[i]),
					      json_str_at(names, required[i]));
	crd_check_label(c, STR("spec.names.kind"), kind);
	crd_check_label(c, STR("spec.names.listKind"), list_kind);
	if (kind.n && str_eq(kind, list_kind))
		cause_invalid_str(c->e, STR("spec.names.listKind"), list_kind,
				  "kind and listKind may not be the same");
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		json_for_each(it, json_get(names, lists[i])) crd_check_lower_label(
			c, arena_fmt(c->a, "spec.names.%s[%zu]", lists[i], it.i),
			json_as_str(it.val));
}

static void crd_check_approval(const struct crd_check *c, const struct json *crd,
			       const struct json *old)
{
	struct str at = STR("metadata.annotations[" CRD_APPROVED "]");
	enum crd_approval state = crd_approval(crd);

	if (!crd_group_protected(json_str_at(crd, "spec.group")) ||
	    (old && crd_approval(old) == state))
		return;
	if (state == CRD_APPROVAL_MISSING)
		cause_required(c->e, at, crd_approval_texts[state]);
	else if (state == CRD_APPROVAL_INVALID)
		cause_invalid_str(c->e, at, meta_annotation(crd, CRD_APPROVED), "%s",
				  crd_approval_texts[state]);
}

static void crd_check_group(const struct crd_check *c, const struct json *crd)
{
	struct str group = json_str_at(crd, "spec.group"),
		   plural = json_str_at(crd, "spec.names.plural");
	const char *bad = group.n ? name_check_dns_subdomain(group) : NULL;

	if (!group.n)
		cause_required(c->e, STR("spec.group"), NULL);
	else if (bad)
		cause_invalid_str(c->e, STR("spec.group"), group, "%s", bad);
	else if (!str_contains(group, STR(".")))
		cause_invalid_str(c->e, STR("spec.group"), group,
				  "should be a domain with at least one dot");
	if (!str_eq(meta_name(crd),
		    arena_fmt(c->a, STR_FMT "." STR_FMT, STR_ARG(plural), STR_ARG(group))))
		cause_invalid_str(c->e, STR("metadata.name"), meta_name(crd),
				  "must be spec.names.plural+\".\"+spec.group");
}

/* ---- versions */

static void crd_check_scale(const struct crd_check *c, const struct json *scale, struct str base)
{
	static const struct {
		const char *name, *under, *text;
		bool required;
	} rows[] = {
		{ "specReplicasPath", ".spec.", "should be a json path under .spec", true },
		{ "statusReplicasPath", ".status.", "should be a json path under .status", true },
		{ "labelSelectorPath", "", "should be a json path under either .spec or .status",
		  false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str val = json_str_at(scale, rows[i].name),
			   at = crd_path(c, base, rows[i].name);

		if (!val.n) {
			if (rows[i].required)
				cause_required(c->e, at, NULL);
			continue;
		}
		if (val.p[0] != '.')
			cause_invalid_str(c->e, at, val,
					  "must be a simple json path starting with .");
		else if (*rows[i].under ? !str_has_prefix(val, str_from(rows[i].under))
					: !str_has_prefix(val, STR(".spec.")) &&
						  !str_has_prefix(val, STR(".status.")))
			cause_invalid_str(c->e, at, val, "%s", rows[i].text);
	}
}

static void crd_check_column(const struct crd_check *c, const struct json *col, struct str base)
{
	static const char *const types[] = { "boolean", "date", "integer", "number", "string" };
	static const char *const formats[] = { "byte",  "date",  "date-time", "double",
					       "float", "int32", "int64",     "password" };
	struct str type = json_str_at(col, "type"), path = json_str_at(col, "jsonPath");
	struct str format = json_str_at(col, "format");
	_cleanup_err_ struct err *bad = NULL;
	struct json *found = NULL;
	size_t i = 0, k = 0;

	if (!json_str_at(col, "name").n)
		cause_required(c->e, crd_path(c, base, "name"), NULL);
	while (i < ARRAY_LEN(types) && !str_eqz(type, types[i]))
		i++;
	if (!type.n)
		cause_required(c->e, crd_path(c, base, "type"),
			       "must be one of boolean,date,integer,number,string");
	else if (i == ARRAY_LEN(types))
		cause_invalid_str(c->e, crd_path(c, base, "type"), type,
				  "must be one of boolean,date,integer,number,string");
	while (k < ARRAY_LEN(formats) && !str_eqz(format, formats[k]))
		k++;
	if (format.n && k == ARRAY_LEN(formats))
		cause_invalid_str(c->e, crd_path(c, base, "format"), format,
				  "must be one of "
				  "byte,date,date-time,double,float,int32,int64,password");
	if (!path.n) {
		cause_required(c->e, crd_path(c, base, "JSONPath"), NULL);
		return;
	}
	bad = jsonpath_find(c->a, NULL, path, &found);
	if (bad || path.p[0] != '.')
		cause_invalid_str(c->e, crd_path(c, base, "JSONPath"), path,
				  "must be a simple json path starting with .");
}

/* The schema at a path of member names; NULL: there is none. */
static const struct json *crd_field_schema(const struct json *schema, struct str path)
{
	struct str part;

	str_strip_prefix(&path, STR("."));
	while (str_split_next(&path, '.', &part)) {
		const struct json *next = json_get_s(json_get(schema, "properties"), part);

		schema = next ? next : json_get(schema, "additionalProperties");
	}
	return schema;
}

static bool crd_selectable(const struct json *schema)
{
	struct str type = json_str_at(schema, "type");

	return str_eqz(type, "string") || str_eqz(type, "integer") || str_eqz(type, "boolean");
}

/* True when the field is one that counts. */
static bool crd_check_field(const struct crd_check *c, const struct json *fields, size_t i,
			    const struct json *schema, struct str base)
{
	struct str path = json_str_at(json_idx(fields, i), "jsonPath");
	struct str at =
		arena_fmt(c->a, STR_FMT ".selectableFields[%zu].jsonPath", STR_ARG(base), i);
	bool meta = str_eqz(path, ".metadata") || str_has_prefix(path, STR(".metadata."));
	const struct json *found = crd_field_schema(schema, path);

	if (!path.n) {
		cause_required(c->e, at, NULL);
		return false;
	}
	if (!jsonpath_is_simple(path) || (!found && !meta)) {
		cause_invalid_str(c->e, at, path,
				  "is an invalid path: does not refer to a valid field");
		return false;
	}
	if (meta)
		cause_invalid_str(c->e, at, path, "must not point to fields in metadata");
	if (!meta && !crd_selectable(found))
		cause_invalid_str(c->e, at, path,
				  "must point to a field of type string, boolean or integer. Enum "
				  "string fields and strings with formats are allowed.");
	for (size_t k = 0; k < i; k++)
		if (str_eq(json_str_at(json_idx(fields, k), "jsonPath"), path)) {
			cause_duplicate(c->e, at, json_get(json_idx(fields, i), "jsonPath"));
			return false;
		}
	return true;
}

static void crd_check_fields(const struct crd_check *c, const struct json *v, struct str base)
{
	const struct json *fields = json_get(v, "selectableFields");
	const struct json *schema = json_at(v, "schema.openAPIV3Schema");
	size_t n = 0;

	json_for_each(it, fields) n += crd_check_field(c, fields, it.i, schema, base);
	if (n > 8)
		err_add_cause(*c->e ? *c->e : (*c->e = err_new(ERR_INVALID, "invalid")),
			      crd_path(c, base, "selectableFields"), STR("FieldValueTooMany"),
			      arena_fmt(c->a, "Too many: %zu: must have at most 8 items", n));
}

static void crd_take_causes(const struct crd_check *c, struct err *from)
{
	for (size_t i = 0; from && i < err_n_causes(from); i++) {
		struct err_cause x = err_get_cause(from, i);

		if (!*c->e)
			*c->e = err_new(ERR_INVALID, "invalid");
		err_add_cause(*c->e, x.field, x.reason, x.message);
	}
	err_free(from);
}

static void crd_check_schema(const struct crd_check *c, const struct json *v, struct str at)
{
	const struct json *schema = json_at(v, "schema.openAPIV3Schema");
	struct schema *s = NULL;

	if (!json_is(schema, JSON_OBJECT))
		return;
	crd_take_causes(c, schema_compile(c->types, schema, at, &s));
	if (s)
		cel_rules_compile(s, schema, at, c->e);
	schema_unref(s);
}

static void crd_check_deprecation(const struct crd_check *c, const struct json *v, struct str own)
{
	const struct json *text = json_get(v, "deprecationWarning");
	struct str s = json_as_str(text), at = crd_path(c, own, "deprecationWarning");

	if (json_is_null(text))
		return;
	if (!json_bool_at(v, "deprecated", false)) {
		cause_invalid_str(c->e, at, s, "can only be set for deprecated versions");
		return;
	}
	if (s.n > 256)
		cause_invalid_str(c->e, at, s, "must be <= 256 characters long");
	if (!s.n)
		cause_invalid_str(c->e, at, s, "must not be an empty string");
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f) {
			cause_invalid_str(c->e, at, s,
					  "must only contain printable UTF-8 characters; "
					  "non-printable character found at index %zu",
					  i);
			break;
		}
}

/* Whether all versions say the same there: upstream then folds it into the top, and so do paths. */
static bool crd_all_alike(const struct json *versions, const char *member)
{
	const struct json *one = json_get(json_idx(versions, 0), member);

	json_for_each(it, versions)
	{
		const struct json *v = json_get(it.val, member);

		if (!json_equal(one, v) && !(json_is_null(one) && json_is_null(v)))
			return false;
	}
	return true;
}

static void crd_check_version(const struct crd_check *c, const struct json *versions, size_t i)
{
	const struct json *v = json_idx(versions, i), *scale = json_at(v, "subresources.scale");
	struct str own = arena_fmt(c->a, "spec.versions[%zu]", i), name = json_str_at(v, "name");
	struct str base = crd_all_alike(versions, "additionalPrinterColumns") ? STR("spec") : own;
	const char *bad = name_check_dns1035_label(name);
	bool first = i == 0, alike = crd_all_alike(versions, "schema");

	if (!json_is(json_at(v, "schema.openAPIV3Schema"), JSON_OBJECT))
		cause_required(c->e, crd_path(c, own, "schema.openAPIV3Schema"), NULL);
	if (bad)
		cause_invalid_str(c->e, crd_path(c, own, "name"), name, "%s", bad);
	crd_check_deprecation(c, v, own);
	if (!alike || first)
		crd_check_schema(c, v,
				 alike ? STR("spec.validation.openAPIV3Schema")
				       : crd_path(c, own, "schema.openAPIV3Schema"));
	alike = crd_all_alike(versions, "subresources");
	if (scale && (!alike || first))
		crd_check_scale(c, scale,
				crd_path(c, alike ? STR("spec") : own, "subresources.scale"));
	if (base.n != 4 || first)
		json_for_each(it, json_get(v, "additionalPrinterColumns"))
			crd_check_column(c, it.val,
					 arena_fmt(c->a, STR_FMT ".additionalPrinterColumns[%zu]",
						   STR_ARG(base), it.i));
	alike = crd_all_alike(versions, "selectableFields");
	if (!alike || first)
		crd_check_fields(c, v, alike ? STR("spec") : own);
}

static void crd_check_versions(const struct crd_check *c, const struct json *versions)
{
	size_t storage = 0;
	bool unique = true;

	json_for_each(it, versions)
	{
		storage += json_bool_at(it.val, "storage", false);
		for (size_t k = 0; k < it.i; k++)
			unique &= !str_eq(json_str_at(json_idx(versions, k), "name"),
					  json_str_at(it.val, "name"));
		crd_check_version(c, versions, it.i);
	}
	if (!unique)
		cause_invalid(c->e, STR("spec.versions"), versions,
			      "must contain unique version names");
	if (storage != 1)
		cause_invalid(c->e, STR("spec.versions"), versions,
			      "must have exactly one version marked as storage version");
}

static bool crd_knows_review(const struct json *versions)
{
	json_for_each(it, versions)
	{
		if (str_eqz(json_as_str(it.val), "v1") || str_eqz(json_as_str(it.val), "v1beta1"))
			return true;
	}
	return false;
}

static bool crd_repeats(const struct json *list, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (json_equal(json_idx(list, k), json_idx(list, i)))
			return true;
	return false;
}

static void crd_check_reviews(const struct crd_check *c, const struct json *versions,
			      const struct json *old)
{
	struct str at = STR("spec.conversion.conversionReviewVersions");

	if (!json_len(versions)) {
		cause_required(c->e, at, NULL);
		return;
	}
	json_for_each(it, versions)
	{
		struct str one = arena_fmt(c->a, STR_FMT "[%zu]", STR_ARG(at), it.i);

		if (crd_repeats(versions, it.i))
			cause_invalid_str(c->e, one, json_as_str(it.val), "duplicate version");
		else
			crd_check_lower_label(c, one, json_as_str(it.val));
	}
	/* one that knew none before may go on so */
	if (!crd_knows_review(versions) && (!json_len(old) || crd_knows_review(old)))
		cause_invalid(c->e, at, versions, "must include at least one of v1, v1beta1");
}

static void crd_check_webhook(const struct crd_check *c, const struct json *hook,
			      const struct json *old)
{
	const struct json *client = json_get(hook, "clientConfig");
	struct str at = STR("spec.conversion.webhookClientConfig");

	if (json_is_null(client))
		cause_required(c->e, at, "required when strategy is set to Webhook");
	else
		hook_check_client(c->e, c->a, client, at);
	crd_check_reviews(c, json_get(hook, "conversionReviewVersions"),
			  json_get(old, "conversionReviewVersions"));
}

static void crd_check_conversion(const struct crd_check *c, const struct json *crd,
				 const struct json *old)
{
	static const char *const supported[] = { "None", "Webhook", NULL };
	const char *unset = "should not be set when strategy is not set to Webhook";
	struct str strategy = json_str_at(crd, "spec.conversion.strategy");
	const struct json *hook = json_at(crd, "spec.conversion.webhook");

	if (!strategy.n && json_at(crd, "spec.conversion"))
		cause_required(c->e, STR("spec.conversion.strategy"), NULL);
	else if (strategy.n && !str_eqz(strategy, "None") && !str_eqz(strategy, "Webhook"))
		cause_not_supported(c->e, STR("spec.conversion.strategy"), strategy, supported);
	if (str_eqz(strategy, "Webhook")) {
		crd_check_webhook(c, hook, json_at(old, "spec.conversion.webhook"));
	} else {
		if (json_get(hook, "clientConfig"))
			cause_forbidden(c->e, STR("spec.conversion.webhookClientConfig"), "%s",
					unset);
		if (json_len(json_get(hook, "conversionReviewVersions")))
			cause_forbidden(c->e, STR("spec.conversion.conversionReviewVersions"), "%s",
					unset);
	}
	if (json_bool_at(crd, "spec.preserveUnknownFields", false))
		cause_invalid(
			c->e, STR("spec.preserveUnknownFields"),
			json_at(crd, "spec.preserveUnknownFields"),
			"cannot set to true, set x-kubernetes-preserve-unknown-fields to true "
			"in spec.versions[*].schema instead");
}

/* ---- updates */

static void crd_check_immutable(const struct crd_check *c, const struct json *crd,
				const struct json *old)
{
	/* what the resource's name is made of never changes, the rest once objects may exist */
	static const char *const fields[] = { "spec.scope", "spec.names.kind", "spec.group",
					      "spec.names.plural" };
	bool established = condition_is_true(json_get(old, "status"), "Established");

	for (size_t i = established ? 0 : 2; i < ARRAY_LEN(fields); i++)
		if (!json_equal(json_at(crd, fields[i]), json_at(old, fields[i])))
			cause_invalid(c->e, str_from(fields[i]), json_at(crd, fields[i]),
				      "field is immutable");
}

static void crd_check_stored(const struct crd_check *c, const struct json *crd)
{
	const struct json *stored = json_at(crd, "status.storedVersions");
	const struct json *versions = json_at(crd, "spec.versions");

	if (!json_len(stored))
		cause_invalid(c->e, STR("status.storedVersions"), stored,
			      "must have at least one stored version");
	json_for_each(v, versions)
	{
		struct str name = json_str_at(v.val, "name");
		bool known = !json_len(stored) || !json_bool_at(v.val, "storage", false);

		json_for_each(it, stored) known |= str_eq(json_as_str(it.val), name);
		if (!known)
			cause_invalid(c->e, STR("status.storedVersions"), stored,
				      "must have the storage version " STR_FMT, STR_ARG(name));
	}
	json_for_each(it, stored)
	{
		struct str v = json_as_str(it.val);

		if (json_find_by(versions, "name", v))
			continue;
		cause_invalid_str(
			c->e, arena_fmt(c->a, "status.storedVersions[%zu]", it.i), v,
			"missing from spec.versions; " STR_FMT
			" was previously a storage version, and must remain in spec.versions "
			"until a storage migration ensures no data remains persisted in " STR_FMT
			" and removes " STR_FMT " from status.storedVersions",
			STR_ARG(v), STR_ARG(v), STR_ARG(v));
	}
}

void crd_validate(struct arena *a, struct schema_registry *types, const struct json *crd,
		  const struct json *old, struct err **e)
{
	static const char *const scopes[] = { "Cluster", "Namespaced", NULL };
	const struct crd_check c = { .a = a, .e = e, .types = types };
	struct str scope = json_str_at(crd, "spec.scope");

	crd_check_group(&c, crd);
	crd_check_approval(&c, crd, old);
	if (!scope.n)
		cause_required(e, STR("spec.scope"), NULL);
	else if (!str_eqz(scope, scopes[0]) && !str_eqz(scope, scopes[1]))
		cause_not_supported(e, STR("spec.scope"), scope, scopes);
	crd_check_names(&c, json_at(crd, "spec.names"));
	if (!old || !json_equal(json_at(crd, "spec.versions"), json_at(old, "spec.versions")))
		crd_check_versions(&c, json_at(crd, "spec.versions"));
	crd_check_conversion(&c, crd, old);
	if (old)
		crd_check_immutable(&c, crd, old);
	crd_check_stored(&c, crd);
}
