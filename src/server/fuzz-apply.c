/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Two appliers of one object: their configurations, both a stranger's, parted by a line of "---".
 * The first byte says of which kind. One applies, the other forces; applied again nothing changes,
 * what was forced is there, managedFields read as they were written, and who applies nothing more
 * owns nothing more.
 */

#include "api/fields.h"
#include "api/schema.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/err.h"
#include "server/apply.h"
#include "server/object.h"
#include "server/request.h"
#include "server/resources.h"
#include "server/server.h"
#include "testkit/fuzz.h"
#include "json/json.h"

#define PART "\n---\n"

static const struct {
	const char *group, *plural;
} kinds[] = { { "", "pods" }, { "", "services" }, { "apps", "deployments" }, { "", "configmaps" } };

const char *const fuzz_seeds[] = {
	"0{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"labels\":{\"a\":\"1\"},"
	"\"finalizers\":[\"x/y\"]},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\","
	"\"ports\":[{\"containerPort\":80}],\"env\":[{\"name\":\"A\",\"value\":\"1\"}]}]}}" PART
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"labels\":{\"b\":\"1\"}},"
	"\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"j\"},{\"name\":\"d\"}]}}",
	"1{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"spec\":{\"ports\":[{\"port\":80},{\"port\":"
	"80,"
	"\"protocol\":\"UDP\"}],\"selector\":{\"a\":\"b\"}}}" PART
	"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"spec\":{\"ports\":[{\"port\":81,\"name\":"
	"\"x\"}],"
	"\"externalIPs\":[\"1.2.3.4\"]}}",
	"2{\"apiVersion\":\"apps/"
	"v1\",\"kind\":\"Deployment\",\"spec\":{\"replicas\":2,\"template\":"
	"{\"spec\":{\"nodeSelector\":{\"a\":null},\"tolerations\":[{\"key\":\"k\"}]}}}}" PART
	"{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"spec\":{\"replicas\":2}}",
	"3{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"data\":{\"a\":\"1\",\"b\":\"2\"}}" PART
	"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"data\":{\"b\":\"3\"},\"immutable\":false}",
	NULL,
};

static struct apiserver server;

static void server_init(void)
{
	if (server.registry)
		return;
	server.arena = arena_new();
	server.registry = registry_new(schema_registry_builtin());
	err_ignore(resources_add_builtin(server.registry, server.arena), "cannot fail");
}

static struct api_request request_of(struct arena *a, size_t kind, const char *manager)
{
	struct api_request rq = { .server = &server, .arena = a, .verb = VERB_PATCH };

	rq.res = registry_find(server.registry, str_from(kinds[kind].group), STR("v1"),
			       str_from(kinds[kind].plural), &rq.v);
	ASSERT(rq.res);
	rq.name = STR("x");
	rq.opt.field_manager = str_from(manager);
	rq.opt.field_validation = FIELDS_IGNORE;
	return rq;
}

/* As stored and read again: without what typed clients do not write. */
static void check_managed(struct arena *a, const struct json *obj)
{
	struct json *written = json_path(obj, "metadata", "managedFields", NULL);
	struct managers m;
	struct err *e = managers_parse(a, written, &m);

	ASSERT(!e);
	ASSERT(json_is_null(written) || json_equal(managers_format(&m), written));
}

static const struct fields *owned_by(struct arena *a, const struct json *obj, const char *who)
{
	struct managers m;

	err_ignore(managers_parse(a, json_path(obj, "metadata", "managedFields", NULL), &m),
		   "checked before");
	for (size_t i = 0; i < m.n; i++) {
		if (m.v[i].apply && str_eqz(m.v[i].name, who))
			return m.v[i].set;
	}
	return fields_new(a);
}

static struct json *minimal(struct api_request *rq)
{
	struct json *o = json_object(rq->arena);

	json_set_str(rq->arena, o, "apiVersion", request_api_version(rq));
	json_set_str(rq->arena, o, "kind", rq->res->kind);
	json_set_str(rq->arena, json_sub(rq->arena, o, "metadata"), "name", rq->name);
	return o;
}

/* NULL: refused. */
static struct json *applied(struct api_request *rq, const struct json *config, bool force,
			    const struct json *old)
{
	struct json *out = NULL;
	struct err *e = apply_over(rq, json_copy(rq->arena, config), force, old, &out);

	if (!e) {
		check_managed(rq->arena, out);
		return out;
	}
	ASSERT(!force || !err_is(e, ERR_CONFLICT));
	err_free(e);
	return NULL;
}

static void same(const struct json *x, const struct json *y)
{
	ASSERT(json_equal(x, y));
}

static void try_two(struct arena *a, size_t kind, struct json *one, struct json *two)
{
	struct api_request first = request_of(a, kind, "one"), second = request_of(a, kind, "two");
	struct json *old = minimal(&first), *mid, *end, *again, *left;
	_cleanup_err_ struct err *e1 = apply_check(&first, one), *e2 = apply_check(&second, two);

	if (e1 || e2)
		return;
	mid = applied(&first, one, false, old);
	if (!mid)
		return;
	again = applied(&first, one, false, mid);
	ASSERT(again);
	same(again, mid);
	end = applied(&second, two, true, mid);
	if (!end)
		return;
	again = applied(&second, two, false, end);
	ASSERT(again);
	same(again, end);
	left = applied(&second, minimal(&second), false, end);
	ASSERT(left && fields_empty(owned_by(a, left, "two")));
	/* one's fields that two did not take are still there, and still one's */
	ASSERT(fields_equal(owned_by(a, left, "one"), owned_by(a, end, "one")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str in = str_make((const char *)data, n);
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *one = NULL, *two = NULL;
	size_t at;
	struct err *e;

	server_init();
	if (!n)
		return 0;
	in = str_skip(in, 1);
	at = str_find(in, STR(PART));
	e = json_parse(a, str_sub(in, 0, at), &one);
	if (!e)
		e = json_parse(a, str_skip(in, MIN(in.n, at + sizeof(PART) - 1)), &two);
	if (!e && json_is(one, JSON_OBJECT) && json_is(two, JSON_OBJECT))
		try_two(a, data[0] % ARRAY_LEN(kinds), one, two);
	err_free(e);
	return 0;
}
