/* SPDX-License-Identifier: Apache-2.0 */

#include "node/env.h"

#include <ctype.h>

#include "api/meta.h"
#include "api/names.h"
#include "api/quantity.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"

struct str env_find(const struct env_list *env, struct str name)
{
	for (size_t i = env->n; i-- > 0;)
		if (str_eq(env->v[i].name, name))
			return env->v[i].value;
	return (struct str){ NULL, 0 };
}

void env_set(struct arena *a, struct env_list *env, struct str name, struct str value)
{
	for (size_t i = 0; i < env->n; i++) {
		if (str_eq(env->v[i].name, name)) {
			env->v[i].value = value;
			return;
		}
	}
	if (env->n == env->cap) {
		size_t cap = env->cap ? env->cap * 2 : 32;
		struct env_var *v = arena_array(a, cap, sizeof(*v));

		if (env->n)
			memcpy(v, env->v, env->n * sizeof(*v));
		env->v = v;
		env->cap = cap;
	}
	env->v[env->n++] = (struct env_var){ name, value };
}

struct str env_expand(struct arena *a, const struct env_list *env, struct str s)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (str_find_char(s, '$', 0) == s.n)
		return s;
	for (size_t i = 0; i < s.n; i++) {
		size_t end;
		struct str val;

		if (s.p[i] != '$' || i + 1 == s.n) {
			buf_addc(&b, s.p[i]);
			continue;
		}
		if (s.p[i + 1] == '$') {
			buf_addc(&b, '$');
			i++;
			continue;
		}
		end = s.p[i + 1] == '(' ? str_find_char(s, ')', i + 2) : s.n;
		if (end == s.n) {
			buf_addc(&b, '$');
			continue;
		}
		val = env_find(env, str_sub(s, i + 2, end));
		buf_add(&b, val.p ? val : str_sub(s, i, end + 1));
		i = end;
	}
	return buf_to_arena(&b, a);
}

/* the downward API */

/* Labels or annotations as lines: key="value", quoted as Go's %q does. */
static struct str downward_map(struct arena *a, const struct json *map)
{
	_cleanup_buf_ struct buf b = { 0 };

	json_for_each(it, map)
	{
		struct str v = json_as_str(it.val);

		if (b.n)
			buf_addc(&b, '\n');
		buf_addf(&b, "%.*s=\"", STR_ARG(it.key));
		for (size_t i = 0; i < v.n; i++) {
			unsigned char c = (unsigned char)v.p[i];

			if (c == '"' || c == '\\')
				buf_addf(&b, "\\%c", c);
			else if (c == '\n')
				buf_addz(&b, "\\n");
			else if (c == '\t')
				buf_addz(&b, "\\t");
			else if (c == '\r')
				buf_addz(&b, "\\r");
			else if (c < 0x20 || c == 0x7f)
				buf_addf(&b, "\\x%02x", c);
			else
				buf_addc(&b, (char)c);
		}
		buf_addc(&b, '"');
	}
	return buf_to_arena(&b, a);
}

/* metadata.labels['key'] */
static bool downward_subscript(struct str path, const char *prefix, struct str *ret_key)
{
	if (!str_strip_prefix(&path, str_from(prefix)) || !str_strip_prefix(&path, STR("['")) ||
	    !str_strip_suffix(&path, STR("']")))
		return false;
	*ret_key = path;
	return true;
}

struct err *downward_field(struct arena *a, const struct env_source *src, struct str path,
			   struct str *ret)
{
	static const struct {
		const char *path, *at;
	} plain[] = {
		{ "metadata.name", "metadata.name" },
		{ "metadata.namespace", "metadata.namespace" },
		{ "metadata.uid", "metadata.uid" },
		{ "spec.nodeName", "spec.nodeName" },
		{ "spec.serviceAccountName", "spec.serviceAccountName" },
	};
	struct str key;

	for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
		if (str_eqz(path, plain[i].path)) {
			*ret = json_str_at(src->pod, plain[i].at);
			return NULL;
		}
	}
	if (downward_subscript(path, "metadata.labels", &key))
		*ret = json_as_str(json_get_s(meta_labels(src->pod), key));
	else if (downward_subscript(path, "metadata.annotations", &key))
		*ret = json_as_str(json_get_s(meta_annotations(src->pod), key));
	else if (str_eqz(path, "metadata.labels"))
		*ret = downward_map(a, meta_labels(src->pod));
	else if (str_eqz(path, "metadata.annotations"))
		*ret = downward_map(a, meta_annotations(src->pod));
	else if (str_eqz(path, "status.podIP") || str_eqz(path, "status.podIPs"))
		*ret = src->pod_ip;
	else if (str_eqz(path, "status.hostIP") || str_eqz(path, "status.hostIPs"))
		*ret = src->host_ip;
	else
		return err_new(ERR_INVALID, "unsupported fieldPath: %.*s", STR_ARG(path));
	return NULL;
}

