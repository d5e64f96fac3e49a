/* SPDX-License-Identifier: Apache-2.0 */

/* The authorizer, named formats, and what opaque values have in common. */

#include "api/cel-value.h"
#include "api/names.h"
#include "api/schema-internal.h"
#include "base/arena.h"
#include "base/encode.h"

/* ---- the authorizer: a chain of values that collect what is asked */

static const struct cel_authz_val *cel_authz_of(const struct cel_val *v, enum cel_opaque o)
{
	return v->kind == CEL_OPAQUE && v->aux == o ? v->p : NULL;
}

static struct cel_authz_val *cel_authz_copy(struct cel_ctx *c, const struct cel_authz_val *v)
{
	struct cel_authz_val *copy = arena_new_obj(c->arena, struct cel_authz_val);

	if (v)
		*copy = *v;
	return copy;
}

struct cel_val cel_authorizer_val(struct cel_ctx *c, bool request_resource)
{
	struct cel_authz_val *v = cel_authz_copy(c, NULL);

	if (!c->run->authz)
		return cel_error_z(request_resource
					   ? "no such attribute(s): authorizer.requestResource"
					   : "no such attribute(s): authorizer");
	if (!request_resource)
		return cel_opaque(CEL_O_AUTHORIZER, v);
	v->check = c->run->authz->request_resource;
	v->check.is_resource = true;
	return cel_opaque(CEL_O_RESOURCE_CHECK, v);
}

static struct cel_val cel_authz_path(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct cel_authz_val *from = cel_authz_of(&a[0], CEL_O_AUTHORIZER);
	struct cel_authz_val *v;

	(void)n;
	if (!from || a[1].kind != CEL_STRING)
		return cel_no_overload();
	if (!str_trim(a[1].s).n)
		return cel_error_z("path must not be empty");
	v = cel_authz_copy(c, from);
	v->check.path = a[1].s;
	return cel_opaque(CEL_O_PATH_CHECK, v);
}

static struct cel_val cel_authz_group(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct cel_authz_val *from = cel_authz_of(&a[0], CEL_O_AUTHORIZER);
	struct cel_authz_val *v;

	(void)n;
	if (!from || a[1].kind != CEL_STRING)
		return cel_no_overload();
	v = cel_authz_copy(c, from);
	v->check.group = a[1].s;
	return cel_opaque(CEL_O_GROUP_CHECK, v);
}

static struct cel_val cel_authz_account(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct cel_authz_val *from = cel_authz_of(&a[0], CEL_O_AUTHORIZER);
	struct cel_authz_val *v;

	(void)n;
	if (!from || a[1].kind != CEL_STRING || a[2].kind != CEL_STRING)
		return cel_no_overload();
	if (name_check_dns_subdomain(a[2].s))
		return cel_error_z("Invalid service account name");
	if (name_check_dns_label(a[1].s))
		return cel_error_z("Invalid service account namespace");
	v = cel_authz_copy(c, from);
	v->check.sa_namespace = a[1].s;
	v->check.sa_name = a[2].s;
	return cel_opaque(CEL_O_AUTHORIZER, v);
}

static struct cel_val cel_authz_resource(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct cel_authz_val *from = cel_authz_of(&a[0], CEL_O_GROUP_CHECK);
	struct cel_authz_val *v;

	(void)n;
	if (!from || a[1].kind != CEL_STRING)
		return cel_no_overload();
	if (!str_trim(a[1].s).n)
		return cel_error_z("resource must not be empty");
	v = cel_authz_copy(c, from);
	v->check.resource = a[1].s;
	v->check.is_resource = true;
	return cel_opaque(CEL_O_RESOURCE_CHECK, v);
}

/* The functions that only narrow a resource check; which one the name says. */
static struct cel_val cel_authz_narrow(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct cel_authz_val *from = cel_authz_of(&a[0], CEL_O_RESOURCE_CHECK);
	struct str fn = c->node->fn->name;
	struct cel_authz_val *v;

	(void)n;
	if (!from || a[1].kind != CEL_STRING)
		return cel_no_overload();
	v = cel_authz_copy(c, from);
	if (str_eqz(fn, "subresource")) {
		v->check.subresource = a[1].s;
	} else if (str_eqz(fn, "namespace")) {
		v->check.namespace = a[1].s;
	} else if (str_eqz(fn, "name")) {
		v->check.name = a[1].s;
	} else if (str_eqz(fn, "fieldSelector")) {
		v->check.field_selector = a[1].s;
		v->check.has_field_selector = true;
	} else {
		v->check.label_selector = a[1].s;
		v->check.has_label_selector = true;
	}
	return cel_opaque(CEL_O_RESOURCE_CHECK, v);
}

