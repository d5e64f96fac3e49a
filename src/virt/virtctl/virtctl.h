/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * virtctl: one row per command, run in a fiber with a client of the kubeconfig's cluster. Messages,
 * flags and exit statuses are upstream's: what goes wrong is printed as it is, with status 1.
 */

#include "base/str.h"
#include "io/fiber.h"

struct arena;
struct client;
struct err;

enum virtctl_flag_type { VIRTCTL_BOOL, VIRTCTL_INT, VIRTCTL_STRING };

struct virtctl_flag {
	const char *name; /* without dashes; NULL ends the table */
	char letter;      /* 0: none */
	enum virtctl_flag_type type;
	const char *dflt; /* as text, for the usage */
	const char *help;
};

#define VIRTCTL_MAX_ARGS  4
#define VIRTCTL_MAX_FLAGS 8

struct virtctl {
	struct arena *a;
	struct client *client; /* NULL for commands that need none */
	struct str ns;
	struct str args[VIRTCTL_MAX_ARGS];
	size_t n_args;
	/* by index in the command's flags; p NULL: not given */
	struct str values[VIRTCTL_MAX_FLAGS];
};

struct virtctl_command {
	const char *name, *usage, *help, *example;
	size_t n_args;
	bool needs_cluster;
	const struct virtctl_flag *flags;
	struct err *(*run)(struct virtctl *v); /* SUSPENDS */
};

/* Flag i of the command. */
bool virtctl_bool(const struct virtctl *v, size_t i);
bool virtctl_given(const struct virtctl *v, size_t i);
int64_t virtctl_int(const struct virtctl *v, size_t i, int64_t dflt);

/* commands */
MUST_USE SUSPENDS struct err *virtctl_start(struct virtctl *v);
MUST_USE SUSPENDS struct err *virtctl_stop(struct virtctl *v);
MUST_USE SUSPENDS struct err *virtctl_restart(struct virtctl *v);
MUST_USE SUSPENDS struct err *virtctl_pause(struct virtctl *v);
MUST_USE SUSPENDS struct err *virtctl_unpause(struct virtctl *v);
MUST_USE SUSPENDS struct err *virtctl_softreboot(struct virtctl *v);
MUST_USE SUSPENDS struct err *virtctl_reset(struct virtctl *v);
MUST_USE SUSPENDS struct err *virtctl_console(struct virtctl *v);
MUST_USE SUSPENDS struct err *virtctl_version(struct virtctl *v);
MUST_USE SUSPENDS struct err *virtctl_convert(struct virtctl *v);

/* flags whose position a command's code knows */
enum { START_PAUSED, START_DRY_RUN };
enum { STOP_FORCE, STOP_GRACE, STOP_DRY_RUN };
enum { PAUSE_DRY_RUN };
enum { CONSOLE_TIMEOUT };
enum { VERSION_CLIENT };
enum { CONVERT_FILE, CONVERT_OUTPUT };

/* The path of a subresource of a VM or VMI. */
struct str virtctl_path(const struct virtctl *v, const char *resource, struct str name,
			const char *sub);
/* What the server says about its version; NULL when it does not. SUSPENDS. */
struct json *virtctl_server_version(struct virtctl *v, struct err **ret_err);
