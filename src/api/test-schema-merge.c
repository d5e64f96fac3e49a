/* SPDX-License-Identifier: Apache-2.0 */
#include "api/schema.h"

#include "testkit/test.h"
#include "json/json.h"

#define POD "io.k8s.api.core.v1.Pod"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *j = NULL;

	assert_no_err(json_parse(a, str_from(text), &j));
	return j;
}

#define CONTAINERS(list) "{\"spec\":{\"containers\":[" list "]}}"

TEST(merge_table)
{
	static const struct {
		const char *doc, *patch, *want; /* a want that does not begin with { is the error */
	} rows[] = {
		/* by key; new ones first */
		{ CONTAINERS("{\"name\":\"a\",\"image\":\"1\"},{\"name\":\"b\"}"),
		  CONTAINERS("{\"name\":\"a\",\"image\":\"2\"}"),
		  CONTAINERS("{\"name\":\"a\",\"image\":\"2\"},{\"name\":\"b\"}") },
		{ CONTAINERS("{\"name\":\"a\"}"), CONTAINERS("{\"name\":\"z\",\"image\":\"2\"}"),
		  CONTAINERS("{\"name\":\"z\",\"image\":\"2\"},{\"name\":\"a\"}") },
		/* directives */
		{ CONTAINERS("{\"name\":\"a\"},{\"name\":\"b\"}"),
		  CONTAINERS("{\"$patch\":\"delete\",\"name\":\"a\"}"),
		  CONTAINERS("{\"name\":\"b\"}") },
		{ CONTAINERS("{\"name\":\"a\"},{\"name\":\"b\"}"),
		  CONTAINERS("{\"$patch\":\"replace\"},{\"name\":\"c\"}"),
		  CONTAINERS("{\"name\":\"c\"}") },
		{ "{\"spec\":{\"nodeName\":\"n\",\"hostname\":\"h\"}}",
		  "{\"spec\":{\"$patch\":\"replace\",\"hostname\":\"i\"}}",
		  "{\"spec\":{\"hostname\":\"i\"}}" },
		{ "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]}}",
		  "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"$retainKeys\":[\"name\",\"secret\"],"
		  "\"secret\":{}}]}}",
		  "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"secret\":{}}]}}" },
		{ CONTAINERS("{\"name\":\"a\"},{\"name\":\"b\"}"),
		  "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"b\"},{\"name\":\"c\"},{"
		  "\"name\":\"a\"}],\"containers\":[{\"name\":\"c\"}]}}",
		  CONTAINERS("{\"name\":\"b\"},{\"name\":\"c\"},{\"name\":\"a\"}") },
		/* lists of scalars */
		{ "{\"metadata\":{\"finalizers\":[\"a\",\"b\"]}}",
		  "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"a\"],\"finalizers\":["
		  "\"c\"]}}",
		  "{\"metadata\":{\"finalizers\":[\"c\",\"b\"]}}" },
		{ "{\"spec\":{\"containers\":[{\"name\":\"a\",\"args\":[\"1\",\"2\"]}]}}",
		  "{\"spec\":{\"containers\":[{\"name\":\"a\",\"args\":[\"3\"]}]}}",
		  "{\"spec\":{\"containers\":[{\"name\":\"a\",\"args\":[\"3\"]}]}}" },
		/* null deletes */
		{ "{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}",
		  "{\"metadata\":{\"labels\":{\"a\":null}}}",
		  "{\"metadata\":{\"labels\":{\"b\":\"2\"}}}" },
		{ "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}}",
		  "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}",
		  "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}" },
		/* errors */
		{ CONTAINERS("{\"name\":\"a\"}"), CONTAINERS("{\"image\":\"x\"}"),
		  "map: map[image:x] does not contain declared merge key: name" },
		{ CONTAINERS("{\"name\":\"a\"}"), "{\"spec\":{\"$patch\":\"foo\"}}",
		  "unknown patch type: foo in map: map[$patch:foo]" },
	};
	struct schema_registry *r = schema_registry_builtin();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *doc = parse(a, rows[i].doc), *out = NULL;
		struct err *e = schema_strategic_merge(a, schema_registry_find(r, STR(POD)), doc,
						       parse(a, rows[i].patch), &out);

		if (rows[i].want[0] != '{') {
			assert_non_null(e);
			assert_str(err_msg(e), rows[i].want);
			err_free(e);
			continue;
		}
		assert_no_err(e);
		assert_str(json_text(a, out), rows[i].want);
		assert_str(json_text(a, doc), rows[i].doc);
	}
	schema_registry_free(r);
}

TEST(deep_patches_are_refused)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct schema_registry *r = schema_registry_builtin();
	struct json *doc = json_object(a), *at = doc, *out = NULL;

	for (int i = 0; i < 100; i++) {
		struct json *next = json_object(a);

		json_set(a, at, "properties", next);
		at = next;
	}
	assert_err(schema_strategic_merge(a, schema_registry_find(r, STR(POD)), doc, doc, &out),
		   ERR_BAD_REQUEST);
	schema_registry_free(r);
}

TEST_MAIN(T(merge_table), T(deep_patches_are_refused))
