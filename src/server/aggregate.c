/* SPDX-License-Identifier: Apache-2.0 */
#include "server/aggregate.h"

#include "api/meta.h"
#include "api/names.h"
#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/http-client.h"
#include "server/aggregate-internal.h"
#include "server/discovery.h"
#include "server/errors.h"
#include "server/mirror.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"
#include "server/table.h"
#include "json/json.h"

#define APISERVICES "apiservices.apiregistration.k8s.io"
#define AUTOMANAGED "kube-aggregator.kubernetes.io/automanaged"

#define CUSTOM_GROUP_PRIORITY    1000
#define CUSTOM_VERSION_PRIORITY  100
#define BUILTIN_VERSION_PRIORITY 15

/* How often a server is asked whether it is there: while it is not, while it is. */
#define CHECK_SOON_MS    1000
#define CHECK_LATER_MS   30000
#define CHECK_TIMEOUT_MS 5000
#define CHECK_MAX_BODY   (4 * 1024 * 1024)

static const struct {
	struct str group;
	int64_t priority;
} group_priorities[] = {
	{ STR_INIT("apiregistration.k8s.io"), 20000 },
	{ STR_INIT(""), 18000 },
	{ STR_INIT("apps"), 17800 },
	{ STR_INIT("events.k8s.io"), 17750 },
	{ STR_INIT("authentication.k8s.io"), 17700 },
	{ STR_INIT("authorization.k8s.io"), 17600 },
	{ STR_INIT("autoscaling"), 17500 },
	{ STR_INIT("batch"), 17400 },
	{ STR_INIT("certificates.k8s.io"), 17300 },
	{ STR_INIT("networking.k8s.io"), 17200 },
	{ STR_INIT("policy"), 17100 },
	{ STR_INIT("rbac.authorization.k8s.io"), 17000 },
	{ STR_INIT("storage.k8s.io"), 16800 },
	{ STR_INIT("admissionregistration.k8s.io"), 16700 },
	{ STR_INIT("apiextensions.k8s.io"), 16700 },
	{ STR_INIT("scheduling.k8s.io"), 16600 },
	{ STR_INIT("coordination.k8s.io"), 16500 },
	{ STR_INIT("node.k8s.io"), 16300 },
	{ STR_INIT("discovery.k8s.io"), 16200 },
};

static struct aggregate {
	struct apiserver *server;
	struct mirror mirror;
	struct delegate delegate;
	struct registry_listener listener;
	struct list entries;
	struct waitq wake;
	bool poked, local_changed;
} agg = { .entries = LIST_INIT(agg.entries) };

static const struct user_info aggregator_user = {
	.name = STR_INIT("system:kube-aggregator"),
	.groups = (const struct str[]){ STR_INIT("system:masters") },
	.n_groups = 1,
};

int64_t aggregate_group_priority(struct str group)
{
	for (size_t i = 0; i < ARRAY_LEN(group_priorities); i++)
		if (str_eq(group, group_priorities[i].group))
			return group_priorities[i].priority;
	return CUSTOM_GROUP_PRIORITY;
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
	arena_free(e->resources_arena);
	arena_free(e->arena);
	free(e);
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

bool aggregate_is_remote(struct apiserver *s UNUSED, struct str group, struct str version)
{
	return aggregate_find(group, version) != NULL;
}

size_t aggregate_remotes(struct apiserver *s UNUSED, struct arena *a,
			 struct aggregate_version **ret)
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
			.remote = true,
			.available = e->available,
			.resources = e->resources ? json_copy(a, e->resources) : NULL,
		};
	*ret = v;
	return n;
}

void aggregate_poke(void)
{
	agg.poked = true;
	waitq_wake_all(&agg.wake);
}

static void aggregate_remove(struct str name)
{
	struct aggregate_entry *e = aggregate_find_name(name);

	if (!e)
		return;
	list_unlink(&e->link);
	aggregate_unref(e);
}

static bool aggregate_condition_available(const struct json *svc)
{
	return condition_is_true(json_get(svc, "status"), "Available");
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
	e->available = aggregate_condition_available(svc);
	list_init(&e->link);
	return e;
}

