/* SPDX-License-Identifier: Apache-2.0 */

/* ConfigMap, Secret, Lease, EndpointSlice, StorageClass, ControllerRevision: little to do.
 */

#include "api/meta.h"
#include "api/names.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "server/errors.h"
#include "server/request.h"
#include "server/service-validate.h"
#include "server/storage-validate.h"
#include "server/strategies.h"
#include "server/table.h"
#include "server/valid.h"
#include "server/warn.h"
#include "server/write.h"
#include "json/json.h"

#define DATA_MAX 1048576

static void data_check_keys(struct api_request *rq, const struct json *obj, const char *field,
			    struct err **e, size_t *total)
{
	json_for_each(it, json_get(obj, field))
	{
		const char *why;

		*total += json_as_str(it.val).n;
		why = name_check_config_key(it.key);
		if (why)
			cause_invalid_str(
				e, arena_fmt(rq->arena, "%s[" STR_FMT "]", field, STR_ARG(it.key)),
				it.key, "%s", why);
	}
}

static void data_check_immutable(const struct json *obj, const struct json *old,
				 const char *const *fields, struct err **e)
{
	if (!json_bool_at(old, "immutable", false))
		return;
	if (!json_bool_at(obj, "immutable", false))
		cause_forbidden(e, STR("immutable"), "field is immutable when `immutable` is set");
	for (; *fields; fields++) {
		if (json_len(json_get(obj, *fields)) != json_len(json_get(old, *fields)) ||
		    (json_len(json_get(obj, *fields)) &&
		     !json_equal(json_get(obj, *fields), json_get(old, *fields))))
			cause_forbidden(e, str_from(*fields),
					"field is immutable when `immutable` is set");
	}
}

static void data_cell(struct arena *a, const struct json *obj, struct str column UNUSED,
		      struct json *cells)
{
	cell_int(
		a, cells,
		(int64_t)(json_len(json_get(obj, "data")) + json_len(json_get(obj, "binaryData"))));
}

/* ConfigMap */
static void configmap_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	size_t total = 0;

	data_check_keys(rq, obj, "data", e, &total);
	data_check_keys(rq, obj, "binaryData", e, &total);
	json_for_each(it, json_get(obj, "binaryData"))
	{
		if (json_get_s(json_get(obj, "data"), it.key))
			cause_invalid_str(
				e, arena_fmt(rq->arena, "data[" STR_FMT "]", STR_ARG(it.key)),
				it.key, "duplicate of key present in binaryData");
	}
	if (total > DATA_MAX)
		cause_too_long(e, STR("[]"), DATA_MAX);
}

static void configmap_validate_update(struct api_request *rq UNUSED, const struct json *obj,
				      const struct json *old, struct err **e)
{
	static const char *const fields[] = { "data", "binaryData", NULL };

	data_check_immutable(obj, old, fields, e);
}

const struct strategy configmap_strategy = {
	.validate = configmap_validate,
	.validate_update = configmap_validate_update,
	.cell = data_cell,
};

/* Secret */
static void secret_defaults(struct api_request *rq, struct json *obj)
{
	const struct json *text = json_get(obj, "stringData");

	if (str_empty(json_str_at(obj, "type")))
		json_set_str(rq->arena, obj, "type", STR("Opaque"));
	if (json_len(text)) {
		struct json *data = json_sub(rq->arena, obj, "data");

		json_for_each(it, text) json_set_s(
			rq->arena, data, it.key,
			json_str(rq->arena, base64_encode(rq->arena, json_as_str(it.val))));
	}
	json_delz(obj, "stringData");
}

static const struct {
	const char *type;
	const char *keys[2];
} secret_types[] = {
	{ "kubernetes.io/tls", { "tls.crt", "tls.key" } },
	{ "kubernetes.io/dockerconfigjson", { ".dockerconfigjson", NULL } },
	{ "kubernetes.io/dockercfg", { ".dockercfg", NULL } },
	{ "kubernetes.io/ssh-auth", { "ssh-privatekey", NULL } },
};

/* JSON inside a Secret; its content is nobody's business. */
static void secret_check_json(struct api_request *rq, const struct json *obj, const char *key,
			      struct err **e)
{
	const struct json *val = json_get(json_get(obj, "data"), key);
	struct json *doc = NULL;
	struct str raw;
	struct err *bad;

	if (!val || !base64_decode(rq->arena, json_as_str(val), &raw))
		return;
	bad = json_parse(rq->arena, raw, &doc);
	if (bad)
		cause_invalid_str(e, arena_fmt(rq->arena, "data[%s]", key),
				  STR("<secret contents redacted>"),
				  "invalid character '%c' looking for beginning of value",
				  raw.n ? raw.p[0] : ' ');
	err_ignore(bad, "told in the cause");
}

static void secret_check_type(struct api_request *rq, const struct json *obj, struct err **e)
{
	struct str type = json_str_at(obj, "type");

	for (size_t i = 0; i < ARRAY_LEN(secret_types); i++) {
		if (!str_eqz(type, secret_types[i].type))
			continue;
		for (size_t k = 0; k < 2 && secret_types[i].keys[k]; k++) {
			const char *key = secret_types[i].keys[k];

			if (!json_get(json_get(obj, "data"), key))
				cause_required(e, arena_fmt(rq->arena, "data[%s]", key), NULL);
		}
	}
	if (str_eqz(type, "kubernetes.io/basic-auth") && !json_at(obj, "data.username") &&
	    !json_at(obj, "data.password")) {
		cause_required(e, STR("data[username]"), NULL);
		cause_required(e, STR("data[password]"), NULL);
	}
	if (str_eqz(type, "kubernetes.io/dockercfg"))
		secret_check_json(rq, obj, ".dockercfg", e);
	if (str_eqz(type, "kubernetes.io/dockerconfigjson"))
		secret_check_json(rq, obj, ".dockerconfigjson", e);
	if (str_eqz(type, "kubernetes.io/service-account-token") &&
	    str_empty(meta_annotation(obj, "kubernetes.io/service-account.name")))
		cause_required(e, STR("metadata.annotations[kubernetes.io/service-account.name]"),
			       NULL);
}

