/* SPDX-License-Identifier: Apache-2.0 */
#include "server/node-authorizer.h"

#include "api/selector.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "server/bootstrap-roles.h"
#include "server/node-graph.h"
#include "server/rbac.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"

struct node_authorizer {
	struct node_graph *graph;
	struct arena *arena;
	struct json *rules; /* of the role system:node */
};

/* One question. */
struct node_query {
	struct node_authorizer *na;
	struct arena *a;
	const struct authz_attrs *at;
	struct str node;
	struct str why; /* not */
};

struct node_authorizer *node_authorizer_new(struct apiserver *s)
{
	struct node_authorizer *na = mem_new(struct node_authorizer);

	na->graph = node_graph_new(s);
	na->arena = arena_new();
	na->rules = bootstrap_role_rules(na->arena, "system:node");
	return na;
}

struct node_authorizer *node_authorizer_free(struct node_authorizer *na)
{
	if (!na)
		return NULL;
	node_graph_free(na->graph);
	arena_free(na->arena);
	free(na);
	return NULL;
}

struct err *node_authorizer_start(struct node_authorizer *na)
{
	return node_graph_start(na->graph);
}

struct str node_identity(const struct user_info *u)
{
	struct str name = u->name;

	if (!str_strip_prefix(&name, STR("system:node:")) || !user_in_group(u, STR("system:nodes")))
		return (struct str){ 0 };
	return name;
}

/* helpers: each says no with a reason */
static bool node_no(struct node_query *q, const char *why)
{
	q->why = str_from(why);
	return false;
}

static bool node_verb_in(const struct node_query *q, const char *verbs)
{
	struct str rest = str_from(verbs), v;

	while (str_split_next(&rest, ' ', &v)) {
		if (str_eq(v, q->at->verb))
			return true;
	}
	return false;
}

static bool node_related(struct node_query *q, enum node_ref kind)
{
	if (node_graph_has(q->na->graph, q->node, kind, q->at->ns, q->at->name))
		return true;
	q->why = arena_fmt(q->a, "no relationship found between node '" STR_FMT "' and this object",
			   STR_ARG(q->node));
	return false;
}

static bool node_named(struct node_query *q, enum node_ref kind)
{
	if (str_empty(q->at->name))
		return node_no(q, "No Object name found");
	return node_related(q, kind);
}

static bool node_read(struct node_query *q, enum node_ref kind)
{
	if (!node_verb_in(q, "get list watch"))
		return node_no(q, "can only read resources of this type");
	if (!str_empty(q->at->sub))
		return node_no(q, "cannot read subresource");
	if (str_empty(q->at->ns))
		return node_no(q, "can only read namespaced object of this type");
	return node_named(q, kind);
}

static bool node_get(struct node_query *q, enum node_ref kind)
{
	if (!str_eqz(q->at->verb, "get"))
		return node_no(q, "can only get individual resources of this type");
	if (!str_empty(q->at->sub))
		return node_no(q, "cannot get subresource");
	return node_named(q, kind);
}

/* Whether a list asks for field=NODE only. */
static bool node_selects_itself(struct node_query *q, const char *field)
{
	struct selector *sel = NULL;
	struct err *e;

	if (str_empty(q->at->field_selector))
		return false;
	e = field_selector_parse(q->a, q->at->field_selector, &sel);
	if (e) {
		err_ignore(e, "reported when the options are parsed");
		return false;
	}
	return str_eq(selector_required(sel, str_from(field)), q->node);
}

/* kinds */
static bool node_secret(struct node_query *q)
{
	return node_read(q, NODE_REF_SECRET);
}

static bool node_configmap(struct node_query *q)
{
	return node_read(q, NODE_REF_CONFIGMAP);
}

static bool node_pvc(struct node_query *q)
{
	if (!str_eqz(q->at->sub, "status"))
		return node_get(q, NODE_REF_PVC);
	if (!node_verb_in(q, "update patch"))
		return node_no(q, "can only get/update/patch this type");
	return node_named(q, NODE_REF_PVC);
}

static bool node_pv(struct node_query *q)
{
	return node_get(q, NODE_REF_PV);
}

static bool node_claim(struct node_query *q)
{
	return node_get(q, NODE_REF_CLAIM);
}

static bool node_attachment(struct node_query *q)
{
	return node_get(q, NODE_REF_ATTACHMENT);
}

static bool node_account(struct node_query *q)
{
	if (str_eqz(q->at->verb, "get") && str_empty(q->at->sub))
		return node_read(q, NODE_REF_ACCOUNT);
	if (!str_eqz(q->at->verb, "create") || str_empty(q->at->name))
		return node_no(q, "can only create tokens for individual service accounts");
	if (!str_eqz(q->at->sub, "token"))
		return node_no(q, "can only create token subresource of serviceaccount");
	return node_related(q, NODE_REF_ACCOUNT);
}

