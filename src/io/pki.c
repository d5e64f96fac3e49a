/* SPDX-License-Identifier: Apache-2.0 */
#include "io/pki.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/rand.h"

/* Clocks of machines that just started may be behind. */
#define BACKDATE_SECONDS (5 * 60)
#define DEFAULT_DAYS     365

#define PKI_CLEANUP(type, fn)        \
	static void fn##p_(type **p) \
	{                            \
		fn(*p);              \
	}                            \
	struct pki_swallow_semicolon
PKI_CLEANUP(EVP_PKEY, EVP_PKEY_free);
PKI_CLEANUP(X509, X509_free);
PKI_CLEANUP(BIO, BIO_free_all);
#define _cleanup_pkey_ _cleanup_(EVP_PKEY_freep_)
#define _cleanup_x509_ _cleanup_(X509_freep_)
#define _cleanup_bio_  _cleanup_(BIO_free_allp_)

static struct err *pki_error(const char *what)
{
	char text[256] = "unknown error";
	unsigned long code = ERR_peek_last_error();

	if (code)
		ERR_error_string_n(code, text, sizeof(text));
	ERR_clear_error();
	return err_new(ERR_INTERNAL, "%s: %s", what, text);
}

/* PEM */

static struct str pki_bio_text(struct arena *a, BIO *b)
{
	char *p;
	long n = BIO_get_mem_data(b, &p);
	struct str s = str_make(p, (size_t)n);

	return str_make(arena_strz(a, s), s.n);
}

static struct err *pki_key_pem(struct arena *a, EVP_PKEY *key, struct str *ret)
{
	_cleanup_bio_ BIO *b = BIO_new(BIO_s_mem());

	if (!b || !PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL))
		return pki_error("encode a key");
	*ret = pki_bio_text(a, b);
	return NULL;
}

static struct err *pki_public_pem(struct arena *a, EVP_PKEY *key, struct str *ret)
{
	_cleanup_bio_ BIO *b = BIO_new(BIO_s_mem());

	if (!b || !PEM_write_bio_PUBKEY(b, key))
		return pki_error("encode a public key");
	*ret = pki_bio_text(a, b);
	return NULL;
}

static struct err *pki_cert_pem(struct arena *a, X509 *cert, struct str *ret)
{
	_cleanup_bio_ BIO *b = BIO_new(BIO_s_mem());

	if (!b || !PEM_write_bio_X509(b, cert))
		return pki_error("encode a certificate");
	*ret = pki_bio_text(a, b);
	return NULL;
}

static struct err *pki_parse_cert(struct str pem, X509 **ret)
{
	_cleanup_bio_ BIO *b = BIO_new_mem_buf(pem.p, (int)pem.n);

	*ret = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
	return *ret ? NULL : pki_error("parse a certificate");
}

static struct err *pki_parse_key(struct str pem, EVP_PKEY **ret)
{
	_cleanup_bio_ BIO *b = BIO_new_mem_buf(pem.p, (int)pem.n);

	*ret = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, NULL) : NULL;
	return *ret ? NULL : pki_error("parse a private key");
}

/* certificates */

static struct err *pki_new_key(EVP_PKEY **ret)
{
	*ret = EVP_EC_gen("P-256");
	return *ret ? NULL : pki_error("make a key");
}

static bool pki_add_name(X509_NAME *name, int nid, struct str v)
{
	return X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, (const unsigned char *)v.p,
					  (int)v.n, -1, 0);
}

static bool pki_add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *ext;
	X509V3_CTX ctx;
	bool ok;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	return ok;
}

static bool pki_add_alt_name(GENERAL_NAMES *names, int type, ASN1_STRING *value)
{
	GENERAL_NAME *n = GENERAL_NAME_new();

	if (!n || !value) {
		GENERAL_NAME_free(n);
		ASN1_STRING_free(value);
		return false;
	}
	GENERAL_NAME_set0_value(n, type, value);
	return sk_GENERAL_NAME_push(names, n) > 0;
}

/* Built from values, not from the "DNS:x,IP:y" syntax: names are not ours to escape. */
static struct err *pki_add_alt_names(struct arena *a, X509 *cert, const struct pki_cert_opts *o)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	bool ok = names;

	for (size_t i = 0; ok && i < o->n_dns_names; i++) {
		ASN1_STRING *s = ASN1_IA5STRING_new();

		ok = s && ASN1_STRING_set(s, o->dns_names[i].p, (int)o->dns_names[i].n);
		ok = pki_add_alt_name(names, GEN_DNS, s) && ok;
	}
	for (size_t i = 0; ok && i < o->n_ips; i++)
		ok = pki_add_alt_name(names, GEN_IPADD, a2i_IPADDRESS(arena_strz(a, o->ips[i])));
	if (ok && sk_GENERAL_NAME_num(names) > 0)
		ok = X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1;
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	return ok ? NULL : pki_error("add subject alternative names");
}

static struct err *pki_new_cert(EVP_PKEY *key, struct str common_name, int days, X509 **ret)
{
	X509 *c = X509_new();
	unsigned char serial[16];
	BIGNUM *bn;
	bool ok;

