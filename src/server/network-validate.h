/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Hooks that validate the kinds of networking.k8s.io. */

#include "base/str.h"

struct api_request;
struct err;
struct json;

const char *ipaddress_check_name(struct str name);
void ingress_validate(struct api_request *rq, const struct json *obj, struct err **e);
void ingressclass_validate(struct api_request *rq, const struct json *obj, struct err **e);
void ingressclass_validate_update(struct api_request *rq, const struct json *obj,
				  const struct json *old, struct err **e);
void networkpolicy_validate(struct api_request *rq, const struct json *obj, struct err **e);
void ipaddress_validate(struct api_request *rq, const struct json *obj, struct err **e);
void ipaddress_validate_update(struct api_request *rq, const struct json *obj,
			       const struct json *old, struct err **e);
void servicecidr_validate(struct api_request *rq, const struct json *obj, struct err **e);
void servicecidr_validate_update(struct api_request *rq, const struct json *obj,
				 const struct json *old, struct err **e);
