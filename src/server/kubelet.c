/* SPDX-License-Identifier: Apache-2.0 */
#include "server/kubelet.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "io/http-client.h"
#include "server/errors.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"

#define KUBELET_PORT 10250

struct err *kubelet_find(struct api_request *rq, struct str name, struct kubelet *ret)
{
	static const char *const types[] = { "InternalIP", "Hostname", "ExternalIP" };
	struct json *node = NULL;
	int64_t port;

	*ret = (struct kubelet){ 0 };
	TRY(local_get_json(rq->server, rq->arena, "nodes", STR_EMPTY, name, &node));
	if (!node)
		return error_not_found(rq->res, name);
	for (size_t i = 0; i < ARRAY_LEN(types) && str_empty(ret->host); i++)
		ret->host = json_str_at(
			json_find_by(json_at(node, "status.addresses"), "type", str_from(types[i])),
			"address");
	if (str_empty(ret->host))
		return err_new(ERR_INTERNAL, "no preferred addresses found; known addresses: []");
	/* 0 is written for a node that never said: upstream takes it for the usual port, too */
	port = json_int_at(node, "status.daemonEndpoints.kubeletEndpoint.Port", 0);
	if (port <= 0)
		port = KUBELET_PORT;
	ret->address = arena_fmt(rq->arena, STR_FMT ":%lld", STR_ARG(ret->host), (long long)port);
	return NULL;
}

struct http_client *kubelet_client(struct api_request *rq, const struct kubelet *k)
{
	struct http_client_opts o = {
		.address = k->address,
		.server_name = k->host,
		.tls = rq->server->kubelet_tls,
		.max_idle = 1,
	};

	return http_client_new(&o);
}
