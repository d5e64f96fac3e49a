/* SPDX-License-Identifier: Apache-2.0 */
/* Whole cycles over small clusters: which node, or why none, in upstream's words. */
#include "testkit/test.h"

#include "base/map.h"
#include "base/rand.h"
#include "scheduler/volumes.h"
#include "json/json.h"

#define MAX_OBJS 16

struct world {
	struct arena *a;
	struct cache cache;
	const struct obj *objs[64];
	size_t n_objs;
	const struct obj *claims[MAX_OBJS], *volumes[MAX_OBJS], *classes[MAX_OBJS],
		*spaces[MAX_OBJS];
};

/* Single quotes for double ones, to keep the rows readable. */
static struct json *parse(struct arena *a, const char *text)
{
	char *copy = arena_strz(a, str_from(text));
	struct json *j;

	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	assert_no_err(json_parse(a, str_from(copy), &j));
	return j;
}

static const struct obj *make(struct world *w, const char *text)
{
	const struct obj *o = obj_new(parse(w->a, text), (struct rev){ 1 }, 0, NULL, 0);

	assert_true(w->n_objs < ARRAY_LEN(w->objs));
	w->objs[w->n_objs++] = o;
	return o;
}

static const struct obj *find_in(const struct obj *const *list, struct str ns, struct str name)
{
	for (; *list; list++)
		if (str_eq((*list)->name, name) && str_eq((*list)->ns, ns))
			return *list;
	return NULL;
}

static const struct obj *find_namespace(struct str name, void *ctx)
{
	return find_in(((struct world *)ctx)->spaces, STR_EMPTY, name);
}

static const struct obj *find_claim(struct str ns, struct str name, void *ctx)
{
	return find_in(((struct world *)ctx)->claims, ns, name);
}

static const struct obj *find_volume(struct str name, void *ctx)
{
	return find_in(((struct world *)ctx)->volumes, STR_EMPTY, name);
}

static const struct obj *find_class(struct str name, void *ctx)
{
	return find_in(((struct world *)ctx)->classes, STR_EMPTY, name);
}

static void each_volume(bool (*fn)(const struct obj *o, void *arg), void *arg, void *ctx)
{
	for (const struct obj **v = ((struct world *)ctx)->volumes; *v; v++)
		if (!fn(*v, arg))
			return;
}

static void world_init(struct world *w)
{
	*w = (struct world){ .a = arena_new() };
	cache_init(&w->cache);
	w->cache.find_namespace = find_namespace;
	w->cache.ctx = w;
}

static void world_fini(struct world *w)
{
	cache_fini(&w->cache);
	for (size_t i = 0; i < w->n_objs; i++)
		obj_unref(w->objs[i]);
	arena_free(w->a);
}

static void add_node(struct world *w, const char *name, const char *extra_meta, const char *spec,
		     const char *allocatable)
{
	const struct obj *o =
		make(w, arena_fmt(w->a,
				  "{'metadata':{'name':'%s'%s},'spec':{%s},'status':{'allocatable':"
				  "{'cpu':'4','memory':'8Gi','pods':'10'%s}}}",
				  name, extra_meta, spec, allocatable)
				.p);

	cache_set_node(&w->cache, o->name, o);
}

static const struct obj *pod(struct world *w, const char *name, const char *extra_meta,
			     const char *spec)
{
	return make(w, arena_fmt(w->a,
				 "{'metadata':{'name':'%s','namespace':'default','uid':'%s'%s},"
				 "'spec':{%s}}",
				 name, name, extra_meta, spec)
			       .p);
}

#define BOX      "'containers':[{'name':'c'}]"
#define ASK(res) "'containers':[{'name':'c','resources':{'requests':{" res "}}}]"

/* The chosen node's name, or the message. */
static struct str run(struct world *w, const struct obj *o)
{
	struct volumes_view view = { find_claim, find_volume, find_class, each_volume, w };
	struct sched_pod p;
	struct cycle c = { .a = w->a, .cache = &w->cache, .pod = &p, .volumes = &view };
	struct node_info *n;
	size_t start = 0;

	assert_no_err(sched_pod_decode(w->a, o, &p));
	n = cycle_run(&c, &start);
	return n ? str_from(n->name) : cycle_message(&c);
}

