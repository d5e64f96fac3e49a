/* SPDX-License-Identifier: Apache-2.0 */
#include "testkit/test.h"

#include "api/obj.h"
#include "api/selector.h"
#include "json/json.h"

TEST(label_selector_text)
{
	static const struct {
		const char *in, *text, *err;
	} rows[] = {
		{ "", "", NULL },
		{ "a=b", "a=b", NULL },
		{ "a==b,c!=d", "a==b,c!=d", NULL },
		{ "c , !b,a", "a,!b,c", NULL },
		{ "a in (y, x)", "a in (x,y)", NULL },
		{ "a notin (x)", "a notin (x)", NULL },
		{ "a in ()", "a in ()", NULL },
		{ "a in (,b)", "a in (,b)", NULL },
		{ "in=notin", "in=notin", NULL },
		{ "a=", "a=", NULL },
		{ "a>5,b<7", "a>5,b<7", NULL },
		{ "a in", NULL, "unable to parse requirement: found '' expected: '('" },
		{ "a in (b", NULL, "unable to parse requirement: found '', expected: ',' or ')'" },
		{ "a=b,", NULL, "found '', expected: identifier after ','" },
		{ ",", NULL, "found ',', expected: !, identifier, or 'end of string'" },
		{ "a b", NULL,
		  "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, "
		  "lt" },
		{ "a=b c", NULL, "found 'c', expected: ',' or 'end of string'" },
		{ "a=(", NULL, "unable to parse requirement: found '(', expected: identifier" },
		{ "a>x", NULL,
		  "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' "
		  "operators, the value must be an integer" },
		{ "-bad=x", NULL,
		  "unable to parse requirement: <nil>: Invalid value: \"-bad\": name part must "
		  "consist of alphanumeric characters, '-', '_' or '.', and must start and end "
		  "with "
		  "an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex "
		  "used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')" },
		{ "app=foo_", NULL,
		  "unable to parse requirement: values[0][app]: Invalid value: \"foo_\": a valid "
		  "label must be an empty string or consist of alphanumeric characters, '-', '_' "
		  "or "
		  "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
		  "'my_value',  or '12345', regex used for validation is "
		  "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct selector *s = NULL;
		_cleanup_err_ struct err *e = label_selector_parse(a, str_from(rows[i].in), &s);

		if (rows[i].err) {
			assert_non_null(e);
			assert_true(err_is(e, ERR_BAD_REQUEST));
			assert_str(err_msg(e), rows[i].err);
			continue;
		}
		if (e)
			fail_msg("'%s': %.*s", rows[i].in, STR_ARG(err_msg(e)));
		assert_str(selector_format(a, s), rows[i].text);
	}
}

TEST(label_selector_matching)
{
	static const struct {
		const char *sel, *labels;
		bool match;
	} rows[] = {
		{ "", "{}", true },
		{ "a=b", "{\"a\":\"b\"}", true },
		{ "a=b", "{\"a\":\"c\"}", false },
		{ "a=b", "{}", false },
		{ "a=", "{\"a\":\"\"}", true },
		{ "a=", "{}", false },
		{ "a!=b", "{}", true },
		{ "a!=b", "{\"a\":\"b\"}", false },
		{ "a notin (b,c)", "{\"a\":\"d\"}", true },
		{ "a in (b,c)", "{\"a\":\"c\"}", true },
		{ "a", "{\"a\":\"\"}", true },
		{ "!a", "{\"a\":\"\"}", false },
		{ "!a", "{\"b\":\"\"}", true },
		{ "a>5", "{\"a\":\"6\"}", true },
		{ "a>5", "{\"a\":\"x\"}", false },
		{ "a<5,b", "{\"a\":\"4\",\"b\":\"\"}", true },
		{ "a<5,b", "{\"a\":\"4\"}", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *labels, *o = json_object(a);
		_cleanup_obj_ const struct obj *obj = NULL;
		struct selector *s;

		assert_no_err(label_selector_parse(a, str_from(rows[i].sel), &s));
		assert_no_err(json_parse(a, str_from(rows[i].labels), &labels));
		json_set_at(a, o, "metadata.labels", json_copy(a, labels));
		obj = obj_new(o, (struct rev){ 1 }, 0, NULL, 0);
		if (selector_matches(s, labels) != rows[i].match ||
		    selector_matches_obj_labels(s, obj) != rows[i].match)
			fail_msg("'%s' on %s", rows[i].sel, rows[i].labels);
	}
}

TEST(label_selector_json)
{
	static const struct {
		const char *json, *text;
	} rows[] = {
		{ "{}", "" },
		{ "{\"matchLabels\":{\"b\":\"1\",\"a\":\"2\"}}", "a=2,b=1" },
		{ "{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\",\"values\":[\"x\"]},"
		  "{\"key\":\"b\",\"operator\":\"Exists\"},"
		  "{\"key\":\"c\",\"operator\":\"DoesNotExist\"}]}",
		  "a in (x),b,!c" },
	};
	_cleanup_arena_ struct arena *a = arena_new();
	struct selector *s;
	struct json *j;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_no_err(json_parse(a, str_from(rows[i].json), &j));
		assert_no_err(label_selector_from_json(a, j, &s));
		assert_str(selector_format(a, s), rows[i].text);
	}
	assert_no_err(label_selector_from_json(a, NULL, &s));
	assert_false(selector_matches(s, json_object(a)));
	assert_false(selector_empty(s));
	assert_no_err(json_parse(
		a, STR("{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Foo\"}]}"), &j));
	assert_err(label_selector_from_json(a, j, &s), ERR_BAD_REQUEST);
	assert_no_err(json_parse(a, STR("{\"x\":\"y\"}"), &j));
	assert_true(selector_matches(label_selector_from_map(a, j), j));
}

TEST(field_selector)
{
	static const struct {
		const char *in, *err;
		bool match;
	} rows[] = {
		{ "", NULL, true },
		{ "metadata.name=n", NULL, true },
		{ "metadata.name==n,metadata.namespace=s", NULL, true },
		{ "metadata.name!=n", NULL, false },
		{ "spec.x=a\\,b", NULL, true },
		{ "spec.x=a\\=b", NULL, false },
		{ "spec.y=", NULL, true },
		{ "xx", "invalid selector: 'xx'; can't understand 'xx'", false },
		{ "a=b=c", "invalid field selector: unescaped character in value: 61", false },
		{ "a=\\b", "invalid field selector: invalid escape sequence: \\b", false },
	};
	_cleanup_arena_ struct arena *a = arena_new();
	struct obj_pair fields[] = { { STR("spec.x"), STR("a,b") } };
	_cleanup_obj_ const struct obj *o = NULL;
	struct json *j;

	assert_no_err(
		json_parse(a, STR("{\"metadata\":{\"name\":\"n\",\"namespace\":\"s\"}}"), &j));
	o = obj_new(j, (struct rev){ 1 }, 0, fields, 1);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct selector *s;
		_cleanup_err_ struct err *e = field_selector_parse(a, str_from(rows[i].in), &s);

		if (rows[i].err) {
			assert_non_null(e);
			assert_str(err_msg(e), rows[i].err);
			continue;
		}
		assert_null(e);
		if (selector_matches_obj_fields(s, o) != rows[i].match)
			fail_msg("'%s'", rows[i].in);
	}
}

