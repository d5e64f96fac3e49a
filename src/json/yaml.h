/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * YAML 1.1 as Kubernetes uses it (sigs.k8s.io/yaml): documents become JSON trees. Aliases are
 * expanded within a size limit; binary tags, complex keys and merge keys beyond "<<" are errors.
 */

#include "base/str.h"

struct arena;
struct buf;
struct err;
struct json;

/* One document; more than one is an error. Empty input yields NULL. */
MUST_USE struct err *yaml_parse(struct arena *a, struct str text, struct json **ret);
/* The same, but a repeated key is no error (the last one wins): *ret_dups receives
 * `line 7: key "a" already set in map` for each. */
MUST_USE struct err *yaml_parse_dups(struct arena *a, struct str text, struct json **ret,
				     struct json **ret_dups);
/* All documents as an array; empty documents are left out. */
MUST_USE struct err *yaml_parse_all(struct arena *a, struct str text, struct json **ret_array);
void yaml_write(struct buf *b, const struct json *v);
