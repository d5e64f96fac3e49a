/* SPDX-License-Identifier: Apache-2.0 */

#include "node/atomic-writer.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "io/file.h"
#include "testkit/test.h"

static char dir[64];

static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test-atomic-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	err_ignore(file_remove_tree(dir), "in a test");
	return 0;
}

static struct str content(struct arena *a, const char *name)
{
	struct str s;

	assert_no_err(file_read(a, arena_fmt(a, "%s/%s", dir, name).p, 4096, &s));
	return s;
}

static bool exists(struct arena *a, const char *name)
{
	return access(arena_fmt(a, "%s/%s", dir, name).p, F_OK) == 0;
}

static struct str target(struct arena *a, const char *name)
{
	char buf[256];
	ssize_t n = readlink(arena_fmt(a, "%s/%s", dir, name).p, buf, sizeof(buf));

	assert_true(n > 0);
	return arena_str(a, str_make(buf, (size_t)n));
}

static size_t count_entries(void)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

TEST(write_and_replace)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct atomic_file first[] = {
		{ .path = STR_INIT("a"), .data = STR_INIT("1"), .mode = 0644 },
		{ .path = STR_INIT("sub/b"), .data = STR_INIT("2"), .mode = 0400 },
	};
	const struct atomic_file second[] = {
		{ .path = STR_INIT("a"), .data = STR_INIT("one"), .mode = 0644 },
		{ .path = STR_INIT("c"), .data = STR_INIT("3"), .mode = 0600 },
	};
	struct str before;
	struct stat st;

	assert_no_err(atomic_write(a, dir, first, 2, (gid_t)-1));
	assert_str(content(a, "a"), "1");
	assert_str(content(a, "sub/b"), "2");
	assert_str(target(a, "a"), "..data/a");
	assert_int_equal(stat(arena_fmt(a, "%s/sub/b", dir).p, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0400);

	before = target(a, "..data");
	assert_no_err(atomic_write(a, dir, first, 2, (gid_t)-1));
	assert_true(str_eq(before, target(a, "..data"))); /* nothing changed, nothing written */

	assert_no_err(atomic_write(a, dir, second, 2, (gid_t)-1));
	assert_str(content(a, "a"), "one");
	assert_str(content(a, "c"), "3");
	assert_false(exists(a, "sub"));
	assert_false(exists(a, before.p));
	assert_int_equal(count_entries(), 4); /* a, c, ..data and its directory */
}

TEST(no_way_out)
{
	static const char *const bad[] = { "", "/etc/passwd", "../x", "a/../../x", "..", "..data" };
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const struct atomic_file f = { .path = str_from(bad[i]), .mode = 0644 };

		assert_err(atomic_write(a, dir, &f, 1, (gid_t)-1), ERR_INVALID);
	}
	assert_int_equal(count_entries(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_write_and_replace, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_way_out, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
