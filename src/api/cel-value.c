/* SPDX-License-Identifier: Apache-2.0 */

/* Values: making, containers, their elements. */

#include "api/cel-value.h"

#include "api/cel-names.h"
#include "api/schema-internal.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/encode.h"

/* JSON containers with more members than this are indexed on their first use */
#define CEL_INDEX_MIN 24

struct cel_index {
	struct cel_index *next;
	const struct json *of;
	const struct json **elems; /* of an array */
	struct {
		struct str key;
		const struct json *val;
	} * slots; /* of an object */
	size_t n;
};

/* ---- scalars */

struct cel_val cel_null(void)
{
	return (struct cel_val){ .kind = CEL_NULL };
}

struct cel_val cel_val_bool(bool b)
{
	return (struct cel_val){ .kind = CEL_BOOL, .b = b };
}

struct cel_val cel_int(int64_t i)
{
	return (struct cel_val){ .kind = CEL_INT, .i = i };
}

struct cel_val cel_uint(uint64_t u)
{
	return (struct cel_val){ .kind = CEL_UINT, .u = u };
}

struct cel_val cel_double(double d)
{
	return (struct cel_val){ .kind = CEL_DOUBLE, .d = d };
}

struct cel_val cel_val_str(struct str s)
{
	return (struct cel_val){ .kind = CEL_STRING, .s = s };
}

struct cel_val cel_bytes(struct str s)
{
	return (struct cel_val){ .kind = CEL_BYTES, .s = s };
}

struct cel_val cel_duration(int64_t ns)
{
	return (struct cel_val){ .kind = CEL_DURATION, .i = ns };
}

struct cel_val cel_timestamp(int64_t sec, int32_t ns)
{
	return (struct cel_val){ .kind = CEL_TIMESTAMP, .nanos = ns, .i = sec };
}

struct cel_val cel_type_val(const struct cel_type *t)
{
	return (struct cel_val){ .kind = CEL_TYPE, .p = t };
}

struct cel_val cel_opaque(enum cel_opaque o, const void *p)
{
	return (struct cel_val){ .kind = CEL_OPAQUE, .aux = (uint16_t)o, .p = p };
}

struct cel_val cel_error_z(const char *text)
{
	return (struct cel_val){ .kind = CEL_ERROR, .s = str_from(text) };
}

struct cel_val cel_no_overload(void)
{
	return cel_error_z("no such overload");
}

struct cel_val cel_error(struct cel_ctx *c, const char *fmt, ...)
{
	struct cel_val v = { .kind = CEL_ERROR };
	va_list ap;

	va_start(ap, fmt);
	v.s = arena_vfmt(c->arena, fmt, ap);
	va_end(ap);
	return v;
}

struct cel_val cel_val_optional(struct arena *a, const struct cel_val *v)
{
	struct cel_val o = { .kind = CEL_OPTIONAL };

	if (v) {
		struct cel_val *copy = arena_new_obj(a, struct cel_val);

		*copy = *v;
		o.p = copy;
	}
	return o;
}

/* ---- made lists and maps */

struct cel_list *cel_list_new(struct arena *a, size_t cap)
{
	struct cel_list *l = arena_new_obj(a, struct cel_list);

	l->cap = cap;
	l->v = arena_array(a, cap, sizeof(*l->v));
	return l;
}

void cel_list_add(struct arena *a, struct cel_list *l, struct cel_val v)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 4;
		struct cel_val *bigger = arena_array(a, cap, sizeof(*bigger));

		if (l->n)
			memcpy(bigger, l->v, l->n * sizeof(*bigger));
		l->v = bigger;
		l->cap = cap;
	}
	l->v[l->n++] = v;
}

struct cel_val cel_list_val(const struct cel_list *l)
{
	return (struct cel_val){
		.kind = CEL_LIST, .rep = CEL_REP_ARRAY, .p = l, .q = (void *)l->n
	};
}

static uint64_t cel_hash_mix(uint64_t h)
{
	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	return h ^ h >> 29;
}

/* Equal keys have equal hashes, whatever kind of number they are. */
static uint64_t cel_hash(const struct cel_val *v)
{
	switch (v->kind) {
	case CEL_STRING:
	case CEL_BYTES:
		return str_hash(v->s);
	case CEL_INT:
		return cel_hash_mix((uint64_t)v->i);
	case CEL_UINT:
		return cel_hash_mix(v->u);
	case CEL_DOUBLE:
		if (v->d >= -9.2e18 && v->d <= 9.2e18)
			return cel_hash_mix((uint64_t)(int64_t)v->d);
		return v->d > 0 && v->d < 1.8e19 ? cel_hash_mix((uint64_t)v->d) : 1;
	case CEL_BOOL:
		return v->b ? 3 : 5;
	default:
		return 7;
	}
}

