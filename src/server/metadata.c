/* SPDX-License-Identifier: Apache-2.0 */
#include "server/metadata.h"

#include "api/gvk.h"
#include "api/meta.h"
#include "api/names.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/rand.h"
#include "server/errors.h"
#include "server/object.h"
#include "server/request.h"
#include "json/json.h"

#define GENERATED_BASE_MAX 58
#define ANNOTATIONS_MAX    262144

/* What a client may send but only the server decides. */
static const char *const server_fields[] = {
	"selfLink", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
};

static struct err *metadata_namespace(struct api_request *rq, struct json *meta)
{
	struct str ns = json_str_at(meta, "namespace");

	if (!rq->res->namespaced) {
		json_delz(meta, "namespace");
		return NULL;
	}
	if (!str_empty(ns) && !str_eq(ns, rq->ns))
		return err_new(ERR_BAD_REQUEST,
			       "the namespace of the provided object does not match the namespace "
			       "sent on the request");
	json_set_str(rq->arena, meta, "namespace", rq->ns);
	return NULL;
}

struct err *metadata_begin_create(struct api_request *rq, struct json *obj)
{
	struct json *meta = json_sub(rq->arena, obj, "metadata");
	uint64_t rv;

	TRY(metadata_namespace(rq, meta));
	/* what is no number is nothing */
	if (str_to_u64(json_str_at(meta, "resourceVersion"), &rv) && rv)
		return err_new(ERR_UNKNOWN,
			       "resourceVersion should not be set on objects to be created");
	json_delz(meta, "resourceVersion");
	for (size_t i = 0; i < ARRAY_LEN(server_fields); i++)
		json_delz(meta, server_fields[i]);
	rq->name = json_str_at(meta, "name");
	return NULL;
}

void metadata_generate_name(struct api_request *rq, struct json *obj)
{
	struct json *meta = json_sub(rq->arena, obj, "metadata");
	struct str base = json_str_at(meta, "generateName");

	if (str_empty(base))
		return;
	base = str_sub(base, 0, MIN(base.n, GENERATED_BASE_MAX));
	rq->name = arena_cat(rq->arena, base, rand_suffix(rq->arena, 5));
	json_set_str(rq->arena, meta, "name", rq->name);
}

void metadata_stamp(struct api_request *rq, struct json *obj)
{
	struct json *meta = json_sub(rq->arena, obj, "metadata");

	json_set_str(rq->arena, meta, "uid", rand_uuid(rq->arena));
	json_set_str(rq->arena, meta, "creationTimestamp", wall_format(rq->arena, rq->now));
	if (rq->res->custom || rq->res->strategy->generation)
		json_set_int(rq->arena, meta, "generation", 1);
}

struct err *metadata_begin_update(struct api_request *rq, struct json *obj)
{
	struct json *meta = json_sub(rq->arena, obj, "metadata");
	struct str name = json_str_at(meta, "name");

	TRY(metadata_namespace(rq, meta));
	if (str_empty(name))
		return err_new(ERR_BAD_REQUEST,
			       "the name of the object (" STR_FMT
			       " based on URL) was undeterminable: name must be provided",
			       STR_ARG(rq->name));
	if (!str_eq(name, rq->name))
		return err_new(ERR_BAD_REQUEST,
			       "the name of the object (" STR_FMT
			       ") does not match the name on the URL (" STR_FMT ")",
			       STR_ARG(name), STR_ARG(rq->name));
	json_delz(meta, "selfLink");
	return NULL;
}

/* A field that is the old object's, whatever the new one says. */
static void metadata_keep(struct arena *a, struct json *meta, const struct json *old,
			  const char *key)
{
	const struct json *v = json_get(old, key);

	if (v)
		json_set(a, meta, key, json_dup(a, v));
	else
		json_delz(meta, key);
}

static bool metadata_array_has(const struct json *arr, struct str s)
{
	json_for_each(it, arr)
	{
		if (str_eq(json_as_str(it.val), s))
			return true;
	}
	return false;
}

