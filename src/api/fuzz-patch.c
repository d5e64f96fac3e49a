/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A patch and an object, both a stranger's, parted by a line of "---". The first byte says of which
 * type the object is. No patch changes its inputs; what differences are computed turn one into the
 * other.
 */

#include "json/patch.h"

#include "api/schema.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/err.h"
#include "testkit/fuzz.h"
#include "json/json.h"

#define PART "\n---\n"
/* What a result may be larger than its inputs: copies add to it. */
#define GROWTH (4 << 20)

static const char *const types[] = {
	"io.k8s.api.core.v1.Pod",        "io.k8s.api.core.v1.Service",
	"io.k8s.api.apps.v1.Deployment", "io.k8s.api.core.v1.ConfigMap",
	"io.k8s.api.core.v1.Node",
};

const char *const fuzz_seeds[] = {
	"0[{\"op\":\"add\",\"path\":\"/a/-\",\"value\":{}},{\"op\":\"copy\",\"from\":\"/a\","
	"\"path\":\"/b\"},"
	"{\"op\":\"move\",\"from\":\"/b/0\",\"path\":\"/c~1d\"},{\"op\":\"test\",\"path\":\"/"
	"c~1d\",\"value\":1},{\"op\":\"remove\",\"path\":\"/a\"},{\"op\":\"replace\",\"path\":"
	"\"\",\"value\":null}]" PART "{\"a\":[1,2,{\"x\":[]}]}",
	"0{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"2\",\"ports\":[{"
	"\"containerPort\":80,\"$patch\":\"delete\"}]},{\"name\":\"b\",\"$patch\":\"delete\"}],"
	"\"$setElementOrder/containers\":[{\"name\":\"c\"},{\"name\":\"a\"}],"
	"\"$retainKeys\":[\"containers\"]},\"metadata\":{\"$deleteFromPrimitiveList/"
	"finalizers\":[\"x\"],\"finalizers\":[\"z\"],\"labels\":null}}" PART
	"{\"metadata\":{\"labels\":{\"l\":\"1\"},\"finalizers\":[\"x\",\"y\"]},\"spec\":{"
	"\"containers\":[{\"name\":\"a\",\"ports\":[{\"containerPort\":80}]},{\"name\":\"b\"},{"
	"\"name\":\"c\"}]}}",
	"1{\"spec\":{\"$patch\":\"replace\",\"ports\":[{\"port\":80,\"name\":\"x\"}]}}" PART
	"{\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80},{\"port\":81}]}}",
	NULL,
};

static struct schema_registry *builtin;

/* It can be read again. */
static void check_result(struct arena *a, const struct json *out, size_t in_size)
{
	struct str text = json_text(a, out);
	struct json *back = NULL;
	struct err *e = json_parse(a, text, &back);

	ASSERT(!e && json_equal(out, back));
	ASSERT(text.n <= in_size * 2 + GROWTH);
}

static void json_patch(struct arena *a, const struct json *doc, const struct json *patch,
		       size_t in_size)
{
	struct json *out = NULL, *why = NULL;
	struct err *e = json_patch_apply(a, doc, patch, &out);

	if (json_is(patch, JSON_ARRAY)) {
		struct err *told = json_patch_apply_why(a, doc, patch, &why);

		ASSERT(!e == !told);
		ASSERT(e || json_equal(out, why));
		err_free(told);
	}
	if (!e)
		check_result(a, out, in_size);
	err_free(e);
}

static void merge_patch(struct arena *a, const struct json *doc, const struct json *patch,
			size_t in_size)
{
	const struct json *once = json_merge_patch(a, doc, patch);

	check_result(a, once, in_size);
	ASSERT(json_equal(json_merge_patch(a, once, patch), once));
}

/* Members that are null cannot be had by a merge patch. */
static bool has_null_member(const struct json *v)
{
	json_for_each(it, v) if (json_is(v, JSON_OBJECT) &&
				 (json_is_null(it.val) || has_null_member(it.val))) return true;
	return false;
}

static void differences(struct arena *a, const struct json *from, const struct json *to)
{
	struct json *out = NULL;
	struct err *e = json_patch_apply(a, from, json_patch_diff(a, from, to), &out);

	ASSERT(!e);
	ASSERT(json_equal(out, to));
	if (json_is(from, JSON_OBJECT) && json_is(to, JSON_OBJECT) && !has_null_member(to))
		ASSERT(json_equal(json_merge_patch(a, from, json_merge_diff(a, from, to)), to));
}

static void strategic(struct arena *a, const struct schema *s, const struct json *doc,
		      const struct json *patch, size_t in_size)
{
	struct json *once = NULL, *twice = NULL;
	struct err *e = schema_strategic_merge(a, s, doc, patch, &once);

	if (!e) {
		check_result(a, once, in_size);
		err_free(schema_strategic_merge(a, s, once, patch, &twice));
	}
	err_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str in = str_make((const char *)data, n);
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *doc = NULL, *patch = NULL;
	const char *type = types[n ? data[0] % ARRAY_LEN(types) : 0];
	struct str before_doc, before_patch;
	size_t at;
	struct err *e;

	if (!builtin)
		builtin = schema_registry_builtin();
	in = str_skip(in, MIN(n, (size_t)1));
	at = str_find(in, STR(PART));
	e = json_parse(a, str_sub(in, 0, at), &patch);
	if (!e)
		e = json_parse(a, str_skip(in, MIN(in.n, at + sizeof(PART) - 1)), &doc);
	if (e) {
		err_free(e);
		return 0;
	}
	before_doc = json_text(a, doc);
	before_patch = json_text(a, patch);
	json_patch(a, doc, patch, n);
	merge_patch(a, doc, patch, n);
	differences(a, doc, patch);
	if (json_is(doc, JSON_OBJECT) && json_is(patch, JSON_OBJECT))
		strategic(a, schema_registry_find(builtin, str_from(type)), doc, patch, n);
	ASSERT(str_eq(json_text(a, doc), before_doc));
	ASSERT(str_eq(json_text(a, patch), before_patch));
	return 0;
}
