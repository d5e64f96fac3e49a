/* SPDX-License-Identifier: Apache-2.0 */

/* Schemas of CRDs: structural rules, pruning, defaulting and validation in upstream's words. */

#include "api/schema.h"

#include "testkit/test.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *j = NULL;

	assert_no_err(json_parse(a, str_from(text), &j));
	return j;
}

static struct str causes(struct arena *a, struct err *e)
{
	struct str out = STR_EMPTY;

	for (size_t i = 0; e && i < err_n_causes(e); i++) {
		struct err_cause c = err_get_cause(e, i);

		out = arena_fmt(a, STR_FMT STR_FMT ": " STR_FMT "\n", STR_ARG(out),
				STR_ARG(c.field), STR_ARG(c.message));
	}
	err_free(e);
	return out;
}

/* A root with one member spec, whose properties these are. */
static struct json *spec_schema(struct arena *a, const char *props)
{
	return parse(a,
		     arena_fmt(a,
			       "{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\","
			       "\"required\":[],\"properties\":%s}}}",
			       props)
			     .p);
}

TEST(structural)
{
	static const struct {
		const char *schema, *want;
	} rows[] = {
		{ "{\"type\":\"object\"}", "" },
		{ "{}", "s.type: Required value: must not be empty at the root\n" },
		{ "{\"type\":\"object\",\"properties\":{\"a\":{}}}",
		  "s.properties[a].type: Required value: must not be empty for specified object "
		  "fields\n" },
		{ "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\"}}}",
		  "s.properties[a].items: Required value: must be specified\n" },
		{ "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"items\":{}}}}",
		  "s.properties[a].items.type: Required value: must not be empty for specified "
		  "array "
		  "items\n" },
		{ "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"$ref\":\"x\"}}"
		  "}",
		  "s.properties[a].$ref: Forbidden: $ref is not supported\n" },
		{ "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"object\",\"properties\":{"
		  "\"b\":{\"type\":\"string\"}},\"additionalProperties\":{\"type\":\"string\"}}}}",
		  "s.properties[a].additionalProperties: Forbidden: additionalProperties and "
		  "properties are mutual exclusive\n" },
		{ "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"anyOf\":[{"
		  "\"type\":\"string\"}]}}}",
		  "s.properties[a].anyOf[0].type: Forbidden: must be empty to be structural\n" },
		{ "{\"type\":\"object\",\"properties\":{\"a\":{\"x-kubernetes-int-or-string\":true,"
		  "\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}}}",
		  "" },
		{ "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"default\":1}}"
		  "}",
		  "s.properties[a].default: Invalid value: \"integer\":  in body must be of type "
		  "string: \"integer\"\n" },
		{ "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"object\",\"default\":{"
		  "\"x\":1}}}}",
		  "s.properties[a].default: Invalid value: {\"x\":1}: must not have unknown "
		  "fields\n" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct schema *s = NULL;
		struct err *e = schema_compile(NULL, parse(a, rows[i].schema), STR("s"), &s);

		if (!e)
			schema_unref(s);
		assert_str(causes(a, e), rows[i].want);
	}
}

TEST(prune_and_default)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *j = spec_schema(
		a, "{\"a\":{\"type\":\"string\",\"default\":\"x\"},"
		   "\"o\":{\"type\":\"object\",\"properties\":{\"i\":{\"type\":\"integer\","
		   "\"default\":3}}},"
		   "\"k\":{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true},"
		   "\"e\":{\"type\":\"object\",\"x-kubernetes-embedded-resource\":true,"
		   "\"x-kubernetes-preserve-unknown-fields\":true},"
		   "\"n\":{\"type\":\"string\",\"nullable\":true}}");
	struct json *obj =
		parse(a, "{\"apiVersion\":\"g/v1\",\"kind\":\"K\",\"metadata\":{\"name\":"
			 "\"n\",\"bad\":1},\"top\":1,\"spec\":{\"z\":1,\"o\":{},\"k\":{"
			 "\"free\":1},\"e\":{\"kind\":\"Pod\",\"q\":1},\"n\":null}}");
	struct schema_registry *reg = schema_registry_builtin();
	struct json *unknown = json_array(a);
	struct schema *s = NULL;

	assert_no_err(schema_compile(reg, j, STR("s"), &s));
	schema_prune(a, s, obj, unknown);
	schema_default(a, s, obj);
	assert_str(json_text(a, unknown), "[\"metadata.bad\",\"top\",\"spec.z\"]");
	assert_str(
		json_text(a, json_get(obj, "spec")),
		"{\"o\":{\"i\":3},\"k\":{\"free\":1},\"e\":{\"kind\":\"Pod\",\"q\":1},\"n\":null,"
		"\"a\":\"x\"}");
	schema_unref(s);
	schema_registry_free(reg);
}

