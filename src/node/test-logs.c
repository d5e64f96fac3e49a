/* SPDX-License-Identifier: Apache-2.0 */

#include "node/logs.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "io/fiber.h"
#include "testkit/test.h"

static const char text[] = "2026-01-01T00:00:01.000000001Z stdout F one\n"
			   "2026-01-01T00:00:02.000000001Z stderr P tw\n"
			   "2026-01-01T00:00:02.500000001Z stderr F o\n"
			   "not a log line\n"
			   "2026-01-01T00:00:03.000000001Z stdout F three\n";

static char path[] = "/tmp/test-logs-XXXXXX";

struct reading {
	struct buf out;
	int polls;
};

static struct err *take(void *ctx, struct str data)
{
	struct reading *r = ctx;

	buf_add(&r->out, data);
	return NULL;
}

static void write_file(const char *name, const char *mode, const char *what)
{
	FILE *f = fopen(name, mode);

	assert_non_null(f);
	fputs(what, f);
	fclose(f);
}

static struct err *fiber_table(void *arg)
{
	static const struct {
		struct log_opts opts;
		const char *out;
	} rows[] = {
		{ { .tail = -1, .limit_bytes = -1 }, "one\ntwo\nthree\n" },
		{ { .tail = 1, .limit_bytes = -1 }, "three\n" },
		{ { .tail = 0, .limit_bytes = -1 }, "" },
		{ { .tail = 100, .limit_bytes = -1 }, "one\ntwo\nthree\n" },
		{ { .tail = -1, .limit_bytes = 5 }, "one\nt" },
		{ { .tail = -1, .limit_bytes = 0 }, "" },
		{ { .tail = 1, .limit_bytes = -1, .timestamps = true },
		  "2026-01-01T00:00:03.000000001Z three\n" },
		{ { .tail = -1, .limit_bytes = -1, .since = { 1767225603 * NS_PER_SEC } },
		  "three\n" },
	};

	(void)arg;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct reading r = { 0 };
		const struct log_sink sink = { take, NULL, &r };

		TRY(logs_read(path, &rows[i].opts, &sink));
		if (!str_eqz(buf_str(&r.out), rows[i].out))
			fail_msg("row %zu: %.*s", i, STR_ARG(buf_str(&r.out)));
		buf_fini(&r.out);
	}
	return NULL;
}

TEST(options)
{
	write_file(path, "w", text);
	assert_no_err(fiber_main(fiber_table, NULL));
}

/* Goes on after the file was rotated away, and ends when the container has. */
static bool alive_with_rotation(void *ctx)
{
	struct reading *r = ctx;
	_cleanup_arena_ struct arena *a = arena_new();

	switch (r->polls++) {
	case 1:
		write_file(path, "a", "2026-01-01T00:00:04Z stdout F four\n");
		rename(path, arena_fmt(a, "%s.1", path).p);
		write_file(path, "w", "2026-01-01T00:00:05Z stdout F five\n");
		return true;
	case 3:
		return false;
	default:
		return true;
	}
}

static struct err *fiber_follow(void *arg)
{
	struct reading r = { 0 };
	const struct log_sink sink = { take, alive_with_rotation, &r };
	const struct log_opts opts = { .follow = true, .tail = 1, .limit_bytes = -1 };
	struct err *e = logs_read(path, &opts, &sink);

	(void)arg;
	assert_str(buf_str(&r.out), "three\nfour\nfive\n");
	buf_fini(&r.out);
	return e;
}

TEST(follow_over_a_rotation)
{
	_cleanup_arena_ struct arena *a = arena_new();

	write_file(path, "w", text);
	assert_no_err(fiber_main(fiber_follow, NULL));
	unlink(arena_fmt(a, "%s.1", path).p);
}

static struct err *fiber_absent(void *arg)
{
	const struct log_sink sink = { take, NULL, NULL };
	const struct log_opts opts = { .tail = -1, .limit_bytes = -1 };

	(void)arg;
	return logs_read("/tmp/no-such-log", &opts, &sink);
}

TEST(absent_file)
{
	assert_err(fiber_main(fiber_absent, NULL), ERR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = { T(options), T(follow_over_a_rotation), T(absent_file) };
	int fd = mkstemp(path), rc;

	close(fd);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return rc;
}
