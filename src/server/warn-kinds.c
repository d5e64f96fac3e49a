/* SPDX-License-Identifier: Apache-2.0 */

#include "server/warn.h"

#include "api/meta.h"
#include "api/names.h"
#include "api/quantity.h"
#include "base/arena.h"
#include "server/request.h"
#include "server/resource.h"
#include "server/valid.h"
#include "json/json.h"

/* Warnings kind by kind: which of them a create, an update or a status brings. */

static bool warns_of_status(const struct api_request *rq)
{
	return rq->subres && str_eqz(rq->subres->name, "status");
}

/* A new one, or one whose spec changed. */
static bool warns_of_spec(const struct json *obj, const struct json *old)
{
	return !old || json_int_at(obj, "metadata.generation", 0) !=
			       json_int_at(old, "metadata.generation", 0);
}

/* ---- Pods and what makes them */

static void warn_hostname(struct api_request *rq, const struct json *obj, const char *where)
{
	struct str name = meta_name(obj);
	const char *why = name_check_dns_label(name);

	if (!why)
		return;
	request_warn(
		rq,
		"metadata.name: this is used in %s, which can result in surprising behavior; a "
		"DNS label is recommended: [%s%s]",
		where, why,
		name.n > 63 && str_find_char(name, '.', 0) < name.n ? " must not contain dots"
								    : "");
}

static void warn_addresses_at(struct api_request *rq, const struct place *p,
			      const struct json *list, const char *member)
{
	json_for_each(it, list)
	{
		const struct place *at = AT_IDX(p, it.i);

		warn_ip(rq, member ? AT(at, member) : at, json_str_at(it.val, "ip"));
	}
}

void pod_warn(struct api_request *rq, const struct json *obj, const struct json *old)
{
	const struct place *status = AT(NULL, "status");

	if (warns_of_status(rq)) {
		warn_addresses_at(rq, AT(status, "podIPs"), json_at(obj, "status.podIPs"), "ip");
		warn_addresses_at(rq, AT(status, "hostIPs"), json_at(obj, "status.hostIPs"), "ip");
		return;
	}
	if (old)
		return;
	warn_hostname(rq, obj, "the Pod's hostname");
	warn_pod_template(rq, NULL, obj);
}

static void warn_spec_template(struct api_request *rq, const struct json *obj)
{
	warn_pod_template(rq, AT(AT(NULL, "spec"), "template"), json_at(obj, "spec.template"));
}

/* Deployments and ReplicaSets, and DaemonSets, whose names are nobody's hostname. */
void workload_warn(struct api_request *rq, const struct json *obj, const struct json *old)
{
	bool daemons = str_eqz(rq->res->kind, "DaemonSet");

	if (warns_of_status(rq))
		return;
	if (!old && !daemons)
		warn_hostname(rq, obj, "Pod names and hostnames");
	if (daemons && old
		    ? !json_equal(json_at(obj, "spec.template"), json_at(old, "spec.template"))
		    : warns_of_spec(obj, old))
		warn_spec_template(rq, obj);
}

/* Upstream looks at the template as it was. */
void rc_warn(struct api_request *rq, const struct json *obj, const struct json *old)
{
	if (warns_of_status(rq))
		return;
	if (!old)
		warn_hostname(rq, obj, "Pod names and hostnames");
	if (warns_of_spec(obj, old))
		warn_spec_template(rq, old ? old : obj);
}

void statefulset_warn(struct api_request *rq, const struct json *obj, const struct json *old)
{
	const struct place *claims = AT(AT(NULL, "spec"), "volumeClaimTemplates");

	if (warns_of_status(rq))
		return;
	if (warns_of_spec(obj, old))
		warn_spec_template(rq, obj);
	json_for_each(it, json_at(obj, "spec.volumeClaimTemplates"))
	{
		const struct place *p = AT_IDX(claims, it.i);

		/* the capital is upstream's */
		warn_claim_spec(rq, old ? AT(p, "Spec") : p, json_get(it.val, "spec"));
	}
	if (json_int_at(obj, "spec.revisionHistoryLimit", 0) < 0)
		request_warn(rq,
			     "spec.revisionHistoryLimit: a negative value retains all historical "
			     "revisions; a value >= 0 is recommended");
}

