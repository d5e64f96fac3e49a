/* SPDX-License-Identifier: Apache-2.0 */

#include "node/pod-status.h"

#include "api/meta.h"
#include "base/arena.h"
#include "testkit/test.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

struct scene {
	const char *name;
	const char *restart;   /* policy */
	enum rt_state c, init; /* of the app and the init container */
	bool has_c, has_init;  /* in the runtime */
	int c_exit, init_exit;
	bool ready;
	const char *wait; /* waiting reason of the app container */
	bool ended;
	const char *phase, *ready_reason, *initialized;
	const char *state; /* JSON of the app container's state */
};

/* clang-format off */
static const struct scene scenes[] = {
	{ .name = "nothing yet", .restart = "Always", .phase = "Pending",
	  .ready_reason = "ContainersNotReady", .initialized = "False",
	  .state = "{\"waiting\":{\"reason\":\"PodInitializing\"}}" },
	{ .name = "init runs", .restart = "Always", .has_init = true, .init = RT_RUNNING,
	  .phase = "Pending", .ready_reason = "ContainersNotReady", .initialized = "False",
	  .state = "{\"waiting\":{\"reason\":\"PodInitializing\"}}" },
	{ .name = "init done", .restart = "Always", .has_init = true, .init = RT_EXITED,
	  .phase = "Pending", .ready_reason = "ContainersNotReady", .initialized = "True",
	  .state = "{\"waiting\":{\"reason\":\"ContainerCreating\"}}" },
	{ .name = "init failed for good", .restart = "Never", .has_init = true, .init = RT_EXITED,
	  .init_exit = 1, .phase = "Failed", .ready_reason = "PodFailed", .initialized = "False",
	  .state = "{\"waiting\":{\"reason\":\"PodInitializing\"}}" },
	{ .name = "runs", .restart = "Always", .has_init = true, .init = RT_EXITED, .has_c = true,
	  .c = RT_RUNNING, .phase = "Running", .ready_reason = "ContainersNotReady",
	  .initialized = "True", .state = "{\"running\":{\"startedAt\":\"2026-01-01T00:00:10Z\"}}" },
	{ .name = "ready", .restart = "Always", .has_init = true, .init = RT_EXITED, .has_c = true,
	  .c = RT_RUNNING, .ready = true, .phase = "Running", .ready_reason = "",
	  .initialized = "True", .state = "{\"running\":{\"startedAt\":\"2026-01-01T00:00:10Z\"}}" },
	{ .name = "crash loop", .restart = "Always", .has_init = true, .init = RT_EXITED, .has_c = true,
	  .c = RT_EXITED, .c_exit = 2, .wait = "CrashLoopBackOff", .phase = "Running",
	  .ready_reason = "ContainersNotReady", .initialized = "True",
	  .state = "{\"waiting\":{\"reason\":\"CrashLoopBackOff\",\"message\":\"m\"}}" },
	{ .name = "succeeded", .restart = "Never", .has_init = true, .init = RT_EXITED, .has_c = true,
	  .c = RT_EXITED, .phase = "Succeeded", .ready_reason = "PodCompleted", .initialized = "True",
	  .state = "{\"terminated\":{\"exitCode\":0,\"reason\":\"Completed\",\"startedAt\":"
		   "\"2026-01-01T00:00:10Z\",\"finishedAt\":\"2026-01-01T00:00:20Z\","
		   "\"containerID\":\"containerd://cid\"}}" },
	{ .name = "failed", .restart = "Never", .has_init = true, .init = RT_EXITED, .has_c = true,
	  .c = RT_EXITED, .c_exit = 1, .phase = "Failed", .ready_reason = "PodFailed",
	  .initialized = "True",
	  .state = "{\"terminated\":{\"exitCode\":1,\"reason\":\"Error\",\"startedAt\":"
		   "\"2026-01-01T00:00:10Z\",\"finishedAt\":\"2026-01-01T00:00:20Z\","
		   "\"containerID\":\"containerd://cid\"}}" },
	{ .name = "deleted", .restart = "Always", .has_init = true, .init = RT_EXITED, .has_c = true,
	  .c = RT_EXITED, .c_exit = 143, .ended = true, .phase = "Failed",
	  .ready_reason = "PodFailed", .initialized = "True",
	  .state = "{\"terminated\":{\"exitCode\":143,\"reason\":\"Error\",\"startedAt\":"
		   "\"2026-01-01T00:00:10Z\",\"finishedAt\":\"2026-01-01T00:00:20Z\","
		   "\"containerID\":\"containerd://cid\"}}" },
};
/* clang-format on */

