/* SPDX-License-Identifier: Apache-2.0 */
#include "server/table.h"

#include "api/meta.h"
#include "api/print.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "server/request.h"
#include "json/json.h"

static const struct column name_column = {
	STR_INIT("Name"), STR_INIT("string"), STR_INIT("name"), STR_INIT("Name of the object"), 0,
	STR_INIT("")
};

static const struct column age_column = { STR_INIT("Age"),
					  STR_INIT("date"),
					  STR_INIT(""),
					  STR_INIT("Time since it was created"),
					  0,
					  STR_INIT(".metadata.creationTimestamp") };

void cell_str(struct arena *a, struct json *cells, struct str s)
{
	json_push(cells, json_str(a, s));
}

void cell_int(struct arena *a, struct json *cells, int64_t v)
{
	json_push(cells, json_int(a, v));
}

void cell_age(struct arena *a, struct json *cells, const struct json *time)
{
	struct wall t;

	if (!wall_parse(json_as_str(time), &t))
		cell_str(a, cells, STR("<unknown>"));
	else
		cell_str(a, cells, duration_human(a, wall_now().ns - t.ns));
}

void cell_or_none(struct arena *a, struct json *cells, struct str s)
{
	cell_str(a, cells, str_empty(s) ? STR("<none>") : s);
}

struct str cell_labels(struct arena *a, const struct json *map)
{
	_cleanup_buf_ struct buf b = { 0 };

	json_for_each(it, map) buf_addf(&b, "%s" STR_FMT "=" STR_FMT, b.n ? "," : "",
					STR_ARG(it.key), STR_ARG(json_as_str(it.val)));
	return b.n ? buf_to_arena(&b, a) : STR("<none>");
}

const char *cell_lower(struct arena *a, struct str s)
{
	char *p = arena_strz(a, s);

	for (size_t i = 0; i < s.n; i++) {
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] = (char)(p[i] + 32);
	}
	return p;
}

struct table_view table_view(const struct api_request *rq, struct arena *a)
{
	return (struct table_view){
		.arena = a,
		.res = rq->res,
		.v = rq->v,
		.form_version = rq->out.form_version,
		.include = (int)rq->opt.include,
	};
}

static void table_column(struct arena *a, struct json *defs, const struct column *c)
{
	struct json *d = json_object(a);

	json_set_str(a, d, "name", c->name);
	json_set_str(a, d, "type", c->type);
	json_set_str(a, d, "format", c->format);
	json_set_str(a, d, "description", c->description);
	json_set_int(a, d, "priority", c->priority);
	json_push(defs, d);
}

/* Custom resources begin with their name; without columns of their own their age follows. */
static bool table_starts_with_name(const struct table_view *t)
{
	return t->res->custom || !t->v->n_columns;
}

static void table_columns(const struct table_view *t, struct json *defs)
{
	if (table_starts_with_name(t))
		table_column(t->arena, defs, &name_column);
	for (size_t i = 0; i < t->v->n_columns; i++)
		table_column(t->arena, defs, &t->v->columns[i]);
	if (!t->v->n_columns)
		table_column(t->arena, defs, &age_column);
}

static void table_path_cell(struct arena *a, struct json *cells, const struct column *c,
			    const struct json *obj, bool custom)
{
	struct json *found = NULL;
	struct err *e = jsonpath_find(a, obj, c->path, &found);
	const struct json *v = e ? NULL : json_idx(found, 0);

	err_ignore(e, "paths are checked when the CRD is created");
	if (json_is_null(v)) {
		/* a built-in kind's missing number is 0, its missing text empty */
		if (custom)
			json_push(cells, json_null(a));
		else if (str_eqz(c->type, "integer"))
			cell_int(a, cells, 0);
		else
			cell_str(a, cells, STR_EMPTY);
	} else if (custom && str_eqz(c->type, "date")) {
		cell_age(a, cells, v);
	} else if (str_eqz(c->type, "string") || str_eqz(c->type, "date")) {
		if (json_len(found) > 1) {
			_cleanup_buf_ struct buf b = { 0 };

			json_for_each(it, found)
				buf_addf(&b, "%s" STR_FMT, b.n ? "," : "",
					 STR_ARG(json_is(it.val, JSON_STR) ? json_as_str(it.val)
									   : json_text(a, it.val)));
			cell_str(a, cells, buf_to_arena(&b, a));
		} else {
			cell_str(a, cells, json_is(v, JSON_STR) ? json_as_str(v) : json_text(a, v));
		}
	} else {
		json_push(cells, json_copy(a, v));
	}
}