#define NEVER                                                                                 \
	" no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is " \
	"not helpful for scheduling."
#define NO_VICTIMS                                                                            \
	" no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption " \
	"victims found for incoming pod."

TEST(one_node_one_pod)
{
	static const struct {
		const char *meta, *node, *allocatable; /* of node n1 */
		const char *spec;                      /* of the Pod */
		const char *want;
	} rows[] = {
		{ "", "", "", BOX, "n1" },
		{ "", "", "", ASK("'cpu':'4','memory':'8Gi'"), "n1" },
		{ "", "", "", ASK("'cpu':'4001m'"),
		  "0/1 nodes are available: 1 Insufficient cpu." NEVER },
		{ "", "", "", ASK("'cpu':'5','memory':'9Gi'"),
		  "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory." NEVER },
		{ "", "", "", ASK("'example.com/none':'1'"),
		  "0/1 nodes are available: 1 Insufficient example.com/none." NEVER },
		{ "", "", ",'example.com/dev':'2'", ASK("'example.com/dev':'2'"), "n1" },
		{ "", "", ",'example.com/dev':'2'", ASK("'example.com/dev':'3'"),
		  "0/1 nodes are available: 1 Insufficient example.com/dev." NEVER },
		{ "", "'unschedulable':true", "", BOX,
		  "0/1 nodes are available: 1 node(s) were unschedulable." NEVER },
		{ "", "'unschedulable':true", "", BOX ",'tolerations':[{'operator':'Exists'}]",
		  "n1" },
		{ "", "'taints':[{'key':'k','value':'v','effect':'NoSchedule'}]", "", BOX,
		  "0/1 nodes are available: 1 node(s) had untolerated taint(s)." NEVER },
		{ "", "'taints':[{'key':'k','value':'v','effect':'NoSchedule'}]", "",
		  BOX ",'tolerations':[{'key':'k','value':'v'}]", "n1" },
		{ "", "'taints':[{'key':'k','value':'v','effect':'NoSchedule'}]", "",
		  BOX ",'tolerations':[{'key':'k','value':'w'}]",
		  "0/1 nodes are available: 1 node(s) had untolerated taint(s)." NEVER },
		{ "", "'taints':[{'key':'k','effect':'PreferNoSchedule'}]", "", BOX, "n1" },
		{ ",'labels':{'a':'b'}", "", "", BOX ",'nodeSelector':{'a':'b'}", "n1" },
		{ "", "", "", BOX ",'nodeSelector':{'a':'b'}",
		  "0/1 nodes are available: 1 node(s) didn't match Pod's node "
		  "affinity/selector." NEVER },
		{ ",'labels':{'n':'7'}", "", "",
		  BOX
		  ",'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':"
		  "{'nodeSelectorTerms':[{'matchExpressions':[{'key':'n','operator':'Gt',"
		  "'values':['6']}]}]}}}",
		  "n1" },
		{ "", "", "",
		  BOX
		  ",'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':"
		  "{'nodeSelectorTerms':[{'matchFields':[{'key':'metadata.name','operator':'In',"
		  "'values':['n2']}]}]}}}",
		  "0/1 nodes are available: 1 node(s) didn't match Pod's node "
		  "affinity/selector." NEVER },
		{ "", "", "", BOX ",'preemptionPolicy':'Never','nodeSelector':{'a':'b'}",
		  "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. "
		  "no "
		  "new claims to deallocate, preemption: not eligible due to "
		  "preemptionPolicy=Never." },
		{ "", "", "",
		  BOX ",'topologySpreadConstraints':[{'maxSkew':1,'topologyKey':'zone',"
		      "'whenUnsatisfiable':'DoNotSchedule','labelSelector':{}}]",
		  "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints "
		  "(missing required label)." NEVER },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct world w;
		struct str got;

		world_init(&w);
		add_node(&w, "n1", rows[i].meta, rows[i].node, rows[i].allocatable);
		got = run(&w, pod(&w, "p", "", rows[i].spec));
		if (!str_eqz(got, rows[i].want))
			fail_msg("row %zu: %.*s", i, STR_ARG(got));
		world_fini(&w);
	}
}

TEST(no_nodes)
{
	struct world w;

	world_init(&w);
	assert_str(run(&w, pod(&w, "p", "", BOX)), "no nodes available to schedule pods");
	world_fini(&w);
}

