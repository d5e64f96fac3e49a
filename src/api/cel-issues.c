/* SPDX-License-Identifier: Apache-2.0 */

/* Errors of an expression, with the line and a pointer to the place, as cel-go prints them. */

#include <stdio.h>
#include <stdlib.h>

#include "api/cel-node.h"
#include "base/arena.h"
#include "base/buf.h"

#define CEL_MAX_ISSUES  100
#define CEL_MAX_SNIPPET 16384

static void cel_issue_vadd(struct cel_issues *is, uint32_t pos, bool nowhere, struct str msg)
{
	if (++is->total > CEL_MAX_ISSUES)
		return;
	if (is->n == is->cap) {
		size_t cap = is->cap ? is->cap * 2 : 4;
		struct cel_issue *v = arena_array(is->arena, cap, sizeof(*v));

		if (is->n)
			memcpy(v, is->v, is->n * sizeof(*v));
		is->v = v;
		is->cap = cap;
	}
	is->v[is->n++] = (struct cel_issue){ msg, pos, nowhere };
}

void cel_issue_add(struct cel_issues *is, uint32_t pos, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	cel_issue_vadd(is, pos, false, arena_vfmt(is->arena, fmt, ap));
	va_end(ap);
}

void cel_issue_add_nowhere(struct cel_issues *is, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	cel_issue_vadd(is, 0, true, arena_vfmt(is->arena, fmt, ap));
	va_end(ap);
}

/* The dots before the place; wide ones under wide characters. */
static void cel_issue_point(struct buf *b, struct str line, size_t at)
{
	size_t i = 0;

	buf_addz(b, "\n | ");
	while (i < at && i < line.n) {
		size_t n = 1;

		while (i + n < line.n && ((unsigned char)line.p[i + n] & 0xc0) == 0x80)
			n++;
		buf_addz(b, n > 1 ? "\xef\xbc\x8e" : ".");
		i += n;
	}
	buf_addz(b, i < line.n && (unsigned char)line.p[i] >= 0xc0 ? "\xef\xbc\xbe" : "^");
}

static void cel_issue_print(struct buf *b, struct str text, const struct cel_issue *is)
{
	size_t start = 0, end, at = MIN(is->pos, text.n);
	unsigned line = 1, column = 1;
	_cleanup_buf_ struct buf shown = { 0 };

	if (is->nowhere) {
		buf_addf(b, "ERROR: <input>:-1:0: " STR_FMT, STR_ARG(is->msg));
		return;
	}
	if (!text.n) {
		buf_addf(b, "ERROR: <input>:1:0: " STR_FMT, STR_ARG(is->msg));
		return;
	}
	for (size_t i = 0; i < at; i++)
		if (text.p[i] == '\n') {
			line++;
			start = i + 1;
		}
	for (size_t i = start; i < at; i++)
		column += ((unsigned char)text.p[i] & 0xc0) != 0x80;
	end = str_find_char(text, '\n', start);
	buf_addf(b, "ERROR: <input>:%u:%u: " STR_FMT, line, column, STR_ARG(is->msg));
	if (end - start > CEL_MAX_SNIPPET)
		return;
	buf_add(&shown, str_sub(text, start, end));
	for (size_t i = 0; i < shown.n; i++)
		if (shown.p[i] == '\t')
			shown.p[i] = ' ';
	buf_addz(b, "\n | ");
	buf_add(b, buf_str(&shown));
	cel_issue_point(b, buf_str(&shown), at - start);
}

static int cel_issue_order(const void *x, const void *y)
{
	const struct cel_issue *a = x, *b = y;

	if (a->nowhere != b->nowhere)
		return a->nowhere ? -1 : 1;
	if (a->pos != b->pos)
		return a->pos < b->pos ? -1 : 1;
	return a < b ? -1 : a > b;
}

struct str cel_issues_text(struct arena *a, struct cel_issues *is)
{
	_cleanup_buf_ struct buf b = { 0 };

	/* few, and a stable order among equals */
	for (size_t i = 1; i < is->n; i++)
		for (size_t k = i;
		     k && cel_issue_order(&is->v[k - 1], &is->v[k]) > 0 &&
		     (is->v[k - 1].pos != is->v[k].pos || is->v[k - 1].nowhere != is->v[k].nowhere);
		     k--) {
			struct cel_issue t = is->v[k];

			is->v[k] = is->v[k - 1];
			is->v[k - 1] = t;
		}
	for (size_t i = 0; i < is->n; i++) {
		if (i)
			buf_addc(&b, '\n');
		cel_issue_print(&b, is->text, &is->v[i]);
	}
	if (is->total > is->n)
		buf_addf(&b, "\n%zu more errors were truncated", is->total - is->n);
	return buf_to_arena(&b, a);
}
