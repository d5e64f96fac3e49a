/* SPDX-License-Identifier: Apache-2.0 */
#include "server/csr-validate.h"

#include "api/names.h"
#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "io/pki-request.h"
#include "server/errors.h"
#include "server/request.h"
#include "json/json.h"

#define MIN_SECONDS    600
#define MAX_DOMAIN     253
#define MAX_SIGNER     (MAX_DOMAIN + 1 + 253 + 63 + 1)
#define LEGACY_UNKNOWN "kubernetes.io/legacy-unknown"

static const char *const final_types[] = { "Approved", "Denied", "Failed" };

struct str csr_bytes(struct arena *a, const struct json *obj, const char *path)
{
	struct str s = STR_EMPTY;

	return base64_decode(a, json_str_at(obj, path), &s) ? s : STR_EMPTY;
}

struct err *csr_parse(struct arena *a, const struct json *obj, struct pki_request *ret)
{
	return pki_request_parse(a, csr_bytes(a, obj, "spec.request"), ret);
}

/* spec */
static void csr_check_request(struct api_request *rq, const struct json *spec,
			      const struct json *obj, struct err **e)
{
	struct pki_request req;
	struct err *bad = csr_parse(rq->arena, obj, &req);
	const struct json *shown = json_get(spec, "request");

	/* no bytes are null */
	if (str_empty(json_as_str(shown)))
		shown = NULL;
	if (bad)
		cause_invalid(e, STR("spec.request"), shown, STR_FMT, STR_ARG(err_msg(bad)));
	err_free(bad);
}

static void csr_check_usages(struct api_request *rq, const struct json *usages, struct err **e)
{
	if (!json_len(usages))
		cause_required(e, STR("spec.usages"), NULL);
	json_for_each(it, usages)
	{
		if (!pki_usage_known(json_as_str(it.val)))
			cause_not_supported(e, arena_fmt(rq->arena, "spec.usages[%zu]", it.i),
					    json_as_str(it.val), pki_usage_names);
	}
	json_for_each(it, usages)
	{
		size_t k = 0;

		while (k < it.i && !json_equal(json_idx(usages, k), it.val))
			k++;
		if (k < it.i)
			cause_duplicate(e, arena_fmt(rq->arena, "spec.usages[%zu]", it.i), it.val);
	}
}

/* Each part between dots; the first bad one is reported. */
static void csr_check_labels(struct str part, const char *(*check)(struct str), struct err **e)
{
	struct str rest = part, label;

	while (str_split_next(&rest, '.', &label)) {
		const char *bad = check(label);

		if (!bad)
			continue;
		cause_invalid_str(e, STR("spec.signerName"), part,
				  "validating label \"" STR_FMT "\": %s", STR_ARG(label), bad);
		return;
	}
}

static void csr_check_signer(struct str signer, struct err **e)
{
	const struct str field = STR("spec.signerName");
	struct str path = signer, domain;

	if (str_eqz(signer, LEGACY_UNKNOWN)) {
		cause_invalid_str(e, field, signer,
				  "the legacy signerName is not allowed via this API version");
		return;
	}
	if (str_empty(signer)) {
		cause_required(e, field, NULL);
		return;
	}
	if (!str_cut(&path, '/', &domain) || str_find_char(path, '/', 0) < path.n) {
		cause_invalid_str(e, field, signer,
				  "must be a fully qualified domain and path of the form "
				  "'example.com/signer-name'");
		return;
	}
	if (domain.n > MAX_DOMAIN)
		cause_too_long(e, field, MAX_DOMAIN);
	csr_check_labels(domain, name_check_dns_label, e);
	if (str_find_char(domain, '.', 0) == domain.n)
		cause_invalid_str(
			e, field, domain,
			"should be a domain with at least two segments separated by dots");
	csr_check_labels(path, name_check_dns_subdomain, e);
	if (signer.n > MAX_SIGNER)
		cause_too_long(e, field, MAX_SIGNER);
}

/* status */
static bool type_is_final(struct str type)
{
	for (size_t i = 0; i < ARRAY_LEN(final_types); i++) {
		if (str_eqz(type, final_types[i]))
			return true;
	}
	return false;
}

static void csr_check_status_value(struct str field, struct str type, struct str status,
				   struct err **e)
{
	static const char *const all[] = { "False", "True", "Unknown", NULL };
	static const char *const yes[] = { "True", NULL };
	bool final = type_is_final(type);

	if (str_empty(status))
		cause_required(e, field, NULL);
	else if (!str_eqz(status, "True") &&
		 (final || (!str_eqz(status, "False") && !str_eqz(status, "Unknown"))))
		cause_not_supported(e, field, status, final ? yes : all);
}

