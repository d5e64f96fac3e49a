/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Event recorder: core/v1 Events, aggregated by count as client-go does, written in the background.
 */

#include "base/str.h"

struct client;
struct event_recorder;
struct json;
struct loop;

struct event_recorder *event_recorder_new(struct loop *l, struct client *c, const char *component,
					  struct str host);
struct event_recorder *event_recorder_free(struct event_recorder *r);

/* type is "Normal" or "Warning". obj needs metadata; api_version and kind name its type. Copies
 * everything. */
void event_record(struct event_recorder *r, const struct json *obj, struct str api_version,
		  struct str kind, const char *type, const char *reason, const char *fmt, ...)
	PRINTF_LIKE(7, 8);
