/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What webhooks and policies match requests by: rules (operations, groups, versions, resources,
 * scope), in the request's version or an equivalent one, and selectors; and conversion of what is
 * admitted to the version that is wanted.
 */

#include "base/map.h"
#include "server/admission.h"

struct schema;
struct selector;

/* A version of a resource that a webhook or policy wants to see the object in. */
struct hook_view {
	const struct resource *res;
	const struct resource_version *v; /* NULL: no rule fits */
};

/*
 * rules: rules[] or resourceRules[]; equivalent: other versions and groups count, too; names:
 * resourceNames count, which policies have.
 */
struct hook_view hook_match_rules(const struct json *rules, const struct admission *ad,
				  bool equivalent, bool names);
/* Configurations of admission itself are never sent to webhooks or policies. */
bool hook_exempt(const struct admission *ad);

/* namespaceSelector and objectSelector, parsed once. */
struct hook_selectors {
	const struct selector *namespaces, *objects; /* NULL: everything */
};

MUST_USE struct err *hook_selectors_parse(struct arena *a, const struct json *from,
					  struct hook_selectors *ret);
/* NOT_FOUND when the namespace is gone. */
MUST_USE SUSPENDS struct err *hook_selected(const struct admission *ad,
					    const struct hook_selectors *s, bool *ret);

/* The kind of the body in a view: a subresource may have one of its own. */
struct hook_kind {
	struct str group, version, kind;
};
struct hook_kind hook_kind(const struct admission *ad, const struct hook_view *view);
/* AdmissionRequest without the objects, dryRun and options. */
struct json *hook_request(const struct admission *ad, const struct hook_view *view, struct str uid);
/*
 * obj (of the request's version) as the view has it: itself, or a converted copy; NULL stays NULL.
 * hook_unview is the way back, for what was changed there.
 */
MUST_USE struct err *hook_view_obj(const struct admission *ad, const struct hook_view *view,
				   const struct json *obj, struct json **ret);
MUST_USE struct err *hook_unview(const struct admission *ad, const struct hook_view *view,
				 struct json *obj, struct json **ret);
/* Of the body in a view; NULL: nothing is known of it. */
const struct schema *hook_schema(const struct admission *ad, const struct hook_view *view);
/* Pruned and defaulted as what a client sends, in the view's version. */
void hook_renew(const struct admission *ad, const struct hook_view *view, struct json *obj);

/*
 * Whether anything wants a kind of request, remembered until the configurations change. Zero is
 * valid.
 */
struct hook_cache {
	/* private */
	struct map known;
};

void hook_cache_clear(struct hook_cache *c);
bool hook_cache_wants(struct hook_cache *c, const struct admission *ad,
		      bool (*any)(const struct admission *ad, void *ctx), void *ctx);
