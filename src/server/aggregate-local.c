/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The APIServices of our own group versions. Those of built-in kinds are put right once, when the
 * server starts, and then left to whoever edits them; those of definitions follow the definitions.
 * Objects without the label are nobody's but their owner's.
 */

#include "server/aggregate.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "server/aggregate-internal.h"
#include "server/discovery.h"
#include "server/mirror.h"
#include "server/server.h"
#include "json/json.h"

#define AUTOMANAGED "kube-aggregator.kubernetes.io/automanaged"

#define CUSTOM_GROUP_PRIORITY    1000
#define CUSTOM_VERSION_PRIORITY  100
#define BUILTIN_VERSION_PRIORITY 15

/* Who aggregates has no APIService itself. */
#define OWN_GROUP "apiregistration.k8s.io"

static const struct {
	struct str group;
	int64_t priority;
} group_priorities[] = {
	{ STR_INIT(OWN_GROUP), 20000 },
	{ STR_INIT(""), 18000 },
	{ STR_INIT("apps"), 17800 },
	{ STR_INIT("events.k8s.io"), 17750 },
	{ STR_INIT("authentication.k8s.io"), 17700 },
	{ STR_INIT("authorization.k8s.io"), 17600 },
	{ STR_INIT("autoscaling"), 17500 },
	{ STR_INIT("batch"), 17400 },
	{ STR_INIT("certificates.k8s.io"), 17300 },
	{ STR_INIT("networking.k8s.io"), 17200 },
	{ STR_INIT("policy"), 17100 },
	{ STR_INIT("rbac.authorization.k8s.io"), 17000 },
	{ STR_INIT("storage.k8s.io"), 16800 },
	{ STR_INIT("admissionregistration.k8s.io"), 16700 },
	{ STR_INIT("apiextensions.k8s.io"), 16700 },
	{ STR_INIT("scheduling.k8s.io"), 16600 },
	{ STR_INIT("coordination.k8s.io"), 16500 },
	{ STR_INIT("node.k8s.io"), 16300 },
	{ STR_INIT("discovery.k8s.io"), 16200 },
	{ STR_INIT("resource.k8s.io"), 16200 },
	{ STR_INIT("flowcontrol.apiserver.k8s.io"), 16100 },
};

/* Those that are not 15. */
static const struct {
	struct str group, version;
	int64_t priority;
} version_priorities[] = {
	{ STR_INIT(""), STR_INIT("v1"), 1 },
	{ STR_INIT("autoscaling"), STR_INIT("v2"), 30 },
	{ STR_INIT("resource.k8s.io"), STR_INIT("v1"), 21 },
	{ STR_INIT("flowcontrol.apiserver.k8s.io"), STR_INIT("v1"), 21 },
};

int64_t aggregate_group_priority(struct str group)
{
	for (size_t i = 0; i < ARRAY_LEN(group_priorities); i++)
		if (str_eq(group, group_priorities[i].group))
			return group_priorities[i].priority;
	return CUSTOM_GROUP_PRIORITY;
}

int64_t aggregate_version_priority(struct str group, struct str version)
{
	if (aggregate_group_priority(group) == CUSTOM_GROUP_PRIORITY)
		return CUSTOM_VERSION_PRIORITY;
	for (size_t i = 0; i < ARRAY_LEN(version_priorities); i++)
		if (str_eq(group, version_priorities[i].group) &&
		    str_eq(version, version_priorities[i].version))
			return version_priorities[i].priority;
	return BUILTIN_VERSION_PRIORITY;
}

/* ---- what there should be */

static struct json *aggregate_local_object(struct arena *a, struct discovery_gv gv)
{
	int64_t priority = aggregate_group_priority(gv.group);
	struct json *svc = json_object(a), *spec;

