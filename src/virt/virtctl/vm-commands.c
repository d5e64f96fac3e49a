/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/err.h"
#include "client/rest.h"
#include "virt/mapping/vmi.h"
#include "virt/names.h"
#include "virt/version.h"
#include "virt/virtctl/virtctl.h"
#include "json/json.h"

/* start, stop, restart, pause, unpause, reboots: one PUT each, and a sentence. */

static struct json *options(struct virtctl *v, bool dry_run)
{
	struct json *body = json_object(v->a);

	if (!dry_run)
		return body;
	printf("Dry Run execution\n");
	json_push(json_sub_array(v->a, body, "dryRun"), json_strz(v->a, "All"));
	return body;
}

static struct err *put(struct virtctl *v, const char *resource, struct str name, const char *sub,
		       const struct json *body)
{
	return client_raw(v->client, v->a, "PUT", virtctl_path(v, resource, name, sub), body, NULL);
}

static void scheduled(const char *kind, struct str name, const char *what)
{
	printf("%s " STR_FMT " was scheduled to %s\n", kind, STR_ARG(name), what);
}

/* upstream's texts put an error's message after theirs */
static struct err *told(struct err *e, const char *prefix)
{
	return e ? err_remsg(e, "%s" STR_FMT, prefix, STR_ARG(err_msg(e))) : NULL;
}

struct err *virtctl_start(struct virtctl *v)
{
	struct json *body = options(v, virtctl_bool(v, START_DRY_RUN));

	if (virtctl_bool(v, START_PAUSED))
		json_set_bool(v->a, body, "paused", true);
	TRY(told(put(v, "virtualmachines", v->args[0], "start", body),
		 "Error starting VirtualMachine "));
	scheduled("VM", v->args[0], "start");
	return NULL;
}

/* --force and --grace-period come together or not at all. */
static struct err *add_grace(struct virtctl *v, struct json *body, const char *key)
{
	bool force = virtctl_bool(v, STOP_FORCE);

	if (force != virtctl_given(v, STOP_GRACE))
		return err_new(ERR_INVALID, "Must both use --force=true and set --grace-period.");
	if (force)
		json_set_int(v->a, body, key, virtctl_int(v, STOP_GRACE, -1));
	return NULL;
}

struct err *virtctl_stop(struct virtctl *v)
{
	struct json *body = options(v, virtctl_bool(v, STOP_DRY_RUN));

	TRY(add_grace(v, body, "gracePeriod"));
	TRY(told(put(v, "virtualmachines", v->args[0], "stop", body),
		 virtctl_bool(v, STOP_FORCE) ? "error force stopping VirtualMachine: "
					     : "error stopping VirtualMachine "));
	scheduled("VM", v->args[0], "stop");
	return NULL;
}

struct err *virtctl_restart(struct virtctl *v)
{
	struct json *body = options(v, virtctl_bool(v, STOP_DRY_RUN));

	TRY(add_grace(v, body, "gracePeriodSeconds"));
	TRY(told(put(v, "virtualmachines", v->args[0], "restart", body),
		 virtctl_bool(v, STOP_FORCE) ? "error force restarting VirtualMachine: "
					     : "error restarting VirtualMachine: "));
	scheduled("VM", v->args[0], "restart");
	return NULL;
}

/* pause and unpause take a VM or a VMI */

static bool is_vm_kind(struct str kind)
{
	return str_eq_nocase(kind, STR("vm")) || str_eq_nocase(kind, STR("virtualmachine"));
}

static bool is_vmi_kind(struct str kind)
{
	return str_eq_nocase(kind, STR("vmi")) ||
	       str_eq_nocase(kind, STR("virtualmachineinstance"));
}

static struct err *get_vm(struct virtctl *v, struct str name, struct json **ret)
{
	struct err *e = client_get(v->client, v->a, GVR_VM, v->ns, name, ret);

