/* SPDX-License-Identifier: Apache-2.0 */

/* Results as JSON. */

#include <math.h>

#include "api/cel-value.h"
#include "base/arena.h"
#include "base/encode.h"

static struct json *cel_json(struct cel_ctx *c, const struct cel_val *v, int depth,
			     struct str *why);

static struct json *cel_json_fail(struct str *why, struct str text)
{
	*why = text;
	return NULL;
}

static struct json *cel_json_list(struct cel_ctx *c, const struct cel_val *v, int depth,
				  struct str *why)
{
	struct json *l = json_array(c->arena), *j;
	struct cel_iter it = cel_iter(v);
	struct cel_val k, e;

	while (cel_iter_next(c, &it, &k, &e)) {
		j = cel_json(c, &e, depth + 1, why);
		if (!j)
			return NULL;
		json_push(l, j);
	}
	return l;
}

static struct json *cel_json_map(struct cel_ctx *c, const struct cel_val *v, int depth,
				 struct str *why)
{
	struct json *o = json_object(c->arena), *j;
	struct cel_iter it = cel_iter(v);
	struct cel_val k, e;

	while (cel_iter_next(c, &it, &k, &e)) {
		if (k.kind != CEL_STRING)
			return cel_json_fail(why, STR("map keys must be strings"));
		j = cel_json(c, &e, depth + 1, why);
		if (!j)
			return NULL;
		json_set_s(c->arena, o, k.s, j);
	}
	return o;
}

static struct json *cel_json(struct cel_ctx *c, const struct cel_val *v, int depth, struct str *why)
{
	struct arena *a = c->arena;

	if (depth > JSON_MAX_DEPTH)
		return cel_json_fail(why, STR("value is nested too deep"));
	switch (v->kind) {
	case CEL_NULL:
		return json_null(a);
	case CEL_BOOL:
		return json_bool(a, v->b);
	case CEL_INT:
		return json_int(a, v->i);
	case CEL_UINT:
		return v->u > INT64_MAX ? json_real(a, (double)v->u) : json_int(a, (int64_t)v->u);
	case CEL_DOUBLE:
		if (isnan(v->d) || isinf(v->d))
			return cel_json_fail(why, STR("numbers must be finite"));
		return json_real(a, v->d);
	case CEL_STRING:
		return json_str(a, v->s);
	case CEL_BYTES:
		return json_str(a, base64_encode(a, v->s));
	case CEL_DURATION:
		return json_str(a, cel_duration_text(a, v->i));
	case CEL_TIMESTAMP:
		return json_str(a, cel_timestamp_text(a, v->i, v->nanos));
	case CEL_LIST:
		if (v->rep == CEL_REP_JSON)
			return json_copy(a, v->p);
		return cel_json_list(c, v, depth, why);
	case CEL_MAP:
		if (v->rep == CEL_REP_JSON)
			return json_copy(a, v->p);
		return cel_json_map(c, v, depth, why);
	case CEL_OPTIONAL:
		return v->p ? cel_json(c, v->p, depth + 1, why) : json_null(a);
	default:
		return cel_json_fail(
			why, arena_fmt(a, "unsupported type: " STR_FMT, STR_ARG(cel_kind_name(v))));
	}
}

struct json *cel_val_to_json(struct arena *a, struct cel_val v, struct str *ret_error)
{
	struct cel_run run = { .arena = a };
	struct cel_ctx c = { .run = &run, .arena = a, .limit = UINT64_MAX };
	struct str why = STR_EMPTY;
	struct json *j = cel_json(&c, &v, 0, &why);

	if (!j && ret_error)
		*ret_error = why;
	return j;
}
