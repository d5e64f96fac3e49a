/* SPDX-License-Identifier: Apache-2.0 */

/* Rules of CRDs: compiling them along the schema, and what a CRD is refused for. */

#include "api/cel-rules-internal.h"

#include <math.h>

#include "api/cel-node.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

#define RULES          "x-kubernetes-validations"
#define COST_LIMIT     UINT64_C(10000000)
#define CRD_COST_LIMIT UINT64_C(100000000)
#define MAX_REQUEST    UINT64_C(3145728)
#define UNBOUNDED      UINT64_MAX
#define MOST_EXPENSIVE 4

struct expensive {
	struct str path;
	uint64_t cost;
};

struct compile {
	struct cel_rules *r;
	struct arena *a;
	bool check;
	struct err *schema_e, *cel_e;
	uint64_t total;
	struct expensive most[MOST_EXPENSIVE + 1];
	size_t n_most;
};

/* Where the walk is. */
struct at {
	struct str path;
	uint64_t cardinality; /* how often the node may occur; UNBOUNDED */
	bool root;
	struct str no_old; /* the path within which oldSelf cannot be found; empty: it can */
};

static bool rules_any(const struct json *j, int depth)
{
	if (!json_is(j, JSON_OBJECT) || depth > JSON_MAX_DEPTH)
		return false;
	if (json_len(json_get(j, RULES)))
		return true;
	json_for_each(it, json_get(j, "properties")) if (rules_any(it.val, depth + 1)) return true;
	json_for_each(it, json_get(j, "allOf")) if (rules_any(it.val, depth + 1)) return true;
	return rules_any(json_get(j, "items"), depth + 1) ||
	       rules_any(json_get(j, "additionalProperties"), depth + 1);
}

/* ---- wording */

static struct str rules_path(struct compile *c, struct str path, size_t i, const char *member)
{
	return arena_fmt(c->a, STR_FMT "." RULES "[%zu].%s", STR_ARG(path), i, member);
}

/* As Go's encoder has it, which escapes what HTML minds. */
static void rules_quote(struct buf *b, struct arena *a, const char *name, struct str s)
{
	struct str t = json_text(a, json_str(a, s));

	buf_addf(b, "\"%s\":", name);
	for (size_t i = 0; i < t.n; i++)
		if (strchr("&<>", t.p[i]))
			buf_addf(b, "\\u%04x", (unsigned char)t.p[i]);
		else
			buf_addc(b, t.p[i]);
}

/* A rule as Go prints its struct. */
static struct str rules_value(struct compile *c, const struct json *rule)
{
	_cleanup_buf_ struct buf b = { 0 };
	const struct json *reason = json_get(rule, "reason"),
			  *optional = json_get(rule, "optionalOldSelf");

	buf_addc(&b, '{');
	rules_quote(&b, c->a, "Rule", json_str_at(rule, "rule"));
	buf_addc(&b, ',');
	rules_quote(&b, c->a, "Message", json_str_at(rule, "message"));
	buf_addc(&b, ',');
	rules_quote(&b, c->a, "MessageExpression", json_str_at(rule, "messageExpression"));
	buf_addz(&b, ",\"Reason\":");
	buf_add(&b, json_is(reason, JSON_STR) ? json_text(c->a, reason) : STR("null"));
	buf_addc(&b, ',');
	rules_quote(&b, c->a, "FieldPath", json_str_at(rule, "fieldPath"));
	buf_addz(&b, ",\"OptionalOldSelf\":");
	buf_addz(&b, json_is_null(optional)      ? "null"
		     : json_as_bool(optional, 0) ? "true"
						 : "false");
	buf_addc(&b, '}');
	return buf_to_arena(&b, c->a);
}

static void rules_invalid(struct compile *c, struct err **e, struct str path, struct str value,
			  struct str text)
{
	schema_cause(e, path, "FieldValueInvalid",
		     arena_fmt(c->a, "Invalid value: " STR_FMT ": " STR_FMT, STR_ARG(value),
			       STR_ARG(text)));
}

