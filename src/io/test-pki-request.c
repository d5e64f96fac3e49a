/* SPDX-License-Identifier: Apache-2.0 */
#include "io/pki-request.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "testkit/test.h"

/* made with openssl req */
static const char plain[] = "-----BEGIN CERTIFICATE REQUEST-----\n"
			    "MIHmMIGNAgEAMCsxDTALBgNVBAoMBGRldnMxDDAKBgNVBAoMA29wczEMMAoGA1UE\n"
			    "AwwDemVkMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE42K7Pmt16psAQsMWAHHL\n"
			    "YAzHf2iDChJGeEZTlxvePDj2bbRSMHIW7XdJkHWWLAoQ8j3GWRtWpAo3DCtc7rVl\n"
			    "U6AAMAoGCCqGSM49BAMCA0gAMEUCIQDl2WVr8Pp/bAINkQIHjXYtNMo8+BDrbIS3\n"
			    "QV1lErYfqwIgES/rnw0aWqI4C6/ckMDRdjH3JdyPFhcuHIR0kGXNTeI=\n"
			    "-----END CERTIFICATE REQUEST-----\n";

/* subjectAltName=DNS:n1.example.com,IP:10.0.0.1,URI:http://x/,email:a@b.c */
static const char names[] = "-----BEGIN CERTIFICATE REQUEST-----\n"
			    "MIIBLzCB1gIBADAwMRUwEwYDVQQKDAxzeXN0ZW06bm9kZXMxFzAVBgNVBAMMDnN5\n"
			    "c3RlbTpub2RlOm4xMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEBo7haSDlexr/\n"
			    "1QdjHkME9/fLucoHXUDpik+xqc2DCz0r4Cj2UjDJ+1udrvZbeTzFs6YjTmY8H/+z\n"
			    "uVRnUD/b9qBEMEIGCSqGSIb3DQEJDjE1MDMwMQYDVR0RBCowKIIObjEuZXhhbXBs\n"
			    "ZS5jb22HBAoAAAGGCWh0dHA6Ly94L4EFYUBiLmMwCgYIKoZIzj0EAwIDSAAwRQIg\n"
			    "ON+ccs8NuQLIe1zfOlDaA61dhc1yeTMqd2sua5I7R+8CIQCjLjdIHGv9aFgtE2iE\n"
			    "e2pE351LRaE6Mlm0aNamevnIcQ==\n"
			    "-----END CERTIFICATE REQUEST-----\n";

static const char cert[] = "-----BEGIN CERTIFICATE-----\n"
			   "MIIBbDCCAROgAwIBAgIUb0x/33kJXU6HDQ9gSBHCBd8rd7owCgYIKoZIzj0EAwIw\n"
			   "DDEKMAgGA1UEAwwBYzAeFw0yNjExMjgwNzU3NDVaFw0yNjEyMjgwNzU3NDVaMAwx\n"
			   "CjAIBgNVBAMMAWMwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARkhMS96Zsjg85M\n"
			   "Asjcvzwg7NX3ddG1DQZRAoLq20Sqs9OHbx55dyOmzPzoOSEirr0WuJw78GtIo4+z\n"
			   "WoaAMHV6o1MwUTAdBgNVHQ4EFgQU6yzVba2L3EcJZtJ2/i0vfXOFJNMwHwYDVR0j\n"
			   "BBgwFoAU6yzVba2L3EcJZtJ2/i0vfXOFJNMwDwYDVR0TAQH/BAUwAwEB/zAKBggq\n"
			   "hkjOPQQDAgNHADBEAiA5HaFtCWvif2P9+k4IeYhdnkG4cxVq9anc7QTf+eWkYgIg\n"
			   "cLJ6hN4NWaxCVw6gbN1qguQVqeaXyvQzFkQBViVj6Zc=\n"
			   "-----END CERTIFICATE-----\n";

