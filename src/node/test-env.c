/* SPDX-License-Identifier: Apache-2.0 */

#include "node/env.h"

#include "base/arena.h"
#include "base/buf.h"
#include "testkit/test.h"

static const char pod_text[] =
	"{\"metadata\":{\"name\":\"web\",\"namespace\":\"ns\",\"uid\":\"u\",\"labels\":{\"a\":"
	"\"1\","
	"\"b\":\"two\\\"q\"},\"annotations\":{\"k/x\":\"v\"}},\"spec\":{\"nodeName\":\"n1\","
	"\"serviceAccountName\":\"sa\",\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{"
	"\"memory\":\"64Mi\"},\"requests\":{\"cpu\":\"250m\"}}}]}}";

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

static struct err *lookup(void *ctx, struct arena *a, const char *resource, struct str name,
			  struct json **ret)
{
	(void)ctx;
	*ret = NULL;
	if (str_eqz(name, "absent"))
		return NULL;
	*ret = parse(a, strcmp(resource, "secrets") == 0
				? "{\"data\":{\"pw\":\"czNjcmV0\"}}"
				: "{\"data\":{\"one\":\"1\",\"bad=key\":\"x\",\"two\":\"2\"}}");
	return NULL;
}

static struct env_source source(struct arena *a)
{
	return (struct env_source){
		.pod = parse(a, pod_text),
		.pod_ip = STR("10.0.0.5"),
		.host_ip = STR("10.0.0.1"),
		.cpu_allocatable_milli = 2000,
		.memory_allocatable = 1 << 30,
		.lookup = lookup,
	};
}

static struct str joined(struct arena *a, const struct env_list *env)
{
	_cleanup_buf_ struct buf b = { 0 };

	for (size_t i = 0; i < env->n; i++)
		buf_addf(&b, "%s%.*s=%.*s", i ? " " : "", STR_ARG(env->v[i].name),
			 STR_ARG(env->v[i].value));
	return buf_to_arena(&b, a);
}

TEST(expand_table)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "plain", "plain" }, { "$(A)", "1" },     { "x$(A)y$(B)z", "x1y2z" },
		{ "$(NO)", "$(NO)" }, { "$$(A)", "$(A)" }, { "$$$(A)", "$1" },
		{ "$(A", "$(A" },     { "$", "$" },        { "a$b", "a$b" },
		{ "$$$$", "$$" },     { "", "" },
	};
	_cleanup_arena_ struct arena *a = arena_new();
	struct env_list env = { 0 };

	env_set(a, &env, STR("A"), STR("1"));
	env_set(a, &env, STR("B"), STR("2"));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_str(env_expand(a, &env, str_from(rows[i].in)), rows[i].out);
}

TEST(container_env)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct env_source src = source(a);
	struct env_list env;
	struct json *c = parse(
		a,
		"{\"envFrom\":[{\"prefix\":\"CM_\",\"configMapRef\":{\"name\":\"cm\"}},"
		"{\"secretRef\":{\"name\":\"absent\",\"optional\":true}}],"
		"\"env\":[{\"name\":\"A\",\"value\":\"a\"},"
		"{\"name\":\"B\",\"value\":\"$(A)-$(CM_one)\"},"
		"{\"name\":\"PW\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"s\",\"key\":\"pw\"}}}"
		","
		"{\"name\":\"IP\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.podIP\"}}},"
		"{\"name\":\"OPT\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"cm\",\"key\":"
		"\"none\",\"optional\":true}}}]}");

	assert_no_err(env_of_container(a, &src, c, &env));
	assert_str(joined(a, &env), "CM_one=1 CM_two=2 A=a B=a-1 PW=s3cret IP=10.0.0.5");
}

TEST(missing_references)
{
	static const struct {
		const char *container, *message;
	} rows[] = {
		{ "{\"envFrom\":[{\"configMapRef\":{\"name\":\"absent\"}}]}",
		  "configmap \"absent\" not found" },
		{ "{\"env\":[{\"name\":\"X\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"absent\","
		  "\"key\":\"k\"}}}]}",
		  "secret \"absent\" not found" },
		{ "{\"env\":[{\"name\":\"X\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"cm\","
		  "\"key\":\"k\"}}}]}",
		  "couldn't find key k in ConfigMap ns/cm" },
	};
	_cleanup_arena_ struct arena *a = arena_new();
	struct env_source src = source(a);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct env_list env;
		struct err *e = env_of_container(a, &src, parse(a, rows[i].container), &env);

		assert_non_null(e);
		assert_str(err_msg(e), rows[i].message);
		err_free(e);
	}
}

TEST(service_variables)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct env_source src = source(a);
	struct env_list env;

	src.services = parse(a, "[{\"metadata\":{\"name\":\"my-db\"},\"spec\":{\"clusterIP\":"
				"\"10.96.0.9\",\"ports\":[{\"name\":\"sql\",\"port\":5432}]}},"
				"{\"metadata\":{\"name\":\"headless\"},\"spec\":{\"clusterIP\":"
				"\"None\",\"ports\":[{\"port\":1}]}}]");
	assert_no_err(env_of_container(a, &src, parse(a, "{}"), &env));
	assert_str(joined(a, &env),
		   "MY_DB_SERVICE_HOST=10.96.0.9 MY_DB_SERVICE_PORT=5432 "
		   "MY_DB_PORT=tcp://10.96.0.9:5432 MY_DB_SERVICE_PORT_SQL=5432 "
		   "MY_DB_PORT_5432_TCP=tcp://10.96.0.9:5432 MY_DB_PORT_5432_TCP_PROTO=tcp "
		   "MY_DB_PORT_5432_TCP_PORT=5432 MY_DB_PORT_5432_TCP_ADDR=10.96.0.9");
}

TEST(downward_fields)
{
	static const struct {
		const char *path, *value;
	} rows[] = {
		{ "metadata.name", "web" },
		{ "metadata.labels['b']", "two\"q" },
		{ "metadata.labels['none']", "" },
		{ "metadata.annotations['k/x']", "v" },
		{ "metadata.labels", "a=\"1\"\nb=\"two\\\"q\"" },
		{ "spec.serviceAccountName", "sa" },
		{ "status.hostIP", "10.0.0.1" },
	};
	_cleanup_arena_ struct arena *a = arena_new();
	struct env_source src = source(a);
	struct str v;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_no_err(downward_field(a, &src, str_from(rows[i].path), &v));
		assert_str(v, rows[i].value);
	}
	assert_err(downward_field(a, &src, STR("spec.nonsense"), &v), ERR_INVALID);
}

TEST(downward_resources)
{
	static const struct {
		const char *ref, *value;
	} rows[] = {
		{ "{\"resource\":\"limits.memory\"}", "67108864" },
		{ "{\"resource\":\"limits.memory\",\"divisor\":\"1Mi\"}", "64" },
		{ "{\"resource\":\"requests.cpu\"}", "1" },
		{ "{\"resource\":\"requests.cpu\",\"divisor\":\"1m\"}", "250" },
		{ "{\"resource\":\"limits.cpu\"}", "2" },
		{ "{\"resource\":\"requests.memory\"}", "0" },
	};
	_cleanup_arena_ struct arena *a = arena_new();
	struct env_source src = source(a);
	const struct json *c = json_idx(json_at(src.pod, "spec.containers"), 0);
	struct str v;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_no_err(downward_resource(a, &src, parse(a, rows[i].ref), c, &v));
		assert_str(v, rows[i].value);
	}
}

TEST_MAIN(T(expand_table), T(container_env), T(missing_references), T(service_variables),
	  T(downward_fields), T(downward_resources))
