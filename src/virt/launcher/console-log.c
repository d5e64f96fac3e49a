/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/launcher/console-log.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "io/fiber.h"

#define CONSOLE_LOG_POLL_MS 2000

bool console_log_trim(const char *path, int64_t max)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_size > max && truncate(path, 0) == 0;
}

struct err *console_log_watch(void *arg)
{
	const char *path = arg;

	for (;;) {
		console_log_trim(path, CONSOLE_LOG_MAX);
		TRY(fiber_sleep_ms(CONSOLE_LOG_POLL_MS));
	}
}
