/* SPDX-License-Identifier: Apache-2.0 */
#include "server/policy-expr.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/errors.h"
#include "server/server.h"
#include "json/json.h"

#define OUT_OF_BUDGET                                                                       \
	"validation failed due to running out of cost budget, no further validation rules " \
	"will be run"

/* ---- compiling */

static bool type_fits(const struct cel_type *t, enum policy_type want)
{
	_cleanup_arena_ struct arena *a = arena_new();

	switch (want) {
	case POLICY_BOOL:
		return cel_type_is(t, CEL_BOOL);
	case POLICY_STRING:
		return cel_type_is(t, CEL_STRING);
	case POLICY_STRING_OR_NULL:
		return cel_type_is(t, CEL_STRING) || cel_type_is(t, CEL_NULL);
	case POLICY_OBJECT:
		return str_eqz(cel_type_text(a, t), "Object");
	case POLICY_PATCHES:
		return str_eqz(cel_type_text(a, t), "list(JSONPatch)");
	case POLICY_ANY:
		break;
	}
	return true;
}

static const char *type_name(enum policy_type want)
{
	switch (want) {
	case POLICY_BOOL:
		return "bool";
	case POLICY_STRING:
		return "string";
	case POLICY_STRING_OR_NULL:
		return "one of [string null_type]";
	case POLICY_OBJECT:
		return "Object";
	case POLICY_PATCHES:
		return "list(JSONPatch)";
	case POLICY_ANY:
		break;
	}
	return "any";
}

void policy_expr_compile(struct policy_expr *x, struct cel_env *env, struct arena *a,
			 struct str text, enum policy_type type)
{
	struct str issues = STR_EMPTY;

	*x = (struct policy_expr){ .text = text };
	x->prog = cel_compile(env, a, text, &issues);
	if (!x->prog) {
		x->issue = arena_fmt(a, "compilation failed: " STR_FMT, STR_ARG(issues));
		return;
	}
	if (!type_fits(cel_prog_type(x->prog), type))
		x->issue = arena_fmt(a, "must evaluate to %s but got " STR_FMT, type_name(type),
				     STR_ARG(cel_type_text(a, cel_prog_type(x->prog))));
	else if (cel_prog_broken(x->prog).n)
		x->issue = arena_fmt(a, "program instantiation failed: " STR_FMT,
				     STR_ARG(cel_prog_broken(x->prog)));
	else
		return;
	x->prog = cel_prog_unref(x->prog);
}

void policy_expr_fini(struct policy_expr *x)
{
	x->prog = cel_prog_unref(x->prog);
}

struct policy_conditions policy_conditions_compile(struct cel_env *env, struct arena *a,
						   const struct json *list)
{
	struct policy_conditions c = { .n = json_len(list) };

	c.v = arena_array(a, c.n + 1, sizeof(*c.v));
	json_for_each(it, list) policy_expr_compile(
		&c.v[it.i], env, a, str_trim(json_str_at(it.val, "expression")), POLICY_BOOL);
	return c;
}

void policy_conditions_fini(struct policy_conditions *c)
{
	for (size_t i = 0; i < c->n; i++)
		policy_expr_fini(&c->v[i]);
}

/* ---- the authorizer */

static struct user_info *account_user(struct arena *a, struct str ns, struct str name)
{
	struct user_info *u = arena_new_obj(a, struct user_info);
	struct str *groups = arena_array(a, 3, sizeof(*groups));

	groups[0] = STR("system:serviceaccounts");
	groups[1] = arena_cat(a, STR("system:serviceaccounts:"), ns);
	groups[2] = STR("system:authenticated");
	*u = (struct user_info){
		.name = arena_fmt(a, "system:serviceaccount:" STR_FMT ":" STR_FMT, STR_ARG(ns),
				  STR_ARG(name)),
		.groups = groups,
		.n_groups = 3,
	};
	return u;
}

static void authz_check(void *arg, struct arena *a, const struct cel_authz_check *c,
			struct cel_authz_answer *ret)
{
	const struct admission *ad = arg;
	struct authz_attrs at = {
		.user = &ad->rq->user,
		.verb = c->verb,
		.is_resource = c->is_resource,
		.group = c->group,
		.version = STR("*"),
		.resource = c->resource,
		.sub = c->subresource,
		.ns = c->namespace,
		.name = c->name,
		.path = c->path,
		.field_selector = c->has_field_selector ? c->field_selector : STR_EMPTY,
		.label_selector = c->has_label_selector ? c->label_selector : STR_EMPTY,
	};

	if (c->sa_name.n)
		at.user = account_user(a, c->sa_namespace, c->sa_name);
	*ret = (struct cel_authz_answer){ .allowed = false };
	ret->allowed = authz_allowed(ad->rq->server->authz, a, &at, &ret->reason);
}

/* ---- evaluating */