	json_set_str(a, svc, "apiVersion", STR("apiregistration.k8s.io/v1"));
	json_set_str(a, svc, "kind", STR("APIService"));
	json_set(a, json_sub(a, svc, "metadata"), "name",
		 json_strf(a, STR_FMT "." STR_FMT, STR_ARG(gv.version), STR_ARG(gv.group)));
	meta_set_label(a, svc, AUTOMANAGED,
		       priority == CUSTOM_GROUP_PRIORITY ? STR("true") : STR("onstart"));
	spec = json_sub(a, svc, "spec");
	if (gv.group.n)
		json_set_str(a, spec, "group", gv.group);
	json_set_str(a, spec, "version", gv.version);
	json_set_int(a, spec, "groupPriorityMinimum", priority);
	json_set_int(a, spec, "versionPriority", aggregate_version_priority(gv.group, gv.version));
	return svc;
}

/* By name. */
static struct json *aggregate_local_wanted(struct arena *a)
{
	struct json *wanted = json_object(a);
	struct discovery_gv *gvs = NULL;
	size_t n = discovery_versions(aggregate_server(), a, &gvs);

	for (size_t i = 0; i < n; i++) {
		struct json *svc;

		if (str_eqz(gvs[i].group, OWN_GROUP))
			continue;
		/* the registry may change while we write */
		gvs[i].group = arena_str(a, gvs[i].group);
		gvs[i].version = arena_str(a, gvs[i].version);
		svc = aggregate_local_object(a, gvs[i]);
		json_set_s(a, wanted, meta_name(svc), svc);
	}
	return wanted;
}

/* ---- making it so */

/* Whether an object with this label is ours to change now. */
static bool aggregate_local_is_ours(struct str label, bool first)
{
	return str_eqz(label, "true") || (first && str_eqz(label, "onstart"));
}

static struct err *aggregate_local_update(struct arena *a, struct json *svc)
{
	struct json *is = NULL;

	TRY(local_get_json(aggregate_server(), a, APISERVICES, STR_EMPTY, meta_name(svc), &is));
	if (!is || json_equal(json_get(is, "spec"), json_get(svc, "spec")))
		return NULL;
	json_set(a, is, "spec", json_copy(a, json_get(svc, "spec")));
	return local_update(aggregate_server(), a, APISERVICES, "", is, NULL);
}

static bool aggregate_local_make(struct arena *a, struct json *svc, bool first)
{
	const struct obj *is = mirror_find(aggregate_mirror(), STR_EMPTY, meta_name(svc));
	bool builtin = str_eqz(meta_label(svc, AUTOMANAGED), "onstart");
	struct err *e;

	if (builtin && !first)
		return true;
	if (!is)
		e = local_create(aggregate_server(), a, APISERVICES, STR_EMPTY, svc, NULL);
	else if (aggregate_local_is_ours(obj_label(is, STR(AUTOMANAGED)), first))
		e = aggregate_local_update(a, svc);
	else
		return true;
	if (err_is(e, ERR_ALREADY_EXISTS))
		e = err_free(e);
	if (!e)
		return true;
	err_log(NULL, LOG_WARN, "a local APIService was not written", e);
	return false;
}

static bool aggregate_local_drop(struct arena *a, const struct json *wanted, bool first)
{
	struct json *gone = json_array(a);
	bool ok = true;

	map_for_each(e, &aggregate_mirror()->objs) {
		if (aggregate_local_is_ours(obj_label(e->val, STR(AUTOMANAGED)), first) &&
		    !json_get_s(wanted, e->key))
			json_push(gone, json_strcpy(a, e->key));
	}
	json_for_each(it, gone)
	{
		struct err *e = local_delete(aggregate_server(), a, APISERVICES, STR_EMPTY,
					     json_as_str(it.val));

		if (!e)
			continue;
		err_log(NULL, LOG_WARN, "a local APIService was not removed", e);
		ok = false;
	}
	return ok;
}

bool aggregate_local_sync(bool first)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *wanted = aggregate_local_wanted(a);
	bool ok = true;

	json_for_each(it, wanted) ok &= aggregate_local_make(a, it.val, first);
	return aggregate_local_drop(a, wanted, first) && ok;
}
