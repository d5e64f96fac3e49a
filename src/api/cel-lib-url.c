/* SPDX-License-Identifier: Apache-2.0 */

/* URLs, parsed as Go's ParseRequestURI does: absolute ones, or absolute paths. */

#include <ctype.h>

#include "api/cel-value.h"
#include "base/arena.h"

struct cel_url {
	struct str text, scheme, host, path, query;
};

static bool cel_url_hex(struct str s, size_t i)
{
	return i + 2 < s.n && isxdigit((unsigned char)s.p[i + 1]) &&
	       isxdigit((unsigned char)s.p[i + 2]);
}

static const char *cel_url_host(struct arena *a, struct str host, struct cel_url *u)
{
	struct str port = STR_EMPTY;
	size_t at = host.n, colon;

	while (at && host.p[at - 1] != '@')
		at--;
	host = str_skip(host, at);
	if (host.n && host.p[0] == '[') {
		size_t end = str_find_char(host, ']', 0);

		if (end == host.n)
			return "missing ']' in host";
		port = str_skip(host, end + 1);
	} else {
		colon = host.n;
		while (colon && host.p[colon - 1] != ':')
			colon--;
		if (colon)
			port = str_skip(host, colon - 1);
		for (size_t i = 0; i < host.n; i++)
			if (strchr(" \"<>\\^`{|}", host.p[i]) && host.p[i])
				return arena_fmt(a, "invalid character \"%c\" in host name",
						 host.p[i])
					.p;
	}
	if (port.n && port.p[0] != ':')
		return arena_fmt(a, "invalid port \"" STR_FMT "\" after host", STR_ARG(port)).p;
	for (size_t i = 1; i < port.n; i++)
		if (!isdigit((unsigned char)port.p[i]))
			return arena_fmt(a, "invalid port \"" STR_FMT "\" after host",
					 STR_ARG(port))
				.p;
	u->host = host;
	return NULL;
}

static const char *cel_url_scheme(struct str *s, struct cel_url *u)
{
	for (size_t i = 0; i < s->n; i++) {
		char c = s->p[i];

		if (isalpha((unsigned char)c))
			continue;
		if (c == ':') {
			if (!i)
				return "missing protocol scheme";
			u->scheme = str_sub(*s, 0, i);
			*s = str_skip(*s, i + 1);
			return NULL;
		}
		if (!i || !(isdigit((unsigned char)c) || c == '+' || c == '-' || c == '.'))
			return NULL;
	}
	return NULL;
}

static const char *cel_url_parse(struct arena *a, struct str text, struct cel_url *u)
{
	struct str s = text, head;
	const char *why;
	size_t end;

	*u = (struct cel_url){ .text = text };
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return "net/url: invalid control character in URL";
	if (!s.n)
		return "empty url";
	why = cel_url_scheme(&s, u);
	if (why)
		return why;
	if (str_cut(&s, '?', &head))
		u->query = s;
	s = head;
	if (s.n && s.p[0] != '/' && u->scheme.n)
		return NULL; /* opaque */
	if (!s.n || s.p[0] != '/')
		return "invalid URI for request";
	if ((u->scheme.n || !str_has_prefix(s, STR("///"))) && str_has_prefix(s, STR("//"))) {
		s = str_skip(s, 2);
		end = str_find_char(s, '/', 0);
		why = cel_url_host(a, str_sub(s, 0, end), u);
		if (why)
			return why;
		s = str_skip(s, end);
	}
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '%' && !cel_url_hex(s, i))
			return arena_fmt(a, "invalid URL escape \"" STR_FMT "\"",
					 STR_ARG(str_sub(s, i, MIN(i + 3, s.n))))
				.p;
	u->path = s;
	return NULL;
}

static struct cel_val cel_fn_url(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_url *u = arena_new_obj(c->arena, struct cel_url);
	const char *why;

	(void)n;
	if (a[0].kind != CEL_STRING)
		return cel_no_overload();
	why = cel_url_parse(c->arena, a[0].s, u);
	if (why)
		return cel_error(c,
				 "URL parse error during conversion from string: parse \"" STR_FMT
				 "\": %s",
				 STR_ARG(a[0].s), why);
	return cel_opaque(CEL_O_URL, u);
}

static struct cel_val cel_fn_is_url(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	struct cel_url u;

	(void)n;
	return a[0].kind == CEL_STRING ? cel_val_bool(!cel_url_parse(c->arena, a[0].s, &u))
				       : cel_no_overload();
}

static const struct cel_url *cel_url_of(const struct cel_val *v)
{
	return v->kind == CEL_OPAQUE && v->aux == CEL_O_URL ? v->p : NULL;
}

static struct cel_val cel_url_get_scheme(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct cel_url *u = cel_url_of(&a[0]);
	char *low;

	(void)n;
	if (!u)
		return cel_no_overload();
	low = arena_alloc(c->arena, u->scheme.n + 1);
	for (size_t i = 0; i < u->scheme.n; i++)
		low[i] = (char)tolower((unsigned char)u->scheme.p[i]);
	return cel_val_str(str_make(low, u->scheme.n));
}

static struct cel_val cel_url_get_host(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct cel_url *u = cel_url_of(&a[0]);

	(void)c;
	(void)n;
	return u ? cel_val_str(u->host) : cel_no_overload();
}

