/* SPDX-License-Identifier: Apache-2.0 */

/* Validation of Jobs and CronJobs. */

#include "server/batch-validate.h"

#include <unistd.h>

#include "api/cron.h"
#include "api/meta.h"
#include "api/names.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/request.h"
#include "server/valid.h"
#include "server/workload.h"
#include "json/json.h"

#define PARALLELISM_MAX    100000
#define FAILED_INDEXES_MAX 100000
#define RULES_MAX          20
#define VALUES_MAX         255
#define COMPLETIONS_SOFT   100000
#define PARALLELISM_HIGH   10000
#define CRONJOB_NAME_MAX   52
#define MANAGED_BY_MAX     63
#define ZONE_DIR           "/usr/share/zoneinfo/"

static bool job_is_indexed(const struct json *spec)
{
	return str_eqz(json_str_at(spec, "completionMode"), "Indexed");
}

/* ---- policies */

static bool template_has_container(const struct json *spec, struct str name)
{
	const struct json *pod = json_at(spec, "template.spec");

	return json_find_by(json_get(pod, "containers"), "name", name) ||
	       json_find_by(json_get(pod, "initContainers"), "name", name);
}

static void exit_values(const struct valid *v, const struct json *codes, const struct place *p)
{
	const struct json *values = json_get(codes, "values");
	bool in = str_eqz(json_str_at(codes, "operator"), "In"), ordered = true;

	if (!json_len(values))
		valid_invalid(v, p, values ? values : json_array(v->a),
			      "at least one value is required");
	else if (json_len(values) > VALUES_MAX)
		valid_too_many(v, p, json_len(values), VALUES_MAX);
	json_for_each(it, values)
	{
		int64_t n = json_as_int(it.val, 0);
		bool dup = false;

		if (it.i >= VALUES_MAX)
			break;
		if (in && !n)
			valid_invalid(v, AT_IDX(p, it.i), it.val,
				      "must not be 0 for the In operator");
		for (size_t k = 0; k < it.i; k++)
			dup |= json_equal(json_idx(values, k), it.val);
		if (dup)
			valid_duplicate(v, AT_IDX(p, it.i), it.val);
		if (it.i && json_as_int(json_idx(values, it.i - 1), 0) > n)
			ordered = false;
	}
	if (!ordered)
		valid_invalid(v, p, values, "must be ordered");
}

static void exit_codes(const struct valid *v, const struct json *spec, const struct json *codes,
		       const struct place *p)
{
	static const char *const operators[] = { "In", "NotIn", NULL };
	const struct json *name = json_get(codes, "containerName");

	if (str_empty(json_str_at(codes, "operator")))
		valid_required(v, AT(p, "operator"), "valid values: [\"In\" \"NotIn\"]");
	valid_enum(v, AT(p, "operator"), json_get(codes, "operator"), operators);
	if (name && !template_has_container(spec, json_as_str(name)))
		valid_invalid(v, AT(p, "containerName"), name,
			      "must be one of the container or initContainer names in the pod "
			      "template");
	exit_values(v, codes, AT(p, "values"));
}

static void pod_conditions(const struct valid *v, const struct json *list, const struct place *p)
{
	static const char *const statuses[] = { "False", "True", "Unknown", NULL };

	if (json_len(list) > RULES_MAX)
		valid_too_many(v, p, json_len(list), RULES_MAX);
	json_for_each(it, list)
	{
		const struct place *at = AT_IDX(p, it.i);

		valid_name(v, AT(at, "type"), json_str_at(it.val, "type"), name_check_qualified);
		valid_enum(v, AT(at, "status"), json_get(it.val, "status"), statuses);
	}
}

