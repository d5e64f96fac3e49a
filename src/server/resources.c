/* SPDX-License-Identifier: Apache-2.0 */
#include "server/resources.h"

#include "api/gvk.h"
#include "api/schema-data.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/err.h"
#include "server/aggregate.h"
#include "server/crd.h"
#include "server/policy.h"
#include "server/resource.h"
#include "server/strategies.h"
#include "server/webhook.h"
#include "json/json.h"

#define MAX_VERSIONS 2

/* What the server does for a kind beyond its schema. */
static const struct {
	const char *name; /* "pods", "deployments.apps" */
	const struct strategy *strategy;
} strategy_rows[] = {
	{ "namespaces", &namespace_strategy },
	{ "nodes", &node_strategy },
	{ "pods", &pod_strategy },
	{ "services", &service_strategy },
	{ "configmaps", &configmap_strategy },
	{ "secrets", &secret_strategy },
	{ "serviceaccounts", &serviceaccount_strategy },
	{ "events", &event_strategy },
	{ "persistentvolumes", &pv_strategy },
	{ "persistentvolumeclaims", &pvc_strategy },
	{ "replicasets.apps", &replicaset_strategy },
	{ "controllerrevisions.apps", &controllerrevision_strategy },
	{ "leases.coordination.k8s.io", &lease_strategy },
	{ "endpointslices.discovery.k8s.io", &endpointslice_strategy },
	{ "storageclasses.storage.k8s.io", &storageclass_strategy },
	{ "priorityclasses.scheduling.k8s.io", &priorityclass_strategy },
	{ "clusterroles.rbac.authorization.k8s.io", &role_strategy },
	{ "roles.rbac.authorization.k8s.io", &role_strategy },
	{ "clusterrolebindings.rbac.authorization.k8s.io", &binding_strategy },
	{ "rolebindings.rbac.authorization.k8s.io", &binding_strategy },
	{ "bindings", &pod_binding_strategy },
	{ "tokenreviews.authentication.k8s.io", &tokenreview_strategy },
	{ "selfsubjectreviews.authentication.k8s.io", &selfsubjectreview_strategy },
	{ "subjectaccessreviews.authorization.k8s.io", &subjectaccessreview_strategy },
	{ "localsubjectaccessreviews.authorization.k8s.io", &localsubjectaccessreview_strategy },
	{ "selfsubjectaccessreviews.authorization.k8s.io", &selfsubjectaccessreview_strategy },
	{ "selfsubjectrulesreviews.authorization.k8s.io", &selfsubjectrulesreview_strategy },
	{ "mutatingwebhookconfigurations.admissionregistration.k8s.io",
	  &mutating_webhook_strategy },
	{ "validatingwebhookconfigurations.admissionregistration.k8s.io",
	  &validating_webhook_strategy },
	{ "customresourcedefinitions.apiextensions.k8s.io", &crd_strategy },
	{ "apiservices.apiregistration.k8s.io", &apiservice_strategy },
	{ "endpoints", &endpoints_strategy },
	{ "limitranges", &limitrange_strategy },
	{ "podtemplates", &podtemplate_strategy },
	{ "replicationcontrollers", &replicationcontroller_strategy },
	{ "resourcequotas", &resourcequota_strategy },
	{ "componentstatuses", &componentstatus_strategy },
	{ "daemonsets.apps", &daemonset_strategy },
	{ "deployments.apps", &deployment_strategy },
	{ "statefulsets.apps", &statefulset_strategy },
	{ "events.events.k8s.io", &events_event_strategy },
	{ "horizontalpodautoscalers.autoscaling", &hpa_strategy },
	{ "jobs.batch", &job_strategy },
	{ "cronjobs.batch", &cronjob_strategy },
	{ "certificatesigningrequests.certificates.k8s.io", &csr_strategy },
	{ "ingresses.networking.k8s.io", &ingress_strategy },
	{ "ingressclasses.networking.k8s.io", &ingressclass_strategy },
	{ "ipaddresses.networking.k8s.io", &ipaddress_strategy },
	{ "networkpolicies.networking.k8s.io", &networkpolicy_strategy },
	{ "servicecidrs.networking.k8s.io", &servicecidr_strategy },
	{ "poddisruptionbudgets.policy", &pdb_strategy },
	{ "csidrivers.storage.k8s.io", &csidriver_strategy },
	{ "csinodes.storage.k8s.io", &csinode_strategy },
	{ "csistoragecapacities.storage.k8s.io", &csistoragecapacity_strategy },
	{ "volumeattachments.storage.k8s.io", &volumeattachment_strategy },
	{ "volumeattributesclasses.storage.k8s.io", &volumeattributesclass_strategy },
	{ "mutatingadmissionpolicies.admissionregistration.k8s.io", &mutating_policy_strategy },
	{ "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
	  &mutating_policy_binding_strategy },
	{ "validatingadmissionpolicies.admissionregistration.k8s.io", &validating_policy_strategy },
	{ "validatingadmissionpolicybindings.admissionregistration.k8s.io",
	  &validating_policy_binding_strategy },
	{ "runtimeclasses.node.k8s.io", &runtimeclass_strategy },
	{ "deviceclasses.resource.k8s.io", &deviceclass_strategy },
	{ "resourceclaims.resource.k8s.io", &resourceclaim_strategy },
	{ "resourceclaimtemplates.resource.k8s.io", &resourceclaimtemplate_strategy },
	{ "resourceslices.resource.k8s.io", &resourceslice_strategy },
	{ "flowschemas.flowcontrol.apiserver.k8s.io", &flowschema_strategy },
	{ "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io", &prioritylevel_strategy },
};

