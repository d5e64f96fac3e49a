/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a cluster has from its first moment: namespaces, roles and bindings, priority classes, the
 * Service default/kubernetes. Missing ones are made at each start; what people changed stays,
 * except that default roles gain the rules they lack.
 */

#include "base/base.h"

struct apiserver;
struct err;

MUST_USE SUSPENDS struct err *bootstrap_run(struct apiserver *s);
/* Keeps aggregated ClusterRoles (admin, edit, view) in step with the roles they gather. */
void bootstrap_aggregation_start(struct apiserver *s);
