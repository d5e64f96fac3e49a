/* SPDX-License-Identifier: Apache-2.0 */
#include "server/csr-signer.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/pki-request.h"
#include "server/csr-validate.h"
#include "server/mirror.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"

#define REQUESTS     "certificatesigningrequests.certificates.k8s.io"
#define DEFAULT_LIFE (365 * 24 * 3600)
#define MIN_LIFE     600
#define BACKDATE     300
#define SHORT_LIFE   (8 * 3600)
#define CLEAN_MS     (3600 * 1000)
#define DONE_LIFE    3600        /* how long requests stay that are issued, denied or failed */
#define WAITING_LIFE (24 * 3600) /* and those that wait */

struct csr_signer {
	struct apiserver *server;
	struct mirror requests;
	struct map pending; /* names to look at */
	struct waitq changed;
};

/* who may have what; NULL: fine */
static bool orgs_are_nodes(const struct pki_request *r)
{
	return r->n_orgs == 1 && str_eqz(r->orgs[0], "system:nodes");
}

/* Exactly those, of which key encipherment is optional. */
static bool usages_are(const struct json *usages, const char *auth)
{
	bool sign = false, wanted = false;

	json_for_each(it, usages)
	{
		struct str u = json_as_str(it.val);

		if (str_eqz(u, "digital signature"))
			sign = true;
		else if (str_eqz(u, auth))
			wanted = true;
		else if (!str_eqz(u, "key encipherment"))
			return false;
	}
	return sign && wanted;
}

static const char *kubelet_client_problem(struct arena *a UNUSED, const struct pki_request *r,
					  const struct json *usages)
{
	if (!orgs_are_nodes(r))
		return "subject organization is not system:nodes";
	if (r->dns_names)
		return "DNS subjectAltNames are not allowed";
	if (r->emails)
		return "Email subjectAltNames are not allowed";
	if (r->ips)
		return "IP subjectAltNames are not allowed";
	if (r->uris)
		return "URI subjectAltNames are not allowed";
	if (!str_has_prefix(r->common_name, STR("system:node:")))
		return "subject common name does not begin with system:node:";
	if (!usages_are(usages, "client auth"))
		return "usages did not match [client auth digital signature key encipherment]";
	return NULL;
}

static const char *kubelet_serving_problem(struct arena *a UNUSED, const struct pki_request *r,
					   const struct json *usages)
{
	if (!orgs_are_nodes(r))
		return "subject organization is not system:nodes";
	if (!r->dns_names && !r->ips)
		return "DNS or IP subjectAltName is required";
	if (r->emails)
		return "Email subjectAltNames are not allowed";
	if (r->uris)
		return "URI subjectAltNames are not allowed";
	if (!usages_are(usages, "server auth"))
		return "usages did not match [digital signature key encipherment server auth]";
	if (!str_has_prefix(r->common_name, STR("system:node:")))
		return "subject common name does not begin with system:node:";
	return NULL;
}

static const char *api_client_problem(struct arena *a, const struct pki_request *r UNUSED,
				      const struct json *usages)
{
	bool client = false;

	json_for_each(it, usages)
	{
		struct str u = json_as_str(it.val);

		if (str_eqz(u, "client auth"))
			client = true;
		else if (!str_eqz(u, "digital signature") && !str_eqz(u, "key encipherment"))
			return arena_fmt(a, "invalid usage for client certificate: " STR_FMT,
					 STR_ARG(u))
				.p;
	}
	return client ? NULL : "missing required usage for client certificate: client auth";
}

static const struct signer_row {
	const char *name;
	const char *(*problem)(struct arena *a, const struct pki_request *r,
			       const struct json *usages);
} signers[] = {
	{ "kubernetes.io/kube-apiserver-client", api_client_problem },
	{ "kubernetes.io/kube-apiserver-client-kubelet", kubelet_client_problem },
	{ "kubernetes.io/kubelet-serving", kubelet_serving_problem },
};

static const struct signer_row *signer_find(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(signers); i++) {
		if (str_eqz(name, signers[i].name))
			return &signers[i];
	}
	return NULL;
}

/* approving */
static struct str *csr_strs(struct arena *a, const struct json *arr, size_t *ret_n)
{
	struct str *v = arena_array(a, json_len(arr) + 1, sizeof(*v));

	*ret_n = 0;
	json_for_each(it, arr) v[(*ret_n)++] = json_as_str(it.val);
	return v;
}