static void rules_forbidden(struct compile *c, struct str path, struct str text)
{
	schema_cause(&c->cel_e, path, "FieldValueForbidden",
		     arena_fmt(c->a, "Forbidden: " STR_FMT, STR_ARG(text)));
}

static struct str rules_too_dear(struct compile *c, const char *what, uint64_t cost, uint64_t limit)
{
	double factor = (double)cost / (double)limit;
	struct str f = factor > 100.0 ? STR("more than 100x")
		       : factor < 1.5 ? arena_fmt(c->a, "%fx", factor)
				      : arena_fmt(c->a, "%.1fx", factor);

	return arena_fmt(c->a,
			 "%s exceeds budget by factor of " STR_FMT
			 " (try simplifying the rule, or adding maxItems, maxProperties, and "
			 "maxLength where arrays, maps, and strings are declared)",
			 what, STR_ARG(f));
}

/* ---- paths of fields */

static bool rules_step(const struct schema **s, struct str name, bool bracket, struct buf *shown)
{
	const struct schema *t = schema_deref(*s);

	if (t->n_props || !t->additional) {
		*s = schema_prop_find(t, name);
		if (!*s)
			return false;
		if (shown->n)
			buf_addc(shown, '.');
		buf_add(shown, name);
	} else {
		*s = t->additional;
		buf_addf(shown, "[" STR_FMT "]", STR_ARG(name));
	}
	(void)bracket;
	return true;
}

/* The text of 'it\'s' up to the closing bracket; consumes it. */
static const char *rules_bracket(struct arena *a, struct str *p, struct str *ret)
{
	static const char from[] = "abfnrtv'\\", to[] = "\a\b\f\n\r\t\v'\\";
	char *out = arena_alloc(a, p->n + 1);
	size_t n = 0, i = 1;

	if (!p->n)
		return "unexpected end of JSON path";
	if (p->p[0] != '\'')
		return "expected single quoted string";
	for (; i < p->n && p->p[i] != '\''; i++) {
		if (p->p[i] == '\\' && i + 1 < p->n) {
			const char *at = strchr(from, p->p[++i]);

			if (!at)
				return "invalid string literal: invalid escape char";
			out[n++] = to[at - from];
		} else {
			out[n++] = p->p[i];
		}
	}
	if (i + 1 >= p->n || p->p[i + 1] != ']')
		return "unexpected end of JSON path";
	*p = str_skip(*p, i + 2);
	*ret = str_make(out, n);
	return NULL;
}

bool cel_rules_field_path(struct arena *a, const struct schema *s, struct str path,
			  struct str *ret_shown, struct str *ret_why)
{
	_cleanup_buf_ struct buf shown = { 0 };
	struct str name;
	const char *why = NULL;

	while (path.n && !why) {
		bool bracket = path.p[0] == '[';

		if (!bracket && path.p[0] != '.') {
			why = "expected [ or .";
			break;
		}
		path = str_skip(path, 1);
		if (bracket) {
			why = rules_bracket(a, &path, &name);
		} else {
			size_t end = 0;

			while (end < path.n && path.p[end] != '.' && path.p[end] != '[')
				end++;
			name = str_sub(path, 0, end);
			path = str_skip(path, end);
			if (!end)
				why = "unexpected end of JSON path";
		}
		if (!why && !rules_step(&s, name, bracket, &shown))
			why = "does not refer to a valid field";
	}
	if (why)
		*ret_why = str_from(why);
	else
		*ret_shown = buf_to_arena(&shown, a);
	return !why;
}

/* ---- what is wrong with a rule before it is compiled */

static bool rules_newlines(struct str s)
{
	return str_find_char(s, '\n', 0) < s.n || str_find_char(s, '\r', 0) < s.n;
}

static struct str rules_json_str(struct compile *c, struct str s)
{
	return json_text(c->a, json_str(c->a, s));
}

