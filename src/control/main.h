/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* `isoplane controllers`: the controllers of the built-in kinds in one process. Exit status. */
int controllers_main(int argc, char **argv);
