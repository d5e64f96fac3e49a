/* SPDX-License-Identifier: Apache-2.0 */
/* isoplane up: the supervisor that runs everything on this machine. */
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "client/rest.h"
#include "cmd/flags.h"
#include "cmd/main.h"
#include "cmd/up.h"
#include "io/fiber.h"
#include "io/loop.h"
#include "node/hollow.h"
#include "virt/kvm.h"

static const char up_usage[] =
	"usage: isoplane up [--data-dir DIR] [--listen ADDR:PORT] [--kubeconfig FILE] [--nodes N]\n"
	"                   [--hollow-nodes N] [--without COMPONENT]... [--store lmdb]\n"
	"                   [--kubelet-root DIR] [--log-level LEVEL]\n"
	"       and those of `isoplane apiserver` for authentication and audit: --anonymous-auth,\n"
	"       --authentication-config, --oidc-*, --audit-*\n";

struct up_process {
	struct up up;
	struct fiber *main;
	struct signal_source term, intr;
	struct mono began;
};

static void up_stop_term(struct signal_source *s, int signo)
{
	fiber_cancel(container_of(s, struct up_process, term)->main);
	(void)signo;
}

static void up_stop_intr(struct signal_source *s, int signo)
{
	fiber_cancel(container_of(s, struct up_process, intr)->main);
	(void)signo;
}

static struct err *up_check_flags(struct up *u)
{
	const struct up_flags *f = &u->flags;
	int64_t hollow;

	if (f->nodes.n && !str_eqz(f->nodes, "1"))
		return err_new(ERR_BAD_REQUEST,
			       "--nodes " STR_FMT ": this version runs one node per instance",
			       STR_ARG(f->nodes));
	if (up_has_hollow(u) &&
	    (!str_to_i64(f->hollow_nodes, &hollow) || hollow < 1 || hollow > HOLLOW_MAX))
		return err_new(ERR_BAD_REQUEST,
			       "--hollow-nodes " STR_FMT ": must be a number from 0 to %d",
			       STR_ARG(f->hollow_nodes), HOLLOW_MAX);
	if (f->store.n && !str_eqz(f->store, "lmdb"))
		return err_new(ERR_BAD_REQUEST,
			       "--store " STR_FMT ": this version keeps its data in lmdb only",
			       STR_ARG(f->store));
	if (!u->root && u->with_node)
		return err_new(
			ERR_FORBIDDEN,
			"running containers and machines needs root (or --without node for the "
			"control plane alone)");
	return NULL;
}

