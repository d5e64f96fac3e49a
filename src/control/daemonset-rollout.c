/* SPDX-License-Identifier: Apache-2.0 */

#include "api/meta.h"
#include "base/arena.h"
#include "control/daemonset-plan.h"
#include "json/json.h"

/* Which Pods of a DaemonSet come and go: for nodes that changed, and for a template that did. */

static void daemon_remove(struct daemon_steps *s, const struct json *pod)
{
	s->remove[s->n_remove++] = pod;
}

static void daemon_create(struct daemon_steps *s, const struct daemon_node *n)
{
	s->create[s->n_create++] = n->name;
}

/* ---- one Pod on each node */

struct daemon_manage {
	bool (*ended)(const struct daemon_node *n, const struct json *pod, void *ctx);
	void *ctx;
};

/* Removes what ended; the others in *v. */
static size_t daemon_running(const struct daemon_manage *m, const struct daemon_node *n,
			     struct daemon_steps *s, const struct daemon_pod **v)
{
	size_t n_running = 0;

	for (const struct daemon_pod *pod = n->pods; pod; pod = pod->next) {
		struct str phase = json_str_at(pod->obj, "status.phase");

		if (meta_deleting(pod->obj))
			continue;
		if (!str_eqz(phase, "Failed") && !str_eqz(phase, "Succeeded"))
			v[n_running++] = pod;
		else if (m->ended(n, pod->obj, m->ctx))
			daemon_remove(s, pod->obj);
	}
	return n_running;
}

/* While surging a node may have one old and one new Pod until the new one is available. */
static void daemon_prune_surge(const struct daemon_pod **v, size_t n, struct daemon_steps *s,
			       struct str hash)
{
	const struct daemon_pod *fresh = NULL, *old = NULL;

	for (size_t i = 0; i < n; i++) {
		bool is_new = str_eq(meta_label(v[i]->obj, DAEMON_HASH), hash);
		const struct daemon_pod **slot = is_new ? &fresh : &old;

		if (*slot)
			daemon_remove(s, v[i]->obj);
		else
			*slot = v[i];
	}
	if (fresh && old && (!old->ready || fresh->available))
		daemon_remove(s, old->obj);
}

static void daemon_manage_node(struct arena *a, const struct daemon_plan *p,
			       const struct daemon_manage *m, const struct daemon_node *n,
			       struct daemon_steps *s)
{
	const struct daemon_pod **v = arena_array(a, n->n_pods + 1, sizeof(*v));
	size_t n_running = daemon_running(m, n, s, v);

	if (!p->surges) {
		for (size_t i = 1; i < n_running; i++)
			daemon_remove(s, v[i]->obj);
	} else if (n_running > 1) {
		daemon_prune_surge(v, n_running, s, p->hash);
	} else if (!n_running && n->run) {
		daemon_create(s, n);
	}
}

/* Where the node is gone, what it has not started never will be. */
static void daemon_manage_gone(const struct daemon_node *n, struct daemon_steps *s)
{
	for (const struct daemon_pod *pod = n->pods; pod; pod = pod->next) {
		if (!meta_deleting(pod->obj) && str_empty(json_str_at(pod->obj, "spec.nodeName")))
			daemon_remove(s, pod->obj);
	}
}

void daemon_plan_manage(struct arena *a, struct daemon_plan *p,
			bool (*ended)(const struct daemon_node *n, const struct json *pod,
				      void *ctx),
			void *ctx, struct daemon_steps *ret)
{
	const struct daemon_manage m = { ended, ctx };

	daemon_steps_init(a, p, ret);
	for (size_t i = 0; i < p->n; i++) {
		const struct daemon_node *n = &p->v[i];

		if (!n->obj) {
			daemon_manage_gone(n, ret);
		} else if (n->run && !n->pods) {
			daemon_create(ret, n);
		} else if (n->keep) {
			daemon_manage_node(a, p, &m, n, ret);
		} else {
			for (const struct daemon_pod *pod = n->pods; pod; pod = pod->next) {
				if (!meta_deleting(pod->obj))
					daemon_remove(ret, pod->obj);
			}
		}
	}
}