	return told(e,
		    arena_fmt(v->a, "Error getting VirtualMachine " STR_FMT ": ", STR_ARG(name)).p);
}

static struct err *pause_not_found(struct json *vm, struct str name)
{
	if (str_eqz(vm_run_strategy(vm), "Halted"))
		return err_new(ERR_NOT_FOUND,
			       "Error pausing VirtualMachineInstance " STR_FMT
			       ". VirtualMachine " STR_FMT " is not set to run",
			       STR_ARG(name), STR_ARG(name));
	return err_new(ERR_NOT_FOUND,
		       "Error pausing VirtualMachineInstance " STR_FMT ", it was not found",
		       STR_ARG(name));
}

struct err *virtctl_pause(struct virtctl *v)
{
	struct json *body = options(v, virtctl_bool(v, PAUSE_DRY_RUN)), *vm = NULL;
	struct str name = v->args[1];
	struct err *e = NULL;

	if (is_vm_kind(v->args[0]))
		TRY(get_vm(v, name, &vm));
	if (vm || is_vmi_kind(v->args[0]))
		e = put(v, "virtualmachineinstances", name, "pause", body);
	if (vm && err_is(e, ERR_NOT_FOUND)) {
		err_ignore(e, "reworded");
		return pause_not_found(vm, name);
	}
	TRY(told(e, arena_fmt(v->a, "Error pausing VirtualMachineInstance " STR_FMT ": ",
			      STR_ARG(name))
			    .p));
	scheduled("VMI", name, "pause");
	return NULL;
}

struct err *virtctl_unpause(struct virtctl *v)
{
	struct json *body = options(v, virtctl_bool(v, PAUSE_DRY_RUN)), *vm = NULL;
	struct str name = v->args[1];

	if (is_vm_kind(v->args[0]))
		TRY(get_vm(v, name, &vm));
	else if (!is_vmi_kind(v->args[0]))
		return NULL;
	TRY(told(put(v, "virtualmachineinstances", name, "unpause", body),
		 arena_fmt(v->a, "Error unpausing VirtualMachineInstance " STR_FMT ": ",
			   STR_ARG(name))
			 .p));
	scheduled("VMI", name, "unpause");
	return NULL;
}

struct err *virtctl_softreboot(struct virtctl *v)
{
	TRY(told(put(v, "virtualmachineinstances", v->args[0], "softreboot", json_object(v->a)),
		 arena_fmt(v->a, "Error soft rebooting VirtualMachineInstance " STR_FMT ": ",
			   STR_ARG(v->args[0]))
			 .p));
	scheduled("VMI", v->args[0], "soft-reboot");
	return NULL;
}

struct err *virtctl_reset(struct virtctl *v)
{
	TRY(told(put(v, "virtualmachineinstances", v->args[0], "reset", json_object(v->a)),
		 arena_fmt(v->a, "Error reseting VirtualMachineInstance " STR_FMT ": ",
			   STR_ARG(v->args[0]))
			 .p));
	scheduled("VMI", v->args[0], "reset");
	return NULL;
}

/* version */

static void print_version(const char *whose, const struct json *info)
{
	static const char *const keys[] = { "gitVersion", "gitCommit", "gitTreeState", "buildDate",
					    "goVersion",  "compiler",  "platform" };

	printf("%s Version: version.Info{", whose);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		printf("%s%c%s:\"" STR_FMT "\"", i ? ", " : "", toupper(keys[i][0]), keys[i] + 1,
		       STR_ARG(json_str_at(info, keys[i])));
	printf("}\n");
}

struct err *virtctl_version(struct virtctl *v)
{
	struct json *client = json_object(v->a), *server;
	struct err *e;

	virt_version_fill(v->a, client);
	print_version("Client", client);
	if (virtctl_bool(v, VERSION_CLIENT))
		return NULL;
	server = virtctl_server_version(v, &e);
	TRY(told(e, "failed to get server version: "));
	print_version("Server", server);
	return NULL;
}
