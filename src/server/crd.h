/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * CustomResourceDefinitions: their rules, and the resources they make. A definition is established
 * when its names are free, at once; its resource joins the registry when the commit is seen. A
 * deleted one stays until a fiber has removed every object of it.
 */

#include "base/str.h"

struct apiserver;
struct arena;
struct err;
struct json;
struct resource;
struct strategy;

extern const struct strategy crd_strategy;

/* The definition of a custom resource, parsed into the arena; NULL when it is gone. */
struct json *crd_load(struct arena *a, struct str group, struct str plural);
/* "io.ex.v1.Kind": the name of its type in OpenAPI. */
struct str crd_type_name(struct arena *a, struct str group, struct str version, struct str kind);

/* Loads what is stored: before the server listens. SUSPENDS */
MUST_USE struct err *crd_start(struct apiserver *s);
