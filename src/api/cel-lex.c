/* SPDX-License-Identifier: Apache-2.0 */

/* Text to tokens, and the values of string literals. */

#include <ctype.h>

#include "api/cel-node.h"
#include "base/arena.h"

static const struct {
	const char *text;
	enum cel_tok kind;
} punctuation[] = {
	/* the longer first */
	{ "==", CEL_T_EQ },      { "!=", CEL_T_NE },    { "<=", CEL_T_LE },
	{ ">=", CEL_T_GE },      { "&&", CEL_T_AND },   { "||", CEL_T_OR },
	{ "<", CEL_T_LT },       { ">", CEL_T_GT },     { "[", CEL_T_LBRACKET },
	{ "]", CEL_T_RBRACKET }, { "{", CEL_T_LBRACE }, { "}", CEL_T_RBRACE },
	{ "(", CEL_T_LPAREN },   { ")", CEL_T_RPAREN }, { ".", CEL_T_DOT },
	{ ",", CEL_T_COMMA },    { "-", CEL_T_MINUS },  { "!", CEL_T_NOT },
	{ "?", CEL_T_QUESTION }, { ":", CEL_T_COLON },  { "+", CEL_T_PLUS },
	{ "*", CEL_T_STAR },     { "/", CEL_T_SLASH },  { "%", CEL_T_PERCENT },
};

static const struct {
	const char *text;
	enum cel_tok kind;
} words[] = {
	{ "in", CEL_T_IN },
	{ "true", CEL_T_TRUE },
	{ "false", CEL_T_FALSE },
	{ "null", CEL_T_NULL },
};

static char cel_lex_at(struct str s, size_t i)
{
	return i < s.n ? s.p[i] : 0;
}

static size_t cel_lex_space(struct str s, size_t i)
{
	for (;;) {
		while (i < s.n && strchr("\t \r\n\f", s.p[i]) && s.p[i])
			i++;
		if (cel_lex_at(s, i) != '/' || cel_lex_at(s, i + 1) != '/')
			return i;
		while (i < s.n && s.p[i] != '\n')
			i++;
	}
}

static size_t cel_lex_digits(struct str s, size_t i)
{
	while (i < s.n && isdigit((unsigned char)s.p[i]))
		i++;
	return i;
}

/* The end of an exponent at i, or i. */
static size_t cel_lex_exponent(struct str s, size_t i)
{
	size_t j = i + 1;

	if (cel_lex_at(s, i) != 'e' && cel_lex_at(s, i) != 'E')
		return i;
	if (cel_lex_at(s, j) == '+' || cel_lex_at(s, j) == '-')
		j++;
	return cel_lex_digits(s, j) > j ? cel_lex_digits(s, j) : i;
}

static size_t cel_lex_number(struct str s, size_t i, enum cel_tok *kind)
{
	size_t end = i;

	*kind = CEL_T_INT;
	if (cel_lex_at(s, i) == '0' && cel_lex_at(s, i + 1) == 'x' &&
	    isxdigit((unsigned char)cel_lex_at(s, i + 2))) {
		end = i + 2;
		while (isxdigit((unsigned char)cel_lex_at(s, end)))
			end++;
	} else {
		end = cel_lex_digits(s, i);
		if (cel_lex_at(s, end) == '.' && isdigit((unsigned char)cel_lex_at(s, end + 1))) {
			*kind = CEL_T_FLOAT;
			end = cel_lex_digits(s, end + 1);
		}
		if (cel_lex_exponent(s, end) > end) {
			*kind = CEL_T_FLOAT;
			end = cel_lex_exponent(s, end);
		}
		if (*kind == CEL_T_FLOAT)
			return end;
	}
	if (cel_lex_at(s, end) == 'u' || cel_lex_at(s, end) == 'U') {
		*kind = CEL_T_UINT;
		end++;
	}
	return end;
}

/* The length of a valid escape after the backslash at i, 0 when it is none. */
static size_t cel_lex_escape(struct str s, size_t i)
{
	char c = cel_lex_at(s, i + 1);
	size_t n = c == 'x' || c == 'X' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;

	if (c && strchr("abfnrtv\"'\\?`", c))
		return 2;
	if (n) {
		for (size_t k = 0; k < n; k++)
			if (!isxdigit((unsigned char)cel_lex_at(s, i + 2 + k)))
				return 0;
		return 2 + n;
	}
	if (c < '0' || c > '3')
		return 0;
	for (size_t k = 2; k < 4; k++)
		if (cel_lex_at(s, i + k) < '0' || cel_lex_at(s, i + k) > '7')
			return 0;
	return 4;
}

