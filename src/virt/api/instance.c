/* SPDX-License-Identifier: Apache-2.0 */
#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/rest.h"
#include "io/http-client.h"
#include "io/http-server.h"
#include "io/stream.h"
#include "io/websocket.h"
#include "virt/api/virt-api.h"
#include "virt/handler-api.h"
#include "virt/mapping/vmi.h"
#include "virt/names.h"
#include "json/json.h"

/*
 * What only the node of a VMI can do: virt-api checks the VMI's state, then asks virt-handler there
 * (handler-api.h), over TLS with a client certificate of its own. The address is the handler's Pod
 * where it runs as one, else the node's InternalIP.
 */

#define VMI        "virtualmachineinstance"
#define MAX_ANSWER (64 * 1024)

/* the handler */

static bool handler_reachable(const struct json *vmi)
{
	return vmi_is_running(vmi) || vmi_phase_is(vmi, "Scheduled");
}

static struct str internal_ip(const struct json *node)
{
	json_for_each(it, json_at(node, "status.addresses"))
	{
		if (str_eqz(json_str_at(it.val, "type"), "InternalIP"))
			return json_str_at(it.val, "address");
	}
	return STR_EMPTY;
}

static struct err *find_handler(const struct subresource_call *call, const struct json *vmi,
				struct str *ret)
{
	struct str node_name = json_str_at(vmi, "status.nodeName"), ip;
	struct json *pods = NULL, *node = NULL;
	struct str query =
		arena_fmt(call->a,
			  "labelSelector=kubevirt.io%%3Dvirt-handler&fieldSelector=spec.nodeName"
			  "%%3D" STR_FMT,
			  STR_ARG(node_name));

	TRY(client_list(call->api->client, call->a, GVR_POD, call->api->ns, query, &pods));
	ip = json_str_at(json_idx(json_get(pods, "items"), 0), "status.podIP");
	if (str_empty(ip)) {
		TRY(client_get(call->api->client, call->a, GVR_NODE, STR_EMPTY, node_name, &node));
		ip = internal_ip(node);
	}
	if (str_empty(ip))
		return err_new(ERR_BAD_REQUEST, "node '" STR_FMT "' has no InternalIP",
			       STR_ARG(node_name));
	*ret = arena_fmt(call->a, STR_FMT ":%d", STR_ARG(ip), HANDLER_PORT);
	return NULL;
}

/* A client of the VMI's virt-handler, for this call. */
static struct err *handler_client(const struct subresource_call *call, const struct json *vmi,
				  struct http_client **ret)
{
	struct http_client_opts opts = { .server_name = STR(HANDLER_SERVER_NAME) };

	if (!handler_reachable(vmi))
		return err_new(
			ERR_BAD_REQUEST,
			"Unable to connect to VirtualMachineInstance because phase is " STR_FMT
			" instead of Running or Scheduled",
			STR_ARG(vmi_phase(vmi)));
	if (!call->api->handler_tls)
		return err_new(ERR_UNAVAILABLE, "no certificate for virt-handler yet");
	TRY(find_handler(call, vmi, &opts.address));
	opts.tls = call->api->handler_tls;
	*ret = http_client_new(&opts);
	return NULL;
}

static struct str handler_path(const struct subresource_call *call, const char *sub)
{
	return arena_fmt(call->a,
			 "/v1/namespaces/" STR_FMT "/virtualmachineinstances/" STR_FMT "/%s",
			 STR_ARG(call->ns), STR_ARG(call->name), sub);
}

static struct err *handler_put(const struct subresource_call *call, const struct json *vmi,
			       const char *sub)
{
	struct http_client_request req = { .method = "PUT",
					   .target = handler_path(call, sub),
					   .has_body = true };
	struct http_client_response resp = { 0 };
	struct http_client *c = NULL;
	struct err *e;

	TRY(handler_client(call, vmi, &c));
	e = http_client_do(c, call->a, &req, MAX_ANSWER, &resp);
	http_client_free(c);
	TRY(err_recode(e, ERR_INTERNAL));
	if (resp.status / 100 == 2)
		return NULL;
	return err_new(ERR_INTERNAL,
		       "Internal error occurred: unexpected return code %d (%s), message: " STR_FMT,
		       resp.status, http_status_text(resp.status), STR_ARG(str_trim(resp.body)));
}

/* actions */

static bool is_paused(const struct json *vmi)
{
	return condition_is_true(json_get(vmi, "status"), "Paused");
}

static struct err *act(const struct subresource_call *call, const struct json *vmi, const char *sub)
{
	if (!subresource_dry_run(call))
		TRY(handler_put(call, vmi, sub));
	subresource_done(call, 200);
	return NULL;
}

struct err *vmi_pause_request(const struct subresource_call *call)
{
	const struct json *probe;
	struct json *vmi;

	TRY(subresource_get_vmi(call, false, &vmi));
	if (!vmi_is_running(vmi))
		return subresource_conflict(VMI, call->name, "VM is not running");
	probe = json_at(vmi, "spec.livenessProbe");
	if (probe && !json_get(probe, "guestAgentPing"))
		return err_details(
			err_new(ERR_FORBIDDEN,
				VMI ".kubevirt.io \"" STR_FMT
				    "\" is forbidden: Pausing VMIs with a non-GuestAgentPing "
				    "LivenessProbe is not supported",
				STR_ARG(call->name)),
			STR("kubevirt.io"), STR(VMI), call->name);
	if (is_paused(vmi))
		return subresource_conflict(VMI, call->name, "VMI is already paused");
	return act(call, vmi, "pause");
}

