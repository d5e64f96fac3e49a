/* SPDX-License-Identifier: Apache-2.0 */

#include "scheduler/resources.h"

#include <stdlib.h>

#include "api/quantity.h"
#include "base/arena.h"
#include "base/map.h"
#include "base/mem.h"
#include "json/json.h"

#define NONZERO_CPU    100
#define NONZERO_MEMORY (INT64_C(200) * 1024 * 1024)

/* One table per process, which has one scheduler; it only grows, up to RES_MAX. */
static struct {
	char *name[RES_MAX], *insufficient[RES_MAX];
	int n;
} names;

static void names_add(struct str name)
{
	names.name[names.n] = mem_strdup(name);
	names.insufficient[names.n++] = mem_fmt("Insufficient " STR_FMT, STR_ARG(name));
}

int res_id(struct str name, bool create)
{
	static const char *const fixed[] = { "cpu", "memory", "ephemeral-storage", "pods" };

	for (size_t i = (size_t)names.n; i < ARRAY_LEN(fixed); i++)
		names_add(str_from(fixed[i]));
	for (int i = 0; i < names.n; i++)
		if (str_eqz(name, names.name[i]))
			return i;
	if (!create || names.n == RES_MAX)
		return -1;
	names_add(name);
	return names.n - 1;
}

const char *res_insufficient(int id)
{
	return id == RES_PODS ? "Too many pods" : names.insufficient[id];
}

bool res_amount(int id, const struct json *quantity, int64_t *ret)
{
	struct str text = json_as_str(quantity);
	struct quantity q;

	if (json_is(quantity, JSON_INT)) {
		int64_t v = json_as_int(quantity, 0);

		*ret = id == RES_CPU ? v * 1000 : v;
		return true;
	}
	if (!quantity_parse(text, &q))
		return false;
	*ret = id == RES_CPU ? quantity_milli(q) : quantity_value(q);
	return true;
}

/* ---- sums over a Pod's containers ---- */

struct sums {
	struct arena *a;
	struct res_request *p;
	size_t n, cap;
};

static int64_t *sums_at(struct sums *s, struct str name)
{
	for (size_t i = 0; i < s->n; i++)
		if (str_eq(s->p[i].name, name))
			return &s->p[i].val;
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 8;
		struct res_request *p = arena_array(s->a, cap, sizeof(*p));

		if (s->n)
			memcpy(p, s->p, s->n * sizeof(*p));
		s->p = p;
		s->cap = cap;
	}
	s->p[s->n] = (struct res_request){ .id = res_id(name, false), .name = name };
	return &s->p[s->n++].val;
}

static void sums_add(struct sums *s, const struct json *requests)
{
	json_for_each(it, requests)
	{
		int64_t v;

		if (res_amount(res_id(it.key, false), it.val, &v) && v > 0)
			*sums_at(s, it.key) += v;
	}
}

static void sums_add_sums(struct sums *s, const struct sums *t)
{
	for (size_t i = 0; i < t->n; i++)
		*sums_at(s, t->p[i].name) += t->p[i].val;
}

static void sums_max(struct sums *s, const struct sums *t)
{
	for (size_t i = 0; i < t->n; i++) {
		int64_t *v = sums_at(s, t->p[i].name);

		*v = MAX(*v, t->p[i].val);
	}
}

static const struct json *requests_of(const struct json *container)
{
	return json_at(container, "resources.requests");
}

static bool is_sidecar(const struct json *container)
{
	return str_eqz(json_str_at(container, "restartPolicy"), "Always");
}

static int request_cmp(const void *a, const void *b)
{
	return str_cmp(((const struct res_request *)a)->name,
		       ((const struct res_request *)b)->name);
}

/*
 * max(side-cars + containers, each init container + the side-cars before it), plus the
 * overhead; spec.resources, where given, replaces the sum of what it names.
 */
void res_of_pod(struct arena *a, const struct json *spec, struct res_request **ret, size_t *ret_n)
{
	struct sums total = { .a = a }, sidecars = { .a = a };

	json_for_each(it, json_get(spec, "containers"))
	{
		sums_add(&total, requests_of(it.val));
	}
	json_for_each(it, json_get(spec, "initContainers"))
	{
		if (is_sidecar(it.val))
			sums_add(&total, requests_of(it.val));
	}
	json_for_each(it, json_get(spec, "initContainers"))
	{
		struct sums peak = { .a = a };

		sums_add(&peak, requests_of(it.val));
		sums_add_sums(&peak, &sidecars);
		sums_max(&total, &peak);
		if (is_sidecar(it.val))
			sums_add(&sidecars, requests_of(it.val));
	}
	json_for_each(it, json_at(spec, "resources.requests"))
	{
		int64_t v;

		if (res_amount(res_id(it.key, false), it.val, &v))
			*sums_at(&total, it.key) = v;
	}
	sums_add(&total, json_get(spec, "overhead"));
	if (total.n)
		qsort(total.p, total.n, sizeof(*total.p), request_cmp);
	*ret = total.p;
	*ret_n = total.n;
}

static int64_t request_or(const struct json *requests, int id, const char *name, int64_t dflt)
{
	int64_t v;

	return res_amount(id, json_get(requests, name), &v) ? v : dflt;
}

void res_of_pod_nonzero(const struct json *spec, int64_t *ret_cpu, int64_t *ret_memory)
{
	int64_t cpu = 0, memory = 0, init_cpu = 0, init_memory = 0;

	json_for_each(it, json_get(spec, "containers"))
	{
		const struct json *r = requests_of(it.val);

		cpu += request_or(r, RES_CPU, "cpu", NONZERO_CPU);
		memory += request_or(r, RES_MEMORY, "memory", NONZERO_MEMORY);
	}
	json_for_each(it, json_get(spec, "initContainers"))
	{
		const struct json *r = requests_of(it.val);
		int64_t c = request_or(r, RES_CPU, "cpu", NONZERO_CPU);
		int64_t m = request_or(r, RES_MEMORY, "memory", NONZERO_MEMORY);

		if (is_sidecar(it.val)) {
			cpu += c;
			memory += m;
		} else {
			init_cpu = MAX(init_cpu, c);
			init_memory = MAX(init_memory, m);
		}
	}
	*ret_cpu = MAX(cpu, init_cpu) + request_or(json_get(spec, "overhead"), RES_CPU, "cpu", 0);
	*ret_memory = MAX(memory, init_memory) +
		      request_or(json_get(spec, "overhead"), RES_MEMORY, "memory", 0);
}