#define EPOCH_2026 INT64_C(1767225600)

static struct rt_container container_of_scene(const char *name, const char *id, enum rt_state st,
					      int code)
{
	return (struct rt_container){
		.id = str_from(id),
		.name = str_from(name),
		.state = st,
		.exit_code = code,
		.created = { (EPOCH_2026 + 9) * NS_PER_SEC },
		.started = { (EPOCH_2026 + 10) * NS_PER_SEC },
		.finished = { (EPOCH_2026 + 20) * NS_PER_SEC },
	};
}

static struct json *render(struct arena *a, const struct scene *s)
{
	struct rt_container cs[2];
	struct rt_sandbox sb = { .id = STR("sb"), .ip = STR("10.0.0.5"), .ready = true };
	struct rt_pod rt = { .sandboxes = &sb, .n_sandboxes = 1, .containers = cs };
	struct container_view view = { .name = STR("c"),
				       .started = true,
				       .ready = s->ready,
				       .waiting_reason = str_from(s->wait),
				       .waiting_message = s->wait ? STR("m") : STR_EMPTY };
	struct status_input in = { .rt = &rt,
				   .views = &view,
				   .n_views = 1,
				   .node_ip = STR("10.0.0.1"),
				   .ended = s->ended,
				   .now = { (EPOCH_2026 + 30) * NS_PER_SEC } };
	struct json *pod =
		parse(a, "{\"metadata\":{\"generation\":2},\"spec\":{\"containers\":[{"
			 "\"name\":\"c\",\"image\":\"i\"}],\"initContainers\":[{\"name\":"
			 "\"init\",\"image\":\"i\"}]}}");

	json_set_str(a, json_get(pod, "spec"), "restartPolicy", str_from(s->restart));
	in.pod = pod;
	if (s->has_c)
		cs[rt.n_containers++] = container_of_scene("c", "cid", s->c, s->c_exit);
	if (s->has_init)
		cs[rt.n_containers++] = container_of_scene("init", "iid", s->init, s->init_exit);
	return pod_status_render(a, &in);
}

TEST(scenes)
{
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(scenes); i++) {
		const struct scene *s = &scenes[i];
		struct json *st = render(a, s);
		const struct json *c = json_idx(json_get(st, "containerStatuses"), 0);

		if (!str_eqz(json_str_at(st, "phase"), s->phase) ||
		    !str_eqz(json_str_at(condition_find(st, "Ready"), "reason"), s->ready_reason) ||
		    !str_eqz(json_str_at(condition_find(st, "Initialized"), "status"),
			     s->initialized) ||
		    !json_equal(json_get(c, "state"), parse(a, s->state)))
			fail_msg("%s: %.*s", s->name, STR_ARG(json_text(a, st)));
		assert_int_equal(json_int_at(condition_find(st, "Ready"), "observedGeneration", 0),
				 2);
		assert_str(json_str_at(st, "podIP"), "10.0.0.5");
		assert_str(json_str_at(st, "startTime"), "2026-01-01T00:00:30Z");
	}
}

TEST(crash_loop_keeps_the_last_state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct json *c = json_idx(json_get(render(a, &scenes[6]), "containerStatuses"), 0);

	assert_int_equal(json_int_at(c, "lastState.terminated.exitCode", 0), 2);
	assert_false(json_bool_at(c, "ready", true));
}