static void rules_check_texts(struct compile *c, const struct json *rule, struct str path, size_t i)
{
	struct str text = str_trim(json_str_at(rule, "rule")), raw = json_str_at(rule, "message"),
		   msg = str_trim(raw), expr = json_str_at(rule, "messageExpression");

	if (!text.n)
		schema_cause(&c->schema_e, rules_path(c, path, i, "rule"), "FieldValueRequired",
			     STR("Required value: rule is not specified"));
	else if (raw.n && !msg.n)
		rules_invalid(c, &c->schema_e, rules_path(c, path, i, "message"),
			      rules_json_str(c, raw), STR("must be non-empty if specified"));
	else if (rules_newlines(msg))
		rules_invalid(c, &c->schema_e, rules_path(c, path, i, "message"),
			      rules_json_str(c, raw), STR("must not contain line breaks"));
	else if (rules_newlines(text) && !msg.n)
		schema_cause(&c->schema_e, rules_path(c, path, i, "message"), "FieldValueRequired",
			     STR("Required value: message must be specified if rule contains line "
				 "breaks"));
	if (expr.n && !str_trim(expr).n)
		schema_cause(&c->schema_e, rules_path(c, path, i, "messageExpression"),
			     "FieldValueRequired",
			     STR("Required value: messageExpression must be non-empty if "
				 "specified"));
}

static void rules_check_rest(struct compile *c, const struct schema *s, const struct json *rule,
			     struct str path, size_t i)
{
	static const char *const reasons[] = { "FieldValueDuplicate", "FieldValueForbidden",
					       "FieldValueInvalid", "FieldValueRequired" };
	const struct json *reason = json_get(rule, "reason");
	struct str field = json_str_at(rule, "fieldPath"), shown, why;
	bool known = json_is_null(reason);

	for (size_t k = 0; k < ARRAY_LEN(reasons); k++)
		known |= str_eqz(json_as_str(reason), reasons[k]);
	if (!known)
		schema_cause(&c->schema_e, rules_path(c, path, i, "reason"),
			     "FieldValueNotSupported",
			     arena_fmt(c->a,
				       "Unsupported value: " STR_FMT
				       ": supported values: \"FieldValueDuplicate\", "
				       "\"FieldValueForbidden\", \"FieldValueInvalid\", "
				       "\"FieldValueRequired\"",
				       STR_ARG(json_text(c->a, reason))));
	if (!field.n)
		return;
	if (!str_trim(field).n)
		rules_invalid(c, &c->schema_e, rules_path(c, path, i, "fieldPath"),
			      rules_json_str(c, field), STR("must be non-empty if specified"));
	if (rules_newlines(field))
		rules_invalid(c, &c->schema_e, rules_path(c, path, i, "fieldPath"),
			      rules_json_str(c, field), STR("must not contain line breaks"));
	if (!cel_rules_field_path(c->a, s, field, &shown, &why))
		rules_invalid(c, &c->schema_e, rules_path(c, path, i, "fieldPath"),
			      rules_json_str(c, field), STR("must be a valid path"));
}

/* ---- costs */

static void rules_observe(struct compile *c, struct str path, uint64_t cost)
{
	size_t i;

	c->total = c->total > UINT64_MAX - cost ? UINT64_MAX : c->total + cost;
	if (cost < CRD_COST_LIMIT / 100)
		return;
	for (i = c->n_most; i > 0 && c->most[i - 1].cost < cost; i--)
		if (i < ARRAY_LEN(c->most))
			c->most[i] = c->most[i - 1];
	if (i >= MOST_EXPENSIVE)
		return;
	c->most[i] = (struct expensive){ path, cost };
	c->n_most = MIN(c->n_most + 1, MOST_EXPENSIVE);
}

static uint64_t rules_times(uint64_t cost, uint64_t n)
{
	return cost && n > UINT64_MAX / cost ? UINT64_MAX : cost * n;
}

static uint64_t rules_cost(const struct cel_prog *p, const struct schema *s, const struct at *at)
{
	uint64_t n = at->cardinality;

	if (n == UNBOUNDED)
		n = MAX_REQUEST / ((uint64_t)cel_schema_size(s) + 1);
	return rules_times(cel_prog_cost(p).max, n);
}

/* ---- compiling */

static struct cel_prog *rules_keep(struct compile *c, struct cel_prog *p)
{
	struct cel_rules *r = c->r;

