/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The launcher Pod of a VMI: what align.h's rows carry over, and what a launcher needs around it.
 * Pure: object in, object out.
 */

#include "base/str.h"
#include "virt/mapping/resources.h"

struct arena;
struct json;

struct launcher_pod_opts {
	struct str image;         /* empty: LAUNCHER_IMAGE_DEFAULT */
	struct str pull_policy;   /* empty: IfNotPresent */
	struct str runtime_class; /* may be empty */
	struct virt_costs costs;
	/* Claims (by name) whose volumeMode is Block; may be NULL. */
	const struct json *block_claims;
};

/* A Pod ready to be created; vmi needs metadata.{name,namespace,uid}. */
struct json *launcher_pod_render(struct arena *a, const struct json *vmi,
				 const struct launcher_pod_opts *opts);
/*
 * The Pod that makes a WaitForFirstConsumer claim bind: same placement and claims, no guest
 * (annotation kubevirt.io/ephemeral-provisioning).
 */
struct json *launcher_pod_render_binder(struct arena *a, const struct json *vmi,
					const struct launcher_pod_opts *opts);