static void secret_validate(struct api_request *rq, const struct json *obj, struct err **e)
{
	size_t total = 0;

	data_check_keys(rq, obj, "data", e, &total);
	json_for_each(it, json_get(obj, "data"))
	{
		struct str raw;

		if (!base64_decode(rq->arena, json_as_str(it.val), &raw))
			cause_invalid(e, arena_fmt(rq->arena, "data[" STR_FMT "]", STR_ARG(it.key)),
				      it.val, "illegal base64 data");
	}
	if (total > DATA_MAX / 3 * 4 + 4)
		cause_too_long(e, STR("data"), DATA_MAX);
	secret_check_type(rq, obj, e);
}

static void secret_validate_update(struct api_request *rq UNUSED, const struct json *obj,
				   const struct json *old, struct err **e)
{
	static const char *const fields[] = { "data", NULL };

	if (!json_equal(json_get(obj, "type"), json_get(old, "type")))
		cause_invalid(e, STR("type"), json_get(obj, "type"), "field is immutable");
	data_check_immutable(obj, old, fields, e);
}

const struct strategy secret_strategy = {
	.set_defaults = secret_defaults,
	.validate = secret_validate,
	.validate_update = secret_validate_update,
	.cell = data_cell,
};

/* Lease */

static void lease_strip(struct json *copy, const struct json *lease UNUSED)
{
	json_delz(json_get(copy, "spec"), "renewTime");
}

static struct err *lease_commit(struct api_request *rq, struct write *w, struct json *obj,
				const struct json *old)
{
	w->lazy = old && write_is_heartbeat(rq->arena, obj, old, lease_strip);
	return NULL;
}

const struct strategy lease_strategy = {
	.needs_rv = true,
	.create_on_update = true,
	.commit = lease_commit,
};

/* EndpointSlice */
static void endpointslice_cell(struct arena *a, const struct json *obj, struct str column,
			       struct json *cells)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (str_eqz(column, "Ports")) {
		json_for_each(it, json_get(obj, "ports")) buf_addf(
			&b, "%s%lld", b.n ? "," : "", (long long)json_int_at(it.val, "port", 0));
		cell_str(a, cells, b.n ? buf_to_arena(&b, a) : STR("<unset>"));
		return;
	}
	json_for_each(it, json_get(obj, "endpoints"))
	{
		json_for_each(ad, json_get(it.val, "addresses"))
			buf_addf(&b, "%s" STR_FMT, b.n ? "," : "", STR_ARG(json_as_str(ad.val)));
	}
	cell_str(a, cells, b.n ? buf_to_arena(&b, a) : STR("<unset>"));
}

const struct strategy endpointslice_strategy = {
	.generation = true,
	.validate = endpointslice_validate,
	.validate_update = endpointslice_validate_update,
	.warn = endpointslice_warn,
	.cell = endpointslice_cell,
};

/* StorageClass */
#define DEFAULT_CLASS "storageclass.kubernetes.io/is-default-class"

static void storageclass_cell(struct arena *a, const struct json *obj, struct str column,
			      struct json *cells)
{
	if (str_eqz(column, "Name")) {
		bool dflt = str_eqz(meta_annotation(obj, DEFAULT_CLASS), "true");

		cell_str(a, cells,
			 dflt ? arena_cat(a, meta_name(obj), STR(" (default)")) : meta_name(obj));
		return;
	}
	json_push(cells, json_bool(a, json_bool_at(obj, "allowVolumeExpansion", false)));
}

const struct strategy storageclass_strategy = {
	.delete_returns_obj = true,
	.validate = storageclass_validate,
	.validate_update = storageclass_validate_update,
	.warn = storageclass_warn,
	.cell = storageclass_cell,
};

/* ControllerRevision */
static void controllerrevision_validate(struct api_request *rq, const struct json *obj,
					struct err **e)
{
	const struct valid v = { rq->arena, e };
	const struct json *data = json_get(obj, "data");

	valid_nonnegative(&v, AT(NULL, "revision"), json_get(obj, "revision"));
	if (rq->verb != VERB_CREATE)
		return;
	if (json_is_null(data))
		valid_required(&v, AT(NULL, "data"), "data is mandatory");
	else if (!json_is(data, JSON_OBJECT))
		valid_required(&v, AT(NULL, "data"), "data must be a valid JSON object");
}

static void controllerrevision_validate_update(struct api_request *rq, const struct json *obj,
					       const struct json *old, struct err **e)
{
	const struct valid v = { rq->arena, e };

	valid_immutable(&v, AT(NULL, "data"), json_get(obj, "data"), json_get(old, "data"));
}

static void controllerrevision_cell(struct arena *a, const struct json *obj,
				    struct str column UNUSED, struct json *cells)
{
	const struct json *c = meta_controller(obj);

	if (!c) {
		cell_or_none(a, cells, STR_EMPTY);
		return;
	}
	cell_str(a, cells,
		 arena_fmt(a, "%s/" STR_FMT, cell_lower(a, json_str_at(c, "kind")),
			   STR_ARG(json_str_at(c, "name"))));
}

const struct strategy controllerrevision_strategy = {
	.validate = controllerrevision_validate,
	.validate_update = controllerrevision_validate_update,
	.cell = controllerrevision_cell,
};