static void failure_rule(const struct valid *v, const struct json *spec, const struct json *rule,
			 const struct place *p)
{
	static const char *const actions[] = { "Count", "FailIndex", "FailJob", "Ignore", NULL };
	const struct json *codes = json_get(rule, "onExitCodes");
	const struct json *conditions = json_get(rule, "onPodConditions");
	struct str action = json_str_at(rule, "action");

	if (str_empty(action))
		valid_required(v, AT(p, "action"),
			       "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
	else if (str_eqz(action, "FailIndex") && !json_get(spec, "backoffLimitPerIndex"))
		valid_invalid_str(v, AT(p, "action"), action,
				  "requires the backoffLimitPerIndex to be set");
	valid_enum(v, AT(p, "action"), json_get(rule, "action"), actions);
	if (codes)
		exit_codes(v, spec, codes, AT(p, "onExitCodes"));
	if (json_len(conditions))
		pod_conditions(v, conditions, AT(p, "onPodConditions"));
	if (codes && json_len(conditions))
		valid_invalid_omit(v, p,
				   "specifying both OnExitCodes and OnPodConditions is not "
				   "supported");
	if (!codes && !json_len(conditions))
		valid_invalid_omit(v, p,
				   "specifying one of OnExitCodes and OnPodConditions is "
				   "required");
}

static void failure_policy(const struct valid *v, const struct json *spec, const struct place *up)
{
	const struct json *rules = json_at(spec, "podFailurePolicy.rules");
	const struct place *p = AT(AT(up, "podFailurePolicy"), "rules");

	if (json_len(rules) > RULES_MAX)
		valid_too_many(v, p, json_len(rules), RULES_MAX);
	json_for_each(it, rules) failure_rule(v, spec, it.val, AT_IDX(p, it.i));
}

/* As Go prints the struct. */
static struct json *success_shown(const struct valid *v, const struct json *policy)
{
	struct json *out = json_object(v->a), *rules = json_sub_array(v->a, out, "Rules");

	json_for_each(it, json_get(policy, "rules"))
	{
		struct json *one = json_object(v->a);
		const struct json *idx = json_get(it.val, "succeededIndexes"),
				  *n = json_get(it.val, "succeededCount");

		json_set(v->a, one, "SucceededIndexes",
			 idx ? json_copy(v->a, idx) : json_null(v->a));
		json_set(v->a, one, "SucceededCount", n ? json_copy(v->a, n) : json_null(v->a));
		json_push(rules, one);
	}
	return out;
}

static void success_policy(const struct valid *v, const struct json *spec, const struct place *up)
{
	const struct json *policy = json_get(spec, "successPolicy"),
			  *rules = json_get(policy, "rules");
	const struct place *p = AT(up, "successPolicy"), *list = AT(p, "rules");
	int64_t completions = json_int_at(spec, "completions", 0);

	if (!policy)
		return;
	if (!job_is_indexed(spec)) {
		valid_invalid(v, p, success_shown(v, policy), "requires indexed completion mode");
		return;
	}
	if (!json_len(rules))
		valid_required(v, list,
			       "at least one rules must be specified when the successPolicy is "
			       "specified");
	if (json_len(rules) > RULES_MAX)
		valid_too_many(v, list, json_len(rules), RULES_MAX);
	json_for_each(it, rules)
	{
		const struct json *n = json_get(it.val, "succeededCount");
		const struct place *at = AT_IDX(list, it.i), *count = AT(at, "succeededCount");

		if (!n && !json_get(it.val, "succeededIndexes"))
			valid_required(v, at,
				       "at least one of succeededCount or succeededIndexes must be "
				       "specified");
		valid_nonnegative(v, count, n);
		if (n && json_as_int(n, 0) > completions)
			valid_invalid(v, count, n,
				      "must be less than or equal to %lld (the number of specified "
				      "completions)",
				      (long long)completions);
	}
}

/* ---- the spec */

static void job_indexed(const struct valid *v, const struct json *spec, const struct place *p)
{
	const struct json *completions = json_get(spec, "completions"),
			  *parallel = json_get(spec, "parallelism"),
			  *failed = json_get(spec, "maxFailedIndexes");
	int64_t n = json_as_int(completions, 0);

	if (!completions)
		valid_required(v, AT(p, "completions"), "when completion mode is Indexed");
	if (json_as_int(parallel, 0) > PARALLELISM_MAX)
		valid_invalid(v, AT(p, "parallelism"), parallel,
			      "must be less than or equal to %d when completion mode is Indexed",
			      PARALLELISM_MAX);
	if (completions && json_as_int(failed, 0) > n)
		valid_invalid(v, AT(p, "maxFailedIndexes"), failed,
			      "must be less than or equal to completions");
	if (json_as_int(failed, 0) > FAILED_INDEXES_MAX)
		valid_invalid(v, AT(p, "maxFailedIndexes"), failed,
			      "must be less than or equal to %d", FAILED_INDEXES_MAX);
	if (n <= COMPLETIONS_SOFT || !json_get(spec, "backoffLimitPerIndex"))
		return;
	if (!failed)
		valid_required(v, AT(p, "maxFailedIndexes"),
			       "must be specified when completions is above 100000");
	if (json_as_int(parallel, 0) > PARALLELISM_HIGH)
		valid_invalid(v, AT(p, "parallelism"), parallel,
			      "must be less than or equal to %d when completions are above %d and "
			      "used with backoff limit per index",
			      PARALLELISM_HIGH, COMPLETIONS_SOFT);
}

static void job_not_indexed(const struct valid *v, const struct json *spec, const struct place *p)
{
	static const char *const members[] = { "backoffLimitPerIndex", "maxFailedIndexes" };

	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		const struct json *x = json_get(spec, members[i]);

		if (x)
			valid_invalid(v, AT(p, members[i]), x, "requires indexed completion mode");
	}
}

