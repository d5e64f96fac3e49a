/* SPDX-License-Identifier: Apache-2.0 */
/* isoplane: every component and command, one row each. */
#include <stdio.h>

#include "base/str.h"
#include "cmd/main.h"
#include "cmd/version.h"
#include "control/main.h"
#include "node/hollow.h"
#include "node/main.h"
#include "scheduler/main.h"
#include "server/main.h"
#include "virt/main.h"

static int version_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("isoplane %s (Kubernetes API 1.36, KubeVirt API v1)\n", ISOPLANE_VERSION);
	return 0;
}

static const struct command {
	const char *name;
	int (*main)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "up", up_main, "run everything on this machine" },
	{ "down", down_main, "end it, and the workloads it started" },
	{ "image", image_main, "image import FILE.tar: load an image into the node's runtime" },
	{ "backup", backup_main, "backup FILE: copy the store while it runs" },
	{ "restore", restore_main, "restore FILE: put a backup in place of the store" },
	{ "guest", guest_main, "guest build: make the demo guest and import it" },
	{ "version", version_main, "print the version" },
	{ "apiserver", apiserver_main, "component: the API server, alone" },
	{ "controllers", controllers_main, "component: controllers of the built-in kinds" },
	{ "scheduler", scheduler_main, "component: the scheduler" },
	{ "node", node_main, "component: the node agent" },
	{ "hollow-nodes", hollow_main, "component: nodes that pretend, to try scale" },
	{ "virt-operator", virt_operator_main, "component: installs virtualization" },
	{ "virt-api", virt_api_main, "component: webhooks and subresources of machines" },
	{ "virt-controller", virt_controller_main, "component: machines to Pods" },
	{ "virt-handler", virt_handler_main, "component: machines on this node" },
};

static void usage(FILE *to)
{
	fputs("usage: isoplane COMMAND [FLAGS]\n\n", to);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(to, "  %-16s %s\n", commands[i].name, commands[i].help);
	fputs("\nisoplane COMMAND --help tells the flags of a command.\n", to);
}

int main(int argc, char **argv)
{
	struct str name = argc > 1 ? str_from(argv[1]) : STR_EMPTY;

	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (str_eqz(name, commands[i].name))
			return commands[i].main(argc - 1, argv + 1);
	if (str_eqz(name, "--help") || str_eqz(name, "-h") || str_eqz(name, "help")) {
		usage(stdout);
		return 0;
	}
	if (name.n)
		fprintf(stderr, "isoplane: unknown command '" STR_FMT "'\n", STR_ARG(name));
	usage(stderr);
	return 2;
}
