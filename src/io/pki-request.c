/* SPDX-License-Identifier: Apache-2.0 */
#include "io/pki-request.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/rand.h"

#define MAX_ORGS  64
#define MAX_NAMES 256 /* alternative names of one request */

static void bio_freep(BIO **p)
{
	BIO_free_all(*p);
}

static void req_freep(X509_REQ **p)
{
	X509_REQ_free(*p);
}

static void x509_freep(X509 **p)
{
	X509_free(*p);
}

static void key_freep(EVP_PKEY **p)
{
	EVP_PKEY_free(*p);
}

/* PEM */
struct pem_block {
	char *name, *header;
	unsigned char *der;
	long n;
};

static void pem_block_fini(struct pem_block *b)
{
	OPENSSL_free(b->name);
	OPENSSL_free(b->header);
	OPENSSL_free(b->der);
}

static bool pem_next(BIO *bio, struct pem_block *ret)
{
	bool ok = PEM_read_bio(bio, &ret->name, &ret->header, &ret->der, &ret->n) == 1;

	ERR_clear_error();
	return ok;
}

static struct err *request_read(struct str pem, X509_REQ **ret)
{
	_cleanup_(bio_freep) BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	_cleanup_(pem_block_fini) struct pem_block b = { 0 };
	const unsigned char *p;

	if (str_empty(pem) || !pem_next(bio, &b) ||
	    !str_eqz(str_from(b.name), "CERTIFICATE REQUEST"))
		return err_new(ERR_INVALID, "PEM block type must be CERTIFICATE REQUEST");
	p = b.der;
	*ret = d2i_X509_REQ(NULL, &p, b.n);
	ERR_clear_error();
	if (!*ret)
		return err_new(ERR_INVALID, "x509: malformed certificate request");
	if (p != b.der + b.n)
		return err_new(ERR_INVALID, "asn1: syntax error: trailing data");
	return NULL;
}

static struct err *request_check(X509_REQ *req)
{
	EVP_PKEY *key = X509_REQ_get0_pubkey(req);
	int ok = key ? X509_REQ_verify(req, key) : -1;

	ERR_clear_error();
	if (ok == 1)
		return NULL;
	if (!key)
		return err_new(ERR_INVALID, "x509: unsupported elliptic curve");
	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_RSA:
		return err_new(ERR_INVALID, "crypto/rsa: verification error");
	case EVP_PKEY_ED25519:
		return err_new(ERR_INVALID, "x509: Ed25519 verification failure");
	default:
		return err_new(ERR_INVALID, "x509: ECDSA verification failure");
	}
}

/* reading */
static struct str name_text(struct arena *a, const X509_NAME_ENTRY *e)
{
	unsigned char *utf8 = NULL;
	int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(e));
	struct str s = STR_EMPTY;

	if (n > 0)
		s = arena_str(a, str_make((char *)utf8, (size_t)n));
	OPENSSL_free(utf8);
	return s;
}

static void request_subject(struct arena *a, X509_REQ *req, struct pki_request *ret)
{
	const X509_NAME *name = X509_REQ_get_subject_name(req);
	int n = X509_NAME_entry_count(name);

	ret->orgs = arena_array(a, MAX_ORGS, sizeof(*ret->orgs));
	for (int i = 0; i < n; i++) {
		const X509_NAME_ENTRY *e = X509_NAME_get_entry(name, i);
		int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(e));

		if (nid == NID_commonName)
			ret->common_name = name_text(a, e);
		else if (nid == NID_organizationName && ret->n_orgs < MAX_ORGS)
			ret->orgs[ret->n_orgs++] = name_text(a, e);
	}
}

/* To be freed by the caller; NULL without any. */
static GENERAL_NAMES *request_names(X509_REQ *req)
{
	STACK_OF(X509_EXTENSION) *exts = X509_REQ_get_extensions(req);
	GENERAL_NAMES *names = X509V3_get_d2i(exts, NID_subject_alt_name, NULL, NULL);

	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	ERR_clear_error();
	return names;
}

static void request_see_name(const GENERAL_NAME *n, struct pki_request *ret)
{
	switch (n->type) {
	case GEN_DNS:
		ret->dns_names = true;
		break;
	case GEN_IPADD:
		ret->ips = true;
		break;
	case GEN_EMAIL:
		ret->emails = true;
		break;
	case GEN_URI:
		ret->uris = true;
		break;
	default: /* other kinds are left out of what is signed */
		break;
	}
}

struct err *pki_request_parse(struct arena *a, struct str pem, struct pki_request *ret)
{
	_cleanup_(req_freep) X509_REQ *req = NULL;
	GENERAL_NAMES *names;

	*ret = (struct pki_request){ 0 };
	TRY(request_read(pem, &req));
	TRY(request_check(req));
	request_subject(a, req, ret);
	ret->rsa = EVP_PKEY_get_base_id(X509_REQ_get0_pubkey(req)) == EVP_PKEY_RSA;
	names = request_names(req);
	for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++)
		request_see_name(sk_GENERAL_NAME_value(names, i), ret);
	GENERAL_NAMES_free(names);
	return NULL;
}

