/* SPDX-License-Identifier: Apache-2.0 */
#include "server/flow.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/http-server.h"
#include "io/loop.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"

#define QUEUE_PER_USER 256
#define QUEUE_TOTAL    4096
#define WAIT_MS        15000
#define TURN_BUDGET_NS (4 * NS_PER_MS)
#define QUANTUM_MAX    64
#define IDLE_USERS     256
#define MASTERS        STR("system:masters")

static const char *const kind_names[] = {
	[FLOW_READ_ONLY] = "readOnly",
	[FLOW_MUTATING] = "mutating",
};
_Static_assert(sizeof(kind_names) / sizeof(kind_names[0]) == FLOW_KINDS_N_, "one name each");

struct flow_user {
	struct str name; /* the map's */
	unsigned executing[FLOW_KINDS_N_];
	struct list waiting;     /* struct waiter */
	size_t n_waiting, n_new; /* n_new: without those between two parts of an answer */
	struct list link;        /* flow->backlog while something waits */
	uint64_t turn;           /* the last one it had something in */
};

/* On the stack of the fiber that waits. */
struct waiter {
	struct list link;
	struct waitq wake;
	enum flow_kind kind;
	bool admitted, is_new;
};

struct flow {
	struct apiserver *server;
	struct map users;
	struct list backlog;
	size_t n_waiting, n_new, n_backlog;
	unsigned limit[FLOW_KINDS_N_], executing[FLOW_KINDS_N_];
	/* the highest of this second and of the one before */
	unsigned peak[FLOW_KINDS_N_], last_peak[FLOW_KINDS_N_];
	int64_t second;
	uint64_t rejected[FLOW_KINDS_N_], n_queued;
	/* the loop's turn */
	uint64_t turn;
	bool turn_open;
	struct mono turn_start;
	unsigned turn_n;
	int64_t cost_ns; /* of one request, lately */
	struct task turn_end;
	struct timer dispatch;
};

/* users */

static struct flow_user *flow_user_get(struct flow *f, struct str name)
{
	struct flow_user *u = map_find(&f->users, name);

	if (u)
		return u;
	u = mem_new(struct flow_user);
	list_init(&u->waiting);
	list_init(&u->link);
	map_put(&f->users, name, u);
	u->name = f->users.last->key;
	return u;
}

static void flow_user_maybe_forget(struct flow *f, struct flow_user *u)
{
	if (f->users.n <= IDLE_USERS || u->n_waiting || u->executing[FLOW_READ_ONLY] ||
	    u->executing[FLOW_MUTATING])
		return;
	map_del(&f->users, u->name);
	free(u);
}

/* the loop's turns */

static void flow_turn_end(struct task *t)
{
	struct flow *f = container_of(t, struct flow, turn_end);
	int64_t spent = mono_now().ns - f->turn_start.ns;

	f->turn_open = false;
	if (f->turn_n)
		f->cost_ns = (3 * f->cost_ns + spent / f->turn_n) / 4;
	if (f->n_waiting && !timer_running(&f->dispatch))
		timer_start(f->server->loop, &f->dispatch, 0);
}

static void flow_turn_begin(struct flow *f)
{
	if (f->turn_open)
		return;
	f->turn_open = true;
	f->turn++;
	f->turn_n = 0;
	f->turn_start = mono_now();
	task_post_late(f->server->loop, &f->turn_end);
}

/* Whoever had nothing in this turn gets in; the others while there is time left. */
static bool flow_turn_allows(struct flow *f, struct flow_user *u)
{
	flow_turn_begin(f);
	if (u->turn != f->turn) {
		u->turn = f->turn;
		return true;
	}
	return mono_now().ns - f->turn_start.ns < TURN_BUDGET_NS;
}

/* admission */

static bool flow_has_room(const struct flow *f, const struct flow_user *u, enum flow_kind kind)
{
	unsigned limit = f->limit[kind];

	/* A quarter is left for those who have nothing running. */
	return f->executing[kind] < limit && u->executing[kind] < limit - limit / 4;
}

static void flow_count(struct flow *f, enum flow_kind kind, int delta)
{
	int64_t second = mono_now().ns / NS_PER_SEC;

	if (second != f->second) {
		for (int k = 0; k < FLOW_KINDS_N_; k++) {
			f->last_peak[k] = second == f->second + 1 ? f->peak[k] : f->executing[k];
			f->peak[k] = f->executing[k];
		}
		f->second = second;
	}
	f->executing[kind] += (unsigned)delta;
	f->peak[kind] = MAX(f->peak[kind], f->executing[kind]);
}

static void flow_admit(struct flow *f, struct flow_user *u, enum flow_kind kind)
{
	u->executing[kind]++;
	f->turn_n++;
	flow_count(f, kind, 1);
}

static void waiter_unlink(struct flow *f, struct flow_user *u, struct waiter *w)
{
	list_unlink(&w->link);
	if (w->is_new) {
		u->n_new--;
		f->n_new--;
	}
	f->n_waiting--;
	if (--u->n_waiting == 0) {
		list_unlink(&u->link);
		f->n_backlog--;
	}
}

