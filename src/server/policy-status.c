/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What type checking says of a ValidatingAdmissionPolicy against the kinds its rules name, reported
 * in its status. A fiber does it after each change of a spec.
 */

#include "api/gvk.h"
#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/mirror.h"
#include "server/policy-expr.h"
#include "server/policy-prepare.h"
#include "server/policy.h"
#include "server/server.h"
#include "server/status-writer.h"
#include "json/json.h"

#define POLICIES  "validatingadmissionpolicies.admissionregistration.k8s.io"
#define TYPES_MAX 10

static struct err *status_update(struct apiserver *s, struct arena *a, struct str name);

static struct {
	struct mirror mirror;
	struct status_writer writer;
} status = {
	.writer = { .what = "policy-status", .update = status_update },
};

/* ---- the kinds that rules name */

struct kinds {
	struct arena *a;
	struct registry *reg;
	struct {
		const struct resource *res;
		const struct resource_version *v;
	} v[TYPES_MAX];
	size_t n;
};

static bool plain(struct str s)
{
	return !str_contains(s, STR("*"));
}

static void kinds_add(struct kinds *k, struct str group, struct str version, struct str plural)
{
	const struct resource_version *v = NULL;
	const struct resource *res = registry_find(k->reg, group, version, plural, &v);

	if (!res || k->n == TYPES_MAX)
		return;
	for (size_t i = 0; i < k->n; i++)
		if (k->v[i].v == v)
			return;
	k->v[k->n].res = res;
	k->v[k->n++].v = v;
}

static void kinds_of_rule(struct kinds *k, const struct json *rule)
{
	json_for_each(g, json_get(rule, "apiGroups"))
	{
		json_for_each(v, json_get(rule, "apiVersions"))
		{
			json_for_each(r, json_get(rule, "resources"))
			{
				struct str res = json_as_str(r.val);

				if (plain(json_as_str(g.val)) && plain(json_as_str(v.val)) &&
				    plain(res) && !str_contains(res, STR("/")))
					kinds_add(k, json_as_str(g.val), json_as_str(v.val), res);
			}
		}
	}
}

/* ---- checking */

struct check {
	struct kinds kinds;
	const struct json *spec;
	const struct resource *param;
	const struct resource_version *param_v;
	struct json *warnings;
};

/* An environment in which object is of one kind, with the policy's variables. */
static struct cel_env *check_env(struct check *c, size_t i)
{
	struct cel_env *e = cel_env_admission(policy_env_flags(c->spec, false));
	const struct cel_type *t;

	t = cel_type_schema(e, resource_schema(c->kinds.reg, c->kinds.v[i].res, c->kinds.v[i].v),
			    true);
	if (t) {
		cel_env_set_var_type(e, "object", t);
		cel_env_set_var_type(e, "oldObject", t);
	}
	if (c->param) {
		t = cel_type_schema(e, resource_schema(c->kinds.reg, c->param, c->param_v), true);
		if (t)
			cel_env_set_var_type(e, "params", t);
	}
	json_for_each(it, json_get(c->spec, "variables"))
	{
		struct policy_expr x;

		policy_expr_compile(&x, e, c->kinds.a, json_str_at(it.val, "expression"),
				    POLICY_ANY);
		cel_env_add_variable(e, json_str_at(it.val, "name"), x.prog, x.issue);
		policy_expr_fini(&x);
	}
	return e;
}

static void check_one(struct check *c, struct str text, struct str field)
{
	struct arena *a = c->kinds.a;
	_cleanup_buf_ struct buf b = { 0 };
	struct json *w;

	for (size_t i = 0; i < c->kinds.n; i++) {
		struct cel_env *e = check_env(c, i);
		struct str issues = STR_EMPTY;
		struct cel_prog *p = cel_compile(e, a, text, &issues);

		if (!p)
			buf_addf(&b, "%s" STR_FMT "/" STR_FMT ", Kind=" STR_FMT ": " STR_FMT "\n",
				 b.n ? "\n" : "", STR_ARG(c->kinds.v[i].res->group),
				 STR_ARG(c->kinds.v[i].v->version),
				 STR_ARG(c->kinds.v[i].res->kind), STR_ARG(issues));
		cel_prog_unref(p);
		cel_env_unref(e);
	}
	if (!b.n)
		return;
	w = json_object(a);
	json_set_str(a, w, "fieldRef", field);
	json_set_str(a, w, "warning", buf_to_arena(&b, a));
	json_push(c->warnings, w);
}

static void check_param(struct check *c)
{
	struct str group = STR_EMPTY, version = STR_EMPTY;

	if (!gv_parse(json_str_at(c->spec, "paramKind.apiVersion"), &group, &version))
		return;
	c->param = registry_find_kind(c->kinds.reg, group, version,
				      json_str_at(c->spec, "paramKind.kind"), &c->param_v);
}

static struct json *check_policy(struct apiserver *s, struct arena *a, const struct json *obj)
{
	struct check c = {
		.kinds = { .a = a, .reg = s->registry },
		.spec = json_get(obj, "spec"),
		.warnings = json_array(a),
	};

	json_for_each(it, json_at(c.spec, "matchConstraints.resourceRules"))
		kinds_of_rule(&c.kinds, it.val);
	check_param(&c);
	json_for_each(it, json_get(c.spec, "validations"))
	{
		struct str message = json_str_at(it.val, "messageExpression");

		check_one(&c, json_str_at(it.val, "expression"),
			  arena_fmt(a, "spec.validations[%zu].expression", it.i));
		if (message.n)
			check_one(&c, message,
				  arena_fmt(a, "spec.validations[%zu].messageExpression", it.i));
	}
	return c.warnings;
}

/* ---- reporting */

static struct err *status_update(struct apiserver *s, struct arena *a, struct str name)
{
	struct json *obj = NULL, *st, *checking, *warnings;
	int64_t generation;

	TRY(local_get_json(s, a, POLICIES, STR_EMPTY, name, &obj));
	if (!obj)
		return NULL;
	generation = json_int_at(obj, "metadata.generation", 0);
	if (json_int_at(obj, "status.observedGeneration", 0) >= generation)
		return NULL;
	warnings = check_policy(s, a, obj);
	st = json_sub(a, obj, "status");
	checking = json_object(a);
	if (json_len(warnings))
		json_set(a, checking, "expressionWarnings", warnings);
	json_set(a, st, "typeChecking", checking);
	json_set_int(a, st, "observedGeneration", generation);
	return local_update(s, a, POLICIES, "status", obj, NULL);
}

static void status_changed(struct mirror *m UNUSED, const struct obj *old UNUSED,
			   const struct obj *new)
{
	if (new)
		status_writer_mark(&status.writer, new->name);
}

struct err *policy_status_start(struct apiserver *s)
{
	status.mirror.changed = status_changed;
	status_writer_start(&status.writer, s);
	return mirror_start(&status.mirror, s, POLICIES);
}
