/* SPDX-License-Identifier: Apache-2.0 */
#include "api/kubeconfig.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/encode.h"
#include "json/json.h"
#include "json/yaml.h"

static struct json *kubeconfig_named(struct arena *a, struct str name, const char *key,
				     struct json *v)
{
	struct json *list = json_array(a), *item = json_object(a);

	json_set_str(a, item, "name", name);
	json_set(a, item, key, v);
	json_push(list, item);
	return list;
}

struct str kubeconfig_text(struct arena *a, const struct kubeconfig *k)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct json *cluster = json_object(a), *user = json_object(a);
	struct json *context = json_object(a), *root = json_object(a);

	json_set_str(a, cluster, "certificate-authority-data", base64_encode(a, k->ca_pem));
	json_set_str(a, cluster, "server", k->server);
	if (k->token_file.n) {
		json_set_str(a, user, "tokenFile", k->token_file);
	} else {
		json_set_str(a, user, "client-certificate-data", base64_encode(a, k->cert_pem));
		json_set_str(a, user, "client-key-data", base64_encode(a, k->key_pem));
	}
	json_set_str(a, context, "cluster", STR("isoplane"));
	json_set_str(a, context, "user", k->user);
	json_set_str(a, root, "apiVersion", STR("v1"));
	json_set_str(a, root, "kind", STR("Config"));
	json_set(a, root, "clusters", kubeconfig_named(a, STR("isoplane"), "cluster", cluster));
	json_set(a, root, "users", kubeconfig_named(a, k->user, "user", user));
	json_set(a, root, "contexts", kubeconfig_named(a, STR("isoplane"), "context", context));
	json_set_str(a, root, "current-context", STR("isoplane"));
	yaml_write(&b, root);
	return buf_to_arena(&b, a);
}
