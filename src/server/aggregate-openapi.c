/* SPDX-License-Identifier: Apache-2.0 */

/*
 * OpenAPI of remote servers. Of v3 we keep the index; its documents are passed on. Of v2, which few
 * clients still ask for, nothing is kept: the documents are fetched when ours is asked for.
 */

#include "server/aggregate.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "server/aggregate-internal.h"
#include "server/request.h"
#include "server/respond.h"
#include "json/json.h"

#define OPENAPI_MAX_INDEX ((size_t)1024 * 1024)
#define OPENAPI_MAX_V2    ((size_t)16 * 1024 * 1024)

/* ---- v3 */

static struct err *openapi_ask_index(struct arena *a, struct aggregate_entry *e, struct json **ret)
{
	const struct aggregate_question q = {
		.path = STR("/openapi/v3"),
		.accept = "application/json",
		.max = OPENAPI_MAX_INDEX,
	};
	struct http_client_response resp = { 0 };

	TRY(aggregate_ask(a, e, &q, &resp));
	if (resp.status != 200)
		return err_new(ERR_UNAVAILABLE, "OpenAPI was answered with status %d", resp.status);
	return json_parse(a, resp.body, ret);
}

/* Servers list what they have in common with us, too: only what is theirs is shown. */
static void openapi_pick(struct aggregate_doc *doc, const struct json *index, struct str path)
{
	const struct json *entry = json_get_s(json_get(index, "paths"), path);

	if (json_is(json_get(entry, "serverRelativeURL"), JSON_STR))
		json_set_s(doc->arena, doc->json, arena_str(doc->arena, path),
			   json_copy(doc->arena, entry));
}

void aggregate_openapi_refresh(struct aggregate_entry *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct aggregate_doc next = { 0 };
	struct json *index = NULL;
	struct err *err;

	if (!e->available)
		return; /* it may be back before anybody asks */
	err = openapi_ask_index(a, e, &index);
	if (err) {
		err_log(NULL, LOG_DEBUG, "an aggregated API has no OpenAPI v3", err);
		return;
	}
	next.arena = arena_new();
	next.json = json_object(next.arena);
	openapi_pick(
		&next, index,
		arena_fmt(a, "apis/" STR_FMT "/" STR_FMT, STR_ARG(e->group), STR_ARG(e->version)));
	openapi_pick(&next, index, arena_fmt(a, "apis/" STR_FMT, STR_ARG(e->group)));
	aggregate_doc_keep(&e->openapi, &next);
}

void aggregate_openapi_index(struct arena *a, struct json *paths)
{
	struct aggregate_entry *e;

	list_for_each(e, aggregate_entries(), link) {
		json_for_each(it, e->openapi.json)
		{
			if (!json_get_s(paths, it.key))
				json_set_s(a, paths, arena_str(a, it.key), json_copy(a, it.val));
		}
	}
}

struct err *aggregate_openapi_serve(struct api_request *rq, struct str path, bool *ret_served)
{
	struct aggregate_entry *e, *found = NULL;
	struct err *err = NULL;

	list_for_each(e, aggregate_entries(), link)
		if (!found && json_get_s(e->openapi.json, path))
			found = e;
	*ret_served = found;
	if (!found)
		return NULL;
	aggregate_ref(found);
	if (found->available)
		err = aggregate_proxy(found, rq);
	else
		respond_plain_error(rq, 503, STR("service unavailable"));
	aggregate_unref(found);
	return err;
}

/* ---- v2 */

static struct err *openapi_ask_v2(struct arena *a, struct aggregate_entry *e, struct json **ret)
{
	const struct aggregate_question q = {
		.path = STR("/openapi/v2"),
		.accept = "application/json",
		.max = OPENAPI_MAX_V2,
	};
	struct http_client_response resp = { 0 };

	TRY(aggregate_ask(a, e, &q, &resp));
	if (resp.status != 200)
		return err_new(ERR_UNAVAILABLE, "OpenAPI was answered with status %d", resp.status);
	return json_parse(a, resp.body, ret);
}

/* Without the paths of others. */
static struct json *openapi_cut_v2(struct arena *a, const struct json *doc, struct str prefix)
{
	struct json *cut = json_object(a), *paths = json_sub(a, cut, "paths");

	json_for_each(it, json_get(doc, "paths"))
	{
		if (str_has_prefix(it.key, prefix))
			json_set_s(a, paths, it.key, json_copy(a, it.val));
	}
	if (json_is(json_get(doc, "definitions"), JSON_OBJECT))
		json_set(a, cut, "definitions", json_copy(a, json_get(doc, "definitions")));
	return cut;
}

/* The entries there are now, each with a reference. */
static size_t openapi_hold_entries(struct arena *a, struct aggregate_entry ***ret)
{
	struct aggregate_entry *e, **v;
	size_t n = 0;

	list_for_each(e, aggregate_entries(), link)
		n++;
	v = arena_array(a, n + 1, sizeof(*v));
	n = 0;
	list_for_each(e, aggregate_entries(), link)
		if (e->available)
			v[n++] = aggregate_ref(e);
	*ret = v;
	return n;
}

struct err *aggregate_openapi_v2(struct arena *a, struct json **ret_docs)
{
	struct aggregate_entry **v;
	size_t n = openapi_hold_entries(a, &v);
	struct json *docs = json_array(a);

	for (size_t i = 0; i < n; i++) {
		struct json *doc = NULL;
		struct err *e = openapi_ask_v2(a, v[i], &doc);

		if (!e)
			json_push(docs,
				  openapi_cut_v2(a, doc,
						 arena_fmt(a, "/apis/" STR_FMT "/" STR_FMT "/",
							   STR_ARG(v[i]->group),
							   STR_ARG(v[i]->version))));
		err_log(NULL, LOG_DEBUG, "an aggregated API has no OpenAPI v2", e);
		aggregate_unref(v[i]);
	}
	*ret_docs = docs;
	return fiber_check();
}