TEST(requests_are_read)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct pki_request r;

	assert_no_err(pki_request_parse(a, str_from(plain), &r));
	assert_str(r.common_name, "zed");
	assert_int_equal(r.n_orgs, 2);
	assert_str(r.orgs[0], "devs");
	assert_str(r.orgs[1], "ops");
	assert_false(r.dns_names || r.ips || r.emails || r.uris || r.rsa);
	assert_no_err(pki_request_parse(a, str_from(names), &r));
	assert_true(r.dns_names && r.ips && r.emails && r.uris);
}

static void assert_refused(const char *pem, const char *why)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct pki_request r;
	struct err *e = pki_request_parse(a, str_from(pem), &r);

	assert_non_null(e);
	assert_str(err_msg(e), why);
	err_free(e);
}

TEST(what_is_no_request)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char *bad = arena_strz(a, str_from(plain));
	char *sig = strstr(bad, "-----END") - 10;

	assert_refused("", "PEM block type must be CERTIFICATE REQUEST");
	assert_refused("abc", "PEM block type must be CERTIFICATE REQUEST");
	assert_refused(cert, "PEM block type must be CERTIFICATE REQUEST");
	*sig = *sig == 'A' ? 'B' : 'A';
	assert_refused(bad, "x509: ECDSA verification failure");
}

static X509 *signed_cert(struct arena *a, const char *pem, const struct pki_sign_opts *o)
{
	struct pki_pair ca;
	struct str text;
	BIO *b;
	X509 *c;

	assert_no_err(pki_make_ca(a, STR("test-ca"), 0, &ca));
	assert_no_err(pki_request_sign(a, &ca, str_from(pem), o, &text));
	assert_no_err(pki_check_certificates(text));
	b = BIO_new_mem_buf(text.p, (int)text.n);
	c = PEM_read_bio_X509(b, NULL, NULL, NULL);
	BIO_free(b);
	assert_non_null(c);
	return c;
}

TEST(requests_are_signed)
{
	static const struct str usages[] = { STR_INIT("digital signature"), STR_INIT("signing"),
					     STR_INIT("client auth") };
	_cleanup_arena_ struct arena *a = arena_new();
	const struct pki_sign_opts o = {
		.usages = usages,
		.n_usages = 3,
		.seconds = 3600,
		.backdate_seconds = 300,
		.short_seconds = 8 * 3600,
	};
	X509 *c = signed_cert(a, names, &o);
	int day, sec;

	assert_int_equal(X509_get_key_usage(c), KU_DIGITAL_SIGNATURE);
	assert_int_equal(X509_get_extended_key_usage(c), XKU_SSL_CLIENT);
	assert_int_equal(X509_check_ca(c), 0);
	assert_int_equal(X509_check_host(c, "n1.example.com", 0, 0, NULL), 1);
	assert_int_equal(X509_check_ip_asc(c, "10.0.0.1", 0), 1);
	assert_true(ASN1_TIME_diff(&day, &sec, X509_get0_notBefore(c), X509_get0_notAfter(c)));
	assert_int_equal(day * 86400 + sec, 3900);
	X509_free(c);
}

TEST(life_is_bounded_by_the_ca)
{
	static const struct str usages[] = { STR_INIT("client auth") };
	_cleanup_arena_ struct arena *a = arena_new();
	const struct pki_sign_opts o = { .usages = usages,
					 .n_usages = 1,
					 .seconds = INT64_C(40) * 365 * 86400 };
	X509 *c = signed_cert(a, plain, &o);
	int day, sec;

	assert_true(ASN1_TIME_diff(&day, &sec, NULL, X509_get0_notAfter(c)));
	assert_true(day < 11 * 365);
	X509_free(c);
}

TEST(bundles)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct err *e = pki_check_certificates(str_from(plain));

	assert_str(err_msg(e), "only CERTIFICATE PEM blocks are allowed, found "
			       "\"CERTIFICATE REQUEST\"");
	err_free(e);
	assert_no_err(pki_check_certificates(str_from(cert)));
	assert_no_err(pki_check_certificates(arena_cat(a, str_from(cert), str_from(cert))));
	assert_err(pki_check_certificates(STR("junk")), ERR_INVALID);
}

TEST_MAIN(T(requests_are_read), T(what_is_no_request), T(requests_are_signed),
	  T(life_is_bounded_by_the_ca), T(bundles))
