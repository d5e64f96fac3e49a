/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Structured logging: one JSON object per line on standard error, a constant message and
 * its data in fields. A struct log carries inherited fields (component, controller, key).
 * Whoever decides, logs: base, io, api, store and client stay at debug.
 */

#include "base/str.h"

struct err;

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct kv {
	const char *key;
	enum { KV_T_STR, KV_T_INT, KV_T_BOOL, KV_T_ERR } type;
	struct str s;
	int64_t i;
	const struct err *e;
};

#define KV_STR(k, v)  ((struct kv){ .key = (k), .type = KV_T_STR, .s = (v) })
#define KV_Z(k, v)    ((struct kv){ .key = (k), .type = KV_T_STR, .s = str_from(v) })
#define KV_INT(k, v)  ((struct kv){ .key = (k), .type = KV_T_INT, .i = (int64_t)(v) })
#define KV_BOOL(k, v) ((struct kv){ .key = (k), .type = KV_T_BOOL, .i = (v) })
#define KV_ERR(v)     ((struct kv){ .key = "error", .type = KV_T_ERR, .e = (v) })

struct log {
	const struct log *parent;
	struct kv fields[4];
	size_t n_fields;
};

/* The root: its component name is on every line. */
void log_init(const char *component, enum log_level level);
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/* log may be NULL (no inherited fields). */
void log_write(const struct log *log, enum log_level level, const char *msg, const struct kv *kvs,
	       size_t n);

#define LOG_(l, level, msg, ...)                                                         \
	do {                                                                             \
		if (log_enabled(level)) {                                                \
			const struct kv log_kvs_[] = { { 0 }, ##__VA_ARGS__ };           \
			log_write(l, level, msg, log_kvs_ + 1, ARRAY_LEN(log_kvs_) - 1); \
		}                                                                        \
	} while (0)

#define log_debug(l, msg, ...) LOG_(l, LOG_DEBUG, msg, ##__VA_ARGS__)
#define log_info(l, msg, ...)  LOG_(l, LOG_INFO, msg, ##__VA_ARGS__)
#define log_warn(l, msg, ...)  LOG_(l, LOG_WARN, msg, ##__VA_ARGS__)
#define log_error(l, msg, ...) LOG_(l, LOG_ERROR, msg, ##__VA_ARGS__)

/* Logs e at the given level and frees it; NULL does nothing. */
void err_log(const struct log *log, enum log_level level, const char *msg, struct err *e);
