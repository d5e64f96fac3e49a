/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What may be asked for in a CertificateSigningRequest, and who may write what of its status. */

#include "base/base.h"
#include "base/str.h"

struct api_request;
struct arena;
struct err;
struct json;
struct pki_request;

void csr_validate(struct api_request *rq, const struct json *obj, struct err **e);
void csr_validate_update(struct api_request *rq, const struct json *obj, const struct json *old,
			 struct err **e);
/* spec.request, decoded and checked. */
MUST_USE struct err *csr_parse(struct arena *a, const struct json *obj, struct pki_request *ret);
/* A base64 member as bytes; "" when it is missing or no base64. */
struct str csr_bytes(struct arena *a, const struct json *obj, const char *path);
