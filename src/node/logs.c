/* SPDX-License-Identifier: Apache-2.0 */

#include "node/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/fiber.h"

#define CHUNK          (32 * 1024)
#define LINE_MAX_BYTES (1 << 20)
#define POLL_MS        100
#define FLUSH_BYTES    (64 * 1024)

struct log_reader {
	const struct log_opts *opts;
	const struct log_sink *sink;
	int fd;
	ino_t ino;
	struct buf in; /* bytes of an unfinished line */
	struct buf out;
	int64_t left;  /* of limit_bytes; -1: no limit */
	bool mid_line; /* the last line out was partial */
	bool full;     /* the limit is reached */
};

bool log_line_parse(struct str line, struct log_line *ret)
{
	struct str rest = line, stamp, stream, tags;

	if (!str_cut(&rest, ' ', &stamp) || !str_cut(&rest, ' ', &stream) ||
	    !str_cut(&rest, ' ', &tags) || !wall_parse(stamp, &ret->time))
		return false;
	ret->stamp = stamp;
	ret->text = rest;
	ret->partial = str_has_prefix(tags, STR("P"));
	return true;
}

static void log_out(struct log_reader *r, struct str s)
{
	if (r->left >= 0 && (int64_t)s.n >= r->left) {
		s.n = (size_t)r->left;
		r->full = true;
	}
	if (r->left >= 0)
		r->left -= (int64_t)s.n;
	buf_add(&r->out, s);
}

static void log_line_out(struct log_reader *r, struct str line)
{
	struct log_line l;

	if (r->full || !log_line_parse(line, &l))
		return;
	if (l.time.ns < r->opts->since.ns)
		return;
	if (r->opts->timestamps && !r->mid_line) {
		log_out(r, l.stamp);
		log_out(r, STR(" "));
	}
	log_out(r, l.text);
	if (!l.partial)
		log_out(r, STR("\n"));
	r->mid_line = l.partial;
}

static struct err *log_flush(struct log_reader *r)
{
	struct err *e = NULL;

	if (r->out.n)
		e = r->sink->write(r->sink->ctx, buf_str(&r->out));
	buf_clear(&r->out);
	return e;
}

/* Whole lines of what has been read so far. */
static struct err *log_lines(struct log_reader *r)
{
	size_t done = 0, end;

	while ((end = str_find_char(buf_str(&r->in), '\n', done)) < r->in.n) {
		log_line_out(r, str_sub(buf_str(&r->in), done, end));
		done = end + 1;
		if (r->out.n > FLUSH_BYTES)
			TRY(log_flush(r));
	}
	buf_consume(&r->in, done);
	if (r->in.n > LINE_MAX_BYTES)
		buf_clear(&r->in);
	return NULL;
}

/* To the present end of the file. */
static struct err *log_drain(struct log_reader *r)
{
	_cleanup_free_ char *chunk = mem_alloc(CHUNK);

	while (!r->full) {
		ssize_t n = read(r->fd, chunk, CHUNK);

		if (n < 0)
			return err_errno(errno, "read a log");
		if (n == 0)
			break;
		buf_add(&r->in, str_make(chunk, (size_t)n));
		TRY(log_lines(r));
	}
	return log_flush(r);
}

/* The position where the last n lines begin: read backwards, a chunk at a time. */
static struct err *log_seek_tail(int fd, int64_t n)
{
	_cleanup_free_ char *chunk = mem_alloc(CHUNK);
	off_t end = lseek(fd, 0, SEEK_END), pos = end;
	int64_t seen = 0;

	while (pos > 0 && n > 0) {
		size_t len = (size_t)MIN(pos, (off_t)CHUNK);
		ssize_t got = pread(fd, chunk, len, pos - (off_t)len);

		if (got != (ssize_t)len)
			return err_errno(errno, "read a log");
		for (size_t i = len; i-- > 0;) {
			off_t at = pos - (off_t)len + (off_t)i;

			if (chunk[i] == '\n' && at != end - 1 && ++seen == n) {
				lseek(fd, at + 1, SEEK_SET);
				return NULL;
			}
		}
		pos -= (off_t)len;
	}
	lseek(fd, n > 0 ? 0 : end, SEEK_SET);
	return NULL;
}

static struct err *log_open(struct log_reader *r, const char *path)
{
	struct stat st;

	r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (r->fd < 0)
		return err_errno(errno, "open log %s", path);
	r->ino = fstat(r->fd, &st) == 0 ? st.st_ino : 0;
	return NULL;
}

/* After a rotation path is another file: what is left of the old one is read already. */
static struct err *log_check_rotation(struct log_reader *r, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0 || st.st_ino == r->ino)
		return NULL;
	TRY(log_drain(r));
	close(r->fd);
	r->fd = -1;
	return log_open(r, path);
}

static struct err *log_follow(struct log_reader *r, const char *path)
{
	while (!r->full) {
		bool alive = r->sink->alive(r->sink->ctx);

		TRY(fiber_check());
		TRY(log_drain(r));
		if (!alive)
			return NULL;
		TRY(log_check_rotation(r, path));
		TRY(fiber_sleep_ms(POLL_MS));
	}
	return NULL;
}

struct err *logs_read(const char *path, const struct log_opts *opts, const struct log_sink *sink)
{
	struct log_reader r = { .opts = opts, .sink = sink, .fd = -1, .left = opts->limit_bytes };
	struct err *e = log_open(&r, path);

	r.full = opts->limit_bytes == 0;
	if (!e && opts->tail >= 0)
		e = log_seek_tail(r.fd, opts->tail);
	if (!e)
		e = opts->follow ? log_follow(&r, path) : log_drain(&r);
	if (r.fd >= 0)
		close(r.fd);
	buf_fini(&r.in);
	buf_fini(&r.out);
	return e;
}
