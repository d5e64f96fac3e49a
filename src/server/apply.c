/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Server-side apply: the body says all that one manager wants of an object. It is merged over the
 * live object, what the manager wanted before and no longer does goes unless another one owns it,
 * and what would change under another manager's hands is a conflict.
 */

#include "server/apply.h"

#include <stdlib.h>

#include "api/fields.h"
#include "api/gvk.h"
#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/engine.h"
#include "server/errors.h"
#include "server/object.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"
#include "json/json.h"
#include "json/yaml.h"

#define LAST_APPLIED    "kubectl.kubernetes.io/last-applied-configuration"
#define ANNOTATIONS_MAX 262144

struct apply {
	struct engine_change base;
	struct json *config;
	bool force;
};

/* ---- conflicts */

struct conflicts {
	struct arena *a;
	struct str who; /* of the manager being looked at */
	struct json *paths, *causes;
};

static void conflict_path(struct str path, void *ctx)
{
	struct conflicts *c = ctx;
	struct json *cause = json_array(c->a);

	json_push(c->paths, json_str(c->a, path));
	json_push(cause, json_str(c->a, path));
	json_push(cause, json_str(c->a, c->who));
	json_push(c->causes, cause);
}

static struct err *conflict_error(const struct conflicts *c, const char *blocks)
{
	size_t n = json_len(c->causes);
	struct str path = json_as_str(json_idx(json_idx(c->causes, 0), 0));
	struct err *e;

	if (n == 1)
		e = err_new(ERR_CONFLICT,
			    "Apply failed with 1 conflict: conflict with " STR_FMT ": " STR_FMT,
			    STR_ARG(c->who), STR_ARG(path));
	else
		e = err_new(ERR_CONFLICT, "Apply failed with %zu conflicts: %s", n, blocks);
	json_for_each(it, c->causes)
	{
		struct str who = json_as_str(json_idx(it.val, 1));

		err_add_cause(e, json_as_str(json_idx(it.val, 0)), STR("FieldManagerConflict"),
			      arena_fmt(c->a, "conflict with " STR_FMT, STR_ARG(who)));
	}
	return e;
}

static int conflict_compare(const void *p, const void *q)
{
	return str_cmp((*(const struct manager *const *)p)->name,
		       (*(const struct manager *const *)q)->name);
}

/* What of changed others own, but for what is allowed to change. */
static struct err *apply_conflicts(const struct managers *m, const struct manager *self,
				   const struct fields *changed, const struct fields *allowed)
{
	struct conflicts c = { .a = m->a, .causes = json_array(m->a) };
	const struct manager **by_name = arena_array(m->a, m->n + 1, sizeof(const void *));
	_cleanup_buf_ struct buf b = { 0 };
	struct str last = STR_EMPTY;

	for (size_t i = 0; i < m->n; i++)
		by_name[i] = &m->v[i];
	qsort(by_name, m->n, sizeof(const void *), conflict_compare);
	for (size_t i = 0; i < m->n; i++) {
		struct fields *set;

		if (by_name[i] == self)
			continue;
		set = fields_intersection(m->a, by_name[i]->set, changed);
		set = fields_difference(m->a, set, allowed);
		if (fields_empty(set))
			continue;
		c.who = last = manager_text(m->a, by_name[i], by_name[i]->api_version);
		c.paths = json_array(m->a);
		fields_each(m->a, set, conflict_path, &c);
		buf_addf(&b, "%sconflicts with " STR_FMT ":", b.n ? "\n" : "", STR_ARG(c.who));
		json_for_each(it, c.paths)
			buf_addf(&b, "\n- " STR_FMT, STR_ARG(json_as_str(it.val)));
	}
	c.who = last;
	return json_len(c.causes) ? conflict_error(&c, b.p) : NULL;
}

/* ---- from client-side apply */

static struct str apply_last_text(const struct json *obj)
{
	return json_as_str(json_path(obj, "metadata", "annotations", LAST_APPLIED, NULL));
}

/* The configuration that kubectl's client-side apply left; NULL when there is none. */
static struct json *apply_last_config(struct api_request *rq, const struct json *live)
{
	struct str text = apply_last_text(live);
	struct json *last = NULL;
	struct err *e;

	if (str_empty(text))
		return NULL;
	e = json_parse(rq->arena, text, &last);
	if (e) {
		err_ignore(e, "an annotation that is no object hands nothing over");
		return NULL;
	}
	return json_is(last, JSON_OBJECT) && !fields_too_large(last) ? last : NULL;
}

/* What is live as client-side apply left it: kubectl may take it over. */
static struct fields *apply_allowed(struct api_request *rq, const struct json *live)
{
	struct json *last = apply_last_config(rq, live);
	struct fields_diff diff;
	struct fields *set;

	if (!last)
		return fields_new(rq->arena);
	set = fields_of(rq->arena, object_schema(rq), last);
	fields_compare(rq->arena, object_schema(rq), last, live, &diff);
	set = fields_difference(rq->arena, set, diff.added);
	set = fields_difference(rq->arena, set, diff.modified);
	return fields_difference(rq->arena, set, diff.removed);
}

/* Both kinds of apply go on to work on the object: the annotation follows. */
static void apply_refresh_last(struct api_request *rq, const struct json *config, struct json *obj)
{
	struct json *marks = meta_annotations(obj);
	struct str text;
	size_t total = 0;

	if (!str_eqz(rq->opt.field_manager, "kubectl") || str_empty(apply_last_text(obj)))
		return;
	text = arena_cat(rq->arena, json_text(rq->arena, config), STR("\n"));
	json_set_str(rq->arena, marks, LAST_APPLIED, text);
	json_for_each(it, marks) total += it.key.n + json_as_str(it.val).n;
	if (total > ANNOTATIONS_MAX)
		json_delz(marks, LAST_APPLIED);
}

