/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the benchmark beyond the table: harder requests, growth, writers, idle watches. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/http-client.h"
#include "io/process.h"

#define CMS     "/api/v1/namespaces/default/configmaps"
#define PODS    "/api/v1/namespaces/default/pods"
#define WIDGETS "/apis/bench.example.com/%s/namespaces/default/widgets"
#define JSON    "application/json"

struct err *bench_fresh_server(struct bench *b)
{
	double ms;

	TRY(file_remove_tree(b->dir));
	TRY(file_mkdir_p(b->dir, 0700));
	return server_start(b, &ms);
}

/* ---- harder ---- */

static void op_account(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->method = "POST";
	op->content_type = JSON;
	op->target = STR("/api/v1/namespaces/default/serviceaccounts");
	op->body = STR("{\"metadata\":{\"name\":\"default\"}}");
}

static void op_pod(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->method = "POST";
	op->content_type = JSON;
	op->target = STR(PODS);
	op->body = arena_fmt(a,
			     "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":"
			     "\"pod-%05d\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"
			     "\"example.com/image:1\"}]}}",
			     i);
}

static void op_pod_hooked(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op_pod(b, a, i + 10000, op);
}

static void op_pod_table(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->target = STR(PODS);
	op->accept = STR("application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
	op->accept_encoding = STR("gzip");
}

/* One field of wire type 2, shorter than 128 bytes or not. */
static void pb_add(struct buf *b, unsigned field, struct str s)
{
	buf_addc(b, (char)(field << 3 | 2));
	if (s.n >= 128)
		buf_addc(b, (char)(0x80 | (s.n & 0x7f)));
	buf_addc(b, (char)(s.n >= 128 ? s.n >> 7 : s.n));
	buf_add(b, s);
}

static void op_pod_protobuf(const struct bench *b, struct arena *a, int i, struct op *op)
{
	_cleanup_buf_ struct buf container = { 0 }, spec = { 0 }, meta = { 0 }, pod = { 0 },
				 type = { 0 }, all = { 0 };

	pb_add(&container, 1, STR("c"));
	pb_add(&container, 2, STR("example.com/image:1"));
	pb_add(&spec, 2, buf_str(&container));
	pb_add(&meta, 1, arena_fmt(a, "proto-%05d", i));
	pb_add(&meta, 3, STR("default"));
	pb_add(&pod, 1, buf_str(&meta));
	pb_add(&pod, 2, buf_str(&spec));
	pb_add(&type, 1, STR("v1"));
	pb_add(&type, 2, STR("Pod"));
	buf_add(&all, STR("k8s\0"));
	pb_add(&all, 1, buf_str(&type));
	pb_add(&all, 2, buf_str(&pod));
	op->method = "POST";
	op->content_type = "application/vnd.kubernetes.protobuf";
	op->target = STR(PODS);
	op->body = arena_str(a, buf_str(&all));
}

#define WIDGET_VERSION(v, stored)                                                          \
	"{\"name\":\"" v "\",\"served\":true,\"storage\":" stored                          \
	",\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":{\"spec\":{" \
	"\"type\":\"object\",\"properties\":{\"size\":{\"type\":\"integer\"},\"text\":{"   \
	"\"type\":\"string\"}}}}}}}"

static void op_widget_crd(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->method = "POST";
	op->content_type = JSON;
	op->target = STR("/apis/apiextensions.k8s.io/v1/customresourcedefinitions");
	op->body = STR("{\"metadata\":{\"name\":\"widgets.bench.example.com\"},\"spec\":{"
		       "\"group\":\"bench.example.com\",\"scope\":\"Namespaced\",\"names\":{"
		       "\"plural\":\"widgets\",\"singular\":\"widget\",\"kind\":\"Widget\"},"
		       "\"versions\":[" WIDGET_VERSION("v1", "true") "," WIDGET_VERSION(
			       "v2", "false") "]}}");
}

static void op_widget(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->method = "POST";
	op->content_type = JSON;
	op->target = arena_fmt(a, WIDGETS, "v1");
	op->body = arena_fmt(a,
			     "{\"apiVersion\":\"bench.example.com/v1\",\"kind\":\"Widget\","
			     "\"metadata\":{\"name\":\"w-%03d\"},\"spec\":{\"size\":%d,\"text\":"
			     "\"%s\"}}",
			     i, i, b->value);
}

static void op_widgets_v2(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->target = arena_fmt(a, WIDGETS, "v2");
	op->accept_encoding = STR("gzip");
}

static struct err *widgets_ready(struct bench *b)
{
	struct mono start = mono_now();
	struct result r;

	TRY(load(b, 1, 1, 201, op_widget_crd, &r));
	for (;;) {
		struct err *e = load(b, 1, 1, 200, op_widgets_v2, &r);

		if (!e || mono_ms_since(start) > 10000)
			return e;
		err_ignore(e, "not yet served");
		TRY(fiber_sleep_ms(10));
	}
}

struct err *bench_harder(struct bench *b)
{
	struct result r;

	TRY(bench_fresh_server(b));
	TRY(load(b, 1, 1, 201, op_account, &r));
	TRY(load(b, 5000, CLIENTS, 201, op_pod, &r));
	row_plain("create Pod, JSON, all admission", r.us, "us");
	TRY(load(b, 16, CLIENTS, 200, op_pod_table, &r));
	row_plain("5,000 Pods as a Table", r.us / 1000, "ms");
	TRY(load(b, 2000, CLIENTS, 201, op_pod_protobuf, &r));
	row_plain("create Pod, protobuf, all admission", r.us, "us");
	TRY(widgets_ready(b));
	TRY(load(b, 100, CLIENTS, 201, op_widget, &r));
	TRY(load(b, 200, CLIENTS, 200, op_widgets_v2, &r));
	row_plain("100 of another version, list", r.us, "us");
	TRY(bench_webhook(b, op_pod_hooked, 2000));
	return server_stop(b);
}

/* ---- writers ---- */

static int writers_base;

static void op_write(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->method = "POST";
	op->content_type = JSON;
	op->target = STR(CMS);
	op->body = arena_fmt(a, "{\"metadata\":{\"name\":\"w-%08d\"},\"data\":{\"key\":\"%s\"}}",
			     writers_base + i, b->value);
}

static void op_read(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->target =
		arena_fmt(a, CMS "/w-%08d", (int)((unsigned)i * 7919u % (unsigned)writers_base));
}

static void op_change(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->method = "PATCH";
	op->content_type = "application/merge-patch+json";
	op->target =
		arena_fmt(a, CMS "/w-%08d", (int)((unsigned)i * 7919u % (unsigned)writers_base));
	op->body = arena_fmt(a, "{\"data\":{\"other\":\"%d\"}}", i);
}

struct err *bench_writers(struct bench *b)
{
	static const int writers[] = { 1, 16, 256 };

	TRY(bench_fresh_server(b));
	writers_base = 0;
	for (size_t i = 0; i < ARRAY_LEN(writers); i++) {
		_cleanup_free_ char *name = mem_fmt("durable writes, %d writers", writers[i]);
		struct result r;
		int n = MIN(writers[i] * 500, 20000);

		TRY(load(b, n, writers[i], 201, op_write, &r));
		writers_base += n;
		row_plain(name, r.per_s, "/s");
		row_plain("  CPU of each", r.us, "us");
	}
	return server_stop(b);
}

/* ---- many CRDs ---- */

static void op_many_crds(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->method = "POST";
	op->content_type = JSON;
	op->target = STR("/apis/apiextensions.k8s.io/v1/customresourcedefinitions");
	op->body = arena_fmt(
		a,
		"{\"metadata\":{\"name\":\"kinds%d.g%d.example.com\"},\"spec\":{\"group\":"
		"\"g%d.example.com\",\"scope\":\"Namespaced\",\"names\":{\"plural\":\"kinds%d\","
		"\"singular\":\"kind%d\",\"kind\":\"Kind%d\"},\"versions\":[{\"name\":\"v1\","
		"\"served\":true,\"storage\":true,\"schema\":{\"openAPIV3Schema\":{\"type\":"
		"\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{"
		"\"size\":{\"type\":\"integer\",\"minimum\":1},\"mode\":{\"type\":\"string\","
		"\"enum\":[\"a\",\"b\"],\"default\":\"a\"},\"list\":{\"type\":\"array\",\"items\":{"
		"\"type\":\"string\",\"pattern\":\"^[a-z]+$\"}}}}}}}}]}}",
		i, i % 50, i % 50, i, i, i);
}

struct err *bench_crds(struct bench *b, int n)
{
	_cleanup_free_ char *name = mem_fmt("memory (PSS) of %d CRDs", n);
	struct result r;
	double before;

	TRY(bench_fresh_server(b));
	TRY(fiber_sleep_ms(1500));
	before = pss_mb(process_pid(b->proc));
	TRY(load(b, n, CLIENTS, 201, op_many_crds, &r));
	row_plain("create a CRD", r.us, "us");
	TRY(fiber_sleep_ms(8000)); /* until it is served, published and trimmed */
	row(name, pss_mb(process_pid(b->proc)) - before, "MB", 50, 0);
	return server_stop(b);
}

/* ---- growth ---- */

static struct err *growth_stage(struct bench *b, int objects)
{
	_cleanup_free_ char *title = mem_fmt("with %d objects:", objects);
	struct result r;
	double ms;

	TRY(load(b, objects - writers_base, CLIENTS, 201, op_write, &r));
	writers_base = objects;
	printf("%s\n", title);
	TRY(load(b, 5000, CLIENTS, 200, op_read, &r));
	row_plain("  get", r.us, "us");
	TRY(load(b, 2000, CLIENTS, 200, op_change, &r));
	row_plain("  merge patch", r.us, "us");
	TRY(load(b, 2000, CLIENTS, 201, op_write, &r));
	writers_base += 2000;
	row_plain("  create", r.us, "us");
	row_plain("  memory (PSS)", pss_mb(process_pid(b->proc)), "MB");
	TRY(server_stop(b));
	TRY(server_start(b, &ms));
	row_plain("  restart to /readyz ok", ms, "ms");
	return NULL;
}

struct err *bench_growth(struct bench *b, int max)
{
	TRY(bench_fresh_server(b));
	writers_base = 0;
	for (int n = 1000; n <= max; n *= 10)
		TRY(growth_stage(b, n));
	return server_stop(b);
}

/* ---- idle watches ---- */

struct idle {
	struct http_client *client;
	struct http_call *call;
	struct arena *arena;
};

static struct err *idle_open(struct idle *w)
{
	const struct http_client_request rq = {
		.target = STR(CMS "?watch=true&resourceVersion=0&allowWatchBookmarks=true")
	};
	struct http_client_response resp;

	w->arena = arena_new();
	TRY(http_client_start(w->client, w->arena, &rq, &resp, &w->call));
	return resp.status == 200 ? NULL : err_new(ERR_UNKNOWN, "watch: %d", resp.status);
}

/* n watches over so many connections. */
static struct err *idle_measure(struct bench *b, int n, int conns, double target)
{
	_cleanup_free_ struct idle *w = mem_zalloc((size_t)n, sizeof(*w));
	_cleanup_arena_ struct arena *a = arena_new();
	struct http_client_opts o = { .address = arena_fmt(a, "127.0.0.1:%d", b->port),
				      .tls = b->tls };
	_cleanup_free_ char *name = mem_fmt("%d idle watches, %d connections", n, conns);
	double before = pss_mb(process_pid(b->proc));
	struct err *e = NULL;

	for (int i = 0; i < n && !e; i++) {
		w[i].client = i < conns ? http_client_new(&o) : w[i % conns].client;
		e = idle_open(&w[i]);
	}
	if (!e)
		e = fiber_sleep_ms(500);
	if (!e)
		row(name, pss_mb(process_pid(b->proc)) - before, "MB", target, 0);
	for (int i = 0; i < n; i++) {
		http_call_free(w[i].call);
		arena_free(w[i].arena);
	}
	for (int i = 0; i < conns; i++)
		http_client_free(w[i].client);
	return e;
}

struct err *bench_watches(struct bench *b, int n)
{
	TRY(bench_fresh_server(b));
	TRY(idle_measure(b, n, 100, 25));
	TRY(server_stop(b));
	TRY(bench_fresh_server(b));
	TRY(idle_measure(b, n, n, 200));
	return server_stop(b);
}
