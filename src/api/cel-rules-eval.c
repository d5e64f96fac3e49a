/* SPDX-License-Identifier: Apache-2.0 */

/* Rules of CRDs on custom resources. */

#include "api/cel-rules-internal.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/map.h"

#define OBJECT_BUDGET INT64_C(10000000)
#define MAX_MESSAGE   5120

struct validate {
	struct arena *a;
	struct err **e;
	struct json *warnings;
	int64_t budget;
};

/* What a failure is not held against: the nearest part of the object that has an old value. */
struct ratchet {
	const struct json *obj, *old; /* NULL: nothing */
};

static bool validate_same(const struct ratchet *r)
{
	return r->obj && r->old && json_equal(r->obj, r->old);
}

/* ---- wording */

/* Keys of maps are steps with brackets in them, which no dot precedes. */
static struct str validate_path(const struct validate *c, const struct schema_path *path)
{
	struct str up;

	if (!path->up)
		return path->name;
	up = validate_path(c, path->up);
	if (!path->name.p)
		return schema_path_index(c->a, up, path->index);
	if (path->name.n && path->name.p[0] == '[')
		return arena_cat(c->a, up, path->name);
	return schema_path_member(c->a, up, path->name);
}

static struct str validate_field(const struct validate *c, const struct schema_path *path)
{
	struct str s = validate_path(c, path);

	return s.n ? s : STR("<nil>");
}

static void validate_cause(struct validate *c, struct str field, const char *reason, struct str msg)
{
	schema_cause(c->e, field, reason, msg);
}

static const char *validate_type_of(const struct schema *s)
{
	static const struct {
		unsigned bit;
		const char *name;
	} types[] = {
		{ SCHEMA_T_OBJECT, "object" }, { SCHEMA_T_ARRAY, "array" },
		{ SCHEMA_T_STRING, "string" }, { SCHEMA_T_INTEGER, "integer" },
		{ SCHEMA_T_NUMBER, "number" }, { SCHEMA_T_BOOLEAN, "boolean" },
	};

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (s->types & types[i].bit)
			return types[i].name;
	return "";
}

static void validate_broken(struct validate *c, const struct cel_rules_node *n,
			    const struct schema_path *path, struct str text)
{
	validate_cause(c, validate_field(c, path), "FieldValueInvalid",
		       arena_fmt(c->a, "Invalid value: \"%s\": " STR_FMT, validate_type_of(n->s),
				 STR_ARG(text)));
}

static struct str validate_rule_text(const struct cel_rule *r)
{
	return r->message.n ? r->message : str_trim(r->rule);
}

/* ---- one rule */

static void validate_error(struct validate *c, const struct cel_rules_node *n,
			   const struct schema_path *path, const struct cel_rule *r,
			   const struct cel_run *run, struct str why)
{
	struct str rule = validate_rule_text(r), text;

	if (cel_run_exceeded(run)) {
		text = arena_fmt(c->a,
				 "'" STR_FMT "': no further validation rules will be run due to "
				 "call cost exceeds limit for rule: " STR_FMT,
				 STR_ARG(why), STR_ARG(rule));
		c->budget = -1;
	} else if (str_has_prefix(why, STR("no such overload"))) {
		text = arena_fmt(c->a,
				 "'" STR_FMT "': call arguments did not match a supported "
				 "operator, function or macro signature for rule: " STR_FMT,
				 STR_ARG(why), STR_ARG(rule));
	} else {
		text = arena_fmt(c->a, STR_FMT " evaluating rule: " STR_FMT, STR_ARG(why),
				 STR_ARG(rule));
	}
	validate_broken(c, n, path, text);
}

static struct str validate_message(struct validate *c, const struct cel_rule *r,
				   struct cel_run *run)
{
	struct cel_val v;
	struct str s = STR_EMPTY;

	if (!r->message_prog || !cel_eval(r->message_prog, run, &v) || v.kind != CEL_STRING) {
		if (r->message_prog)
			c->budget -= (int64_t)run->cost;
		return STR_EMPTY;
	}
	c->budget -= (int64_t)run->cost;
	s = str_trim(v.s);
	if (s.n > MAX_MESSAGE || str_find_char(s, '\n', 0) < s.n)
		return STR_EMPTY;
	return s;
}

