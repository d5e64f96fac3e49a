/* SPDX-License-Identifier: Apache-2.0 */

#include "control/statefulset-plan.h"

#include "api/meta.h"
#include "base/buf.h"
#include "control/revisions.h"
#include "testkit/test.h"
#include "json/json.h"

static struct json *parse(struct arena *a, struct str text)
{
	struct json *v;

	assert_no_err(json_parse(a, text, &v));
	return v;
}

static bool never_stale(const struct stateful_pod *pod UNUSED, void *ctx UNUSED)
{
	return false;
}

/* "0=old 2=new! 3=new-" is web-0 of revision old, ready; web-2 not ready; web-3 going. */
static size_t make_pods(struct arena *a, const char *text, const struct json **v)
{
	struct str rest = str_from(text), word;
	size_t n = 0;

	while (rest.n && str_split_next(&rest, ' ', &word)) {
		bool sick = str_strip_suffix(&word, STR("!"));
		bool going = str_strip_suffix(&word, STR("-"));
		bool failed = str_strip_suffix(&word, STR("?"));
		struct str ordinal;

		str_cut(&word, '=', &ordinal);
		v[n++] = parse(
			a,
			arena_fmt(a,
				  "{\"metadata\":{\"name\":\"web-" STR_FMT
				  "\",\"labels\":{\"controller-revision-hash\":\"" STR_FMT
				  "\"}%s},\"status\":{\"phase\":\"%s\",\"conditions\":[{\"type\":"
				  "\"Ready\",\"status\":\"%s\"}]}}",
				  STR_ARG(ordinal), STR_ARG(word),
				  going ? ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"" : "",
				  failed ? "Failed" : "Running", sick ? "False" : "True"));
	}
	return n;
}

static struct str steps_text(struct arena *a, const struct stateful_plan *p)
{
	static const char *const names[] = { "create", NULL, NULL, NULL, "delete" };
	_cleanup_buf_ struct buf b = { 0 };

	for (size_t i = 0; i < p->n_steps; i++) {
		const struct stateful_step *s = &p->steps[i];
		struct str text;

		if (!names[s->act])
			continue;
		text = arena_fmt(a, "%s%s %lld" STR_FMT, b.n ? ", " : "", names[s->act],
				 (long long)s->pod->ordinal,
				 STR_ARG(s->pod->obj ? STR_EMPTY : STR(" ")));
		buf_add(&b, text);
		if (!s->pod->obj)
			buf_add(&b, s->pod->revision);
	}
	return buf_to_arena(&b, a);
}

TEST(steps)
{
	static const struct {
		const char *spec, *pods, *steps;
	} rows[] = {
		{ "\"replicas\":3", "", "create 0 new" },
		{ "\"replicas\":3", "0=new!", "" },
		{ "\"replicas\":3", "0=new", "create 1 new" },
		{ "\"replicas\":3", "0=new 2=new", "create 1 new" },
		{ "\"replicas\":2,\"podManagementPolicy\":\"Parallel\"", "",
		  "create 0 new, create 1 new" },
		{ "\"replicas\":2,\"podManagementPolicy\":\"Parallel\"", "0=new!", "create 1 new" },
		/* from the top, one at a time, not while another is sick */
		{ "\"replicas\":1", "0=new 1=new 2=new", "delete 2" },
		{ "\"replicas\":1", "0=new 1=new 2=new-", "" },
		{ "\"replicas\":1", "0=new! 1=new 2=new", "" },
		{ "\"replicas\":1", "0=new 1=new! 2=new", "delete 2" },
		{ "\"replicas\":1", "0=new 1=new! 2=new!", "" },
		{ "\"replicas\":0", "0=new!", "delete 0" },
		{ "\"replicas\":1,\"podManagementPolicy\":\"Parallel\"", "0=new! 1=new! 2=new",
		  "delete 2, delete 1" },
		{ "\"replicas\":2", "0=new? 1=new", "delete 0" },
		/* updates */
		{ "\"replicas\":2", "0=old 1=old", "delete 1" },
		{ "\"replicas\":2", "0=old 1=new!", "" },
		{ "\"replicas\":2", "0=old 1=new", "delete 0" },
		{ "\"replicas\":2", "0=old 1=old-", "" },
		{ "\"replicas\":2,\"updateStrategy\":{\"type\":\"OnDelete\"}", "0=old 1=old", "" },
		{ "\"replicas\":2,\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":"
		  "{\"partition\":1}}",
		  "0=old 1=new", "" },
		{ "\"replicas\":2,\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":"
		  "{\"partition\":1}}",
		  "1=new", "create 0 old" },
		{ "\"replicas\":2,\"ordinals\":{\"start\":5}", "5=new 4=new", "create 6 new" },
		{ "\"replicas\":1,\"ordinals\":{\"start\":5}", "5=new 4=new", "delete 4" },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct json *pods[8];
		size_t n = make_pods(a, rows[i].pods, pods);
		struct stateful_plan p;

		stateful_plan_init(
			a, &p,
			parse(a, arena_fmt(a, "{\"metadata\":{\"name\":\"web\"},\"spec\":{%s}}",
					   rows[i].spec)),
			STR("old"), STR("new"), pods, n, (struct wall){ 0 });
		stateful_plan_steps(a, &p, never_stale, NULL);
		if (!str_eqz(steps_text(a, &p), rows[i].steps))
			fail_msg("row %zu: " STR_FMT, i, STR_ARG(steps_text(a, &p)));
	}
}

