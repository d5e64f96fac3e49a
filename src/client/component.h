/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What every component process shares: flags, logging, signals, client, health. A component's main
 * calls component_main, which parses the flags below, connects, drops nothing (the supervisor did),
 * and runs run() in the main fiber until SIGTERM.
 */

#include "base/str.h"

struct client;
struct err;
struct loop;

struct component_flag {
	const char *name; /* "--node-name" */
	const char *arg;  /* "NAME"; NULL: a switch */
	const char *help;
	struct str *value; /* set to the argument ("true" for a switch) */
	bool required;
};

struct component {
	const char *name; /* "scheduler" */
	const struct component_flag
		*flags; /* ends with a NULL name; --kubeconfig and --log-level are common */
	/*
	 * The Lease in kube-system that one of several such processes holds while it runs. Not
	 * NULL: there is a flag --leader-elect, with which the others wait.
	 */
	const char *lease;
	/* SUSPENDS until the fiber is cancelled (SIGTERM). client is connected and ready. */
	MUST_USE struct err *(*run)(struct client *c, void *ctx);
	void *ctx;
};

/* Exit status. argv[0] is the subcommand. */
int component_main(const struct component *comp, int argc, char **argv);
