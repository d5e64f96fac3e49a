/* SPDX-License-Identifier: Apache-2.0 */
#include "server/watch-out.h"

#include "base/arena.h"
#include "base/blob.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/websocket.h"
#include "server/request.h"

#define WS_NORMAL 1000

struct watch_message {
	struct list link;
	struct blob *blob;
};

struct watch_socket {
	struct watch_out *out;
	struct websocket *ws;
	struct list messages;
	size_t queued;
	bool full, ending;
	struct waitq wake; /* the writer */
};

bool watch_out_wants_socket(const struct api_request *rq)
{
	return http_headers_has_token(&rq->http->headers, "upgrade", "websocket");
}

void watch_out_respond(struct watch_out *o, struct http_exchange *x, size_t limit)
{
	http_respond_push(x, 200, "application/json", &o->push, limit);
}

struct err *watch_out_accept(struct watch_out *o, struct api_request *rq, size_t limit)
{
	/* whatever protocol it names: the messages are the same */
	struct str named = http_headers_find(&rq->http->headers, "sec-websocket-protocol");
	const char *const protocols[] = { arena_strz(rq->arena, named), NULL };
	struct websocket *ws = NULL;

	TRY(websocket_accept(rq->x, named.n ? protocols : NULL, &ws));
	o->is_socket = true;
	o->socket = mem_new(struct watch_socket);
	*o->socket = (struct watch_socket){ .out = o, .ws = ws };
	o->push.limit = limit;
	list_init(&o->socket->messages);
	waitq_init(&o->socket->wake);
	return NULL;
}

/* the queue */
static bool socket_queue(struct watch_socket *s, struct blob *b)
{
	struct watch_message *m;

	if (!s || s->ending) {
		blob_unref(b);
		return false;
	}
	m = mem_new(struct watch_message);
	*m = (struct watch_message){ .blob = b };
	list_push_back(&s->messages, &m->link);
	s->queued += b->n;
	s->full |= s->queued > s->out->push.limit;
	waitq_wake_all(&s->wake);
	return !s->full;
}

static void socket_message_free(struct watch_socket *s, struct watch_message *m)
{
	list_unlink(&m->link);
	s->queued -= m->blob->n;
	blob_unref(m->blob);
	free(m);
}

static struct watch_socket *socket_free(struct watch_socket *s)
{
	struct watch_message *m, *tmp;

	list_for_each_safe(m, tmp, &s->messages, link)
		socket_message_free(s, m);
	websocket_free(s->ws);
	free(s);
	return NULL;
}

/* both directions */
static struct err *socket_read(void *arg)
{
	struct watch_socket *s = arg;
	struct str ignored;
	bool end = false;

	while (!end)
		TRY(websocket_read(s->ws, &ignored, &end));
	return err_new(ERR_CANCELED, "the client has gone");
}

static struct err *socket_write(void *arg)
{
	struct watch_socket *s = arg;

	for (;;) {
		struct watch_message *m;

		if (list_empty(&s->messages) && s->ending)
			break;
		if (list_empty(&s->messages)) {
			TRY(waitq_wait(&s->wake));
			continue;
		}
		m = list_entry(s->messages.next, struct watch_message, link);
		TRY(websocket_write(s->ws, blob_str(m->blob), true));
		socket_message_free(s, m);
		if (s->full && s->queued <= s->out->push.limit / 2) {
			s->full = false;
			s->out->push.writable(&s->out->push);
		}
	}
	TRY(websocket_close(s->ws, WS_NORMAL, STR_EMPTY));
	return err_new(ERR_CANCELED, "the watch has ended");
}

void watch_out_run_socket(struct watch_out *o, struct err *(*first)(void *arg), void *arg)
{
	struct watch_socket *s = o->socket;
	struct fiber_group *g = fiber_group_new();

	fiber_group_add(g, "watch-begin", first, arg);
	fiber_group_add(g, "watch-client", socket_read, s);
	fiber_group_add(g, "watch-events", socket_write, s);
	err_ignore(fiber_group_join(g), "either side's end is the watch's");
	o->socket = NULL;
	socket_free(s);
	o->push.closed(&o->push);
}

/* operations */
bool watch_out_write(struct watch_out *o, struct str copied)
{
	return o->is_socket ? socket_queue(o->socket, blob_from(copied))
			    : http_push_write(&o->push, copied);
}

bool watch_out_blob(struct watch_out *o, struct blob *b)
{
	return o->is_socket ? socket_queue(o->socket, blob_ref(b)) : http_push_blob(&o->push, b);
}

bool watch_out_is_full(const struct watch_out *o)
{
	if (o->is_socket)
		return o->socket && o->socket->queued > o->push.limit;
	return http_push_queued(&o->push) > o->push.limit;
}

void watch_out_set_limit(struct watch_out *o, size_t limit)
{
	o->push.limit = limit;
}

void watch_out_end(struct watch_out *o)
{
	if (!o->is_socket) {
		http_push_end(&o->push);
	} else if (o->socket) {
		o->socket->ending = true;
		waitq_wake_all(&o->socket->wake);
	}
}

void watch_out_abort(struct watch_out *o)
{
	/* the fibers of a WebSocket have their own end */
	if (!o->is_socket)
		http_push_abort(&o->push);
}
