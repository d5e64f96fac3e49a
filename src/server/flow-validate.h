/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Validation of the kinds of flowcontrol.apiserver.k8s.io. */

struct api_request;
struct err;
struct json;

void flowschema_validate(struct api_request *rq, const struct json *obj, struct err **e);
void prioritylevel_validate(struct api_request *rq, const struct json *obj, struct err **e);
