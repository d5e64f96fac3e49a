/* SPDX-License-Identifier: Apache-2.0 */

#include "client/replica-plan.h"

#include "api/meta.h"
#include "api/selector.h"
#include "base/arena.h"
#include "json/json.h"

enum replica_claim replica_claim(const struct json *set, const struct selector *sel,
				 const struct json *member)
{
	bool matches = !selector_empty(sel) && selector_matches(sel, meta_labels(member));

	if (meta_controller(member)) {
		if (!meta_controlled_by(member, meta_uid(set)))
			return CLAIM_NONE;
		if (matches)
			return CLAIM_KEEP;
		return meta_deleting(set) ? CLAIM_NONE : CLAIM_RELEASE;
	}
	if (!matches || meta_deleting(set) || meta_deleting(member))
		return CLAIM_NONE;
	return CLAIM_ADOPT;
}

static bool replica_same_node(const struct replica_member *x, const struct replica_member *y)
{
	struct str node = json_str_at(x->obj, "spec.nodeName");

	return !str_empty(node) && str_eq(node, json_str_at(y->obj, "spec.nodeName"));
}

/* How long until it has been ready for the required time; 0: it has. */
static int64_t replica_available_in_ms(const struct replica_member_ops *ops,
				       const struct json *member, int64_t min_ready_seconds,
				       struct wall now)
{
	struct wall since;
	int64_t ms;

	if (min_ready_seconds <= 0 || !ops->ready_since || !ops->ready_since(member, &since))
		return 0;
	ms = (since.ns - now.ns) / NS_PER_MS + min_ready_seconds * 1000;
	return MAX(ms, 0);
}

void replica_judge(const struct replica_member_ops *ops, struct replica_member *v, size_t n,
		   int64_t min_ready_seconds, struct wall now)
{
	for (size_t i = 0; i < n; i++) {
		v[i].state = ops->state(v[i].obj);
		v[i].ready = v[i].state == REPLICA_ACTIVE && ops->ready(v[i].obj);
		v[i].available = v[i].ready && replica_available_in_ms(ops, v[i].obj,
								       min_ready_seconds, now) == 0;
	}
	for (size_t i = 0; i < n; i++) {
		v[i].crowd = 0;
		for (size_t j = 0; v[i].state == REPLICA_ACTIVE && j < n; j++)
			if (v[j].state == REPLICA_ACTIVE && replica_same_node(&v[i], &v[j]))
				v[i].crowd++;
	}
}

static bool replica_fully_labeled(const struct json *set, const struct json *member)
{
	const struct json *have = meta_labels(member);

	json_for_each(it, json_at(set, "spec.template.metadata.labels"))
	{
		const struct json *l = json_get_s(have, it.key);

		if (!l || !str_eq(json_as_str(l), json_as_str(it.val)))
			return false;
	}
	return true;
}

struct replica_counts replica_count(const struct replica_member_ops *ops,
				    const struct replica_member *v, size_t n,
				    const struct json *set, struct wall now)
{
	struct replica_counts c = { .next_available_ms = -1 };
	int64_t min_ready = json_int_at(set, "spec.minReadySeconds", 0);

	for (size_t i = 0; i < n; i++) {
		int64_t ms;

		if (v[i].state != REPLICA_ACTIVE)
			continue;
		c.replicas++;
		c.fully_labeled += replica_fully_labeled(set, v[i].obj);
		c.ready += v[i].ready;
		c.available += v[i].available;
		if (!v[i].ready || v[i].available)
			continue;
		ms = replica_available_in_ms(ops, v[i].obj, min_ready, now);
		if (c.next_available_ms < 0 || ms < c.next_available_ms)
			c.next_available_ms = ms;
	}
	return c;
}

/* Merge sort: stable, and it needs no context for the comparison. */
static void replica_sort(struct replica_member *v, struct replica_member *tmp, size_t n,
			 int (*rank)(const struct replica_member *, const struct replica_member *))
{
	size_t half = n / 2;
	size_t i = 0;
	size_t j = half;

	if (n < 2)
		return;
	replica_sort(v, tmp, half, rank);
	replica_sort(v + half, tmp, n - half, rank);
	for (size_t k = 0; k < n; k++) {
		if (j == n || (i < half && rank(&v[i], &v[j]) <= 0))
			tmp[k] = v[i++];
		else
			tmp[k] = v[j++];
	}
	memcpy(v, tmp, n * sizeof(*v));
}

size_t replica_order(const struct replica_member_ops *ops, struct replica_member *v, size_t n)
{
	struct arena *a;
	size_t n_active = 0;

	for (size_t i = 0; i < n; i++) {
		struct replica_member m = v[i];

		if (m.state != REPLICA_ACTIVE)
			continue;
		v[i] = v[n_active];
		v[n_active++] = m;
	}
	if (!ops->rank || n_active < 2)
		return n_active;
	a = arena_new();
	replica_sort(v, arena_array(a, n_active, sizeof(*v)), n_active, ops->rank);
	arena_free(a);
	return n_active;
}

int64_t replica_desired(const struct json *set)
{
	return json_int_at(set, "spec.replicas", 1);
}

/* patches */

static struct json *replica_patch(struct arena *a, const struct json *member, struct json *refs)
{
	struct json *patch = json_object(a);
	struct json *meta = json_sub(a, patch, "metadata");

	json_set_str(a, meta, "uid", meta_uid(member));
	json_set_str(a, meta, "resourceVersion", meta_rv(member));
	json_set(a, meta, "ownerReferences", json_len(refs) ? refs : json_null(a));
	return patch;
}

struct json *replica_adopt_patch(struct arena *a, const struct json *member, const struct json *set,
				 struct str api_version, struct str kind)
{
	struct json *copy = json_object(a);
	const struct json *refs = json_at(member, "metadata.ownerReferences");

	if (refs)
		json_set(a, json_sub(a, copy, "metadata"), "ownerReferences", json_copy(a, refs));
	meta_set_controller(a, copy, set, api_version, kind);
	return replica_patch(a, member, json_copy(a, json_at(copy, "metadata.ownerReferences")));
}

struct json *replica_release_patch(struct arena *a, const struct json *member,
				   const struct json *set)
{
	struct json *refs = json_array(a);

	json_for_each(it, json_at(member, "metadata.ownerReferences"))
	{
		if (!str_eq(json_as_str(json_get(it.val, "uid")), meta_uid(set)))
			json_push(refs, json_copy(a, it.val));
	}
	return replica_patch(a, member, refs);
}
