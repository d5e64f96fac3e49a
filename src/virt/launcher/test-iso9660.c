/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/launcher/iso9660.h"

#include "base/buf.h"
#include "testkit/test.h"

static uint32_t le32(const char *p)
{
	const uint8_t *u = (const uint8_t *)p;

	return u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

/* Finds a name in a Joliet directory; its extent and size. */
static bool find(const struct buf *iso, uint32_t dir, uint32_t size, const char *name,
		 uint32_t *ret_sector, uint32_t *ret_size)
{
	const char *p = iso->p + (size_t)dir * 2048, *end = p + size;

	while (p < end) {
		uint8_t len = (uint8_t)p[0], name_n = (uint8_t)p[32];
		char got[128] = { 0 };

		if (!len) {
			p = iso->p + ((size_t)(p - iso->p) / 2048 + 1) * 2048;
			continue;
		}
		for (unsigned i = 0; i < name_n / 2u; i++)
			got[i] = p[33 + i * 2 + 1];
		if (strcmp(got, name) == 0) {
			*ret_sector = le32(p + 2);
			*ret_size = le32(p + 10);
			return true;
		}
		p += len;
	}
	return false;
}

static void root(const struct buf *iso, uint32_t *ret_sector, uint32_t *ret_size)
{
	const char *svd = iso->p + 17 * 2048;

	assert_memory_equal(svd, "\2CD001\1", 7);
	*ret_sector = le32(svd + 156 + 2);
	*ret_size = le32(svd + 156 + 10);
}

TEST(files_are_found_by_joliet_name)
{
	static const struct iso_file files[] = {
		{ STR_INIT("meta-data"), STR_INIT("{}") },
		{ STR_INIT("openstack/latest/user_data"), STR_INIT("#cloud-config") },
		{ STR_INIT("openstack/latest/empty"), STR_INIT("") },
	};
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_buf_ struct buf iso = { 0 };
	uint32_t dir, dir_n, at, n;

	assert_no_err(iso_write(a, STR("cidata"), files, ARRAY_LEN(files), &iso));
	assert_int_equal(iso.n % 2048, 0);
	assert_memory_equal(iso.p + 16 * 2048 + 40, "cidata ", 7);
	root(&iso, &dir, &dir_n);
	assert_true(find(&iso, dir, dir_n, "meta-data", &at, &n));
	assert_int_equal(n, 2);
	assert_memory_equal(iso.p + (size_t)at * 2048, "{}", 2);
	assert_true(find(&iso, dir, dir_n, "openstack", &dir, &dir_n));
	assert_true(find(&iso, dir, dir_n, "latest", &dir, &dir_n));
	assert_true(find(&iso, dir, dir_n, "user_data", &at, &n));
	assert_memory_equal(iso.p + (size_t)at * 2048, "#cloud-config", n);
	assert_true(find(&iso, dir, dir_n, "empty", &at, &n));
	assert_int_equal(n, 0);
}

TEST(many_files_span_sectors)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_buf_ struct buf iso = { 0 };
	struct iso_file *files = arena_array(a, 500, sizeof(*files));
	uint32_t dir, dir_n, at, n;

	for (unsigned i = 0; i < 500; i++) {
		files[i].path = arena_fmt(a, "a-rather-long-file-name-%03u.conf", i);
		files[i].data = arena_fmt(a, "%u", i);
	}
	assert_no_err(iso_write(a, STR("cfgdata"), files, 500, &iso));
	root(&iso, &dir, &dir_n);
	for (unsigned i = 0; i < 500; i += 33) {
		assert_true(find(&iso, dir, dir_n, files[i].path.p, &at, &n));
		assert_memory_equal(iso.p + (size_t)at * 2048, files[i].data.p, n);
	}
}

TEST(bad_names_are_refused)
{
	static const struct str names[] = { STR_INIT(""), STR_INIT("a//b"), STR_INIT("../x"),
					    STR_INIT("0123456789012345678901234567890123456789"
						     "0123456789012345678901234567890123456789") };
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		_cleanup_buf_ struct buf iso = { 0 };
		struct iso_file f = { names[i], STR("x") };

		assert_err(iso_write(a, STR("x"), &f, 1, &iso), ERR_BAD_REQUEST);
	}
}

TEST_MAIN(T(files_are_found_by_joliet_name), T(many_files_span_sectors), T(bad_names_are_refused))
