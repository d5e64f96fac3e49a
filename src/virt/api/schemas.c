/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/api/schemas.h"

#include "api/schema.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "virt/api/causes.h"
#include "virt/operator/manifests.h"
#include "json/json.h"

static const char *const resources[] = { "virtualmachines", "virtualmachineinstances",
					 "virtualmachineinstancereplicasets" };

struct schemas {
	struct arena *a; /* of the JSON the schemas were compiled from */
	struct schema_registry *builtin;
	struct schema *compiled[ARRAY_LEN(resources)];
};

static const struct json *find_crd(struct arena *a, const char *plural)
{
	for (size_t i = 0; i < virt_n_manifests; i++) {
		struct json *doc = NULL;
		struct err *e;

		if (!str_eqz(virt_manifests[i].kind, "CustomResourceDefinition"))
			continue;
		e = json_parse(a, virt_manifests[i].json, &doc);
		ASSERT(!e);
		if (str_eqz(json_str_at(doc, "spec.names.plural"), plural))
			return json_at(json_idx(json_at(doc, "spec.versions"), 0),
				       "schema.openAPIV3Schema");
	}
	return NULL;
}

struct schemas *schemas_new(void)
{
	struct schemas *s = mem_new(struct schemas);

	s->a = arena_new();
	s->builtin = schema_registry_builtin();
	return s;
}

struct schemas *schemas_free(struct schemas *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(resources); i++)
		schema_unref(s->compiled[i]);
	schema_registry_free(s->builtin);
	arena_free(s->a);
	free(s);
	return NULL;
}

/* Compiled when it is first asked for: a megabyte each. */
static const struct schema *find_schema(struct schemas *s, struct str resource)
{
	for (size_t i = 0; i < ARRAY_LEN(resources); i++) {
		struct err *e;

		if (!str_eqz(resource, resources[i]))
			continue;
		if (s->compiled[i])
			return s->compiled[i];
		e = schema_compile(s->builtin, find_crd(s->a, resources[i]), STR_EMPTY,
				   &s->compiled[i]);
		ASSERT(!e); /* a unit test compiles all of them */
		return s->compiled[i];
	}
	return NULL;
}

void schemas_check(struct schemas *s, struct str resource, const struct json *obj, struct causes *c)
{
	const struct schema *schema = find_schema(s, resource);
	struct err *e = NULL;

	if (schema)
		schema_validate(c->a, schema, obj, STR_EMPTY, &e);
	for (size_t i = 0; e && i < err_n_causes(e); i++) {
		struct err_cause k = err_get_cause(e, i);

		cause_add(c, arena_strz(c->a, k.reason), arena_str(c->a, k.field), STR_FMT,
			  STR_ARG(k.message));
	}
	err_free(e);
}
