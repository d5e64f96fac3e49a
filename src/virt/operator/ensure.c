/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/operator/ensure.h"

#include "api/meta.h"
#include "base/err.h"
#include "client/rest.h"
#include "virt/names.h"
#include "json/json.h"
#include "json/patch.h"

static const struct {
	const char *kind;
	struct gvr gvr;
} kinds[] = {
	{ "APIService",
	  { STR_INIT("apiregistration.k8s.io"), STR_INIT("v1"), STR_INIT("apiservices") } },
	{ "ClusterRole",
	  { STR_INIT("rbac.authorization.k8s.io"), STR_INIT("v1"), STR_INIT("clusterroles") } },
	{ "ClusterRoleBinding",
	  { STR_INIT("rbac.authorization.k8s.io"), STR_INIT("v1"),
	    STR_INIT("clusterrolebindings") } },
	{ "ConfigMap", { STR_INIT(""), STR_INIT("v1"), STR_INIT("configmaps") } },
	{ "CustomResourceDefinition",
	  { STR_INIT("apiextensions.k8s.io"), STR_INIT("v1"),
	    STR_INIT("customresourcedefinitions") } },
	{ "EndpointSlice",
	  { STR_INIT("discovery.k8s.io"), STR_INIT("v1"), STR_INIT("endpointslices") } },
	{ "KubeVirt", { STR_INIT("kubevirt.io"), STR_INIT("v1"), STR_INIT("kubevirts") } },
	{ "MutatingWebhookConfiguration",
	  { STR_INIT("admissionregistration.k8s.io"), STR_INIT("v1"),
	    STR_INIT("mutatingwebhookconfigurations") } },
	{ "Namespace", { STR_INIT(""), STR_INIT("v1"), STR_INIT("namespaces") } },
	{ "PriorityClass",
	  { STR_INIT("scheduling.k8s.io"), STR_INIT("v1"), STR_INIT("priorityclasses") } },
	{ "Role", { STR_INIT("rbac.authorization.k8s.io"), STR_INIT("v1"), STR_INIT("roles") } },
	{ "RoleBinding",
	  { STR_INIT("rbac.authorization.k8s.io"), STR_INIT("v1"), STR_INIT("rolebindings") } },
	{ "Secret", { STR_INIT(""), STR_INIT("v1"), STR_INIT("secrets") } },
	{ "Service", { STR_INIT(""), STR_INIT("v1"), STR_INIT("services") } },
	{ "ServiceAccount", { STR_INIT(""), STR_INIT("v1"), STR_INIT("serviceaccounts") } },
	{ "ValidatingWebhookConfiguration",
	  { STR_INIT("admissionregistration.k8s.io"), STR_INIT("v1"),
	    STR_INIT("validatingwebhookconfigurations") } },
};

bool json_covers(const struct json *have, const struct json *desired)
{
	if (json_type(have) != json_type(desired))
		return false;
	if (json_is(desired, JSON_OBJECT)) {
		json_for_each(it, desired)
		{
			const struct json *v = json_get_s(have, it.key);

			if (!v || !json_covers(v, it.val))
				return false;
		}
		return true;
	}
	if (json_is(desired, JSON_ARRAY)) {
		if (json_len(have) != json_len(desired))
			return false;
		json_for_each(it, desired)
		{
			if (!json_covers(json_idx(have, it.i), it.val))
				return false;
		}
		return true;
	}
	return json_equal(have, desired);
}

static const struct gvr *find_gvr(struct str kind)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (str_eqz(kind, kinds[i].kind))
			return &kinds[i].gvr;
	}
	return NULL;
}

struct err *ensure_object(struct client *c, struct arena *a, const struct json *desired,
			  bool *ret_changed)
{
	struct str kind = json_str_at(desired, "kind");
	const struct gvr *gvr = find_gvr(kind);
	struct json *have = NULL, *patch;
	struct err *e;

	if (!gvr)
		return err_new(ERR_INVALID, "kind '" STR_FMT "' is not one we install",
			       STR_ARG(kind));
	if (ret_changed)
		*ret_changed = true;
	e = client_get(c, a, *gvr, meta_namespace(desired), meta_name(desired), &have);
	if (err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "to be created");
		e = client_create(c, a, *gvr, meta_namespace(desired), desired, NULL);
		return err_wrap(e, STR_FMT " '" STR_FMT "'", STR_ARG(kind),
				STR_ARG(meta_name(desired)));
	}
	if (e || json_covers(have, desired)) {
		if (ret_changed)
			*ret_changed = false;
		return err_wrap(e, STR_FMT " '" STR_FMT "'", STR_ARG(kind),
				STR_ARG(meta_name(desired)));
	}
	patch = json_merge_diff(a, have, json_merge_patch(a, have, desired));
	e = client_patch(c, a, *gvr, meta_namespace(desired), meta_name(desired), NULL,
			 CLIENT_PATCH_MERGE, patch, NULL);
	return err_wrap(e, STR_FMT " '" STR_FMT "'", STR_ARG(kind), STR_ARG(meta_name(desired)));
}