static void up_node_name(struct up *u)
{
	char host[256] = { 0 };

	if (gethostname(host, sizeof(host) - 1) || !host[0])
		snprintf(host, sizeof(host), "localhost");
	for (char *p = host; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	u->node_name = arena_str(u->a, str_from(host));
}

static struct err *up_connect(struct up *u)
{
	return client_new(
		&(struct client_opts){
			.server = u->api_url,
			.ca_pem = u->pki.ca.cert_pem,
			.cert_pem = u->pki.admin.cert_pem,
			.key_pem = u->pki.admin.key_pem,
			.user_agent = "isoplane-up",
		},
		&u->admin);
}

static struct err *up_virt_fiber(void *arg)
{
	return up_virt(arg);
}

static struct err *up_dns_fiber(void *arg)
{
	return up_dns(arg);
}

static struct err *up_node_fiber(void *arg)
{
	struct up *u = arg;

	TRY(up_start_node(u));
	return up_watch_containerd(u);
}

/* Side by side with the start of the API server; ends only when cancelled. */
static struct err *up_node_and_virt(void *arg)
{
	struct up *u = arg;
	struct fiber_group *g = fiber_group_new();

	if (u->with_node) {
		fiber_group_add(g, "node", up_node_fiber, u);
		fiber_group_add(g, "dns", up_dns_fiber, u);
	}
	if (u->with_node && !up_is_without(u, "virt"))
		fiber_group_add(g, "virtualization", up_virt_fiber, u);
	return fiber_group_join(g);
}

static void up_choose_accelerator(struct up *u)
{
	const char *why;

	if (!u->with_node || up_is_without(u, "virt"))
		return;
	u->emulate = !kvm_usable(&why);
	if (u->emulate)
		log_info(NULL,
			 "machines run by emulation (useEmulation is set): KVM cannot be used",
			 KV_Z("why", why));
}

/* Until cancelled. */
static struct err *up_supervise(struct up_process *p)
{
	struct up *u = &p->up;
	struct fiber *rest;
	struct waitq forever;
	struct err *e;

	TRY(up_start_core(u));
	rest = fiber_spawn(fiber_loop(), "node and virtualization", up_node_and_virt, u);
	e = up_wait_ready(u);
	if (!e) {
		fprintf(stderr, "isoplane: ready in %lld ms (kubeconfig " STR_FMT ")\n",
			(long long)mono_ms_since(p->began), STR_ARG(u->flags.kubeconfig));
		e = fiber_join(rest);
	}
	if (!e) {
		waitq_init(&forever);
		e = waitq_wait(&forever);
	}
	fiber_cancel(rest);
	fiber_unref(rest);
	return e;
}

static struct err *up_main_fiber(void *arg)
{
	struct up_process *p = arg;
	struct up *u = &p->up;
	struct err *e;

	p->main = fiber_self();
	p->term.fn = up_stop_term;
	p->intr.fn = up_stop_intr;
	signal_source_add(fiber_loop(), &p->term, SIGTERM);
	signal_source_add(fiber_loop(), &p->intr, SIGINT);
	TRY(up_setup(u));
	up_choose_accelerator(u);
	TRY(up_connect(u));
	e = up_supervise(p);
	/* Workloads go on; the API server goes last, so that the others can say goodbye. */
	while (u->n_children)
		child_stop(u->children[--u->n_children]);
	u->admin = client_free(u->admin);
	signal_source_del(&p->term);
	signal_source_del(&p->intr);
	return e;
}

static bool up_parse_flags(struct up_flags *f, int argc, char **argv)
{
	const struct flag own[] = {
		{ "--data-dir", &f->data_dir },
		{ "--listen", &f->listen },
		{ "--kubeconfig", &f->kubeconfig },
		{ "--nodes", &f->nodes },
		{ "--hollow-nodes", &f->hollow_nodes },
		{ "--store", &f->store },
		{ "--kubelet-root", &f->kubelet_root },
		{ "--log-level", &f->log_level },
		{ "--without", .list = f->without, .n = &f->n_without,
		  .max = ARRAY_LEN(f->without) },
		{ "--oidc-required-claim", .list = f->required_claims, .n = &f->n_required_claims,
		  .max = ARRAY_LEN(f->required_claims) },
	};
	struct flag flags[ARRAY_LEN(own) + UP_ACCESS_FLAGS + 1] = { 0 };

	memcpy(flags, own, sizeof(own));
	for (size_t i = 0; i < UP_ACCESS_FLAGS; i++)
		flags[ARRAY_LEN(own) + i] =
			(struct flag){ .name = up_access_flags[i], .value = &f->access[i] };
	f->data_dir = STR(INSTANCE_DEFAULT_DIR);
	f->listen = STR("127.0.0.1:6443");
	return flags_parse(flags, argc, argv, up_usage);
}

int up_main(int argc, char **argv)
{
	static struct up_process p;
	struct up *u = &p.up;
	struct err *e;

	p.began = mono_now();
	if (!up_parse_flags(&u->flags, argc, argv))
		return 2;
	log_init("up", LOG_INFO);
	u->a = arena_new();
	u->root = geteuid() == 0;
	u->with_node = !up_is_without(u, "node");
	up_node_name(u);
	e = up_check_flags(u);
	if (!e)
		e = fiber_main(up_main_fiber, &p);
	if (e && !err_is(e, ERR_CANCELED)) {
		fprintf(stderr, "isoplane: " STR_FMT "\n", STR_ARG(err_msg(e)));
		err_free(e);
		return 1;
	}
	err_free(e);
	return 0;
}
