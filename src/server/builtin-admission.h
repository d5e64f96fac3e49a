/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The admission plugins that are part of the server, in the order they run. */

#include "server/admission.h"

extern struct admission_plugin namespace_lifecycle_plugin;
extern struct admission_plugin service_account_plugin;
extern struct admission_plugin priority_plugin;
extern struct admission_plugin default_tolerations_plugin;
extern struct admission_plugin node_taint_plugin;
extern struct admission_plugin default_storage_class_plugin;
extern struct admission_plugin storage_protection_plugin;

void builtin_admission_init(struct apiserver *s);
