/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What is allowed but deserves a word: Warning headers of built-in kinds, in upstream's words. The
 * hooks are of struct strategy; old is NULL when the object is new.
 */

#include "base/base.h"
#include "base/str.h"

struct api_request;
struct json;
struct place;

/* "PLACE: TEXT" */
void warn_at(struct api_request *rq, const struct place *p, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* One that is valid, but written in an unusual way. */
void warn_ip(struct api_request *rq, const struct place *p, struct str ip);
void warn_cidr(struct api_request *rq, const struct place *p, struct str cidr);
/* A label of nodes that is deprecated; with `KEY is` before the text when named. */
void warn_node_label(struct api_request *rq, const struct place *p, struct str key, bool named);
/* values: those of the expressions are looked at, too. */
void warn_node_term(struct api_request *rq, const struct place *p, const struct json *term,
		    bool values);
/* A quantity of bytes that is no whole number. */
void warn_fraction(struct api_request *rq, const struct place *p, const struct json *quantity);
/* spec of a PersistentVolumeClaim */
void warn_claim_spec(struct api_request *rq, const struct place *p, const struct json *spec);
/* A Pod (p NULL) or a template. */
void warn_pod_template(struct api_request *rq, const struct place *p, const struct json *pod);

/* hooks */
void pod_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void workload_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void statefulset_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void rc_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void podtemplate_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void job_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void cronjob_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void service_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void node_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void pv_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void pvc_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void endpoints_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void endpointslice_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void ingress_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void networkpolicy_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void storageclass_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void csistoragecapacity_warn(struct api_request *rq, const struct json *obj,
			     const struct json *old);
void csidriver_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void runtimeclass_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void resourcequota_warn(struct api_request *rq, const struct json *obj, const struct json *old);
void resourceslice_warn(struct api_request *rq, const struct json *obj, const struct json *old);
/* Of admission's configurations. */
void static_name_warn(struct api_request *rq, const struct json *obj, const struct json *old);
