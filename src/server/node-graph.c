/* SPDX-License-Identifier: Apache-2.0 */
#include "server/node-graph.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "server/mirror.h"
#include "server/server.h"
#include "json/json.h"

#define PAGE       500
#define MAX_EDGES  4096 /* of one Pod */
#define MIRROR_POD "kubernetes.io/config.mirror"

/* A node and an object, with how many of the node's Pods refer to it. */
struct edge {
	unsigned refs;
	struct str key; /* owned */
};

struct pod_refs {
	struct edge **edges;
	size_t n;
};

/* A Secret that a volume needs. */
struct pv_secret {
	struct list link;
	struct pv_refs *pv;
};

struct pv_refs {
	char *name, *claim; /* "NS/NAME" */
	struct pv_secret secrets[4];
	size_t n_secrets;
};

struct secret_users {
	struct list pvs; /* struct pv_secret */
};

struct node_graph {
	struct apiserver *server;
	struct map edges;   /* "KIND NODE/NS/NAME" -> edge */
	struct map pods;    /* "NS/NAME" -> pod_refs */
	struct map pvs;     /* "NAME" -> pv_refs */
	struct map secrets; /* "NS/NAME" -> secret_users, of volumes */
	struct store_watch pod_watch;
	struct mirror volumes, attachments, slices;
};

/* keys */
static struct str edge_key(struct buf *b, struct str node, enum node_ref kind, struct str ns,
			   struct str name)
{
	buf_addf(b, "%c" STR_FMT "/" STR_FMT "/" STR_FMT, 'a' + (int)kind, STR_ARG(node),
		 STR_ARG(ns), STR_ARG(name));
	return buf_str(b);
}

static struct str pair_key(struct buf *b, struct str ns, struct str name)
{
	buf_addf(b, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
	return buf_str(b);
}

/* edges */
static struct edge *edge_ref(struct node_graph *g, struct str key)
{
	struct edge *e = map_find(&g->edges, key);

	if (!e) {
		e = mem_new(struct edge);
		e->key = str_make(mem_strdup(key), key.n);
		map_put(&g->edges, key, e);
	}
	e->refs++;
	return e;
}

static void edge_unref(struct node_graph *g, struct edge *e)
{
	if (--e->refs)
		return;
	map_del(&g->edges, e->key);
	free((void *)(uintptr_t)e->key.p);
	free(e);
}

static void pod_refs_free(struct node_graph *g, struct pod_refs *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		edge_unref(g, p->edges[i]);
	free(p->edges);
	free(p);
}

/* what a Pod refers to */
struct pod_walk {
	struct node_graph *g;
	struct pod_refs *refs;
	struct str node, ns;
	size_t cap;
};

static void walk_add(struct pod_walk *w, enum node_ref kind, struct str name)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (str_empty(name) || w->refs->n == MAX_EDGES)
		return;
	if (w->refs->n == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 8;
		w->refs->edges = mem_realloc(w->refs->edges, w->cap, sizeof(*w->refs->edges));
	}
	w->refs->edges[w->refs->n++] = edge_ref(w->g, edge_key(&b, w->node, kind, w->ns, name));
}

static void walk_container(struct pod_walk *w, const struct json *c)
{
	json_for_each(it, json_get(c, "envFrom"))
	{
		walk_add(w, NODE_REF_SECRET, json_str_at(it.val, "secretRef.name"));
		walk_add(w, NODE_REF_CONFIGMAP, json_str_at(it.val, "configMapRef.name"));
	}
	json_for_each(it, json_get(c, "env"))
	{
		const struct json *from = json_get(it.val, "valueFrom");

		walk_add(w, NODE_REF_SECRET, json_str_at(from, "secretKeyRef.name"));
		walk_add(w, NODE_REF_CONFIGMAP, json_str_at(from, "configMapKeyRef.name"));
	}
}

