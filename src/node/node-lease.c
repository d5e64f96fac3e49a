/* SPDX-License-Identifier: Apache-2.0 */

#include "node/node-lease.h"

#include "api/gvk.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "client/rest.h"
#include "json/json.h"

#define LEASE_NS      STR("kube-node-lease")
#define LEASE_SECONDS 40
#define LEASES        GVR("coordination.k8s.io", "v1", "leases")

static struct json *lease_spec(struct arena *a, struct str node)
{
	struct json *spec = json_object(a);

	json_set_str(a, spec, "holderIdentity", node);
	json_set_int(a, spec, "leaseDurationSeconds", LEASE_SECONDS);
	json_set_str(a, spec, "renewTime", wall_format_micro(a, wall_now()));
	return spec;
}

static struct err *lease_create(struct client *c, struct arena *a, struct str node, struct str uid)
{
	struct json *lease = json_object(a), *owner = json_object(a), *resp;

	json_set_str(a, lease, "apiVersion", STR("coordination.k8s.io/v1"));
	json_set_str(a, lease, "kind", STR("Lease"));
	json_set_at(a, lease, "metadata.name", json_str(a, node));
	json_set_at(a, lease, "metadata.namespace", json_str(a, LEASE_NS));
	json_set_str(a, owner, "apiVersion", STR("v1"));
	json_set_str(a, owner, "kind", STR("Node"));
	json_set_str(a, owner, "name", node);
	json_set_str(a, owner, "uid", uid);
	json_push(json_sub_array(a, json_get(lease, "metadata"), "ownerReferences"), owner);
	json_set(a, lease, "spec", lease_spec(a, node));
	return client_create(c, a, LEASES, LEASE_NS, lease, &resp);
}

struct err *node_lease_renew(struct client *c, struct arena *a, struct str node, struct str uid)
{
	struct json *patch = json_object(a), *resp;
	struct err *e;

	json_set(a, patch, "spec", lease_spec(a, node));
	e = client_patch(c, a, LEASES, LEASE_NS, node, NULL, CLIENT_PATCH_MERGE, patch, &resp);
	if (!e || !err_is(e, ERR_NOT_FOUND))
		return e;
	err_ignore(e, "created now");
	return lease_create(c, a, node, uid);
}
