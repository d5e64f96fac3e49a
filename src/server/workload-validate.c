/* SPDX-License-Identifier: Apache-2.0 */

/* Validation of the kinds that keep a number of like Pods, function by function as upstream does
 * it. */

#include "api/meta.h"
#include "api/names.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/pod-spec.h"
#include "server/request.h"
#include "server/valid.h"
#include "server/workload.h"
#include "json/json.h"

#define NO_MATCH "`selector` does not match template `labels`"

bool request_is_status(const struct api_request *rq)
{
	return str_eqz(request_sub(rq), "status");
}

void valid_members_nonnegative(const struct valid *v, const struct place *p, const struct json *obj,
			       const char *const *names)
{
	for (; *names; names++)
		valid_nonnegative(v, AT(p, *names), json_get(obj, *names));
}

/* ---- templates */

void template_validate(const struct valid *v, const struct json *tmpl, const struct place *p)
{
	const struct json *spec = json_get(tmpl, "spec");

	valid_labels(v, AT(p, "labels"), json_at(tmpl, "metadata.labels"));
	valid_annotations(v, AT(p, "annotations"), json_at(tmpl, "metadata.annotations"));
	pod_annotations_validate(v, tmpl, AT(p, "annotations"));
	pod_spec_validate(v, spec, AT(p, "spec"));
	if (json_len(json_get(spec, "ephemeralContainers")))
		valid_forbidden(v, AT(AT(p, "spec"), "ephemeralContainers"),
				"ephemeral containers not allowed in pod template");
}

static void template_always(const struct valid *v, const struct json *tmpl, const struct place *p,
			    const char *kind)
{
	static const char *const supported[] = { "Always", NULL };
	const struct place *spec = AT(p, "spec");
	struct str policy = json_str_at(tmpl, "spec.restartPolicy");

	/* an object without any spec has no Pods to restart */
	if (json_get(tmpl, "spec") && !str_eqz(policy, "Always"))
		valid_unsupported(v, AT(spec, "restartPolicy"), policy, supported);
	if (json_at(tmpl, "spec.activeDeadlineSeconds"))
		valid_forbidden(v, AT(spec, "activeDeadlineSeconds"),
				"activeDeadlineSeconds in %s is not Supported", kind);
}

static void template_no_match(const struct valid *v, const struct json *tmpl, const struct place *p)
{
	const struct place *meta = AT(p, "metadata");

	valid_invalid(v, AT(meta, "labels"), json_at(tmpl, "metadata.labels"), NO_MATCH);
}

/* ---- selectors */

/* The parsed selector; NULL when it cannot be parsed. */
static struct selector *workload_selector(const struct valid *v, const struct json *sel)
{
	struct selector *s = NULL;
	struct err *e = label_selector_from_json(v->a, sel, &s);

	if (!e)
		return s;
	err_ignore(e, "the caller reports it");
	return NULL;
}

static void selector_strict(const struct valid *v, const struct json *sel, const struct place *p,
			    const char *kind)
{
	if (!sel) {
		valid_required(v, p, NULL);
		return;
	}
	valid_selector(v, p, sel);
	if (!json_len(json_get(sel, "matchLabels")) && !json_len(json_get(sel, "matchExpressions")))
		valid_invalid(v, p, sel, "empty selector is invalid for %s", kind);
}

/* Selector and template of ReplicaSet and Deployment. */
static void replicas_template(const struct valid *v, const struct json *spec, const struct place *p)
{
	const struct json *sel = json_get(spec, "selector"), *tmpl = json_get(spec, "template");
	const struct place *at = AT(p, "template");
	struct selector *s = workload_selector(v, sel);

	if (!s) {
		valid_invalid(v, AT(p, "selector"), sel, "invalid label selector");
		return;
	}
	if (!selector_empty(s) && !selector_matches(s, json_at(tmpl, "metadata.labels")))
		template_no_match(v, tmpl, at);
	template_validate(v, tmpl, at);
	template_always(v, tmpl, at, "ReplicaSet");
}

/* ---- statuses */

struct status_rule {
	const char *const *counts;
	const char *const *below_replicas; /* not more than replicas */
	const char *ready_text;
};

