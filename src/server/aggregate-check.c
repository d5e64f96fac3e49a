/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whether remote servers answer: a fiber for each asks now and then, when somebody met a problem,
 * and when the Service or its endpoints change, and writes the condition Available. One that hangs
 * delays nobody else's.
 */

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "server/aggregate-internal.h"
#include "server/server.h"
#include "json/json.h"

/* How often a server is asked whether it is there: while it is not, while it is, after a poke. */
#define CHECK_SOON_MS  1000
#define CHECK_LATER_MS 30000
#define CHECK_PAUSE_MS 100
/* One endpoint of several may be dead without a word. */
#define CHECK_ATTEMPTS 3
#define WRITE_ATTEMPTS 3

void aggregate_poke(struct aggregate_entry *e)
{
	e->poked = true;
	waitq_wake_all(&e->wake);
}

static struct err *aggregate_probe(struct arena *a, struct aggregate_entry *e,
				   struct backend_problem *problem)
{
	struct str path = e->group.n ? arena_fmt(a, "/apis/" STR_FMT "/" STR_FMT, STR_ARG(e->group),
						 STR_ARG(e->version))
				     : arena_fmt(a, "/api/" STR_FMT, STR_ARG(e->version));
	struct str url = STR_EMPTY;
	struct err *err;
	int status = 0;

	err = aggregate_ask_status(a, e, path, &status, &url, problem);
	if (err && url.n)
		return err_wrap(err, "failing or missing response from " STR_FMT, STR_ARG(url));
	TRY(err);
	if (status < 200 || status >= 300)
		return err_new(ERR_UNAVAILABLE,
			       "failing or missing response from " STR_FMT
			       ": bad status from " STR_FMT ": %d",
			       STR_ARG(url), STR_ARG(url), status);
	return NULL;
}

static struct err *aggregate_write_once(struct arena *a, struct str name, bool ok,
					struct str reason, struct str message)
{
	struct json *svc = NULL;

	TRY(local_get_json(aggregate_server(), a, APISERVICES, STR_EMPTY, name, &svc));
	if (!svc || !condition_set(a, json_sub(a, svc, "status"), "Available",
				   ok ? "True" : "False", reason, message, wall_now()))
		return NULL;
	return local_update(aggregate_server(), a, APISERVICES, "status", svc, NULL);
}

static void aggregate_write_condition(struct arena *a, struct aggregate_entry *e, struct str reason,
				      struct str message)
{
	struct err *err = NULL;

	for (int i = 0; i < WRITE_ATTEMPTS; i++) {
		err = aggregate_write_once(a, e->name, e->available, reason, message);
		if (!err_is(err, ERR_CONFLICT) || i == WRITE_ATTEMPTS - 1)
			break;
		err_ignore(err, "somebody else wrote: again");
	}
	err_log(NULL, LOG_DEBUG, "availability of an aggregated API was not recorded", err);
}

static struct err *aggregate_check(struct aggregate_entry *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct backend_problem problem = { 0 };
	struct err *err = NULL;

	for (int i = 0; i < CHECK_ATTEMPTS; i++) {
		problem = (struct backend_problem){ .reason = "FailedDiscoveryCheck" };
		err = aggregate_probe(a, e, &problem);
		if (!err || err_is(err, ERR_CANCELED) || err_is(err, ERR_TIMEOUT) ||
		    i == CHECK_ATTEMPTS - 1)
			break;
		err_ignore(err, "another endpoint may be better");
	}
	if (err_is(err, ERR_CANCELED))
		return err;
	e->available = !err;
	if (err)
		aggregate_write_condition(a, e, str_from(problem.reason),
					  arena_str(a, err_msg(err)));
	else
		aggregate_write_condition(a, e, STR("Passed"), STR("all checks passed"));
	err_ignore(err, "it is in the condition");
	return NULL;
}

static struct err *aggregate_check_run(struct aggregate_entry *e)
{
	bool woken;

	for (;;) {
		e->poked = false;
		TRY(aggregate_check(e));
		aggregate_discovery_refresh(e);
		e->checked = true;
		aggregate_openapi_refresh(e);
		if (e->poked)
			TRY(fiber_sleep_ms(CHECK_PAUSE_MS));
		else
			TRY(waitq_wait_ms(&e->wake, e->available ? CHECK_LATER_MS : CHECK_SOON_MS,
					  &woken));
	}
}

static struct err *aggregate_check_fiber(void *arg)
{
	struct aggregate_entry *e = arg;
	struct err *err = aggregate_check_run(e);

	aggregate_unref(e);
	return err;
}

void aggregate_check_start(struct aggregate_entry *e)
{
	waitq_init(&e->wake);
	e->fiber = fiber_spawn(aggregate_server()->loop, "aggregate-check", aggregate_check_fiber,
			       aggregate_ref(e));
}

void aggregate_check_stop(struct aggregate_entry *e)
{
	fiber_cancel(e->fiber);
	e->fiber = fiber_unref(e->fiber);
}
