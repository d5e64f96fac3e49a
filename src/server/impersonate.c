/* SPDX-License-Identifier: Apache-2.0 */
#include "server/impersonate.h"

#include "api/names.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include "io/http-server.h"
#include "server/audit.h"
#include "server/authn.h"
#include "server/authorize.h"
#include "server/request.h"

#define MASTERS     STR("system:masters")
#define ANONYMOUS   "system:anonymous"
#define NODE_NAME   "authentication.kubernetes.io/node-name"
#define MAX_KNOWN   10000
#define MANY_CHECKS 4 /* from here on one check for "*" may spare the others */
#define AUTHN_GROUP STR("authentication.k8s.io")

struct impersonation {
	struct api_request *rq;
	struct user_info wanted; /* as the headers say */
	struct user_info got;    /* with what belongs to it */
	const char *mode;        /* NULL: plain impersonate */
};

struct mode {
	const char *name;
	bool (*fits)(const struct impersonation *im);
};

/* names */
static bool name_is_node(struct str user, struct str *ret_node)
{
	*ret_node = user;
	return str_strip_prefix(ret_node, STR("system:node:")) &&
	       !name_check_dns_subdomain(*ret_node);
}

static bool only_name(const struct user_info *u)
{
	return str_empty(u->uid) && !u->n_groups && !u->n_extra;
}

static bool fits_arbitrary_node(const struct impersonation *im)
{
	struct str node;

	return only_name(&im->wanted) && name_is_node(im->wanted.name, &node);
}

/* The node that the account's token is bound to, itself or by its Pod. */
static bool fits_associated_node(const struct impersonation *im)
{
	const struct user_info *u = &im->rq->user;
	struct str node, ns, name;

	if (!only_name(&im->wanted) || !name_is_node(im->wanted.name, &node) ||
	    !user_is_account(u->name, &ns, &name))
		return false;
	for (size_t i = 0; i < u->n_extra; i++) {
		if (str_eqz(u->extra[i].key, NODE_NAME))
			return u->extra[i].n_values == 1 && str_eq(u->extra[i].values[0], node);
	}
	return false;
}

static bool fits_account(const struct impersonation *im)
{
	struct str ns, name;

	return only_name(&im->wanted) && user_is_account(im->wanted.name, &ns, &name);
}

static bool fits_user_info(const struct impersonation *im)
{
	struct str ns, name;

	return !name_is_node(im->wanted.name, &name) &&
	       !user_is_account(im->wanted.name, &ns, &name);
}

static bool fits_all(const struct impersonation *im UNUSED)
{
	return true;
}

static const struct mode modes[] = {
	{ "associated-node", fits_associated_node },
	{ "arbitrary-node", fits_arbitrary_node },
	{ "serviceaccount", fits_account },
	{ "user-info", fits_user_info },
	{ NULL, fits_all },
};

/* checks */
static struct err *impersonate_ask(struct impersonation *im, struct authz_attrs *at)
{
	struct str reason;

	if (authz_allowed(im->rq->server->authz, im->rq->arena, at, &reason))
		return NULL;
	return authorize_refuse(im->rq->arena, at, reason);
}

static struct authz_attrs impersonate_attrs(struct impersonation *im, struct str group,
					    const char *resource)
{
	struct arena *a = im->rq->arena;

	return (struct authz_attrs){
		.user = &im->rq->user,
		.verb = im->mode ? arena_fmt(a, "impersonate:%s", im->mode) : STR("impersonate"),
		.is_resource = true,
		.group = group,
		.version = STR("v1"),
		.resource = str_from(resource),
	};
}

/* users and groups have their place in the core group for the plain verb */
static struct str impersonate_user_group(const struct impersonation *im)
{
	return im->mode ? AUTHN_GROUP : STR_EMPTY;
}

static struct err *impersonate_name(struct impersonation *im)
{
	struct authz_attrs at = impersonate_attrs(im, impersonate_user_group(im), "users");
	struct arena *a = im->rq->arena;
	struct str node, ns, name;

	at.name = im->wanted.name;
	if (im->mode && name_is_node(im->wanted.name, &node)) {
		at.resource = STR("nodes");
		/* whichever node it is on */
		at.name = str_eqz(str_from(im->mode), "associated-node") ? STR("*") : node;
		user_add_group(a, &im->got, STR("system:nodes"));
	} else if (user_is_account(im->wanted.name, &ns, &name)) {
		at.resource = STR("serviceaccounts");
		at.ns = ns;
		at.name = name;
		if (!im->wanted.n_groups) {
			user_add_group(a, &im->got, STR("system:serviceaccounts"));
			user_add_group(a, &im->got,
				       arena_cat(a, STR("system:serviceaccounts:"), ns));
		}
	}
	return impersonate_ask(im, &at);
}

