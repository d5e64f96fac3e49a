/* SPDX-License-Identifier: Apache-2.0 */

/* The entries of metadata.managedFields, and how an update changes them. */

#include <stdlib.h>

#include "api/fields.h"
#include "base/arena.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/apply.h"
#include "server/object.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"

#define UPDATERS_MAX 10
#define ANCIENT      "ancient-changes"

static struct err *managers_read(struct arena *a, const struct json *v, struct manager *ret)
{
	struct str op = json_str_at(v, "operation"), type = json_str_at(v, "fieldsType");

	if (!json_is(v, JSON_OBJECT) || (!str_eqz(op, "Apply") && !str_eqz(op, "Update")) ||
	    !str_eqz(type, "FieldsV1") || str_empty(json_str_at(v, "apiVersion")))
		return err_new(ERR_BAD_REQUEST, "managedFields: malformed entry");
	*ret = (struct manager){
		.name = json_str_at(v, "manager"),
		.sub = json_str_at(v, "subresource"),
		.api_version = json_str_at(v, "apiVersion"),
		.time = json_str_at(v, "time"),
		.apply = str_eqz(op, "Apply"),
	};
	return fields_from_json(a, json_get(v, "fieldsV1"), &ret->set);
}

struct err *managers_parse(struct arena *a, const struct json *v, struct managers *ret)
{
	*ret = (struct managers){ .a = a, .cap = json_len(v) + 4 };
	ret->v = arena_array(a, ret->cap, sizeof(*ret->v));
	if (v && !json_is(v, JSON_ARRAY))
		return err_new(ERR_BAD_REQUEST, "managedFields: not a list");
	json_for_each(it, v) TRY(managers_read(a, it.val, &ret->v[ret->n++]));
	return NULL;
}

static int managers_compare(const void *p, const void *q)
{
	const struct manager *x = p, *y = q;
	int c = (int)y->apply - (int)x->apply;

	if (!c)
		c = str_cmp(x->time, y->time);
	if (!c)
		c = str_cmp(x->name, y->name);
	if (!c)
		c = str_cmp(x->api_version, y->api_version);
	return c ? c : str_cmp(x->sub, y->sub);
}

static struct json *managers_entry(struct arena *a, const struct manager *m)
{
	struct json *o = json_object(a);

	json_set_str(a, o, "manager", m->name);
	json_set_str(a, o, "operation", m->apply ? STR("Apply") : STR("Update"));
	json_set_str(a, o, "apiVersion", m->api_version);
	if (!str_empty(m->time))
		json_set_str(a, o, "time", m->time);
	json_set_str(a, o, "fieldsType", STR("FieldsV1"));
	json_set(a, o, "fieldsV1", fields_to_json(a, m->set));
	if (!str_empty(m->sub))
		json_set_str(a, o, "subresource", m->sub);
	return o;
}

struct json *managers_format(struct managers *m)
{
	struct json *out = json_array(m->a);

	qsort(m->v, m->n, sizeof(*m->v), managers_compare);
	for (size_t i = 0; i < m->n; i++) {
		if (!fields_empty(m->v[i].set))
			json_push(out, managers_entry(m->a, &m->v[i]));
	}
	return json_len(out) ? out : NULL;
}

struct manager *managers_find(const struct managers *m, const struct manager *id)
{
	for (size_t i = 0; i < m->n; i++) {
		struct manager *o = &m->v[i];

		if (o->apply == id->apply && str_eq(o->name, id->name) && str_eq(o->sub, id->sub) &&
		    (o->apply || str_eq(o->api_version, id->api_version)))
			return o;
	}
	return NULL;
}

struct manager *managers_sub(struct managers *m, const struct manager *id)
{
	struct manager *o = managers_find(m, id);

	if (o)
		return o;
	if (m->n == m->cap) {
		struct manager *v = arena_array(m->a, m->cap * 2, sizeof(*v));

		memcpy(v, m->v, m->n * sizeof(*v));
		m->v = v;
		m->cap *= 2;
	}
	o = &m->v[m->n++];
	*o = *id;
	o->set = fields_new(m->a);
	return o;
}

