/* SPDX-License-Identifier: Apache-2.0 */

#include "client/component.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "client/leader.h"
#include "client/rest.h"
#include "io/fiber.h"
#include "io/http-client.h"
#include "io/loop.h"

#define READY_POLL_MS     50
#define READY_POLL_MAX_MS 1000
#define RELEASE_MS        2000
#define LEASE_NS          "kube-system"

struct component_run {
	const struct component *comp;
	struct str kubeconfig, log_level, leader_elect;
	char *identity; /* as which the lease is asked for */
	struct client *client;
	struct signal_source term, intr;
	struct fiber *fiber;
};

/* flags */

static void component_usage(const struct component *comp, FILE *to)
{
	fprintf(to, "Usage: isoplane %s [FLAGS]\n\nFlags:\n", comp->name);
	for (const struct component_flag *f = comp->flags; f && f->name; f++)
		fprintf(to, "  %s%s%s\t%s%s\n", f->name, f->arg ? " " : "", f->arg ? f->arg : "",
			f->help ? f->help : "", f->required ? " (required)" : "");
	fputs("  --kubeconfig FILE\thow to reach the API server (default: as a Pod)\n"
	      "  --log-level LEVEL\tdebug, info, warn or error (default info)\n",
	      to);
	if (comp->lease)
		fprintf(to, "  --leader-elect\twait for the Lease kube-system/%s\n", comp->lease);
}

static const struct component_flag *component_find_flag(const struct component_flag *flags,
							struct str name)
{
	for (const struct component_flag *f = flags; f && f->name; f++)
		if (str_eqz(name, f->name))
			return f;
	return NULL;
}

/* "--name value" and "--name=value". Exit status, or -1 to go on. */
static int component_parse(struct component_run *run, int argc, char **argv)
{
	const struct component *comp = run->comp;
	const struct component_flag common[] = {
		{ .name = "--kubeconfig", .arg = "FILE", .value = &run->kubeconfig },
		{ .name = "--log-level", .arg = "LEVEL", .value = &run->log_level },
		{ .name = comp->lease ? "--leader-elect" : NULL, .value = &run->leader_elect },
		{ 0 },
	};

	for (int i = 1; i < argc; i++) {
		struct str value = str_from(argv[i]);
		const struct component_flag *f;
		struct str name;
		bool has_value = str_cut(&value, '=', &name);

		if (str_eqz(name, "--help") || str_eqz(name, "-h")) {
			component_usage(comp, stdout);
			return 0;
		}
		f = component_find_flag(common, name);
		if (!f)
			f = component_find_flag(comp->flags, name);
		if (!f || (has_value && !f->arg)) {
			fprintf(stderr, "isoplane %s: unknown flag '%s'\n", comp->name, argv[i]);
			return 2;
		}
		if (f->arg && !has_value) {
			if (++i == argc) {
				fprintf(stderr, "isoplane %s: %s needs %s\n", comp->name, f->name,
					f->arg);
				return 2;
			}
			value = str_from(argv[i]);
		}
		*f->value = f->arg ? value : STR("true");
	}
	for (const struct component_flag *f = comp->flags; f && f->name; f++) {
		if (f->required && str_empty(*f->value)) {
			fprintf(stderr, "isoplane %s: %s is required\n", comp->name, f->name);
			return 2;
		}
	}
	return -1;
}

static bool component_log_level(struct str s, enum log_level *ret)
{
	static const char *const names[] = { [LOG_DEBUG] = "debug",
					     [LOG_INFO] = "info",
					     [LOG_WARN] = "warn",
					     [LOG_ERROR] = "error" };

	*ret = LOG_INFO;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eqz(s, names[i]))
			*ret = (enum log_level)i;
	return str_empty(s) || str_eqz(s, names[*ret]);
}

/* running */

/* Until the API server says that it is ready. */
static struct err *component_wait_ready(struct client *c)
{
	int64_t ms = READY_POLL_MS;
	bool told = false;

	for (;;) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct http_client_response resp = { 0 };
		struct err *e =
			client_raw_http(c, a, "GET", STR("/readyz"), NULL, STR_EMPTY, &resp);

