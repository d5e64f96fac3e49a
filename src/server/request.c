/* SPDX-License-Identifier: Apache-2.0 */
#include "server/request.h"

#include "api/gvk.h"
#include "base/arena.h"
#include "server/server.h"
#include "json/json.h"

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

void request_warn(struct api_request *rq, const char *fmt, ...)
{
	va_list ap;
	struct str text;

	va_start(ap, fmt);
	text = arena_vfmt(rq->arena, fmt, ap);
	va_end(ap);
	if (!rq->warnings)
		rq->warnings = json_array(rq->arena);
	json_for_each(it, rq->warnings)
	{
		if (str_eq(json_as_str(it.val), text))
			return;
	}
	json_push(rq->warnings, json_str(rq->arena, text));
}

struct str request_api_version(const struct api_request *rq)
{
	return resource_api_version(rq->arena, rq->res, rq->v);
}

struct str request_sub(const struct api_request *rq)
{
	return rq->subres ? rq->subres->name : STR_EMPTY;
}
