/* SPDX-License-Identifier: Apache-2.0 */

#include "client/informer.h"

#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "client/rest.h"
#include "testkit/http-peer.h"
#include "testkit/test.h"
#include "json/json.h"

/* An informer against a scripted API server; what its handler sees is written down as text. */

#define HEAD_CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define POD(name, rv, more)                                                          \
	"{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"d\",\"uid\":\"u-" name \
	"\",\"resourceVersion\":\"" rv "\"" more "}}"
#define OWNED ",\"ownerReferences\":[{\"uid\":\"o\",\"controller\":true}]"

struct fixture {
	struct http_peer peer;
	struct fiber *fiber;
	struct client *client;
	struct informer *inf;
	struct informer_handler handler;
	struct arena *arena;
	struct buf seen;
	struct waitq changed;
};

static void on_event(struct informer_handler *h, const struct obj *old_obj,
		     const struct obj *new_obj)
{
	struct fixture *f = container_of(h, struct fixture, handler);
	const struct obj *o = new_obj ? new_obj : old_obj;

	buf_addf(&f->seen, "%c" STR_FMT "@%llu ",
		 !old_obj  ? '+'
		 : new_obj ? '~'
			   : '-',
		 STR_ARG(o->name), (unsigned long long)o->rev.n);
	waitq_wake_all(&f->changed);
}

static void fixture_init(struct fixture *f, const struct http_peer_step *steps)
{
	struct client_opts opts = { 0 };

	*f = (struct fixture){ .arena = arena_new(), .handler.event = on_event };
	waitq_init(&f->changed);
	assert_no_err(stream_listen(STR("127.0.0.1:0"), &f->peer.fd));
	f->peer.steps = steps;
	f->fiber = fiber_spawn(fiber_loop(), "peer", http_peer_run, &f->peer);
	opts.server = arena_fmt(f->arena, "http://127.0.0.1:%d", stream_listen_port(f->peer.fd));
	assert_no_err(client_new(&opts, &f->client));
	f->inf = informer_new(fiber_loop(), f->client,
			      &(struct informer_opts){ .gvr = GVR("", "v1", "pods"),
						       .label_selector = STR("a=b") });
	informer_add_handler(f->inf, &f->handler);
}

static void fixture_expect(struct fixture *f, const char *seen)
{
	while (f->seen.n < strlen(seen))
		assert_no_err(waitq_wait(&f->changed));
	assert_str(buf_str(&f->seen), seen);
}

static struct err *fixture_fini(struct fixture *f)
{
	assert_no_err(fiber_join(f->fiber));
	fiber_unref(f->fiber);
	informer_free(f->inf);
	TRY(fiber_sleep_ms(1));
	client_free(f->client);
	close(f->peer.fd);
	buf_fini(&f->seen);
	arena_free(f->arena);
	return NULL;
}

static const char *list(const char *rv, const char *cont, const char *items)
{
	static char text[8][4096];
	static int i;
	char body[2048];
	int n = snprintf(body, sizeof(body),
			 "{\"metadata\":{\"resourceVersion\":\"%s\",\"continue\":\"%s\"},"
			 "\"items\":[%s]}",
			 rv, cont, items);

	i = (i + 1) % 8;
	snprintf(text[i], sizeof(text[i]), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", n,
		 body);
	return text[i];
}

static const char *events(const char *lines, bool end)
{
	static char text[8][4096];
	static int i;

	i = (i + 1) % 8;
	snprintf(text[i], sizeof(text[i]), "%s%zx\r\n%s\r\n%s", HEAD_CHUNKED, strlen(lines), lines,
		 end ? "0\r\n\r\n" : "");
	return text[i];
}

static bool count_one(const struct obj *o, void *ctx)
{
	++*(int *)ctx;
	return true;
}