void managers_lose(struct managers *m, const struct manager *except, const struct fields_diff *diff)
{
	struct fields *lost = fields_union(m->a, diff->added, diff->modified);

	lost = fields_union(m->a, lost, diff->removed);
	for (size_t i = 0; i < m->n; i++) {
		if (&m->v[i] != except)
			m->v[i].set = fields_difference(m->a, m->v[i].set, lost);
	}
}

void managers_cap(struct managers *m)
{
	for (;;) {
		struct manager *oldest = NULL, *into, id;
		size_t n = 0;

		for (size_t i = 0; i < m->n; i++) {
			struct manager *o = &m->v[i];

			if (o->apply || fields_empty(o->set) || str_eqz(o->name, ANCIENT))
				continue;
			n++;
			if (!oldest || str_cmp(o->time, oldest->time) < 0)
				oldest = o;
		}
		if (n <= UPDATERS_MAX)
			return;
		id = (struct manager){ .name = STR(ANCIENT), .api_version = oldest->api_version };
		id.time = oldest->time;
		n = (size_t)(oldest - m->v);
		into = managers_sub(m, &id);
		oldest = &m->v[n];
		into->time = oldest->time;
		into->set = fields_union(m->a, into->set, oldest->set);
		oldest->set = fields_new(m->a);
	}
}

bool managers_same(const struct json *x, const struct json *y)
{
	if (json_len(x) != json_len(y))
		return false;
	json_for_each(it, x)
	{
		const struct json *other = json_idx(y, it.i);

		if (json_len(it.val) != json_len(other))
			return false;
		json_for_each(f, it.val)
		{
			if (!str_eqz(f.key, "time") && !json_equal(f.val, json_get_s(other, f.key)))
				return false;
		}
	}
	return true;
}

struct str manager_text(struct arena *a, const struct manager *m, struct str api_version)
{
	struct str text = arena_fmt(a, "\"" STR_FMT "\"", STR_ARG(m->name));

	if (!str_empty(m->sub))
		text = arena_fmt(a, STR_FMT " with subresource \"" STR_FMT "\"", STR_ARG(text),
				 STR_ARG(m->sub));
	if (!m->apply)
		text = arena_fmt(a, STR_FMT " using " STR_FMT, STR_ARG(text), STR_ARG(api_version));
	return text;
}

/* ---- requests */

/* The query's fieldManager, or what is before the slash in User-Agent. */
static struct str manager_name(const struct api_request *rq)
{
	struct str agent = STR_EMPTY, name;

	if (!str_empty(rq->opt.field_manager))
		return rq->opt.field_manager;
	if (rq->http)
		agent = http_headers_find(&rq->http->headers, "user-agent");
	else
		return STR("kube-apiserver");
	str_cut(&agent, '/', &name);
	return str_empty(name) ? STR("unknown") : str_sub(name, 0, MIN(name.n, (size_t)128));
}

struct manager manager_of(struct api_request *rq, bool apply)
{
	/* what owns the replicas through their scale is recorded as the object's, without a time */
	bool scale = rq->subres && str_eqz(rq->subres->name, "scale");

	return (struct manager){
		.name = manager_name(rq),
		.sub = request_sub(rq),
		.api_version = scale ? request_api_version(rq) : object_api_version(rq),
		.time = scale ? STR_EMPTY : wall_format(rq->arena, rq->now),
		.apply = apply,
	};
}

static void managed_strip_metadata(struct fields *f)
{
	static const char *const nobodys[] = {
		"f:name",        "f:namespace",  "f:creationTimestamp", "f:selfLink",       "f:uid",
		"f:clusterName", "f:generation", "f:managedFields",     "f:resourceVersion"
	};
	struct fields *meta;

	if (!fields_find(f, STR("f:metadata")))
		return;
	meta = fields_sub(NULL, f, STR("f:metadata"));
	meta->owned = false;
	for (size_t i = 0; i < ARRAY_LEN(nobodys); i++)
		fields_drop(meta, str_from(nobodys[i]));
	if (fields_empty(meta))
		fields_drop(f, STR("f:metadata"));
}

