/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * virt-handler's end of a launcher's socket (launcher-api.h): commands, and the domain's latest
 * state. Closing it never disturbs the VM.
 */

#include "base/str.h"

struct arena;
struct err;
struct json;
struct launcher_conn;

struct launcher_conn_opts {
	int sockets_dir; /* of the Pod's emptyDir `sockets`; borrowed for the call */
	/* After every change and when the launcher is gone; must not suspend. */
	void (*changed)(void *ctx);
	void *ctx;
};

/* NOT_FOUND or IO when nobody listens; FORBIDDEN when it is not a launcher. */
MUST_USE SUSPENDS struct err *launcher_conn_open(const struct launcher_conn_opts *opts,
						 struct launcher_conn **ret);
SUSPENDS struct launcher_conn *launcher_conn_free(struct launcher_conn *c);

/* args (may be NULL) becomes the command's members. A refusal is an error with the launcher's code
 * and text. */
MUST_USE SUSPENDS struct err *launcher_conn_call(struct launcher_conn *c, struct arena *a,
						 const char *command, struct json *args);

bool launcher_conn_is_closed(const struct launcher_conn *c);
/* The last state told; borrowed until the next suspension. */
const struct json *launcher_conn_domain(const struct launcher_conn *c);
/* The Pod's network namespace and the container's root directory. */
int launcher_conn_netns(const struct launcher_conn *c);
int launcher_conn_root(const struct launcher_conn *c);
