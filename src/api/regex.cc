/* SPDX-License-Identifier: Apache-2.0 */

/* The only C++ file. Nothing may throw across the border: RE2 reports errors by value. */

#include <re2/re2.h>

#include <string.h>

extern "C" {
#include "api/regex.h"
#include "base/arena.h"
}

struct regex {
	RE2 re;
	explicit regex(const re2::StringPiece &p, const RE2::Options &o) : re(p, o)
	{
	}
};

/* Bounds what one pattern of a tenant's CRD may cost. */
static const int64_t REGEX_MAX_MEM = 1 << 20;
/* Instructions; a usual pattern has some dozens. A pattern that is refused was work, too. */
static const int64_t REGEX_BUDGET = 500000, REGEX_REFUSED = 20000;

static int64_t regex_left;
static bool regex_limited;

static bool regex_charge(int64_t n)
{
	if (!regex_limited)
		return true;
	regex_left -= n;
	return regex_left >= 0;
}

extern "C" void regex_budget_start(void)
{
	regex_limited = true;
	regex_left = REGEX_BUDGET;
}

extern "C" void regex_budget_end(void)
{
	regex_limited = false;
}

extern "C" struct regex *regex_new(struct str pattern, struct arena *a, struct str *ret_error)
{
	RE2::Options o;

	if (!regex_charge(0)) {
		if (ret_error) {
			static const char why[] = "pattern too large - all patterns together";

			*ret_error = str_make(why, sizeof(why) - 1);
		}
		return NULL;
	}
	o.set_log_errors(false);
	o.set_max_mem(REGEX_MAX_MEM);
	struct regex *r = new struct regex(re2::StringPiece(pattern.p, pattern.n), o);

	if (r->re.ok()) {
		regex_charge(r->re.ProgramSize());
		return r;
	}
	regex_charge(REGEX_REFUSED);
	if (ret_error) {
		const std::string &why = r->re.error();

		*ret_error = arena_str(a, str_make(why.data(), why.size()));
	}
	delete r;
	return NULL;
}

extern "C" struct regex *regex_free(struct regex *r)
{
	delete r;
	return NULL;
}

extern "C" bool regex_matches(const struct regex *r, struct str s)
{
	return RE2::PartialMatch(re2::StringPiece(s.p, s.n), r->re);
}

extern "C" bool regex_find(const struct regex *r, struct str s, size_t from, size_t *ret_start,
			   size_t *ret_end)
{
	re2::StringPiece text(s.p, s.n), found;

	if (!r->re.Match(text, from, s.n, RE2::UNANCHORED, &found, 1))
		return false;
	*ret_start = (size_t)(found.data() - text.data());
	*ret_end = *ret_start + found.size();
	return true;
}
