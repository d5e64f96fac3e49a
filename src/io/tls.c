/* SPDX-License-Identifier: Apache-2.0 */
#include "io/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/tls-internal.h"

/*
 * A server that merely asks for client certificates lets bad ones through the handshake:
 * what an unverified peer may do is the business of authentication, which answers with
 * a proper 401 instead of a broken connection.
 */

#define MAX_PEER_ORGS 64

struct tls_config {
	unsigned refs;
	SSL_CTX *ctx;
	bool server, no_h2, insecure;
};

static char alpn_all[] = "\x02h2\x08http/1.1";
#define ALPN_H2_BYTES 3

void tls_error_text(const SSL *ssl, char *text, size_t n)
{
	unsigned long code = ERR_peek_error();
	long verify = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;

	if (verify != X509_V_OK && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED)
		snprintf(text, n, "x509: %s", X509_verify_cert_error_string(verify));
	else if (code && ERR_reason_error_string(code))
		snprintf(text, n, "tls: %s", ERR_reason_error_string(code));
	else
		snprintf(text, n, "tls: connection broke");
	ERR_clear_error();
}

static struct err *tls_error(const char *what)
{
	char text[256];

	tls_error_text(NULL, text, sizeof(text));
	return err_new(ERR_INVALID, "%s: %s", what, text);
}

/* PEM */

static struct err *tls_use_cert(SSL_CTX *ctx, struct str pem)
{
	BIO *b = BIO_new_mem_buf(pem.p, (int)pem.n);
	X509 *c = PEM_read_bio_X509_AUX(b, NULL, NULL, NULL);
	bool ok = c && SSL_CTX_use_certificate(ctx, c) == 1;

	X509_free(c);
	while (ok && (c = PEM_read_bio_X509(b, NULL, NULL, NULL)))
		ok = SSL_CTX_add0_chain_cert(ctx, c) == 1;
	BIO_free(b);
	if (!ok)
		return tls_error("use the certificate");
	ERR_clear_error(); /* "no start line" at the end of the chain */
	return NULL;
}

static struct err *tls_use_key(SSL_CTX *ctx, struct str pem)
{
	BIO *b = BIO_new_mem_buf(pem.p, (int)pem.n);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
	bool ok =
		key && SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;

	EVP_PKEY_free(key);
	BIO_free(b);
	return ok ? NULL : tls_error("use the private key");
}

static struct err *tls_trust(SSL_CTX *ctx, struct str pem, bool server)
{
	BIO *b = BIO_new_mem_buf(pem.p, (int)pem.n);
	X509 *c;
	size_t n = 0;
	bool ok = true;

	while (ok && (c = PEM_read_bio_X509(b, NULL, NULL, NULL))) {
		ok = X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), c) == 1;
		if (ok && server)
			ok = SSL_CTX_add_client_CA(ctx, c) == 1;
		X509_free(c);
		n++;
	}
	BIO_free(b);
	if (!ok || !n)
		return tls_error("use the CA certificates");
	ERR_clear_error();
	return NULL;
}

/* ALPN: per connection, so that settings with and without h2 can share a context */

static struct str tls_alpn(bool no_h2)
{
	const unsigned skip = no_h2 ? ALPN_H2_BYTES : 0;

	return str_make(alpn_all + skip, sizeof(alpn_all) - 1 - skip);
}

static int tls_select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
			   const unsigned char *in, unsigned in_len, void *arg UNUSED)
{
	const struct str ours = tls_alpn(SSL_get_app_data(ssl));
	unsigned char *selected;

	if (SSL_select_next_proto(&selected, out_len, (const unsigned char *)ours.p,
				  (unsigned)ours.n, in, in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	*out = selected;
	return SSL_TLSEXT_ERR_OK;
}

static void tls_offer_alpn(const struct tls_config *c, SSL *ssl)
{
	const struct str ours = tls_alpn(c->no_h2);

	if (c->server)
		SSL_set_app_data(ssl, c->no_h2 ? alpn_all : NULL);
	else
		SSL_set_alpn_protos(ssl, (const unsigned char *)ours.p, (unsigned)ours.n);
}

/* settings */

static int tls_verify_leniently(int ok UNUSED, X509_STORE_CTX *ctx UNUSED)
{
	return 1; /* SSL_get_verify_result still tells */
}

static void tls_set_verify(struct tls_config *c, const struct tls_opts *o)
{
	int (*lenient)(int, X509_STORE_CTX *) = NULL;
	int mode = SSL_VERIFY_NONE;

	if (!o->server)
		mode = o->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER;
	else if (o->require_client_cert)
		mode = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	else if (o->request_client_cert)
		mode = SSL_VERIFY_PEER;
	if (mode == SSL_VERIFY_PEER && o->server)
		lenient = tls_verify_leniently;
	SSL_CTX_set_verify(c->ctx, mode, lenient);
}

static void tls_set_modes(SSL_CTX *ctx)
{
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
					 SSL_OP_CIPHER_SERVER_PREFERENCE |
					 SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_TICKET);
	/* The chain is sent as it was given, as Go does: who verifies has the CA. */
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
	/* AES-128 first, as Go's servers: a quarter less work, and strong enough. */
	SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
				      "TLS_CHACHA20_POLY1305_SHA256");
	/* One read per record instead of two. */
	SSL_CTX_set_read_ahead(ctx, 1);
	/* Our clients keep connections, and Go's resume no sessions by default. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 0);
}

struct err *tls_config_new(const struct tls_opts *o, struct tls_config **ret)
{
	_cleanup_(tls_config_unrefp) struct tls_config *c = mem_new(struct tls_config);

	PRE(str_empty(o->cert_pem) == str_empty(o->key_pem));
	ERR_clear_error();
	c->refs = 1;
	c->server = o->server;
	c->no_h2 = o->no_h2;
	c->insecure = o->insecure;
	c->ctx = SSL_CTX_new(o->server ? TLS_server_method() : TLS_client_method());
	if (!c->ctx)
		return tls_error("set up TLS");
	tls_set_modes(c->ctx);
	if (!str_empty(o->cert_pem)) {
		TRY(tls_use_cert(c->ctx, o->cert_pem));
		TRY(tls_use_key(c->ctx, o->key_pem));
	}
	if (!str_empty(o->ca_pem))
		TRY(tls_trust(c->ctx, o->ca_pem, o->server));
	else if (!o->server && !o->insecure)
		SSL_CTX_set_default_verify_paths(c->ctx);
	tls_set_verify(c, o);
	SSL_CTX_set_alpn_select_cb(c->ctx, tls_select_alpn, NULL);
	*ret = TAKE(c);
	return NULL;
}

struct tls_config *tls_config_ref(struct tls_config *c)
{
	if (c)
		c->refs++;
	return c;
}

struct tls_config *tls_config_without_h2(const struct tls_config *c)
{
	struct tls_config *copy = mem_new(struct tls_config);

	*copy = *c;
	copy->refs = 1;
	copy->no_h2 = true;
	SSL_CTX_up_ref(copy->ctx);
	return copy;
}

struct tls_config *tls_config_unref(struct tls_config *c)
{
	if (c && --c->refs == 0) {
		SSL_CTX_free(c->ctx);
		free(c);
	}
	return NULL;
}

void tls_config_unrefp(struct tls_config **c)
{
	tls_config_unref(*c);
}

/* connections */

static bool tls_set_server_name(SSL *ssl, const char *name, bool check)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	unsigned char ip[16];

	if (inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1)
		return !check || X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
	if (SSL_set_tlsext_host_name(ssl, name) != 1)
		return false;
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return !check || X509_VERIFY_PARAM_set1_host(param, name, 0) == 1;
}

