/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtualization components: host processes with the ServiceAccounts upstream gives them. The
 * supervisor makes the accounts, and keeps a token for each in a file only its process can read.
 */
#include <errno.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "client/rest.h"
#include "cmd/up.h"
#include "io/fiber.h"
#include "io/file.h"
#include "json/json.h"
#include "json/yaml.h"

#define TOKEN_SECONDS  3600
#define TOKEN_RENEW_MS (TOKEN_SECONDS * 800) /* 80% of its life */

static const struct gvr gvr_namespaces = GVR("", "v1", "namespaces");
static const struct gvr gvr_accounts = GVR("", "v1", "serviceaccounts");
static const struct gvr gvr_crbs = GVR("rbac.authorization.k8s.io", "v1", "clusterrolebindings");

static const struct virt_component {
	const char *name;    /* the subcommand */
	const char *account; /* its ServiceAccount, as upstream names it */
	uid_t uid;
} virt_components[] = {
	{ "virt-operator", "kubevirt-operator", UP_UID_VIRT_OPERATOR },
	{ "virt-api", "kubevirt-apiserver", UP_UID_VIRT_API },
	{ "virt-controller", "kubevirt-controller", UP_UID_VIRT_CONTROLLER },
	{ "virt-handler", "kubevirt-handler", UP_UID_ROOT },
};

/* virt-operator hands out roles, so it holds all of them (upstream's operator role is as wide). */
static const char operator_binding[] =
	"apiVersion: rbac.authorization.k8s.io/v1\n"
	"kind: ClusterRoleBinding\n"
	"metadata: {name: kubevirt-operator}\n"
	"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\n"
	"subjects: [{kind: ServiceAccount, name: kubevirt-operator, namespace: kubevirt}]\n";

static struct err *virt_create(struct up *u, struct arena *a, struct gvr r, struct str ns,
			       struct str yaml)
{
	struct json *obj;
	struct err *e;

	TRY(yaml_parse(a, yaml, &obj));
	e = client_create(u->admin, a, r, ns, obj, NULL);
	if (err_is(e, ERR_ALREADY_EXISTS)) {
		err_ignore(e, "made by an earlier run");
		return NULL;
	}
	return e;
}

static struct err *virt_make_accounts(struct up *u, struct arena *a)
{
	TRY(virt_create(
		u, a, gvr_namespaces, STR_EMPTY,
		STR("apiVersion: v1\nkind: Namespace\nmetadata: {name: " UP_VIRT_NS "}\n")));
	for (size_t i = 0; i < ARRAY_LEN(virt_components); i++)
		TRY(virt_create(u, a, gvr_accounts, STR(UP_VIRT_NS),
				arena_fmt(a,
					  "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: "
					  "%s, labels: {kubevirt.io: \"\"}}\n",
					  virt_components[i].account)));
	return virt_create(u, a, gvr_crbs, STR_EMPTY, str_from(operator_binding));
}

static struct err *virt_write_token(struct up *u, struct arena *a, const struct virt_component *vc)
{
	const char *path = up_run_path(u, arena_fmt(a, "%s.token", vc->name).p);
	struct json *req, *resp;
	struct str token;

	TRY(yaml_parse(a,
		       arena_fmt(a,
				 "apiVersion: authentication.k8s.io/v1\nkind: TokenRequest\n"
				 "spec: {expirationSeconds: %d}\n",
				 TOKEN_SECONDS),
		       &req));
	TRY(err_wrap(client_create_sub(u->admin, a, gvr_accounts, STR(UP_VIRT_NS),
				       str_from(vc->account), "token", req, &resp),
		     "token of %s", vc->account));
	token = json_str_at(resp, "status.token");
	if (!token.n)
		return err_new(ERR_PROTOCOL, "token of %s: the answer has none", vc->account);
	TRY(file_write_atomic(path, token, 0400));
	if (u->root && vc->uid && chown(path, vc->uid, vc->uid))
		return err_errno(errno, "chown '%s'", path);
	return NULL;
}

static struct err *virt_write_tokens(struct up *u, struct arena *a)
{
	for (size_t i = 0; i < ARRAY_LEN(virt_components); i++)
		if (!up_is_without(u, virt_components[i].name))
			TRY(virt_write_token(u, a, &virt_components[i]));
	return NULL;
}

static struct err *virt_write_kubeconfigs(struct up *u)
{
	for (size_t i = 0; i < ARRAY_LEN(virt_components); i++) {
		const struct virt_component *vc = &virt_components[i];
		const char *token = up_run_path(u, arena_fmt(u->a, "%s.token", vc->name).p);

		TRY(up_write_kubeconfig(u, vc->name, u->node_api_url, str_from(vc->account),
					STR_EMPTY, token, vc->uid));
	}
	return NULL;
}

static void virt_start_all(struct up *u)
{
	const char *ip = u->inst.node_ip.p;
	const char *api = arena_fmt(u->a, "%s:%d", ip, UP_VIRT_API_PORT).p;
	const char *handler = arena_fmt(u->a, "%s:%d", ip, UP_VIRT_HANDLER_PORT).p;

	up_start(u, "virt-operator", UP_UID_VIRT_OPERATOR,
		 (const char *const[]){ "--kubeconfig", up_run_path(u, "virt-operator.kubeconfig"),
					"--namespace", UP_VIRT_NS, "--virt-api-address", api,
					u->emulate ? "--use-emulation" : NULL, NULL });
	up_start(u, "virt-api", UP_UID_VIRT_API,
		 (const char *const[]){ "--kubeconfig", up_run_path(u, "virt-api.kubeconfig"),
					"--namespace", UP_VIRT_NS, "--address", api, NULL });
	up_start(u, "virt-controller", UP_UID_VIRT_CONTROLLER,
		 (const char *const[]){ "--kubeconfig",
					up_run_path(u, "virt-controller.kubeconfig"), "--namespace",
					UP_VIRT_NS, NULL });
	up_start(u, "virt-handler", UP_UID_ROOT,
		 (const char *const[]){
			 "--kubeconfig", up_run_path(u, "virt-handler.kubeconfig"), "--namespace",
			 UP_VIRT_NS, "--node-name", arena_strz(u->a, u->node_name), "--node-ip", ip,
			 "--kubelet-root", u->inst.kubelet_root, "--address", handler, NULL });
}

/* Accounts and first tokens; tried again until it works, since everything else goes on meanwhile.
 */
static struct err *virt_prepare(struct up *u)
{
	int64_t pause_ms = 50;

	TRY(virt_write_kubeconfigs(u));
	for (;;) {
		struct arena *a = arena_new();
		struct err *e = virt_make_accounts(u, a);

		if (!e)
			e = virt_write_tokens(u, a);
		arena_free(a);
		if (!e)
			return NULL;
		err_log(NULL, LOG_WARN, "virtualization accounts: trying again", e);
		TRY(fiber_sleep_ms(pause_ms));
		pause_ms = MIN(pause_ms * 2, (int64_t)5000);
	}
}

struct err *up_virt(struct up *u)
{
	TRY(virt_prepare(u));
	virt_start_all(u);
	for (;;) {
		struct arena *a;
		struct err *e;

		TRY(fiber_sleep_ms(TOKEN_RENEW_MS));
		a = arena_new();
		e = virt_write_tokens(u, a);
		arena_free(a);
		err_log(NULL, LOG_ERROR, "virtualization tokens not renewed", e);
	}
}
