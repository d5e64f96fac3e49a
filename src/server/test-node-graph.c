/* SPDX-License-Identifier: Apache-2.0 */
#include "server/node-graph.h"

#include "testkit/test.h"
#include "json/json.h"

#define N1 STR("n1")

static struct json *parse(struct arena *a, const char *text)
{
	struct json *j = NULL;

	assert_no_err(json_parse(a, str_from(text), &j));
	return j;
}

static const char pod[] =
	"{\"metadata\":{\"name\":\"p\",\"namespace\":\"a\"},\"spec\":{\"nodeName\":\"n1\","
	"\"serviceAccountName\":\"sa\",\"imagePullSecrets\":[{\"name\":\"pull\"}],"
	"\"initContainers\":[{\"envFrom\":[{\"secretRef\":{\"name\":\"from\"}}]}],"
	"\"containers\":[{\"env\":[{\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"cm\"}}}]}],"
	"\"volumes\":[{\"secret\":{\"secretName\":\"vol\"}},"
	"{\"projected\":{\"sources\":[{\"configMap\":{\"name\":\"root\"}}]}},"
	"{\"persistentVolumeClaim\":{\"claimName\":\"pvc\"}},"
	"{\"name\":\"scratch\",\"ephemeral\":{\"volumeClaimTemplate\":{}}}],"
	"\"resourceClaims\":[{\"name\":\"x\",\"resourceClaimName\":\"gpu\"}]}}";

TEST(what_pods_refer_to)
{
	static const struct {
		enum node_ref kind;
		const char *name;
		bool want;
	} rows[] = {
		{ NODE_REF_POD, "p", true },        { NODE_REF_ACCOUNT, "sa", true },
		{ NODE_REF_SECRET, "pull", true },  { NODE_REF_SECRET, "from", true },
		{ NODE_REF_SECRET, "vol", true },   { NODE_REF_SECRET, "cm", false },
		{ NODE_REF_CONFIGMAP, "cm", true }, { NODE_REF_CONFIGMAP, "root", true },
		{ NODE_REF_PVC, "pvc", true },      { NODE_REF_PVC, "p-scratch", true },
		{ NODE_REF_CLAIM, "gpu", true },    { NODE_REF_ACCOUNT, "default", false },
	};
	_cleanup_arena_ struct arena *a = arena_new();
	struct node_graph *g = node_graph_new(NULL);

	node_graph_set_pod(g, STR("a"), STR("p"), parse(a, pod));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str name = str_from(rows[i].name);

		if (node_graph_has(g, N1, rows[i].kind, STR("a"), name) != rows[i].want)
			fail_msg("row %zu", i);
		assert_false(node_graph_has(g, STR("n2"), rows[i].kind, STR("a"), name));
		assert_false(node_graph_has(g, N1, rows[i].kind, STR("b"), name));
	}
	node_graph_del_pod(g, STR("a"), STR("p"));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_false(node_graph_has(g, N1, rows[i].kind, STR("a"), str_from(rows[i].name)));
	node_graph_free(g);
}

TEST(references_are_counted)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct node_graph *g = node_graph_new(NULL);
	struct json *p = parse(a, pod);

	node_graph_set_pod(g, STR("a"), STR("p"), p);
	node_graph_set_pod(g, STR("a"), STR("q"), p);
	node_graph_set_pod(g, STR("a"), STR("q"), p);
	node_graph_del_pod(g, STR("a"), STR("p"));
	assert_true(node_graph_has(g, N1, NODE_REF_SECRET, STR("a"), STR("vol")));
	node_graph_del_pod(g, STR("a"), STR("q"));
	assert_false(node_graph_has(g, N1, NODE_REF_SECRET, STR("a"), STR("vol")));
	node_graph_free(g);
}

TEST(mirror_pods_give_nothing)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct node_graph *g = node_graph_new(NULL);
	struct json *p = parse(a, pod);

	json_set_str(a, json_sub(a, json_get(p, "metadata"), "annotations"),
		     "kubernetes.io/config.mirror", STR("x"));
	node_graph_set_pod(g, STR("a"), STR("p"), p);
	assert_true(node_graph_has(g, N1, NODE_REF_POD, STR("a"), STR("p")));
	assert_false(node_graph_has(g, N1, NODE_REF_SECRET, STR("a"), STR("vol")));
	node_graph_free(g);
}

TEST(volumes_and_their_secrets)
{
	static const char pv[] =
		"{\"spec\":{\"claimRef\":{\"namespace\":\"a\",\"name\":\"pvc\"},\"csi\":{"
		"\"nodePublishSecretRef\":{\"name\":\"pub\",\"namespace\":\"sys\"},"
		"\"controllerPublishSecretRef\":{\"name\":\"ctl\",\"namespace\":\"sys\"}}}}";
	_cleanup_arena_ struct arena *a = arena_new();
	struct node_graph *g = node_graph_new(NULL);

	node_graph_set_pv(g, STR("v"), parse(a, pv));
	assert_false(node_graph_has(g, N1, NODE_REF_PV, STR_EMPTY, STR("v")));
	node_graph_set_pod(g, STR("a"), STR("p"), parse(a, pod));
	assert_true(node_graph_has(g, N1, NODE_REF_PV, STR_EMPTY, STR("v")));
	assert_true(node_graph_has(g, N1, NODE_REF_SECRET, STR("sys"), STR("pub")));
	assert_false(node_graph_has(g, N1, NODE_REF_SECRET, STR("sys"), STR("ctl")));
	node_graph_set_pv(g, STR("v"), NULL);
	assert_false(node_graph_has(g, N1, NODE_REF_SECRET, STR("sys"), STR("pub")));
	node_graph_free(g);
}

TEST_MAIN(T(what_pods_refer_to), T(references_are_counted), T(mirror_pods_give_nothing),
	  T(volumes_and_their_secrets))
