/* SPDX-License-Identifier: Apache-2.0 */
#include "server/main.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/cluster-pki.h"
#include "api/kubeconfig.h"
#include "api/schema.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/http-server.h"
#include "io/stream.h"
#include "io/tls.h"
#include "server/audit.h"
#include "server/authn.h"
#include "server/authz.h"
#include "server/bootstrap.h"
#include "server/builtin-admission.h"
#include "server/flow.h"
#include "server/handler.h"
#include "server/metrics.h"
#include "server/resources.h"
#include "server/respond.h"
#include "server/server.h"
#include "server/service-cidr.h"
#include "server/tokens.h"
#include "server/watch.h"
#include "server/zpages.h"

#define MAX_LISTEN 16
#define DRAIN_MS   1000
/*
 * What a large list took is kept for the next one: giving pages back and faulting them in again
 * costs more than copying the list. Every few seconds what is too much goes back.
 */
#define HEAP_KEPT    (32 << 20)
#define HEAP_MMAP    (4 << 20) /* what is mapped apart: larger than any object or body */
#define HEAP_TRIM_MS 5000

static const char usage[] =
	"usage: isoplane apiserver --data-dir DIR --listen ADDR:PORT [--kubeconfig FILE]\n"
	"           [--service-cidr CIDR] [--advertise ADDR:PORT] [--listen-fd N]... [--history "
	"SECONDS]\n"
	"           [--max-requests-inflight N] [--max-mutating-requests-inflight N]\n"
	"           [--request-timeout DURATION] [--access-log]\n";

struct flags {
	struct apiserver_opts opts;
	struct str listen[MAX_LISTEN];
	int fds[MAX_LISTEN];
	bool debug;
};

static bool flag_limit(struct str v, unsigned *ret)
{
	int64_t n;

	if (!str_to_i64(v, &n) || n < 1 || n > 100000)
		return false;
	*ret = (unsigned)n;
	return true;
}

/* How much at once, and for how long. */
static bool flags_limits(struct flags *f, int argc, char **argv, int *i)
{
	struct apiserver_opts *o = &f->opts;
	struct str v;
	int64_t ns;

	if (str_eqz(str_from(argv[*i]), "--access-log"))
		return o->access_log = true;
	if (flag_value(argc, argv, i, "--max-requests-inflight", &v))
		return flag_limit(v, &o->max_read_only);
	if (flag_value(argc, argv, i, "--max-mutating-requests-inflight", &v))
		return flag_limit(v, &o->max_mutating);
	if (!flag_value(argc, argv, i, "--request-timeout", &v))
		return false;
	if (!duration_parse_go(v, &ns) || ns < NS_PER_SEC || ns > 86400 * NS_PER_SEC)
		return false;
	o->request_timeout_s = ns / NS_PER_SEC;
	return true;
}

static bool flags_one(struct flags *f, int argc, char **argv, int *i)
{
	struct apiserver_opts *o = &f->opts;
	struct str v;
	int64_t fd;

	if (flag_value(argc, argv, i, "--listen-fd", &v)) {
		if (o->n_listen_fds == MAX_LISTEN || !str_to_i64(v, &fd) || fd < 0 || fd > 1 << 20)
			return false;
		f->fds[o->n_listen_fds++] = (int)fd;
		return true;
	}
	if (flag_value(argc, argv, i, "--listen", &v)) {
		if (o->n_listen == MAX_LISTEN)
			return false;
		f->listen[o->n_listen++] = v;
		return true;
	}
	if (flag_value(argc, argv, i, "--history", &v))
		return str_to_i64(v, &o->history_s) && o->history_s > 0 && o->history_s < 86400;
	if (flag_value(argc, argv, i, "--log-level", &v)) {
		f->debug = str_eqz(v, "debug");
		return true;
	}
	return flags_limits(f, argc, argv, i) ||
	       flag_value(argc, argv, i, "--data-dir", &o->data_dir) ||
	       flag_value(argc, argv, i, "--kubeconfig", &o->kubeconfig) ||
	       flag_value(argc, argv, i, "--service-cidr", &o->service_cidr) ||
	       flag_value(argc, argv, i, "--advertise", &o->advertise) ||
	       access_flag(&o->authn, &o->audit, argc, argv, i);
}

