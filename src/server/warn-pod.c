/* SPDX-License-Identifier: Apache-2.0 */

#include "server/warn.h"

#include "base/arena.h"
#include "base/map.h"
#include "server/request.h"
#include "server/valid.h"
#include "json/json.h"

/* Warnings of Pods and their templates. */

#define ANNOTATION_SECCOMP_POD       "seccomp.security.alpha.kubernetes.io/pod"
#define ANNOTATION_SECCOMP_CONTAINER "container.seccomp.security.alpha.kubernetes.io/"
#define ANNOTATION_APPARMOR          "container.apparmor.security.beta.kubernetes.io/"

struct warn_pod {
	struct api_request *rq;
	const struct place *root; /* of the Pod or template; NULL: the object */
	const struct place *at;   /* its spec */
	const struct json *pod, *spec;
};

typedef void (*warn_container_fn)(struct warn_pod *w, const struct place *p, const struct json *c,
				  void *ctx);

static void warn_each_container(struct warn_pod *w, warn_container_fn fn, void *ctx)
{
	static const char *const lists[] = { "initContainers", "containers",
					     "ephemeralContainers" };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_for_each(it, json_get(w->spec, lists[i]))
			fn(w, AT_IDX(AT(w->at, lists[i]), it.i), it.val, ctx);
	}
}

static void warn_annotation(struct warn_pod *w, struct str key, const char *text)
{
	const struct json *annotations = json_at(w->pod, "metadata.annotations");

	if (json_get_s(annotations, key))
		warn_at(w->rq, AT_KEY(AT(AT(w->root, "metadata"), "annotations"), key), "%s", text);
}

/* ---- where it runs */

static void warn_placement(struct warn_pod *w)
{
	const struct json *node = json_at(w->spec, "affinity.nodeAffinity");
	const char *required = "requiredDuringSchedulingIgnoredDuringExecution";
	const char *preferred = "preferredDuringSchedulingIgnoredDuringExecution";
	const struct place *at = AT(AT(w->at, "affinity"), "nodeAffinity");

	json_for_each(it, json_get(w->spec, "nodeSelector"))
		warn_node_label(w->rq, AT_KEY(AT(w->at, "nodeSelector"), it.key), it.key, false);
	json_for_each(it, json_get(json_get(node, required), "nodeSelectorTerms")) warn_node_term(
		w->rq, AT_IDX(AT(AT(at, required), "nodeSelectorTerms"), it.i), it.val, false);
	json_for_each(it, json_get(node, preferred))
		warn_node_term(w->rq, AT(AT_IDX(AT(at, preferred), it.i), "preference"),
			       json_get(it.val, "preference"), true);
	json_for_each(it, json_get(w->spec, "topologySpreadConstraints"))
	{
		const struct place *p = AT_IDX(AT(w->at, "topologySpreadConstraints"), it.i);

		warn_node_label(w->rq, AT(p, "topologyKey"), json_str_at(it.val, "topologyKey"),
				true);
		if (!json_get(it.val, "labelSelector"))
			warn_at(w->rq, AT(p, "labelSelector"),
				"a null labelSelector results in matching no pod");
	}
}

static void warn_pod_affinity(struct warn_pod *w, const char *which)
{
	const struct json *affinity = json_get(json_get(w->spec, "affinity"), which);
	const struct place *at = AT(AT(w->at, "affinity"), which);
	const char *required = "requiredDuringSchedulingIgnoredDuringExecution";
	const char *preferred = "preferredDuringSchedulingIgnoredDuringExecution";

	json_for_each(it, json_get(affinity, required))
	{
		if (!json_get(it.val, "labelSelector"))
			warn_at(w->rq, AT(AT_IDX(AT(at, required), it.i), "labelSelector"),
				"a null labelSelector results in matching no pod");
	}
	json_for_each(it, json_get(affinity, preferred))
	{
		if (!json_at(it.val, "podAffinityTerm.labelSelector"))
			warn_at(w->rq,
				AT(AT(AT_IDX(AT(at, preferred), it.i), "podAffinityTerm"),
				   "labelSelector"),
				"a null labelSelector results in matching no pod");
	}
}

/* ---- volumes */

