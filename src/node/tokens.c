/* SPDX-License-Identifier: Apache-2.0 */

#include "node/tokens.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "client/rest.h"
#include "node/agent.h"
#include "json/json.h"

#define DAY_S (24 * 3600)

struct token {
	char *text;
	struct wall renew;
};

/* "uid sa audience seconds" -> struct token */
static struct map tokens;

static struct json *token_body(struct arena *a, const struct token_request *rq)
{
	struct json *o = json_object(a), *aud, *ref;

	json_set_str(a, o, "apiVersion", STR("authentication.k8s.io/v1"));
	json_set_str(a, o, "kind", STR("TokenRequest"));
	json_set_at(a, o, "spec.expirationSeconds", json_int(a, rq->seconds));
	aud = json_sub_array(a, json_get(o, "spec"), "audiences");
	if (rq->audience.n)
		json_push(aud, json_str(a, rq->audience));
	ref = json_sub(a, json_get(o, "spec"), "boundObjectRef");
	json_set_str(a, ref, "apiVersion", STR("v1"));
	json_set_str(a, ref, "kind", STR("Pod"));
	json_set_str(a, ref, "name", rq->pod_name);
	json_set_str(a, ref, "uid", rq->pod_uid);
	return o;
}

static struct err *token_fetch(struct agent *ag, struct arena *a, const struct token_request *rq,
			       struct token *t)
{
	struct json *resp;
	struct wall expires, now = wall_now();
	struct str text;
	int64_t life;

	TRY(client_create_sub(ag->client, a, GVR("", "v1", "serviceaccounts"), rq->ns,
			      rq->service_account, "token", token_body(a, rq), &resp));
	text = json_str_at(resp, "status.token");
	if (!text.n)
		return err_new(ERR_PROTOCOL, "the API server's answer has no token");
	if (!wall_parse(json_str_at(resp, "status.expirationTimestamp"), &expires))
		expires.ns = now.ns + rq->seconds * NS_PER_SEC;
	life = (expires.ns - now.ns) / NS_PER_SEC;
	t->renew.ns = now.ns + MIN(life * 8 / 10, DAY_S) * NS_PER_SEC;
	free(t->text);
	t->text = mem_strdup(text);
	return NULL;
}

struct err *tokens_get(struct agent *ag, struct arena *a, const struct token_request *rq,
		       struct str *ret)
{
	struct str sa = rq->service_account.n ? rq->service_account : STR("default");
	struct token_request full = *rq;
	struct str key = arena_fmt(a, "%.*s %.*s %.*s %lld", STR_ARG(rq->pod_uid), STR_ARG(sa),
				   STR_ARG(rq->audience), (long long)rq->seconds);
	struct token *t = map_find(&tokens, key);

	full.service_account = sa;
	if (!t || wall_now().ns >= t->renew.ns) {
		struct token fresh = { 0 };

		TRY(token_fetch(ag, a, &full, &fresh));
		t = map_find(&tokens, key); /* the world may have changed meanwhile */
		if (!t) {
			t = mem_new(struct token);
			map_put(&tokens, key, t);
		}
		free(t->text);
		*t = fresh;
	}
	*ret = arena_str(a, str_from(t->text));
	return NULL;
}

void tokens_forget(struct str pod_uid)
{
	map_for_each(e, &tokens) {
		struct token *t = e->val;

		if (!str_has_prefix(e->key, pod_uid))
			continue;
		free(t->text);
		free(t);
		map_del(&tokens, e->key);
	}
}
