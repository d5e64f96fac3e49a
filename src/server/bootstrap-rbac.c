/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The default roles and bindings at each start: those that are missing are made; those that are
 * there gain the labels, annotations, rules, selectors and subjects they lack, unless their
 * annotation rbac.authorization.kubernetes.io/autoupdate says "false". Nothing is taken away.
 */

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/bootstrap-internal.h"
#include "server/bootstrap-roles.h"
#include "server/rbac-escalation.h"
#include "json/json.h"

#define RBAC       "rbac.authorization.k8s.io"
#define AUTOUPDATE "rbac.authorization.kubernetes.io/autoupdate"

/* from rows to objects */
static void words_set(struct arena *a, struct json *obj, const char *key, const char *words)
{
	struct str rest = str_from(words), word;
	struct json *arr;

	if (!words)
		return;
	arr = json_sub_array(a, obj, key);
	while (str_split_next(&rest, ' ', &word)) {
		bool core = str_eqz(word, "core") && str_eqz(str_from(key), "apiGroups");

		json_push(arr, json_str(a, core ? STR_EMPTY : word));
	}
}

struct json *bootstrap_rules(struct arena *a, const struct rule_row *r)
{
	struct json *rules = json_array(a);

	for (; r->verbs; r++) {
		struct json *rule = json_object(a);

		words_set(a, rule, "verbs", r->verbs);
		words_set(a, rule, "apiGroups", r->groups);
		words_set(a, rule, "resources", r->resources);
		words_set(a, rule, "resourceNames", r->names);
		words_set(a, rule, "nonResourceURLs", r->urls);
		json_push(rules, rule);
	}
	return rules;
}

struct json *bootstrap_role_rules(struct arena *a, const char *name)
{
	for (size_t i = 0; i < bootstrap_n_roles; i++) {
		if (!bootstrap_roles[i].ns && str_eqz(str_from(bootstrap_roles[i].name), name))
			return bootstrap_rules(a, bootstrap_roles[i].rules);
	}
	return json_array(a);
}

static void rbac_mark(struct arena *a, struct json *obj)
{
	meta_set_annotation(a, obj, AUTOUPDATE, STR("true"));
	meta_set_label(a, obj, "kubernetes.io/bootstrapping", STR("rbac-defaults"));
}

static const char *aggregate_label(struct arena *a, const char *to)
{
	return arena_fmt(a, RBAC "/aggregate-to-%s", to).p;
}

static struct json *role_from(struct arena *a, const struct role_row *row)
{
	struct json *o = json_object(a), *sel, *sels;

	rbac_mark(a, o);
	if (row->aggregate)
		meta_set_label(a, o, aggregate_label(a, row->aggregate), STR("true"));
	if (row->gathers) {
		sels = json_sub_array(a, json_sub(a, o, "aggregationRule"), "clusterRoleSelectors");
		sel = json_object(a);
		json_set_str(a, json_sub(a, sel, "matchLabels"), aggregate_label(a, row->gathers),
			     STR("true"));
		json_push(sels, sel);
	}
	json_set(a, o, "rules", bootstrap_rules(a, row->rules));
	return o;
}

static struct json *subject_from(struct arena *a, struct str word)
{
	struct json *s = json_object(a);
	struct str kind, ns;

	str_cut(&word, ':', &kind);
	if (str_eqz(kind, "sa")) {
		str_cut(&word, ':', &ns);
		json_set_str(a, s, "kind", STR("ServiceAccount"));
		json_set_str(a, s, "name", word);
		json_set_str(a, s, "namespace", ns);
		return s;
	}
	json_set_str(a, s, "kind", str_eqz(kind, "user") ? STR("User") : STR("Group"));
	json_set_str(a, s, "apiGroup", STR(RBAC));
	json_set_str(a, s, "name", word);
	return s;
}

static struct json *binding_from(struct arena *a, const struct binding_row *row)
{
	struct json *o = json_object(a), *ref, *subjects;
	struct str rest = str_from(row->subjects), word;

	rbac_mark(a, o);
	if (row->subjects) {
		subjects = json_sub_array(a, o, "subjects");
		while (str_split_next(&rest, ' ', &word))
			json_push(subjects, subject_from(a, word));
	}
	ref = json_sub(a, o, "roleRef");
	json_set_str(a, ref, "apiGroup", STR(RBAC));
	json_set_str(a, ref, "kind", row->ns ? STR("Role") : STR("ClusterRole"));
	json_set_str(a, ref, "name", str_from(row->role));
	return o;
}

/* what is there gains what it lacks; each returns whether it changed anything */
static bool merge_map(struct arena *a, struct json *have, const struct json *want, const char *key)
{
	bool changed = false;

	json_for_each(it, json_path(want, "metadata", key, NULL))
	{
		struct json *map = json_sub(a, json_sub(a, have, "metadata"), key);
		const struct json *v = json_get_s(map, it.key);

		if (v && str_eq(json_as_str(v), json_as_str(it.val)))
			continue;
		json_set_s(a, map, it.key, json_copy(a, it.val));
		changed = true;
	}
	return changed;
}

