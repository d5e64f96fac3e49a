/* SPDX-License-Identifier: Apache-2.0 */

/* The built-in kinds: what schemas/ says, and how upstream words it. */

#include "api/schema.h"

#include "api/schema-data.h"
#include "testkit/test.h"
#include "json/json.h"

#define POD    "io.k8s.api.core.v1.Pod"
#define CRD    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
#define LEASE  "io.k8s.api.coordination.v1.Lease"
#define CM     "io.k8s.api.core.v1.ConfigMap"
#define KEY    "io.k8s.api.core.v1.KeyToPath"
#define RS     "io.k8s.api.apps.v1.ReplicaSet"
#define SVC    "io.k8s.api.core.v1.Service"
#define SECRET "io.k8s.api.core.v1.Secret"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *j = NULL;

	assert_no_err(json_parse(a, str_from(text), &j));
	return j;
}

/* Causes as "field: message" lines. */
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

TEST(every_type_compiles)
{
	struct schema_registry *r = schema_registry_builtin();

	assert_true(schema_n_texts > 250);
	for (size_t i = 0; i < schema_n_texts; i++)
		assert_non_null(schema_registry_find(r, schema_texts[i].name));
	assert_null(schema_registry_find(r, STR("io.k8s.api.core.v1.Nope")));
	schema_registry_free(r);
}

TEST(resources_have_types)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct schema_registry *r = schema_registry_builtin();
	struct json *list = NULL;

	assert_no_err(json_parse(a, schema_resources_text, &list));
	assert_true(json_len(list) > 25);
	json_for_each(it, list)
		assert_non_null(schema_registry_find(r, json_str_at(it.val, "type")));
	schema_registry_free(r);
}

TEST(unknown_fields)
{
	static const struct {
		const char *type, *obj, *unknown;
	} rows[] = {
		{ POD, "{\"spec\":{\"foo\":1,\"containers\":[{\"name\":\"a\",\"bar\":2}]},\"x\":3}",
		  "[\"spec.foo\",\"spec.containers[0].bar\",\"x\"]" },
		{ CM, "{\"data\":{\"any\":\"thing\"},\"Data\":{}}", "[\"Data\"]" },
		{ CM, "{\"metadata\":{\"labels\":{\"a\":\"b\"},\"zz\":1}}", "[\"metadata.zz\"]" },
		{ "io.k8s.api.apps.v1.ControllerRevision", "{\"data\":{\"a\":{\"b\":1}}}", "[]" },
		{ POD, "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":1}}}]}}",
		  "[]" },
	};
	struct schema_registry *r = schema_registry_builtin();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		const struct schema *s = schema_registry_find(r, str_from(rows[i].type));
		struct json *obj = parse(a, rows[i].obj), *unknown = json_array(a);
		struct json *again = json_array(a);

		schema_prune(a, s, obj, unknown);
		assert_str(json_text(a, unknown), rows[i].unknown);
		schema_find_unknown(a, s, obj, again);
		assert_int_equal(json_len(again), 0);
	}
	schema_registry_free(r);
}

TEST(defaults)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct schema_registry *r = schema_registry_builtin();
	struct json *pod =
		parse(a, "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"b\","
			 "\"env\":null,\"ports\":[{\"containerPort\":80}],"
			 "\"livenessProbe\":{\"httpGet\":{\"port\":1}}}],"
			 "\"volumes\":[{\"name\":\"v\",\"secret\":{}}],\"dnsPolicy\":null}}");
	struct json *c;

	schema_default(a, schema_registry_find(r, STR(POD)), pod);
	assert_str(json_str_at(pod, "spec.restartPolicy"), "Always");
	assert_str(json_str_at(pod, "spec.dnsPolicy"), "ClusterFirst");
	assert_int_equal(json_int_at(pod, "spec.terminationGracePeriodSeconds", 0), 30);
	assert_true(json_is(json_at(pod, "spec.securityContext"), JSON_OBJECT));
	c = json_idx(json_at(pod, "spec.containers"), 0);
	assert_null(json_get(c, "env"));
	assert_str(json_str_at(c, "terminationMessagePath"), "/dev/termination-log");
	assert_str(json_str_at(json_idx(json_get(c, "ports"), 0), "protocol"), "TCP");
	assert_str(json_str_at(c, "livenessProbe.httpGet.scheme"), "HTTP");
	assert_int_equal(json_int_at(c, "livenessProbe.failureThreshold", 0), 3);
	c = json_idx(json_at(pod, "spec.volumes"), 0);
	assert_int_equal(json_int_at(c, "secret.defaultMode", 0), 420);
	schema_registry_free(r);
}