/* Lets up to n of a user's requests go. */
static void flow_release(struct flow *f, struct flow_user *u, size_t n)
{
	struct waiter *w, *tmp;

	list_for_each_safe(w, tmp, &u->waiting, link) {
		if (!n)
			break;
		if (!flow_has_room(f, u, w->kind))
			continue;
		waiter_unlink(f, u, w);
		w->admitted = true;
		flow_admit(f, u, w->kind);
		u->turn = f->turn;
		waitq_wake_all(&w->wake);
		n--;
	}
}

/* From the loop: every user that waits gets the same part of the turn's budget. */
static void flow_dispatch(struct timer *t)
{
	struct flow *f = container_of(t, struct flow, dispatch);
	size_t users = f->n_backlog;
	int64_t fit = TURN_BUDGET_NS / MAX(f->cost_ns, INT64_C(1000));
	size_t quantum = users ? (size_t)fit / users : 0;

	if (!users)
		return;
	flow_turn_begin(f);
	quantum = MIN(MAX(quantum, (size_t)1), (size_t)QUANTUM_MAX);
	for (size_t i = 0; i < users && !list_empty(&f->backlog); i++) {
		struct flow_user *u = list_entry(f->backlog.next, struct flow_user, link);

		/* to the back: next time another one is first */
		list_unlink(&u->link);
		list_push_back(&f->backlog, &u->link);
		flow_release(f, u, quantum);
	}
}

static struct err *flow_reject(struct api_request *rq, struct flow *f, enum flow_kind kind)
{
	f->rejected[kind]++;
	http_set_header(rq->x, "Retry-After", STR("1"));
	http_set_header(rq->x, "X-Content-Type-Options", STR("nosniff"));
	respond_text(rq, 429, "text/plain; charset=utf-8",
		     STR("Too many requests, please try again later.\n"));
	return NULL;
}

/* In the queue of its user until it is admitted; *ret_admitted false: the time is over. */
static struct err *flow_wait(struct flow *f, struct flow_user *u, struct waiter *w, int64_t ms,
			     bool *ret_admitted)
{
	struct err *e;
	bool woken = false;

	waitq_init(&w->wake);
	if (!u->n_waiting++) {
		list_push_back(&f->backlog, &u->link);
		f->n_backlog++;
	}
	list_push_back(&u->waiting, &w->link);
	f->n_waiting++;
	flow_turn_begin(f);
	e = ms ? waitq_wait_ms(&w->wake, ms, &woken) : waitq_wait(&w->wake);
	*ret_admitted = w->admitted;
	if (w->admitted) {
		/* it runs, and finds out by itself that nobody waits for it */
		err_ignore(e, "the next wait tells again");
		return NULL;
	}
	waiter_unlink(f, u, w);
	return e;
}

/* A new request's way. */
static struct err *flow_queue(struct api_request *rq, struct flow *f, struct flow_user *u,
			      enum flow_kind kind, bool *ret_admitted)
{
	struct waiter w = { .kind = kind, .is_new = true };
	struct err *e = NULL;

	*ret_admitted = false;
	if (u->n_new < QUEUE_PER_USER && f->n_new < QUEUE_TOTAL) {
		u->n_new++;
		f->n_new++;
		f->n_queued++;
		e = flow_wait(f, u, &w, WAIT_MS, ret_admitted);
	}
	if (!e && !*ret_admitted)
		e = flow_reject(rq, f, kind);
	if (!*ret_admitted)
		flow_user_maybe_forget(f, u);
	return e;
}

bool flow_is_long_running(const struct api_request *rq)
{
	static const struct str subs[] = { STR_INIT("attach"), STR_INIT("exec"), STR_INIT("proxy"),
					   STR_INIT("log"), STR_INIT("portforward") };

	if (rq->verb == VERB_WATCH)
		return true;
	for (size_t i = 0; rq->is_resource && rq->sub.n && i < ARRAY_LEN(subs); i++) {
		if (str_eq(rq->sub, subs[i]))
			return true;
	}
	return false;
}

static bool flow_is_exempt(const struct api_request *rq)
{
	return flow_is_long_running(rq) || user_in_group(&rq->user, MASTERS) ||
	       (!rq->is_resource && (str_has_prefix(rq->path, STR("/healthz")) ||
				     str_has_prefix(rq->path, STR("/livez")) ||
				     str_has_prefix(rq->path, STR("/readyz"))));
}

static enum flow_kind flow_kind_of(const struct api_request *rq)
{
	if (rq->is_resource)
		return rq->verb & (VERB_GET | VERB_LIST | VERB_WATCH) ? FLOW_READ_ONLY
								      : FLOW_MUTATING;
	return str_eqz(rq->http->method, "GET") || str_eqz(rq->http->method, "HEAD")
		       ? FLOW_READ_ONLY
		       : FLOW_MUTATING;
}

static bool flow_may_run(struct flow *f, struct flow_user *u, enum flow_kind kind)
{
	return !u->n_waiting && flow_has_room(f, u, kind) && flow_turn_allows(f, u);
}