static void metadata_new_finalizers(struct api_request *rq, const struct json *meta,
				    const struct json *old, struct err **e)
{
	_cleanup_buf_ struct buf b = { 0 };

	json_for_each(it, json_get(meta, "finalizers"))
	{
		if (metadata_array_has(json_get(old, "finalizers"), json_as_str(it.val)))
			continue;
		buf_addf(&b, "%s\"" STR_FMT "\"", b.n ? ", " : "", STR_ARG(json_as_str(it.val)));
	}
	if (b.n)
		cause_forbidden(e, STR("metadata.finalizers"),
				"no new finalizers can be added if the object is being deleted, "
				"found new finalizers []string{%s}",
				b.p);
}

void metadata_carry(struct api_request *rq, struct json *obj, const struct json *old_obj,
		    struct err **e)
{
	static const char *const deletion[] = { "deletionTimestamp", "deletionGracePeriodSeconds" };
	struct json *meta = json_sub(rq->arena, obj, "metadata");
	const struct json *old = json_get(old_obj, "metadata");
	const struct json *uid = json_get(meta, "uid");

	if (!str_empty(json_as_str(uid)) && !str_eq(json_as_str(uid), json_str_at(old, "uid")))
		cause_invalid(e, STR("metadata.uid"), uid, "field is immutable");
	for (size_t i = 0; i < ARRAY_LEN(deletion); i++) {
		const struct json *v = json_get(meta, deletion[i]);

		if (!json_is_null(v) && !json_equal(v, json_get(old, deletion[i])))
			cause_invalid(e, arena_fmt(rq->arena, "metadata.%s", deletion[i]), v,
				      "field is immutable");
		metadata_keep(rq->arena, meta, old, deletion[i]);
	}
	if (json_get(old, "deletionTimestamp"))
		metadata_new_finalizers(rq, meta, old, e);
	metadata_keep(rq->arena, meta, old, "uid");
	metadata_keep(rq->arena, meta, old, "creationTimestamp");
	metadata_keep(rq->arena, meta, old, "generation");
	if (!json_get(meta, "generateName") && json_get(old, "generateName"))
		metadata_keep(rq->arena, meta, old, "generateName");
}

static void metadata_check_name(struct api_request *rq, const struct json *meta, struct err **e)
{
	const char *(*check)(struct str name) = rq->res->strategy->check_name;
	struct str name = json_str_at(meta, "name");
	struct str gen = json_str_at(meta, "generateName");
	const char *why;

	if (!check)
		check = name_check_dns_subdomain;
	if (!str_empty(gen)) {
		struct str probe = arena_cat(rq->arena, gen, STR("a"));

		why = check(probe);
		if (why)
			cause_invalid_str(e, STR("metadata.generateName"), gen, "%s", why);
	}
	if (str_empty(name)) {
		cause_required(e, STR("metadata.name"), "name or generateName is required");
		return;
	}
	why = check(name);
	if (why)
		cause_invalid_str(e, STR("metadata.name"), name, "%s", why);
}

/* key is what is checked, shown what the error shows. */
static bool metadata_check_qualified(struct str field, struct str key, struct str shown,
				     struct err **e)
{
	const char *why = name_check_qualified(key);

	if (!why)
		return true;
	cause_invalid_str(e, field, shown, "%s", why);
	/* an empty name is also no name */
	if (str_empty(key) || key.p[key.n - 1] == '/')
		cause_invalid_str(e, field, shown, "%s", name_check_qualified_part(STR_EMPTY));
	return false;
}

static void metadata_check_labels(struct api_request *rq, const struct json *meta, struct err **e)
{
	json_for_each(it, json_get(meta, "labels"))
	{
		const char *why;

		metadata_check_qualified(STR("metadata.labels"), it.key, it.key, e);
		why = name_check_label_value(json_as_str(it.val));
		if (why)
			cause_invalid(e, STR("metadata.labels"), it.val, "%s", why);
	}
}

static struct str metadata_lower(struct arena *a, struct str s)
{
	char *p = arena_strz(a, s);

