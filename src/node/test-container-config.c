/* SPDX-License-Identifier: Apache-2.0 */

#include "node/container-config.h"

#include "base/arena.h"
#include "base/err.h"
#include "testkit/test.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

#define META "\"metadata\":{\"name\":\"web\",\"namespace\":\"ns\",\"uid\":\"u\"}"

TEST(sandbox)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *pod = parse(
		a, "{" META ",\"spec\":{\"hostPID\":true,\"securityContext\":{\"fsGroup\":7,"
		   "\"supplementalGroups\":[8],\"sysctls\":[{\"name\":\"k\",\"value\":\"v\"}]},"
		   "\"containers\":[{\"ports\":[{\"containerPort\":80,\"hostPort\":8080,\"hostIP\":"
		   "\"127.0.0.1\"},{\"containerPort\":81}]}]}}");
	const struct sandbox_opts o = {
		.pod = pod, .log_dir = STR("/logs"), .cgroup_parent = STR("/cg/podu"), .attempt = 3
	};
	const CRI(PodSandboxConfig) *c = sandbox_config_render(a, &o);

	assert_string_equal(c->metadata->name, "web");
	assert_int_equal(c->metadata->attempt, 3);
	assert_string_equal(c->hostname, "web");
	assert_int_equal(c->n_port_mappings, 1);
	assert_int_equal(c->port_mappings[0]->host_port, 8080);
	assert_string_equal(c->port_mappings[0]->host_ip, "127.0.0.1");
	assert_string_equal(c->linux_config->cgroup_parent, "/cg/podu");
	assert_int_equal(c->linux_config->n_sysctls, 1);
	assert_int_equal(c->linux_config->security_context->n_supplemental_groups, 2);
	assert_int_equal(c->linux_config->security_context->namespace_options->pid,
			 RUNTIME__V1__NAMESPACE_MODE__NODE);
	assert_str(cri_pair_find(c->labels, c->n_labels, "io.kubernetes.pod.uid"), "u");
}

static struct err *render(struct arena *a, const char *pod_security, const char *container,
			  CRI(ContainerConfig) * *ret)
{
	static const struct env_list env;
	struct json *pod = parse(a, arena_fmt(a,
					      "{" META ",\"spec\":{\"securityContext\":%s,"
					      "\"containers\":[%s]}}",
					      pod_security, container)
					    .p);
	const struct container_opts o = { .pod = pod,
					  .container = json_idx(json_at(pod, "spec.containers"), 0),
					  .image_id = STR("sha256:1"),
					  .env = &env,
					  .restarts = 2,
					  .kubelet_root = STR("/k"),
					  .memory_capacity = 1 << 30 };

	return container_config_render(a, &o, ret);
}

TEST(container)
{
	_cleanup_arena_ struct arena *a = arena_new();
	CRI(ContainerConfig) * c;

	assert_no_err(render(
		a, "{\"runAsUser\":5,\"seccompProfile\":{\"type\":\"RuntimeDefault\"}}",
		"{\"name\":\"c\",\"command\":[\"a\",\"$$(X)\"],\"args\":[\"b\"],\"workingDir\":"
		"\"/w\",\"tty\":true,\"stdin\":true,\"resources\":{\"limits\":{\"cpu\":\"500m\","
		"\"memory\":\"64Mi\"}},\"securityContext\":{\"runAsUser\":6,\"runAsGroup\":7,"
		"\"readOnlyRootFilesystem\":true,\"allowPrivilegeEscalation\":false,"
		"\"capabilities\":{\"add\":[\"NET_ADMIN\"],\"drop\":[\"ALL\"]}}}",
		&c));
	assert_string_equal(c->image->image, "sha256:1");
	assert_string_equal(c->command[1], "$(X)");
	assert_string_equal(c->args[0], "b");
	assert_string_equal(c->log_path, "c/2.log");
	assert_true(c->tty && c->has_stdin && !c->stdin_once);
	assert_int_equal(c->linux_config->resources->cpu_quota, 50000);
	assert_int_equal(c->linux_config->resources->cpu_shares, 512);
	assert_int_equal(c->linux_config->resources->memory_limit_in_bytes, 64 << 20);
	assert_int_equal(c->linux_config->security_context->run_as_user->value, 6);
	assert_int_equal(c->linux_config->security_context->run_as_group->value, 7);
	assert_true(c->linux_config->security_context->readonly_rootfs);
	assert_true(c->linux_config->security_context->no_new_privs);
	assert_string_equal(c->linux_config->security_context->capabilities->drop_capabilities[0],
			    "ALL");
	assert_int_equal(c->linux_config->security_context->seccomp->profile_type,
			 RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault);
	assert_true(c->linux_config->security_context->n_masked_paths > 5);
}

TEST(seccomp_profiles_stay_in_their_directory)
{
	static const struct {
		const char *file, *want;
	} rows[] = {
		{ "a/b.json", "/k/seccomp/a/b.json" },
		{ "../a", "/k/seccomp/" },
		{ "a/../../b", "/k/seccomp/" },
		{ "/etc/x", "/k/seccomp/" },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str security = arena_fmt(
			a,
			"{\"seccompProfile\":{\"type\":\"Localhost\",\"localhostProfile\":\"%s\"}}",
			rows[i].file);
		CRI(ContainerConfig) * c;

		assert_no_err(render(a, security.p, "{\"name\":\"c\"}", &c));
		assert_string_equal(c->linux_config->security_context->seccomp->localhost_ref,
				    rows[i].want);
	}
}

TEST(non_root)
{
	static const struct {
		const char *pod, *container;
		const char *message; /* NULL: fine */
	} rows[] = {
		{ "{\"runAsNonRoot\":true,\"runAsUser\":1}", "{\"name\":\"c\"}", NULL },
		{ "{\"runAsNonRoot\":true,\"runAsUser\":0}", "{\"name\":\"c\"}",
		  "container's runAsUser breaks non-root policy" },
		{ "{\"runAsNonRoot\":true}", "{\"name\":\"c\"}",
		  "container has runAsNonRoot and image will run as root" },
		{ "{\"runAsNonRoot\":true}",
		  "{\"name\":\"c\",\"securityContext\":{\"runAsNonRoot\":false}}", NULL },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CRI(ContainerConfig) * c;
		struct err *e = render(a, rows[i].pod, rows[i].container, &c);

		if (!!e != !!rows[i].message)
			fail_msg("row %zu", i);
		if (e)
			assert_str(err_msg(e), rows[i].message);
		err_free(e);
	}
}

TEST(hash_follows_the_image)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct json *x = parse(a, "{\"name\":\"c\",\"image\":\"i:1\"}");
	struct json *y = parse(a, "{\"name\":\"c\",\"image\":\"i:2\"}");
	struct json *z = parse(a, "{\"image\":\"i:1\",\"name\":\"c\",\"tty\":true}");

	assert_false(str_eq(container_hash(a, x), container_hash(a, y)));
	assert_true(str_eq(container_hash(a, x), container_hash(a, z)));
}

TEST_MAIN(T(sandbox), T(container), T(seccomp_profiles_stay_in_their_directory), T(non_root),
	  T(hash_follows_the_image))
