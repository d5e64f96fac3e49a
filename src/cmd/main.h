/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The commands of isoplane that are no components. argv[0] is the subcommand. */

int up_main(int argc, char **argv);
int down_main(int argc, char **argv);
int image_main(int argc, char **argv);
int guest_main(int argc, char **argv);
int backup_main(int argc, char **argv);
int restore_main(int argc, char **argv);
