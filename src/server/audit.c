/* SPDX-License-Identifier: Apache-2.0 */
#include "server/audit.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/http-server.h"
#include "server/audit-log.h"
#include "server/audit-policy.h"
#include "server/authorize.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"

#define MAX_POLICY     ((size_t)1024 * 1024)
#define MAX_USER_AGENT 1024
#define MAX_OBJECT     ((size_t)8 * 1024 * 1024)
#define MAX_SOURCES    32

struct audit_trail {
	struct audit_policy *policy;
	struct audit_log *log;
};

/* One request; lives until its exchange ends. */
struct audit {
	struct http_observer observer;
	struct arena *arena;
	struct audit_trail *trail;
	struct audit_verdict verdict;
	struct json *event; /* all but the stage and its time */
	struct json *request, *response, *annotations;
	struct str received;
	bool long_running, failed_authn, started;
	int status;
};

struct err *audit_init(struct apiserver *s)
{
	const struct audit_opts *o = &s->opts.audit;
	const struct audit_log_opts log = {
		.path = o->log_path,
		.max_age = o->max_age,
		.max_backup = o->max_backup,
		.max_size_mb = o->max_size_mb,
	};
	struct audit_trail *t;
	struct str text = STR_EMPTY;

	if (str_empty(o->policy_file) || str_empty(o->log_path))
		return NULL;
	t = arena_new_obj(s->arena, struct audit_trail);
	TRY(err_wrap(file_read(s->arena, arena_strz(s->arena, o->policy_file), MAX_POLICY, &text),
		     "audit policy"));
	TRY(err_wrap(audit_policy_parse(text, &t->policy), "audit policy '" STR_FMT "'",
		     STR_ARG(o->policy_file)));
	TRY(audit_log_open(&log, &t->log));
	s->audit = t;
	return NULL;
}

void audit_flush(struct apiserver *s)
{
	if (s->audit)
		audit_log_flush(s->audit->log);
}

/* the event */
static void audit_emit(struct audit *au, enum audit_stage stage)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct arena *a = au->arena;
	struct json *ev;
	struct str now = wall_format_micro(a, wall_now());

	if (au->verdict.omit & (1u << stage))
		return;
	ev = json_copy(a, au->event);
	json_set_str(a, ev, "stage", str_from(audit_stage_names[stage]));
	if (au->status) {
		struct json *st = json_sub(a, ev, "responseStatus");

		json_sub(a, st, "metadata");
		json_set_int(a, st, "code", au->status);
	}
	if (au->request)
		json_set(a, ev, "requestObject", json_copy(a, au->request));
	if (au->response)
		json_set(a, ev, "responseObject", json_copy(a, au->response));
	json_set_str(a, ev, "requestReceivedTimestamp", au->received);
	json_set_str(a, ev, "stageTimestamp", stage == STAGE_RECEIVED ? au->received : now);
	if (json_len(au->annotations))
		json_set(a, ev, "annotations", json_copy(a, au->annotations));
	json_write(&b, ev);
	audit_log_write(au->trail->log, buf_str(&b));
}

static void audit_started(struct http_observer *o, int status)
{
	struct audit *au = container_of(o, struct audit, observer);

	au->started = true;
	au->status = status;
	if (au->long_running || au->failed_authn)
		audit_emit(au, STAGE_STARTED);
}

static void audit_ended(struct http_observer *o)
{
	struct audit *au = container_of(o, struct audit, observer);
	struct arena *a = au->arena;

	if (!au->started && !au->failed_authn) {
		struct json *st = json_sub(a, au->event, "responseStatus");

		au->status = 200;
		json_sub(a, st, "metadata");
		json_set_str(a, st, "status", STR("Success"));
		json_set_str(a, st, "message", STR("Connection closed early"));
		if (au->long_running)
			audit_emit(au, STAGE_STARTED);
	}
	if (!au->failed_authn)
		audit_emit(au, STAGE_COMPLETE);
	arena_free(a);
	free(au);
}

/* who and what */
static struct str audit_peer_ip(const struct http_request *http)
{
	struct str peer = http->peer_address;
	size_t colon = peer.n;

	while (colon && peer.p[colon - 1] != ':')
		colon--;
	if (colon)
		peer = str_sub(peer, 0, colon - 1);
	if (str_strip_prefix(&peer, STR("[")))
		str_strip_suffix(&peer, STR("]"));
	return peer;
}

static void audit_add_source(struct arena *a, struct json *ips, struct str ip)
{
	ip = str_trim(ip);
	if (str_empty(ip) || json_len(ips) == MAX_SOURCES)
		return;
	json_push(ips, json_strcpy(a, ip));
}

