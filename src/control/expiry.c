/* SPDX-License-Identifier: Apache-2.0 */

#include "control/expiry.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/informer.h"
#include "client/rest.h"
#include "control/control.h"
#include "json/json.h"

/*
 * What expires by itself: Events an hour after they were written last, Leases of API servers that
 * are gone. There is no informer: Events are many and nobody here reads them; they are listed page
 * by page every few minutes. Keys are the names of the rows below.
 */

#define EVENT_TTL_MS INT64_C(3600000)
#define PAGE         "500"
#define METADATA     "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
#define SERVER_LEASES \
	"labelSelector=apiserver.kubernetes.io%2Fidentity%3Dkube-apiserver&limit=" PAGE
#define EVERYTHING "limit=" PAGE

struct expiry {
	struct control *control;
	struct controller *controller;
};

bool expiry_event(const struct json *event, struct wall now)
{
	struct wall last = { 0 }, t;

	wall_parse(json_str_at(event, "metadata.creationTimestamp"), &last);
	json_for_each(it, json_at(event, "metadata.managedFields"))
	{
		if (wall_parse(json_str_at(it.val, "time"), &t) && t.ns > last.ns)
			last = t;
	}
	return last.ns && (now.ns - last.ns) / NS_PER_MS >= EVENT_TTL_MS;
}

bool expiry_lease(const struct json *lease, struct wall now)
{
	int64_t s = json_int_at(lease, "spec.leaseDurationSeconds", 0);
	struct wall renewed;

	return s > 0 && wall_parse(json_str_at(lease, "spec.renewTime"), &renewed) &&
	       (now.ns - renewed.ns) / NS_PER_SEC >= s;
}

static const struct expiry_row {
	const char *key;
	struct gvr gvr;
	const char *ns, *query, *accept;
	int64_t period_ms;
	bool (*expired)(const struct json *obj, struct wall now);
} expiry_rows[] = {
	{ "events", GVR("", "v1", "events"), "", EVERYTHING, METADATA, 300000, expiry_event },
	{ "leases", GVR("coordination.k8s.io", "v1", "leases"), "kube-system", SERVER_LEASES,
	  "application/json", 3600000, expiry_lease },
};

/* One that was written meanwhile lives on. */
static struct err *expiry_delete(struct expiry *x, struct arena *a, const struct expiry_row *row,
				 const struct json *obj)
{
	struct client_delete_opts opts = CLIENT_DELETE_DEFAULT;
	struct err *e;

	opts.uid = meta_uid(obj);
	opts.rv = meta_rv(obj);
	e = client_delete(x->control->client, a, row->gvr, meta_namespace(obj), meta_name(obj),
			  &opts);
	if (e && (err_is(e, ERR_NOT_FOUND) || err_is(e, ERR_CONFLICT))) {
		err_ignore(e, "gone, or written again");
		return NULL;
	}
	return e;
}

/* *next is where the next page begins, empty after the last; on the outer arena. */
static struct err *expiry_page(struct expiry *x, struct arena *outer, const struct expiry_row *row,
			       struct str *next)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str path = client_path(a, row->gvr, str_from(row->ns), STR_EMPTY, NULL);
	struct json *list;

	path = arena_fmt(a, STR_FMT "?%s", STR_ARG(path), row->query);
	if (!str_empty(*next))
		path = arena_fmt(a, STR_FMT "&continue=" STR_FMT, STR_ARG(path), STR_ARG(*next));
	TRY(client_get_as(x->control->client, a, path, row->accept, &list));
	*next = arena_str(outer, json_str_at(list, "metadata.continue"));
	json_for_each(it, json_get(list, "items"))
	{
		if (row->expired(it.val, wall_now()))
			TRY(expiry_delete(x, a, row, it.val));
	}
	return NULL;
}

static struct err *expiry_sync(void *ctx, struct arena *a, struct str key)
{
	struct expiry *x = ctx;

	for (size_t i = 0; i < ARRAY_LEN(expiry_rows); i++) {
		const struct expiry_row *row = &expiry_rows[i];
		struct str next = STR_EMPTY;

		if (!str_eqz(key, row->key))
			continue;
		controller_enqueue_after(x->controller, key, row->period_ms);
		do {
			TRY(expiry_page(x, a, row, &next));
		} while (!str_empty(next));
	}
	return NULL;
}

void expiry_start(struct control *c)
{
	static struct expiry x;
	const struct controller_opts opts = { .name = "expiry",
					      .workers = 1,
					      .sync_timeout_ms = 300000,
					      .sync = expiry_sync,
					      .ctx = &x };

	x.control = c;
	x.controller = controller_new(c->loop, &opts);
	controller_start(x.controller);
	for (size_t i = 0; i < ARRAY_LEN(expiry_rows); i++)
		controller_enqueue(x.controller, str_from(expiry_rows[i].key));
}