	*ret = c;
	if (!c)
		return pki_error("make a certificate");
	rand_bytes(serial, sizeof(serial));
	serial[0] &= 0x7f;
	serial[15] |= 1;
	bn = BN_bin2bn(serial, sizeof(serial), NULL);
	ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(c)) && X509_set_version(c, 2) &&
	     X509_gmtime_adj(X509_getm_notBefore(c), -BACKDATE_SECONDS) &&
	     X509_gmtime_adj(X509_getm_notAfter(c), (long)days * 86400) &&
	     X509_set_pubkey(c, key) &&
	     pki_add_name(X509_get_subject_name(c), NID_commonName, common_name);
	BN_free(bn);
	return ok ? NULL : pki_error("make a certificate");
}

struct err *pki_make_ca(struct arena *a, struct str common_name, int days, struct pki_pair *ret)
{
	_cleanup_pkey_ EVP_PKEY *key = NULL;
	_cleanup_x509_ X509 *c = NULL;

	TRY(pki_new_key(&key));
	TRY(pki_new_cert(key, common_name, days ? days : 10 * DEFAULT_DAYS, &c));
	if (!X509_set_issuer_name(c, X509_get_subject_name(c)) ||
	    !pki_add_ext(c, c, NID_basic_constraints, "critical,CA:TRUE") ||
	    !pki_add_ext(c, c, NID_key_usage,
			 "critical,digitalSignature,keyEncipherment,keyCertSign") ||
	    !pki_add_ext(c, c, NID_subject_key_identifier, "hash") ||
	    !X509_sign(c, key, EVP_sha256()))
		return pki_error("make a CA");
	TRY(pki_cert_pem(a, c, &ret->cert_pem));
	return pki_key_pem(a, key, &ret->key_pem);
}

static struct err *pki_fill(struct arena *a, X509 *c, X509 *issuer, const struct pki_cert_opts *o)
{
	X509_NAME *subject = X509_get_subject_name(c);
	const char *usage = o->server && o->client ? "serverAuth,clientAuth"
			    : o->server            ? "serverAuth"
						   : "clientAuth";

	for (size_t i = 0; i < o->n_orgs; i++)
		if (!pki_add_name(subject, NID_organizationName, o->orgs[i]))
			return pki_error("add an organization");
	if (!X509_set_issuer_name(c, X509_get_subject_name(issuer)) ||
	    !pki_add_ext(c, issuer, NID_basic_constraints, "critical,CA:FALSE") ||
	    !pki_add_ext(c, issuer, NID_key_usage, "critical,digitalSignature,keyEncipherment") ||
	    ((o->server || o->client) && !pki_add_ext(c, issuer, NID_ext_key_usage, usage)) ||
	    !pki_add_ext(c, issuer, NID_authority_key_identifier, "keyid"))
		return pki_error("add extensions");
	return pki_add_alt_names(a, c, o);
}

struct err *pki_issue(struct arena *a, const struct pki_pair *ca, const struct pki_cert_opts *opts,
		      struct pki_pair *ret)
{
	_cleanup_pkey_ EVP_PKEY *key = NULL, *ca_key = NULL;
	_cleanup_x509_ X509 *c = NULL, *ca_cert = NULL;

	TRY(pki_parse_cert(ca->cert_pem, &ca_cert));
	TRY(pki_parse_key(ca->key_pem, &ca_key));
	TRY(pki_new_key(&key));
	TRY(pki_new_cert(key, opts->common_name, opts->days ? opts->days : DEFAULT_DAYS, &c));
	TRY(pki_fill(a, c, ca_cert, opts));
	if (!X509_sign(c, ca_key, EVP_sha256()))
		return pki_error("sign a certificate");
	TRY(pki_cert_pem(a, c, &ret->cert_pem));
	return pki_key_pem(a, key, &ret->key_pem);
}

struct err *pki_make_key(struct arena *a, struct str *ret_private_pem, struct str *ret_public_pem)
{
	_cleanup_pkey_ EVP_PKEY *key = NULL;

	TRY(pki_new_key(&key));
	TRY(pki_key_pem(a, key, ret_private_pem));
	return pki_public_pem(a, key, ret_public_pem);
}

struct err *pki_seconds_left(struct str cert_pem, int64_t *ret)
{
	_cleanup_x509_ X509 *c = NULL;
	int days, seconds;

	TRY(pki_parse_cert(cert_pem, &c));
	if (!ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(c)))
		return pki_error("read a certificate's end");
	*ret = (int64_t)days * 86400 + seconds;
	return NULL;
}

struct err *pki_fingerprint(struct arena *a, struct str cert_pem, struct str *ret)
{
	_cleanup_x509_ X509 *c = NULL;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	TRY(pki_parse_cert(cert_pem, &c));
	if (X509_digest(c, EVP_sha256(), digest, &n) != 1)
		return pki_error("digest a certificate");
	*ret = hex_encode(a, str_make((char *)digest, n));
	return NULL;
}
