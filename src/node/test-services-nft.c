/* SPDX-License-Identifier: Apache-2.0 */

#include "node/services.h"

#include "base/arena.h"
#include "testkit/test.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

static struct str render(struct arena *a, const char *services, const char *slices)
{
	const struct services_input in = {
		.table = STR("isoplane-t"),
		.bridge = STR("iso-t"),
		.pod_cidr = STR("10.1.0.0/24"),
		.cluster_cidr = STR("10.1.0.0/16"),
		.services = parse(a, services),
		.slices = parse(a, slices),
	};

	return services_render(a, &in);
}

#define SVC(spec) "[{\"metadata\":{\"name\":\"s\",\"namespace\":\"n\"},\"spec\":" spec "}]"
#define SLICE(body)                                                                         \
	"[{\"metadata\":{\"name\":\"s-x\",\"namespace\":\"n\",\"labels\":{\"kubernetes.io/" \
	"service-name\":\"s\"}}," body "}]"

TEST(cluster_ip)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str t = render(
		a, SVC("{\"clusterIP\":\"10.9.0.1\",\"ports\":[{\"name\":\"http\",\"port\":80}]}"),
		SLICE("\"ports\":[{\"name\":\"http\",\"port\":8080}],\"endpoints\":["
		      "{\"addresses\":[\"10.1.0.2\"],\"conditions\":{\"ready\":true}},"
		      "{\"addresses\":[\"10.1.0.3\"]},"
		      "{\"addresses\":[\"10.1.0.4\"],\"conditions\":{\"ready\":false}}]"));

	assert_true(str_has_prefix(t, STR("table ip isoplane-t\ndelete table ip isoplane-t\n")));
	assert_true(str_contains(t, STR("10.9.0.1 . tcp . 80 : goto svc-")));
	assert_true(str_contains(t, STR("dnat ip to numgen random mod 2 map { 0 : 10.1.0.2 . 8080, "
					"1 : 10.1.0.3 . 8080 }")));
	assert_false(str_contains(t, STR("10.1.0.4")));
	assert_true(str_contains(t, STR("10.1.0.2 . 10.1.0.2")));
	assert_true(str_contains(t, STR("ip saddr 10.1.0.0/24 oifname \"iso-t\" masquerade")));
}

TEST(no_endpoints_are_refused)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str t = render(
		a,
		SVC("{\"clusterIP\":\"10.9.0.1\",\"ports\":[{\"port\":53,\"protocol\":\"UDP\"}]}"),
		"[]");

	assert_true(str_contains(t, STR("elements = { 10.9.0.1 . udp . 53 }")));
	assert_false(str_contains(t, STR("goto svc-")));
}

TEST(terminating_endpoints_are_the_last_resort)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str t = render(
		a, SVC("{\"clusterIP\":\"10.9.0.1\",\"ports\":[{\"port\":80}]}"),
		SLICE("\"ports\":[{\"name\":\"\",\"port\":80}],\"endpoints\":[{\"addresses\":["
		      "\"10.1.0.2\"],\"conditions\":{\"ready\":false,\"serving\":true,"
		      "\"terminating\":true}}]"));

	assert_true(str_contains(t, STR("dnat ip to 10.1.0.2:80")));
}

TEST(node_ports_and_affinity)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str t = render(
		a,
		SVC("{\"clusterIP\":\"10.9.0.1\",\"sessionAffinity\":\"ClientIP\",\"ports\":[{"
		    "\"port\":80,\"nodePort\":30080}]}"),
		SLICE("\"ports\":[{\"name\":\"\",\"port\":80}],\"endpoints\":[{\"addresses\":["
		      "\"10.1.0.2\",\"10.1.0.3\"]}]"));

	assert_true(str_contains(t, STR("tcp . 30080 : goto ext-")));
	assert_true(str_contains(t, STR("jhash ip saddr mod 2")));
}

TEST(headless_has_no_rules)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str t = render(a, SVC("{\"clusterIP\":\"None\",\"ports\":[{\"port\":80}]}"), "[]");

	assert_false(str_contains(t, STR("elements")));
}

TEST(only_addresses_become_rules)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str t = render(
		a, SVC("{\"clusterIP\":\"10.9.0.1\",\"ports\":[{\"port\":80},{\"port\":70000}]}"),
		SLICE("\"ports\":[{\"name\":\"\",\"port\":80}],\"endpoints\":[{\"addresses\":["
		      "\"10.1.0.2\",\"example.org\",\"1.1.1.1 } }\\nflush ruleset\"]}]"));

	assert_true(str_contains(t, STR("dnat ip to 10.1.0.2:80")));
	assert_false(str_contains(t, STR("example")));
	assert_false(str_contains(t, STR("flush")));
	assert_false(str_contains(t, STR("70000")));
	t = render(a, SVC("{\"clusterIP\":\"10.9.0.1 }\",\"ports\":[{\"port\":80}]}"), "[]");
	assert_false(str_contains(t, STR("10.9.0.1")));
}

TEST_MAIN(T(cluster_ip), T(no_endpoints_are_refused), T(terminating_endpoints_are_the_last_resort),
	  T(node_ports_and_affinity), T(headless_has_no_rules), T(only_addresses_become_rules))
