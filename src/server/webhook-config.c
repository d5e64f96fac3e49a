/* SPDX-License-Identifier: Apache-2.0 */

/* MutatingWebhookConfiguration and ValidatingWebhookConfiguration as objects. */

#include "api/names.h"
#include "base/arena.h"
#include "base/buf.h"
#include "server/errors.h"
#include "server/hook-config.h"
#include "server/policy-expr.h"
#include "server/request.h"
#include "server/table.h"
#include "server/warn.h"
#include "server/webhook.h"
#include "json/json.h"

static const char *const side_effects[] = { "None", "NoneOnDryRun", NULL };
static const char *const all_side_effects[] = { "None", "NoneOnDryRun", "Some", "Unknown", NULL };

/* What is let pass on an update because it was there before. */
struct webhook_leave {
	bool side_effects, versions, names, conditions;
};

struct webhook_check {
	struct err **e;
	struct arena *a;
	bool mutating;
	struct webhook_leave leave;
};

/* ---- one webhook */

static void check_name(struct webhook_check *c, struct str name, struct str at)
{
	const char *bad = name.n ? name_check_dns_subdomain(name) : NULL;
	size_t dots = 0;

	for (size_t i = 0; i < name.n; i++)
		dots += name.p[i] == '.';
	if (!name.n)
		cause_required(c->e, at, NULL);
	else if (bad)
		cause_invalid_str(c->e, at, name, "%s", bad);
	else if (dots < 2)
		cause_invalid_str(
			c->e, at, name,
			"should be a domain with at least three segments separated by dots");
}

static void check_side_effects(struct webhook_check *c, const struct json *hook, struct str base)
{
	const char *const *allowed = c->leave.side_effects ? all_side_effects : side_effects;
	struct str at = hook_field(c->a, base, "sideEffects");

	if (!json_str_at(hook, "sideEffects").n)
		cause_required(c->e, at,
			       c->leave.side_effects
				       ? "must specify one of None, NoneOnDryRun, Some, Unknown"
				       : "must specify one of None, NoneOnDryRun");
	else
		hook_check_enum(c->e, c->a, hook, "sideEffects", base, allowed, true);
}

static void check_conditions(struct webhook_check *c, const struct json *list, struct str base)
{
	struct cel_env *env;

	if (!json_len(list))
		return;
	env = cel_env_admission(CEL_WITH_AUTHORIZER);
	json_for_each(it, list)
	{
		struct str text = str_trim(json_str_at(it.val, "expression"));
		struct policy_expr x;

		if (!text.n)
			continue;
		policy_expr_compile(&x, env, c->a, text, POLICY_BOOL);
		if (!x.prog)
			cause_invalid_str(
				c->e, hook_field(c->a, hook_index(c->a, base, it.i), "expression"),
				text, STR_FMT, STR_ARG(x.issue));
		policy_expr_fini(&x);
	}
	cel_env_unref(env);
}

static void check_hook(struct webhook_check *c, const struct json *hook, struct str base)
{
	static const char *const selectors[] = { "namespaceSelector", "objectSelector" };
	const struct json *timeout = json_get(hook, "timeoutSeconds");
	int64_t seconds = json_as_int(timeout, 10);

	check_name(c, json_str_at(hook, "name"), hook_field(c->a, base, "name"));
	hook_check_rules(c->e, c->a, json_get(hook, "rules"), hook_field(c->a, base, "rules"),
			 false);
	hook_check_enum(c->e, c->a, hook, "failurePolicy", base, hook_failure_policies, false);
	hook_check_enum(c->e, c->a, hook, "matchPolicy", base, hook_match_policies, false);
	check_side_effects(c, hook, base);
	if (seconds < 1 || seconds > 30)
		cause_invalid(c->e, hook_field(c->a, base, "timeoutSeconds"), timeout,
			      "the timeout value must be between 1 and 30 seconds");
	for (size_t i = 0; i < ARRAY_LEN(selectors); i++)
		hook_check_selector(c->e, c->a, json_get(hook, selectors[i]),
				    hook_field(c->a, base, selectors[i]));
	if (c->mutating)
		hook_check_enum(c->e, c->a, hook, "reinvocationPolicy", base,
				hook_reinvocation_policies, false);
	hook_check_client(c->e, c->a, json_get(hook, "clientConfig"),
			  hook_field(c->a, base, "clientConfig"));
	if (c->leave.conditions)
		return;
	hook_check_condition_names(c->e, c->a, json_get(hook, "matchConditions"),
				   hook_field(c->a, base, "matchConditions"));
	check_conditions(c, json_get(hook, "matchConditions"),
			 hook_field(c->a, base, "matchConditions"));
}

/* ---- versions of the review */

static bool version_known(struct str v)
{
	return str_eqz(v, "v1") || str_eqz(v, "v1beta1");
}

static bool versions_any_known(const struct json *list)
{
	json_for_each(it, list)
	{
		if (version_known(json_as_str(it.val)))
			return true;
	}
	return false;
}

