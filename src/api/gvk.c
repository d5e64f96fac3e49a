/* SPDX-License-Identifier: Apache-2.0 */
/* Names of groups, versions, kinds and resources. */

#include "api/gvk.h"

#include "base/arena.h"

struct str gv_format(struct arena *a, struct str group, struct str version)
{
	if (str_empty(group))
		return arena_str(a, version);
	return arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(group), STR_ARG(version));
}

bool gv_parse(struct str api_version, struct str *ret_group, struct str *ret_version)
{
	size_t slash = str_find_char(api_version, '/', 0);

	if (slash == api_version.n) {
		*ret_group = STR_EMPTY;
		*ret_version = api_version;
		return true;
	}
	if (str_find_char(api_version, '/', slash + 1) != api_version.n)
		return false;
	*ret_group = str_sub(api_version, 0, slash);
	*ret_version = str_skip(api_version, slash + 1);
	return true;
}

struct str gr_format(struct arena *a, struct str group, struct str resource)
{
	if (str_empty(group))
		return arena_str(a, resource);
	return arena_fmt(a, STR_FMT "." STR_FMT, STR_ARG(resource), STR_ARG(group));
}

bool gvr_equal(struct gvr a, struct gvr b)
{
	return str_eq(a.resource, b.resource) && str_eq(a.group, b.group) &&
	       str_eq(a.version, b.version);
}

struct version {
	int stability; /* 2: GA, 1: beta, 0: alpha */
	uint64_t major, minor;
};

/* A number without leading zeros, cut from the front of s. */
static bool version_take_number(struct str *s, uint64_t *ret)
{
	size_t n = 0;

	while (n < s->n && s->p[n] >= '0' && s->p[n] <= '9')
		n++;
	if (n == 0 || s->p[0] == '0' || !str_to_u64(str_sub(*s, 0, n), ret))
		return false;
	*s = str_skip(*s, n);
	return true;
}

static bool version_parse(struct str s, struct version *ret)
{
	struct version v = { .stability = 2 };

	if (!str_strip_prefix(&s, STR("v")) || !version_take_number(&s, &v.major))
		return false;
	if (!str_empty(s)) {
		if (str_strip_prefix(&s, STR("beta")))
			v.stability = 1;
		else if (str_strip_prefix(&s, STR("alpha")))
			v.stability = 0;
		else
			return false;
		if (!version_take_number(&s, &v.minor) || !str_empty(s))
			return false;
	}
	*ret = v;
	return true;
}

static int cmp_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

int version_cmp(struct str a, struct str b)
{
	struct version va, vb;
	bool oka = version_parse(a, &va), okb = version_parse(b, &vb);

	if (!oka && !okb)
		return str_cmp(b, a);
	if (oka != okb)
		return oka ? 1 : -1;
	if (va.stability != vb.stability)
		return va.stability > vb.stability ? 1 : -1;
	if (va.major != vb.major)
		return cmp_u64(va.major, vb.major);
	return cmp_u64(va.minor, vb.minor);
}
