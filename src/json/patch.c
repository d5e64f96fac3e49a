/* SPDX-License-Identifier: Apache-2.0 */
#include "json/patch.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "json/json.h"

#define JSON_PATCH_MAX_OPS    10000
#define JSON_PATCH_MAX_COPIED 3145728 /* bytes that copies may add in all, as upstream */

/* What upstream answers when an operation does not apply. */
static struct err *json_patch_rejected(void)
{
	return err_new(ERR_INVALID,
		       "the server rejected our request due to an error in our request");
}

/* One reference token of a JSON pointer, unescaped. */
static bool json_pointer_token(struct arena *a, struct str raw, struct str *ret)
{
	char *out;
	size_t n = 0;

	if (str_find_char(raw, '~', 0) == raw.n) {
		*ret = raw;
		return true;
	}
	out = arena_alloc(a, raw.n + 1);
	for (size_t i = 0; i < raw.n; i++) {
		char c = raw.p[i];

		if (c == '~') {
			if (i + 1 >= raw.n || (raw.p[i + 1] != '0' && raw.p[i + 1] != '1'))
				return false;
			c = raw.p[++i] == '0' ? '~' : '/';
		}
		out[n++] = c;
	}
	*ret = str_make(out, n);
	return true;
}

/* An array index; "-" is the end when that is allowed. */
static bool json_pointer_index(struct str tok, size_t len, bool may_append, size_t *ret)
{
	uint64_t i;

	if (may_append && str_eqz(tok, "-")) {
		*ret = len;
		return true;
	}
	if (!str_to_u64(tok, &i) || (tok.n > 1 && tok.p[0] == '0'))
		return false;
	if (i > len || (i == len && !may_append))
		return false;
	*ret = (size_t)i;
	return true;
}

static struct json *json_pointer_step(struct json *v, struct str tok)
{
	size_t i;

	if (json_is(v, JSON_OBJECT))
		return json_get_s(v, tok);
	if (json_is(v, JSON_ARRAY) && json_pointer_index(tok, json_len(v), false, &i))
		return json_idx(v, i);
	return NULL;
}

/* Where path ends: its container and last token. False when a parent is missing. */
static bool json_pointer_parent(struct arena *a, struct json *doc, struct str path,
				struct json **ret_parent, struct str *ret_tok)
{
	struct str raw, tok;

	/* as upstream's library: whatever is before the first slash is not looked at */
	if (str_find_char(path, '/', 0) == path.n)
		return false;
	path = str_skip(path, str_find_char(path, '/', 0) + 1);
	while (str_split_next(&path, '/', &raw)) {
		if (!json_pointer_token(a, raw, &tok))
			return false;
		if (!path.p) {
			*ret_parent = doc;
			*ret_tok = tok;
			return json_is(doc, JSON_OBJECT) || json_is(doc, JSON_ARRAY);
		}
		doc = json_pointer_step(doc, tok);
		if (!doc)
			return false;
	}
	return false;
}

struct json_patch {
	struct arena *a;
	struct json *root; /* an array of one, so that the document itself can be replaced */
	size_t copied;
};

static struct json *json_patch_doc(const struct json_patch *p)
{
	return json_idx(p->root, 0);
}

static struct json *json_patch_find(struct json_patch *p, struct str path)
{
	struct json *parent;
	struct str tok;

	if (!path.n)
		return json_patch_doc(p);
	if (!json_pointer_parent(p->a, json_patch_doc(p), path, &parent, &tok))
		return NULL;
	return json_pointer_step(parent, tok);
}

static unsigned json_patch_levels(const struct json *v)
{
	unsigned most = 0, n;

	json_for_each(it, v)
	{
		n = json_patch_levels(it.val);
		most = MAX(most, n);
	}
	return most + 1;
}

/* No result is deeper than what can be read. */
static bool json_patch_fits(struct str path, const struct json *v)
{
	unsigned depth = 0;

	for (size_t i = 0; i < path.n; i++)
		depth += path.p[i] == '/';
	return depth < JSON_MAX_DEPTH && depth + json_patch_levels(v) <= JSON_MAX_DEPTH;
}

