/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * ResourceQuota: a write that costs something is charged in its own transaction, so that usage
 * neither leaks when the write fails nor is overdrawn by two at once.
 */

#include "base/base.h"

struct api_request;
struct err;
struct json;
struct write;

/*
 * Adds the new usage of every quota of the namespace that counts the object to w; FORBIDDEN when
 * one is exceeded. Writes of one namespace with quotas queue up here until w ends. old NULL:
 * create.
 */
MUST_USE SUSPENDS struct err *quota_charge(struct api_request *rq, struct write *w,
					   const struct json *obj, const struct json *old);
