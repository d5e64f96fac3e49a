/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML by libyaml's event parser, scalars resolved as go-yaml v2 does for Kubernetes (YAML 1.1:
 * yes and no are booleans, 0777 is octal, timestamps stay strings).
 */
#include "json/yaml.h"

#include <stdlib.h>

#include <yaml.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include "json/json.h"

/* What aliases may add in all, in nodes and in bytes of text: stops billion-laughs documents. */
#define YAML_MAX_ALIAS_NODES 100000
#define YAML_MAX_ALIAS_BYTES (8 << 20)

struct yaml_reader {
	struct arena *a;
	yaml_parser_t parser;
	struct map anchors;
	size_t alias_nodes, alias_bytes;
	struct json *dups; /* NULL: a repeated key is an error */
};

static struct err *yaml_read_node(struct yaml_reader *r, const yaml_event_t *ev, unsigned depth,
				  struct json **ret);

static struct err *yaml_error(const yaml_parser_t *p)
{
	/* as go-yaml counts: from 0, except where the scanner fails; the first line has no number
	 */
	size_t line = p->problem_mark.line ? p->problem_mark.line : p->context_mark.line;
	const char *why = p->problem ? p->problem : "unknown problem parsing YAML content";

	if (!line)
		return err_new(ERR_BAD_REQUEST, "yaml: %s", why);
	return err_new(ERR_BAD_REQUEST, "yaml: line %zu: %s",
		       line + (p->error == YAML_SCANNER_ERROR), why);
}

static struct err *yaml_next(struct yaml_reader *r, yaml_event_t *ev)
{
	if (!yaml_parser_parse(&r->parser, ev))
		return yaml_error(&r->parser);
	return NULL;
}

static bool yaml_is_one_of(struct str s, const char *const *words)
{
	for (; *words; words++)
		if (str_eqz(s, *words))
			return true;
	return false;
}

static bool yaml_digits_value(struct str s, unsigned base, uint64_t *ret)
{
	uint64_t v = 0;
	bool any = false;

	for (size_t i = 0; i < s.n; i++) {
		unsigned d;
		char c = s.p[i];

		if (c == '_')
			continue;
		d = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
		    : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
		    : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
					   : 99;
		if (d >= base || __builtin_mul_overflow(v, (uint64_t)base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)d, &v))
			return false;
		any = true;
	}
	*ret = v;
	return any;
}

static bool yaml_int(struct arena *a, struct str s, struct json **ret)
{
	bool neg = false;
	unsigned base = 10;
	uint64_t v;

	if (s.n && (s.p[0] == '-' || s.p[0] == '+')) {
		neg = s.p[0] == '-';
		s = str_skip(s, 1);
	}
	if (str_strip_prefix(&s, STR("0x")))
		base = 16;
	else if (str_strip_prefix(&s, STR("0b")))
		base = 2;
	else if (str_strip_prefix(&s, STR("0o")) || (s.n > 1 && s.p[0] == '0'))
		base = 8;
	if (!s.n || s.p[0] == '_' || !yaml_digits_value(s, base, &v))
		return false;
	if (v > (uint64_t)INT64_MAX) {
		*ret = json_real(a, neg ? -(double)v : (double)v);
		return true;
	}
	*ret = json_int(a, neg ? -(int64_t)v : (int64_t)v);
	return true;
}

static bool yaml_float(struct arena *a, struct str s, struct json **ret)
{
	double d;
	bool digit = false;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c >= '0' && c <= '9')
			digit = true;
		else if (c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E')
			return false;
	}
	if (!digit || !str_to_double(s, &d))
		return false;
	*ret = json_real(a, d);
	return true;
}

static struct json *yaml_resolve_plain(struct arena *a, struct str s)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };
	static const char *const trues[] = { "y",   "Y",   "true", "True", "TRUE", "yes",
					     "Yes", "YES", "on",   "On",   "ON",   NULL };
	static const char *const falses[] = { "n",  "N",  "false", "False", "FALSE", "no",
					      "No", "NO", "off",   "Off",   "OFF",   NULL };
	struct json *v;

	if (yaml_is_one_of(s, nulls))
		return json_null(a);
	if (yaml_is_one_of(s, trues))
		return json_bool(a, true);
	if (yaml_is_one_of(s, falses))
		return json_bool(a, false);
	if (yaml_int(a, s, &v) || yaml_float(a, s, &v))
		return v;
	return json_strcpy(a, s);
}

static struct err *yaml_read_scalar(struct yaml_reader *r, const yaml_event_t *ev,
				    struct json **ret)
{
	struct str text = str_make((const char *)ev->data.scalar.value, ev->data.scalar.length);
	struct str tag = str_from((const char *)ev->data.scalar.tag);