/* Nobody was tracked so far: what there is belongs to "before-first-apply". */
static void apply_first(struct api_request *rq, const struct json *live, struct managers *m)
{
	struct arena *a = rq->arena;
	struct manager id = manager_of(rq, false), *before;
	struct fields_diff diff;

	fields_compare(a, object_schema(rq), json_object(a), live, &diff);
	managed_strip(rq, diff.added);
	id.sub = STR_EMPTY;
	id.api_version = request_api_version(rq);
	id.name = STR("before-first-apply");
	before = managers_sub(m, &id);
	before->set = fields_union(a, diff.added, diff.modified);
}

/* ---- the change */

/* What all want together. */
static struct fields *apply_owned(const struct managers *m)
{
	struct fields *all = fields_new(m->a);

	for (size_t i = 0; i < m->n; i++)
		all = fields_union(m->a, all, m->v[i].set);
	return all;
}

/* Merges, prunes and settles ownership: *ret is the wanted object, *ret_managed who owns it. */
static struct err *apply_merge(struct api_request *rq, const struct apply *c,
			       const struct json *live, struct managers *m, struct json **ret)
{
	const struct schema *s = object_schema(rq);
	struct manager id = manager_of(rq, true), *self = managers_sub(m, &id);
	struct fields *last = self->set, *changed, *allowed;
	struct fields_diff diff;
	bool same;

	*ret = fields_merge(rq->arena, s, live, c->config);
	self->set = fields_of(rq->arena, s, c->config);
	/* with the name, which keeps metadata in place */
	if (!fields_empty(last))
		fields_prune(rq->arena, s, *ret, last, apply_owned(m));
	managed_strip(rq, self->set);
	fields_compare(rq->arena, s, live, *ret, &diff);
	managed_strip_diff(rq, &diff);
	changed = fields_union(rq->arena, diff.added, diff.modified);
	if (!c->force) {
		allowed = str_eqz(id.name, "kubectl") ? apply_allowed(rq, live)
						      : fields_new(rq->arena);
		TRY(apply_conflicts(m, self, changed, allowed));
	}
	managers_lose(m, self, &diff);
	same = fields_empty(changed) && fields_empty(diff.removed) && fields_equal(self->set, last);
	if (!same || str_empty(self->time)) {
		self->time = id.time;
		self->api_version = id.api_version;
	}
	apply_refresh_last(rq, c->config, *ret);
	return NULL;
}

struct err *apply_over(struct api_request *rq, struct json *config, bool force,
		       const struct json *old, struct json **ret)
{
	const struct apply c = { .config = config, .force = force };
	struct json *meta = json_sub(rq->arena, config, "metadata");
	const struct json *live = json_path(old, "metadata", "managedFields", NULL);
	struct managers m;

	TRY(apply_check_size(old));
	json_set_str(rq->arena, meta, "name", rq->name);
	TRY(managers_parse(rq->arena, live, &m));
	if (!m.n)
		apply_first(rq, old, &m);
	TRY(apply_merge(rq, &c, old, &m, ret));
	TRY(body_check(rq, *ret, NULL));
	managed_set(rq->arena, *ret, managers_format(&m));
	return NULL;
}

static struct err *apply_change(struct engine_change *base, struct api_request *rq,
				const struct json *old, struct json **ret)
{
	const struct apply *c = (const struct apply *)base;

	return apply_over(rq, c->config, c->force, old, ret);
}

/* Nothing there yet: the body is the object. */
static struct err *apply_make(struct engine_change *base, struct api_request *rq, struct json **ret)
{
	const struct apply *c = (const struct apply *)base;
	struct str uid = meta_uid(c->config);
	struct manager id = manager_of(rq, true), *self;
	struct managers m;

	if (str_empty(meta_name(c->config)))
		return err_new(ERR_BAD_REQUEST,
			       "the name of the object (" STR_FMT
			       " based on URL) was undeterminable: name must be provided",
			       STR_ARG(rq->name));
	if (!str_empty(uid))
		return error_conflict(rq->res, rq->name,
				      "uid mismatch: the provided object specified uid " STR_FMT
				      ", and no existing object was found",
				      STR_ARG(uid));
	TRY(authorize_verb(rq, VERB_CREATE));
	*ret = json_dup(rq->arena, c->config);
	TRY(body_check(rq, *ret, NULL));
	TRY(managers_parse(rq->arena, NULL, &m));
	self = managers_sub(&m, &id);
	self->set = fields_of(rq->arena, object_schema(rq), c->config);
	managed_strip(rq, self->set);
	rq->managed = managers_format(&m);
	return NULL;
}

/* ---- the request */

struct err *serve_apply(struct api_request *rq)
{
	_cleanup_obj_ const struct obj *o = NULL;
	struct apply c = { .base = { .apply = apply_change,
				     .make = rq->subres ? NULL : apply_make,
				     .owns = true } };
	struct err *e;

	TRY(apply_read(rq, &c.config, &c.force));
	e = engine_update(rq, &c.base, &o);
	/* made by another meanwhile: then it is a change */
	if (e && err_is(e, ERR_ALREADY_EXISTS)) {
		err_ignore(e, "tried again below");
		e = engine_update(rq, &c.base, &o);
	}
	if (e)
		return e;
	return respond_obj(rq, rq->created ? 201 : 200, o);
}
