/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A fuzz target defines both. Built by clang with -fsanitize=fuzzer it is a libFuzzer target, which
 * begins with the seeds (it writes them to the folder that FUZZ_SEEDS names); built with FUZZ_MAIN
 * it replays the files, and what lies in the folders, that its command line names, then mutates the
 * seeds for a moment, as an ordinary test.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
/* Typical inputs; ends with NULL. */
extern const char *const fuzz_seeds[];

#ifdef FUZZ_MAIN

#include <dirent.h>
#include <errno.h>

#define FUZZ_ROUNDS    1500
#define FUZZ_MAX_INPUT 65536

static int fuzz_replay_file(const char *path)
{
	static uint8_t data[FUZZ_MAX_INPUT];
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f) {
		perror(path);
		return 1;
	}
	n = fread(data, 1, sizeof(data), f);
	fclose(f);
	LLVMFuzzerTestOneInput(data, n);
	return 0;
}

/* A folder that is not there holds nothing yet. */
static int fuzz_replay(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int failed = 0;

	if (!dir)
		return errno == ENOENT ? 0 : fuzz_replay_file(path);
	while ((entry = readdir(dir))) {
		char file[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		failed |= fuzz_replay_file(file);
	}
	closedir(dir);
	return failed;
}

static size_t fuzz_mutate(uint8_t *p, size_t n, size_t max)
{
	const int changes = 1 + rand() % 4;

	for (int i = 0; i < changes && n; i++) {
		const size_t at = (size_t)rand() % n, part = (size_t)rand() % (n - at);

		switch (rand() % 4) {
		case 0:
			p[at] = (uint8_t)rand();
			break;
		case 1:
			memmove(p + at, p + at + part, n - at - part);
			n -= part;
			break;
		case 2:
			if (n + part > max)
				break;
			memmove(p + at + part, p + at, n - at);
			n += part;
			break;
		default:
			p[at] ^= (uint8_t)(1 << rand() % 8);
		}
	}
	return n;
}

int main(int argc, char **argv)
{
	const char *env = getenv("FUZZ_SEED");
	const unsigned seed = env ? (unsigned)strtoul(env, NULL, 10) : 1;
	static uint8_t data[FUZZ_MAX_INPUT];
	int failed = 0;
	size_t n_seeds = 0;

	for (int i = 1; i < argc; i++)
		failed |= fuzz_replay(argv[i]);
	printf("FUZZ_SEED=%u\n", seed);
	srand(seed);
	while (fuzz_seeds[n_seeds])
		n_seeds++;
	for (size_t i = 0; i < FUZZ_ROUNDS; i++) {
		const char *s = fuzz_seeds[i % n_seeds];
		size_t n = strlen(s);

		memcpy(data, s, n);
		/* The seeds themselves come first. */
		if (i >= n_seeds)
			n = fuzz_mutate(data, n, sizeof(data));
		LLVMFuzzerTestOneInput(data, n);
	}
	return failed;
}

#else

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *dir = getenv("FUZZ_SEEDS");

	(void)argc;
	(void)argv;
	for (size_t i = 0; dir && fuzz_seeds[i]; i++) {
		char path[4096];
		FILE *f;

		snprintf(path, sizeof(path), "%s/seed-%zu", dir, i);
		f = fopen(path, "wb");
		if (f) {
			fwrite(fuzz_seeds[i], 1, strlen(fuzz_seeds[i]), f);
			fclose(f);
		}
	}
	return 0;
}

#endif
