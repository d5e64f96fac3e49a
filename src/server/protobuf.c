/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Field numbers come from x-isoplane-proto in the schemas: a number, or "2.1" for field 1 of the
 * message that is field 2 and embedded in JSON ("2.2.1": in one of those again). A few well-known
 * messages have forms of their own.
 *
 * Go writes fields that are no pointers even when they are zero; JSON leaves some of them out,
 * those of x-isoplane-zero: absent, and times.
 */
#include "server/protobuf.h"

#include "api/schema.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/encode.h"
#include "base/err.h"
#include "server/protobuf-internal.h"
#include "json/json.h"

#define DEPTH_MAX 48

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct field {
	uint64_t number;
	enum wire wire;
	uint64_t varint;
	struct str bytes;
};

struct decoder {
	struct arena *a;
	struct schema_registry *types;
	int depth;
};

static struct err *malformed(const char *what)
{
	return err_new(ERR_BAD_REQUEST, "malformed protobuf: %s", what);
}

static bool varint_take(struct str *s, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && s->n; shift += 7) {
		unsigned char c = (unsigned char)s->p[0];

		*s = str_skip(*s, 1);
		v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

static bool fixed_take(struct str *s, size_t n, uint64_t *ret)
{
	if (s->n < n)
		return false;
	*ret = 0;
	memcpy(ret, s->p, n);
	*s = str_skip(*s, n);
	return true;
}

static bool field_take(struct str *s, struct field *ret)
{
	uint64_t tag, n;

	if (!varint_take(s, &tag))
		return false;
	ret->number = tag >> 3;
	ret->wire = (enum wire)(tag & 7);
	switch (ret->wire) {
	case WIRE_VARINT:
		return varint_take(s, &ret->varint);
	case WIRE_64:
		return fixed_take(s, 8, &ret->varint);
	case WIRE_32:
		return fixed_take(s, 4, &ret->varint);
	case WIRE_BYTES:
		if (!varint_take(s, &n) || n > s->n)
			return false;
		ret->bytes = str_sub(*s, 0, (size_t)n);
		*s = str_skip(*s, (size_t)n);
		return true;
	}
	return false;
}

/* the schema's side */
static const struct json *type_find(struct decoder *d, struct str name)
{
	return schema_registry_tree(d->types, name);
}

const struct json *protobuf_follow(struct schema_registry *types, const struct json *schema,
				   struct str *ret_name)
{
	struct str ref = json_str_at(schema, "$ref");

	*ret_name = STR_EMPTY;
	if (str_empty(ref))
		return schema;
	str_strip_prefix(&ref, STR("#/components/schemas/"));
	for (size_t i = 0; i < ref.n; i++) {
		if (ref.p[i] == '.')
			*ret_name = str_skip(ref, i + 1);
	}
	return schema_registry_tree(types, ref);
}

struct property {
	struct str name;
	const struct json *schema;
};

/* prefix: the embedding fields, each with a dot behind it */
static bool property_find(const struct json *type, struct str prefix, uint64_t number,
			  struct property *ret, bool *ret_embeds)
{
	*ret_embeds = false;
	json_for_each(it, json_get(type, "properties"))
	{
		const struct json *p = json_get(it.val, "x-isoplane-proto");
		struct str text = json_as_str(p), head;
		uint64_t field;

		if (json_is(p, JSON_INT)) {
			if (prefix.n || json_as_int(p, 0) != (int64_t)number)
				continue;
		} else {
			bool embeds;

			if (!text.n || !str_strip_prefix(&text, prefix))
				continue;
			embeds = str_cut(&text, '.', &head);
			if (!str_to_u64(head, &field) || field != number)
				continue;
			*ret_embeds |= embeds;
			if (embeds)
				continue;
		}
		*ret = (struct property){ it.key, it.val };
		return true;
	}
	return false;
}

/* well-known messages */
static struct err *known_time(struct decoder *d, struct str bytes, bool micro, struct json **ret)
{
	int64_t seconds = 0, nanos = 0;
	struct field f = { 0 };

	*ret = NULL;
	while (bytes.n) {
		if (!field_take(&bytes, &f))
			return malformed("a time");
		if (f.number == 1)
			seconds = (int64_t)f.varint;
		else if (f.number == 2)
			nanos = (int64_t)f.varint;
	}
	if (!seconds && !nanos)
		return NULL;
	if (seconds < UNIX_YEAR_1 || seconds > UNIX_YEAR_9999 || nanos < 0 || nanos >= NS_PER_SEC)
		return malformed("a time out of range");
	/* Go's zero time stands for none */
	if (seconds == UNIX_YEAR_1 && !nanos)
		return NULL;
	*ret = json_str(d->a, unix_format(d->a, seconds, nanos, micro));
	return NULL;
}

static struct err *known_int_or_string(struct decoder *d, struct str bytes, struct json **ret)
{
	uint64_t kind = 0, number = 0;
	struct str text = STR_EMPTY;
	struct field f = { 0 };

	while (bytes.n) {
		if (!field_take(&bytes, &f))
			return malformed("an IntOrString");
		if (f.number == 1)
			kind = f.varint;
		else if (f.number == 2)
			number = f.varint;
		else if (f.number == 3)
			text = f.bytes;
	}
	*ret = kind ? json_str(d->a, text) : json_int(d->a, (int32_t)number);
	return NULL;
}

/* Messages of one field: Quantity (text), RawExtension and FieldsV1 (JSON). */
static struct err *known_wrapper(struct decoder *d, struct str bytes, bool json, struct json **ret)
{
	struct field f = { 0 };

	*ret = NULL;
	while (bytes.n) {
		if (!field_take(&bytes, &f))
			return malformed("a wrapped value");
		if (f.number != 1 || f.wire != WIRE_BYTES)
			continue;
		if (json)
			return json_parse(d->a, f.bytes, ret);
		*ret = json_str(d->a, f.bytes);
	}
	return NULL;
}

static struct err *message_decode(struct decoder *d, const struct json *type, struct str prefix,
				  struct str bytes, struct json *obj);

/*
 * What in a CRD's schema is a schema or something else: JSONSchemaPropsOrBool {1: bool, 2: schema},
 * OrArray {1: schema, 2: schemas}, OrStringArray {1: schema, 2: strings}.
 */
static struct err *known_schema_or(struct decoder *d, struct str name, struct str bytes,
				   struct json **ret)
{
	const struct json *type =
		type_find(d, STR("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
				 "JSONSchemaProps"));
	bool or_bool = str_has_suffix(name, STR("OrBool"));
	struct field f = { 0 };
	struct json *one;

	*ret = or_bool ? json_bool(d->a, false) : NULL;
	while (bytes.n) {
		if (!field_take(&bytes, &f) || f.number < 1 || f.number > 2)
			return malformed("a schema");
		if (f.wire == WIRE_VARINT && or_bool && f.number == 1) {
			*ret = json_bool(d->a, f.varint != 0);
			continue;
		}
		if (f.wire != WIRE_BYTES)
			return malformed("a schema");
		if (str_has_suffix(name, STR("OrStringArray")) && f.number == 2) {
			if (!str_is_utf8(f.bytes))
				return malformed("a string");
			one = json_str(d->a, f.bytes);
		} else {
			one = json_object(d->a);
			TRY(message_decode(d, type, STR_EMPTY, f.bytes, one));
		}
		if (f.number == 1 || or_bool) {
			*ret = one;
			continue;
		}
		if (!json_is(*ret, JSON_ARRAY))
			*ret = json_array(d->a);
		json_push(*ret, one);
	}
	return NULL;
}

static struct err *known(struct decoder *d, struct str name, struct str bytes, struct json **ret,
			 bool *ret_known)
{
	*ret_known = true;
	if (str_has_prefix(name, STR("JSONSchemaPropsOr")))
		return known_schema_or(d, name, bytes, ret);
	if (str_eqz(name, "Time") || str_eqz(name, "MicroTime"))
		return known_time(d, bytes, str_eqz(name, "MicroTime"), ret);
	if (str_eqz(name, "IntOrString"))
		return known_int_or_string(d, bytes, ret);
	if (str_eqz(name, "Quantity"))
		return known_wrapper(d, bytes, false, ret);
	if (str_eqz(name, "RawExtension") || str_eqz(name, "FieldsV1") || str_eqz(name, "JSON"))
		return known_wrapper(d, bytes, true, ret);
	*ret_known = false;
	return NULL;
}

static struct err *scalar_decode(struct decoder *d, const struct json *schema,
				 const struct field *f, struct json **ret)
{
	struct str type = json_str_at(schema, "type");
	double real;

	*ret = NULL;
	if (str_eqz(type, "boolean")) {
		*ret = json_bool(d->a, f->varint != 0);
	} else if (str_eqz(type, "integer")) {
		*ret = json_int(d->a, (int64_t)f->varint);
	} else if (str_eqz(type, "number")) {
		memcpy(&real, &f->varint, sizeof(real));
		*ret = json_real(d->a, real);
	} else if (str_eqz(type, "string")) {
		if (f->wire != WIRE_BYTES ||
		    (!str_eqz(json_str_at(schema, "format"), "byte") && !str_is_utf8(f->bytes)))
			return malformed("a string");
		*ret = json_str(d->a, str_eqz(json_str_at(schema, "format"), "byte")
					      ? base64_encode(d->a, f->bytes)
					      : f->bytes);
	} else {
		return malformed("a field of an unknown type");
	}
	return NULL;
}

static struct err *value_decode(struct decoder *d, const struct json *schema, const struct field *f,
				struct json **ret)
{
	struct str type_name;
	const struct json *s = protobuf_follow(d->types, schema, &type_name);
	bool is_known = false;

	if (f->wire == WIRE_BYTES) {
		TRY(known(d, type_name, f->bytes, ret, &is_known));
		if (is_known)
			return NULL;
	}
	if (!json_get(s, "properties") && !str_eqz(json_str_at(s, "type"), "object"))
		return scalar_decode(d, s, f, ret);
	if (f->wire != WIRE_BYTES)
		return malformed("a message");
	*ret = json_object(d->a);
	return message_decode(d, s, STR_EMPTY, f->bytes, *ret);
}

/* A map is a list of {1: key, 2: value}; a list as value is a message of its own with field 1. */
static struct err *map_entry_decode(struct decoder *d, const struct json *schema, struct str bytes,
				    struct json *map)
{
	struct str key = STR_EMPTY, type_name;
	const struct json *s = protobuf_follow(d->types, schema, &type_name);
	struct json *val = NULL;
	struct field f = { 0 };

	while (bytes.n) {
		if (!field_take(&bytes, &f) || f.wire != WIRE_BYTES)
			return malformed("a map entry");
		if (f.number == 1) {
			if (!str_is_utf8(f.bytes))
				return malformed("a map key");
			key = f.bytes;
		} else if (f.number == 2 && str_eqz(json_str_at(s, "type"), "array")) {
			struct str rest = f.bytes;
			struct field item = { 0 };

			val = json_array(d->a);
			while (rest.n) {
				struct json *one = NULL;

				if (!field_take(&rest, &item))
					return malformed("a list in a map");
				TRY(value_decode(d, json_get(s, "items"), &item, &one));
				if (one)
					json_push(val, one);
			}
		} else if (f.number == 2) {
			TRY(value_decode(d, schema, &f, &val));
		}
	}
	json_set_s(d->a, map, key, val ? val : json_strz(d->a, ""));
	return NULL;
}

static struct err *list_item_decode(struct decoder *d, const struct json *schema,
				    const struct field *f, struct json *list)
{
	struct json *val = NULL;

	TRY(value_decode(d, json_get(schema, "items"), f, &val));
	if (val)
		json_push(list, val);
	return NULL;
}

static bool says_nothing(const struct json *schema, const struct json *val)
{
	if (!val)
		return true;
	if (!str_eqz(json_str_at(schema, "x-isoplane-zero"), "absent"))
		return false;
	return json_is(val, JSON_STR)    ? str_empty(json_as_str(val))
	       : json_is(val, JSON_BOOL) ? !json_as_bool(val, true)
					 : json_is(val, JSON_INT) && !json_as_int(val, 1);
}

static struct err *property_decode(struct decoder *d, const struct property *p,
				   const struct field *f, struct json *obj)
{
	struct str type_name;
	const struct json *s = protobuf_follow(d->types, p->schema, &type_name), *item;
	struct json *val = NULL;

	if (str_eqz(json_str_at(s, "type"), "array")) {
		struct json *list = json_get_s(obj, p->name);

		if (!list) {
			list = json_array(d->a);
			json_set_s(d->a, obj, p->name, list);
		}
		return list_item_decode(d, s, f, list);
	}
	item = json_get(s, "additionalProperties");
	if (item && !json_get(s, "properties")) {
		struct json *map = json_get_s(obj, p->name);

		if (f->wire != WIRE_BYTES)
			return malformed("a map");
		if (!map) {
			map = json_object(d->a);
			json_set_s(d->a, obj, p->name, map);
		}
		return map_entry_decode(d, item, f->bytes, map);
	}
	TRY(value_decode(d, p->schema, f, &val));
	if (!says_nothing(p->schema, val))
		json_set_s(d->a, obj, p->name, val);
	return NULL;
}

static struct err *message_fields(struct decoder *d, const struct json *type, struct str prefix,
				  struct str bytes, struct json *obj)
{
	struct field f = { 0 };

	while (bytes.n) {
		struct property p;
		bool embeds;

		if (!field_take(&bytes, &f))
			return malformed("a field");
		if (property_find(type, prefix, f.number, &p, &embeds))
			TRY(property_decode(d, &p, &f, obj));
		else if (embeds && f.wire == WIRE_BYTES)
			TRY(message_decode(d, type,
					   arena_fmt(d->a, STR_FMT "%llu.", STR_ARG(prefix),
						     (unsigned long long)f.number),
					   f.bytes, obj));
	}
	return NULL;
}

static struct err *message_decode(struct decoder *d, const struct json *type, struct str prefix,
				  struct str bytes, struct json *obj)
{
	struct err *e;

	if (++d->depth > DEPTH_MAX)
		return malformed("too deep");
	e = message_fields(d, type, prefix, bytes, obj);
	d->depth--;
	return e;
}

static struct err *envelope_decode(struct decoder *d, struct str bytes, struct str *ret_av,
				   struct str *ret_kind, struct str *ret_raw)
{
	struct field f = { 0 };

	if (!bytes.n)
		return err_new(ERR_BAD_REQUEST, "empty data");
	if (!str_strip_prefix(&bytes, str_make("k8s\0", 4)))
		return err_new(ERR_BAD_REQUEST,
			       "provided data does not appear to be a protobuf message, expected "
			       "prefix [107 56 115 0]");
	if (!bytes.n)
		return err_new(ERR_BAD_REQUEST, "empty body");
	while (bytes.n) {
		if (!field_take(&bytes, &f))
			return malformed("the envelope");
		if (f.number == 2 && f.wire == WIRE_BYTES)
			*ret_raw = f.bytes;
		if (f.number != 1 || f.wire != WIRE_BYTES)
			continue;
		for (struct str meta = f.bytes; meta.n;) {
			struct field m = { 0 };

			if (!field_take(&meta, &m) || m.wire != WIRE_BYTES || !str_is_utf8(m.bytes))
				return malformed("the type");
			if (m.number == 1)
				*ret_av = m.bytes;
			else if (m.number == 2)
				*ret_kind = m.bytes;
		}
	}
	return NULL;
}

struct err *protobuf_decode(struct arena *a, struct schema_registry *types, struct str type,
			    struct str bytes, struct json **ret)
{
	struct decoder d = { .a = a, .types = types };
	struct str av = STR_EMPTY, kind = STR_EMPTY, raw = STR_EMPTY;
	struct json *obj = json_object(a);
	const struct json *schema;
	struct err *e = envelope_decode(&d, bytes, &av, &kind, &raw);

	if (!e) {
		if (!str_empty(kind))
			json_set_str(a, obj, "kind", kind);
		if (!str_empty(av))
			json_set_str(a, obj, "apiVersion", av);
		schema = type_find(&d, type);
		e = schema ? message_decode(&d, schema, STR_EMPTY, raw, obj)
			   : malformed("unknown type");
	}
	*ret = obj;
	return e;
}
