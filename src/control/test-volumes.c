/* SPDX-License-Identifier: Apache-2.0 */

#include "control/volumes.h"

#include "testkit/test.h"
#include "json/json.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v;

	assert_no_err(json_parse(a, str_from(text), &v));
	return v;
}

#define CLAIM                                                                         \
	"{\"metadata\":{\"namespace\":\"d\",\"name\":\"c\",\"uid\":\"u\"},\"spec\":{" \
	"\"accessModes\":[\"ReadWriteOnce\"],\"storageClassName\":\"local\","         \
	"\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}%s}}"
#define PV(size, modes, more)                                                                    \
	"{\"metadata\":{\"labels\":{\"t\":\"ssd\"}},\"spec\":{\"capacity\":{\"storage\":\"" size \
	"\"},\"accessModes\":[" modes "]" more "}}"
#define LOCAL ",\"storageClassName\":\"local\""

TEST(fits)
{
	static const struct {
		const char *claim, *pv;
		bool want;
	} rows[] = {
		{ "", PV("1Gi", "\"ReadWriteOnce\"", LOCAL), true },
		{ "", PV("2000Mi", "\"ReadWriteMany\",\"ReadWriteOnce\"", LOCAL), true },
		{ "", PV("1G", "\"ReadWriteOnce\"", LOCAL), false },
		{ "", PV("1Gi", "\"ReadWriteMany\"", LOCAL), false },
		{ "", PV("1Gi", "\"ReadWriteOnce\"", ""), false },
		{ "", PV("1Gi", "\"ReadWriteOnce\"", LOCAL ",\"volumeMode\":\"Block\""), false },
		{ ",\"volumeMode\":\"Block\"",
		  PV("1Gi", "\"ReadWriteOnce\"", LOCAL ",\"volumeMode\":\"Block\""), true },
		{ ",\"selector\":{\"matchLabels\":{\"t\":\"ssd\"}}",
		  PV("1Gi", "\"ReadWriteOnce\"", LOCAL), true },
		{ ",\"selector\":{\"matchLabels\":{\"t\":\"hdd\"}}",
		  PV("1Gi", "\"ReadWriteOnce\"", LOCAL), false },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct json *claim = parse(a, arena_fmt(a, CLAIM, rows[i].claim).p);

		if (volume_fits(a, parse(a, rows[i].pv), claim) != rows[i].want)
			fail_msg("row %zu", i);
	}
}

TEST(claimed_by)
{
	static const struct {
		const char *ref;
		bool want;
	} rows[] = {
		{ "{}", false },
		{ "{\"spec\":{\"claimRef\":{\"namespace\":\"d\",\"name\":\"c\",\"uid\":\"u\"}}}",
		  true },
		{ "{\"spec\":{\"claimRef\":{\"namespace\":\"d\",\"name\":\"c\"}}}", true },
		{ "{\"spec\":{\"claimRef\":{\"namespace\":\"d\",\"name\":\"c\",\"uid\":\"x\"}}}",
		  false },
		{ "{\"spec\":{\"claimRef\":{\"namespace\":\"e\",\"name\":\"c\"}}}", false },
	};
	_cleanup_arena_ struct arena *a = arena_new();
	const struct json *claim = parse(a, arena_fmt(a, CLAIM, "").p);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (volume_claimed_by(parse(a, rows[i].ref), claim) != rows[i].want)
			fail_msg("row %zu", i);
}

TEST_MAIN(T(fits), T(claimed_by))
