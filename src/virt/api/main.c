/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/main.h"
#include "api/status.h"
#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/log.h"
#include "client/component.h"
#include "client/informer.h"
#include "client/rest.h"
#include "io/http-server.h"
#include "io/stream.h"
#include "io/tls.h"
#include "virt/api/schemas.h"
#include "virt/api/virt-api.h"
#include "virt/handler-api.h"
#include "virt/names.h"
#include "json/json.h"

#define MAX_BODY        (4 * 1024 * 1024)
#define FIRST_RETRY_MS  200
#define REFRESH_MS      (60 * 1000)
#define AUTH_NAMESPACE  "kube-system"
#define AUTH_CONFIG     "extension-apiserver-authentication"
#define DEFAULT_ADDRESS "0.0.0.0:8443"

static struct str opt_namespace = STR_INIT(VIRT_NAMESPACE_DEFAULT);
static struct str opt_address = STR_INIT(DEFAULT_ADDRESS);

/* configuration */

static bool first_object(const struct obj *o, void *ctx)
{
	*(const struct obj **)ctx = o;
	return false;
}

void virt_api_config(const struct virt_api *api, struct arena *a, struct virt_config *ret)
{
	const struct obj *o = NULL;

	informer_each(api->kubevirts, STR_EMPTY, first_object, (void *)&o);
	virt_config_read(a, o ? json_copy(a, obj_tree(o)) : NULL, ret);
}

/* requests */

static struct err *serve(struct http_exchange *x, void *ctx)
{
	const struct http_request *req = http_request(x);

	if (str_eqz(req->method, "GET") && discovery_serve(x))
		return NULL;
	if (str_has_prefix(req->path, STR("/apis/")))
		return subresource_serve(ctx, x);
	if (str_eqz(req->method, "POST"))
		return admission_serve(ctx, x);
	return err_new(ERR_NOT_FOUND, "the server could not find the requested resource");
}

static void serve_error(struct http_exchange *x, struct err *e, void *ctx)
{
	struct arena *a = http_request(x)->arena;

	if (!http_responded(x))
		http_respond(x, err_http_status(e), "application/json",
			     json_text(a, status_from_err(a, e)));
	log_warn(NULL, "request failed", KV_STR("path", http_request(x)->path), KV_ERR(e));
}

/* certificates */

/* What the two TLS settings are made of; compared to see whether anything was renewed. */
struct material {
	struct str cert, key, handler_cert, handler_key, handler_ca, proxy_ca;
	struct str proxy_names;
};

static struct err *read_secret(struct virt_api *api, struct arena *a, const char *name,
			       struct str *ret_cert, struct str *ret_key)
{
	struct json *secret = NULL;
	const struct json *data;

	TRY(client_get(api->client, a, GVR_SECRET, api->ns, str_from(name), &secret));
	data = json_get(secret, "data");
	if (!base64_decode(a, json_as_str(json_get(data, "tls.crt")), ret_cert) ||
	    !base64_decode(a, json_as_str(json_get(data, "tls.key")), ret_key))
		return err_new(ERR_INVALID, "Secret '%s' holds no tls.crt and tls.key", name);
	return NULL;
}

static struct err *read_material(struct virt_api *api, struct arena *a, struct material *m)
{
	struct json *map = NULL;
	const struct json *data;

	TRY(read_secret(api, a, SECRET_VIRT_API, &m->cert, &m->key));
	TRY(read_secret(api, a, HANDLER_CLIENT_SECRET, &m->handler_cert, &m->handler_key));
	TRY(client_get(api->client, a, GVR_CONFIGMAP, api->ns, STR(VIRT_CA_CONFIGMAP), &map));
	m->handler_ca = json_as_str(json_path(map, "data", VIRT_CA_KEY, NULL));
	TRY(client_get(api->client, a, GVR_CONFIGMAP, STR(AUTH_NAMESPACE), STR(AUTH_CONFIG), &map));
	data = json_get(map, "data");
	m->proxy_ca = json_as_str(json_get(data, "requestheader-client-ca-file"));
	m->proxy_names = json_as_str(json_get(data, "requestheader-allowed-names"));
	if (str_empty(m->proxy_ca))
		return err_new(ERR_INVALID, "ConfigMap '" AUTH_CONFIG "' names no front proxy CA");
	return NULL;
}

