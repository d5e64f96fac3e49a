/* SPDX-License-Identifier: Apache-2.0 */

/* A kubeconfig file, whatever is in it: it loads or says why not. */

#include "client/kubeconfig.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/err.h"
#include "testkit/fuzz.h"

const char *const fuzz_seeds[] = {
	"apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: "
	"{cluster: k, user: u, namespace: n}\nclusters:\n- name: k\n  cluster:\n    server: "
	"https://127.0.0.1:6443\n    certificate-authority-data: LS0tLS1CRUdJTg==\n    "
	"tls-server-name: x\nusers:\n- name: u\n  user: {token: t, client-certificate-data: Zm9v, "
	"client-key-data: YmFy}\n",
	"{\"current-context\":\"c\",\"contexts\":[{\"name\":\"c\",\"context\":{\"cluster\":\"k\","
	"\"user\":"
	"\"u\"}}],\"clusters\":[{\"name\":\"k\",\"cluster\":{\"server\":\"x\",\"insecure-skip-tls-"
	"verify\":"
	"true}}],\"users\":[{\"name\":\"u\",\"user\":{\"exec\":{}}}]}",
	NULL,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_arena_ struct arena *a = arena_new();
	int fd = memfd_create("kubeconfig", MFD_CLOEXEC);
	struct kubeconfig k = { 0 };
	struct err *e;
	char path[64];

	ASSERT(fd >= 0 && write(fd, data, n) == (ssize_t)n);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	e = kubeconfig_load(a, path, NULL, &k);
	ASSERT(e || k.server.n);
	err_free(e);
	close(fd);
	return 0;
}
