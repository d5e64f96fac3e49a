/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/kvm.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KVM_PROBE_MS 1000

/* The guest: hlt at address 0, in real mode. Runs in a child that may be killed. */
static bool kvm_run_hlt(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
	int vcpu = vm < 0 ? -1 : ioctl(vm, KVM_CREATE_VCPU, 0);
	int run_size = kvm < 0 ? -1 : ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_userspace_memory_region region = { .memory_size = 4096 };
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rflags = 2 };
	struct kvm_run *run;
	unsigned char *mem;

	if (vcpu < 0 || run_size < (int)sizeof(*run))
		return false;
	mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (mem == MAP_FAILED || run == MAP_FAILED)
		return false;
	mem[0] = 0xf4;
	region.userspace_addr = (uintptr_t)mem;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) || ioctl(vcpu, KVM_GET_SREGS, &sregs))
		return false;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) || ioctl(vcpu, KVM_SET_REGS, &regs) ||
	    ioctl(vcpu, KVM_RUN, 0))
		return false;
	return run->exit_reason == KVM_EXIT_HLT;
}

static bool kvm_probe_guest(void)
{
	pid_t pid = fork();
	int status = -1, fd;
	struct pollfd p;

	if (pid < 0)
		return false;
	if (pid == 0)
		_exit(kvm_run_hlt() ? 0 : 1);
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	p = (struct pollfd){ .fd = fd, .events = POLLIN };
	if (poll(&p, 1, KVM_PROBE_MS) != 1)
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(fd);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool kvm_cpu_virtualizes(void)
{
#if defined(__x86_64__)
	static char line[16384]; /* more than a fiber has to give */
	FILE *f = fopen("/proc/cpuinfo", "re");
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = strncmp(line, "flags", 5) == 0 &&
			(strstr(line, " vmx") || strstr(line, " svm"));
	if (f)
		fclose(f);
	return found;
#else
	return true;
#endif
}

bool kvm_usable(const char **ret_why)
{
	if (access("/dev/kvm", R_OK | W_OK)) {
		*ret_why = "/dev/kvm cannot be opened";
		return false;
	}
	if (!kvm_cpu_virtualizes()) {
		*ret_why = "the CPU shows neither vmx nor svm";
		return false;
	}
	if (!kvm_probe_guest()) {
		*ret_why = "a one-instruction guest did not return within a second";
		return false;
	}
	*ret_why = "";
	return true;
}
