/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One allocation per object:
 *
 *     struct obj | labels[] | fields[] | ns name uid, keys and values | tail
 *
 * and the stored form is the same without pointers (all numbers little-endian as the host's;
 * the store is not portable between byte orders and says so by its magic):
 *
 *     u8 version | u8 flags | u16 ns | u16 name | u16 uid | u32 schema_gen |
 *     u16 n_labels | u16 n_fields | per pair: u16 key, u32 val |
 *     ns name uid | keys and values | tail
 */

#include "api/obj.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "json/json.h"

#define OBJ_VERSION  1
#define OBJ_DELETING 1u
#define TAIL_USUAL   2048 /* most tails need no more */

struct obj_head {
	uint8_t version, flags;
	uint16_t ns, name, uid;
	uint32_t schema_gen;
	uint16_t n_labels, n_fields;
} __attribute__((packed));

struct pair_head {
	uint16_t key;
	uint32_t val;
} __attribute__((packed));

static size_t pairs_bytes(const struct obj_pair *pairs, size_t n)
{
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += pairs[i].key.n + pairs[i].val.n;
	return sum;
}

static struct str put_str(char **at, struct str s)
{
	struct str copy = { *at, s.n };

	if (s.n)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

static void put_pairs(struct obj_pair *to, const struct obj_pair *from, size_t n, char **at)
{
	for (size_t i = 0; i < n; i++) {
		to[i].key = put_str(at, from[i].key);
		to[i].val = put_str(at, from[i].val);
	}
}

/* A copy of everything src shows, in one allocation, with one reference. */
static struct obj *obj_make(const struct obj *src)
{
	size_t n_pairs = src->n_labels + src->n_fields;
	size_t size = sizeof(struct obj) + n_pairs * sizeof(struct obj_pair) + src->ns.n +
		      src->name.n + src->uid.n + src->tail.n +
		      pairs_bytes(src->labels, src->n_labels) +
		      pairs_bytes(src->fields, src->n_fields);
	struct obj *o = mem_alloc(size);
	struct obj_pair *pairs = (struct obj_pair *)(void *)(o + 1);
	char *at = (char *)(pairs + n_pairs);

	*o = *src;
	o->refs = 1;
	o->size = size;
	o->tree = NULL;
	o->tree_arena = NULL;
	o->labels = pairs;
	o->fields = pairs + src->n_labels;
	o->ns = put_str(&at, src->ns);
	o->name = put_str(&at, src->name);
	o->uid = put_str(&at, src->uid);
	put_pairs(pairs, src->labels, src->n_labels, &at);
	put_pairs(pairs + src->n_labels, src->fields, src->n_fields, &at);
	o->tail = put_str(&at, src->tail);
	return o;
}

static void write_tail(struct buf *b, const struct json *tree)
{
	bool first = true;

	json_for_each(it, json_get(tree, "metadata"))
	{
		if (str_eqz(it.key, "resourceVersion"))
			continue;
		if (!first)
			buf_addc(b, ',');
		first = false;
		json_write_member(b, it.key, it.val);
	}
	buf_addc(b, '}');
	json_for_each(it, tree)
	{
		if (str_eqz(it.key, "kind") || str_eqz(it.key, "apiVersion") ||
		    str_eqz(it.key, "metadata"))
			continue;
		buf_addc(b, ',');
		json_write_member(b, it.key, it.val);
	}
	buf_addc(b, '}');
}

static int pair_cmp(const void *a, const void *b)
{
	const struct obj_pair *x = a, *y = b;

	return str_cmp(x->key, y->key);
}

struct err *obj_fits(const struct json *tree, const struct obj_pair *fields, size_t n_fields)
{
	bool fits = json_len(json_path(tree, "metadata", "labels", NULL)) <= UINT16_MAX;