static bool json_patch_add(struct json_patch *p, struct str path, struct json *v)
{
	struct json *parent;
	struct str tok;
	size_t i;

	if (!json_patch_fits(path, v))
		return false;
	if (!path.n) {
		json_replace_idx(p->root, 0, v);
		return true;
	}
	if (!json_pointer_parent(p->a, json_patch_doc(p), path, &parent, &tok))
		return false;
	if (json_is(parent, JSON_OBJECT)) {
		json_set_s(p->a, parent, tok, v);
		return true;
	}
	if (!json_pointer_index(tok, json_len(parent), true, &i))
		return false;
	json_insert_idx(parent, i, v);
	return true;
}

static bool json_patch_remove(struct json_patch *p, struct str path)
{
	struct json *parent;
	struct str tok;
	size_t i;

	if (!json_pointer_parent(p->a, json_patch_doc(p), path, &parent, &tok))
		return false;
	if (json_is(parent, JSON_OBJECT))
		return json_del(parent, tok);
	return json_pointer_index(tok, json_len(parent), false, &i) && json_remove_idx(parent, i);
}

static bool json_patch_replace(struct json_patch *p, struct str path, struct json *v)
{
	struct json *parent;
	struct str tok;
	size_t i;

	if (!path.n)
		return json_patch_add(p, path, v);
	if (!json_patch_fits(path, v) ||
	    !json_pointer_parent(p->a, json_patch_doc(p), path, &parent, &tok))
		return false;
	if (json_is(parent, JSON_OBJECT)) {
		/* As upstream's library: a missing member is added. */
		json_set_s(p->a, parent, tok, v);
		return true;
	}
	if (!json_pointer_index(tok, json_len(parent), false, &i))
		return false;
	json_replace_idx(parent, i, v);
	return true;
}

static bool json_patch_copy(struct json_patch *p, struct str from, struct str path)
{
	const struct json *src = json_patch_find(p, from);
	_cleanup_buf_ struct buf b = { 0 };

	if (!src)
		return false;
	json_write(&b, src);
	p->copied += b.n;
	return p->copied <= JSON_PATCH_MAX_COPIED && json_patch_add(p, path, json_copy(p->a, src));
}

static bool json_patch_move(struct json_patch *p, struct str from, struct str path)
{
	struct json *src = json_patch_find(p, from);

	return src && json_patch_remove(p, from) && json_patch_add(p, path, src);
}

static bool json_patch_one(struct json_patch *p, const struct json *op)
{
	struct str name = json_as_str(json_get(op, "op"));
	const struct json *path = json_get(op, "path");
	const struct json *value = json_get(op, "value");
	struct str from = json_as_str(json_get(op, "from"));
	struct json *src;

	if (!json_is(path, JSON_STR))
		return false;
	if (str_eqz(name, "test")) {
		src = json_patch_find(p, json_as_str(path));
		if (!src)
			return json_is_null(value) && json_get(op, "value");
		return value && json_equal(src, value);
	}
	if (str_eqz(name, "remove"))
		return json_patch_remove(p, json_as_str(path));
	if (str_eqz(name, "add"))
		return value && json_patch_add(p, json_as_str(path), json_copy(p->a, value));
	if (str_eqz(name, "replace"))
		return value && json_patch_replace(p, json_as_str(path), json_copy(p->a, value));
	if (str_eqz(name, "move"))
		return json_patch_move(p, from, json_as_str(path));
	return str_eqz(name, "copy") && json_patch_copy(p, from, json_as_str(path));
}

/* ---- why an operation does not apply, as upstream's library says it */

static bool json_patch_has_parent(struct json_patch *p, struct str path, struct json **ret_parent,
				  struct str *ret_tok)
{
	return json_pointer_parent(p->a, json_patch_doc(p), path, ret_parent, ret_tok);
}