void podtemplate_warn(struct api_request *rq, const struct json *obj, const struct json *old)
{
	if (warns_of_spec(obj, old))
		warn_pod_template(rq, AT(NULL, "template"), json_get(obj, "template"));
}

static void warn_job_spec(struct api_request *rq, const struct place *p, const struct json *spec)
{
	if (str_eqz(json_str_at(spec, "completionMode"), "Indexed") &&
	    json_int_at(spec, "completions", 0) > 100000 &&
	    json_int_at(spec, "parallelism", 0) > 10000)
		warn_at(rq, p,
			"In Indexed Jobs with a number of completions higher than 10^5 and a "
			"parallelism higher than 10^4, Kubernetes might not be able to track "
			"completedIndexes when a big number of indexes fail");
	warn_pod_template(rq, AT(p, "template"), json_get(spec, "template"));
}

void job_warn(struct api_request *rq, const struct json *obj, const struct json *old)
{
	if (warns_of_status(rq))
		return;
	if (!old)
		warn_hostname(rq, obj, "Pod names and hostnames");
	if (warns_of_spec(obj, old))
		warn_job_spec(rq, AT(NULL, "spec"), json_get(obj, "spec"));
}

void cronjob_warn(struct api_request *rq, const struct json *obj, const struct json *old)
{
	struct str schedule = json_str_at(obj, "spec.schedule");

	if (warns_of_status(rq))
		return;
	if (!old)
		warn_hostname(rq, obj, "Pod names and hostnames");
	if (warns_of_spec(obj, old))
		warn_job_spec(rq, AT(AT(AT(NULL, "spec"), "jobTemplate"), "spec"),
			      json_at(obj, "spec.jobTemplate.spec"));
	/* the path is upstream's */
	if (old && memmem(schedule.p, schedule.n, "TZ", 2))
		request_warn(
			rq, "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, "
			    "see https://kubernetes.io/docs/concepts/workloads/controllers/"
			    "cron-jobs/ for more details");
}

/* ---- Services and addresses */

static void warn_service_spec(struct api_request *rq, const struct json *spec)
{
	bool external_name = str_eqz(json_str_at(spec, "type"), "ExternalName");
	bool headless = str_eqz(json_str_at(spec, "type"), "ClusterIP") &&
			str_eqz(json_str_at(spec, "clusterIP"), "None");
	bool external_ips = json_len(json_get(spec, "externalIPs"));

	if (headless && !str_empty(json_str_at(spec, "loadBalancerIP")))
		request_warn(rq, "spec.loadBalancerIP is ignored for headless services");
	if (headless && external_ips)
		request_warn(rq, "spec.externalIPs is ignored for headless services");
	if (headless && !str_eqz(json_str_at(spec, "sessionAffinity"), "None"))
		request_warn(rq, "spec.SessionAffinity is ignored for headless services");
	json_for_each(it, json_get(spec, "externalIPs"))
		warn_ip(rq, AT_IDX(AT(AT(NULL, "spec"), "externalIPs"), it.i), json_as_str(it.val));
	if (external_ips && !headless && !external_name)
		request_warn(rq,
			     "spec.externalIPs is deprecated and may no longer be implemented in "
			     "some clusters");
	warn_ip(rq, AT(AT(NULL, "spec"), "loadBalancerIP"), json_str_at(spec, "loadBalancerIP"));
	json_for_each(it, json_get(spec, "loadBalancerSourceRanges"))
		warn_cidr(rq, AT_IDX(AT(AT(NULL, "spec"), "loadBalancerSourceRanges"), it.i),
			  json_as_str(it.val));
	if (external_name && external_ips)
		request_warn(rq, "spec.externalIPs is ignored when spec.type is \"ExternalName\"");
	if (!external_name && !str_empty(json_str_at(spec, "externalName")))
		request_warn(rq, "spec.externalName is ignored when spec.type is not "
				 "\"ExternalName\"");
	if (str_eqz(json_str_at(spec, "trafficDistribution"), "PreferClose"))
		request_warn(rq, "spec.trafficDistribution: \"PreferClose\" is deprecated; use "
				 "\"PreferSameZone\"");
}

