/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Probes: a fiber per probe of a running container. Results belong to one container id; a new
 * instance begins anew. The startup probe holds the others back until it succeeded.
 *
 *     wait initialDelay -> every period: run -> count -> at a threshold: change the container, wake
 */

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rand.h"
#include "node/agent.h"
#include "node/pod.h"

struct probe {
	struct pod_container *c;
	enum probe_kind kind;
	struct fiber *fiber;
	const struct obj *obj; /* the spec it works by; kept alive */
	bool stop;
};

static const struct {
	const char *member, *noun;
} probe_kinds[PROBE_N_] = {
	[PROBE_STARTUP] = { "startupProbe", "Startup" },
	[PROBE_LIVENESS] = { "livenessProbe", "Liveness" },
	[PROBE_READINESS] = { "readinessProbe", "Readiness" },
};

static const struct json *probe_spec(const struct probe *pr, const struct json **ret_container)
{
	const struct json *c = pod_spec_container(obj_tree(pr->obj), str_from(pr->c->name), NULL);

	if (ret_container)
		*ret_container = c;
	return json_get(c, probe_kinds[pr->kind].member);
}

/* Once over the threshold. */
static void probe_result(struct probe *pr, bool ok)
{
	struct pod_container *c = pr->c;
	bool before = pr->kind == PROBE_READINESS ? c->ready : c->started;

	switch (pr->kind) {
	case PROBE_STARTUP:
		if (ok)
			c->started = true;
		break;
	case PROBE_LIVENESS:
		break;
	case PROBE_READINESS:
		c->ready = ok;
		break;
	case PROBE_N_:
		UNREACHABLE();
	}
	if (!ok && pr->kind != PROBE_READINESS && !c->kill) {
		c->kill = true;
		c->kill_kind = pr->kind;
		pod_wake(c->pod);
	} else if (before != (pr->kind == PROBE_READINESS ? c->ready : c->started)) {
		pod_wake(c->pod);
	}
}

static bool probe_once(struct probe *pr, int64_t timeout_ms)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct json *pod = obj_tree(pr->obj), *container;
	const struct json *spec = probe_spec(pr, &container);
	struct pod *p = pr->c->pod;
	struct str ip = json_str_at(pod, "status.podIP");
	struct hook h = { .pod = p, .spec = pod, .container = container };
	struct err *e;

	/* the object we hold may be older than the address */
	if (!ip.n && p->obj)
		ip = json_str_at(obj_tree(p->obj), "status.podIP");
	h.container_id = arena_str(a, str_from(pr->c->id));
	h.pod_ip = arena_str(a, ip);
	e = hook_run(&h, a, spec, timeout_ms);
	if (!e)
		return true;
	if (!pr->stop && !err_is(e, ERR_CANCELED))
		agent_event(p->agent, pod, "Warning", "Unhealthy", "%s probe failed: %.*s",
			    probe_kinds[pr->kind].noun, STR_ARG(err_msg(e)));
	err_ignore(e, "counted, and told in an event");
	return false;
}

static struct err *probe_loop(struct probe *pr)
{
	const struct json *spec = probe_spec(pr, NULL);
	int64_t period = MAX(json_int_at(spec, "periodSeconds", 10), 1) * 1000;
	int64_t timeout = MAX(json_int_at(spec, "timeoutSeconds", 1), 1) * 1000;
	int64_t good = 0, bad = 0;

	TRY(fiber_sleep_ms(json_int_at(spec, "initialDelaySeconds", 0) * 1000));
	while (!pr->stop) {
		struct mono begin = mono_now();

		if (pr->kind == PROBE_STARTUP && pr->c->started)
			return NULL;
		if (pr->kind != PROBE_STARTUP && !pr->c->started) {
			TRY(fiber_sleep_ms(200));
			continue;
		}
		if (probe_once(pr, timeout)) {
			bad = 0;
			if (++good >= json_int_at(spec, "successThreshold", 1) && !pr->stop)
				probe_result(pr, true);
		} else {
			good = 0;
			if (++bad >= json_int_at(spec, "failureThreshold", 3) && !pr->stop)
				probe_result(pr, false);
		}
		TRY(fiber_sleep_ms(MAX(period - mono_ms_since(begin), 1)));
	}
	return NULL;
}

static struct err *probe_main(void *arg)
{
	struct probe *pr = arg;
	struct err *e = probe_loop(pr);

	if (!pr->stop)
		pr->c->probes[pr->kind] = NULL;
	obj_unref(pr->obj);
	fiber_unref(pr->fiber);
	free(pr);
	return e;
}

static void probe_start(struct pod_container *c, enum probe_kind kind)
{
	struct probe *pr = mem_new(struct probe);

	pr->c = c;
	pr->kind = kind;
	pr->obj = obj_ref(c->pod->obj);
	pr->fiber = fiber_spawn(c->pod->agent->loop, "probe", probe_main, pr);
	c->probes[kind] = pr;
}

void pod_probes_stop(struct pod_container *c)
{
	for (size_t i = 0; i < PROBE_N_; i++) {
		struct probe *pr = c->probes[i];

		if (!pr)
			continue;
		c->probes[i] = NULL;
		pr->stop = true;
		fiber_cancel(pr->fiber);
	}
	c->ready = false;
}

/* The agent was restarted, the container was not: what the API says of it still holds. */
static bool probe_was(const struct json *pod, struct str name, struct str id, const char *what)
{
	static const char *const lists[] = { "status.containerStatuses",
					     "status.initContainerStatuses" };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		const struct json *cs = json_find_by(json_at(pod, lists[i]), "name", name);

		if (cs && str_has_suffix(json_str_at(cs, "containerID"), id))
			return json_bool_at(cs, what, false);
	}
	return false;
}

void pod_probes_sync(struct pod *p, const struct json *pod, const struct json *container,
		     struct pod_container *c, const struct rt_container *rc)
{
	struct str name = str_from(c->name);

	if (!rc || !p->obj) {
		if (c->id)
			pod_probes_stop(c);
		c->started = c->ready = c->kill = false;
		free(c->id);
		c->id = NULL;
		return;
	}
	if (c->id && str_eqz(rc->id, c->id))
		return;
	pod_probes_stop(c);
	free(c->id);
	c->id = mem_strdup(rc->id);
	c->kill = false;
	c->started = !json_get(container, probe_kinds[PROBE_STARTUP].member) ||
		     probe_was(pod, name, rc->id, "started");
	c->ready = !json_get(container, probe_kinds[PROBE_READINESS].member) ||
		   probe_was(pod, name, rc->id, "ready");
	for (enum probe_kind k = 0; k < PROBE_N_; k++)
		if (json_get(container, probe_kinds[k].member) &&
		    !(k == PROBE_STARTUP && c->started))
			probe_start(c, k);
}
