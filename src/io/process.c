/* SPDX-License-Identifier: Apache-2.0 */
#include "io/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/loop.h"
#include "io/stream.h"

/*
 * The child reports through a close-on-exec pipe: nothing when exec worked, otherwise which
 * step failed and errno. Everything it needs is prepared before the fork.
 *
 * A child that is freed while running is killed and reaped at once; a detached one lives on,
 * and becomes init's when we end.
 */

#define STDERR_TAIL 2048

struct process {
	pid_t pid;
	int pidfd;
	bool detached, exited;
	int status; /* as from waitpid */
};

/* steps of the child that may fail; sent as one byte */
enum child_step {
	STEP_CWD,
	STEP_FDS,
	STEP_SESSION,
	STEP_USER,
	STEP_CAPS,
	STEP_DEATHSIG,
	STEP_EXEC
};
static const char *const step_names[] = {
	"change directory",  "pass descriptors",     "start a session", "change user",
	"keep capabilities", "set the death signal", "execute",
};

struct child_report {
	int error;
	enum child_step step;
};

static void process_close(int *fd)
{
	if (*fd >= 0)
		close(TAKE_FD(*fd));
}
#define _cleanup_fd_ _cleanup_(process_close)

/* in the child: only async-signal-safe calls from here on */

NORETURN static void child_fail(int report_fd, enum child_step step)
{
	const struct child_report r = { .error = errno, .step = step };
	ssize_t n = write(report_fd, &r, sizeof(r));

	(void)n;
	_exit(127);
}

/*
 * Puts src[i] at descriptor i for i < n and closes the rest but *report_fd. First all are
 * copied above the range, so that none overwrites another.
 */
static bool child_place_fds(const int *src, int *moved, size_t n, int *report_fd)
{
	int high = (int)n + 1;

	for (size_t i = 0; i < n; i++) {
		moved[i] = fcntl(src[i], F_DUPFD_CLOEXEC, high);
		if (moved[i] < 0)
			return false;
	}
	*report_fd = fcntl(*report_fd, F_DUPFD_CLOEXEC, high);
	if (*report_fd < 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (dup2(moved[i], (int)i) < 0)
			return false;
	/* What others forgot to mark; the report closes itself. */
	return close_range((unsigned)n, ~0u, CLOSE_RANGE_CLOEXEC) == 0 || errno == ENOSYS;
}

static bool child_set_caps(uint64_t caps)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	for (int i = 0; i < 2; i++) {
		const uint32_t bits = (uint32_t)(caps >> (32 * i));

		data[i] = (struct __user_cap_data_struct){ bits, bits, bits };
	}
	if (syscall(SYS_capset, &header, data) < 0)
		return false;
	for (unsigned long i = 0; i < 64; i++)
		if ((caps & (UINT64_C(1) << i)) &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) < 0)
			return false;
	return true;
}

