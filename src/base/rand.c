/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rand.h"

#include <errno.h>
#include <sys/random.h>

#include "base/arena.h"
#include "base/assert.h"

static uint64_t rand_state; /* 0: the kernel's randomness */

void rand_seed(uint64_t seed)
{
	rand_state = seed;
}

/* splitmix64 */
static uint64_t rand_seeded(void)
{
	uint64_t z = (rand_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* A pool saves a system call per identifier. */
static void rand_kernel(unsigned char *p, size_t n)
{
	static unsigned char pool[256];
	static size_t left;

	while (n > 0) {
		size_t k;

		if (left == 0) {
			ssize_t got = getrandom(pool, sizeof(pool), 0);

			ASSERT(got == (ssize_t)sizeof(pool) || errno == EINTR);
			if (got != (ssize_t)sizeof(pool))
				continue;
			left = sizeof(pool);
		}
		k = MIN(n, left);
		memcpy(p, pool + sizeof(pool) - left, k);
		memset(pool + sizeof(pool) - left, 0, k);
		left -= k;
		p += k;
		n -= k;
	}
}

void rand_bytes(void *p, size_t n)
{
	unsigned char *b = p;

	if (!rand_state) {
		rand_kernel(b, n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		b[i] = (unsigned char)rand_seeded();
}

uint64_t rand_below(uint64_t n)
{
	uint64_t limit, v;

	PRE(n > 0);
	limit = UINT64_MAX - UINT64_MAX % n;
	do {
		rand_bytes(&v, sizeof(v));
	} while (v >= limit);
	return v % n;
}

struct str rand_uuid(struct arena *a)
{
	static const char hex[] = "0123456789abcdef";
	char *p = arena_alloc(a, 37), *at = p;
	unsigned char b[16];

	rand_bytes(b, sizeof(b));
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < sizeof(b); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		*at++ = hex[b[i] >> 4];
		*at++ = hex[b[i] & 15];
	}
	return str_make(p, 36);
}

struct str rand_suffix(struct arena *a, size_t n)
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
	char *p = arena_alloc(a, n + 1);

	for (size_t i = 0; i < n; i++)
		p[i] = alphabet[rand_below(sizeof(alphabet) - 1)];
	return str_make(p, n);
}
