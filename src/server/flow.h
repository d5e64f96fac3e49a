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
 * something in it waits for the next, and the others' connections are looked at before. Exempt are
 * system:masters, health checks and what runs long (watches, streams).
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
	bool counted;
};

struct flow *flow_new(struct apiserver *s);
struct flow *flow_free(struct flow *f);

/* False in *ret_admitted: it has been answered with 429. Each admitted one leaves. */
MUST_USE SUSPENDS struct err *flow_enter(struct api_request *rq, struct flow_ticket *t,
					 bool *ret_admitted);
/* May come early: what another server does with a request is not our load. Again is nothing. */
void flow_leave(struct apiserver *s, struct flow_ticket *t);

/* Watches, and streams through subresources. */
bool flow_is_long_running(const struct api_request *rq);
/* Prometheus text. */
void flow_write_metrics(struct flow *f, struct buf *b);
