/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Flags that `up` hands on to the API server, which is a user of its own: the files they name are
 * copied to where it may read them, and the audit log is passed as a descriptor.
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "cmd/up.h"
#include "io/file.h"

#define MAX_FILE ((size_t)1024 * 1024)

const char *const up_access_flags[UP_ACCESS_FLAGS] = {
	"--anonymous-auth",       "--authentication-config", "--oidc-issuer-url",
	"--oidc-client-id",       "--oidc-ca-file",          "--oidc-username-claim",
	"--oidc-username-prefix", "--oidc-groups-claim",     "--oidc-groups-prefix",
	"--oidc-signing-algs",    "--audit-policy-file",     "--audit-log-path",
	"--audit-log-maxage",     "--audit-log-maxbackup",   "--audit-log-maxsize",
};

static bool flag_names_file(const char *flag)
{
	struct str f = str_from(flag);

	return str_eqz(f, "--authentication-config") || str_eqz(f, "--oidc-ca-file") ||
	       str_eqz(f, "--audit-policy-file");
}

static struct err *access_copy(struct up *u, size_t i)
{
	const char *flag = up_access_flags[i];
	const char *to = up_run_path(u, arena_fmt(u->a, "apiserver%s", flag + 1).p);
	struct str text;

	TRY(err_wrap(file_read(u->a, arena_strz(u->a, u->flags.access[i]), MAX_FILE, &text), "%s",
		     flag));
	TRY(up_write_for(to, text, UP_UID_APISERVER));
	u->flags.access[i] = str_from(to);
	return NULL;
}

/* Whether the API server may make and rename files there. */
static bool access_dir_is_its_own(const char *dir)
{
	struct stat st;

	return stat(dir, &st) == 0 && (st.st_uid == UP_UID_APISERVER || st.st_mode & S_IWOTH);
}

/*
 * The file is made its own and passed open: the way to it may be closed to everybody else. (It is
 * rotated only where the directory is the API server's, too.)
 */
static struct err *access_log(struct up *u, size_t i)
{
	const char *path = arena_strz(u->a, u->flags.access[i]), *dir = ".";
	size_t slash = u->flags.access[i].n;
	int fd;

	if (str_eqz(u->flags.access[i], "-"))
		return NULL;
	while (slash && path[slash - 1] != '/')
		slash--;
	if (slash)
		dir = arena_strz(u->a, str_sub(u->flags.access[i], 0, slash));
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || fchown(fd, UP_UID_APISERVER, (gid_t)-1) < 0) {
		struct err *e = err_errno(errno, "--audit-log-path: '%s'", path);

		if (fd >= 0)
			close(fd);
		return e;
	}
	if (access_dir_is_its_own(dir)) {
		close(fd);
		return NULL;
	}
	u->audit_fd = fd;
	u->flags.access[i] = arena_fmt(u->a, "/proc/self/fd/%zu", 4 + u->n_listen_fds);
	return NULL;
}

struct err *up_access_setup(struct up *u)
{
	for (size_t i = 0; u->root && i < UP_ACCESS_FLAGS; i++) {
		if (str_empty(u->flags.access[i]))
			continue;
		if (flag_names_file(up_access_flags[i]))
			TRY(access_copy(u, i));
		else if (str_eqz(str_from(up_access_flags[i]), "--audit-log-path"))
			TRY(access_log(u, i));
	}
	return NULL;
}

size_t up_access_args(struct up *u, const char **args, size_t n)
{
	for (size_t i = 0; i < UP_ACCESS_FLAGS; i++) {
		if (!u->flags.access[i].p)
			continue;
		args[n++] = arena_fmt(u->a, "%s=" STR_FMT, up_access_flags[i],
				      STR_ARG(u->flags.access[i]))
				    .p;
	}
	for (size_t i = 0; i < u->flags.n_required_claims; i++)
		args[n++] = arena_fmt(u->a, "--oidc-required-claim=" STR_FMT,
				      STR_ARG(u->flags.required_claims[i]))
				    .p;
	return n;
}
