/* SPDX-License-Identifier: Apache-2.0 */
#include "server/account-secrets.h"

#include "api/meta.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "server/server.h"
#include "server/tokens.h"
#include "json/json.h"

#define TYPE        "kubernetes.io/service-account-token"
#define NAME        "kubernetes.io/service-account.name"
#define UID         "kubernetes.io/service-account.uid"
#define CLAIM       "kubernetes.io/serviceaccount/"
#define MAX_RETRIES 5

struct account_secrets {
	struct apiserver *server;
	struct store_watch secrets, accounts;
	struct map pending; /* "NS/NAME" of Secrets to look at -> self */
	struct map gone;    /* "NS/NAME" of ServiceAccounts that went -> self */
	struct waitq changed;
};

static void secrets_note(struct account_secrets *as, struct map *m, struct str ns, struct str name)
{
	_cleanup_buf_ struct buf key = { 0 };

	buf_addf(&key, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
	map_put(m, buf_str(&key), as);
	waitq_wake_all(&as->changed);
}

static bool is_account_token(const struct obj *o)
{
	return str_eqz(obj_field(o, STR("type")), TYPE);
}

static void secret_event(struct store_watch *w, const struct store_event *ev)
{
	struct account_secrets *as = container_of(w, struct account_secrets, secrets);

	if (ev->type == STORE_PUT && is_account_token(ev->obj))
		secrets_note(as, &as->pending, ev->obj->ns, ev->obj->name);
}

static void account_event(struct store_watch *w, const struct store_event *ev)
{
	struct account_secrets *as = container_of(w, struct account_secrets, accounts);

	if (ev->type == STORE_DELETE)
		secrets_note(as, &as->gone, ev->obj->ns, ev->obj->name);
}

static bool secret_found(const struct obj *o, void *ctx)
{
	struct account_secrets *as = ctx;

	secrets_note(as, &as->pending, o->ns, o->name);
	return true;
}

/* Those of a namespace, or of all: to be looked at. */
static struct err *secrets_list(struct account_secrets *as, struct str ns, struct rev *ret_rev)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct selector *fields = NULL;
	struct store_list_opts o = { .resource = STR("secrets"), .ns = ns, .borrowed = true };
	struct store_list_result r;

	TRY(field_selector_parse(a, STR("type=" TYPE), &fields));
	o.fields = fields;
	TRY(store_list(as->server->store, &o, secret_found, as, &r));
	if (ret_rev)
		*ret_rev = r.rev;
	return NULL;
}

/* filling */
static struct err *secret_token(struct account_secrets *as, struct arena *a,
				const struct json *secret, const struct json *sa, struct str *ret)
{
	struct json *c = json_object(a);

	json_set_str(a, c, "iss", STR(TOKEN_LEGACY_ISSUER));
	json_set_str(a, c, CLAIM "namespace", meta_namespace(secret));
	json_set_str(a, c, CLAIM "secret.name", meta_name(secret));
	json_set_str(a, c, CLAIM "service-account.name", meta_name(sa));
	json_set_str(a, c, CLAIM "service-account.uid", meta_uid(sa));
	json_set_str(a, c, "sub",
		     arena_fmt(a, "system:serviceaccount:" STR_FMT ":" STR_FMT,
			       STR_ARG(meta_namespace(sa)), STR_ARG(meta_name(sa))));
	return tokens_sign_claims(as->server->tokens, a, c, ret);
}

static bool data_set(struct arena *a, struct json *secret, const char *key, struct str value)
{
	struct json *data = json_sub(a, secret, "data");
	struct str text = base64_encode(a, value);

	if (str_eq(json_as_str(json_get(data, key)), text))
		return false;
	json_set_str(a, data, key, text);
	return true;
}

static struct err *secret_fill(struct account_secrets *as, struct arena *a, struct json *secret,
			       const struct json *sa)
{
	bool changed = data_set(a, secret, "ca.crt", as->server->pki.ca_cert);
	struct str token = STR_EMPTY;

	changed |= data_set(a, secret, "namespace", meta_namespace(secret));
	if (str_empty(json_str_at(secret, "data.token"))) {
		TRY(secret_token(as, a, secret, sa, &token));
		changed |= data_set(a, secret, "token", token);
	}
	if (!str_eq(meta_annotation(secret, UID), meta_uid(sa))) {
		meta_set_annotation(a, secret, UID, meta_uid(sa));
		changed = true;
	}
	return changed ? local_update(as->server, a, "secrets", "", secret, NULL) : NULL;
}

static struct err *secret_sync(struct account_secrets *as, struct str ns, struct str name)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *secret = NULL, *sa = NULL;
	struct str account, uid;

	TRY(local_get_json(as->server, a, "secrets", ns, name, &secret));
	if (!secret || meta_deleting(secret) || !str_eqz(json_str_at(secret, "type"), TYPE))
		return NULL;
	account = meta_annotation(secret, NAME);
	uid = meta_annotation(secret, UID);
	if (str_empty(account))
		return NULL;
	TRY(local_get_json(as->server, a, "serviceaccounts", ns, account, &sa));
	if (!sa || (!str_empty(uid) && !str_eq(uid, meta_uid(sa))))
		return local_delete(as->server, a, "secrets", ns, name);
	return secret_fill(as, a, secret, sa);
}

/* the queue */
static struct err *secrets_take(struct account_secrets *as, struct map *m, bool account)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str key = arena_str(a, m->first->key), ns, name = key;
	struct err *e = NULL;

	map_del(m, key);
	str_cut(&name, '/', &ns);
	if (account) {
		e = secrets_list(as, ns, NULL);
	} else {
		/* somebody else may change it meanwhile */
		for (int i = 0; i < MAX_RETRIES; i++) {
			e = secret_sync(as, ns, name);
			if (!err_is(e, ERR_CONFLICT))
				break;
			if (i + 1 < MAX_RETRIES)
				e = err_free(e);
		}
	}
	err_log(NULL, LOG_WARN, "cannot look after an account's token Secret",
		err_wrap(e, STR_FMT, STR_ARG(key)));
	return fiber_check();
}

static struct err *secrets_run(void *arg)
{
	struct account_secrets *as = arg;

	for (;;) {
		while (!as->pending.n && !as->gone.n)
			TRY(waitq_wait(&as->changed));
		if (as->gone.n)
			TRY(secrets_take(as, &as->gone, true));
		else
			TRY(secrets_take(as, &as->pending, false));
	}
}

struct err *account_secrets_start(struct apiserver *s)
{
	struct account_secrets *as = mem_new(struct account_secrets);
	struct rev rev;

	as->server = s;
	waitq_init(&as->changed);
	as->secrets.event = secret_event;
	as->accounts.event = account_event;
	TRY(secrets_list(as, STR_EMPTY, &rev));
	TRY(store_watch_start(s->store, &as->secrets, STR("secrets"), STR_EMPTY, STR_EMPTY, rev));
	TRY(store_watch_start(s->store, &as->accounts, STR("serviceaccounts"), STR_EMPTY, STR_EMPTY,
			      rev));
	fiber_unref(fiber_spawn(s->loop, "account-secrets", secrets_run, as));
	return NULL;
}