static void warn_load_balancer(struct api_request *rq, const struct json *obj)
{
	warn_addresses_at(rq, AT(AT(AT(NULL, "status"), "loadBalancer"), "ingress"),
			  json_at(obj, "status.loadBalancer.ingress"), NULL);
}

void service_warn(struct api_request *rq, const struct json *obj, const struct json *old UNUSED)
{
	struct str ip = json_str_at(obj, "spec.clusterIP");

	if (warns_of_status(rq)) {
		warn_load_balancer(rq, obj);
		return;
	}
	if (!str_empty(meta_annotation(obj, "service.kubernetes.io/topology-aware-hints")))
		request_warn(rq, "annotation service.kubernetes.io/topology-aware-hints is "
				 "deprecated, please use service.kubernetes.io/topology-mode "
				 "instead");
	json_for_each(it,
		      str_empty(ip) || str_eqz(ip, "None") ? NULL : json_at(obj, "spec.clusterIPs"))
		warn_ip(rq, AT_IDX(AT(AT(NULL, "spec"), "clusterIPs"), it.i), json_as_str(it.val));
	warn_service_spec(rq, json_get(obj, "spec"));
}

void ingress_warn(struct api_request *rq, const struct json *obj, const struct json *old)
{
	if (warns_of_status(rq))
		warn_load_balancer(rq, obj);
	else if (!old && json_get_s(meta_annotations(obj), STR("kubernetes.io/ingress.class")) &&
		 !json_at(obj, "spec.ingressClassName"))
		request_warn(rq, "annotation \"kubernetes.io/ingress.class\" is deprecated, please "
				 "use 'spec.ingressClassName' instead");
}

void endpoints_warn(struct api_request *rq, const struct json *obj, const struct json *old UNUSED)
{
	static const char *const lists[] = { "addresses", "notReadyAddresses" };

	if (str_eqz(meta_label(obj, "endpoints.kubernetes.io/managed-by"), "endpoint-controller"))
		return;
	json_for_each(it, json_get(obj, "subsets"))
	{
		for (size_t i = 0; i < ARRAY_LEN(lists); i++)
			warn_addresses_at(rq, AT(AT_IDX(AT(NULL, "subsets"), it.i), lists[i]),
					  json_get(it.val, lists[i]), "ip");
	}
}

void endpointslice_warn(struct api_request *rq, const struct json *obj, const struct json *old)
{
	struct str by = meta_label(obj, "endpointslice.kubernetes.io/managed-by");

	if (!old && str_eqz(json_str_at(obj, "addressType"), "FQDN"))
		request_warn(rq, "spec.addressType: FQDN endpoints are deprecated");
	if (str_eqz(by, "endpointslice-controller.k8s.io") ||
	    str_eqz(by, "endpointslicemirroring-controller.k8s.io"))
		return;
	json_for_each(it, json_get(obj, "endpoints"))
	{
		const struct place *p = AT(AT_IDX(AT(NULL, "endpoints"), it.i), "addresses");

		json_for_each(jt, json_get(it.val, "addresses"))
			warn_ip(rq, AT_IDX(p, jt.i), json_as_str(jt.val));
	}
}

