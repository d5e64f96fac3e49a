/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Arena: memory that lives as long as one request or one sync. Bump allocation, zeroed,
 * freed at once. Objects cannot be freed one by one.
 */

#include <stdarg.h>

#include "base/str.h"

struct arena;

/* lifecycle */
struct arena *arena_new(void);
/* For what is kept for long and small: its first chunk has so many bytes, at least 256. */
struct arena *arena_new_sized(size_t first);
struct arena *arena_free(struct arena *a);
void arena_freep(struct arena **a);
#define _cleanup_arena_ _cleanup_(arena_freep)

/* operations: all results are aligned to 16 bytes (strings excepted) and never NULL */
void *arena_alloc(struct arena *a, size_t size);
void *arena_array(struct arena *a, size_t n, size_t size);
struct str arena_str(struct arena *a, struct str s);
/* NUL-terminated copy. */
char *arena_strz(struct arena *a, struct str s);
/* The result is also NUL-terminated. */
struct str arena_fmt(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct str arena_vfmt(struct arena *a, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
struct str arena_cat(struct arena *a, struct str x, struct str y);
/* Runs fn(p) when the arena is freed, last registered first. */
void arena_defer(struct arena *a, void (*fn)(void *p), void *p);

#define arena_new_obj(a, type) ((type *)arena_alloc((a), sizeof(type)))

/* Bytes handed out so far. */
size_t arena_used(const struct arena *a);
