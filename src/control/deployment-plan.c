/* SPDX-License-Identifier: Apache-2.0 */
#include "control/deployment-plan.h"

#include <math.h>
#include <stdlib.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/encode.h"
#include "client/owned.h"
#include "json/json.h"

#define ROUND_DOWN false
#define ROUND_UP   true

/* ---- numbers */

static int64_t deployment_int_or_percent(const struct json *v, int64_t of, bool up)
{
	struct str text = json_as_str(v);
	int64_t n;

	if (!str_has_suffix(text, STR("%")))
		return json_as_int(v, 0);
	if (!str_to_i64(str_sub(text, 0, text.n - 1), &n))
		return 0;
	return (n * of + (up ? 99 : 0)) / 100;
}

static void deployment_bounds(struct deployment_plan *p)
{
	const struct json *u = json_at(p->deployment, "spec.strategy.rollingUpdate");

	p->replicas = json_int_at(p->deployment, "spec.replicas", 1);
	p->rolling = !str_eqz(json_str_at(p->deployment, "spec.strategy.type"), "Recreate");
	if (p->rolling && p->replicas) {
		p->max_surge =
			deployment_int_or_percent(json_get(u, "maxSurge"), p->replicas, ROUND_UP);
		p->max_unavailable = deployment_int_or_percent(json_get(u, "maxUnavailable"),
							       p->replicas, ROUND_DOWN);
		/* validation refuses 0 and 0, percentages may still round to it */
		if (!p->max_surge && !p->max_unavailable)
			p->max_unavailable = 1;
		p->max_unavailable = MIN(p->max_unavailable, p->replicas);
	}
	p->min_available = p->rolling ? p->replicas - p->max_unavailable : 0;
}

/* ---- which is which */

static int deployment_cmp_age(const void *x, const void *y)
{
	const struct deployment_rs *a = x, *b = y;
	int r = str_cmp(json_str_at(a->obj, "metadata.creationTimestamp"),
			json_str_at(b->obj, "metadata.creationTimestamp"));

	return r ? r : str_cmp(meta_name(a->obj), meta_name(b->obj));
}

static bool deployment_same_template(struct arena *a, const struct json *x, const struct json *y)
{
	struct json *copy = json_copy(a, y);
	struct json *labels = json_at(copy, "metadata.labels");

	if (labels)
		json_delz(labels, DEPLOYMENT_HASH);
	return json_equal(x, copy);
}

void deployment_plan_init(struct arena *a, struct deployment_plan *p, const struct json *deployment,
			  const struct owned_list *sets)
{
	*p = (struct deployment_plan){ .deployment = deployment };
	p->v = arena_array(a, sets->n + 1, sizeof(*p->v));
	for (size_t i = 0; i < sets->n; i++) {
		int64_t n = json_int_at(sets->v[i], "spec.replicas", 1);

		p->v[p->n++] = (struct deployment_rs){ json_copy(a, sets->v[i]), n, n };
	}
	qsort(p->v, p->n, sizeof(*p->v), deployment_cmp_age);
	deployment_bounds(p);
	for (size_t i = 0; i < p->n && !p->fresh; i++) {
		if (deployment_same_template(a, json_at(deployment, "spec.template"),
					     json_at(p->v[i].obj, "spec.template")))
			p->fresh = &p->v[i];
	}
}

static int64_t deployment_sum(const struct deployment_plan *p, const char *path)
{
	int64_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		n += json_int_at(p->v[i].obj, path, 0);
	return n;
}

static int64_t deployment_all_replicas(const struct deployment_plan *p)
{
	int64_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		n += p->v[i].replicas;
	return n;
}

bool deployment_has_old_replicas(const struct deployment_plan *p)
{
	return deployment_all_replicas(p) > (p->fresh ? p->fresh->replicas : 0);
}

/* ---- the new set */

struct str deployment_hash(struct arena *a, const struct json *deployment)
{
	/* no vowels, so that no words come out, as upstream */
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
	int64_t collisions = json_int_at(deployment, "status.collisionCount", 0);
	struct str text = json_text(a, json_at(deployment, "spec.template"));
	_cleanup_buf_ struct buf b = { 0 };
	struct str digits;

	if (collisions)
		text = arena_fmt(a, STR_FMT "%lld", STR_ARG(text), (long long)collisions);
	digits = arena_fmt(a, "%u", fnv32a(text));
	for (size_t i = 0; i < digits.n; i++)
		buf_addc(&b, alphabet[(unsigned char)digits.p[i] % (sizeof(alphabet) - 1)]);
	return buf_to_arena(&b, a);
}

int64_t deployment_next_revision(const struct deployment_plan *p)
{
	int64_t max = 0, n;

	for (size_t i = 0; i < p->n; i++) {
		if (&p->v[i] != p->fresh &&
		    str_to_i64(meta_annotation(p->v[i].obj, DEPLOYMENT_REVISION), &n))
			max = MAX(max, n);
	}
	return max + 1;
}

