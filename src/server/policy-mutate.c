/* SPDX-License-Identifier: Apache-2.0 */

/* MutatingAdmissionPolicy. */

#include "api/fields.h"
#include "api/schema.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/policy-set.h"
#include "server/policy.h"
#include "server/server.h"
#include "json/json.h"
#include "json/patch.h"

static struct policy_set policies = {
	.policies_gr = "mutatingadmissionpolicies.admissionregistration.k8s.io",
	.bindings_gr = "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
};

/* What a request remembers between its two passes. */
struct mutations {
	struct json *called; /* calls that may be made again, once something changed */
	struct json *again;  /* calls that must be */
	const struct json *output;
	struct json *problems; /* texts of what went wrong and is not to be ignored */
};

static struct mutations *mutations_of(struct admission *ad)
{
	struct arena *a = ad->rq->arena;
	struct mutations *m = ad->policies;

	if (m)
		return m;
	m = ad->policies = arena_new_obj(a, struct mutations);
	m->called = json_object(a);
	m->again = json_object(a);
	m->problems = json_array(a);
	return m;
}

static void mutations_recall(struct arena *a, struct mutations *m)
{
	json_for_each(it, m->called) json_set_s(a, m->again, it.key, json_null(a));
	m->called = json_object(a);
}

static void mutations_problem(struct admission *ad, struct mutations *m,
			      const struct policy_call *c, struct str text)
{
	struct arena *a = ad->rq->arena;

	if (c->policy->ignore)
		return;
	if (c->binding)
		text = arena_fmt(a,
				 "policy '" STR_FMT "' with binding '" STR_FMT
				 "' denied request: " STR_FMT,
				 STR_ARG(c->policy->obj->name), STR_ARG(c->binding->obj->name),
				 STR_ARG(text));
	else
		text = arena_fmt(a, "policy \"" STR_FMT "\" denied request: " STR_FMT,
				 STR_ARG(c->policy->obj->name), STR_ARG(text));
	json_push(m->problems, json_str(a, text));
}

/* ---- ApplyConfiguration */

/* Lists and maps that are replaced as a whole may not be: a policy means to add to them. */
static void find_atomics(struct arena *a, const struct schema *s, const struct json *v,
			 struct str path, struct json *ret)
{
	if (!s)
		return;
	if (json_is(v, JSON_ARRAY)) {
		if (schema_list_type(s) == SCHEMA_LIST_ATOMIC)
			json_push(ret, json_str(a, path));
		json_for_each(it, v)
			find_atomics(a, schema_items(s), it.val,
				     arena_fmt(a, STR_FMT "[%zu]", STR_ARG(path), it.i), ret);
	} else if (json_is(v, JSON_OBJECT)) {
		if (schema_map_atomic(s))
			json_push(ret, json_str(a, path));
		json_for_each(it, v) find_atomics(
			a, schema_property(s, it.key), it.val,
			arena_fmt(a, STR_FMT "." STR_FMT, STR_ARG(path), STR_ARG(it.key)), ret);
	}
}

static struct str texts_joined(struct arena *a, const struct json *texts)
{
	_cleanup_buf_ struct buf b = { 0 };

	json_for_each(it, texts)
		buf_addf(&b, "%s" STR_FMT, it.i ? ", " : "", STR_ARG(json_as_str(it.val)));
	return buf_to_arena(&b, a);
}

static bool apply_config(struct admission *ad, const struct hook_view *view, const struct json *obj,
			 struct json *config, struct json **ret, struct str *ret_text)
{
	const struct schema *s = hook_schema(ad, view);
	struct json *bad = json_array(ad->rq->arena);
	struct arena *a = ad->rq->arena;

	json_set(a, config, "kind", json_copy(a, json_get(obj, "kind")));
	json_set(a, config, "apiVersion", json_copy(a, json_get(obj, "apiVersion")));
	fields_check(a, s, config, bad);
	if (json_len(bad)) {
		*ret_text = arena_fmt(a,
				      "error applying patch: failed to convert patch object to "
				      "typed object: " STR_FMT,
				      STR_ARG(texts_joined(a, bad)));
		return false;
	}
	find_atomics(a, s, config, STR_EMPTY, bad);
	if (json_len(bad)) {
		*ret_text = arena_fmt(a,
				      "error applying patch: invalid ApplyConfiguration: may not "
				      "mutate atomic arrays, maps or structs: " STR_FMT,
				      STR_ARG(texts_joined(a, bad)));
		return false;
	}
	*ret = fields_merge(a, s, obj, config);
	return true;
}

/* ---- JSONPatch */

static bool apply_patch(struct admission *ad, const struct json *obj, const struct json *ops,
			struct json **ret, struct str *ret_text)
{
	struct arena *a = ad->rq->arena;
	struct err *e = json_patch_apply_why(a, obj, ops, ret);

	if (!e)
		return true;
	if (str_has_suffix(err_msg(e), STR("test failed"))) {
		/* a test that fails is how a policy says that there is nothing to do */
		err_ignore(e, "the patch is left out");
		*ret = json_copy(a, obj);
		return true;
	}
	*ret_text = arena_fmt(a, "JSON Patch: " STR_FMT, STR_ARG(err_msg(e)));
	err_free(e);
	return false;
}