static void warn_peers(struct api_request *rq, const struct json *obj, const char *rules,
		       const char *peers)
{
	json_for_each(it, json_get(json_get(obj, "spec"), rules))
	{
		const struct place *rule = AT_IDX(AT(AT(NULL, "spec"), rules), it.i);

		json_for_each(jt, json_get(it.val, peers))
		{
			const struct json *block = json_get(jt.val, "ipBlock");
			const struct place *p = AT(AT_IDX(AT(rule, peers), jt.i), "ipBlock");

			warn_cidr(rq, AT(p, "cidr"), json_str_at(block, "cidr"));
			json_for_each(kt, json_get(block, "except"))
				warn_cidr(rq, AT_IDX(AT(p, "except"), kt.i), json_as_str(kt.val));
		}
	}
}

void networkpolicy_warn(struct api_request *rq, const struct json *obj,
			const struct json *old UNUSED)
{
	warn_peers(rq, obj, "ingress", "from");
	warn_peers(rq, obj, "egress", "to");
}

/* ---- nodes and storage */

void node_warn(struct api_request *rq, const struct json *obj, const struct json *old UNUSED)
{
	if (warns_of_status(rq))
		return;
	if (json_at(obj, "spec.configSource"))
		request_warn(rq, "spec.configSource: the feature is removed");
	if (!str_empty(json_str_at(obj, "spec.externalID")))
		request_warn(rq, "spec.externalID: this field is deprecated, and is unused by "
				 "Kubernetes");
	json_for_each(it, json_at(obj, "spec.podCIDRs"))
		warn_cidr(rq, AT_IDX(AT(AT(NULL, "spec"), "podCIDRs"), it.i), json_as_str(it.val));
}

static void warn_beta_annotation(struct api_request *rq, const struct json *obj, const char *key,
				 const char *text)
{
	if (json_get(meta_annotations(obj), key))
		warn_at(rq, AT_KEY(AT(AT(NULL, "metadata"), "annotations"), str_from(key)), "%s",
			text);
}

void pvc_warn(struct api_request *rq, const struct json *obj, const struct json *old UNUSED)
{
	if (warns_of_status(rq))
		return;
	warn_beta_annotation(rq, obj, "volume.beta.kubernetes.io/storage-class",
			     "deprecated since v1.8; use \"storageClassName\" attribute instead");
	warn_claim_spec(rq, AT(NULL, "spec"), json_get(obj, "spec"));
}

void pv_warn(struct api_request *rq, const struct json *obj, const struct json *old UNUSED)
{
	static const struct {
		const char *member, *shown, *text;
	} kinds[] = {
		{ "cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+" },
		{ "photonPersistentDisk", "photonPersistentDisk",
		  "deprecated in v1.11, non-functional in v1.16+" },
		{ "scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+" },
		{ "storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+" },
		{ "glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+" },
		{ "rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+" },
	};
	const struct json *spec = json_get(obj, "spec");
	const struct place *p = AT(NULL, "spec");

	if (warns_of_status(rq))
		return;
	warn_beta_annotation(rq, obj, "volume.beta.kubernetes.io/storage-class",
			     "deprecated since v1.8; use \"storageClassName\" attribute instead");
	warn_beta_annotation(rq, obj, "volume.beta.kubernetes.io/mount-options",
			     "deprecated since v1.31; use \"mountOptions\" attribute instead");
	if (str_eqz(json_str_at(spec, "persistentVolumeReclaimPolicy"), "Recycle"))
		warn_at(rq, AT(p, "persistentVolumeReclaimPolicy"),
			"The Recycle reclaim policy is deprecated. Instead, the recommended "
			"approach "
			"is to use dynamic provisioning.");
	json_for_each(it, json_at(spec, "nodeAffinity.required.nodeSelectorTerms")) warn_node_term(
		rq, AT_IDX(AT(AT(AT(p, "nodeAffinity"), "required"), "nodeSelectorTerms"), it.i),
		it.val, false);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (json_get(spec, kinds[i].member))
			warn_at(rq, AT(p, kinds[i].shown), "%s", kinds[i].text);
	}
}

