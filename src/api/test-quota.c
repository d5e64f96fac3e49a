/* SPDX-License-Identifier: Apache-2.0 */
#include "api/quota.h"
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

TEST(lists_add_and_compare)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct resource_list x = resource_list_from_json(a, parse(a, "{'b':'1','a':'100m'}"));
	struct resource_list y = resource_list_from_json(a, parse(a, "{'c':2,'a':'900m','z':[]}"));
	struct resource_list m = { .a = a };

	resource_list_max(&m, &x);
	resource_list_max(&m, &y);
	assert_str(resource_list_text(a, &m), "a=900m,b=1,c=2");
	resource_list_add(&x, &y);
	assert_str(resource_list_text(a, &x), "a=1,b=1,c=2");
	resource_list_sub_floor(&x, &m);
	assert_str(resource_list_text(a, &x), "a=100m,b=0,c=0");
	resource_list_del(&x, STR("b"));
	assert_str(resource_list_text(a, &x), "a=100m,c=0");
	assert_false(resource_list_equal(&x, &y));
	assert_true(resource_list_equal(&x, &x));
}

TEST(pod_sums)
{
	static const struct {
		const char *pod, *requests, *limits;
	} rows[] = {
		{ "{'spec':{'containers':[{'name':'a','resources':{'requests':{'cpu':'1'},"
		  "'limits':{'cpu':'2'}}},{'name':'b','resources':{'requests':{'cpu':'500m'}}}]}}",
		  "cpu=1500m", "cpu=2" },
		{ "{'spec':{'overhead':{'cpu':'10m','memory':'1Mi'},'containers':[{'name':'a',"
		  "'resources':{'requests':{'cpu':'1'},'limits':{'cpu':'2'}}}]}}",
		  "cpu=1010m,memory=1Mi", "cpu=2010m" },
		{ "{'spec':{'initContainers':[{'name':'s','restartPolicy':'Always','resources':"
		  "{'requests':{'cpu':'1'}}},{'name':'i','resources':{'requests':{'cpu':'3'}}}],"
		  "'containers':[{'name':'a','resources':{'requests':{'cpu':'2'}}}]}}",
		  "cpu=4", "" },
		{ "{'spec':{'resources':{'requests':{'cpu':'7','x.io/"
		  "g':'1'}},'containers':[{'name':"
		  "'a','resources':{'requests':{'cpu':'1','x.io/g':'2'}}}]}}",
		  "cpu=7,x.io/g=2", "" },
		{ "{'spec':{'containers':[{'name':'a','resources':{'requests':{'cpu':'1'}}}]},"
		  "'status':{'containerStatuses':[{'name':'a','resources':{'requests':{'cpu':'3'}},"
		  "'allocatedResources':{'cpu':'2'}}]}}",
		  "cpu=3", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct json *pod = parse(a, rows[i].pod);
		struct resource_list r = pod_requests(a, pod), l = pod_limits(a, pod);

		assert_str(resource_list_text(a, &r), rows[i].requests);
		assert_str(resource_list_text(a, &l), rows[i].limits);
	}
}

TEST(names_and_their_sources)
{
	static const struct {
		const char *name, *gr;
	} rows[] = {
		{ "pods", "pods" },
		{ "cpu", "pods" },
		{ "limits.memory", "pods" },
		{ "requests.hugepages-2Mi", "pods" },
		{ "requests.nvidia.com/gpu", "pods" },
		{ "limits.nvidia.com/gpu", "" },
		{ "nvidia.com/gpu", "" },
		{ "requests.storage", "persistentvolumeclaims" },
		{ "gold.storageclass.storage.k8s.io/requests.storage", "persistentvolumeclaims" },
		{ "services.nodeports", "services" },
		{ "count/pods", "pods" },
		{ "count/deployments.apps", "deployments.apps" },
		{ "count/events", "" },
		{ "configmaps", "configmaps" },
		{ "deployments", "" },
		{ "gpu.deviceclass.resource.k8s.io/devices", "resourceclaims.resource.k8s.io" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_str(quota_source(str_from(rows[i].name)), rows[i].gr);
}

TEST(usage_of_objects)
{
	static const struct {
		const char *gr, *obj, *usage;
	} rows[] = {
		{ "configmaps", "{}", "configmaps=1,count/configmaps=1" },
		{ "deployments.apps", "{}", "count/deployments.apps=1" },
		{ "pods",
		  "{'spec':{'containers':[{'resources':{'requests':{'cpu':'1','x.io/g':'2',"
		  "'hugepages-2Mi':'4Mi'},'limits':{'memory':'1Gi'}}}]}}",
		  "count/pods=1,cpu=1,hugepages-2Mi=4Mi,limits.memory=1Gi,pods=1,requests.cpu=1,"
		  "requests.hugepages-2Mi=4Mi,requests.x.io/g=2" },
		{ "pods", "{'status':{'phase':'Succeeded'}}", "count/pods=1" },
		{ "pods",
		  "{'metadata':{'deletionTimestamp':'1970-01-01T00:00:10Z',"
		  "'deletionGracePeriodSeconds':30}}",
		  "count/pods=1" },
		{ "services", "{'spec':{'type':'NodePort','ports':[{},{}]}}",
		  "count/services=1,services=1,services.loadbalancers=0,services.nodeports=2" },
		{ "services",
		  "{'spec':{'type':'LoadBalancer','allocateLoadBalancerNodePorts':false,"
		  "'ports':[{'nodePort':30000},{}]}}",
		  "count/services=1,services=1,services.loadbalancers=1,services.nodeports=1" },
		{ "persistentvolumeclaims",
		  "{'spec':{'storageClassName':'gold','resources':{'requests':{'storage':'1Gi'}}},"
		  "'status':{'allocatedResources':{'storage':'2Gi'}}}",
		  "count/persistentvolumeclaims=1,"
		  "gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,"
		  "gold.storageclass.storage.k8s.io/requests.storage=2Gi,"
		  "persistentvolumeclaims=1,requests.storage=2Gi" },
		{ "resourceclaims.resource.k8s.io",
		  "{'spec':{'devices':{'requests':[{'exactly':{'deviceClassName':'g','count':2}},"
		  "{'firstAvailable':[{'deviceClassName':'g','count':3},"
		  "{'deviceClassName':'h','allocationMode':'All'}]}]}}}",
		  "count/resourceclaims.resource.k8s.io=1,g.deviceclass.resource.k8s.io/devices=5,"
		  "h.deviceclass.resource.k8s.io/devices=32" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct resource_list l = quota_usage(a, str_from(rows[i].gr), parse(a, rows[i].obj),
						     (struct wall){ 1000 * NS_PER_SEC });

		assert_str(resource_list_text(a, &l), rows[i].usage);
	}
}

#define BUSY "{'spec':{'containers':[{'name':'c','resources':{'requests':{'cpu':'1'}}}]}}"
#define IDLE "{'spec':{'containers':[{'name':'c'}]}}"

TEST(scopes_take_pods_in)
{
	static const struct {
		const char *quota, *pod;
		bool in;
	} rows[] = {
		{ "{'spec':{'scopes':['BestEffort']}}", IDLE, true },
		{ "{'spec':{'scopes':['BestEffort']}}", BUSY, false },
		{ "{'spec':{'scopes':['NotBestEffort']}}", BUSY, true },
		{ "{'spec':{'scopes':['Terminating']}}", "{'spec':{'activeDeadlineSeconds':1}}",
		  true },
		{ "{'spec':{'scopes':['Terminating']}}", "{'spec':{}}", false },
		{ "{'spec':{'scopes':['NotTerminating','BestEffort']}}", IDLE, true },
		{ "{'spec':{'scopeSelector':{'matchExpressions':[{'scopeName':'PriorityClass',"
		  "'operator':'In','values':['hi']}]}}}",
		  "{'spec':{'priorityClassName':'hi'}}", true },
		{ "{'spec':{'scopeSelector':{'matchExpressions':[{'scopeName':'PriorityClass',"
		  "'operator':'NotIn','values':['hi']}]}}}",
		  "{'spec':{}}", true },
		{ "{'spec':{'scopes':['CrossNamespacePodAffinity']}}",
		  "{'spec':{'affinity':{'podAffinity':{"
		  "'requiredDuringSchedulingIgnoredDuringExecution':[{'namespaces':['x']}]}}}}",
		  true },
		{ "{'spec':{'scopes':['CrossNamespacePodAffinity']}}",
		  "{'spec':{'affinity':{'podAntiAffinity':{"
		  "'preferredDuringSchedulingIgnoredDuringExecution':[{'podAffinityTerm':{}}]}}}}",
		  false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();

		if (quota_in_scope(STR("pods"), parse(a, rows[i].quota), parse(a, rows[i].pod)) !=
		    rows[i].in)
			fail_msg("row %zu", i);
	}
}

#define QUOTA(hard, used) "{'metadata':{'name':'q'},'status':{'hard':{" hard "},'used':{" used "}}}"

TEST(requests_against_a_quota)
{
	static const struct {
		const char *gr, *quota, *obj, *old;
		const char *used, *text; /* text: denied */
	} rows[] = {
		{ "pods", QUOTA("'requests.cpu':'2'", "'requests.cpu':'500m'"), BUSY, NULL,
		  "requests.cpu=1500m", NULL },
		{ "pods", QUOTA("'requests.cpu':'1'", "'requests.cpu':'100m'"), BUSY, NULL, NULL,
		  "exceeded quota: q, requested: requests.cpu=1, used: requests.cpu=100m, "
		  "limited: requests.cpu=1" },
		{ "pods", QUOTA("'requests.cpu':'1','limits.memory':'1'", ""), IDLE, NULL, NULL,
		  "failed quota: q: must specify limits.memory for: c; requests.cpu for: c" },
		{ "pods", QUOTA("'pods':'1'", ""), BUSY, NULL, NULL,
		  "status unknown for quota: q, resources: pods" },
		{ "pods", QUOTA("'services':'0'", "'services':'0'"), BUSY, NULL, "", NULL },
		{ "pods", QUOTA("'pods':'1','count/pods':'1'", "'pods':'1','count/pods':'1'"), BUSY,
		  NULL, NULL,
		  "exceeded quota: q, requested: count/pods=1,pods=1, used: count/pods=1,pods=1, "
		  "limited: count/pods=1,pods=1" },
		{ "services",
		  QUOTA("'services':'1','services.nodeports':'1'",
			"'services':'1','services.nodeports':'0'"),
		  "{'spec':{'type':'NodePort','ports':[{}]}}",
		  "{'spec':{'type':'ClusterIP','ports':[{}]}}", "services=1,services.nodeports=1",
		  NULL },
		{ "persistentvolumeclaims",
		  QUOTA("'requests.storage':'2Gi'", "'requests.storage':'1Gi'"),
		  "{'spec':{'resources':{'requests':{'storage':'3Gi'}}}}",
		  "{'spec':{'resources':{'requests':{'storage':'1Gi'}}}}", NULL,
		  "exceeded quota: q, requested: requests.storage=2Gi, used: "
		  "requests.storage=1Gi, limited: requests.storage=2Gi" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct quota_request rq = {
			.a = a,
			.gr = str_from(rows[i].gr),
			.create = !rows[i].old,
			.obj = parse(a, rows[i].obj),
			.old = rows[i].old ? parse(a, rows[i].old) : NULL,
		};
		struct resource_list used;
		struct str text = STR_EMPTY;

		assert_true(quota_handles(&rq));
		if (quota_check(&rq, parse(a, rows[i].quota), &used, &text) != !rows[i].text)
			fail_msg("row %zu: " STR_FMT, i, STR_ARG(text));
		if (rows[i].text)
			assert_str(text, rows[i].text);
		else
			assert_str(resource_list_text(a, &used), rows[i].used);
	}
}

TEST(writes_that_cost_nothing)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct quota_request rq = { .a = a, .gr = STR("events"), .create = true };

	assert_false(quota_handles(&rq));
	rq = (struct quota_request){
		.a = a, .gr = STR("pods"), .obj = parse(a, IDLE), .old = parse(a, BUSY)
	};
	assert_false(quota_handles(&rq));
	rq.gr = STR("configmaps");
	assert_false(quota_handles(&rq));
	assert_true(quota_change_matters(STR("pods"), parse(a, "{}"),
					 parse(a, "{'status':{'phase':'Failed'}}"),
					 (struct wall){ 0 }));
	assert_false(quota_change_matters(STR("configmaps"), rq.old, rq.obj, (struct wall){ 0 }));
}

TEST_MAIN(T(lists_add_and_compare), T(pod_sums), T(names_and_their_sources), T(usage_of_objects),
	  T(scopes_take_pods_in), T(requests_against_a_quota), T(writes_that_cost_nothing))