TEST(huge_sets_are_made_in_pieces)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *set = parse(a, STR("{\"metadata\":{\"name\":\"web\"},\"spec\":{\"replicas\":"
					"2147483647,\"podManagementPolicy\":\"Parallel\"}}"));
	const struct json *pods[2];
	size_t n = make_pods(a, "1=new 2000000000=new", pods);
	struct stateful_plan p;

	stateful_plan_init(a, &p, set, STR("new"), STR("new"), pods, n, (struct wall){ 0 });
	assert_true(p.more);
	assert_int_equal(p.n, 502);
	assert_int_equal(p.v[1].ordinal, 1);
	assert_non_null(p.v[1].obj);
	assert_int_equal(p.v[501].ordinal, 2000000000);
}

TEST(ordinals)
{
	static const struct {
		const char *name;
		int64_t ordinal;
	} rows[] = { { "web-0", 0 },   { "web-17", 17 }, { "web-01", -1 },
		     { "web-", -1 },   { "web-x", -1 },  { "web2-1", -1 },
		     { "web--1", -1 }, { "web-+1", -1 }, { "web-99999999999", -1 } };
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *set = parse(a, STR("{\"metadata\":{\"name\":\"web\"}}"));

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *pod =
			parse(a, arena_fmt(a, "{\"metadata\":{\"name\":\"%s\"}}", rows[i].name));

		assert_int_equal(stateful_ordinal(set, pod), rows[i].ordinal);
	}
}

/* The kinds of those that own a claim, by policy. */
TEST(claim_owners)
{
	static const struct {
		const char *deleted, *scaled, *pod, *owners;
	} rows[] = {
		{ "Retain", "Retain", "web-0", "" },
		{ "Delete", "Retain", "web-0", "StatefulSet" },
		{ "Delete", "Retain", "web-1", "StatefulSet" },
		{ "Retain", "Delete", "web-0", "" },
		{ "Retain", "Delete", "web-1", "Pod" },
		{ "Delete", "Delete", "web-0", "StatefulSet" },
		{ "Delete", "Delete", "web-1", "Pod" },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *set = parse(
			a, arena_fmt(a,
				     "{\"metadata\":{\"name\":\"web\",\"uid\":\"s\"},\"spec\":{"
				     "\"replicas\":1,\"persistentVolumeClaimRetentionPolicy\":{"
				     "\"whenDeleted\":\"%s\",\"whenScaled\":\"%s\"}}}",
				     rows[i].deleted, rows[i].scaled));
		struct json *pod =
			parse(a, arena_fmt(a, "{\"metadata\":{\"name\":\"%s\",\"uid\":\"p\"}}",
					   rows[i].pod));
		struct json *claim = parse(a, STR("{\"metadata\":{\"name\":\"c\"}}")), *refs;
		bool conflict;

		refs = stateful_claim_owners(a, set, pod, claim, &conflict);
		assert_str(json_str_at(json_idx(refs, 0), "kind"), rows[i].owners);
		if (!refs)
			continue;
		/* once set it is right; and wrong when nothing is wanted any more */
		json_set(a, json_get(claim, "metadata"), "ownerReferences", refs);
		assert_null(stateful_claim_owners(a, set, pod, claim, &conflict));
		json_delz(json_get(set, "spec"), "persistentVolumeClaimRetentionPolicy");
		assert_int_equal(json_len(stateful_claim_owners(a, set, pod, claim, &conflict)), 0);
		assert_false(conflict);
	}
}

TEST(revisions)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *set = parse(a, STR("{\"metadata\":{\"name\":\"web\"},\"spec\":{\"template\":{"
					"\"spec\":{\"b\":1,\"a\":[{\"d\":1,\"c\":2}]}}}}"));
	struct json *data = revision_data(a, set);
	struct json *old = parse(a, STR("{\"metadata\":{\"name\":\"x\"},\"revision\":4}"));
	struct json *same = parse(a, STR("{\"metadata\":{\"name\":\"y\"},\"revision\":2}"));
	const struct json *v[] = { old, same };
	struct owned_list list = { v, 2 };

	assert_str(json_text(a, data), "{\"spec\":{\"template\":{\"$patch\":\"replace\",\"spec\":{"
				       "\"a\":[{\"c\":2,\"d\":1}],\"b\":1}}}}");
	assert_false(str_eq(revision_hash(a, data, 0), revision_hash(a, data, 1)));
	json_set(a, same, "data", json_copy(a, data));
	revisions_sort(&list);
	assert_ptr_equal(list.v[0], same);
	assert_ptr_equal(revisions_find(&list, data), same);
	assert_int_equal(revisions_next(&list, data), 5);
	assert_null(json_get(revision_template(a, same), "$patch"));
}

TEST_MAIN(T(steps), T(huge_sets_are_made_in_pieces), T(ordinals), T(claim_owners), T(revisions))
