/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "client/kubeconfig.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/http-client.h"
#include "io/process.h"
#include "io/tls.h"

/* ---- the server under test ---- */

double cpu_us(pid_t pid)
{
	_cleanup_free_ char *dir = mem_fmt("/proc/%d/task", (int)pid);
	DIR *d = opendir(dir);
	double sum = 0;

	for (struct dirent *e; d && (e = readdir(d));) {
		_cleanup_free_ char *file = mem_fmt("%s/%s/schedstat", dir, e->d_name);
		FILE *f = e->d_name[0] == '.' ? NULL : fopen(file, "re");
		unsigned long long ns;

		if (f && fscanf(f, "%llu", &ns) == 1)
			sum += (double)ns / 1000;
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return sum;
}

double pss_mb(pid_t pid)
{
	_cleanup_free_ char *file = mem_fmt("/proc/%d/smaps_rollup", (int)pid);
	FILE *f = fopen(file, "re");
	char line[256];
	long kb = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Pss: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return (double)kb / 1024;
}

static struct err *server_spawn(struct bench *b, struct arena *a)
{
	const char *argv[] = { b->binary, "apiserver", "--data-dir",
			       b->dir,    "--listen",  arena_fmt(a, "127.0.0.1:%d", b->port).p,
			       NULL };
	int log = open(arena_fmt(a, "%s.log", b->dir).p, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
		       0600);
	struct process_opts opts = {
		.argv = argv, .stdin_fd = -1, .stdout_fd = log, .stderr_fd = log, .pdeathsig = true
	};
	struct err *e = process_start(&opts, &b->proc);

	close(log);
	return e;
}

static struct err *make_clients(struct bench *b, struct arena *a)
{
	struct kubeconfig k;
	struct tls_opts t = { 0 };
	struct http_client_opts o = { .address = arena_fmt(a, "127.0.0.1:%d", b->port) };

	TRY(kubeconfig_load(a, arena_fmt(a, "%s/admin.kubeconfig", b->dir).p, NULL, &k));
	t.ca_pem = k.ca_pem;
	t.cert_pem = k.cert_pem;
	t.key_pem = k.key_pem;
	TRY(tls_config_new(&t, &b->tls));
	o.tls = b->tls;
	for (int i = 0; i < CLIENTS; i++)
		b->clients[i] = http_client_new(&o);
	return NULL;
}

static void drop_clients(struct bench *b)
{
	for (int i = 0; i < CLIENTS; i++)
		b->clients[i] = http_client_free(b->clients[i]);
	tls_config_unref(b->tls);
	b->tls = NULL;
}

static struct err *is_ready(struct bench *b, struct arena *a)
{
	const struct http_client_request req = { .target = STR("/readyz") };
	struct http_client_response resp;

	if (!b->clients[0])
		TRY(make_clients(b, a));
	TRY(http_client_do(b->clients[0], a, &req, MAX_BODY, &resp));
	if (resp.status != 200)
		return err_new(ERR_UNAVAILABLE, "/readyz: %d", resp.status);
	return NULL;
}

/* From exec to the first "ok" of /readyz. */
struct err *server_start(struct bench *b, double *ret_ms)
{
	struct mono start = mono_now();
	_cleanup_arena_ struct arena *keep = arena_new();

	TRY(server_spawn(b, keep));
	for (;;) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct err *e = is_ready(b, a);
		int status;

		if (!e)
			break;
		if (process_exited(b->proc, &status) || mono_ms_since(start) > 30000)
			return err_wrap(e, "the server did not start (see %s.log)", b->dir);
		err_ignore(e, "it is still starting");
		TRY(fiber_sleep_ms(2));
	}
	*ret_ms = (double)(mono_now().ns - start.ns) / 1e6;
	return NULL;
}

struct err *server_stop(struct bench *b)
{
	int status;

	drop_clients(b);
	process_kill(b->proc, SIGTERM);
	TRY(process_wait(b->proc, &status));
	b->proc = process_free(b->proc);
	return NULL;
}

/* ---- load ---- */

struct load {
	struct bench *b;
	op_fn make;
	int total, next, want_status;
};

static struct err *do_op(struct bench *b, int client, const struct op *op, int want)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct http_client_request req = { .method = op->method,
					   .target = op->target,
					   .body = op->body,
					   .has_body = op->body.n > 0 };
	struct http_client_response resp;

	if (op->content_type)
		http_headers_add(a, &req.headers, STR("content-type"), str_from(op->content_type));
	if (op->accept.n)
		http_headers_add(a, &req.headers, STR("accept"), op->accept);
	if (op->accept_encoding.n)
		http_headers_add(a, &req.headers, STR("accept-encoding"), op->accept_encoding);
	TRY(http_client_do(b->clients[client], a, &req, MAX_BODY, &resp));
	if (resp.status != want)
		return err_set_status(
			err_new(ERR_UNKNOWN, "%s " STR_FMT ": %d " STR_FMT, op->method,
				STR_ARG(op->target), resp.status,
				STR_ARG(str_sub(resp.body, 0, MIN(resp.body.n, 300)))),
			resp.status);
	return NULL;
}

struct load_client {
	struct load *l;
	int id;
};

static struct err *load_run(void *arg)
{
	struct load_client *c = arg;
	struct load *l = c->l;

	while (l->next < l->total) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct op op = { .method = "GET" };

		l->make(l->b, a, l->next++, &op);
		TRY(do_op(l->b, c->id, &op, l->want_status));
	}
	return NULL;
}

struct err *load(struct bench *b, int total, int clients, int want_status, op_fn make,
		 struct result *ret)
{
	struct load l = { .b = b, .make = make, .total = total, .want_status = want_status };
	_cleanup_free_ struct load_client *c = mem_zalloc((size_t)clients, sizeof(*c));
	struct fiber_group *g = fiber_group_new();
	double cpu = cpu_us(process_pid(b->proc));
	struct mono start = mono_now();

	for (int i = 0; i < clients; i++) {
		c[i] = (struct load_client){ &l, i % CLIENTS };
		fiber_group_add(g, "client", load_run, &c[i]);
	}
	TRY(fiber_group_join(g));
	ret->us = (cpu_us(process_pid(b->proc)) - cpu) / total;
	ret->per_s = total / ((double)(mono_now().ns - start.ns) / 1e9);
	return NULL;
}

/* ---- the table ---- */

void row(const char *name, double ours, const char *unit, double target, double upstream)
{
	printf("%-34s %9.1f %-3s %9.1f %9.1f  %s\n", name, ours, unit, target, upstream,
	       ours <= target ? "met" : "missed");
	fflush(stdout);
}

void row_plain(const char *name, double ours, const char *unit)
{
	printf("%-34s %9.1f %s\n", name, ours, unit);
	fflush(stdout);
}

void row_failed(const char *name, struct err *e)
{
	struct str why =
		err_http_status(e) == 415 ? STR("this server does not serve it") : err_msg(e);

	printf("%-34s not measured: %.*s\n", name, STR_ARG(str_sub(why, 0, MIN(why.n, 200))));
	err_ignore(e, "it is in the table");
}

struct err *measure_op(struct bench *b, const char *name, int n, int status, op_fn make,
		       double divisor, const char *unit, double target, double upstream,
		       struct result *ret)
{
	struct result r = { 0 };
	struct err *e = load(b, n, CLIENTS, status, make, &r);

	if (e)
		row_failed(name, e);
	else
		row(name, r.us / divisor, unit, target, upstream);
	*ret = r;
	return NULL;
}
