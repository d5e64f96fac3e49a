/* SPDX-License-Identifier: Apache-2.0 */

/* Volumes made of small files: configMap, secret, downwardAPI, and projected, which mixes them. */

#include <sys/stat.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "node/agent.h"
#include "node/atomic-writer.h"
#include "node/env.h"
#include "node/mount.h"
#include "node/tokens.h"
#include "node/volumes.h"

/* A set of files in the making. */
struct payload {
	struct atomic_file *v;
	size_t n, cap;
	mode_t default_mode;
};

static void payload_add(struct arena *a, struct payload *p, struct str path, struct str data,
			mode_t mode)
{
	for (size_t i = 0; i < p->n; i++) {
		if (str_eq(p->v[i].path, path)) { /* the later source wins */
			p->v[i].data = data;
			p->v[i].mode = mode;
			return;
		}
	}
	if (p->n == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 16;
		struct atomic_file *v = arena_array(a, cap, sizeof(*v));

		if (p->n)
			memcpy(v, p->v, p->n * sizeof(*v));
		p->v = v;
		p->cap = cap;
	}
	p->v[p->n++] = (struct atomic_file){ .path = path, .data = data, .mode = mode };
}

static mode_t payload_mode(const struct payload *p, const struct json *item)
{
	return (mode_t)json_int_at(item, "mode", (int64_t)p->default_mode);
}

/* All keys of a ConfigMap or Secret as one object of decoded strings. */
static struct err *config_data(struct arena *a, const struct json *obj, bool secret,
			       struct json **ret)
{
	struct json *all = json_object(a);
	struct str raw;

	json_for_each(it, json_get(obj, "data"))
	{
		raw = json_as_str(it.val);
		if (secret && !base64_decode(a, raw, &raw))
			return err_new(ERR_INVALID, "malformed base64 in key %.*s",
				       STR_ARG(it.key));
		json_set_s(a, all, it.key, json_str(a, raw));
	}
	json_for_each(it, json_get(obj, "binaryData"))
	{
		if (!base64_decode(a, json_as_str(it.val), &raw))
			return err_new(ERR_INVALID, "malformed base64 in key %.*s",
				       STR_ARG(it.key));
		json_set_s(a, all, it.key, json_str(a, raw));
	}
	*ret = all;
	return NULL;
}

static struct err *payload_add_config(struct volume_ctx *ctx, struct payload *p,
				      const struct json *source, struct str name, bool secret)
{
	bool optional = json_bool_at(source, "optional", false);
	struct str ns = meta_namespace(ctx->pod);
	const struct json *items = json_get(source, "items");
	struct arena *a = ctx->arena;
	struct json *obj = NULL, *data;

	TRY(ctx->env->lookup(ctx->env->lookup_ctx, a, secret ? "secrets" : "configmaps", name,
			     &obj));
	if (!obj && optional)
		return NULL;
	if (!obj)
		return err_new(ERR_NOT_FOUND, "%s \"%.*s\" not found",
			       secret ? "secret" : "configmap", STR_ARG(name));
	TRY(config_data(a, obj, secret, &data));
	if (!items) {
		json_for_each(it, data)
			payload_add(a, p, it.key, json_as_str(it.val), p->default_mode);
		return NULL;
	}
	json_for_each(it, items)
	{
		struct str key = json_str_at(it.val, "key");
		const struct json *v = json_get_s(data, key);

		if (!v && !optional)
			return err_new(ERR_INVALID,
				       "references non-existent %s key: %.*s (%.*s/%.*s)",
				       secret ? "secret" : "config", STR_ARG(key), STR_ARG(ns),
				       STR_ARG(name));
		if (v)
			payload_add(a, p, json_str_at(it.val, "path"), json_as_str(v),
				    payload_mode(p, it.val));
	}
	return NULL;
}

static struct err *payload_add_downward(struct volume_ctx *ctx, struct payload *p,
					const struct json *source)
{
	json_for_each(it, json_get(source, "items"))
	{
		const struct json *field = json_get(it.val, "fieldRef");
		const struct json *res = json_get(it.val, "resourceFieldRef");
		struct str value = STR_EMPTY;

		if (field)
			TRY(downward_field(ctx->arena, ctx->env, json_str_at(field, "fieldPath"),
					   &value));
		else if (res)
			TRY(downward_resource(ctx->arena, ctx->env, res, NULL, &value));
		payload_add(ctx->arena, p, json_str_at(it.val, "path"), value,
			    payload_mode(p, it.val));
	}
	return NULL;
}

