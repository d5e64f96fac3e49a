/* SPDX-License-Identifier: Apache-2.0 */
#include "api/names.h"
#include "api/status.h"
#include "base/arena.h"
#include "base/err.h"
#include "client/rest.h"
#include "io/http-server.h"
#include "virt/api/virt-api.h"
#include "virt/names.h"
#include "json/json.h"
#include "json/yaml.h"

#define BASE     "/apis/subresources.kubevirt.io/"
#define MAX_BODY (1024 * 1024)

static const struct route {
	const char *method, *resource, *sub;
	struct err *(*fn)(const struct subresource_call *call);
} routes[] = {
	{ "PUT", "virtualmachines", "start", vm_start_request },
	{ "PUT", "virtualmachines", "stop", vm_stop_request },
	{ "PUT", "virtualmachines", "restart", vm_restart_request },
	{ "PUT", "virtualmachineinstances", "pause", vmi_pause_request },
	{ "PUT", "virtualmachineinstances", "unpause", vmi_unpause_request },
	{ "PUT", "virtualmachineinstances", "softreboot", vmi_softreboot_request },
	{ "PUT", "virtualmachineinstances", "reset", vmi_reset_request },
	{ "GET", "virtualmachineinstances", "console", vmi_console_request },
	{ "GET", "virtualmachineinstances", "vnc", vmi_vnc_request },
};

/* errors */

struct err *subresource_not_found(const char *kind, struct str name)
{
	struct err *e = err_new(ERR_NOT_FOUND, "%s.kubevirt.io \"" STR_FMT "\" not found", kind,
				STR_ARG(name));

	return err_details(e, STR("kubevirt.io"), str_from(kind), name);
}

struct err *subresource_conflict(const char *kind, struct str name, const char *fmt, ...)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str cause;
	struct err *e;
	va_list ap;

	va_start(ap, fmt);
	cause = arena_vfmt(a, fmt, ap);
	va_end(ap);
	e = err_new(ERR_CONFLICT,
		    "Operation cannot be fulfilled on %s.kubevirt.io \"" STR_FMT "\": " STR_FMT,
		    kind, STR_ARG(name), STR_ARG(cause));
	return err_details(e, STR("kubevirt.io"), str_from(kind), name);
}

void subresource_done(const struct subresource_call *call, int status)
{
	http_respond(call->x, status, "text/plain", STR_EMPTY);
}

/* what handlers read */

static struct err *get(const struct subresource_call *call, struct gvr gvr, const char *kind,
		       struct json **ret)
{
	struct err *e = client_get(call->api->client, call->a, gvr, call->ns, call->name, ret);

	if (err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "reworded");
		return subresource_not_found(kind, call->name);
	}
	return e;
}

struct err *subresource_get_vm(const struct subresource_call *call, struct json **ret)
{
	return get(call, GVR_VM, "virtualmachine", ret);
}

struct err *subresource_get_vmi(const struct subresource_call *call, bool optional,
				struct json **ret)
{
	struct err *e;

	*ret = NULL;
	e = get(call, GVR_VMI, "virtualmachineinstance", ret);
	if (optional && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "it need not be there");
		return NULL;
	}
	return e;
}

bool subresource_dry_run(const struct subresource_call *call)
{
	const struct json *list = json_get(call->body, "dryRun");

	return str_eqz(json_as_str(json_idx(list, 0)), "All");
}

/* routing */

static bool parse_path(struct subresource_call *call, struct str path)
{
	struct str *const parts[] = { &call->version, &call->ns, &call->resource, &call->name };
	struct str word;

	if (!str_strip_prefix(&path, STR(BASE)))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (i == 1 && (!str_split_next(&path, '/', &word) || !str_eqz(word, "namespaces")))
			return false;
		if (!str_split_next(&path, '/', &word) || str_empty(word))
			return false;
		*parts[i] = http_url_decode(call->a, word);
	}
	call->sub = path;
	return (str_eqz(call->version, "v1") || str_eqz(call->version, "v1alpha3")) &&
	       !str_empty(path);
}

/* They become parts of other paths: only what can be a name may go there. */
static struct err *check_names(const struct subresource_call *call)
{
	if (!name_check_dns_label(call->ns) && !name_check_dns_subdomain(call->name))
		return NULL;
	return subresource_not_found(str_eqz(call->resource, "virtualmachines")
					     ? "virtualmachine"
					     : "virtualmachineinstance",
				     call->name);
}

static const struct route *find_route(const struct subresource_call *call, struct str method)
{
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		if (str_eqz(method, routes[i].method) &&
		    str_eqz(call->resource, routes[i].resource) &&
		    str_eqz(call->sub, routes[i].sub))
			return &routes[i];
	}
	return NULL;
}

static struct err *read_options(struct subresource_call *call)
{
	struct str body;
	struct err *e;

	if (!str_eqz(http_request(call->x)->method, "PUT"))
		return NULL;
	TRY(http_read_body(call->x, MAX_BODY, &body));
	if (str_empty(str_trim(body)))
		return NULL;
	e = json_parse(call->a, body, &call->body);
	if (e) {
		err_ignore(e, "it may be YAML");
		e = yaml_parse(call->a, body, &call->body);
	}
	if (e)
		return err_remsg(err_recode(e, ERR_BAD_REQUEST),
				 "Can not unmarshal Request body to struct, error: " STR_FMT,
				 STR_ARG(err_msg(e)));
	return NULL;
}

static void respond_status(struct http_exchange *x, struct arena *a, const struct err *e)
{
	http_respond(x, err_http_status(e), "application/json",
		     json_text(a, status_from_err(a, e)));
}

struct err *subresource_serve(struct virt_api *api, struct http_exchange *x)
{
	const struct http_request *req = http_request(x);
	struct subresource_call call = { .api = api, .x = x, .a = req->arena };
	const struct route *route;
	struct err *e;

	if (!parse_path(&call, req->path))
		return err_new(ERR_NOT_FOUND, "the server could not find the requested resource");
	e = authz_check(&call);
	if (err_is(e, ERR_UNAUTHORIZED)) {
		http_respond(x, 401, "text/plain", arena_str(call.a, err_msg(e)));
		err_ignore(e, "told");
		return NULL;
	}
	TRY(e);
	route = find_route(&call, req->method);
	if (!route)
		return err_new(ERR_NOT_FOUND, "the server could not find the requested resource");
	e = check_names(&call);
	if (!e)
		e = read_options(&call);
	if (!e)
		e = route->fn(&call);
	if (e && !http_responded(x)) {
		respond_status(x, call.a, e);
		err_ignore(e, "told");
		return NULL;
	}
	return e;
}
