/* SPDX-License-Identifier: Apache-2.0 */
#include "server/metrics.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/http-server.h"
#include "server/flow.h"
#include "server/handler.h"
#include "server/metrics-process.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"

/* Series stay for good, so their number is bounded: the rest is counted together. */
#define SERIES_MAX     8192
#define SERIES_KEY_MAX 1024
#define CODES_MAX      12

static const double time_bounds[] = { 0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1,  1.25, 1.5, 2,
				      3,     4,     5,    6,   8,   10,  15,  20,  30, 45,   60 };
static const double size_bounds[] = { 1000, 10000, 100000, 1e6, 1e7, 1e8, 1e9 };

struct histogram {
	uint64_t *buckets; /* not cumulative; one more than bounds */
	const double *bounds;
	size_t n_bounds;
	uint64_t n;
	double sum;
};

struct code_count {
	int code;
	uint64_t n;
};

/* One combination of labels. */
struct series {
	char *labels; /* without code, in the order of the exposition */
	struct code_count codes[CODES_MAX];
	struct histogram seconds, bytes;
	uint64_t buckets[ARRAY_LEN(time_bounds) + ARRAY_LEN(size_bounds) + 2];
	bool long_running;
	long running;
};

struct metrics {
	struct apiserver *server;
	struct map series; /* by labels: struct series */
	struct map events; /* by labels: uint64_t */
	uint64_t aborted;
};

/* An exchange under way. */
struct tracked {
	struct http_observer observer;
	struct metrics *metrics;
	struct api_request *rq; /* until its head is sent */
	struct http_exchange *x;
	struct series *series;
	struct mono start;
	int status;
	uint64_t bytes;
	char *line; /* of the access log */
};

/* counting */

static void histogram_init(struct histogram *h, uint64_t *buckets, const double *bounds,
			   size_t n_bounds)
{
	*h = (struct histogram){ .buckets = buckets, .bounds = bounds, .n_bounds = n_bounds };
}

static void histogram_add(struct histogram *h, double v)
{
	size_t i = 0;

	while (i < h->n_bounds && v > h->bounds[i])
		i++;
	h->buckets[i]++;
	h->n++;
	h->sum += v;
}

static void series_count(struct series *s, int code)
{
	for (size_t i = 0; i < CODES_MAX; i++) {
		struct code_count *c = &s->codes[i];

		if (c->code && c->code != code && i + 1 < CODES_MAX)
			continue;
		c->code = code;
		c->n++;
		return;
	}
}

static struct series *series_new(struct metrics *m, struct str labels)
{
	struct series *s = mem_new(struct series);

	s->labels = mem_strdup(labels);
	histogram_init(&s->seconds, s->buckets, time_bounds, ARRAY_LEN(time_bounds));
	histogram_init(&s->bytes, s->buckets + ARRAY_LEN(time_bounds) + 1, size_bounds,
		       ARRAY_LEN(size_bounds));
	map_put(&m->series, labels, s);
	return s;
}

/* labels */

static const char *metrics_verb(const struct api_request *rq)
{
	switch (rq->is_resource ? rq->verb : VERB_OTHER) {
	case VERB_GET:
		return rq->subres && rq->subres->connect ? "CONNECT" : "GET";
	case VERB_LIST:
		return "LIST";
	case VERB_WATCH:
		return "WATCH";
	case VERB_CREATE:
		return rq->subres && rq->subres->connect ? "CONNECT" : "POST";
	case VERB_UPDATE:
		return "PUT";
	case VERB_PATCH:
		return str_has_prefix(http_headers_find(&rq->http->headers, "content-type"),
				      STR("application/apply-patch"))
			       ? "APPLY"
			       : "PATCH";
	case VERB_DELETE:
		return "DELETE";
	case VERB_DELETECOLLECTION:
		return "DELETECOLLECTION";
	case VERB_OTHER:
		break;
	}
	return NULL;
}

/* Methods are the client's words: only those that are known become a label. */
static const char *metrics_method(struct str method)
{
	static const char *const known[] = { "GET",   "HEAD",   "POST",   "PUT",
					     "PATCH", "DELETE", "OPTIONS" };

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (str_eqz(method, known[i]))
			return known[i];
	}
	return "other";
}

