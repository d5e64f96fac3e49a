/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The query string of a request, checked as upstream checks its CreateOptions, UpdateOptions,
 * PatchOptions, DeleteOptions and ListOptions. Unknown parameters are ignored.
 */

#include "api/selector.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "io/fiber.h"
#include "io/http-server.h"
#include "server/delete-options.h"
#include "server/errors.h"
#include "server/request.h"
#include "json/json.h"

#define TIMEOUT_READ_MS  60000
#define TIMEOUT_WRITE_MS 34000

static struct str query(const struct api_request *rq, const char *name)
{
	return rq->http ? http_query_find(&rq->http->query, name) : (struct str){ 0 };
}

static bool query_bool(const struct api_request *rq, const char *name)
{
	return rq->http && http_query_true(&rq->http->query, name);
}

/* Why Go's strconv would not read it. */
static const char *query_number_why(struct str s, bool with_sign)
{
	if (with_sign && s.n > 1 && s.p[0] == '-')
		s = str_skip(s, 1);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return "invalid syntax";
	}
	return "value out of range";
}

/* 0 when absent. */
static struct err *query_int(const struct api_request *rq, const char *name, int64_t *ret)
{
	struct str s = query(rq, name);

	*ret = 0;
	if (!s.n || str_to_i64(s, ret))
		return NULL;
	return err_new(ERR_BAD_REQUEST, "strconv.ParseInt: parsing \"" STR_FMT "\": %s", STR_ARG(s),
		       query_number_why(s, true));
}

static struct err *options_invalid(struct err *e, const char *kind)
{
	return error_invalid(e, STR("meta.k8s.io"), str_from(kind), STR_EMPTY);
}

static const char *options_kind(enum verb verb)
{
	if (verb == VERB_CREATE)
		return "CreateOptions";
	if (verb == VERB_UPDATE)
		return "UpdateOptions";
	if (verb == VERB_PATCH)
		return "PatchOptions";
	return "DeleteOptions";
}

static void options_dry_run(struct api_request *rq, struct err **e)
{
	struct json *vals = json_array(rq->arena);

	for (size_t i = 0; rq->http && i < rq->http->query.n; i++) {
		const struct http_header *h = &rq->http->query.v[i];

		if (str_eqz(h->name, "dryRun"))
			json_push(vals, json_str(rq->arena, h->value));
	}
	options_check_dry_run(rq, vals, e);
}

void options_check_dry_run(struct api_request *rq, const struct json *vals, struct err **e)
{
	bool all = json_len(vals) > 0;

	json_for_each(it, vals) all &= str_eqz(json_as_str(it.val), "All");
	rq->opt.dry_run = all;
	if (all || !json_len(vals))
		return;
	if (!*e)
		*e = err_new(ERR_INVALID, "is invalid");
	err_add_cause(*e, STR("dryRun"), STR("FieldValueNotSupported"),
		      arena_fmt(rq->arena,
				"Unsupported value: " STR_FMT ": supported values: \"All\"",
				STR_ARG(json_text(rq->arena, vals))));
}

/* As Go's %q has it, for what JSON writes otherwise. */
static struct str options_quote(struct arena *a, struct str s)
{
	_cleanup_buf_ struct buf b = { 0 };

	buf_addc(&b, '"');
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		const char *at = c ? strchr("\aa\bb\ff\nn\rr\tt\vv", c) : NULL;

		if (c == '"' || c == '\\')
			buf_addf(&b, "\\%c", c);
		else if (c < 0x20 && at)
			buf_addf(&b, "\\%c", at[1]);
		else if (c < 0x20 || c == 0x7f)
			buf_addf(&b, "\\x%02x", c);
		else
			buf_addc(&b, (char)c);
	}
	buf_addc(&b, '"');
	return buf_to_arena(&b, a);
}

static void options_manager(struct api_request *rq, struct err **e)
{
	struct str s = query(rq, "fieldManager");

	if (s.n > 128)
		cause_too_long(e, STR("fieldManager"), 128);
	for (size_t i = 0; i < s.n; i++) {
		if ((unsigned char)s.p[i] >= 0x20 && s.p[i] != 0x7f)
			continue;
		if (!*e)
			*e = err_new(ERR_INVALID, "is invalid");
		err_add_cause(*e, STR("fieldManager"), STR("FieldValueInvalid"),
			      arena_fmt(rq->arena,
					"Invalid value: " STR_FMT
					": invalid character U+%04X (at position %zu)",
					STR_ARG(options_quote(rq->arena, s)),
					(unsigned)(unsigned char)s.p[i], i));
		break;
	}
	rq->opt.field_manager = s;
}

static void options_validation(struct api_request *rq, struct err **e)
{
	static const char *const supported[] = { "", "Ignore", "Strict", "Warn", NULL };
	struct str s = query(rq, "fieldValidation");

	if (str_eqz(s, "Ignore"))
		rq->opt.field_validation = FIELDS_IGNORE;
	else if (str_eqz(s, "Strict"))
		rq->opt.field_validation = FIELDS_STRICT;
	else if (!str_empty(s) && !str_eqz(s, "Warn"))
		cause_not_supported(e, STR("fieldValidation"), s, supported);
}

