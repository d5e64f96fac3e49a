/* SPDX-License-Identifier: Apache-2.0 */

#include "client/informer.h"

#include <stdlib.h>

#include "api/meta.h"
#include "api/status.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rand.h"
#include "client/rest.h"
#include "io/fiber.h"
#include "io/http-client.h"
#include "io/loop.h"
#include "json/json.h"

/*
 *     list (pages) -> watch -> watch -> ... -> 410 or a refusal -> back-off -> list
 *                       ^________|
 *             ended by the server, or the connection was lost: resume at rv
 *
 * One fiber does it. The cache changes only between its suspensions, so a handler, an index
 * and a lookup always see the same state.
 */

#define INFORMER_PAGE           500
#define INFORMER_MAX_EVENT      (64 * 1024 * 1024)
#define INFORMER_READ_SIZE      (32 * 1024)
#define INFORMER_MIN_BACKOFF_MS 50
#define INFORMER_MAX_BACKOFF_MS 10000
#define INFORMER_MAX_DOWN_MS    1000
#define INFORMER_WATCH_S        300
#define INFORMER_ACCEPT_LIST \
	"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
#define INFORMER_ACCEPT_WATCH \
	"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

struct informer_entry {
	const struct obj *obj;
	uint64_t seen; /* number of the list that had it last */
};

struct informer_bucket {
	const struct obj **v;
	size_t n, cap;
};

struct informer_index {
	struct informer_index *next;
	informer_index_fn fn;
	struct map buckets;
};

struct informer {
	struct loop *loop;
	struct client *client;
	struct gvr gvr;
	char *group, *version, *resource, *ns, *labels, *fields;
	int64_t resync_ms;
	bool metadata_only;
	struct map objects;
	struct informer_index *indexes;
	struct list handlers; /* that saw what exists */
	struct list fresh;    /* that did not yet */
	struct task deliver;
	struct timer resync;
	struct fiber *fiber;
	struct waitq synced_q;
	uint64_t n_lists;
	int64_t backoff_ms, max_backoff_ms;
	char *rv;
	struct buf last_error;
	bool synced, freed, running;
};

/* indexes */

struct informer_emit {
	struct informer_index *idx;
	const struct obj *obj;
	bool add;
};

static void informer_bucket_free(struct informer_bucket *b)
{
	free(b->v);
	free(b);
}

static void informer_index_emit(struct str key, void *ctx)
{
	const struct informer_emit *e = ctx;
	struct informer_bucket *b = map_find(&e->idx->buckets, key);

	if (e->add) {
		if (!b) {
			b = mem_new(struct informer_bucket);
			map_put(&e->idx->buckets, key, b);
		}
		if (b->n == b->cap) {
			b->cap = b->cap ? b->cap * 2 : 4;
			b->v = mem_realloc(b->v, b->cap, sizeof(const struct obj *));
		}
		b->v[b->n++] = e->obj;
		return;
	}
	for (size_t i = 0; b && i < b->n; i++) {
		if (b->v[i] != e->obj)
			continue;
		b->v[i] = b->v[--b->n];
		if (!b->n) {
			map_del(&e->idx->buckets, key);
			informer_bucket_free(b);
		}
		return;
	}
}

static void informer_reindex(struct informer *inf, const struct obj *old_obj,
			     const struct obj *new_obj)
{
	for (struct informer_index *idx = inf->indexes; idx; idx = idx->next) {
		struct informer_emit e = { .idx = idx, .obj = old_obj };

		if (old_obj)
			idx->fn(old_obj, informer_index_emit, &e);
		e.obj = new_obj;
		e.add = true;
		if (new_obj)
			idx->fn(new_obj, informer_index_emit, &e);
	}
}

/* the cache */

static void informer_dispatch(struct informer *inf, const struct obj *old_obj,
			      const struct obj *new_obj)
{
	struct informer_handler *h;
	struct informer_handler *tmp;

	list_for_each_safe(h, tmp, &inf->handlers, link) {
		h->event(h, old_obj, new_obj);
		if (inf->freed)
			return;
	}
}

static struct str informer_key(struct buf *b, struct str ns, struct str name)
{
	buf_clear(b);
	if (!str_empty(ns)) {
		buf_add(b, ns);
		buf_addc(b, '/');
	}
	buf_add(b, name);
	return buf_str(b);
}