static void csr_check_exclusive(const struct json *conditions, size_t i, struct err **e)
{
	const struct json *c = json_idx(conditions, i);
	struct str type = json_str_at(c, "type"), other;

	if (str_eqz(type, "Approved"))
		other = STR("Denied");
	else if (str_eqz(type, "Denied"))
		other = STR("Approved");
	else
		return;
	for (size_t k = 0; k < i; k++) {
		if (!str_eq(json_str_at(json_idx(conditions, k), "type"), other))
			continue;
		cause_invalid_str(e, STR("status.conditions"), type,
				  "Approved and Denied conditions are mutually exclusive");
		return;
	}
}

static void csr_check_conditions(struct api_request *rq, const struct json *conditions,
				 struct err **e)
{
	struct arena *a = rq->arena;

	json_for_each(it, conditions)
	{
		struct str type = json_str_at(it.val, "type");
		size_t k = 0;

		if (str_empty(type))
			cause_required(e, arena_fmt(a, "status.conditions[%zu].type", it.i), NULL);
		csr_check_status_value(arena_fmt(a, "status.conditions[%zu].status", it.i), type,
				       json_str_at(it.val, "status"), e);
		csr_check_exclusive(conditions, it.i, e);
		while (k < it.i && !str_eq(json_str_at(json_idx(conditions, k), "type"), type))
			k++;
		if (k < it.i)
			cause_duplicate(e, arena_fmt(a, "status.conditions[%zu].type", it.i),
					json_get(it.val, "type"));
	}
}

static void csr_check_certificate(struct api_request *rq, const struct json *obj, struct err **e)
{
	struct str pem = csr_bytes(rq->arena, obj, "status.certificate");
	struct err *bad = str_empty(pem) ? NULL : pki_check_certificates(pem);

	if (bad)
		cause_invalid_str(e, STR("status.certificate"), STR("<certificate data>"), STR_FMT,
				  STR_ARG(err_msg(bad)));
	err_free(bad);
}

void csr_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	const struct json *spec = json_get(obj, "spec");
	const struct json *seconds = json_get(spec, "expirationSeconds");

	csr_check_request(rq, spec, obj, e);
	csr_check_usages(rq, json_get(spec, "usages"), e);
	csr_check_signer(json_str_at(spec, "signerName"), e);
	if (!json_is_null(seconds) && json_as_int(seconds, 0) < MIN_SECONDS)
		cause_invalid(e, STR("spec.expirationSeconds"), seconds,
			      "may not specify a duration less than 600 seconds (10 minutes)");
	csr_check_conditions(rq, json_at(obj, "status.conditions"), e);
}

/* changes */
static struct json *conditions_of(struct arena *a, const struct json *obj, const char *type)
{
	struct json *found = json_array(a);

	json_for_each(it, json_at(obj, "status.conditions"))
	{
		if (str_eqz(json_str_at(it.val, "type"), type))
			json_push(found, json_copy(a, it.val));
	}
	return found;
}

static void csr_check_changes(struct api_request *rq, const struct json *obj,
			      const struct json *old, struct err **e)
{
	bool approval = str_eqz(request_sub(rq), "approval");

	for (size_t i = 0; i < ARRAY_LEN(final_types); i++) {
		const char *type = final_types[i];

		if (json_len(conditions_of(rq->arena, obj, type)) <
		    json_len(conditions_of(rq->arena, old, type)))
			cause_forbidden(e, STR("status.conditions"),
					"updates may not remove a condition of type \"%s\"", type);
	}
	for (size_t i = 0; !approval && i < 2; i++) {
		const struct json *now = conditions_of(rq->arena, obj, final_types[i]);
		const struct json *was = conditions_of(rq->arena, old, final_types[i]);

		if (json_len(now) > json_len(was))
			cause_forbidden(e, STR("status.conditions"),
					"updates may not add a condition of type \"%s\"",
					final_types[i]);
	}
}

void csr_validate_update(struct api_request *rq, const struct json *obj, const struct json *old,
			 struct err **e)
{
	struct str now = json_str_at(obj, "status.certificate");
	struct str was = json_str_at(old, "status.certificate");
	bool status = str_eqz(request_sub(rq), "status");

	/* for the others the engine does it */
	if (status)
		csr_validate(rq, obj, e);
	if (!str_eq(now, was))
		csr_check_certificate(rq, obj, e);
	csr_check_changes(rq, obj, old, e);
	if (str_eq(now, was))
		return;
	if (!status)
		cause_forbidden(e, STR("status.certificate"),
				"updates may not set certificate content");
	else if (!str_empty(was))
		cause_forbidden(e, STR("status.certificate"),
				"updates may not modify existing certificate content");
}
