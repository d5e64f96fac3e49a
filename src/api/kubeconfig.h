/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The text of a kubeconfig: one cluster, one user. */

#include "base/str.h"

struct arena;

struct kubeconfig {
	struct str server; /* https://127.0.0.1:6443 */
	struct str ca_pem;
	struct str user;
	struct str cert_pem, key_pem; /* or */
	struct str token_file;        /* a path, absolute */
};

struct str kubeconfig_text(struct arena *a, const struct kubeconfig *k);
