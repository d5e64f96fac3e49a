/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/storage/datavolume-plan.h"

#include "api/meta.h"
#include "base/arena.h"
#include "virt/launcher-api.h"
#include "virt/names.h"
#include "virt/storage/importer.h"
#include "json/json.h"

#define LABEL_APP         "app"
#define APP_NAME          "containerized-data-importer"
#define ANNO_CONTENT_TYPE "cdi.kubevirt.io/storage.contentType"

/* facts */

static bool phase_is(const struct json *obj, const char *phase)
{
	return str_eqz(json_str_at(obj, "status.phase"), phase);
}

static bool is_done(const struct dv_world *w)
{
	return phase_is(w->dv, "Succeeded") || (w->pod && phase_is(w->pod, "Succeeded"));
}

static bool binds_at_once(const struct json *dv)
{
	return json_path(dv, "metadata", "annotations", ANNO_DV_BIND_IMMEDIATE, NULL) != NULL;
}

/* Nothing may use the claim yet, or a consumer has been found already. */
static bool must_wait(const struct dv_world *w)
{
	return !phase_is(w->claim, "Bound") && w->waits_for_consumer && !binds_at_once(w->dv);
}

static const struct json *container_status(const struct json *pod)
{
	return json_idx(json_at(pod, "status.containerStatuses"), 0);
}

static bool pod_runs(const struct json *pod)
{
	return json_at(container_status(pod), "state.running") != NULL;
}

const char *dv_unsupported_source(const struct json *dv)
{
	const struct json *source = json_at(dv, "spec.source");

	if (json_get(source, "http") || json_get(source, "blank"))
		return NULL;
	return "only the sources http and blank are supported";
}

/* what to do */

enum dv_act dv_decide(const struct dv_world *w)
{
	if (meta_deleting(w->dv) || dv_unsupported_source(w->dv))
		return DV_NONE;
	if (is_done(w))
		return w->pod && !meta_deleting(w->pod) ? DV_DELETE_POD : DV_NONE;
	if (!w->claim)
		return DV_CREATE_CLAIM;
	if (w->pod || meta_deleting(w->claim) || must_wait(w))
		return DV_NONE;
	return DV_CREATE_POD;
}

/* status */

static struct str next_phase(const struct dv_world *w)
{
	if (is_done(w))
		return STR("Succeeded");
	if (!w->claim)
		return STR("Pending");
	if (must_wait(w))
		return STR("WaitForFirstConsumer");
	if (!w->pod)
		return phase_is(w->claim, "Bound") ? STR("PVCBound") : STR("Pending");
	if (pod_runs(w->pod) || json_at(container_status(w->pod), "lastState.terminated"))
		return STR("ImportInProgress");
	return STR("ImportScheduled");
}

static void set(struct arena *a, struct json *status, const char *type, bool value,
		const char *reason, struct str message, struct wall now)
{
	condition_set(a, status, type, value ? "True" : "False", str_from(reason), message, now);
	json_set_str(a, json_find_by(json_get(status, "conditions"), "type", str_from(type)),
		     "lastHeartbeatTime",
		     json_str_at(condition_find(status, type), "lastTransitionTime"));
}

static void set_bound(struct arena *a, const struct dv_world *w, struct json *status)
{
	struct str name = meta_name(w->dv);

	if (!w->claim)
		set(a, status, "Bound", false, "NotFound", STR("No PVC found"), w->now);
	else if (phase_is(w->claim, "Bound"))
		set(a, status, "Bound", true, "Bound",
		    arena_fmt(a, "PVC " STR_FMT " Bound", STR_ARG(name)), w->now);
	else
		set(a, status, "Bound", false, "Pending",
		    arena_fmt(a, "PVC " STR_FMT " Pending", STR_ARG(name)), w->now);
}

/* Why the importer ended last time, in its own words. */
static struct str last_failure(const struct json *pod)
{
	static const char *const places[] = { "state.terminated", "lastState.terminated" };

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		const struct json *t = json_at(container_status(pod), places[i]);

		if (t && json_int_at(t, "exitCode", 0))
			return str_trim(json_str_at(t, "message"));
	}
	return STR_EMPTY;
}

static void set_running(struct arena *a, const struct dv_world *w, struct json *status)
{
	const struct json *waiting = json_at(container_status(w->pod), "state.waiting");
	struct str failure = w->pod ? last_failure(w->pod) : STR_EMPTY;
	const char *unsupported = dv_unsupported_source(w->dv);

	if (unsupported)
		set(a, status, "Running", false, "Error", str_from(unsupported), w->now);
	else if (is_done(w))
		set(a, status, "Running", false, "Completed", STR("Import Complete"), w->now);
	else if (w->pod && pod_runs(w->pod))
		set(a, status, "Running", true, "Pod is running", failure, w->now);
	else if (!str_empty(failure))
		set(a, status, "Running", false,
		    str_empty(json_str_at(waiting, "reason"))
			    ? "Error"
			    : arena_strz(a, json_str_at(waiting, "reason")),
		    failure, w->now);
	else
		set(a, status, "Running", false,
		    waiting ? arena_strz(a, json_str_at(waiting, "reason")) : "",
		    json_str_at(waiting, "message"), w->now);
}

