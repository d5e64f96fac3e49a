/* SPDX-License-Identifier: Apache-2.0 */

/* CertificateApproval and CertificateSigning: for whom somebody may approve and sign is a
 * permission of its own, on the signer. */

#include "base/arena.h"
#include "base/err.h"
#include "io/pki-request.h"
#include "server/builtin-admission.h"
#include "server/csr-validate.h"
#include "server/request.h"
#include "server/server.h"
#include "json/json.h"

#define API_CLIENT_SIGNER "kubernetes.io/kube-apiserver-client"
#define REQUESTS          "certificatesigningrequests.certificates.k8s.io"

/* By the signer's name, or by its domain and a star. */
static bool signer_allowed(const struct admission *ad, const char *verb, struct str signer)
{
	struct arena *a = ad->rq->arena;
	struct str domain = signer, reason;
	struct authz_attrs at = {
		.user = &ad->rq->user,
		.verb = str_from(verb),
		.is_resource = true,
		.group = STR("certificates.k8s.io"),
		.version = STR("*"),
		.resource = STR("signers"),
		.name = signer,
	};

	if (authz_allowed(ad->rq->server->authz, a, &at, &reason))
		return true;
	domain.n = str_find_char(signer, '/', 0);
	at.name = arena_cat(a, domain, STR("/*"));
	return authz_allowed(ad->rq->server->authz, a, &at, &reason);
}

static struct err *signer_check(const struct admission *ad, const char *verb)
{
	struct str signer = json_str_at(ad->old, "spec.signerName");

	if (signer_allowed(ad, verb, signer))
		return NULL;
	return admission_deny(ad,
			      "user not permitted to %s requests with signerName \"" STR_FMT "\"",
			      verb, STR_ARG(signer));
}

static bool approval_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	return ad->op == ADMISSION_UPDATE && str_eqz(ad->sub, "approval") &&
	       str_eqz(ad->res->store_name, REQUESTS);
}

static struct err *approval_validate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	return signer_check(ad, "approve");
}

struct admission_plugin csr_approval_plugin = {
	.name = "CertificateApproval",
	.wants = approval_wants,
	.validate = approval_validate,
};

static bool signing_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	return ad->op == ADMISSION_UPDATE && str_eqz(ad->sub, "status") &&
	       str_eqz(ad->res->store_name, REQUESTS);
}

static bool signing_differs(const struct admission *ad, const char *path)
{
	const struct json *x = json_at(ad->obj, path), *y = json_at(ad->old, path);

	return (json_len(x) || json_as_str(x).n || json_len(y) || json_as_str(y).n) &&
	       !json_equal(x, y);
}

static struct err *signing_validate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	if (!signing_differs(ad, "status.certificate") && !signing_differs(ad, "status.conditions"))
		return NULL;
	return signer_check(ad, "sign");
}

struct admission_plugin csr_signing_plugin = {
	.name = "CertificateSigning",
	.wants = signing_wants,
	.validate = signing_validate,
};

/* CertificateSubjectRestriction: nobody becomes an administrator by a request. */
static bool restriction_wants(struct admission_plugin *p UNUSED, const struct admission *ad)
{
	return ad->op == ADMISSION_CREATE && str_empty(ad->sub) &&
	       str_eqz(ad->res->store_name, REQUESTS);
}

static struct err *restriction_validate(struct admission_plugin *p UNUSED, struct admission *ad)
{
	struct pki_request req;
	struct err *e;

	if (!str_eqz(json_str_at(ad->obj, "spec.signerName"), API_CLIENT_SIGNER))
		return NULL;
	e = csr_parse(ad->rq->arena, ad->obj, &req);
	if (e) {
		struct err *denied =
			admission_deny(ad, "failed to parse CSR: " STR_FMT, STR_ARG(err_msg(e)));

		err_free(e);
		return denied;
	}
	for (size_t i = 0; i < req.n_orgs; i++) {
		if (str_eqz(req.orgs[i], "system:masters"))
			return admission_deny(ad, "use of " API_CLIENT_SIGNER
						  " signer with system:masters group is not "
						  "allowed");
	}
	return NULL;
}

struct admission_plugin csr_restriction_plugin = {
	.name = "CertificateSubjectRestriction",
	.wants = restriction_wants,
	.validate = restriction_validate,
};