struct err *tls_new(const struct tls_config *c, const char *server_name, BIO *bio, SSL **ret)
{
	/* The SSL keeps its context alive, so the config may go before the connection does. */
	SSL *ssl = SSL_new(c->ctx);

	if (!ssl) {
		BIO_free(bio);
		return tls_error("set up TLS");
	}
	SSL_set_bio(ssl, bio, bio);
	tls_offer_alpn(c, ssl);
	if (c->server) {
		SSL_set_accept_state(ssl);
	} else {
		SSL_set_connect_state(ssl);
		if (server_name && !tls_set_server_name(ssl, server_name, !c->insecure)) {
			SSL_free(ssl);
			return tls_error("set the server's name");
		}
	}
	*ret = ssl;
	return NULL;
}

static struct str tls_name_entry(struct arena *a, const X509_NAME_ENTRY *e)
{
	unsigned char *utf8 = NULL;
	int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(e));
	struct str s = STR_EMPTY;

	if (n > 0)
		s = arena_str(a, str_make((char *)utf8, (size_t)n));
	OPENSSL_free(utf8);
	return s;
}

static struct str tls_fingerprint(struct arena *a, const X509 *cert)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (!cert || X509_digest(cert, EVP_sha256(), digest, &n) != 1)
		return STR_EMPTY;
	return hex_encode(a, str_make((char *)digest, n));
}

static struct str tls_root(struct arena *a, const SSL *ssl)
{
	STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
	int n = chain ? sk_X509_num(chain) : 0;

	return n > 0 ? tls_fingerprint(a, sk_X509_value(chain, n - 1)) : STR_EMPTY;
}

static int64_t tls_not_after(const X509 *cert)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) != 1)
		return 0;
	return timegm(&tm);
}

static bool tls_is_uid(const ASN1_OBJECT *o)
{
	char text[64];

	return OBJ_obj2txt(text, sizeof(text), o, 1) > 0 &&
	       str_eqz(str_from(text), "1.3.6.1.4.1.57683.2");
}

static void tls_peer_entry(struct arena *a, const X509_NAME_ENTRY *e, struct tls_peer *ret)
{
	const ASN1_OBJECT *o = X509_NAME_ENTRY_get_object(e);
	int nid = OBJ_obj2nid(o);

	if (nid == NID_commonName) {
		ret->common_name = tls_name_entry(a, e);
	} else if (nid == NID_organizationName && ret->n_orgs < MAX_PEER_ORGS) {
		ret->orgs[ret->n_orgs++] = tls_name_entry(a, e);
	} else if (nid == NID_undef && tls_is_uid(o)) {
		ret->bad_uid |= !str_empty(ret->uid);
		ret->uid = tls_name_entry(a, e);
		ret->bad_uid |= str_empty(ret->uid);
	}
}

bool tls_peer_of(const SSL *ssl, struct arena *a, struct tls_peer *ret, bool *ret_bad)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);
	const X509_NAME *subject;
	int n;

	*ret = (struct tls_peer){ 0 };
	*ret_bad = cert && SSL_get_verify_result(ssl) != X509_V_OK;
	if (!cert || *ret_bad)
		return false;
	subject = X509_get_subject_name(cert);
	n = X509_NAME_entry_count(subject);
	ret->orgs = arena_array(a, MIN((size_t)n, (size_t)MAX_PEER_ORGS), sizeof(*ret->orgs));
	for (int i = 0; i < n; i++)
		tls_peer_entry(a, X509_NAME_get_entry(subject, i), ret);
	ret->fingerprint = tls_fingerprint(a, cert);
	ret->root = tls_root(a, ssl);
	ret->not_after = tls_not_after(cert);
	return true;
}