/* Takes the reference to o. */
static void informer_put(struct informer *inf, const struct obj *o)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct str key = informer_key(&b, o->ns, o->name);
	struct informer_entry *e = map_find(&inf->objects, key);
	const struct obj *old_obj = e ? e->obj : NULL;

	if (!e) {
		e = mem_new(struct informer_entry);
		map_put(&inf->objects, key, e);
	}
	e->seen = inf->n_lists;
	if (old_obj && old_obj->rev.n == o->rev.n && str_eq(old_obj->uid, o->uid)) {
		obj_unref(o);
		return;
	}
	e->obj = o;
	informer_reindex(inf, old_obj, o);
	obj_ref(o);
	if (old_obj && !str_eq(old_obj->uid, o->uid)) {
		/* deleted and made anew while we did not look */
		informer_dispatch(inf, old_obj, NULL);
		if (!inf->freed)
			informer_dispatch(inf, NULL, o);
	} else {
		informer_dispatch(inf, old_obj, o);
	}
	obj_unref(o);
	if (old_obj)
		obj_unref(old_obj);
}

/* last: its final state if known, else what the cache has. */
static void informer_remove(struct informer *inf, struct str key, const struct obj *last)
{
	struct informer_entry *e = map_del(&inf->objects, key);

	if (!e)
		return;
	informer_reindex(inf, e->obj, NULL);
	informer_dispatch(inf, last ? last : e->obj, NULL);
	obj_unref(e->obj);
	free(e);
}

/* After a list: what it did not have is gone. */
static void informer_sweep(struct informer *inf)
{
	map_for_each(it, &inf->objects) {
		struct informer_entry *e = it->val;

		if (e->seen != inf->n_lists)
			informer_remove(inf, it->key, NULL);
		if (inf->freed)
			return;
	}
}

/* objects */

static const struct obj *informer_obj(struct informer *inf, struct arena *a,
				      const struct json *tree)
{
	uint64_t rev = 0;

	str_to_u64(meta_rv(tree), &rev);
	if (inf->metadata_only) {
		struct json *slim = json_object(a);
		struct json *meta = json_copy(a, json_get(tree, "metadata"));

		json_delz(meta, "managedFields");
		json_set(a, slim, "metadata", meta);
		tree = slim;
	}
	return obj_new(tree, (struct rev){ rev }, 0, NULL, 0);
}

static void informer_set_rv(struct informer *inf, struct str rv)
{
	if (str_empty(rv))
		return;
	free(inf->rv);
	inf->rv = mem_strdup(rv);
}

/* list */

static struct str informer_path(struct informer *inf, struct arena *a, struct str query)
{
	struct str path = client_path(a, inf->gvr, str_from(inf->ns), STR_EMPTY, NULL);
	struct str s = arena_fmt(a, STR_FMT "?" STR_FMT, STR_ARG(path), STR_ARG(query));

	if (*inf->labels) {
		struct str l = http_url_encode(a, str_from(inf->labels));

		s = arena_fmt(a, STR_FMT "&labelSelector=" STR_FMT, STR_ARG(s), STR_ARG(l));
	}
	if (*inf->fields) {
		struct str f = http_url_encode(a, str_from(inf->fields));

		s = arena_fmt(a, STR_FMT "&fieldSelector=" STR_FMT, STR_ARG(s), STR_ARG(f));
	}
	return s;
}

/* *ret_token: where the next page begins, on the heap; NULL after the last. */
static struct err *informer_list_page(struct informer *inf, const char *token, char **ret_token)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str query = arena_fmt(a, "limit=%d", INFORMER_PAGE);
	struct json *list;
	struct str next;

	*ret_token = NULL;
	if (token) {
		struct str t = http_url_encode(a, str_from(token));

		query = arena_fmt(a, STR_FMT "&continue=" STR_FMT, STR_ARG(query), STR_ARG(t));
	}
	TRY(client_get_as(inf->client, a, informer_path(inf, a, query),
			  inf->metadata_only ? INFORMER_ACCEPT_LIST : "application/json", &list));
	json_for_each(it, json_get(list, "items"))
	{
		if (str_empty(meta_name(it.val)))
			return err_new(ERR_PROTOCOL, "the list has an object without a name");
		informer_put(inf, informer_obj(inf, a, it.val));
		if (inf->freed)
			return err_new(ERR_CANCELED, "informer freed");
	}
	next = json_str_at(list, "metadata.continue");
	if (!str_empty(next))
		*ret_token = mem_strdup(next);
	else
		informer_set_rv(inf, json_str_at(list, "metadata.resourceVersion"));
	return NULL;
}

