/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The figures of DESIGN section 6 for `isoplane apiserver`, measured as upstream's were: requests
 * over TLS from 16 clients, 1 KB objects, CPU time of the server's process.
 *
 *     bench-apiserver ISOPLANE PORT [PART]..., or bench/apiserver
 */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/http-client.h"
#include "io/process.h"
#include "io/tls.h"

#define WATCHERS 200

/* ---- the operations ---- */

#define CMS "/api/v1/namespaces/default/configmaps"

static void op_create(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->method = "POST";
	op->content_type = "application/json";
	op->target = STR(CMS);
	op->body = arena_fmt(a,
			     "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":"
			     "\"cm-%05d\",\"labels\":{\"app\":\"bench\",\"tenth\":\"%d\"}},"
			     "\"data\":{\"key\":\"%s\"}}",
			     i, i % 10, b->value);
}

static void op_get(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->target = arena_fmt(a, CMS "/cm-%05d", i % 5000);
}

static void op_merge(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->method = "PATCH";
	op->content_type = "application/merge-patch+json";
	op->target = arena_fmt(a, CMS "/cm-%05d", i % 5000);
	op->body = arena_fmt(a, "{\"data\":{\"other\":\"%d\"}}", i);
}

static void op_apply(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->method = "PATCH";
	op->content_type = "application/apply-patch+yaml";
	op->target = arena_fmt(a, CMS "/cm-%05d?fieldManager=bench&force=true", i % 5000);
	op->body = arena_fmt(a,
			     "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":"
			     "\"cm-%05d\"},\"data\":{\"applied\":\"%d\"}}",
			     i % 5000, i);
}

static void op_delete_upper(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->method = "DELETE";
	op->target = arena_fmt(a, CMS "/cm-%05d", i + 5000);
}

static void op_list(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->target = STR(CMS);
	op->accept_encoding = STR("gzip");
}

static void op_list_label(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->target = STR(CMS "?labelSelector=tenth%3D3");
	op->accept_encoding = STR("gzip");
}

static void op_crd(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->method = "POST";
	op->content_type = "application/json";
	op->target = STR("/apis/apiextensions.k8s.io/v1/customresourcedefinitions");
	op->body = STR(
		"{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"CustomResourceDefinition\","
		"\"metadata\":{\"name\":\"things.bench.example.com\"},\"spec\":{\"group\":"
		"\"bench.example.com\",\"scope\":\"Namespaced\",\"names\":{\"plural\":\"things\","
		"\"singular\":\"thing\",\"kind\":\"Thing\"},\"versions\":[{\"name\":\"v1\","
		"\"served\":true,\"storage\":true,\"schema\":{\"openAPIV3Schema\":{\"type\":"
		"\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"required\":[\"size\"],"
		"\"properties\":{\"size\":{\"type\":\"integer\",\"minimum\":1},\"mode\":{\"type\":"
		"\"string\",\"enum\":[\"a\",\"b\"],\"default\":\"a\"},\"text\":{\"type\":"
		"\"string\","
		"\"maxLength\":4096},\"list\":{\"type\":\"array\",\"maxItems\":10,\"items\":{"
		"\"type\":\"string\",\"pattern\":\"^[a-z]+$\"}}}}}}}}]}}");
}

#define THINGS "/apis/bench.example.com/v1/namespaces/default/things"

static void op_things(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->target = STR(THINGS);
}

static void op_create_thing(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->method = "POST";
	op->content_type = "application/json";
	op->target = STR(THINGS);
	op->body = arena_fmt(a,
			     "{\"apiVersion\":\"bench.example.com/v1\",\"kind\":\"Thing\","
			     "\"metadata\":{\"name\":\"thing-%05d\"},\"spec\":{\"size\":%d,"
			     "\"text\":\"%s\",\"list\":[\"abc\",\"def\"]}}",
			     i, i + 1, b->value);
}

/* ---- watches ---- */

struct fan {
	struct waitq wake;
	long events;
	int ended;
	struct err *error; /* owned: the first of a watch that ended */
};

struct watcher {
	struct fan *fan;
	struct http_client *client;
	bool opened;
};

static struct err *watch_read(struct watcher *w)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct http_client_request req = {
		.target =
			STR("/api/v1/namespaces/watched/configmaps?watch=true&resourceVersion=0")
	};
	_cleanup_(http_call_freep) struct http_call *call = NULL;
	struct http_client_response resp;
	_cleanup_free_ char *buf = mem_alloc(65536);
	size_t n;

	TRY(http_client_start(w->client, a, &req, &resp, &call));
	if (resp.status != 200)
		return err_new(ERR_UNKNOWN, "watch: %d", resp.status);
	w->opened = true;
	waitq_wake_all(&w->fan->wake);
	for (;;) {
		TRY(http_call_read(call, buf, 65536, &n));
		if (!n)
			return NULL;
		for (const char *p = buf; (p = memchr(p, '\n', (size_t)(buf + n - p))); p++)
			w->fan->events++;
		waitq_wake_all(&w->fan->wake);
	}
}

