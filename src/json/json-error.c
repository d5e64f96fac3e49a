/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json-error.h"

#include "base/arena.h"

#define END        "unexpected end of JSON input"
#define NESTED_MAX 10000

struct scan {
	struct arena *a;
	struct str s;
	size_t i;
	char *open; /* '{' or '[', the innermost last */
	size_t n_open, cap;
	const char *error;
};

static int scan_peek(const struct scan *c)
{
	return c->i < c->s.n ? (unsigned char)c->s.p[c->i] : -1;
}

static void scan_space(struct scan *c)
{
	while (scan_peek(c) == ' ' || scan_peek(c) == '\t' || scan_peek(c) == '\n' ||
	       scan_peek(c) == '\r')
		c->i++;
}

/* 'x', '\'', '\x01' */
static const char *scan_quoted(struct arena *a, unsigned char ch)
{
	static const struct {
		unsigned char c;
		const char *text;
	} named[] = { { '\'', "'\\''" }, { '"', "'\"'" },   { '\\', "'\\\\'" }, { '\a', "'\\a'" },
		      { '\b', "'\\b'" }, { '\f', "'\\f'" }, { '\n', "'\\n'" },  { '\r', "'\\r'" },
		      { '\t', "'\\t'" }, { '\v', "'\\v'" } };

	for (size_t i = 0; i < ARRAY_LEN(named); i++) {
		if (named[i].c == ch)
			return named[i].text;
	}
	if (ch < 0x20 || ch == 0x7f)
		return arena_fmt(a, "'\\x%02x'", ch).p;
	if (ch < 0x80)
		return arena_fmt(a, "'%c'", ch).p;
	/* Go takes the byte for a character of its own */
	if (ch < 0xa0 || ch == 0xad)
		return arena_fmt(a, "'\\u00%02x'", ch).p;
	return arena_fmt(a, "'%c%c'", 0xc0 | ch >> 6, 0x80 | (ch & 0x3f)).p;
}

static bool scan_fail(struct scan *c, const char *where)
{
	int ch = scan_peek(c);

	c->error = ch < 0 ? END
			  : arena_fmt(c->a, "invalid character %s %s",
				      scan_quoted(c->a, (unsigned char)ch), where)
				    .p;
	return false;
}

static bool scan_word(struct scan *c, const char *word)
{
	for (size_t i = 1; word[i]; i++) {
		c->i++;
		if (scan_peek(c) != word[i])
			return scan_fail(
				c,
				arena_fmt(c->a, "in literal %s (expecting '%c')", word, word[i]).p);
	}
	c->i++;
	return true;
}

static bool is_hex(int ch)
{
	return (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'f') || (ch >= 'A' && ch <= 'F');
}

static bool is_num(int ch)
{
	return ch >= '0' && ch <= '9';
}

static bool scan_escape(struct scan *c)
{
	c->i++;
	switch (scan_peek(c)) {
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
	case '\\':
	case '/':
	case '"':
		c->i++;
		return true;
	case 'u':
		c->i++;
		for (int k = 0; k < 4; k++, c->i++) {
			if (!is_hex(scan_peek(c)))
				return scan_fail(c, "in \\u hexadecimal character escape");
		}
		return true;
	default:
		return scan_fail(c, "in string escape code");
	}
}

static bool scan_string(struct scan *c)
{
	c->i++;
	for (;;) {
		int ch = scan_peek(c);

		if (ch < 0x20)
			return scan_fail(c, "in string literal");
		if (ch == '"') {
			c->i++;
			return true;
		}
		if (ch != '\\')
			c->i++;
		else if (!scan_escape(c))
			return false;
	}
}

static bool scan_digits(struct scan *c, const char *where)
{
	if (!is_num(scan_peek(c)))
		return scan_fail(c, where);
	while (is_num(scan_peek(c)))
		c->i++;
	return true;
}

static bool scan_number(struct scan *c)
{
	if (scan_peek(c) == '-')
		c->i++;
	if (scan_peek(c) == '0')
		c->i++;
	else if (!scan_digits(c, "in numeric literal"))
		return false;
	if (scan_peek(c) == '.') {
		c->i++;
		if (!scan_digits(c, "after decimal point in numeric literal"))
			return false;
	}
	if (scan_peek(c) != 'e' && scan_peek(c) != 'E')
		return true;
	c->i++;
	if (scan_peek(c) == '+' || scan_peek(c) == '-')
		c->i++;
	return scan_digits(c, "in exponent of numeric literal");
}

static bool scan_open(struct scan *c, char what)
{
	if (c->n_open == NESTED_MAX) {
		c->error = "exceeded max depth";
		return false;
	}
	if (c->n_open == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 64;
		char *open = arena_alloc(c->a, cap);

		if (c->n_open)
			memcpy(open, c->open, c->n_open);
		c->open = open;
		c->cap = cap;
	}
	c->open[c->n_open++] = what;
	c->i++;
	return true;
}

/* A member's name and its colon. */
static bool scan_key(struct scan *c)
{
	scan_space(c);
	if (scan_peek(c) != '"')
		return scan_fail(c, "looking for beginning of object key string");
	if (!scan_string(c))
		return false;
	scan_space(c);
	if (scan_peek(c) != ':')
		return scan_fail(c, "after object key");
	c->i++;
	return true;
}

/* A value; *ret_open: only its beginning, its members follow. */
static bool scan_value(struct scan *c, bool *ret_open)
{
	int ch;

	*ret_open = false;
	scan_space(c);
	ch = scan_peek(c);
	switch (ch) {
	case '{':
	case '[':
		if (!scan_open(c, (char)ch))
			return false;
		scan_space(c);
		if (scan_peek(c) == (ch == '{' ? '}' : ']')) {
			c->n_open--;
			c->i++;
			return true;
		}
		*ret_open = true;
		return ch == '[' || scan_key(c);
	case '"':
		return scan_string(c);
	case 't':
		return scan_word(c, "true");
	case 'f':
		return scan_word(c, "false");
	case 'n':
		return scan_word(c, "null");
	default:
		if (ch == '-' || is_num(ch))
			return scan_number(c);
		return scan_fail(c, "looking for beginning of value");
	}
}

/* What follows a value within the innermost container: *ret_more, another one. */
static bool scan_after(struct scan *c, bool *ret_more)
{
	bool object = c->open[c->n_open - 1] == '{';

	scan_space(c);
	*ret_more = scan_peek(c) == ',';
	if (*ret_more) {
		c->i++;
		return !object || scan_key(c);
	}
	if (scan_peek(c) != (object ? '}' : ']'))
		return scan_fail(c, object ? "after object key:value pair" : "after array element");
	c->i++;
	c->n_open--;
	return true;
}

const char *json_syntax_error(struct arena *a, struct str text)
{
	struct scan c = { .a = a, .s = text };
	bool more = true;

	while (more) {
		if (!scan_value(&c, &more))
			return c.error;
		while (!more && c.n_open) {
			if (!scan_after(&c, &more))
				return c.error;
		}
	}
	scan_space(&c);
	if (c.i < text.n)
		scan_fail(&c, "after top-level value");
	return c.error;
}