static bool table_is_age(const struct column *c)
{
	return str_eqz(c->path, ".metadata.creationTimestamp") && !str_eqz(c->name, "Created At");
}

static void table_cells(const struct table_view *t, struct json *cells, const struct json *obj)
{
	struct arena *a = t->arena;
	const struct strategy *st = t->res->strategy;

	if (table_starts_with_name(t))
		cell_str(a, cells, meta_name(obj));
	for (size_t i = 0; i < t->v->n_columns; i++) {
		const struct column *c = &t->v->columns[i];

		if (table_is_age(c))
			cell_age(a, cells, json_at(obj, "metadata.creationTimestamp"));
		else if (!str_empty(c->path))
			table_path_cell(a, cells, c, obj, t->res->custom);
		else if (st->cell)
			st->cell(a, obj, c->name, cells);
		/* a row has as many cells as the table has columns, whatever a hook does */
		if (json_len(cells) < i + 1 + table_starts_with_name(t))
			json_push(cells, json_null(a));
	}
	if (!t->v->n_columns)
		cell_age(a, cells, json_at(obj, "metadata.creationTimestamp"));
}

static struct json *table_head(const struct table_view *t, const char *kind)
{
	struct json *j = json_object(t->arena);

	json_set_str(t->arena, j, "kind", str_from(kind));
	json_set(t->arena, j, "apiVersion",
		 json_strf(t->arena, "meta.k8s.io/" STR_FMT, STR_ARG(t->form_version)));
	return j;
}

struct json *table_new(const struct table_view *t, struct str rv)
{
	struct json *table = table_head(t, "Table");
	struct json *meta = json_sub(t->arena, table, "metadata");

	if (!str_empty(rv))
		json_set_str(t->arena, meta, "resourceVersion", rv);
	table_columns(t, json_sub_array(t->arena, table, "columnDefinitions"));
	json_sub_array(t->arena, table, "rows");
	return table;
}

struct json *table_metadata(const struct table_view *t, struct json *tree)
{
	struct json *p = table_head(t, "PartialObjectMetadata");
	struct json *meta = json_get(tree, "metadata");

	json_delz(tree, "metadata");
	json_set(t->arena, p, "metadata", meta ? meta : json_object(t->arena));
	return p;
}

struct json *table_row(const struct table_view *t, struct json *tree)
{
	struct json *row = json_object(t->arena);
	struct json *cells = json_sub_array(t->arena, row, "cells");
	struct json *obj;

	table_cells(t, cells, tree);
	if (t->include == INCLUDE_NONE)
		obj = json_null(t->arena);
	else if (t->include == INCLUDE_OBJECT)
		obj = tree;
	else
		obj = table_metadata(t, tree);
	json_set(t->arena, row, "object", obj);
	return row;
}

void table_add(const struct table_view *t, struct json *table, struct json *tree)
{
	json_push(json_get(table, "rows"), table_row(t, tree));
}

struct json *table_of_one(struct api_request *rq, struct json *tree)
{
	struct table_view t = table_view(rq, rq->arena);
	struct json *table = table_new(&t, meta_rv(tree));

	table_add(&t, table, tree);
	return table;
}

struct json *table_metadata_only(struct api_request *rq, struct json *tree)
{
	struct table_view t = table_view(rq, rq->arena);

	return table_metadata(&t, tree);
}
