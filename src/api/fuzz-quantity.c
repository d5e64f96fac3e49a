/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A quantity that parses prints in canonical form, which parses to the same value. It prints alike,
 * but for one that lost its Ki because it is no multiple of 1024 (1.5Ki: 1536, as upstream has it).
 */

#include "api/quantity.h"
#include "base/arena.h"
#include "base/assert.h"
#include "testkit/fuzz.h"

const char *const fuzz_seeds[] = {
	"100m", "2Gi", "1e3", "-1.5E-6", "0.000000001", "1.0010Ki", "9223372036854775807",
	".5n",  "1Ki", NULL,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new();
	struct quantity q, again;

	if (quantity_parse(str_make((const char *)data, n), &q)) {
		struct str text = quantity_text(a, q), other;

		ASSERT(quantity_parse(text, &again));
		ASSERT(quantity_cmp(q, again) == 0);
		other = quantity_text(a, again);
		if (again.format == q.format)
			ASSERT(str_eq(other, text));
		ASSERT(quantity_parse(other, &again));
		ASSERT(quantity_cmp(q, again) == 0);
		ASSERT(str_eq(quantity_text(a, again), other));
	}
	arena_free(a);
	return 0;
}
