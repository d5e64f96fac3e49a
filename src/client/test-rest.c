/* SPDX-License-Identifier: Apache-2.0 */

#include "client/rest.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/events.h"
#include "client/kubeconfig.h"
#include "io/file.h"
#include "io/http-client.h"
#include "testkit/http-peer.h"
#include "testkit/test.h"
#include "json/json.h"

/* Requests as they go over the wire, answers as they come back, against a scripted server. */

#define ANSWER(status, body) answer(status, body)

static const struct gvr pods = { STR_INIT(""), STR_INIT("v1"), STR_INIT("pods") };
static const struct gvr sets = { STR_INIT("apps"), STR_INIT("v1"), STR_INIT("replicasets") };

struct fixture {
	struct http_peer peer;
	struct fiber *fiber;
	struct client *client;
	struct arena *arena;
};

static const char *answer(const char *status, const char *body)
{
	static char text[16][1024];
	static int i;

	i = (i + 1) % 16;
	snprintf(text[i], sizeof(text[i]), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", status,
		 strlen(body), body);
	return text[i];
}

static void fixture_init(struct fixture *f, const struct http_peer_step *steps,
			 const char *token_file)
{
	struct client_opts opts = { .token_file = token_file, .user_agent = "test" };

	*f = (struct fixture){ .arena = arena_new() };
	assert_no_err(stream_listen(STR("127.0.0.1:0"), &f->peer.fd));
	f->peer.steps = steps;
	f->fiber = fiber_spawn(fiber_loop(), "peer", http_peer_run, &f->peer);
	opts.server =
		arena_fmt(f->arena, "http://127.0.0.1:%d/base", stream_listen_port(f->peer.fd));
	assert_no_err(client_new(&opts, &f->client));
}

static struct err *fixture_fini(struct fixture *f)
{
	assert_no_err(fiber_join(f->fiber));
	fiber_unref(f->fiber);
	client_free(f->client);
	close(f->peer.fd);
	arena_free(f->arena);
	return NULL;
}

FIBER_TEST(verbs)
{
	const struct http_peer_step steps[] = {
		HTTP_PEER_ACCEPT,
		{ "GET /base/api/v1/namespaces/d/pods/a HTTP", ANSWER("200 OK", "{\"x\":1}") },
		{ "GET /base/apis/apps/v1/replicasets?limit=1 ", ANSWER("200 OK", "{}") },
		{ "POST /base/api/v1/namespaces/d/pods ", ANSWER("201 Created", "{\"x\":2}") },
		{ "PUT /base/apis/apps/v1/namespaces/d/replicasets/r/status ",
		  ANSWER("200 OK", "{}") },
		{ "Content-Type: application/merge-patch+json", ANSWER("200 OK", "{}") },
		{ "PATCH /base/api/v1/namespaces/d/pods/a?fieldManager=test&force=true ",
		  ANSWER("200 OK", "{}") },
		{ "DELETE /base/api/v1/namespaces/d/pods/a ", ANSWER("200 OK", "{}") },
		{ 0 },
	};
	struct fixture f;
	struct json *v;
	struct json *o;
	struct arena *a;

	fixture_init(&f, steps, NULL);
	a = f.arena;
	assert_no_err(client_get(f.client, a, pods, STR("d"), STR("a"), &v));
	assert_int_equal(json_int_at(v, "x", 0), 1);
	assert_no_err(client_list(f.client, a, sets, STR_EMPTY, STR("limit=1"), &v));
	assert_no_err(
		json_parse(a, STR("{\"metadata\":{\"name\":\"r\",\"namespace\":\"d\"}}"), &o));
	assert_no_err(client_create(f.client, a, pods, STR("d"), o, &v));
	assert_int_equal(json_int_at(v, "x", 0), 2);
	assert_no_err(client_update(f.client, a, sets, "status", o, NULL));
	assert_no_err(client_patch(f.client, a, pods, STR("d"), STR("a"), NULL, CLIENT_PATCH_MERGE,
				   o, NULL));
	assert_no_err(client_patch(f.client, a, pods, STR("d"), STR("a"), NULL, CLIENT_PATCH_APPLY,
				   o, NULL));
	assert_no_err(client_delete(f.client, a, pods, STR("d"), STR("a"), NULL));
	return fixture_fini(&f);
}

