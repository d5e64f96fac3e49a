/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* /statusz and /flagz. */

struct apiserver;

void zpages_init(struct apiserver *s);