	if (str_eqz(tag, "tag:yaml.org,2002:binary"))
		return err_new(ERR_BAD_REQUEST, "yaml: line %zu: !!binary is not supported",
			       ev->start_mark.line + 1);
	if (ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE ||
	    str_eqz(tag, "tag:yaml.org,2002:str"))
		*ret = json_strcpy(r->a, text);
	else
		*ret = yaml_resolve_plain(r->a, text);
	return NULL;
}

static struct err *yaml_read_sequence(struct yaml_reader *r, unsigned depth, struct json *arr)
{
	for (;;) {
		yaml_event_t ev;
		struct json *v = NULL;
		struct err *e;
		bool end;

		TRY(yaml_next(r, &ev));
		end = ev.type == YAML_SEQUENCE_END_EVENT;
		e = end ? NULL : yaml_read_node(r, &ev, depth, &v);
		yaml_event_delete(&ev);
		if (e || end)
			return e;
		json_push(arr, v);
	}
}

static void yaml_merge_key(struct yaml_reader *r, struct json *obj, const struct json *from)
{
	if (json_is(from, JSON_ARRAY)) {
		json_for_each(it, from) yaml_merge_key(r, obj, it.val);
		return;
	}
	json_for_each(it, from) if (!json_get_s(obj, it.key))
		json_set_s(r->a, obj, arena_str(r->a, it.key), json_copy(r->a, it.val));
}

static struct err *yaml_key_text(struct yaml_reader *r, const struct json *key, size_t line,
				 struct str *ret)
{
	if (json_is(key, JSON_STR))
		*ret = json_as_str(key);
	else if (json_is(key, JSON_ARRAY) || json_is(key, JSON_OBJECT))
		return err_new(ERR_BAD_REQUEST, "yaml: line %zu: a mapping key must be a scalar",
			       line);
	else
		*ret = json_text(r->a, key);
	return NULL;
}

static struct err *yaml_read_pair(struct yaml_reader *r, const yaml_event_t *key_ev, unsigned depth,
				  struct json *obj)
{
	yaml_event_t ev;
	struct json *key, *v;
	struct str name;
	struct err *e;

	TRY(yaml_read_node(r, key_ev, depth, &key));
	TRY(yaml_key_text(r, key, key_ev->start_mark.line + 1, &name));
	TRY(yaml_next(r, &ev));
	e = yaml_read_node(r, &ev, depth, &v);
	yaml_event_delete(&ev);
	TRY(e);
	if (str_eqz(name, "<<") && (json_is(v, JSON_OBJECT) || json_is(v, JSON_ARRAY))) {
		yaml_merge_key(r, obj, v);
		return NULL;
	}
	if (json_get_s(obj, name) && r->dups)
		json_push(r->dups,
			  json_strf(r->a, "line %zu: key \"" STR_FMT "\" already set in map",
				    key_ev->start_mark.line + 1, STR_ARG(name)));
	else if (json_get_s(obj, name))
		return err_new(ERR_BAD_REQUEST,
			       "yaml: unmarshal errors:\n  line %zu: key \"" STR_FMT
			       "\" already set in map",
			       key_ev->start_mark.line + 1, STR_ARG(name));
	json_set_s(r->a, obj, name, v);
	return NULL;
}

static struct err *yaml_read_mapping(struct yaml_reader *r, unsigned depth, struct json *obj)
{
	for (;;) {
		yaml_event_t ev;
		struct err *e;
		bool end;

		TRY(yaml_next(r, &ev));
		end = ev.type == YAML_MAPPING_END_EVENT;
		e = end ? NULL : yaml_read_pair(r, &ev, depth, obj);
		yaml_event_delete(&ev);
		if (e || end)
			return e;
	}
}

/* Adds what a copy of v adds; false when that is too much. */
static bool yaml_alias_fits(struct yaml_reader *r, struct str key, const struct json *v)
{
	r->alias_nodes++;
	r->alias_bytes += key.n + json_as_str(v).n;
	if (r->alias_nodes > YAML_MAX_ALIAS_NODES || r->alias_bytes > YAML_MAX_ALIAS_BYTES)
		return false;
	json_for_each(it, v)
	{
		if (!yaml_alias_fits(r, it.key, it.val))
			return false;
	}
	return true;
}

static struct err *yaml_read_alias(struct yaml_reader *r, const yaml_event_t *ev, struct json **ret)
{
	struct str name = str_from((const char *)ev->data.alias.anchor);
	const struct json *v = map_find(&r->anchors, name);

	if (!v)
		return err_new(ERR_BAD_REQUEST, "yaml: unknown anchor '" STR_FMT "' referenced",
			       STR_ARG(name));
	if (!yaml_alias_fits(r, STR_EMPTY, v))
		return err_new(ERR_BAD_REQUEST, "yaml: document contains excessive aliasing");
	*ret = json_copy(r->a, v);
	return NULL;
}