static bool node_lease(struct node_query *q)
{
	if (!node_verb_in(q, "get create update patch delete"))
		return node_no(q, "can only get, create, update, patch, or delete a node lease");
	if (!str_eqz(q->at->ns, "kube-node-lease"))
		return node_no(
			q, "can only access leases in the \"kube-node-lease\" system namespace");
	if (!str_eqz(q->at->verb, "create") && !str_eq(q->at->name, q->node))
		return node_no(q, "can only access node lease with the same name as the requesting "
				  "node");
	return true;
}

static bool node_csi(struct node_query *q)
{
	if (!node_verb_in(q, "get create update patch delete"))
		return node_no(q, "can only get, create, update, patch, or delete a CSINode");
	if (!str_empty(q->at->sub))
		return node_no(q, "cannot authorize CSINode subresources");
	if (!str_eqz(q->at->verb, "create") && !str_eq(q->at->name, q->node))
		return node_no(q,
			       "can only access CSINode with the same name as the requesting node");
	return true;
}

static bool node_slice(struct node_query *q)
{
	if (!str_empty(q->at->sub))
		return node_no(q, "cannot authorize ResourceSlice subresources");
	if (str_eqz(q->at->verb, "create"))
		return true;
	if (node_verb_in(q, "get update patch delete"))
		return node_named(q, NODE_REF_SLICE);
	if (!node_verb_in(q, "watch list deletecollection"))
		return node_no(q, "only the following verbs are allowed for a ResourceSlice: get, "
				  "watch, list, create, update, patch, delete, deletecollection");
	if (node_selects_itself(q, "spec.nodeName"))
		return true;
	return node_no(q, "can only list/watch/deletecollection resourceslices with nodeName field "
			  "selector");
}

static bool node_node(struct node_query *q)
{
	if (str_eqz(q->at->sub, "status"))
		return node_verb_in(q, "update patch");
	if (!str_empty(q->at->sub))
		return false;
	if (node_verb_in(q, "create update patch"))
		return true;
	if (!node_verb_in(q, "get list watch"))
		return false;
	if (str_eq(q->at->name, q->node))
		return true;
	if (str_empty(q->at->name))
		q->why = arena_fmt(
			q->a, "node '" STR_FMT "' cannot read all nodes, only its own Node object",
			STR_ARG(q->node));
	else
		q->why = arena_fmt(q->a,
				   "node '" STR_FMT "' cannot read '" STR_FMT
				   "', only its own Node object",
				   STR_ARG(q->node), STR_ARG(q->at->name));
	return false;
}

static bool node_pod(struct node_query *q)
{
	if (str_eqz(q->at->sub, "status"))
		return node_verb_in(q, "update patch");
	if (str_eqz(q->at->sub, "eviction"))
		return str_eqz(q->at->verb, "create");
	if (!str_empty(q->at->sub))
		return false;
	if (str_eqz(q->at->verb, "get"))
		return node_get(q, NODE_REF_POD);
	if (!node_verb_in(q, "list watch"))
		return node_verb_in(q, "create delete");
	if (node_selects_itself(q, "spec.nodeName"))
		return true;
	if (!str_empty(q->at->name))
		return node_named(q, NODE_REF_POD);
	return node_no(q, "can only list/watch pods with spec.nodeName field selector");
}

static const struct {
	const char *group, *resource;
	bool (*allowed)(struct node_query *q);
} kinds[] = {
	{ "", "secrets", node_secret },
	{ "", "configmaps", node_configmap },
	{ "", "persistentvolumeclaims", node_pvc },
	{ "", "persistentvolumes", node_pv },
	{ "resource.k8s.io", "resourceclaims", node_claim },
	{ "storage.k8s.io", "volumeattachments", node_attachment },
	{ "", "serviceaccounts", node_account },
	{ "coordination.k8s.io", "leases", node_lease },
	{ "storage.k8s.io", "csinodes", node_csi },
	{ "resource.k8s.io", "resourceslices", node_slice },
	{ "", "nodes", node_node },
	{ "", "pods", node_pod },
};

static bool node_rules(struct node_query *q)
{
	json_for_each(it, q->na->rules)
	{
		if (rule_allows(it.val, q->at))
			return true;
	}
	return false;
}

static bool node_decide(struct node_query *q)
{
	for (size_t i = 0; q->at->is_resource && i < ARRAY_LEN(kinds); i++) {
		if (str_eqz(q->at->resource, kinds[i].resource) &&
		    str_eqz(q->at->group, kinds[i].group))
			return kinds[i].allowed(q);
	}
	return node_rules(q);
}

bool node_authorizer_allowed(struct node_authorizer *na, struct arena *a,
			     const struct authz_attrs *at, struct str *ret_reason)
{
	struct node_query q = { .na = na, .a = a, .at = at, .node = node_identity(at->user) };
	bool ok;

	if (!q.node.p)
		return false;
	if (str_empty(q.node)) {
		q.why = arena_fmt(a, "unknown node for user \"" STR_FMT "\"",
				  STR_ARG(at->user->name));
		ok = false;
	} else {
		ok = node_decide(&q);
	}
	if (ret_reason && !ok)
		*ret_reason = q.why;
	return ok;
}
