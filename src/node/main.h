/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* isoplane node: the node agent. */

int node_main(int argc, char **argv);
