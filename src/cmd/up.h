/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The supervisor behind `isoplane up`: what its files share. */

#include "api/cluster-pki.h"
#include "cmd/instance.h"
#include "cmd/up-child.h"

struct client;
struct err;

/* Numeric users of the components: a fixed range without accounts. */
enum up_uid {
	UP_UID_ROOT = 0,
	UP_UID_APISERVER = 64100,
	UP_UID_CONTROLLERS,
	UP_UID_SCHEDULER,
	UP_UID_VIRT_OPERATOR,
	UP_UID_VIRT_API,
	UP_UID_VIRT_CONTROLLER,
	UP_UID_HOLLOW,
};

#define UP_API_PORT          6443
#define UP_KUBELET_PORT      10250
#define UP_VIRT_API_PORT     8443
#define UP_VIRT_HANDLER_PORT 8186
#define UP_VIRT_NS           "kubevirt"

#define UP_ACCESS_FLAGS 15
#define UP_ACCESS_MAX   (UP_ACCESS_FLAGS + 16)

struct up_flags {
	struct str data_dir, listen, kubeconfig, nodes, hollow_nodes, store, kubelet_root,
		log_level;
	struct str without[16];
	size_t n_without;
	/* for the API server: who comes in, and what is written about it */
	struct str access[UP_ACCESS_FLAGS];
	struct str required_claims[16];
	size_t n_required_claims;
};

extern const char *const up_access_flags[UP_ACCESS_FLAGS]; /* names of access[], in up-access.c */

struct up {
	struct arena *a; /* for the process's life */
	struct up_flags flags;
	struct instance inst;
	struct cluster_pki pki;
	struct str node_name;
	struct str api_url;      /* for people: https://ADDR:PORT of --listen */
	struct str node_api_url; /* for what runs on nodes */
	bool root, with_node;
	bool emulate; /* machines run by emulation: no usable KVM here */
	int exe_fd, dir_fd, listen_fds[2];
	int audit_fd; /* 0: none */
	size_t n_listen_fds;
	struct client *admin;
	struct child *children[16];
	size_t n_children;
};

bool up_is_without(const struct up *u, const char *component);
/* --hollow-nodes asks for some. */
bool up_has_hollow(const struct up *u);

/* up-setup.c: before anything runs */
MUST_USE SUSPENDS struct err *up_setup(struct up *u);
/* DIR-relative state of a component becomes readable by uid alone. */
const char *up_run_path(const struct up *u, const char *name);
/* RUNDIR/NAME.kubeconfig with a fresh client certificate, or with a token file. */
MUST_USE struct err *up_write_kubeconfig(struct up *u, const char *name, struct str server,
					 struct str user, struct str org, const char *token_file,
					 uid_t uid);

/* For uid alone; 0: root. */
MUST_USE struct err *up_write_for(const char *path, struct str data, uid_t uid);

/* up-access.c: the API server's flags for authentication and audit */
/* Files that only root may read are copied, the log is made its own. */
MUST_USE struct err *up_access_setup(struct up *u);
/* Adds them at args[n]; how many there are then (at most UP_ACCESS_MAX more). */
size_t up_access_args(struct up *u, const char **args, size_t n);

/* up-components.c: what runs */
void up_start(struct up *u, const char *name, uid_t uid, const char *const *args);
MUST_USE SUSPENDS struct err *up_start_core(struct up *u);
MUST_USE SUSPENDS struct err *up_start_node(struct up *u);
/* For the supervisor's life: starts containerd again when it died. */
MUST_USE SUSPENDS struct err *up_watch_containerd(struct up *u);
/* SUSPENDS until /readyz answers ok. */
MUST_USE SUSPENDS struct err *up_wait_ready(struct up *u);

/* up-dns.c: makes Service kube-dns, trying until it is there */
MUST_USE SUSPENDS struct err *up_dns(struct up *u);

/* up-virt.c: the virtualization components; runs for the supervisor's life and renews tokens */
MUST_USE SUSPENDS struct err *up_virt(struct up *u);
