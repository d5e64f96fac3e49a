/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Watches: event-driven, no fiber once the initial state is sent.
 *
 *     store event -> selectors, old and new -> encoded once (struct watch_cache) -> watch_out
 *
 * When a client reads too slowly its queue fills up to WATCH_QUEUE_BYTES; then the watch leaves the
 * store's feed and resumes from the history at the revision it saw last, once the queue has
 * drained. History gone means an ERROR event with 410, as for a client that comes back too late.
 */

#include "server/watch.h"

#include "api/meta.h"
#include "api/selector.h"
#include "api/status.h"
#include "base/arena.h"
#include "base/blob.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rand.h"
#include "io/fiber.h"
#include "io/http-server.h"
#include "server/crd-convert.h"
#include "server/engine.h"
#include "server/flow.h"
#include "server/metrics.h"
#include "server/object.h"
#include "server/request.h"
#include "server/server.h"
#include "server/table.h"
#include "server/watch-convert.h"
#include "server/watch-internal.h"
#include "json/json.h"

#define WATCH_BOOKMARK_MS 60000
#define WATCH_MIN_S       1800
#define WATCH_MAX_PENDING 1000

#define ENCODED_N 128

static const char *const watch_type_names[] = {
	[WATCH_ADDED] = "ADDED",
	[WATCH_MODIFIED] = "MODIFIED",
	[WATCH_DELETED] = "DELETED",
};

/* An event as bytes; what it was made from is the key. */
struct encoded {
	const struct obj *obj;
	struct rev rev;
	enum watch_type type;
	const struct resource_version *v;
	enum output_form form;
	enum include_object include;
	bool columns;
	struct blob *blob;
};

/* An event that waits for a webhook to convert its object. */
struct pending {
	struct list link;
	const struct obj *obj;
	enum watch_type type;
	struct rev rev;
};

struct watch_cache {
	struct apiserver *server;
	struct registry_listener listener;
	struct list watchers;
	struct encoded ring[ENCODED_N];
	size_t next;
	struct watch_converter *converter;
};

/* the shared encodings */
static void encoded_fini(struct encoded *e)
{
	obj_unref(e->obj);
	if (e->blob)
		blob_unref(e->blob);
	*e = (struct encoded){ 0 };
}

static struct encoded *encoded_find(struct watch_cache *wc, const struct encoded *want)
{
	for (size_t i = 0; i < ENCODED_N; i++) {
		/* newest first: watchers of one event follow each other */
		struct encoded *e = &wc->ring[(wc->next + ENCODED_N - 1 - i) % ENCODED_N];

		if (e->obj == want->obj && e->rev.n == want->rev.n && e->type == want->type &&
		    e->v == want->v && e->form == want->form && e->include == want->include &&
		    e->columns == want->columns)
			return e;
		if (!e->obj)
			return NULL;
	}
	return NULL;
}

static struct blob *blob_of(const struct buf *b)
{
	return blob_from(buf_str(b));
}

/* An object in the form that the watch asks for. */
static struct json *watch_form(struct watcher *w, struct arena *a, struct json *tree)
{
	struct table_view view = { a, w->res, w->v, w->form_version, (int)w->include };
	struct json *doc;

	if (w->form == OUTPUT_PLAIN)
		return tree;
	if (w->form == OUTPUT_METADATA)
		return table_metadata(&view, tree);
	doc = table_new(&view, meta_rv(tree));
	table_add(&view, doc, tree);
	if (w->columns_sent)
		json_set(a, doc, "columnDefinitions", json_null(a));
	return doc;
}

static struct err *watch_encode_tree(struct watcher *w, struct buf *b, const struct obj *o)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *tree = NULL;

	TRY(object_tree_v(w->server->registry, a, w->res, w->v, o, &tree));
	json_write(b, watch_form(w, a, tree));
	return NULL;
}

static struct err *watch_encode(struct watcher *w, enum watch_type type, const struct obj *o,
				struct rev rev, struct blob **ret)
{
	_cleanup_buf_ struct buf b = { 0 };
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_obj_ const struct obj *at = NULL;

