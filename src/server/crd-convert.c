/* SPDX-License-Identifier: Apache-2.0 */

/*
 *     stored obj -> tree in its version -> ConversionReview -> checked, metadata restored
 *         -> pruned and defaulted in the new version -> obj
 *
 * What a webhook may change of metadata is labels and annotations; all else is put back.
 */

#include "server/crd-convert.h"

#include <stdio.h>

#include "api/gvk.h"
#include "api/obj.h"
#include "api/schema.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/rand.h"
#include "server/hook-call.h"
#include "server/resource.h"
#include "server/server.h"
#include "json/json.h"

#define CONVERT_TIMEOUT_S  30
#define CONVERT_MAX_FIELDS 64

bool crd_must_convert(const struct resource *res, const struct resource_version *v,
		      const struct obj *o)
{
	struct str stored;

	if (!res->conversion)
		return false;
	stored = obj_field(o, CRD_VERSION_FIELD);
	if (!stored.n)
		stored = res->versions[res->storage].version;
	return !str_eq(stored, v->version);
}

/* ---- the call */

/* "ex.io/v1, Kind=Foo" */
static struct str convert_gvk(struct arena *a, const struct json *tree)
{
	return arena_fmt(a, STR_FMT ", Kind=" STR_FMT, STR_ARG(json_str_at(tree, "apiVersion")),
			 STR_ARG(json_str_at(tree, "kind")));
}

/* A failure as clients see it: status 500 without a reason. */
static struct err *convert_error(struct err *e)
{
	e = err_recode(e, ERR_INTERNAL);
	return err_set_status(err_set_reason(e, STR_EMPTY), 500);
}

static struct err *convert_failed(struct arena *a, const struct json *tree, const char *how,
				  struct err *e)
{
	struct str msg = arena_str(a, err_msg(e));

	if (err_is(e, ERR_CANCELED))
		return e;
	return convert_error(err_remsg(e, "conversion webhook for " STR_FMT " %s" STR_FMT,
				       STR_ARG(convert_gvk(a, tree)), how, STR_ARG(msg)));
}

static const char *convert_review_version(const struct resource *res)
{
	json_for_each(it, json_get(res->conversion, "conversionReviewVersions"))
	{
		if (str_eqz(json_as_str(it.val), "v1"))
			return "v1";
		if (str_eqz(json_as_str(it.val), "v1beta1"))
			return "v1beta1";
	}
	return NULL;
}

static struct json *convert_without_rv(struct arena *a, const struct json *tree)
{
	struct json *j = json_copy(a, tree);

	json_delz(json_get(j, "metadata"), "resourceVersion");
	return j;
}

static struct str convert_question(struct arena *a, const char *version, struct str uid,
				   struct str desired, struct json *const *trees, size_t n)
{
	_cleanup_buf_ struct buf b = { 0 };

	buf_addf(&b,
		 "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/%s\","
		 "\"request\":{\"uid\":\"" STR_FMT "\",\"desiredAPIVersion\":\"" STR_FMT
		 "\",\"objects\":[",
		 version, STR_ARG(uid), STR_ARG(desired));
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_addc(&b, ',');
		json_write(&b, convert_without_rv(a, trees[i]));
	}
	buf_addz(&b, "]},\"response\":{\"uid\":\"\",\"convertedObjects\":null,\"result\":{"
		     "\"metadata\":{}}}}\n");
	return buf_to_arena(&b, a);
}

static struct err *convert_check_review(struct arena *a, const struct json *review,
					const char *version, struct str uid)
{
	const struct json *r = json_get(review, "response");
	struct str api = json_str_at(review, "apiVersion"), status, message;
	bool v1 = str_eqz(str_from(version), "v1");

	if (v1 && (!str_eqz(api, "apiextensions.k8s.io/v1") ||
		   !str_eqz(json_str_at(review, "kind"), "ConversionReview")))
		return err_new(ERR_INTERNAL,
			       "expected webhook response of apiextensions.k8s.io/v1, "
			       "Kind=ConversionReview, got " STR_FMT,
			       STR_ARG(convert_gvk(a, review)));
	if (!json_is(r, JSON_OBJECT))
		return err_new(ERR_INTERNAL, "no response provided");
	if (v1 && !str_eq(json_str_at(r, "uid"), uid))
		return err_new(ERR_INTERNAL,
			       "expected response.uid=\"" STR_FMT "\", got \"" STR_FMT "\"",
			       STR_ARG(uid), STR_ARG(json_str_at(r, "uid")));
	status = json_str_at(r, "result.status");
	message = json_str_at(r, "result.message");
	if (str_eqz(status, "Success"))
		return NULL;
	if (message.n)
		return err_new(ERR_INTERNAL, STR_FMT, STR_ARG(message));
	return err_new(ERR_INTERNAL, "response.result.status was '" STR_FMT "', not 'Success'",
		       STR_ARG(status));
}

