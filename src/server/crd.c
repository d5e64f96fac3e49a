/* SPDX-License-Identifier: Apache-2.0 */
#include "server/crd.h"

#include <ctype.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "io/fiber.h"
#include "server/crd-resource.h"
#include "server/crd-validate.h"
#include "server/errors.h"
#include "server/mirror.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"

#define CRDS      "customresourcedefinitions.apiextensions.k8s.io"
#define FINALIZER STR("customresourcecleanup.apiextensions.k8s.io")

/* Between two looks at whether the objects of a definition are gone. */
#define CLEANUP_MIN_MS 50
#define CLEANUP_MAX_MS 2000

static struct crds {
	struct mirror mirror;
	struct apiserver *server;
	struct map cleaning; /* names with a fiber at work */
	struct fiber *settling;
	bool resettle;
} crds;

/* ---- names */

static struct str crd_lower(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1);

	for (size_t i = 0; i < s.n; i++)
		p[i] = (char)tolower((unsigned char)s.p[i]);
	return str_make(p, s.n);
}

static bool crd_uses_name(const struct resource *res, struct str name)
{
	if (str_eq(res->plural, name) || str_eq(res->singular, name))
		return true;
	for (size_t i = 0; i < res->n_short_names; i++)
		if (str_eq(res->short_names[i], name))
			return true;
	return false;
}

static bool crd_uses_kind(const struct resource *res, struct str kind)
{
	return str_eq(res->kind, kind) || str_eq(res->list_kind, kind);
}

/* Whether another resource of the group has the name; only names within a group can clash. */
static bool crd_taken(struct apiserver *s, const struct json *crd, struct str name, bool kind)
{
	struct str group = json_str_at(crd, "spec.group");
	struct str plural = json_str_at(crd, "spec.names.plural");
	const struct resource *res = NULL;

	while ((res = registry_next(s->registry, res)))
		if (str_eq(res->group, group) && !str_eq(res->plural, plural) &&
		    (kind ? crd_uses_kind(res, name) : crd_uses_name(res, name)))
			return true;
	return false;
}

/* ---- status */

struct crd_names {
	struct apiserver *s;
	struct arena *a;
	const struct json *crd, *wanted;
	struct json *accepted;
	const char *reason; /* NULL: no conflict */
	struct str text;
};

static void crd_accept_name(struct crd_names *n, const char *member, const char *reason, bool kind)
{
	struct str name = json_str_at(n->wanted, member);

	if (!str_eq(name, json_str_at(n->accepted, member)) &&
	    crd_taken(n->s, n->crd, name, kind)) {
		n->reason = reason;
		n->text = arena_fmt(n->a, "\"" STR_FMT "\" is already in use", STR_ARG(name));
		return;
	}
	json_set_str(n->a, n->accepted, member, name);
}

static bool crd_has_text(const struct json *list, struct str s)
{
	json_for_each(it, list)
	{
		if (str_eq(json_as_str(it.val), s))
			return true;
	}
	return false;
}

static void crd_accept_list(struct crd_names *n, const char *member)
{
	const struct json *list = json_get(n->wanted, member);

	json_delz(n->accepted, member);
	if (json_len(list))
		json_set(n->a, n->accepted, member, json_copy(n->a, list));
}

/* All of the short names or none. */
static void crd_accept_short_names(struct crd_names *n)
{
	struct str bad = STR_EMPTY;
	size_t count = 0;

	json_for_each(it, json_get(n->wanted, "shortNames"))
	{
		struct str name = json_as_str(it.val);

		if (crd_has_text(json_get(n->accepted, "shortNames"), name) ||
		    !crd_taken(n->s, n->crd, name, false))
			continue;
		bad = arena_fmt(n->a, STR_FMT "%s\"" STR_FMT "\" is already in use", STR_ARG(bad),
				count++ ? ", " : "", STR_ARG(name));
	}
	if (!count) {
		crd_accept_list(n, "shortNames");
		return;
	}
	n->reason = "ShortNamesConflict";
	n->text = count > 1 ? arena_fmt(n->a, "[" STR_FMT "]", STR_ARG(bad)) : bad;
}

static void crd_set_approval(struct arena *a, struct json *crd, struct json *status,
			     struct wall now)
{
	static const char *const reasons[] = {
		[CRD_APPROVAL_MISSING] = "MissingAnnotation",
		[CRD_APPROVAL_INVALID] = "InvalidAnnotation",
		[CRD_APPROVAL_BYPASSED] = "UnapprovedAnnotation",
		[CRD_APPROVAL_GIVEN] = "ApprovedAnnotation",
	};
	enum crd_approval state = crd_approval(crd);
	struct str said = meta_annotation(crd, CRD_APPROVED);
	struct str text = str_from(crd_approval_texts[state]);