TEST(used_up)
{
	struct world w;

	world_init(&w);
	add_node(&w, "n1", "", "", "");
	cache_set_pod(&w.cache, pod(&w, "a", "", ASK("'cpu':'3'")), STR("n1"), true);
	assert_str(run(&w, pod(&w, "b", "", ASK("'cpu':'2'"))),
		   "0/1 nodes are available: 1 Insufficient cpu." NO_VICTIMS);
	assert_str(run(&w, pod(&w, "c", "", ASK("'cpu':'1'"))), "n1");
	assert_true(cache_del_pod(&w.cache, STR("default"), STR("a")));
	assert_false(cache_del_pod(&w.cache, STR("default"), STR("a")));
	assert_str(run(&w, pod(&w, "d", "", ASK("'cpu':'2'"))), "n1");
	for (int i = 0; i < 10; i++)
		cache_set_pod(&w.cache, pod(&w, arena_fmt(w.a, "x%d", i).p, "", BOX), STR("n1"),
			      false);
	assert_str(run(&w, pod(&w, "e", "", BOX)),
		   "0/1 nodes are available: 1 Too many pods." NO_VICTIMS);
	world_fini(&w);
}

/* A Pod that came before its node, and a resource that was offered after it was used. */
TEST(late_nodes_and_resources)
{
	struct world w;
	const struct obj *o;

	world_init(&w);
	cache_set_pod(&w.cache, pod(&w, "a", "", ASK("'example.com/late':'1'")), STR("n1"), false);
	assert_int_equal(w.cache.n_nodes, 0);
	add_node(&w, "n1", "", "", ",'example.com/late':'1'");
	assert_str(run(&w, pod(&w, "b", "", ASK("'example.com/late':'1'"))),
		   "0/1 nodes are available: 1 Insufficient example.com/late." NO_VICTIMS);
	o = w.cache.nodes[0]->obj;
	assert_false(cache_set_node(&w.cache, STR("n1"), o)); /* a heartbeat changes nothing */
	cache_set_node(&w.cache, STR("n1"), NULL);
	assert_int_equal(w.cache.n_nodes, 0);
	cache_del_pod(&w.cache, STR("default"), STR("a"));
	assert_int_equal(w.cache.by_name.n, 0);
	world_fini(&w);
}

TEST(host_ports)
{
	struct world w;
#define PORT(p, ip)                                                                              \
	"'containers':[{'name':'c','ports':[{'containerPort':80,'hostPort':" #p ",'hostIP':'" ip \
	"'}]}]"

	world_init(&w);
	add_node(&w, "n1", "", "", "");
	cache_set_pod(&w.cache, pod(&w, "a", "", PORT(80, "127.0.0.1")), STR("n1"), false);
	assert_str(run(&w, pod(&w, "b", "", PORT(81, ""))), "n1");
	assert_str(run(&w, pod(&w, "c", "", PORT(80, "127.0.0.2"))), "n1");
	assert_str(
		run(&w, pod(&w, "d", "", PORT(80, ""))),
		"0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod "
		"ports." NO_VICTIMS);
	world_fini(&w);
}

TEST(init_containers_and_overhead)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *spec = parse(
		a, "{'containers':[{'resources':{'requests':{'cpu':'1'}}},{'resources':{'requests':"
		   "{'cpu':'1'}}}],'initContainers':[{'resources':{'requests':{'cpu':'3'}}},"
		   "{'restartPolicy':'Always','resources':{'requests':{'cpu':'500m'}}},"
		   "{'resources':{'requests':{'cpu':'3'}}}],'overhead':{'cpu':'100m'}}");
	struct res_request *r;
	size_t n;

	res_of_pod(a, spec, &r, &n);
	assert_int_equal(n, 1);
	/* the last init container beside the side-car, and the overhead */
	assert_int_equal(r[0].val, 3600);
}