	/* an object that left the selection shows its old state at the new revision */
	if (o->rev.n != rev.n)
		o = at = obj_with_rev(o, rev);
	buf_reserve(&b, o->tail.n + 256);
	buf_addf(&b, "{\"type\":\"%s\",\"object\":", watch_type_names[type]);
	if (w->form == OUTPUT_PLAIN)
		TRY(object_write(w->server->registry, a, &b, w->res, w->v, o, true));
	else
		TRY(watch_encode_tree(w, &b, o));
	buf_addz(&b, "}\n");
	*ret = blob_of(&b);
	return NULL;
}

/* A new reference. */
static struct err *watch_blob(struct watcher *w, enum watch_type type, const struct obj *o,
			      struct rev rev, struct blob **ret)
{
	struct watch_cache *wc = w->server->watches;
	struct encoded want = { o, rev, type, w->v, w->form, w->include, w->columns_sent, NULL };
	struct encoded *e = encoded_find(wc, &want);

	if (!e) {
		TRY(watch_encode(w, type, o, rev, &want.blob));
		e = &wc->ring[wc->next++ % ENCODED_N];
		encoded_fini(e);
		*e = want;
		obj_ref(o);
	}
	*ret = blob_ref(e->blob);
	return NULL;
}

/* sending */
static void watch_end(struct watcher *w)
{
	if (w->ending || w->closed)
		return;
	w->ending = true;
	if (w->feeding)
		store_watch_cancel(&w->watch);
	w->feeding = false;
	watch_out_end(&w->out);
}

static void watch_send_error(struct watcher *w, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_buf_ struct buf b = { 0 };

	buf_addz(&b, "{\"type\":\"ERROR\",\"object\":");
	json_write(&b, status_from_err(a, e));
	buf_addz(&b, "}\n");
	err_free(e);
	if (!w->closed && !w->ending)
		watch_out_write(&w->out, buf_str(&b));
	watch_end(w);
}

static void watch_send_bookmark(struct watcher *w, bool initial_end)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_buf_ struct buf b = { 0 };
	struct json *o = json_object(a), *meta;

	json_set_str(a, o, "kind", w->res->kind);
	json_set_str(a, o, "apiVersion", resource_api_version(a, w->res, w->v));
	meta = json_sub(a, o, "metadata");
	json_set(a, meta, "resourceVersion", json_strf(a, "%llu", (unsigned long long)w->seen.n));
	if (initial_end)
		meta_set_annotation(a, o, "k8s.io/initial-events-end", STR("true"));
	buf_addz(&b, "{\"type\":\"BOOKMARK\",\"object\":");
	json_write(&b, watch_form(w, a, o));
	buf_addz(&b, "}\n");
	w->columns_sent = true;
	watch_out_write(&w->out, buf_str(&b));
}

bool watch_send(struct watcher *w, enum watch_type type, const struct obj *o, struct rev rev)
{
	struct blob *b = NULL;
	struct err *e = watch_blob(w, type, o, rev, &b);
	bool room;

	if (e) {
		watch_send_error(w, e);
		return false;
	}
	++*w->counter;
	w->columns_sent = true;
	room = watch_out_blob(&w->out, b);
	blob_unref(b);
	return room;
}

/* ---- objects that a webhook converts */

static bool watch_must_convert(const struct watcher *w, const struct obj *o)
{
	return w->form != OUTPUT_METADATA && crd_must_convert(w->res, w->v, o);
}

/* A new reference to o in the watch's version. SUSPENDS */
static struct err *watch_convert(struct watcher *w, const struct obj *o, const struct obj **ret)
{
	if (!watch_must_convert(w, o)) {
		*ret = obj_ref(o);
		return NULL;
	}
	return watch_converter_get(w->server->watches->converter, w->res, w->v, o, ret);
}

static bool watch_matches(const struct watcher *w, const struct obj *o)
{
	if (!o || (!str_empty(w->name) && !str_eq(o->name, w->name)))
		return false;
	return (!w->labels || selector_matches_obj_labels(w->labels, o)) &&
	       (!w->fields || selector_matches_obj_fields(w->fields, o));
}

static void watch_pause(struct watcher *w)
{
	if (!w->feeding)
		return;
	store_watch_cancel(&w->watch);
	w->feeding = false;
	w->paused = true;
}

