/* SPDX-License-Identifier: Apache-2.0 */

#include "client/controller.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/expectations.h"
#include "io/fiber.h"
#include "testkit/test.h"

struct fixture {
	struct controller *c;
	struct buf seen;
	unsigned running, max_running, n_syncs;
	unsigned fail; /* so many syncs fail first */
	struct waitq changed, gate;
	bool gated;
	struct str again; /* enqueued while it runs */
};

static struct err *sync_key(void *ctx, struct arena *a, struct str key)
{
	struct fixture *f = ctx;

	f->running++;
	f->max_running = MAX(f->max_running, f->running);
	buf_addf(&f->seen, STR_FMT " ", STR_ARG(key));
	waitq_wake_all(&f->changed);
	if (f->again.n) {
		struct str k = f->again;

		f->again = STR_EMPTY;
		controller_enqueue(f->c, k);
		controller_enqueue(f->c, k);
	}
	while (f->gated) {
		struct err *e = waitq_wait(&f->gate);

		if (e) {
			f->running--;
			return e;
		}
	}
	f->running--;
	f->n_syncs++;
	waitq_wake_all(&f->changed);
	if (f->fail) {
		f->fail--;
		return err_new(ERR_CONFLICT, "again");
	}
	return fiber_yield();
}

static void fixture_init(struct fixture *f)
{
	const struct controller_opts opts = { .name = "test", .sync = sync_key, .ctx = f };

	*f = (struct fixture){ 0 };
	waitq_init(&f->changed);
	waitq_init(&f->gate);
	f->c = controller_new(fiber_loop(), &opts);
}

static void fixture_fini(struct fixture *f)
{
	controller_free(f->c);
	buf_fini(&f->seen);
}

static void expect(struct fixture *f, const char *seen)
{
	while (f->seen.n < strlen(seen))
		assert_no_err(waitq_wait(&f->changed));
	assert_str(buf_str(&f->seen), seen);
}

FIBER_TEST(duplicates_merge)
{
	struct fixture f;

	fixture_init(&f);
	controller_enqueue(f.c, STR("a"));
	controller_enqueue(f.c, STR("b"));
	controller_enqueue(f.c, STR("a"));
	assert_int_equal(controller_queue_length(f.c), 2);
	controller_start(f.c);
	expect(&f, "a b ");
	TRY(fiber_sleep_ms(5));
	expect(&f, "a b ");
	assert_int_equal(controller_queue_length(f.c), 0);
	fixture_fini(&f);
	return NULL;
}

FIBER_TEST(a_key_runs_once_at_a_time)
{
	struct fixture f;

	fixture_init(&f);
	f.again = STR("a");
	f.gated = true;
	controller_start(f.c);
	controller_enqueue(f.c, STR("a"));
	expect(&f, "a ");
	TRY(fiber_sleep_ms(2));
	expect(&f, "a ");
	f.gated = false;
	waitq_wake_all(&f.gate);
	expect(&f, "a a ");
	TRY(fiber_sleep_ms(2));
	expect(&f, "a a ");
	assert_int_equal(f.max_running, 1);
	fixture_fini(&f);
	return NULL;
}

FIBER_TEST(workers_limit)
{
	struct fixture f;
	char key[] = "a";

	fixture_init(&f);
	f.gated = true;
	controller_start(f.c);
	for (; *key < 'h'; ++*key)
		controller_enqueue(f.c, str_from(key));
	expect(&f, "a b c d ");
	assert_int_equal(f.max_running, 4);
	assert_int_equal(controller_queue_length(f.c), 3);
	/* freeing cancels what runs and drops what waits */
	fixture_fini(&f);
	return NULL;
}

FIBER_TEST(errors_are_retried)
{
	struct fixture f;

	fixture_init(&f);
	f.fail = 3;
	controller_start(f.c);
	controller_enqueue(f.c, STR("a"));
	expect(&f, "a a a a ");
	while (f.n_syncs < 4)
		TRY(waitq_wait(&f.changed));
	TRY(fiber_sleep_ms(2));
	assert_int_equal(controller_retries(f.c, STR("a")), 0);
	fixture_fini(&f);
	return NULL;
}

FIBER_TEST(delayed)
{
	struct fixture f;

	fixture_init(&f);
	controller_start(f.c);
	controller_enqueue_after(f.c, STR("late"), 100000);
	controller_enqueue_after(f.c, STR("b"), 30);
	controller_enqueue_after(f.c, STR("a"), 5);
	controller_enqueue_after(f.c, STR("a"), 50000);
	expect(&f, "a b ");
	controller_enqueue(f.c, STR("late"));
	expect(&f, "a b late ");
	fixture_fini(&f);
	return NULL;
}

TEST(expectations)
{
	struct expectations x = { 0 };

	assert_true(expectations_met(&x, STR("k")));
	expectations_set(&x, STR("k"), 2, 1);
	assert_false(expectations_met(&x, STR("k")));
	expectations_saw_add(&x, STR("k"));
	expectations_saw_add(&x, STR("k"));
	assert_false(expectations_met(&x, STR("k")));
	expectations_saw_del(&x, STR("k"));
	assert_true(expectations_met(&x, STR("k")));
	expectations_saw_del(&x, STR("unknown"));
	expectations_set(&x, STR("k"), 1, 0);
	expectations_forget(&x, STR("k"));
	assert_true(expectations_met(&x, STR("k")));
	expectations_fini(&x);
}

TEST_MAIN(T(duplicates_merge), T(a_key_runs_once_at_a_time), T(workers_limit),
	  T(errors_are_retried), T(delayed), T(expectations))