/* The runtime forgot everything (power cut): the API's memory decides. */
static struct json *lost(struct arena *a, const char *policy)
{
	struct rt_pod rt = { 0 };
	struct json *pod = parse(
		a,
		"{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]},\"status\":{"
		"\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"c\",\"restartCount\":1,"
		"\"containerID\":\"containerd://old\",\"state\":{\"running\":{}}}]}}");
	struct status_input in = { .pod = pod, .rt = &rt, .now = { NS_PER_SEC } };

	json_set_str(a, json_get(pod, "spec"), "restartPolicy", str_from(policy));
	return pod_status_render(a, &in);
}

TEST(lost_containers)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *never = lost(a, "Never"), *always = lost(a, "Always");
	const struct json *c = json_idx(json_get(never, "containerStatuses"), 0);

	assert_str(json_str_at(never, "phase"), "Failed");
	assert_str(json_str_at(c, "state.terminated.reason"), "ContainerStatusUnknown");
	assert_int_equal(json_int_at(c, "state.terminated.exitCode", 0), 137);
	c = json_idx(json_get(always, "containerStatuses"), 0);
	assert_str(json_str_at(always, "phase"), "Running");
	assert_str(json_str_at(c, "state.waiting.reason"), "ContainerCreating");
	assert_str(json_str_at(c, "lastState.terminated.reason"), "ContainerStatusUnknown");
	assert_int_equal(json_int_at(c, "restartCount", 0), 2);
}

/* A machine's Pod after a power cut: its sidecar does not wait for a start either. */
TEST(lost_sidecar_of_a_pod_that_is_over)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct rt_pod rt = { 0 };
	struct json *pod = parse(
		a,
		"{\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":"
		"\"i\"}],\"initContainers\":[{\"name\":\"s\",\"image\":\"i\",\"restartPolicy\":"
		"\"Always\"}]},\"status\":{\"phase\":\"Running\",\"containerStatuses\":[{\"name\":"
		"\"c\",\"state\":{\"running\":{}}}],\"initContainerStatuses\":[{\"name\":\"s\","
		"\"restartCount\":0,\"state\":{\"running\":{}}}]}}");
	struct status_input in = { .pod = pod, .rt = &rt, .now = { NS_PER_SEC } };
	struct json *st = pod_status_render(a, &in);
	const struct json *s = json_idx(json_get(st, "initContainerStatuses"), 0);

	assert_str(json_str_at(st, "phase"), "Failed");
	assert_str(json_str_at(s, "state.terminated.reason"), "ContainerStatusUnknown");
	assert_int_equal(json_int_at(s, "restartCount", -1), 0);
	assert_true(condition_is_true(st, "Initialized"));
}

TEST(restart_rules)
{
	static const struct {
		const char *policy, *container;
		int exit_code;
		bool restart;
	} rows[] = {
		{ "Always", "{}", 0, true },
		{ "Always", "{}", 1, true },
		{ "OnFailure", "{}", 0, false },
		{ "OnFailure", "{}", 1, true },
		{ "Never", "{}", 0, false },
		{ "Never", "{}", 1, false },
		{ "Never", "{\"restartPolicy\":\"Always\"}", 0, true },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct rt_container last = { .state = RT_EXITED, .exit_code = rows[i].exit_code };
		struct json *pod = json_object(a);

		json_set_at(a, pod, "spec.restartPolicy", json_strz(a, rows[i].policy));
		if (container_should_restart(pod, parse(a, rows[i].container), &last) !=
		    rows[i].restart)
			fail_msg("row %zu", i);
	}
}

TEST_MAIN(T(scenes), T(crash_loop_keeps_the_last_state), T(lost_containers),
	  T(lost_sidecar_of_a_pod_that_is_over), T(restart_rules))