FIBER_TEST(refusals_become_errors)
{
	const struct http_peer_step steps[] = {
		HTTP_PEER_ACCEPT,
		{ "GET",
		  ANSWER("404 Not Found",
			 "{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"NotFound\","
			 "\"message\":\"pods \\\"a\\\" not found\",\"code\":404,\"details\":"
			 "{\"name\":\"a\",\"kind\":\"pods\"}}") },
		{ "GET", ANSWER("503 Service Unavailable", "no backend") },
		{ "GET", ANSWER("200 OK", "{not json") },
		{ "GET", "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: "
			 "0\r\n\r\n" },
		{ "GET", ANSWER("200 OK", "{}") },
		{ 0 },
	};
	struct fixture f;
	struct json *v;
	struct err *e;

	fixture_init(&f, steps, NULL);
	e = client_get(f.client, f.arena, pods, STR("d"), STR("a"), &v);
	assert_true(e && err_is(e, ERR_NOT_FOUND));
	assert_str(err_msg(e), "pods \"a\" not found");
	assert_str(err_detail_name(e), "a");
	err_free(e);
	assert_err(client_get(f.client, f.arena, pods, STR("d"), STR("a"), &v), ERR_UNAVAILABLE);
	assert_err(client_get(f.client, f.arena, pods, STR("d"), STR("a"), &v), ERR_BAD_REQUEST);
	/* asked to come back later, it does */
	assert_no_err(client_get(f.client, f.arena, pods, STR("d"), STR("a"), &v));
	return fixture_fini(&f);
}

FIBER_TEST(token_is_read_again)
{
	const struct http_peer_step steps[] = {
		HTTP_PEER_ACCEPT,
		{ "Authorization: Bearer one\r\n", ANSWER("200 OK", "{}") },
		{ "Authorization: Bearer two\r\n", ANSWER("200 OK", "{}") },
		{ 0 },
	};
	char path[] = "/tmp/test-rest-XXXXXX";
	struct fixture f;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	assert_no_err(file_write_atomic(path, STR("one\n"), 0600));
	fixture_init(&f, steps, path);
	assert_no_err(client_raw(f.client, f.arena, "GET", STR("/x"), NULL, NULL));
	assert_no_err(file_write_atomic(path, STR("two"), 0600));
	assert_no_err(client_raw(f.client, f.arena, "GET", STR("/x"), NULL, NULL));
	unlink(path);
	return fixture_fini(&f);
}

FIBER_TEST(events_are_counted)
{
	const struct http_peer_step steps[] = {
		HTTP_PEER_ACCEPT,
		{ "POST /base/api/v1/namespaces/d/events ", ANSWER("201 Created", "{}") },
		{ "PATCH /base/api/v1/namespaces/d/events/a.", ANSWER("200 OK", "{}") },
		{ "PATCH /base/api/v1/namespaces/d/events/a.", ANSWER("404 Not Found", "") },
		{ "POST /base/api/v1/namespaces/d/events ", ANSWER("201 Created", "{}") },
		{ 0 },
	};
	struct event_recorder *r;
	struct fixture f;
	struct json *o;

	fixture_init(&f, steps, NULL);
	r = event_recorder_new(fiber_loop(), f.client, "test", STR("host"));
	assert_no_err(json_parse(
		f.arena, STR("{\"metadata\":{\"name\":\"a\",\"namespace\":\"d\",\"uid\":\"u\"}}"),
		&o));
	for (int i = 0; i < 3; i++)
		event_record(r, o, STR("v1"), STR("Pod"), "Normal", "Why", "text %d", 7);
	assert_no_err(fiber_join(f.fiber));
	event_recorder_free(r);
	TRY(fiber_sleep_ms(1));
	return fixture_fini(&f);
}

TEST(kubeconfig)
{
	static const char text[] =
		"apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n"
		"- {name: c, context: {cluster: k, user: u, namespace: ns}}\n"
		"- {name: e, context: {cluster: k, user: x}}\n"
		"- {name: broken, context: {cluster: none}}\n"
		"clusters:\n- name: k\n  cluster: {server: 'https://h:1', "
		"certificate-authority-data: Q0E=}\n"
		"users:\n- {name: u, user: {token: t, tokenFile: tok, client-key-data: '!'}}\n"
		"- {name: x, user: {exec: {command: a}}}\n";
	_cleanup_arena_ struct arena *a = arena_new();
	char path[] = "/tmp/test-kubeconfig-XXXXXX";
	struct kubeconfig k;
	struct str good = arena_str(a, str_from(text));
	size_t at = str_find(good, STR(", client-key-data: '!'"));
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	assert_no_err(file_write_atomic(path, str_from(text), 0600));
	assert_err(kubeconfig_load(a, path, NULL, &k), ERR_INVALID);
	assert_err(kubeconfig_load(a, path, "e", &k), ERR_INVALID);
	assert_err(kubeconfig_load(a, path, "broken", &k), ERR_INVALID);
	assert_err(kubeconfig_load(a, path, "absent", &k), ERR_INVALID);
	assert_err(kubeconfig_load(a, "/nowhere/at/all", NULL, &k), ERR_NOT_FOUND);
	good = arena_cat(a, str_sub(good, 0, at), str_skip(good, at + 22));
	assert_no_err(file_write_atomic(path, good, 0600));
	assert_no_err(kubeconfig_load(a, path, NULL, &k));
	assert_str(k.server, "https://h:1");
	assert_str(k.ca_pem, "CA");
	assert_str(k.token, "t");
	assert_str(k.ns, "ns");
	assert_string_equal(k.token_file, "/tmp/tok");
	unlink(path);
}

TEST_MAIN(T(verbs), T(refusals_become_errors), T(token_is_read_again), T(events_are_counted),
	  T(kubeconfig))
