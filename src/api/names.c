/* SPDX-License-Identifier: Apache-2.0 */
/* Name rules in upstream's words; the grammars are small enough for hand-written matchers. */

#include "api/names.h"

#include <arpa/inet.h>

#define LABEL_MAX     63
#define SUBDOMAIN_MAX 253

static const char msg_max_63[] = "must be no more than 63 characters";
static const char msg_max_253[] = "must be no more than 253 characters";

#define LABEL_RE "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define SUBDOMAIN_TEXT                                                                            \
	"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' " \
	"or '.', and must start and end with an alphanumeric character (e.g. 'example.com', "     \
	"regex used for validation is '" LABEL_RE "(\\." LABEL_RE ")*')"
#define QUALIFIED_TEXT                                                                             \
	"must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an" \
	" alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "    \
	"validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower_alnum(char c)
{
	return is_lower(c) || is_digit(c);
}

static bool is_alnum(char c)
{
	return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool label_matches(struct str s)
{
	if (s.n == 0 || !is_lower_alnum(s.p[0]) || !is_lower_alnum(s.p[s.n - 1]))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!is_lower_alnum(s.p[i]) && s.p[i] != '-')
			return false;
	return true;
}

static bool subdomain_matches(struct str s)
{
	for (;;) {
		size_t dot = str_find_char(s, '.', 0);

		if (!label_matches(str_sub(s, 0, dot)))
			return false;
		if (dot == s.n)
			return true;
		s = str_skip(s, dot + 1);
	}
}

static bool qualified_part_matches(struct str s)
{
	if (s.n == 0 || !is_alnum(s.p[0]) || !is_alnum(s.p[s.n - 1]))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_' && s.p[i] != '.')
			return false;
	return true;
}

const char *name_check_dns_label(struct str s)
{
	if (s.n > LABEL_MAX)
		return msg_max_63;
	if (!label_matches(s) && subdomain_matches(s))
		return "must not contain dots";
	if (!label_matches(s))
		return "a lowercase RFC 1123 label must consist of lower case alphanumeric "
		       "characters or '-', and must start and end with an alphanumeric character "
		       "(e.g. 'my-name',  or '123-abc', regex used for validation is '" LABEL_RE
		       "')";
	return NULL;
}

const char *name_check_dns_subdomain(struct str s)
{
	if (s.n > SUBDOMAIN_MAX)
		return msg_max_253;
	return subdomain_matches(s) ? NULL : SUBDOMAIN_TEXT;
}

const char *name_check_dns1035_label(struct str s)
{
	if (s.n > LABEL_MAX)
		return msg_max_63;
	if (!label_matches(s) || !is_lower(s.p[0]))
		return "a DNS-1035 label must consist of lower case alphanumeric characters or "
		       "'-', start with an alphabetic character, and end with an alphanumeric "
		       "character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
		       "'[a-z]([-a-z0-9]*[a-z0-9])?')";
	return NULL;
}

const char *name_check_path_segment(struct str s)
{
	if (str_eqz(s, "."))
		return "may not be '.'";
	if (str_eqz(s, ".."))
		return "may not be '..'";
	if (str_find_char(s, '/', 0) < s.n)
		return "may not contain '/'";
	if (str_find_char(s, '%', 0) < s.n)
		return "may not contain '%'";
	return NULL;
}

const char *name_check_any(struct str s UNUSED)
{
	return NULL;
}

const char *name_check_qualified(struct str s)
{
	size_t slash = str_find_char(s, '/', 0);
	struct str name = s;

	if (slash < s.n) {
		struct str prefix = str_sub(s, 0, slash);

		name = str_skip(s, slash + 1);
		if (str_find_char(name, '/', 0) < name.n)
			return "a valid label key " QUALIFIED_TEXT
			       " with an optional DNS subdomain prefix and '/' (e.g. "
			       "'example.com/MyName')";
		if (str_empty(prefix))
			return "prefix part must be non-empty";
		if (prefix.n > SUBDOMAIN_MAX)
			return "prefix part must be no more than 253 bytes";
		if (!subdomain_matches(prefix))
			return "prefix part " SUBDOMAIN_TEXT;
	}
	if (str_empty(name))
		return "name part must be non-empty";
	if (name.n > LABEL_MAX)
		return "name part must be no more than 63 bytes";
	return qualified_part_matches(name) ? NULL : "name part " QUALIFIED_TEXT;
}

