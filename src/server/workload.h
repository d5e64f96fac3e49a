/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the kinds that make Pods from a template have in common. */

#include "base/str.h"

struct api_request;
struct arena;
struct err;
struct json;
struct place;
struct valid;

/* The cells Containers, Images and Selector; false: another column. */
bool template_cell(struct arena *a, const struct json *tmpl, const struct json *selector,
		   struct str column, struct json *cells);

/* A PodTemplateSpec wherever it occurs. */
void template_validate(const struct valid *v, const struct json *tmpl, const struct place *p);
/* Members of obj are not below 0; names end with NULL. */
void valid_members_nonnegative(const struct valid *v, const struct place *p, const struct json *obj,
			       const char *const *names);
/* Whether the request changes the status alone. */
bool request_is_status(const struct api_request *rq);

/* hooks of strategies (workload-validate.c) */
void replicaset_validate(struct api_request *rq, const struct json *obj, struct err **e);
void replicaset_validate_update(struct api_request *rq, const struct json *obj,
				const struct json *old, struct err **e);
void deployment_validate(struct api_request *rq, const struct json *obj, struct err **e);
void deployment_validate_update(struct api_request *rq, const struct json *obj,
				const struct json *old, struct err **e);
void daemonset_validate(struct api_request *rq, const struct json *obj, struct err **e);
void daemonset_validate_update(struct api_request *rq, const struct json *obj,
			       const struct json *old, struct err **e);
void statefulset_validate(struct api_request *rq, const struct json *obj, struct err **e);
void statefulset_validate_update(struct api_request *rq, const struct json *obj,
				 const struct json *old, struct err **e);
void rc_validate(struct api_request *rq, const struct json *obj, struct err **e);
void rc_validate_update(struct api_request *rq, const struct json *obj, const struct json *old,
			struct err **e);
void podtemplate_validate(struct api_request *rq, const struct json *obj, struct err **e);
