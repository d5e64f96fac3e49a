/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What ReplicaSet adds to the shared core (client/replica-set.h). */

struct replica_member;

extern const struct replica_set_ops replicaset_ops;

/* Below 0 when x is deleted before y. */
int replicaset_rank(const struct replica_member *x, const struct replica_member *y);
