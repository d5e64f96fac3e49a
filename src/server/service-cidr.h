/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The range of Service addresses, IPv4: "10.96.0.0/16". */

#include "base/str.h"

struct arena;

bool service_cidr_valid(struct str cidr);
/* Neither network nor broadcast address. */
bool service_cidr_has(struct str cidr, struct str ip);
/* The first usable one: Service default/kubernetes. */
struct str service_cidr_first(struct arena *a, struct str cidr);
/* A random one above the band left for people's own choices. */
struct str service_cidr_pick(struct arena *a, struct str cidr);
