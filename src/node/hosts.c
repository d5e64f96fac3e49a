/* SPDX-License-Identifier: Apache-2.0 */

#include "node/hosts.h"

#include <unistd.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "io/file.h"
#include "node/agent.h"
#include "json/json.h"

#define HOSTS_MAX (1 << 20)

struct str hosts_path(struct agent *ag, struct arena *a, const struct json *pod)
{
	struct str dir = agent_pod_dir(ag, a, meta_uid(pod));

	return arena_fmt(a, "%.*s/etc-hosts", STR_ARG(dir));
}

static void hosts_add_aliases(struct buf *b, const struct json *aliases)
{
	if (!json_len(aliases))
		return;
	buf_addz(b, "\n# Entries added by HostAliases.\n");
	json_for_each(it, aliases)
	{
		buf_add(b, json_str_at(it.val, "ip"));
		json_for_each(name, json_get(it.val, "hostnames"))
			buf_addf(b, "\t%.*s", STR_ARG(json_as_str(name.val)));
		buf_addc(b, '\n');
	}
}

struct str hosts_render(struct arena *a, const struct json *pod, struct str ip,
			struct str node_hosts)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct str name = json_str_at(pod, "spec.hostname");
	struct str sub = json_str_at(pod, "spec.subdomain");

	if (!name.n)
		name = meta_name(pod);
	if (json_bool_at(pod, "spec.hostNetwork", false)) {
		buf_addz(&b, "# Kubernetes-managed hosts file (host network).\n");
		buf_add(&b, node_hosts);
	} else {
		buf_addz(&b, "# Kubernetes-managed hosts file.\n"
			     "127.0.0.1\tlocalhost\n"
			     "::1\tlocalhost ip6-localhost ip6-loopback\n"
			     "fe00::0\tip6-localnet\n"
			     "fe00::0\tip6-mcastprefix\n"
			     "fe00::1\tip6-allnodes\n"
			     "fe00::2\tip6-allrouters\n");
		if (ip.n && sub.n)
			buf_addf(&b, "%.*s\t%.*s.%.*s.%.*s.svc.cluster.local\t%.*s\n", STR_ARG(ip),
				 STR_ARG(name), STR_ARG(sub), STR_ARG(meta_namespace(pod)),
				 STR_ARG(name));
		else if (ip.n)
			buf_addf(&b, "%.*s\t%.*s\n", STR_ARG(ip), STR_ARG(name));
	}
	hosts_add_aliases(&b, json_at(pod, "spec.hostAliases"));
	return buf_to_arena(&b, a);
}

struct err *hosts_write(struct agent *ag, struct arena *a, const struct json *pod, struct str ip)
{
	struct str path = hosts_path(ag, a, pod), dir = agent_pod_dir(ag, a, meta_uid(pod));
	struct str node = STR_EMPTY, old = STR_EMPTY, text;

	if (json_bool_at(pod, "spec.hostNetwork", false))
		err_ignore(file_read(a, "/etc/hosts", HOSTS_MAX, &node), "an absent one is empty");
	text = hosts_render(a, pod, ip, node);
	err_ignore(file_read(a, path.p, HOSTS_MAX, &old), "written for the first time");
	if (old.n && str_eq(old, text))
		return NULL;
	TRY(file_mkdir_p(dir.p, 0750));
	return file_write_atomic(path.p, text, 0644);
}
