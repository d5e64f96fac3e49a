/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What validation of claims of devices and of slices of them shares. */

#include "base/str.h"

struct json;
struct place;
struct valid;

/* Not more than max; the rest of a longer list is not looked at. */
bool device_list_fits(const struct valid *v, const struct json *list, size_t max,
		      const struct place *p);
/* Items that are there twice: texts (member NULL), or objects by a member. */
void device_list_unique(const struct valid *v, const struct json *list, const char *member,
			const struct place *p);
/* Even one that is not there is checked by its form. */
void device_name_validate(const struct valid *v, struct str name,
			  const char *(*check)(struct str s), const struct place *p);
/* Subdomains with slashes between them. */
void device_pool_validate(const struct valid *v, struct str name, const struct place *p);
/* "DOMAIN/ID" or, unless full, "ID". */
void device_attribute_name_validate(const struct valid *v, struct str name, bool full,
				    const struct place *p);
/* A key of labels. */
void device_label_validate(const struct valid *v, struct str key, const struct place *p);
/* bindingConditions and bindingFailureConditions of obj. */
void device_binding_validate(const struct valid *v, const struct json *obj, const struct place *p);
