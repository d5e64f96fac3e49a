/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/version.h"

#include <sys/utsname.h>

#include "base/arena.h"
#include "json/json.h"

/* Clients parse goVersion and compiler as free text: they name what built this. */
void virt_version_fill(struct arena *a, struct json *obj)
{
	struct utsname u;
	const char *machine = "unknown";

	if (uname(&u) == 0)
		machine = strcmp(u.machine, "x86_64") == 0    ? "amd64"
			  : strcmp(u.machine, "aarch64") == 0 ? "arm64"
							      : u.machine;
	json_set_str(a, obj, "gitVersion", STR(VIRT_VERSION));
	json_set_str(a, obj, "gitCommit", STR("unknown"));
	json_set_str(a, obj, "gitTreeState", STR("clean"));
	json_set_str(a, obj, "buildDate", STR("1970-01-01T00:00:00Z"));
	json_set_str(a, obj, "goVersion", STR("none"));
	json_set_str(a, obj, "compiler", STR("gcc"));
	json_set(a, obj, "platform", json_strf(a, "linux/%s", machine));
}
