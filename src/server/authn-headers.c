/* SPDX-License-Identifier: Apache-2.0 */

/* What headers say of users: those of a front proxy, and of impersonation. */

#include <stdlib.h>

#include "api/names.h"
#include "base/arena.h"
#include "io/http.h"
#include "server/authn.h"
#include "server/request.h"

static bool header_strip_prefix(struct str *name, struct str prefix)
{
	if (name->n < prefix.n || !str_eq_nocase(str_sub(*name, 0, prefix.n), prefix))
		return false;
	*name = str_skip(*name, prefix.n);
	return true;
}

static struct str header_key(struct arena *a, struct str name)
{
	char *p = arena_strz(a, name);

	for (size_t i = 0; i < name.n; i++) {
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] = (char)(p[i] + 32);
	}
	return http_url_decode(a, str_make(p, name.n));
}

struct extra_pair {
	struct str key, value;
	size_t at; /* keeps equal keys in order */
};

static int extra_pair_cmp(const void *x, const void *y)
{
	const struct extra_pair *a = x, *b = y;
	int c = str_cmp(a->key, b->key);

	return c ? c : (a->at > b->at) - (a->at < b->at);
}

static void extra_gather(struct arena *a, const struct extra_pair *pairs, size_t n,
			 struct user_info *u)
{
	struct user_extra *x = arena_array(a, n + 1, sizeof(*x));
	struct str *values = arena_array(a, n + 1, sizeof(*values));

	for (size_t i = 0; i < n; i++) {
		values[i] = pairs[i].value;
		if (!i || !str_eq(pairs[i].key, pairs[i - 1].key))
			x[u->n_extra++] = (struct user_extra){ pairs[i].key, &values[i], 0 };
		x[u->n_extra - 1].n_values++;
	}
	u->extra = x;
}

void user_extra_from_headers(struct arena *a, const struct http_headers *h, const char *prefix,
			     struct user_info *u)
{
	struct extra_pair *pairs = NULL;
	size_t n = 0;

	u->extra = NULL;
	u->n_extra = 0;
	for (size_t i = 0; i < h->n; i++) {
		struct str name = h->v[i].name;

		if (!header_strip_prefix(&name, str_from(prefix)))
			continue;
		if (!pairs)
			pairs = arena_array(a, h->n, sizeof(*pairs));
		pairs[n] = (struct extra_pair){ header_key(a, name), h->v[i].value, n };
		n++;
	}
	if (!n)
		return;
	qsort(pairs, n, sizeof(*pairs), extra_pair_cmp);
	extra_gather(a, pairs, n, u);
}

struct str *header_values(struct arena *a, const struct http_headers *h, const char *name,
			  size_t spare, size_t *ret_n)
{
	struct str *v = NULL;

	*ret_n = 0;
	for (size_t i = 0; i < h->n; i++) {
		if (!str_eq_nocase(h->v[i].name, str_from(name)))
			continue;
		if (!v)
			v = arena_array(a, h->n + spare, sizeof(*v));
		v[(*ret_n)++] = h->v[i].value;
	}
	return v ? v : arena_array(a, spare + 1, sizeof(*v));
}

bool user_is_account(struct str user, struct str *ret_ns, struct str *ret_name)
{
	struct str ns;

	if (!str_strip_prefix(&user, STR("system:serviceaccount:")) || !str_cut(&user, ':', &ns))
		return false;
	if (name_check_dns_label(ns) || name_check_dns_subdomain(user))
		return false;
	*ret_ns = ns;
	*ret_name = user;
	return true;
}

void user_add_group(struct arena *a, struct user_info *u, struct str group)
{
	struct str *v;

	if (user_in_group(u, group))
		return;
	v = arena_array(a, u->n_groups + 1, sizeof(*v));
	for (size_t i = 0; i < u->n_groups; i++)
		v[i] = u->groups[i];
	v[u->n_groups] = group;
	u->groups = v;
	u->n_groups++;
}