static void check_versions(struct webhook_check *c, const struct json *list, struct str at)
{
	const bool *again = json_repeats(c->a, list, NULL);

	if (!json_len(list)) {
		cause_required(c->e, at, "must specify one of v1, v1beta1");
		return;
	}
	json_for_each(it, list)
	{
		struct str v = json_as_str(it.val);
		const char *bad = name_check_dns1035_label(v);

		if (again && again[it.i])
			cause_invalid_str(c->e, hook_index(c->a, at, it.i), v, "duplicate version");
		else if (bad)
			cause_invalid_str(c->e, hook_index(c->a, at, it.i), v, "%s", bad);
	}
	if (!c->leave.versions && !versions_any_known(list))
		cause_invalid(c->e, at, list, "must include at least one of v1, v1beta1");
}

/* ---- the whole */

static bool name_repeated(const struct json *hooks, size_t i)
{
	const struct json *name = json_get(json_idx(hooks, i), "name");

	for (size_t k = 0; k < i; k++)
		if (json_equal(json_get(json_idx(hooks, k), "name"), name))
			return true;
	return false;
}

static void check_all(struct webhook_check *c, const struct json *obj)
{
	const struct json *hooks = json_get(obj, "webhooks");

	json_for_each(it, hooks)
	{
		struct str base = hook_index(c->a, STR("webhooks"), it.i);

		check_hook(c, it.val, base);
		check_versions(c, json_get(it.val, "admissionReviewVersions"),
			       hook_field(c->a, base, "admissionReviewVersions"));
		if (!c->leave.names && json_str_at(it.val, "name").n && name_repeated(hooks, it.i))
			cause_duplicate(c->e, hook_field(c->a, base, "name"),
					json_get(it.val, "name"));
	}
}

static bool side_effect_free(const struct json *hook)
{
	struct str v = json_str_at(hook, "sideEffects");

	return str_eqz(v, "None") || str_eqz(v, "NoneOnDryRun");
}

static bool same_conditions(const struct json *x, const struct json *y)
{
	if (json_len(x) != json_len(y))
		return false;
	json_for_each(it, x)
	{
		const struct json *now = json_get(it.val, "matchConditions");
		const struct json *was = json_get(json_idx(y, it.i), "matchConditions");

		if ((json_len(now) || json_len(was)) && !json_equal(now, was))
			return false;
	}
	return true;
}

static struct webhook_leave leave_from(const struct json *obj, const struct json *old)
{
	const struct json *hooks = json_get(old, "webhooks");
	struct webhook_leave l = { .side_effects = false };

	if (!old)
		return l;
	json_for_each(it, hooks)
	{
		const struct json *versions = json_get(it.val, "admissionReviewVersions");

		l.side_effects |= !side_effect_free(it.val);
		l.versions |= json_len(versions) && !versions_any_known(versions);
		l.names |= name_repeated(hooks, it.i);
	}
	l.conditions = same_conditions(json_get(obj, "webhooks"), hooks);
	return l;
}

/* On updates the second of the two does it, which knows what was there. */
static struct err *webhook_prepare_create(struct api_request *rq, struct json *obj UNUSED)
{
	rq->strategy_data = rq;
	return NULL;
}

static bool webhook_creates(const struct api_request *rq)
{
	return rq->strategy_data == rq;
}

static void mutating_create(struct api_request *rq, const struct json *obj, struct err **e)
{
	struct webhook_check c = { .e = e, .a = rq->arena, .mutating = true };

	if (webhook_creates(rq))
		check_all(&c, obj);
}

static void mutating_update(struct api_request *rq, const struct json *obj, const struct json *old,
			    struct err **e)
{
	struct webhook_check c = {
		.e = e, .a = rq->arena, .mutating = true, .leave = leave_from(obj, old)
	};

	check_all(&c, obj);
}

static void validating_create(struct api_request *rq, const struct json *obj, struct err **e)
{
	struct webhook_check c = { .e = e, .a = rq->arena };

	if (webhook_creates(rq))
		check_all(&c, obj);
}

static void validating_update(struct api_request *rq, const struct json *obj,
			      const struct json *old, struct err **e)
{
	struct webhook_check c = { .e = e, .a = rq->arena, .leave = leave_from(obj, old) };

	check_all(&c, obj);
}

static void webhook_cell(struct arena *a, const struct json *obj, struct str column UNUSED,
			 struct json *cells)
{
	cell_int(a, cells, (int64_t)json_len(json_get(obj, "webhooks")));
}

const struct strategy mutating_webhook_strategy = {
	.generation = true,
	.needs_rv = true,
	.prepare_create = webhook_prepare_create,
	.validate = mutating_create,
	.validate_update = mutating_update,
	.warn = static_name_warn,
	.cell = webhook_cell,
};

const struct strategy validating_webhook_strategy = {
	.generation = true,
	.needs_rv = true,
	.prepare_create = webhook_prepare_create,
	.validate = validating_create,
	.validate_update = validating_update,
	.warn = static_name_warn,
	.cell = webhook_cell,
};
