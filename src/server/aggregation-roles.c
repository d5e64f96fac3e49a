/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Aggregated ClusterRoles: the rules of admin, edit, view and of people's own are the union of
 * those of the roles their selectors match. Runs in the server, for RBAC must be whole before any
 * controller is.
 */

#include "api/meta.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "io/fiber.h"
#include "server/bootstrap.h"
#include "server/mirror.h"
#include "server/server.h"
#include "json/json.h"

#define ROLES "clusterroles.rbac.authorization.k8s.io"

struct aggregation {
	struct mirror roles;
	struct waitq changed;
	bool dirty;
};

static struct aggregation aggregation;

static void aggregation_changed(struct mirror *m UNUSED, const struct obj *old UNUSED,
				const struct obj *new UNUSED)
{
	aggregation.dirty = true;
	waitq_wake_all(&aggregation.changed);
}

static bool rules_have(const struct json *rules, const struct json *rule)
{
	json_for_each(it, rules)
	{
		if (json_equal(it.val, rule))
			return true;
	}
	return false;
}

static bool role_is_gathered(struct arena *a, const struct json *selectors, const struct json *role)
{
	json_for_each(it, selectors)
	{
		struct selector *s = NULL;
		struct err *e = label_selector_from_json(a, it.val, &s);

		if (!e && selector_matches(s, meta_labels(role)))
			return true;
		err_ignore(e, "a selector that cannot be read matches nothing");
	}
	return false;
}

static struct json *rules_gather(struct arena *a, const struct json *selectors, struct str self)
{
	struct json *rules = json_array(a);

	map_for_each(e, &aggregation.roles.objs) {
		const struct obj *o = e->val;
		const struct json *role = obj_tree(o);

		if (str_eq(o->name, self) || !role_is_gathered(a, selectors, role))
			continue;
		json_for_each(it, json_get(role, "rules"))
		{
			if (!rules_have(rules, it.val))
				json_push(rules, json_copy(a, it.val));
		}
	}
	return rules;
}

static struct err *aggregation_sync(struct apiserver *s, const struct obj *o)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct json *selectors = json_at(obj_tree(o), "aggregationRule.clusterRoleSelectors");
	struct json *rules, *copy;

	if (!json_len(selectors))
		return NULL;
	rules = rules_gather(a, selectors, o->name);
	if (json_equal(rules, json_get(obj_tree(o), "rules")))
		return NULL;
	copy = json_copy(a, obj_tree(o));
	json_set(a, copy, "rules", rules);
	return local_update(s, a, ROLES, "", copy, NULL);
}

/* Names first: the map changes while an update waits. */
static struct err *aggregation_pass(struct apiserver *s)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str *names = arena_array(a, aggregation.roles.objs.n + 1, sizeof(*names));
	size_t n = 0;

	map_for_each(e, &aggregation.roles.objs)
		names[n++] = arena_str(a, e->key);
	for (size_t i = 0; i < n; i++) {
		const struct obj *found = mirror_find(&aggregation.roles, STR_EMPTY, names[i]);
		_cleanup_obj_ const struct obj *o = found ? obj_ref(found) : NULL;

		if (o)
			err_log(NULL, LOG_WARN, "cannot aggregate a ClusterRole",
				aggregation_sync(s, o));
	}
	return NULL;
}

static struct err *aggregation_run(void *arg)
{
	struct apiserver *s = arg;

	TRY(mirror_start(&aggregation.roles, s, ROLES));
	for (;;) {
		while (!aggregation.dirty)
			TRY(waitq_wait(&aggregation.changed));
		aggregation.dirty = false;
		TRY(aggregation_pass(s));
	}
}

void bootstrap_aggregation_start(struct apiserver *s)
{
	waitq_init(&aggregation.changed);
	aggregation.roles.changed = aggregation_changed;
	fiber_unref(fiber_spawn(s->loop, "aggregated-roles", aggregation_run, s));
}