static struct str json_patch_why_key(struct arena *a, const struct json *parent, struct str tok)
{
	if (json_is(parent, JSON_OBJECT))
		return arena_fmt(a, "Unable to remove nonexistent key: " STR_FMT ": missing value",
				 STR_ARG(tok));
	return arena_fmt(a, "Unable to access invalid index: " STR_FMT ": invalid index referenced",
			 STR_ARG(tok));
}

static struct err *json_patch_why_moved(struct json_patch *p, const char *name, struct str path,
					struct str from)
{
	struct json *parent;
	struct str tok;

	if (!json_patch_has_parent(p, from, &parent, &tok))
		return err_new(ERR_INVALID,
			       "%s operation does not apply: doc is missing from path: " STR_FMT
			       ": missing value",
			       name, STR_ARG(from));
	if (!json_pointer_step(parent, tok))
		return err_new(ERR_INVALID, "error in %s for path: '" STR_FMT "': " STR_FMT, name,
			       STR_ARG(tok), STR_ARG(json_patch_why_key(p->a, parent, tok)));
	return err_new(ERR_INVALID,
		       "%s operation does not apply: doc is missing destination path: " STR_FMT
		       ": missing value",
		       name, STR_ARG(path));
}

static struct err *json_patch_why(struct json_patch *p, const struct json *op)
{
	const char *name = arena_strz(p->a, json_as_str(json_get(op, "op")));
	struct str path = json_as_str(json_get(op, "path")), tok;
	bool quoted = str_eqz(str_from(name), "add") || str_eqz(str_from(name), "remove");
	bool test = str_eqz(str_from(name), "test"), replace = str_eqz(str_from(name), "replace");
	struct json *parent;

	if (str_eqz(str_from(name), "move") || str_eqz(str_from(name), "copy"))
		return json_patch_why_moved(p, name, path, json_as_str(json_get(op, "from")));
	if (!quoted && !test && !replace)
		return err_new(ERR_INVALID, "Unexpected kind: %s", name);
	if (!json_is(json_get(op, "path"), JSON_STR))
		return err_new(ERR_INVALID, "%s operation failed to decode path: missing value",
			       name);
	if (!json_patch_has_parent(p, path, &parent, &tok))
		return err_new(ERR_INVALID,
			       "%s operation does not apply: %sis missing path: %s" STR_FMT
			       "%s: missing value",
			       name, test ? "" : "doc ", quoted ? "\"" : "", STR_ARG(path),
			       quoted ? "\"" : "");
	if (test)
		return err_new(ERR_INVALID, "testing value " STR_FMT " failed: test failed",
			       STR_ARG(path));
	if (replace)
		return err_new(ERR_INVALID,
			       "replace operation does not apply: doc is missing key: " STR_FMT
			       ": missing value",
			       STR_ARG(path));
	return err_new(ERR_INVALID, "error in %s for path: '" STR_FMT "': " STR_FMT, name,
		       STR_ARG(path), STR_ARG(json_patch_why_key(p->a, parent, tok)));
}

struct err *json_patch_apply_why(struct arena *a, const struct json *doc, const struct json *ops,
				 struct json **ret)
{
	struct json_patch p = { .a = a, .root = json_array(a) };

	json_push(p.root, json_copy(a, doc));
	json_for_each(it, ops) if (!json_patch_one(&p, it.val)) return json_patch_why(&p, it.val);
	*ret = json_patch_doc(&p);
	return NULL;
}

struct err *json_patch_apply(struct arena *a, const struct json *doc, const struct json *ops,
			     struct json **ret)
{
	struct json_patch p = { .a = a, .root = json_array(a) };

	if (!json_is(ops, JSON_ARRAY))
		return err_new(ERR_BAD_REQUEST,
			       "error decoding patch: json: cannot unmarshal %s into Go value of "
			       "type []handlers.jsonPatchOp",
			       json_type_name(ops));
	if (json_len(ops) > JSON_PATCH_MAX_OPS)
		return err_new(ERR_TOO_LARGE,
			       "Request entity too large: The allowed maximum operations in a JSON "
			       "patch is %d, got %zu",
			       JSON_PATCH_MAX_OPS, json_len(ops));
	json_push(p.root, json_copy(a, doc));
	json_for_each(it, ops) if (!json_patch_one(&p, it.val)) return json_patch_rejected();
	*ret = json_patch_doc(&p);
	return NULL;
}

