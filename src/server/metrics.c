/* SPDX-License-Identifier: Apache-2.0 */
#include "server/metrics.h"

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/http-server.h"
#include "server/engine.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"
#include "store/store.h"

#define TEXT_TYPE  "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
#define MAX_SERIES 4096 /* requests of further kinds are counted together */
#define MAX_CODES  12
#define KEY_SIZE   512

/* Upper bounds in seconds, as upstream's request latencies have them. */
static const double bounds[] = { 0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1,  1.25, 1.5, 2,
				 3,     4,     5,    6,   8,   10,  15,  20,  30, 45,   60 };

/* Requests alike but for their codes. The key is the text of the labels. */
struct series {
	uint64_t buckets[ARRAY_LEN(bounds)];
	uint64_t count, running;
	double sum;
	bool long_running;
	size_t n_codes;
	struct {
		int code;
		uint64_t n;
	} codes[MAX_CODES];
};

struct observation {
	struct http_observer observer;
	struct api_request
		*rq; /* until the response's head is decided, with whose arena it lives */
	struct series *series;
	struct mono began;
	bool mutating, counted;
};

static struct {
	struct map series;
	uint64_t in_flight[2]; /* read-only, mutating */
	struct wall began;
	struct path_handler handlers[4];
} metrics;

/* ---- requests */

static const char *metrics_verb(const struct api_request *rq)
{
	if (rq->subres && rq->subres->connect)
		return "CONNECT";
	if (!rq->is_resource)
		return "GET";
	switch (rq->verb) {
	case VERB_GET:
		return "GET";
	case VERB_LIST:
		return "LIST";
	case VERB_WATCH:
		return "WATCH";
	case VERB_CREATE:
		return "POST";
	case VERB_UPDATE:
		return "PUT";
	case VERB_PATCH:
		return rq->res && patch_is_apply(rq) ? "APPLY" : "PATCH";
	case VERB_DELETE:
		return "DELETE";
	case VERB_DELETECOLLECTION:
		return "DELETECOLLECTION";
	case VERB_OTHER:
		break;
	}
	return "other";
}

static const char *metrics_scope(const struct api_request *rq)
{
	if (!rq->res)
		return "";
	if (rq->name.n || rq->verb == VERB_CREATE)
		return "resource";
	return rq->ns.n ? "namespace" : "cluster";
}

/* Names come from what is served, never from the request alone. */
static void metrics_key(const struct api_request *rq, char *key)
{
	const struct resource *res = rq->res;

	snprintf(key, KEY_SIZE,
		 "component=\"apiserver\",dry_run=\"%s\",group=\"" STR_FMT "\",resource=\"" STR_FMT
		 "\",scope=\"%s\",subresource=\"" STR_FMT "\",verb=\"%s\",version=\"" STR_FMT "\"",
		 rq->opt.dry_run ? "All" : "", STR_ARG(res ? res->group : STR_EMPTY),
		 STR_ARG(res ? res->plural : STR_EMPTY), metrics_scope(rq),
		 STR_ARG(rq->subres ? rq->subres->name : STR_EMPTY), metrics_verb(rq),
		 STR_ARG(res ? rq->v->version : STR_EMPTY));
}

static struct series *metrics_series(const struct api_request *rq)
{
	char key[KEY_SIZE];
	struct series *s;

	metrics_key(rq, key);
	s = map_find(&metrics.series, str_from(key));
	if (s)
		return s;
	if (metrics.series.n >= MAX_SERIES) {
		snprintf(key, sizeof(key), "component=\"apiserver\",verb=\"other\"");
		s = map_find(&metrics.series, str_from(key));
		if (s)
			return s;
	}
	s = mem_new(struct series);
	s->long_running = rq->verb == VERB_WATCH || (rq->subres && rq->subres->connect);
	map_put(&metrics.series, str_from(key), s);
	return s;
}

static void metrics_count_code(struct series *s, int code)
{
	size_t i = 0;

	while (i < s->n_codes && s->codes[i].code != code)
		i++;
	if (i == MAX_CODES)
		i = MAX_CODES - 1;
	if (i == s->n_codes)
		s->codes[s->n_codes++].code = code;
	s->codes[i].n++;
}

static void metrics_latency(struct series *s, double seconds)
{
	s->sum += seconds;
	s->count++;
	for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
		if (seconds <= bounds[i]) {
			s->buckets[i]++;
			break;
		}
	}
}

static void metrics_leave(struct observation *ob)
{
	if (ob->counted)
		metrics.in_flight[ob->mutating]--;
	ob->counted = false;
}