	if (!crd_group_protected(json_str_at(crd, "spec.group")))
		return;
	if (state == CRD_APPROVAL_GIVEN)
		text = arena_cat(a, text, said);
	if (state == CRD_APPROVAL_BYPASSED)
		text = arena_fmt(a, STR_FMT "\"" STR_FMT "\"", STR_ARG(text), STR_ARG(said));
	condition_set(a, status, "KubernetesAPIApprovalPolicyConformant",
		      state == CRD_APPROVAL_GIVEN ? "True" : "False", str_from(reasons[state]),
		      text, now);
}

static void crd_set_names_status(struct apiserver *s, struct arena *a, struct json *crd,
				 struct wall now)
{
	struct json *status = json_sub(a, crd, "status");
	struct crd_names n = { .s = s,
			       .a = a,
			       .crd = crd,
			       .wanted = json_at(crd, "spec.names"),
			       .accepted = json_sub(a, status, "acceptedNames") };
	bool was = condition_is_true(status, "Established");

	if (!json_len(n.accepted)) {
		json_set_str(a, n.accepted, "plural", STR_EMPTY);
		json_set_str(a, n.accepted, "kind", STR_EMPTY);
	}
	/* the last conflict is the one that is told */
	crd_accept_name(&n, "plural", "PluralConflict", false);
	crd_accept_name(&n, "singular", "SingularConflict", false);
	crd_accept_short_names(&n);
	crd_accept_name(&n, "kind", "KindConflict", true);
	crd_accept_name(&n, "listKind", "ListKindConflict", true);
	crd_accept_list(&n, "categories");
	if (n.reason)
		condition_set(a, status, "NamesAccepted", "False", str_from(n.reason), n.text, now);
	else
		condition_set(a, status, "NamesAccepted", "True", STR("NoConflicts"),
			      STR("no conflicts found"), now);
	if (!was && n.reason)
		condition_set(a, status, "Established", "False", STR("NotAccepted"),
			      STR("not all names are accepted"), now);
	else if (!was)
		condition_set(a, status, "Established", "True", STR("InitialNamesAccepted"),
			      STR("the initial names have been accepted"), now);
	crd_set_approval(a, crd, status, now);
}

static void crd_add_stored_version(struct arena *a, struct json *crd)
{
	struct json *stored = json_sub_array(a, json_sub(a, crd, "status"), "storedVersions");

	json_for_each(it, json_at(crd, "spec.versions"))
	{
		struct str name = json_str_at(it.val, "name");
		bool known = false;

		if (!json_bool_at(it.val, "storage", false))
			continue;
		json_for_each(v, stored) known |= str_eq(json_as_str(v.val), name);
		if (!known)
			json_push(stored, json_str(a, name));
	}
}

/* ---- the strategy */

static void crd_defaults(struct api_request *rq, struct json *obj)
{
	struct json *names = json_at(obj, "spec.names");
	struct str kind = json_str_at(names, "kind");

	if (!json_is(names, JSON_OBJECT))
		return;
	if (!json_str_at(names, "singular").n && kind.n)
		json_set_str(rq->arena, names, "singular", crd_lower(rq->arena, kind));
	if (!json_str_at(names, "listKind").n && kind.n)
		json_set_str(rq->arena, names, "listKind", arena_cat(rq->arena, kind, STR("List")));
}

/*
 * Upstream answers without conditions and settles the names in two writes a moment later. Here they
 * are settled by the time of the answer: a watch shows one event where it shows three there, and
 * what clients wait for is never late.
 */
static struct err *crd_prepare_create(struct api_request *rq, struct json *obj)
{
	json_delz(obj, "status");
	crd_set_names_status(rq->server, rq->arena, obj, rq->now);
	crd_add_stored_version(rq->arena, obj);
	return NULL;
}

static struct err *crd_prepare_update(struct api_request *rq, struct json *obj,
				      const struct json *old)
{
	if (rq->subres)
		return NULL;
	if (!json_equal(json_at(obj, "spec.names"), json_at(old, "spec.names")) ||
	    !str_eq(meta_annotation(obj, CRD_APPROVED), meta_annotation(old, CRD_APPROVED)))
		crd_set_names_status(rq->server, rq->arena, obj, rq->now);
	crd_add_stored_version(rq->arena, obj);
	return NULL;
}

static void crd_check(struct api_request *rq, const struct json *obj, const struct json *old,
		      struct err **e)
{
	crd_validate(rq->arena, registry_types(rq->server->registry), obj, old, e);
}

