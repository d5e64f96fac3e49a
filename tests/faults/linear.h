/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Is a recorded history of one compare-and-set register linearizable? After Wing and Gong, with
 * Lowe's memory of configurations seen: some order of the operations, each between its call and
 * its return, in which every answer is right.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum linear_kind {
	LINEAR_READ,    /* returned value */
	LINEAR_SET,     /* swapped expect for value */
	LINEAR_REFUSED, /* found something else than expect */
	LINEAR_UNKNOWN, /* a set that was never answered: it may have happened, or happen never */
};

struct linear_op {
	enum linear_kind kind;
	uint64_t call, ret; /* times; of an unknown one ret means nothing */
	uint32_t expect, value;
};

/* Values are unique per set. initial: what the register holds before the first call. */
bool linear_check(const struct linear_op *ops, size_t n, uint32_t initial);