static void status_validate(const struct valid *v, const struct json *obj,
			    const struct status_rule *r)
{
	const struct json *status = json_get(obj, "status");
	const struct place *p = AT(NULL, "status");
	int64_t all = json_int_at(status, "replicas", 0);

	valid_members_nonnegative(v, p, status, r->counts);
	for (size_t i = 0; r->below_replicas && r->below_replicas[i]; i++) {
		const struct json *n = json_get(status, r->below_replicas[i]);

		if (json_as_int(n, 0) > all)
			valid_invalid(v, AT(p, r->below_replicas[i]), n,
				      "cannot be greater than status.replicas");
	}
	if (r->ready_text &&
	    json_int_at(status, "availableReplicas", 0) > json_int_at(status, "readyReplicas", 0))
		valid_invalid(v, AT(p, "availableReplicas"), json_get(status, "availableReplicas"),
			      "%s", r->ready_text);
}

static void status_collision(const struct valid *v, const struct json *obj, const struct json *old)
{
	const struct json *was = json_at(old, "status.collisionCount");
	int64_t n = json_int_at(obj, "status.collisionCount", 0);
	const struct place *p = AT(NULL, "status");

	if (was && n < json_as_int(was, 0))
		valid_invalid(v, AT(p, "collisionCount"), json_int(v->a, n),
			      "cannot be decremented");
}

/* ---- ReplicaSet */

static const char *const spec_counts[] = { "replicas", "minReadySeconds", NULL };

void replicaset_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec");
	const struct place *p = AT(NULL, "spec");

	valid_members_nonnegative(&v, p, spec, spec_counts);
	selector_strict(&v, json_get(spec, "selector"), AT(p, "selector"), "deployment");
	replicas_template(&v, spec, p);
}

void replicaset_validate_update(struct api_request *rq, const struct json *obj,
				const struct json *old, struct err **e)
{
	static const char *const counts[] = { "replicas",
					      "fullyLabeledReplicas",
					      "readyReplicas",
					      "availableReplicas",
					      "observedGeneration",
					      "terminatingReplicas",
					      NULL };
	static const char *const below[] = { "fullyLabeledReplicas", "readyReplicas",
					     "availableReplicas", NULL };
	static const struct status_rule rule = { counts, below,
						 "cannot be greater than readyReplicas" };
	const struct valid v = { rq->arena, e };
	const struct place *p = AT(NULL, "spec");

	if (request_is_status(rq))
		status_validate(&v, obj, &rule);
	else
		valid_immutable(&v, AT(p, "selector"), json_at(obj, "spec.selector"),
				json_at(old, "spec.selector"));
}

/* ---- Deployment */

static int64_t int_or_percent(const struct json *v)
{
	int64_t n = 0;

	if (json_is(v, JSON_STR))
		return valid_is_percent(json_as_str(v), &n) ? n : 0;
	return json_as_int(v, 0);
}

static void deployment_rolling(const struct valid *v, const struct json *r, const struct place *p)
{
	const struct json *down = json_get(r, "maxUnavailable"), *up = json_get(r, "maxSurge");

	valid_int_or_percent(v, AT(p, "maxUnavailable"), down);
	valid_int_or_percent(v, AT(p, "maxSurge"), up);
	if (!int_or_percent(down) && !int_or_percent(up))
		valid_invalid(v, AT(p, "maxUnavailable"), down,
			      "may not be 0 when `maxSurge` is 0");
	valid_at_most_100_percent(v, AT(p, "maxUnavailable"), down);
}

/* As Go prints the struct. */
static struct str strategy_text(const struct valid *v, const struct json *s)
{
	return arena_fmt(v->a, "{\"Type\":\"" STR_FMT "\",\"RollingUpdate\":null}",
			 STR_ARG(json_str_at(s, "type")));
}

static struct json *strategy_shown(const struct valid *v, const struct json *s)
{
	struct json *out = NULL;

	err_ignore(json_parse(v->a, strategy_text(v, s), &out), "it is null then");
	return out;
}

static void deployment_strategy_check(const struct valid *v, const struct json *s,
				      const struct place *p)
{
	static const char *const supported[] = { "Recreate", "RollingUpdate", NULL };
	struct str type = json_str_at(s, "type");
	const struct json *rolling = json_get(s, "rollingUpdate");

	if (str_eqz(type, "Recreate")) {
		if (rolling)
			valid_forbidden(v, AT(p, "rollingUpdate"),
					"may not be specified when strategy `type` is 'Recreate'");
	} else if (str_eqz(type, "RollingUpdate")) {
		if (!rolling)
			valid_required(v, AT(p, "rollingUpdate"),
				       "this should be defaulted and never be nil");
		else
			deployment_rolling(v, rolling, AT(p, "rollingUpdate"));
	} else {
		valid_unsupported_json(v, p, strategy_shown(v, s), supported);
	}
}

