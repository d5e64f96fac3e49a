/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Flags of the commands that are no components: --name VALUE and --name=VALUE. */

#include "base/str.h"

struct flag {
	const char *name;  /* "--data-dir"; NULL ends the table */
	struct str *value; /* one value; the last wins */
	bool *set;         /* a switch, without value */
	struct str *list;  /* or up to max values, counted in *n */
	size_t *n, max;
};

/* False after a usage error was printed (exit status 2). --help prints usage and exits 0. */
bool flags_parse(const struct flag *flags, int argc, char **argv, const char *usage);
/* The same; what is no flag is moved to the front of argv[1...] and counted. */
bool flags_parse_args(const struct flag *flags, int argc, char **argv, const char *usage,
		      int *ret_n_args);
