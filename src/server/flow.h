/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Fairness: how many requests run at once, and whose is next. Requests wait in a queue per user and
 * leave the queues in turn, so that one client's crowd delays nobody but itself:
 *
 *     request -> room for its kind, its user's share, the loop turn's budget? -> runs
 *                    | no: queue of its user -> round robin over users -> runs
 *                    | queue full, or 15 s passed -> 429
 *
 * The budget is about the one thread: after a few milliseconds of a loop turn, a user that had
 * something in it waits for the next, and the others' connections are looked at before. What takes
 * long to answer comes by again between its parts. Exempt are system:masters, health checks and
 * what runs long (streams, and watches once their initial state is sent).
 */

#include "base/base.h"

struct api_request;
struct apiserver;
struct buf;
struct err;
struct flow;
struct flow_user;

enum flow_kind { FLOW_READ_ONLY, FLOW_MUTATING, FLOW_KINDS_N_ };

struct flow_ticket {
	struct flow_user *user; /* NULL: exempt */
	enum flow_kind kind;
	bool counted, resting;
};

struct flow *flow_new(struct apiserver *s);
struct flow *flow_free(struct flow *f);

/* False in *ret_admitted: it has been answered with 429. Each admitted one leaves. */
MUST_USE SUSPENDS struct err *flow_enter(struct api_request *rq, struct flow_ticket *t,
					 bool *ret_admitted);
/* As flow_enter, for one that runs long but begins with work: into the ticket it has. */
MUST_USE SUSPENDS struct err *flow_enter_long(struct api_request *rq, bool *ret_admitted);
/* Between the parts of a long answer: others go first when it is their turn. Never refused. */
MUST_USE SUSPENDS struct err *flow_yield(struct api_request *rq);
/* While the client has to do something (read): the place is another's until flow_yield. */
void flow_rest(struct api_request *rq);
/* May come early: what another server does with a request is not our load. Again is nothing. */
void flow_leave(struct apiserver *s, struct flow_ticket *t);

/* Watches, and streams through subresources. */
bool flow_is_long_running(const struct api_request *rq);
/* Prometheus text. */
void flow_write_metrics(struct flow *f, struct buf *b);
