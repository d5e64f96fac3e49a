/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * PCI addresses on q35, laid out as libvirt lays them out: every device sits alone behind a root
 * port, ports are functions of slots 2, 3, ... of pcie.0, and buses pci.1, pci.2, ... are handed
 * out in the order of the devices. Slot 1 stays free for the primary display, slot 1f is the
 * chipset's.
 */

#include "base/str.h"

#define PCI_MAX_PORTS 200

struct arena;

struct pci {
	unsigned n_ports;
};

/* "bus=pci.3,addr=0x0" for the next device. */
struct str pci_next(struct pci *p, struct arena *a);
/* Arguments of root port i (from 0): pcie-root-port,port=16,chassis=1,id=pci.1,... */
struct str pci_root_port(struct arena *a, unsigned i);
