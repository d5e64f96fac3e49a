/* SPDX-License-Identifier: Apache-2.0 */

/* Roles and bindings: defaults, validation, columns. What they may grant: rbac-escalation.c. */

#include "api/meta.h"
#include "api/names.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/errors.h"
#include "server/rbac-escalation.h"
#include "server/request.h"
#include "server/strategies.h"
#include "server/table.h"
#include "json/json.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"

static struct err *role_prepare_create(struct api_request *rq, struct json *obj)
{
	if (!json_get(obj, "rules"))
		json_set(rq->arena, obj, "rules", json_null(rq->arena));
	return escalation_check_role(rq, obj, NULL);
}

static struct err *role_prepare_update(struct api_request *rq, struct json *obj,
				       const struct json *old)
{
	if (!json_get(obj, "rules"))
		json_set(rq->arena, obj, "rules", json_null(rq->arena));
	return escalation_check_role(rq, obj, old);
}

static void role_validate_urls(struct api_request *rq, const struct json *rule, struct str path,
			       struct err **e)
{
	const struct json *urls = json_get(rule, "nonResourceURLs");
	struct str field = arena_cat(rq->arena, path, STR(".nonResourceURLs"));

	if (rq->res->namespaced)
		cause_invalid(e, field, urls, "namespaced rules cannot apply to non-resource URLs");
	if (json_len(json_get(rule, "apiGroups")) || json_len(json_get(rule, "resources")) ||
	    json_len(json_get(rule, "resourceNames")))
		cause_invalid(e, field, urls,
			      "rules cannot apply to both regular resources and non-resource URLs");
}

static void role_validate_rule(struct api_request *rq, const struct json *rule, struct str path,
			       struct err **e)
{
	struct arena *a = rq->arena;

	if (!json_len(json_get(rule, "verbs")))
		cause_required(e, arena_cat(a, path, STR(".verbs")),
			       "verbs must contain at least one value");
	if (json_len(json_get(rule, "nonResourceURLs"))) {
		role_validate_urls(rq, rule, path, e);
		return;
	}
	if (!json_len(json_get(rule, "apiGroups")))
		cause_required(e, arena_cat(a, path, STR(".apiGroups")),
			       "resource rules must supply at least one api group");
	if (!json_len(json_get(rule, "resources")))
		cause_required(e, arena_cat(a, path, STR(".resources")),
			       "resource rules must supply at least one resource");
}

static void role_validate_aggregation(struct api_request *rq, const struct json *obj,
				      struct err **e)
{
	const struct json *selectors = json_at(obj, "aggregationRule.clusterRoleSelectors");
	const char *field = "aggregationRule.clusterRoleSelectors";

	if (json_is_null(json_get(obj, "aggregationRule")))
		return;
	if (!json_len(selectors))
		cause_required(e, str_from(field),
			       "at least one clusterRoleSelector required if aggregationRule is "
			       "non-nil");
	json_for_each(it, selectors)
	{
		struct selector *s = NULL;
		struct err *bad = label_selector_from_json(rq->arena, it.val, &s);

		if (bad)
			cause_invalid(e, arena_fmt(rq->arena, "%s[%zu]", field, it.i), NULL,
				      "invalid label selector.");
		err_free(bad);
	}
}

static void role_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	json_for_each(it, json_get(obj, "rules"))
		role_validate_rule(rq, it.val, arena_fmt(rq->arena, "rules[%zu]", it.i), e);
	role_validate_aggregation(rq, obj, e);
}

const struct strategy role_strategy = {
	.check_name = name_check_path_segment,
	.create_on_update = true,
	.prepare_create = role_prepare_create,
	.prepare_update = role_prepare_update,
	.validate = role_validate,
};

/* RoleBinding, ClusterRoleBinding */
static void binding_defaults(struct api_request *rq, struct json *obj)
{
	struct json *ref = json_get(obj, "roleRef");

	if (json_is(ref, JSON_OBJECT) && str_empty(json_str_at(ref, "apiGroup")))
		json_set_str(rq->arena, ref, "apiGroup", STR(RBAC_GROUP));
	json_for_each(it, json_get(obj, "subjects"))
	{
		struct str kind = json_str_at(it.val, "kind");

		if ((str_eqz(kind, "User") || str_eqz(kind, "Group")) &&
		    str_empty(json_str_at(it.val, "apiGroup")))
			json_set_str(rq->arena, it.val, "apiGroup", STR(RBAC_GROUP));
	}
}

static struct err *binding_prepare_create(struct api_request *rq, struct json *obj)
{
	return escalation_check_binding(rq, obj, NULL);
}

static struct err *binding_prepare_update(struct api_request *rq, struct json *obj,
					  const struct json *old)
{
	return escalation_check_binding(rq, obj, old);
}

static const char *const rbac_groups[] = { RBAC_GROUP, NULL };

