/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Lists: one snapshot, in key order, paged by a token that names the snapshot and where to go on.
 * Items are spans of the stored objects unless a Table or an old schema needs their trees, one by
 * one; only YAML and pretty answers are held as a whole.
 */

#include "api/meta.h"
#include "api/selector.h"
#include "api/status.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/http-server.h"
#include "server/body.h"
#include "server/continue.h"
#include "server/crd-convert.h"
#include "server/delete-options.h"
#include "server/engine.h"
#include "server/errors.h"
#include "server/flow.h"
#include "server/object.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"
#include "server/table.h"
#include "json/json.h"
#include "json/yaml.h"

#define EXPIRED_TEXT                                                                               \
	"The provided continue parameter is too old to display a consistent list result. You can " \
	"start a new list without the continue parameter, or use the continue token in this "      \
	"response to retrieve the remainder of the results. Continuing with the provided token "   \
	"results in an inconsistent list - objects that were created, modified, or deleted "       \
	"between "                                                                                 \
	"the time the first chunk was returned and now may show up in the list."

/* kind, apiVersion and resourceVersion of an item, with room to spare */
#define ITEM_HEAD_MAX 1024
/* trees of items are dropped when there are so many bytes of them */
#define ITEM_ARENA_MAX (128 * 1024)

struct lister {
	struct api_request *rq;
	struct body items;
	struct buf item;
	size_t n;
	struct json *trees;       /* YAML and pretty answers are made of trees */
	struct arena *item_arena; /* of Tables and metadata, an item at a time */
	struct table_view view;
	struct err *e;
	struct buf last_ns, last_name; /* where the next page goes on */
	bool paged;
};

static void lister_fini(struct lister *l)
{
	body_fini(&l->items);
	buf_fini(&l->item);
	buf_fini(&l->last_ns);
	buf_fini(&l->last_name);
	arena_free(l->item_arena);
}

static bool list_on_trees(const struct api_request *rq)
{
	return rq->out.pretty || rq->out.media != MEDIA_JSON;
}

static bool list_matches(const struct api_request *rq, const struct obj *o)
{
	return (!rq->opt.labels || selector_matches_obj_labels(rq->opt.labels, o)) &&
	       (!rq->opt.fields || selector_matches_obj_fields(rq->opt.fields, o));
}

static struct err *list_item(struct lister *l, struct arena *a, const struct obj *o,
			     struct json **ret)
{
	struct api_request *rq = l->rq;

	l->view.arena = a;
	TRY(object_tree_v(rq->server->registry, a, rq->res, rq->v, o, ret));
	if (rq->out.form == OUTPUT_TABLE) {
		*ret = table_row(&l->view, *ret);
	} else if (rq->out.form == OUTPUT_METADATA) {
		*ret = table_metadata(&l->view, *ret);
	} else if (!rq->res->custom) {
		json_delz(*ret, "kind");
		json_delz(*ret, "apiVersion");
	}
	return NULL;
}

static struct err *list_add_tree(struct lister *l, const struct obj *o)
{
	struct json *tree = NULL;

	TRY(list_item(l, l->rq->arena, o, &tree));
	json_push(l->trees, tree);
	return NULL;
}

/* Straight into the response; false where what is stored is not what is shown. */
static bool list_add_stored(struct lister *l, const struct obj *o)
{
	struct api_request *rq = l->rq;
	bool kind = rq->res->custom;
	struct buf b;

	if (rq->out.form != OUTPUT_PLAIN || !object_is_current(rq->res, rq->v, o) ||
	    !body_begin(&l->items, o->tail.n + ITEM_HEAD_MAX, &b))
		return false;
	if (l->n)
		buf_addc(&b, ',');
	obj_write(&b, o, kind ? resource_api_version(rq->arena, rq->res, rq->v) : STR_EMPTY,
		  kind ? rq->res->kind : STR_EMPTY);
	body_commit(&l->items, &b);
	return true;
}

static struct err *list_add_text(struct lister *l, const struct obj *o)
{
	struct json *tree = NULL;

	if (list_add_stored(l, o))
		return NULL;
	if (l->item_arena && arena_used(l->item_arena) > ITEM_ARENA_MAX)
		l->item_arena = arena_free(l->item_arena);
	if (!l->item_arena)
		l->item_arena = arena_new();
	TRY(list_item(l, l->item_arena, o, &tree));
	buf_clear(&l->item);
	if (l->n)
		buf_addc(&l->item, ',');
	json_write(&l->item, tree);
	body_add(&l->items, buf_str(&l->item));
	return NULL;
}

