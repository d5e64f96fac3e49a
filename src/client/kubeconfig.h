/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * kubeconfig files: the current context's cluster and user as client options. Files named in it
 * are relative to its folder; exec plugins and auth providers are refused by name.
 */

#include "base/str.h"

struct arena;
struct client_opts;
struct err;

struct kubeconfig {
	struct str server, tls_server_name;
	struct str ca_pem, cert_pem, key_pem;
	struct str token;
	const char *token_file;
	struct str ns;
	bool insecure;
};

/* Everything lives in the arena. context NULL: the current one. */
MUST_USE struct err *kubeconfig_load(struct arena *a, const char *path, const char *context,
				     struct kubeconfig *ret);