static void walk_volume(struct pod_walk *w, struct str pod, const struct json *v)
{
	static const char *const secrets[] = {
		"azureFile.secretName",     "cephfs.secretRef.name",
		"cinder.secretRef.name",    "flexVolume.secretRef.name",
		"rbd.secretRef.name",       "secret.secretName",
		"scaleIO.secretRef.name",   "iscsi.secretRef.name",
		"storageos.secretRef.name", "csi.nodePublishSecretRef.name",
	};
	_cleanup_buf_ struct buf b = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(secrets); i++)
		walk_add(w, NODE_REF_SECRET, json_str_at(v, secrets[i]));
	walk_add(w, NODE_REF_CONFIGMAP, json_str_at(v, "configMap.name"));
	walk_add(w, NODE_REF_PVC, json_str_at(v, "persistentVolumeClaim.claimName"));
	json_for_each(it, json_at(v, "projected.sources"))
	{
		walk_add(w, NODE_REF_SECRET, json_str_at(it.val, "secret.name"));
		walk_add(w, NODE_REF_CONFIGMAP, json_str_at(it.val, "configMap.name"));
	}
	if (json_is_null(json_get(v, "ephemeral")))
		return;
	/* the claim that is made for it */
	buf_addf(&b, STR_FMT "-" STR_FMT, STR_ARG(pod), STR_ARG(json_str_at(v, "name")));
	walk_add(w, NODE_REF_PVC, buf_str(&b));
}

static void walk_claims(struct pod_walk *w, const struct json *pod)
{
	json_for_each(it, json_at(pod, "spec.resourceClaims"))
		walk_add(w, NODE_REF_CLAIM, json_str_at(it.val, "resourceClaimName"));
	json_for_each(it, json_at(pod, "status.resourceClaimStatuses"))
		walk_add(w, NODE_REF_CLAIM, json_str_at(it.val, "resourceClaimName"));
	walk_add(w, NODE_REF_CLAIM,
		 json_str_at(pod, "status.extendedResourceClaimStatus.resourceClaimName"));
}

static void walk_pod(struct pod_walk *w, struct str name, const struct json *pod)
{
	static const char *const lists[] = { "initContainers", "containers",
					     "ephemeralContainers" };
	const struct json *spec = json_get(pod, "spec");

	walk_add(w, NODE_REF_POD, name);
	/* a node makes these itself: they must give it nothing */
	if (json_get(meta_annotations(pod), MIRROR_POD))
		return;
	walk_add(w, NODE_REF_ACCOUNT, json_str_at(spec, "serviceAccountName"));
	json_for_each(it, json_get(spec, "imagePullSecrets"))
		walk_add(w, NODE_REF_SECRET, json_str_at(it.val, "name"));
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_for_each(it, json_get(spec, lists[i])) walk_container(w, it.val);
	}
	json_for_each(it, json_get(spec, "volumes")) walk_volume(w, name, it.val);
	walk_claims(w, pod);
}

void node_graph_del_pod(struct node_graph *g, struct str ns, struct str name)
{
	_cleanup_buf_ struct buf b = { 0 };

	pod_refs_free(g, map_del(&g->pods, pair_key(&b, ns, name)));
}

void node_graph_set_pod(struct node_graph *g, struct str ns, struct str name,
			const struct json *pod)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct pod_walk w = { .g = g, .node = json_str_at(pod, "spec.nodeName"), .ns = ns };

	if (str_empty(w.node)) {
		node_graph_del_pod(g, ns, name);
		return;
	}
	w.refs = mem_new(struct pod_refs);
	walk_pod(&w, name, pod);
	pod_refs_free(g, map_put(&g->pods, pair_key(&b, ns, name), w.refs));
}

/* volumes */
static const struct {
	const char *source, *ref;
	bool named; /* secretName beside secretNamespace */
} pv_secret_rows[] = {
	{ "azureFile", NULL, true },
	{ "cephfs", "secretRef", false },
	{ "cinder", "secretRef", false },
	{ "flexVolume", "secretRef", false },
	{ "rbd", "secretRef", false },
	{ "scaleIO", "secretRef", false },
	{ "iscsi", "secretRef", false },
	{ "storageos", "secretRef", false },
	{ "csi", "nodePublishSecretRef", false },
	{ "csi", "nodeStageSecretRef", false },
	{ "csi", "nodeExpandSecretRef", false },
};

static void pv_secret_add(struct node_graph *g, struct pv_refs *pv, struct str ns, struct str name)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct pv_secret *s;
	struct secret_users *u;
	struct str key;

	if (str_empty(name) || pv->n_secrets == ARRAY_LEN(pv->secrets))
		return;
	key = pair_key(&b, ns, name);
	u = map_find(&g->secrets, key);
	if (!u) {
		u = mem_new(struct secret_users);
		list_init(&u->pvs);
		map_put(&g->secrets, key, u);
	}
	s = &pv->secrets[pv->n_secrets++];
	s->pv = pv;
	list_push_back(&u->pvs, &s->link);
}

