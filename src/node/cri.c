/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Each call is a request struct on the fiber's stack and grpc_unary(). Limits: two minutes for what
 * makes or stops things (as upstream's runtimeRequestTimeout), a pull may take as long as its
 * fiber.
 */

#include "node/cri.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/grpc.h"

#define CRI_TIMEOUT_MS (120 * 1000)
#define RUNTIME(m)     "/runtime.v1.RuntimeService/" m
#define IMAGES(m)      "/runtime.v1.ImageService/" m

struct cri {
	struct grpc_client *grpc;
};

struct cri *cri_new(struct str socket)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct cri *c = mem_new(struct cri);

	if (str_strip_prefix(&socket, STR("unix:")))
		while (str_has_prefix(socket, STR("//")))
			socket = str_skip(socket, 1);
	c->grpc = grpc_client_new(arena_fmt(a, "unix:%.*s", STR_ARG(socket)));
	return c;
}

struct cri *cri_free(struct cri *c)
{
	if (!c)
		return NULL;
	grpc_client_free(c->grpc);
	free(c);
	return NULL;
}

static struct err *cri_call_ms(struct cri *c, struct arena *a, int64_t ms, const char *method,
			       const ProtobufCMessage *req, const ProtobufCMessageDescriptor *type,
			       void *ret)
{
	struct mono old = fiber_limit_ms(ms);
	struct err *e = grpc_unary(c->grpc, a, method, req, type, ret);

	fiber_restore_deadline(old);
	return e;
}

static struct err *cri_call(struct cri *c, struct arena *a, const char *method,
			    const ProtobufCMessage *req, const ProtobufCMessageDescriptor *type,
			    void *ret)
{
	return cri_call_ms(c, a, CRI_TIMEOUT_MS, method, req, type, ret);
}

/* For calls whose purpose is that something is gone. */
static struct err *cri_gone_ok(struct err *e)
{
	if (e && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "already gone");
		return NULL;
	}
	return e;
}

char *cri_z(struct arena *a, struct str s)
{
	return arena_strz(a, s);
}

void cri_pair_add(struct arena *a, struct cri_pairs *p, struct str key, struct str value)
{
	CRI(StringPair) *pair = arena_new_obj(a, CRI(StringPair));

	if (p->n == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 8;
		CRI(StringPair) **v = arena_array(a, cap, sizeof(CRI(StringPair) *));

		if (p->n)
			memcpy(v, p->v, p->n * sizeof(CRI(StringPair) *));
		p->v = v;
		p->cap = cap;
	}
	runtime__v1__string_pair__init(pair);
	pair->key = cri_z(a, key);
	pair->value = cri_z(a, value);
	p->v[p->n++] = pair;
}

struct str cri_pair_find(CRI(StringPair) *const *v, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(v[i]->key, key) == 0)
			return str_from(v[i]->value);
	return (struct str){ NULL, 0 };
}

CRI(Int64Value) * cri_int64(struct arena *a, int64_t v)
{
	CRI(Int64Value) *m = arena_new_obj(a, CRI(Int64Value));

	runtime__v1__int64_value__init(m);
	m->value = v;
	return m;
}

struct err *cri_version(struct cri *c, struct arena *a, const CRI(VersionResponse) * *ret)
{
	CRI(VersionRequest) req;

	runtime__v1__version_request__init(&req);
	return cri_call_ms(c, a, 10 * 1000, RUNTIME("Version"), &req.base,
			   &runtime__v1__version_response__descriptor, ret);
}

struct err *cri_status(struct cri *c, struct arena *a, const CRI(StatusResponse) * *ret)
{
	CRI(StatusRequest) req;

	runtime__v1__status_request__init(&req);
	return cri_call_ms(c, a, 10 * 1000, RUNTIME("Status"), &req.base,
			   &runtime__v1__status_response__descriptor, ret);
}

/* sandboxes */

struct err *cri_run_sandbox(struct cri *c, struct arena *a, CRI(PodSandboxConfig) * config,
			    struct str *ret_id)
{
	CRI(RunPodSandboxRequest) req;
	CRI(RunPodSandboxResponse) * resp;

	runtime__v1__run_pod_sandbox_request__init(&req);
	req.config = config;
	TRY(cri_call(c, a, RUNTIME("RunPodSandbox"), &req.base,
		     &runtime__v1__run_pod_sandbox_response__descriptor, &resp));
	*ret_id = str_from(resp->pod_sandbox_id);
	return NULL;
}

