/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the parts of the API server's benchmark share: a server, clients, load, rows of the table.
 */

#include <sys/types.h>

#include "base/base.h"
#include "base/str.h"

struct arena;
struct err;
struct http_client;
struct process;
struct tls_config;

#define CLIENTS  16
#define MAX_BODY ((size_t)1 << 30)

struct bench {
	const char *binary;
	int port;
	char dir[64];
	struct process *proc;
	struct tls_config *tls;
	struct http_client *clients[CLIENTS];
	char value[1001];
};

struct op {
	const char *method, *content_type;
	struct str target, body, accept, accept_encoding;
};

typedef void (*op_fn)(const struct bench *b, struct arena *a, int i, struct op *ret);

struct result {
	double us, per_s;
};

/* the server's process */
double cpu_us(pid_t pid);
double pss_mb(pid_t pid);
/* From exec to the first "ok" of /readyz. */
MUST_USE SUSPENDS struct err *server_start(struct bench *b, double *ret_ms);
MUST_USE SUSPENDS struct err *server_stop(struct bench *b);

/*
 * load: calls with i from 0 to total, from that many clients (beyond CLIENTS they share
 * connections); the CPU time of one
 */
MUST_USE SUSPENDS struct err *load(struct bench *b, int total, int clients, int want_status,
				   op_fn make, struct result *ret);

/* the table */
void row(const char *name, double ours, const char *unit, double target, double upstream);
void row_plain(const char *name, double ours, const char *unit);
void row_failed(const char *name, struct err *e);
MUST_USE SUSPENDS struct err *measure_op(struct bench *b, const char *name, int n, int status,
					 op_fn make, double divisor, const char *unit,
					 double target, double upstream, struct result *ret);

/* apiserver-more.c: each on a server of its own */
MUST_USE SUSPENDS struct err *bench_fresh_server(struct bench *b);
MUST_USE SUSPENDS struct err *bench_harder(struct bench *b);
MUST_USE SUSPENDS struct err *bench_growth(struct bench *b, int max);
MUST_USE SUSPENDS struct err *bench_watches(struct bench *b, int n);
MUST_USE SUSPENDS struct err *bench_writers(struct bench *b);
MUST_USE SUSPENDS struct err *bench_crds(struct bench *b, int n);
/* webhook.c: on the server that runs, which has the default ServiceAccount */
MUST_USE SUSPENDS struct err *bench_webhook(struct bench *b, op_fn create, int n);