static struct err *informer_list(struct informer *inf)
{
	_cleanup_free_ char *token = NULL;

	inf->n_lists++;
	do {
		char *next;

		TRY(informer_list_page(inf, token, &next));
		free(token);
		token = next;
	} while (token);
	if (!inf->rv)
		return err_new(ERR_PROTOCOL, "the list has no resourceVersion");
	informer_sweep(inf);
	if (inf->freed)
		return err_new(ERR_CANCELED, "informer freed");
	inf->synced = true;
	inf->backoff_ms = 0;
	buf_clear(&inf->last_error);
	waitq_wake_all(&inf->synced_q);
	return NULL;
}

/* watch */

static void informer_deleted(struct informer *inf, struct arena *a, const struct json *tree)
{
	_cleanup_buf_ struct buf b = { 0 };
	const struct obj *o = informer_obj(inf, a, tree);

	informer_remove(inf, informer_key(&b, o->ns, o->name), o);
	obj_unref(o);
}

static struct err *informer_event(struct informer *inf, struct str line)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct json *o;
	struct json *doc;
	struct str type;

	TRY(err_wrap(json_parse(a, line, &doc), "watch event"));
	type = json_as_str(json_get(doc, "type"));
	o = json_get(doc, "object");
	if (str_eqz(type, "ERROR"))
		return status_to_err(o, (int)json_int_at(o, "code", 500));
	if (str_eqz(type, "ADDED") || str_eqz(type, "MODIFIED")) {
		if (str_empty(meta_name(o)))
			return err_new(ERR_PROTOCOL, "watch event without a name");
		informer_put(inf, informer_obj(inf, a, o));
	} else if (str_eqz(type, "DELETED")) {
		informer_deleted(inf, a, o);
	} else if (!str_eqz(type, "BOOKMARK")) {
		return err_new(ERR_PROTOCOL, "watch event of unknown type");
	}
	if (inf->freed)
		return err_new(ERR_CANCELED, "informer freed");
	informer_set_rv(inf, meta_rv(o));
	inf->backoff_ms = 0;
	return NULL;
}

/* Whole lines become events; the rest stays in b. scanned: bytes of b known to hold no newline. */
static struct err *informer_lines(struct informer *inf, struct buf *b, size_t *scanned)
{
	size_t from = 0;
	size_t at;

	while ((at = str_find_char(buf_str(b), '\n', MAX(from, *scanned))) < b->n) {
		struct str line = str_trim(str_sub(buf_str(b), from, at));

		from = at + 1;
		*scanned = from;
		if (!str_empty(line))
			TRY(informer_event(inf, line));
	}
	buf_consume(b, from);
	*scanned = b->n;
	if (b->n > INFORMER_MAX_EVENT)
		return err_new(ERR_TOO_LARGE, "watch event is over %d bytes", INFORMER_MAX_EVENT);
	return NULL;
}

static struct err *informer_watch_read(struct informer *inf, struct http_call *call, struct buf *b)
{
	size_t scanned = 0;
	size_t n;

	for (;;) {
		buf_reserve(b, INFORMER_READ_SIZE);
		TRY(http_call_read(call, b->p + b->n, INFORMER_READ_SIZE, &n));
		if (!n)
			return NULL;
		b->n += n;
		TRY(informer_lines(inf, b, &scanned));
	}
}

static struct err *informer_watch_once(struct informer *inf)
{
	_cleanup_(http_call_freep) struct http_call *call = NULL;
	_cleanup_buf_ struct buf b = { 0 };
	int seconds = INFORMER_WATCH_S + (int)rand_below(INFORMER_WATCH_S);
	struct arena *a = arena_new();
	struct str query = arena_fmt(
		a, "watch=1&allowWatchBookmarks=true&timeoutSeconds=%d&resourceVersion=%s", seconds,
		inf->rv);
	struct mono old = fiber_limit_ms((seconds + 30) * INT64_C(1000));
	struct err *e = client_stream(inf->client, a, informer_path(inf, a, query),
				      inf->metadata_only ? INFORMER_ACCEPT_WATCH : NULL, &call);

	arena_free(a);
	if (!e)
		e = informer_watch_read(inf, call, &b);
	fiber_restore_deadline(old);
	return e;
}

/* the fiber */

