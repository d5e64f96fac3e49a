/* SPDX-License-Identifier: Apache-2.0 */

/* ComponentStatus: what upstream still lists, and nothing stores. */

#include "server/strategies.h"

const struct strategy componentstatus_strategy = { 0 };
