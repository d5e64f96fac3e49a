/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The way back: a tree to the message it means. Go's encoder also writes what is empty or zero in
 * fields that are no pointers; readers see no difference.
 */
#include "api/schema.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/encode.h"
#include "base/err.h"
#include "server/protobuf-internal.h"
#include "server/protobuf.h"
#include "json/json.h"

#define DEPTH_MAX  48 /* as the decoder's */
#define EMBEDS_MAX 8
#define META_TYPE  "io.k8s.apimachinery.pkg.apis.meta.v1."

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2 };

struct encoder {
	struct arena *a;
	struct schema_registry *types;
	int depth;
	bool too_deep;
};

/* ---- the wire */

static void put_varint(struct buf *b, uint64_t v)
{
	while (v >= 0x80) {
		buf_addc(b, (char)(v | 0x80));
		v >>= 7;
	}
	buf_addc(b, (char)v);
}

static void put_tag(struct buf *b, uint64_t field, enum wire wire)
{
	put_varint(b, field << 3 | wire);
}

static void put_int(struct buf *b, uint64_t field, uint64_t v)
{
	put_tag(b, field, WIRE_VARINT);
	put_varint(b, v);
}

static void put_bytes(struct buf *b, uint64_t field, struct str s)
{
	put_tag(b, field, WIRE_BYTES);
	put_varint(b, s.n);
	buf_add(b, s);
}

/* ---- well-known messages */

static void encode_message(struct encoder *e, struct buf *b, const struct json *type,
			   struct str prefix, const struct json *obj);

static void encode_time(struct buf *b, const struct json *val)
{
	struct wall t;
	int64_t seconds, nanos;

	if (!wall_parse(json_as_str(val), &t))
		return;
	seconds = t.ns / NS_PER_SEC;
	nanos = t.ns % NS_PER_SEC;
	if (nanos < 0) {
		seconds--;
		nanos += NS_PER_SEC;
	}
	put_int(b, 1, (uint64_t)seconds);
	put_int(b, 2, (uint64_t)nanos);
}

static void encode_int_or_string(struct buf *b, const struct json *val)
{
	bool text = json_is(val, JSON_STR);

	put_int(b, 1, text);
	put_int(b, 2, (uint64_t)json_as_int(val, 0));
	put_bytes(b, 3, json_as_str(val));
}

/* JSONSchemaPropsOrBool, OrArray, OrStringArray: protobuf.c has their fields. */
static void encode_schema_or(struct encoder *e, struct buf *b, struct str name,
			     const struct json *val)
{
	const struct json *type = schema_registry_tree(
		e->types, STR("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions."
			      "v1.JSONSchemaProps"));
	bool or_bool = str_has_suffix(name, STR("OrBool"));
	_cleanup_buf_ struct buf one = { 0 };

	if (or_bool)
		put_int(b, 1, !json_is(val, JSON_BOOL) || json_as_bool(val, false));
	if (json_is(val, JSON_OBJECT)) {
		encode_message(e, &one, type, STR_EMPTY, val);
		put_bytes(b, or_bool ? 2 : 1, buf_str(&one));
	}
	if (!json_is(val, JSON_ARRAY))
		return;
	json_for_each(it, val)
	{
		buf_clear(&one);
		if (json_is(it.val, JSON_OBJECT))
			encode_message(e, &one, type, STR_EMPTY, it.val);
		else
			buf_add(&one, json_as_str(it.val));
		put_bytes(b, 2, buf_str(&one));
	}
}

static bool encode_known(struct encoder *e, struct buf *b, struct str name, const struct json *val)
{
	if (str_eqz(name, "Time") || str_eqz(name, "MicroTime"))
		encode_time(b, val);
	else if (str_eqz(name, "IntOrString"))
		encode_int_or_string(b, val);
	else if (str_eqz(name, "Quantity"))
		put_bytes(b, 1, json_is(val, JSON_STR) ? json_as_str(val) : json_text(e->a, val));
	else if (str_eqz(name, "RawExtension") || str_eqz(name, "FieldsV1") ||
		 str_eqz(name, "JSON"))
		put_bytes(b, 1, json_text(e->a, val));
	else if (str_has_prefix(name, STR("JSONSchemaPropsOr")))
		encode_schema_or(e, b, name, val);
	else
		return false;
	return true;
}

/* ---- fields */

static void encode_scalar(struct encoder *e, struct buf *b, uint64_t field,
			  const struct json *schema, const struct json *val)
{
	struct str type = json_str_at(schema, "type"), bytes;
	double real;
	uint64_t bits;

	if (str_eqz(type, "boolean")) {
		put_int(b, field, json_as_bool(val, false));
	} else if (str_eqz(type, "integer")) {
		put_int(b, field, (uint64_t)json_as_int(val, 0));
	} else if (str_eqz(type, "number")) {
		real = json_as_real(val, 0);
		memcpy(&bits, &real, sizeof(bits));
		put_tag(b, field, WIRE_64);
		buf_add(b, str_make((const char *)&bits, sizeof(bits)));
	} else if (str_eqz(json_str_at(schema, "format"), "byte")) {
		if (base64_decode(e->a, json_as_str(val), &bytes))
			put_bytes(b, field, bytes);
	} else {
		put_bytes(b, field, json_as_str(val));
	}
}

static void encode_value(struct encoder *e, struct buf *b, uint64_t field,
			 const struct json *schema, const struct json *val)
{
	_cleanup_buf_ struct buf one = { 0 };
	struct str name;
	const struct json *s = protobuf_follow(e->types, schema, &name);

	if (!encode_known(e, &one, name, val)) {
		if (!json_get(s, "properties") && !str_eqz(json_str_at(s, "type"), "object")) {
			encode_scalar(e, b, field, s, val);
			return;
		}
		encode_message(e, &one, s, STR_EMPTY, val);
	}
	put_bytes(b, field, buf_str(&one));
}

