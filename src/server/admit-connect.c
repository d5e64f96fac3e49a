/* SPDX-License-Identifier: Apache-2.0 */

/* CONNECT: exec, attach and port-forward as admission sees them, by the options in their query. */

#include "base/arena.h"
#include "base/err.h"
#include "io/http-server.h"
#include "server/admission.h"
#include "server/server.h"
#include "json/json.h"

enum option_type { OPTION_BOOL, OPTION_LIST, OPTION_NUMBERS };

static const struct {
	const char *name;
	enum option_type type;
} options[] = {
	{ "stdin", OPTION_BOOL }, { "stdout", OPTION_BOOL },  { "stderr", OPTION_BOOL },
	{ "tty", OPTION_BOOL },   { "command", OPTION_LIST }, { "ports", OPTION_NUMBERS },
};

static void option_add(struct arena *a, const struct http_query *q, struct json *obj, size_t i,
		       struct str val)
{
	const char *name = options[i].name;
	int64_t n;

	switch (options[i].type) {
	case OPTION_BOOL:
		if (http_query_true(q, name))
			json_set_bool(a, obj, name, true);
		break;
	case OPTION_LIST:
		json_push(json_sub_array(a, obj, name), json_str(a, val));
		break;
	case OPTION_NUMBERS:
		if (str_to_i64(val, &n))
			json_push(json_sub_array(a, obj, name), json_int(a, n));
		break;
	}
}

static struct json *connect_options(struct api_request *rq, struct str container)
{
	const struct http_query *q = &rq->http->query;
	struct arena *a = rq->arena;
	struct json *obj = json_object(a);

	json_set_str(a, obj, "kind", rq->subres->kind);
	json_set_str(a, obj, "apiVersion", STR("v1"));
	if (container.n)
		json_set_str(a, obj, "container", container);
	for (size_t k = 0; k < q->n; k++)
		for (size_t i = 0; i < ARRAY_LEN(options); i++)
			if (str_eqz(q->v[k].name, options[i].name))
				option_add(a, q, obj, i, q->v[k].value);
	return obj;
}

struct err *admission_connect(struct api_request *rq, struct str container)
{
	struct admission ad = {
		.rq = rq,
		.op = ADMISSION_CONNECT,
		.res = rq->res,
		.v = rq->v,
		.sub = request_sub(rq),
		.ns = rq->ns,
		.name = rq->name,
	};

	if (!admission_wanted(rq->server, &ad))
		return NULL;
	ad.obj = connect_options(rq, container);
	TRY(admission_mutate(rq->server, &ad));
	return admission_validate(rq->server, &ad);
}
