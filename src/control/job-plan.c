/* SPDX-License-Identifier: Apache-2.0 */
#include "control/job-plan.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "client/owned.h"
#include "json/json.h"

#define BACKOFF_FIRST_MS 10000
#define BACKOFF_MAX_MS   600000

/* ---- sets of indexes */

struct str job_indexes_text(struct arena *a, const bool *set, int64_t n)
{
	_cleanup_buf_ struct buf b = { 0 };

	for (int64_t i = 0; i < n; i++) {
		int64_t last = i;

		if (!set[i])
			continue;
		while (last + 1 < n && set[last + 1])
			last++;
		buf_addf(&b, "%s%lld", b.n ? "," : "", (long long)i);
		if (last > i)
			buf_addf(&b, "%c%lld", last == i + 1 ? ',' : '-', (long long)last);
		i = last;
	}
	return buf_to_arena(&b, a);
}

void job_indexes_parse(struct str text, bool *set, int64_t n)
{
	struct str part, first;

	while (str_split_next(&text, ',', &part)) {
		bool range = str_cut(&part, '-', &first);
		int64_t from, to;

		if (!str_to_i64(first, &from) || !str_to_i64(range ? part : first, &to))
			continue;
		for (int64_t i = MAX(from, 0); i <= to && i < n; i++)
			set[i] = true;
	}
}

static int64_t job_count(const bool *set, int64_t n)
{
	int64_t sum = 0;

	for (int64_t i = 0; i < n; i++)
		sum += set[i];
	return sum;
}

/* ---- the failure policy */

static bool job_exit_code_matches(const struct json *rule, const struct json *status)
{
	const struct json *codes = json_get(rule, "onExitCodes");
	int64_t code = json_int_at(status, "state.terminated.exitCode", 0);
	struct str container = json_str_at(codes, "containerName");
	bool in = false;

	if (!code || (!str_empty(container) && !str_eq(container, json_str_at(status, "name"))))
		return false;
	json_for_each(it, json_get(codes, "values")) in |= json_as_int(it.val, 0) == code;
	return in == str_eqz(json_str_at(codes, "operator"), "In");
}

static bool job_rule_matches(struct arena *a, const struct json *rule, size_t i,
			     const struct json *pod, struct str *ret_text)
{
	static const char *const lists[] = { "status.initContainerStatuses",
					     "status.containerStatuses" };

	for (size_t k = 0; json_get(rule, "onExitCodes") && k < ARRAY_LEN(lists); k++) {
		json_for_each(it, json_at(pod, lists[k]))
		{
			if (!job_exit_code_matches(rule, it.val))
				continue;
			*ret_text = arena_fmt(
				a,
				"Container " STR_FMT " for pod " STR_FMT "/" STR_FMT
				" failed with exit code %lld matching " STR_FMT
				" rule at index %zu",
				STR_ARG(json_str_at(it.val, "name")), STR_ARG(meta_namespace(pod)),
				STR_ARG(meta_name(pod)),
				(long long)json_int_at(it.val, "state.terminated.exitCode", 0),
				STR_ARG(json_str_at(rule, "action")), i);
			return true;
		}
	}
	json_for_each(it, json_get(rule, "onPodConditions"))
	{
		struct str type = json_str_at(it.val, "type");
		const struct json *c = condition_find(json_get(pod, "status"), arena_strz(a, type));

		if (!c || !str_eq(json_str_at(c, "status"), json_str_at(it.val, "status")))
			continue;
		*ret_text = arena_fmt(a,
				      "Pod " STR_FMT "/" STR_FMT " has condition " STR_FMT
				      " matching " STR_FMT " rule at index %zu",
				      STR_ARG(meta_namespace(pod)), STR_ARG(meta_name(pod)),
				      STR_ARG(type), STR_ARG(json_str_at(rule, "action")), i);
		return true;
	}
	return false;
}