void storageclass_warn(struct api_request *rq, const struct json *obj,
		       const struct json *old UNUSED)
{
	json_for_each(it, json_get(obj, "allowedTopologies"))
	{
		const struct place *p =
			AT(AT_IDX(AT(NULL, "allowedTopologies"), it.i), "matchLabelExpressions");

		json_for_each(jt, json_get(it.val, "matchLabelExpressions")) warn_node_label(
			rq, AT(AT_IDX(p, jt.i), "key"), json_str_at(jt.val, "key"), false);
	}
}

void csistoragecapacity_warn(struct api_request *rq, const struct json *obj,
			     const struct json *old UNUSED)
{
	const struct json *topology = json_get(obj, "nodeTopology");
	const struct place *p = AT(NULL, "nodeTopology");

	warn_node_term(rq, p, topology, false);
	json_for_each(it, json_get(topology, "matchLabels")) warn_node_label(
		rq, AT(AT(p, "matchLabels"), arena_strz(rq->arena, it.key)), it.key, false);
}

void csidriver_warn(struct api_request *rq, const struct json *obj, const struct json *old)
{
	const struct json *tokens = json_at(obj, "spec.tokenRequests");

	if (json_len(tokens) && !json_at(obj, "spec.serviceAccountTokenInSecrets") &&
	    !(old && json_equal(tokens, json_at(old, "spec.tokenRequests"))))
		request_warn(rq,
			     "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI "
			     "driver, set to true to prevent possible logging of tokens in volume "
			     "attributes");
}

void runtimeclass_warn(struct api_request *rq, const struct json *obj,
		       const struct json *old UNUSED)
{
	json_for_each(it, json_at(obj, "scheduling.nodeSelector"))
		warn_node_label(rq, AT(AT(NULL, "scheduling"), "nodeSelector"), it.key, false);
}

/* ---- others */

void resourcequota_warn(struct api_request *rq, const struct json *obj, const struct json *old)
{
	static const char *const names[] = { "cpu", "memory", "storage", "ephemeral-storage" };
	const struct json *hard = json_at(obj, "spec.hard");

	for (size_t i = 0; i < ARRAY_LEN(names) && !old; i++) {
		const char *request = arena_fmt(rq->arena, "requests.%s", names[i]).p;
		const char *limit = arena_fmt(rq->arena, "limits.%s", names[i]).p;
		struct quantity r, l;

		if (i < 2 && !json_get(hard, request))
			request = names[i];
		if (quantity_parse(json_as_str(json_get(hard, request)), &r) &&
		    quantity_parse(json_as_str(json_get(hard, limit)), &l) &&
		    quantity_cmp(r, l) > 0)
			request_warn(rq,
				     "ResourceQuota %s (" STR_FMT
				     ") should be less than %s (" STR_FMT ")",
				     request, STR_ARG(quantity_text(rq->arena, r)), limit,
				     STR_ARG(quantity_text(rq->arena, l)));
	}
}

void resourceslice_warn(struct api_request *rq, const struct json *obj,
			const struct json *old UNUSED)
{
	struct str driver = json_str_at(obj, "spec.driver");

	for (size_t i = 0; i < driver.n; i++) {
		if (driver.p[i] < 'A' || driver.p[i] > 'Z')
			continue;
		request_warn(rq,
			     "spec.driver: driver names should be lowercase; \"" STR_FMT
			     "\" contains uppercase characters",
			     STR_ARG(driver));
		return;
	}
}

void static_name_warn(struct api_request *rq, const struct json *obj, const struct json *old UNUSED)
{
	if (!warns_of_status(rq) && str_has_suffix(meta_name(obj), STR(".static.k8s.io")))
		request_warn(rq,
			     "metadata.name: names ending with \".static.k8s.io\" are reserved for "
			     "static manifest-based configurations and cannot be managed via the "
			     "API");
}