	if (!p)
		return NULL;
	if (r->n_progs == r->cap_progs) {
		r->cap_progs = r->cap_progs ? r->cap_progs * 2 : 8;
		r->progs = mem_realloc(r->progs, r->cap_progs, sizeof(struct cel_prog *));
	}
	r->progs[r->n_progs++] = p;
	return p;
}

static struct cel_env *rules_env(const struct schema *s, bool root, bool optional)
{
	struct cel_env *e = cel_env_new();
	const struct cel_type *t = cel_type_schema(e, s, root);

	if (!t)
		return cel_env_unref(e);
	e->estimate = true;
	cel_env_add_var(e, "self", t);
	cel_env_add_var(e, "oldSelf", optional ? cel_type_new(e->arena, CEL_OPTIONAL, t, NULL) : t);
	return e;
}

static void rules_compile_rule(struct compile *c, struct cel_env *e, const struct json *rule,
			       struct cel_rule *r)
{
	struct str why = STR_EMPTY;

	r->prog = rules_keep(c, cel_compile(e, c->a, r->rule, &why));
	if (!r->prog) {
		r->error = arena_fmt(c->r->arena, "compilation failed: " STR_FMT, STR_ARG(why));
	} else if (!cel_type_is(cel_prog_type(r->prog), CEL_BOOL)) {
		r->error = STR("cel expression must evaluate to a bool");
		r->prog = NULL;
	} else if (cel_prog_broken(r->prog).n) {
		r->error = arena_fmt(c->r->arena, "program instantiation failed: " STR_FMT,
				     STR_ARG(cel_prog_broken(r->prog)));
		r->prog = NULL;
	} else {
		r->uses_old = cel_prog_uses(r->prog, "oldSelf");
	}
	(void)rule;
}

static struct str rules_compile_message(struct compile *c, struct cel_env *e, struct str expr,
					struct cel_rule *r)
{
	struct str why = STR_EMPTY;
	struct cel_prog *p;

	if (!expr.n || !r->prog)
		return STR_EMPTY;
	p = rules_keep(c, cel_compile(e, c->a, expr, &why));
	if (!p)
		return arena_fmt(c->a, "messageExpression compilation failed: " STR_FMT,
				 STR_ARG(why));
	if (!cel_type_is(cel_prog_type(p), CEL_STRING))
		return STR("messageExpression must evaluate to a string");
	if (cel_prog_broken(p).n)
		return arena_fmt(c->a, "messageExpression instantiation failed: " STR_FMT,
				 STR_ARG(cel_prog_broken(p)));
	r->message_prog = p;
	return STR_EMPTY;
}

static void rules_check_compiled(struct compile *c, const struct schema *s, const struct json *rule,
				 const struct cel_rule *r, struct str message_error,
				 const struct at *at, size_t i)
{
	struct str path = rules_path(c, at->path, i, "rule"),
		   message = rules_path(c, at->path, i, "messageExpression");
	uint64_t cost;

	if (r->prog) {
		cost = rules_cost(r->prog, s, at);
		if (cost > COST_LIMIT)
			rules_forbidden(c, path,
					rules_too_dear(c, "estimated rule cost", cost, COST_LIMIT));
		rules_observe(c, path, cost);
	}
	if (r->error.n)
		rules_invalid(c, &c->cel_e, path, rules_value(c, rule), r->error);
	if (message_error.n)
		rules_invalid(c, &c->cel_e, message, rules_value(c, rule), message_error);
	if (r->message_prog) {
		cost = cel_prog_cost(r->message_prog).max;
		if (cost > COST_LIMIT)
			rules_forbidden(c, message,
					rules_too_dear(c, "estimated messageExpression cost", cost,
						       COST_LIMIT));
		rules_observe(c, message, cost);
	}
	if (r->uses_old && at->no_old.n)
		rules_invalid(c, &c->cel_e, path, rules_json_str(c, r->rule),
			      arena_fmt(c->a,
					"oldSelf cannot be used on the uncorrelatable portion of "
					"the schema within " STR_FMT,
					STR_ARG(at->no_old)));
	else if (!r->uses_old && !json_is_null(json_get(rule, "optionalOldSelf")))
		rules_invalid(c, &c->cel_e, rules_path(c, at->path, i, "optionalOldSelf"),
			      json_text(c->a, json_get(rule, "optionalOldSelf")),
			      STR("may not be set if oldSelf is not used in rule"));
}