static bool flags_parse(struct flags *f, int argc, char **argv)
{
	f->opts.service_cidr = STR("10.96.0.0/16");
	f->opts.audit.max_size_mb = 100;
	f->opts.max_read_only = 400;
	f->opts.max_mutating = 200;
	f->opts.request_timeout_s = 60;
	f->opts.listen = f->listen;
	f->opts.listen_fds = f->fds;
	for (int i = 1; i < argc; i++) {
		if (str_eqz(str_from(argv[i]), "--help")) {
			printf("%s%s", usage, access_usage);
			exit(0);
		}
		if (!flags_one(f, argc, argv, &i)) {
			fprintf(stderr, "isoplane apiserver: bad flag '%s'\n%s", argv[i], usage);
			return false;
		}
	}
	if (str_empty(f->opts.data_dir) || (!f->opts.n_listen && !f->opts.n_listen_fds)) {
		fprintf(stderr, "isoplane apiserver: --data-dir and --listen are needed\n%s",
			usage);
		return false;
	}
	if (!service_cidr_valid(f->opts.service_cidr)) {
		fprintf(stderr,
			"isoplane apiserver: --service-cidr '" STR_FMT
			"' is not an IPv4 range of /8 to /29\n",
			STR_ARG(f->opts.service_cidr));
		return false;
	}
	return true;
}

/* "1.2.3.4:6443" */
static void split_address(struct str s, struct str *ret_host, int *ret_port)
{
	uint64_t port = 0;
	size_t i = s.n;

	while (i && s.p[i - 1] != ':')
		i--;
	*ret_host = i ? str_sub(s, 0, i - 1) : s;
	if (str_to_u64(str_skip(s, i), &port) && port < 65536)
		*ret_port = (int)port;
}

static const char *data_path(struct apiserver *s, const char *name)
{
	return arena_fmt(s->arena, STR_FMT "/%s", STR_ARG(s->opts.data_dir), name).p;
}

static struct err *start_pki(struct apiserver *s)
{
	struct str *ips = arena_array(s->arena, s->opts.n_listen + 3, sizeof(*ips));
	struct cluster_pki_opts o = { .dir = data_path(s, "pki"), .ips = ips };
	struct cluster_pki *p = arena_new_obj(s->arena, struct cluster_pki);
	int port;

	for (size_t i = 0; i < s->opts.n_listen; i++)
		split_address(s->opts.listen[i], &ips[o.n_ips++], &port);
	ips[o.n_ips++] = s->advertise_ip;
	ips[o.n_ips++] = service_cidr_first(s->arena, s->opts.service_cidr);
	TRY(cluster_pki_ensure(s->arena, &o, p));
	s->pki = (struct server_pki){
		.ca_cert = p->ca.cert_pem,
		.ca_key = p->ca.key_pem,
		.server_cert = p->server.cert_pem,
		.server_key = p->server.key_pem,
		.sa_key = p->sa_private_pem,
		.sa_pub = p->sa_public_pem,
		.proxy_ca_cert = p->front_proxy_ca.cert_pem,
		.proxy_client_cert = p->front_proxy_client.cert_pem,
		.proxy_client_key = p->front_proxy_client.key_pem,
		.kubelet_client_cert = p->kubelet_client.cert_pem,
		.kubelet_client_key = p->kubelet_client.key_pem,
		.admin_cert = p->admin.cert_pem,
		.admin_key = p->admin.key_pem,
	};
	TRY(authn_new(s, &s->authn));
	return tokens_new(s->pki.sa_key, &s->tokens);
}

static struct err *start_kubeconfig(struct apiserver *s, int port)
{
	struct str host = STR("127.0.0.1"), text;
	struct kubeconfig k = {
		.ca_pem = s->pki.ca_cert,
		.user = STR("kubernetes-admin"),
		.cert_pem = s->pki.admin_cert,
		.key_pem = s->pki.admin_key,
	};
	int unused = port;
	const char *path;