/* The action of the first rule that matches, "Count" without any. */
static struct str job_failure_action(struct arena *a, const struct json *job,
				     const struct json *pod, struct str *ret_text)
{
	size_t i = 0;

	json_for_each(it, json_at(job, "spec.podFailurePolicy.rules"))
	{
		if (job_rule_matches(a, it.val, i++, pod, ret_text))
			return json_str_at(it.val, "action");
	}
	return STR("Count");
}

/* ---- what Pods are */

static int64_t job_pod_index(const struct json *pod)
{
	int64_t n;

	return str_to_i64(meta_annotation(pod, JOB_INDEX), &n) && n >= 0 ? n : -1;
}

static bool job_replaces_only_failed(const struct json *job)
{
	return json_at(job, "spec.podFailurePolicy") ||
	       str_eqz(json_str_at(job, "spec.podReplacementPolicy"), "Failed");
}

static enum job_pod_state job_pod_state(const struct json *job, const struct json *pod)
{
	struct str phase = json_str_at(pod, "status.phase");

	if (str_eqz(phase, "Succeeded"))
		return JOB_POD_SUCCEEDED;
	if (str_eqz(phase, "Failed"))
		return JOB_POD_FAILED;
	if (!meta_deleting(pod))
		return JOB_POD_ACTIVE;
	/* one that is being deleted is lost, unless it must be seen to end first */
	return job_replaces_only_failed(job) ? JOB_POD_TERMINATING : JOB_POD_FAILED;
}

static int64_t job_index_failures(const struct json *pod)
{
	int64_t n = 0;

	str_to_i64(meta_annotation(pod, JOB_INDEX_FAILURES), &n);
	return n;
}

static void job_judge_failed(struct arena *a, struct job_plan *p, struct job_pod *v)
{
	struct str text = STR_EMPTY;
	struct str action = job_failure_action(a, p->job, v->obj, &text);

	if (str_eqz(action, "Ignore")) {
		v->state = JOB_POD_IGNORED;
		return;
	}
	if (str_eqz(action, "FailJob") && !p->end.condition)
		p->end = (struct job_end){ "Failed", "PodFailurePolicy", text };
	if (p->limit_per_index < 0 || v->index < 0 || v->index >= p->completions)
		return;
	if (str_eqz(action, "FailIndex") || job_index_failures(v->obj) + 1 > p->limit_per_index)
		p->given_up[v->index] = true;
}

static bool job_listed(const struct json *list, struct str uid)
{
	json_for_each(it, list)
	{
		if (str_eq(json_as_str(it.val), uid))
			return true;
	}
	return false;
}

static void job_count_pod(struct job_plan *p, const struct job_pod *v)
{
	const struct json *uncounted = json_at(p->job, "status.uncountedTerminatedPods");
	struct str uid = meta_uid(v->obj);

	switch (v->state) {
	case JOB_POD_ACTIVE:
		p->active++;
		p->ready += condition_is_true(json_get(v->obj, "status"), "Ready");
		break;
	case JOB_POD_TERMINATING:
		break;
	case JOB_POD_SUCCEEDED:
		if (p->indexed && v->index >= 0 && v->index < p->completions)
			p->done[v->index] = true;
		if (v->tracked && !job_listed(json_get(uncounted, "succeeded"), uid))
			p->succeeded++;
		break;
	case JOB_POD_FAILED:
		if (v->tracked && !job_listed(json_get(uncounted, "failed"), uid))
			p->failed++;
		break;
	case JOB_POD_IGNORED:
		break;
	}
	p->terminating += meta_deleting(v->obj) && v->state != JOB_POD_SUCCEEDED &&
			  !str_eqz(json_str_at(v->obj, "status.phase"), "Failed");
}

/* ---- whether it has ended */

static bool job_success_rule(struct arena *a, const struct job_plan *p, const struct json *rule)
{
	struct str only = json_str_at(rule, "succeededIndexes");
	const struct json *count = json_get(rule, "succeededCount");
	bool *set = arena_array(a, (size_t)p->completions + 1, sizeof(bool));
	int64_t hit = 0;

	if (str_empty(only))
		return count && job_count(p->done, p->completions) >= json_as_int(count, 0);
	job_indexes_parse(only, set, p->completions);
	for (int64_t i = 0; i < p->completions; i++)
		hit += set[i] && p->done[i];
	return hit >= (count ? json_as_int(count, 0) : job_count(set, p->completions));
}

