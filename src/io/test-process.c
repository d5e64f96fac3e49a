/* SPDX-License-Identifier: Apache-2.0 */
#include "io/process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/fiber.h"
#include "testkit/test.h"

#define SH(script) ((const char *const[]){ "sh", "-c", script, NULL })

FIBER_TEST(run_table)
{
	static const struct {
		const char *script, *input, *out;
		const char *error; /* part of the message */
	} rows[] = {
		{ "printf hello", "", "hello", NULL },
		{ "cat; echo done", "a\nb\n", "a\nb\ndone\n", NULL },
		{ "exit 0", "not read", "", NULL },
		{ "echo why >&2; exit 3", "", NULL, "exit status 3: why" },
		{ "kill -9 $$", "", NULL, "killed by signal 9" },
		{ "head -c 2000 /dev/zero", "", NULL, "more than 1000 bytes" },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str out;
		struct err *e =
			process_run(a, SH(rows[i].script), str_from(rows[i].input), 1000, &out);

		if (!rows[i].error) {
			assert_no_err(e);
			assert_str(out, rows[i].out);
			continue;
		}
		if (!e || !str_contains(err_msg(e), str_from(rows[i].error)))
			fail_msg("row %zu: not '%s'", i, rows[i].error);
		err_free(e);
	}
	return NULL;
}

FIBER_TEST(large_input_and_output)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *const argv[] = { "cat", NULL };
	const size_t n = 1 << 20;
	char *p = arena_alloc(a, n);
	struct str out;

	memset(p, 'x', n);
	TRY(process_run(a, argv, str_make(p, n), n, &out));
	assert_true(str_eq(out, str_make(p, n)));
	return NULL;
}

FIBER_TEST(what_cannot_start)
{
	static const char *const argv[] = { "/nonexistent/program", NULL };
	struct process_opts o = { .argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1 };
	struct process *p;

	assert_err(process_start(&o, &p), ERR_NOT_FOUND);
	o.argv = SH("exit 0");
	o.cwd = "/nonexistent";
	assert_err(process_start(&o, &p), ERR_NOT_FOUND);
	return NULL;
}

FIBER_TEST(status_and_signals)
{
	struct process_opts o = {
		.argv = SH("exec sleep 60"), .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1
	};
	struct process *p;
	struct mono old;
	int status;

	TRY(process_start(&o, &p));
	assert_false(process_exited(p, &status));
	old = fiber_limit_ms(5);
	assert_err(process_wait(p, &status), ERR_TIMEOUT);
	fiber_restore_deadline(old);
	process_kill(p, SIGTERM);
	TRY(process_wait(p, &status));
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	assert_true(process_exited(p, &status));
	process_kill(p, SIGTERM);
	process_free(p);
	/* a running one is killed */
	TRY(process_start(&o, &p));
	process_free(p);
	return NULL;
}

FIBER_TEST(descriptors_are_passed_and_no_others)
{
	struct process_opts o = { .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1 };
	struct process *p;
	char buf[8] = "";
	int status, leak, in[2], fds[2], pass[2];

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(fds), 0);
	leak = dup(fds[1]); /* without close-on-exec */
	/* crosswise: 3 is the write end, 4 the read end, whatever they were */
	pass[0] = fds[1];
	pass[1] = in[0];
	o.pass_fds = pass;
	o.n_pass_fds = 2;
	o.argv = SH("read x <&4; ls /proc/self/fd | grep -qx 40 && exit 7; echo got $x >&3");
	assert_int_equal(dup2(leak, 40), 40);
	TRY(process_start(&o, &p));
	assert_int_equal(write(in[1], "1\n", 2), 2);
	TRY(process_wait(p, &status));
	assert_int_equal(status, 0);
	assert_int_equal(read(fds[0], buf, sizeof(buf)), 6);
	assert_string_equal(buf, "got 1\n");
	process_free(p);
	for (int i = 0; i < 2; i++) {
		close(in[i]);
		close(fds[i]);
	}
	close(leak);
	close(40);
	return NULL;
}

FIBER_TEST(user_and_capabilities)
{
	struct process_opts o = { .stdin_fd = -1,
				  .stderr_fd = -1,
				  .set_uid = true,
				  .uid = 54321,
				  .gid = 54322,
				  .pdeathsig = true,
				  .keep_caps = UINT64_C(1) << 10 /* CAP_NET_BIND_SERVICE */ };
	struct process *p;
	char buf[512];
	ssize_t n;
	int status, fds[2];

	if (getuid() != 0)
		return NULL;
	assert_int_equal(pipe(fds), 0);
	o.stdout_fd = fds[1];
	o.argv = SH("id -u; id -g; grep -E '^Cap(Eff|Amb)' /proc/self/status");
	TRY(process_start(&o, &p));
	TRY(process_wait(p, &status));
	assert_int_equal(status, 0);
	n = read(fds[0], buf, sizeof(buf));
	assert_true(n > 0);
	assert_str(str_make(buf, (size_t)n), "54321\n54322\nCapEff:\t0000000000000400\n"
					     "CapAmb:\t0000000000000400\n");
	process_free(p);
	close(fds[0]);
	close(fds[1]);
	return NULL;
}

FIBER_TEST(program_by_descriptor)
{
	const char *const argv[] = { "another name", "-c", "exit 7", NULL };
	struct process_opts o = {
		.argv = argv,
		.exec_fd = open("/bin/sh", O_RDONLY | O_CLOEXEC),
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = -1,
	};
	struct process *p;
	int status;

	assert_true(o.exec_fd > 0);
	TRY(process_start(&o, &p));
	TRY(process_wait(p, &status));
	assert_int_equal(WEXITSTATUS(status), 7);
	process_free(p);
	close(o.exec_fd);
	return NULL;
}

TEST_MAIN(T(run_table), T(large_input_and_output), T(what_cannot_start), T(status_and_signals),
	  T(descriptors_are_passed_and_no_others), T(user_and_capabilities),
	  T(program_by_descriptor))
