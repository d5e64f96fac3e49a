/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Admission: what may change or refuse a write between its decoding and its validation. Plugins
 * run in the order they were added, all mutating ones before any validating one; webhooks are
 * two plugins at the end of the chain.
 */

#include "server/request.h"

enum admission_op { ADMISSION_CREATE, ADMISSION_UPDATE, ADMISSION_DELETE, ADMISSION_CONNECT };

struct str admission_op_name(enum admission_op op); /* "CREATE" */

struct admission {
	struct api_request *rq;
	enum admission_op op;
	const struct resource *res;
	const struct resource_version *v;
	struct str sub;         /* "" or the subresource */
	struct str ns, name;    /* name "" while generateName is unresolved */
	struct json *obj;       /* mutating plugins change or replace it; NULL on DELETE */
	const struct json *old; /* NULL on CREATE */
	struct json *options;   /* CreateOptions, ...: kind, apiVersion and what was asked */
	bool dry_run;
	/* A plugin that changed obj late asks for a second pass of the mutating ones; the second
	 * pass is the last. */
	bool reinvoke, reinvoked;
	void *webhooks, *policies; /* what those remember between the passes */
};

/* Embed it. */
struct admission_plugin {
	const char *name;
	/* Cheap test, before anything is parsed for the plugin's sake. NULL: everything. */
	bool (*wants)(struct admission_plugin *p, const struct admission *ad);
	MUST_USE struct err *(*mutate)(struct admission_plugin *p,
				       struct admission *ad); /* SUSPENDS */
	MUST_USE struct err *(*validate)(struct admission_plugin *p,
					 struct admission *ad); /* SUSPENDS */
	/* private */
	struct list link;
};

void admission_add(struct apiserver *s, struct admission_plugin *p);

/* Whether any plugin wants it (DELETE parses the object only then); obj and old may be NULL here.
 */
bool admission_wanted(struct apiserver *s, const struct admission *ad);
MUST_USE SUSPENDS struct err *admission_mutate(struct apiserver *s, struct admission *ad);
MUST_USE SUSPENDS struct err *admission_validate(struct apiserver *s, struct admission *ad);

/*
 * Both passes for a request that makes no object of its own (binding, eviction, token, exec): *obj
 * is its body, changed or replaced, or NULL.
 */
MUST_USE SUSPENDS struct err *admission_run(struct api_request *rq, enum admission_op op,
					    struct json **obj);

/* Streams and proxies: their options are in the query. */
MUST_USE SUSPENDS struct err *admission_connect(struct api_request *rq, struct str container);

/* `pods "p" is forbidden: TEXT`, what a plugin refuses with. */
MUST_USE struct err *admission_deny(const struct admission *ad, const char *fmt, ...)
	PRINTF_LIKE(2, 3);
