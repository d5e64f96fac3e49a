/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/err.h"
#include "client/rest.h"
#include "io/loop.h"
#include "io/websocket.h"
#include "virt/virtctl/virtctl.h"

/*
 * The serial console: the terminal in raw mode on one side, a WebSocket on the other. Ends at the
 * escape character, at the end of the input, at an interrupt, or when the guest's side ends.
 * Standard input need not be a terminal.
 */

#define ESCAPE          29 /* Ctrl+] and Ctrl+5 */
#define RETRY_MS        1000
#define DEFAULT_MINUTES 5
#define READ_SIZE       1024

struct console {
	struct virtctl *v;
	struct websocket *ws;
	bool user_ended; /* escape, end of input or interrupt: no error */
	struct signal_source interrupt;
	struct fiber *main;
	struct termios saved;
	bool raw;
};

static const char *const protocols[] = { "plain.kubevirt.io", NULL };

/* connecting */

/* BadRequest means "not running yet": wait for it, as long as --timeout says. */
static struct err *connect_console(struct console *c)
{
	struct virtctl *v = c->v;
	struct str path = virtctl_path(v, "virtualmachineinstances", v->args[0], "console");
	int64_t limit = virtctl_int(v, CONSOLE_TIMEOUT, DEFAULT_MINUTES) * 60 * 1000;
	struct mono begin = mono_now();

	for (;;) {
		struct err *e = client_websocket(v->client, path, protocols, &c->ws);

		if (!e || !err_is(e, ERR_BAD_REQUEST))
			return e;
		err_ignore(e, "asked again until the time is over");
		if (mono_ms_since(begin) >= limit)
			return err_new(ERR_TIMEOUT, "Timeout trying to connect to the virtual "
						    "machine instance");
		TRY(fiber_sleep_ms(RETRY_MS));
	}
}

/* the terminal */

static struct err *enter_raw(struct console *c)
{
	struct termios t;

	if (!isatty(STDIN_FILENO))
		return NULL;
	if (tcgetattr(STDIN_FILENO, &c->saved))
		return err_errno(errno, "make raw terminal failed");
	t = c->saved;
	cfmakeraw(&t);
	if (tcsetattr(STDIN_FILENO, TCSANOW, &t))
		return err_errno(errno, "make raw terminal failed");
	c->raw = true;
	return NULL;
}

static void leave_raw(struct console *c)
{
	if (c->raw && tcsetattr(STDIN_FILENO, TCSANOW, &c->saved))
		fprintf(stderr, "failed to restore terminal: %s\n", strerror(errno));
	c->raw = false;
}

/* the two directions */

/* Regular files and /dev/null are always ready, and cannot be waited for. */
static bool can_wait(int fd)
{
	struct stat st;

	return isatty(fd) ||
	       (fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)));
}

static struct err *read_keys(struct console *c)
{
	bool wait = can_wait(STDIN_FILENO);
	char buf[READ_SIZE];
	ssize_t n;

	for (;;) {
		if (wait)
			TRY(fiber_wait_fd(STDIN_FILENO, IO_READABLE));
		n = read(STDIN_FILENO, buf, sizeof(buf));
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return err_errno(errno, "standard input");
		if (n == 0 || buf[0] == ESCAPE)
			return NULL;
		TRY(websocket_write(c->ws, str_make(buf, (size_t)n), false));
	}
}

static struct err *write_all(struct str s)
{
	while (s.n) {
		ssize_t n = write(STDOUT_FILENO, s.p, s.n);

		if (n < 0 && errno == EAGAIN) {
			TRY(fiber_wait_fd(STDOUT_FILENO, IO_WRITABLE));
			continue;
		}
		if (n < 0 && errno != EINTR)
			return err_errno(errno, "standard output");
		if (n > 0)
			s = str_skip(s, (size_t)n);
	}
	return NULL;
}

static struct err *keys_fiber(void *arg)
{
	struct console *c = arg;

	TRY(read_keys(c));
	c->user_ended = true;
	return err_new(ERR_CANCELED, "ended by the user");
}

static struct err *screen_fiber(void *arg)
{
	struct console *c = arg;
	struct str data;
	bool end = false;

	for (;;) {
		TRY(websocket_read(c->ws, &data, &end));
		if (end)
			return err_new(ERR_IO, "websocket: close 1006 (abnormal closure): "
					       "unexpected EOF");
		TRY(write_all(data));
	}
}

static void on_interrupt(struct signal_source *s, int signo)
{
	struct console *c = container_of(s, struct console, interrupt);

	c->user_ended = true;
	fiber_cancel(c->main);
}

static struct err *attach(void *arg)
{
	struct console *c = arg;
	struct fiber_group *g;

	TRY(connect_console(c));
	TRY(enter_raw(c));
	fprintf(stderr,
		"Successfully connected to " STR_FMT
		" console. Press Ctrl+] or Ctrl+5 to exit console.\n",
		STR_ARG(c->v->args[0]));
	g = fiber_group_new();
	fiber_group_add(g, "keys", keys_fiber, c);
	fiber_group_add(g, "screen", screen_fiber, c);
	return fiber_group_join(g);
}

static void tell_disconnected(void)
{
	fputs("\nYou were disconnected from the console. This could be caused by one of the "
	      "following:"
	      "\n - the target VM was powered off"
	      "\n - another user connected to the console of the target VM"
	      "\n - network issues\n",
	      stderr);
}

struct err *virtctl_console(struct virtctl *v)
{
	struct console c = { .v = v, .interrupt = { .fn = on_interrupt } };
	bool connected;
	struct err *e;

	c.main = fiber_spawn(fiber_loop(), "console", attach, &c);
	signal_source_add(fiber_loop(), &c.interrupt, SIGINT);
	e = fiber_join(c.main);
	signal_source_del(&c.interrupt);
	c.main = fiber_unref(c.main);
	leave_raw(&c);
	connected = c.ws != NULL;
	c.ws = websocket_free(c.ws);
	if (c.user_ended) {
		err_ignore(e, "that is how it ends");
		return NULL;
	}
	if (e && connected)
		tell_disconnected();
	return e;
}