static const struct {
	const char *member, *text;
} warn_volume_kinds[] = {
	{ "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+" },
	{ "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+" },
	{ "scaleIO", "deprecated in v1.16, non-functional in v1.22+" },
	{ "flocker", "deprecated in v1.22, non-functional in v1.25+" },
	{ "storageos", "deprecated in v1.22, non-functional in v1.25+" },
	{ "quobyte", "deprecated in v1.22, non-functional in v1.25+" },
	{ "glusterfs", "deprecated in v1.25, non-functional in v1.26+" },
	{ "cephfs", "deprecated in v1.28, non-functional in v1.31+" },
	{ "rbd", "deprecated in v1.28, non-functional in v1.31+" },
};

static void warn_volume_sources(struct warn_pod *w)
{
	json_for_each(it, json_get(w->spec, "volumes"))
	{
		const struct place *p = AT_IDX(AT(w->at, "volumes"), it.i);

		for (size_t i = 0; i < ARRAY_LEN(warn_volume_kinds); i++) {
			const char *member = warn_volume_kinds[i].member;

			if (json_get(it.val, member))
				warn_at(w->rq,
					AT(p, strcmp(member, "storageos") ? member : "storageOS"),
					"%s", warn_volume_kinds[i].text);
		}
		warn_claim_spec(w->rq, AT(AT(AT(p, "ephemeral"), "volumeClaimTemplate"), "spec"),
				json_at(it.val, "ephemeral.volumeClaimTemplate.spec"));
	}
}

/* Files that a volume makes: where, and from what ("" where that is clear). */
struct warn_path {
	struct str path, source;
};

struct warn_paths {
	struct warn_pod *w;
	struct str volume, kind;
	struct warn_path *v;
	size_t n;
};

static struct str warn_path_text(struct arena *a, struct warn_path p)
{
	if (str_empty(p.source))
		return arena_fmt(a, "\"" STR_FMT "\"", STR_ARG(p.path));
	return arena_fmt(a, "\"" STR_FMT "\" (" STR_FMT ")", STR_ARG(p.path), STR_ARG(p.source));
}

/* Whether x is y or a folder above it. */
static bool warn_path_holds(struct str x, struct str y)
{
	return str_has_prefix(y, x) && (x.n == y.n || y.p[x.n] == '/');
}

static void warn_path_add(struct warn_paths *l, struct str path, struct str source)
{
	struct arena *a = l->w->rq->arena;
	struct warn_path p = { path, source };

	while (p.path.n && p.path.p[p.path.n - 1] == '/')
		p.path.n--;
	for (size_t i = 0; i < l->n && p.path.n; i++) {
		if (l->v[i].path.n && (warn_path_holds(l->v[i].path, p.path) ||
				       warn_path_holds(p.path, l->v[i].path)))
			request_warn(l->w->rq,
				     "volume \"" STR_FMT "\" (" STR_FMT
				     "): overlapping paths: " STR_FMT " with " STR_FMT,
				     STR_ARG(l->volume), STR_ARG(l->kind),
				     STR_ARG(warn_path_text(a, p)),
				     STR_ARG(warn_path_text(a, l->v[i])));
	}
	l->v[l->n++] = p;
}

static void warn_path_items(struct warn_paths *l, const struct json *source, struct str name)
{
	json_for_each(it, json_get(source, "items"))
		warn_path_add(l, json_str_at(it.val, "path"), name);
}

static struct str warn_named(struct warn_paths *l, const char *kind, struct str name)
{
	return arena_fmt(l->w->rq->arena, "%s \"" STR_FMT "\"", kind, STR_ARG(name));
}

