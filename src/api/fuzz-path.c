/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A JSONPath or regular expression in the first line, a subject (JSON or any text) behind it: paths
 * find only what is there, and finding is repeatable; what a pattern finds lies in the text.
 */

#include "api/print.h"
#include "api/regex.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/err.h"
#include "testkit/fuzz.h"
#include "json/json.h"

const char *const fuzz_seeds[] = {
	".status.conditions[?(@.type==\"Ready\")].status\n"
	"{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}",
	".spec.l[-1].a\n{\"spec\":{\"l\":[{\"a\":1},{\"a\":2}]}}",
	"{.metadata['a.b'][*]}\n{\"metadata\":{\"a.b\":[1,2]}}",
	"$.a\\.b.*\n{\"a.b\":{\"x\":1}}",
	"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$\nabc-1",
	"(?i)(a|b){1,9}\\b\\pL+?(x)\\x{41}\nabAxA",
	NULL,
};

static size_t nodes(const struct json *v)
{
	size_t n = 1;

	json_for_each(it, v) n += nodes(it.val);
	return n;
}

static void try_jsonpath(struct arena *a, struct str path, const struct json *v)
{
	struct json *found = NULL, *again = NULL;
	struct err *e = jsonpath_find(a, v, path, &found);

	ASSERT(!e || !jsonpath_is_simple(path));
	if (e) {
		err_free(e);
		return;
	}
	ASSERT(json_len(found) <= nodes(v));
	ASSERT(!jsonpath_is_simple(path) || json_len(found) <= 1);
	ASSERT(!jsonpath_find(a, v, path, &again) && json_equal(found, again));
}

static void try_regex(struct arena *a, struct str pattern, struct str text)
{
	struct str why = STR_EMPTY;
	struct regex *r = regex_new(pattern, a, &why);
	size_t start, end, from = 0;
	bool any = false;

	ASSERT(r || why.n);
	while (r && from <= text.n && regex_find(r, text, from, &start, &end)) {
		ASSERT(from <= start && start <= end && end <= text.n);
		any = true;
		from = end + (start == end);
	}
	ASSERT(!r || regex_matches(r, text) == any);
	regex_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str in = str_make((const char *)data, n), first;
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *v = NULL;
	struct err *e;

	str_cut(&in, '\n', &first);
	e = json_parse(a, in, &v);
	if (e)
		err_ignore(e, "a text for the pattern only");
	else
		try_jsonpath(a, first, v);
	try_regex(a, first, in);
	return 0;
}