static const char *metrics_scope(const struct api_request *rq)
{
	if (!rq->is_resource)
		return "";
	if (!str_empty(rq->name) || rq->verb == VERB_CREATE)
		return "resource";
	return str_empty(rq->ns) ? "cluster" : "namespace";
}

/* The handler's own pattern, so that clients cannot invent labels. */
static struct str metrics_path(const struct api_request *rq)
{
	struct path_handler *h = NULL;

	while ((h = apiserver_next_path(rq->server, h))) {
		struct str p = str_from(h->path);

		if (str_strip_suffix(&p, STR("*")) ? str_has_prefix(rq->path, p)
						   : str_eq(rq->path, p))
			return p;
	}
	return STR_EMPTY;
}

static struct str series_labels(const struct api_request *rq, char *out, size_t cap)
{
	const char *verb = metrics_verb(rq);
	struct str group = STR_EMPTY, plural = STR_EMPTY, version = STR_EMPTY, sub = STR_EMPTY;
	int n;

	if (rq->res) {
		group = rq->res->group;
		plural = rq->res->plural;
		version = rq->v ? rq->v->version : STR_EMPTY;
		sub = rq->subres ? rq->subres->name : STR_EMPTY;
	} else if (!rq->is_resource) {
		sub = metrics_path(rq);
	}
	n = snprintf(out, cap,
		     "component=\"%s\",dry_run=\"%s\",group=\"" STR_FMT "\",resource=\"" STR_FMT
		     "\",scope=\"%s\",subresource=\"" STR_FMT "\",verb=\"%s\",version=\"" STR_FMT
		     "\"",
		     rq->res ? "apiserver" : "", rq->opt.dry_run ? "All" : "", STR_ARG(group),
		     STR_ARG(plural), metrics_scope(rq), STR_ARG(sub),
		     verb ? verb : metrics_method(rq->http->method), STR_ARG(version));
	return str_make(out, MIN((size_t)MAX(n, 0), cap - 1));
}

static struct series *series_of(struct metrics *m, const struct api_request *rq)
{
	char labels[SERIES_KEY_MAX];
	struct str key = series_labels(rq, labels, sizeof(labels));
	struct series *s = map_find(&m->series, key);

	if (s)
		return s;
	if (m->series.n >= SERIES_MAX)
		key = STR("component=\"\",dry_run=\"\",group=\"\",resource=\"\",scope=\"\","
			  "subresource=\"\",verb=\"other\",version=\"\"");
	s = map_find(&m->series, key);
	if (!s)
		s = series_new(m, key);
	s->long_running = flow_is_long_running(rq);
	return s;
}

/* a request's way */

static char *access_line(const struct api_request *rq)
{
	const struct http_request *http = rq->http;
	struct str agent = http_headers_find(&http->headers, "user-agent");

	return mem_fmt(STR_FMT " " STR_FMT "%s" STR_FMT " user='" STR_FMT "' agent='" STR_FMT
			       "' from=" STR_FMT " audit-id=" STR_FMT,
		       STR_ARG(http->method), STR_ARG(str_sub(http->path, 0, 512)),
		       str_empty(http->raw_query) ? "" : "?",
		       STR_ARG(str_sub(http->raw_query, 0, 512)), STR_ARG(rq->user.name),
		       STR_ARG(str_sub(agent, 0, 200)), STR_ARG(http->peer_address),
		       STR_ARG(str_sub(rq->audit_id, 0, 64)));
}

static void tracked_started(struct http_observer *o, int status)
{
	struct tracked *t = container_of(o, struct tracked, observer);

	t->status = status;
	t->series = series_of(t->metrics, t->rq);
	t->bytes = http_response_length(t->x);
	if (t->series->long_running)
		t->series->running++;
	if (t->metrics->server->opts.access_log)
		t->line = access_line(t->rq);
	t->rq = NULL;
}

static void tracked_ended(struct http_observer *o)
{
	struct tracked *t = container_of(o, struct tracked, observer);
	int64_t ns = mono_now().ns - t->start.ns;
	struct series *s = t->series;

	if (s) {
		series_count(s, t->status);
		if (s->long_running)
			s->running--;
		else
			histogram_add(&s->seconds, (double)ns / 1e9);
		if (t->bytes != HTTP_LENGTH_UNKNOWN)
			histogram_add(&s->bytes, (double)t->bytes);
	} else {
		t->metrics->aborted++;
	}
	if (t->line)
		log_info(NULL, "request", KV_Z("request", t->line), KV_INT("code", t->status),
			 KV_INT("us", ns / 1000));
	free(t->line);
	free(t);
}

