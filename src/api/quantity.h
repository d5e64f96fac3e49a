/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* resource.Quantity: "100m", "2Gi", "1e3". Values are kept in thousandths where they fit. */

#include "base/str.h"

struct arena;

enum quantity_format { QUANTITY_DECIMAL_SI, QUANTITY_BINARY_SI, QUANTITY_DECIMAL_EXP };

struct quantity {
	__int128 nano; /* value * 10^9, rounded up as upstream does */
	enum quantity_format format;
};

bool quantity_parse(struct str s, struct quantity *ret);
/* Canonical form as upstream prints it ("1500m", "1Gi", "2"). */
struct str quantity_text(struct arena *a, struct quantity q);
/* Rounded up; saturating. */
int64_t quantity_value(struct quantity q);
int64_t quantity_milli(struct quantity q);
struct quantity quantity_from_value(int64_t v, enum quantity_format f);
struct quantity quantity_from_milli(int64_t v, enum quantity_format f);
int quantity_cmp(struct quantity a, struct quantity b);
struct quantity quantity_add(struct quantity a, struct quantity b);
struct quantity quantity_sub(struct quantity a, struct quantity b);
