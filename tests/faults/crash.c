/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API server is killed at random moments under load, again and again:
 *
 *     crash ISOPLANE ROUNDS [DISK-SHIM]
 *
 * Clients compare and set a few ConfigMaps and note each call and answer; a watch follows, and is
 * taken up again after each death where it was. Then:
 *   - each key's history, with a read after the restart, is linearizable: nothing acknowledged is
 *     missing, nothing refused is there;
 *   - no object is half one write and half another;
 *   - the watch saw each write of a key once, right after the one it replaced.
 * With the shim, the disk also forgets some of what was not synced (disk.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rand.h"
#include "client/kubeconfig.h"
#include "disk.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/http-client.h"
#include "io/process.h"
#include "io/stream.h"
#include "io/tls.h"
#include "linear.h"
#include "json/json.h"

#define KEYS     3
#define CLIENTS  8
#define OPS_MAX  4096 /* of a key in a round */
#define CMS      "/api/v1/namespaces/default/configmaps"
#define START_MS 30000
#define LIFE_MS  60 /* at most, from the first request on */

struct key {
	struct linear_op ops[OPS_MAX];
	size_t n;
	uint32_t initial; /* of the round */
	uint32_t watched; /* the last value that the watch showed */
};

struct test {
	const char *binary, *shim;
	struct str address;
	char dir[64];
	struct disk_journal *journal;
	struct process *proc;
	struct tls_config *tls;
	struct http_client *client;
	struct key keys[KEYS];
	uint32_t *expected; /* by value: what its write replaced */
	uint32_t n_values, cap_values;
	uint64_t watched_rev, last_rev;
	uint64_t n_ops, n_events, n_dropped;
	bool killed;
	struct err *watch_error;
	struct waitq seen;
};

static uint64_t now(void)
{
	return (uint64_t)mono_now().ns;
}

/* ---- requests ---- */

struct answer {
	int status;
	uint32_t value;
	struct str rv;
};

static struct err *value_of(const struct json *o, uint32_t *ret)
{
	struct str left = json_str_at(o, "data.left"), right = json_str_at(o, "data.right");
	uint64_t v;

	if (!str_eq(left, right) || !str_to_u64(left, &v) || v > UINT32_MAX)
		return err_new(ERR_CORRUPT, "half a write: '" STR_FMT "' and '" STR_FMT "'",
			       STR_ARG(left), STR_ARG(right));
	*ret = (uint32_t)v;
	return NULL;
}

static struct err *request(struct test *t, struct arena *a, const char *method, struct str target,
			   struct str body, struct answer *ret)
{
	struct http_client_request rq = {
		.method = method, .target = target, .body = body, .has_body = body.n > 0
	};
	struct http_client_response resp;
	struct json *o = NULL;

	if (body.n)
		http_headers_add(a, &rq.headers, STR("Content-Type"), STR("application/json"));
	TRY(http_client_do(t->client, a, &rq, (size_t)1 << 20, &resp));
	ret->status = resp.status;
	if (resp.status >= 300)
		return NULL;
	TRY(json_parse(a, resp.body, &o));
	ret->rv = json_str_at(o, "metadata.resourceVersion");
	return value_of(o, &ret->value);
}

static struct str key_target(struct arena *a, int key)
{
	return arena_fmt(a, CMS "/k%d", key);
}

static struct str key_body(struct arena *a, int key, uint32_t value, struct str rv)
{
	return arena_fmt(a,
			 "{\"metadata\":{\"name\":\"k%d\",\"resourceVersion\":\"" STR_FMT
			 "\"},\"data\":{\"left\":\"%u\",\"pad\":\"%0*d\",\"right\":\"%u\"}}",
			 key, STR_ARG(rv), value, (int)(value * 7919 % 6000), 0, value);
}

static uint32_t value_new(struct test *t, uint32_t expected)
{
	if (t->n_values == t->cap_values) {
		t->cap_values *= 2;
		t->expected = mem_realloc(t->expected, t->cap_values, sizeof(*t->expected));
	}
	t->expected[t->n_values] = expected;
	return t->n_values++;
}

/* ---- the server ---- */

static struct err *server_spawn(struct test *t, struct arena *a)
{
	const char *argv[] = { t->binary,    "apiserver",
			       "--data-dir", arena_fmt(a, "%s/data", t->dir).p,
			       "--listen",   t->address.p,
			       NULL };
	const char *envp[] = { "PATH=/usr/bin:/bin", NULL, NULL, NULL };
	int log = open(arena_fmt(a, "%s/log", t->dir).p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
		       0600);
	struct process_opts o = { .argv = argv,
				  .envp = envp,
				  .stdin_fd = -1,
				  .stdout_fd = log,
				  .stderr_fd = log,
				  .pdeathsig = true };
	struct err *e;

	if (t->shim) {
		envp[1] = arena_fmt(a, "LD_PRELOAD=%s", t->shim).p;
		envp[2] = arena_fmt(a, DISK_ENV "=%s/journal", t->dir).p;
	}
	e = process_start(&o, &t->proc);
	close(log);
	return e;
}

static struct err *client_new(struct test *t, struct arena *a)
{
	struct kubeconfig k;
	struct tls_opts tls = { 0 };
	struct http_client_opts o = { .address = t->address, .max_idle = CLIENTS };

	TRY(kubeconfig_load(a, arena_fmt(a, "%s/data/admin.kubeconfig", t->dir).p, NULL, &k));
	tls = (struct tls_opts){ .ca_pem = k.ca_pem, .cert_pem = k.cert_pem, .key_pem = k.key_pem };
	TRY(tls_config_new(&tls, &t->tls));
	o.tls = t->tls;
	t->client = http_client_new(&o);
	return NULL;
}

static struct err *is_ready(struct test *t, struct arena *a)
{
	const struct http_client_request rq = { .target = STR("/readyz") };
	struct http_client_response resp;

	if (!t->client)
		TRY(client_new(t, a));
	TRY(http_client_do(t->client, a, &rq, 4096, &resp));
	return resp.status == 200 ? NULL : err_new(ERR_UNAVAILABLE, "/readyz: %d", resp.status);
}

static struct err *server_start(struct test *t)
{
	_cleanup_arena_ struct arena *keep = arena_new();
	struct mono start = mono_now();
	int status;

	t->killed = false;
	TRY(server_spawn(t, keep));
	for (;;) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct err *e = is_ready(t, a);

		if (!e)
			return NULL;
		if (process_exited(t->proc, &status))
			return err_wrap(e, "the server ended with status 0x%x, see %s/log", status,
					t->dir);
		if (mono_ms_since(start) > START_MS) {
			process_kill(t->proc, SIGUSR1); /* it says in its log where it is */
			TRY(fiber_sleep_ms(1000));
			return err_wrap(e, "the server does not start, see %s/log", t->dir);
		}
		err_ignore(e, "it is still starting");
		TRY(fiber_sleep_ms(2));
	}
}

