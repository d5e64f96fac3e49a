/* SPDX-License-Identifier: Apache-2.0 */
#include "server/limit-range.h"
#include "testkit/test.h"
#include "json/json.h"

/* Single quotes stand for double ones. */
static struct json *parse(struct arena *a, const char *text)
{
	char *z = arena_strz(a, str_from(text));
	struct json *j = NULL;

	for (char *p = z; *p; p++)
		if (*p == '\'')
			*p = '"';
	assert_no_err(json_parse(a, str_from(z), &j));
	return j;
}

TEST(defaults_are_filled_in_and_noted)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *range = parse(
		a, "{'spec':{'limits':[{'type':'Container','default':{'cpu':'2','memory':'1Gi'},"
		   "'defaultRequest':{'cpu':'1'}},{'type':'Pod','default':{'cpu':'9'}}]}}");
	struct json *pod = parse(
		a, "{'spec':{'containers':[{'name':'c'},{'name':'d','resources':{'limits':{'cpu':"
		   "'3'}}}],'initContainers':[{'name':'i','resources':{'requests':{'cpu':'1'},"
		   "'limits':{'cpu':'1','memory':'1'}}}]}}");

	limit_range_default_pod(a, range, pod);
	assert_str(json_text(a, json_at(pod, "metadata.annotations")),
		   "{\"kubernetes.io/limit-ranger\":\"LimitRanger plugin set: cpu request for "
		   "container c; cpu, memory limit for container c; cpu request for container d; "
		   "memory limit for container d\"}");
	assert_str(
		json_text(a, json_get(json_idx(json_at(pod, "spec.containers"), 1), "resources")),
		"{\"limits\":{\"cpu\":\"3\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":\"1\"}}");
}

#define LIMIT(type, what) "{'spec':{'limits':[{'type':'" type "'," what "}]}}"
#define POD(res)          "{'spec':{'containers':[{'name':'c','resources':{" res "}}]}}"

TEST(bounds_table)
{
	static const struct {
		const char *range, *gr, *obj, *text;
	} rows[] = {
		{ LIMIT("Container", "'max':{'cpu':'1'}"), "pods", POD("'limits':{'cpu':'2'}"),
		  "maximum cpu usage per Container is 1, but limit is 2" },
		{ LIMIT("Container", "'max':{'cpu':'1'}"), "pods", POD("'requests':{'cpu':'2'}"),
		  "maximum cpu usage per Container is 1.  No limit is specified" },
		{ LIMIT("Container", "'min':{'cpu':'10m'}"), "pods", POD("'requests':{'cpu':'1m'}"),
		  "minimum cpu usage per Container is 10m, but request is 1m" },
		{ LIMIT("Container", "'min':{'cpu':'10m'}"), "pods", POD(""),
		  "minimum cpu usage per Container is 10m.  No request is specified" },
		{ LIMIT("Pod", "'max':{'memory':'1Gi'}"), "pods", POD("'limits':{'memory':'2Gi'}"),
		  "maximum memory usage per Pod is 1Gi, but limit is 2Gi" },
		{ LIMIT("Container", "'maxLimitRequestRatio':{'cpu':'1500m'}"), "pods",
		  POD("'limits':{'cpu':'2'},'requests':{'cpu':'1'}"),
		  "cpu max limit to request ratio per Container is 1500m, but provided ratio is "
		  "2.000000" },
		{ LIMIT("Container", "'maxLimitRequestRatio':{'cpu':'2'}"), "pods",
		  POD("'limits':{'cpu':'2'},'requests':{'cpu':'1'}"), "" },
		{ LIMIT("Container", "'maxLimitRequestRatio':{'cpu':'2'}"), "pods",
		  POD("'limits':{'cpu':'2'}"),
		  "cpu max limit to request ratio per Container is 2, but no request is specified "
		  "or request is 0" },
		{ LIMIT("PersistentVolumeClaim", "'min':{'storage':'2Gi'},'max':{'storage':'3Gi'}"),
		  "persistentvolumeclaims", "{'spec':{'resources':{'requests':{'storage':'1Gi'}}}}",
		  "minimum storage usage per PersistentVolumeClaim is 2Gi, but request is 1Gi" },
		{ LIMIT("PersistentVolumeClaim", "'max':{'storage':'3Gi'}"),
		  "persistentvolumeclaims", "{'spec':{'resources':{'requests':{'storage':'4Gi'}}}}",
		  "maximum storage usage per PersistentVolumeClaim is 3Gi, but request is 4Gi" },
		{ "{'spec':{'limits':[{'type':'Container','max':{'cpu':'1'}},"
		  "{'type':'Pod','max':{'memory':'1Gi'}}]}}",
		  "pods", POD("'limits':{'cpu':'2'}"),
		  "[maximum cpu usage per Container is 1, but limit is 2, maximum memory usage per "
		  "Pod is 1Gi.  No limit is specified]" },
		{ LIMIT("Pod", "'max':{'storage':'3Gi'}"), "persistentvolumeclaims", "{'spec':{}}",
		  "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();

		assert_str(limit_range_check(a, parse(a, rows[i].range), str_from(rows[i].gr),
					     parse(a, rows[i].obj)),
			   rows[i].text);
	}
}

TEST_MAIN(T(defaults_are_filled_in_and_noted), T(bounds_table))
