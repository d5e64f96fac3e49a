/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/launcher/jsonl.h"

#include "base/arena.h"
#include "base/err.h"
#include "io/stream.h"
#include "json/json.h"

#define JSONL_READ_SIZE 16384

void jsonl_init(struct jsonl *j, struct stream *st, size_t max_line)
{
	*j = (struct jsonl){ .st = st, .max_line = max_line };
	waitq_init(&j->write_turn);
}

void jsonl_fini(struct jsonl *j)
{
	if (!j->st)
		return;
	j->st = stream_free(j->st);
	buf_fini(&j->in);
}

/* Takes the first complete line of what was read, without its end. */
static bool jsonl_take_line(struct jsonl *j, struct arena *a, struct str *ret)
{
	struct str in = buf_str(&j->in);
	size_t end = str_find_char(in, '\n', j->scanned);

	j->scanned = end;
	if (end == in.n)
		return false;
	*ret = str_trim(arena_str(a, str_sub(in, 0, end)));
	buf_consume(&j->in, end + 1);
	j->scanned = 0;
	return true;
}

struct err *jsonl_read(struct jsonl *j, struct arena *a, struct json **ret)
{
	for (;;) {
		struct str line;
		size_t n;

		while (jsonl_take_line(j, a, &line)) {
			if (!str_empty(line))
				return json_parse(a, line, ret);
		}
		if (j->in.n > j->max_line)
			return err_new(ERR_TOO_LARGE, "a line of more than %zu bytes", j->max_line);
		buf_reserve(&j->in, JSONL_READ_SIZE);
		TRY(stream_read(j->st, j->in.p + j->in.n, JSONL_READ_SIZE, &n));
		if (n == 0) {
			*ret = NULL;
			return NULL;
		}
		j->in.n += n;
		j->in.p[j->in.n] = '\0';
	}
}

struct err *jsonl_write(struct jsonl *j, const struct json *v)
{
	_cleanup_buf_ struct buf line = { 0 };
	struct err *e;

	while (j->writing)
		TRY(waitq_wait(&j->write_turn));
	json_write(&line, v);
	buf_addc(&line, '\n');
	j->writing = true;
	e = stream_write(j->st, buf_str(&line));
	j->writing = false;
	waitq_wake_one(&j->write_turn);
	return e;
}
