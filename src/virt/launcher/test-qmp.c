/* SPDX-License-Identifier: Apache-2.0 */

/* The QMP client against a scripted peer: what it sends is checked, what it gets is written here.
 */

#include "virt/launcher/qmp.h"

#include <stdio.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "io/stream.h"
#include "testkit/test.h"
#include "virt/launcher/jsonl.h"
#include "json/json.h"

#define GREETING "{\"QMP\":{\"version\":{},\"capabilities\":[]}}\n"

/* What the peer does: for every expected command one text to answer; "$id" is the request's id. */
struct step {
	const char *command, *answer;
};

struct script {
	const char *greeting;
	const struct step *steps;
	size_t n;
	struct stream *st;
};

static struct err *peer_answer(struct script *s, const char *text, int64_t id)
{
	_cleanup_buf_ struct buf out = { 0 };
	struct str rest = str_from(text);

	while (!str_empty(rest)) {
		size_t at = str_find(rest, STR("$id"));

		buf_add(&out, str_sub(rest, 0, at));
		if (at == rest.n)
			break;
		buf_addf(&out, "%lld", (long long)id);
		rest = str_skip(rest, at + 3);
	}
	return stream_write(s->st, buf_str(&out));
}

static struct err *peer(void *arg)
{
	struct script *s = arg;
	struct jsonl line;
	struct err *e = NULL;

	jsonl_init(&line, s->st, 65536);
	e = stream_write(s->st, str_from(s->greeting));
	for (size_t i = 0; !e && i < s->n; i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *req;

		e = jsonl_read(&line, a, &req);
		if (e)
			break;
		assert_str(json_str_at(req, "execute"), s->steps[i].command);
		e = peer_answer(s, s->steps[i].answer, json_int_at(req, "id", -1));
	}
	jsonl_fini(&line);
	return e;
}

struct seen {
	unsigned events, closed;
	char last[32];
};

static void on_event(void *ctx, struct str name, const struct json *data)
{
	struct seen *s = ctx;

	s->events++;
	snprintf(s->last, sizeof(s->last), STR_FMT, STR_ARG(name));
}

static void on_closed(void *ctx)
{
	((struct seen *)ctx)->closed++;
}

static struct stream *connect_peer(struct script *s, struct fiber **ret)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	s->st = stream_from_fd(sv[1]);
	*ret = fiber_spawn(fiber_loop(), "peer", peer, s);
	return stream_from_fd(sv[0]);
}

static void end_peer(struct fiber *f)
{
	assert_no_err(fiber_join(f));
	fiber_unref(f);
}

FIBER_TEST(calls_errors_and_events)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct script s = {
		.greeting = GREETING,
		.steps =
			(const struct step[]){
				{ "qmp_capabilities", "{\"return\":{},\"id\":$id}\n" },
				{ "query-status", "{\"event\":\"RESUME\",\"data\":{}}\n"
						  "{\"return\":{\"running\":true},\"id\":$id}\n" },
				{ "stop", "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"},"
					  "\"id\":$id}\n" },
			},
		.n = 3,
	};
	struct seen seen = { 0 };
	const struct qmp_events ev = { on_event, on_closed, &seen };
	struct fiber *f;
	struct json *ret;
	struct qmp *q;
	struct err *e;

	assert_no_err(qmp_open(connect_peer(&s, &f), &ev, &q));
	assert_no_err(qmp_call(q, a, "query-status", NULL, &ret));
	assert_true(json_bool_at(ret, "running", false));
	assert_int_equal(seen.events, 1);
	assert_string_equal(seen.last, "RESUME");
	e = qmp_call(q, a, "stop", NULL, NULL);
	assert_str(err_msg(e), "stop: no");
	err_free(e);
	end_peer(f);
	while (!qmp_is_closed(q))
		assert_no_err(fiber_yield());
	/* The peer is gone: calls fail, closed is told once. */
	assert_err(qmp_call(q, a, "cont", NULL, NULL), ERR_IO);
	assert_int_equal(seen.closed, 1);
	assert_true(qmp_is_closed(q));
	qmp_free(q);
	return NULL;
}

FIBER_TEST(a_peer_that_is_no_qemu)
{
	static const char *const greetings[] = { "", "{}\n", "hello\n", "[1]\n" };

	for (size_t i = 0; i < ARRAY_LEN(greetings); i++) {
		struct script s = { .greeting = greetings[i] };
		struct seen seen = { 0 };
		const struct qmp_events ev = { on_event, on_closed, &seen };
		struct fiber *f;
		struct qmp *q = NULL;
		struct err *e = qmp_open(connect_peer(&s, &f), &ev, &q);

		assert_non_null(e);
		assert_null(q);
		err_free(e);
		end_peer(f);
	}
	return NULL;
}

TEST_MAIN(T(calls_errors_and_events), T(a_peer_that_is_no_qemu))
