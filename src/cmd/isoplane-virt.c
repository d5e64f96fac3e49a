/* SPDX-License-Identifier: Apache-2.0 */
/* isoplane-virt: the virtualization layer alone, for a Kubernetes that is already there. */
#include <stdio.h>

#include "base/str.h"
#include "virt/main.h"

static const struct command {
	const char *name;
	int (*main)(int argc, char **argv);
} commands[] = {
	{ "virt-operator", virt_operator_main },
	{ "virt-api", virt_api_main },
	{ "virt-controller", virt_controller_main },
	{ "virt-handler", virt_handler_main },
};

int main(int argc, char **argv)
{
	struct str name = argc > 1 ? str_from(argv[1]) : STR_EMPTY;

	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (str_eqz(name, commands[i].name))
			return commands[i].main(argc - 1, argv + 1);
	fputs("usage: isoplane-virt virt-operator | virt-api | virt-controller | virt-handler "
	      "[FLAGS]\n",
	      stderr);
	return 2;
}