	for (size_t i = 0; i < n_fields; i++)
		fits &= fields[i].key.n <= UINT16_MAX;
	if (fits)
		return NULL;
	return err_new(ERR_TOO_LARGE,
		       "Request entity too large: an object may have at most %d labels, and names "
		       "of selectable fields %d bytes",
		       UINT16_MAX, UINT16_MAX);
}

struct obj *obj_new(const struct json *tree, struct rev rev, uint32_t schema_gen,
		    const struct obj_pair *fields, size_t n_fields)
{
	_cleanup_buf_ struct buf tail = { 0 };
	_cleanup_free_ struct obj_pair *labels = NULL;
	const struct json *meta = json_get(tree, "metadata");
	const struct json *map = json_get(meta, "labels");
	size_t n = 0;

	PRE(json_len(map) <= UINT16_MAX && n_fields <= UINT16_MAX);
	labels = mem_zalloc(json_len(map) + 1, sizeof(*labels));
	json_for_each(it, map)
	{
		labels[n++] = (struct obj_pair){ it.key, json_as_str(it.val) };
	}
	qsort(labels, n, sizeof(*labels), pair_cmp);
	buf_reserve(&tail, TAIL_USUAL);
	write_tail(&tail, tree);
	return obj_make(&(struct obj){
		.rev = rev,
		.schema_gen = schema_gen,
		.ns = json_as_str(json_get(meta, "namespace")),
		.name = json_as_str(json_get(meta, "name")),
		.uid = json_as_str(json_get(meta, "uid")),
		.tail = buf_str(&tail),
		.labels = labels,
		.n_labels = n,
		.fields = fields,
		.n_fields = n_fields,
		.deleting = !json_is_null(json_get(meta, "deletionTimestamp")),
	});
}

/* Counting is the one thing that a const object allows. */
static struct obj *obj_mut(const struct obj *o)
{
	union {
		const struct obj *c;
		struct obj *m;
	} u = { .c = o };

	return u.m;
}

const struct obj *obj_ref(const struct obj *o)
{
	PRE(o->refs > 0);
	obj_mut(o)->refs++;
	return o;
}

const struct obj *obj_unref(const struct obj *o)
{
	if (!o)
		return NULL;
	ASSERT(o->refs > 0);
	if (--obj_mut(o)->refs == 0) {
		obj_forget_tree(o);
		free(obj_mut(o));
	}
	return NULL;
}

void obj_unrefp(const struct obj **o)
{
	obj_unref(*o);
}

static void obj_release(void *p)
{
	obj_unref(p);
}

const struct obj *obj_hold(struct arena *a, const struct obj *o)
{
	arena_defer(a, obj_release, obj_mut(obj_ref(o)));
	return o;
}

void obj_list_add(struct obj_list *l, const struct obj *o)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 16;
		const struct obj **v = arena_array(l->arena, cap, sizeof(const struct obj *));

		for (size_t i = 0; i < l->n; i++)
			v[i] = l->v[i];
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = obj_hold(l->arena, o);
}

struct obj *obj_with_rev(const struct obj *o, struct rev rev)
{
	struct obj *copy = obj_make(o);

	copy->rev = rev;
	return copy;
}

static void encode_pairs(struct buf *b, const struct obj_pair *pairs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct pair_head h = { (uint16_t)pairs[i].key.n, (uint32_t)pairs[i].val.n };

		PRE(pairs[i].key.n <= UINT16_MAX && pairs[i].val.n <= UINT32_MAX);
		buf_add(b, str_make((const char *)&h, sizeof(h)));
	}
}

static void encode_texts(struct buf *b, const struct obj_pair *pairs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		buf_add(b, pairs[i].key);
		buf_add(b, pairs[i].val);
	}
}

void obj_encode(struct buf *b, const struct obj *o)
{
	struct obj_head h = {
		.version = OBJ_VERSION,
		.flags = o->deleting ? OBJ_DELETING : 0,
		.ns = (uint16_t)o->ns.n,
		.name = (uint16_t)o->name.n,
		.uid = (uint16_t)o->uid.n,
		.schema_gen = o->schema_gen,
		.n_labels = (uint16_t)o->n_labels,
		.n_fields = (uint16_t)o->n_fields,
	};

	PRE(o->ns.n <= UINT16_MAX && o->name.n <= UINT16_MAX && o->uid.n <= UINT16_MAX);
	buf_reserve(b, o->size);
	buf_add(b, str_make((const char *)&h, sizeof(h)));
	encode_pairs(b, o->labels, o->n_labels);
	encode_pairs(b, o->fields, o->n_fields);
	buf_add(b, o->ns);
	buf_add(b, o->name);
	buf_add(b, o->uid);
	encode_texts(b, o->labels, o->n_labels);
	encode_texts(b, o->fields, o->n_fields);
	buf_add(b, o->tail);
}

struct decoder {
	struct str rest;
	bool bad;
};

static struct str take(struct decoder *d, size_t n)
{
	struct str s = { d->rest.p, n };

	if (n > d->rest.n) {
		d->bad = true;
		return STR_EMPTY;
	}
	d->rest = str_skip(d->rest, n);
	return s;
}

