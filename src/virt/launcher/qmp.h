/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * QMP client: greeting, capabilities, commands matched to replies by id, events to a callback.
 *
 * The monitor belongs to the fiber that made it. Calls may run side by side; each suspends
 * until its reply. When QEMU goes away every call ends with an IO error and closed() runs once.
 */

#include "base/str.h"
#include "io/fiber.h"

struct arena;
struct err;
struct json;
struct loop;
struct qmp;
struct stream;

struct qmp_events {
	/* data is borrowed for the call; must not suspend. */
	void (*event)(void *ctx, struct str name, const struct json *data);
	void (*closed)(void *ctx); /* may be NULL */
	void *ctx;
};

/* Takes st (on error too). Waits for the greeting and negotiates. */
MUST_USE SUSPENDS struct err *qmp_open(struct stream *st, const struct qmp_events *ev,
				       struct qmp **ret);
/* Ends the reader and waits for it. */
SUSPENDS struct qmp *qmp_free(struct qmp *q);

/* args may be NULL; *ret (may be NULL) is the reply's "return". A QMP error becomes INTERNAL with
 * its text. */
MUST_USE SUSPENDS struct err *qmp_call(struct qmp *q, struct arena *a, const char *command,
				       struct json *args, struct json **ret);
bool qmp_is_closed(const struct qmp *q);
