/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/handler/launcher-conn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/stream.h"
#include "virt/launcher-api.h"
#include "virt/launcher/jsonl.h"
#include "json/json.h"

#define CONN_OPEN_MS 5000
#define CONN_CALL_MS 60000

/* A command in flight, on its fiber's stack. */
struct conn_pending {
	struct list link;
	int64_t id;
	struct arena *arena;
	struct json *reply;
	bool done;
	struct waitq wait;
};

struct launcher_conn {
	struct jsonl line;
	struct list pending;
	int64_t last_id;
	bool closed;
	unsigned users; /* calls under way */
	struct waitq idle;
	struct fiber *reader;
	int netns, root;
	struct arena *domain_arena;
	struct json *domain;
	void (*changed)(void *ctx);
	void *ctx;
};

static void conn_set_domain(struct launcher_conn *c, const struct json *domain)
{
	struct arena *a;

	if (!domain || json_equal(domain, c->domain))
		return;
	a = arena_new();
	c->domain = json_copy(a, domain);
	arena_free(c->domain_arena);
	c->domain_arena = a;
	c->changed(c->ctx);
}

static void conn_reply(struct launcher_conn *c, const struct json *msg)
{
	int64_t id = json_int_at(msg, "id", -1);
	struct conn_pending *p;

	list_for_each(p, &c->pending, link) {
		if (p->id != id)
			continue;
		p->reply = json_copy(p->arena, msg);
		p->done = true;
		waitq_wake_all(&p->wait);
	}
	conn_set_domain(c, json_get(msg, "error") ? json_get(msg, "domain")
						  : json_at(msg, "result.domain"));
}

static struct err *conn_read_all(struct launcher_conn *c)
{
	for (;;) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *msg = NULL;

		TRY(jsonl_read(&c->line, a, &msg));
		if (!msg)
			return NULL;
		if (json_get(msg, "event"))
			conn_set_domain(c, json_get(msg, "domain"));
		else
			conn_reply(c, msg);
	}
}

static void conn_close(struct launcher_conn *c)
{
	struct conn_pending *p;

	c->closed = true;
	list_for_each(p, &c->pending, link)
		waitq_wake_all(&p->wait);
}

static struct err *conn_reader(void *arg)
{
	struct launcher_conn *c = arg;
	struct err *e = conn_read_all(c);

	conn_close(c);
	c->changed(c->ctx);
	return e;
}

/* Through /proc/self/fd, since the path is too long for a socket address and no link may be
 * followed. */
static struct err *conn_connect(int sockets_dir, int *ret_fd, struct stream **ret)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct err *e;
	int fd;

	TRY(file_open_beneath(sockets_dir, LAUNCHER_SOCKET, O_PATH | O_CLOEXEC, 0, &fd));
	e = stream_connect(arena_fmt(a, "unix:/proc/self/fd/%d", fd), NULL, STR_EMPTY, ret);
	if (e)
		close(fd);
	else
		*ret_fd = fd;
	return e;
}

/* Does a process with this root directory see our socket where a launcher has it? */
static bool conn_root_has_socket(int root, int socket)
{
	struct stat ours, theirs;
	int fd;
	/* /var/run is a link to /run in the launcher's image. */
	struct err *e = file_open_beneath(root, "run/kubevirt/sockets/" LAUNCHER_SOCKET,
					  O_PATH | O_CLOEXEC, 0, &fd);
	bool same;

	if (e) {
		err_ignore(e, "not the launcher's root then");
		return false;
	}
	same = fstat(socket, &ours) == 0 && fstat(fd, &theirs) == 0 &&
	       ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
	close(fd);
	return same;
}

/*
 * The namespaces of the process that listens. Its pid may have become another process's meanwhile,
 * which a tenant can bring about: all is read from one process, and it must be one of this Pod.
 */
static struct err *conn_open_process(struct launcher_conn *c, int socket)
{
	struct stream_peer_cred cred;
	char path[64];
	int proc;