static void informer_failed(struct informer *inf, struct err *e)
{
	/* nobody to overload while the server is down, and it should find us at once when it is up
	 */
	inf->max_backoff_ms = err_is(e, ERR_IO) ? INFORMER_MAX_DOWN_MS : INFORMER_MAX_BACKOFF_MS;
	buf_clear(&inf->last_error);
	buf_add(&inf->last_error, err_msg(e));
	err_ignore(e, "kept as text");
}

static struct err *informer_pause(struct informer *inf)
{
	int64_t ms = MIN(MAX(inf->backoff_ms, INFORMER_MIN_BACKOFF_MS), inf->max_backoff_ms);

	inf->backoff_ms = ms * 2;
	return fiber_sleep_ms(ms / 2 + (int64_t)rand_below((uint64_t)ms));
}

/* Until the state is too old to go on from, or the server refuses. */
static struct err *informer_watch(struct informer *inf)
{
	for (;;) {
		struct err *e = informer_watch_once(inf);

		if (inf->freed || (e && err_is(e, ERR_CANCELED)))
			return e ? e : err_new(ERR_CANCELED, "informer freed");
		if (!e) {
			TRY(informer_pause(inf));
			continue;
		}
		if (!err_is(e, ERR_IO) && !err_is(e, ERR_TIMEOUT) && !err_is(e, ERR_UNAVAILABLE) &&
		    !err_is(e, ERR_TOO_MANY_REQUESTS))
			return e;
		informer_failed(inf, e);
		TRY(informer_pause(inf));
	}
}

static struct err *informer_loop(struct informer *inf)
{
	for (;;) {
		struct err *e = informer_list(inf);
		bool expired;

		if (!e)
			e = informer_watch(inf);
		if (inf->freed || err_is(e, ERR_CANCELED))
			return e;
		expired = err_is(e, ERR_EXPIRED) || err_is(e, ERR_GONE);
		informer_failed(inf, e);
		if (!expired)
			TRY(informer_pause(inf));
	}
}

static void informer_destroy(struct informer *inf)
{
	map_for_each(it, &inf->objects) {
		struct informer_entry *e = it->val;

		obj_unref(e->obj);
		free(e);
	}
	map_fini(&inf->objects);
	while (inf->indexes) {
		struct informer_index *idx = inf->indexes;

		inf->indexes = idx->next;
		map_for_each(it, &idx->buckets)
			informer_bucket_free(it->val);
		map_fini(&idx->buckets);
		free(idx);
	}
	fiber_unref(inf->fiber);
	buf_fini(&inf->last_error);
	free(inf->group);
	free(inf->version);
	free(inf->resource);
	free(inf->ns);
	free(inf->labels);
	free(inf->fields);
	free(inf->rv);
	free(inf);
}

static struct err *informer_run(void *arg)
{
	struct informer *inf = arg;

	err_ignore(informer_loop(inf), "only a cancel ends it");
	inf->running = false;
	waitq_wake_all(&inf->synced_q);
	if (inf->freed)
		informer_destroy(inf);
	return NULL;
}

/* handlers from the loop */

static bool informer_deliver_one(const struct obj *o, void *ctx)
{
	struct informer_handler *h = ctx;

	h->event(h, NULL, o);
	return list_linked(&h->link);
}

static void informer_deliver(struct task *t)
{
	struct informer *inf = container_of(t, struct informer, deliver);
	struct informer_handler *h;

	while ((h = list_first(&inf->fresh, struct informer_handler, link))) {
		list_unlink(&h->link);
		list_push_back(&inf->handlers, &h->link);
		informer_each(inf, STR_EMPTY, informer_deliver_one, h);
		if (inf->freed)
			return;
	}
}

static void informer_resync(struct timer *t)
{
	struct informer *inf = container_of(t, struct informer, resync);

	timer_start(inf->loop, &inf->resync, inf->resync_ms);
	map_for_each(it, &inf->objects) {
		const struct informer_entry *e = it->val;

		informer_dispatch(inf, e->obj, e->obj);
		if (inf->freed)
			return;
	}
}

/* lifecycle */

struct informer *informer_new(struct loop *l, struct client *c, const struct informer_opts *opts)
{
	struct informer *inf = mem_new(struct informer);

