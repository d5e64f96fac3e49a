/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The servers there are: an entry for each APIService with a Service. An entry belongs to the list
 * here and to whoever holds a reference over a wait; when its APIService changes, another takes its
 * place and inherits what is known of the server.
 */

#include "server/aggregate.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/aggregate-internal.h"
#include "server/mirror.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"
#include "json/json.h"

#define SERVICE_LABEL "kubernetes.io/service-name"
#define RETRY_MS      1000

#define FIRST_CHECK_MS 1000
#define FIRST_PAUSE_MS 5

static struct aggregate {
	struct apiserver *server;
	struct mirror mirror;
	struct store_watch services, slices;
	struct delegate delegate;
	struct registry_listener listener;
	struct list entries;
	struct waitq wake; /* of the fiber that keeps our own APIServices */
	bool local_changed;
} agg = { .entries = LIST_INIT(agg.entries) };

struct apiserver *aggregate_server(void)
{
	return agg.server;
}

struct list *aggregate_entries(void)
{
	return &agg.entries;
}

struct mirror *aggregate_mirror(void)
{
	return &agg.mirror;
}

/* ---- entries */

struct aggregate_entry *aggregate_ref(struct aggregate_entry *e)
{
	e->refs++;
	return e;
}

void aggregate_unref(struct aggregate_entry *e)
{
	if (!e || --e->refs)
		return;
	arena_free(e->discovery.arena);
	arena_free(e->openapi.arena);
	arena_free(e->arena);
	free(e);
}

void aggregate_doc_keep(struct aggregate_doc *doc, struct aggregate_doc *next)
{
	arena_free(doc->arena);
	*doc = *next;
	*next = (struct aggregate_doc){ 0 };
}

struct aggregate_entry *aggregate_find(struct str group, struct str version)
{
	struct aggregate_entry *e;

	list_for_each(e, &agg.entries, link)
		if (str_eq(e->group, group) && str_eq(e->version, version))
			return e;
	return NULL;
}

static struct aggregate_entry *aggregate_find_name(struct str name)
{
	struct aggregate_entry *e;

	list_for_each(e, &agg.entries, link)
		if (str_eq(e->name, name))
			return e;
	return NULL;
}

bool aggregate_is_remote(struct str group, struct str version)
{
	return aggregate_find(group, version) != NULL;
}

static const struct json *aggregate_entry_discovery(struct arena *a,
						    const struct aggregate_entry *e)
{
	struct json *v = e->discovery.json ? json_copy(a, e->discovery.json) : json_object(a);

	if (!e->discovery.json)
		json_set_str(a, v, "version", arena_str(a, e->version));
	json_set_str(a, v, "freshness", e->discovery_fresh ? STR("Current") : STR("Stale"));
	return v;
}

size_t aggregate_remotes(struct arena *a, struct aggregate_version **ret)
{
	struct aggregate_entry *e;
	struct aggregate_version *v;
	size_t n = 0;

	list_for_each(e, &agg.entries, link)
		n++;
	v = arena_array(a, n + 1, sizeof(*v));
	n = 0;
	list_for_each(e, &agg.entries, link)
		v[n++] = (struct aggregate_version){
			.group = arena_str(a, e->group),
			.version = arena_str(a, e->version),
			.group_priority = e->group_priority,
			.version_priority = e->version_priority,
			.discovery = aggregate_entry_discovery(a, e),
		};
	*ret = v;
	return n;
}

/* The one it replaces goes; what is known of the server stays true until a check says otherwise. */
static void aggregate_remove(struct str name, struct aggregate_entry *next)
{
	struct aggregate_entry *e = aggregate_find_name(name);

	if (!e)
		return;
	if (next && str_eq(e->service_ns, next->service_ns) &&
	    str_eq(e->service_name, next->service_name)) {
		aggregate_doc_keep(&next->discovery, &e->discovery);
		aggregate_doc_keep(&next->openapi, &e->openapi);
		next->discovery_fresh = e->discovery_fresh;
	}
	list_unlink(&e->link);
	aggregate_check_stop(e);
	aggregate_unref(e);
}

static struct aggregate_entry *aggregate_entry_new(const struct json *svc)
{
	struct aggregate_entry *e = mem_new(struct aggregate_entry);
	const struct json *spec = json_get(svc, "spec");
	struct arena *a = arena_new();

	e->refs = 1;
	e->arena = a;
	e->name = arena_str(a, meta_name(svc));
	e->group = arena_str(a, json_str_at(spec, "group"));
	e->version = arena_str(a, json_str_at(spec, "version"));
	e->group_priority = json_int_at(spec, "groupPriorityMinimum", 0);
	e->version_priority = json_int_at(spec, "versionPriority", 0);
	e->service_ns = arena_str(a, json_str_at(spec, "service.namespace"));
	e->service_name = arena_str(a, json_str_at(spec, "service.name"));
	e->service_port = json_int_at(spec, "service.port", 443);
	e->insecure = json_bool_at(spec, "insecureSkipTLSVerify", false);
	if (!base64_decode(a, json_str_at(spec, "caBundle"), &e->ca_pem))
		e->ca_pem = STR_EMPTY;
	/* what was true before a restart is, until a check says otherwise */
	e->available = condition_is_true(json_get(svc, "status"), "Available");
	list_init(&e->link);
	return e;
}