/* ---- a new template */

/* The one old and the one new Pod; false when there are more. */
static bool daemon_split(const struct daemon_node *n, const struct daemon_pod **fresh,
			 const struct daemon_pod **old)
{
	*fresh = *old = NULL;
	for (const struct daemon_pod *pod = n->pods; pod; pod = pod->next) {
		const struct daemon_pod **slot = pod->updated ? fresh : old;

		if (meta_deleting(pod->obj))
			continue;
		if (*slot)
			return false;
		*slot = pod;
	}
	return true;
}

/* Nodes that count: those with Pods and those that shall have one. */
static bool daemon_counts_node(const struct daemon_node *n)
{
	return n->pods || n->run;
}

/* Deletes old Pods as far as maxUnavailable allows; those that are not available anyway first. */
static void daemon_replace(struct arena *a, const struct daemon_plan *p, struct daemon_steps *s)
{
	const struct json **candidates = arena_array(a, p->n + 1, sizeof(*candidates));
	int64_t unavailable = 0, room;
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++) {
		const struct daemon_pod *fresh, *old;

		if (!daemon_counts_node(&p->v[i]))
			continue;
		if (!daemon_split(&p->v[i], &fresh, &old) || !fresh == !old) {
			unavailable++;
		} else if (fresh) {
			unavailable += !fresh->available;
		} else if (!old->available) {
			daemon_remove(s, old->obj);
			unavailable++;
		} else {
			candidates[n++] = old->obj;
		}
	}
	room = MAX(p->max_unavailable - unavailable, 0);
	for (size_t i = 0; i < n && (int64_t)i < room; i++)
		daemon_remove(s, candidates[i]);
}

struct daemon_surge {
	const struct daemon_node **candidates;
	const struct json **unwanted; /* available ones on nodes that fit no longer */
	size_t n_candidates, n_unwanted;
	int64_t surging, available;
};

static void daemon_surge_node(struct daemon_surge *g, const struct daemon_node *n,
			      struct daemon_steps *s)
{
	const struct daemon_pod *fresh, *old;

	if (!daemon_split(n, &fresh, &old)) {
		g->surging++;
		return;
	}
	if (old || fresh)
		g->available += old ? old->available : fresh->available;
	if (!old)
		return;
	if (fresh) {
		if (fresh->available)
			daemon_remove(s, old->obj);
		else
			g->surging++;
	} else if (!n->run) {
		if (old->available)
			g->unwanted[g->n_unwanted++] = old->obj;
		else
			daemon_remove(s, old->obj);
	} else if (old->available) {
		g->candidates[g->n_candidates++] = n;
	} else {
		daemon_create(s, n);
	}
}

/* Adds new Pods beside old ones as far as maxSurge allows; old ones go once the new are there. */
static void daemon_surge_all(struct arena *a, const struct daemon_plan *p, struct daemon_steps *s)
{
	struct daemon_surge g = { .candidates = arena_array(a, p->n + 1, sizeof(*g.candidates)),
				  .unwanted = arena_array(a, p->n + 1, sizeof(*g.unwanted)) };

	for (size_t i = 0; i < p->n; i++) {
		if (daemon_counts_node(&p->v[i]))
			daemon_surge_node(&g, &p->v[i], s);
	}
	for (size_t i = 0; i < g.n_unwanted && (int64_t)i < g.available - p->desired; i++)
		daemon_remove(s, g.unwanted[i]);
	for (size_t i = 0; i < g.n_candidates && (int64_t)i < p->max_surge - g.surging; i++)
		daemon_create(s, g.candidates[i]);
}

void daemon_plan_rollout(struct arena *a, struct daemon_plan *p, struct daemon_steps *ret)
{
	daemon_steps_init(a, p, ret);
	if (!str_eqz(json_str_at(p->set, "spec.updateStrategy.type"), "RollingUpdate"))
		return;
	if (p->max_surge)
		daemon_surge_all(a, p, ret);
	else
		daemon_replace(a, p, ret);
}
