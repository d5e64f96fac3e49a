/* SPDX-License-Identifier: Apache-2.0 */
#include "api/resource-list.h"

#include "base/arena.h"
#include "base/buf.h"
#include "json/json.h"

static bool amount_parse(const struct json *v, struct quantity *ret)
{
	if (json_is(v, JSON_INT)) {
		*ret = quantity_from_value(json_as_int(v, 0), QUANTITY_DECIMAL_SI);
		return true;
	}
	return json_is(v, JSON_STR) && quantity_parse(json_as_str(v), ret);
}

struct resource_list resource_list_from_json(struct arena *a, const struct json *json)
{
	struct resource_list l = { .a = a };
	struct quantity q;

	json_for_each(it, json)
	{
		if (amount_parse(it.val, &q))
			resource_list_set(&l, it.key, q);
	}
	return l;
}

struct json *resource_list_to_json(struct arena *a, const struct resource_list *l)
{
	struct json *j = json_object(a);

	for (size_t i = 0; i < l->n; i++)
		json_set_s(a, j, l->v[i].name, json_str(a, quantity_text(a, l->v[i].q)));
	return j;
}

struct str resource_list_text(struct arena *a, const struct resource_list *l)
{
	_cleanup_buf_ struct buf b = { 0 };

	for (size_t i = 0; i < l->n; i++)
		buf_addf(&b, "%s" STR_FMT "=" STR_FMT, i ? "," : "", STR_ARG(l->v[i].name),
			 STR_ARG(quantity_text(a, l->v[i].q)));
	return buf_to_arena(&b, a);
}