static struct err *options_write(struct api_request *rq)
{
	struct err *e = NULL;

	options_dry_run(rq, &e);
	options_manager(rq, &e);
	options_validation(rq, &e);
	return options_invalid(e, options_kind(rq->verb));
}

/* Which fields a selector may name; the error's words depend on whether the kind has fields of its
 * own. */
static struct err *options_field_known(struct str key, void *ctx)
{
	struct api_request *rq = ctx;

	if (str_eqz(key, "metadata.name") || str_eqz(key, "metadata.namespace"))
		return NULL;
	for (size_t i = 0; i < rq->v->n_fields; i++) {
		if (str_eq(rq->v->fields[i].name, key))
			return NULL;
	}
	if (rq->v->n_fields || rq->res->custom)
		return err_new(ERR_BAD_REQUEST, "field label not supported: " STR_FMT,
			       STR_ARG(key));
	return err_new(ERR_BAD_REQUEST,
		       "\"" STR_FMT "\" is not a known field selector: only \"metadata.name\", "
		       "\"metadata.namespace\"",
		       STR_ARG(key));
}

static struct str options_stored_key(struct str key, void *ctx)
{
	const struct resource_version *v = ctx;

	for (size_t i = 0; i < v->n_fields; i++) {
		if (str_eq(v->fields[i].name, key) && !str_empty(v->fields[i].key))
			return v->fields[i].key;
	}
	return key;
}

struct err *options_fields(struct arena *a, const struct resource_version *v, struct str text,
			   struct selector **ret)
{
	TRY(field_selector_parse(a, text, ret));
	selector_rename_keys(*ret, options_stored_key, (void *)(uintptr_t)v);
	return NULL;
}

static struct err *options_selectors(struct api_request *rq)
{
	struct api_options *o = &rq->opt;

	o->label_text = query(rq, "labelSelector");
	o->field_text = query(rq, "fieldSelector");
	if (!str_empty(o->label_text))
		TRY(label_selector_parse(rq->arena, o->label_text, &o->labels));
	if (!str_empty(o->field_text)) {
		TRY(field_selector_parse(rq->arena, o->field_text, &o->fields));
		TRY(selector_each_key(o->fields, options_field_known, rq));
		selector_rename_keys(o->fields, options_stored_key, (void *)(uintptr_t)rq->v);
	}
	return NULL;
}

/* ListOptions' rules about resourceVersionMatch and sendInitialEvents. */
static void options_check_match(struct api_request *rq, struct str match, struct err **e)
{
	static const char *const supported[] = { "Exact", "NotOlderThan", "", NULL };
	static const char *const watches[] = { "NotOlderThan", NULL };
	static const char *const field = "resourceVersionMatch";
	struct api_options *o = &rq->opt;
	struct str f = str_from(field);
	bool watch = rq->verb == VERB_WATCH;

	if (watch && o->send_initial_set && o->rv_match != RV_MATCH_NOT_OLDER)
		cause_forbidden(e, f,
				"sendInitialEvents requires setting resourceVersionMatch to "
				"NotOlderThan");
	if (!watch && o->send_initial_set)
		cause_forbidden(e, STR("sendInitialEvents"),
				"sendInitialEvents is forbidden for list");
	/* a watch from "" or "0" is one that asks for its initial events */
	if (watch && !str_empty(o->cont) && (!str_empty(match) || !o->rv))
		cause_forbidden(e, f,
				"resourceVersionMatch is forbidden when continue is provided");
	if (str_empty(match))
		return;
	if (watch && !o->send_initial_set)
		cause_forbidden(e, f,
				"resourceVersionMatch is forbidden for watch unless "
				"sendInitialEvents is provided");
	if (!watch && str_empty(o->rv_text))
		cause_forbidden(e, f,
				"resourceVersionMatch is forbidden unless resourceVersion is "
				"provided");
	if (!watch && !str_empty(o->cont))
		cause_forbidden(e, f,
				"resourceVersionMatch is forbidden when continue is provided");
	if (watch && o->rv_match != RV_MATCH_NOT_OLDER)
		cause_not_supported(e, f, match, watches);
	else if (o->rv_match == RV_MATCH_UNSET)
		cause_not_supported(e, f, match, supported);
	else if (o->rv_match == RV_MATCH_EXACT && str_eqz(o->rv_text, "0"))
		cause_forbidden(e, f,
				"resourceVersionMatch \"exact\" is forbidden for resourceVersion "
				"\"0\"");
}

static struct err *options_rv(struct api_request *rq)
{
	struct api_options *o = &rq->opt;
	const char *why;

