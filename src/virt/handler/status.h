/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A domain's state as a VMI's status: phase, conditions, interfaces, machine, memory, topology.
 * Pure.
 */

#include "base/clock.h"
#include "base/str.h"

struct arena;
struct json;

/* The phase a VMI shall have when its domain is so; the present one when nothing changes. */
const char *status_phase(struct str phase, const struct json *domain, bool acpi, bool deleting);

/*
 * Writes all that the handler owns into vmi.status. domain may be NULL (the launcher is gone); net
 * is net_plan's document or NULL; sync_error is empty when all is well.
 */
void status_update(struct arena *a, struct json *vmi, const struct json *domain,
		   const struct json *net, struct str sync_error, struct wall now);