/* Versions, and views on another resource, whose form is not the stored one. */
static const struct {
	const char *type; /* the schema of the version */
	MUST_USE struct err *(*from_stored)(const struct resource *res,
					    const struct resource_version *v, struct arena *a,
					    struct json **obj);
	MUST_USE struct err *(*to_stored)(const struct resource *res,
					  const struct resource_version *v, struct arena *a,
					  struct json **obj);
} conversion_rows[] = {
	{ "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler", hpa_v1_from_stored,
	  hpa_v1_to_stored },
	{ "io.k8s.api.events.v1.Event", events_event_from_stored, events_event_to_stored },
};

/* Subresources that are neither status nor scale. */
static const struct {
	const char *plural, *sub;
	MUST_USE struct err *(*handle)(struct api_request *rq);
	bool connect;
} subresource_rows[] = {
	{ "namespaces", "finalize", namespace_finalize, false },
	{ "pods", "binding", pod_binding, false },
	{ "pods", "eviction", pod_eviction, false },
	{ "pods", "log", pod_log, true },
	{ "pods", "exec", pod_stream, true },
	{ "pods", "attach", pod_stream, true },
	{ "pods", "portforward", pod_stream, true },
	{ "pods", "proxy", pod_proxy, true },
	{ "services", "proxy", service_proxy, true },
	{ "nodes", "proxy", node_proxy, true },
	{ "serviceaccounts", "token", serviceaccount_token, false },
};

