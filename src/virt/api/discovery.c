/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "base/buf.h"
#include "io/http-server.h"
#include "virt/api/virt-api.h"
#include "virt/version.h"
#include "json/json.h"

#define GROUP "subresources.kubevirt.io"

static const struct {
	const char *name, *kind, *verb;
} resources[] = {
	{ "virtualmachines/start", "VirtualMachine", "update" },
	{ "virtualmachines/stop", "VirtualMachine", "update" },
	{ "virtualmachines/restart", "VirtualMachine", "update" },
	{ "virtualmachineinstances/pause", "VirtualMachineInstance", "update" },
	{ "virtualmachineinstances/unpause", "VirtualMachineInstance", "update" },
	{ "virtualmachineinstances/softreboot", "VirtualMachineInstance", "update" },
	{ "virtualmachineinstances/reset", "VirtualMachineInstance", "update" },
	{ "virtualmachineinstances/console", "VirtualMachineInstance", "get" },
	{ "virtualmachineinstances/vnc", "VirtualMachineInstance", "get" },
	{ "version", "", "get" },
};

static struct json *version_entry(struct arena *a, const char *version)
{
	struct json *v = json_object(a);

	json_set(a, v, "groupVersion", json_strf(a, GROUP "/%s", version));
	json_set_str(a, v, "version", str_from(version));
	return v;
}

static struct json *group(struct arena *a)
{
	struct json *g = json_object(a), *versions = json_array(a);

	json_set_str(a, g, "kind", STR("APIGroup"));
	json_set_str(a, g, "apiVersion", STR("v1"));
	json_set_str(a, g, "name", STR(GROUP));
	json_push(versions, version_entry(a, "v1"));
	json_push(versions, version_entry(a, "v1alpha3"));
	json_set(a, g, "versions", versions);
	json_set(a, g, "preferredVersion", version_entry(a, "v1"));
	return g;
}

static struct json *answer_groups(struct arena *a)
{
	struct json *list = json_object(a);

	json_set_str(a, list, "kind", STR("APIGroupList"));
	json_set_str(a, list, "apiVersion", STR("v1"));
	json_push(json_sub_array(a, list, "groups"), group(a));
	return list;
}

static struct json *resource_list(struct arena *a, const char *version)
{
	struct json *list = json_object(a), *items = json_array(a);

	json_set_str(a, list, "kind", STR("APIResourceList"));
	json_set_str(a, list, "apiVersion", STR("v1"));
	json_set(a, list, "groupVersion", json_strf(a, GROUP "/%s", version));
	for (size_t i = 0; i < ARRAY_LEN(resources); i++) {
		struct json *r = json_object(a);

		json_set_str(a, r, "name", str_from(resources[i].name));
		json_set_str(a, r, "singularName", STR_EMPTY);
		json_set_bool(a, r, "namespaced", true);
		json_set_str(a, r, "kind", str_from(resources[i].kind));
		json_push(json_sub_array(a, r, "verbs"), json_strz(a, resources[i].verb));
		json_push(items, r);
	}
	json_set(a, list, "resources", items);
	return list;
}

static struct json *answer_v1(struct arena *a)
{
	return resource_list(a, "v1");
}

static struct json *answer_v1alpha3(struct arena *a)
{
	return resource_list(a, "v1alpha3");
}

static struct json *answer_version(struct arena *a)
{
	struct json *v = json_object(a);

	virt_version_fill(a, v);
	return v;
}

static struct json *answer_health(struct arena *a)
{
	struct json *v = json_object(a);

	json_set_at(a, v, "apiserver.connectivity", json_strz(a, "ok"));
	return v;
}

static struct json *answer_root(struct arena *a)
{
	struct json *v = json_object(a), *paths = json_sub_array(a, v, "paths");

	json_push(paths, json_strz(a, "/apis"));
	json_push(paths, json_strz(a, "/apis/" GROUP));
	json_push(paths, json_strz(a, "/healthz"));
	return v;
}

static struct json *answer_openapi_v2(struct arena *a)
{
	struct json *v = json_object(a);

	json_set_str(a, v, "swagger", STR("2.0"));
	json_set_at(a, v, "info.title", json_strz(a, "KubeVirt API"));
	json_set_at(a, v, "info.version", json_strz(a, VIRT_VERSION));
	json_sub(a, v, "paths");
	return v;
}

static struct json *answer_openapi_v3(struct arena *a)
{
	struct json *v = json_object(a);

	json_sub(a, v, "paths");
	return v;
}

static const struct {
	const char *path;
	struct json *(*answer)(struct arena *a);
} routes[] = {
	{ "/", answer_root },
	{ "/apis", answer_groups },
	{ "/apis/" GROUP, group },
	{ "/apis/" GROUP "/v1", answer_v1 },
	{ "/apis/" GROUP "/v1alpha3", answer_v1alpha3 },
	{ "/apis/" GROUP "/v1/version", answer_version },
	{ "/apis/" GROUP "/v1alpha3/version", answer_version },
	{ "/apis/" GROUP "/v1/healthz", answer_health },
	{ "/apis/" GROUP "/v1alpha3/healthz", answer_health },
	{ "/healthz", answer_health },
	{ "/openapi/v2", answer_openapi_v2 },
	{ "/openapi/v3", answer_openapi_v3 },
};

bool discovery_serve(struct http_exchange *x)
{
	const struct http_request *req = http_request(x);
	struct str path = req->path;

	if (path.n > 1)
		str_strip_suffix(&path, STR("/"));
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		if (!str_eqz(path, routes[i].path))
			continue;
		http_respond(x, 200, "application/json",
			     json_text(req->arena, routes[i].answer(req->arena)));
		return true;
	}
	return false;
}
