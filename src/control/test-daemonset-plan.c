/* SPDX-License-Identifier: Apache-2.0 */

#include "control/daemonset-plan.h"

#include "api/meta.h"
#include "base/buf.h"
#include "testkit/test.h"
#include "json/json.h"

static struct json *parse(struct arena *a, struct str text)
{
	struct json *v;

	assert_no_err(json_parse(a, text, &v));
	return v;
}

/* Nodes n0, n1, ...: "tainted" ones have the label x=tainted and a taint of that effect. */
static size_t make_nodes(struct arena *a, const char *text, const struct json **v)
{
	struct str rest = str_from(text), effect;
	size_t n = 0;

	while (str_split_next(&rest, ' ', &effect)) {
		v[n] = parse(
			a, arena_fmt(a,
				     "{\"metadata\":{\"name\":\"n%zu\",\"labels\":{\"x\":\"%zu\"}},"
				     "\"spec\":{\"taints\":[{\"key\":\"t\",\"effect\":\"" STR_FMT
				     "\"}]}}",
				     n, n, STR_ARG(effect)));
		n++;
	}
	return n;
}

/* "a@n0=old b@n1=new!": ! is not ready, ? failed, - going. */
static size_t make_pods(struct arena *a, const char *text, const struct json **v)
{
	struct str rest = str_from(text), word;
	size_t n = 0;

	while (rest.n && str_split_next(&rest, ' ', &word)) {
		bool sick = str_strip_suffix(&word, STR("!"));
		bool failed = str_strip_suffix(&word, STR("?"));
		bool going = str_strip_suffix(&word, STR("-"));
		struct str name, node;

		str_cut(&word, '@', &name);
		str_cut(&word, '=', &node);
		v[n++] = parse(
			a, arena_fmt(a,
				     "{\"metadata\":{\"name\":\"" STR_FMT
				     "\",\"labels\":{\"controller-revision-hash\":\"" STR_FMT
				     "\"}%s},\"spec\":{\"nodeName\":\"" STR_FMT
				     "\"},\"status\":{\"phase\":\"%s\",\"conditions\":[{\"type\":"
				     "\"Ready\",\"status\":\"%s\"}]}}",
				     STR_ARG(name), STR_ARG(word),
				     going ? ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"" : "",
				     STR_ARG(node), failed ? "Failed" : "Running",
				     sick ? "False" : "True"));
	}
	return n;
}

static bool may_replace(const struct daemon_node *n UNUSED, const struct json *pod UNUSED,
			void *ctx UNUSED)
{
	return true;
}

static struct str steps_text(struct arena *a, const struct daemon_steps *s)
{
	_cleanup_buf_ struct buf b = { 0 };

	for (size_t i = 0; i < s->n_create; i++)
		buf_add(&b, arena_fmt(a, "+" STR_FMT " ", STR_ARG(s->create[i])));
	for (size_t i = 0; i < s->n_remove; i++)
		buf_add(&b, arena_fmt(a, "-" STR_FMT " ", STR_ARG(meta_name(s->remove[i]))));
	return str_trim(buf_to_arena(&b, a));
}

#define SURGE(n)                                                             \
	"\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{" \
	"\"maxSurge\":" #n ",\"maxUnavailable\":0}}"
#define ROLL(n)                                                              \
	"\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{" \
	"\"maxUnavailable\":" #n "}}"