void deployment_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	static const char *const counts[] = { "minReadySeconds", "revisionHistoryLimit",
					      "progressDeadlineSeconds", NULL };
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec"),
			  *limit = json_get(spec, "progressDeadlineSeconds");
	const struct place *p = AT(NULL, "spec");

	valid_nonnegative(&v, AT(p, "replicas"), json_get(spec, "replicas"));
	selector_strict(&v, json_get(spec, "selector"), AT(p, "selector"), "deployment");
	replicas_template(&v, spec, p);
	deployment_strategy_check(&v, json_get(spec, "strategy"), AT(p, "strategy"));
	valid_members_nonnegative(&v, p, spec, counts);
	if (limit && json_as_int(limit, 0) <= json_int_at(spec, "minReadySeconds", 0))
		valid_invalid(&v, AT(p, "progressDeadlineSeconds"), limit,
			      "must be greater than minReadySeconds");
}

void deployment_validate_update(struct api_request *rq, const struct json *obj,
				const struct json *old, struct err **e)
{
	static const char *const counts[] = {
		"observedGeneration",  "replicas",          "updatedReplicas",
		"readyReplicas",       "availableReplicas", "unavailableReplicas",
		"terminatingReplicas", "collisionCount",    NULL
	};
	static const char *const below[] = { "updatedReplicas", "readyReplicas",
					     "availableReplicas", NULL };
	static const struct status_rule rule = { counts, below,
						 "cannot be greater than readyReplicas" };
	const struct valid v = { rq->arena, e };
	const struct place *p = AT(NULL, "spec");

	if (!request_is_status(rq)) {
		valid_immutable(&v, AT(p, "selector"), json_at(obj, "spec.selector"),
				json_at(old, "spec.selector"));
		return;
	}
	status_validate(&v, obj, &rule);
	status_collision(&v, obj, old);
}

/* ---- DaemonSet */

static void daemonset_rolling(const struct valid *v, const struct json *r, const struct place *p)
{
	const struct json *down = json_get(r, "maxUnavailable"), *up = json_get(r, "maxSurge");
	bool has_down = int_or_percent(down), has_up = int_or_percent(up);

	valid_int_or_percent(v, AT(p, "maxUnavailable"), down);
	valid_int_or_percent(v, AT(p, "maxSurge"), up);
	valid_at_most_100_percent(v, AT(p, "maxUnavailable"), down);
	valid_at_most_100_percent(v, AT(p, "maxSurge"), up);
	if (has_down && has_up)
		valid_invalid(v, AT(p, "maxSurge"), up,
			      "may not be set when maxUnavailable is non-zero");
	else if (!has_down && !has_up)
		valid_required(v, AT(p, "maxUnavailable"), "cannot be 0 when maxSurge is 0");
}

static void daemonset_strategy_check(const struct valid *v, const struct json *s,
				     const struct place *p)
{
	static const char *const supported[] = { "RollingUpdate", "OnDelete", NULL };
	const struct json *rolling = json_get(s, "rollingUpdate");

	if (str_eqz(json_str_at(s, "type"), "OnDelete"))
		return;
	if (!str_eqz(json_str_at(s, "type"), "RollingUpdate"))
		valid_unsupported_json(v, p, strategy_shown(v, s), supported);
	else if (!rolling)
		valid_required(v, AT(p, "rollingUpdate"), NULL);
	else
		daemonset_rolling(v, rolling, AT(p, "rollingUpdate"));
}

void daemonset_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec"), *tmpl = json_get(spec, "template"),
			  *sel = json_get(spec, "selector");
	const struct place *p = AT(NULL, "spec");
	struct selector *s = workload_selector(&v, sel);

	valid_selector(&v, AT(p, "selector"), sel);
	if (s && !selector_matches(s, json_at(tmpl, "metadata.labels")))
		template_no_match(&v, tmpl, AT(p, "template"));
	if (sel && !json_len(json_get(sel, "matchLabels")) &&
	    !json_len(json_get(sel, "matchExpressions")))
		valid_invalid(&v, AT(p, "selector"), sel,
			      "empty selector is invalid for daemonset");
	template_validate(&v, tmpl, AT(p, "template"));
	template_always(&v, tmpl, AT(p, "template"), "DaemonSet");
	valid_nonnegative(&v, AT(p, "minReadySeconds"), json_get(spec, "minReadySeconds"));
	daemonset_strategy_check(&v, json_get(spec, "updateStrategy"), AT(p, "updateStrategy"));
	valid_nonnegative(&v, AT(p, "revisionHistoryLimit"),
			  json_get(spec, "revisionHistoryLimit"));
}