	o->rv_text = query(rq, "resourceVersion");
	if (str_empty(o->rv_text) || str_to_u64(o->rv_text, &o->rv))
		return NULL;
	why = query_number_why(o->rv_text, false);
	if (rq->verb & (VERB_LIST | VERB_DELETECOLLECTION))
		return err_new(
			ERR_BAD_REQUEST,
			"invalid resource version: resourceVersion: Invalid value: \"" STR_FMT
			"\": strconv.ParseUint: parsing \"" STR_FMT "\": %s",
			STR_ARG(o->rv_text), STR_ARG(o->rv_text), why);
	return err_new(ERR_UNKNOWN, "%sstrconv.ParseUint: parsing \"" STR_FMT "\": %s",
		       rq->verb != VERB_WATCH
			       ? ""
			       : arena_fmt(rq->arena,
					   "resourceVersion: Invalid value: \"" STR_FMT "\": ",
					   STR_ARG(o->rv_text))
					 .p,
		       STR_ARG(o->rv_text), why);
}

static struct err *options_list(struct api_request *rq)
{
	struct api_options *o = &rq->opt;
	struct str match = query(rq, "resourceVersionMatch");
	struct err *e = NULL;
	int64_t n;

	TRY(options_selectors(rq));
	o->cont = query(rq, "continue");
	TRY(query_int(rq, "limit", &n));
	o->limit = MAX(n, (int64_t)0);
	TRY(query_int(rq, "timeoutSeconds", &n));
	o->timeout_s = n;
	o->bookmarks = query_bool(rq, "allowWatchBookmarks");
	o->send_initial_set = query(rq, "sendInitialEvents").p;
	o->send_initial = query_bool(rq, "sendInitialEvents");
	if (str_eqz(match, "NotOlderThan"))
		o->rv_match = RV_MATCH_NOT_OLDER;
	else if (str_eqz(match, "Exact"))
		o->rv_match = RV_MATCH_EXACT;
	TRY(options_rv(rq));
	options_check_match(rq, match, &e);
	return options_invalid(e, "ListOptions");
}

static struct err *options_table(struct api_request *rq)
{
	struct str s = query(rq, "includeObject");

	rq->opt.include = INCLUDE_METADATA;
	if (str_eqz(s, "None"))
		rq->opt.include = INCLUDE_NONE;
	else if (str_eqz(s, "Object"))
		rq->opt.include = INCLUDE_OBJECT;
	else if (!str_empty(s) && !str_eqz(s, "Metadata") && rq->out.form == OUTPUT_TABLE)
		return err_new(ERR_BAD_REQUEST,
			       "Unable to convert to Table as requested: includeObject: Invalid "
			       "value: \"" STR_FMT
			       "\": must be 'Metadata', 'Object', 'None', or empty",
			       STR_ARG(s));
	return NULL;
}

static struct err *options_timeout(struct api_request *rq)
{
	struct str s = query(rq, "timeout");
	bool write = rq->verb &
		     (VERB_CREATE | VERB_UPDATE | VERB_PATCH | VERB_DELETE | VERB_DELETECOLLECTION);
	int64_t ns = 0, ms = write ? TIMEOUT_WRITE_MS : TIMEOUT_READ_MS;

	if (!str_empty(s)) {
		struct str unit = s;

		if (!duration_parse_go(s, &ns)) {
			while (unit.n && unit.p[0] >= '0' && unit.p[0] <= '9')
				unit = str_skip(unit, 1);
			if (unit.n == s.n)
				return err_new(ERR_BAD_REQUEST,
					       "invalid timeout specified in the request URL - "
					       "time: invalid duration \"" STR_FMT "\"",
					       STR_ARG(s));
			if (str_empty(unit))
				return err_new(ERR_BAD_REQUEST,
					       "invalid timeout specified in the request URL - "
					       "time: missing unit in duration \"" STR_FMT "\"",
					       STR_ARG(s));
			return err_new(ERR_BAD_REQUEST,
				       "invalid timeout specified in the request URL - time: "
				       "unknown unit \"" STR_FMT "\" in duration \"" STR_FMT "\"",
				       STR_ARG(unit), STR_ARG(s));
		}
		if (ns > 0)
			ms = MIN(ms, MAX(ns / NS_PER_MS, 1));
	}
	if (rq->verb != VERB_WATCH && !(rq->subres && rq->subres->connect))
		fiber_limit_ms(ms);
	return NULL;
}

struct err *options_parse(struct api_request *rq)
{
	rq->opt.grace = -1;
	TRY(options_timeout(rq));
	TRY(options_table(rq));
	switch (rq->verb) {
	case VERB_GET:
		return options_rv(rq);
	case VERB_LIST:
	case VERB_WATCH:
		return options_list(rq);
	case VERB_CREATE:
	case VERB_UPDATE:
	case VERB_PATCH:
		return options_write(rq);
	case VERB_DELETE:
		return NULL;
	case VERB_DELETECOLLECTION:
		return options_list(rq);
	case VERB_OTHER:
		break;
	}
	return NULL;
}