static void merge_into(struct arena *a, struct json *obj, const struct json *patch)
{
	json_for_each(it, patch)
	{
		struct json *member;

		if (json_is_null(it.val)) {
			json_del(obj, it.key);
			continue;
		}
		if (!json_is(it.val, JSON_OBJECT)) {
			json_set_s(a, obj, it.key, json_dup(a, it.val));
			continue;
		}
		member = json_get_s(obj, it.key);
		if (!json_is(member, JSON_OBJECT)) {
			member = json_object(a);
			json_set_s(a, obj, it.key, member);
		}
		merge_into(a, member, it.val);
	}
}

struct json *json_merge_patch(struct arena *a, const struct json *doc, const struct json *patch)
{
	struct json *out;

	if (!json_is(patch, JSON_OBJECT))
		return json_dup(a, patch);
	out = json_is(doc, JSON_OBJECT) ? json_dup(a, doc) : json_object(a);
	merge_into(a, out, patch);
	return out;
}

struct json *json_merge_diff(struct arena *a, const struct json *from, const struct json *to)
{
	struct json *out = json_object(a);

	json_for_each(it, from) if (!json_get_s(to, it.key))
		json_set_s(a, out, it.key, json_null(a));
	json_for_each(it, to)
	{
		const struct json *old = json_get_s(from, it.key);

		if (old && json_equal(old, it.val))
			continue;
		if (json_is(old, JSON_OBJECT) && json_is(it.val, JSON_OBJECT))
			json_set_s(a, out, it.key, json_merge_diff(a, old, it.val));
		else
			json_set_s(a, out, it.key, json_copy(a, it.val));
	}
	return out;
}

static struct str json_pointer_join(struct arena *a, struct str path, struct str key)
{
	char *out = arena_alloc(a, path.n + 2 * key.n + 2);
	size_t n = path.n;

	if (n)
		memcpy(out, path.p, n);
	out[n++] = '/';
	for (size_t i = 0; i < key.n; i++) {
		if (key.p[i] == '~' || key.p[i] == '/') {
			out[n++] = '~';
			out[n++] = key.p[i] == '~' ? '0' : '1';
		} else {
			out[n++] = key.p[i];
		}
	}
	return str_make(out, n);
}

static void json_patch_emit(struct arena *a, struct json *ops, const char *op, struct str path,
			    const struct json *v)
{
	struct json *o = json_object(a);

	json_set_str(a, o, "op", str_from(op));
	json_set_str(a, o, "path", path);
	if (v)
		json_set(a, o, "value", json_copy(a, v));
	json_push(ops, o);
}

static void json_patch_diff_at(struct arena *a, struct json *ops, struct str path,
			       const struct json *from, const struct json *to)
{
	if (json_equal(from, to))
		return;
	if (!json_is(from, JSON_OBJECT) || !json_is(to, JSON_OBJECT)) {
		json_patch_emit(a, ops, "replace", path, to);
		return;
	}
	json_for_each(it, from) if (!json_get_s(to, it.key))
		json_patch_emit(a, ops, "remove", json_pointer_join(a, path, it.key), NULL);
	json_for_each(it, to)
	{
		const struct json *old = json_get_s(from, it.key);
		struct str sub = json_pointer_join(a, path, it.key);

		if (old)
			json_patch_diff_at(a, ops, sub, old, it.val);
		else
			json_patch_emit(a, ops, "add", sub, it.val);
	}
}

struct json *json_patch_diff(struct arena *a, const struct json *from, const struct json *to)
{
	struct json *ops = json_array(a);

	json_patch_diff_at(a, ops, STR_EMPTY, from, to);
	return ops;
}