static void job_managed_by(const struct valid *v, const struct json *spec, const struct place *p)
{
	const struct json *by = json_get(spec, "managedBy");
	struct str s = json_as_str(by);
	size_t slash = str_find_char(s, '/', 0);

	if (!by)
		return;
	if (slash == s.n || !slash || slash + 1 == s.n)
		valid_invalid(v, p, by, "must be a domain-prefixed path (such as \"acme.io/foo\")");
	else
		valid_name(v, p, str_sub(s, 0, slash), name_check_dns_subdomain);
	if (s.n > MANAGED_BY_MAX)
		valid_too_long(v, p, MANAGED_BY_MAX);
}

static void job_restarts(const struct valid *v, const struct json *spec, const struct place *p)
{
	static const char *const policies[] = { "OnFailure", "Never", NULL };
	const struct place *at = AT(AT(AT(p, "template"), "spec"), "restartPolicy");
	struct str policy = json_str_at(spec, "template.spec.restartPolicy");

	if (str_empty(policy) || str_eqz(policy, "Always"))
		valid_required(v, at, "valid values: \"OnFailure\", \"Never\"");
	else if (!str_eqz(policy, "OnFailure") && !str_eqz(policy, "Never"))
		valid_unsupported(v, at, policy, policies);
	else if (json_get(spec, "podFailurePolicy") && !str_eqz(policy, "Never"))
		valid_invalid_str(v, at, policy,
				  "only \"Never\" is supported when podFailurePolicy is specified");
}

/* What Jobs and the templates of CronJobs have in common. */
static void job_spec_validate(const struct valid *v, const struct json *spec, const struct place *p)
{
	static const char *const counts[] = { "parallelism",
					      "completions",
					      "activeDeadlineSeconds",
					      "backoffLimit",
					      "ttlSecondsAfterFinished",
					      "backoffLimitPerIndex",
					      "maxFailedIndexes",
					      NULL };
	static const char *const modes[] = { "NonIndexed", "Indexed", NULL };
	static const char *const replace[] = { "Failed", "TerminatingOrFailed", NULL };
	static const char *const replace_failed[] = { "Failed", NULL };

	valid_members_nonnegative(v, p, spec, counts);
	if (json_get(spec, "maxFailedIndexes") && !json_get(spec, "backoffLimitPerIndex"))
		valid_required(v, AT(p, "backoffLimitPerIndex"),
			       "when maxFailedIndexes is specified");
	job_managed_by(v, spec, AT(p, "managedBy"));
	valid_enum(v, AT(p, "completionMode"), json_get(spec, "completionMode"), modes);
	if (job_is_indexed(spec))
		job_indexed(v, spec, p);
	else
		job_not_indexed(v, spec, p);
	failure_policy(v, spec, p);
	success_policy(v, spec, p);
	valid_enum(v, AT(p, "podReplacementPolicy"), json_get(spec, "podReplacementPolicy"),
		   json_get(spec, "podFailurePolicy") ? replace_failed : replace);
	template_validate(v, json_get(spec, "template"), AT(p, "template"));
	job_restarts(v, spec, p);
}

