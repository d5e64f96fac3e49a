/* SPDX-License-Identifier: Apache-2.0 */

#include "control/pods.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "client/rest.h"
#include "control/control.h"
#include "json/json.h"
#include "json/patch.h"

static struct json *pod_status_copy(struct arena *a, const struct json *pod)
{
	const struct json *status = json_get(pod, "status");

	return status ? json_copy(a, status) : json_object(a);
}

static struct err *pod_patch_status(struct client *c, struct arena *a, const struct json *pod,
				    struct json *status)
{
	struct json *from = json_object(a);
	struct json *to = json_object(a);
	struct json *patch;

	json_set(a, from, "status", pod_status_copy(a, pod));
	json_set(a, to, "status", status);
	patch = json_merge_diff(a, from, to);
	if (!json_len(patch))
		return NULL;
	json_set_str(a, json_sub(a, patch, "metadata"), "uid", meta_uid(pod));
	return client_patch(c, a, gvr_pods, meta_namespace(pod), meta_name(pod), "status",
			    CLIENT_PATCH_MERGE, patch, NULL);
}

struct err *pod_mark_disrupted(struct client *c, struct arena *a, const struct json *pod,
			       const char *reason, struct str message, bool fail)
{
	struct json *status = pod_status_copy(a, pod);

	condition_set(a, status, "DisruptionTarget", "True", str_from(reason), message, wall_now());
	if (fail)
		json_set_str(a, status, "phase", STR("Failed"));
	return pod_patch_status(c, a, pod, status);
}

struct err *pod_mark_not_ready(struct client *c, struct arena *a, const struct json *pod)
{
	struct json *status = pod_status_copy(a, pod);

	if (!condition_is_true(status, "Ready"))
		return NULL;
	condition_set(a, status, "Ready", "False", STR_EMPTY, STR_EMPTY, wall_now());
	return pod_patch_status(c, a, pod, status);
}

bool pod_toleration_covers(const struct json *toleration, const struct json *taint)
{
	struct str effect = json_as_str(json_get(toleration, "effect"));
	struct str key = json_as_str(json_get(toleration, "key"));
	struct str op = json_as_str(json_get(toleration, "operator"));

	if (!str_empty(effect) && !str_eq(effect, json_as_str(json_get(taint, "effect"))))
		return false;
	if (!str_empty(key) && !str_eq(key, json_as_str(json_get(taint, "key"))))
		return false;
	if (str_eqz(op, "Exists"))
		return true;
	return !str_empty(key) && str_eq(json_as_str(json_get(toleration, "value")),
					 json_as_str(json_get(taint, "value")));
}
