/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which Pods a Service selects, and which Services a Pod is one of. */

struct arena;
struct controller;
struct informer;
struct json;
struct obj;

/* Copies of the Pods that the Service selects; one without a selector selects none. */
struct json *service_pods(struct arena *a, const struct informer *pods, const struct json *svc);
/* Enqueues the Services that select the Pod (for controller_watch_fn; ctx is their informer). */
void service_pods_route(struct controller *c, const struct obj *pod, void *ctx);