static void set_progress(struct arena *a, const struct dv_world *w, struct json *status)
{
	if (is_done(w))
		json_set_str(a, status, "progress", STR("100.0%"));
	else if (!str_empty(w->progress))
		json_set_str(a, status, "progress", w->progress);
	else if (!json_get(status, "progress"))
		json_set_str(a, status, "progress", STR("N/A"));
}

void dv_status_update(struct arena *a, const struct dv_world *w, struct json *dv)
{
	struct json *status = json_sub(a, dv, "status");
	struct str phase = next_phase(w);
	int64_t restarts = json_int_at(container_status(w->pod), "restartCount", 0);

	json_set_str(a, status, "phase", phase);
	if (w->claim)
		json_set_str(a, status, "claimName", meta_name(dv));
	if (restarts)
		json_set_int(a, status, "restartCount", restarts);
	set_progress(a, w, status);
	set_bound(a, w, status);
	set_running(a, w, status);
	set(a, status, "Ready", is_done(w), is_done(w) ? "" : "TransferRunning", STR_EMPTY, w->now);
}

/* objects */

static void own(struct arena *a, struct json *obj, const struct json *dv)
{
	meta_set_label(a, obj, LABEL_APP, STR(APP_NAME));
	meta_set_controller(a, obj, dv, STR("cdi.kubevirt.io/v1beta1"), STR("DataVolume"));
}

static struct str content_type(const struct json *dv)
{
	struct str t = json_str_at(dv, "spec.contentType");

	return str_empty(t) ? STR("kubevirt") : t;
}

struct json *dv_make_claim(struct arena *a, const struct json *dv)
{
	const struct json *spec = json_at(dv, "spec.pvc");
	struct json *claim = json_object(a), *out;

	if (!spec)
		spec = json_at(dv, "spec.storage");
	json_set_str(a, claim, "apiVersion", STR("v1"));
	json_set_str(a, claim, "kind", STR("PersistentVolumeClaim"));
	json_set_at(a, claim, "metadata.name", json_strcpy(a, meta_name(dv)));
	json_set_at(a, claim, "metadata.namespace", json_strcpy(a, meta_namespace(dv)));
	json_for_each(it, meta_labels(dv))
		json_set_s(a, json_sub(a, json_get(claim, "metadata"), "labels"), it.key,
			   json_copy(a, it.val));
	own(a, claim, dv);
	meta_set_annotation(a, claim, ANNO_CONTENT_TYPE, content_type(dv));
	out = spec ? json_copy(a, spec) : json_object(a);
	if (str_eqz(json_str_at(out, "volumeMode"), "FromStorageProfile"))
		json_delz(out, "volumeMode");
	if (!json_len(json_get(out, "accessModes")))
		json_push(json_sub_array(a, out, "accessModes"), json_strz(a, "ReadWriteOnce"));
	json_set(a, claim, "spec", out);
	return claim;
}

struct str dv_importer_name(struct arena *a, struct str dv)
{
	struct str name = arena_fmt(a, "importer-" STR_FMT, STR_ARG(dv));

	return name.n > 253 ? str_sub(name, 0, 253) : name;
}

static void add_arg(struct arena *a, struct json *args, const char *flag, struct str value)
{
	if (str_empty(value))
		return;
	json_push(args, json_strz(a, flag));
	json_push(args, json_strcpy(a, value));
}

static void add_volume(struct arena *a, struct json *spec, struct json *c, const char *name,
		       const char *path, struct json *source)
{
	struct json *m = json_object(a);

	json_set_str(a, source, "name", str_from(name));
	json_push(json_sub_array(a, spec, "volumes"), source);
	json_set_str(a, m, "name", str_from(name));
	json_set_str(a, m, "mountPath", str_from(path));
	json_push(json_sub_array(a, c, "volumeMounts"), m);
}

static struct json *claim_volume(struct arena *a, const struct json *dv)
{
	struct json *v = json_object(a);

	json_set_at(a, v, "persistentVolumeClaim.claimName", json_strcpy(a, meta_name(dv)));
	return v;
}

/* The claim, a scratch directory, and the certificates a source may come with. */
static void add_volumes(struct arena *a, const struct json *dv, struct json *spec, struct json *c)
{
	bool block = str_eqz(json_str_at(dv, "spec.pvc.volumeMode"), "Block") ||
		     str_eqz(json_str_at(dv, "spec.storage.volumeMode"), "Block");
	struct str certs = json_str_at(dv, "spec.source.http.certConfigMap");
	struct json *v = json_object(a), *d;

	json_set(a, v, "emptyDir", json_object(a));
	add_volume(a, spec, c, "scratch", IMPORTER_SCRATCH_DIR, v);
	if (block) {
		v = claim_volume(a, dv);
		json_set_str(a, v, "name", STR("data"));
		json_push(json_sub_array(a, spec, "volumes"), v);
		d = json_object(a);
		json_set_str(a, d, "name", STR("data"));
		json_set_str(a, d, "devicePath", STR(IMPORTER_BLOCK_PATH));
		json_push(json_sub_array(a, c, "volumeDevices"), d);
	} else {
		add_volume(a, spec, c, "data", IMPORTER_DATA_DIR, claim_volume(a, dv));
	}
	if (str_empty(certs))
		return;
	v = json_object(a);
	json_set_at(a, v, "configMap.name", json_strcpy(a, certs));
	add_volume(a, spec, c, "certs", IMPORTER_CERTS_DIR, v);
}

