/* SPDX-License-Identifier: Apache-2.0 */
#include "server/protobuf.h"

#include "api/schema.h"
#include "base/buf.h"
#include "base/rand.h"
#include "testkit/test.h"
#include "json/json.h"

static void put(struct buf *b, unsigned field, struct str s)
{
	buf_addc(b, (char)(field << 3 | 2));
	assert_true(s.n < 128);
	buf_addc(b, (char)s.n);
	buf_add(b, s);
}

static struct str envelope(struct arena *a, const char *kind, struct str raw)
{
	_cleanup_buf_ struct buf b = { 0 }, type = { 0 };

	put(&type, 1, STR("v1"));
	put(&type, 2, str_from(kind));
	buf_add(&b, str_make("k8s\0", 4));
	put(&b, 1, buf_str(&type));
	put(&b, 2, raw);
	return buf_to_arena(&b, a);
}

/* A Service with a port whose targetPort is a number, and a selector. */
static struct str service(struct arena *a)
{
	_cleanup_buf_ struct buf meta = { 0 }, port = { 0 }, entry = { 0 }, spec = { 0 }, b = { 0 };

	put(&meta, 1, STR("web"));
	put(&meta, 3, STR(""));
	put(&meta, 8, STR("")); /* a zero time */
	put(&port, 1, STR("http"));
	buf_add(&port, str_make("\x18\x50", 2));                    /* port 80 */
	put(&port, 4, str_make("\x08\x00\x10\x90\x3f\x1a\x00", 7)); /* targetPort 8080 */
	buf_add(&port, str_make("\x28\x00", 2));                    /* nodePort 0 */
	put(&entry, 1, STR("a"));
	put(&entry, 2, STR("b"));
	put(&spec, 1, buf_str(&port));
	put(&spec, 2, buf_str(&entry));
	put(&b, 1, buf_str(&meta));
	put(&b, 2, buf_str(&spec));
	return envelope(a, "Service", buf_str(&b));
}

/* Seconds and nanoseconds of a Lease's renewTime, as varints. */
TEST(times)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *want; /* NULL: refused */
	} rows[] = {
		{ "\x08\x02\x10\xe8\x07", 5, "\"1970-01-01T00:00:02.000001Z\"" },
		/* two seconds after Go's zero time, as upstream's tests send it */
		{ "\x08\x82\x92\xb8\xc3\x98\xfe\xff\xff\xff\x01", 11,
		  "\"0001-01-01T00:00:02.000000Z\"" },
		{ "\x08\x80\x92\xb8\xc3\x98\xfe\xff\xff\xff\x01", 11, "null" },
		{ "\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10, NULL },
		{ "\x08\x02\x10\x80\x94\xeb\xdc\x03", 8, NULL }, /* a whole second of ns */
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		_cleanup_buf_ struct buf spec = { 0 }, b = { 0 };
		struct schema_registry *types = schema_registry_builtin();
		struct json *o = NULL;
		struct err *e;

		put(&spec, 4, str_make(rows[i].bytes, rows[i].n));
		put(&b, 2, buf_str(&spec));
		e = protobuf_decode(a, types, STR("io.k8s.api.coordination.v1.Lease"),
				    envelope(a, "Lease", buf_str(&b)), &o);
		if (rows[i].want) {
			assert_no_err(e);
			assert_str(json_text(a, json_at(o, "spec.renewTime")), rows[i].want);
		} else {
			assert_err(e, ERR_BAD_REQUEST);
		}
		schema_registry_free(types);
	}
}

/* A schema's fields that may be one of two things. */
TEST(schema_choices)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *want; /* NULL: refused */
	} rows[] = {
		/* 30: additionalProperties, 24: items, 8: default; 5: type */
		{ "\xf2\x01\x02\x08\x01", 5, "{\"additionalProperties\":true}" },
		{ "\xf2\x01\x02\x08\x00", 5, "{\"additionalProperties\":false}" },
		{ "\xf2\x01\x07\x08\x01\x12\x03\x2a\x01x", 10,
		  "{\"additionalProperties\":{\"type\":\"x\"}}" },
		{ "\xc2\x01\x05\x0a\x03\x2a\x01x", 8, "{\"items\":{\"type\":\"x\"}}" },
		{ "\xc2\x01\x07\x12\x03\x2a\x01x\x12\x00", 10,
		  "{\"items\":[{\"type\":\"x\"},{}]}" },
		{ "\x42\x05\x0a\x03[1]", 7, "{\"default\":[1]}" },
		{ "\xc2\x01\x02\x08\x01", 5, NULL },
		{ "\xf2\x01\x01\x0a", 4, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct schema_registry *types = schema_registry_builtin();
		struct json *o = NULL;
		struct err *e;

		e = protobuf_decode(a, types,
				    STR("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
					"JSONSchemaProps"),
				    envelope(a, "", str_make(rows[i].bytes, rows[i].n)), &o);
		if (rows[i].want) {
			assert_no_err(e);
			json_delz(o, "apiVersion");
			assert_str(json_text(a, o), rows[i].want);
		} else {
			assert_err(e, ERR_BAD_REQUEST);
		}
		schema_registry_free(types);
	}
}

