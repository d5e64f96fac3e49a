/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a request asks permission for, and how a refusal reads. */

#include "server/server.h"

/* verb: the request's own, or another on the same object. */
struct authz_attrs authorize_attrs(struct api_request *rq, enum verb verb);
/* `pods "p" is forbidden: User "u" cannot get resource "pods" ...[: REASON]` */
MUST_USE struct err *authorize_refuse(struct arena *a, const struct authz_attrs *at,
				      struct str reason);