void daemonset_validate_update(struct api_request *rq, const struct json *obj,
			       const struct json *old, struct err **e)
{
	static const char *const counts[] = { "currentNumberScheduled", "numberMisscheduled",
					      "desiredNumberScheduled", "numberReady",
					      "observedGeneration",     "updatedNumberScheduled",
					      "numberAvailable",        "numberUnavailable",
					      "collisionCount",         NULL };
	static const struct status_rule rule = { counts, NULL, NULL };
	const struct valid v = { rq->arena, e };
	const struct place *p = AT(NULL, "spec");

	if (!request_is_status(rq)) {
		valid_immutable(&v, AT(p, "selector"), json_at(obj, "spec.selector"),
				json_at(old, "spec.selector"));
		return;
	}
	status_validate(&v, obj, &rule);
	status_collision(&v, obj, old);
}

/* ---- StatefulSet */

static void statefulset_rolling(const struct valid *v, const struct json *r, const struct place *p)
{
	const struct json *down = json_get(r, "maxUnavailable");

	valid_nonnegative(v, AT(p, "partition"), json_get(r, "partition"));
	if (!down)
		return;
	valid_int_or_percent(v, AT(p, "maxUnavailable"), down);
	if (!int_or_percent(down))
		valid_invalid(v, AT(p, "maxUnavailable"), down, "cannot be 0");
	valid_at_most_100_percent(v, AT(p, "maxUnavailable"), down);
}

static void statefulset_strategies(const struct valid *v, const struct json *spec,
				   const struct place *p)
{
	static const char *const keep[] = { "Retain", "Delete", NULL };
	struct str pods = json_str_at(spec, "podManagementPolicy");
	const struct json *s = json_get(spec, "updateStrategy"),
			  *rolling = json_get(s, "rollingUpdate"),
			  *claims = json_get(spec, "persistentVolumeClaimRetentionPolicy");
	const struct place *sp = AT(p, "updateStrategy"),
			   *cp = AT(p, "persistentVolumeClaimRetentionPolicy");

	if (!str_eqz(pods, "OrderedReady") && !str_eqz(pods, "Parallel"))
		valid_invalid_str(v, AT(p, "podManagementPolicy"), pods,
				  "must be 'OrderedReady' or 'Parallel'");
	if (str_eqz(json_str_at(s, "type"), "OnDelete")) {
		if (rolling) {
			struct json *shown = json_object(v->a);

			json_set_int(v->a, shown, "Partition",
				     json_int_at(rolling, "partition", 0));
			json_set(v->a, shown, "MaxUnavailable", json_null(v->a));
			valid_invalid(v, AT(sp, "rollingUpdate"), shown,
				      "only allowed for updateStrategy 'RollingUpdate'");
		}
	} else if (str_eqz(json_str_at(s, "type"), "RollingUpdate")) {
		statefulset_rolling(v, rolling, AT(sp, "rollingUpdate"));
	} else {
		valid_invalid(v, sp, strategy_shown(v, s), "must be 'RollingUpdate' or 'OnDelete'");
	}
	valid_enum(v, AT(cp, "whenDeleted"), json_get(claims, "whenDeleted"), keep);
	valid_enum(v, AT(cp, "whenScaled"), json_get(claims, "whenScaled"), keep);
}

/* The template as its Pods will be: with a volume for each claim, and names of their own. */
static struct json *statefulset_template(const struct valid *v, const struct json *spec)
{
	struct json *tmpl = json_copy(v->a, json_get(spec, "template")), *volumes, *pod;
	const struct json *claims = json_get(spec, "volumeClaimTemplates");

	pod = json_get(tmpl, "spec");
	json_delz(pod, "subdomain");
	json_delz(pod, "hostname");
	if (!pod || !json_len(claims))
		return tmpl;
	volumes = json_array(v->a);
	json_for_each(it, claims)
	{
		struct json *one = json_object(v->a);
		struct str name = json_str_at(it.val, "metadata.name");

		json_set_str(v->a, one, "name", name);
		json_set_str(v->a, json_sub(v->a, one, "persistentVolumeClaim"), "claimName", name);
		json_push(volumes, one);
	}
	json_for_each(it, json_get(pod, "volumes"))
	{
		if (!json_find_by(volumes, "name", json_str_at(it.val, "name")))
			json_push(volumes, json_copy(v->a, it.val));
	}
	json_set(v->a, pod, "volumes", volumes);
	return tmpl;
}