/* The end of the string whose quote is at i; 0 when it does not end. */
static size_t cel_lex_string(struct str s, size_t i, bool raw)
{
	char q = s.p[i];
	bool triple = cel_lex_at(s, i + 1) == q && cel_lex_at(s, i + 2) == q;
	size_t step;

	for (i += triple ? 3 : 1; i < s.n; i += step) {
		step = 1;
		if (triple && s.p[i] == q && cel_lex_at(s, i + 1) == q && cel_lex_at(s, i + 2) == q)
			return i + 3;
		if (!triple && s.p[i] == q)
			return i + 1;
		if (!triple && (s.p[i] == '\n' || s.p[i] == '\r'))
			return 0;
		if (s.p[i] == '\\' && !raw) {
			step = cel_lex_escape(s, i);
			if (!step)
				return 0;
		}
	}
	return 0;
}

/* A prefix of r and b in any order, then a quote; 0 when there is none. */
static size_t cel_lex_prefixed(struct str s, size_t i, enum cel_tok *kind)
{
	bool raw = false, bytes = false;
	size_t j = i;

	for (; j < i + 2; j++) {
		char c = (char)tolower((unsigned char)cel_lex_at(s, j));

		if (c == 'r' && !raw)
			raw = true;
		else if (c == 'b' && !bytes && !raw)
			bytes = true;
		else
			break;
	}
	if (cel_lex_at(s, j) != '"' && cel_lex_at(s, j) != '\'')
		return 0;
	*kind = bytes ? CEL_T_BYTES : CEL_T_STRING;
	return cel_lex_string(s, j, raw);
}

static size_t cel_lex_word(struct str s, size_t i, enum cel_tok *kind)
{
	size_t end = i;

	while (end < s.n && (isalnum((unsigned char)s.p[end]) || s.p[end] == '_'))
		end++;
	*kind = CEL_T_IDENT;
	for (size_t k = 0; k < ARRAY_LEN(words); k++)
		if (str_eqz(str_sub(s, i, end), words[k].text))
			*kind = words[k].kind;
	return end;
}

/* `a.b-c/d`, between backticks */
static size_t cel_lex_escaped(struct str s, size_t i)
{
	size_t end = i + 1;

	while (end < s.n &&
	       (isalnum((unsigned char)s.p[end]) || (s.p[end] && strchr("_.-/ ", s.p[end]))))
		end++;
	return cel_lex_at(s, end) == '`' && end > i + 1 ? end + 1 : 0;
}

static size_t cel_lex_punctuation(struct str s, size_t i, enum cel_tok *kind)
{
	for (size_t k = 0; k < ARRAY_LEN(punctuation); k++)
		if (str_has_prefix(str_skip(s, i), str_from(punctuation[k].text))) {
			*kind = punctuation[k].kind;
			return i + strlen(punctuation[k].text);
		}
	return 0;
}

/* The end of the token at i, 0 when there is none. */
static size_t cel_lex_one(struct str s, size_t i, enum cel_tok *kind)
{
	unsigned char c = (unsigned char)s.p[i];
	size_t end = cel_lex_prefixed(s, i, kind);

	if (end)
		return end;
	if (isdigit(c) || (c == '.' && isdigit((unsigned char)cel_lex_at(s, i + 1))))
		return cel_lex_number(s, i, kind);
	if (isalpha(c) || c == '_')
		return cel_lex_word(s, i, kind);
	if (c == '`') {
		*kind = CEL_T_ESC_IDENT;
		return cel_lex_escaped(s, i);
	}
	return cel_lex_punctuation(s, i, kind);
}