static bool material_equal(const struct material *x, const struct material *y)
{
	return str_eq(x->cert, y->cert) && str_eq(x->handler_cert, y->handler_cert) &&
	       str_eq(x->handler_ca, y->handler_ca) && str_eq(x->proxy_ca, y->proxy_ca) &&
	       str_eq(x->proxy_names, y->proxy_names);
}

static struct err *apply_material(struct virt_api *api, struct http_server *server,
				  const struct material *m)
{
	struct tls_opts serving = { .cert_pem = m->cert,
				    .key_pem = m->key,
				    .ca_pem = m->proxy_ca,
				    .server = true,
				    .request_client_cert = true };
	struct tls_opts calling = { .cert_pem = m->handler_cert,
				    .key_pem = m->handler_key,
				    .ca_pem = m->handler_ca };
	struct tls_config *tls = NULL, *handler = NULL;
	struct json *names = NULL;
	struct arena *a = arena_new();
	struct err *e = str_empty(m->proxy_names)
				? NULL
				: json_parse(a, arena_str(a, m->proxy_names), &names);

	if (!e)
		e = tls_config_new(&serving, &tls);
	if (!e)
		e = tls_config_new(&calling, &handler);
	if (e) {
		tls_config_unref(tls);
		arena_free(a);
		return e;
	}
	http_server_set_tls(server, tls);
	tls_config_unref(tls);
	tls_config_unref(api->handler_tls);
	api->handler_tls = handler;
	api->proxy_names = names;
	arena_free(api->auth_arena);
	api->auth_arena = a;
	return NULL;
}

/* Watches over the certificates; the first time it opens the listener with them. */
static struct err *keep_certificates(struct virt_api *api, struct http_server *server)
{
	_cleanup_arena_ struct arena *have = NULL;
	struct material now = { 0 };
	bool listening = false;

	for (;;) {
		struct arena *a = arena_new();
		struct material m = { 0 };
		struct err *e = read_material(api, a, &m);
		int fd;

		if (!e && !material_equal(&m, &now)) {
			e = apply_material(api, server, &m);
			if (!e) {
				arena_free(have);
				have = TAKE(a);
				now = m;
			}
		}
		arena_free(a);
		if (!e && !listening) {
			TRY(stream_listen(opt_address, &fd));
			http_server_listen(server, fd);
			listening = true;
			log_info(NULL, "serving", KV_STR("address", opt_address));
		}
		if (e && err_is(e, ERR_CANCELED))
			return e;
		err_log(NULL, LOG_DEBUG, "certificates are not there yet", e);
		TRY(fiber_sleep_ms(listening ? REFRESH_MS : FIRST_RETRY_MS));
	}
}

static struct err *run(struct client *c, void *ctx)
{
	struct virt_api api = { .loop = fiber_loop(), .client = c, .ns = opt_namespace };
	struct informer_opts iopts = { .gvr = GVR_KUBEVIRT };
	struct http_server_opts sopts = {
		.max_body = MAX_BODY, .handler = serve, .on_error = serve_error, .ctx = &api
	};
	struct tls_opts none = { .server = true };
	struct tls_config *tls = NULL;
	struct http_server *server;
	struct err *e;

	/* a server that speaks TLS from the start; the listener opens with the first certificate */
	TRY(tls_config_new(&none, &tls));
	sopts.tls = tls;
	api.schemas = schemas_new();
	api.kubevirts = informer_new(api.loop, c, &iopts);
	server = http_server_new(api.loop, &sopts);
	e = keep_certificates(&api, server);
	http_server_free(server);
	informer_free(api.kubevirts);
	schemas_free(api.schemas);
	tls_config_unref(api.handler_tls);
	tls_config_unref(tls);
	arena_free(api.auth_arena);
	return e;
}

int virt_api_main(int argc, char **argv)
{
	static const struct component_flag flags[] = {
		{ "--namespace", "NAME", "where the virtualization components live", &opt_namespace,
		  false },
		{ "--address", "IP:PORT", "where to listen (default " DEFAULT_ADDRESS ")",
		  &opt_address, false },
		{ NULL },
	};
	const struct component comp = { .name = "virt-api", .flags = flags, .run = run };

	return component_main(&comp, argc, argv);
}
