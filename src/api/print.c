/* SPDX-License-Identifier: Apache-2.0 */
#include "api/print.h"

#include "base/arena.h"
#include "base/err.h"
#include "json/json.h"

/*
 * A path is read step by step; each step maps the set of matches to the next one:
 *     .name  ['name']  [N]  [-N]  [*]  .*  [?(@.a.b=="x")]
 */

/* Borrowed values; only what is found in the end is copied. */
struct matches {
	const struct json **v;
	size_t n, cap;
};

static void matches_add(struct arena *a, struct matches *m, const struct json *v)
{
	if (m->n == m->cap) {
		const struct json **more;

		m->cap = m->cap ? m->cap * 2 : 4;
		more = arena_array(a, m->cap, sizeof(*more));
		if (m->n)
			memcpy(more, m->v, m->n * sizeof(*more));
		m->v = more;
	}
	m->v[m->n++] = v;
}

static struct err *jsonpath_walk(struct arena *a, const struct json *root, struct str path,
				 struct matches *ret);

static struct err *jsonpath_bad(struct str path, const char *why)
{
	return err_new(ERR_INVALID, "invalid JSONPath '" STR_FMT "': %s", STR_ARG(path), why);
}

static bool jsonpath_name_end(char c)
{
	return c == '.' || c == '[' || c == ']' || c == ')' || c == '=' || c == '!' || c == '<' ||
	       c == '>' || c == ' ' || c == '}';
}

/* A member name: up to the next separator, "\." standing for a dot. */
static struct str jsonpath_name(struct arena *a, struct str *rest)
{
	char *out = arena_alloc(a, rest->n + 1);
	size_t i = 0, n = 0;

	while (i < rest->n && !jsonpath_name_end(rest->p[i])) {
		if (rest->p[i] == '\\' && i + 1 < rest->n)
			i++;
		out[n++] = rest->p[i++];
	}
	*rest = str_skip(*rest, i);
	return str_make(out, n);
}

static struct matches jsonpath_members(struct arena *a, const struct matches *in, struct str name)
{
	struct matches out = { 0 };
	bool all = str_eqz(name, "*");

	for (size_t k = 0; k < in->n; k++) {
		if (all) {
			json_for_each(m, in->v[k]) matches_add(a, &out, m.val);
		} else if (json_is(in->v[k], JSON_OBJECT) && json_get_s(in->v[k], name)) {
			matches_add(a, &out, json_get_s(in->v[k], name));
		}
	}
	return out;
}

static struct matches jsonpath_index(struct arena *a, const struct matches *in, int64_t i)
{
	struct matches out = { 0 };

	for (size_t k = 0; k < in->n; k++) {
		int64_t n = (int64_t)json_len(in->v[k]), at = i < 0 ? n + i : i;

		if (json_is(in->v[k], JSON_ARRAY) && at >= 0 && at < n)
			matches_add(a, &out, json_idx(in->v[k], (size_t)at));
	}
	return out;
}

/* The text between quotes of either kind; false when it does not end. */
static bool jsonpath_quoted(struct str *rest, struct str *ret)
{
	char quote = rest->p[0];
	size_t end = str_find_char(*rest, quote, 1);

	if (end == rest->n)
		return false;
	*ret = str_sub(*rest, 1, end);
	*rest = str_skip(*rest, end + 1);
	return true;
}

/* The literal right of a comparison. */
static struct json *jsonpath_literal(struct arena *a, struct str *rest)
{
	struct str text;
	struct json *v = NULL;

	*rest = str_trim(*rest);
	if (rest->n && (rest->p[0] == '"' || rest->p[0] == '\''))
		return jsonpath_quoted(rest, &text) ? json_str(a, text) : NULL;
	text = str_trim(str_sub(*rest, 0, str_find_char(*rest, ')', 0)));
	*rest = str_skip(*rest, str_find_char(*rest, ')', 0));
	err_ignore(json_parse(a, text, &v), "the caller reports a missing literal");
	return v;
}

/* [?(@.path==literal)]: rest begins behind "?(" and ends behind ")]". */
static struct err *jsonpath_filter(struct arena *a, struct str path, const struct matches *in,
				   struct str *rest, struct matches *ret)
{
	struct matches out = { 0 };
	struct json *want = NULL;
	struct str left = STR_EMPTY;
	bool differs = false, exists;