/* ---- Job */

static void job_generated(const struct valid *v, const struct json *obj, const struct json *sel)
{
	static const char *const uid_labels[] = { "controller-uid",
						  "batch.kubernetes.io/controller-uid" };
	static const char *const name_labels[] = { "job-name", "batch.kubernetes.io/job-name" };
	const struct json *labels = json_at(obj, "spec.template.metadata.labels");
	struct json *expected = json_object(v->a);
	const struct place *p = AT(NULL, "spec"),
			   *meta = AT(AT(AT(p, "template"), "metadata"), "labels");
	struct selector *s = NULL;

	for (size_t i = 0; i < 2; i++) {
		json_set_str(v->a, expected, uid_labels[i], meta_uid(obj));
		json_set_str(v->a, expected, name_labels[i], meta_name(obj));
	}
	json_for_each(it, expected)
	{
		const struct json *have = json_get_s(labels, it.key);

		if (!have)
			valid_required(v, meta,
				       arena_fmt(v->a, "must be '" STR_FMT "'",
						 STR_ARG(json_as_str(it.val)))
					       .p);
		else if (!json_equal(have, it.val))
			valid_invalid(v, meta, labels, "must be '" STR_FMT "'",
				      STR_ARG(json_as_str(it.val)));
	}
	err_ignore(label_selector_from_json(v->a, sel, &s), "the selector's own check says so");
	if (s && !selector_matches(s, expected))
		valid_invalid(v, AT(p, "selector"), sel, "`selector` not auto-generated");
}

void job_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec"), *sel = json_get(spec, "selector"),
			  *labels = json_at(spec, "template.metadata.labels");
	const struct place *p = AT(NULL, "spec"),
			   *meta = AT(AT(AT(p, "template"), "metadata"), "labels");
	struct selector *s = NULL;

	if (sel && !json_bool_at(spec, "manualSelector", false))
		job_generated(&v, obj, sel);
	job_spec_validate(&v, spec, p);
	if (!sel)
		valid_required(&v, AT(p, "selector"), NULL);
	else
		valid_selector(&v, AT(p, "selector"), sel);
	err_ignore(label_selector_from_json(rq->arena, sel, &s), "reported above");
	if (s && !selector_matches(s, labels))
		valid_invalid(&v, meta, labels, "`selector` does not match template `labels`");
}

