/* SPDX-License-Identifier: Apache-2.0 */

/* PodDisruptionBudget, ResourceQuota, LimitRange. */

#include <stdlib.h>

#include "api/names.h"
#include "base/arena.h"
#include "base/buf.h"
#include "server/request.h"
#include "server/resource-names.h"
#include "server/strategies.h"
#include "server/table.h"
#include "server/valid.h"
#include "server/warn.h"
#include "server/workload.h"
#include "json/json.h"

/* PodDisruptionBudget */
static void pdb_cell(struct arena *a, const struct json *obj, struct str column, struct json *cells)
{
	const struct json *v =
		json_at(obj, str_eqz(column, "Min Available") ? "spec.minAvailable"
							      : "spec.maxUnavailable");

	if (!v)
		cell_str(a, cells, STR("N/A"));
	else
		cell_str(a, cells, json_is(v, JSON_STR) ? json_as_str(v) : json_text(a, v));
}

/* As Go prints the struct. */
static struct json *pdb_shown(struct arena *a, const struct json *spec)
{
	static const struct {
		const char *member, *shown;
	} names[] = { { "minAvailable", "MinAvailable" },
		      { "selector", "Selector" },
		      { "maxUnavailable", "MaxUnavailable" },
		      { "unhealthyPodEvictionPolicy", "UnhealthyPodEvictionPolicy" } };
	struct json *out = json_object(a);

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct json *x = json_get(spec, names[i].member);

		json_set(a, out, names[i].shown, x ? json_copy(a, x) : json_null(a));
	}
	return out;
}

static void pdb_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	static const char *const policies[] = { "AlwaysAllow", "IfHealthyBudget", NULL };
	static const char *const amounts[] = { "minAvailable", "maxUnavailable" };
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec");
	const struct place *p = AT(NULL, "spec");

	if (json_get(spec, "minAvailable") && json_get(spec, "maxUnavailable"))
		valid_invalid(&v, p, pdb_shown(rq->arena, spec),
			      "minAvailable and maxUnavailable cannot be both set");
	for (size_t i = 0; i < ARRAY_LEN(amounts); i++) {
		const struct json *n = json_get(spec, amounts[i]);

		if (!n)
			continue;
		valid_int_or_percent(&v, AT(p, amounts[i]), n);
		valid_at_most_100_percent(&v, AT(p, amounts[i]), n);
	}
	valid_selector(&v, AT(p, "selector"), json_get(spec, "selector"));
	valid_enum(&v, AT(p, "unhealthyPodEvictionPolicy"),
		   json_get(spec, "unhealthyPodEvictionPolicy"), policies);
}

static void pdb_validate_update(struct api_request *rq, const struct json *obj,
				const struct json *old UNUSED, struct err **e)
{
	static const char *const counts[] = { "disruptionsAllowed", "currentHealthy",
					      "desiredHealthy", "expectedPods", NULL };
	const struct valid v = { rq->arena, e };

	if (request_is_status(rq))
		valid_members_nonnegative(&v, AT(NULL, "status"), json_get(obj, "status"), counts);
}

static struct err *pdb_prepare_create(struct api_request *rq, struct json *obj)
{
	static const char *const counts[] = { "disruptionsAllowed", "currentHealthy",
					      "desiredHealthy", "expectedPods" };
	struct json *status = json_sub(rq->arena, obj, "status");

	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		json_set_int(rq->arena, status, counts[i], 0);
	return NULL;
}

const struct strategy pdb_strategy = {
	.check_name = name_check_any,
	.prepare_create = pdb_prepare_create,
	.validate = pdb_validate,
	.validate_update = pdb_validate_update,
	.generation = true,
	.needs_rv = true,
	.cell = pdb_cell,
};

/* ResourceQuota */
static bool scope_is_known(struct str scope)
{
	static const char *const scopes[] = { "Terminating",
					      "NotTerminating",
					      "BestEffort",
					      "NotBestEffort",
					      "PriorityClass",
					      "CrossNamespacePodAffinity",
					      "VolumeAttributesClass",
					      NULL };

	return text_in(scope, scopes);
}

static bool scope_fits(struct str scope, struct str resource)
{
	static const char *const pods[] = { "cpu",
					    "memory",
					    "limits.cpu",
					    "limits.memory",
					    "requests.cpu",
					    "requests.memory",
					    "pods",
					    "ephemeral-storage",
					    "requests.ephemeral-storage",
					    "limits.ephemeral-storage",
					    NULL };

	if (str_eqz(scope, "BestEffort"))
		return str_eqz(resource, "pods");
	if (str_eqz(scope, "VolumeAttributesClass"))
		return str_eqz(resource, "persistentvolumeclaims") ||
		       str_eqz(resource, "requests.storage");
	return !scope_is_known(scope) || text_in(resource, pods);
}