struct err *cri_stop_sandbox(struct cri *c, struct arena *a, struct str id)
{
	CRI(StopPodSandboxRequest) req;
	CRI(StopPodSandboxResponse) * resp;

	runtime__v1__stop_pod_sandbox_request__init(&req);
	req.pod_sandbox_id = cri_z(a, id);
	return cri_gone_ok(cri_call(c, a, RUNTIME("StopPodSandbox"), &req.base,
				    &runtime__v1__stop_pod_sandbox_response__descriptor, &resp));
}

struct err *cri_remove_sandbox(struct cri *c, struct arena *a, struct str id)
{
	CRI(RemovePodSandboxRequest) req;
	CRI(RemovePodSandboxResponse) * resp;

	runtime__v1__remove_pod_sandbox_request__init(&req);
	req.pod_sandbox_id = cri_z(a, id);
	return cri_gone_ok(cri_call(c, a, RUNTIME("RemovePodSandbox"), &req.base,
				    &runtime__v1__remove_pod_sandbox_response__descriptor, &resp));
}

struct err *cri_sandbox_status(struct cri *c, struct arena *a, struct str id,
			       const CRI(PodSandboxStatus) * *ret)
{
	CRI(PodSandboxStatusRequest) req;
	CRI(PodSandboxStatusResponse) * resp;

	runtime__v1__pod_sandbox_status_request__init(&req);
	req.pod_sandbox_id = cri_z(a, id);
	TRY(cri_call(c, a, RUNTIME("PodSandboxStatus"), &req.base,
		     &runtime__v1__pod_sandbox_status_response__descriptor, &resp));
	if (!resp->status)
		return err_new(ERR_PROTOCOL, "runtime: sandbox status is empty");
	*ret = resp->status;
	return NULL;
}

static void cri_uid_selector(struct arena *a, struct str uid, CRI(StringPair) * **ret,
			     size_t *ret_n)
{
	struct cri_pairs p = { 0 };

	if (uid.n)
		cri_pair_add(a, &p, STR("io.kubernetes.pod.uid"), uid);
	*ret = p.v;
	*ret_n = p.n;
}

struct err *cri_list_sandboxes(struct cri *c, struct arena *a, struct str pod_uid,
			       const CRI(ListPodSandboxResponse) * *ret)
{
	CRI(ListPodSandboxRequest) req;
	CRI(PodSandboxFilter) filter;

	runtime__v1__list_pod_sandbox_request__init(&req);
	runtime__v1__pod_sandbox_filter__init(&filter);
	cri_uid_selector(a, pod_uid, &filter.label_selector, &filter.n_label_selector);
	req.filter = &filter;
	return cri_call(c, a, RUNTIME("ListPodSandbox"), &req.base,
			&runtime__v1__list_pod_sandbox_response__descriptor, ret);
}

/* containers */

struct err *cri_create_container(struct cri *c, struct arena *a, struct str sandbox,
				 CRI(ContainerConfig) * config,
				 CRI(PodSandboxConfig) * sandbox_config, struct str *ret_id)
{
	CRI(CreateContainerRequest) req;
	CRI(CreateContainerResponse) * resp;

	runtime__v1__create_container_request__init(&req);
	req.pod_sandbox_id = cri_z(a, sandbox);
	req.config = config;
	req.sandbox_config = sandbox_config;
	TRY(cri_call(c, a, RUNTIME("CreateContainer"), &req.base,
		     &runtime__v1__create_container_response__descriptor, &resp));
	*ret_id = str_from(resp->container_id);
	return NULL;
}

struct err *cri_start_container(struct cri *c, struct arena *a, struct str id)
{
	CRI(StartContainerRequest) req;
	CRI(StartContainerResponse) * resp;

	runtime__v1__start_container_request__init(&req);
	req.container_id = cri_z(a, id);
	return cri_call(c, a, RUNTIME("StartContainer"), &req.base,
			&runtime__v1__start_container_response__descriptor, &resp);
}

struct err *cri_stop_container(struct cri *c, struct arena *a, struct str id, int64_t timeout_s)
{
	CRI(StopContainerRequest) req;
	CRI(StopContainerResponse) * resp;

