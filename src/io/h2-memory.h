/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Memory for nghttp2's sessions. Each has a 16 KB buffer for frames of which an idle or ordinary
 * connection only ever touches the beginning. On the heap it would lie on pages that a handshake
 * has used before; here it is a mapping of its own, so that untouched pages cost nothing.
 */

#include <nghttp2/nghttp2.h>

nghttp2_mem *h2_memory(void);