static bool scopes_have(const struct json *scopes, const char *member, const char *scope)
{
	json_for_each(it, scopes)
	{
		if (str_eqz(member ? json_str_at(it.val, member) : json_as_str(it.val), scope))
			return true;
	}
	return false;
}

static bool scopes_conflict(const struct json *scopes, const char *member)
{
	return (scopes_have(scopes, member, "BestEffort") &&
		scopes_have(scopes, member, "NotBestEffort")) ||
	       (scopes_have(scopes, member, "Terminating") &&
		scopes_have(scopes, member, "NotTerminating"));
}

static void quota_scopes(const struct valid *v, const struct json *spec, const struct place *p)
{
	const struct json *scopes = json_get(spec, "scopes");

	json_for_each(it, scopes)
	{
		if (!scope_is_known(json_as_str(it.val)))
			valid_invalid(v, p, scopes, "unsupported scope");
		json_for_each(h, json_get(spec, "hard"))
		{
			if (!scope_fits(json_as_str(it.val), h.key))
				valid_invalid(v, p, scopes,
					      "unsupported scope applied to resource");
		}
	}
	if (scopes_conflict(scopes, NULL))
		valid_invalid(v, p, scopes, "conflicting scopes");
}

static void quota_requirement(const struct valid *v, const struct json *x, const struct place *p)
{
	static const char *const exists_only[] = { "BestEffort",
						   "NotBestEffort",
						   "Terminating",
						   "NotTerminating",
						   "CrossNamespacePodAffinity",
						   NULL };
	struct str scope = json_str_at(x, "scopeName"), op = json_str_at(x, "operator");
	const struct json *values = json_get(x, "values");
	bool in = str_eqz(op, "In") || str_eqz(op, "NotIn");

	if (!scope_is_known(scope))
		valid_invalid_str(v, AT(p, "scopeName"), scope, "unsupported scope");
	if (text_in(scope, exists_only) && !str_eqz(op, "Exists"))
		valid_invalid_str(
			v, AT(p, "operator"), op,
			"must be 'Exists' when scope is any of "
			"ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
			"ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
			"ResourceQuotaScopeCrossNamespacePodAffinity");
	if (in && !json_len(values))
		valid_required(v, AT(p, "values"),
			       "must be at least one value when `operator` is 'In' or 'NotIn' for "
			       "scope selector");
	else if (!in && !str_eqz(op, "Exists") && !str_eqz(op, "DoesNotExist"))
		valid_invalid_str(v, AT(p, "operator"), op, "not a valid selector operator");
	else if (!in && json_len(values))
		valid_invalid(v, AT(p, "values"), values,
			      "must be no value when `operator` is 'Exist' or 'DoesNotExist' for "
			      "scope selector");
}

static void quota_amounts(const struct valid *v, const struct json *map, const struct place *p)
{
	json_for_each(it, map)
	{
		quota_resource_name_validate(v, it.key, AT_KEY(p, it.key));
		resource_quantity_validate(v, it.key, it.val, AT_KEY(p, it.key));
	}
}

static void quota_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec"),
			  *list = json_at(spec, "scopeSelector.matchExpressions");
	const struct place *p = AT(NULL, "spec"), *sel = AT(p, "scopeSelector");

	quota_amounts(&v, json_get(spec, "hard"), AT(p, "hard"));
	quota_scopes(&v, spec, AT(p, "scopes"));
	json_for_each(it, list) quota_requirement(&v, it.val, AT(sel, "matchExpressions"));
	if (scopes_conflict(list, "scopeName"))
		valid_invalid(&v, AT(sel, "matchExpressions"), json_get(spec, "scopes"),
			      "conflicting scopes");
}

static void quota_validate_update(struct api_request *rq, const struct json *obj,
				  const struct json *old, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct place *p = AT(NULL, "spec"), *status = AT(NULL, "status");

	if (request_is_status(rq)) {
		quota_amounts(&v, json_at(obj, "status.hard"), AT(status, "hard"));
		quota_amounts(&v, json_at(obj, "status.used"), AT(status, "used"));
		return;
	}
	valid_immutable(&v, AT(p, "scopes"), json_at(obj, "spec.scopes"),
			json_at(old, "spec.scopes"));
}

