/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/launcher/pci.h"

#include "base/arena.h"
#include "base/assert.h"

#define PCI_FIRST_SLOT 2
#define PCI_FUNCTIONS  8

struct str pci_next(struct pci *p, struct arena *a)
{
	ASSERT(p->n_ports < PCI_MAX_PORTS);
	p->n_ports++;
	return arena_fmt(a, "bus=pci.%u,addr=0x0", p->n_ports);
}

struct str pci_root_port(struct arena *a, unsigned i)
{
	unsigned slot = PCI_FIRST_SLOT + i / PCI_FUNCTIONS, fn = i % PCI_FUNCTIONS;

	struct str addr = fn ? arena_fmt(a, "0x%x.0x%x", slot, fn) : arena_fmt(a, "0x%x", slot);

	return arena_fmt(
		a, "pcie-root-port,port=%u,chassis=%u,id=pci.%u,bus=pcie.0%s,addr=" STR_FMT,
		slot << 3 | fn, i + 1, i + 1, fn == 0 ? ",multifunction=on" : "", STR_ARG(addr));
}
