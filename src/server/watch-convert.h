/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Objects of watched events in other versions: the latest that a webhook converted are kept, so
 * that one event goes to it once for all watches of a version.
 */

#include "base/base.h"

struct apiserver;
struct err;
struct obj;
struct resource;
struct resource_version;
struct watch_converter;

struct watch_converter *watch_converter_new(struct apiserver *s);
/* When nobody waits in it any more. */
struct watch_converter *watch_converter_free(struct watch_converter *wc);
/* A new reference to o in version v. */
MUST_USE SUSPENDS struct err *watch_converter_get(struct watch_converter *wc,
						  const struct resource *res,
						  const struct resource_version *v,
						  const struct obj *o, const struct obj **ret);