static void job_judge_success(struct arena *a, struct job_plan *p)
{
	size_t i = 0;

	json_for_each(it, json_at(p->job, "spec.successPolicy.rules"))
	{
		if (p->indexed && job_success_rule(a, p, it.val)) {
			p->end = (struct job_end){ "Complete", "SuccessPolicy",
						   arena_fmt(a, "Matched rules at index %zu", i) };
			return;
		}
		i++;
	}
	if (p->completions < 0 ? p->succeeded > 0 && !p->active && !p->terminating
			       : p->succeeded >= p->completions)
		p->end = (struct job_end){ "Complete", "CompletionsReached",
					   STR("Reached expected number of succeeded pods") };
}

/* Restarts of containers inside Pods count, too, where Pods restart them. */
static int64_t job_restarts(const struct job_plan *p)
{
	int64_t n = 0;

	if (!str_eqz(json_str_at(p->job, "spec.template.spec.restartPolicy"), "OnFailure"))
		return 0;
	for (size_t i = 0; i < p->n; i++) {
		if (p->v[i].state != JOB_POD_ACTIVE)
			continue;
		json_for_each(it, json_at(p->v[i].obj, "status.initContainerStatuses")) n +=
			json_int_at(it.val, "restartCount", 0);
		json_for_each(it, json_at(p->v[i].obj, "status.containerStatuses")) n +=
			json_int_at(it.val, "restartCount", 0);
	}
	return n;
}

static void job_judge_indexes(struct job_plan *p)
{
	int64_t lost = job_count(p->given_up, p->completions);
	const struct json *max = json_at(p->job, "spec.maxFailedIndexes");

	if (!lost)
		return;
	if (max && lost > json_as_int(max, 0))
		p->end = (struct job_end){ "Failed", "MaxFailedIndexesExceeded",
					   STR("Job has exceeded the specified maximal number of "
					       "failed indexes") };
	else if (lost + job_count(p->done, p->completions) >= p->completions)
		p->end = (struct job_end){ "Failed", "FailedIndexes",
					   STR("Job has failed indexes") };
}

int64_t job_deadline_ms(const struct json *job, struct wall now)
{
	int64_t seconds = json_int_at(job, "spec.activeDeadlineSeconds", -1);
	struct wall start;

	if (seconds < 0 || json_bool_at(job, "spec.suspend", false) ||
	    !wall_parse(json_str_at(job, "status.startTime"), &start))
		return -1;
	return MAX(seconds * 1000 - (now.ns - start.ns) / NS_PER_MS, 0);
}

static void job_judge(struct arena *a, struct job_plan *p, struct wall now)
{
	int64_t limit = json_int_at(p->job, "spec.backoffLimit", 6), restarts = job_restarts(p);

	if (p->end.condition)
		return;
	if (p->failed > limit || (restarts && restarts >= MAX(limit, 1)))
		p->end = (struct job_end){ "Failed", "BackoffLimitExceeded",
					   STR("Job has reached the specified backoff limit") };
	else if (job_deadline_ms(p->job, now) == 0)
		p->end = (struct job_end){ "Failed", "DeadlineExceeded",
					   STR("Job was active longer than specified deadline") };
	else if (p->limit_per_index >= 0)
		job_judge_indexes(p);
	if (!p->end.condition)
		job_judge_success(a, p);
}

/* What was decided before stays decided. */
static void job_decided(struct arena *a, struct job_plan *p)
{
	static const struct {
		const char *interim, *final;
	} rows[] = { { "FailureTarget", "Failed" }, { "SuccessCriteriaMet", "Complete" } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct json *c = condition_find(json_get(p->job, "status"), rows[i].interim);

		if (c && str_eqz(json_str_at(c, "status"), "True"))
			p->end = (struct job_end){ rows[i].final,
						   arena_strz(a, json_str_at(c, "reason")),
						   json_str_at(c, "message") };
	}
}