/* Pairs are made to point into the input; their sum was checked against it. */
static void decode_pairs(struct decoder *d, struct str heads, struct obj_pair *pairs, size_t n)
{
	for (size_t i = 0; i < n && !d->bad; i++) {
		struct pair_head h;

		memcpy(&h, heads.p + i * sizeof(h), sizeof(h));
		pairs[i].key = take(d, h.key);
		pairs[i].val = take(d, h.val);
	}
}

struct err *obj_view_init(struct obj_view *v, struct str bytes, struct rev rev)
{
	struct decoder d = { .rest = bytes };
	struct obj_head h;
	struct str head = take(&d, sizeof(h)), heads;
	struct obj *o = &v->obj;
	struct obj_pair *pairs = v->pairs;
	size_t n;

	v->more = NULL;
	if (d.bad)
		return err_new(ERR_CORRUPT, "stored object: too short");
	memcpy(&h, head.p, sizeof(h));
	n = (size_t)h.n_labels + h.n_fields;
	heads = take(&d, n * sizeof(struct pair_head));
	*o = (struct obj){
		.schema_gen = h.schema_gen,
		.rev = rev,
		.ns = take(&d, h.ns),
		.name = take(&d, h.name),
		.uid = take(&d, h.uid),
		.n_labels = h.n_labels,
		.n_fields = h.n_fields,
		.deleting = h.flags & OBJ_DELETING,
	};
	if (d.bad || h.version != OBJ_VERSION)
		return err_new(ERR_CORRUPT, "stored object: malformed header");
	if (n > ARRAY_LEN(v->pairs))
		pairs = v->more = mem_zalloc(n, sizeof(*pairs));
	decode_pairs(&d, heads, pairs, n);
	o->labels = pairs;
	o->fields = pairs + h.n_labels;
	o->tail = d.rest;
	if (d.bad || o->tail.n < 2) {
		obj_view_fini(v);
		return err_new(ERR_CORRUPT, "stored object: malformed labels or no body");
	}
	return NULL;
}

void obj_view_fini(struct obj_view *v)
{
	free(v->more);
	v->more = NULL;
}

const struct obj *obj_copy(const struct obj *o)
{
	return obj_make(o);
}

struct err *obj_decode(struct str bytes, struct rev rev, const struct obj **ret)
{
	struct obj_view v;

	TRY(obj_view_init(&v, bytes, rev));
	*ret = obj_make(&v.obj);
	obj_view_fini(&v);
	return NULL;
}

void obj_write(struct buf *b, const struct obj *o, struct str api_version, struct str kind)
{
	buf_reserve(b, o->tail.n + kind.n + api_version.n + 96);
	if (str_empty(kind)) {
		buf_addz(b, "{\"metadata\":{");
	} else {
		buf_addz(b, "{\"kind\":\"");
		buf_add(b, kind);
		buf_addz(b, "\",\"apiVersion\":\"");
		buf_add(b, api_version);
		buf_addz(b, "\",\"metadata\":{");
	}
	if (o->rev.n) {
		buf_addz(b, "\"resourceVersion\":\"");
		buf_addu(b, o->rev.n);
		buf_addz(b, o->tail.p[0] == '}' ? "\"" : "\",");
	}
	buf_add(b, o->tail);
}

struct err *obj_parse(struct arena *a, const struct obj *o, struct str api_version, struct str kind,
		      struct json **ret)
{
	_cleanup_buf_ struct buf b = { 0 };

	obj_write(&b, o, api_version, kind);
	return json_parse(a, buf_str(&b), ret);
}

const struct json *obj_tree(const struct obj *o)
{
	struct obj *m = obj_mut(o);
	struct err *e;

	if (o->tree)
		return o->tree;
	m->tree_arena = arena_new();
	e = obj_parse(m->tree_arena, o, STR_EMPTY, STR_EMPTY, &m->tree);
	/* The tail was written by json_write or checked when it came in. */
	ASSERT(!e);
	return o->tree;
}

void obj_forget_tree(const struct obj *o)
{
	struct obj *m = obj_mut(o);

	m->tree = NULL;
	m->tree_arena = arena_free(m->tree_arena);
}

static struct str pairs_find(const struct obj_pair *pairs, size_t n, struct str key)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(pairs[i].key, key))
			return pairs[i].val;
	return (struct str){ 0 };
}

struct str obj_label(const struct obj *o, struct str key)
{
	return pairs_find(o->labels, o->n_labels, key);
}

struct str obj_field(const struct obj *o, struct str key)
{
	if (str_eqz(key, "metadata.name"))
		return o->name;
	if (str_eqz(key, "metadata.namespace"))
		return o->ns;
	return pairs_find(o->fields, o->n_fields, key);
}