	for (size_t i = 0; i < s.n; i++) {
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] = (char)(p[i] + 32);
	}
	return (struct str){ p, s.n };
}

static void metadata_check_annotations(struct api_request *rq, const struct json *meta,
				       struct err **e)
{
	size_t total = 0;

	json_for_each(it, json_get(meta, "annotations"))
	{
		/* keys are compared without case, to keep old objects valid */
		metadata_check_qualified(STR("metadata.annotations"),
					 metadata_lower(rq->arena, it.key), it.key, e);
		total += it.key.n + json_as_str(it.val).n;
	}
	if (total > ANNOTATIONS_MAX)
		cause_too_long(e, STR("metadata.annotations"), ANNOTATIONS_MAX);
}

static void metadata_check_owner(struct api_request *rq, const struct json *ref, struct err **e)
{
	static const char *const needed[] = { "kind", "name", "uid" };
	struct str av = json_str_at(ref, "apiVersion"), group, version = STR_EMPTY;

	if (!gv_parse(av, &group, &version) || str_empty(version))
		cause_invalid_str(e, STR("metadata.ownerReferences.apiVersion"), av,
				  "version must not be empty");
	for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
		if (str_empty(json_str_at(ref, needed[i])))
			cause_invalid_str(
				e, arena_fmt(rq->arena, "metadata.ownerReferences.%s", needed[i]),
				STR_EMPTY, "must not be empty");
	}
	if (str_eqz(av, "v1") && str_eqz(json_str_at(ref, "kind"), "Event"))
		cause_invalid(e, STR("metadata.ownerReferences"), ref,
			      "/v1, Kind=Event is disallowed from being an owner");
}

static void metadata_check_owners(struct api_request *rq, const struct json *meta, struct err **e)
{
	const struct json *refs = json_get(meta, "ownerReferences");
	struct str controller = STR_EMPTY;

	json_for_each(it, refs)
	{
		struct str name = arena_fmt(rq->arena, STR_FMT "/" STR_FMT,
					    STR_ARG(json_str_at(it.val, "kind")),
					    STR_ARG(json_str_at(it.val, "name")));

		metadata_check_owner(rq, it.val, e);
		if (!json_bool_at(it.val, "controller", false))
			continue;
		if (str_empty(controller))
			controller = name;
		else
			cause_invalid(e, STR("metadata.ownerReferences"), refs,
				      "Only one reference can have Controller set to true. Found "
				      "\"true\" in references for " STR_FMT " and " STR_FMT,
				      STR_ARG(controller), STR_ARG(name));
	}
}

/* Definitions and custom resources may have finalizers without a domain, built-in kinds not. */
static bool metadata_is_core(const struct resource *res)
{
	return !res->custom && !str_eqz(res->group, "apiextensions.k8s.io") &&
	       !str_eqz(res->group, "apiregistration.k8s.io");
}

static bool metadata_standard_finalizer(struct str f)
{
	return str_eqz(f, "orphan") || str_eqz(f, "foregroundDeletion") || str_eqz(f, "kubernetes");
}

static void metadata_check_finalizer(struct api_request *rq, struct str f, size_t i, struct err **e)
{
	bool qualified = str_find_char(f, '/', 0) < f.n;

	metadata_check_qualified(STR("metadata.finalizers"), f, f, e);
	if (qualified || metadata_standard_finalizer(f))
		return;
	if (metadata_is_core(rq->res))
		cause_invalid_str(e, arena_fmt(rq->arena, "metadata.finalizers[%zu]", i), f,
				  "name is neither a standard finalizer name nor is it fully "
				  "qualified");
	else if (rq->res->custom)
		request_warn(rq,
			     "metadata.finalizers: \"" STR_FMT
			     "\": prefer a domain-qualified finalizer name including a path (/) to "
			     "avoid accidental conflicts with other finalizer writers",
			     STR_ARG(f));
}

static void metadata_check_finalizers(struct api_request *rq, const struct json *meta,
				      struct err **e)
{
	const struct json *all = json_get(meta, "finalizers");

