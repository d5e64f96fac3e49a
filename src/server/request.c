/* SPDX-License-Identifier: Apache-2.0 */
#include "server/request.h"

#include "api/gvk.h"
#include "base/arena.h"
#include "server/server.h"
#include "json/json.h"

/* upstream's */
#define WARNINGS_CHARS 4096
#define WARNING_CHARS  256

static const struct {
	enum verb verb;
	const char *name;
} verb_names[] = {
	{ VERB_GET, "get" },       { VERB_LIST, "list" },
	{ VERB_WATCH, "watch" },   { VERB_CREATE, "create" },
	{ VERB_UPDATE, "update" }, { VERB_PATCH, "patch" },
	{ VERB_DELETE, "delete" }, { VERB_DELETECOLLECTION, "deletecollection" },
};

struct str verb_name(enum verb v)
{
	for (size_t i = 0; i < ARRAY_LEN(verb_names); i++) {
		if (verb_names[i].verb == v)
			return str_from(verb_names[i].name);
	}
	return STR_EMPTY;
}

bool user_in_group(const struct user_info *u, struct str group)
{
	for (size_t i = 0; i < u->n_groups; i++) {
		if (str_eq(u->groups[i], group))
			return true;
	}
	return false;
}

struct json *user_to_json(struct arena *a, const struct user_info *u)
{
	struct json *j = json_object(a);

	json_set_str(a, j, "username", u->name);
	if (!str_empty(u->uid))
		json_set_str(a, j, "uid", u->uid);
	if (u->n_groups) {
		struct json *groups = json_sub_array(a, j, "groups");

		for (size_t i = 0; i < u->n_groups; i++)
			json_push(groups, json_str(a, u->groups[i]));
	}
	if (u->n_extra) {
		struct json *extra = json_sub(a, j, "extra");

		for (size_t i = 0; i < u->n_extra; i++) {
			struct json *values = json_array(a);

			for (size_t k = 0; k < u->extra[i].n_values; k++)
				json_push(values, json_str(a, u->extra[i].values[k]));
			json_set_s(a, extra, u->extra[i].key, values);
		}
	}
	return j;
}

struct api_request *request_local(struct apiserver *s, struct arena *a, const struct resource *res,
				  const struct resource_version *v, enum verb verb, struct str ns,
				  struct str name)
{
	static const struct str groups[] = { STR_INIT("system:masters"),
					     STR_INIT("system:authenticated") };
	struct api_request *rq = arena_new_obj(a, struct api_request);

	*rq = (struct api_request){
		.server = s,
		.arena = a,
		.now = wall_now(),
		.user = { .name = STR("system:apiserver"), .groups = groups, .n_groups = 2 },
		.is_resource = true,
		.group = res->group,
		.version = v->version,
		.plural = res->plural,
		.ns = ns,
		.name = name,
		.verb = verb,
		.res = res,
		.v = v,
		.opt = { .grace = -1 },
	};
	return rq;
}

/* Characters of a text in UTF-8, and where the first max of them end. */
static size_t warning_chars(struct str s, size_t max, size_t *ret_bytes)
{
	size_t n = 0;

	*ret_bytes = s.n;
	for (size_t i = 0; i < s.n; i++) {
		if (((unsigned char)s.p[i] & 0xc0) == 0x80)
			continue;
		if (n++ == max)
			*ret_bytes = i;
	}
	return n;
}

static void warning_add(struct api_request *rq, struct str text)
{
	size_t cut, n = warning_chars(text, WARNING_CHARS, &cut);

	if (rq->warnings_cut && n > WARNING_CHARS) {
		text = str_sub(text, 0, cut);
		n = WARNING_CHARS;
	}
	json_for_each(it, rq->warnings)
	{
		if (str_eq(json_as_str(it.val), text))
			return;
	}
	json_push(rq->warnings, json_str(rq->arena, text));
	rq->warned += n;
}

void request_warn(struct api_request *rq, const char *fmt, ...)
{
	struct json *all;
	va_list ap;
	struct str text;

	if (rq->warnings_cut && rq->warned >= WARNINGS_CHARS)
		return;
	va_start(ap, fmt);
	text = arena_vfmt(rq->arena, fmt, ap);
	va_end(ap);
	if (!rq->warnings)
		rq->warnings = json_array(rq->arena);
	warning_add(rq, text);
	if (rq->warned <= WARNINGS_CHARS || rq->warnings_cut)
		return;
	all = rq->warnings;
	rq->warnings = json_array(rq->arena);
	rq->warnings_cut = true;
	rq->warned = 0;
	json_for_each(it, all) warning_add(rq, json_as_str(it.val));
}

struct str request_api_version(const struct api_request *rq)
{
	return resource_api_version(rq->arena, rq->res, rq->v);
}

struct str request_sub(const struct api_request *rq)
{
	return rq->subres ? rq->subres->name : STR_EMPTY;
}