static void warn_projection(struct warn_paths *l, const struct json *s)
{
	const struct json *m;

	if (!json_len(s)) {
		request_warn(l->w->rq, "volume \"" STR_FMT "\" (Projected) has no sources provided",
			     STR_ARG(l->volume));
	} else if ((m = json_get(s, "configMap")) && json_get(m, "items")) {
		warn_path_items(l, m, warn_named(l, "ConfigMap", json_str_at(m, "name")));
	} else if ((m = json_get(s, "secret")) && json_get(m, "items")) {
		warn_path_items(l, m, warn_named(l, "Secret", json_str_at(m, "name")));
	} else if ((m = json_get(s, "downwardAPI")) && json_get(m, "items")) {
		warn_path_items(l, m, STR("DownwardAPI"));
	} else if ((m = json_get(s, "serviceAccountToken"))) {
		warn_path_add(l, json_str_at(m, "path"), STR("ServiceAccountToken"));
	} else if ((m = json_get(s, "clusterTrustBundle"))) {
		warn_path_add(
			l, json_str_at(m, "path"),
			warn_named(l, "ClusterTrustBundle",
				   json_str_at(m, json_get(m, "name") ? "name" : "signerName")));
	} else if ((m = json_get(s, "podCertificate"))) {
		static const char *const files[][2] = {
			{ "certificateChainPath", "PodCertificate chain" },
			{ "keyPath", "PodCertificate key" },
			{ "credentialBundlePath", "PodCertificate credential bundle" },
		};

		for (size_t i = 0; i < ARRAY_LEN(files); i++) {
			if (!str_empty(json_str_at(m, files[i][0])))
				warn_path_add(l, json_str_at(m, files[i][0]),
					      str_from(files[i][1]));
		}
	}
}

/* How many files the volume names, at the most. */
static size_t warn_path_count(const struct json *volume)
{
	size_t n = json_len(json_at(volume, "configMap.items")) +
		   json_len(json_at(volume, "secret.items")) +
		   json_len(json_at(volume, "downwardAPI.items"));

	json_for_each(it, json_at(volume, "projected.sources")) n +=
		3 + json_len(json_at(it.val, "configMap.items")) +
		json_len(json_at(it.val, "secret.items")) +
		json_len(json_at(it.val, "downwardAPI.items"));
	return n;
}

static void warn_volume_paths(struct warn_pod *w)
{
	json_for_each(it, json_get(w->spec, "volumes"))
	{
		struct warn_paths l = { .w = w, .volume = json_str_at(it.val, "name") };
		const struct json *m;

		l.v = arena_array(w->rq->arena, warn_path_count(it.val) + 1, sizeof(*l.v));
		if ((m = json_get(it.val, "configMap"))) {
			l.kind = warn_named(&l, "ConfigMap", json_str_at(m, "name"));
			warn_path_items(&l, m, STR_EMPTY);
		} else if ((m = json_get(it.val, "secret"))) {
			l.kind = warn_named(&l, "Secret", json_str_at(m, "secretName"));
			warn_path_items(&l, m, STR_EMPTY);
		} else if ((m = json_get(it.val, "downwardAPI"))) {
			l.kind = STR("DownwardAPI");
			warn_path_items(&l, m, STR_EMPTY);
		} else if ((m = json_get(it.val, "projected"))) {
			l.kind = STR("Projected");
			json_for_each(jt, json_get(m, "sources")) warn_projection(&l, jt.val);
		}
	}
}

/* ---- lists of names */

static void warn_names(struct warn_pod *w)
{
	const struct json *aliases = json_get(w->spec, "hostAliases");
	const struct json *secrets = json_get(w->spec, "imagePullSecrets");
	const bool *same_ip = json_repeats(w->rq->arena, aliases, "ip");
	const bool *same_name = json_repeats(w->rq->arena, secrets, "name");

	json_for_each(it, aliases)
	{
		struct str ip = json_str_at(it.val, "ip");

		if (same_ip && same_ip[it.i])
			warn_at(w->rq, AT(AT_IDX(AT(w->at, "hostAliases"), it.i), "ip"),
				"duplicate ip \"" STR_FMT "\"", STR_ARG(ip));
	}
	json_for_each(it, secrets)
	{
		struct str name = json_str_at(it.val, "name");

		if (same_name && same_name[it.i])
			warn_at(w->rq, AT(AT_IDX(AT(w->at, "imagePullSecrets"), it.i), "name"),
				"duplicate name \"" STR_FMT "\"", STR_ARG(name));
	}
	json_for_each(it, secrets)
	{
		if (str_empty(json_str_at(it.val, "name")))
			warn_at(w->rq, AT(AT_IDX(AT(w->at, "imagePullSecrets"), it.i), "name"),
				"invalid empty name \"\"");
	}
}

