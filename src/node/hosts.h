/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* /etc/hosts of a Pod's containers, one file per Pod. */

#include "base/str.h"

struct agent;
struct arena;
struct err;
struct json;

struct str hosts_path(struct agent *ag, struct arena *a, const struct json *pod);
/* The text, for tests too. node_hosts: the node's own, for Pods on the host's network. */
struct str hosts_render(struct arena *a, const struct json *pod, struct str ip,
			struct str node_hosts);
MUST_USE struct err *hosts_write(struct agent *ag, struct arena *a, const struct json *pod,
				 struct str ip);
