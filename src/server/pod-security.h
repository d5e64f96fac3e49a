/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The Pod Security Standards: which levels a namespace's labels ask for, and what of a Pod (or a
 * template of one) violates a level.
 */

#include "base/str.h"

struct arena;
struct err;
struct json;

#define POD_SECURITY_PREFIX "pod-security.kubernetes.io/"

enum pod_security_level { POD_PRIVILEGED, POD_BASELINE, POD_RESTRICTED };

/* "restricted:latest" */
struct pod_security {
	enum pod_security_level level;
	int minor; /* of Kubernetes 1.x; INT_MAX: latest */
};

struct pod_security_policy {
	struct pod_security enforce, audit, warn;
};

bool pod_security_same(struct pod_security x, struct pod_security y);
struct str pod_security_text(struct arena *a, struct pod_security p);
/*
 * From a namespace's labels. Malformed ones are causes added to *e (may be NULL: ignored), and
 * count as restricted where they enforce.
 */
struct pod_security_policy pod_security_policy(struct arena *a, const struct json *labels,
					       struct err **e);
/*
 * What violates p, empty when nothing does: reasons alone ("host namespaces, privileged"), or
 * with details in parentheses. meta and spec are a Pod's, or a template's.
 */
struct str pod_security_check(struct arena *a, struct pod_security p, const struct json *meta,
			      const struct json *spec, bool details);
