/* SPDX-License-Identifier: Apache-2.0 */

/* The status on its way to the API: rendered, compared with the last one, sent as a patch. */

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "client/rest.h"
#include "node/agent.h"
#include "node/pod-status.h"
#include "node/pod.h"

static struct json *report_volume_mounts(struct arena *a, const struct json *pod,
					 const struct json *container)
{
	struct json *list = json_array(a);

	json_for_each(it, json_get(container, "volumeMounts"))
	{
		struct str name = json_str_at(it.val, "name");
		bool ro = json_bool_at(it.val, "readOnly", false);
		struct json *m = json_object(a);

		json_set_str(a, m, "name", name);
		json_set_str(a, m, "mountPath", json_str_at(it.val, "mountPath"));
		if (ro) {
			json_set_bool(a, m, "readOnly", true);
			json_set_str(a, m, "recursiveReadOnly", STR("Disabled"));
		}
		json_push(list, m);
	}
	return list;
}

/* The digests of image volumes, kept from the time they were mounted. */
static void report_image_refs(struct arena *a, struct pod *p, struct json *mounts)
{
	json_for_each(it, mounts)
	{
		struct str ref =
			p->image_refs.n
				? str_from(map_find(&p->image_refs, json_str_at(it.val, "name")))
				: STR_EMPTY;

		if (ref.n)
			json_set_at(a, it.val, "volumeStatus.image.imageRef", json_str(a, ref));
	}
}

static struct container_view *report_views(struct pod *p, struct arena *a, const struct json *pod,
					   size_t *ret_n)
{
	static const char *const lists[] = { "spec.initContainers", "spec.containers" };
	size_t cap = json_len(json_at(pod, lists[0])) + json_len(json_at(pod, lists[1])), n = 0;
	struct container_view *v = arena_array(a, cap + 1, sizeof(*v));

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_for_each(it, json_at(pod, lists[i]))
		{
			struct str name = json_str_at(it.val, "name");
			struct pod_container *c = pod_container_get(p, name);

			v[n] = (struct container_view){
				.name = name,
				.waiting_reason = str_from(c->waiting_reason),
				.waiting_message = str_from(c->waiting_message),
				.started = c->started,
				.ready = c->ready,
				.volume_mounts = report_volume_mounts(a, pod, it.val),
			};
			report_image_refs(a, p, v[n].volume_mounts);
			n++;
		}
	}
	*ret_n = n;
	return v;
}

/* What was set before and is not any more has to be removed by name. */
static void report_nulls(struct arena *a, const struct json *old, struct json *patch)
{
	static const char *const keys[] = { "reason", "message", "podIP", "podIPs" };
	static const char *const condition_keys[] = { "reason", "message" };

	/* conditions are merged member by member */
	json_for_each(it, json_get(patch, "conditions")) for (size_t i = 0;
							      i < ARRAY_LEN(condition_keys);
							      i++) if (!json_get(it.val,
										 condition_keys[i]))
		json_set(a, it.val, condition_keys[i], json_null(a));

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (json_get(old, keys[i]) && !json_get(patch, keys[i]))
			json_set(a, patch, keys[i], json_null(a));
}

static struct err *report_send(struct pod *p, struct arena *a, const struct json *pod,
			       struct json *status)
{
	struct json *patch = json_object(a), *resp;

	json_set_at(a, patch, "metadata.uid", json_strz(a, p->uid));
	report_nulls(a, json_get(pod, "status"), status);
	json_set(a, patch, "status", status);
	return client_patch(p->agent->client, a, GVR("", "v1", "pods"), str_from(p->ns),
			    str_from(p->name), "status", CLIENT_PATCH_STRATEGIC, patch, &resp);
}

struct err *pod_report(struct pod *p, struct arena *a, const struct json *pod,
		       const struct rt_pod *rt)
{
	struct status_input in = {
		.pod = pod,
		.rt = rt,
		.node_ip = p->agent->cfg.ip,
		.now = wall_now(),
		.ended = p->ended,
		.failed_reason = str_from(p->failed_reason),
		.failed_message = str_from(p->failed_message),
	};
	struct json *status;
	struct err *e;

	if (!pod || p->gone)
		return NULL;
	in.views = report_views(p, a, pod, &in.n_views);
	status = pod_status_render(a, &in);
	if (pod_phase_is_final(json_str_at(status, "phase")) &&
	    !pod_phase_is_final(json_str_at(pod, "status.phase")))
		pod_due(p, 1);
	if (json_equal(status, json_get(pod, "status")))
		return NULL;
	e = report_send(p, a, pod, json_copy(a, status));
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "deleted; the informer will say so");
		return NULL;
	}
	TRY(e);
	free(p->status);
	p->status = mem_strdup(json_text(a, status));
	return NULL;
}
