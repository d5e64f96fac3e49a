/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One Pod on this node, as its worker and the worker's parts see it. The worker is a fiber that
 * syncs, level-triggered: what the API wants, what the runtime has, the difference made.
 *
 *     pod-worker.c   the loop: wake, sync, report, wait
 *     pod-sync.c     a Pod that should run: sandbox, init containers, containers
 *     pod-start.c    one container: image, environment, mounts, create, start
 *     pod-kill.c     one container or all of them, gracefully
 *     pod-status.c   the status (pure)
 *     probe.c        probes, each a fiber; hook.c lifecycle hooks
 */

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "io/fiber.h"
#include "node/agent.h"
#include "node/pod-runtime.h"
#include "json/json.h"

struct arena;
struct err;
struct obj;
struct probe;

enum probe_kind { PROBE_STARTUP, PROBE_LIVENESS, PROBE_READINESS, PROBE_N_ };

/* What is remembered of a container between syncs. */
struct pod_container {
	struct list link;
	struct pod *pod;
	char *name;
	/* crash back-off */
	int64_t backoff_ms;
	struct mono backoff_set;
	/* why it does not run; NULL when there is no reason but the runtime's */
	char *waiting_reason, *waiting_message;
	struct mono retry_at; /* of what failed before the runtime had it */
	/* probe results, of the container with this id */
	char *id;
	bool started, ready;
	enum probe_kind kill_kind;
	bool kill; /* a liveness or startup probe gave up on it */
	struct probe *probes[PROBE_N_];
};

struct pod {
	struct list link;
	struct agent *agent;
	char *uid, *ns, *name;
	struct log log;
	const struct obj *obj; /* the API's latest; NULL for what only the runtime knows */
	bool gone;             /* no longer in the API */
	bool ended;            /* nothing of it runs, all is cleaned up */
	struct fiber *worker, *sync;
	bool syncing_end;  /* the running sync terminates the Pod */
	int64_t end_grace; /* the grace that sync goes by */
	struct waitq wake;
	bool dirty;
	struct list containers;
	char *status;                         /* the last status we sent, as JSON */
	char *failed_reason, *failed_message; /* an end decided here */
	struct mono volumes_at;               /* last set up or refreshed; 0: never */
	char *volumes_rv;                     /* for that revision of the Pod */
	struct map image_refs;                /* volume name -> what its image is, heap strings */
	struct mono sandbox_retry_at;
	int64_t sandbox_backoff_ms;
	int64_t next_ms; /* the next sync is due then, unless woken */
};

/* the worker */
void pod_wake(struct pod *p);
/* The next sync at the latest in ms. */
void pod_due(struct pod *p, int64_t ms);
/* Ends the Pod as Failed: admission, deadline. */
void pod_fail(struct pod *p, const char *reason, struct str message);
struct str pod_full_name(struct arena *a, const struct pod *p); /* NAME_NAMESPACE(UID) */
/* Found or made. */
struct pod_container *pod_container_get(struct pod *p, struct str name);
void pod_container_wait(struct pod_container *c, const char *reason, struct str message);
/* In the spec's containers or initContainers; NULL when absent. */
const struct json *pod_spec_container(const struct json *pod, struct str name, bool *ret_init);

/* syncs: pod is the API object with the status we know to be the latest */
MUST_USE SUSPENDS struct err *pod_sync(struct pod *p, struct arena *a, const struct json *pod);
MUST_USE SUSPENDS struct err *pod_end(struct pod *p, struct arena *a, const struct json *pod);
/* A Pod in a final phase: nothing of it may run; logs and records stay until it is deleted. */
MUST_USE SUSPENDS struct err *pod_rest(struct pod *p, struct arena *a, const struct json *pod);
/* Renders and sends the status when it changed. */
MUST_USE SUSPENDS struct err *pod_report(struct pod *p, struct arena *a, const struct json *pod,
					 const struct rt_pod *rt);

/* containers */
struct pod_start {
	struct pod *pod;
	struct arena *arena;
	const struct json *spec; /* the Pod */
	const struct rt_pod *rt;
	const struct rt_sandbox *sandbox;
	const struct volume_set *volumes;
	const struct env_source *env;
	void *sandbox_config; /* CRI(PodSandboxConfig) */
};
/* True when it runs now; else the reason is noted in the pod_container. */
SUSPENDS bool pod_container_start(struct pod_start *st, struct pod_container *c,
				  const struct json *container);
/* preStop, SIGTERM, SIGKILL. spec may be NULL (unknown container). */
SUSPENDS void pod_container_kill(struct pod *p, struct arena *a, const struct json *pod,
				 const struct rt_container *rc, int64_t grace, const char *why);
/* All of them: app containers side by side, then sidecars in reverse order. */
SUSPENDS void pod_kill_all(struct pod *p, struct arena *a, const struct json *pod,
			   const struct rt_pod *rt, int64_t grace);

/* probes */
/* Starts, restarts and stops the probes of a container as its state asks. rc NULL: not running. */
void pod_probes_sync(struct pod *p, const struct json *pod, const struct json *container,
		     struct pod_container *c, const struct rt_container *rc);
void pod_probes_stop(struct pod_container *c);

/* lifecycle hooks and probe actions: exec, httpGet, tcpSocket, sleep */
struct hook {
	struct pod *pod;
	const struct json *spec; /* the Pod */
	const struct json *container;
	struct str container_id, pod_ip;
};
MUST_USE SUSPENDS struct err *hook_run(const struct hook *h, struct arena *a,
				       const struct json *handler, int64_t timeout_ms);
