/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/operator/certs.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "client/rest.h"
#include "io/pki.h"
#include "virt/handler-api.h"
#include "virt/names.h"
#include "virt/operator/ensure.h"
#include "json/json.h"

#define DAY_SECONDS     (INT64_C(24) * 3600)
#define CA_DAYS         365
#define CA_RENEW_DAYS   73
#define CERT_DAYS       30
#define CERT_RENEW_DAYS 6
#define MAX_BUNDLE      4
#define PEM_END         "-----END CERTIFICATE-----"

static const struct cert_row {
	const char *secret, *common_name;
	const char *dns_names[5]; /* "%" stands for the namespace */
	bool server, client;
} certs[] = {
	{ SECRET_VIRT_API,
	  "virt-api",
	  { "virt-api", "virt-api.%", "virt-api.%.svc", "virt-api.%.svc.cluster.local",
	    "localhost" },
	  .server = true },
	{ HANDLER_SERVER_SECRET, HANDLER_SERVER_NAME, { HANDLER_SERVER_NAME }, .server = true },
	{ HANDLER_CLIENT_SECRET, HANDLER_CLIENT_CN, { NULL }, .client = true },
};

static bool lasts(struct str cert_pem, int64_t days)
{
	int64_t left = 0;
	struct err *e = pki_seconds_left(cert_pem, &left);

	if (e) {
		err_ignore(e, "unreadable: to be made anew");
		return false;
	}
	return left > days * DAY_SECONDS;
}

static bool next_cert(struct str *rest, struct str *ret)
{
	size_t end = str_find(*rest, STR(PEM_END));

	if (end == rest->n)
		return false;
	end += sizeof(PEM_END) - 1;
	*ret = str_trim(str_sub(*rest, 0, end));
	*rest = str_skip(*rest, end);
	return true;
}

struct str certs_merge_bundle(struct arena *a, struct str first, struct str old)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct str cert;
	size_t n = 1;

	buf_add(&b, str_trim(first));
	buf_addc(&b, '\n');
	while (n < MAX_BUNDLE && next_cert(&old, &cert)) {
		if (str_eq(cert, str_trim(first)) || !lasts(cert, 0))
			continue;
		buf_add(&b, cert);
		buf_addc(&b, '\n');
		n++;
	}
	return buf_to_arena(&b, a);
}

static bool secret_get(struct arena *a, const struct json *secret, const char *key, struct str *ret)
{
	const struct json *v = json_get(json_get(secret, "data"), key);

	return v && base64_decode(a, json_as_str(v), ret);
}

/* *ret_found is false when there is no usable pair. */
static struct err *read_pair(struct client *c, struct arena *a, struct str ns, const char *name,
			     struct pki_pair *ret, bool *ret_found)
{
	struct json *secret = NULL;
	struct err *e = client_get(c, a, GVR_SECRET, ns, str_from(name), &secret);

	*ret_found = false;
	if (err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "to be made");
		return NULL;
	}
	TRY(e);
	*ret_found = secret_get(a, secret, "tls.crt", &ret->cert_pem) &&
		     secret_get(a, secret, "tls.key", &ret->key_pem);
	return NULL;
}

static struct err *write_pair(struct client *c, struct arena *a, struct str ns, const char *name,
			      const struct pki_pair *pair)
{
	struct json *secret = json_object(a), *data;

	json_set_str(a, secret, "apiVersion", STR("v1"));
	json_set_str(a, secret, "kind", STR("Secret"));
	json_set_at(a, secret, "metadata.name", json_strz(a, name));
	json_set_at(a, secret, "metadata.namespace", json_str(a, ns));
	meta_set_label(a, secret, "app.kubernetes.io/managed-by", STR("virt-operator"));
	json_set_str(a, secret, "type", STR("kubernetes.io/tls"));
	data = json_sub(a, secret, "data");
	json_set_str(a, data, "tls.crt", base64_encode(a, pair->cert_pem));
	json_set_str(a, data, "tls.key", base64_encode(a, pair->key_pem));
	return ensure_object(c, a, secret, NULL);
}

static struct err *ensure_ca(struct client *c, struct arena *a, struct str ns, struct pki_pair *ret)
{
	bool found;

	TRY(read_pair(c, a, ns, SECRET_CA, ret, &found));
	if (found && lasts(ret->cert_pem, CA_RENEW_DAYS))
		return NULL;
	TRY(pki_make_ca(a, STR("kubevirt.io"), CA_DAYS, ret));
	return write_pair(c, a, ns, SECRET_CA, ret);
}

static struct err *ensure_bundle(struct client *c, struct arena *a, struct str ns,
				 const struct pki_pair *ca, struct str *ret)
{
	struct json *have = NULL, *map = json_object(a);
	struct err *e = client_get(c, a, GVR_CONFIGMAP, ns, STR(VIRT_CA_CONFIGMAP), &have);
	struct str old = STR_EMPTY;

	if (err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "to be made");
		e = NULL;
	}
	TRY(e);
	old = json_as_str(json_get(json_get(have, "data"), VIRT_CA_KEY));
	*ret = certs_merge_bundle(a, ca->cert_pem, old);
	json_set_str(a, map, "apiVersion", STR("v1"));
	json_set_str(a, map, "kind", STR("ConfigMap"));
	json_set_at(a, map, "metadata.name", json_strz(a, VIRT_CA_CONFIGMAP));
	json_set_at(a, map, "metadata.namespace", json_str(a, ns));
	meta_set_label(a, map, "app.kubernetes.io/managed-by", STR("virt-operator"));
	json_set_str(a, json_sub(a, map, "data"), VIRT_CA_KEY, *ret);
	return ensure_object(c, a, map, NULL);
}

static struct str expand(struct arena *a, const char *pattern, struct str ns)
{
	struct str s = str_from(pattern);
	size_t at = str_find_char(s, '%', 0);

	if (at == s.n)
		return s;
	return arena_fmt(a, STR_FMT STR_FMT STR_FMT, STR_ARG(str_sub(s, 0, at)), STR_ARG(ns),
			 STR_ARG(str_skip(s, at + 1)));
}

static struct err *ensure_cert(struct client *c, struct arena *a, struct str ns,
			       const struct pki_pair *ca, const struct cert_row *row)
{
	struct str names[ARRAY_LEN(row->dns_names)];
	struct pki_cert_opts opts = { .common_name = str_from(row->common_name),
				      .dns_names = names,
				      .server = row->server,
				      .client = row->client,
				      .days = CERT_DAYS };
	struct pki_pair pair;
	bool found;

	TRY(read_pair(c, a, ns, row->secret, &pair, &found));
	if (found && lasts(pair.cert_pem, CERT_RENEW_DAYS))
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(row->dns_names) && row->dns_names[i]; i++)
		names[opts.n_dns_names++] = expand(a, row->dns_names[i], ns);
	TRY(pki_issue(a, ca, &opts, &pair));
	return write_pair(c, a, ns, row->secret, &pair);
}

struct err *certs_ensure(struct client *c, struct arena *a, struct str ns, struct str *ret_bundle)
{
	struct pki_pair ca;

	TRY(ensure_ca(c, a, ns, &ca));
	TRY(ensure_bundle(c, a, ns, &ca, ret_bundle));
	for (size_t i = 0; i < ARRAY_LEN(certs); i++)
		TRY(err_wrap(ensure_cert(c, a, ns, &ca, &certs[i]), "certificate '%s'",
			     certs[i].secret));
	return NULL;
}
