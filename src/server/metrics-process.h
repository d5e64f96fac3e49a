/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the kernel knows about this process, as Prometheus text. */

struct buf;

void metrics_write_process(struct buf *b);
