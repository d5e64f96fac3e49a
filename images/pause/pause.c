/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The process that holds a Pod's namespaces: sleeps until it is told to end, and reaps what is
 * re-parented to it when the Pod shares its process namespace. Freestanding, no libc: a few hundred
 * bytes of code, one page of memory.
 */

enum {
#if defined(__x86_64__)
	NR_RT_SIGPROCMASK = 14,
	NR_RT_SIGTIMEDWAIT = 128,
	NR_WAIT4 = 61,
	NR_EXIT = 60,
#elif defined(__aarch64__)
	NR_RT_SIGPROCMASK = 135,
	NR_RT_SIGTIMEDWAIT = 137,
	NR_WAIT4 = 260,
	NR_EXIT = 93,
#else
#error "pause: unknown architecture"
#endif
	SIG_BLOCK_ALL = 2, /* SIG_SETMASK */
	SIGINT_ = 2,
	SIGTERM_ = 15,
	SIGCHLD_ = 17,
	WNOHANG_ = 1,
};

static long call4(long nr, long a, long b, long c, long d)
{
#if defined(__x86_64__)
	register long r10 __asm__("r10") = d;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return ret;
#else
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
#endif
}

void _start(void);
void _start(void)
{
	unsigned long all = ~0UL;
	unsigned long wanted = 1UL << (SIGINT_ - 1) | 1UL << (SIGTERM_ - 1) | 1UL << (SIGCHLD_ - 1);

	call4(NR_RT_SIGPROCMASK, SIG_BLOCK_ALL, (long)&all, 0, sizeof(all));
	for (;;) {
		long sig = call4(NR_RT_SIGTIMEDWAIT, (long)&wanted, 0, 0, sizeof(wanted));

		if (sig == SIGINT_ || sig == SIGTERM_)
			call4(NR_EXIT, 0, 0, 0, 0);
		if (sig == SIGCHLD_) {
			while (call4(NR_WAIT4, -1, 0, WNOHANG_, 0) > 0)
				;
		}
	}
}