	runtime__v1__stop_container_request__init(&req);
	req.container_id = cri_z(a, id);
	req.timeout = timeout_s;
	return cri_gone_ok(cri_call_ms(c, a, timeout_s * 1000 + CRI_TIMEOUT_MS,
				       RUNTIME("StopContainer"), &req.base,
				       &runtime__v1__stop_container_response__descriptor, &resp));
}

struct err *cri_remove_container(struct cri *c, struct arena *a, struct str id)
{
	CRI(RemoveContainerRequest) req;
	CRI(RemoveContainerResponse) * resp;

	runtime__v1__remove_container_request__init(&req);
	req.container_id = cri_z(a, id);
	return cri_gone_ok(cri_call(c, a, RUNTIME("RemoveContainer"), &req.base,
				    &runtime__v1__remove_container_response__descriptor, &resp));
}

struct err *cri_list_containers(struct cri *c, struct arena *a, struct str pod_uid,
				const CRI(ListContainersResponse) * *ret)
{
	CRI(ListContainersRequest) req;
	CRI(ContainerFilter) filter;

	runtime__v1__list_containers_request__init(&req);
	runtime__v1__container_filter__init(&filter);
	cri_uid_selector(a, pod_uid, &filter.label_selector, &filter.n_label_selector);
	req.filter = &filter;
	return cri_call(c, a, RUNTIME("ListContainers"), &req.base,
			&runtime__v1__list_containers_response__descriptor, ret);
}

struct err *cri_container_status(struct cri *c, struct arena *a, struct str id,
				 const CRI(ContainerStatus) * *ret)
{
	CRI(ContainerStatusRequest) req;
	CRI(ContainerStatusResponse) * resp;

	runtime__v1__container_status_request__init(&req);
	req.container_id = cri_z(a, id);
	TRY(cri_call(c, a, RUNTIME("ContainerStatus"), &req.base,
		     &runtime__v1__container_status_response__descriptor, &resp));
	if (!resp->status)
		return err_new(ERR_PROTOCOL, "runtime: container status is empty");
	*ret = resp->status;
	return NULL;
}

struct err *cri_reopen_log(struct cri *c, struct arena *a, struct str id)
{
	CRI(ReopenContainerLogRequest) req;
	CRI(ReopenContainerLogResponse) * resp;

	runtime__v1__reopen_container_log_request__init(&req);
	req.container_id = cri_z(a, id);
	return cri_call(c, a, RUNTIME("ReopenContainerLog"), &req.base,
			&runtime__v1__reopen_container_log_response__descriptor, &resp);
}

struct err *cri_container_stats(struct cri *c, struct arena *a,
				const CRI(ListContainerStatsResponse) * *ret)
{
	CRI(ListContainerStatsRequest) req;

	runtime__v1__list_container_stats_request__init(&req);
	return cri_call(c, a, RUNTIME("ListContainerStats"), &req.base,
			&runtime__v1__list_container_stats_response__descriptor, ret);
}

/* running things in containers */

static char **cri_argv(struct arena *a, const struct str *argv, size_t n)
{
	char **v = arena_array(a, n + 1, sizeof(char *));

	for (size_t i = 0; i < n; i++)
		v[i] = cri_z(a, argv[i]);
	return v;
}

struct err *cri_exec_sync(struct cri *c, struct arena *a, struct str id, const struct str *argv,
			  size_t n, int64_t timeout_s, struct cri_exec_result *ret)
{
	CRI(ExecSyncRequest) req;
	CRI(ExecSyncResponse) * resp;

	runtime__v1__exec_sync_request__init(&req);
	req.container_id = cri_z(a, id);
	req.cmd = cri_argv(a, argv, n);
	req.n_cmd = n;
	req.timeout = timeout_s;
	TRY(cri_call_ms(c, a, timeout_s ? timeout_s * 1000 + 5000 : CRI_TIMEOUT_MS,
			RUNTIME("ExecSync"), &req.base,
			&runtime__v1__exec_sync_response__descriptor, &resp));
	ret->out = str_make((const char *)resp->stdout_data.data, resp->stdout_data.len);
	ret->err = str_make((const char *)resp->stderr_data.data, resp->stderr_data.len);
	ret->exit_code = resp->exit_code;
	return NULL;
}

struct err *cri_exec_url(struct cri *c, struct arena *a, const struct cri_stream_opts *o,
			 struct str *ret)
{
	CRI(ExecRequest) req;
	CRI(ExecResponse) * resp;

