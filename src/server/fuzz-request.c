/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A request target: path, query, and what options and continue tokens come of them. What is encoded
 * decodes to the same, and a token that is accepted is written as one that reads alike.
 */

#include "api/schema.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/err.h"
#include "io/fiber.h"
#include "io/http-server.h"
#include "server/continue.h"
#include "server/request.h"
#include "server/resources.h"
#include "server/server.h"
#include "testkit/fuzz.h"

const char *const fuzz_seeds[] = {
	"/api/v1/namespaces/default/pods/"
	"a%2Fb?labelSelector=a%3Db,c!=d&fieldSelector=spec.nodeName%3Dx"
	"&limit=5&resourceVersion=7&resourceVersionMatch=Exact&timeoutSeconds=3&timeout=1m2s",
	"/apis/apps/v1/deployments?watch=1&allowWatchBookmarks=true&sendInitialEvents=1&continue="
	"eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6Nywic3RhcnQiOiJucy9uYW1lXHUwMDAwIn0",
	"/api/v1/namespaces/n/pods/p/proxy/a/"
	"b?c=d&fieldManager=m&fieldValidation=Strict&dryRun=All",
	"/openapi/v3//x/../..?%",
	"eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoibmFtZVx1MDAwMCJ9",
	NULL,
};

static struct apiserver server;

static void server_init(void)
{
	if (server.registry)
		return;
	server.arena = arena_new();
	server.registry = registry_new(schema_registry_builtin());
	err_ignore(resources_add_builtin(server.registry, server.arena), "cannot fail");
}

static void try_token(struct arena *a, struct str text)
{
	struct continue_token t, again;
	struct err *e = continue_parse(a, text, &t);

	if (e) {
		ASSERT(err_is(e, ERR_BAD_REQUEST));
		err_free(e);
		return;
	}
	ASSERT(t.rv);
	e = continue_parse(a, continue_format(a, &t), &again);
	/* clean keys stay what they are */
	if (!e && t.name.n && !str_contains(t.name, STR("/")) && !str_contains(t.ns, STR("/")))
		ASSERT(again.rv == t.rv && str_eq(again.ns, t.ns) && str_eq(again.name, t.name));
	err_free(e);
}

static void try_options(struct api_request *rq, enum verb verb)
{
	rq->verb = verb;
	rq->opt = (struct api_options){ 0 };
	err_ignore(options_parse(rq), "only crashes count");
}

static struct err *run(void *arg)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str in = *(const struct str *)arg, path;
	struct http_request http = { .method = STR_INIT("GET") };
	struct api_request rq = { .server = &server, .arena = a, .http = &http };
	struct err *e;

	str_cut(&in, '?', &path);
	http.path = path;
	http.query = http_query_parse(a, in);
	for (size_t i = 0; i < http.query.n; i++)
		ASSERT(str_eq(http_url_decode(a, http_url_encode(a, http.query.v[i].value)),
			      http.query.v[i].value));
	try_token(a, path);
	try_token(a, http_query_find(&http.query, "continue"));
	e = path_parse(&rq, http.method, path);
	if (e) {
		err_free(e);
		return NULL;
	}
	rq.res = registry_find(server.registry, rq.group, rq.version, rq.plural, &rq.v);
	if (!rq.res)
		rq.res = registry_find(server.registry, STR(""), STR("v1"), STR("pods"), &rq.v);
	try_options(&rq, VERB_GET);
	try_options(&rq, VERB_LIST);
	try_options(&rq, VERB_WATCH);
	try_options(&rq, VERB_PATCH);
	try_options(&rq, VERB_DELETECOLLECTION);
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str in = str_make((const char *)data, n);

	server_init();
	err_ignore(fiber_main(run, &in), "only crashes count");
	return 0;
}
