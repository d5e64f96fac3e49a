/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Attribute macros and the few helpers every file needs. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE               __attribute__((warn_unused_result))
#define NORETURN               __attribute__((noreturn))
#define NEVER_NULL             __attribute__((returns_nonnull))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define _cleanup_(fn)          __attribute__((cleanup(fn)))
#define UNUSED                 __attribute__((unused))

/* Marks a function that may suspend the calling fiber; see io/fiber.h. */
#define SUSPENDS

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Moves a pointer out of a cleanup variable. */
#define TAKE(p)                            \
	__extension__({                    \
		__typeof__(p) take_ = (p); \
		(p) = NULL;                \
		take_;                     \
	})

#define TAKE_FD(fd)               \
	__extension__({           \
		int take_ = (fd); \
		(fd) = -1;        \
		take_;            \
	})

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