	json_for_each(it, all) metadata_check_finalizer(rq, json_as_str(it.val), it.i, e);
	if (metadata_array_has(all, STR("orphan")) &&
	    metadata_array_has(all, STR("foregroundDeletion")))
		cause_invalid(e, STR("metadata.finalizers"), all,
			      "finalizer orphan and foregroundDeletion cannot be both set");
}

static void metadata_check_generation(const struct json *meta, struct err **e)
{
	const struct json *generation = json_get(meta, "generation");

	if (json_as_int(generation, 0) < 0)
		cause_invalid(e, STR("metadata.generation"), generation,
			      "must be greater than or equal to 0");
}

void metadata_dedup_owners(struct api_request *rq, struct json *obj, bool admitted)
{
	const struct json *refs = json_path(obj, "metadata", "ownerReferences", NULL);
	struct json *seen = json_object(rq->arena), *kept = json_array(rq->arena);
	_cleanup_buf_ struct buf b = { 0 };

	if (json_len(refs) < 2)
		return;
	json_for_each(it, refs)
	{
		struct str text = json_canonical(rq->arena, it.val), uid;
		const struct json *told = json_get_s(seen, text);

		if (!told)
			json_push(kept, json_copy(rq->arena, it.val));
		if (told && !json_as_bool(told, true)) {
			uid = json_str_at(it.val, "uid");
			buf_addf(&b, "%s" STR_FMT, b.n ? ", " : "", STR_ARG(uid));
		}
		json_set_s(rq->arena, seen, text, json_bool(rq->arena, told));
	}
	if (json_len(kept) < json_len(refs))
		json_set(rq->arena, json_get(obj, "metadata"), "ownerReferences", kept);
	if (b.n)
		request_warn(rq,
			     ".metadata.ownerReferences contains duplicate entries%s; API server "
			     "dedups owner references in 1.20+, and may reject such requests as "
			     "early as 1.24; please fix your requests; duplicate UID(s) "
			     "observed: " STR_FMT,
			     admitted ? " after mutating admission happens" : "",
			     STR_ARG(buf_str(&b)));
}

void metadata_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct json *meta = json_get(obj, "metadata");

	metadata_check_name(rq, meta, e);
	metadata_check_generation(meta, e);
	metadata_check_labels(rq, meta, e);
	metadata_check_annotations(rq, meta, e);
	metadata_check_owners(rq, meta, e);
	metadata_check_finalizers(rq, meta, e);
}

static bool metadata_spec_changed(struct api_request *rq, const struct json *obj,
				  const struct json *old)
{
	bool status = subresource_find(rq->v, STR("status")) || !rq->res->custom;

	json_for_each(it, obj)
	{
		if (str_eqz(it.key, "metadata") || str_eqz(it.key, "kind") ||
		    str_eqz(it.key, "apiVersion") || (status && str_eqz(it.key, "status")))
			continue;
		if (!json_equal(it.val, json_get_s(old, it.key)))
			return true;
	}
	json_for_each(it, old)
	{
		if (status && str_eqz(it.key, "status"))
			continue;
		if (!json_get_s(obj, it.key))
			return true;
	}
	return false;
}

void metadata_bump_generation(struct api_request *rq, struct json *obj, const struct json *old)
{
	if (!rq->res->custom && !rq->res->strategy->generation)
		return;
	if (!metadata_spec_changed(rq, obj, old))
		return;
	json_set_int(rq->arena, json_sub(rq->arena, obj, "metadata"), "generation",
		     json_int_at(old, "metadata.generation", 0) + 1);
}

bool metadata_may_go(const struct api_request *rq, const struct json *obj)
{
	if (!meta_deleting(obj) || json_len(json_at(obj, "metadata.finalizers")))
		return false;
	if (json_int_at(obj, "metadata.deletionGracePeriodSeconds", 0) > 0)
		return false;
	return !rq->res->strategy->held || !rq->res->strategy->held(obj);
}