/* ---- containers */

static void warn_container_annotations(struct warn_pod *w, const struct json *c)
{
	struct arena *a = w->rq->arena;
	struct str name = json_str_at(c, "name");
	const struct json *security = json_get(c, "securityContext");

	if (!json_get(security, "seccompProfile"))
		warn_annotation(w,
				arena_fmt(a, ANNOTATION_SECCOMP_CONTAINER STR_FMT, STR_ARG(name)),
				"non-functional in v1.27+; use the \"seccompProfile\" field "
				"instead");
	if (!json_get(security, "appArmorProfile") &&
	    !json_at(w->spec, "securityContext.appArmorProfile"))
		warn_annotation(w, arena_fmt(a, ANNOTATION_APPARMOR STR_FMT, STR_ARG(name)),
				"deprecated since v1.30; use the \"appArmorProfile\" field "
				"instead");
}

static void warn_env(struct warn_pod *w, const struct place *p, const struct json *env)
{
	const bool *again = json_repeats(w->rq->arena, env, "name");

	json_for_each(it, env)
	{
		struct str name = json_str_at(it.val, "name"), val = json_str_at(it.val, "value");
		struct str ref = arena_fmt(w->rq->arena, "$(" STR_FMT ")", STR_ARG(name));

		if (again && again[it.i] &&
		    (json_get(it.val, "valueFrom") || str_eq(val, ref) ||
		     !memmem(val.p, val.n, ref.p, ref.n)))
			warn_at(w->rq, AT_IDX(AT(p, "env"), it.i),
				"hides previous definition of \"" STR_FMT
				"\", which may be dropped when using apply",
				STR_ARG(name));
	}
}

static void warn_container(struct warn_pod *w, const struct place *p, const struct json *c,
			   void *ctx UNUSED)
{
	static const char *const kinds[] = { "memory", "ephemeral-storage" };
	static const char *const lists[] = { "limits", "requests" };

	warn_container_annotations(w, c);
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
			const struct json *list = json_get(json_get(c, "resources"), lists[l]);

			warn_fraction(w->rq,
				      AT_KEY(AT(AT(p, "resources"), lists[l]), str_from(kinds[k])),
				      json_get(list, kinds[k]));
		}
	}
	warn_env(w, p, json_get(c, "env"));
}

/* ---- ports */

struct warn_port {
	struct str at; /* in words */
	struct str protocol, ip, name;
	int64_t port, host;
};

/* Pairs that are looked at: a Pod with more ports than anybody needs takes no longer than that. */
#define PAIRS_MAX 1000000

struct warn_ports {
	struct warn_port *v;
	size_t n, pairs;
};

static void warn_port_pair(struct warn_pod *w, const struct place *p, const struct warn_port *x,
			   const struct warn_port *y)
{
	const char *how = NULL;

	if (x->port != y->port || !str_eq(x->protocol, y->protocol))
		return;
	if (str_eq(x->ip, y->ip) && x->host == y->host)
		how = "duplicate port definition";
	else if (!x->host || !y->host)
		how = "overlapping port definition";
	else if (x->host == y->host && str_empty(x->ip) != str_empty(y->ip))
		how = "dangerously ambiguous port definition";
	if (how)
		warn_at(w->rq, p, "%s with " STR_FMT, how, STR_ARG(y->at));
}

static void warn_container_ports(struct warn_pod *w, const struct place *c, const struct json *obj,
				 void *ctx)
{
	struct warn_ports *l = ctx;

	json_for_each(it, json_get(obj, "ports"))
	{
		const struct place *p = AT_IDX(AT(c, "ports"), it.i);
		struct warn_port x = { .at = place_text(w->rq->arena, p),
				       .protocol = json_str_at(it.val, "protocol"),
				       .ip = json_str_at(it.val, "hostIP"),
				       .name = json_str_at(it.val, "name"),
				       .port = json_int_at(it.val, "containerPort", 0),
				       .host = json_int_at(it.val, "hostPort", 0) };

		if (x.ip.n && !x.host)
			warn_at(w->rq, p,
				"hostIP set without hostPort: {Name:" STR_FMT
				" HostPort:0 ContainerPort:%lld Protocol:" STR_FMT
				" HostIP:" STR_FMT "}",
				STR_ARG(x.name), (long long)x.port, STR_ARG(x.protocol),
				STR_ARG(x.ip));
		for (size_t i = 0; i < l->n && l->pairs < PAIRS_MAX; i++, l->pairs++)
			warn_port_pair(w, p, &x, &l->v[i]);
		l->v[l->n++] = x;
	}
}

