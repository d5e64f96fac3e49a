/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The kubelet's HTTPS server on NODE-IP:10250: logs, exec, attach, port-forward, pods, metrics.
 * Only a client certificate of the cluster's CA gets in, and only as the API server or as an
 * administrator.
 */

#include "base/base.h"

struct agent;
struct err;

MUST_USE struct err *server_start(struct agent *ag);