static bool list_accept(const struct obj *o, void *ctx)
{
	struct lister *l = ctx;
	struct api_request *rq = l->rq;

	if (l->e || !list_matches(rq, o))
		return false;
	if (list_on_trees(rq)) {
		l->e = list_add_tree(l, o);
	} else {
		l->e = list_add_text(l, o);
	}
	if (l->paged) {
		buf_clear(&l->last_ns);
		buf_clear(&l->last_name);
		buf_add(&l->last_ns, o->ns);
		buf_add(&l->last_name, o->name);
	}
	l->n++;
	return true;
}

static struct err *list_plan(struct api_request *rq, struct store_list_opts *o)
{
	*o = (struct store_list_opts){
		.resource = rq->res->store_name,
		.ns = rq->res->namespaced ? rq->ns : STR_EMPTY,
		.limit = (size_t)rq->opt.limit,
	};
	if (!str_empty(rq->opt.cont)) {
		struct continue_token token;
		struct err *e = continue_parse(rq->arena, rq->opt.cont, &token);

		if (!e && rq->opt.rv)
			return err_new(ERR_BAD_REQUEST, "specifying resource version is not "
							"allowed when using continue");
		if (e)
			return err_wrap(e, "invalid continue token");
		o->after_ns = token.ns;
		o->after_name = token.name;
		o->at.n = (uint64_t)MAX(token.rv, (int64_t)0);
		return NULL;
	}
	/* "0" is what a cache would give: all of it */
	if (str_eqz(rq->opt.rv_text, "0"))
		o->limit = 0;
	if (!rq->opt.rv)
		return NULL;
	TRY(engine_wait_rv(rq, rq->opt.rv));
	if (rq->opt.rv_match == RV_MATCH_EXACT || (rq->opt.rv_match == RV_MATCH_UNSET && o->limit))
		o->at.n = rq->opt.rv;
	return NULL;
}

/* An expired token comes back with one that goes on at the latest revision. */
static struct err *list_expired(struct api_request *rq, const struct store_list_opts *o,
				struct err *e)
{
	struct json *status;

	err_free(e);
	if (str_empty(rq->opt.cont) || !rq->x)
		return err_new(ERR_EXPIRED,
			       "The resourceVersion for the provided list is too old.");
	e = err_new(ERR_EXPIRED, EXPIRED_TEXT);
	status = status_from_err(rq->arena, e);
	err_free(e);
	json_set_str(rq->arena, json_sub(rq->arena, status, "metadata"), "continue",
		     continue_format(rq->arena,
				     &(struct continue_token){ -1, o->after_ns, o->after_name }));
	rq->out.form = OUTPUT_PLAIN;
	respond_json(rq, 410, status);
	return NULL;
}

static void list_meta(struct lister *l, const struct store_list_result *r, struct json *meta)
{
	struct api_request *rq = l->rq;
	struct arena *a = rq->arena;

	json_set(a, meta, "resourceVersion", json_strf(a, "%llu", (unsigned long long)r->rev.n));
	if (r->more) {
		json_set_str(a, meta, "continue",
			     continue_format(a, &(struct continue_token){
							(int64_t)r->rev.n, buf_str(&l->last_ns),
							buf_str(&l->last_name) }));
		if (!rq->opt.labels && !rq->opt.fields)
			json_set_int(a, meta, "remainingItemCount", (int64_t)r->remaining);
	} else if (rq->res->custom && rq->out.form == OUTPUT_PLAIN) {
		json_set_str(a, meta, "continue", STR_EMPTY);
	}
}

/* The answer, with its items or rows as the last member. */
static struct json *list_doc(struct lister *l, const struct store_list_result *r,
			     struct json *items)
{
	struct api_request *rq = l->rq;
	struct arena *a = rq->arena;
	struct json *doc;

	if (rq->out.form == OUTPUT_TABLE) {
		l->view.arena = a;
		doc = table_new(&l->view, STR_EMPTY);
		list_meta(l, r, json_sub(a, doc, "metadata"));
		json_set(a, doc, "rows", items);
		return doc;
	}
	doc = json_object(a);
	if (rq->out.form == OUTPUT_METADATA) {
		json_set_str(a, doc, "kind", STR("PartialObjectMetadataList"));
		json_set(a, doc, "apiVersion",
			 json_strf(a, "meta.k8s.io/" STR_FMT, STR_ARG(rq->out.form_version)));
	} else {
		json_set_str(a, doc, "kind", rq->res->list_kind);
		json_set_str(a, doc, "apiVersion", request_api_version(rq));
	}
	list_meta(l, r, json_sub(a, doc, "metadata"));
	json_set(a, doc, "items", items);
	return doc;
}

