/* SPDX-License-Identifier: Apache-2.0 */
#include "api/cluster-pki.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "api/kubeconfig.h"
#include "io/file.h"
#include "testkit/test.h"
#include "json/json.h"
#include "json/yaml.h"

static struct err *ensure(struct arena *a, const char *dir, const char *ip, struct cluster_pki *ret)
{
	struct str ips[] = { str_from(ip) };

	return cluster_pki_ensure(
		a, &(struct cluster_pki_opts){ .dir = dir, .ips = ips, .n_ips = 1 }, ret);
}

TEST(pki_is_kept_and_renewed)
{
	struct arena *a = arena_new();
	char base[] = "/tmp/test-pki-XXXXXX";
	struct cluster_pki one, two, three;
	struct stat st;
	const char *dir;

	assert_non_null(mkdtemp(base));
	dir = arena_fmt(a, "%s/pki", base).p;
	assert_no_err(ensure(a, dir, "10.1.2.3", &one));
	assert_no_err(ensure(a, dir, "10.1.2.3", &two));
	assert_true(str_eq(one.ca.cert_pem, two.ca.cert_pem));
	assert_true(str_eq(one.server.cert_pem, two.server.cert_pem));
	assert_true(str_eq(one.sa_private_pem, two.sa_private_pem));
	assert_true(str_eq(one.admin.key_pem, two.admin.key_pem));
	/* A new address needs a new server certificate and nothing else. */
	assert_no_err(ensure(a, dir, "10.9.9.9", &three));
	assert_true(str_eq(one.ca.cert_pem, three.ca.cert_pem));
	assert_false(str_eq(one.server.cert_pem, three.server.cert_pem));
	assert_int_equal(stat(arena_fmt(a, "%s/ca.key", dir).p, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_no_err(file_remove_tree(base));
	arena_free(a);
}

TEST(kubeconfig_reads_back)
{
	struct arena *a = arena_new();
	struct str text =
		kubeconfig_text(a, &(struct kubeconfig){ .server = STR("https://127.0.0.1:6443"),
							 .ca_pem = STR("pem"),
							 .user = STR("u"),
							 .token_file = STR("/run/t") });
	struct json *v;

	assert_no_err(yaml_parse(a, text, &v));
	assert_str(json_str_at(json_idx(json_get(v, "clusters"), 0), "cluster.server"),
		   "https://127.0.0.1:6443");
	assert_str(json_str_at(json_idx(json_get(v, "users"), 0), "user.tokenFile"), "/run/t");
	assert_str(json_str_at(json_idx(json_get(v, "contexts"), 0), "context.user"), "u");
	arena_free(a);
}

TEST_MAIN(T(pki_is_kept_and_renewed), T(kubeconfig_reads_back))
