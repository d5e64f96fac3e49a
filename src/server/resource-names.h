/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Names and quantities of compute resources ("cpu", "ex.io/gpu"), as different kinds allow them. */

#include "api/quantity.h"
#include "base/str.h"

struct json;
struct place;
struct valid;

bool text_in(struct str s, const char *const *list); /* ends with NULL */

bool resource_is_huge(struct str name);
bool resource_overcommits(struct str name);
/* A number or its text. */
bool valid_quantity(const struct valid *v, const struct json *j, struct quantity *q);
/* Canonical text, for messages. */
struct json *valid_quantity_json(const struct valid *v, struct quantity q);

void resource_name_validate(const struct valid *v, struct str name, const struct place *p);
void container_resource_name_validate(const struct valid *v, struct str name,
				      const struct place *p);
void quota_resource_name_validate(const struct valid *v, struct str name, const struct place *p);
/* Not negative, whole where it counts things, a multiple of the page. */
void resource_quantity_validate(const struct valid *v, struct str name, const struct json *val,
				const struct place *p);
/* What a Pod's sandbox costs; its places are below "limits" upstream. */
void overhead_validate(const struct valid *v, const struct json *map, const struct place *p);