static void add_args(struct arena *a, const struct json *dv, struct json *c)
{
	struct json *args = json_array(a);
	const struct json *http = json_at(dv, "spec.source.http");
	struct str size = json_str_at(dv, "spec.pvc.resources.requests.storage");

	if (str_empty(size))
		size = json_str_at(dv, "spec.storage.resources.requests.storage");
	add_arg(a, args, "--url", json_str_at(http, "url"));
	add_arg(a, args, "--size", size);
	json_for_each(it, json_get(http, "extraHeaders"))
		add_arg(a, args, "--header", json_as_str(it.val));
	json_set(a, c, "args", args);
}

/* A source's credentials reach the importer by its environment, not by its command line. */
static void add_credentials(struct arena *a, const struct json *dv, struct json *c)
{
	static const char *const keys[][2] = { { "IMPORTER_USER", "accessKeyId" },
					       { "IMPORTER_PASSWORD", "secretKey" } };
	struct str secret = json_str_at(dv, "spec.source.http.secretRef");

	for (size_t i = 0; i < ARRAY_LEN(keys) && !str_empty(secret); i++) {
		struct json *e = json_object(a);

		json_set_str(a, e, "name", str_from(keys[i][0]));
		json_set_at(a, e, "valueFrom.secretKeyRef.name", json_strcpy(a, secret));
		json_set_at(a, e, "valueFrom.secretKeyRef.key", json_strz(a, keys[i][1]));
		json_push(json_sub_array(a, c, "env"), e);
	}
}

/* No root, no capabilities, no token: it reads what strangers serve. */
static void confine(struct arena *a, struct json *spec, struct json *c)
{
	struct json *ctx = json_sub(a, spec, "securityContext"), *cc;

	json_set_int(a, ctx, "runAsUser", LAUNCHER_UID);
	json_set_int(a, ctx, "runAsGroup", LAUNCHER_UID);
	json_set_int(a, ctx, "fsGroup", LAUNCHER_UID);
	json_set_bool(a, ctx, "runAsNonRoot", true);
	json_set_at(a, ctx, "seccompProfile.type", json_strz(a, "RuntimeDefault"));
	cc = json_sub(a, c, "securityContext");
	json_set_bool(a, cc, "allowPrivilegeEscalation", false);
	json_set_bool(a, cc, "readOnlyRootFilesystem", true);
	json_push(json_sub_array(a, json_sub(a, cc, "capabilities"), "drop"), json_strz(a, "ALL"));
	json_set_bool(a, spec, "automountServiceAccountToken", false);
	json_set_bool(a, spec, "enableServiceLinks", false);
	json_set_at(a, c, "resources.limits.cpu", json_strz(a, "750m"));
	json_set_at(a, c, "resources.limits.memory", json_strz(a, "600M"));
	json_set_at(a, c, "resources.requests.cpu", json_strz(a, "100m"));
	json_set_at(a, c, "resources.requests.memory", json_strz(a, "60M"));
}

struct json *dv_make_importer(struct arena *a, const struct json *dv, struct str image)
{
	struct json *pod = json_object(a), *spec, *c;
	struct str priority = json_str_at(dv, "spec.priorityClassName");

	json_set_str(a, pod, "apiVersion", STR("v1"));
	json_set_str(a, pod, "kind", STR("Pod"));
	json_set_at(a, pod, "metadata.name", json_str(a, dv_importer_name(a, meta_name(dv))));
	json_set_at(a, pod, "metadata.namespace", json_strcpy(a, meta_namespace(dv)));
	own(a, pod, dv);
	meta_set_label(a, pod, "cdi.kubevirt.io", STR("importer"));
	spec = json_sub(a, pod, "spec");
	json_set_str(a, spec, "restartPolicy", STR("OnFailure"));
	if (!str_empty(priority))
		json_set_str(a, spec, "priorityClassName", priority);
	c = json_object(a);
	json_set_str(a, c, "name", STR("importer"));
	json_set_str(a, c, "image", str_empty(image) ? STR(LAUNCHER_IMAGE_DEFAULT) : image);
	json_set_str(a, c, "imagePullPolicy", STR("IfNotPresent"));
	json_push(json_sub_array(a, c, "command"), json_strz(a, IMPORTER_BINARY));
	json_set_str(a, c, "terminationMessagePolicy", STR("FallbackToLogsOnError"));
	add_args(a, dv, c);
	add_credentials(a, dv, c);
	confine(a, spec, c);
	add_volumes(a, dv, spec, c);
	json_push(json_sub_array(a, spec, "containers"), c);
	return pod;
}