TEST(validation)
{
	static const struct {
		const char *type, *obj, *want;
	} rows[] = {
		{ POD, "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"b\"}]}}", "" },
		{ KEY, "{\"key\":\"\",\"path\":\"p\"}", "key: Required value\n" },
		{ KEY, "{\"key\":\"k\"}", "path: Required value\n" },
		{ POD, "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"\"}]}}",
		  "spec.containers[0].image: Required value\n" },
		{ POD,
		  "{\"spec\":{\"restartPolicy\":\"Foo\",\"containers\":[{\"name\":\"a\",\"image\":"
		  "\"b\"}]}}",
		  "spec.restartPolicy: Unsupported value: \"Foo\": supported values: \"Always\", "
		  "\"OnFailure\", \"Never\"\n" },
		{ POD,
		  "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"b\"},{\"name\":\"a\","
		  "\"image\":\"b\"}]}}",
		  "spec.containers[1].name: Duplicate value: \"a\"\n" },
		{ POD,
		  "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"b\",\"ports\":[{"
		  "\"hostPort\":70000}]}]}}",
		  "spec.containers[0].ports[0].hostPort: Invalid value: 70000: must be "
		  "between "
		  "1 and 65535, inclusive\n" },
		{ POD, "{\"status\":{\"conditions\":[{\"type\":\"Ready\"}]}}", "" },
	};
	struct schema_registry *r = schema_registry_builtin();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct err *e = NULL;

		schema_validate(a, schema_registry_find(r, str_from(rows[i].type)),
				parse(a, rows[i].obj), STR_EMPTY, &e);
		assert_str(causes(a, e), rows[i].want);
	}
	schema_registry_free(r);
}

TEST(type_errors)
{
	static const struct {
		const char *type, *obj, *want; /* NULL: fine */
	} rows[] = {
		{ CM, "{\"data\":{\"a\":1}}",
		  "json: cannot unmarshal number into Go struct field ConfigMap.data of type "
		  "string" },
		{ RS, "{\"spec\":{\"replicas\":\"x\"}}",
		  "json: cannot unmarshal string into Go struct field ReplicaSetSpec.spec.replicas "
		  "of "
		  "type int32" },
		{ POD, "{\"spec\":{\"containers\":[{\"env\":[{\"value\":1}]}]}}",
		  "json: cannot unmarshal number into Go struct field "
		  "EnvVar.spec.containers.env.value of type string" },
		{ POD, "{\"spec\":{\"containers\":{}}}",
		  "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of "
		  "type "
		  "[]v1.Container" },
		{ POD, "{\"spec\":[]}",
		  "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec" },
		{ RS, "{\"spec\":{\"replicas\":1.5}}",
		  "json: cannot unmarshal number 1.5 into Go struct field "
		  "ReplicaSetSpec.spec.replicas of type int32" },
		{ POD, "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"x\"}}}]}}",
		  "quantities must match the regular expression "
		  "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'" },
		{ POD, "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":2}}}]}}",
		  NULL },
		{ SECRET, "{\"data\":{\"a\":\"%%\"}}", "illegal base64 data at input byte 0" },
		{ SVC, "{\"spec\":{\"ports\":[{\"targetPort\":\"http\"},{\"targetPort\":8}]}}",
		  NULL },
	};
	struct schema_registry *r = schema_registry_builtin();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct err *e = schema_decode_types(
			a, schema_registry_find(r, str_from(rows[i].type)), parse(a, rows[i].obj));

		if (!rows[i].want) {
			assert_no_err(e);
			continue;
		}
		assert_non_null(e);
		assert_str(err_msg(e), rows[i].want);
		err_free(e);
	}
	schema_registry_free(r);
}

TEST(times_and_quantities_as_go_writes_them)
{
	static const struct {
		const char *type, *obj, *want;
	} rows[] = {
		{ POD, "{\"status\":{\"startTime\":\"2026-01-01T02:00:00.5+02:00\"}}",
		  "{\"status\":{\"startTime\":\"2026-01-01T00:00:00Z\"}}" },
		{ POD, "{\"metadata\":{\"deletionTimestamp\":\"0001-01-01T00:00:00Z\"}}",
		  "{\"metadata\":{\"deletionTimestamp\":null}}" },
		{ CRD, "{\"minimum\":1.0,\"maximum\":1.5,\"multipleOf\":2,\"default\":1.0}",
		  "{\"minimum\":1,\"maximum\":1.5,\"multipleOf\":2,\"default\":1.0}" },
		{ LEASE, "{\"spec\":{\"renewTime\":\"2026-01-01T00:00:00.123456+00:00\"}}",
		  "{\"spec\":{\"renewTime\":\"2026-01-01T00:00:00.123456Z\"}}" },
		{ POD,
		  "{\"spec\":{\"overhead\":{\"a\":0.5,\"b\":2,\"c\":\"1024Mi\",\"d\":\"1000m\"}}}",
		  "{\"spec\":{\"overhead\":{\"a\":\"500m\",\"b\":\"2\",\"c\":\"1Gi\",\"d\":\"1\"}}"
		  "}" },
	};
	struct schema_registry *r = schema_registry_builtin();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *obj = parse(a, rows[i].obj);

		assert_no_err(schema_decode_types(
			a, schema_registry_find(r, str_from(rows[i].type)), obj));
		assert_str(json_text(a, obj), rows[i].want);
	}
	schema_registry_free(r);
}

TEST_MAIN(T(every_type_compiles), T(resources_have_types), T(unknown_fields), T(defaults),
	  T(validation), T(type_errors), T(times_and_quantities_as_go_writes_them))
