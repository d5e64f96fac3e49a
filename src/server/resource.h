/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the server serves: one struct resource per group and plural, built in or from a CRD, and
 * the registry that finds them by path and by kind. A resource is immutable once added
 * and reference counted: requests and watches hold theirs while a CRD changes below them.
 *
 * Built-in kinds differ from custom ones only by a table of hooks, struct strategy.
 */

#include "base/list.h"
#include "base/map.h"
#include "base/str.h"

struct api_request;
struct arena;
struct err;
struct json;
struct obj;
struct registry;
struct resource;
struct resource_version;
struct schema;
struct write;

/* The API's verbs, as bits; also what a request does (one bit). */
enum verb {
	VERB_GET = 1,
	VERB_LIST = 2,
	VERB_WATCH = 4,
	VERB_CREATE = 8,
	VERB_UPDATE = 16,
	VERB_PATCH = 32,
	VERB_DELETE = 64,
	VERB_DELETECOLLECTION = 128,
	VERB_OTHER = 256, /* a method no verb stands for: 405 */
};
#define VERBS_ALL        255u
#define VERBS_READ_WRITE (VERB_GET | VERB_UPDATE | VERB_PATCH)

/* "get", "deletecollection", ...: how RBAC names it. */
struct str verb_name(enum verb v);

/* The columns of a Table. For custom resources path is a JSONPath; built-in kinds fill the cells.
 */
struct column {
	struct str name, type, format, description;
	int priority;
	struct str path;
};

/* A field selectors may name. path: dots between members; dflt when it is absent. key: what the
 * stored object calls it (CRDs leave it empty: the name). */
struct selectable {
	struct str name;
	struct str path;
	struct str or_path; /* looked at when nothing is there; or empty */
	struct str dflt;
	struct str key;
};

/* Where the scale subresource finds its numbers: ".spec.replicas". */
struct scale_paths {
	struct str spec, status;
	struct str selector; /* empty: none */
};

/*
 * A subresource. handle NULL: the engine's own (status, scale). kind_group and kind_version are
 * empty when they are the resource's.
 */
struct subresource {
	struct str name;
	struct str kind_group, kind_version, kind;
	unsigned verbs;
	MUST_USE struct err *(*handle)(struct api_request *rq); /* SUSPENDS */
	bool connect; /* log, exec, proxy: streams; admission sees CONNECT */
};

struct resource_version {
	struct str version;
	bool served;
	struct str deprecation_warning; /* empty: none */
	/* Schema: of a named type in the built-in registry, or the CRD's own. See
	 * resource_schema(). */
	struct str type;
	const struct schema *schema;
	const struct column *columns; /* built-in: all; custom: what follows Name; n 0: Age */
	size_t n_columns;
	const struct subresource *subresources;
	size_t n_subresources;
	struct scale_paths scale;
	const struct selectable *fields;
	size_t n_fields;
	/*
	 * How the served form differs from the stored one; NULL when they agree but for apiVersion.
	 * Objects with a converter are parsed on every read.
	 */
	MUST_USE struct err *(*from_stored)(const struct resource *res,
					    const struct resource_version *v, struct arena *a,
					    struct json **obj);
	MUST_USE struct err *(*to_stored)(const struct resource *res,
					  const struct resource_version *v, struct arena *a,
					  struct json **obj);
};

/*
 * Where the server must act. All hooks are optional; obj and old are trees in the request's
 * version; errors of validate* are causes added to *e (made by cause_*() of errors.h).
 */
struct strategy {
	/* rules */
	const char *(*check_name)(struct str name); /* default: DNS subdomain */
	bool generation;         /* metadata.generation counts changes of the spec */
	bool needs_rv;           /* no unconditional update */
	bool create_on_update;   /* PUT of a missing object makes it */
	bool delete_returns_obj; /* 200 with the object instead of a Status */
	bool orphan_by_default;
	bool virtual_kind; /* never stored: create answers by itself (reviews) */
	bool status_alone; /* with a status neither labels nor annotations change */
	bool keeps_status; /* a status sent on create is kept (Node) */

	/* What a subresource that is neither status nor scale may change: takes the rest of obj
	 * from old. */
	void (*isolate)(struct api_request *rq, struct json *obj, const struct json *old);

