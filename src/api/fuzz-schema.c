/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A CRD's schema and an object, both a stranger's, parted by a line of "---": the schema is
 * compiled or refused; a schema that compiles prunes, defaults and validates any object, and
 * pruning and defaulting what was pruned and defaulted changes nothing.
 */

#include "api/schema.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/err.h"
#include "testkit/fuzz.h"
#include "json/json.h"

#define PART "\n---\n"

const char *const fuzz_seeds[] = {
	"{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"required\":[\"a\"],"
	"\"properties\":{\"a\":{\"type\":\"integer\",\"minimum\":1,\"default\":3},\"b\":{\"type\":"
	"\"string\","
	"\"pattern\":\"^x+$\",\"maxLength\":5,\"enum\":[\"x\",\"xx\"]},\"c\":{\"type\":\"array\","
	"\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"k\"],\"items\":{"
	"\"type\":"
	"\"object\",\"required\":[\"k\"],\"properties\":{\"k\":{\"type\":\"string\"}}}}}}}}" PART
	"{\"spec\":{\"b\":\"xx\",\"c\":[{\"k\":\"a\"},{\"k\":\"b\",\"z\":1}],\"d\":null}}",
	"{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true,\"properties\":{\"e\":{"
	"\"x-kubernetes-embedded-resource\":true,\"type\":\"object\","
	"\"x-kubernetes-preserve-unknown-fields\":true},\"i\":{\"x-kubernetes-int-or-string\":true}"
	","
	"\"m\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"number\",\"multipleOf\":0."
	"5}},"
	"\"o\":{\"type\":\"string\",\"oneOf\":[{\"format\":\"date\"},{\"pattern\":\"a\"}]}}}" PART
	"{\"e\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"x\"}},\"i\":\"5%"
	"\","
	"\"m\":{\"a\":1.5},\"o\":\"2020-01-01\",\"q\":[[[]]]}",
	NULL,
};

static struct schema_registry *builtin;

static void try_object(struct arena *a, const struct schema *s, struct json *obj)
{
	struct json *unknown = json_array(a), *again = json_array(a);
	struct err *e = NULL;
	struct str once;

	schema_prune(a, s, obj, unknown);
	schema_default(a, s, obj);
	once = json_text(a, obj);
	schema_prune(a, s, obj, again);
	schema_default(a, s, obj);
	ASSERT(json_len(again) == 0);
	ASSERT(str_eq(json_text(a, obj), once));
	schema_validate(a, s, obj, STR_EMPTY, &e);
	err_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str in = str_make((const char *)data, n), rest;
	struct arena *a = arena_new();
	struct json *openapi, *obj;
	struct schema *s = NULL;
	size_t at = str_find(in, STR(PART));
	struct err *e;

	if (!builtin)
		builtin = schema_registry_builtin();
	rest = str_skip(in, at + sizeof(PART) - 1);
	e = json_parse(a, str_sub(in, 0, at), &openapi);
	if (!e)
		e = schema_compile(builtin, openapi, STR("spec"), &s);
	if (!e)
		e = json_parse(a, rest, &obj);
	if (!e && json_is(obj, JSON_OBJECT))
		try_object(a, s, obj);
	err_free(e);
	schema_unref(s);
	arena_free(a);
	return 0;
}
