/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Build tool: YAML documents as C source (manifests.h).
 *
 *     embed-manifests OUT.c FILE.yaml...
 */

#include <stdio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/embed.h"
#include "base/err.h"
#include "json/json.h"
#include "json/yaml.h"

static struct err *add_documents(struct arena *a, const char *path, struct buf *out, size_t *n)
{
	struct json *docs = NULL;
	struct str text;

	TRY(embed_read(a, path, &text));
	TRY(err_wrap(yaml_parse_all(a, text, &docs), "%s", path));
	json_for_each(it, docs)
	{
		buf_addz(out, "\t{ ");
		embed_literal(out, json_str_at(it.val, "kind"));
		buf_addz(out, ",\n\t  ");
		embed_literal(out, json_text(a, it.val));
		buf_addz(out, " },\n");
		++*n;
	}
	return NULL;
}

static struct err *embed(struct arena *a, int argc, char **argv)
{
	_cleanup_buf_ struct buf out = { 0 };
	size_t n = 0;

	buf_addz(&out, "/* Written by embed-manifests. */\n"
		       "#include \"virt/operator/manifests.h\"\n\n"
		       "const struct manifest virt_manifests[] = {\n");
	for (int i = 2; i < argc; i++)
		TRY(add_documents(a, argv[i], &out, &n));
	buf_addf(&out, "};\nconst size_t virt_n_manifests = %zu;\n", n);
	return embed_write(argv[1], buf_str(&out));
}

int main(int argc, char **argv)
{
	_cleanup_arena_ struct arena *a = arena_new();

	if (argc < 3) {
		fprintf(stderr, "usage: embed-manifests OUT.c FILE.yaml...\n");
		return 2;
	}
	return embed_finish("embed-manifests", embed(a, argc, argv));
}