void metrics_track(struct api_request *rq)
{
	struct tracked *t = mem_new(struct tracked);

	t->metrics = rq->server->metrics;
	t->rq = rq;
	t->x = rq->x;
	t->start = mono_now();
	t->observer.started = tracked_started;
	t->observer.ended = tracked_ended;
	http_observe(rq->x, &t->observer);
}

uint64_t *metrics_watch_events(struct apiserver *s, const struct resource *res,
			       const struct resource_version *v)
{
	char labels[SERIES_KEY_MAX];
	int n = snprintf(labels, sizeof(labels),
			 "group=\"" STR_FMT "\",resource=\"" STR_FMT "\",version=\"" STR_FMT "\"",
			 STR_ARG(res->group), STR_ARG(res->plural), STR_ARG(v->version));
	struct str key = str_make(labels, MIN((size_t)MAX(n, 0), sizeof(labels) - 1));
	uint64_t *count = map_find(&s->metrics->events, key);

	if (!count) {
		count = mem_new(uint64_t);
		map_put(&s->metrics->events, key, count);
	}
	return count;
}

/* the exposition */

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void histogram_write(struct buf *b, const char *name, const char *labels,
			    const struct histogram *h)
{
	uint64_t n = 0;

	if (!h->n)
		return;
	for (size_t i = 0; i < h->n_bounds; i++) {
		n += h->buckets[i];
		buf_addf(b, "%s_bucket{%s,le=\"%g\"} %llu\n", name, labels, h->bounds[i],
			 (unsigned long long)n);
	}
	buf_addf(b, "%s_bucket{%s,le=\"+Inf\"} %llu\n", name, labels, (unsigned long long)h->n);
	buf_addf(b, "%s_sum{%s} %g\n", name, labels, h->sum);
	buf_addf(b, "%s_count{%s} %llu\n", name, labels, (unsigned long long)h->n);
}

static void write_requests(struct metrics *m, struct buf *b)
{
	head(b, "apiserver_request_total", "counter",
	     "[STABLE] Requests by what they asked for and the answer's code.");
	map_for_each(e, &m->series) {
		const struct series *s = e->val;

		for (size_t i = 0; i < CODES_MAX && s->codes[i].code; i++)
			buf_addf(b, "apiserver_request_total{code=\"%d\",%s} %llu\n",
				 s->codes[i].code, s->labels, (unsigned long long)s->codes[i].n);
	}
	head(b, "apiserver_longrunning_requests", "gauge",
	     "[STABLE] Watches and streams under way.");
	map_for_each(e, &m->series) {
		const struct series *s = e->val;

		if (s->long_running)
			buf_addf(b, "apiserver_longrunning_requests{%s} %ld\n", s->labels,
				 s->running);
	}
	head(b, "apiserver_request_duration_seconds", "histogram",
	     "[STABLE] From a request's head to the end of its answer, in seconds.");
	map_for_each(e, &m->series) {
		const struct series *s = e->val;

		histogram_write(b, "apiserver_request_duration_seconds", s->labels, &s->seconds);
	}
	head(b, "apiserver_response_sizes", "histogram", "[STABLE] Bodies sent, in bytes.");
	map_for_each(e, &m->series) {
		const struct series *s = e->val;

		histogram_write(b, "apiserver_response_sizes", s->labels, &s->bytes);
	}
	head(b, "apiserver_request_aborts_total", "counter",
	     "[ALPHA] Requests whose client went away before the answer.");
	buf_addf(b, "apiserver_request_aborts_total %llu\n", (unsigned long long)m->aborted);
}

/* Each table of the store once: some are served under two groups, reviews have none. */
static const struct resource *next_stored(struct metrics *m, const struct resource *r)
{
	while ((r = registry_next(m->server->registry, r)))
		if (!r->strategy->virtual_kind && !r->view)
			return r;
	return NULL;
}

