/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "client/rest.h"
#include "io/fiber.h"
#include "io/file.h"
#include "io/process.h"
#include "virt/main.h"
#include "virt/names.h"
#include "virt/network/networks.h"
#include "json/json.h"

/*
 * isoplane-multus: a CNI plugin, chained after those of the Pod's own network. It adds the networks
 * that the Pod's annotation asks for by calling the plugins their definitions name, reports all of
 * them in the network-status annotation, and hands the own network's result on. What it added is
 * written down per container, so that DEL needs no API server.
 */

#define MAX_CONFIG  (256 * 1024)
#define MAX_RESULT  (256 * 1024)
#define DEADLINE_MS 30000
#define CNI_VERSIONS                                                                      \
	"{\"cniVersion\":\"1.0.0\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4.0\"," \
	"\"1.0.0\"]}\n"

struct multus {
	struct arena *a;
	struct str command, container, args; /* CNI_COMMAND, ... */
	struct json *config;
	const char *bin_dir, *data_dir;
	struct str ns, pod, uid;
	struct client *client;
};

/* the environment of a CNI plugin */

static struct str env(const char *name)
{
	return str_from(getenv(name) ? getenv(name) : "");
}

/* "A=1;B=2" */
static struct str cni_arg(struct str args, const char *name)
{
	struct str item, key;

	while (str_split_next(&args, ';', &item)) {
		if (str_cut(&item, '=', &key) && str_eqz(key, name))
			return item;
	}
	return STR_EMPTY;
}

static bool is_safe_name(struct str s)
{
	return !str_empty(s) && s.n < 256 && str_find_char(s, '/', 0) == s.n && s.p[0] != '.';
}

static struct err *read_all(struct arena *a, int fd, size_t max, struct str *ret)
{
	_cleanup_buf_ struct buf b = { 0 };
	char chunk[4096];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(errno, "read");
		buf_add(&b, str_make(chunk, (size_t)n));
		if (b.n > max)
			return err_new(ERR_TOO_LARGE, "more than %zu bytes", max);
	}
	*ret = buf_to_arena(&b, a);
	return NULL;
}

static struct err *read_config(struct multus *m)
{
	struct str text;

	m->command = env("CNI_COMMAND");
	m->container = env("CNI_CONTAINERID");
	m->args = env("CNI_ARGS");
	m->ns = cni_arg(m->args, "K8S_POD_NAMESPACE");
	m->pod = cni_arg(m->args, "K8S_POD_NAME");
	m->uid = cni_arg(m->args, "K8S_POD_UID");
	TRY(err_wrap(read_all(m->a, STDIN_FILENO, MAX_CONFIG, &text), "standard input"));
	TRY(json_parse(m->a, text, &m->config));
	m->bin_dir = arena_strz(m->a, json_str_at(m->config, "binDir"));
	m->data_dir = arena_strz(m->a, json_str_at(m->config, "dataDir"));
	if (!*m->bin_dir || !*m->data_dir)
		return err_new(ERR_INVALID, "the configuration needs binDir and dataDir");
	if (!is_safe_name(m->container))
		return err_new(ERR_INVALID, "CNI_CONTAINERID '" STR_FMT "' is no name",
			       STR_ARG(m->container));
	return NULL;
}

/* other plugins */

static struct err *memory_file(struct str content, int *ret)
{
	int fd = memfd_create("cni", MFD_CLOEXEC);

	if (fd < 0)
		return err_errno(errno, "memfd_create");
	if (write(fd, content.p, content.n) != (ssize_t)content.n || lseek(fd, 0, SEEK_SET) < 0) {
		close(fd);
		return err_new(ERR_IO, "memfd: short write");
	}
	*ret = fd;
	return NULL;
}

/* What a plugin says when it fails: {"code": N, "msg": "...", "details": "..."}. */
static struct err *plugin_error(struct multus *m, struct str type, struct str out)
{
	struct json *e = NULL;
	struct err *bad = json_parse(m->a, out, &e);