static struct pending *pending_free(struct watcher *w, struct pending *p)
{
	list_unlink(&p->link);
	w->n_pending--;
	obj_unref(p->obj);
	free(p);
	return NULL;
}

static void pending_clear(struct watcher *w)
{
	struct pending *p, *tmp;

	list_for_each_safe(p, tmp, &w->pending, link)
		pending_free(w, p);
}

struct err *watch_room(struct watcher *w)
{
	while (!w->closed && watch_out_is_full(&w->out))
		TRY(waitq_wait(&w->drained));
	return NULL;
}

static struct err *watch_send_pending(struct watcher *w)
{
	while (!list_empty(&w->pending) && !w->closed && !w->ending) {
		struct pending *p = list_entry(w->pending.next, struct pending, link);
		_cleanup_obj_ const struct obj *o = NULL;

		TRY(watch_convert(w, p->obj, &o));
		TRY(watch_room(w));
		if (!w->closed && !w->ending)
			watch_send(w, p->type, o, p->rev);
		pending_free(w, p);
	}
	return NULL;
}

static void watch_begin(struct watcher *w, bool initial, bool again, struct err *e);

static struct err *watch_pending_fiber(void *arg)
{
	struct watcher *w = arg;
	struct err *e = watch_send_pending(w);

	pending_clear(w);
	watch_begin(w, false, w->paused, e);
	return NULL;
}

/* In the order of events: a fiber converts and sends them. */
static void watch_defer(struct watcher *w, enum watch_type type, const struct obj *o,
			struct rev rev)
{
	struct pending *p = mem_new(struct pending);

	*p = (struct pending){ .obj = obj_ref(o), .type = type, .rev = rev };
	list_push_back(&w->pending, &p->link);
	w->n_pending++;
	if (w->n_pending >= WATCH_MAX_PENDING)
		watch_pause(w);
	if (w->busy)
		return;
	w->busy = true;
	fiber_unref(fiber_spawn(w->server->loop, "watch-convert", watch_pending_fiber, w));
}

static bool watch_send_or_defer(struct watcher *w, enum watch_type type, const struct obj *o,
				struct rev rev)
{
	if (!w->n_pending && !watch_must_convert(w, o))
		return watch_send(w, type, o, rev);
	watch_defer(w, type, o, rev);
	return true;
}

static void watch_event(struct store_watch *sw, const struct store_event *ev)
{
	struct watcher *w = container_of(sw, struct watcher, watch);
	bool is = ev->type == STORE_PUT && watch_matches(w, ev->obj);
	bool was = watch_matches(w, ev->type == STORE_PUT ? ev->prev : ev->obj);
	bool room = true;

	/* the last state that matched is what a deleted object shows */
	if (is)
		room = watch_send_or_defer(w, was ? WATCH_MODIFIED : WATCH_ADDED, ev->obj, ev->rev);
	else if (was)
		room = watch_send_or_defer(w, WATCH_DELETED,
					   ev->type == STORE_PUT ? ev->prev : ev->obj, ev->rev);
	w->seen = ev->rev;
	if (!room)
		watch_pause(w);
}

static void watch_progress(struct store_watch *sw, struct rev rev)
{
	struct watcher *w = container_of(sw, struct watcher, watch);

	if (rev.n > w->seen.n)
		w->seen = rev;
}

static void watch_failed(struct store_watch *sw, struct err *e)
{
	struct watcher *w = container_of(sw, struct watcher, watch);
	struct rev oldest = store_oldest_rev(w->server->store);

	w->feeding = false;
	if (err_is(e, ERR_EXPIRED))
		e = err_remsg(e, "too old resource version: %llu (%llu)",
			      (unsigned long long)w->seen.n, (unsigned long long)oldest.n);
	watch_send_error(w, e);
}

static void watch_feed(struct watcher *w)
{
	struct err *e;

	w->paused = false;
	w->watch.event = watch_event;
	w->watch.progress = watch_progress;
	w->watch.failed = watch_failed;
	e = store_watch_start(w->server->store, &w->watch, w->res->store_name, w->ns, w->name,
			      w->seen);
	if (e)
		watch_failed(&w->watch, e);
	else
		w->feeding = true;
}