	inf->loop = l;
	inf->client = c;
	inf->group = mem_strdup(opts->gvr.group);
	inf->version = mem_strdup(opts->gvr.version);
	inf->resource = mem_strdup(opts->gvr.resource);
	inf->gvr = (struct gvr){ str_from(inf->group), str_from(inf->version),
				 str_from(inf->resource) };
	inf->ns = mem_strdup(opts->ns);
	inf->labels = mem_strdup(opts->label_selector);
	inf->fields = mem_strdup(opts->field_selector);
	inf->resync_ms = opts->resync_ms;
	inf->metadata_only = opts->metadata_only;
	list_init(&inf->handlers);
	list_init(&inf->fresh);
	waitq_init(&inf->synced_q);
	inf->deliver.fn = informer_deliver;
	inf->resync.fn = informer_resync;
	if (inf->resync_ms)
		timer_start(l, &inf->resync, inf->resync_ms);
	inf->max_backoff_ms = INFORMER_MAX_BACKOFF_MS;
	inf->running = true;
	inf->fiber = fiber_spawn(l, "informer", informer_run, inf);
	return inf;
}

struct informer *informer_free(struct informer *inf)
{
	if (!inf)
		return NULL;
	inf->freed = true;
	timer_cancel(&inf->resync);
	task_cancel(&inf->deliver);
	while (!list_empty(&inf->handlers))
		list_unlink(inf->handlers.next);
	while (!list_empty(&inf->fresh))
		list_unlink(inf->fresh.next);
	if (inf->running)
		fiber_cancel(inf->fiber); /* its end frees the rest */
	else
		informer_destroy(inf);
	return NULL;
}

void informer_add_handler(struct informer *inf, struct informer_handler *h)
{
	list_push_back(&inf->fresh, &h->link);
	task_post(inf->loop, &inf->deliver);
}

struct err *informer_wait_synced(struct informer *inf)
{
	while (!inf->synced) {
		if (!inf->running)
			return err_new(ERR_CANCELED, "informer stopped");
		TRY(waitq_wait(&inf->synced_q));
	}
	return NULL;
}

bool informer_synced(const struct informer *inf)
{
	return inf->synced;
}

/* lookups */

const struct obj *informer_find(const struct informer *inf, struct str ns, struct str name)
{
	_cleanup_buf_ struct buf b = { 0 };

	return informer_find_key(inf, informer_key(&b, ns, name));
}

const struct obj *informer_find_key(const struct informer *inf, struct str key)
{
	const struct informer_entry *e = map_find(&inf->objects, key);

	return e ? e->obj : NULL;
}

size_t informer_count(const struct informer *inf)
{
	return inf->objects.n;
}

void informer_each(const struct informer *inf, struct str ns,
		   bool (*fn)(const struct obj *o, void *ctx), void *ctx)
{
	map_for_each(it, &inf->objects) {
		const struct informer_entry *e = it->val;

		if (!str_empty(ns) && !str_eq(e->obj->ns, ns))
			continue;
		if (!fn(e->obj, ctx) || inf->freed)
			return;
	}
}

struct informer_index *informer_add_index(struct informer *inf, informer_index_fn fn)
{
	struct informer_index *idx;

	for (idx = inf->indexes; idx; idx = idx->next) {
		if (idx->fn == fn)
			return idx;
	}
	idx = mem_new(struct informer_index);
	idx->fn = fn;
	idx->next = inf->indexes;
	inf->indexes = idx;
	map_for_each(it, &inf->objects) {
		const struct informer_entry *entry = it->val;
		struct informer_emit e = { .idx = idx, .obj = entry->obj, .add = true };

		fn(entry->obj, informer_index_emit, &e);
	}
	return idx;
}

void informer_index_each(const struct informer_index *idx, struct str key,
			 bool (*fn)(const struct obj *o, void *ctx), void *ctx)
{
	const struct informer_bucket *b = map_find(&idx->buckets, key);

	for (size_t i = 0; b && i < b->n; i++)
		if (!fn(b->v[i], ctx))
			return;
}

void informer_index_by_owner(const struct obj *o, void (*emit)(struct str key, void *ctx),
			     void *ctx)
{
	const struct json *owner = meta_controller(obj_tree(o));

	if (owner)
		emit(json_as_str(json_get(owner, "uid")), ctx);
}

void informer_index_orphans(const struct obj *o, void (*emit)(struct str key, void *ctx), void *ctx)
{
	if (!meta_controller(obj_tree(o)))
		emit(o->ns, ctx);
}

struct gvr informer_gvr(const struct informer *inf)
{
	return inf->gvr;
}

struct str informer_last_error(const struct informer *inf)
{
	return buf_str(&inf->last_error);
}

struct str informer_rv(const struct informer *inf)
{
	return inf->rv ? str_from(inf->rv) : STR_EMPTY;
}