TEST(required_value)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct selector *s;

	assert_no_err(field_selector_parse(a, STR("metadata.name=x,b!=c"), &s));
	assert_str(selector_required(s, STR("metadata.name")), "x");
	assert_null(selector_required(s, STR("b")).p);
	assert_null(selector_required(s, STR("c")).p);
}

/* Time and memory grow with the number of values, not with its square. */
TEST(many_values)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *x = json_object(a), *vals, *sel = json_object(a), *labels = json_object(a);
	struct selector *s;

	json_set_str(a, x, "key", STR("k"));
	json_set_str(a, x, "operator", STR("In"));
	vals = json_sub_array(a, x, "values");
	for (int i = 0; i < 200000; i++)
		json_push(vals, json_strf(a, "%d", i % 150000));
	json_push(json_sub_array(a, sel, "matchExpressions"), x);
	assert_no_err(label_selector_from_json(a, sel, &s));
	json_set_str(a, labels, "k", STR("149999"));
	assert_true(selector_matches(s, labels));
	json_set_str(a, labels, "k", STR("150000"));
	assert_false(selector_matches(s, labels));
	assert_true(selector_format(a, s).n < 1100000);
	assert_true(arena_used(a) < 64 << 20);
}

TEST_MAIN(T(label_selector_text), T(label_selector_matching), T(label_selector_json),
	  T(field_selector), T(required_value), T(many_values))
