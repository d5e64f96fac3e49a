/* SPDX-License-Identifier: Apache-2.0 */

#include "node/resources.h"

#include "api/quantity.h"
#include "json/json.h"

static const char *const qos_names[] = {
	[QOS_GUARANTEED] = "Guaranteed",
	[QOS_BURSTABLE] = "Burstable",
	[QOS_BEST_EFFORT] = "BestEffort",
};

const char *qos_name(enum qos q)
{
	return qos_names[q];
}

int64_t resource_get(const struct json *container, const char *which, struct str name)
{
	const struct json *v = json_get_s(json_path(container, "resources", which, NULL), name);
	struct quantity q;

	if (!json_is(v, JSON_STR) || !quantity_parse(json_as_str(v), &q))
		return json_as_int(v, 0) * (str_eqz(name, "cpu") ? 1000 : 1);
	return str_eqz(name, "cpu") ? quantity_milli(q) : quantity_value(q);
}

struct resource_amounts resources_of_container(const struct json *container)
{
	struct resource_amounts r = {
		.cpu_request = resource_get(container, "requests", STR("cpu")),
		.cpu_limit = resource_get(container, "limits", STR("cpu")),
		.memory_request = resource_get(container, "requests", STR("memory")),
		.memory_limit = resource_get(container, "limits", STR("memory")),
	};

	if (!r.cpu_request)
		r.cpu_request = r.cpu_limit;
	if (!r.memory_request)
		r.memory_request = r.memory_limit;
	return r;
}

enum qos qos_of_pod(const struct json *pod)
{
	static const char *const lists[] = { "spec.containers", "spec.initContainers" };
	bool any = false, guaranteed = true;

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_for_each(it, json_at(pod, lists[i]))
		{
			struct resource_amounts r = resources_of_container(it.val);

			if (r.cpu_request || r.cpu_limit || r.memory_request || r.memory_limit)
				any = true;
			if (!r.cpu_limit || !r.memory_limit || r.cpu_request != r.cpu_limit ||
			    r.memory_request != r.memory_limit)
				guaranteed = false;
		}
	}
	if (!any)
		return QOS_BEST_EFFORT;
	return guaranteed ? QOS_GUARANTEED : QOS_BURSTABLE;
}

static bool resources_is_sidecar(const struct json *container)
{
	return str_eqz(json_str_at(container, "restartPolicy"), "Always");
}

static void resources_add(struct resource_amounts *sum, const struct resource_amounts *r)
{
	sum->cpu_request += r->cpu_request;
	sum->cpu_limit += r->cpu_limit;
	sum->memory_request += r->memory_request;
	sum->memory_limit += r->memory_limit;
}

static int64_t resources_overhead(const struct json *pod, const char *name)
{
	struct quantity q;

	if (!quantity_parse(json_as_str(json_get(json_at(pod, "spec.overhead"), name)), &q))
		return 0;
	return strcmp(name, "cpu") == 0 ? quantity_milli(q) : quantity_value(q);
}

struct resource_amounts resources_of_pod(const struct json *pod)
{
	struct resource_amounts sum = { 0 }, side = { 0 }, init = { 0 };
	bool cpu_limited = true, memory_limited = true;

	json_for_each(it, json_at(pod, "spec.containers"))
	{
		struct resource_amounts r = resources_of_container(it.val);

		resources_add(&sum, &r);
		cpu_limited = cpu_limited && r.cpu_limit;
		memory_limited = memory_limited && r.memory_limit;
	}
	json_for_each(it, json_at(pod, "spec.initContainers"))
	{
		struct resource_amounts r = resources_of_container(it.val);

		cpu_limited = cpu_limited && r.cpu_limit;
		memory_limited = memory_limited && r.memory_limit;
		resources_add(&r, &side);
		if (resources_is_sidecar(it.val))
			side = r;
		init.cpu_request = MAX(init.cpu_request, r.cpu_request);
		init.cpu_limit = MAX(init.cpu_limit, r.cpu_limit);
		init.memory_request = MAX(init.memory_request, r.memory_request);
		init.memory_limit = MAX(init.memory_limit, r.memory_limit);
	}
	resources_add(&sum, &side);
	sum.cpu_request = MAX(sum.cpu_request, init.cpu_request) + resources_overhead(pod, "cpu");
	sum.memory_request =
		MAX(sum.memory_request, init.memory_request) + resources_overhead(pod, "memory");
	sum.cpu_limit = cpu_limited ? MAX(sum.cpu_limit, init.cpu_limit) : 0;
	sum.memory_limit = memory_limited ? MAX(sum.memory_limit, init.memory_limit) : 0;
	if (sum.cpu_limit)
		sum.cpu_limit += resources_overhead(pod, "cpu");
	if (sum.memory_limit)
		sum.memory_limit += resources_overhead(pod, "memory");
	return sum;
}

int64_t cpu_shares(int64_t milli)
{
	return MIN(MAX(milli * 1024 / 1000, 2), 262144);
}

int64_t cpu_quota_us(int64_t milli)
{
	if (milli <= 0)
		return -1;
	return MAX(milli * CPU_PERIOD_US / 1000, 1000);
}

int64_t oom_score_adj(const struct json *pod, const struct json *container, int64_t memory_capacity)
{
	int64_t request = resources_of_container(container).memory_request;
	int64_t adj;

	if (json_int_at(pod, "spec.priority", 0) >= 2000000000)
		return -997;
	switch (qos_of_pod(pod)) {
	case QOS_GUARANTEED:
		return -997;
	case QOS_BEST_EFFORT:
		return 1000;
	case QOS_BURSTABLE:
		break;
	}
	adj = memory_capacity ? 1000 - request / (memory_capacity / 1000 + 1) : 999;
	return MIN(MAX(adj, 3), 999);
}
