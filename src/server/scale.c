/* SPDX-License-Identifier: Apache-2.0 */

/* The scale subresource: autoscaling/v1 Scale as a view on the number of replicas. */

#include "api/fields.h"
#include "api/meta.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/apply.h"
#include "server/engine.h"
#include "server/errors.h"
#include "server/object.h"
#include "server/request.h"
#include "server/respond.h"
#include "json/json.h"

struct scale_change {
	struct engine_change base;
	struct str type; /* of a patch; empty: body is the whole Scale */
	struct json *body;
};

/* ".spec.replicas" as json_at() takes it */
static const char *scale_path(struct arena *a, struct str path)
{
	str_strip_prefix(&path, STR("."));
	return arena_strz(a, path);
}

static struct str scale_selector(struct api_request *rq, const struct json *obj, struct str path)
{
	const struct json *v = json_at(obj, scale_path(rq->arena, path));
	struct selector *sel = NULL;
	struct err *e;

	if (!json_is(v, JSON_OBJECT))
		return json_as_str(v);
	if (str_eqz(rq->res->kind, "ReplicationController"))
		return selector_format(rq->arena, label_selector_from_map(rq->arena, v));
	e = label_selector_from_json(rq->arena, v, &sel);
	if (e) {
		err_ignore(e, "a stored selector was validated before");
		return STR_EMPTY;
	}
	return selector_format(rq->arena, sel);
}

static struct json *scale_view(struct api_request *rq, const struct json *obj)
{
	static const char *const meta_fields[] = { "name", "namespace", "uid", "resourceVersion",
						   "creationTimestamp" };
	const struct scale_paths *p = &rq->v->scale;
	struct arena *a = rq->arena;
	struct json *s = json_object(a), *meta, *st;
	struct str sel;

	json_set_str(a, s, "kind", STR("Scale"));
	json_set_str(a, s, "apiVersion", STR("autoscaling/v1"));
	meta = json_sub(a, s, "metadata");
	for (size_t i = 0; i < ARRAY_LEN(meta_fields); i++) {
		const struct json *v = json_get(json_get(obj, "metadata"), meta_fields[i]);

		if (v)
			json_set(a, meta, meta_fields[i], json_copy(a, v));
	}
	json_set_int(a, json_sub(a, s, "spec"), "replicas",
		     json_int_at(obj, scale_path(a, p->spec), 0));
	st = json_sub(a, s, "status");
	json_set_int(a, st, "replicas", json_int_at(obj, scale_path(a, p->status), 0));
	sel = str_empty(p->selector) ? STR_EMPTY : scale_selector(rq, obj, p->selector);
	if (!str_empty(sel))
		json_set_str(a, st, "selector", sel);
	return s;
}

static struct err *scale_check(struct api_request *rq, const struct json *scale)
{
	struct err *e = NULL;
	int64_t n = json_int_at(scale, "spec.replicas", 0);

	if (!str_empty(meta_name(scale)) && !str_eq(meta_name(scale), rq->name))
		return err_new(ERR_BAD_REQUEST,
			       "the name of the object (" STR_FMT
			       ") does not match the name on the URL (" STR_FMT ")",
			       STR_ARG(meta_name(scale)), STR_ARG(rq->name));
	if (n < 0)
		cause_invalid(&e, STR("spec.replicas"), json_int(rq->arena, n),
			      "must be greater than or equal to 0");
	return error_invalid(e, STR("autoscaling"), STR("Scale"), rq->name);
}

static struct err *scale_apply(struct engine_change *base, struct api_request *rq,
			       const struct json *old, struct json **ret)
{
	struct scale_change *c = (struct scale_change *)base;
	struct json *scale = c->body, *obj;
	struct str rv;

	if (!str_empty(c->type)) {
		TRY(patch_apply(rq, c->type, scale_view(rq, old), c->body, &scale));
		if (!json_is(scale, JSON_OBJECT))
			return err_new(ERR_INVALID, "the server rejected our request due to an "
						    "error in our request");
	}
	TRY(scale_check(rq, scale));
	obj = json_copy(rq->arena, old);
	json_set_at(rq->arena, obj, scale_path(rq->arena, rq->v->scale.spec),
		    json_int(rq->arena, json_int_at(scale, "spec.replicas", 0)));
	rv = meta_rv(scale);
	json_set_str(rq->arena, json_get(obj, "metadata"), "resourceVersion", rv);
	*ret = obj;
	return NULL;
}

/* Admission is about the Scale. */
static struct json *scale_show(struct engine_change *c UNUSED, struct api_request *rq,
			       const struct json *obj)
{
	return scale_view(rq, obj);
}

static void scale_take(struct engine_change *c UNUSED, struct api_request *rq,
		       const struct json *shown, struct json *obj)
{
	json_set_at(rq->arena, obj, scale_path(rq->arena, rq->v->scale.spec),
		    json_int(rq->arena, json_int_at(shown, "spec.replicas", 0)));
}

/* ---- server-side apply: the manager owns the one field there is, where the object has it */