static void ticket_take(struct flow_ticket *t, struct flow_user *u)
{
	t->user = u;
	t->counted = true;
	t->resting = false;
}

static struct err *flow_enter_limited(struct api_request *rq, struct flow_ticket *t,
				      bool *ret_admitted)
{
	struct flow *f = rq->server->flow;
	struct flow_user *u = flow_user_get(f, rq->user.name);

	if (flow_may_run(f, u, t->kind))
		flow_admit(f, u, t->kind);
	else
		TRY(flow_queue(rq, f, u, t->kind, ret_admitted));
	if (*ret_admitted)
		ticket_take(t, u);
	return NULL;
}

struct err *flow_enter(struct api_request *rq, struct flow_ticket *t, bool *ret_admitted)
{
	*t = (struct flow_ticket){ .kind = flow_kind_of(rq) };
	*ret_admitted = true;
	if (!flow_is_exempt(rq))
		return flow_enter_limited(rq, t, ret_admitted);
	t->counted = !flow_is_long_running(rq);
	if (t->counted)
		flow_count(rq->server->flow, t->kind, 1);
	return NULL;
}

struct err *flow_enter_long(struct api_request *rq, bool *ret_admitted)
{
	*ret_admitted = true;
	return user_in_group(&rq->user, MASTERS) ? NULL
						 : flow_enter_limited(rq, rq->ticket, ret_admitted);
}

struct err *flow_yield(struct api_request *rq)
{
	struct flow *f = rq->server->flow;
	struct flow_ticket *t = rq->ticket;
	struct waiter w = { 0 };
	struct flow_user *u;
	bool admitted;

	if (!t || (!t->user && !t->resting) || (t->user && flow_turn_allows(f, t->user)))
		return NULL;
	flow_rest(rq);
	u = flow_user_get(f, rq->user.name);
	w.kind = t->kind;
	if (flow_may_run(f, u, t->kind)) {
		flow_admit(f, u, t->kind);
	} else {
		struct err *e = flow_wait(f, u, &w, 0, &admitted);

		if (e) {
			flow_user_maybe_forget(f, u);
			return e;
		}
	}
	ticket_take(t, u);
	return NULL;
}

void flow_rest(struct api_request *rq)
{
	struct flow_ticket *t = rq->ticket;

	if (!t || !t->user)
		return;
	flow_leave(rq->server, t);
	t->resting = true;
}

void flow_leave(struct apiserver *s, struct flow_ticket *t)
{
	struct flow *f = s->flow;
	const enum flow_kind kind = t->kind;

	if (t->counted)
		flow_count(f, kind, -1);
	if (t->user) {
		t->user->executing[kind]--;
		flow_user_maybe_forget(f, t->user);
	}
	*t = (struct flow_ticket){ .kind = kind };
	if (f->n_waiting && !f->turn_open && !timer_running(&f->dispatch))
		timer_start(s->loop, &f->dispatch, 0);
}

/* metrics */

void flow_write_metrics(struct flow *f, struct buf *b)
{
	flow_count(f, FLOW_READ_ONLY, 0); /* rolls the second over */
	buf_addz(b, "# HELP apiserver_current_inflight_requests [STABLE] Highest number of "
		    "requests running at once in the last second, by kind.\n"
		    "# TYPE apiserver_current_inflight_requests gauge\n");
	for (int k = 0; k < FLOW_KINDS_N_; k++)
		buf_addf(b, "apiserver_current_inflight_requests{request_kind=\"%s\"} %u\n",
			 kind_names[k], MAX(f->peak[k], f->last_peak[k]));
	buf_addz(b, "# HELP apiserver_current_inqueue_requests [ALPHA] Requests waiting for their "
		    "turn.\n"
		    "# TYPE apiserver_current_inqueue_requests gauge\n");
	buf_addf(b, "apiserver_current_inqueue_requests %zu\n", f->n_waiting);
	buf_addz(b, "# HELP apiserver_dropped_requests_total [ALPHA] Requests answered with 429, "
		    "by kind.\n"
		    "# TYPE apiserver_dropped_requests_total counter\n");
	for (int k = 0; k < FLOW_KINDS_N_; k++)
		buf_addf(b, "apiserver_dropped_requests_total{request_kind=\"%s\"} %llu\n",
			 kind_names[k], (unsigned long long)f->rejected[k]);
}

/* lifecycle */

struct flow *flow_new(struct apiserver *s)
{
	struct flow *f = mem_new(struct flow);

	f->server = s;
	f->limit[FLOW_READ_ONLY] = s->opts.max_read_only;
	f->limit[FLOW_MUTATING] = s->opts.max_mutating;
	f->turn_end.fn = flow_turn_end;
	f->dispatch.fn = flow_dispatch;
	list_init(&f->backlog);
	return f;
}

struct flow *flow_free(struct flow *f)
{
	if (!f)
		return NULL;
	timer_cancel(&f->dispatch);
	task_cancel(&f->turn_end);
	map_for_each(e, &f->users) {
		free(e->val);
	}
	map_fini(&f->users);
	free(f);
	return NULL;
}
