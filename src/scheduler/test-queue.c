/* SPDX-License-Identifier: Apache-2.0 */
#include "testkit/test.h"

#include "io/fiber.h"
#include "scheduler/queue.h"
#include "json/json.h"

static int n_ready;
static int64_t now_ns = 1000 * NS_PER_SEC;

static void ready(void *ctx)
{
	n_ready++;
}

static int64_t fake_now(void)
{
	return now_ns;
}

static const struct obj *pod(const char *name, int priority)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *j = json_object(a);

	json_set_at(a, j, "metadata.name", json_strz(a, name));
	json_set_at(a, j, "metadata.namespace", json_strz(a, "d"));
	json_set_at(a, j, "metadata.uid", json_strz(a, name));
	json_set_at(a, j, "spec.priority", json_int(a, priority));
	return obj_new(j, (struct rev){ 1 }, 0, NULL, 0);
}

static void add(struct sched_queue *q, const char *name, int priority)
{
	const struct obj *o = pod(name, priority);

	queue_set(q, o, false);
	obj_unref(o);
}

static void expect_pop(struct sched_queue *q, const char *name)
{
	struct queued_pod *p = queue_pop(q);

	assert_non_null(p);
	assert_str(p->obj->name, name);
}

FIBER_TEST(order)
{
	struct sched_queue q;

	queue_init(&q, fiber_loop(), ready, NULL);
	add(&q, "a", 0);
	add(&q, "b", 5);
	add(&q, "c", 0);
	add(&q, "d", 5);
	add(&q, "e", -1);
	queue_del(&q, STR("d"), STR("c"));
	assert_int_equal(n_ready, 5);
	expect_pop(&q, "b");
	expect_pop(&q, "d");
	expect_pop(&q, "a");
	expect_pop(&q, "e");
	assert_null(queue_pop(&q));
	queue_fini(&q);
	return NULL;
}

/* Parked until something changes, and then until its back-off is over. */
FIBER_TEST(park_and_move)
{
	static const struct clock_source src = { .mono = fake_now, .wall = fake_now };
	struct sched_queue q;
	struct queued_pod *p;

	clock_set_source(&src);
	queue_init(&q, fiber_loop(), ready, NULL);
	add(&q, "a", 0);
	p = queue_pop(&q);
	queue_park(&q, p);
	assert_null(queue_pop(&q));
	now_ns += 2 * NS_PER_SEC;
	assert_null(queue_pop(&q));
	queue_move(&q, NULL, NULL);
	p = queue_pop(&q);
	assert_non_null(p);
	assert_int_equal(p->attempts, 2);
	/* What changed while it was in flight counts, but not before the back-off. */
	queue_move(&q, NULL, NULL);
	queue_park(&q, p);
	assert_null(queue_pop(&q));
	assert_int_equal(p->place, QUEUE_BACKOFF);
	queue_fini(&q);
	clock_set_source(NULL);
	return NULL;
}

FIBER_TEST(backoff_ends_by_itself)
{
	struct sched_queue q;
	struct queued_pod *p;

	queue_init(&q, fiber_loop(), ready, NULL);
	add(&q, "a", 0);
	p = queue_pop(&q);
	queue_retry(&q, p);
	assert_null(queue_pop(&q));
	p->backoff_until = mono_now();
	queue_set(&q, p->obj, true); /* looks again */
	assert_non_null(queue_pop(&q));
	queue_fini(&q);
	return NULL;
}

/* Deleted and made again under the same name: a new Pod. */
FIBER_TEST(same_name_other_uid)
{
	struct sched_queue q;
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *j = json_object(a);
	const struct obj *o;

	queue_init(&q, fiber_loop(), ready, NULL);
	add(&q, "a", 0);
	queue_pop(&q);
	json_set_at(a, j, "metadata.name", json_strz(a, "a"));
	json_set_at(a, j, "metadata.namespace", json_strz(a, "d"));
	json_set_at(a, j, "metadata.uid", json_strz(a, "other"));
	o = obj_new(j, (struct rev){ 2 }, 0, NULL, 0);
	queue_set(&q, o, false);
	obj_unref(o);
	assert_str(queue_pop(&q)->obj->uid, "other");
	queue_fini(&q);
	return NULL;
}

TEST_MAIN(T(order), T(park_and_move), T(backoff_ends_by_itself), T(same_name_other_uid))
