/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/storage/importer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/quantity.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/process.h"
#include "io/stream.h"
#include "json/json.h"

#define CHUNK        (64 * 1024)
#define MAX_HEADERS  64
#define MAX_REPORT   (1024 * 1024)
#define HEADERS_FILE IMPORTER_SCRATCH_DIR "/headers"
#define SCRATCH_FILE IMPORTER_SCRATCH_DIR "/image"
#define CURL_RC      IMPORTER_SCRATCH_DIR "/curlrc"
#define DISK_FILE    IMPORTER_DATA_DIR "/disk.img"

struct importer {
	struct arena *a;
	struct str url, size_text;
	struct str headers[MAX_HEADERS];
	size_t n_headers;
	int64_t size;       /* of the claim */
	const char *target; /* disk.img or the block device */
	bool block;
	/* the transfer */
	int64_t expected, got; /* expected 0: unknown */
	int last_percent;
};

/* flags */

static struct err *parse(struct importer *im, int argc, char **argv)
{
	struct quantity q;

	for (int i = 1; i < argc; i += 2) {
		struct str value = i + 1 < argc ? str_from(argv[i + 1]) : STR_EMPTY;

		if (strcmp(argv[i], "--url") == 0)
			im->url = value;
		else if (strcmp(argv[i], "--size") == 0)
			im->size_text = value;
		else if (strcmp(argv[i], "--header") == 0 && im->n_headers < MAX_HEADERS)
			im->headers[im->n_headers++] = value;
		else
			return err_new(ERR_INVALID, "unknown flag '%s'", argv[i]);
	}
	if (!quantity_parse(im->size_text, &q) || quantity_value(q) <= 0)
		return err_new(ERR_INVALID, "--size '" STR_FMT "' is no size",
			       STR_ARG(im->size_text));
	im->size = quantity_value(q);
	return NULL;
}

/* the target */

static struct err *open_target(struct importer *im, int *ret_fd)
{
	struct stat st;
	int fd;

	im->block = stat(IMPORTER_BLOCK_PATH, &st) == 0;
	im->target = im->block ? IMPORTER_BLOCK_PATH : DISK_FILE;
	fd = open(im->target, O_RDWR | O_CLOEXEC | (im->block ? 0 : O_CREAT | O_TRUNC), 0660);
	if (fd < 0)
		return err_errno(errno, "open %s", im->target);
	*ret_fd = fd;
	return NULL;
}

static struct err *too_large(const struct importer *im, int64_t size)
{
	return err_new(
		ERR_INVALID,
		"Virtual image size %lld is larger than the reported available storage %lld. "
		"A larger PVC is required.",
		(long long)size, (long long)im->size);
}

/* The disk is as large as the claim, however small the image was. */
static struct err *finish_target(const struct importer *im, int fd)
{
	if (!im->block && ftruncate(fd, im->size))
		return err_errno(errno, "resize %s", im->target);
	if (fsync(fd))
		return err_errno(errno, "fsync %s", im->target);
	return NULL;
}

