/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/api/causes.h"

#include "base/buf.h"
#include "json/json.h"

#define MAX_MESSAGES 10

void causes_init(struct causes *c, struct arena *a)
{
	c->a = a;
	c->list = json_array(a);
}

void cause_add(struct causes *c, const char *reason, struct str field, const char *fmt, ...)
{
	struct json *cause = json_object(c->a);
	va_list ap;

	va_start(ap, fmt);
	json_set_str(c->a, cause, "reason", str_from(reason));
	json_set_str(c->a, cause, "message", arena_vfmt(c->a, fmt, ap));
	json_set_str(c->a, cause, "field", field);
	va_end(ap);
	json_push(c->list, cause);
}

struct str causes_message(const struct causes *c)
{
	_cleanup_buf_ struct buf b = { 0 };
	size_t n = json_len(c->list);

	for (size_t i = 0; i < n && i < MAX_MESSAGES; i++) {
		if (i)
			buf_addz(&b, ", ");
		buf_add(&b, json_str_at(json_idx(c->list, i), "message"));
	}
	if (n > MAX_MESSAGES)
		buf_addf(&b, ", and %zu more validation errors", n - MAX_MESSAGES);
	return buf_to_arena(&b, c->a);
}
