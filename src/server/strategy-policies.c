/* SPDX-License-Identifier: Apache-2.0 */

/* Validating and mutating admission policies and their bindings, as objects. */

#include "api/meta.h"
#include "base/arena.h"
#include "server/strategies.h"
#include "server/table.h"
#include "json/json.h"

static void policy_cell(struct arena *a, const struct json *obj, struct str column,
			struct json *cells)
{
	const struct json *kind = json_at(obj, "spec.paramKind");

	if (str_eqz(column, "Validations"))
		cell_int(a, cells, (int64_t)json_len(json_at(obj, "spec.validations")));
	else if (str_eqz(column, "Mutations"))
		cell_int(a, cells, (int64_t)json_len(json_at(obj, "spec.mutations")));
	else if (kind)
		cell_str(a, cells,
			 arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(json_str_at(kind, "apiVersion")),
				   STR_ARG(json_str_at(kind, "kind"))));
	else
		cell_str(a, cells, STR("<unset>"));
}

const struct strategy admission_policy_strategy = {
	.generation = true,
	.needs_rv = true,
	.cell = policy_cell,
};

static void policy_binding_cell(struct arena *a, const struct json *obj, struct str column UNUSED,
				struct json *cells)
{
	const struct json *ref = json_at(obj, "spec.paramRef");
	struct str name = json_str_at(ref, "name"), ns = json_str_at(ref, "namespace");

	if (str_empty(name))
		cell_str(a, cells, STR("<unset>"));
	else
		cell_str(a, cells,
			 arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(str_empty(ns) ? STR("*") : ns),
				   STR_ARG(name)));
}

const struct strategy admission_policy_binding_strategy = {
	.generation = true,
	.needs_rv = true,
	.cell = policy_binding_cell,
};
