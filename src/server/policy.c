/* SPDX-License-Identifier: Apache-2.0 */
#include "server/policy.h"

#include "base/err.h"
#include "server/admission.h"

struct err *policy_init(struct apiserver *s)
{
	admission_add(s, &mutating_policy_plugin);
	admission_add(s, &validating_policy_plugin);
	return NULL;
}

struct err *policy_start(struct apiserver *s)
{
	TRY(mutating_policy_start(s));
	TRY(validating_policy_start(s));
	return policy_status_start(s);
}