static struct err *watch_run(void *arg)
{
	struct watcher *w = arg;
	struct err *e = watch_read(w);

	w->fan->ended++;
	waitq_wake_all(&w->fan->wake);
	if (!w->fan->error)
		w->fan->error = e;
	else
		err_ignore(e, "the first is told");
	return NULL;
}

static void op_namespace(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->method = "POST";
	op->content_type = "application/json";
	op->target = STR("/api/v1/namespaces");
	op->body = STR("{\"apiVersion\":\"v1\",\"kind\":\"Namespace\","
		       "\"metadata\":{\"name\":\"watched\"}}");
}

static void op_create_watched(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op_create(b, a, i, op);
	op->target = STR("/api/v1/namespaces/watched/configmaps");
}

#define FANOUT_OPS  2000
#define OPENING_MAX 64

static struct err *fan_open(struct bench *b, struct fan *fan, struct watcher *w, struct fiber **f,
			    int n)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct http_client_opts o = { .address = arena_fmt(a, "127.0.0.1:%d", b->port),
					    .tls = b->tls };

	for (int i = 0; i < n; i++) {
		w[i] = (struct watcher){ fan, http_client_new(&o), false };
		f[i] = fiber_spawn(fiber_loop(), "watcher", watch_run, &w[i]);
		/* not all at once: the server's backlog is shorter */
		while (i >= OPENING_MAX && !w[i - OPENING_MAX].opened && !fan->ended)
			TRY(waitq_wait(&fan->wake));
	}
	for (int i = 0; i < n; i++)
		while (!w[i].opened && !fan->ended)
			TRY(waitq_wait(&fan->wake));
	return NULL;
}

static struct err *fan_ended(struct fan *fan, int n)
{
	struct err *e = fan->error;

	if (!fan->ended)
		return NULL;
	fan->error = NULL;
	if (!e)
		e = err_new(ERR_UNKNOWN, "the server ended it");
	return err_wrap(e, "%d of %d watches ended early", fan->ended, n);
}

/* CPU beyond that of the same writes unwatched, per delivered event, with n watchers. */
static struct err *fan_out(struct bench *b, int n, int ops, double plain_us, double *ret_us)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct watcher *w = arena_array(a, (size_t)n, sizeof(*w));
	struct fiber **f = arena_array(a, (size_t)n, sizeof(struct fiber *));
	struct fan fan = { .events = 0 };
	struct result r;
	double cpu;

	waitq_init(&fan.wake);
	TRY(load(b, 1, 1, 201, op_namespace, &r));
	TRY(fan_open(b, &fan, w, f, n));
	fan.events = 0;
	cpu = cpu_us(process_pid(b->proc));
	if (!fan.ended)
		TRY(load(b, ops, CLIENTS, 201, op_create_watched, &r));
	while (fan.events < (long)ops * n && !fan.ended)
		TRY(waitq_wait(&fan.wake));
	*ret_us = (cpu_us(process_pid(b->proc)) - cpu - plain_us * ops) / ((double)ops * n);
	TRY(fan_ended(&fan, n));
	for (int i = 0; i < n; i++) {
		fiber_cancel(f[i]);
		err_ignore(fiber_join(f[i]), "it was cancelled");
		fiber_unref(f[i]);
		http_client_free(w[i].client);
	}
	err_ignore(fan.error, "it was cancelled");
	return NULL;
}

/* How it grows: each number on a server of its own. */
static struct err *bench_watchers(struct bench *b)
{
	static const int rows[] = { 10, 1000, 10000 };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *name = mem_fmt("fan-out, %d watchers, per event", rows[i]);
		const int ops = MIN(FANOUT_OPS, 500000 / rows[i]);
		struct result r;
		double us;

		TRY(bench_fresh_server(b));
		TRY(load(b, FANOUT_OPS, CLIENTS, 201, op_create, &r));
		TRY(fan_out(b, rows[i], ops, r.us, &us));
		row_plain(name, us, "us");
		TRY(server_stop(b));
	}
	return NULL;
}

/* ---- the table ---- */

/* CRDs are served a moment after they are created. */
static struct err *custom_resources(struct bench *b)
{
	struct result r;
	struct mono start = mono_now();

	TRY(load(b, 1, 1, 201, op_crd, &r));
	for (;;) {
		struct err *e = load(b, 1, 1, 200, op_things, &r);

		if (!e)
			return NULL;
		if (mono_ms_since(start) > 10000)
			return e;
		err_ignore(e, "not yet served");
		TRY(fiber_sleep_ms(20));
	}
}