/* ---- what came back */

static struct err *convert_same(const struct json *in, const struct json *out, const char *at,
				const char *what)
{
	struct str a = json_str_at(in, at), b = json_str_at(out, at);

	if (str_eq(a, b))
		return NULL;
	return err_new(ERR_INTERNAL, "must have the same %s: " STR_FMT " != " STR_FMT, what,
		       STR_ARG(a), STR_ARG(b));
}

static struct err *convert_check_same(const struct json *in, const struct json *out)
{
	TRY(convert_same(in, out, "metadata.name", "name"));
	TRY(convert_same(in, out, "metadata.namespace", "namespace"));
	return convert_same(in, out, "metadata.uid", "UID");
}

static struct err *convert_take_map(struct arena *a, struct json *meta, const struct json *from,
				    const char *name)
{
	const struct json *map = json_get(from, name);

	json_delz(meta, name);
	if (json_is_null(map))
		return NULL;
	if (!json_is(map, JSON_OBJECT))
		return err_new(ERR_INTERNAL,
			       "metadata.%s of type %s cannot be converted to a map of strings",
			       name, json_type_name(map));
	json_for_each(it, map)
	{
		if (!json_is(it.val, JSON_STR))
			return err_new(ERR_INTERNAL,
				       "metadata.%s[\"" STR_FMT "\"] is no string: %s", name,
				       STR_ARG(it.key), json_type_name(it.val));
	}
	json_set(a, meta, name, json_copy(a, map));
	return NULL;
}

/* The original's metadata, with the labels and annotations of the converted object. */
static struct err *convert_restore(struct arena *a, const struct json *in, struct json *out)
{
	const struct json *got = json_get(out, "metadata");
	struct json *meta = json_copy(a, json_get(in, "metadata"));

	if (!got)
		return err_new(ERR_INTERNAL, "missing metadata in converted object");
	if (!json_is(got, JSON_OBJECT))
		return err_new(ERR_INTERNAL, "invalid metadata of type %s in converted object",
			       json_type_name(got));
	TRY(convert_take_map(a, meta, got, "labels"));
	TRY(convert_take_map(a, meta, got, "annotations"));
	json_set(a, out, "metadata", meta);
	return NULL;
}

static struct err *convert_check_type(const struct json *in, const struct json *out,
				      struct str desired)
{
	struct str api = json_str_at(out, "apiVersion"), kind = json_str_at(in, "kind");

	if (!json_is(out, JSON_OBJECT))
		return err_new(ERR_INTERNAL, "invalid type %s", json_type_name(out));
	if (!str_eq(api, desired))
		return err_new(ERR_INTERNAL,
			       "invalid groupVersion (expected " STR_FMT ", received " STR_FMT ")",
			       STR_ARG(desired), STR_ARG(api));
	if (!str_eq(json_str_at(out, "kind"), kind))
		return err_new(ERR_INTERNAL,
			       "invalid kind (expected " STR_FMT ", received " STR_FMT ")",
			       STR_ARG(kind), STR_ARG(json_str_at(out, "kind")));
	return NULL;
}

static struct err *convert_take(struct arena *a, const struct json *in, struct json *out,
				struct str desired, size_t i)
{
	char how[64];
	struct err *e = convert_check_type(in, out, desired);

