/* SPDX-License-Identifier: Apache-2.0 */

#include "client/expectations.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

#define EXPECTATION_TIMEOUT_MS (5 * 60 * 1000)

struct expectation {
	int adds, dels;
	struct mono since;
};

void expectations_fini(struct expectations *x)
{
	map_for_each(e, &x->by_key)
		free(e->val);
	map_fini(&x->by_key);
}

void expectations_set(struct expectations *x, struct str key, int adds, int dels)
{
	struct expectation *e = map_find(&x->by_key, key);

	if (!e) {
		e = mem_new(struct expectation);
		map_put(&x->by_key, key, e);
	}
	*e = (struct expectation){ adds, dels, mono_now() };
}

void expectations_saw_add(struct expectations *x, struct str key)
{
	struct expectation *e = map_find(&x->by_key, key);

	if (e)
		e->adds--;
}

void expectations_saw_del(struct expectations *x, struct str key)
{
	struct expectation *e = map_find(&x->by_key, key);

	if (e)
		e->dels--;
}

bool expectations_met(const struct expectations *x, struct str key)
{
	const struct expectation *e = map_find(&x->by_key, key);

	return !e || (e->adds <= 0 && e->dels <= 0) ||
	       mono_ms_since(e->since) > EXPECTATION_TIMEOUT_MS;
}

void expectations_forget(struct expectations *x, struct str key)
{
	free(map_del(&x->by_key, key));
}