static bool list_has_equal(const struct json *arr, const struct json *v)
{
	json_for_each(it, arr)
	{
		if (json_equal(it.val, v))
			return true;
	}
	return false;
}

static bool merge_list(struct arena *a, struct json *have, const struct json *want, const char *key)
{
	bool changed = false;

	json_for_each(it, json_get(want, key))
	{
		if (list_has_equal(json_get(have, key), it.val))
			continue;
		json_push(json_sub_array(a, have, key), json_copy(a, it.val));
		changed = true;
	}
	return changed;
}

static bool merge_rules(struct arena *a, struct json *have, const struct json *want)
{
	bool changed = false;

	json_for_each(it, json_get(want, "rules"))
	{
		if (list_has_equal(json_get(have, "rules"), it.val) ||
		    rules_cover(a, json_get(have, "rules"), it.val))
			continue;
		json_push(json_sub_array(a, have, "rules"), json_copy(a, it.val));
		changed = true;
	}
	return changed;
}

static bool merge_aggregation(struct arena *a, struct json *have, const struct json *want)
{
	const struct json *rule = json_get(want, "aggregationRule");

	if (!rule)
		return json_delz(have, "aggregationRule");
	return merge_list(a, json_sub(a, have, "aggregationRule"), rule, "clusterRoleSelectors");
}

static bool rbac_protected(const struct json *obj)
{
	return str_eqz(meta_annotation(obj, AUTOUPDATE), "false");
}

static struct err *role_reconcile(struct batch *b, const char *gr, const struct obj *present,
				  const struct json *want)
{
	struct json *have;
	bool changed;

	if (rbac_protected(obj_tree(present)))
		return NULL;
	have = json_copy(b->a, obj_tree(present));
	changed = merge_map(b->a, have, want, "annotations");
	changed |= merge_map(b->a, have, want, "labels");
	changed |= merge_rules(b->a, have, want);
	changed |= merge_aggregation(b->a, have, want);
	return changed ? local_update(b->s, b->a, gr, "", have, NULL) : NULL;
}

static struct err *role_ensure(struct batch *b, const struct role_row *row)
{
	const char *gr = row->ns ? "roles." RBAC : "clusterroles." RBAC;
	_cleanup_obj_ const struct obj *present = NULL;

	TRY(local_get(b->s, gr, str_from(row->ns), str_from(row->name), &present));
	if (present)
		return role_reconcile(b, gr, present, role_from(b->a, row));
	return batch_add(b, gr, str_from(row->ns), str_from(row->name), role_from(b->a, row));
}

/* A binding cannot change the role it refers to: then it is made anew. */
static struct err *binding_replace(struct batch *b, const char *gr, const struct json *have,
				   struct json *want)
{
	TRY(local_delete(b->s, b->a, gr, meta_namespace(have), meta_name(have)));
	json_set_str(b->a, json_sub(b->a, want, "metadata"), "name", meta_name(have));
	return local_create(b->s, b->a, gr, meta_namespace(have), want, NULL);
}

static struct err *binding_reconcile(struct batch *b, const char *gr, const struct obj *present,
				     struct json *want)
{
	struct json *have;
	bool changed;

	if (rbac_protected(obj_tree(present)))
		return NULL;
	have = json_copy(b->a, obj_tree(present));
	if (!json_equal(json_get(have, "roleRef"), json_get(want, "roleRef")))
		return binding_replace(b, gr, have, want);
	changed = merge_map(b->a, have, want, "annotations");
	changed |= merge_map(b->a, have, want, "labels");
	changed |= merge_list(b->a, have, want, "subjects");
	return changed ? local_update(b->s, b->a, gr, "", have, NULL) : NULL;
}

static struct err *binding_ensure(struct batch *b, const struct binding_row *row)
{
	const char *gr = row->ns ? "rolebindings." RBAC : "clusterrolebindings." RBAC;
	_cleanup_obj_ const struct obj *present = NULL;

	TRY(local_get(b->s, gr, str_from(row->ns), str_from(row->name), &present));
	if (present)
		return binding_reconcile(b, gr, present, binding_from(b->a, row));
	return batch_add(b, gr, str_from(row->ns), str_from(row->name), binding_from(b->a, row));
}

static struct err *controller_ensure(struct batch *b, const struct controller_row *row)
{
	const char *name = arena_fmt(b->a, "system:controller:%s", row->name).p;
	const struct role_row role = { .name = name, .rules = row->rules };
	const struct binding_row binding = {
		.name = name,
		.role = name,
		.subjects = arena_fmt(b->a, "sa:kube-system:%s", row->name).p,
	};

	TRY(role_ensure(b, &role));
	return binding_ensure(b, &binding);
}

struct err *bootstrap_rbac(struct batch *b)
{
	for (size_t i = 0; i < bootstrap_n_roles; i++)
		TRY(role_ensure(b, &bootstrap_roles[i]));
	for (size_t i = 0; i < bootstrap_n_bindings; i++)
		TRY(binding_ensure(b, &bootstrap_bindings[i]));
	for (size_t i = 0; i < bootstrap_n_controllers; i++)
		TRY(controller_ensure(b, &bootstrap_controllers[i]));
	return NULL;
}
