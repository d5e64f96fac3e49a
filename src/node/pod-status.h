/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A Pod's status from what the runtime has and what the agent knows: phase, conditions, container
 * statuses, as upstream computes them. A pure function.
 */

#include "base/clock.h"
#include "base/str.h"
#include "node/pod-runtime.h"

struct arena;
struct json;

/* What only the agent knows about a container. */
struct container_view {
	struct str name;
	/* Why it does not run, when that is not to be seen in the runtime: "CrashLoopBackOff", ...
	 */
	struct str waiting_reason, waiting_message;
	bool started;           /* startup probe passed, or none */
	bool ready;             /* readiness probe passed, or none */
	struct str stop_reason; /* replaces the reason of a termination (probe failures do not) */
	/* [{name, mountPath, readOnly, recursiveReadOnly?, volumeStatus?}]; may be NULL */
	struct json *volume_mounts;
};

struct status_input {
	const struct json *pod; /* with the last status known */
	const struct rt_pod *rt;
	const struct container_view *views;
	size_t n_views;
	struct str node_ip;
	struct wall now;
	/* An end decided by the agent (rejected, evicted, deadline): phase Failed with these. */
	struct str failed_reason, failed_message;
	/* The Pod is being deleted and nothing of it runs any more. */
	bool ended;
};

/* The whole new status, in the arena. */
struct json *pod_status_render(struct arena *a, const struct status_input *in);

/* queries on statuses and specs */
bool container_is_sidecar(const struct json *container);
bool pod_phase_is_final(struct str phase);
/* What restartPolicy and an exit say: start it (again)? */
bool container_should_restart(const struct json *pod, const struct json *container,
			      const struct rt_container *last);
