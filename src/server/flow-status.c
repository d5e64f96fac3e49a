/* SPDX-License-Identifier: Apache-2.0 */
#include "server/flow-status.h"

#include "api/meta.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/mirror.h"
#include "server/server.h"
#include "server/status-writer.h"
#include "json/json.h"

#define GROUP "flowcontrol.apiserver.k8s.io"

static struct err *flow_status_update(struct apiserver *s, struct arena *a, struct str name);

static struct {
	struct mirror schemas, levels;
	struct status_writer writer;
} flows = {
	.writer = { .what = "flow-status", .update = flow_status_update },
};

bool flow_schema_set_dangling(struct arena *a, struct json *schema, bool dangling, struct wall now)
{
	return condition_set(
		a, json_sub(a, schema, "status"), "Dangling", dangling ? "True" : "False",
		dangling ? STR("NotFound") : STR("Found"),
		arena_fmt(a,
			  "This FlowSchema references the PriorityLevelConfiguration object "
			  "named \"" STR_FMT "\" %s",
			  STR_ARG(json_str_at(schema, "spec.priorityLevelConfiguration.name")),
			  dangling ? "but there is no such object" : "and it exists"),
		now);
}

static struct err *flow_status_update(struct apiserver *s, struct arena *a, struct str name)
{
	struct json *schema = NULL;
	struct str level;
	bool dangling;

	TRY(local_get_json(s, a, "flowschemas." GROUP, STR_EMPTY, name, &schema));
	level = json_str_at(schema, "spec.priorityLevelConfiguration.name");
	dangling = !mirror_find(&flows.levels, STR_EMPTY, level);
	if (!schema || !flow_schema_set_dangling(a, schema, dangling, wall_now()))
		return NULL;
	return local_update(s, a, "flowschemas." GROUP, "status", schema, NULL);
}

static void schema_changed(struct mirror *m UNUSED, const struct obj *old UNUSED,
			   const struct obj *new)
{
	if (new)
		status_writer_mark(&flows.writer, new->name);
}

/* One that came or went: the schemas are few, so all are looked at. */
static void level_changed(struct mirror *m UNUSED, const struct obj *old, const struct obj *new)
{
	if (old && new)
		return;
	map_for_each(e, &flows.schemas.objs) {
		const struct obj *schema = e->val;

		status_writer_mark(&flows.writer, schema->name);
	}
}

struct err *flow_status_start(struct apiserver *s)
{
	flows.schemas.changed = schema_changed;
	flows.levels.changed = level_changed;
	status_writer_start(&flows.writer, s);
	TRY(mirror_start(&flows.levels, s, "prioritylevelconfigurations." GROUP));
	return mirror_start(&flows.schemas, s, "flowschemas." GROUP);
}