static void pv_secrets(struct node_graph *g, struct pv_refs *pv, const struct json *spec)
{
	struct str claim_ns = json_str_at(spec, "claimRef.namespace");

	for (size_t i = 0; i < ARRAY_LEN(pv_secret_rows); i++) {
		const struct json *src = json_get(spec, pv_secret_rows[i].source);
		const struct json *ref = src;
		struct str ns;

		if (!pv_secret_rows[i].named)
			ref = json_get(src, pv_secret_rows[i].ref);
		ns = json_str_at(ref, pv_secret_rows[i].named ? "secretNamespace" : "namespace");
		pv_secret_add(g, pv, str_empty(ns) ? claim_ns : ns,
			      json_str_at(ref, pv_secret_rows[i].named ? "secretName" : "name"));
	}
}

static void pv_refs_free(struct pv_refs *pv)
{
	if (!pv)
		return;
	for (size_t i = 0; i < pv->n_secrets; i++)
		list_unlink(&pv->secrets[i].link);
	free(pv->name);
	free(pv->claim);
	free(pv);
}

void node_graph_set_pv(struct node_graph *g, struct str name, const struct json *pv)
{
	_cleanup_buf_ struct buf b = { 0 };
	const struct json *spec = json_get(pv, "spec");
	struct str claim = json_str_at(spec, "claimRef.name");
	struct pv_refs *p;

	pv_refs_free(map_del(&g->pvs, name));
	if (str_empty(claim))
		return;
	p = mem_new(struct pv_refs);
	p->name = mem_strdup(name);
	p->claim = mem_strdup(pair_key(&b, json_str_at(spec, "claimRef.namespace"), claim));
	pv_secrets(g, p, spec);
	map_put(&g->pvs, name, p);
}

static void graph_pv_changed(struct mirror *m, const struct obj *old, const struct obj *new)
{
	struct node_graph *g = m->ctx;

	if (!new) {
		node_graph_set_pv(g, old->name, NULL);
		return;
	}
	node_graph_set_pv(g, new->name, obj_tree(new));
	obj_forget_tree(new);
}

/* events of Pods */
static bool pod_claims_matter(const struct obj *o)
{
	return str_contains(o->tail, STR("esourceClaimStatus"));
}

static void graph_pod_event(struct store_watch *w, const struct store_event *ev)
{
	struct node_graph *g = container_of(w, struct node_graph, pod_watch);
	const struct obj *o = ev->obj, *prev = ev->prev;
	struct str node = obj_field(o, STR("spec.nodeName"));

	if (ev->type == STORE_DELETE) {
		node_graph_del_pod(g, o->ns, o->name);
		return;
	}
	/* what it refers to cannot change while it stays where it is */
	if (prev && str_eq(prev->uid, o->uid) &&
	    str_eq(obj_field(prev, STR("spec.nodeName")), node) && !pod_claims_matter(o))
		return;
	if (str_empty(node)) {
		node_graph_del_pod(g, o->ns, o->name);
		return;
	}
	node_graph_set_pod(g, o->ns, o->name, obj_tree(o));
	obj_forget_tree(o);
}

struct graph_load {
	struct node_graph *g;
	struct buf ns, name; /* the last one of the page */
};

static bool graph_load_pod(const struct obj *o, void *ctx)
{
	struct graph_load *l = ctx;

	buf_clear(&l->ns);
	buf_add(&l->ns, o->ns);
	buf_clear(&l->name);
	buf_add(&l->name, o->name);
	if (!str_empty(obj_field(o, STR("spec.nodeName")))) {
		node_graph_set_pod(l->g, o->ns, o->name, obj_tree(o));
		obj_forget_tree(o);
	}
	return true;
}

static struct err *graph_load_page(struct graph_load *l, struct store_list_result *r)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct store_list_opts o = {
		.resource = STR("pods"),
		.after_ns = arena_str(a, buf_str(&l->ns)),
		.after_name = arena_str(a, buf_str(&l->name)),
		.at = r->rev,
		.limit = PAGE,
	};

	TRY(store_list(l->g->server->store, &o, graph_load_pod, l, r));
	return fiber_yield();
}

