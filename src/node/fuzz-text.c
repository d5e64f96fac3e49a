/* SPDX-License-Identifier: Apache-2.0 */

/* Text that Pods give us: log lines, $(VAR) references, paths in volumes. */

#include "base/arena.h"
#include "base/assert.h"
#include "node/atomic-writer.h"
#include "node/env.h"
#include "node/logs.h"
#include "testkit/fuzz.h"

const char *const fuzz_seeds[] = {
	"2026-01-01T00:00:01.000000001Z stdout F some text",
	"2026-01-01T00:00:01+02:00 stderr P ",
	"a $(ONE) $$(TWO) $(unknown) $$$(ONE) $(",
	"dir/../file",
	"..data/key",
	NULL,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new();
	struct str in = str_make((const char *)data, n), out;
	struct env_list env = { 0 };
	struct log_line line;

	if (log_line_parse(in, &line))
		ASSERT(line.text.n <= in.n && line.stamp.n <= in.n);
	env_set(a, &env, STR("ONE"), STR("1"));
	out = env_expand(a, &env, in);
	ASSERT(out.n <= in.n); /* our value is shorter than any reference to it */
	if (atomic_path_ok(in))
		ASSERT(in.n && in.p[0] != '/' && !str_has_suffix(in, STR("/..")));
	arena_free(a);
	return 0;
}
