/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The hooks that validate Jobs and CronJobs. */

struct api_request;
struct err;
struct json;

void job_validate(struct api_request *rq, const struct json *obj, struct err **e);
void job_validate_update(struct api_request *rq, const struct json *obj, const struct json *old,
			 struct err **e);
void cronjob_validate(struct api_request *rq, const struct json *obj, struct err **e);