static struct err *graph_load(struct node_graph *g)
{
	struct graph_load l = { .g = g };
	struct store_list_result r = { .more = true };
	struct err *e = NULL;

	while (!e && r.more)
		e = graph_load_page(&l, &r);
	buf_fini(&l.ns);
	buf_fini(&l.name);
	TRY(e);
	g->pod_watch.event = graph_pod_event;
	return store_watch_start(g->server->store, &g->pod_watch, STR("pods"), STR_EMPTY, STR_EMPTY,
				 r.rev);
}

static struct err *graph_run(void *arg)
{
	err_log(NULL, LOG_WARN, "cannot learn what nodes may read", graph_load(arg));
	return NULL;
}

/* lifecycle */
struct node_graph *node_graph_new(struct apiserver *s)
{
	struct node_graph *g = mem_new(struct node_graph);

	g->server = s;
	return g;
}

struct node_graph *node_graph_free(struct node_graph *g)
{
	if (!g)
		return NULL;
	store_watch_cancel(&g->pod_watch);
	mirror_stop(&g->volumes);
	mirror_stop(&g->attachments);
	mirror_stop(&g->slices);
	map_for_each(e, &g->pods)
		pod_refs_free(g, e->val);
	map_for_each(e, &g->pvs)
		pv_refs_free(e->val);
	map_for_each(e, &g->secrets)
		free(e->val);
	map_fini(&g->pods);
	map_fini(&g->pvs);
	map_fini(&g->secrets);
	map_fini(&g->edges);
	free(g);
	return NULL;
}

struct err *node_graph_start(struct node_graph *g)
{
	g->volumes.changed = graph_pv_changed;
	g->volumes.ctx = g;
	TRY(mirror_start(&g->volumes, g->server, "persistentvolumes"));
	TRY(mirror_start(&g->attachments, g->server, "volumeattachments.storage.k8s.io"));
	TRY(mirror_start(&g->slices, g->server, "resourceslices.resource.k8s.io"));
	fiber_unref(fiber_spawn(g->server->loop, "node-graph", graph_run, g));
	return NULL;
}

/* queries */
static bool graph_edge(struct node_graph *g, struct str node, enum node_ref kind, struct str ns,
		       struct str name)
{
	_cleanup_buf_ struct buf b = { 0 };

	return map_find(&g->edges, edge_key(&b, node, kind, ns, name)) != NULL;
}

static bool graph_pv(struct node_graph *g, struct str node, const struct pv_refs *pv)
{
	struct str name, ns;

	if (!pv)
		return false;
	name = str_from(pv->claim);
	str_cut(&name, '/', &ns);
	return graph_edge(g, node, NODE_REF_PVC, ns, name);
}

static bool graph_secret(struct node_graph *g, struct str node, struct str ns, struct str name)
{
	_cleanup_buf_ struct buf b = { 0 };
	const struct secret_users *u;
	const struct pv_secret *s;

	if (graph_edge(g, node, NODE_REF_SECRET, ns, name))
		return true;
	u = map_find(&g->secrets, pair_key(&b, ns, name));
	if (!u)
		return false;
	list_for_each(s, &u->pvs, link) {
		if (graph_pv(g, node, s->pv))
			return true;
	}
	return false;
}

static bool graph_node_of(const struct mirror *m, struct str node, struct str name)
{
	const struct obj *o = mirror_find(m, STR_EMPTY, name);

	return o && str_eq(json_str_at(obj_tree(o), "spec.nodeName"), node);
}

bool node_graph_has(struct node_graph *g, struct str node, enum node_ref kind, struct str ns,
		    struct str name)
{
	switch (kind) {
	case NODE_REF_SECRET:
		return graph_secret(g, node, ns, name);
	case NODE_REF_PV:
		return graph_pv(g, node, map_find(&g->pvs, name));
	case NODE_REF_ATTACHMENT:
		return graph_node_of(&g->attachments, node, name);
	case NODE_REF_SLICE:
		return graph_node_of(&g->slices, node, name);
	case NODE_REF_POD:
	case NODE_REF_CONFIGMAP:
	case NODE_REF_ACCOUNT:
	case NODE_REF_PVC:
	case NODE_REF_CLAIM:
		break;
	}
	return graph_edge(g, node, kind, ns, name);
}
