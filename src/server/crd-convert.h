/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Conversion of custom resources by a webhook. An object is stored in the version that was the
 * storage version at the time, and says which beside its selectable fields; whoever shows it in
 * another one converts it first, and then works with the result as if it had been stored so.
 */

#include "base/base.h"
#include "base/str.h"

struct apiserver;
struct arena;
struct err;
struct json;
struct obj;
struct resource;
struct resource_version;

/* The selectable field that names the version an object is stored in. */
#define CRD_VERSION_FIELD STR(".version")

/* Whether o must go through the webhook to be shown in version v. */
bool crd_must_convert(const struct resource *res, const struct resource_version *v,
		      const struct obj *o);

/*
 * Trees (apiVersion says in which version each is; they are not changed) to version v, in one call:
 * v[i] is replaced. For resources with a webhook.
 */
MUST_USE SUSPENDS struct err *crd_convert_trees(struct apiserver *s, struct arena *a,
						const struct resource *res,
						const struct resource_version *v,
						struct json **trees, size_t n);
/* References to stored objects, each replaced by one in version v where it must be. One call. */
MUST_USE SUSPENDS struct err *crd_convert_objs(struct apiserver *s, const struct resource *res,
					       const struct resource_version *v,
					       const struct obj **objs, size_t n);
