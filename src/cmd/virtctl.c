/* SPDX-License-Identifier: Apache-2.0 */

/* virtctl: what only a virtual machine can do. */

#include "virt/main.h"

int main(int argc, char **argv)
{
	return virtctl_main(argc, argv);
}