static int quota_by_name(const void *x, const void *y)
{
	return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static struct str quota_text(struct arena *a, const struct json *q)
{
	if (!q)
		return STR("0");
	return json_is(q, JSON_STR) ? json_as_str(q) : json_text(a, q);
}

/* "cpu: 1/2, pods: 0/10": what has to do with limits in one column, the rest in the other. */
static void quota_cell(struct arena *a, const struct json *obj, struct str column,
		       struct json *cells)
{
	const struct json *hard = json_at(obj, "status.hard"), *used = json_at(obj, "status.used");
	struct str *names = arena_array(a, json_len(hard) + 1, sizeof(*names));
	_cleanup_buf_ struct buf b = { 0 };
	size_t n = 0;

	json_for_each(it, hard) names[n++] = it.key;
	qsort(names, n, sizeof(*names), quota_by_name);
	for (size_t i = 0; i < n; i++) {
		if (str_has_prefix(names[i], STR("limits.")) != str_eqz(column, "Limit"))
			continue;
		buf_addf(&b, "%s" STR_FMT ": " STR_FMT "/" STR_FMT, b.n ? ", " : "",
			 STR_ARG(names[i]), STR_ARG(quota_text(a, json_get_s(used, names[i]))),
			 STR_ARG(quota_text(a, json_get_s(hard, names[i]))));
	}
	cell_str(a, cells, buf_to_arena(&b, a));
}

const struct strategy resourcequota_strategy = {
	.delete_returns_obj = true,
	.validate = quota_validate,
	.validate_update = quota_validate_update,
	.warn = resourcequota_warn,
	.cell = quota_cell,
};

/* LimitRange */
static void limit_copy(struct arena *a, struct json *item, const char *from, const char *to)
{
	json_for_each(it, json_get(item, from))
	{
		struct json *map = json_sub(a, item, to);

		if (!json_get_s(map, it.key))
			json_set_s(a, map, it.key, json_copy(a, it.val));
	}
}

static void limitrange_defaults(struct api_request *rq, struct json *obj)
{
	json_for_each(it, json_at(obj, "spec.limits"))
	{
		if (!json_is(it.val, JSON_OBJECT) ||
		    !str_eqz(json_str_at(it.val, "type"), "Container"))
			continue;
		limit_copy(rq->arena, it.val, "max", "default");
		limit_copy(rq->arena, it.val, "default", "defaultRequest");
		limit_copy(rq->arena, it.val, "min", "defaultRequest");
	}
}

static const char *const limit_maps[] = { "max", "min", "default", "defaultRequest",
					  "maxLimitRequestRatio" };
enum { LIMIT_MAX, LIMIT_MIN, LIMIT_DEFAULT, LIMIT_REQUEST, LIMIT_RATIO, LIMIT_N };

static void limit_names(const struct valid *v, const struct json *item, size_t which,
			const struct place *p)
{
	struct str type = json_str_at(item, "type");

	json_for_each(it, json_get(item, limit_maps[which]))
	{
		const struct place *at = AT_KEY(AT(p, limit_maps[which]), it.key);

		if (str_eqz(type, "Pod") || str_eqz(type, "Container"))
			container_resource_name_validate(v, it.key, at);
		else
			resource_name_validate(v, it.key, at);
	}
}

/* One of the pairs that must be in order: which[a] <= which[b]. */
static void limit_order(const struct valid *v, const struct quantity *q, const bool *has, size_t a,
			size_t b, const char *low, const char *high, size_t shown,
			const struct place *at)
{
	bool greater = has[a] && has[b] && quantity_cmp(q[a], q[b]) > 0;

	if (greater)
		valid_invalid(v, at, valid_quantity_json(v, q[shown]),
			      "%s value " STR_FMT " is greater than %s value " STR_FMT, low,
			      STR_ARG(quantity_text(v->a, q[a])), high,
			      STR_ARG(quantity_text(v->a, q[b])));
}

static void limit_ratio(const struct valid *v, const struct quantity *q, const bool *has,
			const struct place *at)
{
	double limit;

	if (!has[LIMIT_RATIO])
		return;
	if (quantity_cmp(q[LIMIT_RATIO], quantity_from_value(1, QUANTITY_DECIMAL_SI)) < 0)
		valid_invalid(v, at, valid_quantity_json(v, q[LIMIT_RATIO]),
			      "ratio " STR_FMT " is less than 1",
			      STR_ARG(quantity_text(v->a, q[LIMIT_RATIO])));
	if (!has[LIMIT_MIN] || !has[LIMIT_MAX] || q[LIMIT_MIN].nano <= 0)
		return;
	limit = (double)quantity_milli(q[LIMIT_MAX]) / (double)quantity_milli(q[LIMIT_MIN]);
	if ((double)quantity_milli(q[LIMIT_RATIO]) / 1000 > limit)
		valid_invalid(v, at, valid_quantity_json(v, q[LIMIT_RATIO]),
			      "ratio " STR_FMT " is greater than max/min = %f",
			      STR_ARG(quantity_text(v->a, q[LIMIT_RATIO])), limit);
}

static void limit_key(const struct valid *v, const struct json *item, struct str key,
		      const struct place *p)
{
	const struct place *min = AT_KEY(AT(p, "min"), key),
			   *req = AT_KEY(AT(p, "defaultRequest"), key),
			   *dflt = AT_KEY(AT(p, "default"), key);
	struct quantity q[LIMIT_N];
	bool has[LIMIT_N];

	for (size_t i = 0; i < LIMIT_N; i++) {
		const struct json *x = json_get_s(json_get(item, limit_maps[i]), key);

		has[i] = x && valid_quantity(v, x, &q[i]);
	}
	limit_order(v, q, has, LIMIT_MIN, LIMIT_MAX, "min", "max", LIMIT_MIN, min);
	limit_order(v, q, has, LIMIT_MIN, LIMIT_REQUEST, "min", "default request", LIMIT_REQUEST,
		    req);
	limit_order(v, q, has, LIMIT_REQUEST, LIMIT_MAX, "default request", "max", LIMIT_REQUEST,
		    req);
	limit_order(v, q, has, LIMIT_REQUEST, LIMIT_DEFAULT, "default request", "default limit",
		    LIMIT_REQUEST, req);
	limit_order(v, q, has, LIMIT_MIN, LIMIT_DEFAULT, "min", "default", LIMIT_MIN, dflt);
	limit_order(v, q, has, LIMIT_DEFAULT, LIMIT_MAX, "default", "max", LIMIT_MAX, dflt);
	limit_ratio(v, q, has, AT_KEY(AT(p, "maxLimitRequestRatio"), key));
	if (!resource_overcommits(key) && has[LIMIT_DEFAULT] && has[LIMIT_REQUEST] &&
	    quantity_cmp(q[LIMIT_DEFAULT], q[LIMIT_REQUEST]) != 0)
		valid_invalid(v, req, valid_quantity_json(v, q[LIMIT_REQUEST]),
			      "default value " STR_FMT
			      " must equal to defaultRequest value " STR_FMT " in " STR_FMT,
			      STR_ARG(quantity_text(v->a, q[LIMIT_DEFAULT])),
			      STR_ARG(quantity_text(v->a, q[LIMIT_REQUEST])), STR_ARG(key));
}

static void limit_item(const struct valid *v, const struct json *item, const struct place *p)
{
	struct json *keys = json_object(v->a);
	bool pod = str_eqz(json_str_at(item, "type"), "Pod");

	for (size_t i = 0; i < LIMIT_N; i++) {
		const struct json *map = json_get(item, limit_maps[i]);

		if (pod && (i == LIMIT_DEFAULT || i == LIMIT_REQUEST)) {
			if (json_len(map))
				valid_forbidden(v, AT(p, limit_maps[i]),
						"may not be specified when `type` is 'Pod'");
			continue;
		}
		limit_names(v, item, i, p);
		json_for_each(it, map) json_set_s(v->a, keys, it.key, json_null(v->a));
	}
	if (str_eqz(json_str_at(item, "type"), "PersistentVolumeClaim") &&
	    !json_at(item, "min.storage") && !json_at(item, "max.storage"))
		valid_required(v, AT(p, "limits"),
			       "either minimum or maximum storage value is required, but neither "
			       "was provided");
	json_for_each(it, keys) limit_key(v, item, it.key, p);
}

static void limitrange_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	static const char *const types[] = { "Pod", "Container", "PersistentVolumeClaim", NULL };
	const struct valid v = { rq->arena, e };
	const struct json *limits = json_at(obj, "spec.limits");
	const struct place *spec = AT(NULL, "spec"), *list = AT(spec, "limits");

	json_for_each(it, limits)
	{
		const struct place *at = AT_IDX(list, it.i);
		struct str type = json_str_at(it.val, "type");
		bool dup = false;

		if (!text_in(type, types)) {
			if (str_empty(type))
				valid_invalid_str(&v, AT(at, "type"), type,
						  "name part must be non-empty");
			valid_name(&v, AT(at, "type"), type, name_check_qualified_part);
			if (!name_check_qualified(type) && str_find_char(type, '/', 0) == type.n)
				valid_invalid_str(&v, AT(at, "type"), type,
						  "must be a standard limit type or fully "
						  "qualified");
		}
		for (size_t k = 0; k < it.i; k++)
			dup |= str_eq(json_str_at(json_idx(limits, k), "type"), type);
		if (dup)
			valid_duplicate(&v, AT(at, "type"), json_get(it.val, "type"));
		limit_item(&v, it.val, at);
	}
}

const struct strategy limitrange_strategy = {
	.create_on_update = true,
	.set_defaults = limitrange_defaults,
	.validate = limitrange_validate,
};
