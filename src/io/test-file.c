/* SPDX-License-Identifier: Apache-2.0 */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testkit/test.h"

static char dir[] = "/tmp/isoplane-test-file-XXXXXX";
static struct arena *a;

static const char *in_dir(const char *name)
{
	return arena_strz(a, arena_fmt(a, "%s/%s", dir, name));
}

TEST(write_and_read)
{
	const char *path = in_dir("file");
	struct str s;
	struct stat st;

	umask(077);
	assert_no_err(file_write_atomic(path, STR("hello"), 0640));
	assert_no_err(file_write_atomic(path, STR("hello again"), 0640));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_no_err(file_read(a, path, 11, &s));
	assert_str(s, "hello again");
	assert_err(file_read(a, path, 10, &s), ERR_TOO_LARGE);
	assert_err(file_read(a, in_dir("none"), 10, &s), ERR_NOT_FOUND);
	assert_no_err(file_read(a, "/proc/self/status", 1 << 20, &s));
	assert_true(s.n > 100);
	assert_err(file_read(a, "/proc/self/status", 100, &s), ERR_TOO_LARGE);
	assert_no_err(file_write_atomic(path, STR_EMPTY, 0600));
	assert_no_err(file_read(a, path, 0, &s));
	assert_int_equal(s.n, 0);
}

TEST(mkdir_p)
{
	assert_no_err(file_mkdir_p(in_dir("a/b/c"), 0700));
	assert_no_err(file_mkdir_p(in_dir("a/b/c"), 0700));
	assert_no_err(file_write_atomic(in_dir("a/file"), STR("x"), 0600));
	assert_err(file_mkdir_p(in_dir("a/file"), 0700), ERR_IO);
}

TEST(remove_tree_spares_what_links_point_to)
{
	struct stat st;
	int fd;

	assert_no_err(file_mkdir_p(in_dir("keep"), 0700));
	assert_no_err(file_write_atomic(in_dir("keep/me"), STR("x"), 0600));
	assert_no_err(file_mkdir_p(in_dir("tree/sub"), 0700));
	assert_int_equal(symlink("../../keep", in_dir("tree/sub/link")), 0);
	assert_no_err(file_remove_tree(in_dir("tree")));
	assert_int_equal(stat(in_dir("tree"), &st), -1);
	assert_int_equal(stat(in_dir("keep/me"), &st), 0);
	assert_no_err(file_remove_tree(in_dir("tree")));
	/* deeper than paths and stacks allow */
	assert_no_err(file_mkdir_p(in_dir("deep"), 0700));
	fd = open(in_dir("deep"), O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < 1500; i++) {
		int next;

		assert_int_equal(mkdirat(fd, "dir", 0700), 0);
		next = openat(fd, "dir", O_RDONLY | O_DIRECTORY);
		close(fd);
		fd = next;
	}
	close(fd);
	assert_no_err(file_remove_tree(in_dir("deep")));
	assert_int_equal(stat(in_dir("deep"), &st), -1);
}

TEST(open_beneath)
{
	int dirfd = open(dir, O_RDONLY | O_DIRECTORY), fd = -1;

	assert_no_err(file_mkdir_p(in_dir("box"), 0700));
	assert_int_equal(symlink("/etc/passwd", in_dir("box/evil")), 0);
	assert_no_err(file_open_beneath(dirfd, "box/new", O_CREAT | O_RDWR, 0600, &fd));
	close(fd);
	assert_no_err(file_open_beneath(dirfd, "/box/new", O_RDONLY, 0, &fd));
	close(fd);
	assert_err(file_open_beneath(dirfd, "box/evil", O_RDONLY, 0, &fd), ERR_FORBIDDEN);
	assert_err(file_open_beneath(dirfd, "../x", O_RDONLY, 0, &fd), ERR_FORBIDDEN);
	assert_err(file_open_beneath(dirfd, "box/../../x", O_RDONLY, 0, &fd), ERR_FORBIDDEN);
	assert_err(file_open_beneath(dirfd, "box/none", O_RDONLY, 0, &fd), ERR_NOT_FOUND);
	close(dirfd);
}

int main(void)
{
	const struct CMUnitTest tests[] = { T(write_and_read), T(mkdir_p),
					    T(remove_tree_spares_what_links_point_to),
					    T(open_beneath) };
	int failed;

	a = arena_new();
	if (!mkdtemp(dir))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	err_ignore(file_remove_tree(dir), "a test's directory");
	arena_free(a);
	return failed;
}
