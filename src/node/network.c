/* SPDX-License-Identifier: Apache-2.0 */

#include "node/network.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "io/process.h"

#define ARGV_MAX 16

/* ip ARGS..., with the words of one line. */
static struct err *network_ip(struct arena *a, struct str line)
{
	const char *argv[ARGV_MAX] = { "ip" };
	size_t n = 1;
	struct str word, out;

	while (str_split_next(&line, ' ', &word) && n < ARGV_MAX - 1)
		argv[n++] = arena_strz(a, word);
	return process_run(a, argv, STR_EMPTY, 64 * 1024, &out);
}

static void network_sysctl(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, value, strlen(value)) < 0) {
		/* a kernel that does not let us has it its own way */
	}
	close(fd);
}

static struct err *network_bridge(struct arena *a, const struct network_opts *o)
{
	struct str cidr = o->pod_cidr, net, bits;

	TRY(network_ip(a, arena_fmt(a, "link add name %.*s type bridge", STR_ARG(o->bridge))));
	bits = STR("24");
	if (str_cut(&cidr, '/', &net))
		bits = cidr;
	return network_ip(a, arena_fmt(a, "address replace %.*s/%.*s dev %.*s", STR_ARG(o->ip),
				       STR_ARG(bits), STR_ARG(o->bridge)));
}

struct err *network_ensure(struct arena *a, const struct network_opts *o)
{
	struct str sys = arena_fmt(a, "/sys/class/net/%.*s", STR_ARG(o->bridge));

	if (access(sys.p, F_OK) < 0)
		TRY(network_bridge(a, o));
	TRY(network_ip(a, arena_fmt(a, "link set %.*s up", STR_ARG(o->bridge))));
	network_sysctl("/proc/sys/net/ipv4/ip_forward", "1");
	/* so that a reply from a Pod on the same bridge passes the translation that its request did
	 */
	network_sysctl("/proc/sys/net/bridge/bridge-nf-call-iptables", "1");
	return NULL;
}

void network_remove(struct arena *a, struct str bridge)
{
	err_ignore(network_ip(a, arena_fmt(a, "link del %.*s", STR_ARG(bridge))),
		   "gone is what we want");
}

struct str network_instance_id(struct arena *a, const char *data_dir)
{
	char real[PATH_MAX];

	if (!realpath(data_dir, real))
		snprintf(real, sizeof(real), "%s", data_dir);
	return str_sub(sha256_hex(a, str_from(real)), 0, 8);
}
