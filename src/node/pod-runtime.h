/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the runtime has of one Pod: its sandboxes and containers, newest first, read afresh at each
 * sync. Labels and annotations tie them to the Pod, so an agent that restarts finds everything
 * again.
 */

#include "base/clock.h"
#include "base/str.h"

struct arena;
struct cri;
struct err;

/* upstream's names */
#define LABEL_POD_NAME                "io.kubernetes.pod.name"
#define LABEL_POD_NAMESPACE           "io.kubernetes.pod.namespace"
#define LABEL_POD_UID                 "io.kubernetes.pod.uid"
#define LABEL_CONTAINER_NAME          "io.kubernetes.container.name"
#define ANNOTATION_HASH               "io.kubernetes.container.hash"
#define ANNOTATION_RESTARTS           "io.kubernetes.container.restartCount"
#define ANNOTATION_GRACE              "io.kubernetes.pod.terminationGracePeriod"
#define ANNOTATION_TERMINATION_PATH   "io.kubernetes.container.terminationMessagePath"
#define ANNOTATION_TERMINATION_POLICY "io.kubernetes.container.terminationMessagePolicy"
/* ours: where the termination message file is on the host */
#define ANNOTATION_TERMINATION_FILE "isoplane.io/termination-file"

enum rt_state { RT_CREATED, RT_RUNNING, RT_EXITED, RT_UNKNOWN };

struct rt_container {
	struct str id, name, sandbox, image, image_ref, image_id, hash;
	struct str reason, message, log_path;
	enum rt_state state;
	int restarts, exit_code;
	struct wall created, started, finished; /* 0: not yet */
};

struct rt_sandbox {
	struct str id, ip;
	bool ready;
	uint32_t attempt;
	struct wall created;
	const struct str *more_ips;
	size_t n_more_ips;
};

struct rt_pod {
	struct rt_sandbox *sandboxes;
	size_t n_sandboxes;
	struct rt_container *containers;
	size_t n_containers;
};

MUST_USE SUSPENDS struct err *rt_pod_read(struct cri *c, struct arena *a, struct str uid,
					  struct rt_pod *ret);

/* queries */
/* The newest one when it is ready, else NULL. */
const struct rt_sandbox *rt_pod_sandbox(const struct rt_pod *p);
/* The newest container of that name, or the nth before it; NULL when absent. */
const struct rt_container *rt_pod_container(const struct rt_pod *p, struct str name, size_t nth);
bool rt_pod_any_running(const struct rt_pod *p);