/* Puts back what unsynced pages held: all, none or about half of them. */
static struct err *disk_forget(struct test *t)
{
	_cleanup_free_ char *file = mem_fmt("%s/data/store/data.mdb", t->dir);
	const uint64_t mode = rand_below(4), seed = rand_below(UINT64_MAX) | 1;
	int fd = open(file, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return err_errno(errno, "open '%s'", file);
	for (uint64_t i = t->journal->n; i-- > 0 && mode;) {
		const struct disk_entry *e = &t->journal->entries[i];
		const bool lost = mode == 1 || (e->offset / DISK_PAGE * seed >> 40) % 2;

		if (lost && pwrite(fd, e->old, DISK_PAGE, (off_t)e->offset) != DISK_PAGE)
			ASSERT(false);
		t->n_dropped += lost;
	}
	t->journal->n = 0;
	close(fd);
	return NULL;
}

static struct err *server_kill(struct test *t)
{
	int status;

	t->killed = true;
	process_kill(t->proc, SIGKILL);
	TRY(process_wait(t->proc, &status));
	t->proc = process_free(t->proc);
	return t->shim ? disk_forget(t) : NULL;
}

/* ---- the watch ---- */

static struct err *watch_event(struct test *t, struct str line)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *ev = NULL;
	const struct json *o;
	uint32_t value;
	uint64_t rev;
	struct str type;
	struct key *k;