static struct cel_val cel_authz_check(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct cel_authz_val *from = cel_authz_of(&a[0], CEL_O_RESOURCE_CHECK);
	struct cel_authz_val *v;

	(void)n;
	if (!from)
		from = cel_authz_of(&a[0], CEL_O_PATH_CHECK);
	if (!from || a[1].kind != CEL_STRING)
		return cel_no_overload();
	v = cel_authz_copy(c, from);
	v->check.verb = a[1].s;
	/* dear, so it is charged before it is done */
	if (c->cost + 350000 > c->limit) {
		c->exceeded = true;
		return cel_no_overload();
	}
	c->run->authz->check(c->run->authz->arg, c->arena, &v->check, &v->answer);
	return cel_opaque(CEL_O_DECISION, v);
}

static struct cel_val cel_authz_decision(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct cel_authz_val *v = cel_authz_of(&a[0], CEL_O_DECISION);
	struct str fn = c->node->fn->name;

	(void)n;
	if (!v)
		return cel_no_overload();
	if (str_eqz(fn, "allowed"))
		return cel_val_bool(v->answer.allowed);
	if (str_eqz(fn, "errored"))
		return cel_val_bool(v->answer.error.n > 0);
	return cel_val_str(str_eqz(fn, "error") ? v->answer.error : v->answer.reason);
}

const struct cel_fn_row cel_lib_authz[] = {
	{ "path", ".Zs>P", cel_authz_path, CEL_COST_ONE },
	{ "group", ".Zs>G", cel_authz_group, CEL_COST_ONE },
	{ "serviceAccount", ".Zss>Z", cel_authz_account, CEL_COST_ONE },
	{ "resource", ".Gs>R", cel_authz_resource, CEL_COST_ONE },
	{ "subresource", ".Rs>R", cel_authz_narrow, CEL_COST_ONE },
	{ "namespace", ".Rs>R", cel_authz_narrow, CEL_COST_ONE },
	{ "name", ".Rs>R", cel_authz_narrow, CEL_COST_ONE },
	{ "fieldSelector", ".Rs>R", cel_authz_narrow, CEL_COST_SELECTOR },
	{ "labelSelector", ".Rs>R", cel_authz_narrow, CEL_COST_SELECTOR },
	{ "check", ".Ps>E .Rs>E", cel_authz_check, CEL_COST_CHECK },
	{ "allowed", ".E>b", cel_authz_decision, CEL_COST_ONE },
	{ "reason", ".E>s", cel_authz_decision, CEL_COST_ONE },
	{ "errored", ".E>b", cel_authz_decision, CEL_COST_ONE },
	{ "error", ".E>s", cel_authz_decision, CEL_COST_ONE },
	{ NULL, NULL, NULL, CEL_COST_ONE },
};

/* ---- named formats */

static const char *cel_format_prefix(struct str s, const char *(*check)(struct str s))
{
	/* a prefix may end in what a name may not */
	if (s.n > 1 && s.p[s.n - 1] == '-')
		s.n--;
	return check(s);
}

static const char *cel_check_label_prefix(struct str s)
{
	return cel_format_prefix(s, name_check_dns_label);
}

static const char *cel_check_subdomain_prefix(struct str s)
{
	return cel_format_prefix(s, name_check_dns_subdomain);
}

static const char *cel_check_1035_prefix(struct str s)
{
	return cel_format_prefix(s, name_check_dns1035_label);
}

static const char *cel_check_uri(struct str s)
{
	return cel_url_valid(s) ? NULL : "invalid URI for request";
}

static const char *cel_check_uuid(struct str s)
{
	return schema_format_ok(SCHEMA_F_UUID, s) ? NULL : "does not match the UUID format";
}

static const char *cel_check_byte(struct str s)
{
	return schema_format_ok(SCHEMA_F_BYTE, s) && s.n ? NULL : "invalid base64";
}

static const char *cel_check_date(struct str s)
{
	return schema_format_ok(SCHEMA_F_DATE, s) ? NULL : "invalid date";
}

static const char *cel_check_datetime(struct str s)
{
	return schema_format_ok(SCHEMA_F_DATE_TIME, s) ? NULL : "invalid datetime";
}

struct named_format {
	const char *name, *fn;
	const char *(*check)(struct str s);
	unsigned regex_size;
};

