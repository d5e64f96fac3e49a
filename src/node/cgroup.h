/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The cgroups above the containers: /isoplane-ID/kubepods[/burstable|/besteffort]/podUID, on cgroup
 * v1 (one tree per controller) and v2, whichever the host has. runc makes the containers' own below
 * them.
 */

#include "base/str.h"
#include "node/resources.h"

struct arena;
struct err;
struct json;

/* "/isoplane-ID/kubepods/burstable/podUID" */
struct str cgroup_of_pod(struct arena *a, struct str root, enum qos q, struct str uid);
/* Creates the Pod's cgroup and its parents and writes its limits. Cheap when it is there. */
MUST_USE struct err *cgroup_ensure_pod(struct arena *a, struct str root, const struct json *pod);
/* Kills what is left in it and removes it, in every tree. */
void cgroup_remove_pod(struct arena *a, struct str root, struct str uid);
bool cgroup_is_v2(void);
