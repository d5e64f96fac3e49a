/* SPDX-License-Identifier: Apache-2.0 */

#include "client/events.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "client/rest.h"
#include "io/fiber.h"
#include "io/loop.h"
#include "json/json.h"

/*
 * As client-go: the same event (object, type, reason, message) again only raises its count; one
 * object may cause 25 events at once and one more each 5 minutes. What cannot be written is
 * dropped: an event is a hint, never state.
 */

#define EVENT_QUEUE_MAX   1000
#define EVENT_CACHE_MAX   4096
#define EVENT_BURST       25
#define EVENT_REFILL_MS   (5 * 60 * 1000)
#define EVENT_MESSAGE_MAX 1024

static const struct gvr event_gvr = { STR_INIT(""), STR_INIT("v1"), STR_INIT("events") };

struct event_key {
	char *ns, *name; /* of the Event; NULL until it was created */
	char *first;     /* timestamp */
	int64_t count;
};

struct event_bucket {
	double tokens;
	struct mono last;
};

struct event_job {
	struct list link;
	struct arena *arena;
	struct json *event; /* complete but for name, count and firstTimestamp */
	struct str key;
	struct str object; /* name of the involved object */
};

struct event_recorder {
	struct loop *loop;
	struct client *client;
	char *component, *host;
	struct list queue;
	size_t n_queue;
	struct waitq filled;
	struct fiber *fiber;
	bool freed, running;
	struct map keys, buckets;
};

/* writing */

static void event_key_free(struct event_key *k)
{
	free(k->ns);
	free(k->name);
	free(k->first);
	free(k);
}

static void event_cache_clear(struct event_recorder *r)
{
	map_for_each(e, &r->keys)
		event_key_free(e->val);
	map_clear(&r->keys);
	map_for_each(e, &r->buckets)
		free(e->val);
	map_clear(&r->buckets);
}

static struct err *event_create(struct event_recorder *r, struct event_job *job,
				struct event_key *k)
{
	struct arena *a = job->arena;
	struct json *meta = json_sub(a, job->event, "metadata");
	struct str ns = json_as_str(json_get(meta, "namespace"));
	struct str name = arena_fmt(a, STR_FMT ".%llx", STR_ARG(job->object),
				    (unsigned long long)wall_now().ns);

	json_set_str(a, meta, "name", name);
	json_set_str(a, job->event, "firstTimestamp", str_from(k->first));
	json_set_int(a, job->event, "count", k->count);
	TRY(client_create(r->client, a, event_gvr, ns, job->event, NULL));
	free(k->ns);
	free(k->name);
	k->ns = mem_strdup(ns);
	k->name = mem_strdup(name);
	return NULL;
}

static struct err *event_bump(struct event_recorder *r, struct event_job *job, struct event_key *k)
{
	struct arena *a = job->arena;
	struct json *patch = json_object(a);
	struct err *e;

	json_set_int(a, patch, "count", k->count);
	json_set(a, patch, "lastTimestamp", json_copy(a, json_get(job->event, "lastTimestamp")));
	e = client_patch(r->client, a, event_gvr, str_from(k->ns), str_from(k->name), NULL,
			 CLIENT_PATCH_MERGE, patch, NULL);
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "it expired; a new one takes its place");
		return event_create(r, job, k);
	}
	return e;
}

static struct err *event_write(struct event_recorder *r, struct event_job *job)
{
	struct event_key *k = map_find(&r->keys, job->key);

	if (!k) {
		if (r->keys.n >= EVENT_CACHE_MAX)
			event_cache_clear(r);
		k = mem_new(struct event_key);
		k->first = mem_strdup(json_as_str(json_get(job->event, "lastTimestamp")));
		map_put(&r->keys, job->key, k);
	}
	k->count++;
	return k->name ? event_bump(r, job, k) : event_create(r, job, k);
}

static void event_job_free(struct event_job *job)
{
	list_unlink(&job->link);
	arena_free(job->arena); /* the job itself lives there */
}

static struct err *event_loop(struct event_recorder *r)
{
	for (;;) {
		struct event_job *job = list_first(&r->queue, struct event_job, link);
		struct err *e;

		if (!job) {
			TRY(waitq_wait(&r->filled));
			continue;
		}
		list_unlink(&job->link);
		r->n_queue--;
		e = event_write(r, job);
		event_job_free(job);
		if (e && err_is(e, ERR_CANCELED))
			return e;
		if (e)
			log_debug(NULL, "event dropped", KV_ERR(e));
		err_ignore(e, "events are hints");
	}
}

static void event_recorder_destroy(struct event_recorder *r)
{
	struct event_job *job;

	while ((job = list_first(&r->queue, struct event_job, link)))
		event_job_free(job);
	event_cache_clear(r);
	map_fini(&r->keys);
	map_fini(&r->buckets);
	fiber_unref(r->fiber);
	free(r->component);
	free(r->host);
	free(r);
}

static struct err *event_run(void *arg)
{
	struct event_recorder *r = arg;