static void job_status_validate(const struct valid *v, const struct json *obj,
				const struct json *old)
{
	static const char *const counts[] = { "active", "succeeded",   "failed",
					      "ready",  "terminating", NULL };
	static const char *const terminal[] = { "Failed", "Complete", "FailureTarget" };
	const struct json *is = json_get(obj, "status"), *was = json_get(old, "status");
	const struct place *p = AT(NULL, "status"), *conditions = AT(p, "conditions");
	bool complete = condition_is_true(is, "Complete"), failed = condition_is_true(is, "Failed");
	bool met = condition_is_true(is, "SuccessCriteriaMet");
	bool newly_complete = complete && !condition_is_true(was, "Complete");
	bool newly_failed = failed && !condition_is_true(was, "Failed");
	bool newly = newly_complete || newly_failed;

	valid_members_nonnegative(v, p, is, counts);
	if (complete && failed && newly)
		valid_invalid_omit(v, conditions,
				   "cannot set Complete=True and Failed=true conditions");
	if (complete && condition_is_true(is, "FailureTarget") && newly)
		valid_invalid_omit(v, conditions,
				   "cannot set Complete=True and FailureTarget=true conditions");
	if (newly_complete && !json_get(is, "completionTime"))
		valid_required(v, AT(p, "completionTime"),
			       "completionTime is required for Complete jobs");
	if (json_get(is, "completionTime") && !complete)
		valid_invalid(v, AT(p, "completionTime"), json_get(is, "completionTime"),
			      "cannot set completionTime when there is no Complete=True condition");
	if (newly_failed && !condition_is_true(is, "FailureTarget"))
		valid_invalid_omit(v, conditions,
				   "cannot set Failed=True condition without the "
				   "FailureTarget=true condition");
	if (newly_complete && !met)
		valid_invalid_omit(v, conditions,
				   "cannot set Complete=True condition without the "
				   "SuccessCriteriaMet=true condition");
	if (newly && json_int_at(is, "active", 0) > 0)
		valid_invalid(v, AT(p, "active"), json_get(is, "active"),
			      "active>0 is invalid for finished job");
	if (newly && !json_get(is, "startTime"))
		valid_required(v, AT(p, "startTime"), "startTime is required for finished job");
	if (json_int_at(is, "ready", 0) > json_int_at(is, "active", 0))
		valid_invalid(v, AT(p, "ready"), json_get(is, "ready"),
			      "cannot set more ready pods than active");
	for (size_t i = 0; i < ARRAY_LEN(terminal); i++) {
		if (condition_is_true(was, terminal[i]) && !condition_is_true(is, terminal[i]))
			valid_invalid_omit(
				v, conditions,
				arena_fmt(v->a, "cannot disable the terminal %s=True condition",
					  terminal[i])
					.p);
	}
	if (json_int_at(is, "failed", 0) < json_int_at(was, "failed", 0))
		valid_invalid(v, AT(p, "failed"), json_int(v->a, json_int_at(is, "failed", 0)),
			      "cannot decrease the failed counter");
}

/* What a suspended Job that never started may still change of its template. */
static struct json *job_template_fixed(const struct valid *v, const struct json *obj, bool free)
{
	static const char *const members[] = { "nodeSelector", "tolerations", "schedulingGates" };
	struct json *t = json_copy(v->a, json_at(obj, "spec.template")), *spec, *affinity;

	if (!free)
		return t;
	spec = json_get(t, "spec");
	affinity = json_get(spec, "affinity");
	json_delz(t, "metadata");
	for (size_t i = 0; i < ARRAY_LEN(members); i++)
		json_delz(spec, members[i]);
	json_delz(affinity, "nodeAffinity");
	if (affinity && !json_len(affinity))
		json_delz(spec, "affinity");
	json_for_each(it, json_get(spec, "containers")) json_delz(it.val, "resources");
	json_for_each(it, json_get(spec, "initContainers")) json_delz(it.val, "resources");
	return t;
}

void job_validate_update(struct api_request *rq, const struct json *obj, const struct json *old,
			 struct err **e)
{
	static const char *const fixed[] = { "selector",         "completionMode",
					     "podFailurePolicy", "backoffLimitPerIndex",
					     "managedBy",        "successPolicy" };
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec"), *was = json_get(old, "spec");
	const struct place *p = AT(NULL, "spec");
	bool free = json_bool_at(was, "suspend", false) && !json_at(old, "status.startTime");
	const struct json *n = json_get(spec, "completions");

	if (request_is_status(rq)) {
		job_status_validate(&v, obj, old);
		return;
	}
	if (!job_is_indexed(spec))
		valid_immutable(&v, AT(p, "completions"), n, json_get(was, "completions"));
	else if (n && !valid_same(n, json_get(was, "completions")) &&
		 !json_equal(n, json_get(spec, "parallelism")))
		valid_invalid(&v, AT(p, "completions"), n,
			      "can only be modified in tandem with spec.parallelism");
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
		valid_immutable(&v, AT(p, fixed[i]), json_get(spec, fixed[i]),
				json_get(was, fixed[i]));
		if (i == 0 && !json_equal(job_template_fixed(&v, obj, free),
					  job_template_fixed(&v, old, free)))
			valid_invalid(&v, AT(p, "template"), json_get(spec, "template"),
				      "field is immutable");
	}
}