	/* create and update, in this order */
	void (*set_defaults)(struct api_request *rq, struct json *obj);
	MUST_USE struct err *(*prepare_create)(struct api_request *rq, struct json *obj);
	MUST_USE struct err *(*prepare_update)(struct api_request *rq, struct json *obj,
					       const struct json *old);
	void (*validate)(struct api_request *rq, const struct json *obj, struct err **e);
	void (*validate_update)(struct api_request *rq, const struct json *obj,
				const struct json *old, struct err **e);
	/* Of what is valid, by request_warn(); old is NULL when obj is new. Every subresource's
	 * writes come by. */
	void (*warn)(struct api_request *rq, const struct json *obj, const struct json *old);
	/* May add operations to the transaction, and is called again after one of them failed.
	 * SUSPENDS */
	MUST_USE struct err *(*commit)(struct api_request *rq, struct write *w, struct json *obj,
				       const struct json *old);

	/* delete: obj is what is stored; grace in seconds (clamped to what was asked), 0: at once
	 */
	MUST_USE struct err *(*check_delete)(struct api_request *rq, const struct json *obj);
	int64_t (*grace)(struct api_request *rq, const struct json *obj, int64_t asked);
	/* True when the object must stay although no metadata.finalizer holds it (spec.finalizers).
	 */
	bool (*held)(const struct json *obj);
	void (*deleting)(struct api_request *rq, struct json *obj);
	MUST_USE struct err *(*commit_delete)(struct api_request *rq, struct write *w,
					      const struct json *obj);

	/* virtual kinds: answers a create. SUSPENDS */
	MUST_USE struct err *(*answer)(struct api_request *rq, struct json *obj, struct json **ret);

	/* Tables: adds the cell of a column that has no path. */
	void (*cell)(struct arena *a, const struct json *obj, struct str column,
		     struct json *cells);
};

struct resource {
	struct str group, plural, singular, kind, list_kind;
	const struct str *short_names;
	size_t n_short_names;
	const struct str *categories;
	size_t n_categories;
	bool namespaced;
	bool custom; /* items of lists carry kind and apiVersion; no strategic merge */
	unsigned verbs;
	struct str store_name; /* "pods", "replicasets.apps" */
	bool view;             /* another resource has that store name, and says what is stored */
	struct resource_version *versions; /* in Kubernetes' order, preferred first */
	size_t n_versions;
	size_t storage;      /* index of the stored version */
	uint32_t schema_gen; /* objects stored with another are pruned and defaulted on read */
	/* A webhook that converts between versions (spec.conversion.webhook); NULL: none. */
	const struct json *conversion;
	const struct strategy *strategy; /* never NULL once added */
	/* private */
	uint32_t refs;
	struct list link;
	void (*release)(struct resource *res);
	void *release_ctx;
};

const struct resource *resource_ref(const struct resource *res);
const struct resource *resource_unref(const struct resource *res);

/* queries */
const struct resource_version *resource_version_find(const struct resource *res,
						     struct str version);
const struct subresource *subresource_find(const struct resource_version *v, struct str name);
/* Compiled on first use; NULL: no schema (anything goes). */
const struct schema *resource_schema(struct registry *reg, const struct resource *res,
				     const struct resource_version *v);
/* "v1", "apps/v1". */
/* Whose rules its objects follow: that of what is stored. */
struct str resource_stored_group(const struct resource *res);
struct str resource_api_version(struct arena *a, const struct resource *res,
				const struct resource_version *v);

/* the registry */
struct schema_registry;
struct registry *registry_new(struct schema_registry *types);
struct registry *registry_free(struct registry *reg);
/* The schemas of the built-in types. */
struct schema_registry *registry_types(struct registry *reg);

/*
 * Takes one reference; a resource of the same group and plural is replaced. res->release, when
 * set, frees what the resource points to after the last reference.
 */
void registry_add(struct registry *reg, struct resource *res);
void registry_del(struct registry *reg, struct str group, struct str plural);

/* Borrowed until the next suspension, take a reference to keep it; NULL: not served. */
const struct resource *registry_find(struct registry *reg, struct str group, struct str version,
				     struct str plural, const struct resource_version **ret_v);
const struct resource *registry_find_kind(struct registry *reg, struct str group,
					  struct str version, struct str kind,
					  const struct resource_version **ret_v);
/* "pods" or "replicasets.apps"; the stored version. */
const struct resource *registry_find_stored(struct registry *reg, struct str store_name);
bool registry_has_group(struct registry *reg, struct str group);
bool registry_has_version(struct registry *reg, struct str group, struct str version);
/* In order of adding; NULL ends. */
const struct resource *registry_next(struct registry *reg, const struct resource *prev);
/* Grows with each change: what discovery and OpenAPI cache against. */
uint64_t registry_generation(const struct registry *reg);

/* change notification: embed it; neither old nor new is NULL when one replaces the other */
struct registry_listener {
	void (*changed)(struct registry_listener *l, const struct resource *old,
			const struct resource *new);
	/* private */
	struct list link;
};
void registry_listen(struct registry *reg, struct registry_listener *l);