TEST(scores_prefer)
{
	struct world w;

	world_init(&w);
	add_node(&w, "busy", ",'labels':{'disk':'ssd'}", "", "");
	add_node(&w, "idle", "", "", "");
	cache_set_pod(&w.cache, pod(&w, "a", "", ASK("'cpu':'2','memory':'4Gi'")), STR("busy"),
		      false);
	for (int i = 0; i < 8; i++)
		assert_str(run(&w, pod(&w, "b", "", ASK("'cpu':'1','memory':'2Gi'"))), "idle");
	assert_str(
		run(&w, pod(&w, "c", "",
			    BOX ",'affinity':{'nodeAffinity':{"
				"'preferredDuringSchedulingIgnoredDuringExecution':[{'weight':10,"
				"'preference':{'matchExpressions':[{'key':'disk','operator':'In',"
				"'values':['ssd']}]}}]}}")),
		"busy");
	world_fini(&w);
}

#define TERM(field, key)                                                                \
	",'affinity':{'" field "':{'requiredDuringSchedulingIgnoredDuringExecution':[{" \
	"'topologyKey':'" key "','labelSelector':{'matchLabels':{'app':'web'}}}]}}"

TEST(pods_and_neighbours)
{
	struct world w;
	const struct obj *web;

	world_init(&w);
	add_node(&w, "n1", ",'labels':{'zone':'a'}", "", "");
	web = pod(&w, "web", ",'labels':{'app':'web'}", BOX TERM("podAntiAffinity", "zone"));
	/* Nobody to join yet: only one of the group itself may begin. */
	assert_str(run(&w, pod(&w, "alone", "", BOX TERM("podAffinity", "zone"))),
		   "0/1 nodes are available: 1 node(s) didn't match pod affinity rules." NEVER);
	assert_str(run(&w, pod(&w, "first", ",'labels':{'app':'web'}",
			       BOX TERM("podAffinity", "zone"))),
		   "n1");
	cache_set_pod(&w.cache, web, STR("n1"), false);
	assert_str(run(&w, pod(&w, "b", "", BOX TERM("podAffinity", "zone"))), "n1");
	assert_str(run(&w, pod(&w, "c", "", BOX TERM("podAntiAffinity", "zone"))),
		   "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity "
		   "rules." NO_VICTIMS);
	assert_str(run(&w, pod(&w, "d", ",'labels':{'app':'web'}", BOX)),
		   "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity "
		   "rules." NO_VICTIMS);
	add_node(&w, "n2", ",'labels':{'zone':'b'}", "", "");
	assert_str(run(&w, pod(&w, "e", "", BOX TERM("podAntiAffinity", "zone"))), "n2");
	world_fini(&w);
}

TEST(spread_over_zones)
{
	struct world w;
#define SPREAD                                                                 \
	BOX ",'topologySpreadConstraints':[{'maxSkew':1,'topologyKey':'zone'," \
	    "'whenUnsatisfiable':'DoNotSchedule','labelSelector':{'matchLabels':{'app':'web'}}}]"

	world_init(&w);
	add_node(&w, "n1", ",'labels':{'zone':'a'}", "", "");
	add_node(&w, "n2", ",'labels':{'zone':'b'}", "", "");
	cache_set_pod(&w.cache, pod(&w, "a", ",'labels':{'app':'web'}", SPREAD), STR("n1"), false);
	assert_str(run(&w, pod(&w, "b", ",'labels':{'app':'web'}", SPREAD)), "n2");
	world_fini(&w);
}

#define CLAIM(n) BOX ",'volumes':[{'name':'v','persistentVolumeClaim':{'claimName':'" n "'}}]"

