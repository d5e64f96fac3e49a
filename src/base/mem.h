/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Heap allocation. Failure aborts the process (STYLE: memory); sizes that an outsider
 * controls are checked against a limit before they get here. Free with free().
 */

#include <stdlib.h>

#include "base/str.h"

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
/* Zeroed; n * size is overflow-checked. */
void *mem_zalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *p, size_t n, size_t size) __attribute__((returns_nonnull));
char *mem_strdup(struct str s) __attribute__((returns_nonnull));
char *mem_fmt(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((returns_nonnull));

#define mem_new(type) ((type *)mem_zalloc(1, sizeof(type)))

static inline void mem_freep(void *p)
{
	free(*(void **)p);
}

#define _cleanup_free_ _cleanup_(mem_freep)
