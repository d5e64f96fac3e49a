/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A container's environment: envFrom, env with valueFrom, Services, $(VAR) expansion; and the
 * values of the downward API, which volumes show too.
 */

#include "base/str.h"
#include "json/json.h"

struct arena;
struct err;

struct env_var {
	struct str name, value;
};

struct env_list {
	struct env_var *v;
	size_t n;
	/* private */
	size_t cap;
};

/* What the answers depend on beyond the Pod's own JSON. */
struct env_source {
	const struct json *pod;
	struct str pod_ip, host_ip, node_name;
	int64_t cpu_allocatable_milli, memory_allocatable;
	/* Services as JSON objects whose variables the Pod gets; may be NULL. */
	const struct json *services;
	/*
	 * SUSPENDS. resource is "configmaps" or "secrets"; *ret is NULL when it does not exist. May
	 * be NULL when the container refers to none.
	 */
	MUST_USE struct err *(*lookup)(void *ctx, struct arena *a, const char *resource,
				       struct str name, struct json **ret);
	void *lookup_ctx;
};

/* INVALID with upstream's text when something referred to is missing: CreateContainerConfigError.
 */
MUST_USE SUSPENDS struct err *env_of_container(struct arena *a, const struct env_source *src,
					       const struct json *container, struct env_list *ret);
/* The last variable of that name, p NULL when absent. */
struct str env_find(const struct env_list *env, struct str name);
void env_set(struct arena *a, struct env_list *env, struct str name, struct str value);
/* "$(NAME)" by value, unknown names stay, "$$" is "$". */
struct str env_expand(struct arena *a, const struct env_list *env, struct str s);

/* the downward API */
MUST_USE struct err *downward_field(struct arena *a, const struct env_source *src, struct str path,
				    struct str *ret);
/* ref: resourceFieldRef; containerName defaults to container. */
MUST_USE struct err *downward_resource(struct arena *a, const struct env_source *src,
				       const struct json *ref, const struct json *container,
				       struct str *ret);
