/* SPDX-License-Identifier: Apache-2.0 */

/* The FlowSchemas and PriorityLevelConfigurations that every cluster has: mandatory and suggested
 * ones. */

#include "server/bootstrap-flow.h"

#include "api/meta.h"
#include "base/arena.h"
#include "server/flow-status.h"
#include "server/request.h"
#include "json/json.h"

#define AUTOUPDATE "apf.kubernetes.io/autoupdate-spec"
#define EVERYONE   "Group:system:unauthenticated Group:system:authenticated"

static const struct level_row {
	const char *name;
	int shares, lendable;
	int queues, hand, length; /* queues 0: what does not fit is rejected */
} levels[] = {
	{ "exempt", 0, 0, -1, 0, 0 }, /* not limited at all */
	{ "catch-all", 5, 0, 0, 0, 0 },
	{ "global-default", 20, 50, 128, 6, 50 },
	{ "leader-election", 10, 0, 16, 4, 50 },
	{ "node-high", 40, 25, 64, 6, 50 },
	{ "system", 30, 33, 64, 6, 50 },
	{ "workload-high", 40, 50, 128, 6, 50 },
	{ "workload-low", 100, 90, 128, 6, 50 },
};

/* Words are separated by spaces; "" in groups is written core. */
static const struct flow_row {
	const char *name, *level;
	int precedence;
	const char *by;       /* NULL: no distinguisher */
	const char *subjects; /* "Group:NAME", "User:NAME", "ServiceAccount:NAMESPACE:NAME" */
	bool all;             /* every resource and every path */
	struct {
		const char *verbs, *groups, *resources;
		bool cluster;
	} rules[2];
	const char *paths; /* with the verb get */
} flows[] = {
	{ "exempt", "exempt", 1, NULL, "Group:system:masters", true, { { 0 } }, NULL },
	{ "probes", "exempt", 2, NULL, EVERYONE, false, { { 0 } }, "/healthz /readyz /livez" },
	{ "system-leader-election",
	  "leader-election",
	  100,
	  "ByUser",
	  "User:system:kube-controller-manager User:system:kube-scheduler "
	  "ServiceAccount:kube-system:*",
	  false,
	  { { "get create update", "coordination.k8s.io", "leases", false } },
	  NULL },
	{ "system-node-high",
	  "node-high",
	  400,
	  "ByUser",
	  "Group:system:nodes",
	  false,
	  { { "*", "core", "nodes nodes/status", true },
	    { "*", "coordination.k8s.io", "leases", false } },
	  NULL },
	{ "system-nodes", "system", 500, "ByUser", "Group:system:nodes", true, { { 0 } }, NULL },
	{ "kube-controller-manager",
	  "workload-high",
	  800,
	  "ByNamespace",
	  "User:system:kube-controller-manager",
	  true,
	  { { 0 } },
	  NULL },
	{ "kube-scheduler",
	  "workload-high",
	  800,
	  "ByNamespace",
	  "User:system:kube-scheduler",
	  true,
	  { { 0 } },
	  NULL },
	{ "kube-system-service-accounts",
	  "workload-high",
	  900,
	  "ByNamespace",
	  "ServiceAccount:kube-system:*",
	  true,
	  { { 0 } },
	  NULL },
	{ "service-accounts",
	  "workload-low",
	  9000,
	  "ByUser",
	  "Group:system:serviceaccounts",
	  true,
	  { { 0 } },
	  NULL },
	{ "global-default", "global-default", 9900, "ByUser", EVERYONE, true, { { 0 } }, NULL },
	{ "catch-all", "catch-all", 10000, "ByUser", EVERYONE, true, { { 0 } }, NULL },
};

static void flow_words(struct arena *a, struct json *obj, const char *key, const char *words)
{
	struct str rest = str_from(words), word;
	struct json *arr = json_sub_array(a, obj, key);

	while (str_split_next(&rest, ' ', &word))
		json_push(arr, json_str(a, str_eqz(word, "core") ? STR_EMPTY : word));
}

static struct json *level_spec(struct arena *a, const struct level_row *row)
{
	struct json *spec = json_object(a), *lim, *q;