TEST(claims)
{
	struct world w;

	world_init(&w);
	add_node(&w, "n1", "", "", "");
	w.classes[0] = make(&w, "{'metadata':{'name':'local'},'provisioner':'x.y',"
				"'volumeBindingMode':'WaitForFirstConsumer'}");
	w.classes[1] = make(&w, "{'metadata':{'name':'manual'},"
				"'provisioner':'kubernetes.io/no-provisioner',"
				"'volumeBindingMode':'WaitForFirstConsumer'}");
#define PVC(name, spec, rest)                                                                      \
	make(&w, "{'metadata':{'name':'" name "','namespace':'default'" rest "},'spec':{" spec "}" \
		 "}")
	w.claims[0] = PVC("late", "'storageClassName':'local'", "");
	w.claims[1] = PVC("now", "'storageClassName':'none'", "");
	w.claims[2] = PVC("bound", "'volumeName':'pv1'",
			  ",'annotations':{'pv.kubernetes.io/bind-completed':'yes'}");
	w.claims[3] = PVC("lost", "'volumeName':'pv9'",
			  ",'annotations':{'pv.kubernetes.io/bind-completed':'yes'}");
	w.claims[4] = PVC("elsewhere", "'storageClassName':'local'",
			  ",'annotations':{'volume.kubernetes.io/selected-node':'n7'}");
	w.claims[5] = PVC("manual",
			  "'storageClassName':'manual','accessModes':['ReadWriteOnce'],"
			  "'resources':{'requests':{'storage':'1Gi'}}",
			  "");
	w.claims[6] = PVC("huge",
			  "'storageClassName':'manual','accessModes':['ReadWriteOnce'],"
			  "'resources':{'requests':{'storage':'1Ti'}}",
			  "");
	w.volumes[0] = make(&w, "{'metadata':{'name':'pv1'},'spec':{'nodeAffinity':{'required':{"
				"'nodeSelectorTerms':[{'matchExpressions':[{'key':'host',"
				"'operator':'In','values':['n2']}]}]}}}}");
	w.volumes[1] = make(&w, "{'metadata':{'name':'pv2'},'spec':{'storageClassName':'manual',"
				"'capacity':{'storage':'2Gi'},'accessModes':['ReadWriteOnce']}}");
	assert_str(run(&w, pod(&w, "a", "", CLAIM("none"))),
		   "0/1 nodes are available: persistentvolumeclaim \"none\" not found." NEVER);
	assert_str(
		run(&w, pod(&w, "b", "", CLAIM("now"))),
		"0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims." NEVER);
	assert_str(run(&w, pod(&w, "c", "", CLAIM("late"))), "n1");
	assert_str(run(&w, pod(&w, "d", "", CLAIM("bound"))),
		   "0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node "
		   "affinity." NEVER);
	assert_str(run(&w, pod(&w, "e", "", CLAIM("lost"))),
		   "0/1 nodes are available: 1 node(s) unavailable due to one or more pvc(s) bound "
		   "to non-existent pv(s)." NEVER);
	assert_str(run(&w, pod(&w, "f", "", CLAIM("elsewhere"))),
		   "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to "
		   "bind." NEVER);
	assert_str(run(&w, pod(&w, "g", "", CLAIM("manual"))), "n1");
	assert_str(run(&w, pod(&w, "h", "", CLAIM("huge"))),
		   "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to "
		   "bind." NEVER);
	add_node(&w, "n2", ",'labels':{'host':'n2'}", "", "");
	assert_str(run(&w, pod(&w, "i", "", CLAIM("bound"))), "n2");
	world_fini(&w);
}

/* In a large cluster the search ends early and the next one goes on from there. */
TEST(many_nodes)
{
	struct cache cache;
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *j = parse(a, "{'metadata':{'name':'p','namespace':'d'},'spec':{" BOX "}}");
	_cleanup_obj_ const struct obj *o = obj_new(j, (struct rev){ 1 }, 0, NULL, 0);
	struct sched_pod p;
	size_t start = 0;

	cache_init(&cache);
	for (int i = 0; i < 1000; i++) {
		struct json *n = parse(a, "{'metadata':{},'status':{'allocatable':{'cpu':'4',"
					  "'memory':'8Gi','pods':'10'}}}");
		const struct obj *node;

		json_set_at(a, n, "metadata.name", json_strf(a, "n%d", i));
		node = obj_new(n, (struct rev){ 1 }, 0, NULL, 0);
		cache_set_node(&cache, node->name, node);
		obj_unref(node);
	}
	assert_no_err(sched_pod_decode(a, o, &p));
	for (int i = 0; i < 3; i++) {
		struct cycle c = { .a = a, .cache = &cache, .pod = &p };

		assert_non_null(cycle_run(&c, &start));
		assert_int_equal(start, (i + 1) * 420 % 1000);
	}
	cache_fini(&cache);
}

TEST_MAIN(T(one_node_one_pod), T(no_nodes), T(used_up), T(late_nodes_and_resources), T(host_ports),
	  T(init_containers_and_overhead), T(scores_prefer), T(pods_and_neighbours),
	  T(spread_over_zones), T(claims), T(many_nodes))