static void binding_validate_ref(struct api_request *rq, const struct json *ref, struct err **e)
{
	static const char *const both[] = { "Role", "ClusterRole", NULL };
	static const char *const cluster[] = { "ClusterRole", NULL };
	struct str kind = json_str_at(ref, "kind"), name = json_str_at(ref, "name");
	const char *bad;

	if (!str_eqz(json_str_at(ref, "apiGroup"), RBAC_GROUP))
		cause_not_supported(e, STR("roleRef.apiGroup"), json_str_at(ref, "apiGroup"),
				    rbac_groups);
	if (!str_eqz(kind, "ClusterRole") && !(rq->res->namespaced && str_eqz(kind, "Role")))
		cause_not_supported(e, STR("roleRef.kind"), kind,
				    rq->res->namespaced ? both : cluster);
	if (str_empty(name)) {
		cause_required(e, STR("roleRef.name"), NULL);
		return;
	}
	bad = name_check_path_segment(name);
	if (bad)
		cause_invalid_str(e, STR("roleRef.name"), name, "%s", bad);
}

static void binding_validate_account(struct api_request *rq, const struct json *s, struct str path,
				     struct err **e)
{
	static const char *const none[] = { "", NULL };
	struct str name = json_str_at(s, "name"), group = json_str_at(s, "apiGroup");
	struct arena *a = rq->arena;
	const char *bad = str_empty(name) ? NULL : name_check_dns_subdomain(name);

	if (bad)
		cause_invalid_str(e, arena_cat(a, path, STR(".name")), name, "%s", bad);
	if (!str_empty(group))
		cause_not_supported(e, arena_cat(a, path, STR(".apiGroup")), group, none);
	if (!rq->res->namespaced && str_empty(json_str_at(s, "namespace")))
		cause_required(e, arena_cat(a, path, STR(".namespace")), NULL);
}

static void binding_validate_subject(struct api_request *rq, const struct json *s, struct str path,
				     struct err **e)
{
	static const char *const kinds[] = { "ServiceAccount", "User", "Group", NULL };
	struct str kind = json_str_at(s, "kind"), group = json_str_at(s, "apiGroup");
	struct arena *a = rq->arena;

	if (str_empty(json_str_at(s, "name")))
		cause_required(e, arena_cat(a, path, STR(".name")), NULL);
	if (str_eqz(kind, "ServiceAccount"))
		binding_validate_account(rq, s, path, e);
	else if (!str_eqz(kind, "User") && !str_eqz(kind, "Group"))
		cause_not_supported(e, arena_cat(a, path, STR(".kind")), kind, kinds);
	else if (!str_eqz(group, RBAC_GROUP))
		cause_not_supported(e, arena_cat(a, path, STR(".apiGroup")), group, rbac_groups);
}

static void binding_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	binding_validate_ref(rq, json_get(obj, "roleRef"), e);
	json_for_each(it, json_get(obj, "subjects")) binding_validate_subject(
		rq, it.val, arena_fmt(rq->arena, "subjects[%zu]", it.i), e);
}

static void binding_validate_update(struct api_request *rq, const struct json *obj,
				    const struct json *old, struct err **e)
{
	const struct json *ref = json_get(obj, "roleRef");
	struct json *shown;

	if (json_equal(ref, json_get(old, "roleRef")))
		return;
	/* upstream prints the Go struct: its own names, in its own order */
	shown = json_object(rq->arena);
	json_set_str(rq->arena, shown, "APIGroup", json_str_at(ref, "apiGroup"));
	json_set_str(rq->arena, shown, "Kind", json_str_at(ref, "kind"));
	json_set_str(rq->arena, shown, "Name", json_str_at(ref, "name"));
	cause_invalid(e, STR("roleRef"), shown, "cannot change roleRef");
}

static void binding_subjects(struct buf *b, const struct json *obj, const char *kind)
{
	json_for_each(it, json_get(obj, "subjects"))
	{
		struct str ns = json_str_at(it.val, "namespace");

		if (!str_eqz(json_str_at(it.val, "kind"), kind))
			continue;
		buf_addz(b, b->n ? ", " : "");
		if (!str_empty(ns))
			buf_addf(b, STR_FMT "/", STR_ARG(ns));
		buf_add(b, json_str_at(it.val, "name"));
	}
}

static void binding_cell(struct arena *a, const struct json *obj, struct str column,
			 struct json *cells)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (str_eqz(column, "Role"))
		buf_addf(&b, STR_FMT "/" STR_FMT, STR_ARG(json_str_at(obj, "roleRef.kind")),
			 STR_ARG(json_str_at(obj, "roleRef.name")));
	else if (str_eqz(column, "Users"))
		binding_subjects(&b, obj, "User");
	else if (str_eqz(column, "Groups"))
		binding_subjects(&b, obj, "Group");
	else
		binding_subjects(&b, obj, "ServiceAccount");
	cell_str(a, cells, buf_to_arena(&b, a));
}

const struct strategy binding_strategy = {
	.check_name = name_check_path_segment,
	.create_on_update = true,
	.set_defaults = binding_defaults,
	.prepare_create = binding_prepare_create,
	.prepare_update = binding_prepare_update,
	.validate = binding_validate,
	.validate_update = binding_validate_update,
	.cell = binding_cell,
};
