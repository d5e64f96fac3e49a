/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/handler/net.h"

#include <unistd.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "io/file.h"
#include "io/process.h"
#include "virt/handler/net-plan.h"
#include "json/json.h"

#define NET_MAX_OUTPUT (1024 * 1024)

static struct str net_cache_path(struct arena *a, struct str uid)
{
	return arena_fmt(a, NET_CACHE_DIR "/" STR_FMT ".json", STR_ARG(uid));
}

/* Runs a shell script in a network namespace, which the child opens through our descriptor. */
static struct err *net_run(struct arena *a, int netns, struct str script, struct str *ret_out)
{
	struct str ns = arena_fmt(a, "--net=/proc/%d/fd/%d", getpid(), netns);
	const char *argv[] = { "nsenter", ns.p, "sh", "-e", NULL };

	return process_run(a, argv, script, NET_MAX_OUTPUT, ret_out);
}

static struct err *net_read(struct arena *a, int netns, struct json **ret_addrs,
			    struct json **ret_routes)
{
	struct str out, addrs;

	TRY(net_run(a, netns, STR("ip -j addr\necho ===\nip -j route\n"), &out));
	addrs = str_sub(out, 0, str_find(out, STR("===")));
	TRY(json_parse(a, str_trim(addrs), ret_addrs));
	out = str_trim(str_skip(out, addrs.n + 3));
	if (str_empty(out))
		out = STR("[]");
	return json_parse(a, out, ret_routes);
}

struct json *net_recall(struct arena *a, struct str uid)
{
	struct json *doc = NULL;
	struct str text;
	struct err *e = file_read(a, net_cache_path(a, uid).p, NET_MAX_OUTPUT, &text);

	if (!e)
		e = json_parse(a, text, &doc);
	err_ignore(e, "an unknown or damaged file is as good as none");
	return doc;
}

void net_forget(struct str uid)
{
	_cleanup_arena_ struct arena *a = arena_new();

	unlink(net_cache_path(a, uid).p);
}

static struct err *net_make_plan(struct arena *a, const struct json *vmi, int netns,
				 struct json **ret)
{
	_cleanup_buf_ struct buf script = { 0 };
	struct json *addrs, *routes, *doc;

	TRY(net_read(a, netns, &addrs, &routes));
	TRY(net_plan(a, vmi, addrs, routes, &script, &doc));
	json_set(a, doc, "script", json_strcpy(a, buf_str(&script)));
	TRY(file_mkdir_p(NET_CACHE_DIR, 0700));
	TRY(file_write_atomic(net_cache_path(a, meta_uid(vmi)).p, json_text(a, doc), 0600));
	*ret = doc;
	return NULL;
}

struct err *net_prepare(struct arena *a, const struct json *vmi, int netns, struct json **ret)
{
	struct json *doc = net_recall(a, meta_uid(vmi));
	struct str out;

	if (!doc)
		TRY(net_make_plan(a, vmi, netns, &doc));
	TRY(err_wrap(net_run(a, netns, json_str_at(doc, "script"), &out), "network set-up"));
	*ret = doc;
	return NULL;
}
