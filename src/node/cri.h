/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The container runtime by CRI v1: one function per call. Messages are the generated structs;
 * CRI(x) names them. Responses live in the arena. Every call suspends.
 */

#include "base/str.h"
#include "cri.pb-c.h"

struct arena;
struct cri;
struct err;

#define CRI(type) Runtime__V1__##type

/* lifecycle */
/* socket: "unix:///run/x.sock", "unix:/run/x.sock" or a path. */
struct cri *cri_new(struct str socket);
struct cri *cri_free(struct cri *c);

/* the runtime */
MUST_USE SUSPENDS struct err *cri_version(struct cri *c, struct arena *a,
					  const CRI(VersionResponse) * *ret);
MUST_USE SUSPENDS struct err *cri_status(struct cri *c, struct arena *a,
					 const CRI(StatusResponse) * *ret);

/* sandboxes */
MUST_USE SUSPENDS struct err *cri_run_sandbox(struct cri *c, struct arena *a,
					      CRI(PodSandboxConfig) * config, struct str *ret_id);
/* Both are fine with a sandbox that is gone. */
MUST_USE SUSPENDS struct err *cri_stop_sandbox(struct cri *c, struct arena *a, struct str id);
MUST_USE SUSPENDS struct err *cri_remove_sandbox(struct cri *c, struct arena *a, struct str id);
MUST_USE SUSPENDS struct err *cri_sandbox_status(struct cri *c, struct arena *a, struct str id,
						 const CRI(PodSandboxStatus) * *ret);
/* pod_uid empty: all. */
MUST_USE SUSPENDS struct err *cri_list_sandboxes(struct cri *c, struct arena *a, struct str pod_uid,
						 const CRI(ListPodSandboxResponse) * *ret);

/* containers */
MUST_USE SUSPENDS struct err *cri_create_container(struct cri *c, struct arena *a,
						   struct str sandbox,
						   CRI(ContainerConfig) * config,
						   CRI(PodSandboxConfig) * sandbox_config,
						   struct str *ret_id);
MUST_USE SUSPENDS struct err *cri_start_container(struct cri *c, struct arena *a, struct str id);
/* SIGTERM, then SIGKILL after timeout_s. Fine with a container that is gone. */
MUST_USE SUSPENDS struct err *cri_stop_container(struct cri *c, struct arena *a, struct str id,
						 int64_t timeout_s);
MUST_USE SUSPENDS struct err *cri_remove_container(struct cri *c, struct arena *a, struct str id);
MUST_USE SUSPENDS struct err *cri_list_containers(struct cri *c, struct arena *a,
						  struct str pod_uid,
						  const CRI(ListContainersResponse) * *ret);
MUST_USE SUSPENDS struct err *cri_container_status(struct cri *c, struct arena *a, struct str id,
						   const CRI(ContainerStatus) * *ret);
MUST_USE SUSPENDS struct err *cri_reopen_log(struct cri *c, struct arena *a, struct str id);
MUST_USE SUSPENDS struct err *cri_container_stats(struct cri *c, struct arena *a,
						  const CRI(ListContainerStatsResponse) * *ret);

/* running things in containers */
struct cri_exec_result {
	struct str out, err;
	int exit_code;
};
/* timeout_s 0: none. A timeout is TIMEOUT. */
MUST_USE SUSPENDS struct err *cri_exec_sync(struct cri *c, struct arena *a, struct str id,
					    const struct str *argv, size_t n, int64_t timeout_s,
					    struct cri_exec_result *ret);
struct cri_stream_opts {
	struct str container;
	const struct str *argv;
	size_t n_argv;
	bool tty, in, out, err;
};
/* URLs of the runtime's streaming server. */
MUST_USE SUSPENDS struct err *cri_exec_url(struct cri *c, struct arena *a,
					   const struct cri_stream_opts *o, struct str *ret);
MUST_USE SUSPENDS struct err *cri_attach_url(struct cri *c, struct arena *a,
					     const struct cri_stream_opts *o, struct str *ret);
MUST_USE SUSPENDS struct err *cri_port_forward_url(struct cri *c, struct arena *a,
						   struct str sandbox, int32_t *ports,
						   size_t n_ports, struct str *ret);

/* images */
/* *ret is NULL when the image is not there. */
MUST_USE SUSPENDS struct err *cri_image_status(struct cri *c, struct arena *a, struct str image,
					       const CRI(Image) * *ret);
/* The runtime's own JSON about it. */
MUST_USE SUSPENDS struct err *cri_image_info(struct cri *c, struct arena *a, struct str image,
					     struct str *ret);
MUST_USE SUSPENDS struct err *cri_list_images(struct cri *c, struct arena *a,
					      const CRI(ListImagesResponse) * *ret);
MUST_USE SUSPENDS struct err *cri_pull_image(struct cri *c, struct arena *a, struct str image,
					     CRI(PodSandboxConfig) * sandbox_config,
					     CRI(AuthConfig) * auth, struct str *ret_ref);

/* building messages: everything in the arena */
/* NUL-terminated copy. */
char *cri_z(struct arena *a, struct str s);
/* A new pair array from n pairs set one by one. */
struct cri_pairs {
	CRI(StringPair) * *v;
	size_t n;
	/* private */
	size_t cap;
};
void cri_pair_add(struct arena *a, struct cri_pairs *p, struct str key, struct str value);
struct str cri_pair_find(CRI(StringPair) *const *v, size_t n, const char *key);
CRI(Int64Value) * cri_int64(struct arena *a, int64_t v);