/* A map is a list of {1: key, 2: value}; a list as value is a message of its own with field 1. */
static void encode_map_entry(struct encoder *e, struct buf *b, uint64_t field,
			     const struct json *schema, struct str key, const struct json *val)
{
	_cleanup_buf_ struct buf entry = { 0 }, list = { 0 };
	struct str name;
	const struct json *s = protobuf_follow(e->types, schema, &name);

	put_bytes(&entry, 1, key);
	if (str_eqz(json_str_at(s, "type"), "array")) {
		json_for_each(it, val) encode_value(e, &list, 1, json_get(s, "items"), it.val);
		put_bytes(&entry, 2, buf_str(&list));
	} else {
		encode_value(e, &entry, 2, schema, val);
	}
	put_bytes(b, field, buf_str(&entry));
}

static void encode_property(struct encoder *e, struct buf *b, uint64_t field,
			    const struct json *schema, const struct json *val)
{
	struct str name;
	const struct json *s = protobuf_follow(e->types, schema, &name), *entry;

	entry = json_get(s, "additionalProperties");
	if (str_eqz(json_str_at(s, "type"), "array")) {
		json_for_each(it, val) encode_value(e, b, field, json_get(s, "items"), it.val);
	} else if (entry && !json_get(s, "properties")) {
		json_for_each(it, val) encode_map_entry(e, b, field, entry, it.key, it.val);
	} else {
		encode_value(e, b, field, schema, val);
	}
}

/* ---- messages */

/* The number of p in the message that prefix leads to; *ret_embeds: of the one it is inside of. */
static bool encode_number(const struct json *p, struct str prefix, uint64_t *ret, bool *ret_embeds)
{
	struct str text = json_as_str(p), head;

	*ret_embeds = false;
	if (json_is(p, JSON_INT)) {
		*ret = (uint64_t)json_as_int(p, 0);
		return !prefix.n;
	}
	if (!text.n || !str_strip_prefix(&text, prefix))
		return false;
	*ret_embeds = str_cut(&text, '.', &head);
	return str_to_u64(head, ret);
}

static void encode_embedded(struct encoder *e, struct buf *b, const struct json *type,
			    struct str prefix, uint64_t field, const struct json *obj)
{
	_cleanup_buf_ struct buf one = { 0 };

	encode_message(e, &one, type,
		       arena_fmt(e->a, STR_FMT "%llu.", STR_ARG(prefix), (unsigned long long)field),
		       obj);
	put_bytes(b, field, buf_str(&one));
}

static void encode_fields(struct encoder *e, struct buf *b, const struct json *type,
			  struct str prefix, const struct json *obj)
{
	uint64_t done[EMBEDS_MAX], field;
	size_t n = 0, i;
	bool embeds;

	json_for_each(it, json_get(type, "properties"))
	{
		const struct json *val = json_get_s(obj, it.key);

		if (json_is_null(val) ||
		    !encode_number(json_get(it.val, "x-isoplane-proto"), prefix, &field, &embeds))
			continue;
		if (!embeds) {
			encode_property(e, b, field, it.val, val);
			continue;
		}
		for (i = 0; i < n && done[i] != field; i++)
			;
		if (i < n || n == EMBEDS_MAX)
			continue;
		done[n++] = field;
		encode_embedded(e, b, type, prefix, field, obj);
	}
}

static void encode_message(struct encoder *e, struct buf *b, const struct json *type,
			   struct str prefix, const struct json *obj)
{
	if (e->depth == DEPTH_MAX) {
		e->too_deep = true;
		return;
	}
	e->depth++;
	encode_fields(e, b, type, prefix, obj);
	e->depth--;
}

static void encode_list(struct encoder *e, struct buf *b, const struct json *type,
			const struct json *doc)
{
	const struct json *meta = schema_registry_tree(e->types, STR(META_TYPE "ListMeta"));
	_cleanup_buf_ struct buf one = { 0 };

	encode_message(e, &one, meta, STR_EMPTY, json_get(doc, "metadata"));
	put_bytes(b, 1, buf_str(&one));
	json_for_each(it, json_get(doc, "items"))
	{
		buf_clear(&one);
		encode_message(e, &one, type, STR_EMPTY, it.val);
		put_bytes(b, 2, buf_str(&one));
	}
}

/* runtime.Unknown: {1: {1: apiVersion, 2: kind}, 2: the message, 3 and 4: how it is encoded} */
static void encode_envelope(struct buf *b, const struct json *doc, struct str message)
{
	_cleanup_buf_ struct buf meta = { 0 };

	put_bytes(&meta, 1, json_str_at(doc, "apiVersion"));
	put_bytes(&meta, 2, json_str_at(doc, "kind"));
	buf_add(b, str_make("k8s\0", 4));
	put_bytes(b, 1, buf_str(&meta));
	put_bytes(b, 2, message);
	put_bytes(b, 3, STR_EMPTY);
	put_bytes(b, 4, STR_EMPTY);
}

bool protobuf_encode(struct arena *a, struct schema_registry *types, struct str type,
		     const struct json *doc, struct buf *out)
{
	struct encoder e = { .a = a, .types = types };
	const struct json *schema = schema_registry_tree(types, type);
	_cleanup_buf_ struct buf message = { 0 };

	if (schema && json_is(json_get(doc, "items"), JSON_ARRAY))
		encode_list(&e, &message, schema, doc);
	else if (schema)
		encode_message(&e, &message, schema, STR_EMPTY, doc);
	if (!schema || e.too_deep)
		return false;
	encode_envelope(out, doc, buf_str(&message));
	return true;
}