FIBER_TEST(list_pages_watch_resume_and_relist)
{
	const struct http_peer_step steps[] = {
		HTTP_PEER_ACCEPT,
		{ "GET /api/v1/pods?limit=500&labelSelector=a%3Db ",
		  list("10", "more", POD("a", "1", OWNED) "," POD("b", "2", "")) },
		{ "&continue=more", list("10", "", POD("c", "3", OWNED)) },
		{ "resourceVersion=10&labelSelector=a%3Db ",
		  events("{\"type\":\"MODIFIED\",\"object\":" POD(
				 "b", "11",
				 OWNED) "}\n"
					"{\"type\":\"DELETED\",\"object\":" POD(
						"c", "12",
						OWNED) "}\n"
						       "{\"type\":\"BOOKMARK\",\"object\":{"
						       "\"metadata\":{\"resourceVersion\":"
						       "\"20\"}}}\n",
			 true) },
		{ "resourceVersion=20&",
		  events("{\"type\":\"ADDED\",\"object\":" POD(
				 "d", "21",
				 "") "}\n{\"type\":\"ERR"
				     "OR\",\"object\":{\"kind\":\"Status\",\"status\":\"Failure\","
				     "\"reason\":"
				     "\"Expired\",\"message\":\"too old\",\"code\":410}}\n",
			 false) },
		HTTP_PEER_ACCEPT,
		{ "limit=500&", list("30", "", POD("a", "1", OWNED) "," POD("b", "29", OWNED)) },
		{ "resourceVersion=30&", events("", false) },
		{ 0 },
	};
	struct informer_index *idx;
	struct fixture f;
	int n = 0;

	fixture_init(&f, steps);
	idx = informer_add_index(f.inf, informer_index_by_owner);
	assert_no_err(informer_wait_synced(f.inf));
	fixture_expect(&f, "+a@1 +b@2 +c@3 ");
	assert_int_equal(informer_count(f.inf), 3);
	assert_non_null(informer_find(f.inf, STR("d"), STR("b")));
	assert_non_null(informer_find_key(f.inf, STR("d/b")));
	assert_null(informer_find(f.inf, STR("e"), STR("b")));
	informer_index_each(idx, STR("o"), count_one, &n);
	assert_int_equal(n, 2);
	fixture_expect(&f, "+a@1 +b@2 +c@3 ~b@11 -c@12 +d@21 ~b@29 -d@21 ");
	n = 0;
	informer_index_each(idx, STR("o"), count_one, &n);
	assert_int_equal(n, 2);
	return fixture_fini(&f);
}

FIBER_TEST(broken_connections_resume)
{
	const struct http_peer_step steps[] = {
		HTTP_PEER_ACCEPT,
		{ "GET ", NULL },
		HTTP_PEER_ACCEPT,
		{ "GET ", "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n" },
		{ "limit=", list("5", "", POD("a", "1", "")) },
		{ "resourceVersion=5&",
		  events("{\"type\":\"MODIFIED\",\"object\":" POD("a", "6", "") "}\n{\"type\":\"AD",
			 false) },
		HTTP_PEER_HANGUP,
		HTTP_PEER_ACCEPT,
		{ "resourceVersion=6&",
		  events("{\"type\":\"ADDED\",\"object\":" POD("b", "7", "") "}\n", false) },
		{ 0 },
	};
	struct fixture f;

	fixture_init(&f, steps);
	fixture_expect(&f, "+a@1 ~a@6 +b@7 ");
	assert_str(informer_rv(f.inf), "7");
	return fixture_fini(&f);
}

FIBER_TEST(late_handlers_see_what_exists)
{
	const struct http_peer_step steps[] = {
		HTTP_PEER_ACCEPT,
		{ "limit=", list("5", "", POD("a", "1", "") "," POD("b", "2", "")) },
		{ "resourceVersion=5&", events("", false) },
		{ 0 },
	};
	struct fixture f;
	struct fixture late = { .handler.event = on_event };

	fixture_init(&f, steps);
	waitq_init(&late.changed);
	assert_no_err(informer_wait_synced(f.inf));
	informer_add_handler(f.inf, &late.handler);
	fixture_expect(&late, "+a@1 +b@2 ");
	buf_fini(&late.seen);
	return fixture_fini(&f);
}

TEST_MAIN(T(list_pages_watch_resume_and_relist), T(broken_connections_resume),
	  T(late_handlers_see_what_exists))
