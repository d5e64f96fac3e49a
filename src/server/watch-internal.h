/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What watch.c and watch-initial.c share. */

#include "io/fiber.h"
#include "io/loop.h"
#include "server/request.h"
#include "server/watch-out.h"
#include "store/store.h"

#define WATCH_QUEUE_BYTES (1024 * 1024)
#define WATCH_FIRST_BYTES (256 * 1024) /* WATCH_QUEUE_BYTES, of the initial state */

enum watch_type { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED };

struct watcher {
	struct watch_out out;
	struct store_watch watch;
	struct timer timeout, bookmark, last_bookmark;
	struct list link;
	struct apiserver *server;
	struct arena *arena;
	const struct resource *res;
	const struct resource_version *v;
	struct selector *labels, *fields;
	struct str ns, name;
	enum output_form form;
	enum include_object include;
	uint64_t *counter; /* of events sent */
	struct str form_version;
	struct rev seen;
	bool bookmarks, feeding, paused, ending, closed, busy;
	bool columns_sent; /* of a table: they come with the first event alone */
	bool outdated;     /* its resource changed while busy */
	struct list pending;
	size_t n_pending;
	struct waitq drained; /* the fiber that sends the initial state */
};

/* False when the queue is full now. */
bool watch_send(struct watcher *w, enum watch_type type, const struct obj *o, struct rev rev);
/* Until the queue is full no more, or the client has gone (w->closed). */
MUST_USE SUSPENDS struct err *watch_room(struct watcher *w);

/* watch-initial.c: sends what there is, and gives rq's place back; w->seen says as of when. */
MUST_USE SUSPENDS struct err *watch_initial(struct watcher *w, struct api_request *rq);