	err_ignore(event_loop(r), "only a cancel ends it");
	r->running = false;
	if (r->freed)
		event_recorder_destroy(r);
	return NULL;
}

/* lifecycle */

struct event_recorder *event_recorder_new(struct loop *l, struct client *c, const char *component,
					  struct str host)
{
	struct event_recorder *r = mem_new(struct event_recorder);

	r->loop = l;
	r->client = c;
	r->component = mem_strdup(str_from(component));
	r->host = mem_strdup(host);
	list_init(&r->queue);
	waitq_init(&r->filled);
	r->running = true;
	r->fiber = fiber_spawn(l, "events", event_run, r);
	return r;
}

struct event_recorder *event_recorder_free(struct event_recorder *r)
{
	if (!r)
		return NULL;
	r->freed = true;
	if (r->running)
		fiber_cancel(r->fiber); /* its end frees the rest */
	else
		event_recorder_destroy(r);
	return NULL;
}

/* recording */

/* One object may not flood the cluster. */
static bool event_allowed(struct event_recorder *r, struct str uid)
{
	struct event_bucket *b = map_find(&r->buckets, uid);

	if (!b) {
		if (r->buckets.n >= EVENT_CACHE_MAX)
			return true;
		b = mem_new(struct event_bucket);
		*b = (struct event_bucket){ EVENT_BURST, mono_now() };
		map_put(&r->buckets, uid, b);
	}
	b->tokens = MIN(b->tokens + (double)mono_ms_since(b->last) / EVENT_REFILL_MS,
			(double)EVENT_BURST);
	b->last = mono_now();
	if (b->tokens < 1)
		return false;
	b->tokens -= 1;
	return true;
}

static struct json *event_involved(struct arena *a, const struct json *obj, struct str api_version,
				   struct str kind)
{
	struct json *o = json_object(a);

	json_set(a, o, "kind", json_strcpy(a, kind));
	if (!str_empty(meta_namespace(obj)))
		json_set(a, o, "namespace", json_strcpy(a, meta_namespace(obj)));
	json_set(a, o, "name", json_strcpy(a, meta_name(obj)));
	if (!str_empty(meta_uid(obj)))
		json_set(a, o, "uid", json_strcpy(a, meta_uid(obj)));
	json_set(a, o, "apiVersion", json_strcpy(a, api_version));
	if (!str_empty(meta_rv(obj)))
		json_set(a, o, "resourceVersion", json_strcpy(a, meta_rv(obj)));
	return o;
}

static struct json *event_make(struct event_recorder *r, struct arena *a, const struct json *obj,
			       const char *type, const char *reason, struct str message)
{
	struct json *e = json_object(a);
	struct str ns = meta_namespace(obj);

	json_set_str(a, e, "kind", STR("Event"));
	json_set_str(a, e, "apiVersion", STR("v1"));
	json_set(a, json_sub(a, e, "metadata"), "namespace",
		 json_strcpy(a, str_empty(ns) ? STR("default") : ns));
	json_set(a, e, "reason", json_strcpy(a, str_from(reason)));
	json_set_str(a, e, "message", message);
	json_set(a, e, "type", json_strcpy(a, str_from(type)));
	json_set(a, json_sub(a, e, "source"), "component", json_strcpy(a, str_from(r->component)));
	if (*r->host)
		json_set(a, json_sub(a, e, "source"), "host", json_strcpy(a, str_from(r->host)));
	json_set_str(a, e, "lastTimestamp", wall_format(a, wall_now()));
	json_set(a, e, "reportingComponent", json_strcpy(a, str_from(r->component)));
	json_set(a, e, "reportingInstance", json_strcpy(a, str_from(r->host)));
	return e;
}

void event_record(struct event_recorder *r, const struct json *obj, struct str api_version,
		  struct str kind, const char *type, const char *reason, const char *fmt, ...)
{
	struct event_job *job;
	struct arena *a;
	struct str msg;
	va_list ap;

	if (r->n_queue >= EVENT_QUEUE_MAX || !event_allowed(r, meta_uid(obj)))
		return;
	a = arena_new();
	va_start(ap, fmt);
	msg = arena_vfmt(a, fmt, ap);
	va_end(ap);
	if (msg.n > EVENT_MESSAGE_MAX)
		msg.n = EVENT_MESSAGE_MAX;
	job = arena_new_obj(a, struct event_job);
	job->arena = a;
	job->event = event_make(r, a, obj, type, reason, msg);
	json_set(a, job->event, "involvedObject", event_involved(a, obj, api_version, kind));
	job->object = arena_str(a, meta_name(obj));
	job->key = arena_fmt(a, STR_FMT "/" STR_FMT "/" STR_FMT "/%s/%s/" STR_FMT,
			     STR_ARG(meta_namespace(obj)), STR_ARG(job->object),
			     STR_ARG(meta_uid(obj)), type, reason, STR_ARG(msg));
	list_push_back(&r->queue, &job->link);
	r->n_queue++;
	waitq_wake_one(&r->filled);
}