static struct err *impersonate_uid(struct impersonation *im)
{
	struct authz_attrs at = impersonate_attrs(im, AUTHN_GROUP, "uids");

	at.name = im->wanted.uid;
	return str_empty(at.name) ? NULL : impersonate_ask(im, &at);
}

/* True when one check for all of them succeeded. */
static bool impersonate_all(struct impersonation *im, struct authz_attrs at, struct str sub)
{
	struct err *e;

	at.sub = sub;
	at.name = STR("*");
	e = impersonate_ask(im, &at);
	if (!e)
		return true;
	err_ignore(e, "then one by one");
	return false;
}

static struct err *impersonate_check_groups(struct impersonation *im, struct authz_attrs *at)
{
	for (size_t i = 0; i < im->wanted.n_groups; i++) {
		if (str_empty(im->wanted.groups[i]))
			return authorize_refuse(
				im->rq->arena, at,
				STR("impersonating the empty string group is not allowed"));
	}
	if (!user_in_group(&im->wanted, MASTERS))
		return NULL;
	at->name = MASTERS;
	return authorize_refuse(im->rq->arena, at,
				STR("impersonating the system:masters group is not allowed"));
}

static struct err *impersonate_groups(struct impersonation *im)
{
	struct authz_attrs at = impersonate_attrs(im, impersonate_user_group(im), "groups");

	if (im->mode) {
		TRY(impersonate_check_groups(im, &at));
		if (im->wanted.n_groups >= MANY_CHECKS && impersonate_all(im, at, STR_EMPTY))
			return NULL;
	}
	for (size_t i = 0; i < im->wanted.n_groups; i++) {
		at.name = im->wanted.groups[i];
		TRY(impersonate_ask(im, &at));
	}
	return NULL;
}

static struct str extra_problem(struct arena *a, const struct user_extra *x)
{
	struct str path = x->key, domain;

	if (str_empty(x->key))
		return STR("impersonating the empty string key in extra is not allowed");
	if (!str_cut(&path, '/', &domain) || name_check_dns_subdomain(domain) || str_empty(path))
		return arena_fmt(a,
				 "impersonating an invalid key in extra is not allowed: "
				 "extra.key: Invalid value: \"" STR_FMT
				 "\": must be a domain-prefixed path (such as \"acme.io/foo\")",
				 STR_ARG(x->key));
	for (size_t i = 0; i < x->key.n; i++) {
		if (x->key.p[i] >= 'A' && x->key.p[i] <= 'Z')
			return arena_fmt(a,
					 "impersonating a non-lowercase key in extra is not "
					 "allowed: \"" STR_FMT "\"",
					 STR_ARG(x->key));
	}
	for (size_t i = 0; i < x->n_values; i++) {
		if (str_empty(x->values[i]))
			return STR("impersonating the empty string value in extra is not allowed");
	}
	return STR_EMPTY;
}

static struct err *impersonate_extra(struct impersonation *im)
{
	struct authz_attrs at = impersonate_attrs(im, AUTHN_GROUP, "userextras");
	size_t total = 0;

	for (size_t i = 0; im->mode && i < im->wanted.n_extra; i++) {
		struct str why = extra_problem(im->rq->arena, &im->wanted.extra[i]);

		if (!str_empty(why))
			return authorize_refuse(im->rq->arena, &at, why);
		total += im->wanted.extra[i].n_values;
	}
	if (im->mode && total >= MANY_CHECKS && impersonate_all(im, at, STR("*")))
		return NULL;
	for (size_t i = 0; i < im->wanted.n_extra; i++) {
		const struct user_extra *x = &im->wanted.extra[i];

		at.sub = x->key;
		for (size_t k = 0; k < x->n_values; k++) {
			at.name = x->values[k];
			TRY(impersonate_ask(im, &at));
		}
	}
	return NULL;
}

/* Whether what the request does may be done in this mode at all. */
static struct err *impersonate_on(struct impersonation *im)
{
	struct authz_attrs at = authorize_attrs(im->rq, im->rq->verb);

	if (!im->mode)
		return NULL;
	at.verb =
		arena_fmt(im->rq->arena, "impersonate-on:%s:" STR_FMT, im->mode, STR_ARG(at.verb));
	return impersonate_ask(im, &at);
}

static struct err *impersonate_mode(struct impersonation *im, const char *mode)
{
	struct arena *a = im->rq->arena;