#define CEL_MAP_SMALL 8

struct cel_map *cel_map_new(struct arena *a, size_t cap)
{
	struct cel_map *m = arena_new_obj(a, struct cel_map);

	m->cap = cap;
	m->v = arena_array(a, cap, sizeof(*m->v));
	return m;
}

struct cel_val cel_map_val(const struct cel_map *m)
{
	return (struct cel_val){ .kind = CEL_MAP, .rep = CEL_REP_ARRAY, .p = m, .q = (void *)m->n };
}

static void cel_map_enter(struct cel_map *m, size_t i)
{
	size_t at = m->v[i].hash & (m->n_table - 1);

	while (m->table[at])
		at = (at + 1) & (m->n_table - 1);
	m->table[at] = (uint32_t)i + 1;
}

static void cel_map_rehash(struct arena *a, struct cel_map *m)
{
	m->n_table = 32;
	while (m->n_table < m->n * 4)
		m->n_table *= 2;
	m->table = arena_array(a, m->n_table, sizeof(*m->table));
	for (size_t i = 0; i < m->n; i++)
		cel_map_enter(m, i);
}

/* The index below n of the key, or n. */
static size_t cel_map_index(const struct cel_map *m, size_t n, const struct cel_val *k)
{
	uint64_t h = cel_hash(k);

	if (!m->table) {
		for (size_t i = 0; i < n; i++)
			if (m->v[i].hash == h && cel_equal(NULL, &m->v[i].key, k))
				return i;
		return n;
	}
	for (size_t at = h & (m->n_table - 1); m->table[at]; at = (at + 1) & (m->n_table - 1)) {
		size_t i = m->table[at] - 1;

		if (i < n && m->v[i].hash == h && cel_equal(NULL, &m->v[i].key, k))
			return i;
	}
	return n;
}

bool cel_map_add(struct arena *a, struct cel_map *m, struct cel_val k, struct cel_val v)
{
	if (cel_map_index(m, m->n, &k) < m->n)
		return false;
	if (m->n == m->cap) {
		size_t cap = m->cap ? m->cap * 2 : 4;
		struct cel_pair *bigger = arena_array(a, cap, sizeof(*bigger));

		if (m->n)
			memcpy(bigger, m->v, m->n * sizeof(*bigger));
		m->v = bigger;
		m->cap = cap;
	}
	m->v[m->n++] = (struct cel_pair){ k, v, cel_hash(&k) };
	if (m->n > CEL_MAP_SMALL && (!m->table || m->n * 2 > m->n_table))
		cel_map_rehash(a, m);
	else if (m->table)
		cel_map_enter(m, m->n - 1);
	return true;
}

/* ---- JSON */

static int64_t cel_date_seconds(struct str s, bool *ok)
{
	char full[24];
	struct cel_val v = { .i = 0 };

	*ok = s.n == 10;
	if (*ok) {
		memcpy(full, s.p, 10);
		memcpy(full + 10, "T00:00:00Z", 11);
		*ok = cel_timestamp_parse(str_from(full), &v);
	}
	return v.i;
}

static struct cel_val cel_from_json_str(struct arena *a, const struct schema *s, struct str text)
{
	struct cel_val v;
	struct str bytes;
	int64_t ns;
	bool ok;

	switch (s ? s->format : SCHEMA_F_NONE) {
	case SCHEMA_F_BYTE:
		if (!base64_decode(a, text, &bytes))
			return cel_error_z("no such overload");
		return cel_bytes(bytes);
	case SCHEMA_F_DATE_TIME:
		if (cel_timestamp_parse(text, &v))
			return v;
		return cel_error_z("Invalid date-time");
	case SCHEMA_F_DURATION:
		if (cel_duration_parse(text, &ns))
			return cel_duration(ns);
		return cel_error_z("Invalid duration");
	case SCHEMA_F_DATE:
		ns = cel_date_seconds(text, &ok);
		return ok ? cel_timestamp(ns, 0) : cel_error_z("Invalid date");
	default:
		return cel_val_str(text);
	}
}

static struct cel_val cel_from_json_num(const struct schema *s, const struct json *j)
{
	double d = json_as_real(j, 0);