static void rules_compile_one(struct compile *c, struct cel_rules_node *n, struct cel_env *e[2],
			      const struct json *rule, const struct at *at, size_t i)
{
	struct cel_rule *r = &n->rules[i];
	struct arena *a = c->r->arena;
	struct str error, field = json_str_at(rule, "fieldPath"), why;
	struct cel_env *env;

	r->rule = arena_str(a, json_str_at(rule, "rule"));
	r->message = arena_str(a, str_trim(json_str_at(rule, "message")));
	r->reason = arena_str(a, json_str_at(rule, "reason"));
	r->optional_old = json_bool_at(rule, "optionalOldSelf", false);
	if (field.n && !cel_rules_field_path(a, n->s, field, &r->field_path, &why))
		r->field_path = STR_EMPTY;
	if (!str_trim(r->rule).n)
		return;
	if (!e[r->optional_old])
		e[r->optional_old] = rules_env(n->s, n->resource_root, r->optional_old);
	env = e[r->optional_old];
	if (!env) {
		r->error = STR("failed to convert to declType for CEL validation rules");
		return;
	}
	rules_compile_rule(c, env, rule, r);
	error = rules_compile_message(c, env, str_trim(json_str_at(rule, "messageExpression")), r);
	if (c->check)
		rules_check_compiled(c, n->s, rule, r, error, at, i);
}

static void rules_compile_own(struct compile *c, struct cel_rules_node *n, const struct json *rules,
			      const struct at *at)
{
	struct cel_env *e[2] = { NULL, NULL };

	n->n_rules = json_len(rules);
	n->rules = arena_array(c->r->arena, n->n_rules, sizeof(*n->rules));
	for (size_t i = 0; c->check && i < n->n_rules; i++) {
		rules_check_texts(c, json_idx(rules, i), at->path, i);
		rules_check_rest(c, n->s, json_idx(rules, i), at->path, i);
	}
	if (c->schema_e)
		return;
	e[0] = rules_env(n->s, n->resource_root, false);
	if (!e[0] && c->check) {
		schema_cause(&c->cel_e, schema_path_member(c->a, at->path, STR(RULES)),
			     "InternalError",
			     STR("Internal error: internal error: failed to construct type "
				 "information for x-kubernetes-validations rules: unable to "
				 "convert structural schema to CEL declarations"));
		return;
	}
	json_for_each(it, rules) rules_compile_one(c, n, e, it.val, at, it.i);
	cel_env_unref(e[0]);
	cel_env_unref(e[1]);
}

/* ---- the walk */

static struct cel_rules_node *rules_walk(struct compile *c, const struct schema *s,
					 const struct json *j, const struct at *at, int depth);

/* How often a child may occur. */
static struct at rules_child(struct compile *c, const struct schema *s, const struct at *at,
			     struct str path, bool container)
{
	struct at child = *at;
	int64_t max = s->types & SCHEMA_T_ARRAY ? s->rules->max_items : s->rules->max_props;

	(void)c;
	child.path = path;
	child.root = false;
	if (container)
		child.cardinality = max < 0 || at->cardinality == UNBOUNDED
					    ? UNBOUNDED
					    : rules_times(at->cardinality, (uint64_t)max);
	return child;
}

