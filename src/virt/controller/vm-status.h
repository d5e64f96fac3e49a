/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A VM's status from what is seen of its VMI and volumes: printableStatus (first match of a table),
 * Ready and mirrored conditions, start failures, finished requests. Pure.
 */

#include "base/clock.h"
#include "base/str.h"

struct arena;
struct json;

struct vm_world {
	const struct json *vm;
	const struct json *vmi;         /* NULL: none */
	const struct json *datavolumes; /* array: the DataVolumes its template refers to */
	const struct json *claims;      /* array: its PersistentVolumeClaims that exist */
	bool create_expected;           /* a VMI was asked for and not seen yet */
	bool delete_expected;
	struct wall now;
};

/* Static text. */
const char *vm_printable_status(const struct vm_world *w);

/* Sync failure to report, or NULL reason. */
struct vm_failure {
	const char *reason;
	struct str message;
};

/* Rewrites vm's status (a mutable copy of w->vm); true when it changed. */
bool vm_status_update(struct arena *a, const struct vm_world *w, const struct vm_failure *failure,
		      struct json *vm);
