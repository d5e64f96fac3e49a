/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Selectors as text and as objects, one a line, against labels and fields in the last line. What
 * parses prints as text that parses to the same, which prints alike and matches alike.
 */

#include "api/selector.h"

#include "api/obj.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/err.h"
#include "testkit/fuzz.h"
#include "json/json.h"

const char *const fuzz_seeds[] = {
	"a=b,c!=d,!e,f in (x,y),g notin (,z),h>5,i<-3,j==k\n{\"a\":\"b\",\"h\":\"6\"}",
	"metadata.name=x,spec.nodeName!=a\\,b\\=c\\\\\n{\"metadata.name\":\"x\"}",
	"{\"matchLabels\":{\"a\":\"b\"},\"matchExpressions\":[{\"key\":\"k\",\"operator\":\"In\","
	"\"values\":[\"x\",\"\"]},{\"key\":\"e\",\"operator\":\"DoesNotExist\"}]}\n{\"a\":\"b\"}",
	"[{\"key\":\"k\",\"operator\":\"Gt\",\"values\":[\"5\"]}]\n{\"k\":\"7\"}",
	"example.com/in in (in, notin) , notin\n{\"notin\":\"\"}",
	NULL,
};

struct subject {
	const struct json *labels; /* may be NULL */
	const struct obj *obj;
};

static void subject_init(struct arena *a, struct str text, struct subject *ret)
{
	struct json *labels = NULL, *strings = json_object(a), *o = json_object(a);
	struct obj_pair fields[8];
	size_t n = 0;

	err_ignore(json_parse(a, text, &labels), "no labels then");
	json_for_each(it, labels)
	{
		if (!it.key.n || !json_is(it.val, JSON_STR))
			continue;
		json_set_s(a, strings, it.key, json_copy(a, it.val));
		if (n < ARRAY_LEN(fields))
			fields[n++] = (struct obj_pair){ it.key, json_as_str(it.val) };
	}
	json_set_at(a, o, "metadata.labels", json_copy(a, strings));
	*ret = (struct subject){ strings, obj_new(o, (struct rev){ 1 }, 0, fields, n) };
}

/* Whether it matches, by either form of labels. */
static bool label_match(const struct selector *s, const struct subject *on)
{
	const bool yes = selector_matches(s, on->labels);

	ASSERT(selector_matches_obj_labels(s, on->obj) == yes);
	return yes;
}

static void labels_again(struct arena *a, const struct selector *s, const struct subject *on)
{
	struct str text = selector_format(a, s);
	struct selector *again = NULL;
	struct err *e = label_selector_parse(a, text, &again);

	ASSERT(!e);
	ASSERT(str_eq(selector_format(a, again), text));
	ASSERT(label_match(s, on) == label_match(again, on));
}

static struct err *key_known(struct str key, void *ctx)
{
	return key.n > *(size_t *)ctx ? err_new(ERR_BAD_REQUEST, "longer than the text") : NULL;
}

static void field_text(struct arena *a, struct str line, const struct subject *on)
{
	struct selector *s = NULL;
	struct err *e = field_selector_parse(a, line, &s);

	if (!e) {
		ASSERT(!selector_each_key(s, key_known, &line.n));
		ASSERT(!selector_empty(s) || selector_matches_obj_fields(s, on->obj));
		(void)selector_matches_obj_fields(s, on->obj);
		(void)selector_format(a, s);
	}
	err_free(e);
}

static void try_line(struct arena *a, struct str line, const struct subject *on)
{
	struct selector *s = NULL;
	struct json *v = NULL;
	struct err *e = label_selector_parse(a, line, &s);

	if (!e)
		labels_again(a, s, on);
	err_free(e);
	field_text(a, line, on);
	e = json_parse(a, line, &v);
	if (!e) {
		e = label_selector_from_json(a, v, &s);
		if (!e && !json_is_null(v))
			labels_again(a, s, on);
		err_free(e);
		e = node_selector_from_json(a, v, &s);
		if (!e)
			(void)label_match(s, on);
		err_free(e);
		s = label_selector_from_map(a, v);
		(void)label_match(s, on);
		return;
	}
	err_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str in = str_make((const char *)data, n), line, last = STR_EMPTY, rest = in;
	_cleanup_arena_ struct arena *a = arena_new();
	struct subject on;

	while (str_split_next(&rest, '\n', &line))
		last = line;
	subject_init(a, last, &on);
	rest = in;
	while (str_split_next(&rest, '\n', &line))
		try_line(a, line, &on);
	obj_unref(on.obj);
	return 0;
}