void job_plan_init(struct arena *a, struct job_plan *p, const struct json *job,
		   const struct owned_list *pods, struct wall now)
{
	const struct json *status = json_get(job, "status");
	size_t size;

	*p = (struct job_plan){
		.job = job,
		.indexed = str_eqz(json_str_at(job, "spec.completionMode"), "Indexed"),
		.suspended = json_bool_at(job, "spec.suspend", false),
		.parallelism = json_int_at(job, "spec.parallelism", 1),
		.completions = json_int_at(job, "spec.completions", -1),
		.limit_per_index = json_int_at(job, "spec.backoffLimitPerIndex", -1),
	};
	size = p->indexed ? (size_t)MAX(p->completions, 0) : 0;
	p->done = arena_array(a, size + 1, sizeof(bool));
	p->given_up = arena_array(a, size + 1, sizeof(bool));
	p->v = arena_array(a, pods->n + 1, sizeof(*p->v));
	if (p->indexed) {
		job_indexes_parse(json_str_at(status, "completedIndexes"), p->done, p->completions);
		job_indexes_parse(json_str_at(status, "failedIndexes"), p->given_up,
				  p->completions);
	}
	p->succeeded = json_int_at(status, "succeeded", 0) +
		       (int64_t)json_len(json_at(status, "uncountedTerminatedPods.succeeded"));
	p->failed = json_int_at(status, "failed", 0) +
		    (int64_t)json_len(json_at(status, "uncountedTerminatedPods.failed"));
	job_decided(a, p);
	for (size_t i = 0; i < pods->n; i++) {
		const struct json *pod = pods->v[i];
		struct job_pod *v = &p->v[p->n++];

		*v = (struct job_pod){ pod, job_pod_state(job, pod), job_pod_index(pod),
				       meta_has_finalizer(pod, STR(JOB_FINALIZER)) };
		if (v->state == JOB_POD_FAILED)
			job_judge_failed(a, p, v);
		job_count_pod(p, v);
	}
	if (p->indexed)
		p->succeeded = job_count(p->done, p->completions);
	job_judge(a, p, now);
}

/* ---- what to do */

int64_t job_wanted_active(const struct job_plan *p)
{
	int64_t lost = p->indexed ? job_count(p->given_up, p->completions) : 0, want;

	if (p->suspended || p->end.condition)
		return 0;
	if (p->completions < 0)
		return p->succeeded ? MIN(p->active, p->parallelism) : p->parallelism;
	want = MIN(p->completions - p->succeeded - lost, p->parallelism);
	if (job_replaces_only_failed(p->job))
		want -= p->terminating;
	return MAX(want, 0);
}

static bool job_index_busy(const struct job_plan *p, int64_t index)
{
	for (size_t i = 0; i < p->n; i++) {
		if (p->v[i].index == index &&
		    (p->v[i].state == JOB_POD_ACTIVE || p->v[i].state == JOB_POD_TERMINATING))
			return true;
	}
	return false;
}

bool job_next_index(const struct job_plan *p, int64_t *from)
{
	for (; *from < p->completions; (*from)++) {
		if (!p->done[*from] && !p->given_up[*from] && !job_index_busy(p, *from))
			return true;
	}
	return false;
}

/* The environment variable that tells the index, unless the template has one of that name. */
static void job_add_index_env(struct arena *a, struct json *pod, const char *list)
{
	json_for_each(it, json_at(pod, list))
	{
		struct json *env = json_sub_array(a, it.val, "env"), *e;

		if (json_find_by(env, "name", STR("JOB_COMPLETION_INDEX")))
			continue;
		e = json_object(a);
		json_set_str(a, e, "name", STR("JOB_COMPLETION_INDEX"));
		json_set_str(a, json_sub(a, json_sub(a, e, "valueFrom"), "fieldRef"), "fieldPath",
			     STR("metadata.labels['" JOB_INDEX "']"));
		json_push(env, e);
	}
}