TEST(steps)
{
	static const struct {
		const char *spec, *nodes, *pods, *manage, *rollout;
	} rows[] = {
		{ "", "PreferNoSchedule NoSchedule NoExecute", "", "+n0", "" },
		/* what runs stays on a node of NoSchedule, not on one of NoExecute */
		{ "", "PreferNoSchedule NoSchedule NoExecute", "a@n0=new b@n1=new c@n2=new", "-c",
		  "" },
		{ "", "PreferNoSchedule", "a@n0=new b@n0=new", "-b", "" },
		{ "", "PreferNoSchedule", "a@n0=new? b@n0=new", "-a", "" },
		{ "", "PreferNoSchedule", "a@n0=new-", "", "" },
		{ "", "PreferNoSchedule PreferNoSchedule", "a@n0=old b@n1=old", "", "" },
		{ ROLL(1), "PreferNoSchedule PreferNoSchedule", "a@n0=old b@n1=old", "", "-a" },
		{ ROLL(1), "PreferNoSchedule PreferNoSchedule", "a@n0=new! b@n1=old", "", "" },
		{ ROLL(1), "PreferNoSchedule PreferNoSchedule", "a@n0=new b@n1=old", "", "-b" },
		{ ROLL("50%"), "PreferNoSchedule PreferNoSchedule", "a@n0=old b@n1=old", "", "-a" },
		{ ROLL(2), "PreferNoSchedule PreferNoSchedule", "a@n0=old b@n1=old", "", "-a -b" },
		/* an old one that is not available costs nothing */
		{ ROLL(1), "PreferNoSchedule PreferNoSchedule", "a@n0=old b@n1=old!", "", "-b" },
		{ SURGE(1), "PreferNoSchedule PreferNoSchedule", "a@n0=old b@n1=old", "", "+n0" },
		{ SURGE(1), "PreferNoSchedule PreferNoSchedule", "a@n0=old c@n0=new! b@n1=old", "",
		  "" },
		{ SURGE(1), "PreferNoSchedule", "a@n0=old c@n0=new", "-a", "-a" },
		{ SURGE(1), "PreferNoSchedule", "a@n0=old!", "", "+n0" },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct json *nodes[4], *pods[4];
		size_t n_nodes = make_nodes(a, rows[i].nodes, nodes);
		size_t n_pods = make_pods(a, rows[i].pods, pods);
		struct daemon_steps s;
		struct daemon_plan p;

		daemon_plan_init(
			a, &p,
			parse(a, arena_fmt(a, "{\"metadata\":{\"name\":\"ds\"},\"spec\":{%s}}",
					   rows[i].spec)),
			STR("new"), nodes, n_nodes, pods, n_pods, (struct wall){ 0 });
		daemon_plan_manage(a, &p, may_replace, NULL, &s);
		if (!str_eqz(steps_text(a, &s), rows[i].manage))
			fail_msg("row %zu: " STR_FMT, i, STR_ARG(steps_text(a, &s)));
		daemon_plan_rollout(a, &p, &s);
		if (!str_eqz(steps_text(a, &s), rows[i].rollout))
			fail_msg("row %zu, rollout: " STR_FMT, i, STR_ARG(steps_text(a, &s)));
	}
}

TEST(fits)
{
	static const struct {
		const char *spec;
		bool run, keep;
	} rows[] = {
		{ "", false, false },
		{ "\"tolerations\":[{\"operator\":\"Exists\"}]", true, true },
		{ "\"tolerations\":[{\"key\":\"t\",\"operator\":\"Exists\",\"effect\":"
		  "\"NoExecute\"}]",
		  true, true },
		{ "\"tolerations\":[{\"operator\":\"Exists\"}],\"nodeSelector\":{\"x\":\"0\"}",
		  true, true },
		{ "\"tolerations\":[{\"operator\":\"Exists\"}],\"nodeSelector\":{\"x\":\"1\"}",
		  false, false },
		{ "\"tolerations\":[{\"operator\":\"Exists\"}],\"nodeName\":\"other\"", false,
		  false },
		{ "\"tolerations\":[{\"operator\":\"Exists\"}],\"affinity\":{\"nodeAffinity\":{"
		  "\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[{"
		  "\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":["
		  "\"n0\"]}]}]}}}",
		  true, true },
		{ "\"tolerations\":[{\"operator\":\"Exists\"}],\"affinity\":{\"nodeAffinity\":{"
		  "\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[{}]}}"
		  "}",
		  false, false },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *set = parse(
			a, arena_fmt(a, "{\"spec\":{\"template\":{\"spec\":{%s}}}}", rows[i].spec));
		const struct json *node;
		bool run, keep;

		make_nodes(a, "NoExecute", &node);
		daemon_fits(a, daemon_fit_new(a, set), node, &run, &keep);
		if (run != rows[i].run || keep != rows[i].keep)
			fail_msg("row %zu", i);
	}
}

TEST(pod_is_pinned)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *set =
		parse(a, STR("{\"metadata\":{\"name\":\"ds\",\"namespace\":\"n\"},\"spec\":{"
			     "\"template\":{\"spec\":{\"hostNetwork\":true}}}}"));
	struct json *pod = daemon_make_pod(a, set, STR("h"), STR("n7"));

	assert_str(daemon_pod_node(pod), "n7");
	assert_str(meta_label(pod, DAEMON_HASH), "h");
	assert_int_equal(json_len(json_at(pod, "spec.tolerations")), 7);
}

TEST_MAIN(T(steps), T(fits), T(pod_is_pinned))
