/* SPDX-License-Identifier: Apache-2.0 */

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/informer.h"
#include "client/rest.h"
#include "control/control.h"
#include "json/json.h"

/* Deletes finished Jobs spec.ttlSecondsAfterFinished after they ended. Keys are Jobs. */

struct ttl_after_finished {
	struct control *control;
	struct controller *controller;
	struct informer *jobs;
};

/* When the Job ended; false while it has not. */
static bool ttl_finished_at(const struct json *job, struct wall *ret)
{
	static const char *const types[] = { "Complete", "Failed" };
	const struct json *status = json_get(job, "status");

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		const struct json *c = condition_find(status, types[i]);

		if (c && str_eqz(json_str_at(c, "status"), "True") &&
		    wall_parse(json_str_at(c, "lastTransitionTime"), ret))
			return true;
	}
	return false;
}

/* Milliseconds until it must go, 0 when that is over; -1: it stays. */
static int64_t ttl_due_ms(const struct json *job, struct wall now)
{
	const struct json *ttl = json_at(job, "spec.ttlSecondsAfterFinished");
	struct wall end;

	if (!ttl || json_is_null(ttl) || meta_deleting(job) || !ttl_finished_at(job, &end))
		return -1;
	return MAX((end.ns - now.ns) / NS_PER_MS + json_as_int(ttl, 0) * 1000, 0);
}

static struct err *ttl_delete(struct ttl_after_finished *t, struct arena *a, struct str ns,
			      struct str name)
{
	struct client_delete_opts opts = CLIENT_DELETE_DEFAULT;
	struct json *live;

	/* the ttl may have been raised meanwhile */
	TRY(client_get(t->control->client, a, gvr_jobs, ns, name, &live));
	if (ttl_due_ms(live, wall_now()) != 0)
		return NULL;
	opts.propagation = "Foreground";
	opts.uid = meta_uid(live);
	opts.rv = meta_rv(live);
	return client_delete(t->control->client, a, gvr_jobs, ns, name, &opts);
}

static struct err *ttl_sync(void *ctx, struct arena *a, struct str key)
{
	struct ttl_after_finished *t = ctx;
	const struct obj *o = informer_find_key(t->jobs, key);
	int64_t ms = o ? ttl_due_ms(obj_tree(o), wall_now()) : -1;
	struct str ns, name;
	struct err *e;

	if (ms > 0)
		controller_enqueue_after(t->controller, key, ms + 1);
	if (ms != 0)
		return NULL;
	meta_key_split(key, &ns, &name);
	e = ttl_delete(t, a, ns, name);
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "gone already");
		return NULL;
	}
	return e;
}

void ttl_after_finished_start(struct control *c)
{
	static struct ttl_after_finished t;
	const struct controller_opts opts = {
		.name = "ttl-after-finished", .workers = 2, .sync = ttl_sync, .ctx = &t
	};

	t.control = c;
	t.controller = controller_new(c->loop, &opts);
	t.jobs = control_informer(c, gvr_jobs);
	controller_watch(t.controller, t.jobs);
	controller_start(t.controller);
}
