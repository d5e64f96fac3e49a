/* SPDX-License-Identifier: Apache-2.0 */

#include "scheduler/volumes.h"

#include "api/meta.h"
#include "api/quantity.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/err.h"
#include "json/json.h"

#define NO_PROVISIONER "kubernetes.io/no-provisioner"
#define SELECTED_NODE  "volume.kubernetes.io/selected-node"

struct claim {
	const struct obj *obj, *volume, *class; /* volume: bound ones, NULL when it is gone */
	bool bound;
	struct str selected_node;
	/* of the bound volume */
	struct node_term *terms;
	size_t n_terms;
	bool has_terms;
	/* of a claim that waits for its first consumer */
	bool can_provision;
	struct candidate *candidates; /* volumes that would do, smallest first */
	size_t n_candidates;
};

struct candidate {
	const struct obj *obj;
	struct node_term *terms;
	size_t n_terms;
	bool has_terms;
	__int128 size;
};

struct volumes_state {
	struct claim *claims;
	size_t n;
};

struct str volume_claim_name(struct arena *a, const struct json *volume, struct str pod_name)
{
	struct str name = json_str_at(volume, "persistentVolumeClaim.claimName");

	if (!str_empty(name) || !json_get(volume, "ephemeral"))
		return name;
	return arena_fmt(a, STR_FMT "-" STR_FMT, STR_ARG(pod_name),
			 STR_ARG(json_str_at(volume, "name")));
}

bool claim_is_bound(const struct obj *claim)
{
	const struct json *tree = obj_tree(claim);

	return !str_empty(json_str_at(tree, "spec.volumeName")) &&
	       (!str_empty(meta_annotation(tree, "pv.kubernetes.io/bind-completed")) ||
		str_eqz(json_str_at(tree, "status.phase"), "Bound"));
}

static void decode_terms(struct arena *a, const struct obj *volume, struct node_term **ret,
			 size_t *ret_n, bool *ret_has)
{
	const struct json *req = json_at(obj_tree(volume), "spec.nodeAffinity.required");
	const struct json *list = json_get(req, "nodeSelectorTerms");
	struct node_term *t = arena_array(a, json_len(list) + 1, sizeof(*t));
	size_t n = 0;

	*ret_has = json_is(req, JSON_OBJECT);
	json_for_each(it, list)
	{
		struct err *e = node_selector_from_json(a, json_get(it.val, "matchExpressions"),
							&t[n].labels);

		if (!e)
			e = node_selector_from_json(a, json_get(it.val, "matchFields"),
						    &t[n].fields);
		if (!e)
			n++;
		err_ignore(e, "a term that says nothing matches nothing");
	}
	*ret = t;
	*ret_n = n;
}

static bool terms_match(const struct node_term *t, size_t n, bool has, const struct node_info *node)
{
	for (size_t i = 0; has && i < n; i++)
		if (selector_matches_obj_labels(t[i].labels, node->obj) &&
		    selector_matches_obj_fields(t[i].fields, node->obj))
			return true;
	return !has;
}

/* ---- volumes that exist and are free ---- */

struct search {
	struct cycle *c;
	struct claim *claim;
	struct str class;
	__int128 size;
	size_t cap;
};

static bool modes_offered(const struct json *want, const struct json *have)
{
	json_for_each(w, want)
	{
		bool found = false;

		json_for_each(h, have)
		{
			found |= str_eq(json_as_str(w.val), json_as_str(h.val));
		}
		if (!found)
			return false;
	}
	return true;
}

static bool claim_ref_fits(const struct json *ref, const struct obj *claim)
{
	if (!json_is(ref, JSON_OBJECT))
		return true;
	return str_eq(json_str_at(ref, "namespace"), claim->ns) &&
	       str_eq(json_str_at(ref, "name"), claim->name) &&
	       (str_empty(json_str_at(ref, "uid")) || str_eq(json_str_at(ref, "uid"), claim->uid));
}

static struct str or_filesystem(struct str mode)
{
	return str_empty(mode) ? STR("Filesystem") : mode;
}