static void job_set_index(struct arena *a, const struct job_plan *p, struct json *pod,
			  int64_t index)
{
	struct str text = arena_fmt(a, "%lld", (long long)index);
	struct json *spec = json_get(pod, "spec");
	int64_t failures = 0;

	meta_set_label(a, pod, JOB_INDEX, text);
	meta_set_annotation(a, pod, JOB_INDEX, text);
	for (size_t i = 0; i < p->n && p->limit_per_index >= 0; i++) {
		if (p->v[i].index == index && p->v[i].state == JOB_POD_FAILED)
			failures = MAX(failures, job_index_failures(p->v[i].obj) + 1);
	}
	if (p->limit_per_index >= 0)
		meta_set_annotation(a, pod, JOB_INDEX_FAILURES,
				    arena_fmt(a, "%lld", (long long)failures));
	if (str_empty(json_str_at(spec, "hostname")))
		json_set(a, spec, "hostname",
			 json_strf(a, STR_FMT "-%lld", STR_ARG(meta_name(p->job)),
				   (long long)index));
	job_add_index_env(a, pod, "spec.initContainers");
	job_add_index_env(a, pod, "spec.containers");
}

struct json *job_make_pod(struct arena *a, const struct job_plan *p, int64_t index)
{
	static const char *const kept[] = { "labels", "annotations" };
	const struct json *template = json_at(p->job, "spec.template");
	struct json *pod = json_object(a), *meta;

	json_set_str(a, pod, "apiVersion", STR("v1"));
	json_set_str(a, pod, "kind", STR("Pod"));
	meta = json_sub(a, pod, "metadata");
	json_set(a, meta, "generateName",
		 index < 0 ? json_strf(a, STR_FMT "-", STR_ARG(meta_name(p->job)))
			   : json_strf(a, STR_FMT "-%lld-", STR_ARG(meta_name(p->job)),
				       (long long)index));
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		const struct json *v = json_get(json_get(template, "metadata"), kept[i]);

		if (v)
			json_set(a, meta, kept[i], json_copy(a, v));
	}
	json_set(a, pod, "spec", json_copy(a, json_get(template, "spec")));
	meta_add_finalizer(a, pod, STR(JOB_FINALIZER));
	meta_set_controller(a, pod, p->job, STR("batch/v1"), STR("Job"));
	if (index >= 0)
		job_set_index(a, p, pod, index);
	return pod;
}

static struct wall job_finished_at(const struct json *pod)
{
	struct wall last = { 0 }, t;

	json_for_each(it, json_at(pod, "status.containerStatuses"))
	{
		if (wall_parse(json_str_at(it.val, "state.terminated.finishedAt"), &t))
			last.ns = MAX(last.ns, t.ns);
	}
	if (!last.ns && wall_parse(json_str_at(pod, "metadata.deletionTimestamp"), &t))
		last = t;
	return last;
}

int64_t job_backoff_ms(const struct job_plan *p, struct wall now)
{
	struct wall success = { 0 }, last = { 0 };
	int64_t n = 0, wait = BACKOFF_FIRST_MS;

	for (size_t i = 0; i < p->n; i++) {
		if (p->v[i].state == JOB_POD_SUCCEEDED)
			success.ns = MAX(success.ns, job_finished_at(p->v[i].obj).ns);
	}
	for (size_t i = 0; i < p->n; i++) {
		struct wall t = job_finished_at(p->v[i].obj);

		if (p->v[i].state == JOB_POD_FAILED && t.ns > success.ns) {
			last.ns = MAX(last.ns, t.ns);
			n++;
		}
	}
	if (!n)
		return 0;
	while (--n && wait < BACKOFF_MAX_MS)
		wait *= 2;
	return MAX(MIN(wait, BACKOFF_MAX_MS) - (now.ns - last.ns) / NS_PER_MS, 0);
}