	im->mode = mode;
	im->got = im->wanted;
	TRY(impersonate_on(im));
	TRY(impersonate_name(im));
	TRY(impersonate_uid(im));
	TRY(impersonate_groups(im));
	TRY(impersonate_extra(im));
	if (str_eqz(im->got.name, ANONYMOUS))
		user_add_group(a, &im->got, STR("system:unauthenticated"));
	else if (!user_in_group(&im->got, STR("system:unauthenticated")))
		user_add_group(a, &im->got, STR("system:authenticated"));
	return NULL;
}

/* the mode that served this user last: its index, or ARRAY_LEN(modes) */
static struct map *modes_known(void)
{
	static struct map known;

	if (known.n > MAX_KNOWN)
		map_clear(&known);
	return &known;
}

static size_t mode_last(struct str user)
{
	const struct mode *m = map_find(modes_known(), user);

	return m ? (size_t)(m - modes) : ARRAY_LEN(modes);
}

static struct err *impersonate_try(struct impersonation *im, size_t i, struct err *first,
				   bool *ret_done)
{
	struct err *e;

	*ret_done = false;
	if (!modes[i].fits(im))
		return first;
	e = impersonate_mode(im, modes[i].name);
	if (!e) {
		*ret_done = true;
		map_put(modes_known(), im->rq->user.name, (void *)(uintptr_t)&modes[i]);
		return err_free(first);
	}
	if (!first)
		return e;
	err_free(e);
	return first;
}

static struct err *impersonate_modes(struct impersonation *im)
{
	size_t last = mode_last(im->rq->user.name);
	struct err *first = NULL;
	bool done = false;

	if (last < ARRAY_LEN(modes))
		first = impersonate_try(im, last, NULL, &done);
	for (size_t i = 0; i < ARRAY_LEN(modes) && !done; i++) {
		if (i != last)
			first = impersonate_try(im, i, first, &done);
	}
	return first;
}

/* the headers */
static void print_list(struct buf *b, const struct str *v, size_t n)
{
	if (!n) {
		buf_addz(b, "(nil)");
		return;
	}
	for (size_t i = 0; i < n; i++)
		buf_addf(b, "%s\"" STR_FMT "\"", i ? ", " : "{", STR_ARG(v[i]));
	buf_addc(b, '}');
}

/* As Go prints the struct. */
static struct err *impersonate_nobody(const struct user_info *u)
{
	_cleanup_buf_ struct buf b = { 0 };

	buf_addf(&b, "&user.DefaultInfo{Name:\"\", UID:\"" STR_FMT "\", Groups:[]string",
		 STR_ARG(u->uid));
	print_list(&b, u->groups, u->n_groups);
	buf_addz(&b, ", Extra:map[string][]string");
	if (!u->n_extra)
		buf_addz(&b, "(nil)");
	for (size_t i = 0; i < u->n_extra; i++) {
		buf_addf(&b, "%s\"" STR_FMT "\":[]string", i ? ", " : "{",
			 STR_ARG(u->extra[i].key));
		print_list(&b, u->extra[i].values, u->extra[i].n_values);
	}
	buf_addz(&b, u->n_extra ? "}}" : "}");
	return err_new(ERR_BAD_REQUEST, "requested %s without impersonating a user name", b.p);
}

/* Hardly ever. */
static bool impersonate_wanted(const struct http_headers *h)
{
	for (size_t i = 0; i < h->n; i++) {
		struct str name = h->v[i].name;

		if (name.n > 12 && str_eq_nocase(str_sub(name, 0, 12), STR("impersonate-")))
			return true;
	}
	return false;
}

struct err *impersonate(struct api_request *rq)
{
	const struct http_headers *h = &rq->http->headers;
	struct impersonation im = { .rq = rq };
	struct user_info *u = &im.wanted;

	if (!impersonate_wanted(h))
		return NULL;

	u->name = http_headers_find(h, "impersonate-user");
	u->uid = http_headers_find(h, "impersonate-uid");
	u->groups = header_values(rq->arena, h, "impersonate-group", 0, &u->n_groups);
	user_extra_from_headers(rq->arena, h, "Impersonate-Extra-", u);
	if (str_empty(u->name))
		return only_name(u) ? NULL : impersonate_nobody(u);
	TRY(impersonate_modes(&im));
	audit_impersonated(rq, &im.got,
			   im.mode ? arena_fmt(rq->arena, "impersonate:%s", im.mode) : STR_EMPTY);
	rq->user = im.got;
	return NULL;
}
