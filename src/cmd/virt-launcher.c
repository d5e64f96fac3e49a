/* SPDX-License-Identifier: Apache-2.0 */

/* virt-launcher, virt-tail and virt-probe: the programs of the launcher image. */

#include "virt/main.h"

int main(int argc, char **argv)
{
	return virt_launcher_main(argc, argv);
}