struct scale_apply {
	struct engine_change base;
	struct json *config;
	bool force;
};

/* {"f:spec":{"f:replicas":{}}} */
static struct fields *scale_set(struct api_request *rq)
{
	struct fields *set = fields_new(rq->arena), *at = set;
	struct str rest = rq->v->scale.spec, part;

	str_strip_prefix(&rest, STR("."));
	while (str_split_next(&rest, '.', &part))
		at = fields_sub(rq->arena, at, arena_cat(rq->arena, STR("f:"), part));
	at->owned = true;
	return set;
}

static struct err *scale_conflicts(struct api_request *rq, const struct managers *m,
				   const struct manager *self, const struct fields *set)
{
	struct err *e = NULL;
	struct str text = STR_EMPTY;
	size_t n = 0;

	for (size_t i = 0; i < m->n; i++) {
		const struct manager *o = &m->v[i];
		struct str who;

		if (o == self || fields_empty(fields_intersection(rq->arena, o->set, set)))
			continue;
		who = manager_text(rq->arena, o, STR("autoscaling/v1"));
		text = arena_fmt(rq->arena,
				 STR_FMT "%sconflicts with " STR_FMT ":\n- .spec.replicas",
				 STR_ARG(text), n ? "\n" : "", STR_ARG(who));
		if (n++ == 0)
			e = err_new(ERR_CONFLICT,
				    "Apply failed with 1 conflict: conflict with " STR_FMT
				    ": .spec.replicas",
				    STR_ARG(who));
		err_add_cause(e, STR(".spec.replicas"), STR("FieldManagerConflict"),
			      arena_fmt(rq->arena, "conflict with " STR_FMT, STR_ARG(who)));
	}
	if (n > 1)
		e = err_remsg(e, "Apply failed with %zu conflicts: " STR_FMT, n, STR_ARG(text));
	return e;
}

static struct err *scale_apply_change(struct engine_change *base, struct api_request *rq,
				      const struct json *old, struct json **ret)
{
	const struct scale_apply *c = (const struct scale_apply *)base;
	const struct json *replicas = json_at(c->config, "spec.replicas");
	const char *path = scale_path(rq->arena, rq->v->scale.spec);
	struct manager id = manager_of(rq, true), *self;
	struct fields *set = scale_set(rq);
	struct managers m;

	TRY(scale_check(rq, c->config));
	TRY(managers_parse(rq->arena, json_path(old, "metadata", "managedFields", NULL), &m));
	*ret = json_copy(rq->arena, old);
	self = managers_sub(&m, &id);
	self->set = replicas ? set : fields_new(rq->arena);
	if (replicas && json_as_int(replicas, 0) != json_int_at(old, path, 0)) {
		if (!c->force)
			TRY(scale_conflicts(rq, &m, self, set));
		for (size_t i = 0; i < m.n; i++) {
			if (&m.v[i] != self)
				m.v[i].set = fields_difference(rq->arena, m.v[i].set, set);
		}
		json_set_at(rq->arena, *ret, path, json_copy(rq->arena, replicas));
	}
	if (!str_empty(meta_rv(c->config)))
		json_set_str(rq->arena, json_get(*ret, "metadata"), "resourceVersion",
			     meta_rv(c->config));
	managed_set(rq->arena, *ret, managers_format(&m));
	return NULL;
}

static struct err *scale_serve_apply(struct api_request *rq)
{
	_cleanup_obj_ const struct obj *o = NULL;
	struct scale_apply c = { .base = { .apply = scale_apply_change,
					   .owns = true,
					   .show = scale_show,
					   .take = scale_take } };
	struct json *tree = NULL;

	TRY(apply_read(rq, &c.config, &c.force));
	TRY(engine_update(rq, &c.base, &o));
	TRY(object_tree(rq, o, &tree));
	rq->out.form = OUTPUT_PLAIN;
	respond_json(rq, 200, scale_view(rq, tree));
	return NULL;
}

/* ---- the rest */

static struct err *scale_read(struct api_request *rq, struct scale_change *c)
{
	enum media media;
	struct str text;

	if (rq->verb == VERB_UPDATE)
		return body_decode(rq, &c->body);
	TRY(patch_read_type(rq, &c->type));
	TRY(body_read(rq, &text, &media));
	return err_recode(json_parse(rq->arena, text, &c->body), ERR_BAD_REQUEST);
}

struct err *serve_scale(struct api_request *rq)
{
	_cleanup_obj_ const struct obj *o = NULL;
	struct scale_change c = {
		.base = { .apply = scale_apply, .show = scale_show, .take = scale_take },
	};
	struct json *tree = NULL;

	if (patch_is_apply(rq))
		return scale_serve_apply(rq);
	if (rq->verb == VERB_GET) {
		TRY(engine_get(rq, &o));
	} else {
		TRY(scale_read(rq, &c));
		TRY(engine_update(rq, &c.base, &o));
	}
	TRY(object_tree(rq, o, &tree));
	rq->out.form = OUTPUT_PLAIN;
	respond_json(rq, 200, scale_view(rq, tree));
	return NULL;
}