		if (!e && resp.status == 200)
			return NULL;
		if (e && err_is(e, ERR_CANCELED))
			return e;
		if (!told && ms >= READY_POLL_MAX_MS) {
			told = true;
			log_warn(NULL, "waiting for the API server", KV_INT("status", resp.status),
				 KV_ERR(e));
		}
		err_ignore(e, "it may not be up yet");
		TRY(fiber_sleep_ms(ms));
		ms = MIN(ms * 2, READY_POLL_MAX_MS);
	}
}

/* At once: another may be at work already. */
static void component_lost(void *ctx)
{
	const struct component *comp = ctx;

	log_error(NULL, "lost the lease", KV_STR("lease", str_from(comp->lease)));
	_exit(1);
}

static struct err *component_wait_leader(struct component_run *run)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char host[256] = { 0 };
	struct str us;

	if (gethostname(host, sizeof(host) - 1))
		return err_errno(errno, "the name of this host");
	us = arena_fmt(a, "%s_" STR_FMT, host, STR_ARG(rand_uuid(a)));
	run->identity = mem_strdup(us);
	log_info(NULL, "waiting for the lease", KV_STR("lease", str_from(run->comp->lease)),
		 KV_STR("as", us));
	return leader_acquire(run->client, STR(LEASE_NS), str_from(run->comp->lease), us,
			      component_lost, (void *)(uintptr_t)run->comp);
}

static struct err *component_body(void *arg)
{
	struct component_run *run = arg;

	TRY(component_wait_ready(run->client));
	if (!str_empty(run->leader_elect))
		TRY(component_wait_leader(run));
	log_info(NULL, "started", KV_STR("server", client_server(run->client)));
	return run->comp->run(run->client, run->comp->ctx);
}

static void component_on_term(struct signal_source *s, int signo)
{
	fiber_cancel(container_of(s, struct component_run, term)->fiber);
}

static void component_on_intr(struct signal_source *s, int signo)
{
	fiber_cancel(container_of(s, struct component_run, intr)->fiber);
}

static struct err *component_connect(struct component_run *run)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct client_opts opts = { .user_agent = arena_fmt(a, "isoplane-%s", run->comp->name).p };

	if (str_empty(run->kubeconfig))
		return client_new_in_cluster(opts.user_agent, &run->client);
	opts.kubeconfig = run->kubeconfig.p; /* from argv: NUL-terminated */
	return client_new(&opts, &run->client);
}

/* After all else: by a client of its own, as the connections of the other one have ended. */
static void component_release(struct component_run *run)
{
	struct mono old;
	struct err *e;

	if (!run->identity)
		return;
	old = fiber_limit_ms(RELEASE_MS);
	e = component_connect(run);
	if (!e)
		e = leader_release(run->client, STR(LEASE_NS), str_from(run->comp->lease),
				   str_from(run->identity));
	err_log(NULL, LOG_WARN, "the lease was not released, so it has to lapse", e);
	run->client = client_free(run->client);
	free(run->identity);
	fiber_restore_deadline(old);
}

static struct err *component_main_fiber(void *arg)
{
	struct component_run *run = arg;
	struct err *e;

	run->fiber = fiber_spawn(fiber_loop(), run->comp->name, component_body, run);
	run->term.fn = component_on_term;
	run->intr.fn = component_on_intr;
	signal_source_add(fiber_loop(), &run->term, SIGTERM);
	signal_source_add(fiber_loop(), &run->intr, SIGINT);
	e = fiber_join(run->fiber);
	signal_source_del(&run->term);
	signal_source_del(&run->intr);
	run->fiber = fiber_unref(run->fiber);
	/* Fibers that the component left behind still use the client. */
	fiber_stop_others();
	run->client = client_free(run->client);
	component_release(run);
	return e;
}

int component_main(const struct component *comp, int argc, char **argv)
{
	struct component_run run = { .comp = comp };
	enum log_level level;
	struct err *e;
	int rc = component_parse(&run, argc, argv);

	if (rc >= 0)
		return rc;
	if (!component_log_level(run.log_level, &level)) {
		fprintf(stderr, "isoplane %s: unknown log level '%.*s'\n", comp->name,
			STR_ARG(run.log_level));
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	log_init(comp->name, level);
	e = component_connect(&run);
	if (!e)
		e = fiber_main(component_main_fiber, &run);
	if (e && !err_is(e, ERR_CANCELED)) {
		err_log(NULL, LOG_ERROR, "stopped by an error", e);
		return 1;
	}
	err_ignore(e, "that is how SIGTERM ends us");
	log_info(NULL, "stopped");
	return 0;
}