static void child_change_user(const struct process_opts *o, int report_fd)
{
	if (!o->set_uid)
		return;
	if (o->keep_caps && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		child_fail(report_fd, STEP_CAPS);
	if (setgroups(0, NULL) < 0 || setresgid(o->gid, o->gid, o->gid) < 0 ||
	    setresuid(o->uid, o->uid, o->uid) < 0)
		child_fail(report_fd, STEP_USER);
	if (o->keep_caps && !child_set_caps(o->keep_caps))
		child_fail(report_fd, STEP_CAPS);
}

static void child_reset_signals(void)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int s = 1; s < _NSIG; s++)
		sigaction(s, &sa, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static const char *const *process_environ(void)
{
	return (const char *const *)(uintptr_t)environ;
}

NORETURN static void child_run(const struct process_opts *o, const int *fds, int *moved,
			       size_t n_fds, int report_fd, pid_t parent)
{
	int exec_fd = -1;

	child_reset_signals();
	/* Out of the way of the descriptors that are placed below. */
	if (o->exec_fd > 0) {
		exec_fd = fcntl(o->exec_fd, F_DUPFD_CLOEXEC, (int)n_fds + 2);
		if (exec_fd < 0)
			child_fail(report_fd, STEP_FDS);
	}
	if (o->new_session && setsid() < 0)
		child_fail(report_fd, STEP_SESSION);
	if (o->cwd && chdir(o->cwd) < 0)
		child_fail(report_fd, STEP_CWD);
	if (!child_place_fds(fds, moved, n_fds, &report_fd))
		child_fail(report_fd, STEP_FDS);
	child_change_user(o, report_fd);
	if (o->pdeathsig) {
		/* After the change of user, which clears it; the parent may be gone already. */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
			child_fail(report_fd, STEP_DEATHSIG);
		if (getppid() != parent)
			_exit(127);
	}
	if (exec_fd >= 0)
		syscall(SYS_execveat, exec_fd, "", o->argv, o->envp ? o->envp : process_environ(),
			AT_EMPTY_PATH);
	else
		execvpe(o->argv[0], (char *const *)(uintptr_t)o->argv,
			o->envp ? (char *const *)(uintptr_t)o->envp : environ);
	child_fail(report_fd, STEP_EXEC);
}

/* in the parent */

static struct err *process_read_report(int fd, const char *argv0)
{
	struct child_report r;
	ssize_t n;

	/* Short: the child has nothing to wait for before its exec. */
	do
		n = read(fd, &r, sizeof(r));
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return NULL;
	if (n != sizeof(r))
		return err_new(ERR_INTERNAL, "start %s: the child died early", argv0);
	if (r.step == STEP_EXEC)
		return err_errno(r.error, "execute %s", argv0);
	return err_errno(r.error, "start %s: %s", argv0, step_names[r.step]);
}

static struct process *process_new(pid_t pid, bool detached)
{
	struct process *p = mem_new(struct process);

	p->pid = pid;
	p->detached = detached;
	/* Of a child that is not reaped yet, so the pid cannot be another's. */
	p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	ASSERT(p->pidfd >= 0);
	return p;
}

struct err *process_start(const struct process_opts *o, struct process **ret)
{
	_cleanup_fd_ int null_fd = -1, read_fd = -1, write_fd = -1;
	_cleanup_free_ int *fds = mem_zalloc(2 * (3 + o->n_pass_fds), sizeof(int));
	const size_t n_fds = 3 + o->n_pass_fds;
	const pid_t parent = getpid();
	sigset_t all, old;
	struct err *e;
	int report[2];
	pid_t pid;

	PRE(o->argv && o->argv[0]);
	if (o->stdin_fd < 0) {
		null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (null_fd < 0)
			return err_errno(errno, "open /dev/null");
	}
	if (pipe2(report, O_CLOEXEC) < 0)
		return err_errno(errno, "make a pipe");
	read_fd = report[0];
	write_fd = report[1];
	fds[0] = o->stdin_fd < 0 ? null_fd : o->stdin_fd;
	fds[1] = o->stdout_fd < 0 ? STDOUT_FILENO : o->stdout_fd;
	fds[2] = o->stderr_fd < 0 ? STDERR_FILENO : o->stderr_fd;
	for (size_t i = 0; i < o->n_pass_fds; i++)
		fds[3 + i] = o->pass_fds[i];
	/* No handler of ours may run in the child. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (pid == 0)
		child_run(o, fds, fds + n_fds, n_fds, write_fd, parent);
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		return err_errno(errno, "fork");
	process_close(&write_fd);
	e = process_read_report(read_fd, o->argv[0]);
	if (e) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return e;
	}
	*ret = process_new(pid, o->new_session);
	return NULL;
}

pid_t process_pid(const struct process *p)
{
	return p->pid;
}

/* Collects the status if it ended. */
static bool process_poll(struct process *p)
{
	pid_t r;

	if (p->exited)
		return true;
	do
		r = waitpid(p->pid, &p->status, WNOHANG);
	while (r < 0 && errno == EINTR);
	if (r == p->pid)
		p->exited = true;
	return p->exited;
}

struct err *process_wait(struct process *p, int *ret_status)
{
	while (!process_poll(p))
		TRY(fiber_wait_fd(p->pidfd, IO_READABLE));
	*ret_status = p->status;
	return NULL;
}

bool process_exited(const struct process *p, int *ret_status)
{
	siginfo_t info = { 0 };

	if (p->exited) {
		*ret_status = p->status;
		return true;
	}
	/* Only looks: collecting would change p. */
	if (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || !info.si_pid)
		return false;
	*ret_status = info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status;
	return true;
}

void process_kill(struct process *p, int signo)
{
	if (!p->exited)
		syscall(SYS_pidfd_send_signal, p->pidfd, signo, NULL, 0);
}

struct process *process_free(struct process *p)
{
	if (!p)
		return NULL;
	if (!process_poll(p) && !p->detached) {
		process_kill(p, SIGKILL);
		while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(p->pidfd);
	free(p);
	return NULL;
}

void process_freep(struct process **p)
{
	process_free(*p);
}

/* run to the end */

struct run {
	struct stream *in, *out, *err;
	struct str input;
	size_t max_out;
	struct buf out_buf, err_tail;
};

static struct err *run_feed(void *arg)
{
	struct run *r = arg;
	struct err *e = stream_write(r->in, r->input);

	/* A child need not read all it is given. */
	if (e && !err_is(e, ERR_CANCELED) && !err_is(e, ERR_TIMEOUT))
		e = err_free(e);
	r->in = stream_free(r->in);
	return e;
}

static struct err *run_collect_out(void *arg)
{
	struct run *r = arg;
	char chunk[4096];
	size_t n;

	for (;;) {
		TRY(stream_read(r->out, chunk, sizeof(chunk), &n));
		if (!n)
			return NULL;
		if (r->out_buf.n + n > r->max_out)
			return err_new(ERR_TOO_LARGE, "more than %zu bytes of output", r->max_out);
		buf_add(&r->out_buf, str_make(chunk, n));
	}
}

static struct err *run_collect_err(void *arg)
{
	struct run *r = arg;
	char chunk[1024];
	size_t n;

	for (;;) {
		TRY(stream_read(r->err, chunk, sizeof(chunk), &n));
		if (!n)
			return NULL;
		buf_add(&r->err_tail, str_make(chunk, n));
		if (r->err_tail.n > 2 * STDERR_TAIL)
			buf_consume(&r->err_tail, r->err_tail.n - STDERR_TAIL);
	}
}

static struct err *run_result(const char *argv0, int status, struct str tail)
{
	tail = str_trim(tail.n > STDERR_TAIL ? str_skip(tail, tail.n - STDERR_TAIL) : tail);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return NULL;
	if (WIFSIGNALED(status))
		return err_new(ERR_INTERNAL, "%s: killed by signal %d%s" STR_FMT, argv0,
			       WTERMSIG(status), tail.n ? ": " : "", STR_ARG(tail));
	return err_new(ERR_INTERNAL, "%s: exit status %d%s" STR_FMT, argv0, WEXITSTATUS(status),
		       tail.n ? ": " : "", STR_ARG(tail));
}

/* The three pipes; the child's ends are in ret_child. */
static struct err *run_open_pipes(struct run *r, int *ret_child)
{
	struct stream **const ours[] = { &r->in, &r->out, &r->err };

	for (int i = 0; i < 3; i++) {
		int fds[2];

		if (pipe2(fds, O_CLOEXEC) < 0)
			return err_errno(errno, "make a pipe");
		*ours[i] = stream_from_fd(fds[i == 0]);
		ret_child[i] = fds[i != 0];
	}
	return NULL;
}

static struct err *run_all(struct run *r, struct process *p, int *ret_status)
{
	struct fiber_group *g = fiber_group_new();

	fiber_group_add(g, "process input", run_feed, r);
	fiber_group_add(g, "process output", run_collect_out, r);
	fiber_group_add(g, "process errors", run_collect_err, r);
	TRY(fiber_group_join(g));
	return process_wait(p, ret_status);
}

static struct err *run_start(struct run *r, const char *const *argv, struct process **ret)
{
	struct process_opts o = { .argv = argv };
	int child[3] = { -1, -1, -1 };
	struct err *e = run_open_pipes(r, child);

	o.stdin_fd = child[0];
	o.stdout_fd = child[1];
	o.stderr_fd = child[2];
	if (!e)
		e = process_start(&o, ret);
	for (int i = 0; i < 3; i++)
		process_close(&child[i]);
	return e;
}

struct err *process_run(struct arena *a, const char *const *argv, struct str input, size_t max_out,
			struct str *ret_out)
{
	struct run r = { .input = input, .max_out = max_out };
	_cleanup_(process_freep) struct process *p = NULL;
	struct err *e;
	int status;

	e = run_start(&r, argv, &p);
	if (!e) {
		e = run_all(&r, p, &status);
		if (e)
			e = err_wrap(e, "%s", argv[0]);
		else
			e = run_result(argv[0], status, buf_str(&r.err_tail));
	}
	if (!e && ret_out)
		*ret_out = buf_to_arena(&r.out_buf, a);
	stream_free(r.in);
	stream_free(r.out);
	stream_free(r.err);
	buf_fini(&r.out_buf);
	buf_fini(&r.err_tail);
	return e;
}