static bool is_zero(const char *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static struct err *write_at(int fd, const char *p, size_t n, int64_t at, const char *name)
{
	while (n) {
		ssize_t k = pwrite(fd, p, n, at);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return err_errno(errno, "write %s", name);
		p += k;
		n -= (size_t)k;
		at += k;
	}
	return NULL;
}

/* the transfer */

/* The size of the last answer's body, from the headers curl left. */
static void learn_size(struct importer *im)
{
	struct str text = STR_EMPTY, line;
	struct err *e = file_read(im->a, HEADERS_FILE, MAX_REPORT, &text);

	err_ignore(e, "without it there is no progress to tell");
	im->expected = 0;
	while (str_cut(&text, '\n', &line)) {
		struct str name;
		int64_t n;

		if (str_has_prefix(line, STR("HTTP/")))
			im->expected = 0;
		if (str_cut(&line, ':', &name) && str_eq_nocase(name, STR("content-length")) &&
		    str_to_i64(str_trim(line), &n))
			im->expected = n;
	}
}

static void tell_progress(struct importer *im)
{
	double percent = im->expected ? 100.0 * (double)im->got / (double)im->expected : 0;

	if (!im->expected || (int)percent == im->last_percent)
		return;
	im->last_percent = (int)percent;
	printf("progress %.2f\n", percent > 100 ? 100 : percent);
	fflush(stdout);
}

/* curl's options by file: credentials are nothing for a command line. */
static struct err *write_curlrc(const struct importer *im)
{
	const char *user = getenv("IMPORTER_USER"), *password = getenv("IMPORTER_PASSWORD");
	struct str rc =
		STR("silent\nshow-error\nfail\nlocation\nconnect-timeout = 30\nretry = 3\n");

	for (size_t i = 0; i < im->n_headers; i++)
		rc = arena_fmt(im->a, STR_FMT "header = %s\n", STR_ARG(rc),
			       json_text(im->a, json_str(im->a, im->headers[i])).p);
	if (user && password) {
		struct json *u = json_strf(im->a, "%s:%s", user, password);
		struct str quoted = json_text(im->a, u);

		rc = arena_fmt(im->a, STR_FMT "user = " STR_FMT "\n", STR_ARG(rc), STR_ARG(quoted));
	}
	if (access(IMPORTER_CERTS_DIR, R_OK) == 0)
		rc = arena_fmt(im->a, STR_FMT "capath = \"" IMPORTER_CERTS_DIR "\"\n", STR_ARG(rc));
	return file_write_atomic(CURL_RC, rc, 0600);
}

/* A server picks what we read next by its redirects: only what a DataVolume may name. */
static struct err *start_curl(struct importer *im, struct process **ret, struct stream **ret_out)
{
	const char *url = arena_strz(im->a, im->url);
	const char *const argv[] = { "/usr/bin/curl",
				     "--config",
				     CURL_RC,
				     "--dump-header",
				     HEADERS_FILE,
				     "--proto",
				     "=http,https",
				     "--output",
				     "-",
				     "--",
				     url,
				     NULL };
	struct process_opts opts = { .argv = argv, .stdin_fd = -1, .stderr_fd = -1 };
	int pipe_fds[2];
	struct err *e;

	if (pipe2(pipe_fds, O_CLOEXEC))
		return err_errno(errno, "pipe");
	opts.stdout_fd = pipe_fds[1];
	opts.pdeathsig = true;
	e = process_start(&opts, ret);
	close(pipe_fds[1]);
	if (e) {
		close(pipe_fds[0]);
		return e;
	}
	*ret_out = stream_from_fd(pipe_fds[0]);
	return NULL;
}

/* As many bytes as a chunk holds, unless the stream ends. */
static struct err *read_chunk(struct stream *st, char *buf, size_t *ret_n)
{
	size_t n = 0, k = 1;

	while (n < CHUNK && k) {
		TRY(stream_read(st, buf + n, CHUNK - n, &k));
		n += k;
	}
	*ret_n = n;
	return NULL;
}

enum image_format { IMAGE_RAW, IMAGE_QCOW2, IMAGE_UNKNOWN };

static enum image_format detect(const char *p, size_t n)
{
	if (n >= 4 && memcmp(p, "QFI\xfb", 4) == 0)
		return IMAGE_QCOW2;
	if (n >= 6 && (memcmp(p, "\x1f\x8b", 2) == 0 || memcmp(p,
							       "\xfd"
							       "7zXZ",
							       5) == 0))
		return IMAGE_UNKNOWN;
	return IMAGE_RAW;
}

/* From the first chunk on into fd; zeros are left out of fresh files. */
static struct err *pump(struct importer *im, struct stream *st, int fd, int64_t limit, char *buf,
			size_t n)
{
	while (n) {
		if (im->got + (int64_t)n > limit)
			return too_large(im, im->expected ? im->expected : im->got + (int64_t)n);
		if (im->block || !is_zero(buf, n))
			TRY(write_at(fd, buf, n, im->got, "the disk"));
		im->got += (int64_t)n;
		tell_progress(im);
		TRY(read_chunk(st, buf, &n));
	}
	return NULL;
}

static struct err *qcow2_size(struct importer *im, int64_t *ret)
{
	static const char *const argv[] = {
		"/usr/bin/qemu-img", "info", "--output=json", "-f", "qcow2", SCRATCH_FILE, NULL
	};
	struct json *info = NULL;
	struct str out;

	TRY(process_run(im->a, argv, STR_EMPTY, MAX_REPORT, &out));
	TRY(json_parse(im->a, out, &info));
	/* another file, on the importer's or anybody's machine, is not ours to read */
	if (json_get(info, "backing-filename") || json_at(info, "format-specific.data.data-file"))
		return err_new(ERR_INVALID, "the image refers to another file");
	*ret = json_int_at(info, "virtual-size", 0);
	return NULL;
}

static struct err *import_qcow2(struct importer *im, struct stream *st, char *buf, size_t n)
{
	const char *const argv[] = {
		"/usr/bin/qemu-img", "convert",  "-n", "-f", "qcow2", "-O", "raw",
		SCRATCH_FILE,        im->target, NULL
	};
	int fd = open(SCRATCH_FILE, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int64_t size = 0;
	struct str out;
	struct err *e;

	if (fd < 0)
		return err_errno(errno, "open " SCRATCH_FILE);
	e = pump(im, st, fd, INT64_MAX, buf, n);
	close(fd);
	TRY(e);
	TRY(qcow2_size(im, &size));
	if (size > im->size)
		return too_large(im, size);
	/* -n: into the file that is there, which must have its size first */
	if (!im->block && truncate(im->target, im->size))
		return err_errno(errno, "resize %s", im->target);
	return process_run(im->a, argv, STR_EMPTY, MAX_REPORT, &out);
}

static struct err *import_stream(struct importer *im, struct stream *st, int fd)
{
	_cleanup_free_ char *buf = mem_alloc(CHUNK);
	size_t n;

	TRY(read_chunk(st, buf, &n));
	learn_size(im);
	switch (detect(buf, n)) {
	case IMAGE_QCOW2:
		return import_qcow2(im, st, buf, n);
	case IMAGE_UNKNOWN:
		return err_new(ERR_INVALID, "compressed images are not supported: serve it "
					    "unpacked, as raw or qcow2");
	case IMAGE_RAW:
		break;
	}
	if (im->expected > im->size)
		return too_large(im, im->expected);
	return pump(im, st, fd, im->size, buf, n);
}

static struct err *import_http(struct importer *im, int fd)
{
	struct process *curl = NULL;
	struct stream *st = NULL;
	struct err *e;
	int status = 0;

	TRY(write_curlrc(im));
	TRY(start_curl(im, &curl, &st));
	e = import_stream(im, st, fd);
	stream_free(st);
	if (!e)
		e = process_wait(curl, &status);
	process_free(curl);
	if (!e && status)
		return err_new(ERR_IO,
			       "Unable to connect to http data source: curl ended with "
			       "status %d (its message is above)",
			       WEXITSTATUS(status));
	if (!e && im->expected && im->got != im->expected)
		return err_new(ERR_IO, "the server sent %lld of %lld bytes", (long long)im->got,
			       (long long)im->expected);
	return e;
}

static struct err *import(void *arg)
{
	struct importer *im = arg;
	struct err *e;
	int fd;

	TRY(open_target(im, &fd));
	e = str_empty(im->url) ? NULL : import_http(im, fd);
	if (!e)
		e = finish_target(im, fd);
	close(fd);
	return e;
}

int virt_importer_main(int argc, char **argv)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct importer im = { .a = a, .last_percent = -1 };
	struct err *e = parse(&im, argc, argv);

	if (!e)
		e = fiber_main(import, &im);
	if (!e) {
		printf("progress 100.00\n");
		return 0;
	}
	fprintf(stderr, STR_FMT "\n", STR_ARG(err_msg(e)));
	err_free(e);
	return 1;
}