static void aggregate_changed(struct mirror *m UNUSED, const struct obj *old, const struct obj *new)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *svc = NULL, *was = NULL;
	struct aggregate_entry *e;

	agg.local_changed = true;
	if (old)
		err_ignore(obj_parse(a, old, STR_EMPTY, STR_EMPTY, &was), "compared only");
	if (new)
		err_log(NULL, LOG_WARN, "stored APIService is unreadable",
			obj_parse(a, new, STR("apiregistration.k8s.io/v1"), STR("APIService"),
				  &svc));
	/* what the checks write into the status changes nothing */
	if (svc && was && json_equal(json_get(svc, "spec"), json_get(was, "spec")))
		return;
	if (old)
		aggregate_remove(old->name);
	if (svc && json_is(json_at(svc, "spec.service"), JSON_OBJECT)) {
		e = aggregate_entry_new(svc);
		if (was)
			e->available = false;
		list_push_back(&agg.entries, &e->link);
	}
	aggregate_poke();
}

/* ---- availability */

struct err *aggregate_backend(struct apiserver *s, struct arena *a, struct aggregate_entry *e,
			      struct backend_ref **ret, struct backend_problem *ret_problem)
{
	struct backend b = { .ca_pem = e->ca_pem, .insecure = e->insecure, .identify = true };

	TRY(backend_resolve(s, a, e->service_ns, e->service_name, e->service_port, &b.address,
			    ret_problem));
	b.server_name = backend_service_name(a, e->service_ns, e->service_name);
	return backend_get(s, &b, ret);
}

/* Asks for the resources: that it answers, and with what. */
static struct err *aggregate_probe(struct arena *a, struct aggregate_entry *e,
				   struct backend_problem *problem, struct json **ret)
{
	struct http_client_response resp = { 0 };
	struct http_client_request req = {
		.target = arena_fmt(a, "/apis/" STR_FMT "/" STR_FMT, STR_ARG(e->group),
				    STR_ARG(e->version)),
	};
	struct backend_ref *b = NULL;
	struct err *err;
	struct mono old;

	TRY(aggregate_backend(agg.server, a, e, &b, problem));
	http_headers_add(a, &req.headers, STR("Accept"), STR("application/json"));
	aggregate_identity(a, &req.headers, &aggregator_user);
	old = fiber_limit_ms(CHECK_TIMEOUT_MS);
	err = http_client_do(backend_client(b), a, &req, CHECK_MAX_BODY, &resp);
	fiber_restore_deadline(old);
	backend_put(b);
	if (err)
		return err_wrap(err,
				"failing or missing response from https://" STR_FMT ":%lld" STR_FMT,
				STR_ARG(backend_service_name(a, e->service_ns, e->service_name)),
				(long long)e->service_port, STR_ARG(req.target));
	if (resp.status < 200 || resp.status >= 300)
		return err_new(ERR_UNAVAILABLE,
			       "failing or missing response from https://" STR_FMT ":%lld" STR_FMT
			       ": bad status from https://" STR_FMT ":%lld" STR_FMT ": %d",
			       STR_ARG(backend_service_name(a, e->service_ns, e->service_name)),
			       (long long)e->service_port, STR_ARG(req.target),
			       STR_ARG(backend_service_name(a, e->service_ns, e->service_name)),
			       (long long)e->service_port, STR_ARG(req.target), resp.status);
	return json_parse(a, resp.body, ret);
}

static struct err *aggregate_write_condition(struct arena *a, struct str name, bool ok,
					     struct str reason, struct str message)
{
	struct json *svc = NULL;

	TRY(local_get_json(agg.server, a, APISERVICES, STR_EMPTY, name, &svc));
	if (!svc || !condition_set(a, json_sub(a, svc, "status"), "Available",
				   ok ? "True" : "False", reason, message, wall_now()))
		return NULL;
	return local_update(agg.server, a, APISERVICES, "status", svc, NULL);
}

static void aggregate_keep_resources(struct aggregate_entry *e, const struct json *list)
{
	struct arena *a = arena_new();

	e->resources = json_copy(a, list);
	arena_free(e->resources_arena);
	e->resources_arena = a;
}