	if (!stream_peer_cred(c->line.st, &cred) || (cred.uid != LAUNCHER_UID && cred.uid != 0) ||
	    cred.pid <= 0)
		return err_new(ERR_FORBIDDEN, "the launcher's socket is not the launcher's");
	snprintf(path, sizeof(path), "/proc/%d", cred.pid);
	proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return err_errno(errno, "the launcher's process %d", cred.pid);
	c->netns = openat(proc, "ns/net", O_RDONLY | O_CLOEXEC);
	c->root = openat(proc, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	close(proc);
	if (c->netns < 0 || c->root < 0)
		return err_errno(errno, "the launcher's process %d", cred.pid);
	if (!conn_root_has_socket(c->root, socket))
		return err_new(ERR_FORBIDDEN, "process %d is not this launcher", cred.pid);
	return NULL;
}

struct err *launcher_conn_open(const struct launcher_conn_opts *opts, struct launcher_conn **ret)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct launcher_conn *c;
	struct stream *st;
	struct mono old;
	struct err *e;
	int socket;

	TRY(conn_connect(opts->sockets_dir, &socket, &st));
	c = mem_new(struct launcher_conn);
	c->netns = c->root = -1;
	c->changed = opts->changed;
	c->ctx = opts->ctx;
	list_init(&c->pending);
	waitq_init(&c->idle);
	jsonl_init(&c->line, st, LAUNCHER_MAX_LINE);
	old = fiber_limit_ms(CONN_OPEN_MS);
	e = conn_open_process(c, socket);
	close(socket);
	if (!e) {
		c->reader = fiber_spawn(fiber_loop(), "launcher-conn", conn_reader, c);
		e = launcher_conn_call(c, a, "info", NULL);
	}
	fiber_restore_deadline(old);
	if (e) {
		launcher_conn_free(c);
		return e;
	}
	*ret = c;
	return NULL;
}

struct launcher_conn *launcher_conn_free(struct launcher_conn *c)
{
	if (!c)
		return NULL;
	fiber_mask_cancel();
	conn_close(c);
	if (c->reader) {
		fiber_cancel(c->reader);
		err_ignore(fiber_join(c->reader), "the connection is being closed");
		fiber_unref(c->reader);
	}
	/* Other fibers may be in a call: they find it closed and leave. */
	while (c->users)
		err_ignore(waitq_wait(&c->idle), "masked");
	fiber_unmask_cancel();
	jsonl_fini(&c->line);
	if (c->netns >= 0)
		close(c->netns);
	if (c->root >= 0)
		close(c->root);
	arena_free(c->domain_arena);
	free(c);
	return NULL;
}

static struct err *conn_exchange(struct launcher_conn *c, struct conn_pending *p,
				 const struct json *msg)
{
	TRY(jsonl_write(&c->line, msg));
	while (!p->done && !c->closed)
		TRY(waitq_wait(&p->wait));
	return p->done ? NULL : err_new(ERR_IO, "the launcher is gone");
}

/* An error of the launcher's, with its status. */
static struct err *conn_refusal(const struct json *error)
{
	int status = (int)json_int_at(error, "code", 500);
	enum err_code code = err_code_from_reason(STR_EMPTY, status);

	return err_new(code == ERR_UNKNOWN ? ERR_INTERNAL : code, STR_FMT,
		       STR_ARG(json_str_at(error, "message")));
}

struct err *launcher_conn_call(struct launcher_conn *c, struct arena *a, const char *command,
			       struct json *args)
{
	struct conn_pending p = { .id = ++c->last_id, .arena = a };
	struct json *msg = args ? args : json_object(a);
	struct mono old;
	struct err *e;

	if (c->closed)
		return err_new(ERR_IO, "the launcher is gone");
	json_set_int(a, msg, "id", p.id);
	json_set_str(a, msg, "cmd", str_from(command));
	waitq_init(&p.wait);
	list_push_back(&c->pending, &p.link);
	old = fiber_limit_ms(CONN_CALL_MS);
	c->users++;
	e = conn_exchange(c, &p, msg);
	list_unlink(&p.link);
	c->users--;
	waitq_wake_all(&c->idle);
	fiber_restore_deadline(old);
	if (e)
		return err_wrap(e, "launcher: %s", command);
	if (json_get(p.reply, "error"))
		return conn_refusal(json_get(p.reply, "error"));
	return NULL;
}

bool launcher_conn_is_closed(const struct launcher_conn *c)
{
	return c->closed;
}

const struct json *launcher_conn_domain(const struct launcher_conn *c)
{
	return c->domain;
}

int launcher_conn_netns(const struct launcher_conn *c)
{
	return c->netns;
}

int launcher_conn_root(const struct launcher_conn *c)
{
	return c->root;
}
