/* SPDX-License-Identifier: Apache-2.0 */
#include "testkit/test.h"

#include "api/meta.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *j;

	assert_no_err(json_parse(a, str_from(text), &j));
	return j;
}

TEST(meta_reading)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *o = parse(a, "{\"metadata\":{\"name\":\"n\",\"namespace\":\"s\",\"uid\":\"u\","
				  "\"resourceVersion\":\"5\",\"labels\":{\"a\":\"b\"},"
				  "\"ownerReferences\":[{\"uid\":\"x\"},"
				  "{\"uid\":\"y\",\"controller\":true}]}}");

	assert_str(meta_name(o), "n");
	assert_str(meta_namespace(o), "s");
	assert_str(meta_uid(o), "u");
	assert_str(meta_rv(o), "5");
	assert_str(meta_label(o, "a"), "b");
	assert_str(meta_annotation(o, "a"), "");
	assert_true(meta_controlled_by(o, STR("y")));
	assert_false(meta_controlled_by(o, STR("x")));
	assert_false(meta_deleting(o));
	assert_str(meta_name(NULL), "");
	assert_null(meta_controller(NULL));
}

TEST(meta_changing)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *o = json_object(a);
	struct json *owner = parse(a, "{\"metadata\":{\"name\":\"rs\",\"uid\":\"u1\"}}");

	meta_set_label(a, o, "a", STR("1"));
	meta_set_label(a, o, "a", STR("2"));
	meta_set_annotation(a, o, "b", STR("3"));
	assert_true(meta_add_finalizer(a, o, STR("f")));
	assert_false(meta_add_finalizer(a, o, STR("f")));
	meta_set_controller(a, o, owner, STR("apps/v1"), STR("ReplicaSet"));
	meta_set_controller(a, o, owner, STR("apps/v1"), STR("ReplicaSet"));
	assert_str(json_text(a, o),
		   "{\"metadata\":{\"labels\":{\"a\":\"2\"},\"annotations\":{\"b\":\"3\"},"
		   "\"finalizers\":[\"f\"],\"ownerReferences\":[{\"apiVersion\":\"apps/v1\","
		   "\"kind\":\"ReplicaSet\",\"name\":\"rs\",\"uid\":\"u1\",\"controller\":true,"
		   "\"blockOwnerDeletion\":true}]}}");
	assert_true(meta_del_finalizer(a, o, STR("f")));
	assert_false(meta_del_finalizer(a, o, STR("f")));
	assert_null(json_at(o, "metadata.finalizers"));
}

TEST(conditions)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *st = json_object(a);
	struct wall t1 = { NS_PER_SEC }, t2 = { 2 * NS_PER_SEC };

	assert_true(condition_set(a, st, "Ready", "False", STR("Why"), STR("text"), t1));
	assert_false(condition_set(a, st, "Ready", "False", STR("Why"), STR("text"), t2));
	assert_true(condition_set(a, st, "Ready", "False", STR("Why"), STR("other"), t2));
	assert_str(json_as_str(json_get(condition_find(st, "Ready"), "lastTransitionTime")),
		   "1970-01-01T00:00:01Z");
	assert_false(condition_is_true(st, "Ready"));
	assert_true(condition_set(a, st, "Ready", "True", STR_EMPTY, STR_EMPTY, t2));
	assert_true(condition_is_true(st, "Ready"));
	assert_str(json_text(a, st), "{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\","
				     "\"lastTransitionTime\":\"1970-01-01T00:00:02Z\"}]}");
	assert_true(condition_del(st, "Ready"));
	assert_false(condition_del(st, "Ready"));
}

TEST(keys)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str ns, name;

	assert_str(meta_key(a, STR("s"), STR("n")), "s/n");
	assert_str(meta_key(a, STR_EMPTY, STR("n")), "n");
	meta_key_split(STR("s/n"), &ns, &name);
	assert_str(ns, "s");
	assert_str(name, "n");
	meta_key_split(STR("n"), &ns, &name);
	assert_str(ns, "");
	assert_str(name, "n");
}

TEST_MAIN(T(meta_reading), T(meta_changing), T(conditions), T(keys))