static void aggregate_check(struct aggregate_entry *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct backend_problem problem = { .reason = "FailedDiscoveryCheck" };
	struct str message = STR("all checks passed");
	struct json *list = NULL;
	struct err *err = aggregate_probe(a, e, &problem, &list);

	e->available = !err;
	e->checked = true;
	if (err) {
		message = arena_str(a, err_msg(err));
		err_free(err);
	} else {
		aggregate_keep_resources(e, list);
	}
	err_log(NULL, LOG_DEBUG, "availability of an aggregated API was not recorded",
		aggregate_write_condition(a, e->name, e->available,
					  e->available ? STR("Passed") : str_from(problem.reason),
					  message));
}

static bool aggregate_all_available(void)
{
	struct aggregate_entry *e;

	list_for_each(e, &agg.entries, link)
		if (!e->available)
			return false;
	return true;
}

/* Entries come and go while a check waits: each round looks for one not checked yet. */
static void aggregate_check_all(void)
{
	struct aggregate_entry *e, *next;

	list_for_each(e, &agg.entries, link)
		e->checked = false;
	do {
		next = NULL;
		list_for_each(e, &agg.entries, link)
			if (!e->checked && !next)
				next = e;
		if (!next)
			break;
		aggregate_ref(next);
		aggregate_check(next);
		aggregate_unref(next);
	} while (true);
}

/* ---- our own APIServices */

static struct json *aggregate_local_object(struct arena *a, struct discovery_gv gv)
{
	int64_t priority = aggregate_group_priority(gv.group);
	bool custom = priority == CUSTOM_GROUP_PRIORITY;
	struct json *svc = json_object(a), *spec;

	json_set_str(a, svc, "apiVersion", STR("apiregistration.k8s.io/v1"));
	json_set_str(a, svc, "kind", STR("APIService"));
	json_set(a, json_sub(a, svc, "metadata"), "name",
		 json_strf(a, STR_FMT "." STR_FMT, STR_ARG(gv.version), STR_ARG(gv.group)));
	meta_set_label(a, svc, AUTOMANAGED, custom ? STR("true") : STR("onstart"));
	spec = json_sub(a, svc, "spec");
	if (gv.group.n)
		json_set_str(a, spec, "group", gv.group);
	json_set_str(a, spec, "version", gv.version);
	json_set_int(a, spec, "groupPriorityMinimum", priority);
	json_set_int(a, spec, "versionPriority",
		     custom ? CUSTOM_VERSION_PRIORITY : BUILTIN_VERSION_PRIORITY);
	return svc;
}

static void aggregate_drop_stale(struct arena *a, const struct discovery_gv *gvs, size_t n)
{
	struct json *gone = json_array(a);

	map_for_each(e, &agg.mirror.objs) {
		bool wanted = false;

		if (!obj_label(e->val, STR(AUTOMANAGED)).n)
			continue;
		for (size_t i = 0; i < n; i++)
			wanted |= str_eq(e->key,
					 arena_fmt(a, STR_FMT "." STR_FMT, STR_ARG(gvs[i].version),
						   STR_ARG(gvs[i].group)));
		if (!wanted)
			json_push(gone, json_strcpy(a, e->key));
	}
	json_for_each(it, gone)
		err_log(NULL, LOG_WARN, "local APIService was not removed",
			local_delete(agg.server, a, APISERVICES, STR_EMPTY, json_as_str(it.val)));
}

static void aggregate_sync_local(void)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct discovery_gv *gvs = NULL;
	size_t n = discovery_versions(agg.server, a, &gvs);

	/* the registry may change while we write */
	for (size_t i = 0; i < n; i++) {
		gvs[i].group = arena_str(a, gvs[i].group);
		gvs[i].version = arena_str(a, gvs[i].version);
	}
	for (size_t i = 0; i < n; i++) {
		struct json *svc = aggregate_local_object(a, gvs[i]);
		struct err *e;

		if (mirror_find(&agg.mirror, STR_EMPTY, meta_name(svc)))
			continue;
		e = local_create(agg.server, a, APISERVICES, STR_EMPTY, svc, NULL);
		if (e && err_is(e, ERR_ALREADY_EXISTS))
			e = err_free(e);
		err_log(NULL, LOG_WARN, "local APIService was not created", e);
	}
	aggregate_drop_stale(a, gvs, n);
}

