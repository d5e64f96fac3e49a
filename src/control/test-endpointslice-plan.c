/* SPDX-License-Identifier: Apache-2.0 */

#include "control/endpointslice-plan.h"

#include "api/meta.h"
#include "testkit/test.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

#define SVC                                                                                    \
	"{\"metadata\":{\"name\":\"web\",\"namespace\":\"d\",\"uid\":\"s\",\"labels\":{\"l\":" \
	"\"1\"}},\"spec\":{\"clusterIP\":\"10.96.0.9\",\"selector\":{\"a\":\"b\"},\"ports\":"  \
	"[{\"name\":\"h\",\"port\":80,\"targetPort\":\"http\"},{\"name\":\"m\",\"port\":9,"    \
	"\"protocol\":\"UDP\"}]}}"

static struct json *pod(struct arena *a, int i, int port, bool ready, bool going)
{
	return parse(a,
		     arena_fmt(a,
			       "{\"metadata\":{\"name\":\"p%d\",\"namespace\":\"d\",\"uid\":"
			       "\"u%d\"%s},\"spec\":{\"nodeName\":\"n%d\",\"containers\":"
			       "[{\"ports\":[{\"name\":\"http\",\"containerPort\":%d}]}]},"
			       "\"status\":{\"podIP\":\"10.0.%d.%d\",\"phase\":\"Running\","
			       "\"conditions\":[{\"type\":\"Ready\",\"status\":\"%s\"}]}}",
			       i, i, going ? ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"" : "",
			       i % 2, port, i / 250, i % 250, ready ? "True" : "False")
			     .p);
}

/* What an API server would make of the created ones. */
static void store_all(struct arena *a, struct json *slices, const struct json *created)
{
	json_for_each(it, created)
	{
		struct json *s = json_copy(a, it.val);

		json_set(a, json_sub(a, s, "metadata"), "name",
			 json_strf(a, "web-%zu", json_len(slices)));
		json_push(slices, s);
	}
}

TEST(one_slice)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct json *svc = parse(a, SVC);
	struct json *pods = json_array(a);
	struct json *slices = json_array(a);
	const struct json *s;
	struct slice_plan p;

	json_push(pods, pod(a, 1, 8080, true, false));
	json_push(pods, pod(a, 2, 8080, false, false));
	json_push(pods, pod(a, 3, 8080, true, true));
	p = slice_plan_make(a, svc, pods, slices, parse(a, "{\"n1\":\"z\"}"));
	assert_int_equal(json_len(p.create), 1);
	s = json_idx(p.create, 0);
	assert_str(json_str_at(s, "metadata.generateName"), "web-");
	assert_str(meta_label(s, "kubernetes.io/service-name"), "web");
	assert_str(meta_label(s, "l"), "1");
	assert_str(json_text(a, json_get(s, "ports")),
		   "[{\"name\":\"h\",\"protocol\":\"TCP\",\"port\":8080},"
		   "{\"name\":\"m\",\"protocol\":\"UDP\",\"port\":9}]");
	assert_int_equal(json_len(json_get(s, "endpoints")), 3);
	assert_str(
		json_text(a, json_idx(json_get(s, "endpoints"), 0)),
		"{\"conditions\":{\"ready\":true,\"serving\":true,\"terminating\":false},"
		"\"addresses\":[\"10.0.0.1\"],\"targetRef\":{\"kind\":\"Pod\",\"namespace\":\"d\","
		"\"name\":\"p1\",\"uid\":\"u1\"},\"nodeName\":\"n1\",\"zone\":\"z\"}");
	assert_str(json_text(a, json_get(json_idx(json_get(s, "endpoints"), 2), "conditions")),
		   "{\"ready\":false,\"serving\":true,\"terminating\":true}");
	/* the same again asks for nothing */
	store_all(a, slices, p.create);
	p = slice_plan_make(a, svc, pods, slices, parse(a, "{\"n1\":\"z\"}"));
	assert_int_equal(json_len(p.create) + json_len(p.update) + json_len(p.remove), 0);
	/* one Pod less: the slice is kept */
	json_remove_idx(pods, 0);
	p = slice_plan_make(a, svc, pods, slices, NULL);
	assert_int_equal(json_len(p.update), 1);
	assert_int_equal(json_len(json_get(json_idx(p.update, 0), "endpoints")), 2);
}

TEST(ports_that_differ_make_groups)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *pods = json_array(a);
	struct slice_plan p;

	json_push(pods, pod(a, 1, 8080, true, false));
	json_push(pods, pod(a, 2, 9090, true, false));
	p = slice_plan_make(a, parse(a, SVC), pods, json_array(a), NULL);
	assert_int_equal(json_len(p.create), 2);
}

TEST(many_and_none)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct json *svc = parse(a, SVC);
	struct json *pods = json_array(a);
	struct json *slices = json_array(a);
	struct slice_plan p;

	for (int i = 0; i < 250; i++)
		json_push(pods, pod(a, i, 80, true, false));
	p = slice_plan_make(a, svc, pods, slices, NULL);
	assert_int_equal(json_len(p.create), 3);
	store_all(a, slices, p.create);
	/* a new one goes where there is room */
	json_push(pods, pod(a, 250, 80, true, false));
	p = slice_plan_make(a, svc, pods, slices, NULL);
	assert_int_equal(json_len(p.create), 0);
	assert_int_equal(json_len(p.update), 1);
	assert_str(meta_name(json_idx(p.update, 0)), "web-2");
	/* none at all: every slice goes, and an empty one says so */
	p = slice_plan_make(a, svc, json_array(a), slices, NULL);
	assert_int_equal(json_len(p.remove), 3);
	assert_int_equal(json_len(p.create), 1);
	assert_int_equal(json_len(json_get(json_idx(p.create, 0), "endpoints")), 0);
	slices = json_array(a);
	store_all(a, slices, p.create);
	p = slice_plan_make(a, svc, json_array(a), slices, NULL);
	assert_int_equal(json_len(p.create) + json_len(p.update) + json_len(p.remove), 0);
}

TEST_MAIN(T(one_slice), T(ports_that_differ_make_groups), T(many_and_none))
