/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What extension servers read at their start: whom to believe about users, in the ConfigMap
 * kube-system/extension-apiserver-authentication. It is put back when somebody changes it.
 */

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "server/aggregate-internal.h"
#include "server/server.h"
#include "json/json.h"

#define TRUST_NS   "kube-system"
#define TRUST_NAME "extension-apiserver-authentication"
#define RETRY_MS   1000

static struct trust {
	struct store_watch watch;
	struct waitq wake;
	bool changed;
} trust;

static struct json *trust_data(struct arena *a, const struct server_pki *pki)
{
	const struct {
		const char *key;
		struct str val;
	} rows[] = {
		{ "client-ca-file", pki->ca_cert },
		{ "requestheader-allowed-names", STR("[\"front-proxy-client\"]") },
		{ "requestheader-client-ca-file", pki->proxy_ca_cert },
		{ "requestheader-extra-headers-prefix", STR("[\"X-Remote-Extra-\"]") },
		{ "requestheader-group-headers", STR("[\"X-Remote-Group\"]") },
		{ "requestheader-uid-headers", STR("[\"X-Remote-Uid\"]") },
		{ "requestheader-username-headers", STR("[\"X-Remote-User\"]") },
	};
	struct json *data = json_object(a);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		json_set_str(a, data, rows[i].key, rows[i].val);
	return data;
}

static struct err *trust_publish(void)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct apiserver *s = aggregate_server();
	struct str ns = STR(TRUST_NS), name = STR(TRUST_NAME);
	struct json *cm = NULL, *data = trust_data(a, &s->pki);

	TRY(local_get_json(s, a, "configmaps", ns, name, &cm));
	if (cm && json_equal(json_get(cm, "data"), data))
		return NULL;
	if (cm) {
		json_set(a, cm, "data", data);
		return local_update(s, a, "configmaps", "", cm, NULL);
	}
	cm = json_object(a);
	json_set_str(a, cm, "apiVersion", STR("v1"));
	json_set_str(a, cm, "kind", STR("ConfigMap"));
	json_set_str(a, json_sub(a, cm, "metadata"), "name", name);
	json_set_str(a, json_sub(a, cm, "metadata"), "namespace", ns);
	json_set(a, cm, "data", data);
	return local_create(s, a, "configmaps", ns, cm, NULL);
}

static void trust_event(struct store_watch *w UNUSED, const struct store_event *ev UNUSED)
{
	trust.changed = true;
	waitq_wake_all(&trust.wake);
}

static struct err *trust_fiber(void *arg UNUSED)
{
	for (;;) {
		struct err *e;

		trust.changed = false;
		e = trust_publish();
		if (e) {
			err_log(NULL, LOG_WARN, TRUST_NAME " was not written", e);
			TRY(fiber_sleep_ms(RETRY_MS));
		} else if (!trust.changed) {
			TRY(waitq_wait(&trust.wake));
		}
	}
}

struct err *aggregate_trust_start(struct apiserver *s)
{
	waitq_init(&trust.wake);
	trust.watch.event = trust_event;
	TRY(store_watch_start(s->store, &trust.watch, STR("configmaps"), STR(TRUST_NS),
			      STR(TRUST_NAME), store_rev(s->store)));
	fiber_unref(fiber_spawn(s->loop, "aggregate-trust", trust_fiber, NULL));
	return NULL;
}