	err_ignore(bad, "then it said nothing readable");
	return err_new(ERR_INTERNAL, "plugin '" STR_FMT "': " STR_FMT " " STR_FMT, STR_ARG(type),
		       STR_ARG(json_str_at(e, "msg")), STR_ARG(json_str_at(e, "details")));
}

static struct err *run_files(struct multus *m, struct str type, int in, int out, int *ret_status)
{
	const char *path = arena_fmt(m->a, "%s/" STR_FMT, m->bin_dir, STR_ARG(type)).p;
	const char *const argv[] = { path, NULL };
	struct process_opts opts = {
		.argv = argv, .stdin_fd = in, .stdout_fd = out, .stderr_fd = -1, .pdeathsig = true
	};
	struct process *p = NULL;
	struct err *e;

	TRY(process_start(&opts, &p));
	e = process_wait(p, ret_status);
	process_free(p);
	return e;
}

/* One plugin with config on its standard input; its result, or an empty object. */
static struct err *run_plugin(struct multus *m, const struct json *config, struct json **ret)
{
	struct str type = json_str_at(config, "type"), text = STR_EMPTY;
	int in = -1, out = -1, status = 0;
	struct err *e;

	TRY(memory_file(json_text(m->a, config), &in));
	e = memory_file(STR_EMPTY, &out);
	if (!e)
		e = run_files(m, type, in, out, &status);
	if (!e && lseek(out, 0, SEEK_SET) == 0)
		e = read_all(m->a, out, MAX_RESULT, &text);
	close(in);
	if (out >= 0)
		close(out);
	TRY(err_wrap(e, "plugin '" STR_FMT "'", STR_ARG(type)));
	if (status)
		return plugin_error(m, type, text);
	*ret = json_object(m->a);
	return str_empty(str_trim(text)) ? NULL : json_parse(m->a, text, ret);
}

/* One network's plugins in order (DEL: backwards); each sees the result of the one before. */
static struct err *run_network(struct multus *m, const struct json *net, const char *command,
			       struct json **ret)
{
	const struct json *plugins = json_get(net, "plugins");
	const struct json *old = json_get(net, "result");
	struct json *result = old ? json_copy(m->a, old) : NULL;
	size_t n = json_len(plugins);
	bool del = strcmp(command, "DEL") == 0;

	setenv("CNI_COMMAND", command, 1);
	setenv("CNI_IFNAME", arena_strz(m->a, json_str_at(net, "interface")), 1);
	setenv("CNI_ARGS", arena_strz(m->a, json_str_at(net, "args")), 1);
	for (size_t i = 0; i < n; i++) {
		struct json *config = json_copy(m->a, json_idx(plugins, del ? n - 1 - i : i)), *r;

		if (json_len(result))
			json_set(m->a, config, "prevResult", json_copy(m->a, result));
		TRY(run_plugin(m, config, &r));
		if (strcmp(command, "ADD") == 0)
			result = r;
	}
	if (ret)
		*ret = result;
	return NULL;
}

/* the record of what a container has */

static const char *record_path(const struct multus *m)
{
	return arena_fmt(m->a, "%s/" STR_FMT ".json", m->data_dir, STR_ARG(m->container)).p;
}

static struct err *write_record(const struct multus *m, const struct json *list)
{
	TRY(file_mkdir_p(m->data_dir, 0700));
	return file_write_atomic(record_path(m), json_text(m->a, list), 0600);
}

static struct err *read_record(const struct multus *m, struct json **ret)
{
	struct str text;
	struct err *e = file_read(m->a, record_path(m), MAX_CONFIG * NETWORKS_MAX, &text);

	*ret = json_array(m->a);
	if (err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "nothing was added");
		return NULL;
	}
	TRY(e);
	return json_parse(m->a, text, ret);
}

