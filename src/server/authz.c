/* SPDX-License-Identifier: Apache-2.0 */
#include "server/authz.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "server/node-authorizer.h"
#include "server/request.h"

struct authz {
	struct node_authorizer *nodes;
	struct rbac *rbac;
};

struct authz *authz_new(struct apiserver *s)
{
	struct authz *az = mem_new(struct authz);

	az->nodes = node_authorizer_new(s);
	az->rbac = rbac_new(s);
	return az;
}

struct authz *authz_free(struct authz *az)
{
	if (!az)
		return NULL;
	node_authorizer_free(az->nodes);
	rbac_free(az->rbac);
	free(az);
	return NULL;
}

struct err *authz_start(struct authz *az)
{
	TRY(rbac_start(az->rbac));
	return node_authorizer_start(az->nodes);
}

struct rbac *authz_rbac(struct authz *az)
{
	return az->rbac;
}

bool authz_allowed(struct authz *az, struct arena *a, const struct authz_attrs *at,
		   struct str *ret_reason)
{
	struct str node_why = STR_EMPTY;

	if (ret_reason)
		*ret_reason = STR_EMPTY;
	if (user_in_group(at->user, STR("system:masters")))
		return true;
	if (node_authorizer_allowed(az->nodes, a, at, &node_why))
		return true;
	if (rbac_allowed(az->rbac, a, at, ret_reason))
		return true;
	if (ret_reason && !str_empty(node_why))
		*ret_reason = str_empty(*ret_reason)
				      ? node_why
				      : arena_fmt(a, STR_FMT "\n" STR_FMT, STR_ARG(node_why),
						  STR_ARG(*ret_reason));
	return false;
}
