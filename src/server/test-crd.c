/* SPDX-License-Identifier: Apache-2.0 */

/* The rules of definitions, and the resources they make. */

#include "api/schema.h"
#include "server/crd-resource.h"
#include "server/crd-validate.h"
#include "server/crd.h"
#include "server/resource.h"
#include "testkit/test.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *j = NULL;

	assert_no_err(json_parse(a, str_from(text), &j));
	return j;
}

static const char good[] =
	"{\"metadata\":{\"name\":\"foos.ex.io\"},\"spec\":{\"group\":\"ex.io\",\"scope\":"
	"\"Namespaced\","
	"\"names\":{\"plural\":\"foos\",\"singular\":\"foo\",\"kind\":\"Foo\",\"listKind\":"
	"\"FooList\","
	"\"shortNames\":[\"fo\"]},\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,"
	"\"subresources\":{\"status\":{},\"scale\":{\"specReplicasPath\":\".spec.n\","
	"\"statusReplicasPath\":\".status.n\"}},\"additionalPrinterColumns\":[{\"name\":\"N\","
	"\"type\":"
	"\"integer\",\"jsonPath\":\".spec.n\"}],\"selectableFields\":[{\"jsonPath\":\".spec.m\"}],"
	"\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":"
	"\"object\",\"properties\":{\"n\":{\"type\":\"integer\"},\"m\":{\"type\":\"string\"}}}}}}}]"
	"},\"status\":{\"storedVersions\":[\"v1\"]}}";

/* good with the member at path (dots, numbers index lists) replaced. */
static struct json *changed(struct arena *a, const char *path, const char *value)
{
	struct json *crd = parse(a, good), *at = crd;
	struct str rest = str_from(path), part;

	while (str_cut(&rest, '.', &part)) {
		int64_t i;

		at = str_to_i64(part, &i) ? json_idx(at, (size_t)i) : json_get_s(at, part);
		assert_non_null(at);
	}
	if (value)
		json_set_s(a, at, part, parse(a, value));
	else
		json_del(at, part);
	return crd;
}

#define V0 "spec.versions.0."

TEST(rules)
{
	static const struct {
		const char *path, *value, *field, *message;
	} rows[] = {
		{ "metadata.name", "\"x\"", "metadata.name",
		  "Invalid value: \"x\": must be spec.names.plural+\".\"+spec.group" },
		{ "spec.scope", "\"Foo\"", "spec.scope",
		  "Unsupported value: \"Foo\": supported values: \"Cluster\", \"Namespaced\"" },
		{ "spec.scope", NULL, "spec.scope", "Required value" },
		{ V0 "storage", "false", "spec.versions",
		  "must have exactly one version marked as "
		  "storage version" },
		{ V0 "schema", NULL, "spec.versions[0].schema.openAPIV3Schema", "Required value" },
		{ "spec.names.listKind", "\"Foo\"", "spec.names.listKind",
		  "kind and listKind may not be the same" },
		{ V0 "subresources.scale.specReplicasPath", "\".metadata.n\"",
		  "spec.subresources.scale.specReplicasPath", "should be a json path under .spec" },
		{ V0 "additionalPrinterColumns",
		  "[{\"name\":\"A\",\"type\":\"x\",\"jsonPath\":\".a\"}]",
		  "spec.additionalPrinterColumns[0].type",
		  "must be one of boolean,date,integer,number,string" },
		{ V0 "selectableFields", "[{\"jsonPath\":\".spec.q\"}]",
		  "spec.selectableFields[0].jsonPath",
		  "is an invalid path: does not refer to a valid field" },
		{ V0 "schema.openAPIV3Schema.type", NULL, "spec.validation.openAPIV3Schema.type",
		  "Required value: must not be empty at the root" },
		{ "spec.conversion", "{\"strategy\":\"Foo\"}", "spec.conversion.strategy",
		  "Unsupported value: \"Foo\": supported values: \"None\", \"Webhook\"" },
		{ "spec.conversion", "{\"strategy\":\"Webhook\"}",
		  "spec.conversion.webhookClientConfig",
		  "Required value: required when strategy is set to Webhook" },
		{ "spec.names.kind", "\"9x\"", "spec.names.kind",
		  "may have mixed case, but should otherwise match: a DNS-1035 label" },
		{ V0 "name", "\"\"", "spec.versions[0].name", "a DNS-1035 label must consist" },
		{ V0 "deprecationWarning", "\"x\"", "spec.versions[0].deprecationWarning",
		  "can only be set for deprecated versions" },
		{ V0 "additionalPrinterColumns.0.format", "\"x\"",
		  "spec.additionalPrinterColumns[0].format",
		  "must be one of byte,date,date-time,double,float,int32,int64,password" },
		{ V0 "additionalPrinterColumns.0.jsonPath", "\"x\"",
		  "spec.additionalPrinterColumns[0].JSONPath",
		  "must be a simple json path starting with ." },
		{ V0 "selectableFields", "[{\"jsonPath\":\".spec\"}]",
		  "spec.selectableFields[0].jsonPath",
		  "must point to a field of type string, boolean or integer." },
		{ V0 "selectableFields", "[{\"jsonPath\":\".metadata.name\"}]",
		  "spec.selectableFields[0].jsonPath", "must not point to fields in metadata" },
		{ V0 "selectableFields", "[{\"jsonPath\":\".spec.m\"},{\"jsonPath\":\".spec.m\"}]",
		  "spec.selectableFields[1].jsonPath", "Duplicate value: \".spec.m\"" },
		{ "status", "{}", "status.storedVersions",
		  "must have at least one stored version" },
		{ "status", "{\"storedVersions\":[\"v0\"]}", "status.storedVersions[0]",
		  "missing from spec.versions; v0 was previously a storage version" },
	};
	struct schema_registry *types = schema_registry_builtin();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		_cleanup_err_ struct err *e = NULL;
		bool found = false;

		crd_validate(a, types, changed(a, rows[i].path, rows[i].value), NULL, &e);
		for (size_t k = 0; e && k < err_n_causes(e); k++) {
			struct err_cause c = err_get_cause(e, k);

			found |= str_eqz(c.field, rows[i].field) &&
				 str_contains(c.message, str_from(rows[i].message));
		}
		if (!found)
			fail_msg("row %zu: no cause at %s", i, rows[i].field);
	}
	schema_registry_free(types);
}

TEST(good_one_passes)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct schema_registry *types = schema_registry_builtin();
	struct err *e = NULL;

	crd_validate(a, types, parse(a, good), NULL, &e);
	assert_no_err(e);
	schema_registry_free(types);
}

TEST(resource_of_a_definition)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct schema_registry *types = schema_registry_builtin();
	struct resource *res = NULL;

	assert_no_err(crd_make_resource(types, parse(a, good), &res));
	assert_str(res->store_name, "foos.ex.io");
	assert_true(res->custom && res->namespaced);
	assert_int_equal(res->n_versions, 1);
	assert_non_null(subresource_find(&res->versions[0], STR("scale")));
	assert_non_null(res->versions[0].schema);
	assert_str(res->versions[0].fields[0].name, "spec.m");
	res->release(res);
	schema_registry_free(types);
}

TEST(type_name)
{
	_cleanup_arena_ struct arena *a = arena_new();

	assert_str(crd_type_name(a, STR("stable.example.com"), STR("v1"), STR("Tab")),
		   "com.example.stable.v1.Tab");
}

TEST_MAIN(T(rules), T(good_one_passes), T(resource_of_a_definition), T(type_name))