static bool volume_would_do(const struct search *s, const struct obj *o, __int128 *ret_size)
{
	const struct json *claim = obj_tree(s->claim->obj), *v = obj_tree(o);
	struct quantity q;

	if (o->deleting || !str_eq(json_str_at(v, "spec.storageClassName"), s->class) ||
	    !str_eq(or_filesystem(json_str_at(v, "spec.volumeMode")),
		    or_filesystem(json_str_at(claim, "spec.volumeMode"))) ||
	    !claim_ref_fits(json_at(v, "spec.claimRef"), s->claim->obj) ||
	    !modes_offered(json_at(claim, "spec.accessModes"), json_at(v, "spec.accessModes")) ||
	    !quantity_parse(json_str_at(v, "spec.capacity.storage"), &q) || q.nano < s->size)
		return false;
	*ret_size = q.nano;
	return true;
}

static bool search_one(const struct obj *o, void *arg)
{
	struct search *s = arg;
	struct claim *cl = s->claim;
	struct candidate cand = { .obj = o };
	size_t at = cl->n_candidates;

	if (!volume_would_do(s, o, &cand.size))
		return true;
	decode_terms(s->c->a, o, &cand.terms, &cand.n_terms, &cand.has_terms);
	if (cl->n_candidates == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 8;
		struct candidate *p = arena_array(s->c->a, cap, sizeof(*p));

		if (cl->n_candidates)
			memcpy(p, cl->candidates, cl->n_candidates * sizeof(*p));
		cl->candidates = p;
		s->cap = cap;
	}
	while (at > 0 && cl->candidates[at - 1].size > cand.size) {
		cl->candidates[at] = cl->candidates[at - 1];
		at--;
	}
	cl->candidates[at] = cand;
	cl->n_candidates++;
	return true;
}

static void find_candidates(struct cycle *c, struct claim *cl, struct str class)
{
	struct search s = { .c = c, .claim = cl, .class = class };
	struct quantity q;

	if (quantity_parse(json_str_at(obj_tree(cl->obj), "spec.resources.requests.storage"), &q))
		s.size = q.nano;
	c->volumes->each_volume(search_one, &s, c->volumes->ctx);
}

/* ---- preparing ---- */

static void refuse(struct cycle *c, const char *fmt, struct str name)
{
	struct str text = str_from(fmt), head;

	str_cut(&text, '%', &head);
	c->diag.message = arena_fmt(c->a, STR_FMT STR_FMT STR_FMT, STR_ARG(head), STR_ARG(name),
				    STR_ARG(text));
}

static void prepare_unbound(struct cycle *c, struct claim *cl)
{
	const struct json *tree = obj_tree(cl->obj), *class;
	struct str name = json_str_at(tree, "spec.storageClassName");

	cl->class = str_empty(name) ? NULL : c->volumes->find_class(name, c->volumes->ctx);
	class = cl->class ? obj_tree(cl->class) : NULL;
	if (!str_eqz(json_str_at(class, "volumeBindingMode"), "WaitForFirstConsumer") ||
	    !str_empty(json_str_at(tree, "spec.volumeName"))) {
		c->diag.message = STR("pod has unbound immediate PersistentVolumeClaims");
		return;
	}
	cl->selected_node = meta_annotation(tree, SELECTED_NODE);
	cl->can_provision = !str_eqz(json_str_at(class, "provisioner"), NO_PROVISIONER);
	find_candidates(c, cl, name);
}

static void prepare_claim(struct cycle *c, struct claim *cl, struct str name, bool ephemeral)
{
	cl->obj = c->volumes ? c->volumes->find_claim(c->pod->ns, name, c->volumes->ctx) : NULL;
	if (!cl->obj) {
		refuse(c,
		       ephemeral ? "waiting for ephemeral volume controller to create the "
				   "persistentvolumeclaim \"%\""
				 : "persistentvolumeclaim \"%\" not found",
		       name);
		return;
	}
	if (cl->obj->deleting) {
		refuse(c, "persistentvolumeclaim \"%\" is being deleted", name);
		return;
	}
	cl->bound = claim_is_bound(cl->obj);
	if (!cl->bound) {
		prepare_unbound(c, cl);
		return;
	}
	cl->volume = c->volumes->find_volume(json_str_at(obj_tree(cl->obj), "spec.volumeName"),
					     c->volumes->ctx);
	if (cl->volume)
		decode_terms(c->a, cl->volume, &cl->terms, &cl->n_terms, &cl->has_terms);
}

