/* SPDX-License-Identifier: Apache-2.0 */

/*
 * virt-api's requests (handler-api.h): HTTPS with client certificates. The certificates are Secrets
 * that virt-operator makes and renews; they are looked at again every minute.
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/events.h"
#include "client/rest.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/http-server.h"
#include "io/stream.h"
#include "io/tls.h"
#include "io/websocket.h"
#include "virt/handler-api.h"
#include "virt/handler/handler.h"
#include "virt/launcher-api.h"
#include "virt/names.h"
#include "json/json.h"

#define SERVER_CERT_POLL_MS 60000
#define SERVER_RETRY_MS     500

/* Who holds a VM's serial console; on its fiber's stack. */
struct console {
	struct stream *st;
};

/* requests */

struct server_request {
	struct handler *h;
	struct http_exchange *x;
	struct arena *a;
	struct str key;
	struct handler_vm *vm;
	struct json *vmi;
};

static struct err *server_command(struct server_request *r, const char *command, const char *reason,
				  const char *text)
{
	TRY(handler_command(r->vm, command));
	event_record(r->h->events, r->vmi, STR(VIRT_API_VERSION), STR("VirtualMachineInstance"),
		     "Normal", reason, "%s", text);
	http_respond(r->x, 202, "text/plain", STR_EMPTY);
	return NULL;
}

static struct err *server_pause(struct server_request *r)
{
	return server_command(r, "pause", "Paused", "VirtualMachineInstance paused");
}

static struct err *server_unpause(struct server_request *r)
{
	return server_command(r, "unpause", "Unpaused", "VirtualMachineInstance unpaused");
}

static struct err *server_reset(struct server_request *r)
{
	return server_command(r, "reset", "Reset", "VirtualMachineInstance reset");
}

static struct err *server_softreboot(struct server_request *r)
{
	return server_command(r, "softreboot", "SoftRebooted",
			      "VirtualMachineInstance soft rebooted");
}

/* A socket of QEMU's in the launcher's private directory. */
static struct err *server_open_socket(struct server_request *r, const char *name,
				      struct stream **ret)
{
	struct str path = arena_fmt(r->a, STR_FMT "/%s", STR_ARG(meta_uid(r->vmi)), name);
	struct err *e;
	int dir, fd;

	TRY(handler_open_volume(r->h, r->vmi, LAUNCHER_VOL_PRIVATE, &dir));
	e = file_open_beneath(dir, path.p, O_PATH | O_CLOEXEC, 0, &fd);
	close(dir);
	TRY(e);
	e = stream_connect(arena_fmt(r->a, "unix:/proc/self/fd/%d", fd), NULL, STR_EMPTY, ret);
	close(fd);
	return e;
}

static struct err *server_relay(struct server_request *r, const char *name)
{
	static const char *const protocols[] = { HANDLER_SUBPROTOCOL, NULL };
	_cleanup_(stream_freep) struct stream *st = NULL;
	struct websocket *ws;
	struct err *e;

	TRY(server_open_socket(r, name, &st));
	TRY(websocket_accept(r->x, protocols, &ws));
	e = websocket_relay(ws, st);
	websocket_free(ws);
	err_log(NULL, LOG_DEBUG, "stream ended", e);
	return NULL;
}

/* QEMU serves one console at a time: a new one takes it from who has it. */
static struct err *server_console(struct server_request *r)
{
	static const char *const protocols[] = { HANDLER_SUBPROTOCOL, NULL };
	_cleanup_(stream_freep) struct stream *st = NULL;
	struct console mine = { 0 };
	struct handler_vm *vm = r->vm;
	struct websocket *ws = NULL;
	struct err *e;

	if (vm->console && vm->console->st)
		shutdown(stream_fd(vm->console->st), SHUT_RDWR);
	TRY(server_open_socket(r, LAUNCHER_SERIAL, &st));
	/* vm may be gone: look again. */
	TRY(handler_find(r->h, r->key, &vm));
	mine.st = st;
	vm->console = &mine;
	e = websocket_accept(r->x, protocols, &ws);
	if (!e) {
		e = websocket_relay(ws, st);
		websocket_free(ws);
		err_log(NULL, LOG_DEBUG, "console ended", e);
		e = NULL;
	}
	vm = map_find(&r->h->vms, r->key);
	if (vm && vm->console == &mine)
		vm->console = NULL;
	return e;
}

static struct err *server_vnc(struct server_request *r)
{
	return server_relay(r, LAUNCHER_VNC);
}

static const struct {
	const char *method, *verb;
	struct err *(*fn)(struct server_request *r);
} server_verbs[] = {
	{ "GET", "console", server_console }, { "GET", "vnc", server_vnc },
	{ "PUT", "pause", server_pause },     { "PUT", "unpause", server_unpause },
	{ "PUT", "reset", server_reset },     { "PUT", "softreboot", server_softreboot },
};

/* "/v1/namespaces/{ns}/virtualmachineinstances/{name}/{verb}" */
static bool server_route(struct arena *a, struct str path, struct str *ret_key,
			 struct str *ret_verb)
{
	struct str ns, name, part;