	/* A supervisor that hands us its sockets writes kubeconfigs itself. */
	if (!s->opts.n_listen && str_empty(s->opts.kubeconfig))
		return NULL;
	if (s->opts.n_listen)
		split_address(s->opts.listen[0], &host, &unused);
	if (str_eqz(host, "0.0.0.0") || str_empty(host))
		host = STR("127.0.0.1");
	k.server = arena_fmt(s->arena, "https://" STR_FMT ":%d", STR_ARG(host), port);
	text = kubeconfig_text(s->arena, &k);
	path = str_empty(s->opts.kubeconfig) ? data_path(s, "admin.kubeconfig")
					     : arena_strz(s->arena, s->opts.kubeconfig);
	return file_write_atomic(path, text, 0600);
}

static struct err *start_tls(struct apiserver *s, struct tls_config **ret)
{
	struct tls_opts server = {
		.cert_pem = s->pki.server_cert,
		.key_pem = s->pki.server_key,
		.ca_pem = arena_cat(s->arena, s->pki.ca_cert, s->pki.proxy_ca_cert),
		.server = true,
		.request_client_cert = true,
	};
	struct tls_opts kubelet = {
		.cert_pem = s->pki.kubelet_client_cert,
		.key_pem = s->pki.kubelet_client_key,
		.ca_pem = s->pki.ca_cert,
	};

	TRY(tls_config_new(&kubelet, &s->kubelet_tls));
	return tls_config_new(&server, ret);
}

static void handler_error(struct http_exchange *x, struct err *e, void *ctx UNUSED)
{
	/* handler_serve answers its own errors; this is what never became a request */
	http_respond(x, err_http_status(e), "text/plain", err_msg(e));
	err_free(e);
}

static struct err *start_http(struct apiserver *s)
{
	struct tls_config *tls = NULL;
	struct http_server_opts o = {
		.max_body = 3145728,
		.handler = handler_serve,
		.on_error = handler_error,
		.ctx = s,
	};

	TRY(start_tls(s, &tls));
	o.tls = tls;
	s->http = http_server_new(s->loop, &o);
	tls_config_unref(tls);
	return NULL;
}

static struct err *start_listening(struct apiserver *s, int *ret_port)
{
	*ret_port = 0;
	for (size_t i = 0; i < s->opts.n_listen; i++) {
		int fd = -1;

		TRY(stream_listen(s->opts.listen[i], &fd));
		if (!*ret_port)
			*ret_port = stream_listen_port(fd);
		http_server_listen(s->http, fd);
	}
	for (size_t i = 0; i < s->opts.n_listen_fds; i++) {
		if (!*ret_port)
			*ret_port = stream_listen_port(s->opts.listen_fds[i]);
		http_server_listen(s->http, s->opts.listen_fds[i]);
	}
	return NULL;
}

static void start_addresses(struct apiserver *s)
{
	struct str a = s->opts.advertise;

	if (str_empty(a) && s->opts.n_listen)
		a = s->opts.listen[0];
	s->advertise_ip = STR("127.0.0.1");
	s->advertise_port = 6443;
	if (!str_empty(a))
		split_address(a, &s->advertise_ip, &s->advertise_port);
	if (str_eqz(s->advertise_ip, "0.0.0.0"))
		s->advertise_ip = STR("127.0.0.1");
}

static struct err *start_store(struct apiserver *s)
{
	struct store_opts o = {
		.path = data_path(s, "store"),
		.history_ms = s->opts.history_s * 1000,
		.lazy = true,
	};

	return store_open(s->loop, &o, &s->store);
}

static struct err *start_modules(struct apiserver *s)
{
	for (const struct server_module *m = server_modules; m->name; m++) {
		if (m->init)
			TRY(err_wrap(m->init(s), "%s", m->name));
	}
	return NULL;
}

static struct err *server_start(struct apiserver *s, int *ret_port)
{
	TRY(file_mkdir_p(arena_strz(s->arena, s->opts.data_dir), 0700));
	start_addresses(s);
	TRY(start_pki(s));
	TRY(audit_init(s));
	TRY(start_store(s));
	s->registry = registry_new(schema_registry_builtin());
	TRY(resources_add_builtin(s->registry, s->arena));
	s->watches = watch_cache_new(s);
	builtin_admission_init(s);
	s->authz = authz_new(s);
	s->flow = flow_new(s);
	s->metrics = metrics_new(s);
	health_init(s);
	zpages_init(s);
	TRY(start_http(s));
	TRY(start_listening(s, ret_port));
	if (str_empty(s->opts.advertise) && *ret_port)
		s->advertise_port = *ret_port;
	TRY(bootstrap_run(s));
	TRY(authz_start(s->authz));
	bootstrap_aggregation_start(s);
	TRY(start_modules(s));
	/* with passed sockets the supervisor writes it: it alone knows the address */
	if (s->opts.n_listen_fds)
		return NULL;
	return start_kubeconfig(s, *ret_port);
}

