/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Between pod-security.c (levels) and pod-security-checks.c (one function for each rule). */

#include "base/str.h"

struct arena;
struct json;

struct pod_check {
	struct arena *a;
	const struct json *meta, *spec;
	int minor;
	struct str reason, detail; /* of the check that failed last */
};

/* False: it is violated. */
bool pod_check_apparmor(struct pod_check *c);
bool pod_check_capabilities(struct pod_check *c);
bool pod_check_host_namespaces(struct pod_check *c);
bool pod_check_host_path(struct pod_check *c);
bool pod_check_host_ports(struct pod_check *c);
bool pod_check_probe_hosts(struct pod_check *c);
bool pod_check_privileged(struct pod_check *c);
bool pod_check_proc_mount(struct pod_check *c);
bool pod_check_proc_mount_always(struct pod_check *c);
bool pod_check_selinux(struct pod_check *c);
bool pod_check_seccomp_annotations(struct pod_check *c);
bool pod_check_seccomp(struct pod_check *c);
bool pod_check_sysctls(struct pod_check *c);
bool pod_check_windows(struct pod_check *c);
bool pod_check_escalation(struct pod_check *c);
bool pod_check_drop_all(struct pod_check *c);
bool pod_check_volumes(struct pod_check *c);
bool pod_check_non_root(struct pod_check *c);
bool pod_check_user(struct pod_check *c);
bool pod_check_seccomp_set(struct pod_check *c);