/* life */
static void watch_free(struct watcher *w)
{
	list_unlink(&w->link);
	timer_cancel(&w->timeout);
	timer_cancel(&w->bookmark);
	timer_cancel(&w->last_bookmark);
	pending_clear(w);
	if (w->feeding)
		store_watch_cancel(&w->watch);
	resource_unref(w->res);
	arena_free(w->arena);
	free(w);
}

static void watch_closed(struct http_push *p)
{
	struct watcher *w = container_of(p, struct watcher, out.push);

	w->closed = true;
	/* the fiber that still sends the initial state frees it then */
	if (w->busy)
		waitq_wake_all(&w->drained);
	else
		watch_free(w);
}

static void watch_writable(struct http_push *p)
{
	struct watcher *w = container_of(p, struct watcher, out.push);

	if (w->busy)
		waitq_wake_all(&w->drained);
	else if (w->paused && !w->ending)
		watch_feed(w);
}

static void watch_timeout(struct timer *t)
{
	watch_end(container_of(t, struct watcher, timeout));
}

static void watch_bookmark(struct timer *t)
{
	struct watcher *w = container_of(t, struct watcher, bookmark);

	if (w->feeding && w->seen.n)
		watch_send_bookmark(w, false);
	timer_start(w->server->loop, t, WATCH_BOOKMARK_MS);
}

static void watch_last_bookmark(struct timer *t)
{
	struct watcher *w = container_of(t, struct watcher, last_bookmark);

	if (w->feeding && w->seen.n)
		watch_send_bookmark(w, false);
}

static void watch_start_timers(struct watcher *w, int64_t seconds)
{
	struct loop *l = w->server->loop;

	if (!seconds)
		seconds = WATCH_MIN_S + (int64_t)rand_below(WATCH_MIN_S);
	timer_start(l, &w->timeout, MIN(MAX(seconds, (int64_t)0), (int64_t)INT32_MAX) * 1000);
	if (!w->bookmarks)
		return;
	timer_start(l, &w->bookmark, WATCH_BOOKMARK_MS);
	if (seconds > 2)
		timer_start(l, &w->last_bookmark, (seconds - 2) * 1000);
}

/* To the next of the bytes behind the watcher. */
static struct str watch_keep(char **at, struct str s)
{
	char *p = *at;

	if (s.n)
		memcpy(p, s.p, s.n);
	*at += s.n;
	return str_make(p, s.n);
}

/* An arena of its own costs a page, which ten thousand idle watches can do without. */
static struct err *watch_select(struct watcher *w, const struct api_request *rq)
{
	struct arena *a;

	if (!rq->opt.labels && !rq->opt.fields)
		return NULL;
	a = w->arena = arena_new();
	if (rq->opt.labels)
		TRY(label_selector_parse(a, arena_str(a, rq->opt.label_text), &w->labels));
	if (rq->opt.fields)
		TRY(options_fields(a, w->v, arena_str(a, rq->opt.field_text), &w->fields));
	return NULL;
}

static struct err *watch_new(struct api_request *rq, struct watcher **ret)
{
	const struct str ns = rq->res->namespaced ? rq->ns : STR_EMPTY;
	const size_t text = ns.n + rq->name.n + rq->out.form_version.n;
	struct watcher *w = mem_zalloc(1, sizeof(*w) + text);
	char *at = (char *)(w + 1);
	struct err *e;

	*w = (struct watcher){
		.server = rq->server,
		.res = resource_ref(rq->res),
		.v = rq->v,
		.ns = watch_keep(&at, ns),
		.name = watch_keep(&at, rq->name),
		.form = rq->out.form,
		.include = rq->opt.include,
		.form_version = watch_keep(&at, rq->out.form_version),
		.seen = { rq->opt.rv },
		.bookmarks = rq->opt.bookmarks,
		.counter = metrics_watch_events(rq->server, rq->res, rq->v),
		.busy = true,
	};
	w->out.push.writable = watch_writable;
	w->out.push.closed = watch_closed;
	w->timeout.fn = watch_timeout;
	w->bookmark.fn = watch_bookmark;
	w->last_bookmark.fn = watch_last_bookmark;
	waitq_init(&w->drained);
	list_init(&w->pending);
	list_push_back(&rq->server->watches->watchers, &w->link);
	e = watch_select(w, rq);
	if (e) {
		watch_free(w);
		return e;
	}
	if (w->fields && str_empty(w->name)) {
		struct str name = selector_required(w->fields, STR("metadata.name"));

		if (name.n && !str_empty(w->ns))
			w->name = name;
	}
	*ret = w;
	return NULL;
}

