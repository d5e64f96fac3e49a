/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/flags.h"

#include <stdio.h>
#include <stdlib.h>

static const struct flag *flag_find(const struct flag *flags, struct str name)
{
	for (; flags->name; flags++)
		if (str_eqz(name, flags->name))
			return flags;
	return NULL;
}

static bool flag_error(const char *usage, const char *what, struct str name)
{
	fprintf(stderr, "isoplane: %s '" STR_FMT "'\n%s", what, STR_ARG(name), usage);
	return false;
}

static bool flag_set(const struct flag *f, struct str value)
{
	if (f->list) {
		if (*f->n == f->max)
			return false;
		f->list[(*f->n)++] = value;
	} else {
		*f->value = value;
	}
	return true;
}

/* One flag at argv[*i], which moves over a value of its own. */
static bool flag_parse_one(const struct flag *flags, int argc, char **argv, int *i,
			   const char *usage)
{
	struct str value = str_from(argv[*i]), name;
	bool has_value = str_cut(&value, '=', &name);
	const struct flag *f = flag_find(flags, name);

	if (!f)
		return flag_error(usage, "unknown flag", name);
	if (f->set) {
		if (has_value)
			return flag_error(usage, "no value goes with", name);
		*f->set = true;
		return true;
	}
	if (!has_value) {
		if (*i + 1 >= argc)
			return flag_error(usage, "a value is missing after", name);
		value = str_from(argv[++*i]);
	}
	return flag_set(f, value) || flag_error(usage, "too many of", name);
}

bool flags_parse_args(const struct flag *flags, int argc, char **argv, const char *usage,
		      int *ret_n_args)
{
	int n = 0;

	for (int i = 1; i < argc; i++) {
		struct str arg = str_from(argv[i]);

		if (str_eqz(arg, "--help") || str_eqz(arg, "-h")) {
			fputs(usage, stdout);
			exit(0);
		}
		if (!str_has_prefix(arg, STR("--")))
			argv[1 + n++] = argv[i];
		else if (!flag_parse_one(flags, argc, argv, &i, usage))
			return false;
	}
	*ret_n_args = n;
	return true;
}

bool flags_parse(const struct flag *flags, int argc, char **argv, const char *usage)
{
	int n;

	if (!flags_parse_args(flags, argc, argv, usage, &n))
		return false;
	return n == 0 || flag_error(usage, "unexpected argument", str_from(argv[1]));
}