static const struct json *downward_container(const struct env_source *src, struct str name)
{
	const struct json *c = json_find_by(json_at(src->pod, "spec.containers"), "name", name);

	return c ? c : json_find_by(json_at(src->pod, "spec.initContainers"), "name", name);
}

struct err *downward_resource(struct arena *a, const struct env_source *src, const struct json *ref,
			      const struct json *container, struct str *ret)
{
	struct str resource = json_str_at(ref, "resource"), which, name = resource;
	struct str of = json_str_at(ref, "containerName");
	struct quantity divisor = { 0 }, q;
	struct str text;
	__int128 unit;

	if (of.n)
		container = downward_container(src, of);
	if (!container)
		return err_new(ERR_INVALID, "container %.*s not found", STR_ARG(of));
	if (!str_cut(&name, '.', &which) ||
	    (!str_eqz(which, "limits") && !str_eqz(which, "requests")))
		return err_new(ERR_INVALID, "unsupported container resource : %.*s",
			       STR_ARG(resource));
	text = json_as_str(
		json_get_s(json_path(container, "resources",
				     str_eqz(which, "limits") ? "limits" : "requests", NULL),
			   name));
	if (!quantity_parse(text, &q)) {
		if (str_eqz(which, "requests"))
			q = quantity_from_value(0, QUANTITY_DECIMAL_SI);
		else if (str_eqz(name, "cpu"))
			q = quantity_from_milli(src->cpu_allocatable_milli, QUANTITY_DECIMAL_SI);
		else
			q = quantity_from_value(str_eqz(name, "memory") ? src->memory_allocatable
									: 0,
						QUANTITY_BINARY_SI);
	}
	if (!quantity_parse(json_str_at(ref, "divisor"), &divisor) || divisor.nano <= 0)
		divisor = quantity_from_value(1, QUANTITY_DECIMAL_SI);
	unit = divisor.nano;
	*ret = arena_fmt(a, "%lld", (long long)((q.nano + unit - 1) / unit));
	return NULL;
}

/* Services */

static struct str env_service_prefix(struct arena *a, struct str name)
{
	char *z = arena_strz(a, name);

	for (char *p = z; *p; p++)
		*p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
	return str_from(z);
}

static void env_add_service(struct arena *a, struct env_list *env, const struct json *svc)
{
	struct str ip = json_str_at(svc, "spec.clusterIP");
	struct str p = env_service_prefix(a, meta_name(svc));
	bool first = true;

	if (!ip.n || str_eqz(ip, "None"))
		return;
	env_set(a, env, arena_fmt(a, "%.*s_SERVICE_HOST", STR_ARG(p)), ip);
	json_for_each(it, json_at(svc, "spec.ports"))
	{
		long long port = (long long)json_int_at(it.val, "port", 0);
		struct str num = arena_fmt(a, "%lld", port), name = json_str_at(it.val, "name");
		struct str proto = json_str_at(it.val, "protocol"), lower, url, pp;

		proto = env_service_prefix(a, proto.n ? proto : STR("TCP"));
		lower = str_eqz(proto, "UDP")    ? STR("udp")
			: str_eqz(proto, "SCTP") ? STR("sctp")
						 : STR("tcp");
		url = arena_fmt(a, "%.*s://%.*s:%lld", STR_ARG(lower), STR_ARG(ip), port);
		if (first) {
			env_set(a, env, arena_fmt(a, "%.*s_SERVICE_PORT", STR_ARG(p)), num);
			env_set(a, env, arena_fmt(a, "%.*s_PORT", STR_ARG(p)), url);
		}
		first = false;
		if (name.n)
			env_set(a, env,
				arena_fmt(a, "%.*s_SERVICE_PORT_%.*s", STR_ARG(p),
					  STR_ARG(env_service_prefix(a, name))),
				num);
		pp = arena_fmt(a, "%.*s_PORT_%lld_%.*s", STR_ARG(p), port, STR_ARG(proto));
		env_set(a, env, pp, url);
		env_set(a, env, arena_fmt(a, "%.*s_PROTO", STR_ARG(pp)), lower);
		env_set(a, env, arena_fmt(a, "%.*s_PORT", STR_ARG(pp)), num);
		env_set(a, env, arena_fmt(a, "%.*s_ADDR", STR_ARG(pp)), ip);
	}
}