/* ---- one call */

/* *ret is the object after one mutation, in the view's version. */
static bool mutation_run(struct policy_run *r, const struct policy_call *c,
			 const struct policy_mutation *m, const struct json *obj, struct json **ret,
			 struct str *ret_text)
{
	struct cel_val v;
	struct json *out;

	if (policy_eval(r, &m->expr, &v, ret_text) != POLICY_OK)
		return false;
	out = cel_val_to_json(r->a, v, ret_text);
	if (!out)
		return false;
	if (m->apply) {
		if (!apply_config(r->ad, &c->view, obj, out, ret, ret_text))
			return false;
	} else if (!apply_patch(r->ad, obj, out, ret, ret_text)) {
		return false;
	}
	hook_renew(r->ad, &c->view, *ret);
	return true;
}

static void input_init(struct policy_input *in, const struct policy_call *c, const struct json *obj,
		       const struct json *old, const struct json *ns)
{
	*in = (struct policy_input){
		.view = &c->view, .obj = obj, .old = old, .params = c->param, .ns = ns
	};
}

/* All mutations of one call; *ret_match: its conditions hold. */
static struct err *call_run(struct admission *ad, struct mutations *m, const struct policy_call *c,
			    const struct json *ns, bool *ret_match)
{
	struct policy_run *r = arena_new_obj(ad->rq->arena, struct policy_run);
	struct json *obj = NULL, *old = NULL, *next;
	struct str text = STR_EMPTY;
	struct policy_input in;

	TRY(hook_view_obj(ad, &c->view, ad->obj, &obj));
	TRY(hook_view_obj(ad, &c->view, ad->old, &old));
	input_init(&in, c, obj, old, ns);
	policy_run_init(r, ad, &in, CONDITIONS_BUDGET);
	if (policy_conditions_match(r, &c->policy->conditions, c->policy->ignore, ret_match,
				    &text) != POLICY_OK)
		mutations_problem(ad, m, c, text);
	if (!*ret_match || !obj || (ad->reinvoked && !json_get_s(m->again, c->param_key)))
		return NULL;
	for (size_t i = 0; i < c->policy->n_mutations; i++) {
		input_init(&in, c, obj, old, ns);
		policy_run_init(r, ad, &in, POLICY_BUDGET);
		if (mutation_run(r, c, &c->policy->mutations[i], obj, &next, &text))
			obj = next;
		else
			mutations_problem(ad, m, c, text);
	}
	return hook_unview(ad, &c->view, obj, &ad->obj);
}

static struct err *call_make(struct admission *ad, struct mutations *m, const struct policy_call *c,
			     const struct json *ns)
{
	const struct json *before = ad->obj;
	struct arena *a = ad->rq->arena;
	bool match = false;

	TRY(call_run(ad, m, c, ns, &match));
	if (!match || (ad->reinvoked && !json_get_s(m->again, c->param_key)))
		return NULL;
	if (ad->obj != before && !json_equal(ad->obj, before)) {
		mutations_recall(a, m);
		ad->reinvoke = true;
	}
	if (c->policy->again)
		json_set_s(a, m->called, c->param_key, json_null(a));
	return NULL;
}

/* ---- the plugin */

static struct err *mutations_result(struct admission *ad, struct mutations *m)
{
	struct err *e;

	if (!json_len(m->problems))
		return NULL;
	e = admission_deny(ad, "admission request denied by policy");
	e = err_remsg(e, STR_FMT, STR_ARG(json_as_str(json_idx(m->problems, 0))));
	e = err_set_status(err_set_reason(e, STR("Invalid")), 403);
	json_for_each(it, m->problems) err_add_cause(e, STR_EMPTY, STR_EMPTY, json_as_str(it.val));
	return e;
}

static struct err *mutating_run(struct admission_plugin *p UNUSED, struct admission *ad)
{
	const struct json *ns = NULL;
	struct policy_call *v = NULL;
	struct mutations *m;
	size_t n = 0;

	TRY(policy_set_calls(&policies, ad, &v, &n));
	if (!n)
		return NULL;
	m = mutations_of(ad);
	if (ad->reinvoked && !json_equal(ad->obj, m->output))
		mutations_recall(ad->rq->arena, m);
	TRY(policy_namespace(ad, &ns));
	for (size_t i = 0; i < n; i++) {
		if (v[i].problem.n)
			mutations_problem(ad, m, &v[i], v[i].problem);
		else
			TRY(call_make(ad, m, &v[i], ns));
	}
	m->output = ad->obj ? json_copy(ad->rq->arena, ad->obj) : NULL;
	return mutations_result(ad, m);
}

static bool mutating_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	return policy_set_wants(&policies, ad);
}

struct admission_plugin mutating_policy_plugin = {
	.name = "MutatingAdmissionPolicy",
	.wants = mutating_wants,
	.mutate = mutating_run,
};

struct err *mutating_policy_start(struct apiserver *s)
{
	return policy_set_start(&policies, s);
}