const char *name_check_qualified_part(struct str s)
{
	if (str_empty(s))
		return "name part " QUALIFIED_TEXT;
	return name_check_qualified(s);
}

const char *name_check_config_key(struct str s)
{
	if (s.n > SUBDOMAIN_MAX)
		return msg_max_253;
	for (size_t i = 0; i < s.n || !s.n; i++) {
		if (!s.n || (!is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_' && s.p[i] != '.'))
			return "a valid config key must consist of alphanumeric characters, '-', "
			       "'_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex "
			       "used for validation is '[-._a-zA-Z0-9]+')";
	}
	if (str_eqz(s, "."))
		return "must not be '.'";
	if (str_eqz(s, ".."))
		return "must not be '..'";
	return str_has_prefix(s, STR("..")) ? "must not start with '..'" : NULL;
}

const char *name_check_dns_search(struct str s)
{
	if (s.n > SUBDOMAIN_MAX)
		return msg_max_253;
	for (;;) {
		size_t dot = str_find_char(s, '.', 0);
		struct str part = str_sub(s, 0, dot);
		bool ok = part.n && is_lower_alnum(part.p[part.n - 1]) &&
			  (is_lower_alnum(part.p[0]) || part.p[0] == '_');

		for (size_t i = 0; ok && i < part.n; i++)
			ok = is_lower_alnum(part.p[i]) || part.p[i] == '-' || part.p[i] == '_';
		if (!ok)
			return "a lowercase RFC 1123 subdomain must consist of lower case "
			       "alphanumeric characters, '-' or '.', and must start and end with "
			       "an alphanumeric character (e.g. 'example.com', regex used for "
			       "validation is '" LABEL_RE "(\\." LABEL_RE ")*')";
		if (dot == s.n)
			return NULL;
		s = str_skip(s, dot + 1);
	}
}

const char *name_check_label_value(struct str s)
{
	if (s.n > LABEL_MAX)
		return "must be no more than 63 bytes";
	if (!str_empty(s) && !qualified_part_matches(s))
		return "a valid label must be an empty string or consist of alphanumeric "
		       "characters, '-', '_' or '.', and must start and end with an alphanumeric "
		       "character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
		       "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
	return NULL;
}

const char *name_check_env_var(struct str s)
{
	if (str_empty(s))
		return "environment variable name must be non-empty";
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < ' ' || s.p[i] > '~' || s.p[i] == '=')
			return "a valid environment variable name must consist only of printable "
			       "ASCII characters other than '='";
	return NULL;
}

const char *name_check_port_name(struct str s)
{
	bool letter = false;

	if (s.n > 15)
		return "must be no more than 15 characters";
	for (size_t i = 0; i < s.n; i++) {
		if (!is_lower_alnum(s.p[i]) && s.p[i] != '-')
			return "must contain only alpha-numeric characters (a-z, 0-9), and "
			       "hyphens (-)";
		letter |= is_lower(s.p[i]);
	}
	if (!letter)
		return "must contain at least one letter (a-z)";
	if (str_contains(s, STR("--")))
		return "must not contain consecutive hyphens";
	if (s.p[0] == '-' || s.p[s.n - 1] == '-')
		return "must not begin or end with a hyphen";
	return NULL;
}

bool ip_is_valid(struct str s)
{
	char z[INET6_ADDRSTRLEN + 1];
	uint8_t addr[16];

	if (s.n == 0 || s.n >= sizeof(z))
		return false;
	memcpy(z, s.p, s.n);
	z[s.n] = '\0';
	return strlen(z) == s.n &&
	       (inet_pton(AF_INET, z, addr) == 1 || inet_pton(AF_INET6, z, addr) == 1);
}