	if (row->queues < 0) {
		json_set_str(a, spec, "type", STR("Exempt"));
		lim = json_sub(a, spec, "exempt");
	} else {
		json_set_str(a, spec, "type", STR("Limited"));
		lim = json_sub(a, spec, "limited");
		q = json_sub(a, lim, "limitResponse");
		json_set_str(a, q, "type", row->queues ? STR("Queue") : STR("Reject"));
		if (row->queues) {
			q = json_sub(a, q, "queuing");
			json_set_int(a, q, "queues", row->queues);
			json_set_int(a, q, "handSize", row->hand);
			json_set_int(a, q, "queueLengthLimit", row->length);
		}
	}
	json_set_int(a, lim, "nominalConcurrencyShares", row->shares);
	json_set_int(a, lim, "lendablePercent", row->lendable);
	return spec;
}

static void flow_subjects(struct arena *a, struct json *rule, const char *subjects)
{
	struct json *arr = json_sub_array(a, rule, "subjects");
	struct str rest = str_from(subjects), word, kind, ns;

	while (str_split_next(&rest, ' ', &word)) {
		struct json *s = json_object(a), *of;

		str_cut(&word, ':', &kind);
		json_set_str(a, s, "kind", kind);
		if (str_eqz(kind, "ServiceAccount")) {
			of = json_sub(a, s, "serviceAccount");
			str_cut(&word, ':', &ns);
			json_set_str(a, of, "namespace", ns);
		} else {
			of = json_sub(a, s, str_eqz(kind, "User") ? "user" : "group");
		}
		json_set_str(a, of, "name", word);
		json_push(arr, s);
	}
}

static void flow_resources(struct arena *a, struct json *rule, const char *verbs,
			   const char *groups, const char *resources, bool cluster)
{
	struct json *r = json_object(a);

	flow_words(a, r, "verbs", verbs);
	flow_words(a, r, "apiGroups", groups);
	flow_words(a, r, "resources", resources);
	if (cluster)
		json_set_bool(a, r, "clusterScope", true);
	flow_words(a, r, "namespaces", "*");
	json_push(json_sub_array(a, rule, "resourceRules"), r);
}

static void flow_paths(struct arena *a, struct json *rule, const char *verbs, const char *paths)
{
	struct json *r = json_object(a);

	flow_words(a, r, "verbs", verbs);
	flow_words(a, r, "nonResourceURLs", paths);
	json_push(json_sub_array(a, rule, "nonResourceRules"), r);
}

static struct json *flow_spec(struct arena *a, const struct flow_row *row)
{
	struct json *spec = json_object(a), *rule = json_object(a);

	json_set_str(a, json_sub(a, spec, "priorityLevelConfiguration"), "name",
		     str_from(row->level));
	json_set_int(a, spec, "matchingPrecedence", row->precedence);
	if (row->by)
		json_set_str(a, json_sub(a, spec, "distinguisherMethod"), "type",
			     str_from(row->by));
	flow_subjects(a, rule, row->subjects);
	if (row->all)
		flow_resources(a, rule, "*", "*", "*", true);
	for (size_t i = 0; i < ARRAY_LEN(row->rules) && row->rules[i].verbs; i++)
		flow_resources(a, rule, row->rules[i].verbs, row->rules[i].groups,
			       row->rules[i].resources, row->rules[i].cluster);
	if (row->all)
		flow_paths(a, rule, "*", "*");
	if (row->paths)
		flow_paths(a, rule, "get", row->paths);
	json_push(json_sub_array(a, spec, "rules"), rule);
	return spec;
}

size_t bootstrap_n_flow_objects(void)
{
	return ARRAY_LEN(levels) + ARRAY_LEN(flows);
}

struct json *bootstrap_flow_object(struct arena *a, size_t i, struct wall now,
				   const char **ret_resource, struct str *ret_name)
{
	struct json *o = json_object(a);

	meta_set_annotation(a, o, AUTOUPDATE, STR("true"));
	if (i < ARRAY_LEN(levels)) {
		*ret_resource = "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io";
		*ret_name = str_from(levels[i].name);
		json_set(a, o, "spec", level_spec(a, &levels[i]));
		json_sub(a, o, "status");
		return o;
	}
	i -= ARRAY_LEN(levels);
	*ret_resource = "flowschemas.flowcontrol.apiserver.k8s.io";
	*ret_name = str_from(flows[i].name);
	json_set(a, o, "spec", flow_spec(a, &flows[i]));
	flow_schema_set_dangling(a, o, false, now);
	return o;
}