static struct json *audit_sources(struct arena *a, const struct http_request *http)
{
	struct str list = http_headers_find(&http->headers, "x-forwarded-for"), ip;
	struct str real = http_headers_find(&http->headers, "x-real-ip");
	struct str peer = audit_peer_ip(http);
	struct json *ips = json_array(a);

	while (!str_empty(list) && str_split_next(&list, ',', &ip))
		audit_add_source(a, ips, ip);
	audit_add_source(a, ips, real);
	if (!json_len(ips) || !str_eq(json_as_str(json_idx(ips, json_len(ips) - 1)), peer))
		audit_add_source(a, ips, peer);
	return ips;
}

static struct json *audit_user(struct arena *a, const struct user_info *u)
{
	_cleanup_arena_ struct arena *tmp = arena_new();

	/* the request's memory goes before the event does */
	struct str text = json_text(tmp, user_to_json(tmp, u));
	struct json *j = NULL;
	struct err *e = json_parse(a, arena_str(a, text), &j);

	err_ignore(e, "it was just written");
	return j ? j : json_object(a);
}

static void audit_set(struct arena *a, struct json *o, const char *key, struct str s)
{
	if (!str_empty(s))
		json_set(a, o, key, json_strcpy(a, s));
}

static void audit_object_ref(struct audit *au, const struct authz_attrs *at)
{
	struct json *ref;

	if (!at->is_resource)
		return;
	ref = json_sub(au->arena, au->event, "objectRef");
	audit_set(au->arena, ref, "resource", at->resource);
	audit_set(au->arena, ref, "namespace", at->ns);
	audit_set(au->arena, ref, "name", at->name);
	audit_set(au->arena, ref, "apiGroup", at->group);
	audit_set(au->arena, ref, "apiVersion", at->version);
	audit_set(au->arena, ref, "subresource", at->sub);
}

static struct str audit_agent(struct arena *a, const struct http_request *http)
{
	struct str ua = http_headers_find(&http->headers, "user-agent");

	if (ua.n <= MAX_USER_AGENT)
		return ua;
	return arena_cat(a, str_sub(ua, 0, MAX_USER_AGENT), STR("...TRUNCATED"));
}

static struct str audit_uri(struct arena *a, const struct http_request *http)
{
	if (str_empty(http->raw_query))
		return http->path;
	return arena_fmt(a, STR_FMT "?" STR_FMT, STR_ARG(http->path), STR_ARG(http->raw_query));
}

static void audit_fill(struct audit *au, struct api_request *rq, const struct authz_attrs *at)
{
	struct arena *a = au->arena;
	struct json *ev = au->event = json_object(a);

	json_set_str(a, ev, "kind", STR("Event"));
	json_set_str(a, ev, "apiVersion", STR("audit.k8s.io/v1"));
	json_set_str(a, ev, "level", str_from(audit_level_names[au->verdict.level]));
	json_set(a, ev, "auditID", json_strcpy(a, rq->audit_id));
	json_set_str(a, ev, "stage", STR_EMPTY);
	json_set(a, ev, "requestURI", json_strcpy(a, audit_uri(a, rq->http)));
	json_set(a, ev, "verb", json_strcpy(a, at->verb));
	json_set(a, ev, "user",
		 str_empty(rq->user.name) ? json_object(a) : audit_user(a, &rq->user));
	json_set(a, ev, "sourceIPs", audit_sources(a, rq->http));
	audit_set(a, ev, "userAgent", audit_agent(a, rq->http));
	audit_object_ref(au, at);
	au->received = wall_format_micro(a, rq->now);
}

static bool audit_is_long_running(const struct api_request *rq, const struct authz_attrs *at)
{
	static const char *const subs[] = { "attach", "exec", "proxy", "log", "portforward" };

	if (str_eqz(at->verb, "watch") || str_eqz(at->verb, "proxy"))
		return true;
	for (size_t i = 0; rq->is_resource && i < ARRAY_LEN(subs); i++) {
		if (str_eqz(at->sub, subs[i]))
			return true;
	}
	return false;
}

static struct audit *audit_start(struct api_request *rq)
{
	struct authz_attrs at = authorize_attrs(rq, rq->verb);
	struct audit_verdict v = audit_policy_decide(rq->server->audit->policy, &at);
	struct audit *au;

	if (v.level == AUDIT_NONE)
		return NULL;
	au = mem_new(struct audit);
	au->arena = arena_new();
	au->trail = rq->server->audit;
	au->verdict = v;
	au->annotations = json_object(au->arena);
	au->long_running = audit_is_long_running(rq, &at);
	au->observer.started = audit_started;
	au->observer.ended = audit_ended;
	audit_fill(au, rq, &at);
	http_observe(rq->x, &au->observer);
	return au;
}

void audit_begin(struct api_request *rq)
{
	if (!rq->server->audit)
		return;
	rq->audit = audit_start(rq);
	if (rq->audit)
		audit_emit(rq->audit, STAGE_RECEIVED);
}

