/* SPDX-License-Identifier: Apache-2.0 */

#include "client/leader.h"

#include <stdlib.h>

#include "api/gvk.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rand.h"
#include "client/rest.h"
#include "io/fiber.h"
#include "json/json.h"

/*
 * Another's lease is judged by our own clock from when we saw it change last, so that clocks
 * that disagree do no harm (as client-go does).
 */

#define LEASE_SECONDS     15
#define RENEW_DEADLINE_MS 10000
#define RETRY_MS          2000

static const struct gvr lease_gvr = { STR_INIT("coordination.k8s.io"), STR_INIT("v1"),
				      STR_INIT("leases") };

struct leader {
	struct client *client;
	char *ns, *name, *identity;
	void (*lost)(void *ctx);
	void *ctx;
	/* the lease as last seen */
	char *seen;
	struct mono seen_at;
	struct mono renewed;
};

static struct leader *leader_free(struct leader *l)
{
	free(l->ns);
	free(l->name);
	free(l->identity);
	free(l->seen);
	free(l);
	return NULL;
}

static void leader_fill(struct leader *l, struct arena *a, struct json *lease, bool taken_over)
{
	struct json *spec = json_sub(a, lease, "spec");
	struct str now = wall_format_micro(a, wall_now());
	int64_t transitions = json_int_at(spec, "leaseTransitions", 0);

	json_set_str(a, spec, "holderIdentity", str_from(l->identity));
	json_set_int(a, spec, "leaseDurationSeconds", LEASE_SECONDS);
	json_set_str(a, spec, "renewTime", now);
	if (taken_over) {
		json_set_str(a, spec, "acquireTime", now);
		json_set_int(a, spec, "leaseTransitions", transitions + 1);
	}
}

static struct err *leader_create(struct leader *l, struct arena *a)
{
	struct json *lease = json_object(a);

	json_set_str(a, lease, "apiVersion", STR("coordination.k8s.io/v1"));
	json_set_str(a, lease, "kind", STR("Lease"));
	json_set_str(a, json_sub(a, lease, "metadata"), "name", str_from(l->name));
	json_set_str(a, json_sub(a, lease, "metadata"), "namespace", str_from(l->ns));
	leader_fill(l, a, lease, false);
	json_set_str(a, json_sub(a, lease, "spec"), "acquireTime",
		     json_str_at(lease, "spec.renewTime"));
	json_set_int(a, json_sub(a, lease, "spec"), "leaseTransitions", 0);
	return client_create(l->client, a, lease_gvr, str_from(l->ns), lease, NULL);
}

/* Whether its holder let it lapse, as far as we could watch. */
static bool leader_lapsed(struct leader *l, struct arena *a, const struct json *lease)
{
	struct str holder = json_str_at(lease, "spec.holderIdentity");
	struct str state = arena_fmt(a, STR_FMT "|" STR_FMT, STR_ARG(holder),
				     STR_ARG(json_str_at(lease, "spec.renewTime")));
	int64_t seconds = json_int_at(lease, "spec.leaseDurationSeconds", LEASE_SECONDS);

	if (str_empty(holder))
		return true;
	if (!l->seen || !str_eqz(state, l->seen)) {
		free(l->seen);
		l->seen = mem_strdup(state);
		l->seen_at = mono_now();
		return false;
	}
	return mono_ms_since(l->seen_at) > seconds * 1000;
}

/* One try to take or renew the lease. */
static struct err *leader_try(struct leader *l, bool *ret_held)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *lease;
	struct err *e;
	bool ours;

	*ret_held = false;
	e = client_get(l->client, a, lease_gvr, str_from(l->ns), str_from(l->name), &lease);
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "then we make it");
		TRY(leader_create(l, a));
		*ret_held = true;
		return NULL;
	}
	TRY(e);
	ours = str_eqz(json_str_at(lease, "spec.holderIdentity"), l->identity);
	if (!ours && !leader_lapsed(l, a, lease))
		return NULL;
	leader_fill(l, a, lease, !ours);
	TRY(client_update(l->client, a, lease_gvr, NULL, lease, NULL));
	*ret_held = true;
	return NULL;
}

static struct err *leader_renew(void *arg)
{
	struct leader *l = arg;
	struct err *e = NULL;

	l->renewed = mono_now();
	while (!e && mono_ms_since(l->renewed) < RENEW_DEADLINE_MS) {
		struct mono old;
		struct err *failed;
		bool held;

		e = fiber_sleep_ms(RETRY_MS);
		if (e)
			break;
		old = fiber_limit_ms(RENEW_DEADLINE_MS);
		failed = leader_try(l, &held);
		fiber_restore_deadline(old);
		if (!failed && held)
			l->renewed = mono_now();
		else if (!failed)
			break; /* another has it */
		err_ignore(failed, "the renew deadline decides");
	}
	if (!e)
		l->lost(l->ctx);
	err_ignore(e, "canceled with the loop");
	leader_free(l);
	return NULL;
}

static struct err *leader_wait(struct leader *l)
{
	for (;;) {
		bool held;
		struct err *e = leader_try(l, &held);

		if (!e && held)
			return NULL;
		if (e && (err_is(e, ERR_CANCELED) || err_is(e, ERR_FORBIDDEN)))
			return e;
		err_ignore(e, "the next try may do better");
		TRY(fiber_sleep_ms(RETRY_MS + (int64_t)rand_below(RETRY_MS / 2)));
	}
}

struct err *leader_acquire(struct client *c, struct str ns, struct str name, struct str identity,
			   void (*lost)(void *ctx), void *ctx)
{
	struct leader *l = mem_new(struct leader);
	struct err *e;

	l->client = c;
	l->ns = mem_strdup(ns);
	l->name = mem_strdup(name);
	l->identity = mem_strdup(identity);
	l->lost = lost;
	l->ctx = ctx;
	e = leader_wait(l);
	if (e) {
		leader_free(l);
		return e;
	}
	fiber_unref(fiber_spawn(fiber_loop(), "leader", leader_renew, l));
	return NULL;
}

struct err *leader_release(struct client *c, struct str ns, struct str name, struct str identity)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str now = wall_format_micro(a, wall_now());
	struct json *lease, *spec;

	TRY(client_get(c, a, lease_gvr, ns, name, &lease));
	spec = json_sub(a, lease, "spec");
	if (!str_eq(json_str_at(spec, "holderIdentity"), identity))
		return NULL;
	/* as client-go leaves it */
	json_set_str(a, spec, "holderIdentity", STR_EMPTY);
	json_set_int(a, spec, "leaseDurationSeconds", 1);
	json_set_str(a, spec, "renewTime", now);
	json_set_str(a, spec, "acquireTime", now);
	return client_update(c, a, lease_gvr, NULL, lease, NULL);
}