static void yaml_note_anchor(struct yaml_reader *r, const unsigned char *anchor, struct json *v)
{
	if (anchor)
		map_put(&r->anchors, str_from((const char *)anchor), v);
}

static struct err *yaml_read_node(struct yaml_reader *r, const yaml_event_t *ev, unsigned depth,
				  struct json **ret)
{
	if (depth >= JSON_MAX_DEPTH)
		return err_new(ERR_BAD_REQUEST, "yaml: exceeded max depth");
	if (ev->type == YAML_ALIAS_EVENT)
		return yaml_read_alias(r, ev, ret);
	if (ev->type == YAML_SCALAR_EVENT) {
		TRY(yaml_read_scalar(r, ev, ret));
		yaml_note_anchor(r, ev->data.scalar.anchor, *ret);
		return NULL;
	}
	if (ev->type == YAML_SEQUENCE_START_EVENT) {
		*ret = json_array(r->a);
		TRY(yaml_read_sequence(r, depth + 1, *ret));
		yaml_note_anchor(r, ev->data.sequence_start.anchor, *ret);
		return NULL;
	}
	if (ev->type == YAML_MAPPING_START_EVENT) {
		*ret = json_object(r->a);
		TRY(yaml_read_mapping(r, depth + 1, *ret));
		yaml_note_anchor(r, ev->data.mapping_start.anchor, *ret);
		return NULL;
	}
	return err_new(ERR_BAD_REQUEST, "yaml: line %zu: unexpected event",
		       ev->start_mark.line + 1);
}

static struct err *yaml_read_document(struct yaml_reader *r, struct json *docs)
{
	yaml_event_t ev;
	struct json *v = NULL;
	struct err *e;

	map_clear(&r->anchors);
	TRY(yaml_next(r, &ev));
	e = yaml_read_node(r, &ev, 0, &v);
	yaml_event_delete(&ev);
	TRY(e);
	if (!json_is_null(v))
		json_push(docs, v);
	TRY(yaml_next(r, &ev));
	yaml_event_delete(&ev);
	return NULL;
}

static struct err *yaml_read_stream(struct yaml_reader *r, struct json *docs)
{
	for (;;) {
		yaml_event_t ev;
		yaml_event_type_t type;

		TRY(yaml_next(r, &ev));
		type = ev.type;
		yaml_event_delete(&ev);
		if (type == YAML_STREAM_END_EVENT)
			return NULL;
		if (type == YAML_DOCUMENT_START_EVENT)
			TRY(yaml_read_document(r, docs));
	}
}

static struct err *yaml_read_text(struct arena *a, struct str text, struct json *dups,
				  struct json **ret_array)
{
	struct yaml_reader r = { .a = a, .dups = dups };
	struct json *docs = json_array(a);
	struct err *e;

	if (!yaml_parser_initialize(&r.parser))
		return err_new(ERR_INTERNAL, "yaml: cannot start the parser");
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.p ? text.p : ""),
				     text.n);
	e = yaml_read_stream(&r, docs);
	yaml_parser_delete(&r.parser);
	map_fini(&r.anchors);
	if (!e)
		*ret_array = docs;
	return e;
}

struct err *yaml_parse_all(struct arena *a, struct str text, struct json **ret_array)
{
	return yaml_read_text(a, text, NULL, ret_array);
}

static struct err *yaml_read_one(struct arena *a, struct str text, struct json *dups,
				 struct json **ret)
{
	struct json *docs;

	TRY(yaml_read_text(a, text, dups, &docs));
	if (json_len(docs) > 1)
		return err_new(ERR_BAD_REQUEST, "yaml: expected a single document, found %zu",
			       json_len(docs));
	*ret = json_idx(docs, 0);
	return NULL;
}

struct err *yaml_parse(struct arena *a, struct str text, struct json **ret)
{
	return yaml_read_one(a, text, NULL, ret);
}

struct err *yaml_parse_dups(struct arena *a, struct str text, struct json **ret,
			    struct json **ret_dups)
{
	*ret_dups = json_array(a);
	return yaml_read_one(a, text, *ret_dups, ret);
}

/* writing */

static void yaml_emit(yaml_emitter_t *em, yaml_event_t *ev)
{
	/* Events from a JSON tree cannot be out of order, and the output is memory. */
	ASSERT(yaml_emitter_emit(em, ev));
}

static int yaml_to_buf(void *ctx, unsigned char *p, size_t n)
{
	buf_add(ctx, str_make((const char *)p, n));
	return 1;
}