static void statefulset_pods(const struct valid *v, const struct json *spec, const struct place *p)
{
	const struct json *sel = json_get(spec, "selector");
	struct json *tmpl = statefulset_template(v, spec);
	const struct place *at = AT(p, "template");
	struct selector *s = workload_selector(v, sel);

	if (!s) {
		valid_invalid_bare(v, AT(p, "selector"), sel);
	} else {
		if (!selector_empty(s) && !selector_matches(s, json_at(tmpl, "metadata.labels")))
			template_no_match(v, tmpl, at);
		template_validate(v, tmpl, at);
	}
	template_always(v, json_get(spec, "template"), at, "StatefulSet");
}

void statefulset_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec");
	const struct place *p = AT(NULL, "spec"), *ord = AT(p, "ordinals");

	statefulset_strategies(&v, spec, p);
	valid_members_nonnegative(&v, p, spec, spec_counts);
	valid_nonnegative(&v, AT(ord, "start"), json_at(spec, "ordinals.start"));
	if (!str_empty(json_str_at(spec, "serviceName")) && rq->verb == VERB_CREATE)
		valid_name(&v, AT(p, "serviceName"), json_str_at(spec, "serviceName"),
			   name_check_dns_label);
	selector_strict(&v, json_get(spec, "selector"), AT(p, "selector"), "statefulset");
	statefulset_pods(&v, spec, p);
}

static struct json *statefulset_fixed(struct arena *a, const struct json *obj)
{
	static const char *const free_members[] = { "replicas",
						    "template",
						    "updateStrategy",
						    "minReadySeconds",
						    "ordinals",
						    "revisionHistoryLimit",
						    "persistentVolumeClaimRetentionPolicy" };
	struct json *spec = json_copy(a, json_get(obj, "spec"));

	for (size_t i = 0; i < ARRAY_LEN(free_members); i++)
		json_delz(spec, free_members[i]);
	return spec;
}

void statefulset_validate_update(struct api_request *rq, const struct json *obj,
				 const struct json *old, struct err **e)
{
	static const char *const counts[] = { "replicas",          "readyReplicas",
					      "currentReplicas",   "updatedReplicas",
					      "availableReplicas", "observedGeneration",
					      "collisionCount",    NULL };
	static const char *const below[] = { "readyReplicas", "currentReplicas", "updatedReplicas",
					     "availableReplicas", NULL };
	static const struct status_rule rule = { counts, below,
						 "cannot be greater than status.readyReplicas" };
	const struct valid v = { rq->arena, e };

	if (request_is_status(rq)) {
		status_validate(&v, obj, &rule);
		status_collision(&v, obj, old);
		return;
	}
	if (!json_equal(statefulset_fixed(rq->arena, obj), statefulset_fixed(rq->arena, old)))
		valid_forbidden(&v, AT(NULL, "spec"),
				"updates to statefulset spec for fields other than 'replicas', "
				"'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
				"'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
				"forbidden");
}

/* ---- ReplicationController and PodTemplate */

void rc_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *spec = json_get(obj, "spec"), *sel = json_get(spec, "selector"),
			  *tmpl = json_get(spec, "template");
	const struct place *p = AT(NULL, "spec"), *at = AT(p, "template");

	valid_nonnegative(&v, AT(p, "minReadySeconds"), json_get(spec, "minReadySeconds"));
	if (!json_len(sel))
		valid_required(&v, AT(p, "selector"), NULL);
	valid_nonnegative(&v, AT(p, "replicas"), json_get(spec, "replicas"));
	if (!tmpl) {
		valid_required(&v, at, NULL);
		return;
	}
	if (json_len(sel) && !selector_matches(label_selector_from_map(rq->arena, sel),
					       json_at(tmpl, "metadata.labels")))
		template_no_match(&v, tmpl, at);
	template_validate(&v, tmpl, at);
	template_always(&v, tmpl, at, "ReplicationController");
}

void rc_validate_update(struct api_request *rq, const struct json *obj, const struct json *old,
			struct err **e)
{
	if (request_is_status(rq))
		replicaset_validate_update(rq, obj, old, e);
}

void podtemplate_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct valid v = { rq->arena, e };

	template_validate(&v, json_get(obj, "template"), AT(NULL, "template"));
}