static void validate_failed(struct validate *c, const struct cel_rules_node *n,
			    const struct schema_path *path, const struct cel_rule *r,
			    struct cel_run *run, const struct json *v, const struct ratchet *rat)
{
	struct str detail = validate_message(c, r, run), msg, field = validate_path(c, path);
	const char *reason = "FieldValueInvalid", *word = "Invalid value";
	bool plain = n->s->types & (SCHEMA_T_OBJECT | SCHEMA_T_ARRAY);

	if (!detail.n)
		detail = r->message.n ? r->message
				      : arena_fmt(c->a, "failed rule: " STR_FMT,
						  STR_ARG(str_trim(r->rule)));
	if (r->field_path.n)
		field = r->field_path.p[0] == '[' ? arena_cat(c->a, field, r->field_path)
						  : schema_path_member(c->a, field, r->field_path);
	if (!field.n)
		field = STR("<nil>");
	if (str_eqz(r->reason, "FieldValueForbidden")) {
		reason = "FieldValueForbidden";
		word = "Forbidden";
		plain = true;
	} else if (str_eqz(r->reason, "FieldValueRequired")) {
		reason = "FieldValueRequired";
		word = "Required value";
		plain = true;
	} else if (str_eqz(r->reason, "FieldValueDuplicate")) {
		reason = "FieldValueDuplicate";
		word = "Duplicate value";
	}
	if (!strcmp(word, "Duplicate value"))
		msg = plain ? str_from(word)
			    : arena_fmt(c->a, "%s: " STR_FMT, word, STR_ARG(json_text(c->a, v)));
	else if (plain)
		msg = arena_fmt(c->a, "%s: " STR_FMT, word, STR_ARG(detail));
	else
		msg = arena_fmt(c->a, "%s: " STR_FMT ": " STR_FMT, word,
				STR_ARG(json_text(c->a, v)), STR_ARG(detail));
	if (!r->uses_old && validate_same(rat))
		json_push(c->warnings,
			  json_strf(c->a, STR_FMT ": " STR_FMT, STR_ARG(field), STR_ARG(msg)));
	else
		validate_cause(c, field, reason, msg);
}

static void validate_rule(struct validate *c, const struct cel_rules_node *n,
			  const struct cel_rule *r, const struct json *v, const struct json *old,
			  const struct schema_path *path, const struct ratchet *rat)
{
	struct cel_val vars[2], res, old_val;
	struct cel_run run = { .arena = c->a, .vars = vars };

	if (r->error.n) {
		validate_broken(c, n, path,
				arena_fmt(c->a, "rule compile error: " STR_FMT, STR_ARG(r->error)));
		return;
	}
	if (!r->prog || (r->uses_old && !old && !r->optional_old))
		return;
	vars[0] = cel_val_schema(c->a, n->s, v);
	if (r->uses_old) {
		old_val = cel_val_schema(c->a, n->s, old);
		vars[1] = r->optional_old ? cel_val_optional(c->a, old ? &old_val : NULL) : old_val;
	}
	cel_eval(r->prog, &run, &res);
	if ((int64_t)run.cost > c->budget && !cel_run_exceeded(&run)) {
		c->budget = -1;
		validate_broken(c, n, path,
				STR("validation failed due to running out of cost budget, no "
				    "further validation rules will be run"));
		return;
	}
	c->budget -= (int64_t)run.cost;
	if (res.kind == CEL_ERROR)
		validate_error(c, n, path, r, &run, res.s);
	else if (res.kind != CEL_BOOL || !res.b)
		validate_failed(c, n, path, r, &run, v, rat);
}

/* ---- the walk */

static void validate_rules(struct validate *c, const struct cel_rules_node *n, const struct json *v,
			   const struct json *old, const struct schema_path *path,
			   struct ratchet rat, bool correlated);

static void validate_child(struct validate *c, const struct cel_rules_node *n, const struct json *v,
			   const struct json *old, const struct schema_path *path,
			   const struct ratchet *parent)
{
	struct ratchet rat = old ? (struct ratchet){ v, old } : *parent;

	if (c->budget >= 0)
		validate_rules(c, n, v, old, path, rat, old != NULL);
}