static void warn_port_names(struct warn_pod *w, const struct warn_ports *l)
{
	_cleanup_map_ struct map names = { 0 };

	for (size_t i = 0; i < l->n; i++) {
		struct warn_port *x = &l->v[i], *first;

		if (str_empty(x->name))
			continue;
		first = map_find(&names, x->name);
		if (!first)
			map_put(&names, x->name, x);
		else
			request_warn(w->rq,
				     STR_FMT ": duplicate port name \"" STR_FMT "\" with " STR_FMT
					     ", services and probes that select ports by name will "
					     "use " STR_FMT,
				     STR_ARG(x->at), STR_ARG(x->name), STR_ARG(first->at),
				     STR_ARG(first->at));
	}
}

static void warn_count_ports(struct warn_pod *w UNUSED, const struct place *p UNUSED,
			     const struct json *c, void *ctx)
{
	*(size_t *)ctx += json_len(json_get(c, "ports"));
}

static void warn_ports(struct warn_pod *w)
{
	struct warn_ports l = { 0 };
	size_t n = 0;

	warn_each_container(w, warn_count_ports, &n);
	l.v = arena_array(w->rq->arena, n + 1, sizeof(*l.v));
	warn_each_container(w, warn_container_ports, &l);
	warn_port_names(w, &l);
}

/* ---- all of it */

static void warn_addresses(struct warn_pod *w)
{
	json_for_each(it, json_at(w->spec, "dnsConfig.nameservers"))
		warn_ip(w->rq, AT_IDX(AT(AT(w->at, "dnsConfig"), "nameservers"), it.i),
			json_as_str(it.val));
	json_for_each(it, json_get(w->spec, "hostAliases")) warn_ip(
		w->rq, AT(AT_IDX(AT(w->at, "hostAliases"), it.i), "ip"), json_str_at(it.val, "ip"));
}

void warn_pod_template(struct api_request *rq, const struct place *p, const struct json *pod)
{
	const struct json *spec = json_get(pod, "spec");
	struct warn_pod w = { rq, p, AT(p, "spec"), pod, spec };
	const char *sysctls = "non-functional in v1.11+; use the \"sysctls\" field instead";

	if (!pod)
		return;
	warn_placement(&w);
	warn_annotation(&w, STR("scheduler.alpha.kubernetes.io/critical-pod"),
			"non-functional in v1.16+; use the \"priorityClassName\" field instead");
	warn_annotation(&w, STR("security.alpha.kubernetes.io/sysctls"), sysctls);
	warn_annotation(&w, STR("security.alpha.kubernetes.io/unsafe-sysctls"), sysctls);
	warn_volume_sources(&w);
	warn_volume_paths(&w);
	warn_names(&w);
	warn_fraction(rq, AT_KEY(AT(w.at, "overhead"), STR("memory")),
		      json_at(spec, "overhead.memory"));
	warn_fraction(rq, AT_KEY(AT(w.at, "overhead"), STR("ephemeral-storage")),
		      json_get(json_get(spec, "overhead"), "ephemeral-storage"));
	if (!json_at(spec, "securityContext.seccompProfile"))
		warn_annotation(&w, STR(ANNOTATION_SECCOMP_POD),
				"non-functional in v1.27+; use the \"seccompProfile\" field "
				"instead");
	warn_each_container(&w, warn_container, NULL);
	warn_ports(&w);
	if (json_int_at(spec, "terminationGracePeriodSeconds", 0) < 0)
		warn_at(rq, AT(w.at, "terminationGracePeriodSeconds"),
			"must be >= 0; negative values are invalid and will be treated as 1");
	warn_pod_affinity(&w, "podAffinity");
	warn_pod_affinity(&w, "podAntiAffinity");
	warn_addresses(&w);
}