static void metrics_started(struct http_observer *o, int status)
{
	struct observation *ob = container_of(o, struct observation, observer);

	ob->series = metrics_series(ob->rq);
	ob->rq = NULL;
	metrics_count_code(ob->series, status);
	metrics_leave(ob);
	if (ob->series->long_running)
		ob->series->running++;
	else
		metrics_latency(ob->series,
				(double)(mono_now().ns - ob->began.ns) / (double)NS_PER_SEC);
}

static void metrics_ended(struct http_observer *o)
{
	struct observation *ob = container_of(o, struct observation, observer);

	metrics_leave(ob);
	if (ob->series && ob->series->long_running)
		ob->series->running--;
	free(ob);
}

void metrics_observe(struct api_request *rq)
{
	struct observation *ob = mem_new(struct observation);

	*ob = (struct observation){
		.observer = { .started = metrics_started, .ended = metrics_ended },
		.rq = rq,
		.began = mono_now(),
		.mutating = str_eqz(rq->http->method, "POST") || str_eqz(rq->http->method, "PUT") ||
			    str_eqz(rq->http->method, "PATCH") ||
			    str_eqz(rq->http->method, "DELETE"),
		.counted = true,
	};
	metrics.in_flight[ob->mutating]++;
	http_observe(rq->x, &ob->observer);
}

/* ---- text */

static void text_head(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_addf(b, "# HELP %s [%s] %s\n# TYPE %s %s\n", name, type[0] == 'h' ? "STABLE" : "ALPHA",
		 help, name, type);
}

static void text_requests(struct buf *b)
{
	text_head(b, "apiserver_request_total", "counter",
		  "Counter of apiserver requests broken out for each verb, dry run value, group, "
		  "version, resource, scope, component, and HTTP response code.");
	map_for_each(e, &metrics.series) {
		const struct series *s = e->val;

		for (size_t i = 0; i < s->n_codes; i++)
			buf_addf(b, "apiserver_request_total{code=\"%d\"," STR_FMT "} %llu\n",
				 s->codes[i].code, STR_ARG(e->key),
				 (unsigned long long)s->codes[i].n);
	}
}

static void text_latencies(struct buf *b, const char *name)
{
	text_head(b, name, "histogram",
		  "Response latency distribution in seconds for each verb, dry run value, group, "
		  "version, resource, subresource, scope and component.");
	map_for_each(e, &metrics.series) {
		const struct series *s = e->val;
		uint64_t n = 0;

		if (!s->count)
			continue;
		for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
			n += s->buckets[i];
			buf_addf(b, "%s_bucket{" STR_FMT ",le=\"%g\"} %llu\n", name,
				 STR_ARG(e->key), bounds[i], (unsigned long long)n);
		}
		buf_addf(b, "%s_bucket{" STR_FMT ",le=\"+Inf\"} %llu\n", name, STR_ARG(e->key),
			 (unsigned long long)s->count);
		buf_addf(b, "%s_sum{" STR_FMT "} %g\n", name, STR_ARG(e->key), s->sum);
		buf_addf(b, "%s_count{" STR_FMT "} %llu\n", name, STR_ARG(e->key),
			 (unsigned long long)s->count);
	}
}

static void text_running(struct buf *b)
{
	text_head(b, "apiserver_current_inflight_requests", "gauge",
		  "Requests being handled now, by kind.");
	buf_addf(b,
		 "apiserver_current_inflight_requests{request_kind=\"mutating\"} %llu\n"
		 "apiserver_current_inflight_requests{request_kind=\"readOnly\"} %llu\n",
		 (unsigned long long)metrics.in_flight[1],
		 (unsigned long long)metrics.in_flight[0]);
	text_head(b, "apiserver_longrunning_requests", "gauge",
		  "Watches and connections to Pods that are open now.");
	map_for_each(e, &metrics.series) {
		const struct series *s = e->val;

		if (s->long_running)
			buf_addf(b, "apiserver_longrunning_requests{" STR_FMT "} %llu\n",
				 STR_ARG(e->key), (unsigned long long)s->running);
	}
}

static void text_store(struct buf *b, struct apiserver *s)
{
	const struct resource *res = NULL;

	text_head(b, "apiserver_storage_objects", "gauge",
		  "Number of stored objects at the time of last check split by kind.");
	while ((res = registry_next(s->registry, res))) {
		if (!res->strategy->virtual_kind && !res->view)
			buf_addf(b, "apiserver_storage_objects{resource=\"" STR_FMT "\"} %llu\n",
				 STR_ARG(res->store_name),
				 (unsigned long long)store_count(s->store, res->store_name));
	}
	text_head(b, "isoplane_store_revision", "gauge", "The latest revision of the store.");
	buf_addf(b, "isoplane_store_revision %llu\n", (unsigned long long)store_rev(s->store).n);
}

