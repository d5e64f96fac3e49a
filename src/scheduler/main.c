/* SPDX-License-Identifier: Apache-2.0 */
/* `isoplane scheduler`: one cycle after another. */

#include "scheduler/main.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "client/component.h"
#include "scheduler/scheduler.h"

#define BACKGROUND_MAX 128
#define CYCLES_A_TURN  16

static void schedule_one(struct scheduler *s, struct queued_pod *q)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct sched_pod pod;
	struct cycle c = {
		.a = a,
		.cache = &s->cache,
		.pod = &pod,
		.volumes = &s->volumes_view,
	};
	struct err *e = sched_pod_decode(a, q->obj, &pod);
	struct node_info *n = e ? NULL : cycle_run(&c, &s->next_node);
	struct volume_step *steps;
	size_t n_steps;

	if (!n) {
		scheduler_report(s, q->obj, e ? err_msg(e) : cycle_message(&c));
		err_ignore(e, "it is in the report");
		queue_park(&s->queue, q);
		return;
	}
	volumes_plan(&c, n, &steps, &n_steps);
	cache_set_pod(&s->cache, q->obj, str_from(n->name), true);
	scheduler_bind(s, q->obj, str_from(n->name), steps, n_steps);
}

static struct err *scheduler_loop(struct scheduler *s)
{
	for (unsigned i = 1;; i++) {
		struct queued_pod *q = s->background < BACKGROUND_MAX ? queue_pop(&s->queue) : NULL;

		if (!q) {
			TRY(waitq_wait(&s->ready));
			continue;
		}
		schedule_one(s, q);
		if (i % CYCLES_A_TURN == 0)
			TRY(fiber_yield());
	}
}

static struct err *scheduler_run(struct client *c, void *ctx)
{
	struct scheduler *s = ctx;

	TRY(scheduler_start(s, fiber_loop(), c));
	log_info(s->log, "scheduling", KV_INT("nodes", s->cache.n_nodes));
	return scheduler_loop(s);
}

int scheduler_main(int argc, char **argv)
{
	static const struct component_flag flags[] = { { 0 } };
	static struct scheduler s;
	const struct component comp = {
		.name = "scheduler",
		.flags = flags,
		.lease = "kube-scheduler",
		.run = scheduler_run,
		.ctx = &s,
	};

	return component_main(&comp, argc, argv);
}