void audit_begin_unauthenticated(struct api_request *rq)
{
	if (!rq->server->audit)
		return;
	rq->audit = audit_start(rq);
	if (rq->audit)
		rq->audit->failed_authn = true;
}

void audit_impersonated(struct api_request *rq, const struct user_info *u, struct str constraint)
{
	struct audit *au = rq->audit;

	if (!au)
		return;
	if (!str_empty(constraint))
		audit_set(au->arena, json_sub(au->arena, au->event, "authenticationMetadata"),
			  "impersonationConstraint", constraint);
	json_set(au->arena, au->event, "impersonatedUser", audit_user(au->arena, u));
}

/* objects */
static void audit_drop_managed(struct json *obj)
{
	json_delz(json_get(obj, "metadata"), "managedFields");
	json_for_each(it, json_get(obj, "items"))
		json_delz(json_get(it.val, "metadata"), "managedFields");
	json_for_each(it, json_get(obj, "rows"))
		json_delz(json_at(it.val, "object.metadata"), "managedFields");
}

/* A copy in the event's memory; NULL when it is too large. */
static struct json *audit_copy(struct audit *au, const struct str *parts, size_t n)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct json *j = NULL;
	struct err *e;

	for (size_t i = 0; i < n; i++) {
		if (b.n + parts[i].n > MAX_OBJECT)
			return NULL;
		buf_add(&b, parts[i]);
	}
	e = json_parse(au->arena, buf_to_arena(&b, au->arena), &j);
	err_ignore(e, "it is no JSON, then");
	if (j && au->verdict.omit_managed_fields)
		audit_drop_managed(j);
	return j;
}

static void audit_ref_from(struct audit *au, const struct json *obj)
{
	static const char *const keys[] = { "namespace", "name", "uid", "resourceVersion" };
	struct json *ref = json_get(au->event, "objectRef");

	for (size_t i = 0; ref && i < ARRAY_LEN(keys); i++) {
		if (str_empty(json_str_at(ref, keys[i])))
			audit_set(au->arena, ref, keys[i],
				  json_as_str(json_path(obj, "metadata", keys[i], NULL)));
	}
}

void audit_request_object(struct api_request *rq, const struct json *obj)
{
	struct audit *au = rq->audit;
	struct str text;

	if (!au)
		return;
	audit_ref_from(au, obj);
	if (au->verdict.level < AUDIT_REQUEST)
		return;
	text = json_text(rq->arena, obj);
	au->request = audit_copy(au, &text, 1);
	if (au->request && rq->res && !json_get(au->request, "kind")) {
		json_set_first(au->arena, au->request, "apiVersion",
			       json_strcpy(au->arena, request_api_version(rq)));
		json_set_first(au->arena, au->request, "kind",
			       json_strcpy(au->arena, rq->res->kind));
	}
}

void audit_request_patch(struct api_request *rq, const struct json *patch)
{
	struct audit *au = rq->audit;
	struct str text;

	if (!au || au->verdict.level < AUDIT_REQUEST)
		return;
	text = json_text(rq->arena, patch);
	au->request = audit_copy(au, &text, 1);
}

void audit_response(struct api_request *rq, const struct str *parts, size_t n)
{
	struct audit *au = rq->audit;

	if (!au || au->verdict.level != AUDIT_RESPONSE)
		return;
	au->response = audit_copy(au, parts, n);
	/* what is no object of the API is not recorded */
	if (!json_get(au->response, "kind"))
		au->response = NULL;
}

void audit_response_status(struct api_request *rq, const struct json *status)
{
	static const char *const keys[] = { "status", "message", "reason" };
	struct audit *au = rq->audit;
	struct json *st;

	if (!au || !str_eqz(json_str_at(status, "kind"), "Status"))
		return;
	st = json_object(au->arena);
	json_sub(au->arena, st, "metadata");
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		audit_set(au->arena, st, keys[i], json_str_at(status, keys[i]));
	if (json_get(status, "details")) {
		struct str text = json_text(rq->arena, json_get(status, "details"));
		struct json *d = audit_copy(au, &text, 1);

		if (d)
			json_set(au->arena, st, "details", d);
	}
	json_set(au->arena, au->event, "responseStatus", st);
}

bool audit_has_bodies(const struct api_request *rq)
{
	return rq->audit && rq->audit->verdict.level >= AUDIT_REQUEST;
}

void audit_annotate(struct api_request *rq, const char *key, struct str value)
{
	struct audit *au = rq->audit;

	if (!au || json_get(au->annotations, key))
		return;
	json_set_s(au->arena, au->annotations, arena_str(au->arena, str_from(key)),
		   json_strcpy(au->arena, value));
}
