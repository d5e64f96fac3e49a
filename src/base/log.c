/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdio.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"

#define LOG_MAX_VALUE 2048

static const char *log_component = "isoplane";
static enum log_level log_level = LOG_INFO;

void log_init(const char *component, enum log_level level)
{
	log_component = component;
	log_level = level;
}

void log_set_level(enum log_level level)
{
	log_level = level;
}

bool log_enabled(enum log_level level)
{
	return level >= log_level;
}

static void log_quote(struct buf *b, struct str s)
{
	size_t n = MIN(s.n, (size_t)LOG_MAX_VALUE);

	buf_addc(b, '"');
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '"' || c == '\\')
			buf_addf(b, "\\%c", c);
		else if (c == '\n')
			buf_addz(b, "\\n");
		else if (c < 0x20 || c == 0x7f)
			buf_addf(b, "\\u%04x", c);
		else
			buf_addc(b, (char)c);
	}
	buf_addz(b, n < s.n ? "...\"" : "\"");
}

static void log_kv(struct buf *b, const struct kv *kv)
{
	buf_addf(b, ",\"%s\":", kv->key);
	switch (kv->type) {
	case KV_T_STR:
		log_quote(b, kv->s);
		break;
	case KV_T_INT:
		buf_addf(b, "%lld", (long long)kv->i);
		break;
	case KV_T_BOOL:
		buf_addz(b, kv->i ? "true" : "false");
		break;
	case KV_T_ERR:
		log_quote(b, kv->e ? err_msg(kv->e) : STR_EMPTY);
		break;
	}
}

static void log_scope(struct buf *b, const struct log *log)
{
	if (!log)
		return;
	log_scope(b, log->parent);
	for (size_t i = 0; i < log->n_fields; i++)
		log_kv(b, &log->fields[i]);
}

void log_write(const struct log *log, enum log_level level, const char *msg, const struct kv *kvs,
	       size_t n)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };
	_cleanup_buf_ struct buf b = { 0 };
	struct arena *a;
	ssize_t written;

	if (!log_enabled(level))
		return;
	a = arena_new();
	buf_addf(&b, "{\"time\":\"" STR_FMT "\",\"level\":\"%s\",\"component\":\"%s\",\"msg\":",
		 STR_ARG(wall_format_micro(a, wall_now())), names[level], log_component);
	arena_free(a);
	log_quote(&b, str_from(msg));
	log_scope(&b, log);
	for (size_t i = 0; i < n; i++)
		log_kv(&b, &kvs[i]);
	buf_addz(&b, "}\n");
	/* One write per line keeps lines of several processes apart. A lost line is not an error.
	 */
	written = write(STDERR_FILENO, b.p, b.n);
	(void)written;
}

void err_log(const struct log *log, enum log_level level, const char *msg, struct err *e)
{
	const struct kv kv = KV_ERR(e);

	if (!e)
		return;
	log_write(log, level, msg, &kv, 1);
	err_free(e);
}