	TRY(json_parse(a, line, &ev));
	type = json_str_at(ev, "type");
	o = json_get(ev, "object");
	if (!str_eqz(type, "ADDED") && !str_eqz(type, "MODIFIED"))
		return err_new(ERR_CORRUPT, "a watch event: " STR_FMT, STR_ARG(line));
	if (!str_to_u64(json_str_at(o, "metadata.resourceVersion"), &rev) || rev <= t->watched_rev)
		return err_new(ERR_CORRUPT, "after %llu the watch shows: " STR_FMT,
			       (unsigned long long)t->watched_rev, STR_ARG(line));
	TRY(value_of(o, &value));
	k = &t->keys[json_str_at(o, "metadata.name").p[1] - '0'];
	if (value >= t->n_values || t->expected[value] != k->watched)
		return err_new(ERR_CORRUPT, "the watch shows %u right after %u", value, k->watched);
	k->watched = value;
	t->watched_rev = rev;
	t->n_events++;
	waitq_wake_all(&t->seen);
	return NULL;
}

static struct err *watch_lines(struct test *t, struct http_call *call)
{
	_cleanup_buf_ struct buf b = { 0 };
	_cleanup_free_ char *piece = mem_alloc(65536);
	size_t n, end;

	for (;;) {
		TRY(http_call_read(call, piece, 65536, &n));
		if (!n)
			return err_new(ERR_IO, "the watch ended");
		buf_add(&b, str_make(piece, n));
		while ((end = str_find_char(buf_str(&b), '\n', 0)) < b.n) {
			struct err *e = watch_event(t, str_sub(buf_str(&b), 0, end));

			if (e) {
				t->watch_error = e;
				return NULL;
			}
			buf_consume(&b, end + 1);
		}
	}
}

static struct err *watch_run(void *arg)
{
	struct test *t = arg;
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_(http_call_freep) struct http_call *call = NULL;
	struct http_client_response resp;
	struct http_client_request rq = {
		.target = arena_fmt(a,
				    CMS "?watch=true&resourceVersion=%llu&fieldSelector="
					"metadata.name!%%3Dkube-root-ca.crt",
				    (unsigned long long)t->watched_rev)
	};

	TRY(http_client_start(t->client, a, &rq, &resp, &call));
	if (resp.status != 200) {
		t->watch_error = err_new(ERR_UNKNOWN, "the watch is answered %d", resp.status);
		return NULL;
	}
	return watch_lines(t, call);
}

/* ---- the clients ---- */

struct client {
	struct test *t;
	unsigned id;
};

static struct linear_op *op_new(struct test *t, int key, enum linear_kind kind)
{
	struct key *k = &t->keys[key];
	struct linear_op *op = &k->ops[k->n++];

	*op = (struct linear_op){ .kind = kind, .call = now() };
	t->n_ops++;
	return op;
}

