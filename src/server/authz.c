/* SPDX-License-Identifier: Apache-2.0 */
#include "server/authz.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "server/request.h"

struct authz {
	struct rbac *rbac;
};

struct authz *authz_new(struct apiserver *s)
{
	struct authz *az = mem_new(struct authz);

	az->rbac = rbac_new(s);
	return az;
}

struct authz *authz_free(struct authz *az)
{
	if (!az)
		return NULL;
	rbac_free(az->rbac);
	free(az);
	return NULL;
}

struct err *authz_start(struct authz *az)
{
	return rbac_start(az->rbac);
}

struct rbac *authz_rbac(struct authz *az)
{
	return az->rbac;
}

bool authz_allowed(struct authz *az, struct arena *a, const struct authz_attrs *at,
		   struct str *ret_reason)
{
	if (ret_reason)
		*ret_reason = STR_EMPTY;
	if (user_in_group(at->user, STR("system:masters")))
		return true;
	return rbac_allowed(az->rbac, a, at, ret_reason);
}
