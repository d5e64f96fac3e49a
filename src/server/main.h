/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* isoplane apiserver */
int apiserver_main(int argc, char **argv);
