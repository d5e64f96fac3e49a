/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Causes of what is wrong with a CustomResourceDefinition; old is NULL on create. */

#include "base/str.h"

struct arena;
struct err;
struct json;
struct schema_registry;
#define CRD_APPROVED "api-approved.kubernetes.io"

/* What the annotation says of a group that the community owns. */
enum crd_approval {
	CRD_APPROVAL_MISSING,
	CRD_APPROVAL_INVALID,
	CRD_APPROVAL_BYPASSED,
	CRD_APPROVAL_GIVEN,
};

extern const char *const crd_approval_texts[];
enum crd_approval crd_approval(const struct json *crd);
bool crd_group_protected(struct str group);

void crd_validate(struct arena *a, struct schema_registry *types, const struct json *crd,
		  const struct json *old, struct err **e);
