/* SPDX-License-Identifier: Apache-2.0 */
/* A create through one webhook, which this process serves: what the call costs the API server. */
#include "harness.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "io/fiber.h"
#include "io/http-client.h"
#include "io/http-server.h"
#include "io/pki.h"
#include "io/tls.h"
#include "json/json.h"

#define REVIEW_MAX ((size_t)1 << 20)
#define CONFIG     "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"

struct hook {
	struct http_server *server;
	struct str ca_pem;
	int port, calls;
};

static struct hook hook;

static struct err *hook_handle(struct http_exchange *x, void *ctx UNUSED)
{
	struct arena *a = http_request(x)->arena;
	struct json *review = NULL;
	struct str body;

	hook.calls++;
	TRY(http_read_body(x, REVIEW_MAX, &body));
	TRY(json_parse(a, body, &review));
	http_respond(
		x, 200, "application/json",
		arena_fmt(a,
			  "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\","
			  "\"response\":{\"uid\":\"" STR_FMT "\",\"allowed\":true}}",
			  STR_ARG(json_str_at(review, "request.uid"))));
	return NULL;
}

static struct err *hook_listen(struct hook *h)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, n) < 0 || listen(fd, 16) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &n) < 0)
		return err_new(ERR_IO, "listen for the webhook");
	h->port = ntohs(at.sin_port);
	http_server_listen(h->server, fd);
	return NULL;
}

static struct err *hook_start(struct arena *a, struct hook *h)
{
	const struct str ip = STR("127.0.0.1");
	const struct pki_cert_opts cert = {
		.common_name = STR("webhook"), .ips = &ip, .n_ips = 1, .server = true
	};
	struct tls_opts tls = { .server = true };
	struct http_server_opts opts = { .handler = hook_handle, .max_body = REVIEW_MAX };
	struct pki_pair ca, pair;
	struct tls_config *config;

	TRY(pki_make_ca(a, STR("bench"), 0, &ca));
	TRY(pki_issue(a, &ca, &cert, &pair));
	tls.cert_pem = pair.cert_pem;
	tls.key_pem = pair.key_pem;
	TRY(tls_config_new(&tls, &config));
	opts.tls = config;
	h->server = http_server_new(fiber_loop(), &opts);
	tls_config_unref(config);
	h->ca_pem = ca.cert_pem;
	return hook_listen(h);
}

static void op_config(const struct bench *b, struct arena *a, int i, struct op *op)
{
	op->method = "POST";
	op->content_type = "application/json";
	op->target = STR(CONFIG);
	op->body = arena_fmt(
		a,
		"{\"metadata\":{\"name\":\"bench\"},\"webhooks\":[{\"name\":\"bench.example.com\","
		"\"clientConfig\":{\"url\":\"https://127.0.0.1:%d/\",\"caBundle\":\"" STR_FMT
		"\"},\"rules\":[{\"apiGroups\":[\"\"],\"apiVersions\":[\"v1\"],\"operations\":["
		"\"CREATE\"],\"resources\":[\"pods\"]}],\"sideEffects\":\"None\","
		"\"admissionReviewVersions\":[\"v1\"]}]}",
		hook.port, STR_ARG(base64_encode(a, hook.ca_pem)));
}

struct err *bench_webhook(struct bench *b, op_fn create, int n)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct result r;
	struct err *e = hook_start(a, &hook);

	if (!e)
		e = load(b, 1, 1, 201, op_config, &r);
	if (!e)
		e = fiber_sleep_ms(500);
	if (!e)
		e = load(b, n, CLIENTS, 201, create, &r);
	if (!e && hook.calls < n)
		e = err_new(ERR_UNKNOWN, "the webhook was called %d times", hook.calls);
	if (!e)
		row_plain("create Pod through a webhook", r.us, "us");
	hook.server = http_server_free(hook.server);
	return e;
}