static void aggregate_registry_changed(struct registry_listener *l UNUSED,
				       const struct resource *old UNUSED,
				       const struct resource *new UNUSED)
{
	agg.local_changed = true;
	waitq_wake_all(&agg.wake);
}

/* ---- what extension servers read at their start */

static struct err *aggregate_publish_authentication(void)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct server_pki *pki = &agg.server->pki;
	const struct {
		const char *key;
		struct str val;
	} rows[] = {
		{ "client-ca-file", pki->ca_cert },
		{ "requestheader-allowed-names", STR("[\"front-proxy-client\"]") },
		{ "requestheader-client-ca-file", pki->proxy_ca_cert },
		{ "requestheader-extra-headers-prefix", STR("[\"X-Remote-Extra-\"]") },
		{ "requestheader-group-headers", STR("[\"X-Remote-Group\"]") },
		{ "requestheader-uid-headers", STR("[\"X-Remote-Uid\"]") },
		{ "requestheader-username-headers", STR("[\"X-Remote-User\"]") },
	};
	struct str ns = STR("kube-system"), name = STR("extension-apiserver-authentication");
	struct json *cm = NULL, *data = json_object(a);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		json_set_str(a, data, rows[i].key, rows[i].val);
	TRY(local_get_json(agg.server, a, "configmaps", ns, name, &cm));
	if (cm && json_equal(json_get(cm, "data"), data))
		return NULL;
	if (cm) {
		json_set(a, cm, "data", data);
		return local_update(agg.server, a, "configmaps", "", cm, NULL);
	}
	cm = json_object(a);
	json_set_str(a, cm, "apiVersion", STR("v1"));
	json_set_str(a, cm, "kind", STR("ConfigMap"));
	json_set_str(a, json_sub(a, cm, "metadata"), "name", name);
	json_set_str(a, json_sub(a, cm, "metadata"), "namespace", ns);
	json_set(a, cm, "data", data);
	return local_create(agg.server, a, "configmaps", ns, cm, NULL);
}

static struct err *aggregate_fiber(void *arg UNUSED)
{
	bool woken = false;

	err_log(NULL, LOG_WARN, "extension-apiserver-authentication was not written",
		aggregate_publish_authentication());
	for (;;) {
		if (agg.local_changed) {
			agg.local_changed = false;
			aggregate_sync_local();
			continue;
		}
		agg.poked = false;
		aggregate_check_all();
		if (agg.local_changed)
			continue;
		if (agg.poked)
			TRY(fiber_sleep_ms(CHECK_SOON_MS / 10));
		else if (list_empty(&agg.entries))
			TRY(waitq_wait(&agg.wake));
		else
			TRY(waitq_wait_ms(&agg.wake,
					  aggregate_all_available() ? CHECK_LATER_MS
								    : CHECK_SOON_MS,
					  &woken));
	}
}

/* ---- requests */

static bool aggregate_claims(struct delegate *d UNUSED, struct api_request *rq)
{
	return rq->version.n && aggregate_find(rq->group, rq->version);
}

static struct err *aggregate_serve(struct delegate *d UNUSED, struct api_request *rq)
{
	struct aggregate_entry *en = aggregate_find(rq->group, rq->version);
	struct err *e;

	if (!en->available) {
		aggregate_poke();
		respond_text(rq, 503, "text/plain; charset=utf-8", STR("service unavailable\n"));
		return NULL;
	}
	aggregate_ref(en);
	e = aggregate_proxy(en, rq);
	aggregate_unref(en);
	return e;
}

/* ---- the strategy */

static struct err *apiservice_prepare_create(struct api_request *rq, struct json *obj)
{
	struct json *status = json_object(rq->arena);