/* usages */
const char *const pki_usage_names[] = {
	"any",
	"cert sign",
	"client auth",
	"code signing",
	"content commitment",
	"crl sign",
	"data encipherment",
	"decipher only",
	"digital signature",
	"email protection",
	"encipher only",
	"ipsec end system",
	"ipsec tunnel",
	"ipsec user",
	"key agreement",
	"key encipherment",
	"microsoft sgc",
	"netscape sgc",
	"ocsp signing",
	"s/mime",
	"server auth",
	"signing",
	"timestamping",
	NULL,
};

static const struct usage_row {
	const char *usage;
	bool extended;
	const char *name; /* OpenSSL's */
} usage_rows[] = {
	{ "signing", false, "digitalSignature" },
	{ "digital signature", false, "digitalSignature" },
	{ "content commitment", false, "nonRepudiation" },
	{ "key encipherment", false, "keyEncipherment" },
	{ "data encipherment", false, "dataEncipherment" },
	{ "key agreement", false, "keyAgreement" },
	{ "cert sign", false, "keyCertSign" },
	{ "crl sign", false, "cRLSign" },
	{ "encipher only", false, "encipherOnly" },
	{ "decipher only", false, "decipherOnly" },
	{ "any", true, "anyExtendedKeyUsage" },
	{ "server auth", true, "serverAuth" },
	{ "client auth", true, "clientAuth" },
	{ "code signing", true, "codeSigning" },
	{ "email protection", true, "emailProtection" },
	{ "s/mime", true, "emailProtection" },
	{ "ipsec end system", true, "1.3.6.1.5.5.7.3.5" },
	{ "ipsec tunnel", true, "1.3.6.1.5.5.7.3.6" },
	{ "ipsec user", true, "1.3.6.1.5.5.7.3.7" },
	{ "timestamping", true, "timeStamping" },
	{ "ocsp signing", true, "OCSPSigning" },
	{ "microsoft sgc", true, "msSGC" },
	{ "netscape sgc", true, "nsSGC" },
};

bool pki_usage_known(struct str usage)
{
	for (size_t i = 0; i < ARRAY_LEN(usage_rows); i++) {
		if (str_eqz(usage, usage_rows[i].usage))
			return true;
	}
	return false;
}

/* "critical,digitalSignature"; empty without any */
static void usage_list(struct buf *b, const struct pki_sign_opts *o, bool extended)
{
	for (size_t i = 0; i < ARRAY_LEN(usage_rows); i++) {
		const struct usage_row *row = &usage_rows[i];
		bool wanted = false;

		for (size_t k = 0; k < o->n_usages; k++)
			wanted |= str_eqz(o->usages[k], row->usage);
		/* two names may stand for one bit */
		if (!wanted || row->extended != extended ||
		    (b->n && str_contains(buf_str(b), str_from(row->name))))
			continue;
		if (!b->n && !extended)
			buf_addz(b, "critical");
		buf_addf(b, "%s%s", b->n ? "," : "", row->name);
	}
	buf_addc(b, 0);
}

/* signing */
static struct err *sign_error(const char *what)
{
	char text[256] = "unknown error";
	unsigned long code = ERR_peek_last_error();

	if (code)
		ERR_error_string_n(code, text, sizeof(text));
	ERR_clear_error();
	return err_new(ERR_INTERNAL, "%s: %s", what, text);
}

static bool sign_add_ext(X509 *cert, X509 *ca, int nid, const char *value)
{
	X509_EXTENSION *ext;
	X509V3_CTX ctx;
	bool ok;

	if (!*value)
		return true;
	X509V3_set_ctx(&ctx, ca, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	return ok;
}

static bool sign_name_wanted(const GENERAL_NAME *n)
{
	return n->type == GEN_DNS || n->type == GEN_IPADD || n->type == GEN_EMAIL ||
	       n->type == GEN_URI;
}

static struct err *sign_add_names(X509 *cert, X509_REQ *req)
{
	GENERAL_NAMES *asked = request_names(req), *names = sk_GENERAL_NAME_new_null();
	bool ok = names;
	int critical = X509_NAME_entry_count(X509_get_subject_name(cert)) == 0;

	if (asked && sk_GENERAL_NAME_num(asked) > MAX_NAMES)
		ok = false;
	for (int i = 0; ok && asked && i < sk_GENERAL_NAME_num(asked); i++) {
		GENERAL_NAME *n = sk_GENERAL_NAME_value(asked, i);

		if (sign_name_wanted(n))
			ok = sk_GENERAL_NAME_push(names, n) > 0;
	}
	if (ok && sk_GENERAL_NAME_num(names) > 0)
		ok = X509_add1_ext_i2d(cert, NID_subject_alt_name, names, critical, 0) == 1;
	sk_GENERAL_NAME_free(names);
	GENERAL_NAMES_free(asked);
	return ok ? NULL : sign_error("add alternative names");
}

static struct err *sign_set_times(X509 *cert, const X509 *ca, const struct pki_sign_opts *o)
{
	int64_t end = o->seconds < o->short_seconds ? o->seconds : o->seconds - o->backdate_seconds;
	ASN1_TIME *after = X509_getm_notAfter(cert);
	int day = 0, sec = 0;

	if (!X509_gmtime_adj(X509_getm_notBefore(cert), (long)-o->backdate_seconds) ||
	    !X509_gmtime_adj(after, (long)end) ||
	    !ASN1_TIME_diff(&day, &sec, after, X509_get0_notAfter(ca)))
		return sign_error("set the times");
	/* never beyond the CA */
	if ((day < 0 || sec < 0) && !X509_set1_notAfter(cert, X509_get0_notAfter(ca)))
		return sign_error("set the times");
	if (X509_cmp_current_time(X509_get0_notAfter(ca)) < 0)
		return err_new(ERR_INTERNAL, "the signer has expired");
	ERR_clear_error();
	return NULL;
}

static bool sign_set_serial(X509 *cert)
{
	unsigned char serial[16];
	BIGNUM *bn;
	bool ok;

	rand_bytes(serial, sizeof(serial));
	serial[0] &= 0x7f;
	serial[15] |= 1;
	bn = BN_bin2bn(serial, sizeof(serial), NULL);
	ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert));
	BN_free(bn);
	return ok;
}