/* ---- CronJob */

static bool zone_part_ok(struct str s)
{
	if (str_empty(s) || s.n > 14 || str_eqz(s, ".") || str_eqz(s, "..") || s.p[0] == '-')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '.' || c == '-' || c == '_' || c == '+'))
			return false;
	}
	return true;
}

static bool zone_exists(const struct valid *v, struct str zone)
{
	struct str rest = zone, part;

	while (str_split_next(&rest, '/', &part)) {
		if (!zone_part_ok(part))
			return false;
	}
	return str_eqz(zone, "UTC") || str_eq_nocase(zone, STR("Local")) ||
	       access(arena_fmt(v->a, ZONE_DIR STR_FMT, STR_ARG(zone)).p, R_OK) == 0;
}

static void cronjob_zone(const struct valid *v, const struct json *spec, const struct place *p)
{
	const struct json *zone = json_get(spec, "timeZone");
	struct str name = json_as_str(zone);

	if (!zone)
		return;
	if (str_empty(name))
		valid_invalid(v, p, zone, "timeZone must be nil or non-empty string");
	else if (!zone_exists(v, name))
		valid_invalid(v, p, zone, "unknown time zone " STR_FMT, STR_ARG(name));
	else if (str_eq_nocase(name, STR("Local")))
		valid_invalid(v, p, zone,
			      "timeZone must be an explicit time zone as defined in "
			      "https://www.iana.org/time-zones");
}

static void cronjob_schedule(const struct valid *v, const struct json *spec, const struct place *p)
{
	struct str text = json_str_at(spec, "schedule");
	struct cron cron;
	const char *bad;

	if (str_empty(text)) {
		valid_required(v, p, NULL);
		return;
	}
	bad = cron_parse(v->a, text, &cron);
	if (bad)
		valid_invalid_str(v, p, text, "%s", bad);
	if (str_contains(text, STR("TZ")))
		valid_invalid_str(v, p, text,
				  "cannot use TZ or CRON_TZ in schedule, use timeZone field "
				  "instead");
}

void cronjob_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	static const char *const policies[] = { "Allow", "Forbid", "Replace", NULL };
	static const char *const counts[] = { "successfulJobsHistoryLimit",
					      "failedJobsHistoryLimit", NULL };
	static const char *const automatic[] = { "nil", "false", NULL };
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec"), *job = json_at(spec, "jobTemplate.spec");
	const struct place *p = AT(NULL, "spec"), *jp = AT(AT(p, "jobTemplate"), "spec");

	cronjob_schedule(&v, spec, AT(p, "schedule"));
	valid_nonnegative(&v, AT(p, "startingDeadlineSeconds"),
			  json_get(spec, "startingDeadlineSeconds"));
	cronjob_zone(&v, spec, AT(p, "timeZone"));
	valid_enum(&v, AT(p, "concurrencyPolicy"), json_get(spec, "concurrencyPolicy"), policies);
	job_spec_validate(&v, job, jp);
	if (json_get(job, "selector"))
		valid_invalid(&v, AT(jp, "selector"), json_get(job, "selector"),
			      "`selector` will be auto-generated");
	if (json_bool_at(job, "manualSelector", false))
		valid_unsupported_json(&v, AT(jp, "manualSelector"), json_bool(rq->arena, true),
				       automatic);
	valid_members_nonnegative(&v, p, spec, counts);
	if (rq->verb == VERB_CREATE && meta_name(obj).n > CRONJOB_NAME_MAX)
		valid_invalid_str(&v, AT(AT(NULL, "metadata"), "name"), meta_name(obj),
				  "must be no more than 52 characters");
}
