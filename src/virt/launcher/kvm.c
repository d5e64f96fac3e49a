/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/launcher/kvm.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "io/file.h"

#define KVM_MAX_CPUINFO (64 * 1024 * 1024)

bool kvm_works(const char *device)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct str cpuinfo = STR_EMPTY;
	int fd = open(device, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return false;
	close(fd);
	err_ignore(file_read(a, "/proc/cpuinfo", KVM_MAX_CPUINFO, &cpuinfo), "then it does not");
	return str_contains(cpuinfo, STR(" vmx")) || str_contains(cpuinfo, STR(" svm"));
}
