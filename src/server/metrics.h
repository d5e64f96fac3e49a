/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * /metrics, /metrics/slis, /statusz and /flagz: what upstream's dashboards and alerts look for,
 * under upstream's names. A request costs one look-up of its series; objects in store are counted
 * by the store anyway.
 */

struct api_request;
struct apiserver;

void metrics_init(struct apiserver *s);
/* Called first of all; the rest is learned when the response is decided. */
void metrics_observe(struct api_request *rq);
