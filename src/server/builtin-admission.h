/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The admission plugins that are part of the server, in the order they run. */

#include "server/admission.h"

extern struct admission_plugin namespace_lifecycle_plugin;
extern struct admission_plugin limit_ranger_plugin;
extern struct admission_plugin service_account_plugin;
extern struct admission_plugin node_restriction_plugin;
extern struct admission_plugin node_taint_plugin;
extern struct admission_plugin pod_security_plugin;
extern struct admission_plugin priority_plugin;
extern struct admission_plugin default_tolerations_plugin;
extern struct admission_plugin default_storage_class_plugin;
extern struct admission_plugin storage_protection_plugin;
extern struct admission_plugin claim_resize_plugin;
extern struct admission_plugin runtime_class_plugin;
extern struct admission_plugin csr_approval_plugin;
extern struct admission_plugin csr_signing_plugin;
extern struct admission_plugin csr_restriction_plugin;
extern struct admission_plugin default_ingress_class_plugin;
extern struct admission_plugin pod_topology_plugin;
extern struct admission_plugin pod_resize_plugin;

void builtin_admission_init(struct apiserver *s);
/* What plugins keep in memory of classes, limits and quotas. SUSPENDS */
MUST_USE struct err *builtin_admission_start(struct apiserver *s);

/* for builtin-admission.c */
MUST_USE struct err *limit_ranger_start(struct apiserver *s);
MUST_USE struct err *admit_pod_start(struct apiserver *s);
MUST_USE struct err *admit_storage_start(struct apiserver *s);
MUST_USE struct err *resource_quota_start(struct apiserver *s);
