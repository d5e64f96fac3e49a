/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU time per durable commit of a 1 KB object, by the number of writers at once (which is what
 * the commit thread's batches come from), and per read and listed object.
 */

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/arena.h"
#include "base/err.h"
#include "io/fiber.h"
#include "io/file.h"
#include "store/store.h"
#include "json/json.h"

#define TOTAL 8000

struct writer {
	struct store *s;
	int id, n;
	const char *prefix;
	const struct obj *body;
};

static double cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static struct err *writer_run(void *arg)
{
	struct writer *w = arg;
	char name[40];

	for (int i = 0; i < w->n; i++) {
		int n = snprintf(name, sizeof(name), "%s-%d-%d", w->prefix, w->id, i);
		struct store_op op = {
			.key = { STR("configmaps"), STR("default"), { name, (size_t)n } },
			.put = w->body,
			.expect = STORE_ANY,
		};
		size_t failed;
		struct rev rev;

		TRY(store_commit(w->s, &op, 1, &rev, &failed));
		obj_unref(op.result);
	}
	return NULL;
}

static struct err *run_writers(struct store *s, const struct obj *body, const char *what,
			       int writers, const char *prefix)
{
	struct fiber_group *g = fiber_group_new();
	struct writer *w = calloc((size_t)writers, sizeof(*w));
	struct mono start = mono_now();
	double cpu = cpu_us();
	struct err *e;

	for (int i = 0; i < writers; i++) {
		w[i] = (struct writer){ s, i, TOTAL / writers, prefix, body };
		fiber_group_add(g, "writer", writer_run, &w[i]);
	}
	e = fiber_group_join(g);
	free(w);
	printf("%-8s %3d writers: %6.1f us CPU, %7.0f /s\n", what, writers,
	       (cpu_us() - cpu) / TOTAL, TOTAL / ((double)(mono_now().ns - start.ns) / 1e9));
	return e;
}

static bool count(const struct obj *o, void *ctx)
{
	++*(size_t *)ctx;
	return true;
}

static struct err *run(void *arg)
{
	struct arena *a = arena_new();
	struct store_opts opts = { .path = arg };
	struct store *s;
	struct json *o = json_object(a);
	char *big = arena_alloc(a, 1000);
	const struct obj *body;
	struct store_list_opts l = { .resource = STR("configmaps") };
	struct store_list_result res;
	size_t n = 0;
	double cpu;

	memset(big, 'x', 1000);
	json_set_at(a, o, "metadata.name", json_strz(a, "x"));
	json_set_at(a, o, "metadata.namespace", json_strz(a, "default"));
	json_set_at(a, o, "data.key", json_str(a, (struct str){ big, 1000 }));
	body = obj_new(o, (struct rev){ 0 }, 0, NULL, 0);
	TRY(store_open(fiber_loop(), &opts, &s));
	TRY(run_writers(s, body, "create", 1, "a"));
	TRY(run_writers(s, body, "create", 16, "b"));
	TRY(run_writers(s, body, "create", 64, "c"));
	TRY(run_writers(s, body, "update", 16, "b"));
	cpu = cpu_us();
	TRY(store_list(s, &l, count, &n, &res));
	printf("list     %zu objects: %.3f us CPU each\n", n, (cpu_us() - cpu) / (double)n);
	obj_unref(body);
	store_close(s);
	arena_free(a);
	return NULL;
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/bench-store-XXXXXX";
	struct err *e;

	if (argc > 2 || (argc == 1 && !mkdtemp(dir)))
		return 2;
	e = fiber_main(run, argc == 2 ? argv[1] : dir);
	err_ignore(file_remove_tree(argc == 2 ? argv[1] : dir), "only a leftover");
	if (!e)
		return 0;
	fprintf(stderr, "bench-store: %.*s\n", STR_ARG(err_msg(e)));
	return 1;
}