/* Up to where the first item begins. */
static void list_write_head(struct lister *l, const struct store_list_result *r, struct buf *b)
{
	json_write(b, list_doc(l, r, json_array(l->rq->arena)));
	ASSERT(str_has_suffix(buf_str(b), STR("[]}")));
	b->n -= 2;
}

static void list_respond(struct lister *l, const struct store_list_result *r)
{
	_cleanup_buf_ struct buf head = { 0 };

	if (list_on_trees(l->rq)) {
		respond_json(l->rq, 200, list_doc(l, r, l->trees));
		return;
	}
	list_write_head(l, r, &head);
	respond_body(l->rq, 200, "application/json", buf_str(&head), &l->items, STR("]}\n"));
}

/* metadata.name=x in a namespace is a get. */
static bool list_is_get(struct api_request *rq, const struct store_list_opts *o, struct str *ret)
{
	if (!rq->opt.fields || o->at.n || !str_empty(rq->opt.cont) ||
	    (rq->res->namespaced && str_empty(o->ns)))
		return false;
	*ret = selector_required(rq->opt.fields, STR("metadata.name"));
	return ret->n != 0;
}

/* What a webhook must convert first, in one call a page. */
#define CONVERT_PAGE 500

struct list_found {
	struct lister *l;
	const struct obj **v;
	size_t n, cap;
};

static bool list_find(const struct obj *o, void *ctx)
{
	struct list_found *f = ctx;

	if (!list_matches(f->l->rq, o))
		return false;
	if (f->n == f->cap) {
		f->cap = f->cap ? f->cap * 2 : 64;
		f->v = mem_realloc(f->v, f->cap, sizeof(struct obj *));
	}
	f->v[f->n++] = obj_ref(o);
	return true;
}

static struct err *list_convert(struct list_found *f)
{
	struct api_request *rq = f->l->rq;

	for (size_t i = 0; i < f->n; i += CONVERT_PAGE)
		TRY(crd_convert_objs(rq->server, rq->res, rq->v, f->v + i,
				     MIN(f->n - i, (size_t)CONVERT_PAGE)));
	for (size_t i = 0; i < f->n; i++)
		list_accept(f->v[i], f->l);
	return NULL;
}

static struct err *list_run_converted(struct lister *l, struct store_list_opts o,
				      struct store_list_result *r)
{
	struct list_found f = { .l = l };
	struct err *e;

	o.borrowed = false;
	e = store_list(l->rq->server->store, &o, list_find, &f, r);
	if (!e)
		e = list_convert(&f);
	for (size_t i = 0; i < f.n; i++)
		obj_unref(f.v[i]);
	free(f.v);
	return e;
}

static struct err *list_run(struct lister *l, const struct store_list_opts *o,
			    struct store_list_result *r)
{
	struct api_request *rq = l->rq;
	struct store_key key = { .resource = o->resource, .ns = o->ns };
	_cleanup_obj_ const struct obj *obj = NULL;

	if (rq->res->conversion && rq->out.form != OUTPUT_METADATA)
		return list_run_converted(l, *o, r);
	if (!list_is_get(rq, o, &key.name))
		return store_list(rq->server->store, o, list_accept, l, r);
	*r = (struct store_list_result){ .rev = store_rev(rq->server->store) };
	TRY(store_get(rq->server->store, &key, &obj));
	if (obj) {
		r->rev.n = MAX(r->rev.n, obj->rev.n);
		list_accept(obj, l);
	}
	return NULL;
}

static bool list_may_stream(const struct api_request *rq)
{
	/* a page that the client asked for tells at its head what follows it */
	return !list_on_trees(rq) && !rq->opt.limit && str_empty(rq->opt.cont) &&
	       !rq->res->conversion && respond_may_stream(rq);
}

static struct err *list_send_items(struct lister *l)
{
	size_t n;
	struct blob *const *v = body_pieces(&l->items, &n);

	for (size_t i = 0; i < n; i++)
		TRY(http_body_write_blob(l->rq->x, v[i]));
	body_fini(&l->items);
	return NULL;
}

/*
 * After the first page. A list too large for one is sent page by page as it is read, all of one
 * revision: its memory stays small and in the cache, and no reader keeps a snapshot open.
 */