static uint64_t text_open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint64_t n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n > 3 ? n - 3 : 0; /* ".", ".." and the listing's own */
}

static uint64_t text_resident(void)
{
	unsigned long long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f && fscanf(f, "%llu %llu", &size, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void text_process(struct buf *b)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	buf_addf(b,
		 "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %.3f\n"
		 "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes %llu\n"
		 "# TYPE process_open_fds gauge\nprocess_open_fds %llu\n"
		 "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %lld\n",
		 (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
			 (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6,
		 (unsigned long long)text_resident(), (unsigned long long)text_open_fds(),
		 (long long)(metrics.began.ns / NS_PER_SEC));
	text_head(b, "kubernetes_build_info", "gauge", "What this server says it is.");
	buf_addz(b, "kubernetes_build_info{git_version=\"v1.36.0+isoplane\",major=\"1\","
		    "minor=\"36\",platform=\"linux/amd64\"} 1\n");
}

static struct err *metrics_handle(struct path_handler *h UNUSED, struct api_request *rq)
{
	_cleanup_buf_ struct buf b = { 0 };

	text_requests(&b);
	text_latencies(&b, "apiserver_request_duration_seconds");
	text_running(&b);
	text_store(&b, rq->server);
	text_process(&b);
	respond_text(rq, 200, TEXT_TYPE, buf_str(&b));
	return NULL;
}

static struct err *slis_handle(struct path_handler *h UNUSED, struct api_request *rq)
{
	static const char *const types[] = { "healthz", "livez", "readyz" };
	_cleanup_buf_ struct buf b = { 0 };

	text_head(&b, "kubernetes_healthcheck", "gauge",
		  "This metric records the result of a single healthcheck.");
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		buf_addf(&b, "kubernetes_healthcheck{name=\"etcd\",type=\"%s\"} %d\n", types[i],
			 rq->server->store != NULL);
	buf_addf(&b, "kubernetes_healthcheck{name=\"informer-sync\",type=\"readyz\"} %d\n",
		 rq->server->ready);
	respond_text(rq, 200, TEXT_TYPE, buf_str(&b));
	return NULL;
}

static struct err *statusz_handle(struct path_handler *h UNUSED, struct api_request *rq)
{
	struct arena *a = rq->arena;
	struct str up = duration_human(a, wall_now().ns - metrics.began.ns);

	respond_text(rq, 200, "text/plain; charset=utf-8",
		     arena_fmt(a,
			       "\napiserver statusz\nWarning: This endpoint is not meant to be "
			       "machine parseable, has no formatting compatibility guarantees and "
			       "is for debugging purposes only.\n\nStarted: " STR_FMT
			       "\nUp: " STR_FMT
			       "\nBinary version: 1.36.0+isoplane\nEmulation version: 1.36\n"
			       "\nRevision of the store: %llu\nRequests in flight: %llu\n",
			       STR_ARG(wall_format(a, metrics.began)), STR_ARG(up),
			       (unsigned long long)store_rev(rq->server->store).n,
			       (unsigned long long)(metrics.in_flight[0] + metrics.in_flight[1])));
	return NULL;
}

static struct err *flagz_handle(struct path_handler *h UNUSED, struct api_request *rq)
{
	const struct apiserver_opts *o = &rq->server->opts;
	_cleanup_buf_ struct buf b = { 0 };

	buf_addz(&b, "\napiserver flags\nWarning: This endpoint is not meant to be machine "
		     "parseable, has no formatting compatibility guarantees and is for debugging "
		     "purposes only.\n\n");
	buf_addf(&b, "data-dir=" STR_FMT "\nadvertise=" STR_FMT "\nservice-cidr=" STR_FMT "\n",
		 STR_ARG(o->data_dir), STR_ARG(o->advertise), STR_ARG(o->service_cidr));
	for (size_t i = 0; i < o->n_listen; i++)
		buf_addf(&b, "listen=" STR_FMT "\n", STR_ARG(o->listen[i]));
	respond_text(rq, 200, "text/plain; charset=utf-8", buf_str(&b));
	return NULL;
}

void metrics_init(struct apiserver *s)
{
	static const struct path_handler handlers[] = {
		{ .path = "/metrics", .handle = metrics_handle },
		{ .path = "/metrics/slis", .handle = slis_handle },
		{ .path = "/statusz", .handle = statusz_handle },
		{ .path = "/flagz", .handle = flagz_handle },
	};

	static_assert(ARRAY_LEN(handlers) == ARRAY_LEN(metrics.handlers), "a place for each");
	metrics.began = wall_now();
	for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
		metrics.handlers[i] = handlers[i];
		apiserver_add_path(s, &metrics.handlers[i]);
	}
}