struct server_run {
	struct apiserver *s;
	struct signal_source term, intr, usr1;
	struct timer trim;
	struct waitq stop;
	bool stopping;
};

static void run_on_signal(struct server_run *r)
{
	r->stopping = true;
	waitq_wake_all(&r->stop);
}

static void run_on_term(struct signal_source *src, int signo UNUSED)
{
	run_on_signal(container_of(src, struct server_run, term));
}

static void run_on_intr(struct signal_source *src, int signo UNUSED)
{
	run_on_signal(container_of(src, struct server_run, intr));
}

/* The fibers have their own. */
static void run_on_usr1(struct signal_source *src, int signo UNUSED)
{
	struct server_run *r = container_of(src, struct server_run, usr1);

	if (r->s->http)
		http_server_dump(r->s->http);
}

static void run_trim(struct timer *t)
{
	struct server_run *r = container_of(t, struct server_run, trim);

	if (mallinfo2().fordblks > HEAP_KEPT / 4)
		malloc_trim(HEAP_KEPT / 8);
	timer_start(r->s->loop, t, HEAP_TRIM_MS);
}

static struct err *run_serve(struct server_run *r)
{
	struct apiserver *s = r->s;
	struct mono start = mono_now();
	int port = 0;

	TRY(server_start(s, &port));
	for (const struct server_module *m = server_modules; m->name; m++) {
		if (m->start)
			TRY(err_wrap(m->start(s), "%s", m->name));
	}
	s->ready = true;
	log_info(NULL, "serving", KV_INT("port", port), KV_INT("ms", mono_ms_since(start)));
	while (!r->stopping)
		TRY(waitq_wait(&r->stop));
	s->ready = false;
	http_server_drain(s->http, DRAIN_MS);
	audit_flush(s);
	return NULL;
}

static struct err *run_main(void *arg)
{
	struct flags *f = arg;
	struct apiserver *s;
	struct server_run r = { .s = NULL };
	struct arena *a = arena_new();
	struct err *e;

	s = arena_new_obj(a, struct apiserver);
	*s = (struct apiserver){ .loop = fiber_loop(), .opts = f->opts, .arena = a };
	list_init(&s->admission);
	list_init(&s->paths);
	list_init(&s->delegates);
	r.s = s;
	waitq_init(&r.stop);
	r.term.fn = run_on_term;
	r.intr.fn = run_on_intr;
	r.usr1.fn = run_on_usr1;
	r.trim.fn = run_trim;
	signal_source_add(s->loop, &r.term, SIGTERM);
	signal_source_add(s->loop, &r.intr, SIGINT);
	signal_source_add(s->loop, &r.usr1, SIGUSR1);
	timer_start(s->loop, &r.trim, HEAP_TRIM_MS);
	e = run_serve(&r);
	signal_source_del(&r.term);
	signal_source_del(&r.intr);
	signal_source_del(&r.usr1);
	timer_cancel(&r.trim);
	/* the process ends here: what is durable is durable, the rest is the kernel's */
	return e;
}

int apiserver_main(int argc, char **argv)
{
	struct flags f = { 0 };
	struct err *e;

	if (!flags_parse(&f, argc, argv))
		return 2;
	log_init("apiserver", f.debug ? LOG_DEBUG : LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	mallopt(M_TRIM_THRESHOLD, HEAP_KEPT);
	mallopt(M_MMAP_THRESHOLD, HEAP_MMAP);
	e = fiber_main(run_main, &f);
	if (!e)
		_exit(0);
	fprintf(stderr, "isoplane apiserver: " STR_FMT "\n", STR_ARG(err_msg(e)));
	err_free(e);
	_exit(1);
}
