/* SPDX-License-Identifier: Apache-2.0 */
#include "api/cluster-pki.h"

#include <stdio.h>
#include <sys/stat.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/arena.h"
#include "base/err.h"
#include "io/file.h"

#define PKI_MAX_FILE   (64 * 1024)
#define PKI_CA_DAYS    3650
#define PKI_RENEW_LEFT (30 * 86400) /* seconds before its end that a certificate is renewed */

struct pki_dir {
	struct arena *a;
	const char *dir;
};

static const char *pki_path(const struct pki_dir *d, const char *name, const char *suffix)
{
	return arena_fmt(d->a, "%s/%s%s", d->dir, name, suffix).p;
}

/* The pair, or empty strings when either file is missing. */
static struct err *pki_load(const struct pki_dir *d, const char *name, struct pki_pair *ret)
{
	struct pki_pair pair;
	struct err *e = file_read(d->a, pki_path(d, name, ".crt"), PKI_MAX_FILE, &pair.cert_pem);

	if (!e)
		e = file_read(d->a, pki_path(d, name, ".key"), PKI_MAX_FILE, &pair.key_pem);
	if (err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "made below");
		*ret = (struct pki_pair){ 0 };
		return NULL;
	}
	TRY(e);
	*ret = pair;
	return NULL;
}

/* The key first: a certificate without its key would never be made again. */
static struct err *pki_store(const struct pki_dir *d, const char *name, const struct pki_pair *pair)
{
	TRY(file_write_atomic(pki_path(d, name, ".key"), pair->key_pem, 0600));
	return file_write_atomic(pki_path(d, name, ".crt"), pair->cert_pem, 0644);
}

static struct err *pki_ensure_ca(const struct pki_dir *d, const char *name, struct str common_name,
				 struct pki_pair *ret)
{
	TRY(pki_load(d, name, ret));
	if (ret->cert_pem.n)
		return NULL;
	TRY(pki_make_ca(d->a, common_name, PKI_CA_DAYS, ret));
	return pki_store(d, name, ret);
}

static X509 *pki_parse_cert(struct str pem)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	return cert;
}

/* Whether the certificate is good for every name and address asked for. */
static bool pki_covers(struct arena *a, struct str cert_pem, const struct pki_cert_opts *want)
{
	X509 *cert = pki_parse_cert(cert_pem);
	bool ok = cert != NULL;

	for (size_t i = 0; ok && i < want->n_ips; i++)
		ok = X509_check_ip_asc(cert, arena_strz(a, want->ips[i]), 0) == 1;
	for (size_t i = 0; ok && i < want->n_dns_names; i++)
		ok = X509_check_host(cert, want->dns_names[i].p, want->dns_names[i].n, 0, NULL) ==
		     1;
	X509_free(cert);
	return ok;
}

static struct err *pki_ensure_cert(const struct pki_dir *d, const char *name,
				   const struct pki_pair *ca, const struct pki_cert_opts *opts,
				   struct pki_pair *ret)
{
	int64_t left = 0;

	TRY(pki_load(d, name, ret));
	if (ret->cert_pem.n) {
		TRY(err_wrap(pki_seconds_left(ret->cert_pem, &left), "%s",
			     pki_path(d, name, ".crt")));
		if (left > PKI_RENEW_LEFT && pki_covers(d->a, ret->cert_pem, opts))
			return NULL;
	}
	TRY(pki_issue(d->a, ca, opts, ret));
	return pki_store(d, name, ret);
}

static struct err *pki_ensure_sa_key(const struct pki_dir *d, struct cluster_pki *ret)
{
	struct err *e =
		file_read(d->a, pki_path(d, "sa", ".key"), PKI_MAX_FILE, &ret->sa_private_pem);

	if (!e)
		return file_read(d->a, pki_path(d, "sa", ".pub"), PKI_MAX_FILE,
				 &ret->sa_public_pem);
	if (!err_is(e, ERR_NOT_FOUND))
		return e;
	err_ignore(e, "made now");
	TRY(pki_make_key(d->a, &ret->sa_private_pem, &ret->sa_public_pem));
	TRY(file_write_atomic(pki_path(d, "sa", ".pub"), ret->sa_public_pem, 0644));
	return file_write_atomic(pki_path(d, "sa", ".key"), ret->sa_private_pem, 0600);
}

static struct err *pki_ensure_server(const struct pki_dir *d, const struct cluster_pki_opts *opts,
				     struct cluster_pki *ret)
{
	static const struct str usual_dns[] = {
		STR_INIT("localhost"),
		STR_INIT("kubernetes"),
		STR_INIT("kubernetes.default"),
		STR_INIT("kubernetes.default.svc"),
		STR_INIT("kubernetes.default.svc.cluster.local"),
	};
	static const struct str usual_ips[] = { STR_INIT("127.0.0.1"), STR_INIT("::1") };
	struct str *dns = arena_array(d->a, ARRAY_LEN(usual_dns) + opts->n_dns_names, sizeof(*dns));
	struct str *ips = arena_array(d->a, ARRAY_LEN(usual_ips) + opts->n_ips, sizeof(*ips));
	struct pki_cert_opts cert = {
		.common_name = STR("kube-apiserver"), .server = true, .dns_names = dns, .ips = ips
	};

	for (size_t i = 0; i < ARRAY_LEN(usual_dns); i++)
		dns[cert.n_dns_names++] = usual_dns[i];
	for (size_t i = 0; i < opts->n_dns_names; i++)
		dns[cert.n_dns_names++] = opts->dns_names[i];
	for (size_t i = 0; i < ARRAY_LEN(usual_ips); i++)
		ips[cert.n_ips++] = usual_ips[i];
	for (size_t i = 0; i < opts->n_ips; i++)
		ips[cert.n_ips++] = opts->ips[i];
	return pki_ensure_cert(d, "server", &ret->ca, &cert, &ret->server);
}

struct err *cluster_pki_ensure(struct arena *a, const struct cluster_pki_opts *opts,
			       struct cluster_pki *ret)
{
	static const struct str masters[] = { STR_INIT("system:masters") };
	const struct pki_dir d = { .a = a, .dir = opts->dir };
	const struct pki_cert_opts kubelet_client = {
		.common_name = STR("kube-apiserver-kubelet-client"),
		.orgs = masters,
		.n_orgs = 1,
		.client = true,
	};
	const struct pki_cert_opts front_proxy = { .common_name = STR("front-proxy-client"),
						   .client = true };
	const struct pki_cert_opts admin = {
		.common_name = STR("kubernetes-admin"),
		.orgs = masters,
		.n_orgs = 1,
		.client = true,
	};
	struct cluster_pki pki = { 0 };

	TRY(file_mkdir_p(opts->dir, 0700));
	TRY(pki_ensure_ca(&d, "ca", STR("isoplane-ca"), &pki.ca));
	TRY(pki_ensure_ca(&d, "front-proxy-ca", STR("front-proxy-ca"), &pki.front_proxy_ca));
	TRY(pki_ensure_server(&d, opts, &pki));
	TRY(pki_ensure_cert(&d, "kubelet-client", &pki.ca, &kubelet_client, &pki.kubelet_client));
	TRY(pki_ensure_cert(&d, "front-proxy-client", &pki.front_proxy_ca, &front_proxy,
			    &pki.front_proxy_client));
	TRY(pki_ensure_cert(&d, "admin", &pki.ca, &admin, &pki.admin));
	TRY(pki_ensure_sa_key(&d, &pki));
	*ret = pki;
	return NULL;
}