/* Where name is or belongs. */
static size_t list_pos(const struct resource_list *l, struct str name, bool *ret_found)
{
	size_t lo = 0, hi = l->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = str_cmp(l->v[mid].name, name);

		if (c == 0) {
			*ret_found = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*ret_found = false;
	return lo;
}

const struct quantity *resource_list_find(const struct resource_list *l, struct str name)
{
	bool found;
	size_t i = list_pos(l, name, &found);

	return found ? &l->v[i].q : NULL;
}

bool resource_list_has(const struct resource_list *l, struct str name)
{
	return resource_list_find(l, name) != NULL;
}

bool resource_list_equal(const struct resource_list *x, const struct resource_list *y)
{
	if (x->n != y->n)
		return false;
	for (size_t i = 0; i < x->n; i++)
		if (!str_eq(x->v[i].name, y->v[i].name) || quantity_cmp(x->v[i].q, y->v[i].q) != 0)
			return false;
	return true;
}

static void list_grow(struct resource_list *l)
{
	struct resource_amount *v;

	l->cap = l->cap ? l->cap * 2 : 8;
	v = arena_array(l->a, l->cap, sizeof(*v));
	if (l->n)
		memcpy(v, l->v, l->n * sizeof(*v));
	l->v = v;
}

void resource_list_set(struct resource_list *l, struct str name, struct quantity q)
{
	bool found;
	size_t i = list_pos(l, name, &found);

	if (!found) {
		if (l->n == l->cap)
			list_grow(l);
		memmove(l->v + i + 1, l->v + i, (l->n - i) * sizeof(*l->v));
		l->v[i].name = name;
		l->n++;
	}
	l->v[i].q = q;
}

void resource_list_del(struct resource_list *l, struct str name)
{
	bool found;
	size_t i = list_pos(l, name, &found);

	if (!found)
		return;
	l->n--;
	memmove(l->v + i, l->v + i + 1, (l->n - i) * sizeof(*l->v));
}

void resource_list_add(struct resource_list *l, const struct resource_list *other)
{
	for (size_t i = 0; i < other->n; i++) {
		const struct resource_amount *o = &other->v[i];
		const struct quantity *q = resource_list_find(l, o->name);

		resource_list_set(l, o->name, q ? quantity_add(*q, o->q) : o->q);
	}
}

void resource_list_max(struct resource_list *l, const struct resource_list *other)
{
	for (size_t i = 0; i < other->n; i++) {
		const struct resource_amount *o = &other->v[i];
		const struct quantity *q = resource_list_find(l, o->name);

		if (!q || quantity_cmp(o->q, *q) > 0)
			resource_list_set(l, o->name, o->q);
	}
}

void resource_list_sub_floor(struct resource_list *l, const struct resource_list *other)
{
	const struct quantity zero = { .nano = 0 };

	for (size_t i = 0; i < other->n; i++) {
		const struct quantity *q = resource_list_find(l, other->v[i].name);
		struct quantity d = q ? quantity_sub(*q, other->v[i].q) : zero;

		resource_list_set(l, other->v[i].name, d.nano > 0 ? d : zero);
	}
}

/* ---- a whole Pod */

bool resource_is_pod_level(struct str name)
{
	return str_eqz(name, "cpu") || str_eqz(name, "memory") ||
	       str_has_prefix(name, STR("hugepages-"));
}

static bool pod_level_in(const struct json *list)
{
	json_for_each(it, list)
	{
		if (resource_is_pod_level(it.key))
			return true;
	}
	return false;
}

bool pod_has_pod_level(const struct json *spec)
{
	return pod_level_in(json_at(spec, "resources.requests")) ||
	       pod_level_in(json_at(spec, "resources.limits"));
}

/* What is summed over the containers: requests or limits. */
struct pod_sum {
	struct arena *a;
	const struct json *pod;
	const char *what;
	bool infeasible; /* a resize that will not happen */
	bool spec_only;
};

static bool pod_resize_infeasible(const struct json *pod)
{
	const struct json *c =
		json_find_by(json_at(pod, "status.conditions"), "type", STR("PodResizePending"));

	return str_eqz(json_str_at(c, "reason"), "Infeasible");
}

/* The container's own, or while it is resized the larger of what was and what will be. */
static struct resource_list pod_container(const struct pod_sum *s, const struct json *c,
					  const char *statuses)
{
	const struct json *st =
		json_find_by(json_at(s->pod, statuses), "name", json_str_at(c, "name"));
	struct resource_list l = { .a = s->a }, more;

	if (s->spec_only || !json_get(st, "resources"))
		return resource_list_from_json(s->a, json_get(json_get(c, "resources"), s->what));
	if (!s->infeasible)
		l = resource_list_from_json(s->a, json_get(json_get(c, "resources"), s->what));
	more = resource_list_from_json(s->a, json_get(json_get(st, "resources"), s->what));
	resource_list_max(&l, &more);
	if (str_eqz(str_from(s->what), "requests")) {
		more = resource_list_from_json(s->a, json_get(st, "allocatedResources"));
		resource_list_max(&l, &more);
	}
	return l;
}

static struct resource_list pod_containers(const struct pod_sum *s)
{
	const struct json *spec = json_get(s->pod, "spec");
	struct resource_list sum = { .a = s->a }, sidecars = { .a = s->a }, init = { .a = s->a };

	json_for_each(it, json_get(spec, "containers"))
	{
		struct resource_list l = pod_container(s, it.val, "status.containerStatuses");

		resource_list_add(&sum, &l);
	}
	json_for_each(it, json_get(spec, "initContainers"))
	{
		struct resource_list l = pod_container(s, it.val, "status.initContainerStatuses");

		if (str_eqz(json_str_at(it.val, "restartPolicy"), "Always")) {
			resource_list_add(&sum, &l);
			resource_list_add(&sidecars, &l);
			resource_list_max(&init, &sidecars);
		} else {
			resource_list_add(&l, &sidecars);
			resource_list_max(&init, &l);
		}
	}
	resource_list_max(&sum, &init);
	return sum;
}

static void pod_level(const struct pod_sum *s, struct resource_list *l)
{
	struct resource_list own =
		resource_list_from_json(s->a, json_get(json_at(s->pod, "spec.resources"), s->what));

	for (size_t i = 0; i < own.n; i++)
		if (resource_is_pod_level(own.v[i].name))
			resource_list_set(l, own.v[i].name, own.v[i].q);
}

struct resource_list pod_requests(struct arena *a, const struct json *pod)
{
	const struct pod_sum s = { a, pod, "requests", pod_resize_infeasible(pod), false };
	struct resource_list l = pod_containers(&s), overhead;

	pod_level(&s, &l);
	overhead = resource_list_from_json(a, json_at(pod, "spec.overhead"));
	resource_list_add(&l, &overhead);
	return l;
}

struct resource_list pod_limits(struct arena *a, const struct json *pod)
{
	const struct pod_sum s = { a, pod, "limits", pod_resize_infeasible(pod), false };
	struct resource_list l = pod_containers(&s), overhead;

	pod_level(&s, &l);
	overhead = resource_list_from_json(a, json_at(pod, "spec.overhead"));
	for (size_t i = 0; i < overhead.n; i++) {
		const struct quantity *q = resource_list_find(&l, overhead.v[i].name);

		if (q && q->nano)
			resource_list_set(&l, overhead.v[i].name,
					  quantity_add(*q, overhead.v[i].q));
	}
	return l;
}

struct resource_list pod_spec_sum(struct arena *a, const struct json *pod, const char *what)
{
	const struct pod_sum s = { .a = a, .pod = pod, .what = what, .spec_only = true };
	struct resource_list l = pod_containers(&s);

	pod_level(&s, &l);
	return l;
}

/* ---- names */

bool resource_is_native(struct str name)
{
	return !str_contains(name, STR("/")) || str_contains(name, STR("kubernetes.io/"));
}

bool resource_is_extended(struct str name)
{
	return !resource_is_native(name) && !str_has_prefix(name, STR("requests."));
}
