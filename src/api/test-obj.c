/* SPDX-License-Identifier: Apache-2.0 */
#include "testkit/test.h"

#include "api/obj.h"
#include "base/buf.h"
#include "base/mem.h"
#include "json/json.h"

static const char pod[] =
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"spec\":{\"a\":1},\"metadata\":{\"name\":\"p\","
	"\"namespace\":\"d\",\"resourceVersion\":\"3\",\"uid\":\"u-1\",\"labels\":{\"z\":\"1\","
	"\"app\":\"\"},\"annotations\":{\"q\\\"\":\"v\"}},\"st\\\\at\":null}";

static const struct obj *obj_sample(struct arena *a)
{
	struct obj_pair fields[] = { { STR("spec.nodeName"), STR("n1") } };
	struct json *j;

	assert_no_err(json_parse(a, str_from(pod), &j));
	return obj_new(j, (struct rev){ 7 }, 5, fields, 1);
}

TEST(obj_text)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_obj_ const struct obj *o = obj_sample(a);
	_cleanup_buf_ struct buf b = { 0 };

	obj_write(&b, o, STR("v1"), STR("Pod"));
	assert_str(
		buf_str(&b),
		"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"7\","
		"\"name\":\"p\",\"namespace\":\"d\",\"uid\":\"u-1\",\"labels\":{\"z\":\"1\","
		"\"app\":\"\"},\"annotations\":{\"q\\\"\":\"v\"}},\"spec\":{\"a\":1},"
		"\"st\\\\at\":null}");
	buf_clear(&b);
	obj_write(&b, o, STR_EMPTY, STR_EMPTY);
	assert_true(str_has_prefix(buf_str(&b), STR("{\"metadata\":{\"resourceVersion\":\"7\",")));
}

static void check_sample(const struct obj *o, uint64_t rev)
{
	assert_int_equal(o->rev.n, rev);
	assert_int_equal(o->schema_gen, 5);
	assert_str(o->ns, "d");
	assert_str(o->name, "p");
	assert_str(o->uid, "u-1");
	assert_int_equal(o->n_labels, 2);
	assert_str(o->labels[0].key, "app");
	assert_str(obj_label(o, STR("z")), "1");
	assert_non_null(obj_label(o, STR("app")).p);
	assert_null(obj_label(o, STR("none")).p);
	assert_str(obj_field(o, STR("spec.nodeName")), "n1");
	assert_str(obj_field(o, STR("metadata.name")), "p");
	assert_false(o->deleting);
}

TEST(obj_stored_form)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_obj_ const struct obj *o = obj_sample(a);
	_cleanup_obj_ const struct obj *back = NULL, *later = NULL;
	_cleanup_buf_ struct buf b = { 0 };

	check_sample(o, 7);
	obj_encode(&b, o);
	assert_no_err(obj_decode(buf_str(&b), (struct rev){ 9 }, &back));
	check_sample(back, 9);
	assert_true(str_eq(o->tail, back->tail));
	later = obj_with_rev(back, (struct rev){ 11 });
	check_sample(later, 11);
	assert_str(json_str_at(obj_tree(later), "metadata.resourceVersion"), "11");
	assert_ptr_equal(obj_tree(later), obj_tree(later));
	obj_forget_tree(later);
	assert_int_equal(json_int_at(obj_tree(later), "spec.a", 0), 1);
}

/* No cut of the stored form may do more than fail. */
TEST(obj_decode_truncated)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_obj_ const struct obj *o = obj_sample(a);
	_cleanup_buf_ struct buf b = { 0 };

	obj_encode(&b, o);
	for (size_t n = 0; n < b.n; n++) {
		_cleanup_obj_ const struct obj *cut = NULL;
		/* A heap copy, for the sanitizer to see reads past the end. */
		_cleanup_free_ char *copy = mem_alloc(n + 1);

		memcpy(copy, b.p, n);
		err_ignore(obj_decode(str_make(copy, n), o->rev, &cut), "any answer will do");
	}
	assert_err(obj_decode(STR(""), o->rev, &o), ERR_CORRUPT);
}

TEST(obj_bare_metadata)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_obj_ const struct obj *o = NULL;
	_cleanup_buf_ struct buf b = { 0 };
	struct json *j;

	assert_no_err(json_parse(a, STR("{\"x\":1}"), &j));
	o = obj_new(j, (struct rev){ 2 }, 0, NULL, 0);
	obj_write(&b, o, STR("v1"), STR("K"));
	assert_str(buf_str(&b), "{\"kind\":\"K\",\"apiVersion\":\"v1\",\"metadata\":{"
				"\"resourceVersion\":\"2\"},\"x\":1}");
}

TEST_MAIN(T(obj_text), T(obj_stored_form), T(obj_decode_truncated), T(obj_bare_metadata))
