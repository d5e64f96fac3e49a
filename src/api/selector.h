/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Label and field selectors. Parse errors are BAD_REQUEST in upstream's words. A parsed selector
 * lives in its arena. An empty selector matches everything.
 */

#include "base/str.h"

struct arena;
struct err;
struct json;
struct obj;
struct selector;

MUST_USE struct err *label_selector_parse(struct arena *a, struct str text, struct selector **ret);
/* metav1.LabelSelector (matchLabels, matchExpressions); NULL json matches nothing, {} everything.
 */
MUST_USE struct err *label_selector_from_json(struct arena *a, const struct json *sel,
					      struct selector **ret);
/* matchExpressions or matchFields of a node selector term: Gt and Lt too. NULL matches everything.
 */
MUST_USE struct err *node_selector_from_json(struct arena *a, const struct json *expressions,
					     struct selector **ret);
/* A plain map of labels (Service and RC selectors, nodeSelector). */
struct selector *label_selector_from_map(struct arena *a, const struct json *map);
MUST_USE struct err *field_selector_parse(struct arena *a, struct str text, struct selector **ret);

bool selector_empty(const struct selector *s);
/* labels: a JSON object of strings, may be NULL. */
bool selector_matches(const struct selector *s, const struct json *labels);
bool selector_matches_obj_labels(const struct selector *s, const struct obj *o);
bool selector_matches_obj_fields(const struct selector *s, const struct obj *o);
/* Calls fn for each key a field selector names; stops at the first error. */
MUST_USE struct err *selector_each_key(const struct selector *s,
				       struct err *(*fn)(struct str key, void *ctx), void *ctx);
/* Field selectors: each key becomes what fn makes of it. */
void selector_rename_keys(struct selector *s, struct str (*fn)(struct str key, void *ctx),
			  void *ctx);
/* The value when the selector demands key=value exactly, else p NULL. */
struct str selector_required(const struct selector *s, struct str key);
/* Canonical text. */
struct str selector_format(struct arena *a, const struct selector *s);