static void crd_check_create(struct api_request *rq, const struct json *obj, struct err **e)
{
	/* updates are checked by crd_check_update, which knows the old one */
	if (rq->verb == VERB_CREATE)
		crd_check(rq, obj, NULL, e);
}

static void crd_check_update(struct api_request *rq, const struct json *obj, const struct json *old,
			     struct err **e)
{
	/* a status is its writer's */
	if (!rq->subres)
		crd_check(rq, obj, old, e);
}

static void crd_deleting(struct api_request *rq, struct json *obj)
{
	meta_add_finalizer(rq->arena, obj, FINALIZER);
	condition_set(
		rq->arena, json_sub(rq->arena, obj, "status"), "Terminating", "True",
		STR("InstanceDeletionPending"),
		STR("CustomResourceDefinition marked for deletion; CustomResource deletion will "
		    "begin soon"),
		rq->now);
}

const struct strategy crd_strategy = {
	.generation = true,
	.needs_rv = true,
	.delete_returns_obj = true,
	.set_defaults = crd_defaults,
	.prepare_create = crd_prepare_create,
	.prepare_update = crd_prepare_update,
	.validate = crd_check_create,
	.validate_update = crd_check_update,
	.deleting = crd_deleting,
};

/* ---- deletion */

struct crd_cleanup {
	struct apiserver *server;
	struct arena *arena;
	struct str name;       /* of the definition */
	struct str store_name; /* of its objects */
};

struct crd_keys {
	struct arena *a;
	struct json *list; /* [ns, name, deleting] */
};

static void crd_collect_key(const struct obj *o, void *ctx)
{
	struct crd_keys *k = ctx;
	struct json *one = json_array(k->a);

	json_push(one, json_strcpy(k->a, o->ns));
	json_push(one, json_strcpy(k->a, o->name));
	json_push(one, json_bool(k->a, o->deleting));
	json_push(k->list, one);
}

/* Asks for the deletion of every object; *ret_left counts those that were there. */
static struct err *crd_delete_objects(struct crd_cleanup *c, size_t *ret_left)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct crd_keys keys = { .a = a, .list = json_array(a) };
	const char *gr = arena_strz(a, c->store_name);

	TRY(local_list(c->server, gr, STR_EMPTY, crd_collect_key, &keys));
	*ret_left = json_len(keys.list);
	json_for_each(it, keys.list)
	{
		if (json_as_bool(json_idx(it.val, 2), false))
			continue;
		TRY(local_delete(c->server, a, gr, json_as_str(json_idx(it.val, 0)),
				 json_as_str(json_idx(it.val, 1))));
	}
	return NULL;
}

/* The definition lets go; NOT_FOUND and conflicts are the caller's to retry. */
static struct err *crd_finalize(struct crd_cleanup *c, const char *reason, const char *text,
				bool done)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *crd = NULL;
	struct str name = c->name;

	TRY(local_get_json(c->server, a, CRDS, STR_EMPTY, name, &crd));
	if (!crd)
		return NULL;
	if (condition_set(a, json_sub(a, crd, "status"), "Terminating", done ? "False" : "True",
			  str_from(reason), str_from(text), wall_now()))
		TRY(local_update(c->server, a, CRDS, "status", crd, &crd));
	if (!done || !meta_del_finalizer(a, crd, FINALIZER))
		return NULL;
	return local_update(c->server, a, CRDS, "", crd, NULL);
}

static struct err *crd_clean_up(struct crd_cleanup *c)
{
	int64_t wait = CLEANUP_MIN_MS;
	size_t left = 1;

	if (registry_find_stored(c->server->registry, c->store_name)) {
		TRY(crd_finalize(c, "InstanceDeletionInProgress",
				 "CustomResource deletion is in progress", false));
		while (left) {
			TRY(crd_delete_objects(c, &left));
			if (left)
				TRY(fiber_sleep_ms(wait));
			wait = MIN(wait * 2, CLEANUP_MAX_MS);
		}
		return crd_finalize(c, "InstanceDeletionCompleted", "removed all instances", true);
	}
	return crd_finalize(c, "NeverEstablished", "resource was never established", true);
}

static struct err *crd_cleanup_fiber(void *arg)
{
	struct crd_cleanup *c = arg;
	int64_t wait = CLEANUP_MIN_MS;
	struct err *e;

	while ((e = crd_clean_up(c))) {
		bool stop = err_is(e, ERR_CANCELED);

		err_log(NULL, LOG_WARN, "custom resource cleanup failed, trying again", e);
		if (stop)
			break;
		err_log(NULL, LOG_DEBUG, "custom resource cleanup stopped", fiber_sleep_ms(wait));
		wait = MIN(wait * 2, CLEANUP_MAX_MS);
	}
	map_del(&crds.cleaning, c->name);
	arena_free(c->arena);
	return NULL;
}