	if (!str_strip_prefix(&path, STR("/v1/namespaces/")) || !str_cut(&path, '/', &ns) ||
	    !str_cut(&path, '/', &part) || !str_eqz(part, "virtualmachineinstances") ||
	    !str_cut(&path, '/', &name) || str_empty(path))
		return false;
	*ret_key = meta_key(a, ns, name);
	*ret_verb = path;
	return true;
}

static struct err *server_handle(struct http_exchange *x, void *ctx)
{
	const struct http_request *req = http_request(x);
	struct server_request r = { .h = ctx, .x = x, .a = req->arena };
	struct str verb;

	if (str_eqz(req->path, "/healthz")) {
		http_respond(x, 200, "text/plain", STR("ok"));
		return NULL;
	}
	if (!req->has_peer_cert || !str_eqz(req->peer.common_name, HANDLER_CLIENT_CN))
		return err_new(ERR_FORBIDDEN, "a client certificate of %s is needed",
			       HANDLER_CLIENT_CN);
	if (!server_route(r.a, req->path, &r.key, &verb))
		return err_new(ERR_NOT_FOUND, "no such path");
	for (size_t i = 0; i < ARRAY_LEN(server_verbs); i++) {
		if (!str_eqz(verb, server_verbs[i].verb) ||
		    !str_eqz(req->method, server_verbs[i].method))
			continue;
		TRY(handler_find(r.h, r.key, &r.vm));
		r.vmi = handler_vmi(r.h, r.a, r.key);
		if (!r.vmi)
			return err_new(ERR_NOT_FOUND, "no such VirtualMachineInstance");
		return server_verbs[i].fn(&r);
	}
	return err_new(ERR_NOT_FOUND, "no such path");
}

static void server_on_error(struct http_exchange *x, struct err *e, void *ctx UNUSED)
{
	http_respond(x, err_http_status(e), "text/plain", err_msg(e));
}

/* certificates */

static struct err *server_secret(struct arena *a, const struct json *secret, const char *key,
				 struct str *ret)
{
	struct str b64 = json_as_str(json_path(secret, "data", key, NULL));

	if (str_empty(b64) || !base64_decode(a, b64, ret))
		return err_new(ERR_NOT_FOUND, "Secret has no %s", key);
	return NULL;
}

static struct err *server_read_tls(struct handler *h, struct arena *a, struct tls_opts *ret)
{
	struct json *secret, *ca;

	TRY(client_get(h->client, a, GVR_SECRET, h->ns, STR(HANDLER_SERVER_SECRET), &secret));
	TRY(client_get(h->client, a, GVR_CONFIGMAP, h->ns, STR(VIRT_CA_CONFIGMAP), &ca));
	*ret = (struct tls_opts){ .server = true, .require_client_cert = true, .no_h2 = true };
	TRY(server_secret(a, secret, "tls.crt", &ret->cert_pem));
	TRY(server_secret(a, secret, "tls.key", &ret->key_pem));
	ret->ca_pem = json_as_str(json_path(ca, "data", VIRT_CA_KEY, NULL));
	if (str_empty(ret->ca_pem))
		return err_new(ERR_NOT_FOUND, "ConfigMap %s has no %s", VIRT_CA_CONFIGMAP,
			       VIRT_CA_KEY);
	return NULL;
}

struct server {
	struct handler *h;
	struct http_server *http;
	char seen[65]; /* digest of the certificates in use */
};

static struct err *server_apply(struct server *s, const struct tls_config *tls)
{
	const struct http_server_opts opts = {
		.tls = tls,
		.max_body = 65536,
		.handler = server_handle,
		.on_error = server_on_error,
		.ctx = s->h,
	};
	int fd;

	if (s->http) {
		http_server_set_tls(s->http, tls);
		return NULL;
	}
	TRY(stream_listen(s->h->address, &fd));
	s->http = http_server_new(s->h->loop, &opts);
	http_server_listen(s->http, fd);
	log_info(NULL, "serving", KV_STR("address", s->h->address));
	return NULL;
}

static struct err *server_refresh(struct server *s)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct tls_config *tls;
	struct tls_opts o;
	struct str digest;
	struct err *e;

	TRY(server_read_tls(s->h, a, &o));
	digest = sha256_hex(a, arena_cat(a, arena_cat(a, o.cert_pem, o.key_pem), o.ca_pem));
	if (str_eqz(digest, s->seen))
		return NULL;
	TRY(tls_config_new(&o, &tls));
	e = server_apply(s, tls);
	tls_config_unref(tls);
	if (!e)
		memcpy(s->seen, digest.p, 64);
	return e;
}

struct err *virt_handler_serve(void *arg)
{
	struct server s = { .h = arg };
	struct err *e = NULL;

	while (!e) {
		struct err *fail = server_refresh(&s);

		if (fail && err_is(fail, ERR_CANCELED)) {
			e = fail;
			break;
		}
		if (fail && !err_is(fail, ERR_NOT_FOUND))
			err_log(NULL, LOG_WARN, "cannot serve virt-api yet", fail);
		else
			err_ignore(fail, "virt-operator has not made the certificates yet");
		e = fiber_sleep_ms(s.http && !fail ? SERVER_CERT_POLL_MS : SERVER_RETRY_MS);
	}
	http_server_free(s.http);
	return e;
}