bool volumes_skip(struct cycle *c)
{
	const struct json *volumes = json_get(c->pod->spec, "volumes");
	struct volumes_state *st = arena_new_obj(c->a, struct volumes_state);

	st->claims = arena_array(c->a, json_len(volumes) + 1, sizeof(*st->claims));
	json_for_each(it, volumes)
	{
		struct str name = volume_claim_name(c->a, it.val, c->pod->name);

		if (str_empty(name))
			continue;
		prepare_claim(c, &st->claims[st->n], name, json_get(it.val, "ephemeral"));
		if (!str_empty(c->diag.message))
			return false;
		st->n++;
	}
	c->volume_state = st;
	return st->n == 0;
}

/* ---- filtering ---- */

static bool topology_term_matches(const struct json *term, const struct node_info *n)
{
	json_for_each(it, json_get(term, "matchLabelExpressions"))
	{
		struct str have = obj_label(n->obj, json_str_at(it.val, "key"));
		bool found = false;

		json_for_each(v, json_get(it.val, "values"))
		{
			found |= have.p && str_eq(json_as_str(v.val), have);
		}
		if (!found)
			return false;
	}
	return true;
}

static bool class_reaches(const struct obj *class, const struct node_info *n)
{
	const struct json *list = json_get(obj_tree(class), "allowedTopologies");

	json_for_each(it, list)
	{
		if (topology_term_matches(it.val, n))
			return true;
	}
	return json_len(list) == 0;
}

static const struct candidate *best_candidate(const struct claim *cl, const struct node_info *n)
{
	for (size_t i = 0; i < cl->n_candidates; i++) {
		const struct candidate *v = &cl->candidates[i];

		if (terms_match(v->terms, v->n_terms, v->has_terms, n))
			return v;
	}
	return NULL;
}

static const char *claim_refuses(const struct claim *cl, const struct node_info *n)
{
	if (cl->bound && !cl->volume)
		return "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
	if (cl->bound)
		return terms_match(cl->terms, cl->n_terms, cl->has_terms, n)
			       ? NULL
			       : "node(s) didn't match PersistentVolume's node affinity";
	if (!str_empty(cl->selected_node) && !str_eqz(cl->selected_node, n->name))
		return "node(s) didn't find available persistent volumes to bind";
	if (best_candidate(cl, n) || (cl->can_provision && class_reaches(cl->class, n)))
		return NULL;
	return "node(s) didn't find available persistent volumes to bind";
}

enum verdict volumes_filter(struct cycle *c, const struct node_info *n)
{
	for (size_t i = 0; i < c->volume_state->n; i++) {
		const char *why = claim_refuses(&c->volume_state->claims[i], n);

		if (why) {
			diagnosis_add(&c->diag, why);
			return FITS_NEVER;
		}
	}
	return FITS;
}

void volumes_plan(struct cycle *c, const struct node_info *n, struct volume_step **ret,
		  size_t *ret_n)
{
	const struct volumes_state *st = c->volume_state;
	struct volume_step *steps = arena_array(c->a, st ? st->n + 1 : 1, sizeof(*steps));
	size_t k = 0;

	for (size_t i = 0; st && i < st->n; i++) {
		const struct claim *cl = &st->claims[i];
		const struct candidate *v;

		if (cl->bound)
			continue;
		v = best_candidate(cl, n);
		steps[k++] = (struct volume_step){
			.claim = cl->obj->name,
			.volume = v ? v->obj->name : STR_EMPTY,
		};
	}
	*ret = steps;
	*ret_n = k;
}
