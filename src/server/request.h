/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One API request on its way through the steps of a write (DESIGN section 3): each step is a file,
 * reads what the earlier ones filled in and adds its own. Everything lives in the arena of the
 * exchange, or of the caller for requests made from within the server (x is NULL there).
 */

#include "base/clock.h"
#include "base/str.h"
#include "server/resource.h"

struct apiserver;
struct audit;
struct flow_ticket;
struct http_exchange;
struct http_request;
struct selector;

struct user_extra {
	struct str key;
	const struct str *values;
	size_t n_values;
};

struct user_info {
	struct str name, uid;
	const struct str *groups;
	size_t n_groups;
	const struct user_extra *extra;
	size_t n_extra;
};

bool user_in_group(const struct user_info *u, struct str group);
/* authentication/v1 UserInfo. */
struct json *user_to_json(struct arena *a, const struct user_info *u);

enum field_validation { FIELDS_WARN, FIELDS_IGNORE, FIELDS_STRICT };
enum rv_match { RV_MATCH_UNSET, RV_MATCH_NOT_OLDER, RV_MATCH_EXACT };
enum propagation {
	PROPAGATION_UNSET,
	PROPAGATION_BACKGROUND,
	PROPAGATION_FOREGROUND,
	PROPAGATION_ORPHAN
};
enum media { MEDIA_JSON, MEDIA_YAML, MEDIA_PROTOBUF };
enum output_form { OUTPUT_PLAIN, OUTPUT_TABLE, OUTPUT_METADATA };
enum include_object { INCLUDE_METADATA, INCLUDE_OBJECT, INCLUDE_NONE };

/* The query, parsed and checked (options.c). */
struct api_options {
	bool dry_run;
	struct str field_manager;
	enum field_validation field_validation;
	/* list and watch */
	struct str label_text, field_text;
	struct selector *labels, *fields; /* NULL: everything */
	int64_t limit;
	struct str cont; /* continue */
	struct str rv_text;
	uint64_t rv;
	enum rv_match rv_match;
	bool bookmarks, send_initial, send_initial_set;
	int64_t timeout_s; /* 0: the server's choice */
	enum include_object include;
	/* delete: from the body, or else from the query (delete-options.c) */
	int64_t grace; /* -1: unset */
	enum propagation propagation;
	bool orphan_set, orphan;
	struct str pre_uid, pre_rv; /* preconditions; p NULL: none */
};

/* What the client wants back (negotiate.c). */
struct api_output {
	enum media media;
	enum output_form form;
	struct str form_version; /* of Table and PartialObjectMetadata: "v1", "v1beta1" */
	bool pretty;
};

struct api_request {
	struct apiserver *server;
	struct http_exchange *x;         /* NULL: from within */
	const struct http_request *http; /* NULL: from within */
	struct arena *arena;
	struct wall now;
	struct user_info user;
	struct flow_ticket *ticket; /* its place among the running; NULL: from within */

	/* path.c: raw parts of the path, decoded */
	struct str path;  /* without query */
	bool is_resource; /* below /api/v1 or /apis/GROUP/VERSION, with a resource */
	struct str group, version, plural, ns, name, sub;
	struct str rest; /* below a proxy-like subresource, with its slash */
	enum verb verb;

	/* route.c: borrowed references held for the request */
	const struct resource *res;
	const struct resource_version *v;
	const struct subresource *subres; /* NULL: the resource itself */

	struct api_options opt;
	struct api_output out;

	struct str body; /* JSON text of a decoded body, for what is reported in its order */

	/* answers besides the body */
	struct json *warnings; /* array of strings, or NULL */
	size_t warned;         /* their length in characters */
	bool warnings_cut;
	bool created;          /* 201 instead of 200 */
	struct json *managed;  /* managedFields of what an apply creates, or NULL */
	void *strategy_data;   /* a strategy's own, over the attempts of one request */
	bool in_collection;    /* one of those that a deletecollection deletes */
	bool bypass_admission; /* writes of the server's own bookkeeping */
	struct str audit_id;
	struct audit *audit; /* NULL: nobody wants to know (audit.h) */
};

/* A copy for a request from within, by the server's own identity (system:apiserver,
 * system:masters). */
struct api_request *request_local(struct apiserver *s, struct arena *a, const struct resource *res,
				  const struct resource_version *v, enum verb verb, struct str ns,
				  struct str name);

/*
 * Adds a Warning header (duplicates are left out). As upstream: when all are longer than 4,096
 * characters each is cut to 256, and there it ends.
 */
void request_warn(struct api_request *rq, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The kind with its version, as bodies carry it. */
struct str request_api_version(const struct api_request *rq);
/* The subresource's name or "". */
struct str request_sub(const struct api_request *rq);

/* the steps in order; each SUSPENDS where it reads */
MUST_USE struct err *path_parse(struct api_request *rq, struct str method, struct str raw_path);
MUST_USE struct err *authenticate(struct api_request *rq);
MUST_USE struct err *authorize(struct api_request *rq);
/* Whether the user may do something else with the same object. */
MUST_USE struct err *authorize_verb(struct api_request *rq, enum verb verb);
MUST_USE struct err *route(struct api_request *rq);
MUST_USE struct err *options_parse(struct api_request *rq);
/* A field selector, by the names that stored objects have for the fields. */
MUST_USE struct err *options_fields(struct arena *a, const struct resource_version *v,
				    struct str text, struct selector **ret);
MUST_USE struct err *negotiate(struct api_request *rq);
/* A path that answers with one type only. */
MUST_USE struct err *negotiate_route(struct api_request *rq, const char *type);
/*
 * Discovery: JSON or YAML. route: as upstream's router matches types, which knows no
 * "application/" with any. ret_aggregated (NULL: not at this path) becomes true when the aggregated
 * document is asked for.
 */
MUST_USE struct err *negotiate_discovery(struct api_request *rq, bool route, bool *ret_aggregated);
/* Body to a tree with kind and apiVersion checked, pruned (by opt.field_validation) and defaulted.
 */
MUST_USE SUSPENDS struct err *body_read(struct api_request *rq, struct str *ret,
					enum media *ret_media);
/* Text to a tree that is an object; ret_dups as for json_parse_dups, may be NULL. */
MUST_USE struct err *body_parse(struct api_request *rq, struct str text, enum media media,
				struct json **ret, struct json **ret_dups);
MUST_USE SUSPENDS struct err *body_decode(struct api_request *rq, struct json **ret);
/* The same checks for a tree that is there already (patch results). */
MUST_USE struct err *body_check(struct api_request *rq, struct json *obj, struct json *dups);
