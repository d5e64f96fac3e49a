/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Randomness, replaceable with a seeded generator in tests. */

#include "base/str.h"

struct arena;

void rand_bytes(void *p, size_t n);
/* Uniform in [0, n). */
uint64_t rand_below(uint64_t n);
/* UUID version 4, lower case. */
struct str rand_uuid(struct arena *a);
/* n characters of upstream's suffix alphabet, bcdfghjklmnpqrstvwxz2456789. */
struct str rand_suffix(struct arena *a, size_t n);
/* 0 goes back to the kernel's randomness. */
void rand_seed(uint64_t seed);