/* Where the port's colon is, or the end. */
static size_t cel_url_colon(struct str host)
{
	size_t i = host.n;

	while (i && isdigit((unsigned char)host.p[i - 1]))
		i--;
	return i && host.p[i - 1] == ':' ? i - 1 : host.n;
}

static struct cel_val cel_url_get_hostname(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct cel_url *u = cel_url_of(&a[0]);
	struct str h;

	(void)c;
	(void)n;
	if (!u)
		return cel_no_overload();
	h = u->host;
	if (h.n && h.p[0] == '[')
		return cel_val_str(str_sub(h, 1, str_find_char(h, ']', 0)));
	return cel_val_str(str_sub(h, 0, cel_url_colon(h)));
}

static struct cel_val cel_url_get_port(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct cel_url *u = cel_url_of(&a[0]);
	struct str h;

	(void)c;
	(void)n;
	if (!u)
		return cel_no_overload();
	h = u->host;
	if (h.n && h.p[0] == '[')
		h = str_skip(h, str_find_char(h, ']', 0));
	return cel_val_str(str_skip(h, MIN(cel_url_colon(h) + 1, h.n)));
}

static struct cel_val cel_url_get_path(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct cel_url *u = cel_url_of(&a[0]);
	char *out;
	size_t len = 0;

	(void)n;
	if (!u)
		return cel_no_overload();
	if (!cel_charge_bytes(c, u->path.n * 3))
		return cel_no_overload();
	out = arena_alloc(c->arena, u->path.n * 3 + 1);
	for (size_t i = 0; i < u->path.n; i++) {
		unsigned char ch = (unsigned char)u->path.p[i];

		if (isalnum(ch) || strchr("-_.~$&+,/:;=@!'()*[]%", ch)) {
			out[len++] = (char)ch;
			continue;
		}
		out[len++] = '%';
		out[len++] = "0123456789ABCDEF"[ch >> 4];
		out[len++] = "0123456789ABCDEF"[ch & 15];
	}
	return cel_val_str(str_make(out, len));
}

static unsigned cel_hex_value(char c)
{
	return (unsigned)(isdigit((unsigned char)c) ? c - '0'
						    : tolower((unsigned char)c) - 'a' + 10);
}

/* False on a malformed escape. */
static bool cel_query_unescape(struct arena *a, struct str s, struct str *ret)
{
	char *out = arena_alloc(a, s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '%') {
			if (!cel_url_hex(s, i))
				return false;
			out[n++] =
				(char)(cel_hex_value(s.p[i + 1]) << 4 | cel_hex_value(s.p[i + 2]));
			i += 2;
		} else {
			out[n++] = s.p[i] == '+' ? ' ' : s.p[i];
		}
	}
	*ret = str_make(out, n);
	return true;
}

static struct cel_val cel_url_get_query(struct cel_ctx *c, const struct cel_val *a, size_t n)
{
	const struct cel_url *u = cel_url_of(&a[0]);
	struct cel_map *m = cel_map_new(c->arena, 4);
	struct str rest, part, key, val;
	struct cel_val k, l;

	(void)n;
	if (!u)
		return cel_no_overload();
	rest = u->query;
	while (rest.n && str_split_next(&rest, '&', &part)) {
		if (!part.n || str_find_char(part, ';', 0) < part.n)
			continue;
		val = part;
		str_cut(&val, '=', &key);
		if (!cel_query_unescape(c->arena, key, &key) ||
		    !cel_query_unescape(c->arena, val, &val))
			continue;
		k = cel_val_str(key);
		l = cel_map_val(m);
		if (cel_map_find(c, &l, &k, &l)) {
			/* the list is only this map's yet */
			cel_list_add(c->arena, (struct cel_list *)(uintptr_t)l.p, cel_val_str(val));
			continue;
		}
		l = cel_list_val(cel_list_new(c->arena, 1));
		cel_list_add(c->arena, (struct cel_list *)(uintptr_t)l.p, cel_val_str(val));
		(void)cel_map_add(c->arena, m, k, l);
	}
	for (size_t i = 0; i < m->n; i++)
		m->v[i].val = cel_list_val(m->v[i].val.p);
	return cel_map_val(m);
}

bool cel_url_valid(struct str s)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct cel_url u;

	return !cel_url_parse(a, s, &u);
}

bool cel_url_equal(const struct cel_val *x, const struct cel_val *y)
{
	const struct cel_url *u = x->p, *w = y->p;

	return str_eq(u->text, w->text);
}

const struct cel_fn_row cel_lib_url[] = {
	{ "url", "s>L", cel_fn_url, CEL_COST_PARSE_SIZED },
	{ "isURL", "s>b", cel_fn_is_url, CEL_COST_ONE },
	{ "getScheme", ".L>s", cel_url_get_scheme, CEL_COST_ONE },
	{ "getHost", ".L>s", cel_url_get_host, CEL_COST_ONE },
	{ "getHostname", ".L>s", cel_url_get_hostname, CEL_COST_ONE },
	{ "getPort", ".L>s", cel_url_get_port, CEL_COST_ONE },
	{ "getEscapedPath", ".L>s", cel_url_get_path, CEL_COST_ONE },
	{ "getQuery", ".L>{s[s]}", cel_url_get_query, CEL_COST_ONE },
	{ NULL, NULL, NULL, CEL_COST_ONE },
};