struct err *vmi_unpause_request(const struct subresource_call *call)
{
	struct json *vmi;

	TRY(subresource_get_vmi(call, false, &vmi));
	if (!vmi_is_running(vmi))
		return subresource_conflict(VMI, call->name, "VMI is not running");
	if (!is_paused(vmi))
		return subresource_conflict(VMI, call->name, "VMI is not paused");
	return act(call, vmi, "unpause");
}

struct err *vmi_softreboot_request(const struct subresource_call *call)
{
	const struct json *acpi;
	struct json *vmi;

	TRY(subresource_get_vmi(call, false, &vmi));
	if (!vmi_is_running(vmi))
		return subresource_conflict(VMI, call->name, "VM is not running");
	if (is_paused(vmi))
		return subresource_conflict(VMI, call->name, "VMI is paused");
	acpi = json_at(vmi, "spec.domain.features.acpi");
	if (!condition_is_true(json_get(vmi, "status"), "AgentConnected") && acpi &&
	    !json_bool_at(acpi, "enabled", true))
		return subresource_conflict(
			VMI, call->name,
			"VMI neither have the agent connected nor the ACPI feature enabled");
	return act(call, vmi, "softreboot");
}

struct err *vmi_reset_request(const struct subresource_call *call)
{
	struct json *vmi;

	TRY(subresource_get_vmi(call, false, &vmi));
	if (!handler_reachable(vmi))
		return err_new(
			ERR_BAD_REQUEST,
			"Failed to reset non-running VMI with phase " STR_FMT
			": Unable to connect to VirtualMachineInstance because phase is " STR_FMT
			" instead of Running or Scheduled",
			STR_ARG(vmi_phase(vmi)), STR_ARG(vmi_phase(vmi)));
	return act(call, vmi, "reset");
}

/* streams: both sides upgrade, then bytes pass through untouched */

/* The client's request to upgrade, for virt-handler: the same WebSocket key, so the same answer. */
static void copy_upgrade(const struct subresource_call *call, struct http_client_request *req)
{
	static const char *const names[] = { "Connection", "Upgrade", "Sec-WebSocket-Key",
					     "Sec-WebSocket-Version", "Sec-WebSocket-Protocol" };
	const struct http_headers *from = &http_request(call->x)->headers;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct str v = http_headers_find(from, names[i]);

		if (!str_empty(v))
			http_headers_add(call->a, &req->headers, str_from(names[i]), v);
	}
}

static struct err *refused(const struct http_client_response *resp)
{
	return err_new(resp->status == 503 ? ERR_UNAVAILABLE : ERR_INTERNAL,
		       "Internal error occurred: unexpected return code %d (%s), message: " STR_FMT,
		       resp->status, http_status_text(resp->status), STR_ARG(str_trim(resp->body)));
}

static struct err *splice(const struct subresource_call *call,
			  const struct http_client_response *resp, struct stream *back)
{
	static const char *const names[] = { "Connection", "Upgrade", "Sec-WebSocket-Accept",
					     "Sec-WebSocket-Protocol" };
	struct stream *front = NULL;
	struct err *e;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct str v = http_headers_find(&resp->headers, names[i]);

		if (!str_empty(v))
			http_set_header(call->x, names[i], v);
	}
	e = http_respond_upgrade(call->x, &front);
	if (e) {
		stream_free(back);
		return e;
	}
	e = stream_relay(front, back);
	err_ignore(e, "either end may simply go away");
	return NULL;
}

static struct err *stream_to_handler(const struct subresource_call *call, const struct json *vmi,
				     const char *sub)
{
	struct http_client_request req = { .method = "GET", .target = handler_path(call, sub) };
	struct http_client_response resp = { 0 };
	struct http_client *c = NULL;
	struct stream *back = NULL;
	struct err *e;

	if (!http_headers_has_token(&http_request(call->x)->headers, "Connection", "upgrade"))
		return err_new(ERR_BAD_REQUEST, "websocket: the client is not using the websocket "
						"protocol: 'upgrade' token not found in "
						"'Connection' header");
	TRY(handler_client(call, vmi, &c));
	copy_upgrade(call, &req);
	e = http_client_upgrade(c, call->a, &req, &resp, &back);
	http_client_free(c);
	TRY(err_recode(e, ERR_INTERNAL));
	return back ? splice(call, &resp, back) : refused(&resp);
}

struct err *vmi_console_request(const struct subresource_call *call)
{
	struct json *vmi;

	TRY(subresource_get_vmi(call, false, &vmi));
	if (!json_bool_at(vmi, "spec.domain.devices.autoattachSerialConsole", true))
		return err_new(ERR_BAD_REQUEST, "No serial consoles are present.");
	if (vmi_phase_is(vmi, "Failed"))
		return subresource_conflict(VMI, call->name, "VMI is in failed status");
	if (!vmi_is_running(vmi))
		return err_new(ERR_BAD_REQUEST, "VMI is not running");
	return stream_to_handler(call, vmi, "console");
}

struct err *vmi_vnc_request(const struct subresource_call *call)
{
	struct json *vmi;

	TRY(subresource_get_vmi(call, false, &vmi));
	if (!json_bool_at(vmi, "spec.domain.devices.autoattachGraphicsDevice", true))
		return err_new(ERR_BAD_REQUEST, "No graphics devices are present.");
	if (!vmi_is_running(vmi))
		return err_new(ERR_BAD_REQUEST, "VMI is not running");
	return stream_to_handler(call, vmi, "vnc");
}
