/* SPDX-License-Identifier: Apache-2.0 */
#include "server/builtin-admission.h"

#include "base/err.h"
#include "server/server.h"

/* Policies and webhooks follow them, by modules.c. */
static struct admission_plugin *const plugins[] = {
	&namespace_lifecycle_plugin,
	&limit_ranger_plugin,
	&service_account_plugin,
	&node_restriction_plugin,
	&node_taint_plugin,
	&pod_security_plugin,
	&priority_plugin,
	&default_tolerations_plugin,
	&default_storage_class_plugin,
	&storage_protection_plugin,
	&claim_resize_plugin,
	&runtime_class_plugin,
	&csr_approval_plugin,
	&csr_signing_plugin,
	&csr_restriction_plugin,
	&default_ingress_class_plugin,
	&pod_topology_plugin,
	&pod_resize_plugin,
};

void builtin_admission_init(struct apiserver *s)
{
	for (size_t i = 0; i < ARRAY_LEN(plugins); i++)
		admission_add(s, plugins[i]);
}

struct err *builtin_admission_start(struct apiserver *s)
{
	TRY(limit_ranger_start(s));
	TRY(admit_pod_start(s));
	TRY(admit_storage_start(s));
	return resource_quota_start(s);
}