static void csr_user(struct arena *a, const struct json *spec, struct user_info *u)
{
	const struct json *extra = json_get(spec, "extra");
	struct user_extra *x = arena_array(a, json_len(extra) + 1, sizeof(*x));

	*u = (struct user_info){
		.name = json_str_at(spec, "username"),
		.uid = json_str_at(spec, "uid"),
		.extra = x,
	};
	u->groups = csr_strs(a, json_get(spec, "groups"), &u->n_groups);
	json_for_each(it, extra)
	{
		x[u->n_extra].key = it.key;
		x[u->n_extra].values = csr_strs(a, it.val, &x[u->n_extra].n_values);
		u->n_extra++;
	}
}

static bool csr_may(struct csr_signer *cs, struct arena *a, const struct json *csr,
		    const char *subresource)
{
	struct user_info user;
	struct authz_attrs at = {
		.user = &user,
		.verb = STR("create"),
		.is_resource = true,
		.group = STR("certificates.k8s.io"),
		.version = STR("*"),
		.resource = STR("certificatesigningrequests"),
		.sub = str_from(subresource),
	};

	csr_user(a, json_get(csr, "spec"), &user);
	return authz_allowed(cs->server->authz, a, &at, NULL);
}

static struct json *csr_condition(struct arena *a, const char *type, const char *reason,
				  const char *message)
{
	struct json *c = json_object(a);

	json_set_str(a, c, "type", str_from(type));
	json_set_str(a, c, "status", STR("True"));
	json_set_str(a, c, "reason", str_from(reason));
	json_set_str(a, c, "message", str_from(message));
	return c;
}

/* Nodes' requests for their client certificates. */
static struct err *csr_approve(struct csr_signer *cs, struct arena *a, struct json *csr)
{
	const struct json *spec = json_get(csr, "spec");
	const char *message = NULL;
	struct pki_request req;

	if (!str_eqz(json_str_at(spec, "signerName"),
		     "kubernetes.io/kube-apiserver-client-kubelet"))
		return NULL;
	TRY(csr_parse(a, csr, &req));
	if (kubelet_client_problem(a, &req, json_get(spec, "usages")))
		return NULL;
	if (str_eq(json_str_at(spec, "username"), req.common_name) &&
	    csr_may(cs, a, csr, "selfnodeclient"))
		message = "Auto approving self kubelet client certificate after "
			  "SubjectAccessReview.";
	else if (csr_may(cs, a, csr, "nodeclient"))
		message = "Auto approving kubelet client certificate after SubjectAccessReview.";
	if (!message)
		return NULL;
	json_push(json_sub_array(a, json_sub(a, csr, "status"), "conditions"),
		  csr_condition(a, "Approved", "AutoApproved", message));
	return local_update(cs->server, a, REQUESTS, "approval", csr, NULL);
}

/* signing */
static int64_t csr_life(const struct json *csr)
{
	int64_t asked = json_int_at(csr, "spec.expirationSeconds", DEFAULT_LIFE);

	return asked > DEFAULT_LIFE ? DEFAULT_LIFE : asked < MIN_LIFE ? MIN_LIFE : asked;
}

static struct err *csr_fail(struct csr_signer *cs, struct arena *a, struct json *csr,
			    const char *why)
{
	struct json *c = csr_condition(a, "Failed", "SignerValidationFailure", why);

	json_push(json_sub_array(a, json_sub(a, csr, "status"), "conditions"), c);
	return local_update(cs->server, a, REQUESTS, "status", csr, NULL);
}

static struct err *csr_sign(struct csr_signer *cs, struct arena *a, struct json *csr)
{
	const struct json *spec = json_get(csr, "spec");
	const struct signer_row *row = signer_find(json_str_at(spec, "signerName"));
	const struct pki_pair ca = { cs->server->pki.ca_cert, cs->server->pki.ca_key };
	struct pki_sign_opts opts = {
		.seconds = csr_life(csr),
		.backdate_seconds = BACKDATE,
		.short_seconds = SHORT_LIFE,
	};
	struct str pem = STR_EMPTY;
	struct pki_request req;
	const char *problem;

	if (!row)
		return NULL;
	TRY(csr_parse(a, csr, &req));
	problem = row->problem(a, &req, json_get(spec, "usages"));
	if (problem)
		return csr_fail(cs, a, csr, problem);
	opts.usages = csr_strs(a, json_get(spec, "usages"), &opts.n_usages);
	TRY(pki_request_sign(a, &ca, csr_bytes(a, csr, "spec.request"), &opts, &pem));
	json_set_str(a, json_sub(a, csr, "status"), "certificate", base64_encode(a, pem));
	return local_update(cs->server, a, REQUESTS, "status", csr, NULL);
}