	if (!json_is(json_at(obj, "spec.service"), JSON_OBJECT))
		condition_set(rq->arena, status, "Available", "True", STR("Local"),
			      STR("Local APIServices are always available"), rq->now);
	json_set(rq->arena, obj, "status", status);
	return NULL;
}

static void apiservice_check_range(struct err **e, const struct json *spec, const char *name,
				   int64_t max)
{
	int64_t v = json_int_at(spec, name, 0);
	_cleanup_arena_ struct arena *a = arena_new();

	if (v < 1 || v > max)
		cause_invalid(e, arena_fmt(a, "spec.%s", name), json_int(a, v),
			      "must be positive and less than %lld", (long long)max);
}

static void apiservice_check(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct json *spec = json_get(obj, "spec");
	struct str want =
		arena_fmt(rq->arena, STR_FMT "." STR_FMT, STR_ARG(json_str_at(spec, "version")),
			  STR_ARG(json_str_at(spec, "group")));
	bool insecure = json_bool_at(spec, "insecureSkipTLSVerify", false);
	bool bundle = json_str_at(spec, "caBundle").n;

	if (!str_eq(meta_name(obj), want))
		cause_invalid_str(e, STR("metadata.name"), meta_name(obj),
				  "must be `spec.version+\".\"+spec.group`: \"" STR_FMT "\"",
				  STR_ARG(want));
	if (!json_str_at(spec, "version").n)
		cause_required(e, STR("spec.version"), NULL);
	apiservice_check_range(e, spec, "groupPriorityMinimum", 20000);
	apiservice_check_range(e, spec, "versionPriority", 1000);
	if (insecure && bundle)
		cause_invalid(e, STR("spec.insecureSkipTLSVerify"), json_bool(rq->arena, true),
			      "may not be true if caBundle is present");
	if (!json_get(spec, "service"))
		return;
	if (!json_str_at(spec, "service.namespace").n)
		cause_required(e, STR("spec.service.namespace"), NULL);
	if (!json_str_at(spec, "service.name").n)
		cause_required(e, STR("spec.service.name"), NULL);
}

static void apiservice_service_cell(struct arena *a, const struct json *svc, struct json *cells)
{
	if (!svc)
		cell_str(a, cells, STR("Local"));
	else
		cell_str(a, cells,
			 arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(json_str_at(svc, "namespace")),
				   STR_ARG(json_str_at(svc, "name"))));
}

static void apiservice_cell(struct arena *a, const struct json *obj, struct str column,
			    struct json *cells)
{
	const struct json *c = condition_find(json_get(obj, "status"), "Available");

	if (str_eqz(column, "Service"))
		apiservice_service_cell(a, json_at(obj, "spec.service"), cells);
	else if (!c)
		cell_str(a, cells, STR("Unknown"));
	else if (str_eqz(json_str_at(c, "status"), "True"))
		cell_str(a, cells, STR("True"));
	else
		cell_str(a, cells,
			 arena_fmt(a, STR_FMT " (" STR_FMT ")", STR_ARG(json_str_at(c, "status")),
				   STR_ARG(json_str_at(c, "reason"))));
}

const struct strategy apiservice_strategy = {
	.check_name = name_check_path_segment, /* the core group's is "v1." */
	.needs_rv = true,
	.prepare_create = apiservice_prepare_create,
	.validate = apiservice_check,
	.cell = apiservice_cell,
};

struct err *aggregate_init(struct apiserver *s)
{
	agg.server = s;
	agg.local_changed = true;
	waitq_init(&agg.wake);
	agg.delegate = (struct delegate){ .claims = aggregate_claims, .serve = aggregate_serve };
	apiserver_add_delegate(s, &agg.delegate);
	agg.listener.changed = aggregate_registry_changed;
	registry_listen(s->registry, &agg.listener);
	return NULL;
}

struct err *aggregate_start(struct apiserver *s)
{
	agg.mirror.changed = aggregate_changed;
	TRY(mirror_start(&agg.mirror, s, APISERVICES));
	fiber_unref(fiber_spawn(s->loop, "aggregate", aggregate_fiber, NULL));
	return NULL;
}
