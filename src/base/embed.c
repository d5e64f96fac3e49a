/* SPDX-License-Identifier: Apache-2.0 */

#include "base/embed.h"

#include <stdio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#define EMBED_LINE 90

struct err *embed_read(struct arena *a, const char *path, struct str *ret)
{
	_cleanup_buf_ struct buf b = { 0 };
	char chunk[8192];
	FILE *f = fopen(path, "re");
	size_t n;

	if (!f)
		return err_new(ERR_IO, "%s: cannot open it", path);
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		buf_add(&b, str_make(chunk, n));
	fclose(f);
	*ret = buf_to_arena(&b, a);
	return NULL;
}

struct err *embed_write(const char *path, struct str text)
{
	FILE *f = fopen(path, "we");

	if (!f)
		return err_new(ERR_IO, "%s: cannot write it", path);
	if (fwrite(text.p, 1, text.n, f) != text.n || fclose(f) != 0)
		return err_new(ERR_IO, "%s: write failed", path);
	return NULL;
}

void embed_literal(struct buf *out, struct str s)
{
	buf_addz(out, "{ \"");
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_addc(out, '\\');
		buf_addc(out, s.p[i]);
		if (i % EMBED_LINE == EMBED_LINE - 1)
			buf_addz(out, "\"\n\t  \"");
	}
	buf_addf(out, "\", %zu }", s.n);
}

int embed_finish(const char *tool, struct err *e)
{
	if (!e)
		return 0;
	fprintf(stderr, "%s: %.*s\n", tool, STR_ARG(err_msg(e)));
	err_free(e);
	return 1;
}
