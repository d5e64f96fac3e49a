/* SPDX-License-Identifier: Apache-2.0 */
#include "api/meta.h"
#include "api/schema.h"
#include "io/pki.h"
#include "testkit/test.h"
#include "virt/operator/certs.h"
#include "virt/operator/ensure.h"
#include "virt/operator/manifests.h"
#include "json/json.h"

static struct json *parse(struct arena *a, struct str text)
{
	struct json *v = NULL;

	assert_no_err(json_parse(a, text, &v));
	return v;
}

TEST(covers)
{
	static const struct {
		const char *have, *desired;
		bool want;
	} rows[] = {
		{ "{\"a\":1,\"b\":2}", "{\"a\":1}", true },
		{ "{\"a\":1}", "{\"a\":2}", false },
		{ "{\"a\":1}", "{\"b\":1}", false },
		{ "[{\"a\":1,\"d\":0}]", "[{\"a\":1}]", true },
		{ "[1,2]", "[1]", false },
		{ "{}", "{\"a\":{}}", false },
		{ "\"x\"", "{}", false },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (json_covers(parse(a, str_from(rows[i].have)),
				parse(a, str_from(rows[i].desired))) != rows[i].want)
			fail_msg("row %zu", i);
	}
}

/* Every CRD's schema is structural, for every version. */
TEST(crds_compile)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct schema_registry *builtin = schema_registry_builtin();
	size_t n = 0;

	for (size_t i = 0; i < virt_n_manifests; i++) {
		struct json *crd = parse(a, virt_manifests[i].json);

		assert_true(!str_empty(meta_name(crd)));
		if (!str_eqz(virt_manifests[i].kind, "CustomResourceDefinition"))
			continue;
		n++;
		json_for_each(it, json_at(crd, "spec.versions"))
		{
			struct schema *s = NULL;

			assert_no_err(schema_compile(
				builtin, json_at(it.val, "schema.openAPIV3Schema"), STR_EMPTY, &s));
			schema_unref(s);
		}
	}
	assert_int_equal(n, 6);
	schema_registry_free(builtin);
}

TEST(bundles_keep_old_certificates)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct pki_pair one, two;
	struct str first, both, again;

	assert_no_err(pki_make_ca(a, STR("one"), 10, &one));
	assert_no_err(pki_make_ca(a, STR("two"), 10, &two));
	first = certs_merge_bundle(a, one.cert_pem, STR_EMPTY);
	both = certs_merge_bundle(a, two.cert_pem, first);
	again = certs_merge_bundle(a, two.cert_pem, both);
	assert_true(str_contains(both, str_trim(one.cert_pem)));
	assert_true(str_has_prefix(both, str_trim(two.cert_pem)));
	assert_true(str_eq(both, again));
}

TEST_MAIN(T(covers), T(crds_compile), T(bundles_keep_old_certificates))
