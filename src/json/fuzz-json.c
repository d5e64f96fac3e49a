/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A text that is JSON prints, plain and pretty, as JSON of the same value, and Go's reader has
 * nothing against it either. Of a text that is none, looking for the reason ends.
 */

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/err.h"
#include "testkit/fuzz.h"
#include "json/json-error.h"
#include "json/json.h"

const char *const fuzz_seeds[] = {
	"{\"a\":[1,-2,3.5e-7,18446744073709551615,null,true,\"\\u00e9\\ud83d\\ude00\\n\"],\"b\":{}"
	"}",
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"x\",\"name\":\"y\"}}",
	"[[[[[[]]]]], {\"\": {\"\": 1e400}}, -0, -0.0, 1E+2]",
	" \"a\\u0000b\" ",
	"{\"a\":1,}",
	NULL,
};

struct keys {
	size_t n, again;
};

static void count_key(struct str path, bool again, void *ctx)
{
	struct keys *k = ctx;

	k->n++;
	k->again += again;
	ASSERT(path.n || k->n);
}

static void same_value(struct arena *a, const struct json *v, struct str text)
{
	struct json *back = NULL, *dups = NULL;
	struct err *e = json_parse_dups(a, text, &back, &dups);

	ASSERT(!e);
	ASSERT(json_equal(v, back));
	ASSERT(!json_len(dups));
	ASSERT(str_eq(json_text(a, back), json_text(a, v)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_buf_ struct buf pretty = { 0 };
	struct str in = str_make((const char *)data, n);
	struct json *v = NULL, *dups = NULL;
	struct keys keys = { 0 };
	const char *why = json_syntax_error(a, in);
	struct err *e = json_parse_dups(a, in, &v, &dups);

	if (e) {
		ASSERT(err_msg(e).n);
		err_free(e);
		return 0;
	}
	ASSERT(!why);
	json_each_key(a, in, count_key, &keys);
	ASSERT(json_len(dups) == keys.again);
	same_value(a, v, json_text(a, v));
	json_write_pretty(&pretty, v);
	same_value(a, v, buf_str(&pretty));
	ASSERT(json_equal(v, json_copy(a, v)));
	return 0;
}
