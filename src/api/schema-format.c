/* SPDX-License-Identifier: Apache-2.0 */

/* The "format" keyword, and the paths and causes that the other schema files share. */

#include "api/schema-internal.h"

#include <arpa/inet.h>
#include <ctype.h>

#include "api/names.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/encode.h"
#include "base/err.h"

static const char *const format_names[] = {
	[SCHEMA_F_NONE] = "",
	[SCHEMA_F_INT32] = "int32",
	[SCHEMA_F_INT64] = "int64",
	[SCHEMA_F_BYTE] = "byte",
	[SCHEMA_F_DATE_TIME] = "date-time",
	[SCHEMA_F_DATE] = "date",
	[SCHEMA_F_DURATION] = "duration",
	[SCHEMA_F_IPV4] = "ipv4",
	[SCHEMA_F_IPV6] = "ipv6",
	[SCHEMA_F_CIDR] = "cidr",
	[SCHEMA_F_MAC] = "mac",
	[SCHEMA_F_UUID] = "uuid",
	[SCHEMA_F_URI] = "uri",
	[SCHEMA_F_EMAIL] = "email",
	[SCHEMA_F_HOSTNAME] = "hostname",
	[SCHEMA_F_QUANTITY] = "quantity",
};
_Static_assert(ARRAY_LEN(format_names) == SCHEMA_F_N_, "a name for each format");

enum schema_format schema_format_find(struct str name)
{
	if (str_eqz(name, "datetime"))
		return SCHEMA_F_DATE_TIME;
	for (size_t i = 1; i < SCHEMA_F_N_; i++)
		if (str_eqz(name, format_names[i]))
			return (enum schema_format)i;
	return SCHEMA_F_NONE;
}

const char *schema_format_name(enum schema_format f)
{
	return format_names[f];
}

static bool format_inet(struct str s, int family)
{
	char text[INET6_ADDRSTRLEN + 1], addr[16];

	if (s.n >= sizeof(text) || (s.n && memchr(s.p, 0, s.n)))
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = 0;
	return inet_pton(family, text, addr) == 1;
}

static bool format_cidr(struct str s)
{
	struct str ip;
	int64_t bits;

	if (!str_cut(&s, '/', &ip) || !str_to_i64(s, &bits) || bits < 0)
		return false;
	return (format_inet(ip, AF_INET) && bits <= 32) ||
	       (format_inet(ip, AF_INET6) && bits <= 128);
}

/* Every '#' of the pattern is a hexadecimal digit, other bytes are themselves. */
static bool format_hex(struct str s, const char *pattern)
{
	size_t n = strlen(pattern);

	if (s.n != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (pattern[i] == '#' ? !isxdigit((unsigned char)s.p[i]) : s.p[i] != pattern[i])
			return false;
	return true;
}

static bool format_date(struct str s)
{
	char full[32];
	struct wall w;

	if (s.n != 10)
		return false;
	memcpy(full, s.p, 10);
	memcpy(full + 10, "T00:00:00Z", 11);
	return wall_parse(str_from(full), &w);
}

static bool format_uri(struct str s)
{
	struct str scheme;

	if (!str_cut(&s, ':', &scheme))
		return scheme.n && scheme.p[0] == '/';
	if (!scheme.n || !isalpha((unsigned char)scheme.p[0]))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
			return false;
	return true;
}

static bool format_email(struct str s)
{
	struct str user;

	return str_cut(&s, '@', &user) && user.n && s.n && str_find_char(s, '@', 0) == s.n;
}

bool schema_format_ok(enum schema_format f, struct str s)
{
	struct wall w;
	int64_t ns;

	switch (f) {
	case SCHEMA_F_DATE_TIME:
		return wall_parse(s, &w);
	case SCHEMA_F_DATE:
		return format_date(s);
	case SCHEMA_F_DURATION:
		return duration_parse_go(s, &ns);
	case SCHEMA_F_IPV4:
		return format_inet(s, AF_INET);
	case SCHEMA_F_IPV6:
		return format_inet(s, AF_INET6);
	case SCHEMA_F_CIDR:
		return format_cidr(s);
	case SCHEMA_F_MAC:
		return format_hex(s, "##:##:##:##:##:##") || format_hex(s, "##-##-##-##-##-##");
	case SCHEMA_F_UUID:
		return format_hex(s, "########-####-####-####-############") ||
		       format_hex(s, "################################");
	case SCHEMA_F_URI:
		return format_uri(s);
	case SCHEMA_F_EMAIL:
		return format_email(s);
	case SCHEMA_F_HOSTNAME:
		return !name_check_dns_subdomain(s);
	case SCHEMA_F_BYTE: {
		_cleanup_arena_ struct arena *a = arena_new();
		struct str out;

		return base64_decode(a, s, &out);
	}
	case SCHEMA_F_NONE:
	case SCHEMA_F_INT32:
	case SCHEMA_F_INT64:
	case SCHEMA_F_QUANTITY:
	case SCHEMA_F_N_:
		break;
	}
	return true;
}

/* ---- paths and causes */

struct str schema_path_member(struct arena *a, struct str path, struct str name)
{
	return path.n ? arena_fmt(a, STR_FMT "." STR_FMT, STR_ARG(path), STR_ARG(name)) : name;
}

struct str schema_path_index(struct arena *a, struct str path, size_t i)
{
	return arena_fmt(a, STR_FMT "[%zu]", STR_ARG(path), i);
}

struct str schema_path_text(struct arena *a, const struct schema_path *p)
{
	if (!p->up)
		return p->name;
	if (!p->name.p)
		return schema_path_index(a, schema_path_text(a, p->up), p->index);
	return schema_path_member(a, schema_path_text(a, p->up), p->name);
}

void schema_cause(struct err **e, struct str field, const char *reason, struct str msg)
{
	if (!*e)
		*e = err_new(ERR_INVALID, "invalid");
	err_add_cause(*e, field, str_from(reason), msg);
}

void schema_cause_invalid(struct arena *a, struct err **e, struct str field, const struct json *v,
			  struct str text)
{
	struct str val = v ? json_text(a, v) : STR("null");

	schema_cause(
		e, field, "FieldValueInvalid",
		arena_fmt(a, "Invalid value: " STR_FMT ": " STR_FMT, STR_ARG(val), STR_ARG(text)));
}
