/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* `isoplane scheduler`. */
int scheduler_main(int argc, char **argv);