	*rest = str_trim(*rest);
	if (!str_strip_prefix(rest, STR("@")))
		return jsonpath_bad(path, "a filter begins with @");
	for (size_t i = 0; i < rest->n && !strchr("=!<>)", rest->p[i]); i++)
		left = str_sub(*rest, 0, i + 1);
	*rest = str_skip(*rest, left.n);
	exists = rest->n && rest->p[0] == ')';
	if (!exists) {
		differs = str_strip_prefix(rest, STR("!="));
		if (!differs && !str_strip_prefix(rest, STR("==")))
			return jsonpath_bad(path, "filters compare by == or !=");
		want = jsonpath_literal(a, rest);
		if (!want)
			return jsonpath_bad(path, "a filter compares with a literal");
	}
	*rest = str_trim(*rest);
	if (!str_strip_prefix(rest, STR(")]")))
		return jsonpath_bad(path, "unterminated filter");
	for (size_t k = 0; k < in->n; k++)
		json_for_each(el, in->v[k])
		{
			struct matches found = { 0 };

			TRY(jsonpath_walk(a, el.val, str_trim(left), &found));
			if (found.n && (exists || json_equal(found.v[0], want) != differs))
				matches_add(a, &out, el.val);
		}
	*ret = out;
	return NULL;
}

/* rest begins behind "[". */
static struct err *jsonpath_bracket(struct arena *a, struct str path, const struct matches *in,
				    struct str *rest, struct matches *ret)
{
	struct str inner;
	int64_t i;

	if (str_strip_prefix(rest, STR("?(")))
		return jsonpath_filter(a, path, in, rest, ret);
	if (rest->n && (rest->p[0] == '\'' || rest->p[0] == '"')) {
		if (!jsonpath_quoted(rest, &inner) || !str_strip_prefix(rest, STR("]")))
			return jsonpath_bad(path, "unterminated ['name']");
		*ret = jsonpath_members(a, in, inner);
		return NULL;
	}
	if (!str_contains(*rest, STR("]")))
		return jsonpath_bad(path, "unterminated [");
	str_cut(rest, ']', &inner);
	inner = str_trim(inner);
	if (str_eqz(inner, "*") || str_eqz(inner, ":"))
		*ret = jsonpath_members(a, in, STR("*"));
	else if (str_eqz(inner, "-1:"))
		*ret = jsonpath_index(a, in, -1);
	else if (str_to_i64(inner, &i))
		*ret = jsonpath_index(a, in, i);
	else
		return jsonpath_bad(path, "an index is a number, * or a quoted name");
	return NULL;
}

static struct err *jsonpath_walk(struct arena *a, const struct json *root, struct str path,
				 struct matches *ret)
{
	struct matches cur = { 0 };
	struct str rest = str_trim(path), name;

	if (str_strip_prefix(&rest, STR("{")) && !str_strip_suffix(&rest, STR("}")))
		return jsonpath_bad(path, "unclosed action");
	str_strip_prefix(&rest, STR("$"));
	if (root)
		matches_add(a, &cur, root);
	while (rest.n) {
		if (str_strip_prefix(&rest, STR("["))) {
			TRY(jsonpath_bracket(a, path, &cur, &rest, &cur));
			continue;
		}
		if (!str_strip_prefix(&rest, STR(".")))
			return jsonpath_bad(path, "expected '.' or '['");
		if (!rest.n || rest.p[0] == '[')
			continue;
		name = jsonpath_name(a, &rest);
		if (!name.n)
			return jsonpath_bad(path, "empty name");
		cur = jsonpath_members(a, &cur, name);
	}
	*ret = cur;
	return NULL;
}

struct err *jsonpath_find(struct arena *a, const struct json *root, struct str path,
			  struct json **ret_matches)
{
	struct matches found = { 0 };

	TRY(jsonpath_walk(a, root, path, &found));
	*ret_matches = json_array(a);
	for (size_t i = 0; i < found.n; i++)
		json_push(*ret_matches, json_copy(a, found.v[i]));
	return NULL;
}

bool jsonpath_is_simple(struct str path)
{
	if (!str_strip_prefix(&path, STR(".")) || !path.n)
		return false;
	for (size_t i = 0; i < path.n; i++)
		if (jsonpath_name_end(path.p[i]) &&
		    (path.p[i] != '.' || i == 0 || i + 1 == path.n || path.p[i + 1] == '.'))
			return false;
	return true;
}