static void write_objects(struct metrics *m, struct buf *b)
{
	const struct resource *r = NULL;

	head(b, "apiserver_storage_objects", "gauge", "[STABLE] Objects stored, by resource.");
	while ((r = next_stored(m, r)))
		buf_addf(b, "apiserver_storage_objects{resource=\"" STR_FMT "\"} %llu\n",
			 STR_ARG(r->store_name),
			 (unsigned long long)store_count(m->server->store, r->store_name));
	head(b, "apiserver_resource_objects", "gauge", "[ALPHA] Objects stored, by resource.");
	while ((r = next_stored(m, r)))
		buf_addf(b,
			 "apiserver_resource_objects{group=\"" STR_FMT "\",resource=\"" STR_FMT
			 "\"} %llu\n",
			 STR_ARG(r->group), STR_ARG(r->plural),
			 (unsigned long long)store_count(m->server->store, r->store_name));
	head(b, "apiserver_watch_events_total", "counter",
	     "[ALPHA] Events sent to watches, by resource.");
	map_for_each(e, &m->events) {
		const uint64_t *n = e->val;

		buf_addf(b, "apiserver_watch_events_total{" STR_FMT "} %llu\n", STR_ARG(e->key),
			 (unsigned long long)*n);
	}
}

static void write_store(struct metrics *m, struct buf *b)
{
	struct store_stats st = { 0 };
	uint64_t n = 0;

	store_get_stats(m->server->store, &st);
	head(b, "etcd_request_duration_seconds", "histogram",
	     "[ALPHA] The store's transactions, each until it was durable, in seconds.");
	for (size_t i = 0; i < STORE_TIMES_N; i++) {
		n += st.times[i];
		buf_addf(b,
			 "etcd_request_duration_seconds_bucket{operation=\"txn\",le=\"%g\"} %llu\n",
			 store_time_bounds[i], (unsigned long long)n);
	}
	buf_addf(b, "etcd_request_duration_seconds_bucket{operation=\"txn\",le=\"+Inf\"} %llu\n",
		 (unsigned long long)st.commits);
	buf_addf(b, "etcd_request_duration_seconds_sum{operation=\"txn\"} %g\n",
		 (double)st.commit_ns / 1e9);
	buf_addf(b, "etcd_request_duration_seconds_count{operation=\"txn\"} %llu\n",
		 (unsigned long long)st.commits);
	head(b, "etcd_request_errors_total", "counter", "[ALPHA] Transactions that failed.");
	buf_addf(b, "etcd_request_errors_total{operation=\"txn\"} %llu\n",
		 (unsigned long long)st.failed);
	head(b, "isoplane_store_syncs_total", "counter",
	     "Commits to the disk; each makes all transactions that waited durable.");
	buf_addf(b, "isoplane_store_syncs_total %llu\n", (unsigned long long)st.syncs);
	head(b, "apiserver_storage_size_bytes", "gauge", "[STABLE] Size of the store's file.");
	buf_addf(b, "apiserver_storage_size_bytes{storage_cluster_id=\"lmdb-0\"} %llu\n",
		 (unsigned long long)st.file_bytes);
	head(b, "isoplane_store_revision", "gauge", "The latest revision of the store.");
	buf_addf(b, "isoplane_store_revision %llu\n",
		 (unsigned long long)store_rev(m->server->store).n);
}

static struct err *metrics_handle(struct path_handler *h UNUSED, struct api_request *rq)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct metrics *m = rq->server->metrics;

	write_requests(m, &b);
	flow_write_metrics(rq->server->flow, &b);
	write_objects(m, &b);
	write_store(m, &b);
	metrics_write_process(&b);
	head(&b, "kubernetes_build_info", "gauge", "[BETA] What this server says it is.");
	buf_addz(&b, "kubernetes_build_info{git_version=\"v1.36.0+isoplane\",major=\"1\","
		     "minor=\"36\",platform=\"linux/amd64\"} 1\n");
	respond_text(rq, 200, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
		     buf_str(&b));
	return NULL;
}

static struct path_handler metrics_paths[] = {
	{ .path = "/metrics", .handle = metrics_handle },
};

struct metrics *metrics_new(struct apiserver *s)
{
	struct metrics *m = mem_new(struct metrics);

	m->server = s;
	for (size_t i = 0; i < ARRAY_LEN(metrics_paths); i++)
		apiserver_add_path(s, &metrics_paths[i]);
	return m;
}
