/* SPDX-License-Identifier: Apache-2.0 */
#include "server/metrics-process.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

static void gauge(struct buf *b, const char *name, const char *type, const char *help, double v)
{
	buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n%s %.16g\n", name, help, name, type, name, v);
}

static double cpu_seconds(void)
{
	struct timespec t;

	return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t)
		       ? 0
		       : (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	double n = -3; /* itself, "." and ".." */

	if (!d)
		return 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Since the epoch: the process's age is in ticks since the machine started. */
static double start_time(void)
{
	FILE *f = fopen("/proc/self/stat", "re");
	unsigned long long ticks = 0;
	struct timespec up, now;

	if (!f)
		return 0;
	if (fscanf(f,
		   "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d "
		   "%*d %*d %*d %*d %llu",
		   &ticks) != 1)
		ticks = 0;
	fclose(f);
	clock_gettime(CLOCK_BOOTTIME, &up);
	clock_gettime(CLOCK_REALTIME, &now);
	return (double)now.tv_sec - (double)up.tv_sec +
	       (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

void metrics_write_process(struct buf *b)
{
	const double page = (double)sysconf(_SC_PAGESIZE);
	unsigned long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	struct rlimit fds = { 0 }, as = { 0 };

	if (f && fscanf(f, "%lu %lu", &size, &resident) != 2)
		size = resident = 0;
	if (f)
		fclose(f);
	getrlimit(RLIMIT_NOFILE, &fds);
	getrlimit(RLIMIT_AS, &as);
	gauge(b, "process_cpu_seconds_total", "counter", "CPU time used, in seconds.",
	      cpu_seconds());
	gauge(b, "process_max_fds", "gauge", "File descriptors it may have.", (double)fds.rlim_cur);
	gauge(b, "process_open_fds", "gauge", "File descriptors it has.", open_fds());
	gauge(b, "process_resident_memory_bytes", "gauge", "Memory it occupies, in bytes.",
	      (double)resident * page);
	gauge(b, "process_start_time_seconds", "gauge", "When it started, since the epoch.",
	      start_time());
	gauge(b, "process_virtual_memory_bytes", "gauge", "Addresses it uses, in bytes.",
	      (double)size * page);
	gauge(b, "process_virtual_memory_max_bytes", "gauge", "Addresses it may use, in bytes.",
	      (double)as.rlim_cur);
}