	snprintf(how, sizeof(how), "returned invalid object at index %zu: ", i);
	if (e)
		return convert_failed(a, in, how, e);
	e = convert_check_same(in, out);
	if (e)
		return convert_failed(a, in, "returned invalid object: ", e);
	e = convert_restore(a, in, out);
	return e ? convert_failed(a, in, "returned invalid metadata: ", e) : NULL;
}

struct err *crd_convert_trees(struct apiserver *s, struct arena *a, const struct resource *res,
			      const struct resource_version *v, struct json **trees, size_t n)
{
	const char *version = convert_review_version(res);
	struct str desired = resource_api_version(a, res, v), uid = rand_uuid(a);
	struct hook_call call = { .server = s,
				  .arena = a,
				  .client_config = json_get(res->conversion, "clientConfig"),
				  .timeout_s = CONVERT_TIMEOUT_S,
				  .user_agent = "kube-apiserver-crd-conversion" };
	struct json *review = NULL, *got;
	struct err *e;

	if (!n)
		return NULL;
	if (!version)
		return convert_error(
			err_new(ERR_INTERNAL, "no supported conversion review versions"));
	call.body = convert_question(a, version, uid, desired, trees, n);
	e = hook_post(&call, &review);
	if (!e)
		e = convert_check_review(a, review, version, uid);
	if (e)
		return convert_failed(a, trees[0], "failed: ", e);
	got = json_at(review, "response.convertedObjects");
	if (json_len(got) != n)
		return convert_error(err_new(ERR_INTERNAL,
					     "conversion webhook for " STR_FMT
					     " returned %zu objects, expected %zu",
					     STR_ARG(convert_gvk(a, trees[0])), json_len(got), n));
	for (size_t i = 0; i < n; i++) {
		struct json *out = json_copy(a, json_idx(got, i));

		TRY(convert_take(a, trees[i], out, desired, i));
		if (v->schema) {
			schema_prune(a, v->schema, out, NULL);
			schema_default(a, v->schema, out);
		}
		TRY(obj_fits(out, NULL, 0));
		trees[i] = out;
	}
	return NULL;
}

/* ---- objects */

/* The same object in another version: its fields stay what they are, but for the version. */
static const struct obj *convert_obj(const struct obj *o, const struct resource *res,
				     const struct resource_version *v, const struct json *tree)
{
	struct obj_pair fields[CONVERT_MAX_FIELDS];
	size_t n = 0;

	for (size_t i = 0; i < o->n_fields && n + 1 < ARRAY_LEN(fields); i++)
		if (!str_eq(o->fields[i].key, CRD_VERSION_FIELD))
			fields[n++] = o->fields[i];
	fields[n++] = (struct obj_pair){ CRD_VERSION_FIELD, v->version };
	return obj_new(tree, o->rev, res->schema_gen, fields, n);
}

static struct err *convert_stored_tree(struct arena *a, const struct resource *res,
				       const struct obj *o, struct json **ret)
{
	struct str version = obj_field(o, CRD_VERSION_FIELD);

	if (!version.n)
		version = res->versions[res->storage].version;
	return obj_parse(a, o, gv_format(a, res->group, version), res->kind, ret);
}

struct err *crd_convert_objs(struct apiserver *s, const struct resource *res,
			     const struct resource_version *v, const struct obj **objs, size_t n)
{
	_cleanup_arena_ struct arena *a = NULL;
	struct json **trees;
	size_t *at, k = 0;
	struct err *e;

	for (size_t i = 0; i < n; i++)
		k += crd_must_convert(res, v, objs[i]);
	if (!k)
		return NULL;
	a = arena_new();
	trees = arena_array(a, k, sizeof(struct json *));
	at = arena_array(a, k, sizeof(*at));
	k = 0;
	for (size_t i = 0; i < n; i++) {
		if (!crd_must_convert(res, v, objs[i]))
			continue;
		TRY(convert_stored_tree(a, res, objs[i], &trees[k]));
		at[k++] = i;
	}
	resource_ref(res);
	e = crd_convert_trees(s, a, res, v, trees, k);
	for (size_t i = 0; !e && i < k; i++) {
		const struct obj *o = convert_obj(objs[at[i]], res, v, trees[i]);

		obj_unref(objs[at[i]]);
		objs[at[i]] = o;
	}
	resource_unref(res);
	return e;
}