static yaml_char_t *yaml_chars(char *z)
{
	return (yaml_char_t *)z;
}

static void yaml_emit_scalar(struct arena *a, yaml_emitter_t *em, struct str s,
			     yaml_scalar_style_t style)
{
	yaml_event_t ev;

	yaml_scalar_event_initialize(&ev, NULL, NULL, yaml_chars(arena_strz(a, s)), (int)s.n, 1, 1,
				     style);
	yaml_emit(em, &ev);
}

/* "2006-01-02", with or without a time: YAML has a type for that. */
static bool yaml_is_time(struct str s)
{
	static const char form[] = "dddd-dd-dd";

	for (size_t i = 0; i < sizeof(form) - 1; i++) {
		if (i >= s.n || (form[i] == 'd' ? s.p[i] < '0' || s.p[i] > '9' : s.p[i] != form[i]))
			return false;
	}
	return s.n == sizeof(form) - 1 || s.p[10] == 'T' || s.p[10] == 't' || s.p[10] == ' ';
}

/* A string that would read back as something else is quoted. */
static void yaml_emit_str(struct arena *a, yaml_emitter_t *em, struct str s)
{
	bool plain = json_is(yaml_resolve_plain(a, s), JSON_STR) && !str_eqz(s, "<<") &&
		     !yaml_is_time(s);
	bool lines = str_find_char(s, '\n', 0) < s.n;

	yaml_emit_scalar(a, em, s,
			 lines   ? YAML_LITERAL_SCALAR_STYLE
			 : plain ? YAML_ANY_SCALAR_STYLE
				 : YAML_DOUBLE_QUOTED_SCALAR_STYLE);
}

static void yaml_emit_value(struct arena *a, yaml_emitter_t *em, const struct json *v);

static int yaml_by_key(const void *x, const void *y)
{
	const struct json_iter *a = x, *b = y;

	return str_cmp(a->key, b->key);
}

/* By their names, as upstream's converter leaves them. */
static void yaml_emit_members(struct arena *a, yaml_emitter_t *em, const struct json *v)
{
	struct json_iter *members = arena_array(a, json_len(v) + 1, sizeof(*members));
	size_t n = 0;

	json_for_each(it, v) members[n++] = it;
	qsort(members, n, sizeof(*members), yaml_by_key);
	for (size_t i = 0; i < n; i++) {
		yaml_emit_str(a, em, members[i].key);
		yaml_emit_value(a, em, members[i].val);
	}
}

static void yaml_emit_value(struct arena *a, yaml_emitter_t *em, const struct json *v)
{
	yaml_event_t ev;

	if (json_is(v, JSON_OBJECT)) {
		yaml_mapping_start_event_initialize(&ev, NULL, NULL, 1,
						    json_len(v) ? YAML_BLOCK_MAPPING_STYLE
								: YAML_FLOW_MAPPING_STYLE);
		yaml_emit(em, &ev);
		yaml_emit_members(a, em, v);
		yaml_mapping_end_event_initialize(&ev);
		yaml_emit(em, &ev);
	} else if (json_is(v, JSON_ARRAY)) {
		yaml_sequence_start_event_initialize(&ev, NULL, NULL, 1,
						     json_len(v) ? YAML_BLOCK_SEQUENCE_STYLE
								 : YAML_FLOW_SEQUENCE_STYLE);
		yaml_emit(em, &ev);
		json_for_each(it, v) yaml_emit_value(a, em, it.val);
		yaml_sequence_end_event_initialize(&ev);
		yaml_emit(em, &ev);
	} else if (json_is(v, JSON_STR)) {
		yaml_emit_str(a, em, json_as_str(v));
	} else {
		yaml_emit_scalar(a, em, json_text(a, v), YAML_PLAIN_SCALAR_STYLE);
	}
}

void yaml_write(struct buf *b, const struct json *v)
{
	struct arena *a = arena_new();
	yaml_emitter_t em;
	yaml_event_t ev;

	ASSERT(yaml_emitter_initialize(&em));
	yaml_emitter_set_output(&em, yaml_to_buf, b);
	yaml_emitter_set_unicode(&em, 1);
	yaml_emitter_set_width(&em, -1);
	yaml_stream_start_event_initialize(&ev, YAML_UTF8_ENCODING);
	yaml_emit(&em, &ev);
	yaml_document_start_event_initialize(&ev, NULL, NULL, NULL, 1);
	yaml_emit(&em, &ev);
	yaml_emit_value(a, &em, v);
	yaml_document_end_event_initialize(&ev, 1);
	yaml_emit(&em, &ev);
	yaml_stream_end_event_initialize(&ev);
	yaml_emit(&em, &ev);
	yaml_emitter_delete(&em);
	arena_free(a);
}