/* A read, and a set of what it showed, which may be the first of a few. */
static struct err *client_turn(struct test *t, int key)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct answer got = { 0 };
	struct key *k = &t->keys[key];
	uint64_t call = now();
	struct linear_op *op;

	TRY(request(t, a, "GET", key_target(a, key), STR_EMPTY, &got));
	if (got.status != 200)
		return err_new(ERR_CORRUPT, "GET: %d", got.status);
	op = op_new(t, key, LINEAR_READ);
	op->call = call;
	op->ret = now();
	op->value = got.value;
	for (uint64_t left = rand_below(4); left && k->n < OPS_MAX - 2 * CLIENTS; left--) {
		uint32_t value = value_new(t, got.value);
		struct answer set = { 0 };

		op = op_new(t, key, LINEAR_UNKNOWN);
		op->expect = got.value;
		op->value = value;
		TRY(request(t, a, "PUT", key_target(a, key), key_body(a, key, value, got.rv),
			    &set));
		op->ret = now();
		if (set.status == 409) {
			op->kind = LINEAR_REFUSED;
			return NULL;
		}
		if (set.status != 200 || set.value != value)
			return err_new(ERR_CORRUPT, "PUT: %d", set.status);
		op->kind = LINEAR_SET;
		got = set;
	}
	return NULL;
}

static struct err *client_run(void *arg)
{
	struct client *c = arg;
	struct test *t = c->t;

	for (;;) {
		int key = (int)rand_below(KEYS);
		struct err *e;

		if (t->keys[key].n >= OPS_MAX - 2 * CLIENTS)
			return NULL;
		e = client_turn(t, key);
		if (!e)
			continue;
		if (t->killed && !err_is(e, ERR_CORRUPT)) {
			err_ignore(e, "the server is dead");
			return NULL;
		}
		return e;
	}
}

/* ---- a round ---- */

static struct err *load_until_kill(struct test *t)
{
	struct client c[CLIENTS];
	struct fiber_group *g = fiber_group_new();
	struct err *e;

	for (unsigned i = 0; i < CLIENTS; i++) {
		c[i] = (struct client){ t, i };
		fiber_group_add(g, "client", client_run, &c[i]);
	}
	e = fiber_sleep_ms((int64_t)rand_below(LIFE_MS) + 1);
	if (!e)
		e = server_kill(t);
	if (e) {
		err_ignore(fiber_group_join(g), "there is an earlier error");
		return e;
	}
	return fiber_group_join(g);
}

/* What is there after the restart ends each key's history. */
static struct err *check(struct test *t)
{
	for (int i = 0; i < KEYS; i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct key *k = &t->keys[i];
		struct answer got = { 0 };
		struct linear_op *op;
		uint64_t rev;

		TRY(request(t, a, "GET", key_target(a, i), STR_EMPTY, &got));
		if (got.status != 200)
			return err_new(ERR_CORRUPT, "k%d after the restart: %d", i, got.status);
		op = op_new(t, i, LINEAR_READ);
		op->value = got.value;
		op->ret = now();
		if (!linear_check(k->ops, k->n, k->initial))
			return err_new(ERR_CORRUPT, "the history of k%d is not linearizable", i);
		k->n = 0;
		k->initial = got.value;
		if (str_to_u64(got.rv, &rev))
			t->last_rev = MAX(t->last_rev, rev);
	}
	return NULL;
}

static struct err *watch_catch_up(struct test *t)
{
	bool woken = true;

	while (t->watched_rev < t->last_rev && woken && !t->watch_error)
		TRY(waitq_wait_ms(&t->seen, 20000, &woken));
	if (t->watch_error)
		return TAKE(t->watch_error);
	if (t->watched_rev < t->last_rev)
		return err_new(ERR_CORRUPT, "the watch stays at %llu, a key is at %llu",
			       (unsigned long long)t->watched_rev, (unsigned long long)t->last_rev);
	for (int i = 0; i < KEYS; i++)
		if (t->keys[i].watched != t->keys[i].initial)
			return err_new(ERR_CORRUPT, "k%d is %u, the watch showed %u", i,
				       t->keys[i].initial, t->keys[i].watched);
	return NULL;
}