TEST(service_decodes)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct schema_registry *types = schema_registry_builtin();
	struct json *o = NULL;

	assert_no_err(protobuf_decode(a, types, STR("io.k8s.api.core.v1.Service"), service(a), &o));
	assert_str(json_text(a, o),
		   "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web\"},"
		   "\"spec\":{\"ports\":[{\"name\":\"http\",\"port\":80,\"targetPort\":8080}],"
		   "\"selector\":{\"a\":\"b\"}}}");
	schema_registry_free(types);
}

/* What Go holds by value says nothing when it is zero, or is always written; a pointer's zero is a
 * choice. */
TEST(zeros)
{
	static const struct {
		const char *type, *bytes;
		size_t n;
		const char *want;
	} rows[] = {
		{ "PersistentVolumeClaimSpec", "\x1a\x00\x2a\x00", 4, "\"storageClassName\":\"\"" },
		{ "Probe", "\x10\x00\x18\x05\x20\x00", 6, "\"timeoutSeconds\":5" },
		{ "ClientIPConfig", "\x08\x00", 2, "\"timeoutSeconds\":0" },
		{ "EnvVar", "\x0a\x00\x12\x00", 4, "\"name\":\"\"" },
		{ "SecurityContext", "\x10\x00\x20\x00", 4,
		  "\"privileged\":false,\"runAsUser\":0" },
		{ "ServiceSpec", "\x68\x00", 2, "" }, /* publishNotReadyAddresses */
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct schema_registry *types = schema_registry_builtin();
		struct json *o = NULL;

		assert_no_err(protobuf_decode(
			a, types, arena_fmt(a, "io.k8s.api.core.v1.%s", rows[i].type),
			envelope(a, "", str_make(rows[i].bytes, rows[i].n)), &o));
		json_delz(o, "apiVersion");
		assert_str(json_text(a, o), arena_fmt(a, "{%s}", rows[i].want).p);
		schema_registry_free(types);
	}
}

/* A rule within a rule within a policy's rule, all one object in JSON. */
TEST(embedded_messages)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_buf_ struct buf rule = { 0 }, ops = { 0 }, named = { 0 };
	struct schema_registry *types = schema_registry_builtin();
	struct json *o = NULL;

	put(&rule, 1, STR("apps"));
	put(&rule, 2, STR("v1"));
	put(&rule, 3, STR("deployments"));
	put(&ops, 1, STR("CREATE"));
	put(&ops, 2, buf_str(&rule));
	put(&named, 1, STR("n"));
	put(&named, 2, buf_str(&ops));
	assert_no_err(protobuf_decode(
		a, types, STR("io.k8s.api.admissionregistration.v1.NamedRuleWithOperations"),
		envelope(a, "", buf_str(&named)), &o));
	json_delz(o, "apiVersion");
	assert_str(json_text(a, o), "{\"resourceNames\":[\"n\"],\"operations\":[\"CREATE\"],"
				    "\"apiGroups\":[\"apps\"],\"apiVersions\":[\"v1\"],"
				    "\"resources\":[\"deployments\"]}");
	schema_registry_free(types);
}

/* Cut and broken input ends in an error or a tree, never elsewhere. */
TEST(broken_input)
{
	struct schema_registry *types = schema_registry_builtin();

	rand_seed(7);
	for (int i = 0; i < 3000; i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct str s = service(a);
		char *p;
		struct json *o = NULL;
		struct err *e;

		p = arena_alloc(a, s.n);
		memcpy(p, s.p, s.n);
		for (uint64_t k = rand_below(4); k > 0; k--)
			p[rand_below(s.n)] = (char)rand_below(256);
		e = protobuf_decode(a, types, STR("io.k8s.api.core.v1.Service"),
				    str_make(p, (size_t)rand_below(s.n + 1)), &o);
		if (e)
			assert_true(err_is(e, ERR_BAD_REQUEST));
		err_free(e);
	}
	rand_seed(0);
	schema_registry_free(types);
}

TEST_MAIN(T(schema_choices), T(times), T(service_decodes), T(zeros), T(embedded_messages),
	  T(broken_input))
