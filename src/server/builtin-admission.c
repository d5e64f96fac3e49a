/* SPDX-License-Identifier: Apache-2.0 */
#include "server/builtin-admission.h"

#include "server/server.h"

static struct admission_plugin *const plugins[] = {
	&namespace_lifecycle_plugin, &service_account_plugin,
	&node_taint_plugin,          &priority_plugin,
	&default_tolerations_plugin, &default_storage_class_plugin,
	&storage_protection_plugin,
};

void builtin_admission_init(struct apiserver *s)
{
	for (size_t i = 0; i < ARRAY_LEN(plugins); i++)
		admission_add(s, plugins[i]);
}
