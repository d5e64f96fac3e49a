/* SPDX-License-Identifier: Apache-2.0 */

/* CertificateSigningRequest. */

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
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

const struct strategy csr_strategy = {
	.isolate = csr_isolate,
	.cell = csr_cell,
};
