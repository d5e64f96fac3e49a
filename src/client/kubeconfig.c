/* SPDX-License-Identifier: Apache-2.0 */

#include "client/kubeconfig.h"

#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "io/file.h"
#include "json/json.h"
#include "json/yaml.h"

#define KUBECONFIG_MAX (1024 * 1024)

/* Relative paths are relative to the kubeconfig's folder. */
static const char *kubeconfig_path(struct arena *a, const char *config, struct str path)
{
	const char *slash = strrchr(config, '/');

	if (str_has_prefix(path, STR("/")) || !slash)
		return arena_strz(a, path);
	return arena_fmt(a, "%.*s/" STR_FMT, (int)(slash - config), config, STR_ARG(path)).p;
}

/* The member "KEY-data" in base64, else the file that "KEY" names, else empty. */
static struct err *kubeconfig_pem(struct arena *a, const char *config, const struct json *obj,
				  const char *key, struct str *ret)
{
	const char *data_key = arena_fmt(a, "%s-data", key).p;
	struct str data = json_as_str(json_get(obj, data_key));
	struct str path = json_as_str(json_get(obj, key));

	*ret = STR_EMPTY;
	if (!str_empty(data)) {
		if (!base64_decode(a, data, ret))
			return err_new(ERR_INVALID, "%s is not valid base64", data_key);
		return NULL;
	}
	if (str_empty(path))
		return NULL;
	return file_read(a, kubeconfig_path(a, config, path), KUBECONFIG_MAX, ret);
}

static struct err *kubeconfig_entry(const struct json *doc, const char *list, const char *member,
				    struct str name, const struct json **ret)
{
	const struct json *entry = json_find_by(json_get(doc, list), "name", name);

	if (!entry)
		return err_new(ERR_INVALID, "no entry '" STR_FMT "' among its %s", STR_ARG(name),
			       list);
	*ret = json_get(entry, member);
	return NULL;
}

static struct err *kubeconfig_user(struct arena *a, const char *path, const struct json *user,
				   struct kubeconfig *ret)
{
	struct str token_file = json_as_str(json_get(user, "tokenFile"));

	if (json_get(user, "exec") || json_get(user, "auth-provider"))
		return err_new(ERR_INVALID, "exec and auth-provider users are not supported");
	TRY(kubeconfig_pem(a, path, user, "client-certificate", &ret->cert_pem));
	TRY(kubeconfig_pem(a, path, user, "client-key", &ret->key_pem));
	ret->token = json_as_str(json_get(user, "token"));
	if (!str_empty(token_file))
		ret->token_file = kubeconfig_path(a, path, token_file);
	return NULL;
}

static struct err *kubeconfig_read(struct arena *a, const char *path, const char *context,
				   struct kubeconfig *ret)
{
	const struct json *cluster;
	const struct json *ctx;
	const struct json *user;
	struct json *doc;
	struct str text;

	TRY(file_read(a, path, KUBECONFIG_MAX, &text));
	TRY(yaml_parse(a, text, &doc));
	TRY(kubeconfig_entry(doc, "contexts", "context",
			     context ? str_from(context) : json_str_at(doc, "current-context"),
			     &ctx));
	TRY(kubeconfig_entry(doc, "clusters", "cluster", json_str_at(ctx, "cluster"), &cluster));
	ret->server = json_str_at(cluster, "server");
	if (str_empty(ret->server))
		return err_new(ERR_INVALID, "the cluster has no server");
	ret->tls_server_name = json_str_at(cluster, "tls-server-name");
	ret->insecure = json_bool_at(cluster, "insecure-skip-tls-verify", false);
	ret->ns = json_str_at(ctx, "namespace");
	TRY(kubeconfig_pem(a, path, cluster, "certificate-authority", &ret->ca_pem));
	if (str_empty(json_str_at(ctx, "user")))
		return NULL;
	TRY(kubeconfig_entry(doc, "users", "user", json_str_at(ctx, "user"), &user));
	return kubeconfig_user(a, path, user, ret);
}

struct err *kubeconfig_load(struct arena *a, const char *path, const char *context,
			    struct kubeconfig *ret)
{
	*ret = (struct kubeconfig){ 0 };
	return err_wrap(kubeconfig_read(a, path, context, ret), "kubeconfig %s", path);
}