/* env and envFrom */

static struct err *env_object(struct arena *a, const struct env_source *src, const char *resource,
			      const char *noun, const struct json *ref, struct json **ret)
{
	struct str name = json_str_at(ref, "name");

	if (!src->lookup)
		return err_new(ERR_INVALID, "%s \"%.*s\" not found", noun, STR_ARG(name));
	TRY(src->lookup(src->lookup_ctx, a, resource, name, ret));
	if (!*ret && !json_bool_at(ref, "optional", false))
		return err_new(ERR_INVALID, "%s \"%.*s\" not found", noun, STR_ARG(name));
	return NULL;
}

static struct err *env_value_of(struct arena *a, const struct json *v, bool secret, struct str *ret)
{
	*ret = json_as_str(v);
	if (secret && !base64_decode(a, *ret, ret))
		return err_new(ERR_INVALID, "malformed base64 in a secret");
	return NULL;
}

/* *ret_found is false when an optional reference has nothing to give. */
static struct err *env_key_ref(struct arena *a, const struct env_source *src,
			       const struct json *ref, bool secret, struct str *ret,
			       bool *ret_found)
{
	const char *noun = secret ? "secret" : "configmap";
	struct str key = json_str_at(ref, "key");
	struct json *obj = NULL;
	const struct json *v;

	*ret_found = false;
	TRY(env_object(a, src, secret ? "secrets" : "configmaps", noun, ref, &obj));
	v = json_get_s(json_get(obj, "data"), key);
	if (!v) {
		if (json_bool_at(ref, "optional", false))
			return NULL;
		return err_new(ERR_INVALID, "couldn't find key %.*s in %s %.*s/%.*s", STR_ARG(key),
			       secret ? "Secret" : "ConfigMap", STR_ARG(meta_namespace(src->pod)),
			       STR_ARG(json_str_at(ref, "name")));
	}
	*ret_found = true;
	return env_value_of(a, v, secret, ret);
}

static struct err *env_add_from(struct arena *a, const struct env_source *src,
				const struct json *from, struct env_list *env)
{
	bool secret = json_get(from, "secretRef") != NULL;
	const struct json *ref = json_get(from, secret ? "secretRef" : "configMapRef");
	struct str prefix = json_str_at(from, "prefix");
	struct json *obj = NULL;

	TRY(env_object(a, src, secret ? "secrets" : "configmaps", secret ? "secret" : "configmap",
		       ref, &obj));
	json_for_each(it, json_get(obj, "data"))
	{
		struct str name = arena_cat(a, prefix, it.key), value;

		if (name_check_env_var(name))
			continue;
		TRY(env_value_of(a, it.val, secret, &value));
		env_set(a, env, name, value);
	}
	return NULL;
}

static struct err *env_value_from(struct arena *a, const struct env_source *src,
				  const struct json *from, const struct json *container,
				  struct str *ret, bool *ret_found)
{
	const struct json *ref;

	*ret_found = true;
	if ((ref = json_get(from, "fieldRef")))
		return downward_field(a, src, json_str_at(ref, "fieldPath"), ret);
	if ((ref = json_get(from, "resourceFieldRef")))
		return downward_resource(a, src, ref, container, ret);
	if ((ref = json_get(from, "configMapKeyRef")))
		return env_key_ref(a, src, ref, false, ret, ret_found);
	if ((ref = json_get(from, "secretKeyRef")))
		return env_key_ref(a, src, ref, true, ret, ret_found);
	*ret_found = false;
	return NULL;
}

struct err *env_of_container(struct arena *a, const struct env_source *src,
			     const struct json *container, struct env_list *ret)
{
	struct env_list env = { 0 };

	json_for_each(it, src->services) env_add_service(a, &env, it.val);
	json_for_each(it, json_get(container, "envFrom")) TRY(env_add_from(a, src, it.val, &env));
	json_for_each(it, json_get(container, "env"))
	{
		const struct json *from = json_get(it.val, "valueFrom");
		struct str value = env_expand(a, &env, json_str_at(it.val, "value"));
		bool found = true;

		if (from)
			TRY(env_value_from(a, src, from, container, &value, &found));
		if (found)
			env_set(a, &env, json_str_at(it.val, "name"), value);
	}
	*ret = env;
	return NULL;
}
