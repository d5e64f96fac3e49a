/* SPDX-License-Identifier: Apache-2.0 */
/* CPU per decision of the scheduler alone: 5,000 nodes, 10,000 Pods, no API. */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/arena.h"
#include "base/err.h"
#include "scheduler/plugins.h"
#include "json/json.h"

#define NODES 5000
#define PODS  10000

static const struct obj *make(const char *kind, int i, const char *rest)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str text = arena_fmt(a,
				    "{\"metadata\":{\"name\":\"%s-%d\",\"namespace\":\"default\","
				    "\"uid\":\"%d\",\"labels\":{\"kubernetes.io/hostname\":"
				    "\"%s-%d\",\"zone\":\"z%d\"}},%s}",
				    kind, i, i, kind, i, i % 3, rest);
	struct json *j;

	if (json_parse(a, text, &j))
		abort();
	return obj_new(j, (struct rev){ 1 }, 0, NULL, 0);
}

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void run(struct cache *cache, const char *what, const char *spec)
{
	static const struct obj *pods[PODS];
	double cpu, cycles = 0;
	size_t start = 0;
	int placed = 0;

	for (int i = 0; i < PODS; i++)
		pods[i] = make("pod", i, spec);
	cpu = cpu_us();
	for (int i = 0; i < PODS; i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct sched_pod p;
		struct cycle c = { .a = a, .cache = cache, .pod = &p };
		struct node_info *n;

		if (sched_pod_decode(a, pods[i], &p))
			abort();
		cycles -= cpu_us();
		n = cycle_run(&c, &start);
		cycles += cpu_us();
		if (!n)
			continue;
		cache_set_pod(cache, pods[i], str_from(n->name), true);
		obj_forget_tree(pods[i]);
		placed++;
	}
	printf("%-14s %6.1f us CPU per Pod (%.1f in the cycle), %d placed\n", what,
	       (cpu_us() - cpu) / PODS, cycles / PODS, placed);
	for (int i = 0; i < PODS; i++) {
		cache_del_pod(cache, pods[i]->ns, pods[i]->name);
		obj_unref(pods[i]);
	}
}

#define BOX                                                                                 \
	"\"containers\":[{\"name\":\"c\",\"image\":\"pause\",\"resources\":{\"requests\":{" \
	"\"cpu\":\"100m\",\"memory\":\"500Mi\"}}}]"

int main(void)
{
	struct cache cache;

	cache_init(&cache);
	for (int i = 0; i < NODES; i++) {
		const struct obj *n = make("node", i,
					   "\"status\":{\"allocatable\":{\"cpu\":\"4\",\"memory\":"
					   "\"32Gi\",\"pods\":\"110\"}}");

		cache_set_node(&cache, n->name, n);
		obj_unref(n);
	}
	run(&cache, "basic", "\"spec\":{" BOX "}");
	run(&cache, "node affinity", "\"spec\":{" BOX ",\"nodeSelector\":{\"zone\":\"z1\"}}");
	run(&cache, "unschedulable", "\"spec\":{" BOX ",\"nodeSelector\":{\"zone\":\"none\"}}");
	cache_fini(&cache);
	return 0;
}