static bool csr_is(const struct json *csr, const char *type)
{
	return condition_is_true(json_get(csr, "status"), type);
}

static struct err *csr_handle(struct csr_signer *cs, struct str name)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *csr = NULL;

	TRY(local_get_json(cs->server, a, REQUESTS, STR_EMPTY, name, &csr));
	if (!csr || !str_empty(json_str_at(csr, "status.certificate")) || meta_deleting(csr))
		return NULL;
	if (csr_is(csr, "Denied") || csr_is(csr, "Failed"))
		return NULL;
	return csr_is(csr, "Approved") ? csr_sign(cs, a, csr) : csr_approve(cs, a, csr);
}

static void csr_changed(struct mirror *m, const struct obj *old UNUSED, const struct obj *new)
{
	struct csr_signer *cs = m->ctx;

	if (!new)
		return;
	map_put(&cs->pending, new->name, cs);
	waitq_wake_all(&cs->changed);
}

static struct err *csr_run(void *arg)
{
	struct csr_signer *cs = arg;

	for (;;) {
		while (!cs->pending.n)
			TRY(waitq_wait(&cs->changed));
		while (cs->pending.n) {
			_cleanup_arena_ struct arena *a = arena_new();
			struct str name = arena_str(a, cs->pending.first->key);

			map_del(&cs->pending, name);
			err_log(NULL, LOG_WARN, "cannot handle a certificate request",
				err_wrap(csr_handle(cs, name), STR_FMT, STR_ARG(name)));
			TRY(fiber_check());
		}
	}
}

/* cleaning */
static bool older_than(struct str since, int64_t seconds)
{
	struct wall t;

	return wall_parse(since, &t) && wall_now().ns - t.ns > seconds * NS_PER_SEC;
}

static bool certificate_expired(struct arena *a, const struct json *csr)
{
	int64_t left = 0;
	struct err *e = pki_seconds_left(csr_bytes(a, csr, "status.certificate"), &left);

	err_ignore(e, "then its age decides");
	return left < 0;
}

static bool csr_is_old(struct arena *a, const struct json *csr)
{
	const struct json *conditions = json_at(csr, "status.conditions");
	bool issued = !str_empty(json_str_at(csr, "status.certificate"));

	if (!json_len(conditions))
		return older_than(json_str_at(csr, "metadata.creationTimestamp"), WAITING_LIFE);
	json_for_each(it, conditions)
	{
		struct str type = json_str_at(it.val, "type");
		struct str since = json_str_at(it.val, "lastUpdateTime");
		bool approved = str_eqz(type, "Approved");

		if ((str_eqz(type, "Denied") || str_eqz(type, "Failed") || (approved && issued)) &&
		    older_than(since, DONE_LIFE))
			return true;
		if (approved && issued && certificate_expired(a, csr))
			return true;
		if (approved && !issued && older_than(since, WAITING_LIFE))
			return true;
	}
	return false;
}

static struct err *csr_clean(struct csr_signer *cs)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str *names = arena_array(a, cs->requests.objs.n + 1, sizeof(*names));
	size_t n = 0;

	map_for_each(e, &cs->requests.objs) {
		const struct obj *o = e->val;

		if (csr_is_old(a, obj_tree(o)))
			names[n++] = arena_str(a, o->name);
	}
	for (size_t i = 0; i < n; i++)
		TRY(local_delete(cs->server, a, REQUESTS, STR_EMPTY, names[i]));
	return NULL;
}

static struct err *csr_clean_run(void *arg)
{
	for (;;) {
		err_log(NULL, LOG_WARN, "cannot remove old certificate requests", csr_clean(arg));
		TRY(fiber_sleep_ms(CLEAN_MS));
	}
}

struct err *csr_signer_start(struct apiserver *s)
{
	struct csr_signer *cs = mem_new(struct csr_signer);

	cs->server = s;
	waitq_init(&cs->changed);
	cs->requests.ctx = cs;
	cs->requests.changed = csr_changed;
	TRY(mirror_start(&cs->requests, s, REQUESTS));
	fiber_unref(fiber_spawn(s->loop, "csr-signer", csr_run, cs));
	fiber_unref(fiber_spawn(s->loop, "csr-cleaner", csr_clean_run, cs));
	return NULL;
}
