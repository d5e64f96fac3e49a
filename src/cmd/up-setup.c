/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that must be there before the first component starts. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/kubeconfig.h"
#include "base/arena.h"
#include "base/err.h"
#include "cmd/up.h"
#include "io/file.h"
#include "io/process.h"
#include "io/stream.h"

const char *up_run_path(const struct up *u, const char *name)
{
	return arena_fmt(u->a, "%s/%s", u->inst.run_dir, name).p;
}

static struct err *up_open_files(struct up *u)
{
	u->exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (u->exe_fd < 0)
		return err_errno(errno, "open our own binary");
	u->dir_fd = open(u->inst.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (u->dir_fd < 0)
		return err_errno(errno, "open '%s'", u->inst.dir);
	return NULL;
}

static struct err *up_take_lock(struct up *u)
{
	int fd;
	pid_t pid;

	TRY(instance_lock(u->a, &u->inst, &fd, &pid));
	if (fd < 0)
		return err_new(ERR_UNAVAILABLE,
			       "another 'isoplane up' (pid %d) runs on data directory '%s'",
			       (int)pid, u->inst.dir);
	return NULL; /* held until we end */
}

/* network */

static struct err *up_ip(struct up *u, const char *const *argv)
{
	return process_run(u->a, argv, STR_EMPTY, 65536, &(struct str){ 0 });
}

static struct err *up_write_sysctl(const char *path, struct str value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	struct err *e;

	if (fd < 0)
		return err_errno(errno, "open '%s'", path);
	e = file_write_all(fd, value);
	close(fd);
	return e;
}

/* The Pod bridge carries the node's address; workloads of an earlier run may sit on it already. */
static struct err *up_make_bridge(struct up *u)
{
	const char *br = u->inst.bridge.p;
	const char *cidr = arena_fmt(u->a, STR_FMT "/24", STR_ARG(u->inst.node_ip)).p;
	const char *const add[] = { "ip", "link", "add", br, "type", "bridge", NULL };
	const char *const addr[] = { "ip", "addr", "replace", cidr, "dev", br, NULL };
	const char *const up[] = { "ip", "link", "set", br, "up", NULL };

	if (access(arena_fmt(u->a, "/sys/class/net/%s", br).p, F_OK))
		TRY(err_wrap(up_ip(u, add), "make bridge '%s'", br));
	TRY(err_wrap(up_ip(u, addr), "address of bridge '%s'", br));
	TRY(err_wrap(up_ip(u, up), "bridge '%s'", br));
	return up_write_sysctl("/proc/sys/net/ipv4/ip_forward", STR("1\n"));
}

/* One instance at a time chooses: the bridge shows the next one what is taken. */
static struct err *up_take_network(struct up *u)
{
	const char *path = "/run/isoplane.lock";
	int fd;
	struct err *e;

	if (!u->with_node)
		return instance_choose_network(u->a, &u->inst);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(errno, "open '%s'", path);
	while (flock(fd, LOCK_EX) && errno == EINTR)
		continue;
	e = instance_choose_network(u->a, &u->inst);
	if (!e)
		e = up_make_bridge(u);
	close(fd);
	return e;
}

static struct err *up_listen(struct up *u, struct str address)
{
	int fd;
	struct err *e = stream_listen(address, &fd);

	if (e)
		return err_wrap(e, "listen on " STR_FMT, STR_ARG(address));
	u->listen_fds[u->n_listen_fds++] = fd;
	return NULL;
}

static struct err *up_open_sockets(struct up *u)
{
	struct str node_address =
		arena_fmt(u->a, STR_FMT ":%d", STR_ARG(u->inst.node_ip), UP_API_PORT);

	TRY(up_listen(u, u->flags.listen));
	u->api_url = arena_fmt(u->a, "https://" STR_FMT, STR_ARG(u->flags.listen));
	if (str_has_prefix(u->flags.listen, STR("0.0.0.0:")))
		u->api_url = arena_fmt(u->a, "https://127.0.0.1" STR_FMT,
				       STR_ARG(str_skip(u->flags.listen, 7)));
	u->node_api_url = u->api_url;
	if (!u->with_node)
		return NULL;
	u->node_api_url = arena_fmt(u->a, "https://" STR_FMT, STR_ARG(node_address));
	return up_listen(u, node_address);
}

/* keys and kubeconfigs */

static uid_t chown_uid;

static int up_chown_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return lchown(path, chown_uid, chown_uid);
}

/* The API server alone reads keys and store. */
static struct err *up_give_to(const char *path, uid_t uid)
{
	chown_uid = uid;
	if (nftw(path, up_chown_entry, 16, FTW_PHYS))
		return err_errno(errno, "chown '%s'", path);
	return NULL;
}

static struct err *up_make_keys(struct up *u)
{
	const char *pki_dir = arena_fmt(u->a, "%s/pki", u->inst.dir).p;
	const char *store_dir = arena_fmt(u->a, "%s/store", u->inst.dir).p;
	struct str rest = u->flags.listen, host;
	struct str ips[3], names[1] = { u->node_name };
	struct cluster_pki_opts opts = { .dir = pki_dir, .ips = ips, .dns_names = names };

