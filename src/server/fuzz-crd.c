/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A CustomResourceDefinition, and an object of it behind a line of "---": what validation lets pass
 * makes a resource, whose schema prunes, defaults and validates the object, rules included.
 */

#include "api/cel-rules.h"
#include "api/print.h"
#include "api/regex.h"
#include "api/schema.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/err.h"
#include "server/crd-resource.h"
#include "server/crd-validate.h"
#include "server/resource.h"
#include "testkit/fuzz.h"
#include "json/json.h"

#define PART "\n---\n"
#define HEAD                                                                                      \
	"{\"metadata\":{\"name\":\"as.b.c\"},\"spec\":{\"group\":\"b.c\",\"scope\":\"Cluster\","  \
	"\"names\":{\"plural\":\"as\",\"singular\":\"a\",\"kind\":\"A\",\"listKind\":\"AList\"}," \
	"\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,"
#define TAIL "}]},\"status\":{\"storedVersions\":[\"v1\"]}}"

const char *const fuzz_seeds[] = {
	HEAD
	"\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":"
	"\"object\",\"properties\":{\"n\":{\"type\":\"integer\",\"default\":1},\"m\":{\"type\":"
	"\"string\",\"maxLength\":9,\"pattern\":\"^a+$\"}},\"x-kubernetes-validations\":[{\"rule\":"
	"\"self.n > 0 || has(self.m)\",\"messageExpression\":\"'n is ' + string(self.n)\"}]}}}},"
	"\"selectableFields\":[{\"jsonPath\":\".spec.m\"}],\"additionalPrinterColumns\":[{"
	"\"name\":\"N\",\"type\":\"integer\",\"jsonPath\":\".spec.n\"}],\"subresources\":{"
	"\"status\":{},\"scale\":{\"specReplicasPath\":\".spec.n\",\"statusReplicasPath\":"
	"\".status.n\"}}" TAIL PART "{\"spec\":{\"n\":2,\"m\":\"aa\",\"x\":1}}",
	HEAD "\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":{\"l\":{\"type\":"
	     "\"array\",\"maxItems\":3,\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-"
	     "keys\":["
	     "\"k\"],\"items\":{\"type\":\"object\",\"required\":[\"k\"],\"properties\":{\"k\":{"
	     "\"type\":"
	     "\"string\"},\"v\":{\"x-kubernetes-int-or-string\":true}}}}},\"x-kubernetes-"
	     "validations\":[{"
	     "\"rule\":\"self.l.all(x, x.k != 'z') && (!has(oldSelf.l) || size(self.l) >= "
	     "size(oldSelf.l))\"}]}}" TAIL PART
	     "{\"l\":[{\"k\":\"a\",\"v\":1},{\"k\":\"b\",\"v\":\"2\"}]}",
	NULL,
};

static struct schema_registry *types;

static void try_object(struct arena *a, const struct resource *res, struct json *obj)
{
	const struct resource_version *v = &res->versions[0];
	struct json *warnings = json_array(a), *found = NULL;
	struct err *e = NULL;
	struct str once;

	for (size_t i = 0; i < v->n_columns; i++)
		err_ignore(jsonpath_find(a, obj, v->columns[i].path, &found), "nothing is shown");
	if (!v->schema)
		return;
	schema_prune(a, v->schema, obj, NULL);
	schema_default(a, v->schema, obj);
	once = json_text(a, obj);
	schema_prune(a, v->schema, obj, NULL);
	schema_default(a, v->schema, obj);
	ASSERT(str_eq(json_text(a, obj), once));
	schema_validate_update(a, v->schema, obj, obj, STR_EMPTY, &e);
	if (cel_rules_exist(v->schema))
		cel_rules_validate(a, v->schema, obj, obj, warnings, &e);
	err_free(e);
}

static void try_definition(struct arena *a, const struct json *crd, struct json *obj)
{
	struct resource *res = NULL;
	struct err *e = NULL;

	regex_budget_start();
	crd_validate(a, types, crd, NULL, &e);
	regex_budget_end();
	if (!e) {
		e = crd_make_resource(types, crd, &res);
		ASSERT(!e && res->n_versions);
		if (json_is(obj, JSON_OBJECT))
			try_object(a, res, obj);
		res->release(res);
	}
	err_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str in = str_make((const char *)data, n);
	_cleanup_arena_ struct arena *a = arena_new();
	size_t at = str_find(in, STR(PART));
	struct json *crd = NULL, *obj = NULL;
	const struct schema *own;
	struct err *e;

	if (!types)
		types = schema_registry_builtin();
	own = schema_registry_find(types, STR("io.k8s.apiextensions-apiserver.pkg.apis."
					      "apiextensions.v1.CustomResourceDefinition"));
	e = json_parse(a, str_sub(in, 0, at), &crd);
	if (!e && json_is(crd, JSON_OBJECT))
		e = schema_decode_types(a, own, crd);
	if (e || !json_is(crd, JSON_OBJECT)) {
		err_free(e);
		return 0;
	}
	schema_prune(a, own, crd, NULL);
	schema_default(a, own, crd);
	schema_validate(a, own, crd, STR_EMPTY, &e);
	err_ignore(json_parse(a, str_skip(in, MIN(in.n, at + sizeof(PART) - 1)), &obj),
		   "no object");
	if (!e)
		try_definition(a, crd, obj);
	err_free(e);
	return 0;
}