static const struct named_format formats[] = {
	{ "dns1123Label", "format.dns1123Label", name_check_dns_label, 30 },
	{ "dns1123Subdomain", "format.dns1123Subdomain", name_check_dns_subdomain, 60 },
	{ "dns1035Label", "format.dns1035Label", name_check_dns1035_label, 30 },
	{ "qualifiedName", "format.qualifiedName", name_check_qualified, 60 },
	{ "dns1123LabelPrefix", "format.dns1123LabelPrefix", cel_check_label_prefix, 30 },
	{ "dns1123SubdomainPrefix", "format.dns1123SubdomainPrefix", cel_check_subdomain_prefix,
	  60 },
	{ "dns1035LabelPrefix", "format.dns1035LabelPrefix", cel_check_1035_prefix, 30 },
	{ "labelValue", "format.labelValue", name_check_label_value, 40 },
	{ "uri", "format.uri", cel_check_uri, 1000 },
	{ "uuid", "format.uuid", cel_check_uuid, 96 },
	{ "byte", "format.byte", cel_check_byte, 84 },
	{ "date", "format.date", cel_check_date, 130 },
	{ "datetime", "format.datetime", cel_check_datetime, 130 },
};

static struct cel_val cel_format_constant(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	(void)a;
	(void)n;
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (str_eqz(c->node->fn->name, formats[i].fn))
			return cel_opaque(CEL_O_FORMAT, &formats[i]);
	return cel_no_overload();
}

static struct cel_val cel_format_named(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_val v;

	(void)n;
	if (a[0].kind != CEL_STRING)
		return cel_no_overload();
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (str_eqz(a[0].s, formats[i].name)) {
			v = cel_opaque(CEL_O_FORMAT, &formats[i]);
			return cel_val_optional(c->arena, &v);
		}
	return cel_val_optional(c->arena, NULL);
}

static struct cel_val cel_format_validate(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct named_format *f = a[0].p;
	struct cel_list *l;
	struct cel_val v;
	const char *why;

	(void)n;
	if (a[0].kind != CEL_OPAQUE || a[0].aux != CEL_O_FORMAT || a[1].kind != CEL_STRING)
		return cel_no_overload();
	why = f->check(a[1].s);
	if (!why)
		return cel_val_optional(c->arena, NULL);
	l = cel_list_new(c->arena, 1);
	cel_list_add(c->arena, l, cel_val_str(str_from(why)));
	v = cel_list_val(l);
	return cel_val_optional(c->arena, &v);
}

unsigned cel_format_regex_size(const struct cel_val *v)
{
	return v->kind == CEL_OPAQUE && v->aux == CEL_O_FORMAT
		       ? ((const struct named_format *)v->p)->regex_size
		       : 0;
}

#define NAMED(name)                                                     \
	{                                                               \
		"format." name, ">F", cel_format_constant, CEL_COST_ONE \
	}

const struct cel_fn_row cel_lib_format[] = {
	NAMED("dns1123Label"),
	NAMED("dns1123Subdomain"),
	NAMED("dns1035Label"),
	NAMED("qualifiedName"),
	NAMED("dns1123LabelPrefix"),
	NAMED("dns1123SubdomainPrefix"),
	NAMED("dns1035LabelPrefix"),
	NAMED("labelValue"),
	NAMED("uri"),
	NAMED("uuid"),
	NAMED("byte"),
	NAMED("date"),
	NAMED("datetime"),
	{ "format.named", "s>?F", cel_format_named, CEL_COST_ONE },
	{ "validate", ".Fs>?[s]", cel_format_validate, CEL_COST_VALIDATE },
	{ NULL, NULL, NULL, CEL_COST_ONE },
};

/* ---- opaque values */

bool cel_opaque_equal(const struct cel_val *x, const struct cel_val *y)
{
	if (x->aux != y->aux)
		return false;
	switch (x->aux) {
	case CEL_O_IP:
	case CEL_O_CIDR:
		return cel_net_equal(x, y);
	case CEL_O_URL:
		return cel_url_equal(x, y);
	case CEL_O_QUANTITY:
	case CEL_O_SEMVER:
		return cel_ordered_equal(x, y);
	default:
		return x->p == y->p;
	}
}

struct cel_val cel_opaque_text(struct cel_ctx *c, const struct cel_val *v)
{
	if (v->aux == CEL_O_IP || v->aux == CEL_O_CIDR)
		return cel_val_str(cel_net_text(c->arena, v));
	return cel_no_overload();
}
