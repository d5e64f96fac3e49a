/* SPDX-License-Identifier: Apache-2.0 */
#include "server/audit-log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

#define MAX_PENDING ((size_t)32 * 1024 * 1024)
#define MAX_BACKUPS 10000 /* looked at */

struct audit_log {
	struct audit_log_opts opts;
	char *path, *dir, *base, *ext; /* dir/base.ext */
	int fd;
	uint64_t size; /* the thread's */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more, idle;
	/* under the lock */
	struct buf pending;
	bool writing, stop;
	int failed; /* errno of the thread */
	/* the loop's */
	uint64_t dropped;
	bool complained;
};

/* the thread: nothing here logs or uses arenas */
static void backup_name(const struct audit_log *l, char *out, size_t n)
{
	struct timespec now;
	struct tm tm;
	char stamp[64];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H-%M-%S", &tm);
	snprintf(out, n, "%s/%s-%s.%03ld%s", l->dir, l->base, stamp, now.tv_nsec / 1000000, l->ext);
}

static bool is_backup(const struct audit_log *l, const char *name)
{
	struct str s = str_from(name);

	return str_strip_prefix(&s, str_from(l->base)) && str_strip_prefix(&s, STR("-")) &&
	       str_strip_suffix(&s, str_from(l->ext)) &&
	       s.n == sizeof("2006-01-02T15-04-05.000") - 1;
}

static int name_cmp(const void *x, const void *y)
{
	/* the newest first */
	return strcmp(*(char *const *)y, *(char *const *)x);
}

static void backup_trim(const struct audit_log *l, const char *name, size_t newer)
{
	char path[4096];
	struct stat st;
	bool old = l->opts.max_backup && newer >= (size_t)l->opts.max_backup;

	snprintf(path, sizeof(path), "%s/%s", l->dir, name);
	if (l->opts.max_age && stat(path, &st) == 0)
		old |= time(NULL) - st.st_mtime > l->opts.max_age * 86400;
	if (old)
		unlink(path);
}

static void backups_trim(const struct audit_log *l)
{
	DIR *d = opendir(l->dir);
	struct dirent *entry;
	char **names;
	size_t n = 0;

	if (!d)
		return;
	names = mem_zalloc(MAX_BACKUPS, sizeof(*names));
	while (n < MAX_BACKUPS && (entry = readdir(d))) {
		if (is_backup(l, entry->d_name))
			names[n++] = mem_strdup(str_from(entry->d_name));
	}
	closedir(d);
	qsort(names, n, sizeof(*names), name_cmp);
	for (size_t i = 0; i < n; i++) {
		backup_trim(l, names[i], i);
		free(names[i]);
	}
	free(names);
}

