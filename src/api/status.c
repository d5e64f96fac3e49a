/* SPDX-License-Identifier: Apache-2.0 */
/* metav1.Status <-> struct err, member for member. */

#include "api/status.h"

#include "base/err.h"
#include "json/json.h"

static void status_add_str(struct arena *a, struct json *obj, const char *key, struct str s)
{
	if (!str_empty(s))
		json_set(a, obj, key, json_strcpy(a, s));
}

static struct json *status_details(struct arena *a, const struct err *e)
{
	struct json *d = json_object(a);
	size_t n = err_n_causes(e);

	status_add_str(a, d, "name", err_detail_name(e));
	status_add_str(a, d, "group", err_detail_group(e));
	status_add_str(a, d, "kind", err_detail_kind(e));
	status_add_str(a, d, "uid", err_detail_uid(e));
	if (n) {
		struct json *causes = json_array(a);

		for (size_t i = 0; i < n; i++) {
			struct err_cause c = err_get_cause(e, i);
			struct json *j = json_object(a);

			status_add_str(a, j, "reason", c.reason);
			status_add_str(a, j, "message", c.message);
			status_add_str(a, j, "field", c.field);
			json_push(causes, j);
		}
		json_set(a, d, "causes", causes);
	}
	if (err_get_retry_after(e) > 0)
		json_set_int(a, d, "retryAfterSeconds", err_get_retry_after(e));
	return d;
}

struct json *status_success(struct arena *a, int code)
{
	struct json *st = json_object(a);

	json_set_str(a, st, "kind", STR("Status"));
	json_set_str(a, st, "apiVersion", STR("v1"));
	json_sub(a, st, "metadata");
	json_set_str(a, st, "status", STR("Success"));
	if (code)
		json_set_int(a, st, "code", code);
	return st;
}

struct json *status_from_err(struct arena *a, const struct err *e)
{
	struct json *s = json_object(a);
	struct json *details = status_details(a, e);

	json_set(a, s, "kind", json_strz(a, "Status"));
	json_set(a, s, "apiVersion", json_strz(a, "v1"));
	json_set(a, s, "metadata", json_object(a));
	json_set(a, s, "status", json_strz(a, "Failure"));
	status_add_str(a, s, "message", err_msg(e));
	status_add_str(a, s, "reason", err_reason(e));
	if (json_len(details))
		json_set(a, s, "details", details);
	json_set_int(a, s, "code", err_http_status(e));
	return s;
}

static struct err *status_add_details(struct err *e, const struct json *d)
{
	struct str uid = json_str_at(d, "uid");
	int64_t retry = json_int_at(d, "retryAfterSeconds", 0);

	e = err_details(e, json_str_at(d, "group"), json_str_at(d, "kind"), json_str_at(d, "name"));
	if (!str_empty(uid))
		e = err_uid(e, uid);
	if (retry > 0 && retry < 24 * 3600)
		e = err_retry_after(e, (int)retry);
	json_for_each(it, json_get(d, "causes"))
	{
		err_add_cause(e, json_str_at(it.val, "field"), json_str_at(it.val, "reason"),
			      json_str_at(it.val, "message"));
	}
	return e;
}

struct err *status_to_err(const struct json *status, int http_status)
{
	struct str reason = json_str_at(status, "reason");
	struct str msg = json_str_at(status, "message");
	int64_t code = json_int_at(status, "code", http_status);
	struct err *e;

	if (!str_eqz(json_str_at(status, "kind"), "Status")) {
		e = err_new(err_code_from_reason(STR_EMPTY, http_status),
			    "the server responded with HTTP status %d", http_status);
		return err_set_status(e, http_status);
	}
	if (code < 100 || code > 999)
		code = http_status;
	e = err_new(err_code_from_reason(reason, (int)code), STR_FMT, STR_ARG(msg));
	e = err_set_status(e, (int)code);
	if (!str_eq(err_reason(e), reason))
		e = err_set_reason(e, reason);
	if (json_is(json_get(status, "details"), JSON_OBJECT))
		e = status_add_details(e, json_get(status, "details"));
	return e;
}
