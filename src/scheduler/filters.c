/* SPDX-License-Identifier: Apache-2.0 */
/* The filters that look at one node and the Pod alone, and the table of all filters. */

#include "api/selector.h"
#include "base/arena.h"
#include "scheduler/plugins.h"

static const struct taint taint_unschedulable = {
	STR_INIT("node.kubernetes.io/unschedulable"),
	STR_INIT(""),
	STR_INIT("NoSchedule"),
};

static bool tolerates(const struct sched_pod *p, const struct taint *t)
{
	for (size_t i = 0; i < p->n_tolerations; i++)
		if (toleration_tolerates(&p->tolerations[i], t))
			return true;
	return false;
}

static enum verdict unschedulable_filter(struct cycle *c, const struct node_info *n)
{
	if (!n->unschedulable || tolerates(c->pod, &taint_unschedulable))
		return FITS;
	diagnosis_add(&c->diag, "node(s) were unschedulable");
	return FITS_NEVER;
}

static bool node_name_skip(struct cycle *c)
{
	return str_empty(pod_node(c->pod->tree));
}

static enum verdict node_name_filter(struct cycle *c, const struct node_info *n)
{
	if (str_eqz(pod_node(c->pod->tree), n->name))
		return FITS;
	diagnosis_add(&c->diag, "node(s) didn't match the requested node name");
	return FITS_NEVER;
}

bool pod_tolerates_node(const struct sched_pod *p, const struct node_info *n)
{
	for (size_t i = 0; i < n->n_taints; i++) {
		const struct taint *t = &n->taints[i];

		if (!str_eqz(t->effect, "PreferNoSchedule") && !tolerates(p, t))
			return false;
	}
	return true;
}

static enum verdict taint_filter(struct cycle *c, const struct node_info *n)
{
	if (pod_tolerates_node(c->pod, n))
		return FITS;
	diagnosis_add(&c->diag, "node(s) had untolerated taint(s)");
	return FITS_NEVER;
}

static bool node_affinity_skip(struct cycle *c)
{
	return !c->pod->node_selector && !c->pod->has_required;
}

bool pod_matches_node_affinity(const struct sched_pod *p, const struct node_info *n)
{
	if (p->node_selector && !selector_matches_obj_labels(p->node_selector, n->obj))
		return false;
	if (!p->has_required)
		return true;
	for (size_t i = 0; i < p->n_required; i++)
		if (selector_matches_obj_labels(p->required[i].labels, n->obj) &&
		    selector_matches_obj_fields(p->required[i].fields, n->obj))
			return true;
	return false;
}

static enum verdict node_affinity_filter(struct cycle *c, const struct node_info *n)
{
	if (pod_matches_node_affinity(c->pod, n))
		return FITS;
	diagnosis_add(&c->diag, "node(s) didn't match Pod's node affinity/selector");
	return FITS_NEVER;
}

static bool ports_skip(struct cycle *c)
{
	return c->pod->n_ports == 0;
}

static bool ports_clash(const struct host_port *a, const struct host_port *b)
{
	return a->port == b->port && str_eq(a->protocol, b->protocol) &&
	       (str_eq(a->ip, b->ip) || str_eqz(a->ip, "0.0.0.0") || str_eqz(b->ip, "0.0.0.0"));
}

static bool pods_clash(const struct sched_pod *p, const struct cached_pod *q)
{
	for (size_t i = 0; i < p->n_ports; i++)
		for (size_t j = 0; j < q->n_ports; j++)
			if (ports_clash(&p->ports[i], &q->ports[j]))
				return true;
	return false;
}

static enum verdict ports_filter(struct cycle *c, const struct node_info *n)
{
	struct cached_pod *q;

	if (!n->n_ports)
		return FITS;
	list_for_each(q, &n->pods, link) {
		if (q->n_ports && pods_clash(c->pod, q)) {
			diagnosis_add(&c->diag,
				      "node(s) didn't have free ports for the requested pod ports");
			return FITS_NOT;
		}
	}
	return FITS;
}

/* A resource that no node offers has no number, but a text all the same. */
static const char *insufficient_text(struct cycle *c, const struct res_request *r)
{
	const char *text;
	struct str fresh;

	if (r->id >= 0)
		return res_insufficient(r->id);
	fresh = arena_fmt(c->a, "Insufficient " STR_FMT, STR_ARG(r->name));
	text = fresh.p;
	for (size_t i = 0; i < c->diag.n_reasons; i++)
		if (strcmp(c->diag.reasons[i].text, text) == 0)
			return c->diag.reasons[i].text;
	return text;
}

static enum verdict fit_filter(struct cycle *c, const struct node_info *n)
{
	const struct sched_pod *p = c->pod;
	enum verdict v = FITS;

	if (n->used[RES_PODS] + 1 > n->allocatable[RES_PODS]) {
		diagnosis_add(&c->diag, res_insufficient(RES_PODS));
		v = FITS_NOT;
	}
	for (size_t i = 0; i < p->n_requests; i++) {
		const struct res_request *r = &p->requests[i];

		if (r->val == 0 || r->id == RES_PODS)
			continue;
		if (r->id >= 0 && r->val <= n->allocatable[r->id] - n->used[r->id])
			continue;
		diagnosis_add(&c->diag, insufficient_text(c, r));
		if (r->id < 0 || r->val > n->allocatable[r->id])
			v = FITS_NEVER;
		else if (v == FITS)
			v = FITS_NOT;
	}
	return v;
}

/* In upstream's order: the first that refuses a node gives the reason. */
const struct filter_plugin filter_plugins[] = {
	{ "NodeUnschedulable", NULL, unschedulable_filter },
	{ "NodeName", node_name_skip, node_name_filter },
	{ "TaintToleration", NULL, taint_filter },
	{ "NodeAffinity", node_affinity_skip, node_affinity_filter },
	{ "NodePorts", ports_skip, ports_filter },
	{ "NodeResourcesFit", NULL, fit_filter },
	{ "VolumeBinding", volumes_skip, volumes_filter },
	{ "PodTopologySpread", spread_skip, spread_filter },
	{ "InterPodAffinity", interpod_skip, interpod_filter },
};
const size_t n_filter_plugins = ARRAY_LEN(filter_plugins);
