/* SPDX-License-Identifier: Apache-2.0 */
#include "server/limit-range.h"

#include "api/meta.h"
#include "api/resource-list.h"
#include "base/arena.h"
#include "base/buf.h"
#include "json/json.h"

#define ANNOTATION "kubernetes.io/limit-ranger"
/* Quantities above it are compared as whole numbers: thousandths would overflow. */
#define MAX_MILLI (INT64_MAX / 1000)

/* ---- defaults */

static struct resource_list range_defaults(struct arena *a, const struct json *range,
					   const char *member)
{
	struct resource_list all = { .a = a };

	json_for_each(it, json_at(range, "spec.limits"))
	{
		struct resource_list l;

		if (!str_eqz(json_str_at(it.val, "type"), "Container"))
			continue;
		l = resource_list_from_json(a, json_get(it.val, member));
		for (size_t i = 0; i < l.n; i++)
			resource_list_set(&all, l.v[i].name, l.v[i].q);
	}
	return all;
}

static void note(struct buf *b, const struct str *names, size_t n, const char *what,
		 const char *kind, struct str container)
{
	if (!n)
		return;
	buf_addz(b, b->n ? "; " : "LimitRanger plugin set: ");
	for (size_t i = 0; i < n; i++)
		buf_addf(b, "%s" STR_FMT, i ? ", " : "", STR_ARG(names[i]));
	buf_addf(b, " %s for %s " STR_FMT, what, kind, STR_ARG(container));
}

static void container_fill(struct arena *a, struct json *c, const struct resource_list *dflt,
			   const char *member, const char *what, const char *kind, struct buf *b)
{
	struct str *set = arena_array(a, dflt->n + 1, sizeof(*set));
	struct json *to;
	size_t n = 0;

	if (!dflt->n)
		return;
	to = json_sub(a, json_sub(a, c, "resources"), member);
	for (size_t i = 0; i < dflt->n; i++) {
		if (json_get_s(to, dflt->v[i].name))
			continue;
		json_set_s(a, to, dflt->v[i].name, json_str(a, quantity_text(a, dflt->v[i].q)));
		set[n++] = dflt->v[i].name;
	}
	note(b, set, n, what, kind, json_str_at(c, "name"));
}

void limit_range_default_pod(struct arena *a, const struct json *range, struct json *pod)
{
	static const struct {
		const char *list, *kind;
	} lists[] = { { "containers", "container" }, { "initContainers", "init container" } };
	struct resource_list limits = range_defaults(a, range, "default");
	struct resource_list requests = range_defaults(a, range, "defaultRequest");
	_cleanup_buf_ struct buf b = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_for_each(it, json_get(json_get(pod, "spec"), lists[i].list))
		{
			container_fill(a, it.val, &requests, "requests", "request", lists[i].kind,
				       &b);
			container_fill(a, it.val, &limits, "limits", "limit", lists[i].kind, &b);
		}
	}
	if (b.n)
		meta_set_annotation(a, pod, ANNOTATION, buf_to_arena(&b, a));
}

/* ---- bounds */

/* What is checked: a container, the Pod as a whole, or a claim. */
struct bounds {
	struct arena *a;
	struct str type;
	struct resource_list requests, limits;
	struct json *bad; /* array of texts */
};

/* -1, 0, 1 as upstream compares: by thousandths where they fit. */
static int bound_cmp(struct quantity x, struct quantity y)
{
	int64_t a = quantity_value(x), b = quantity_value(y);

	if (a <= MAX_MILLI && b <= MAX_MILLI) {
		a = quantity_milli(x);
		b = quantity_milli(y);
	}
	return (a > b) - (a < b);
}

static void PRINTF_LIKE(2, 3) bound_fail(struct bounds *c, const char *fmt, ...)
{
	struct str text;
	va_list ap;

	va_start(ap, fmt);
	text = arena_vfmt(c->a, fmt, ap);
	va_end(ap);
	json_push(c->bad, json_str(c->a, text));
}

/* `maximum cpu usage per Pod is 1` */
static struct str bound_text(struct bounds *c, const char *which, const struct resource_amount *e)
{
	return arena_fmt(c->a, "%s " STR_FMT " usage per " STR_FMT " is " STR_FMT, which,
			 STR_ARG(e->name), STR_ARG(c->type), STR_ARG(quantity_text(c->a, e->q)));
}

static void bound_min(struct bounds *c, const struct resource_amount *e)
{
	const struct quantity *req = resource_list_find(&c->requests, e->name);
	const struct quantity *lim = resource_list_find(&c->limits, e->name);
	struct str text = bound_text(c, "minimum", e);

	if (!req)
		bound_fail(c, STR_FMT ".  No request is specified", STR_ARG(text));
	else if (bound_cmp(*req, e->q) < 0)
		bound_fail(c, STR_FMT ", but request is " STR_FMT, STR_ARG(text),
			   STR_ARG(quantity_text(c->a, *req)));
	else if (lim && bound_cmp(*lim, e->q) < 0)
		bound_fail(c, STR_FMT ", but limit is " STR_FMT, STR_ARG(text),
			   STR_ARG(quantity_text(c->a, *lim)));
}

