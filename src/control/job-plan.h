/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a Job should do next, as pure functions of the Job and its Pods: which Pods count as what,
 * whether the Job has ended and why, which indexes are missing. Rules, reasons and texts are
 * upstream's (pkg/controller/job).
 */

#include "base/clock.h"
#include "base/str.h"

struct arena;
struct json;
struct owned_list;

#define JOB_FINALIZER      "batch.kubernetes.io/job-tracking"
#define JOB_INDEX          "batch.kubernetes.io/job-completion-index"
#define JOB_INDEX_FAILURES "batch.kubernetes.io/job-index-failure-count"

enum job_pod_state {
	JOB_POD_ACTIVE,
	JOB_POD_TERMINATING, /* being deleted, and not yet a failure */
	JOB_POD_SUCCEEDED,
	JOB_POD_FAILED,
	JOB_POD_IGNORED, /* failed, and the failure policy says it does not count */
};

struct job_pod {
	const struct json *obj;
	enum job_pod_state state;
	int64_t index; /* -1: none */
	bool tracked;  /* carries the finalizer: not counted for good */
};

/* Why a Job ends; condition NULL: it goes on. */
struct job_end {
	const char *condition; /* "Complete" or "Failed" */
	const char *reason;
	struct str message;
};

struct job_plan {
	const struct json *job;
	bool indexed, suspended;
	int64_t parallelism, completions; /* completions -1: any success will do */
	int64_t limit_per_index;          /* -1: none */
	struct job_pod *v;
	size_t n;
	/* counts with what is not in the status yet */
	int64_t active, ready, terminating, succeeded, failed;
	/* by index, when indexed: completions bytes */
	bool *done, *given_up;
	struct job_end end;
};

/* pods: those that the Job controls. */
void job_plan_init(struct arena *a, struct job_plan *p, const struct json *job,
		   const struct owned_list *pods, struct wall now);

/* How many Pods shall be active now. */
int64_t job_wanted_active(const struct job_plan *p);
/* The lowest index without success or active Pod, from *from on; false: none is left. */
bool job_next_index(const struct job_plan *p, int64_t *from);
/* A Pod as the API wants it, without namespace; index -1: none. */
struct json *job_make_pod(struct arena *a, const struct job_plan *p, int64_t index);
/* Until failures allow another try; 0: now. */
int64_t job_backoff_ms(const struct job_plan *p, struct wall now);
/* Until activeDeadlineSeconds is over; -1: there is none. */
int64_t job_deadline_ms(const struct json *job, struct wall now);
/* "1,3-5" of a set of indexes. */
struct str job_indexes_text(struct arena *a, const bool *set, int64_t n);
void job_indexes_parse(struct str text, bool *set, int64_t n);
