/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Command lines of the launcher image's programs, one binary under three names:
 *   virt-launcher  runs the VM (PID 1 of the compute container)
 *   virt-tail      copies a growing log file to standard output (guest-console-log sidecar)
 *   virt-probe     guest-agent probes; there is no agent support, so it says so and fails
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "virt/launcher/launcher.h"
#include "virt/main.h"
#include "virt/storage/importer.h"

#define TAIL_POLL_MS 200

/* Upstream flags without a meaning here take their argument and go. */
struct main_flag {
	const char *name;
	bool has_arg;
	struct str *value;
};

static bool main_parse(int argc, char **argv, const struct main_flag *flags, size_t n)
{
	for (int i = 1; i < argc; i++) {
		struct str arg = str_from(argv[i]), name = STR_EMPTY;
		bool inline_value = false;
		const struct main_flag *f = NULL;

		inline_value = str_cut(&arg, '=', &name);
		for (size_t k = 0; k < n && !f; k++)
			f = str_eqz(name, flags[k].name) ? &flags[k] : NULL;
		if (!f) {
			fprintf(stderr, "%s: unknown flag %s\n", argv[0], argv[i]);
			return false;
		}
		if (f->has_arg && !inline_value) {
			if (++i == argc) {
				fprintf(stderr, "%s: %s needs an argument\n", argv[0], f->name);
				return false;
			}
			arg = str_from(argv[i]);
		}
		if (f->value)
			*f->value = f->has_arg ? arg : inline_value ? arg : STR("true");
	}
	return true;
}

static struct err *main_launcher_fiber(void *arg)
{
	return launcher_run(arg);
}

static int main_launcher(int argc, char **argv)
{
	struct launcher_opts o = launcher_default_opts;
	struct str grace = STR("45"), emulation = STR("false"), idle = STR_EMPTY;
	const struct main_flag flags[] = {
		{ "--name", true, &o.name },
		{ "--namespace", true, &o.ns },
		{ "--uid", true, &o.uid },
		{ "--grace-period-seconds", true, &grace },
		{ "--allow-emulation", false, &emulation },
		{ "--qemu-timeout", true, &idle },
		{ "--kubevirt-share-dir", true, NULL },
		{ "--ephemeral-disk-dir", true, NULL },
		{ "--container-disk-dir", true, NULL },
		{ "--hook-sidecars", true, NULL },
		{ "--ovmf-path", true, NULL },
		{ "--disk-memory-limit", true, NULL },
		{ "--hypervisor", true, NULL },
		{ "--libvirt-log-filters", true, NULL },
		{ "--run-as-nonroot", false, NULL },
		{ "--image-volume", false, NULL },
		{ "--keep-after-failure", false, NULL },
		{ "--upgrade-ordinal-ifaces", false, NULL },
	};
	struct err *e;

	if (!main_parse(argc, argv, flags, ARRAY_LEN(flags)))
		return 2;
	if (str_empty(o.name) || str_empty(o.ns) || str_empty(o.uid) ||
	    !str_to_i64(grace, &o.grace_seconds)) {
		fprintf(stderr,
			"usage: %s --name NAME --namespace NS --uid UID "
			"[--grace-period-seconds N] [--allow-emulation]\n",
			argv[0]);
		return 2;
	}
	str_strip_suffix(&idle, STR("s"));
	if (!str_to_i64(idle, &o.idle_seconds))
		o.idle_seconds = 0;
	o.allow_emulation = str_eqz(emulation, "true");
	log_init("virt-launcher", LOG_INFO);
	e = fiber_main(main_launcher_fiber, &o);
	if (!e)
		return 0;
	err_log(NULL, LOG_ERROR, "launcher failed", e);
	return 1;
}

/* virt-tail */

static struct err *main_tail_fiber(void *arg)
{
	const char *path = arg;
	char chunk[4096];
	struct stat st;
	int fd = -1;

	for (;;) {
		ssize_t n = 0;

		if (fd < 0)
			fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			n = read(fd, chunk, sizeof(chunk));
		if (n > 0) {
			if (write(STDOUT_FILENO, chunk, (size_t)n) < 0)
				return err_errno(errno, "standard output");
			continue;
		}
		/* The launcher has emptied it: what was read is gone, what comes starts anew. */
		if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size < lseek(fd, 0, SEEK_CUR))
			lseek(fd, 0, SEEK_SET);
		TRY(fiber_sleep_ms(TAIL_POLL_MS));
	}
}

static void main_tail_end(int signo UNUSED)
{
	_exit(0);
}

static int main_tail(int argc, char **argv)
{
	struct str file = STR_EMPTY;
	const struct main_flag flags[] = { { "--logfile", true, &file } };
	struct err *e;

	if (!main_parse(argc, argv, flags, ARRAY_LEN(flags)))
		return 2;
	if (str_empty(file)) {
		fprintf(stderr, "usage: %s --logfile FILE\n", argv[0]);
		return 2;
	}
	log_init("virt-tail", LOG_INFO);
	signal(SIGTERM, main_tail_end);
	_cleanup_free_ char *path = mem_strdup(file);

	e = fiber_main(main_tail_fiber, path);
	err_log(NULL, LOG_ERROR, "tail failed", e);
	return 1;
}

static int main_probe(int argc UNUSED, char **argv)
{
	fprintf(stderr, "%s: guest agent probes are not supported\n", argv[0]);
	return 1;
}

int virt_launcher_main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];

	/* Standard output is a log, read by people who wait. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (strcmp(name, "virt-tail") == 0)
		return main_tail(argc, argv);
	if (strcmp(name, "virt-probe") == 0)
		return main_probe(argc, argv);
	if (strcmp(name, IMPORTER_NAME) == 0)
		return virt_importer_main(argc, argv);
	return main_launcher(argc, argv);
}
