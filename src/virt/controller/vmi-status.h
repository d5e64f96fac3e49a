/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A VMI's phase and conditions from what is seen of its launcher Pod and volumes, up to the
 * hand-over to virt-handler (Scheduled); afterwards only what the handler cannot see. Pure.
 *
 *     "" -> Pending -> Scheduling -> Scheduled -> Running -> Succeeded
 *             |            |            |           |
 *             +------------+------------+-----------+------> Failed
 */

#include "base/clock.h"
#include "base/str.h"

struct arena;
struct json;

struct vmi_world {
	const struct json *pod; /* the launcher Pod, NULL: none */
	bool pods_left;         /* any Pod of the VMI still exists, binders included */
	bool provisioning;      /* waits for claims that wait for a consumer */
	bool datavolume_failed;
	bool owner_gone;           /* it names a VM as its controller that no longer exists */
	const struct json *claims; /* object: claim name -> PersistentVolumeClaim */
	/* What kept the sync from doing its work: condition Synchronized, or NULL. */
	const char *sync_reason;
	struct str sync_message;
	struct wall now;
};

/* Pod states */
/* Running, with its other containers ready; compute's own probe speaks for the guest, later. */
bool launcher_pod_is_ready(const struct json *pod);
/* Ended, or told to. */
bool launcher_pod_is_down(const struct json *pod);

void vmi_status_update(struct arena *a, const struct vmi_world *w, struct json *vmi);
/* The finished Pod of a running VMI should have been reported by virt-handler by then; 0: not so.
 */
int64_t vmi_handler_grace_left_ms(const struct json *vmi, const struct json *pod, struct wall now);
