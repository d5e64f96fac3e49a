/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The sandbox image as an OCI archive (images/pause), embedded at build time. */

#define PAUSE_IMAGE_NAME "isoplane.local/pause:1"

extern const unsigned char pause_image[];
extern const unsigned long pause_image_size;
