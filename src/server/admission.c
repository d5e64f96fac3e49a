/* SPDX-License-Identifier: Apache-2.0 */
#include "server/admission.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/engine.h"
#include "server/errors.h"
#include "server/object.h"
#include "server/server.h"
#include "json/json.h"

struct str admission_op_name(enum admission_op op)
{
	switch (op) {
	case ADMISSION_CREATE:
		return STR("CREATE");
	case ADMISSION_UPDATE:
		return STR("UPDATE");
	case ADMISSION_DELETE:
		return STR("DELETE");
	case ADMISSION_CONNECT:
		return STR("CONNECT");
	}
	return STR_EMPTY;
}

void admission_add(struct apiserver *s, struct admission_plugin *p)
{
	list_push_back(&s->admission, &p->link);
}

static bool admission_plugin_wants(struct admission_plugin *p, const struct admission *ad)
{
	return !p->wants || p->wants(p, ad);
}

bool admission_wanted(struct apiserver *s, const struct admission *ad)
{
	struct admission_plugin *p;

	list_for_each(p, &s->admission, link) {
		if (admission_plugin_wants(p, ad))
			return true;
	}
	return false;
}

static struct err *admission_pass(struct apiserver *s, struct admission *ad)
{
	struct admission_plugin *p;

	list_for_each(p, &s->admission, link) {
		if (p->mutate && admission_plugin_wants(p, ad))
			TRY(p->mutate(p, ad));
	}
	return NULL;
}

struct err *admission_mutate(struct apiserver *s, struct admission *ad)
{
	TRY(admission_pass(s, ad));
	if (!ad->reinvoke)
		return NULL;
	ad->reinvoked = true;
	return admission_pass(s, ad);
}

struct err *admission_validate(struct apiserver *s, struct admission *ad)
{
	struct admission_plugin *p;

	list_for_each(p, &s->admission, link) {
		if (p->validate && admission_plugin_wants(p, ad))
			TRY(p->validate(p, ad));
	}
	return NULL;
}

/* What a body may leave out because its path says it. */
static void admission_complete(struct api_request *rq, struct json *obj)
{
	struct arena *a = rq->arena;

	if (!json_get(obj, "apiVersion"))
		json_set_first(a, obj, "apiVersion", json_str(a, object_api_version(rq)));
	if (!json_get(obj, "kind"))
		json_set_first(a, obj, "kind", json_str(a, object_kind(rq)));
	if (rq->ns.n)
		json_set_str(a, json_sub(a, obj, "metadata"), "namespace", rq->ns);
}

struct err *admission_run(struct api_request *rq, enum admission_op op, struct json **obj)
{
	struct admission ad = {
		.rq = rq,
		.op = op,
		.res = rq->res,
		.v = rq->v,
		.sub = request_sub(rq),
		.ns = rq->ns,
		.name = rq->name,
		.obj = *obj,
		.dry_run = rq->opt.dry_run,
	};

	if (!admission_wanted(rq->server, &ad))
		return NULL;
	ad.options = engine_options_json(rq, "CreateOptions");
	admission_complete(rq, ad.obj);
	TRY(admission_mutate(rq->server, &ad));
	TRY(admission_validate(rq->server, &ad));
	*obj = ad.obj;
	return NULL;
}

struct err *admission_deny(const struct admission *ad, const char *fmt, ...)
{
	struct str text, name = ad->name;
	va_list ap;

	va_start(ap, fmt);
	text = arena_vfmt(ad->rq->arena, fmt, ap);
	va_end(ap);
	/* a name that is still to be made up is told by what it begins with */
	if (!name.n)
		name = meta_name(ad->obj);
	if (!name.n)
		name = json_str_at(ad->obj, "metadata.generateName");
	return error_forbidden(ad->res, name.n ? name : STR("Unknown"), STR_FMT, STR_ARG(text));
}
