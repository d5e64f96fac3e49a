/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "virt/mapping/convert.h"
#include "virt/virtctl/virtctl.h"
#include "json/json.h"
#include "json/yaml.h"

#define MAX_INPUT (16 * 1024 * 1024)

static struct err *read_input(struct virtctl *v, struct str *ret)
{
	struct str name = virtctl_given(v, CONVERT_FILE) ? v->values[CONVERT_FILE] : STR("-");
	bool std = str_eqz(name, "-");
	FILE *f = std ? stdin : fopen(arena_strz(v->a, name), "re");
	_cleanup_buf_ struct buf b = { 0 };
	char chunk[4096];
	size_t n;

	if (!f)
		return err_new(ERR_NOT_FOUND, "cannot open '" STR_FMT "'", STR_ARG(name));
	while (b.n <= MAX_INPUT && (n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		buf_add(&b, str_make(chunk, n));
	if (!std)
		fclose(f);
	if (b.n > MAX_INPUT)
		return err_new(ERR_TOO_LARGE, "'" STR_FMT "' is over 16 MiB", STR_ARG(name));
	*ret = buf_to_arena(&b, v->a);
	return NULL;
}

static void tell(const struct json *in, const struct json *out, const struct json *losses,
		 const struct json *notes)
{
	json_for_each(it, losses) fprintf(
		stderr, STR_FMT "/" STR_FMT ": " STR_FMT " has no counterpart in a " STR_FMT "\n",
		STR_ARG(json_str_at(in, "kind")), STR_ARG(meta_name(in)),
		STR_ARG(json_as_str(it.val)), STR_ARG(json_str_at(out, "kind")));
	json_for_each(it, notes) fprintf(stderr, STR_FMT "/" STR_FMT ": " STR_FMT "\n",
					 STR_ARG(json_str_at(in, "kind")), STR_ARG(meta_name(in)),
					 STR_ARG(json_as_str(it.val)));
}

/* Beside a Pod there may be a Service: what has no counterpart goes on as it is. */
static struct err *convert_one(struct virtctl *v, struct json *in, bool alone, struct json **ret)
{
	struct json *losses, *notes;
	struct err *e = convert_manifest(v->a, in, ret, &losses, &notes);

	if (e && (alone || !err_is(e, ERR_INVALID)))
		return e;
	if (!e) {
		tell(in, *ret, losses, notes);
		return NULL;
	}
	fprintf(stderr, STR_FMT "/" STR_FMT ": kept as it is\n", STR_ARG(json_str_at(in, "kind")),
		STR_ARG(meta_name(in)));
	err_ignore(e, "told");
	*ret = in;
	return NULL;
}

struct err *virtctl_convert(struct virtctl *v)
{
	struct str output =
		virtctl_given(v, CONVERT_OUTPUT) ? v->values[CONVERT_OUTPUT] : STR("yaml");
	struct json *docs = NULL, *out = NULL;
	_cleanup_buf_ struct buf b = { 0 };
	struct str text;

	if (!str_eqz(output, "yaml") && !str_eqz(output, "json"))
		return err_new(ERR_INVALID, "error not supported output format defined: " STR_FMT,
			       STR_ARG(output));
	TRY(read_input(v, &text));
	TRY(yaml_parse_all(v->a, text, &docs));
	json_for_each(it, docs)
	{
		TRY(convert_one(v, it.val, json_len(docs) == 1, &out));
		if (str_eqz(output, "json")) {
			json_write_pretty(&b, out);
			buf_addc(&b, '\n');
			continue;
		}
		if (it.i)
			buf_addz(&b, "---\n");
		yaml_write(&b, out);
	}
	fwrite(b.p, 1, b.n, stdout);
	return NULL;
}
