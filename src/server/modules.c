/* SPDX-License-Identifier: Apache-2.0 */
#include "server/account-secrets.h"
#include "server/aggregate.h"
#include "server/builtin-admission.h"
#include "server/crd.h"
#include "server/csr-signer.h"
#include "server/discovery.h"
#include "server/flow-status.h"
#include "server/openapi.h"
#include "server/policy.h"
#include "server/server.h"
#include "server/webhook.h"

/* The extensions of the server, in the order they are set up. */
const struct server_module server_modules[] = {
	{ "crd", crd_start, NULL },
	{ "discovery", discovery_init, NULL },
	{ "openapi", openapi_init, NULL },
	{ "admission", NULL, builtin_admission_start },
	{ "policy", policy_init, policy_start },
	{ "webhook", webhook_init, webhook_start },
	{ "aggregate", aggregate_init, aggregate_start },
	{ "csr-signer", NULL, csr_signer_start },
	{ "flow-status", NULL, flow_status_start },
	{ "account-secrets", NULL, account_secrets_start },
	{ NULL, NULL, NULL },
};
