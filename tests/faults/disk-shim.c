/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands before libc's writes and syncs of the store's file. A write through a descriptor opened
 * with O_DSYNC is durable by itself, without making others so.
 */
/* Both names of each call are ours. */
#undef _FILE_OFFSET_BITS

#include "disk.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT ssize_t pwrite(int fd, const void *p, size_t n, off_t at);
EXPORT ssize_t pwrite64(int fd, const void *p, size_t n, off_t at);
EXPORT ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at);
EXPORT ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t at);
EXPORT ssize_t writev(int fd, const struct iovec *v, int n);
EXPORT int fdatasync(int fd);
EXPORT int fsync(int fd);

static struct disk_journal *journal(void)
{
	static struct disk_journal *j;
	const char *path = getenv(DISK_ENV);
	int fd;

	if (j || !path)
		return j;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		abort();
	j = mmap(NULL, sizeof(*j), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (j == MAP_FAILED)
		abort();
	close(fd);
	return j;
}

static bool is_store(int fd)
{
	static const char name[] = "/data.mdb";
	char link[64], path[4096];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path));
	return n >= (ssize_t)sizeof(name) - 1 && journal() &&
	       !memcmp(path + n - (sizeof(name) - 1), name, sizeof(name) - 1);
}

static void remember(int fd, off_t at, size_t n)
{
	struct disk_journal *j = journal();
	const uint64_t end = (uint64_t)at + n;
	char link[64];
	int in;

	/* It may be open for writing only. */
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	in = open(link, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		abort();

	for (uint64_t page = (uint64_t)at / DISK_PAGE * DISK_PAGE; page < end; page += DISK_PAGE) {
		struct disk_entry *e = &j->entries[j->n];

		if (j->n == DISK_ENTRIES)
			abort();
		e->offset = page;
		memset(e->old, 0, sizeof(e->old));
		/* What is beyond the end of the file reads as zeroes. */
		if (pread(in, e->old, sizeof(e->old), (off_t)page) < 0)
			abort();
		__atomic_store_n(&j->n, j->n + 1, __ATOMIC_SEQ_CST);
	}
	close(in);
}

static size_t total(const struct iovec *v, int n)
{
	size_t sum = 0;

	for (int i = 0; i < n; i++)
		sum += v[i].iov_len;
	return sum;
}

static ssize_t write_at(int fd, const struct iovec *v, int n, off_t at)
{
	const bool ours = is_store(fd);
	const uint64_t before = ours ? journal()->n : 0;
	ssize_t done;

	if (ours)
		remember(fd, at, total(v, n));
	done = syscall(SYS_pwritev, fd, v, n, at, 0);
	if (ours && done >= 0 && (fcntl(fd, F_GETFL) & O_DSYNC))
		__atomic_store_n(&journal()->n, before, __ATOMIC_SEQ_CST);
	return done;
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	const struct iovec v = { (void *)(uintptr_t)p, n };

	return write_at(fd, &v, 1, at);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off_t at)
{
	return pwrite(fd, p, n, at);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
	return write_at(fd, v, n, at);
}

ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t at)
{
	return write_at(fd, v, n, at);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
	off_t at;
	ssize_t done;

	if (!is_store(fd))
		return syscall(SYS_writev, fd, v, n);
	at = lseek(fd, 0, SEEK_CUR);
	done = write_at(fd, v, n, at);
	if (done > 0)
		lseek(fd, done, SEEK_CUR);
	return done;
}

/*
 * The page cache survives SIGKILL: what would be on the disk is as good as there. It takes as long
 * as a disk does, so that kills fall into it.
 */
static int synced(int fd, int nr)
{
	const struct timespec disk = { .tv_nsec = 2000000 };

	if (!is_store(fd))
		return (int)syscall(nr, fd);
	nanosleep(&disk, NULL);
	__atomic_store_n(&journal()->n, 0, __ATOMIC_SEQ_CST);
	return 0;
}

int fdatasync(int fd)
{
	return synced(fd, SYS_fdatasync);
}

int fsync(int fd)
{
	return synced(fd, SYS_fsync);
}
