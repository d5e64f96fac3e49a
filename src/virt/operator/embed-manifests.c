/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Build tool: YAML documents as C source (manifests.h).
 *
 *     embed-manifests OUT.c FILE.yaml...
 */

#include <stdio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "json/json.h"
#include "json/yaml.h"

#define LINE_BYTES 90

static struct err *read_file(struct arena *a, const char *path, struct str *ret)
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

static void add_literal(struct buf *out, struct str s)
{
	buf_addz(out, "{ \"");
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_addc(out, '\\');
		buf_addc(out, s.p[i]);
		if (i % LINE_BYTES == LINE_BYTES - 1)
			buf_addz(out, "\"\n\t  \"");
	}
	buf_addf(out, "\", %zu }", s.n);
}

static struct err *add_documents(struct arena *a, const char *path, struct buf *out, size_t *n)
{
	struct json *docs = NULL;
	struct str text;

	TRY(read_file(a, path, &text));
	TRY(err_wrap(yaml_parse_all(a, text, &docs), "%s", path));
	json_for_each(it, docs)
	{
		buf_addz(out, "\t{ ");
		add_literal(out, json_str_at(it.val, "kind"));
		buf_addz(out, ",\n\t  ");
		add_literal(out, json_text(a, it.val));
		buf_addz(out, " },\n");
		++*n;
	}
	return NULL;
}

static struct err *embed(struct arena *a, int argc, char **argv)
{
	_cleanup_buf_ struct buf out = { 0 };
	size_t n = 0;
	FILE *f;

	buf_addz(&out, "/* Written by embed-manifests. */\n"
		       "#include \"virt/operator/manifests.h\"\n\n"
		       "const struct manifest virt_manifests[] = {\n");
	for (int i = 2; i < argc; i++)
		TRY(add_documents(a, argv[i], &out, &n));
	buf_addf(&out, "};\nconst size_t virt_n_manifests = %zu;\n", n);
	f = fopen(argv[1], "we");
	if (!f)
		return err_new(ERR_IO, "%s: cannot write it", argv[1]);
	if (fwrite(out.p, 1, out.n, f) != out.n || fclose(f) != 0)
		return err_new(ERR_IO, "%s: write failed", argv[1]);
	return NULL;
}

int main(int argc, char **argv)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct err *e;

	if (argc < 3) {
		fprintf(stderr, "usage: embed-manifests OUT.c FILE.yaml...\n");
		return 2;
	}
	e = embed(a, argc, argv);
	if (!e)
		return 0;
	fprintf(stderr, "embed-manifests: %.*s\n", STR_ARG(err_msg(e)));
	err_free(e);
	return 1;
}