void managed_strip(const struct api_request *rq, struct fields *f)
{
	fields_drop(f, STR("f:apiVersion"));
	fields_drop(f, STR("f:kind"));
	managed_strip_metadata(f);
	if (rq->subres && str_eqz(rq->subres->name, "status")) {
		fields_drop(f, STR("f:spec"));
		if (rq->res->custom)
			fields_drop(f, STR("f:metadata"));
	} else if (subresource_find(rq->v, STR("status"))) {
		fields_drop(f, STR("f:status"));
	}
}

void managed_strip_diff(const struct api_request *rq, struct fields_diff *d)
{
	managed_strip(rq, d->added);
	managed_strip(rq, d->modified);
	managed_strip(rq, d->removed);
}

/* `managedFields: []` and `[{}]` end the tracking. */
static bool managed_resets(const struct json *sent)
{
	return json_is(sent, JSON_ARRAY) &&
	       (!json_len(sent) || (json_len(sent) == 1 && !json_len(json_idx(sent, 0))));
}

/* What the client sent, when it is sound and says something; else what is there. */
static void managed_base(struct api_request *rq, const struct json *sent, const struct json *live,
			 struct managers *ret)
{
	struct err *e;

	/* subresources do not take it from the client */
	if (json_len(sent) && !rq->subres && sent != live && !json_equal(sent, live)) {
		e = managers_parse(rq->arena, sent, ret);
		if (!e)
			return;
		err_ignore(e, "as upstream: malformed managedFields in an update are ignored");
	}
	e = managers_parse(rq->arena, live, ret);
	if (e) {
		err_ignore(e, "nobody is known to own anything");
		*ret = (struct managers){ .a = rq->arena, .cap = 4 };
		ret->v = arena_array(rq->arena, ret->cap, sizeof(*ret->v));
	}
}

/* The request's manager gets what it added and changed, and everyone loses what went. */
static struct json *managed_update(struct api_request *rq, struct managers *m,
				   struct fields_diff *diff)
{
	struct manager id = manager_of(rq, false), *self = managers_sub(m, &id);

	managers_lose(m, self, diff);
	self->set = fields_difference(rq->arena, self->set, diff->removed);
	if (!fields_empty(diff->added) || !fields_empty(diff->modified)) {
		self->set = fields_union(rq->arena, self->set, diff->added);
		self->set = fields_union(rq->arena, self->set, diff->modified);
		self->time = id.time;
	}
	managers_cap(m);
	return managers_format(m);
}

static void managed_compare(struct api_request *rq, const struct json *old, const struct json *obj,
			    struct fields_diff *ret)
{
	fields_compare(rq->arena, resource_schema(rq->server->registry, rq->res, rq->v), old, obj,
		       ret);
	managed_strip_diff(rq, ret);
}

struct json *managed_create(struct api_request *rq, const struct json *obj)
{
	const struct json *sent = json_path(obj, "metadata", "managedFields", NULL);
	struct fields_diff diff;
	struct managers m;

	managed_base(rq, managed_resets(sent) ? NULL : sent, NULL, &m);
	managed_compare(rq, json_object(rq->arena), obj, &diff);
	return managed_update(rq, &m, &diff);
}

struct json *managed_track(struct api_request *rq, const struct json *obj, const struct json *old)
{
	const struct json *sent = json_path(obj, "metadata", "managedFields", NULL);
	const struct json *live = json_path(old, "metadata", "managedFields", NULL);
	struct fields_diff diff;
	struct managers m;

	if (rq->subres)
		sent = NULL;
	if (managed_resets(sent) || (!live && !sent))
		return NULL;
	managed_compare(rq, old, obj, &diff);
	if (fields_empty(diff.added) && fields_empty(diff.modified) && fields_empty(diff.removed) &&
	    (!sent || json_equal(sent, live)))
		return json_dup(rq->arena, live);
	managed_base(rq, sent, live, &m);
	return m.n ? managed_update(rq, &m, &diff) : NULL;
}

void managed_set(struct arena *a, struct json *obj, const struct json *managed)
{
	struct json *meta = json_sub(a, obj, "metadata");

	if (managed)
		json_set(a, meta, "managedFields", json_dup(a, managed));
	else
		json_delz(meta, "managedFields");
}
