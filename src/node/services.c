/* SPDX-License-Identifier: Apache-2.0 */

#include "node/services.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/informer.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/process.h"
#include "node/agent.h"
#include "json/json.h"

#define SETTLE_MS 20
#define RETRY_MS  2000
#define RESYNC_MS (60 * 1000)

struct services {
	struct agent *agent;
	struct informer_handler on_service, on_slice;
	struct fiber *fiber;
	struct waitq wake;
	bool dirty;
	char *last; /* what nft has */
};

static void services_wake(struct services *s)
{
	s->dirty = true;
	waitq_wake_all(&s->wake);
}

static void services_event(struct informer_handler *h, const struct obj *old_obj,
			   const struct obj *new_obj)
{
	(void)old_obj;
	(void)new_obj;
	services_wake(container_of(h, struct services, on_service));
}

static void services_slice_event(struct informer_handler *h, const struct obj *old_obj,
				 const struct obj *new_obj)
{
	(void)old_obj;
	(void)new_obj;
	services_wake(container_of(h, struct services, on_slice));
}

struct collect {
	struct arena *a;
	struct json *list;
};

static bool services_collect(const struct obj *o, void *ctx)
{
	struct collect *c = ctx;

	json_push(c->list, json_copy(c->a, obj_tree(o)));
	return true;
}

static const struct json *services_all(struct arena *a, const struct informer *inf)
{
	struct collect c = { a, json_array(a) };

	informer_each(inf, STR_EMPTY, services_collect, &c);
	return c.list;
}

static bool services_bridge_netfilter(struct arena *a)
{
	struct str v = STR_EMPTY;

	err_ignore(file_read(a, "/proc/sys/net/bridge/bridge-nf-call-iptables", 16, &v),
		   "absent: off");
	return str_eqz(str_trim(v), "1");
}

/* Every node has a /24 of the instance's /16. */
static struct str services_cluster_cidr(struct arena *a, struct str pod_cidr)
{
	size_t dot = str_find_char(pod_cidr, '.', 0);

	dot = str_find_char(pod_cidr, '.', MIN(dot + 1, pod_cidr.n));
	return arena_fmt(a, "%.*s.0.0/16", STR_ARG(str_sub(pod_cidr, 0, dot)));
}

static struct err *services_apply(struct services *s, struct arena *a)
{
	static const char *const nft[] = { "nft", "-f", "-", NULL };
	struct agent *ag = s->agent;
	const struct services_input in = {
		.table = arena_fmt(a, "isoplane-%.*s", STR_ARG(ag->cfg.id)),
		.bridge = ag->cfg.bridge,
		.pod_cidr = ag->cfg.pod_cidr,
		.cluster_cidr = services_cluster_cidr(a, ag->cfg.pod_cidr),
		.bridge_netfilter = services_bridge_netfilter(a),
		.services = services_all(a, ag->services),
		.slices = services_all(a, ag->slices),
	};
	struct str text = services_render(a, &in), out;

	if (s->last && str_eqz(text, s->last))
		return NULL;
	TRY(process_run(a, nft, text, 64 * 1024, &out));
	free(s->last);
	s->last = mem_strdup(text);
	return NULL;
}

/* Service addresses lead nowhere: the host needs a route to get as far as the rules. */
static void services_route(struct services *s, struct arena *a)
{
	const struct node_config *cfg = &s->agent->cfg;
	const char *argv[] = { "ip",      "route",
			       "replace", arena_strz(a, cfg->service_cidr),
			       "dev",     arena_strz(a, cfg->bridge),
			       "src",     arena_strz(a, cfg->ip),
			       NULL };
	struct str out;

	if (cfg->service_cidr.n)
		err_log(NULL, LOG_WARN, "cannot route service addresses",
			process_run(a, argv, STR_EMPTY, 4096, &out));
}

static struct err *services_main(void *arg)
{
	struct services *s = arg;
	bool woken;

	TRY(informer_wait_synced(s->agent->services));
	TRY(informer_wait_synced(s->agent->slices));
	for (;;) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct err *e;

		s->dirty = false;
		services_route(s, a);
		e = services_apply(s, a);
		TRY(fiber_check());
		if (e)
			err_log(NULL, LOG_ERROR, "cannot apply the rules of Services", e);
		if (!s->dirty)
			TRY(waitq_wait_ms(&s->wake, e ? RETRY_MS : RESYNC_MS, &woken));
		TRY(fiber_sleep_ms(SETTLE_MS));
	}
}

struct err *services_start(struct agent *ag)
{
	struct services *s = mem_new(struct services);

	s->agent = ag;
	waitq_init(&s->wake);
	s->on_service.event = services_event;
	s->on_slice.event = services_slice_event;
	informer_add_handler(ag->services, &s->on_service);
	informer_add_handler(ag->slices, &s->on_slice);
	s->fiber = fiber_spawn(ag->loop, "services", services_main, s);
	return NULL;
}