	str_cut(&rest, ':', &host);
	if (!str_eqz(host, "0.0.0.0") && !str_eqz(host, "localhost"))
		ips[opts.n_ips++] = host;
	if (u->with_node) {
		ips[opts.n_ips++] = u->inst.node_ip;
		ips[opts.n_ips++] = u->inst.service_ip;
	}
	opts.n_dns_names = u->node_name.n ? 1 : 0;
	TRY(cluster_pki_ensure(u->a, &opts, &u->pki));
	TRY(file_mkdir_p(store_dir, 0700));
	if (!u->root)
		return NULL;
	TRY(up_give_to(pki_dir, UP_UID_APISERVER));
	return up_give_to(store_dir, UP_UID_APISERVER);
}

struct err *up_write_for(const char *path, struct str text, uid_t uid)
{
	TRY(file_write_atomic(path, text, 0400));
	if (uid && chown(path, uid, uid))
		return err_errno(errno, "chown '%s'", path);
	return NULL;
}

struct err *up_write_kubeconfig(struct up *u, const char *name, struct str server, struct str user,
				struct str org, const char *token_file, uid_t uid)
{
	struct kubeconfig k = { .server = server, .ca_pem = u->pki.ca.cert_pem, .user = user };
	const struct pki_cert_opts cert = {
		.common_name = user, .orgs = &org, .n_orgs = org.n ? 1 : 0, .client = true
	};
	struct pki_pair pair;

	if (token_file) {
		k.token_file = str_from(token_file);
	} else {
		TRY(pki_issue(u->a, &u->pki.ca, &cert, &pair));
		k.cert_pem = pair.cert_pem;
		k.key_pem = pair.key_pem;
	}
	return up_write_for(up_run_path(u, arena_fmt(u->a, "%s.kubeconfig", name).p),
			    kubeconfig_text(u->a, &k), u->root ? uid : 0);
}

static struct err *up_write_admin(struct up *u)
{
	const struct kubeconfig k = {
		.server = u->api_url,
		.ca_pem = u->pki.ca.cert_pem,
		.user = STR("kubernetes-admin"),
		.cert_pem = u->pki.admin.cert_pem,
		.key_pem = u->pki.admin.key_pem,
	};

	return file_write_atomic(arena_strz(u->a, u->flags.kubeconfig), kubeconfig_text(u->a, &k),
				 0600);
}

static struct err *up_write_node_certs(struct up *u)
{
	const struct pki_cert_opts cert = {
		.common_name = arena_fmt(u->a, "system:node:" STR_FMT, STR_ARG(u->node_name)),
		.orgs = &STR("system:nodes"),
		.n_orgs = 1,
		.dns_names = &u->node_name,
		.n_dns_names = 1,
		.ips = &u->inst.node_ip,
		.n_ips = 1,
		.server = true,
	};
	struct pki_pair pair;

	TRY(pki_issue(u->a, &u->pki.ca, &cert, &pair));
	TRY(up_write_for(up_run_path(u, "kubelet.crt"), pair.cert_pem, 0));
	TRY(up_write_for(up_run_path(u, "kubelet.key"), pair.key_pem, 0));
	return up_write_for(up_run_path(u, "client-ca.crt"), u->pki.ca.cert_pem, 0);
}

static struct err *up_write_configs(struct up *u)
{
	TRY(up_write_admin(u));
	TRY(up_write_kubeconfig(u, "controllers", u->api_url, STR("system:kube-controller-manager"),
				STR_EMPTY, NULL, UP_UID_CONTROLLERS));
	TRY(up_write_kubeconfig(u, "scheduler", u->api_url, STR("system:kube-scheduler"), STR_EMPTY,
				NULL, UP_UID_SCHEDULER));
	if (up_has_hollow(u))
		TRY(up_write_kubeconfig(u, "hollow-nodes", u->api_url, STR("isoplane:hollow-nodes"),
					STR_EMPTY, NULL, UP_UID_HOLLOW));
	if (!u->with_node)
		return NULL;
	TRY(up_write_kubeconfig(u, "node", u->node_api_url,
				arena_fmt(u->a, "system:node:" STR_FMT, STR_ARG(u->node_name)),
				STR("system:nodes"), NULL, 0));
	return up_write_node_certs(u);
}

struct err *up_setup(struct up *u)
{
	TRY(instance_open(u->a, arena_strz(u->a, u->flags.data_dir), true, &u->inst));
	TRY(up_take_lock(u));
	if (u->flags.kubelet_root.n)
		u->inst.kubelet_root = arena_strz(u->a, u->flags.kubelet_root);
	TRY(instance_announce(u->a, &u->inst));
	TRY(up_open_files(u));
	if (!u->flags.kubeconfig.n)
		u->flags.kubeconfig = arena_fmt(u->a, "%s/admin.kubeconfig", u->inst.dir);
	TRY(up_take_network(u));
	TRY(up_open_sockets(u));
	TRY(up_make_keys(u));
	TRY(up_write_configs(u));
	return up_access_setup(u);
}