static void rules_walk_props(struct compile *c, struct cel_rules_node *n, const struct json *j,
			     const struct at *at, int depth)
{
	const struct json *props = json_get(j, "properties");

	n->props = arena_array(c->r->arena, json_len(props), sizeof(*n->props));
	json_for_each(it, props)
	{
		const struct schema *p = schema_prop_find(n->s, it.key);
		struct cel_rules_node *child;
		struct at sub;

		if (!p || p->is_ref || !rules_any(it.val, 0))
			continue;
		sub = rules_child(c, n->s, at,
				  arena_fmt(c->a, STR_FMT ".properties[" STR_FMT "]",
					    STR_ARG(at->path), STR_ARG(it.key)),
				  false);
		child = rules_walk(c, p, it.val, &sub, depth + 1);
		n->props[n->n_props].name = arena_str(c->r->arena, it.key);
		n->props[n->n_props++].node = child;
	}
}

static struct cel_rules_node *rules_walk(struct compile *c, const struct schema *s,
					 const struct json *j, const struct at *at, int depth)
{
	struct cel_rules_node *n = arena_new_obj(c->r->arena, struct cel_rules_node);
	const struct json *all = json_get(j, "allOf");
	bool check = c->check;
	struct at sub;

	n->s = s = schema_deref(s);
	n->resource_root = at->root || s->embedded;
	if (depth > JSON_MAX_DEPTH)
		return n;
	if (s->additional && rules_any(json_get(j, "additionalProperties"), 0)) {
		sub = rules_child(c, s, at,
				  schema_path_member(c->a, at->path, STR("additionalProperties")),
				  true);
		n->additional = rules_walk(c, s->additional, json_get(j, "additionalProperties"),
					   &sub, depth + 1);
	}
	rules_walk_props(c, n, j, at, depth);
	if (s->items && rules_any(json_get(j, "items"), 0)) {
		sub = rules_child(c, s, at, schema_path_member(c->a, at->path, STR("items")), true);
		if (!s->list_map)
			sub.no_old = at->path;
		n->items = rules_walk(c, s->items, json_get(j, "items"), &sub, depth + 1);
	}
	/* rules inside allOf are of this node; upstream does not check them here */
	n->all_of = arena_array(c->r->arena, json_len(all), sizeof(struct cel_rules_node *));
	c->check = false;
	json_for_each(it, all) if (rules_any(it.val, 0)) n->all_of[n->n_all_of++] =
		rules_walk(c, s, it.val, at, depth + 1);
	c->check = check;
	if (json_len(json_get(j, RULES)))
		rules_compile_own(c, n, json_get(j, RULES), at);
	return n;
}

static void rules_take(struct arena *a, struct err **to, struct err *from)
{
	for (size_t i = 0; from && i < err_n_causes(from); i++) {
		struct err_cause x = err_get_cause(from, i);

		schema_cause(to, x.field, arena_strz(a, x.reason), x.message);
	}
	err_free(from);
}

static void rules_check_total(struct compile *c, struct str path)
{
	if (c->total <= CRD_COST_LIMIT)
		return;
	for (size_t i = 0; i < c->n_most; i++)
		rules_forbidden(c, c->most[i].path,
				STR("contributed to estimated rule cost total exceeding cost limit "
				    "for entire OpenAPIv3 schema"));
	rules_forbidden(c, path,
			rules_too_dear(c,
				       "x-kubernetes-validations estimated rule cost total for "
				       "entire OpenAPIv3 schema",
				       c->total, CRD_COST_LIMIT));
}

void cel_rules_compile(struct schema *s, const struct json *openapi, struct str path,
		       struct err **e)
{
	_cleanup_arena_ struct arena *a = NULL;
	struct compile c = { .check = e != NULL };
	const struct at at = { .path = path, .cardinality = 1, .root = true };

	if (!rules_any(openapi, 0))
		return;
	c.a = a = arena_new();
	c.r = mem_new(struct cel_rules);
	c.r->arena = arena_new();
	c.r->root = rules_walk(&c, s, openapi, &at, 0);
	s->root->rules = c.r;
	if (!c.check)
		return;
	rules_check_total(&c, path);
	rules_take(a, e, c.schema_e);
	rules_take(a, e, c.cel_e);
}

bool cel_rules_exist(const struct schema *s)
{
	return s->root->rules;
}

void cel_rules_free(struct cel_rules *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n_progs; i++)
		cel_prog_unref(r->progs[i]);
	free(r->progs);
	arena_free(r->arena);
	free(r);
}
