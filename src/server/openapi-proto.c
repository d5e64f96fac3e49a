/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What clients use of the message: definitions with their types, references and extensions. Paths
 * are left out, as nobody looks for them in this form. A submessage is written into a buffer of its
 * own before its length is known.
 */
#include "server/openapi-proto.h"

#include "base/arena.h"
#include "base/buf.h"
#include "json/json.h"

enum { WIRE_VARINT = 0, WIRE_BYTES = 2 };

/* openapi.v2.Document */
enum { DOC_SWAGGER = 1, DOC_INFO = 2, DOC_PATHS = 8, DOC_DEFINITIONS = 9 };
/* openapi.v2.Schema */
enum {
	SCHEMA_REF = 1,
	SCHEMA_FORMAT = 2,
	SCHEMA_DESCRIPTION = 4,
	SCHEMA_REQUIRED = 19,
	SCHEMA_ADDITIONAL = 21,
	SCHEMA_TYPE = 22,
	SCHEMA_ITEMS = 23,
	SCHEMA_PROPERTIES = 25,
	SCHEMA_EXTENSION = 31,
};
/* NamedSchema, NamedAny: name and value; most wrappers have one field */
enum { NAMED_NAME = 1, NAMED_VALUE = 2, ANY_YAML = 2, FIRST = 1 };

static void proto_varint(struct buf *b, uint64_t v)
{
	while (v >= 0x80) {
		buf_addc(b, (char)(v | 0x80));
		v >>= 7;
	}
	buf_addc(b, (char)v);
}

static void proto_bytes(struct buf *b, unsigned field, struct str s)
{
	proto_varint(b, field << 3 | WIRE_BYTES);
	proto_varint(b, s.n);
	buf_add(b, s);
}

static void proto_text(struct buf *b, unsigned field, struct str s)
{
	if (s.n)
		proto_bytes(b, field, s);
}

static void proto_schema(struct arena *a, struct buf *b, unsigned field, const struct json *j);

static void proto_named_schemas(struct arena *a, struct buf *b, unsigned field,
				const struct json *map)
{
	_cleanup_buf_ struct buf all = { 0 };

	json_for_each(it, map)
	{
		_cleanup_buf_ struct buf one = { 0 };

		proto_text(&one, NAMED_NAME, it.key);
		proto_schema(a, &one, NAMED_VALUE, it.val);
		proto_bytes(&all, FIRST, buf_str(&one));
	}
	proto_bytes(b, field, buf_str(&all));
}

/* JSON is YAML. */
static void proto_extensions(struct arena *a, struct buf *b, const struct json *j)
{
	json_for_each(it, j)
	{
		_cleanup_buf_ struct buf any = { 0 }, named = { 0 };

		if (!str_has_prefix(it.key, STR("x-kubernetes-")))
			continue;
		proto_text(&any, ANY_YAML, json_text(a, it.val));
		proto_text(&named, NAMED_NAME, it.key);
		proto_bytes(&named, NAMED_VALUE, buf_str(&any));
		proto_bytes(b, SCHEMA_EXTENSION, buf_str(&named));
	}
}

static void proto_schema_body(struct arena *a, struct buf *b, const struct json *j)
{
	_cleanup_buf_ struct buf type = { 0 }, items = { 0 }, more = { 0 };

	proto_text(b, SCHEMA_REF, json_as_str(json_get(j, "$ref")));
	proto_text(b, SCHEMA_FORMAT, json_as_str(json_get(j, "format")));
	proto_text(b, SCHEMA_DESCRIPTION, json_as_str(json_get(j, "description")));
	json_for_each(it, json_get(j, "required"))
		proto_text(b, SCHEMA_REQUIRED, json_as_str(it.val));
	if (json_is(json_get(j, "additionalProperties"), JSON_OBJECT)) {
		proto_schema(a, &more, FIRST, json_get(j, "additionalProperties"));
		proto_bytes(b, SCHEMA_ADDITIONAL, buf_str(&more));
	}
	if (json_is(json_get(j, "type"), JSON_STR)) {
		proto_text(&type, FIRST, json_as_str(json_get(j, "type")));
		proto_bytes(b, SCHEMA_TYPE, buf_str(&type));
	}
	if (json_is(json_get(j, "items"), JSON_OBJECT)) {
		proto_schema(a, &items, FIRST, json_get(j, "items"));
		proto_bytes(b, SCHEMA_ITEMS, buf_str(&items));
	}
	if (json_len(json_get(j, "properties")))
		proto_named_schemas(a, b, SCHEMA_PROPERTIES, json_get(j, "properties"));
	proto_extensions(a, b, j);
}

static void proto_schema(struct arena *a, struct buf *b, unsigned field, const struct json *j)
{
	_cleanup_buf_ struct buf body = { 0 };

	proto_schema_body(a, &body, j);
	proto_bytes(b, field, buf_str(&body));
}

void openapi_encode_v2(struct arena *a, struct buf *b, const struct json *doc)
{
	_cleanup_buf_ struct buf info = { 0 };

	proto_text(b, DOC_SWAGGER, json_str_at(doc, "swagger"));
	proto_text(&info, 1, json_str_at(doc, "info.title"));
	proto_text(&info, 2, json_str_at(doc, "info.version"));
	proto_bytes(b, DOC_INFO, buf_str(&info));
	proto_bytes(b, DOC_PATHS, STR_EMPTY);
	proto_named_schemas(a, b, DOC_DEFINITIONS, json_get(doc, "definitions"));
}
