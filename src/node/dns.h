/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A Pod's resolv.conf, from its dnsPolicy and dnsConfig. */

#include "node/cri.h"

struct agent;
struct arena;
struct json;

/* NULL: the runtime takes the host's. */
CRI(DNSConfig) * dns_config_of_pod(struct agent *ag, struct arena *a, const struct json *pod);
