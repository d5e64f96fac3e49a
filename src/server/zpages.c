/* SPDX-License-Identifier: Apache-2.0 */
/* /statusz and /flagz: what this process is and how it was started, for people. */
#include "server/zpages.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/request.h"
#include "server/respond.h"
#include "server/server.h"

#define WARNING                                                                           \
	"Warning: This endpoint is not meant to be machine parseable, has no formatting " \
	"compatibility guarantees and is for debugging purposes only.\n"

static struct wall started;

static void zpage_send(struct api_request *rq, const struct buf *b)
{
	http_set_header(rq->x, "X-Content-Type-Options", STR("nosniff"));
	respond_text(rq, 200, "text/plain; charset=utf-8", buf_str(b));
}

static struct err *statusz_handle(struct path_handler *h UNUSED, struct api_request *rq)
{
	_cleanup_buf_ struct buf b = { 0 };
	int64_t up = (rq->now.ns - started.ns) / NS_PER_SEC;
	struct path_handler *p = NULL;

	buf_addz(&b, "\napiserver statusz\n" WARNING "\n");
	buf_addf(&b, "Started  " STR_FMT "\n", STR_ARG(wall_format(rq->arena, started)));
	buf_addf(&b, "Up  %lld hr %02lld min %02lld sec\n", (long long)(up / 3600),
		 (long long)(up / 60 % 60), (long long)(up % 60));
	buf_addz(&b, "Binary version  1.36.0\nEmulation version  1.36\nPaths ");
	while ((p = apiserver_next_path(rq->server, p))) {
		struct str path = str_from(p->path);

		str_strip_suffix(&path, STR("*"));
		buf_addf(&b, " " STR_FMT, STR_ARG(path));
	}
	buf_addz(&b, "\n");
	zpage_send(rq, &b);
	return NULL;
}

static struct err *flagz_handle(struct path_handler *h UNUSED, struct api_request *rq)
{
	const struct apiserver_opts *o = &rq->server->opts;
	_cleanup_buf_ struct buf b = { 0 };
	const struct {
		const char *name;
		struct str value;
	} texts[] = {
		{ "advertise", o->advertise },
		{ "audit-log-path", o->audit.log_path },
		{ "audit-policy-file", o->audit.policy_file },
		{ "authentication-config", o->authn.config_file },
		{ "data-dir", o->data_dir },
		{ "kubeconfig", o->kubeconfig },
		{ "oidc-client-id", o->authn.client_id },
		{ "oidc-issuer-url", o->authn.issuer_url },
		{ "service-cidr", o->service_cidr },
	};

	buf_addz(&b, "\napiserver flagz\n" WARNING "\n");
	buf_addf(&b, "access-log:%s\n", o->access_log ? "true" : "false");
	for (size_t i = 0; i < o->n_listen; i++)
		buf_addf(&b, "listen:" STR_FMT "\n", STR_ARG(o->listen[i]));
	buf_addf(&b, "max-mutating-requests-inflight:%u\n", o->max_mutating);
	buf_addf(&b, "max-requests-inflight:%u\n", o->max_read_only);
	buf_addf(&b, "request-timeout:%llds\n", (long long)o->request_timeout_s);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		buf_addf(&b, "%s:" STR_FMT "\n", texts[i].name, STR_ARG(texts[i].value));
	zpage_send(rq, &b);
	return NULL;
}

static struct path_handler zpages[] = {
	{ .path = "/statusz", .handle = statusz_handle },
	{ .path = "/flagz", .handle = flagz_handle },
};

void zpages_init(struct apiserver *s)
{
	started = wall_now();
	for (size_t i = 0; i < ARRAY_LEN(zpages); i++)
		apiserver_add_path(s, &zpages[i]);
}
