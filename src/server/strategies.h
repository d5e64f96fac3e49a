/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The strategies of the built-in kinds, one file per noun (strategy-*.c), and the handlers of their
 * subresources. */

#include "server/resource.h"

extern const struct strategy namespace_strategy;
extern const struct strategy apiservice_strategy;
extern const struct strategy node_strategy;
extern const struct strategy pod_strategy;
extern const struct strategy service_strategy;
extern const struct strategy configmap_strategy;
extern const struct strategy secret_strategy;
extern const struct strategy serviceaccount_strategy;
extern const struct strategy event_strategy;
extern const struct strategy pv_strategy;
extern const struct strategy pvc_strategy;
extern const struct strategy replicaset_strategy;
extern const struct strategy controllerrevision_strategy;
extern const struct strategy lease_strategy;
extern const struct strategy endpointslice_strategy;
extern const struct strategy storageclass_strategy;
extern const struct strategy priorityclass_strategy;
extern const struct strategy role_strategy;
extern const struct strategy binding_strategy;
extern const struct strategy pod_binding_strategy; /* kind Binding, POST /namespaces/NS/bindings */
extern const struct strategy tokenreview_strategy;
extern const struct strategy selfsubjectreview_strategy;
extern const struct strategy subjectaccessreview_strategy;
extern const struct strategy localsubjectaccessreview_strategy;
extern const struct strategy selfsubjectaccessreview_strategy;
extern const struct strategy selfsubjectrulesreview_strategy;
extern const struct strategy endpoints_strategy;
extern const struct strategy limitrange_strategy;
extern const struct strategy podtemplate_strategy;
extern const struct strategy replicationcontroller_strategy;
extern const struct strategy resourcequota_strategy;
extern const struct strategy componentstatus_strategy;
extern const struct strategy daemonset_strategy;
extern const struct strategy deployment_strategy;
extern const struct strategy statefulset_strategy;
extern const struct strategy events_event_strategy; /* events.k8s.io */
extern const struct strategy hpa_strategy;
extern const struct strategy job_strategy;
extern const struct strategy cronjob_strategy;
extern const struct strategy csr_strategy;
extern const struct strategy ingress_strategy;
extern const struct strategy ingressclass_strategy;
extern const struct strategy ipaddress_strategy;
extern const struct strategy networkpolicy_strategy;
extern const struct strategy servicecidr_strategy;
extern const struct strategy pdb_strategy;
extern const struct strategy csidriver_strategy;
extern const struct strategy csinode_strategy;
extern const struct strategy csistoragecapacity_strategy;
extern const struct strategy volumeattachment_strategy;
extern const struct strategy volumeattributesclass_strategy;
extern const struct strategy runtimeclass_strategy;
extern const struct strategy deviceclass_strategy;
extern const struct strategy resourceclaim_strategy;
extern const struct strategy resourceclaimtemplate_strategy;
extern const struct strategy resourceslice_strategy;
extern const struct strategy flowschema_strategy;
extern const struct strategy prioritylevel_strategy;

/* forms that differ from the stored one */
MUST_USE struct err *hpa_v1_from_stored(const struct resource *res,
					const struct resource_version *v, struct arena *a,
					struct json **obj);
MUST_USE struct err *hpa_v1_to_stored(const struct resource *res, const struct resource_version *v,
				      struct arena *a, struct json **obj);
MUST_USE struct err *events_event_from_stored(const struct resource *res,
					      const struct resource_version *v, struct arena *a,
					      struct json **obj);
MUST_USE struct err *events_event_to_stored(const struct resource *res,
					    const struct resource_version *v, struct arena *a,
					    struct json **obj);

MUST_USE SUSPENDS struct err *namespace_finalize(struct api_request *rq);
MUST_USE SUSPENDS struct err *pod_binding(struct api_request *rq);
MUST_USE SUSPENDS struct err *pod_eviction(struct api_request *rq);
MUST_USE SUSPENDS struct err *pod_log(struct api_request *rq);
MUST_USE SUSPENDS struct err *pod_stream(struct api_request *rq);
MUST_USE SUSPENDS struct err *pod_proxy(struct api_request *rq);
MUST_USE SUSPENDS struct err *service_proxy(struct api_request *rq);
MUST_USE SUSPENDS struct err *node_proxy(struct api_request *rq);
MUST_USE SUSPENDS struct err *serviceaccount_token(struct api_request *rq);
