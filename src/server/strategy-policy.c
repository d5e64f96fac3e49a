/* SPDX-License-Identifier: Apache-2.0 */

/* PodDisruptionBudget, ResourceQuota, LimitRange. */

#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "server/strategies.h"
#include "server/table.h"
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

const struct strategy pdb_strategy = {
	.generation = true,
	.needs_rv = true,
	.cell = pdb_cell,
};

/* ResourceQuota */
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
	.cell = quota_cell,
};

/* LimitRange */
const struct strategy limitrange_strategy = {
	.create_on_update = true,
};