/* What kubectl and this controller write for themselves is not handed down. */
static bool deployment_skips_annotation(struct str key)
{
	static const char *const names[] = {
		"kubectl.kubernetes.io/last-applied-configuration",
		DEPLOYMENT_REVISION,
		DEPLOYMENT_HISTORY,
		DEPLOYMENT_DESIRED,
		DEPLOYMENT_MAX,
		"deprecated.deployment.rollback.to",
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (str_eqz(key, names[i]))
			return true;
	}
	return false;
}

static bool deployment_annotate(struct arena *a, struct json *rs, struct str key, struct str val)
{
	struct json *all = json_sub(a, json_sub(a, rs, "metadata"), "annotations");

	if (json_get_s(all, key) && str_eq(json_as_str(json_get_s(all, key)), val))
		return false;
	json_set_s(a, all, arena_str(a, key), json_strcpy(a, val));
	return true;
}

bool deployment_annotate_sizes(struct arena *a, const struct deployment_plan *p, struct json *rs)
{
	bool changed = deployment_annotate(a, rs, STR(DEPLOYMENT_DESIRED),
					   arena_fmt(a, "%lld", (long long)p->replicas));

	return deployment_annotate(a, rs, STR(DEPLOYMENT_MAX),
				   arena_fmt(a, "%lld", (long long)(p->replicas + p->max_surge))) ||
	       changed;
}

static bool deployment_annotate_revision(struct arena *a, const struct deployment_plan *p,
					 struct json *rs, bool exists)
{
	struct str old = meta_annotation(rs, DEPLOYMENT_REVISION), history;
	int64_t now = deployment_next_revision(p), was = 0;

	if (!str_empty(old) && !str_to_i64(old, &was))
		return false;
	if (was >= now)
		return false;
	old = arena_str(a, old);
	deployment_annotate(a, rs, STR(DEPLOYMENT_REVISION), arena_fmt(a, "%lld", (long long)now));
	if (!exists || str_empty(old))
		return true;
	history = meta_annotation(rs, DEPLOYMENT_HISTORY);
	history = str_empty(history)
			  ? old
			  : arena_fmt(a, STR_FMT "," STR_FMT, STR_ARG(history), STR_ARG(old));
	deployment_annotate(a, rs, STR(DEPLOYMENT_HISTORY), history);
	return true;
}

bool deployment_update_rs(struct arena *a, const struct deployment_plan *p, struct json *rs,
			  bool exists)
{
	const struct json *min_ready = json_at(p->deployment, "spec.minReadySeconds");
	bool changed = false;

	json_for_each(it, meta_annotations(p->deployment))
	{
		if (!deployment_skips_annotation(it.key))
			changed |= deployment_annotate(a, rs, it.key, json_as_str(it.val));
	}
	changed |= deployment_annotate_revision(a, p, rs, exists);
	if (!exists)
		changed |= deployment_annotate_sizes(a, p, rs);
	if (json_as_int(min_ready, 0) != json_int_at(rs, "spec.minReadySeconds", 0)) {
		json_set_int(a, json_sub(a, rs, "spec"), "minReadySeconds",
			     json_as_int(min_ready, 0));
		changed = true;
	}
	return changed;
}

struct json *deployment_make_rs(struct arena *a, const struct deployment_plan *p)
{
	const struct json *d = p->deployment, *tmeta;
	struct str hash = deployment_hash(a, d);
	struct json *rs = json_object(a), *meta, *spec, *labels;

	json_set_str(a, rs, "apiVersion", STR("apps/v1"));
	json_set_str(a, rs, "kind", STR("ReplicaSet"));
	meta = json_sub(a, rs, "metadata");
	json_set(a, meta, "name",
		 json_strf(a, STR_FMT "-" STR_FMT, STR_ARG(meta_name(d)), STR_ARG(hash)));
	json_set(a, meta, "namespace", json_strcpy(a, meta_namespace(d)));
	spec = json_sub(a, rs, "spec");
	json_set(a, spec, "selector", json_copy(a, json_at(d, "spec.selector")));
	json_set_str(a, json_sub(a, json_get(spec, "selector"), "matchLabels"), DEPLOYMENT_HASH,
		     hash);
	json_set(a, spec, "template", json_copy(a, json_at(d, "spec.template")));
	tmeta = json_sub(a, json_get(spec, "template"), "metadata");
	labels = json_get(tmeta, "labels");
	if (!labels)
		labels = json_sub(a, json_at(spec, "template.metadata"), "labels");
	json_set_str(a, labels, DEPLOYMENT_HASH, hash);
	json_set(a, meta, "labels", json_copy(a, labels));
	meta_set_controller(a, rs, d, STR("apps/v1"), STR("Deployment"));
	json_set_int(a, spec, "replicas", deployment_fresh_replicas(p));
	deployment_update_rs(a, p, rs, false);
	return rs;
}

/* ---- rolling */

int64_t deployment_fresh_replicas(const struct deployment_plan *p)
{
	int64_t has = p->fresh ? p->fresh->replicas : 0, room;

	if (!p->rolling || has >= p->replicas)
		return p->replicas;
	room = p->replicas + p->max_surge - deployment_all_replicas(p);
	if (room <= 0)
		return has;
	return has + MIN(room, p->replicas - has);
}