/* Last added first; the first error is told after all were tried. */
static struct err *delete_networks(struct multus *m, const struct json *list)
{
	struct err *first = NULL;

	for (size_t i = json_len(list); i-- > 0;) {
		struct err *e = run_network(m, json_idx(list, i), "DEL", NULL);

		if (first)
			err_ignore(e, "the first one is told");
		else
			first = e;
	}
	if (!first && unlink(record_path(m)) && errno != ENOENT)
		return err_errno(errno, "unlink %s", record_path(m));
	return first;
}

/* ADD */

static struct err *connect_api(struct multus *m)
{
	struct client_opts opts = { .user_agent = "isoplane-multus" };

	opts.kubeconfig = arena_strz(m->a, json_str_at(m->config, "kubeconfig"));
	if (!*opts.kubeconfig)
		return err_new(ERR_INVALID, "the configuration needs kubeconfig");
	return client_new(&opts, &m->client);
}

static struct err *get_pod(struct multus *m, struct json **ret)
{
	TRY(client_get(m->client, m->a, GVR_POD, m->ns, m->pod, ret));
	if (!str_empty(m->uid) && !str_eq(m->uid, meta_uid(*ret)))
		return err_new(ERR_CONFLICT, "Pod '" STR_FMT "' is another one by now",
			       STR_ARG(m->pod));
	return NULL;
}

/* What a network's plugins are told beyond the definition: the MAC, addresses, who the Pod is. */
static void add_runtime(struct multus *m, const struct network_request *r, struct json *plugins,
			struct json *net)
{
	struct str args = m->args;

	if (!str_empty(r->mac))
		args = arena_fmt(m->a, "%s" STR_FMT ";MAC=" STR_FMT,
				 str_contains(args, STR("IgnoreUnknown=")) ? ""
									   : "IgnoreUnknown=1;",
				 STR_ARG(args), STR_ARG(r->mac));
	json_set_str(m->a, net, "args", args);
	json_for_each(it, plugins)
	{
		const struct json *caps = json_get(it.val, "capabilities");
		struct json *rc = json_object(m->a);

		if (!str_empty(r->mac) && json_bool_at(caps, "mac", false))
			json_set_str(m->a, rc, "mac", r->mac);
		if (json_len(r->ips) && json_bool_at(caps, "ips", false))
			json_set(m->a, rc, "ips", json_copy(m->a, r->ips));
		json_delz(it.val, "capabilities");
		if (json_len(rc))
			json_set(m->a, it.val, "runtimeConfig", rc);
	}
}

static struct err *add_network(struct multus *m, const struct network_request *r,
			       struct json *record, struct json *statuses)
{
	struct json *nad = NULL, *plugins = NULL, *net = json_object(m->a), *result = NULL;
	struct str full = arena_fmt(m->a, STR_FMT "/" STR_FMT, STR_ARG(r->ns), STR_ARG(r->name));

	TRY(client_get(m->client, m->a, GVR_NAD, r->ns, r->name, &nad));
	TRY(networks_plugins(m->a, nad, &plugins));
	json_set_str(m->a, net, "interface", r->interface);
	add_runtime(m, r, plugins, net);
	json_set(m->a, net, "plugins", plugins);
	json_push(record, net);
	/* written down before, so that a crash half way leaves nothing behind */
	TRY(write_record(m, record));
	TRY(run_network(m, net, "ADD", &result));
	json_set(m->a, net, "result", json_copy(m->a, result));
	TRY(write_record(m, record));
	json_push(statuses, networks_status(m->a, full, r->interface, result, false));
	return NULL;
}

static struct err *report(struct multus *m, const struct json *statuses)
{
	struct json *patch = json_object(m->a);
	_cleanup_buf_ struct buf b = { 0 };

