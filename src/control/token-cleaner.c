/* SPDX-License-Identifier: Apache-2.0 */

#include "api/meta.h"
#include "api/obj.h"
#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "client/controller.h"
#include "client/informer.h"
#include "client/rest.h"
#include "control/control.h"
#include "control/expiry.h"
#include "json/json.h"

/* Deletes the Secrets of bootstrap tokens that have expired. Keys are Secrets. */

#define TOKEN_NS   STR("kube-system")
#define TOKEN_TYPE "bootstrap.kubernetes.io/token"

static const struct gvr token_secrets = GVR("", "v1", "secrets");

struct token_cleaner {
	struct control *control;
	struct controller *controller;
	struct informer *secrets; /* those tokens only */
};

int64_t expiry_token_ms(const struct json *secret, struct wall now)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str text;
	struct wall end;

	if (!str_eqz(json_str_at(secret, "type"), TOKEN_TYPE) || meta_deleting(secret) ||
	    !base64_decode(a, json_str_at(secret, "data.expiration"), &text) || str_empty(text))
		return -1;
	/* what cannot be read has expired, as upstream */
	if (!wall_parse(text, &end))
		return 0;
	return MAX((end.ns - now.ns) / NS_PER_MS, 0);
}

static struct err *token_sync(void *ctx, struct arena *a, struct str key)
{
	struct token_cleaner *t = ctx;
	const struct obj *o = informer_find_key(t->secrets, key);
	int64_t ms = o ? expiry_token_ms(obj_tree(o), wall_now()) : -1;
	struct client_delete_opts opts = CLIENT_DELETE_DEFAULT;
	struct err *e;

	if (ms > 0)
		controller_enqueue_after(t->controller, key, ms + 1);
	if (ms != 0)
		return NULL;
	opts.uid = arena_str(a, o->uid);
	e = client_delete(t->control->client, a, token_secrets, TOKEN_NS, arena_str(a, o->name),
			  &opts);
	if (e && (err_is(e, ERR_NOT_FOUND) || err_is(e, ERR_CONFLICT))) {
		err_ignore(e, "gone already");
		return NULL;
	}
	return e;
}

void token_cleaner_start(struct control *c)
{
	static struct token_cleaner t;
	const struct controller_opts opts = {
		.name = "token-cleaner", .workers = 1, .sync = token_sync, .ctx = &t
	};

	t.control = c;
	t.controller = controller_new(c->loop, &opts);
	t.secrets =
		informer_new(c->loop, c->client,
			     &(struct informer_opts){ .gvr = token_secrets,
						      .ns = TOKEN_NS,
						      .field_selector = STR("type=" TOKEN_TYPE) });
	controller_watch(t.controller, t.secrets);
	controller_start(t.controller);
}