static size_t cel_lex_bad(struct str s, size_t i, struct cel_issues *is)
{
	size_t end = i + 1;

	/* ANTLR names what it has read until nothing fits any more */
	if (s.p[i] == '"' || s.p[i] == '\'') {
		while (end < s.n && s.p[end] != '\n' && s.p[end] != '\r' &&
		       !(s.p[end] == '\\' && !cel_lex_escape(s, end)))
			end++;
		end = MIN(end + (end < s.n && s.p[end] == '\\' ? 2 : 1), s.n);
	} else if (strchr("=&|", s.p[i])) {
		end = MIN(end + 1, s.n); /* half an operator, and what came instead of the rest */
	} else {
		while (end < s.n && ((unsigned char)s.p[end] & 0xc0) == 0x80)
			end++;
	}
	cel_issue_add(is, (uint32_t)i, "Syntax error: token recognition error at: '" STR_FMT "'",
		      STR_ARG(str_sub(s, i, end)));
	return end;
}

struct cel_token *cel_lex(struct arena *a, struct str text, struct cel_issues *is, size_t *ret_n)
{
	struct cel_token *v;
	size_t n = 0, cap = 16, i = 0, end;

	v = arena_array(a, cap, sizeof(*v));
	for (;;) {
		enum cel_tok kind = CEL_T_EOF;

		i = cel_lex_space(text, i);
		if (n == cap) {
			struct cel_token *bigger = arena_array(a, cap * 2, sizeof(*v));

			memcpy(bigger, v, cap * sizeof(*v));
			v = bigger;
			cap *= 2;
		}
		if (i >= text.n)
			break;
		end = cel_lex_one(text, i, &kind);
		if (end)
			v[n++] = (struct cel_token){ kind, (uint32_t)i, str_sub(text, i, end) };
		else
			end = cel_lex_bad(text, i, is);
		i = end;
	}
	v[n] = (struct cel_token){ CEL_T_EOF, (uint32_t)text.n, STR("<EOF>") };
	*ret_n = n + 1;
	return v;
}

/* ---- string literals */

static size_t cel_utf8_put(char *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* One escape at s.p[*i], which the lexer found to be one. */
static const char *cel_unescape(struct str s, size_t *i, bool bytes, char *out, size_t *n)
{
	static const char from[] = "abfnrtv", to[] = "\a\b\f\n\r\t\v";
	char c = s.p[*i + 1];
	const char *known = strchr(from, c);
	size_t len = cel_lex_escape(s, *i), digits = len - 2;
	uint32_t v = 0;
	bool octal = c >= '0' && c <= '3';

	*i += len;
	if (c && known) {
		out[(*n)++] = to[known - from];
		return NULL;
	}
	if (len == 2) {
		out[(*n)++] = c;
		return NULL;
	}
	if (bytes && (c == 'u' || c == 'U'))
		return "unable to unescape string";
	if (octal)
		digits = 3;
	for (size_t k = 0; k < digits; k++) {
		char d = s.p[*i - digits + k];

		v = v * (octal ? 8 : 16) +
		    (uint32_t)(isdigit((unsigned char)d) ? d - '0'
							 : tolower((unsigned char)d) - 'a' + 10);
	}
	if (bytes) {
		out[(*n)++] = (char)v;
		return NULL;
	}
	if (v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
		return "invalid unicode code point";
	*n += cel_utf8_put(out + *n, v);
	return NULL;
}

const char *cel_unquote(struct arena *a, struct str s, bool bytes, struct str *ret)
{
	bool raw = false;
	size_t quotes, n = 0;
	char *out;

	while (s.n && s.p[0] != '"' && s.p[0] != '\'') {
		raw |= s.p[0] == 'r' || s.p[0] == 'R';
		s = str_skip(s, 1);
	}
	quotes = s.n >= 6 && s.p[1] == s.p[0] && s.p[2] == s.p[0] ? 3 : 1;
	s = str_sub(s, quotes, s.n - quotes);
	out = arena_alloc(a, s.n + 4);
	for (size_t i = 0; i < s.n;) {
		const char *why;

		if (s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n') {
			i++;
			continue;
		}
		if (s.p[i] == '\r') {
			out[n++] = '\n';
			i++;
			continue;
		}
		if (s.p[i] != '\\' || raw) {
			out[n++] = s.p[i++];
			continue;
		}
		why = cel_unescape(s, &i, bytes, out, &n);
		if (why)
			return why;
	}
	*ret = str_make(out, n);
	return NULL;
}