	if (s && s->types & SCHEMA_T_NUMBER && !s->int_or_string)
		return cel_double(d);
	if (json_type(j) == JSON_REAL) {
		if (s && s->types & SCHEMA_T_INTEGER && d >= -9.2e18 && d <= 9.2e18 &&
		    d == (double)(int64_t)d)
			return cel_int((int64_t)d);
		return cel_double(d);
	}
	if (d >= 9.3e18)
		return cel_double(d);
	return cel_int(json_as_int(j, 0));
}

struct cel_val cel_from_json(struct arena *a, const struct schema *s, const struct json *j)
{
	if (s)
		s = schema_deref(s);
	switch (j ? json_type(j) : JSON_NULL) {
	case JSON_NULL:
		return cel_null();
	case JSON_BOOL:
		return cel_val_bool(json_as_bool(j, false));
	case JSON_INT:
	case JSON_REAL:
		return cel_from_json_num(s, j);
	case JSON_STR:
		return cel_from_json_str(a, s, json_as_str(j));
	case JSON_ARRAY:
		return (struct cel_val){ .kind = CEL_LIST, .rep = CEL_REP_JSON, .p = j, .q = s };
	case JSON_OBJECT:
		return (struct cel_val){ .kind = CEL_MAP, .rep = CEL_REP_JSON, .p = j, .q = s };
	}
	return cel_null();
}

struct cel_val cel_val_json(const struct json *j)
{
	return cel_from_json(NULL, NULL, j);
}

struct cel_val cel_val_schema(struct arena *a, const struct schema *s, const struct json *j)
{
	return cel_from_json(a, s, j);
}

static const struct schema *cel_member_schema(const struct schema *s, struct str name)
{
	const struct schema *p;

	if (!s)
		return NULL;
	p = schema_prop_find(s, name);
	return p ? p : s->additional;
}

static struct cel_val cel_json_member(struct arena *a, const struct cel_val *m, struct str name,
				      const struct json *j)
{
	return cel_from_json(a, cel_member_schema(m->q, name), j);
}

static struct cel_val cel_json_elem(struct arena *a, const struct cel_val *l, const struct json *j)
{
	const struct schema *s = l->q;

	return cel_from_json(a, s ? s->items : NULL, j);
}

/* ---- indexes over large JSON containers */

static void cel_index_object(struct cel_index *ix, struct arena *a, const struct json *j)
{
	ix->n = 64;
	while (ix->n < json_len(j) * 2)
		ix->n *= 2;
	ix->slots = arena_array(a, ix->n, sizeof(*ix->slots));
	json_for_each(it, j)
	{
		size_t at = str_hash(it.key) & (ix->n - 1);

		while (ix->slots[at].val)
			at = (at + 1) & (ix->n - 1);
		ix->slots[at].key = it.key;
		ix->slots[at].val = it.val;
	}
}

static struct cel_index *cel_index_of(struct cel_ctx *c, const struct json *j)
{
	struct cel_index *ix = c->run->indexes;
	size_t i = 0;

	for (; ix; ix = ix->next)
		if (ix->of == j)
			return ix;
	ix = arena_new_obj(c->run->arena, struct cel_index);
	ix->of = j;
	ix->next = c->run->indexes;
	c->run->indexes = ix;
	if (json_is(j, JSON_OBJECT)) {
		cel_index_object(ix, c->run->arena, j);
		return ix;
	}
	ix->n = json_len(j);
	ix->elems = arena_array(c->run->arena, ix->n, sizeof(*ix->elems));
	json_for_each(it, j) ix->elems[i++] = it.val;
	return ix;
}

static const struct json *cel_json_find(struct cel_ctx *c, const struct json *j, struct str key)
{
	struct cel_index *ix;

	if (!c || json_len(j) <= CEL_INDEX_MIN)
		return json_get_s(j, key);
	ix = cel_index_of(c, j);
	for (size_t at = str_hash(key) & (ix->n - 1); ix->slots[at].val;
	     at = (at + 1) & (ix->n - 1))
		if (str_eq(ix->slots[at].key, key))
			return ix->slots[at].val;
	return NULL;
}

/* ---- elements */

/* An object with declared fields, not a map. */
static bool cel_struct_like(const struct cel_val *v)
{
	const struct schema *s = v->q;

	return s && s->n_props;
}

bool cel_map_find_field(struct cel_ctx *c, const struct cel_val *m, struct str name,
			struct cel_val *ret)
{
	const struct json *j;

	if (m->rep == CEL_REP_ARRAY) {
		struct cel_val k = cel_val_str(name);

		return cel_map_find(c, m, &k, ret);
	}
	j = cel_json_find(c, m->p, name);
	if (!j || (cel_struct_like(m) && json_is_null(j)))
		return false; /* a null field of an object is as good as none */
	*ret = cel_json_member(c->arena, m, name, j);
	return true;
}