static void aggregate_local_poke(void)
{
	agg.local_changed = true;
	waitq_wake_all(&agg.wake);
}

static void aggregate_changed(struct mirror *m UNUSED, const struct obj *old, const struct obj *new)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *svc = NULL, *was = NULL;
	struct aggregate_entry *e = NULL;

	if (old)
		err_ignore(obj_parse(a, old, STR_EMPTY, STR_EMPTY, &was), "compared only");
	if (new)
		err_log(NULL, LOG_WARN, "stored APIService is unreadable",
			obj_parse(a, new, STR("apiregistration.k8s.io/v1"), STR("APIService"),
				  &svc));
	/* what the checks write into the status changes nothing */
	if (svc && was && json_equal(json_get(svc, "spec"), json_get(was, "spec")))
		return;
	if (svc && json_is(json_at(svc, "spec.service"), JSON_OBJECT))
		e = aggregate_entry_new(svc);
	if (old)
		aggregate_remove(old->name, e);
	if (e) {
		list_push_back(&agg.entries, &e->link);
		aggregate_check_start(e);
	}
	aggregate_local_poke();
}

/* A Service or its endpoints changed. */
static void aggregate_service_changed(struct str ns, struct str name)
{
	struct aggregate_entry *e;

	list_for_each(e, &agg.entries, link)
		if (str_eq(e->service_ns, ns) && str_eq(e->service_name, name))
			aggregate_poke(e);
}

static void aggregate_service_event(struct store_watch *w UNUSED, const struct store_event *ev)
{
	aggregate_service_changed(ev->obj->ns, ev->obj->name);
}

static void aggregate_slice_event(struct store_watch *w UNUSED, const struct store_event *ev)
{
	aggregate_service_changed(ev->obj->ns, obj_label(ev->obj, STR(SERVICE_LABEL)));
}

/* ---- our own APIServices */

static void aggregate_registry_changed(struct registry_listener *l UNUSED,
				       const struct resource *old UNUSED,
				       const struct resource *new UNUSED)
{
	aggregate_local_poke();
}

static struct err *aggregate_local_fiber(void *arg UNUSED)
{
	bool first = true, woken;

	for (;;) {
		agg.local_changed = false;
		if (!aggregate_local_sync(first)) {
			TRY(waitq_wait_ms(&agg.wake, RETRY_MS, &woken));
			continue;
		}
		first = false;
		if (!agg.local_changed)
			TRY(waitq_wait(&agg.wake));
	}
}

/* ---- requests */

static bool aggregate_claims(struct delegate *d UNUSED, struct api_request *rq)
{
	return rq->version.n && aggregate_find(rq->group, rq->version);
}

static struct err *aggregate_serve(struct delegate *d UNUSED, struct api_request *rq)
{
	struct aggregate_entry *en = aggregate_ref(aggregate_find(rq->group, rq->version));
	struct err *e = NULL;

	if (en->available) {
		e = aggregate_proxy(en, rq);
	} else {
		aggregate_poke(en);
		respond_plain_error(rq, 503, STR("service unavailable"));
	}
	aggregate_unref(en);
	return e;
}

/* Those that were there before a restart, and are not known to be there or not yet. */
static bool aggregate_any_unknown(void)
{
	struct aggregate_entry *e;

	list_for_each(e, &agg.entries, link)
		if (e->available && !e->checked)
			return true;
	return false;
}

/* Who asks first should find in discovery what is there: it is worth a moment, but no more. */
static struct err *aggregate_wait_first(void)
{
	for (int ms = 0; ms < FIRST_CHECK_MS && aggregate_any_unknown(); ms += FIRST_PAUSE_MS)
		TRY(fiber_sleep_ms(FIRST_PAUSE_MS));
	return NULL;
}

struct err *aggregate_init(struct apiserver *s)
{
	agg.server = s;
	waitq_init(&agg.wake);
	agg.delegate = (struct delegate){ .claims = aggregate_claims, .serve = aggregate_serve };
	apiserver_add_delegate(s, &agg.delegate);
	agg.listener.changed = aggregate_registry_changed;
	registry_listen(s->registry, &agg.listener);
	return NULL;
}

struct err *aggregate_start(struct apiserver *s)
{
	struct rev now = store_rev(s->store);

	agg.services.event = aggregate_service_event;
	agg.slices.event = aggregate_slice_event;
	TRY(store_watch_start(s->store, &agg.services, STR("services"), STR_EMPTY, STR_EMPTY, now));
	TRY(store_watch_start(s->store, &agg.slices, STR("endpointslices.discovery.k8s.io"),
			      STR_EMPTY, STR_EMPTY, now));
	agg.mirror.changed = aggregate_changed;
	TRY(mirror_start(&agg.mirror, s, APISERVICES));
	fiber_unref(fiber_spawn(s->loop, "aggregate-local", aggregate_local_fiber, NULL));
	TRY(aggregate_trust_start(s));
	return aggregate_wait_first();
}