static struct json *run_request(const struct admission *ad, const struct hook_view *view)
{
	struct arena *a = ad->rq->arena;
	struct json *rq = hook_request(ad, view, STR_EMPTY);

	json_set_bool(a, rq, "dryRun", ad->dry_run);
	json_set(a, rq, "options", ad->options ? json_copy(a, ad->options) : json_null(a));
	return rq;
}

void policy_run_init(struct policy_run *r, struct admission *ad, const struct policy_input *in,
		     uint64_t budget)
{
	*r = (struct policy_run){ .ad = ad, .a = ad->rq->arena, .budget = budget };
	r->authz = (struct cel_authz){
		.check = authz_check,
		.arg = ad,
		.request_resource = {
			.is_resource = true,
			.group = ad->res->group,
			.resource = ad->res->plural,
			.subresource = ad->sub,
			.namespace = ad->ns,
			.name = ad->name,
		},
	};
	r->vars[CEL_VAR_OBJECT] = cel_val_json(in->obj);
	r->vars[CEL_VAR_OLD_OBJECT] = cel_val_json(in->old);
	r->vars[CEL_VAR_NAMESPACE] = cel_val_json(in->ns);
	r->vars[CEL_VAR_REQUEST] = cel_val_json(run_request(ad, in->view));
	r->vars[CEL_VAR_PARAMS] = cel_val_json(in->params);
	r->run = (struct cel_run){ .arena = r->a, .vars = r->vars, .authz = &r->authz };
}

enum policy_outcome policy_eval(struct policy_run *r, const struct policy_expr *x,
				struct cel_val *ret, struct str *ret_text)
{
	bool ok;

	*ret = (struct cel_val){ .kind = CEL_NULL };
	if (!x->prog) {
		*ret_text = arena_fmt(r->a, "compilation error: " STR_FMT, STR_ARG(x->issue));
		return POLICY_ERROR;
	}
	ok = cel_eval(x->prog, &r->run, ret);
	if (r->run.cost > r->budget) {
		*ret_text = STR(OUT_OF_BUDGET);
		return POLICY_OUT_OF_BUDGET;
	}
	r->budget -= r->run.cost;
	if (ok)
		return POLICY_OK;
	*ret_text = arena_fmt(r->a, "expression '" STR_FMT "' resulted in error: " STR_FMT,
			      STR_ARG(x->text), STR_ARG(ret->s));
	return POLICY_ERROR;
}

enum policy_outcome policy_conditions_match(struct policy_run *r, const struct policy_conditions *c,
					    bool ignore, bool *ret_match, struct str *ret_text)
{
	_cleanup_buf_ struct buf b = { 0 };
	size_t errors = 0;

	*ret_match = true;
	for (size_t i = 0; i < c->n; i++) {
		struct str text = STR_EMPTY;
		struct cel_val v;
		enum policy_outcome o = policy_eval(r, &c->v[i], &v, &text);

		if (o == POLICY_OK && v.kind == CEL_BOOL && !v.b) {
			*ret_match = false;
			return POLICY_OK;
		}
		if (o == POLICY_OK)
			continue;
		buf_addf(&b, "%s" STR_FMT, errors++ ? ", " : "", STR_ARG(text));
		if (o == POLICY_OUT_OF_BUDGET)
			break;
	}
	if (!errors)
		return POLICY_OK;
	*ret_match = false;
	if (ignore)
		return POLICY_OK;
	*ret_text = errors == 1 ? buf_to_arena(&b, r->a) : arena_fmt(r->a, "[%s]", b.p);
	return POLICY_ERROR;
}

/* ---- namespaceObject: not everything of it */

struct err *policy_namespace(const struct admission *ad, const struct json **ret)
{
	static const char *const kept[] = { "name",        "generateName",
					    "uid",         "resourceVersion",
					    "generation",  "creationTimestamp",
					    "labels",      "deletionTimestamp",
					    "annotations", "deletionGracePeriodSeconds",
					    "finalizers" };
	struct registry *reg = ad->rq->server->registry;
	struct arena *a = ad->rq->arena;
	struct json *ns = NULL, *out, *meta;

	*ret = NULL;
	if (!ad->res->namespaced || !ad->ns.n)
		return NULL;
	TRY(local_get_json(ad->rq->server, a, "namespaces", STR_EMPTY, ad->ns, &ns));
	if (!ns)
		return error_not_found(registry_find_stored(reg, STR("namespaces")), ad->ns);
	out = json_object(a);
	meta = json_sub(a, out, "metadata");
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		const struct json *v = json_get(json_get(ns, "metadata"), kept[i]);

		if (v)
			json_set(a, meta, kept[i], json_copy(a, v));
	}
	json_set(a, out, "spec", json_copy(a, json_get(ns, "spec")));
	json_set(a, out, "status", json_copy(a, json_get(ns, "status")));
	*ret = out;
	return NULL;
}