static void validate_members(struct validate *c, const struct cel_rules_node *n,
			     const struct json *v, const struct json *old,
			     const struct schema_path *path, const struct ratchet *rat)
{
	const struct json *o = json_is(old, JSON_OBJECT) ? old : NULL;

	for (size_t i = 0; i < n->n_props; i++) {
		struct str name = n->props[i].name;
		const struct json *m = json_get_s(v, name);
		const struct schema_path at = { .up = path, .name = name };
		struct ratchet none = { NULL, NULL };

		if (!m)
			continue;
		if (!path->up && (str_eqz(name, "apiVersion") || str_eqz(name, "kind")))
			validate_child(c, n->props[i].node, m, json_get_s(o, name), &at, &none);
		else
			validate_child(c, n->props[i].node, m, json_get_s(o, name), &at, rat);
	}
	if (!n->additional)
		return;
	json_for_each(it, v)
	{
		/* keys of maps are shown in brackets */
		const struct schema_path at = {
			.up = path,
			.name = arena_fmt(c->a, "[" STR_FMT "]", STR_ARG(it.key)),
		};

		if (!schema_prop_find(n->s, it.key))
			validate_child(c, n->additional, it.val, json_get_s(o, it.key), &at, rat);
	}
}

static void validate_items(struct validate *c, const struct cel_rules_node *n, const struct json *v,
			   const struct json *old, const struct schema_path *path,
			   const struct ratchet *parent)
{
	_cleanup_map_ struct map counterparts = { 0 };

	schema_counterparts(c->a, n->s, old, &counterparts);
	json_for_each(it, v)
	{
		const struct schema_path at = { .up = path, .index = it.i };

		validate_child(c, n->items, it.val,
			       schema_counterpart(c->a, n->s, it.val, &counterparts), &at, parent);
	}
}

static void validate_rules(struct validate *c, const struct cel_rules_node *n, const struct json *v,
			   const struct json *old, const struct schema_path *path,
			   struct ratchet rat, bool correlated)
{
	const struct ratchet parent = rat;

	(void)correlated;
	if (json_is_null(v))
		return;
	if (json_is_null(old))
		old = NULL;
	for (size_t i = 0; i < n->n_rules && c->budget >= 0; i++)
		validate_rule(c, n, &n->rules[i], v, old, path, &rat);
	for (size_t i = 0; i < n->n_all_of && c->budget >= 0; i++)
		validate_rules(c, n->all_of[i], v, old, path, rat, correlated);
	if (json_is(v, JSON_OBJECT)) {
		validate_members(c, n, v, old, path, &parent);
	} else if (json_is(v, JSON_ARRAY) && n->items) {
		validate_items(c, n, v, json_is(old, JSON_ARRAY) ? old : NULL, path, &parent);
	}
}

/* Whether the object is so wrong already that rules would only repeat it. */
static bool validate_blocked(const struct err *e)
{
	static const char *const blocking[] = { "FieldValueNotSupported", "FieldValueRequired",
						"FieldValueTooLong", "FieldValueTooMany",
						"FieldValueTypeInvalid" };

	for (size_t i = 0; e && i < err_n_causes(e); i++)
		for (size_t k = 0; k < ARRAY_LEN(blocking); k++)
			if (str_eqz(err_get_cause(e, i).reason, blocking[k]))
				return true;
	return false;
}

void cel_rules_validate(struct arena *a, const struct schema *s, const struct json *obj,
			const struct json *old, struct json *warnings, struct err **e)
{
	const struct cel_rules *r = s->root->rules;
	struct validate c = { a, e, warnings, OBJECT_BUDGET };
	const struct schema_path root = { .name = STR_EMPTY };
	const struct ratchet rat = { obj, old };

	if (!r)
		return;
	if (validate_blocked(*e)) {
		schema_cause(e, STR("<nil>"), "FieldValueInvalid",
			     STR("Invalid value: null: some validation rules were not checked "
				 "because the object was invalid; correct the existing errors to "
				 "complete validation"));
		return;
	}
	validate_rules(&c, r->root, obj, old, &root, rat, old != NULL);
}