static struct err *payload_add_token(struct volume_ctx *ctx, struct payload *p,
				     const struct json *source)
{
	const struct token_request rq = {
		.ns = meta_namespace(ctx->pod),
		.service_account = json_str_at(ctx->pod, "spec.serviceAccountName"),
		.audience = json_str_at(source, "audience"),
		.seconds = json_int_at(source, "expirationSeconds", 3600),
		.pod_name = meta_name(ctx->pod),
		.pod_uid = meta_uid(ctx->pod),
	};
	int64_t uid = json_int_at(ctx->pod, "spec.securityContext.runAsUser", -1);
	bool narrow = ctx->fs_group != (gid_t)-1 || uid >= 0;
	struct str token;

	TRY(tokens_get(ctx->agent, ctx->arena, &rq, &token));
	payload_add(ctx->arena, p, json_str_at(source, "path"), token,
		    narrow ? 0600 : p->default_mode);
	if (uid >= 0) {
		p->v[p->n - 1].has_uid = true;
		p->v[p->n - 1].uid = (uid_t)uid;
	}
	return NULL;
}

/* Writes the set; what belongs to a group is readable by it. */
static struct err *payload_write(struct volume_ctx *ctx, struct payload *p, struct str dir)
{
	if (ctx->fs_group != (gid_t)-1)
		for (size_t i = 0; i < p->n; i++)
			p->v[i].mode |= 0440;
	return atomic_write(ctx->arena, arena_strz(ctx->arena, dir), p->v, p->n, ctx->fs_group);
}

static struct payload payload_for(const struct json *source)
{
	return (struct payload){
		.default_mode = (mode_t)json_int_at(source, "defaultMode", 0644),
	};
}

struct err *volume_config_map(struct volume_ctx *ctx, const struct json *source, struct volume *v)
{
	struct payload p = payload_for(source);

	v->read_only = true;
	TRY(payload_add_config(ctx, &p, source, json_str_at(source, "name"), false));
	TRY(volume_dir(ctx, "configmap", v->name, &v->path));
	return payload_write(ctx, &p, v->path);
}

struct err *volume_secret(struct volume_ctx *ctx, const struct json *source, struct volume *v)
{
	struct payload p = payload_for(source);

	v->read_only = true;
	TRY(payload_add_config(ctx, &p, source, json_str_at(source, "secretName"), true));
	TRY(volume_dir(ctx, "secret", v->name, &v->path));
	TRY(mount_tmpfs(ctx->arena, v->path, STR("mode=0777")));
	return payload_write(ctx, &p, v->path);
}

struct err *volume_downward(struct volume_ctx *ctx, const struct json *source, struct volume *v)
{
	struct payload p = payload_for(source);

	v->read_only = true;
	TRY(payload_add_downward(ctx, &p, source));
	TRY(volume_dir(ctx, "downward-api", v->name, &v->path));
	TRY(mount_tmpfs(ctx->arena, v->path, STR("mode=0777")));
	return payload_write(ctx, &p, v->path);
}

struct err *volume_projected(struct volume_ctx *ctx, const struct json *source, struct volume *v)
{
	struct payload p = payload_for(source);

	v->read_only = true;
	json_for_each(it, json_get(source, "sources"))
	{
		const struct json *s;

		if ((s = json_get(it.val, "secret")))
			TRY(payload_add_config(ctx, &p, s, json_str_at(s, "name"), true));
		else if ((s = json_get(it.val, "configMap")))
			TRY(payload_add_config(ctx, &p, s, json_str_at(s, "name"), false));
		else if ((s = json_get(it.val, "downwardAPI")))
			TRY(payload_add_downward(ctx, &p, s));
		else if ((s = json_get(it.val, "serviceAccountToken")))
			TRY(payload_add_token(ctx, &p, s));
		else
			return err_new(ERR_INVALID, "unsupported projected volume source");
	}
	TRY(volume_dir(ctx, "projected", v->name, &v->path));
	TRY(mount_tmpfs(ctx->arena, v->path, STR("mode=0777")));
	return payload_write(ctx, &p, v->path);
}
