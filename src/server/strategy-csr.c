/* SPDX-License-Identifier: Apache-2.0 */

/* CertificateSigningRequest. */

#include "api/meta.h"
#include "api/names.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "server/csr-validate.h"
#include "server/request.h"
#include "server/strategies.h"
#include "server/table.h"
#include "json/json.h"

/* /approval may set conditions alone, and /status all but them and the rest of the object. */
static void csr_isolate(struct api_request *rq, struct json *obj, const struct json *old)
{
	struct json *conditions = json_at(obj, "status.conditions");
	const struct json *status = json_get(old, "status"), *spec = json_get(old, "spec");

	json_delz(obj, "spec");
	if (spec)
		json_set(rq->arena, obj, "spec", json_copy(rq->arena, spec));
	json_delz(obj, "status");
	if (status)
		json_set(rq->arena, obj, "status", json_copy(rq->arena, status));
	if (conditions)
		json_set(rq->arena, json_sub(rq->arena, obj, "status"), "conditions",
			 json_copy(rq->arena, conditions));
	else
		json_delz(json_get(obj, "status"), "conditions");
}

static struct str csr_condition(struct arena *a, const struct json *obj)
{
	const struct json *status = json_get(obj, "status");
	_cleanup_buf_ struct buf b = { 0 };

	buf_addz(&b, condition_find(status, "Denied")     ? "Denied"
		     : condition_find(status, "Approved") ? "Approved"
							  : "Pending");
	if (condition_find(status, "Failed"))
		buf_addz(&b, ",Failed");
	if (!str_empty(json_str_at(status, "certificate")))
		buf_addz(&b, ",Issued");
	return buf_to_arena(&b, a);
}

static void csr_cell(struct arena *a, const struct json *obj, struct str column, struct json *cells)
{
	const struct json *seconds = json_at(obj, "spec.expirationSeconds");

	if (str_eqz(column, "Requestor"))
		cell_str(a, cells, json_str_at(obj, "spec.username"));
	else if (str_eqz(column, "Condition"))
		cell_str(a, cells, csr_condition(a, obj));
	else if (seconds)
		cell_str(a, cells, duration_human(a, json_as_int(seconds, 0) * NS_PER_SEC));
	else
		cell_or_none(a, cells, STR_EMPTY);
}

/* who asks stands in the request itself, whatever it says */
static struct err *csr_prepare_create(struct api_request *rq, struct json *obj)
{
	static const char *const stamped[] = { "username", "uid", "groups", "extra" };
	struct json *spec = json_sub(rq->arena, obj, "spec");
	struct json *user = user_to_json(rq->arena, &rq->user);

	for (size_t i = 0; i < ARRAY_LEN(stamped); i++) {
		struct json *v = json_get(user, stamped[i]);

		json_delz(spec, stamped[i]);
		if (v)
			json_set(rq->arena, spec, stamped[i], json_copy(rq->arena, v));
	}
	if (!json_get(spec, "usages"))
		json_set(rq->arena, spec, "usages", json_array(rq->arena));
	json_set(rq->arena, obj, "status", json_object(rq->arena));
	return NULL;
}

static bool same_member(const struct json *x, const struct json *y, const char *key)
{
	return str_eq(json_str_at(x, key), json_str_at(y, key));
}

/* Times that a client leaves out. */
static void csr_stamp_condition(struct api_request *rq, struct json *c, const struct json *old)
{
	struct str now = wall_format(rq->arena, rq->now), since = now;

	if (str_empty(json_str_at(c, "lastUpdateTime")))
		json_set_str(rq->arena, c, "lastUpdateTime", now);
	if (!str_empty(json_str_at(c, "lastTransitionTime")))
		return;
	json_for_each(it, json_at(old, "status.conditions"))
	{
		struct str was = json_str_at(it.val, "lastTransitionTime");

		if (!same_member(it.val, c, "type") || !same_member(it.val, c, "status") ||
		    str_empty(was))
			continue;
		since = was;
		break;
	}
	json_set_str(rq->arena, c, "lastTransitionTime", since);
}

static size_t conditions_count(const struct json *obj, struct str type)
{
	size_t n = 0;

	json_for_each(it, json_at(obj, "status.conditions")) n +=
		str_eq(json_str_at(it.val, "type"), type);
	return n;
}

/* /status may not touch Approved and Denied: those that are there stay as they are. */
static void csr_keep_condition(struct api_request *rq, struct json *obj, const struct json *old,
			       const char *type)
{
	const struct json *was =
		json_find_by(json_at(old, "status.conditions"), "type", str_from(type));
	struct json *conditions = json_at(obj, "status.conditions");

	if (!was || conditions_count(obj, str_from(type)) != 1)
		return;
	json_for_each(it, conditions)
	{
		if (!str_eqz(json_str_at(it.val, "type"), type))
			continue;
		json_replace_idx(conditions, it.i, json_copy(rq->arena, was));
		return;
	}
}

static struct err *csr_prepare_update(struct api_request *rq, struct json *obj,
				      const struct json *old)
{
	const struct json *spec = json_get(old, "spec");

	/* what was asked for stays */
	if (spec)
		json_set(rq->arena, obj, "spec", json_copy(rq->arena, spec));
	if (!rq->subres)
		return NULL;
	if (str_eqz(rq->subres->name, "status")) {
		csr_keep_condition(rq, obj, old, "Approved");
		csr_keep_condition(rq, obj, old, "Denied");
	}
	json_for_each(it, json_at(obj, "status.conditions")) csr_stamp_condition(rq, it.val, old);
	return NULL;
}

const struct strategy csr_strategy = {
	.check_name = name_check_path_segment,
	.prepare_create = csr_prepare_create,
	.prepare_update = csr_prepare_update,
	.validate = csr_validate,
	.validate_update = csr_validate_update,
	.isolate = csr_isolate,
	.cell = csr_cell,
};