/* What is not available anyway goes first. */
static int64_t deployment_drop_unhealthy(struct deployment_plan *p, int64_t max)
{
	int64_t done = 0;

	for (size_t i = 0; i < p->n && done < max; i++) {
		struct deployment_rs *r = &p->v[i];
		int64_t available = json_int_at(r->obj, "status.availableReplicas", 0);

		if (r == p->fresh || !r->replicas || r->replicas <= available)
			continue;
		r->want = r->replicas - MIN(max - done, r->replicas - available);
		done += r->replicas - r->want;
	}
	return done;
}

void deployment_scale_down_old(struct deployment_plan *p)
{
	int64_t fresh_unavailable = 0, max, left;

	if (!deployment_has_old_replicas(p))
		return;
	if (p->fresh)
		fresh_unavailable = p->fresh->replicas -
				    json_int_at(p->fresh->obj, "status.availableReplicas", 0);
	max = deployment_all_replicas(p) - p->min_available - fresh_unavailable;
	if (max <= 0)
		return;
	deployment_drop_unhealthy(p, max);
	left = deployment_sum(p, "status.availableReplicas") - p->min_available;
	for (size_t i = 0; i < p->n && left > 0; i++) {
		struct deployment_rs *r = &p->v[i];
		int64_t n = MIN(r->want, left);

		if (r == p->fresh || !r->want)
			continue;
		r->want -= n;
		left -= n;
	}
}

/* ---- scaling in proportion */

bool deployment_is_scaling(const struct deployment_plan *p)
{
	int64_t desired;

	for (size_t i = 0; i < p->n; i++) {
		if (p->v[i].replicas &&
		    str_to_i64(meta_annotation(p->v[i].obj, DEPLOYMENT_DESIRED), &desired) &&
		    desired != p->replicas)
			return true;
	}
	return false;
}

static struct deployment_rs *deployment_only_active(struct deployment_plan *p, size_t *ret_active)
{
	struct deployment_rs *one = NULL;

	*ret_active = 0;
	for (size_t i = 0; i < p->n; i++) {
		if (p->v[i].replicas) {
			(*ret_active)++;
			one = &p->v[i];
		}
	}
	if (*ret_active > 1)
		return NULL;
	if (!one)
		one = p->fresh ? p->fresh : p->n ? &p->v[p->n - 1] : NULL;
	return one;
}

static bool deployment_saturated(const struct deployment_plan *p)
{
	int64_t desired;

	return p->fresh &&
	       str_to_i64(meta_annotation(p->fresh->obj, DEPLOYMENT_DESIRED), &desired) &&
	       p->fresh->replicas == p->replicas && desired == p->replicas &&
	       json_int_at(p->fresh->obj, "status.availableReplicas", 0) == p->replicas;
}

/* How far rs moves for the whole to keep its shape. */
static int64_t deployment_fraction(const struct deployment_plan *p, const struct deployment_rs *r)
{
	int64_t before = 0;

	if (!p->replicas)
		return -r->replicas;
	if (!str_to_i64(meta_annotation(r->obj, DEPLOYMENT_MAX), &before))
		before = json_int_at(p->deployment, "status.replicas", 0);
	if (before <= 0)
		return 0;
	return llround((double)r->replicas * (double)(p->replicas + p->max_surge) /
		       (double)before) -
	       r->replicas;
}

/* Larger ones first; of equals the newer when growing, the older when shrinking. */
static bool deployment_goes_first(const struct deployment_rs *x, const struct deployment_rs *y,
				  bool growing)
{
	if (x->replicas != y->replicas)
		return x->replicas > y->replicas;
	return growing ? x > y : x < y;
}

static void deployment_scale_proportionally(struct arena *a, struct deployment_plan *p)
{
	int64_t allowed = p->replicas ? p->replicas + p->max_surge : 0, added = 0;
	int64_t to_add = allowed - deployment_all_replicas(p);
	struct deployment_rs **v = arena_array(a, p->n + 1, sizeof(struct deployment_rs *));
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++) {
		size_t k = n;

		if (!p->v[i].replicas)
			continue;
		for (; k && deployment_goes_first(&p->v[i], v[k - 1], to_add > 0); k--)
			v[k] = v[k - 1];
		v[k] = &p->v[i];
		n++;
	}
	for (size_t i = 0; i < n && to_add; i++) {
		int64_t share = deployment_fraction(p, v[i]), left = to_add - added;

		share = to_add > 0 ? MIN(share, left) : MAX(share, left);
		v[i]->want = v[i]->replicas + share;
		added += share;
	}
	if (n && to_add)
		v[0]->want = MAX(v[0]->want + to_add - added, 0);
}

void deployment_scale(struct arena *a, struct deployment_plan *p)
{
	size_t n_active;
	struct deployment_rs *only = deployment_only_active(p, &n_active);

	if (only) {
		only->want = p->replicas;
		return;
	}
	if (deployment_saturated(p)) {
		for (size_t i = 0; i < p->n; i++) {
			if (&p->v[i] != p->fresh)
				p->v[i].want = 0;
		}
		return;
	}
	if (p->rolling)
		deployment_scale_proportionally(a, p);
}