static int log_open_file(struct audit_log *l)
{
	struct stat st;

	l->fd = open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (l->fd < 0)
		return errno;
	l->size = fstat(l->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	return 0;
}

static int log_rotate(struct audit_log *l)
{
	char name[4096];
	int old = l->fd, rc;

	backup_name(l, name, sizeof(name));
	if (rename(l->path, name) < 0)
		return errno;
	rc = log_open_file(l);
	if (rc) {
		l->fd = old;
		return rc;
	}
	close(old);
	backups_trim(l);
	return 0;
}

static int log_put(struct audit_log *l, struct str s)
{
	while (s.n) {
		ssize_t n = write(l->fd, s.p, s.n);

		if (n < 0 && errno != EINTR)
			return errno;
		if (n > 0) {
			s = str_skip(s, (size_t)n);
			l->size += (uint64_t)n;
		}
	}
	return 0;
}

/* A file that cannot be rotated grows on; the next try comes after as much again. */
static int log_make_room(struct audit_log *l, size_t n)
{
	uint64_t max = (uint64_t)l->opts.max_size_mb << 20;
	int rc;

	if (!max || !l->size || l->size + n <= max)
		return 0;
	rc = log_rotate(l);
	if (rc)
		l->size = 0;
	return rc;
}

static int log_put_lines(struct audit_log *l, struct str s)
{
	int failed = 0;

	while (s.n) {
		size_t n = str_find_char(s, '\n', 0) + 1;
		int rc;

		/* a few lines in one write */
		while (n < s.n && n < 65536)
			n += str_find_char(str_skip(s, n), '\n', 0) + 1;
		failed = log_make_room(l, n);
		rc = log_put(l, str_sub(s, 0, n));
		if (rc)
			return rc;
		s = str_skip(s, n);
	}
	return failed;
}

static void *log_run(void *arg)
{
	struct audit_log *l = arg;
	struct buf b;
	int rc;

	pthread_mutex_lock(&l->lock);
	for (;;) {
		while (!l->pending.n && !l->stop)
			pthread_cond_wait(&l->more, &l->lock);
		if (!l->pending.n)
			break;
		b = l->pending;
		l->pending = (struct buf){ 0 };
		l->writing = true;
		pthread_mutex_unlock(&l->lock);
		rc = log_put_lines(l, buf_str(&b));
		buf_fini(&b);
		pthread_mutex_lock(&l->lock);
		l->writing = false;
		l->failed = rc;
		pthread_cond_broadcast(&l->idle);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* the loop */
static void log_split_path(struct audit_log *l, struct str path)
{
	size_t slash = path.n, dot;
	struct str name;

	while (slash && path.p[slash - 1] != '/')
		slash--;
	l->dir = mem_strdup(slash ? str_sub(path, 0, slash > 1 ? slash - 1 : 1) : STR("."));
	name = str_skip(path, slash);
	dot = name.n;
	while (dot && name.p[dot - 1] != '.')
		dot--;
	if (dot > 1) {
		l->base = mem_strdup(str_sub(name, 0, dot - 1));
		l->ext = mem_strdup(str_skip(name, dot - 1));
	} else {
		l->base = mem_strdup(name);
		l->ext = mem_strdup(STR_EMPTY);
	}
}

static void log_free(struct audit_log *l)
{
	if (l->fd > STDERR_FILENO)
		close(l->fd);
	buf_fini(&l->pending);
	free(l->path);
	free(l->dir);
	free(l->base);
	free(l->ext);
	free(l);
}

struct err *audit_log_open(const struct audit_log_opts *opts, struct audit_log **ret)
{
	struct audit_log *l = mem_new(struct audit_log);
	int rc = 0;

	l->opts = *opts;
	l->path = mem_strdup(opts->path);
	log_split_path(l, opts->path);
	l->fd = STDOUT_FILENO;
	/* a descriptor has no name to give away */
	if (str_has_prefix(opts->path, STR("/proc/self/fd/")))
		l->opts.max_size_mb = 0;
	if (str_eqz(opts->path, "-"))
		l->opts.max_size_mb = 0;
	else
		rc = log_open_file(l);
	if (!rc) {
		pthread_mutex_init(&l->lock, NULL);
		pthread_cond_init(&l->more, NULL);
		pthread_cond_init(&l->idle, NULL);
		rc = pthread_create(&l->thread, NULL, log_run, l);
	}
	if (rc) {
		struct err *e = err_errno(rc, "audit log '" STR_FMT "'", STR_ARG(opts->path));

		log_free(l);
		return e;
	}
	*ret = l;
	return NULL;
}

/* Said once, until it works again. */
static void log_complain(struct audit_log *l, int failed)
{
	if (!failed && !l->dropped) {
		l->complained = false;
		return;
	}
	if (l->complained)
		return;
	l->complained = true;
	log_error(NULL, "audit events are lost", KV_Z("path", l->path),
		  KV_INT("dropped", l->dropped), KV_INT("errno", failed));
}

bool audit_log_write(struct audit_log *l, struct str line)
{
	bool fits;
	int failed;

	pthread_mutex_lock(&l->lock);
	fits = l->pending.n + line.n < MAX_PENDING;
	if (fits) {
		buf_add(&l->pending, line);
		buf_addc(&l->pending, '\n');
		pthread_cond_signal(&l->more);
	}
	failed = l->failed;
	pthread_mutex_unlock(&l->lock);
	if (!fits)
		l->dropped++;
	log_complain(l, failed);
	return fits;
}

void audit_log_flush(struct audit_log *l)
{
	pthread_mutex_lock(&l->lock);
	while (l->pending.n || l->writing)
		pthread_cond_wait(&l->idle, &l->lock);
	pthread_mutex_unlock(&l->lock);
}

struct audit_log *audit_log_close(struct audit_log *l)
{
	if (!l)
		return NULL;
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_cond_signal(&l->more);
	pthread_mutex_unlock(&l->lock);
	pthread_join(l->thread, NULL);
	pthread_mutex_destroy(&l->lock);
	pthread_cond_destroy(&l->more);
	pthread_cond_destroy(&l->idle);
	log_free(l);
	return NULL;
}
