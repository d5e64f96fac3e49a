/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What virt-operator installs, as constant JSON texts made from YAML at build time: the CRDs of
 * schemas/kubevirt/ and the documents of operator/manifests/. Values "$(NAMESPACE)" and
 * "$(CA_BUNDLE)" are filled in when they are installed.
 */

#include "base/str.h"

struct manifest {
	struct str kind, json;
};

extern const struct manifest virt_manifests[];
extern const size_t virt_n_manifests;