static struct err *measure_all(struct bench *b)
{
	struct result r, create;
	double ms, us;
	struct err *e;

	TRY(server_start(b, &ms));
	printf("%-34s %9.1f ms  (makes its keys)\n", "first start to /readyz ok", ms);
	TRY(server_stop(b));
	TRY(server_start(b, &ms));
	row("start to /readyz ok", ms, "ms", 50, 2900);
	TRY(fiber_sleep_ms(1500));
	row("memory (PSS), idle", pss_mb(process_pid(b->proc)), "MB", 10, 315);
	TRY(measure_op(b, "create ConfigMap, durable", 10000, 201, op_create, 1, "us", 60, 1304,
		       &create));
	printf("%-34s %9.0f /s\n", "  (creates per second)", create.per_s);
	row("memory (PSS), 10,000 objects", pss_mb(process_pid(b->proc)), "MB", 40, 749);
	TRY(measure_op(b, "get", 20000, 200, op_get, 1, "us", 25, 664, &r));
	printf("%-34s %9.0f /s\n", "  (gets per second)", r.per_s);
	TRY(measure_op(b, "merge patch", 5000, 200, op_merge, 1, "us", 80, 1938, &r));
	TRY(measure_op(b, "server-side apply", 2000, 200, op_apply, 1, "us", 120, 2190, &r));
	TRY(load(b, 5000, CLIENTS, 200, op_delete_upper, &r));
	TRY(measure_op(b, "list 5,000 (7 MB, gzip offered)", 32, 200, op_list, 1000, "ms", 8, 66.5,
		       &r));
	TRY(measure_op(b, "list 500 of 5,000 by label", 64, 200, op_list_label, 1000, "ms", 1.5,
		       9.5, &r));
	e = custom_resources(b);
	if (e)
		row_failed("create custom resource (schema)", e);
	else
		TRY(measure_op(b, "create custom resource (schema)", 5000, 201, op_create_thing, 1,
			       "us", 80, 1590, &r));
	e = fan_out(b, WATCHERS, FANOUT_OPS, create.us, &us);
	if (e)
		row_failed("watch fan-out, per event", e);
	else
		row("watch fan-out, per event", us, "us", 2, 24.6);
	printf("%-34s %9.1f MB\n", "memory (PSS), at the end", pss_mb(process_pid(b->proc)));
	return server_stop(b);
}

struct args {
	struct bench b;
	char **parts;
	int n;
};

static bool wants(const struct args *a, const char *part)
{
	for (int i = 0; i < a->n; i++)
		if (str_eqz(str_from(a->parts[i]), part) || str_eqz(str_from(a->parts[i]), "all"))
			return true;
	return a->n == 0 && (str_eqz(str_from(part), "table") || str_eqz(str_from(part), "harder"));
}

static struct err *bench_run(void *arg)
{
	struct args *a = arg;
	struct bench *b = &a->b;

	printf("%-34s %9s     %9s %9s\n", "CPU per operation", "ours", "target", "upstream");
	if (wants(a, "table"))
		TRY(measure_all(b));
	if (wants(a, "harder"))
		TRY(bench_harder(b));
	if (wants(a, "writers"))
		TRY(bench_writers(b));
	if (wants(a, "growth"))
		TRY(bench_growth(b, 100000));
	if (wants(a, "million"))
		TRY(bench_growth(b, 1000000));
	if (wants(a, "watches"))
		TRY(bench_watches(b, 10000));
	if (wants(a, "watchers"))
		TRY(bench_watchers(b));
	if (wants(a, "crds"))
		TRY(bench_crds(b, 1000));
	return NULL;
}

int main(int argc, char **argv)
{
	struct args a = { .b = { .binary = argc > 1 ? argv[1] : "build/isoplane",
				 .port = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 16643 } };
	struct bench *b = &a.b;
	char log[sizeof(b->dir) + 8];
	struct err *e;

	a.parts = argv + MIN(argc, 3);
	a.n = argc - MIN(argc, 3);
	snprintf(b->dir, sizeof(b->dir), "/tmp/bench-apiserver-XXXXXX");
	if (b->port <= 0 || b->port > 65535 || !mkdtemp(b->dir)) {
		fprintf(stderr,
			"usage: bench-apiserver [ISOPLANE [PORT [table|harder|writers|growth|"
			"million|watches|watchers|crds|all]...]]\n");
		return 2;
	}
	memset(b->value, 'x', sizeof(b->value) - 1);
	e = fiber_main(bench_run, &a);
	process_free(b->proc);
	err_ignore(file_remove_tree(b->dir), "only a leftover");
	snprintf(log, sizeof(log), "%s.log", b->dir);
	if (!e) {
		unlink(log);
		return 0;
	}
	fprintf(stderr, "bench-apiserver: %.*s\n", STR_ARG(err_msg(e)));
	return 1;
}