bool cel_map_find(struct cel_ctx *c, const struct cel_val *m, const struct cel_val *k,
		  struct cel_val *ret)
{
	const struct cel_map *made = m->p;
	size_t i;

	if (m->rep == CEL_REP_JSON) {
		struct str name = k->s;

		if (k->kind != CEL_STRING)
			return false;
		if (c && cel_struct_like(m) && !cel_name_unescape(c->arena, k->s, &name))
			return false;
		return cel_map_find_field(c, m, name, ret);
	}
	i = cel_map_index(made, (size_t)m->q, k);
	if (i == (size_t)m->q)
		return false;
	*ret = made->v[i].val;
	return true;
}

struct cel_val cel_list_get(struct cel_ctx *c, const struct cel_val *l, size_t i)
{
	if (l->rep == CEL_REP_ARRAY)
		return ((const struct cel_list *)l->p)->v[i];
	if (json_len(l->p) <= CEL_INDEX_MIN)
		return cel_json_elem(c->arena, l, json_idx(l->p, i));
	return cel_json_elem(c->arena, l, cel_index_of(c, l->p)->elems[i]);
}

size_t cel_size(const struct cel_val *v)
{
	if (v->kind == CEL_STRING)
		return cel_utf8_len(v->s);
	if (v->kind == CEL_BYTES)
		return v->s.n;
	if (v->kind != CEL_LIST && v->kind != CEL_MAP)
		return 1;
	return v->rep == CEL_REP_JSON ? json_len(v->p) : (size_t)v->q;
}

struct cel_iter cel_iter(const struct cel_val *v)
{
	struct cel_iter it = { .of = v };

	if (v->rep == CEL_REP_JSON)
		it.json = json_iter(v->p);
	return it;
}

bool cel_iter_next(struct cel_ctx *c, struct cel_iter *it, struct cel_val *ret_key,
		   struct cel_val *ret_val)
{
	const struct cel_val *v = it->of;

	*ret_key = cel_int((int64_t)it->i);
	if (v->rep == CEL_REP_JSON) {
		if (!json_next(&it->json))
			return false;
		it->i++;
		if (v->kind == CEL_LIST) {
			*ret_val = cel_json_elem(c->arena, v, it->json.val);
			return true;
		}
		*ret_key = cel_val_str(it->json.key);
		if (cel_struct_like(v) && cel_name_escape(c->arena, it->json.key, &ret_key->s))
			ret_key->kind = CEL_STRING;
		*ret_val = cel_json_member(c->arena, v, it->json.key, it->json.val);
		return true;
	}
	if (it->i >= (size_t)v->q)
		return false;
	if (v->kind == CEL_LIST) {
		*ret_val = ((const struct cel_list *)v->p)->v[it->i++];
	} else {
		*ret_key = ((const struct cel_map *)v->p)->v[it->i].key;
		*ret_val = ((const struct cel_map *)v->p)->v[it->i++].val;
	}
	return true;
}

/* ---- types */

const struct cel_type *cel_type_of_val(const struct cel_val *v)
{
	const struct cel_map *m;

	switch (v->kind) {
	case CEL_OPAQUE:
		return cel_type_opaque((enum cel_opaque)v->aux);
	case CEL_MAP:
		m = v->rep == CEL_REP_ARRAY ? v->p : NULL;
		return m && m->type ? m->type : &cel_types[CEL_MAP];
	default:
		return &cel_types[v->kind];
	}
}

struct str cel_kind_name(const struct cel_val *v)
{
	static const char *const names[] = {
		[CEL_NULL] = "null_type",
		[CEL_BOOL] = "bool",
		[CEL_INT] = "int",
		[CEL_UINT] = "uint",
		[CEL_DOUBLE] = "double",
		[CEL_STRING] = "string",
		[CEL_BYTES] = "bytes",
		[CEL_DURATION] = "google.protobuf.Duration",
		[CEL_TIMESTAMP] = "google.protobuf.Timestamp",
		[CEL_LIST] = "list",
		[CEL_MAP] = "map",
		[CEL_TYPE] = "type",
		[CEL_OPTIONAL] = "optional_type",
	};

	if (v->kind == CEL_OPAQUE)
		return str_from(cel_opaque_name((enum cel_opaque)v->aux));
	return str_from(v->kind < ARRAY_LEN(names) ? names[v->kind] : "error");
}
