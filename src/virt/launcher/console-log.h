/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The serial console's log file: QEMU appends to it as long as the guest writes, the sidecar's
 * virt-tail copies it to the container's log, which the kubelet rotates. Nobody else bounds the
 * file itself.
 */

#include "base/str.h"

struct err;

#define CONSOLE_LOG_MAX (4 * 1024 * 1024)

/* Empties the file when it has grown beyond max; true when it did. QEMU's writes append, so nothing
 * tears. */
bool console_log_trim(const char *path, int64_t max);
/* SUSPENDS until cancelled; arg is the path. */
MUST_USE SUSPENDS struct err *console_log_watch(void *arg);
