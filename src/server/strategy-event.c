/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Events: stored as core/v1; those of events.k8s.io are a view on them with other names for some
 * members.
 */

#include "api/meta.h"
#include "api/names.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/event-validate.h"
#include "server/request.h"
#include "server/strategies.h"
#include "server/table.h"
#include "server/write.h"
#include "json/json.h"

/* ---- core */

/* What Go always writes. */
static void event_fill(struct arena *a, struct json *obj)
{
	static const char *const nulls[] = { "firstTimestamp", "lastTimestamp", "eventTime" };
	static const char *const empties[] = { "reportingComponent", "reportingInstance" };

	json_sub(a, obj, "source");
	for (size_t i = 0; i < ARRAY_LEN(nulls); i++) {
		if (!json_get(obj, nulls[i]))
			json_set(a, obj, nulls[i], json_null(a));
	}
	for (size_t i = 0; i < ARRAY_LEN(empties); i++) {
		if (!json_get(obj, empties[i]))
			json_set_str(a, obj, empties[i], STR_EMPTY);
	}
}

static void event_defaults(struct api_request *rq, struct json *obj)
{
	event_fill(rq->arena, obj);
}

static void event_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	event_validate_core(rq, obj, false, e);
}

static struct err *event_commit(struct api_request *rq UNUSED, struct write *w,
				struct json *obj UNUSED, const struct json *old UNUSED)
{
	w->lazy = true;
	return NULL;
}

static struct str event_source(struct arena *a, const struct json *obj)
{
	struct str c = json_str_at(obj, "source.component"), h = json_str_at(obj, "source.host");

	if (str_empty(c))
		c = json_str_at(obj, "reportingComponent");
	if (str_empty(h))
		h = json_str_at(obj, "reportingInstance");
	return str_empty(h) ? c : arena_fmt(a, STR_FMT ", " STR_FMT, STR_ARG(c), STR_ARG(h));
}

static const struct json *event_time(const struct json *obj, const char *a, const char *b)
{
	const struct json *t = json_at(obj, a);

	if (json_is_null(t))
		t = json_at(obj, b);
	return json_is_null(t) ? json_get(obj, "eventTime") : t;
}

static void event_cell(struct arena *a, const struct json *obj, struct str column,
		       struct json *cells)
{
	const struct json *series = json_get(obj, "series");

	if (str_eqz(column, "Last Seen"))
		cell_age(a, cells, event_time(obj, "series.lastObservedTime", "lastTimestamp"));
	else if (str_eqz(column, "First Seen"))
		cell_age(a, cells, event_time(obj, "firstTimestamp", "eventTime"));
	else if (str_eqz(column, "Object"))
		cell_str(a, cells,
			 arena_fmt(a, "%s/" STR_FMT,
				   cell_lower(a, json_str_at(obj, "involvedObject.kind")),
				   STR_ARG(json_str_at(obj, "involvedObject.name"))));
	else if (str_eqz(column, "Source"))
		cell_str(a, cells, event_source(a, obj));
	else if (str_eqz(column, "Message"))
		cell_str(a, cells, str_trim(json_str_at(obj, "message")));
	else if (str_eqz(column, "Count"))
		cell_int(a, cells,
			 series ? json_int_at(series, "count", 0)
				: MAX(json_int_at(obj, "count", 0), 1));
}

const struct strategy event_strategy = {
	.check_name = name_check_any,
	.create_on_update = true,
	.set_defaults = event_defaults,
	.validate = event_validate,
	.commit = event_commit,
	.cell = event_cell,
};

/* ---- events.k8s.io */

static const struct {
	const char *core, *events;
} event_names[] = {
	{ "involvedObject", "regarding" },
	{ "message", "note" },
	{ "source", "deprecatedSource" },
	{ "firstTimestamp", "deprecatedFirstTimestamp" },
	{ "lastTimestamp", "deprecatedLastTimestamp" },
	{ "count", "deprecatedCount" },
	{ "reportingComponent", "reportingController" },
};

static void event_rename(struct arena *a, struct json *obj, const char *from, const char *to)
{
	struct json *v = json_get(obj, from);

	if (!v)
		return;
	v = json_copy(a, v);
	json_delz(obj, from);
	json_set(a, obj, to, v);
}

struct err *events_event_from_stored(const struct resource *res UNUSED,
				     const struct resource_version *v UNUSED, struct arena *a,
				     struct json **obj)
{
	for (size_t i = 0; i < ARRAY_LEN(event_names); i++)
		event_rename(a, *obj, event_names[i].core, event_names[i].events);
	return NULL;
}

struct err *events_event_to_stored(const struct resource *res UNUSED,
				   const struct resource_version *v UNUSED, struct arena *a,
				   struct json **obj)
{
	for (size_t i = 0; i < ARRAY_LEN(event_names); i++)
		event_rename(a, *obj, event_names[i].events, event_names[i].core);
	json_set_str(a, *obj, "apiVersion", STR("v1"));
	event_fill(a, *obj);
	return NULL;
}

static void events_event_cell(struct arena *a, const struct json *obj, struct str column,
			      struct json *cells)
{
	struct json *copy = json_copy(a, obj);

	err_ignore(events_event_to_stored(NULL, NULL, a, &copy), "it does not fail");
	event_cell(a, copy, column, cells);
}

static struct json *event_core(struct api_request *rq, const struct json *obj)
{
	struct json *copy = json_copy(rq->arena, obj);

	err_ignore(events_event_to_stored(NULL, NULL, rq->arena, &copy), "it does not fail");
	return copy;
}

static void events_event_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	event_validate_core(rq, event_core(rq, obj), rq->verb == VERB_CREATE, e);
}

static void events_event_validate_update(struct api_request *rq, const struct json *obj,
					 const struct json *old, struct err **e)
{
	event_validate_core_update(rq, event_core(rq, obj), event_core(rq, old), e);
}

const struct strategy events_event_strategy = {
	.create_on_update = true,
	.validate = events_event_validate,
	.validate_update = events_event_validate_update,
	.commit = event_commit,
	.cell = events_event_cell,
};
