/* SPDX-License-Identifier: Apache-2.0 */

/* Validation of Events. */

#include "server/event-validate.h"

#include "api/meta.h"
#include "api/names.h"
#include "base/arena.h"
#include "server/request.h"
#include "server/valid.h"
#include "json/json.h"

#define TEXT_MAX 128
#define NOTE_MAX 1024

static bool time_unset(const struct json *obj, const char *member)
{
	const struct json *t = json_get(obj, member);

	return !t || json_is_null(t);
}

static void event_text(const struct valid *v, const struct json *obj, const char *member,
		       size_t max, bool required)
{
	struct str s = json_str_at(obj, member);

	if (str_empty(s) && required)
		valid_required(v, AT(NULL, member), NULL);
	if (s.n > max)
		valid_invalid_str(v, AT(NULL, member), STR_EMPTY, "can have at most %zu characters",
				  max);
}

/* What reported it: a qualified name, also when there is none. */
static void event_reporter(const struct valid *v, const struct json *obj, const char *member)
{
	struct str who = json_str_at(obj, "reportingComponent");

	if (str_empty(who)) {
		valid_required(v, AT(NULL, member), NULL);
		valid_invalid_str(v, AT(NULL, member), who, "name part must be non-empty");
		valid_name(v, AT(NULL, member), who, name_check_qualified_part);
		return;
	}
	valid_name(v, AT(NULL, member), who, name_check_qualified);
}

static void event_legacy(const struct valid *v, const struct json *obj, bool strict)
{
	struct str ns = json_str_at(obj, "involvedObject.namespace"), own = meta_namespace(obj);
	const struct place *p = AT(AT(NULL, "involvedObject"), "namespace");
	bool old = time_unset(obj, "eventTime");

	/* events about cluster-scoped objects live in default */
	if (str_empty(ns) ? !str_eqz(own, "default") && (old || !str_eqz(own, "kube-system"))
			  : old && !str_eq(ns, own))
		valid_invalid_str(v, p, ns, "does not match event.namespace");
	if (old)
		return;
	event_reporter(v, obj, strict ? "reportingController" : "reportingComponent");
	event_text(v, obj, "reportingInstance", TEXT_MAX, true);
	event_text(v, obj, "action", TEXT_MAX, true);
	event_text(v, obj, "reason", TEXT_MAX, true);
	event_text(v, obj, "message", NOTE_MAX, false);
}

static void event_series(const struct valid *v, const struct json *obj)
{
	const struct json *s = json_get(obj, "series");

	if (!s)
		return;
	if (json_int_at(s, "count", 0) < 2)
		valid_invalid_str(v, AT(NULL, "series.count"), STR_EMPTY, "should be at least 2");
	if (time_unset(s, "lastObservedTime"))
		valid_required(v, AT(NULL, "series.lastObservedTime"), NULL);
}

static void event_unset(const struct valid *v, bool set, const char *member)
{
	if (set)
		valid_invalid_str(v, AT(NULL, member), STR_EMPTY, "needs to be unset");
}

void event_validate_core(struct api_request *rq, const struct json *obj, bool strict,
			 struct err **e)
{
	const struct valid v = { rq->arena, e, false };
	struct str type = json_str_at(obj, "type");

	event_legacy(&v, obj, strict);
	if (!strict)
		return;
	event_series(&v, obj);
	if (time_unset(obj, "eventTime"))
		valid_required(&v, AT(NULL, "eventTime"), NULL);
	if (!str_eqz(type, "Normal") && !str_eqz(type, "Warning"))
		valid_invalid_str(&v, AT(NULL, "type"), STR_EMPTY, "has invalid value: " STR_FMT,
				  STR_ARG(type));
	event_unset(&v, !time_unset(obj, "firstTimestamp"), "firstTimestamp");
	event_unset(&v, !time_unset(obj, "lastTimestamp"), "lastTimestamp");
	event_unset(&v, json_int_at(obj, "count", 0) != 0, "count");
	event_unset(&v,
		    !str_empty(json_str_at(obj, "source.component")) ||
			    !str_empty(json_str_at(obj, "source.host")),
		    "source");
}

void event_validate_core_update(struct api_request *rq, const struct json *obj,
				const struct json *old, struct err **e)
{
	static const struct {
		const char *member, *shown;
	} fixed[] = {
		{ "involvedObject", "involvedObject" },
		{ "reason", "reason" },
		{ "message", "message" },
		{ "source", "source" },
		{ "firstTimestamp", "firstTimestamp" },
		{ "lastTimestamp", "lastTimestamp" },
		{ "count", "count" },
		{ "type", "type" },
		{ "eventTime", "eventTime" },
		{ "action", "action" },
		{ "related", "related" },
		{ "reportingComponent", "reportingController" },
		{ "reportingInstance", "reportingInstance" },
	};
	const struct valid v = { rq->arena, e, false };

	if (!valid_same(json_get(obj, "series"), json_get(old, "series")))
		event_series(&v, obj);
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		valid_immutable(&v, AT(NULL, fixed[i].shown), json_get(obj, fixed[i].member),
				json_get(old, fixed[i].member));
}
