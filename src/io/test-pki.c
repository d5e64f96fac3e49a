/* SPDX-License-Identifier: Apache-2.0 */
#include "io/pki.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "testkit/test.h"

static X509 *parse(struct str pem)
{
	BIO *b = BIO_new_mem_buf(pem.p, (int)pem.n);
	X509 *c = PEM_read_bio_X509(b, NULL, NULL, NULL);

	assert_non_null(c);
	BIO_free(b);
	return c;
}

static int verify(X509 *ca, X509 *cert, int purpose)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int ok;

	X509_STORE_add_cert(store, ca);
	X509_STORE_CTX_init(ctx, store, cert, NULL);
	X509_STORE_CTX_set_purpose(ctx, purpose);
	ok = X509_verify_cert(ctx);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return ok;
}

TEST(issued_certificates_verify)
{
	static const struct str orgs[] = { STR_INIT("system:masters"), STR_INIT("b,c=d") };
	static const struct str dns[] = { STR_INIT("localhost"), STR_INIT("a,b") };
	static const struct str ips[] = { STR_INIT("127.0.0.1"), STR_INIT("fd00::1") };
	_cleanup_arena_ struct arena *a = arena_new();
	const struct pki_cert_opts opts = {
		.common_name = STR("admin"),
		.orgs = orgs,
		.n_orgs = 2,
		.dns_names = dns,
		.n_dns_names = 2,
		.ips = ips,
		.n_ips = 2,
		.server = true,
		.days = 2,
	};
	struct pki_pair ca, pair;
	X509 *ca_cert, *cert;
	int64_t left;

	assert_no_err(pki_make_ca(a, STR("test-ca"), 0, &ca));
	assert_no_err(pki_issue(a, &ca, &opts, &pair));
	ca_cert = parse(ca.cert_pem);
	cert = parse(pair.cert_pem);
	assert_int_equal(verify(ca_cert, cert, X509_PURPOSE_SSL_SERVER), 1);
	assert_int_equal(verify(ca_cert, cert, X509_PURPOSE_SSL_CLIENT), 0);
	assert_int_equal(X509_check_host(cert, "localhost", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(cert, "b", 0, 0, NULL), 0);
	assert_int_equal(X509_check_ip_asc(cert, "127.0.0.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(cert, "fd00::1", 0), 1);
	assert_int_equal(X509_check_ip_asc(cert, "127.0.0.2", 0), 0);
	assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(cert)), 3);
	assert_no_err(pki_seconds_left(pair.cert_pem, &left));
	assert_true(left > 2 * 86400 - 100 && left <= 2 * 86400);
	X509_free(ca_cert);
	X509_free(cert);
}

TEST(bad_input_is_an_error)
{
	_cleanup_arena_ struct arena *a = arena_new();
	static const struct str ips[] = { STR_INIT("300.1.2.3") };
	const struct pki_cert_opts opts = { .common_name = STR("x"), .ips = ips, .n_ips = 1 };
	struct pki_pair ca = { STR("nonsense"), STR("nonsense") }, pair;
	int64_t left;

	assert_err(pki_issue(a, &ca, &opts, &pair), ERR_INTERNAL);
	assert_err(pki_seconds_left(STR(""), &left), ERR_INTERNAL);
	assert_no_err(pki_make_ca(a, STR("ca"), 1, &ca));
	assert_err(pki_issue(a, &ca, &opts, &pair), ERR_INTERNAL);
}

TEST(keys)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str priv, pub;

	assert_no_err(pki_make_key(a, &priv, &pub));
	assert_true(str_has_prefix(priv, STR("-----BEGIN PRIVATE KEY-----")));
	assert_true(str_has_prefix(pub, STR("-----BEGIN PUBLIC KEY-----")));
}

TEST_MAIN(T(issued_certificates_verify), T(bad_input_is_an_error), T(keys))