	runtime__v1__exec_request__init(&req);
	req.container_id = cri_z(a, o->container);
	req.cmd = cri_argv(a, o->argv, o->n_argv);
	req.n_cmd = o->n_argv;
	req.tty = o->tty;
	req.in = o->in;
	req.out = o->out;
	req.err = o->err;
	TRY(cri_call(c, a, RUNTIME("Exec"), &req.base, &runtime__v1__exec_response__descriptor,
		     &resp));
	*ret = str_from(resp->url);
	return NULL;
}

struct err *cri_attach_url(struct cri *c, struct arena *a, const struct cri_stream_opts *o,
			   struct str *ret)
{
	CRI(AttachRequest) req;
	CRI(AttachResponse) * resp;

	runtime__v1__attach_request__init(&req);
	req.container_id = cri_z(a, o->container);
	req.tty = o->tty;
	req.in = o->in;
	req.out = o->out;
	req.err = o->err;
	TRY(cri_call(c, a, RUNTIME("Attach"), &req.base, &runtime__v1__attach_response__descriptor,
		     &resp));
	*ret = str_from(resp->url);
	return NULL;
}

struct err *cri_port_forward_url(struct cri *c, struct arena *a, struct str sandbox, int32_t *ports,
				 size_t n_ports, struct str *ret)
{
	CRI(PortForwardRequest) req;
	CRI(PortForwardResponse) * resp;

	runtime__v1__port_forward_request__init(&req);
	req.pod_sandbox_id = cri_z(a, sandbox);
	req.port = ports;
	req.n_port = n_ports;
	TRY(cri_call(c, a, RUNTIME("PortForward"), &req.base,
		     &runtime__v1__port_forward_response__descriptor, &resp));
	*ret = str_from(resp->url);
	return NULL;
}

/* images */

struct err *cri_image_status(struct cri *c, struct arena *a, struct str image,
			     const CRI(Image) * *ret)
{
	CRI(ImageStatusRequest) req;
	CRI(ImageSpec) spec;
	CRI(ImageStatusResponse) * resp;

	runtime__v1__image_status_request__init(&req);
	runtime__v1__image_spec__init(&spec);
	spec.image = cri_z(a, image);
	req.image = &spec;
	TRY(cri_call(c, a, IMAGES("ImageStatus"), &req.base,
		     &runtime__v1__image_status_response__descriptor, &resp));
	*ret = resp->image;
	return NULL;
}

struct err *cri_image_info(struct cri *c, struct arena *a, struct str image, struct str *ret)
{
	CRI(ImageStatusRequest) req;
	CRI(ImageSpec) spec;
	CRI(ImageStatusResponse) * resp;

	runtime__v1__image_status_request__init(&req);
	runtime__v1__image_spec__init(&spec);
	spec.image = cri_z(a, image);
	req.image = &spec;
	req.verbose = true;
	TRY(cri_call(c, a, IMAGES("ImageStatus"), &req.base,
		     &runtime__v1__image_status_response__descriptor, &resp));
	*ret = cri_pair_find(resp->info, resp->n_info, "info");
	if (!resp->image || !ret->n)
		return err_new(ERR_NOT_FOUND, "image '%.*s' is not there", STR_ARG(image));
	return NULL;
}

struct err *cri_list_images(struct cri *c, struct arena *a, const CRI(ListImagesResponse) * *ret)
{
	CRI(ListImagesRequest) req;

	runtime__v1__list_images_request__init(&req);
	return cri_call(c, a, IMAGES("ListImages"), &req.base,
			&runtime__v1__list_images_response__descriptor, ret);
}

struct err *cri_pull_image(struct cri *c, struct arena *a, struct str image,
			   CRI(PodSandboxConfig) * sandbox_config, CRI(AuthConfig) * auth,
			   struct str *ret_ref)
{
	CRI(PullImageRequest) req;
	CRI(ImageSpec) spec;
	CRI(PullImageResponse) * resp;

	runtime__v1__pull_image_request__init(&req);
	runtime__v1__image_spec__init(&spec);
	spec.image = cri_z(a, image);
	req.image = &spec;
	req.auth = auth;
	req.sandbox_config = sandbox_config;
	TRY(grpc_unary(c->grpc, a, IMAGES("PullImage"), &req.base,
		       &runtime__v1__pull_image_response__descriptor, &resp));
	*ret_ref = str_from(resp->image_ref);
	return NULL;
}