static struct err *first_objects(struct test *t)
{
	TRY(server_start(t));
	for (int i = 0; i < KEYS; i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct answer got = { 0 };
		uint32_t value = value_new(t, 0);

		TRY(request(t, a, "POST", STR(CMS), key_body(a, i, value, STR_EMPTY), &got));
		if (got.status != 201)
			return err_new(ERR_UNKNOWN, "create: %d", got.status);
		t->keys[i].initial = t->keys[i].watched = value;
		ASSERT(str_to_u64(got.rv, &t->watched_rev));
	}
	return NULL;
}

static struct err *round_run(struct test *t)
{
	struct fiber *watch;
	struct err *e = check(t);

	if (e)
		return e;
	watch = fiber_spawn(fiber_loop(), "watch", watch_run, t);
	e = watch_catch_up(t);
	if (!e)
		e = load_until_kill(t);
	fiber_cancel(watch);
	err_ignore(fiber_join(watch), "it ends with the server");
	fiber_unref(watch);
	if (!e && t->watch_error)
		e = TAKE(t->watch_error);
	t->client = http_client_free(t->client);
	tls_config_unref(t->tls);
	return e ? e : server_start(t);
}

static struct err *free_address(struct test *t, struct arena *a)
{
	int fd = -1;

	TRY(stream_listen(STR("127.0.0.1:0"), &fd));
	t->address = arena_fmt(a, "127.0.0.1:%d", stream_listen_port(fd));
	close(fd);
	return NULL;
}

static struct err *journal_open(struct test *t)
{
	_cleanup_free_ char *file = mem_fmt("%s/journal", t->dir);
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, sizeof(*t->journal)) < 0)
		return err_errno(errno, "create '%s'", file);
	t->journal = mmap(NULL, sizeof(*t->journal), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return t->journal == MAP_FAILED ? err_errno(errno, "map '%s'", file) : NULL;
}

struct args {
	struct test *t;
	int rounds;
};

static struct err *run(void *arg)
{
	struct args *args = arg;
	struct test *t = args->t;
	_cleanup_arena_ struct arena *a = arena_new();
	struct mono start = mono_now();

	waitq_init(&t->seen);
	TRY(free_address(t, a));
	if (t->shim)
		TRY(journal_open(t));
	TRY(first_objects(t));
	for (int i = 0; i < args->rounds; i++)
		TRY(err_wrap(round_run(t), "round %d", i + 1));
	TRY(check(t));
	TRY(server_kill(t));
	printf("crash: %d kills in %lld s: %llu operations, %llu values, %llu events of the watch, "
	       "%llu pages forgotten: nothing lost\n",
	       args->rounds, (long long)(mono_ms_since(start) / 1000), (unsigned long long)t->n_ops,
	       (unsigned long long)t->n_values, (unsigned long long)t->n_events,
	       (unsigned long long)t->n_dropped);
	return NULL;
}

int main(int argc, char **argv)
{
	struct test *t = mem_new(struct test);
	struct args args = { .t = t };
	struct err *e;

	if (argc < 3 || argc > 4 || (args.rounds = (int)strtol(argv[2], NULL, 10)) <= 0) {
		fprintf(stderr, "usage: crash ISOPLANE ROUNDS [DISK-SHIM]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	t->binary = argv[1];
	t->shim = argc > 3 ? argv[3] : NULL;
	t->cap_values = 1024;
	t->expected = mem_zalloc(t->cap_values, sizeof(*t->expected));
	t->n_values = 1; /* 0: before the first */
	snprintf(t->dir, sizeof(t->dir), "/tmp/crash-XXXXXX");
	if (!mkdtemp(t->dir))
		return 1;
	e = fiber_main(run, &args);
	process_free(t->proc);
	if (!e) {
		err_ignore(file_remove_tree(t->dir), "only a leftover");
		free(t->expected);
		free(t);
		return 0;
	}
	fprintf(stderr, "crash: %.*s (all of it is in %s)\n", STR_ARG(err_msg(e)), t->dir);
	return 1;
}
