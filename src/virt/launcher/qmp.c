/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/launcher/qmp.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/stream.h"
#include "virt/launcher/jsonl.h"
#include "json/json.h"

#define QMP_MAX_LINE      (4 * 1024 * 1024)
#define QMP_GREETING_MS   10000
#define QMP_CALL_LIMIT_MS 30000

/* A call in flight; lives on its fiber's stack. */
struct qmp_pending {
	struct list link;
	int64_t id;
	struct arena *arena;
	struct json *reply; /* in arena */
	bool done;
	struct waitq wait;
};

struct qmp {
	struct jsonl line;
	struct qmp_events ev;
	struct list pending;
	int64_t last_id;
	bool closed;
	struct fiber *reader;
};

static void qmp_reply(struct qmp *q, const struct json *msg)
{
	int64_t id = json_as_int(json_get(msg, "id"), -1);
	struct qmp_pending *p;

	list_for_each(p, &q->pending, link) {
		if (p->id != id)
			continue;
		p->reply = json_copy(p->arena, msg);
		p->done = true;
		waitq_wake_all(&p->wait);
		return;
	}
}

static void qmp_close(struct qmp *q)
{
	struct qmp_pending *p;

	q->closed = true;
	list_for_each(p, &q->pending, link)
		waitq_wake_all(&p->wait);
	if (q->ev.closed)
		q->ev.closed(q->ev.ctx);
}

static struct err *qmp_read_all(struct qmp *q)
{
	for (;;) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *msg = NULL;
		struct str event;

		TRY(jsonl_read(&q->line, a, &msg));
		if (!msg)
			return NULL;
		event = json_as_str(json_get(msg, "event"));
		if (!str_empty(event))
			q->ev.event(q->ev.ctx, event, json_get(msg, "data"));
		else
			qmp_reply(q, msg);
	}
}

static struct err *qmp_reader(void *arg)
{
	struct qmp *q = arg;
	struct err *e = qmp_read_all(q);

	qmp_close(q);
	return e;
}

static struct err *qmp_greet(struct qmp *q)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *greeting = NULL;
	struct mono old = fiber_limit_ms(QMP_GREETING_MS);
	struct err *e = jsonl_read(&q->line, a, &greeting);

	fiber_restore_deadline(old);
	if (e)
		return err_wrap(e, "QMP greeting");
	if (!json_get(greeting, "QMP"))
		return err_new(ERR_PROTOCOL, greeting ? "QMP: not a greeting"
						      : "QMP: closed before its greeting");
	return NULL;
}

struct err *qmp_open(struct stream *st, const struct qmp_events *ev, struct qmp **ret)
{
	struct qmp *q = mem_new(struct qmp);
	_cleanup_arena_ struct arena *a = arena_new();
	struct err *e;

	jsonl_init(&q->line, st, QMP_MAX_LINE);
	q->ev = *ev;
	list_init(&q->pending);
	e = qmp_greet(q);
	if (!e) {
		q->reader = fiber_spawn(fiber_loop(), "qmp", qmp_reader, q);
		e = qmp_call(q, a, "qmp_capabilities", NULL, NULL);
	}
	if (e) {
		qmp_free(q);
		return e;
	}
	*ret = q;
	return NULL;
}

struct qmp *qmp_free(struct qmp *q)
{
	if (!q)
		return NULL;
	if (q->reader) {
		fiber_mask_cancel();
		fiber_cancel(q->reader);
		err_ignore(fiber_join(q->reader), "the connection is being closed");
		fiber_unmask_cancel();
		fiber_unref(q->reader);
	}
	jsonl_fini(&q->line);
	free(q);
	return NULL;
}

static struct err *qmp_wait(struct qmp *q, struct qmp_pending *p)
{
	while (!p->done && !q->closed)
		TRY(waitq_wait(&p->wait));
	if (!p->done)
		return err_new(ERR_IO, "QEMU closed its monitor");
	return NULL;
}

static struct err *qmp_send(struct qmp *q, struct qmp_pending *p, const struct json *msg)
{
	struct mono old = fiber_limit_ms(QMP_CALL_LIMIT_MS);
	struct err *e = jsonl_write(&q->line, msg);

	if (!e)
		e = qmp_wait(q, p);
	fiber_restore_deadline(old);
	return e;
}

struct err *qmp_call(struct qmp *q, struct arena *a, const char *command, struct json *args,
		     struct json **ret)
{
	struct qmp_pending p = { .id = ++q->last_id, .arena = a };
	struct json *msg = json_object(a);
	const struct json *error;
	struct err *e;

	if (q->closed)
		return err_new(ERR_IO, "%s: QEMU closed its monitor", command);
	json_set(a, msg, "execute", json_strz(a, command));
	if (args)
		json_set(a, msg, "arguments", args);
	json_set_int(a, msg, "id", p.id);
	waitq_init(&p.wait);
	list_push_back(&q->pending, &p.link);
	e = qmp_send(q, &p, msg);
	list_unlink(&p.link);
	if (e)
		return err_wrap(e, "%s", command);
	error = json_get(p.reply, "error");
	if (error)
		return err_new(ERR_INTERNAL, "%s: " STR_FMT, command,
			       STR_ARG(json_str_at(error, "desc")));
	if (ret)
		*ret = json_get(p.reply, "return");
	return NULL;
}

bool qmp_is_closed(const struct qmp *q)
{
	return q->closed;
}
