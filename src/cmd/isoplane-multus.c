/* SPDX-License-Identifier: Apache-2.0 */

/* isoplane-multus: the CNI plugin that adds the networks a Pod's annotation asks for. */

#include "virt/main.h"

int main(int argc, char **argv)
{
	return isoplane_multus_main(argc, argv);
}
