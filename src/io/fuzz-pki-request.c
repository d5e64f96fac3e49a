/* SPDX-License-Identifier: Apache-2.0 */

/* Certificate requests and certificates are text from anybody: names, keys, extensions. */

#include "base/arena.h"
#include "base/err.h"
#include "io/pki-request.h"
#include "testkit/fuzz.h"

const char *const fuzz_seeds[] = {
	"-----BEGIN CERTIFICATE REQUEST-----\n"
	"MIHWMH8CAQAwHTENMAsGA1UECgwEZGV2czEMMAoGA1UEAwwDemVkMFkwEwYHKoZI\n"
	"zj0CAQYIKoZIzj0DAQcDQgAE42Fo3QDS0fTmbnuLe1IF0Wtf9dR3bDb2VTilJCnL\n"
	"o+/AddCAgKkylQMY2xvaNzRye5OQZjrAWnDM8l04DqzU2aAAMAoGCCqGSM49BAMC\n"
	"A0cAMEQCIE+0J04QUejJ/kBT6qbVO91Yy3G6l8ri/01FcAMfvINWAiAoOKzK6gvi\n"
	"dxRUmRrOCDEq0GVmoJHVDxKsIXmglnOmTg==\n"
	"-----END CERTIFICATE REQUEST-----\n",
	"-----BEGIN CERTIFICATE REQUEST-----\n\n-----END CERTIFICATE REQUEST-----\n",
	"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
	NULL,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct pki_pair ca;
	static struct arena *forever;
	_cleanup_arena_ struct arena *a = arena_new();
	static const struct str usages[] = { STR_INIT("client auth"), STR_INIT("any") };
	const struct pki_sign_opts opts = { .usages = usages, .n_usages = 2, .seconds = 600 };
	struct str in = str_make((const char *)data, n), cert;
	struct pki_request r;

	if (!forever) {
		forever = arena_new();
		err_ignore(pki_make_ca(forever, STR("fuzz"), 1, &ca), "then nothing is signed");
	}
	err_ignore(pki_request_parse(a, in, &r), "only crashes count");
	err_ignore(pki_request_sign(a, &ca, in, &opts, &cert), "only crashes count");
	err_ignore(pki_check_certificates(in), "only crashes count");
	return 0;
}