/*
 * What a watch starts with: "" and "0" mean the present state first. sendInitialEvents=false means
 * from now, or from the given revision.
 */
static bool watch_wants_initial(const struct api_request *rq)
{
	if (rq->opt.send_initial_set)
		return rq->opt.send_initial;
	return rq->opt.rv == 0;
}

/* The fiber is done: back to events; feed: from the store, as of what was seen last. */
static void watch_begin(struct watcher *w, bool initial, bool feed, struct err *e)
{
	w->busy = false;
	if (w->closed) {
		err_free(e);
		watch_free(w);
		return;
	}
	if (e) {
		watch_send_error(w, e);
		return;
	}
	if (w->outdated)
		watch_end(w);
	if (w->ending)
		return;
	if (initial && w->bookmarks)
		watch_send_bookmark(w, true);
	if (feed)
		watch_feed(w);
}

struct watch_start {
	struct watcher *w;
	struct api_request *rq;
};

/* From the answer's head to the feed. */
static struct err *watch_start(void *arg)
{
	const struct watch_start *start = arg;
	struct watcher *w = start->w;
	struct api_request *rq = start->rq;
	bool initial = watch_wants_initial(rq);
	struct err *e = NULL;

	watch_start_timers(w, rq->opt.timeout_s);
	/* as a list would: the state must be at least as new as asked for */
	if (initial && rq->opt.rv)
		e = engine_wait_rv(rq, rq->opt.rv);
	if (!e && initial)
		e = watch_initial(w, rq);
	else if (!rq->opt.rv)
		w->seen = store_rev(rq->server->store);
	watch_begin(w, initial, true, e);
	return NULL;
}

struct err *serve_watch(struct api_request *rq)
{
	struct watch_start start = { .rq = rq };
	size_t limit = WATCH_QUEUE_BYTES;
	bool admitted = true;
	struct err *e;

	if (watch_wants_initial(rq)) {
		limit = WATCH_FIRST_BYTES;
		TRY(flow_enter_long(rq, &admitted));
	}
	if (!admitted)
		return NULL;
	TRY(watch_new(rq, &start.w));
	if (!watch_out_wants_socket(rq)) {
		watch_out_respond(&start.w->out, rq->x, limit);
		return watch_start(&start);
	}
	e = watch_out_accept(&start.w->out, rq, limit);
	if (e) {
		watch_free(start.w);
		return e;
	}
	watch_out_run_socket(&start.w->out, watch_start, &start);
	return NULL;
}

/* a CRD that changed or went ends its watches: clients come back and see what is served now */
static void watch_resource_changed(struct registry_listener *l, const struct resource *old,
				   const struct resource *new UNUSED)
{
	struct watch_cache *wc = container_of(l, struct watch_cache, listener);
	struct watcher *w, *tmp;

	if (!old)
		return;
	list_for_each_safe(w, tmp, &wc->watchers, link) {
		if (w->res != old)
			continue;
		w->outdated = true;
		if (!w->busy)
			watch_end(w);
	}
}

struct watch_cache *watch_cache_new(struct apiserver *s)
{
	struct watch_cache *wc = mem_new(struct watch_cache);

	wc->server = s;
	list_init(&wc->watchers);
	wc->converter = watch_converter_new(s);
	wc->listener.changed = watch_resource_changed;
	registry_listen(s->registry, &wc->listener);
	return wc;
}

struct watch_cache *watch_cache_free(struct watch_cache *wc)
{
	struct watcher *w, *tmp;

	if (!wc)
		return NULL;
	list_for_each_safe(w, tmp, &wc->watchers, link) {
		if (!w->closed)
			watch_out_abort(&w->out);
	}
	for (size_t i = 0; i < ENCODED_N; i++)
		encoded_fini(&wc->ring[i]);
	watch_converter_free(wc->converter);
	free(wc);
	return NULL;
}
