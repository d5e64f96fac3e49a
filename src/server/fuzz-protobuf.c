/* SPDX-License-Identifier: Apache-2.0 */

/* Bodies in protobuf: whatever the bytes, they become a tree that can be written, or an error. */

#include "api/schema.h"
#include "base/arena.h"
#include "base/err.h"
#include "server/protobuf.h"
#include "testkit/fuzz.h"
#include "json/json.h"

/* The first byte picks the type. */
static const char *const types[] = {
	"io.k8s.api.core.v1.Pod",
	"io.k8s.api.core.v1.Service",
	"io.k8s.api.core.v1.Secret",
	"io.k8s.api.apps.v1.ReplicaSet",
	"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
	"io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
	"io.k8s.api.policy.v1.Eviction",
};

const char *const fuzz_seeds[] = {
	"0k8s\n\x09\n\x02v1\x12\x03Pod\x12\x0b\n\x05\n\x03"
	"abc\x12\x02:\x01",
	"3k8s\n\x0f\n\x07"
	"apps/v1\x12\nReplicaSet\x12\x06\n\x04\n\x02"
	"ab",
	NULL,
};

static struct schema_registry *builtin;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new();
	struct json *obj = NULL;
	struct str in = str_make((const char *)data, n);
	struct err *e;

	if (!builtin)
		builtin = schema_registry_builtin();
	if (n) {
		e = protobuf_decode(a, builtin, str_from(types[data[0] % ARRAY_LEN(types)]),
				    str_skip(in, 1), &obj);
		if (!e)
			(void)json_text(a, obj);
		err_free(e);
	}
	arena_free(a);
	return 0;
}