static void bound_max(struct bounds *c, const struct resource_amount *e)
{
	const struct quantity *req = resource_list_find(&c->requests, e->name);
	const struct quantity *lim = resource_list_find(&c->limits, e->name);
	struct str text = bound_text(c, "maximum", e);

	if (!lim)
		bound_fail(c, STR_FMT ".  No limit is specified", STR_ARG(text));
	else if (bound_cmp(*lim, e->q) > 0)
		bound_fail(c, STR_FMT ", but limit is " STR_FMT, STR_ARG(text),
			   STR_ARG(quantity_text(c->a, *lim)));
	else if (req && bound_cmp(*req, e->q) > 0)
		bound_fail(c, STR_FMT ", but request is " STR_FMT, STR_ARG(text),
			   STR_ARG(quantity_text(c->a, *req)));
}

/* Claims have no limits. */
static void bound_max_request(struct bounds *c, const struct resource_amount *e)
{
	const struct quantity *req = resource_list_find(&c->requests, e->name);
	struct str text = bound_text(c, "maximum", e);

	if (!req)
		bound_fail(c, STR_FMT ".  No request is specified", STR_ARG(text));
	else if (bound_cmp(*req, e->q) > 0)
		bound_fail(c, STR_FMT ", but request is " STR_FMT, STR_ARG(text),
			   STR_ARG(quantity_text(c->a, *req)));
}

static void bound_ratio(struct bounds *c, const struct resource_amount *e)
{
	const struct quantity *req = resource_list_find(&c->requests, e->name);
	const struct quantity *lim = resource_list_find(&c->limits, e->name);
	struct str text =
		arena_fmt(c->a, STR_FMT " max limit to request ratio per " STR_FMT " is " STR_FMT,
			  STR_ARG(e->name), STR_ARG(c->type), STR_ARG(quantity_text(c->a, e->q)));
	double ratio;

	if (!req || !req->nano) {
		bound_fail(c, STR_FMT ", but no request is specified or request is 0",
			   STR_ARG(text));
		return;
	}
	if (!lim || !lim->nano) {
		bound_fail(c, STR_FMT ", but no limit is specified or limit is 0", STR_ARG(text));
		return;
	}
	ratio = (double)lim->nano / (double)req->nano;
	if (ratio * 1e9 > (double)e->q.nano)
		bound_fail(c, STR_FMT ", but provided ratio is %f", STR_ARG(text), ratio);
}

static void bounds_each(struct bounds *c, const struct json *limit, const char *member,
			void (*check)(struct bounds *c, const struct resource_amount *e))
{
	struct resource_list l = resource_list_from_json(c->a, json_get(limit, member));

	for (size_t i = 0; i < l.n; i++)
		check(c, &l.v[i]);
}

static void bounds_pod(struct bounds *c, const struct json *limit)
{
	bounds_each(c, limit, "min", bound_min);
	bounds_each(c, limit, "max", bound_max);
	bounds_each(c, limit, "maxLimitRequestRatio", bound_ratio);
}

static void bounds_take(struct bounds *c, const struct json *resources)
{
	c->requests = resource_list_from_json(c->a, json_get(resources, "requests"));
	c->limits = resource_list_from_json(c->a, json_get(resources, "limits"));
}

static void limit_pod(struct bounds *c, const struct json *limit, const struct json *pod)
{
	static const char *const lists[] = { "containers", "initContainers" };

	if (str_eqz(c->type, "Pod")) {
		c->requests = pod_spec_sum(c->a, pod, "requests");
		c->limits = pod_spec_sum(c->a, pod, "limits");
		bounds_pod(c, limit);
	}
	if (!str_eqz(c->type, "Container"))
		return;
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_for_each(it, json_get(json_get(pod, "spec"), lists[i]))
		{
			bounds_take(c, json_get(it.val, "resources"));
			bounds_pod(c, limit);
		}
	}
}

static void limit_claim(struct bounds *c, const struct json *limit, const struct json *claim)
{
	if (!str_eqz(c->type, "PersistentVolumeClaim"))
		return;
	bounds_take(c, json_at(claim, "spec.resources"));
	c->limits.n = 0;
	bounds_each(c, limit, "min", bound_min);
	bounds_each(c, limit, "max", bound_max_request);
}

/* "a", or "[a, b]" with each text once. */
static struct str bad_text(struct arena *a, const struct json *bad)
{
	_cleanup_buf_ struct buf b = { 0 };
	size_t n = 0;

	json_for_each(it, bad)
	{
		bool seen = false;

		for (size_t i = 0; i < it.i; i++)
			seen |= json_equal(json_idx(bad, i), it.val);
		if (!seen)
			buf_addf(&b, "%s" STR_FMT, n++ ? ", " : "", STR_ARG(json_as_str(it.val)));
	}
	if (n < 2)
		return buf_to_arena(&b, a);
	return arena_fmt(a, "[%s]", b.p);
}

struct str limit_range_check(struct arena *a, const struct json *range, struct str gr,
			     const struct json *obj)
{
	struct bounds c = { .a = a, .bad = json_array(a) };

	json_for_each(it, json_at(range, "spec.limits"))
	{
		c.type = json_str_at(it.val, "type");
		if (str_eqz(gr, "pods"))
			limit_pod(&c, it.val, obj);
		else
			limit_claim(&c, it.val, obj);
	}
	return bad_text(a, c.bad);
}