static struct err *sign_fill(X509 *cert, X509 *ca, X509_REQ *req, const struct pki_sign_opts *o)
{
	_cleanup_buf_ struct buf usage = { 0 }, extended = { 0 };

	if (!X509_set_version(cert, 2) || !sign_set_serial(cert) ||
	    !X509_set_subject_name(cert, X509_REQ_get_subject_name(req)) ||
	    !X509_set_issuer_name(cert, X509_get_subject_name(ca)) ||
	    !X509_set_pubkey(cert, X509_REQ_get0_pubkey(req)))
		return sign_error("make a certificate");
	TRY(sign_set_times(cert, ca, o));
	usage_list(&usage, o, false);
	usage_list(&extended, o, true);
	if (!sign_add_ext(cert, ca, NID_key_usage, usage.p) ||
	    !sign_add_ext(cert, ca, NID_ext_key_usage, extended.p) ||
	    !sign_add_ext(cert, ca, NID_basic_constraints, "critical,CA:FALSE") ||
	    !sign_add_ext(cert, ca, NID_authority_key_identifier, "keyid"))
		return sign_error("add extensions");
	return sign_add_names(cert, req);
}

static struct err *cert_text(struct arena *a, X509 *cert, struct str *ret)
{
	_cleanup_(bio_freep) BIO *b = BIO_new(BIO_s_mem());
	char *p;
	long n;

	if (!b || !PEM_write_bio_X509(b, cert))
		return sign_error("encode a certificate");
	n = BIO_get_mem_data(b, &p);
	*ret = arena_str(a, str_make(p, (size_t)n));
	return NULL;
}

struct err *pki_request_sign(struct arena *a, const struct pki_pair *ca, struct str pem,
			     const struct pki_sign_opts *opts, struct str *ret_cert_pem)
{
	_cleanup_(bio_freep) BIO *cb = BIO_new_mem_buf(ca->cert_pem.p, (int)ca->cert_pem.n);
	_cleanup_(bio_freep) BIO *kb = BIO_new_mem_buf(ca->key_pem.p, (int)ca->key_pem.n);
	_cleanup_(x509_freep) X509 *ca_cert = PEM_read_bio_X509(cb, NULL, NULL, NULL);
	_cleanup_(key_freep) EVP_PKEY *ca_key = PEM_read_bio_PrivateKey(kb, NULL, NULL, NULL);
	_cleanup_(x509_freep) X509 *cert = X509_new();
	_cleanup_(req_freep) X509_REQ *req = NULL;

	if (!ca_cert || !ca_key || !cert)
		return sign_error("read the CA");
	TRY(request_read(pem, &req));
	TRY(request_check(req));
	TRY(sign_fill(cert, ca_cert, req, opts));
	if (!X509_sign(cert, ca_key, EVP_sha256()))
		return sign_error("sign a certificate");
	return cert_text(a, cert, ret_cert_pem);
}

/* certificates of others */
static struct err *check_block(const struct pem_block *b)
{
	const unsigned char *p = b->der;
	X509 *c;
	bool ok;

	if (!str_eqz(str_from(b->name), "CERTIFICATE"))
		return err_new(ERR_INVALID, "only CERTIFICATE PEM blocks are allowed, found \"%s\"",
			       b->name);
	if (b->header && *b->header)
		return err_new(ERR_INVALID, "no PEM block headers are permitted");
	c = d2i_X509(NULL, &p, b->n);
	ok = c && p == b->der + b->n;
	X509_free(c);
	ERR_clear_error();
	return ok ? NULL : err_new(ERR_INVALID, "x509: malformed certificate");
}

struct err *pki_check_certificates(struct str pem)
{
	_cleanup_(bio_freep) BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	size_t n = 0;

	for (;; n++) {
		_cleanup_(pem_block_fini) struct pem_block b = { 0 };

		if (!pem_next(bio, &b))
			break;
		TRY(check_block(&b));
	}
	return n ? NULL : err_new(ERR_INVALID, "must contain at least one CERTIFICATE PEM block");
}
