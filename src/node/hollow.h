/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * isoplane hollow-nodes: nodes that pretend, to try the control plane at a scale that one machine
 * cannot run. They register and renew leases as real ones do; a Pod bound to one is Running and
 * Ready at once without any container, and succeeds after the time in its annotation
 * isoplane.io/hollow-runs ("10s"), if it has one; a deleted one goes at once.
 * Each carries the label isoplane.io/hollow=true. Exec, logs and probes do not exist.
 */

#define HOLLOW_MAX 10000

int hollow_main(int argc, char **argv);