static struct err *list_stream(struct lister *l, struct store_list_opts *o,
			       struct store_list_result *r)
{
	struct api_request *rq = l->rq;
	_cleanup_buf_ struct buf head = { 0 };
	const struct rev at = r->rev;

	r->more = false; /* nothing for the client to ask for */
	list_write_head(l, r, &head);
	respond_stream(rq, 200, "application/json");
	TRY(http_body_write(rq->x, buf_str(&head)));
	TRY(list_send_items(l));
	do {
		TRY(flow_yield(rq));
		o->at = at;
		o->after_ns = buf_str(&l->last_ns);
		o->after_name = buf_str(&l->last_name);
		o->bytes = store_page_bytes(rq->server->store, at);
		TRY(store_list(rq->server->store, o, list_accept, l, r));
		TRY(TAKE(l->e));
		TRY(list_send_items(l));
	} while (r->more);
	TRY(http_body_write(rq->x, STR("]}\n")));
	return http_body_end(rq->x);
}

static struct err *list_serve(struct lister *l)
{
	struct api_request *rq = l->rq;
	struct store_list_opts o;
	struct store_list_result r = { { 0 }, false, 0 };
	struct err *e;

	TRY(list_plan(rq, &o));
	o.labels = rq->opt.labels;
	o.fields = rq->opt.fields;
	o.borrowed = true;
	if (list_may_stream(rq))
		o.bytes = store_page_bytes(rq->server->store, store_rev(rq->server->store));
	l->paged = o.bytes || o.limit;
	l->view = table_view(rq, rq->arena);
	e = list_run(l, &o, &r);
	if (!e)
		e = TAKE(l->e);
	if (e)
		return err_is(e, ERR_EXPIRED) ? list_expired(rq, &o, e) : e;
	if (o.bytes && r.more)
		return list_stream(l, &o, &r);
	list_respond(l, &r);
	return NULL;
}

struct err *serve_list(struct api_request *rq)
{
	struct lister l = { .rq = rq, .trees = json_array(rq->arena) };
	struct err *e = list_serve(&l);

	lister_fini(&l);
	return e;
}

/* deletecollection: each item is a delete of its own */
struct doomed {
	struct api_request *rq;
	struct str *v; /* ns, name pairs */
	size_t n, cap;
};

static bool doomed_accept(const struct obj *o, void *ctx)
{
	struct doomed *d = ctx;

	if (!list_matches(d->rq, o))
		return false;
	if (d->n == d->cap) {
		size_t cap = d->cap ? d->cap * 2 : 64;
		struct str *v = arena_array(d->rq->arena, cap, sizeof(*v));

		if (d->n)
			memcpy(v, d->v, d->n * sizeof(*v));
		d->v = v;
		d->cap = cap;
	}
	d->v[d->n++] = arena_str(d->rq->arena, o->name);
	return true;
}

static struct err *doomed_delete(struct api_request *rq, struct str name, struct buf *items)
{
	_cleanup_obj_ const struct obj *o = NULL;
	struct api_request *one = arena_new_obj(rq->arena, struct api_request);
	bool gone = false;
	struct err *e;

	*one = *rq;
	one->name = name;
	one->verb = VERB_DELETE;
	one->in_collection = true;
	e = engine_delete(one, &o, &gone);
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "someone else was faster");
		return NULL;
	}
	if (e)
		return e;
	e = object_in_version(rq, &o);
	err_log(NULL, LOG_WARN, "what was deleted is answered as it was stored", e);
	if (items->n)
		buf_addc(items, ',');
	return object_write(rq->server->registry, rq->arena, items, rq->res, rq->v, o,
			    rq->res->custom);
}

struct err *serve_deletecollection(struct api_request *rq)
{
	_cleanup_buf_ struct buf items = { 0 };
	struct doomed d = { .rq = rq };
	struct store_list_opts o;
	struct store_list_result r = { { 0 }, false, 0 };
	struct lister l = { .rq = rq };

	TRY(delete_options_read(rq));
	TRY(list_plan(rq, &o));
	TRY(store_list(rq->server->store, &o, doomed_accept, &d, &r));
	for (size_t i = 0; i < d.n; i++)
		TRY(doomed_delete(rq, d.v[i], &items));
	rq->out = (struct api_output){ .pretty = false };
	r.more = false;
	body_add(&l.items, buf_str(&items));
	list_respond(&l, &r);
	lister_fini(&l);
	return NULL;
}
