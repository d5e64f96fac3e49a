/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Entry points of the virtualization layer's processes: argv[0] is the subcommand; exit status
 * returned. */

int virt_operator_main(int argc, char **argv);
int virt_api_main(int argc, char **argv);
int virt_controller_main(int argc, char **argv);
int virt_handler_main(int argc, char **argv);
int virtctl_main(int argc, char **argv);
int virt_launcher_main(int argc, char **argv);
int isoplane_multus_main(int argc, char **argv);