TEST(validation)
{
	static const struct {
		const char *props, *spec, *want;
	} rows[] = {
		{ "{\"b\":{\"type\":\"string\"}}", "{\"b\":1}",
		  "spec.b: Invalid value: \"integer\": spec.b in body must be of type string: "
		  "\"integer\"\n" },
		{ "{\"m\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":5}}", "{\"m\":0}",
		  "spec.m: Invalid value: 0: spec.m in body should be greater than or equal to "
		  "1\n" },
		{ "{\"m\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":5}}", "{\"m\":9}",
		  "spec.m: Invalid value: 9: spec.m in body should be less than or equal to 5\n" },
		{ "{\"m\":{\"type\":\"integer\"}}", "{\"m\":3.0}", "" },
		{ "{\"m\":{\"type\":\"integer\"}}", "{\"m\":1.5}",
		  "spec.m: Invalid value: \"number\": spec.m in body must be of type integer: "
		  "\"number\"\n<nil>: Invalid value: \"\": Checked value must be of type integer "
		  "(default format) in spec.m\n" },
		{ "{\"p\":{\"type\":\"string\",\"pattern\":\"^x+$\"}}", "{\"p\":\"y\"}",
		  "spec.p: Invalid value: \"y\": spec.p in body should match '^x+$'\n" },
		{ "{\"p\":{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}}", "{\"p\":\"y\"}",
		  "spec.p: Invalid value: \"y\": spec.p in body should be at least 2 chars "
		  "long\n" },
		{ "{\"p\":{\"type\":\"string\",\"maxLength\":3}}", "{\"p\":\"yyyy\"}",
		  "spec.p: Too long: may not be more than 3 bytes\n" },
		{ "{\"l\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":2}}",
		  "{\"l\":[\"a\",\"b\",\"c\"]}",
		  "spec.l: Too many: 3: must have at most 2 items\n" },
		{ "{\"e\":{\"type\":\"string\",\"enum\":[\"a\",\"b\"]}}", "{\"e\":\"c\"}",
		  "spec.e: Unsupported value: \"c\": supported values: \"a\", \"b\"\n" },
		{ "{\"f\":{\"type\":\"string\",\"format\":\"date-time\"}}", "{\"f\":\"x\"}",
		  "spec.f: Invalid value: \"x\": spec.f in body must be of type date-time: "
		  "\"x\"\n" },
		{ "{\"s\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},"
		  "\"x-kubernetes-list-type\":\"set\"}}",
		  "{\"s\":[\"a\",\"a\"]}", "spec.s[1]: Duplicate value: \"a\"\n" },
		{ "{\"m\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\","
		  "\"x-kubernetes-list-map-keys\":[\"k\"],\"items\":{\"type\":\"object\","
		  "\"required\":[\"k\"],\"properties\":{\"k\":{\"type\":\"string\"}}}}}",
		  "{\"m\":[{\"k\":\"a\"},{\"k\":\"a\"}]}",
		  "spec.m[1]: Duplicate value: {\"k\":\"a\"}\n" },
		{ "{\"o\":{\"type\":\"object\",\"required\":[\"r\"],\"properties\":{\"r\":{"
		  "\"type\":"
		  "\"string\"}}}}",
		  "{\"o\":{}}", "spec.o.r: Required value\n" },
		{ "{\"o\":{\"type\":\"string\",\"oneOf\":[{\"pattern\":\"^a\"},{\"pattern\":\"b$\"}"
		  "]}}",
		  "{\"o\":\"ab\"}",
		  "<nil>: Invalid value: \"\": \"spec.o\" must validate one and only one schema "
		  "(oneOf). Found 2 valid alternatives\n" },
		{ "{\"i\":{\"x-kubernetes-int-or-string\":true}}", "{\"i\":true}",
		  "spec.i: Invalid value: \"boolean\": spec.i in body must be of type "
		  "integer,string: "
		  "\"boolean\"\n" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct schema *s = NULL;
		struct err *e = NULL;
		struct json *obj = json_object(a);

		json_set(a, obj, "spec", parse(a, rows[i].spec));
		assert_no_err(schema_compile(NULL, spec_schema(a, rows[i].props), STR("s"), &s));
		schema_validate(a, s, obj, STR_EMPTY, &e);
		assert_str(causes(a, e), rows[i].want);
		schema_unref(s);
	}
}

TEST(unchanged_values_pass_an_update)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *old = parse(a, "{\"spec\":{\"e\":\"gone\",\"f\":\"a\"}}");
	struct json *same = parse(a, "{\"spec\":{\"e\":\"gone\",\"f\":\"b\"}}");
	struct json *changed = parse(a, "{\"spec\":{\"e\":\"other\",\"f\":\"b\"}}");
	struct schema *s = NULL;
	struct err *e = NULL;

	assert_no_err(schema_compile(
		NULL,
		spec_schema(a, "{\"e\":{\"type\":\"string\",\"enum\":[\"x\"]},\"f\":{\"type\":"
			       "\"string\"}}"),
		STR("s"), &s));
	schema_validate_update(a, s, same, old, STR_EMPTY, &e);
	assert_null(e);
	schema_validate_update(a, s, changed, old, STR_EMPTY, &e);
	assert_non_null(e);
	err_free(e);
	schema_unref(s);
}

TEST_MAIN(T(structural), T(prune_and_default), T(validation), T(unchanged_values_pass_an_update))