/* Selectable fields whose value is not simply the member of that name. */
static const struct {
	const char *type, *name, *path, *dflt, *key, *or_path;
} field_rows[] = {
#define CORE "io.k8s.api.core.v1."
#define EVT  "io.k8s.api.events.v1.Event"
	{ CORE "Node", "spec.unschedulable", "spec.unschedulable", "false", NULL },
	{ CORE "Pod", "spec.hostNetwork", "spec.hostNetwork", "false", NULL },
	{ CORE "Event", "source", "source.component", "", NULL, "reportingComponent" },
	{ CORE "ReplicationController", "status.replicas", "status.replicas", "0", NULL },
	{ "io.k8s.api.apps.v1.ReplicaSet", "status.replicas", "status.replicas", "0", NULL },
	{ "io.k8s.api.batch.v1.Job", "status.successful", "status.succeeded", "0", NULL },
	/* a view: the fields are those of what is stored */
	{ EVT, "regarding.kind", "", "", "involvedObject.kind" },
	{ EVT, "regarding.namespace", "", "", "involvedObject.namespace" },
	{ EVT, "regarding.name", "", "", "involvedObject.name" },
	{ EVT, "regarding.uid", "", "", "involvedObject.uid" },
	{ EVT, "regarding.apiVersion", "", "", "involvedObject.apiVersion" },
	{ EVT, "regarding.resourceVersion", "", "", "involvedObject.resourceVersion" },
	{ EVT, "regarding.fieldPath", "", "", "involvedObject.fieldPath" },
	{ EVT, "reportingController", "", "", "reportingComponent" },
};

struct resource_loader {
	struct arena *a;
	const struct json *row;
	struct resource *res;
	struct resource_version *v;
};

static struct str *load_strs(struct arena *a, const struct json *arr, size_t *ret_n)
{
	struct str *v = arena_array(a, json_len(arr) + 1, sizeof(*v));

	*ret_n = 0;
	json_for_each(it, arr) v[(*ret_n)++] = json_as_str(it.val);
	return v;
}

static unsigned load_verbs(const struct json *arr)
{
	unsigned verbs = 0;

	if (!json_len(arr))
		return VERBS_ALL;
	json_for_each(it, arr)
	{
		for (unsigned bit = VERB_GET; bit <= VERB_DELETECOLLECTION; bit <<= 1) {
			if (str_eq(verb_name((enum verb)bit), json_as_str(it.val)))
				verbs |= bit;
		}
	}
	return verbs;
}

static void load_columns(struct resource_loader *l)
{
	const struct json *arr = json_get(l->row, "columns");
	struct column *c = arena_array(l->a, json_len(arr) + 1, sizeof(*c));

	l->v->columns = c;
	json_for_each(it, arr)
	{
		c[l->v->n_columns++] = (struct column){
			.name = json_str_at(it.val, "name"),
			.type = json_str_at(it.val, "type"),
			.format = json_str_at(it.val, "format"),
			.description = json_str_at(it.val, "name"),
			.priority = (int)json_int_at(it.val, "priority", 0),
			.path = json_str_at(it.val, "path"),
		};
	}
}

static void load_fields(struct resource_loader *l)
{
	const struct json *arr = json_get(l->row, "fields");
	struct selectable *f = arena_array(l->a, json_len(arr) + 1, sizeof(*f));

	l->v->fields = f;
	json_for_each(it, arr)
	{
		struct selectable *one = &f[l->v->n_fields++];

		*one = (struct selectable){ .name = json_as_str(it.val),
					    .path = json_as_str(it.val),
					    .key = json_as_str(it.val) };
		for (size_t i = 0; i < ARRAY_LEN(field_rows); i++) {
			if (!str_eqz(l->v->type, field_rows[i].type) ||
			    !str_eqz(one->name, field_rows[i].name))
				continue;
			one->path = str_from(field_rows[i].path);
			one->dflt = str_from(field_rows[i].dflt);
			if (field_rows[i].key)
				one->key = str_from(field_rows[i].key);
			if (field_rows[i].or_path)
				one->or_path = str_from(field_rows[i].or_path);
		}
	}
}

static void load_subresource(struct resource_loader *l, struct subresource *s,
			     const struct json *row)
{
	*s = (struct subresource){
		.name = json_str_at(row, "name"),
		.kind_group = json_str_at(row, "group"),
		.kind_version = json_str_at(row, "version"),
		.kind = json_str_at(row, "kind"),
		.verbs = load_verbs(json_get(row, "verbs")),
	};
	for (size_t i = 0; i < ARRAY_LEN(subresource_rows); i++) {
		if (!str_eqz(l->res->plural, subresource_rows[i].plural) ||
		    !str_eqz(s->name, subresource_rows[i].sub))
			continue;
		s->handle = subresource_rows[i].handle;
		s->connect = subresource_rows[i].connect;
	}
}

