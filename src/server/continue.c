/* SPDX-License-Identifier: Apache-2.0 */
#include "server/continue.h"

#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "json/json.h"

/* continue tokens: {"v":"meta.k8s.io/v1","rv":7,"start":"ns/name\u0000"} */
struct str continue_format(struct arena *a, const struct continue_token *t)
{
	struct json *j = json_object(a);
	struct str start;

	start = str_empty(t->ns) ? arena_fmt(a, STR_FMT "%c", STR_ARG(t->name), 0)
				 : arena_fmt(a, STR_FMT "/" STR_FMT "%c", STR_ARG(t->ns),
					     STR_ARG(t->name), 0);
	json_set_str(a, j, "v", STR("meta.k8s.io/v1"));
	json_set_int(a, j, "rv", t->rv);
	json_set_str(a, j, "start", start);
	return base64url_encode(a, json_text(a, j));
}

struct err *continue_parse(struct arena *a, struct str cont, struct continue_token *ret)
{
	struct json *t = NULL;
	struct str text = STR_EMPTY, start, ns;
	struct err *e;
	int64_t rv;

	if (!base64url_decode(a, cont, &text))
		return err_new(ERR_BAD_REQUEST,
			       "continue key is not valid: illegal base64 data at input byte 0");
	e = json_parse(a, text, &t);
	if (e)
		return err_recode(err_wrap(e, "continue key is not valid"), ERR_BAD_REQUEST);
	if (!json_is(t, JSON_OBJECT))
		return err_new(ERR_BAD_REQUEST,
			       "continue key is not valid: json: cannot unmarshal %s into Go value "
			       "of type storage.continueToken",
			       json_is(t, JSON_INT) ? "number" : json_type_name(t));
	if (!str_eqz(json_str_at(t, "v"), "meta.k8s.io/v1"))
		return err_new(ERR_BAD_REQUEST,
			       "continue key is not valid: server does not recognize this encoded "
			       "version " STR_FMT,
			       STR_ARG(json_str_at(t, "v")));
	start = json_str_at(t, "start");
	rv = json_int_at(t, "rv", 0);
	if (rv == 0 || str_empty(start))
		return err_new(ERR_BAD_REQUEST,
			       "continue key is not valid: incorrect encoded start resourceVersion "
			       "(version meta.k8s.io/v1)");
	/* keys are clean paths */
	if (str_find(start, STR("../")) < start.n || str_has_prefix(start, STR("//")))
		return err_new(ERR_BAD_REQUEST, "continue key is not valid: " STR_FMT,
			       STR_ARG(start));
	str_strip_prefix(&start, STR("/"));
	if (start.n && start.p[start.n - 1] == 0)
		start.n--;
	*ret = (struct continue_token){ .rv = rv };
	if (str_find_char(start, '/', 0) < start.n) {
		str_cut(&start, '/', &ns);
		ret->ns = ns;
	}
	ret->name = start;
	return NULL;
}