	json_write_pretty(&b, statuses);
	json_set(m->a, json_sub(m->a, json_sub(m->a, patch, "metadata"), "annotations"),
		 ANNO_NETWORK_STATUS, json_str(m->a, buf_to_arena(&b, m->a)));
	return err_wrap(client_patch(m->client, m->a, GVR_POD, m->ns, m->pod, "status",
				     CLIENT_PATCH_MERGE, patch, NULL),
			"network-status");
}

static struct err *add_requests(struct multus *m, const struct network_request *reqs, size_t n)
{
	struct json *record = json_array(m->a), *statuses = json_array(m->a);
	const struct json *prev = json_get(m->config, "prevResult");
	struct err *e = NULL, *undo;

	json_push(statuses, networks_status(m->a, json_str_at(m->config, "name"),
					    arena_str(m->a, env("CNI_IFNAME")), prev, true));
	for (size_t i = 0; i < n && !e; i++)
		e = err_wrap(add_network(m, &reqs[i], record, statuses),
			     "network '" STR_FMT "/" STR_FMT "'", STR_ARG(reqs[i].ns),
			     STR_ARG(reqs[i].name));
	if (!e)
		e = report(m, statuses);
	if (e) {
		undo = delete_networks(m, record);
		err_ignore(undo, "the runtime calls DEL for what is left");
	}
	return e;
}

static struct err *add(struct multus *m)
{
	struct network_request reqs[NETWORKS_MAX];
	struct json *pod = NULL;
	struct str text;
	size_t n = 0;

	if (str_empty(m->pod))
		return NULL;
	TRY(connect_api(m));
	TRY(get_pod(m, &pod));
	text = meta_annotation(pod, ANNO_NETWORKS);
	if (str_empty(text))
		return NULL;
	TRY(networks_parse(m->a, text, m->ns, reqs, &n));
	return n ? add_requests(m, reqs, n) : NULL;
}

/* the other commands */

static struct err *check(struct multus *m)
{
	struct json *list;

	TRY(read_record(m, &list));
	json_for_each(it, list) TRY(run_network(m, it.val, "CHECK", NULL));
	return NULL;
}

static struct err *del(struct multus *m)
{
	struct json *list;

	TRY(read_record(m, &list));
	return delete_networks(m, list);
}

static struct err *run(void *arg)
{
	struct multus *m = arg;
	struct err *e = NULL;

	fiber_limit_ms(DEADLINE_MS);
	if (str_eqz(m->command, "ADD"))
		e = add(m);
	else if (str_eqz(m->command, "DEL"))
		e = del(m);
	else if (str_eqz(m->command, "CHECK"))
		e = check(m);
	else
		e = err_new(ERR_INVALID, "unknown CNI_COMMAND '" STR_FMT "'", STR_ARG(m->command));
	m->client = client_free(m->client);
	return e;
}

static void print_error(struct arena *a, const struct json *config, const struct err *e)
{
	struct json *out = json_object(a);
	struct str version = json_str_at(config, "cniVersion");

	json_set_str(a, out, "cniVersion", str_empty(version) ? STR("0.4.0") : version);
	json_set_int(a, out, "code", 999);
	json_set_str(a, out, "msg", arena_fmt(a, "isoplane-multus: " STR_FMT, STR_ARG(err_msg(e))));
	printf(STR_FMT "\n", STR_ARG(json_text(a, out)));
}

int isoplane_multus_main(int argc, char **argv)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct multus m = { .a = a };
	const struct json *prev;
	struct err *e;

	if (str_eqz(env("CNI_COMMAND"), "VERSION")) {
		fputs(CNI_VERSIONS, stdout);
		return 0;
	}
	e = read_config(&m);
	if (!e)
		e = fiber_main(run, &m);
	if (e) {
		print_error(a, m.config, e);
		err_free(e);
		return 1;
	}
	prev = json_get(m.config, "prevResult");
	if (str_eqz(m.command, "ADD") && prev)
		printf(STR_FMT "\n", STR_ARG(json_text(a, prev)));
	return 0;
}
