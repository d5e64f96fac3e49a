/* SPDX-License-Identifier: Apache-2.0 */
#include "server/accept.h"

#include "base/arena.h"

#define ACCEPT_MAX     64
#define ACCEPT_QUALITY 1000

/* "0.8" in thousandths; what is no number is no preference. */
static int accept_quality(struct str s)
{
	struct str whole;
	int n, unit = 100;

	str_cut(&s, '.', &whole);
	if (!str_eqz(whole, "0"))
		return ACCEPT_QUALITY;
	n = 0;
	for (size_t i = 0; i < s.n && unit; i++, unit /= 10) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return ACCEPT_QUALITY;
		n += (s.p[i] - '0') * unit;
	}
	return n;
}

static struct accept_clause accept_parse(struct str text)
{
	struct accept_clause c = { .quality = ACCEPT_QUALITY };
	struct str param;

	str_cut(&text, ';', &c.type);
	c.type = str_trim(c.type);
	while (str_split_next(&text, ';', &param)) {
		struct str val = str_trim(param), key;

		str_cut(&val, '=', &key);
		key = str_trim(key);
		val = str_trim(val);
		if (str_eqz(key, "as"))
			c.as = val;
		else if (str_eqz(key, "g"))
			c.group = val;
		else if (str_eqz(key, "v"))
			c.version = val;
		else if (str_eqz(key, "pretty"))
			c.pretty = str_eqz(val, "1") || str_eqz(val, "true");
		else if (str_eqz(key, "q"))
			c.quality = accept_quality(val);
	}
	return c;
}

/* Of equal quality, what is named comes before what is any. */
static bool accept_before(const struct accept_clause *a, const struct accept_clause *b)
{
	bool any_a = str_has_prefix(a->type, STR("*/")), any_b = str_has_prefix(b->type, STR("*/"));

	if (a->quality != b->quality)
		return a->quality > b->quality;
	if (any_a != any_b)
		return any_b;
	any_a = str_has_suffix(a->type, STR("/*"));
	any_b = str_has_suffix(b->type, STR("/*"));
	return any_a != any_b && any_b;
}

size_t accept_clauses(struct arena *a, struct str header, struct accept_clause **ret)
{
	struct accept_clause *v = arena_array(a, ACCEPT_MAX, sizeof(*v));
	struct str text;
	size_t n = 0;

	if (str_empty(str_trim(header)))
		return 0;
	while (n < ACCEPT_MAX && str_split_next(&header, ',', &text)) {
		struct accept_clause c = accept_parse(text);
		size_t i = n;

		if (!c.quality)
			continue;
		for (; i && accept_before(&c, &v[i - 1]); i--)
			v[i] = v[i - 1];
		v[i] = c;
		n++;
	}
	*ret = v;
	return n;
}

bool accept_is_plain(const struct accept_clause *c)
{
	return str_empty(c->as) && str_empty(c->group) && str_empty(c->version);
}

bool accept_has(const struct accept_clause *v, size_t n, const char *type)
{
	for (size_t i = 0; i < n; i++)
		if (str_eqz(v[i].type, "*/*") || str_eqz(v[i].type, type))
			return true;
	return false;
}