static void crd_start_cleanup(const struct obj *o, const struct json *crd)
{
	struct crd_cleanup *c;
	struct arena *a;

	if (!meta_has_finalizer(crd, FINALIZER) || map_find(&crds.cleaning, o->name))
		return;
	a = arena_new();
	c = arena_new_obj(a, struct crd_cleanup);
	c->server = crds.server;
	c->arena = a;
	c->name = arena_str(a, o->name);
	/* the object's name is PLURAL.GROUP, and so is the store's */
	c->store_name = c->name;
	map_put(&crds.cleaning, c->name, c);
	fiber_unref(fiber_spawn(crds.server->loop, "crd-cleanup", crd_cleanup_fiber, c));
}

/* ---- registration */

/* Names that were refused may be free now. */
static struct err *crd_settle_one(struct arena *a, struct str name)
{
	struct json *crd = NULL;

	TRY(local_get_json(crds.server, a, CRDS, STR_EMPTY, name, &crd));
	if (!crd || meta_deleting(crd) ||
	    condition_is_true(json_get(crd, "status"), "NamesAccepted"))
		return NULL;
	crd_set_names_status(crds.server, a, crd, wall_now());
	return local_update(crds.server, a, CRDS, "status", crd, NULL);
}

static struct err *crd_settle_fiber(void *arg UNUSED)
{
	do {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *names = json_array(a);

		crds.resettle = false;
		map_for_each(e, &crds.mirror.objs)
			json_push(names, json_strcpy(a, e->key));
		json_for_each(it, names)
			err_log(NULL, LOG_WARN, "names of a custom resource were not settled",
				crd_settle_one(a, json_as_str(it.val)));
	} while (crds.resettle);
	crds.settling = fiber_unref(crds.settling);
	return NULL;
}

static void crd_settle(void)
{
	crds.resettle = true;
	if (!crds.settling)
		crds.settling =
			fiber_spawn(crds.server->loop, "crd-settle", crd_settle_fiber, NULL);
}

static struct json *crd_tree(struct arena *a, const struct obj *o)
{
	struct json *tree = NULL;
	struct err *e;

	if (!o)
		return NULL;
	e = obj_parse(a, o, STR("apiextensions.k8s.io/v1"), STR("CustomResourceDefinition"), &tree);
	err_log(NULL, LOG_WARN, "stored custom resource definition is unreadable", e);
	return tree;
}

/* Whether the resource that crd makes is the one that old made. */
static bool crd_same_resource(const struct json *old, const struct json *crd)
{
	return old && meta_deleting(old) == meta_deleting(crd) &&
	       condition_is_true(json_get(old, "status"), "Established") ==
		       condition_is_true(json_get(crd, "status"), "Established") &&
	       json_equal(json_get(old, "spec"), json_get(crd, "spec"));
}

static void crd_changed(struct mirror *m, const struct obj *old, const struct obj *new)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct json *was = crd_tree(a, old), *crd = crd_tree(a, new);
	struct registry *reg = crds.server->registry;
	struct resource *res = NULL;
	struct err *e;

	if (!crd) {
		registry_del(reg, json_str_at(was, "spec.group"),
			     json_str_at(was, "spec.names.plural"));
		crd_settle();
		return;
	}
	if (condition_is_true(json_get(crd, "status"), "Established") &&
	    !crd_same_resource(was, crd)) {
		e = crd_make_resource(registry_types(reg), crd, &res);
		if (!e)
			registry_add(reg, res);
		err_log(NULL, LOG_WARN, "custom resource cannot be served", e);
	}
	if (meta_deleting(crd))
		crd_start_cleanup(new, crd);
}

struct json *crd_load(struct arena *a, struct str group, struct str plural)
{
	return crd_tree(
		a, mirror_find(&crds.mirror, STR_EMPTY,
			       arena_fmt(a, STR_FMT "." STR_FMT, STR_ARG(plural), STR_ARG(group))));
}

struct str crd_type_name(struct arena *a, struct str group, struct str version, struct str kind)
{
	struct str out = STR_EMPTY, part;

	while (str_split_next(&group, '.', &part))
		out = out.n ? arena_fmt(a, STR_FMT "." STR_FMT, STR_ARG(part), STR_ARG(out)) : part;
	return arena_fmt(a, STR_FMT "." STR_FMT "." STR_FMT, STR_ARG(out), STR_ARG(version),
			 STR_ARG(kind));
}

struct err *crd_start(struct apiserver *s)
{
	crds.server = s;
	crds.mirror.changed = crd_changed;
	return mirror_start(&crds.mirror, s, CRDS);
}
