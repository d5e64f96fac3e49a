/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The strategies of the built-in kinds, one file per noun (strategy-*.c), and the handlers of their
 * subresources. */

#include "server/resource.h"

extern const struct strategy namespace_strategy;
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

MUST_USE SUSPENDS struct err *namespace_finalize(struct api_request *rq);
MUST_USE SUSPENDS struct err *pod_binding(struct api_request *rq);
MUST_USE SUSPENDS struct err *pod_eviction(struct api_request *rq);
MUST_USE SUSPENDS struct err *pod_log(struct api_request *rq);
MUST_USE SUSPENDS struct err *pod_stream(struct api_request *rq);
MUST_USE SUSPENDS struct err *serviceaccount_token(struct api_request *rq);