static void load_subresources(struct resource_loader *l)
{
	const struct json *arr = json_get(l->row, "subresources");
	struct subresource *s = arena_array(l->a, json_len(arr) + 1, sizeof(*s));

	l->v->subresources = s;
	json_for_each(it, arr) load_subresource(l, &s[l->v->n_subresources++], it.val);
	l->v->scale = (struct scale_paths){
		.spec = json_str_at(l->row, "scale.spec"),
		.status = json_str_at(l->row, "scale.status"),
		.selector = json_str_at(l->row, "scale.selector"),
	};
}

static void load_strategy(struct arena *a, struct resource *res)
{
	struct str name = gr_format(a, res->group, res->plural);

	for (size_t i = 0; i < ARRAY_LEN(strategy_rows); i++) {
		if (str_eqz(name, strategy_rows[i].name))
			res->strategy = strategy_rows[i].strategy;
	}
}

static void load_version(struct resource_loader *l)
{
	l->v->version = json_str_at(l->row, "version");
	l->v->served = true;
	l->v->type = json_str_at(l->row, "type");
	l->v->deprecation_warning = json_str_at(l->row, "deprecation");
	for (size_t i = 0; i < ARRAY_LEN(conversion_rows); i++) {
		if (!str_eqz(l->v->type, conversion_rows[i].type))
			continue;
		l->v->from_stored = conversion_rows[i].from_stored;
		l->v->to_stored = conversion_rows[i].to_stored;
	}
	load_columns(l);
	load_fields(l);
	load_subresources(l);
}

static struct resource *resource_load(struct arena *a, const struct json *row)
{
	struct resource *res = arena_new_obj(a, struct resource);
	struct str stored = json_str_at(row, "storedAs");

	*res = (struct resource){
		.group = json_str_at(row, "group"),
		.plural = json_str_at(row, "resource"),
		.singular = json_str_at(row, "singular"),
		.kind = json_str_at(row, "kind"),
		.list_kind = arena_cat(a, json_str_at(row, "kind"), STR("List")),
		.namespaced = json_bool_at(row, "namespaced", false),
		.verbs = load_verbs(json_get(row, "verbs")),
		.store_name = gr_format(a, json_str_at(row, "group"), json_str_at(row, "resource")),
		.versions = arena_array(a, MAX_VERSIONS, sizeof(struct resource_version)),
	};
	res->view = !str_empty(stored);
	if (res->view)
		res->store_name = stored;
	res->short_names = load_strs(a, json_get(row, "shortNames"), &res->n_short_names);
	res->categories = load_strs(a, json_get(row, "categories"), &res->n_categories);
	load_strategy(a, res);
	return res;
}

/* Rows of one resource follow each other. */
static bool row_is_of(const struct json *row, const struct resource *res)
{
	return res && str_eq(json_str_at(row, "group"), res->group) &&
	       str_eq(json_str_at(row, "resource"), res->plural);
}

struct err *resources_add_builtin(struct registry *reg, struct arena *a)
{
	struct json *rows = NULL;
	struct resource *res = NULL;

	TRY(json_parse(a, schema_resources_text, &rows));
	json_for_each(it, rows)
	{
		struct resource_loader l = { .a = a, .row = it.val };

		if (!row_is_of(it.val, res)) {
			if (res)
				registry_add(reg, res);
			res = resource_load(a, it.val);
		}
		ASSERT(res->n_versions < MAX_VERSIONS);
		l.res = res;
		l.v = &res->versions[res->n_versions++];
		load_version(&l);
	}
	if (res)
		registry_add(reg, res);
	return NULL;
}
