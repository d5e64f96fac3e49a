/* SPDX-License-Identifier: Apache-2.0 */

/* What is read as YAML, and whatever is JSON, is written as YAML that reads as the same value. */

#include "json/yaml.h"

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/err.h"
#include "testkit/fuzz.h"
#include "json/json.h"

const char *const fuzz_seeds[] = {
	"apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n  labels: {a: \"1\", b: yes}\n"
	"spec:\n  containers:\n  - name: c\n    args: [\"-c\", 'it''s', 0x1F, 0o17, 1_000]\n",
	"a: &x {k: v}\nb: {<<: *x, n: ~}\nc: [*x, *x]\n---\n- |\n  two\n  lines\n- >-\n  folded\n",
	"\"\\u0000\\x41\\n\": !!str 12\n? k\n: 2026-01-01T00:00:00Z\n",
	"{\"a\": [1, 2.5, null, true, \"x: y # z\", \" \\ttab\", \"a\\nb \\n\"]}",
	"a: 1\na: 2\n# comment\nb: .inf\nc: -.5\n",
	NULL,
};

static void round_trip(struct arena *a, const struct json *v)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct json *back = NULL;
	struct err *e;

	yaml_write(&b, v);
	e = yaml_parse(a, buf_str(&b), &back);
	ASSERT(!e);
	ASSERT(json_is_null(v) ? json_is_null(back) : json_equal(v, back));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str in = str_make((const char *)data, n);
	struct json *docs = NULL, *v = NULL, *dups = NULL;
	struct err *e = yaml_parse_all(a, in, &docs);

	if (!e)
		json_for_each(it, docs) round_trip(a, it.val);
	err_free(e);
	e = yaml_parse_dups(a, in, &v, &dups);
	if (!e)
		round_trip(a, v);
	err_free(e);
	e = json_parse(a, in, &v);
	if (!e)
		round_trip(a, v);
	err_free(e);
	return 0;
}
