/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "client/kubeconfig.h"
#include "client/rest.h"
#include "io/http.h"
#include "virt/main.h"
#include "virt/version.h"
#include "virt/virtctl/virtctl.h"
#include "json/json.h"

#define DRY_RUN                                                                                   \
	{                                                                                         \
		"dry-run", 0, VIRTCTL_BOOL, "false",                                              \
			"--dry-run=false: Flag used to set whether to perform a dry run or not. " \
			"If true the command will be executed without performing any changes."    \
	}
#define FORCE                                                                                  \
	{                                                                                      \
		"force", 0, VIRTCTL_BOOL, "false",                                             \
			"--force=false: Only used when grace-period=0. If true, immediately "  \
			"remove VMI pod from API and bypass graceful deletion. Note that "     \
			"immediate deletion of some resources may result in inconsistency or " \
			"data loss and requires confirmation."                                 \
	}
#define GRACE                                                                               \
	{                                                                                   \
		"grace-period", 0, VIRTCTL_INT, "-1",                                       \
			"--grace-period=-1: Period of time in seconds given to the VMI to " \
			"terminate gracefully. Can only be set to 0 when --force is true "  \
			"(force deletion). Currently only setting 0 is supported."          \
	}

static const struct virtctl_flag start_flags[] = {
	[START_PAUSED] = { "paused", 0, VIRTCTL_BOOL, "false",
			   "--paused=false: If set to true, start virtual machine in paused "
			   "state" },
	[START_DRY_RUN] = DRY_RUN,
	{ NULL },
};
static const struct virtctl_flag stop_flags[] = {
	[STOP_FORCE] = FORCE, [STOP_GRACE] = GRACE, [STOP_DRY_RUN] = DRY_RUN, { NULL }
};
static const struct virtctl_flag pause_flags[] = { [PAUSE_DRY_RUN] = DRY_RUN, { NULL } };
static const struct virtctl_flag console_flags[] = {
	[CONSOLE_TIMEOUT] = { "timeout", 0, VIRTCTL_INT, "5",
			      "The number of minutes to wait for the virtual machine instance to "
			      "be "
			      "ready." },
	{ NULL },
};
static const struct virtctl_flag version_flags[] = {
	[VERSION_CLIENT] = { "client", 'c', VIRTCTL_BOOL, "false",
			     "Client version only (no server required)." },
	{ NULL },
};
static const struct virtctl_flag convert_flags[] = {
	[CONVERT_FILE] = { "file", 'f', VIRTCTL_STRING, "-", "The manifest; - is standard input." },
	[CONVERT_OUTPUT] = { "output", 'o', VIRTCTL_STRING, "yaml", "yaml or json" },
	{ NULL },
};
static const struct virtctl_flag no_flags[] = { { NULL } };

static const struct virtctl_command commands[] = {
	{ "console", "console (VMI)", "Connect to a console of a virtual machine instance.",
	  "console myvmi", 1, true, console_flags, virtctl_console },
	{ "convert", "convert [-f FILE]",
	  "Convert a manifest to its counterpart, containers to virtual machines or back.",
	  "convert -f pod.yaml", 0, false, convert_flags, virtctl_convert },
	{ "pause", "pause vm|vmi (VM)|(VMI)", "Pause a virtual machine", "pause vm myvm", 2, true,
	  pause_flags, virtctl_pause },
	{ "reset", "reset (VMI)", "Reset a virtual machine instance", "reset myvmi", 1, true,
	  no_flags, virtctl_reset },
	{ "restart", "restart (VM)", "Restart a virtual machine.", "restart myvm", 1, true,
	  stop_flags, virtctl_restart },
	{ "soft-reboot", "soft-reboot (VMI)", "Soft reboot a virtual machine instance",
	  "soft-reboot myvmi", 1, true, no_flags, virtctl_softreboot },
	{ "start", "start (VM)", "Start a virtual machine.", "start myvm", 1, true, start_flags,
	  virtctl_start },
	{ "stop", "stop (VM)", "Stop a virtual machine.", "stop myvm", 1, true, stop_flags,
	  virtctl_stop },
	{ "unpause", "unpause vm|vmi (VM)|(VMI)", "Unpause a virtual machine", "unpause vm myvm", 2,
	  true, pause_flags, virtctl_unpause },
	{ "version", "version", "Print the client and server version information.", "version", 0,
	  true, version_flags, virtctl_version },
};

enum { G_KUBECONFIG, G_CONTEXT, G_NAMESPACE, G_SERVER, G_VERBOSE, GLOBALS_N_ };

static const struct virtctl_flag globals[] = {
	[G_KUBECONFIG] = { "kubeconfig", 0, VIRTCTL_STRING, "",
			   "Path to the kubeconfig file to use for CLI requests." },
	[G_CONTEXT] = { "context", 0, VIRTCTL_STRING, "",
			"The name of the kubeconfig context to use" },
	[G_NAMESPACE] = { "namespace", 'n', VIRTCTL_STRING, "",
			  "If present, the namespace scope for this CLI request" },
	[G_SERVER] = { "server", 's', VIRTCTL_STRING, "",
		       "The address and port of the Kubernetes API server" },
	[G_VERBOSE] = { "v", 'v', VIRTCTL_INT, "2", "log level" },
	{ NULL },
};

struct invocation {
	struct virtctl v;
	const struct virtctl_command *command;
	struct str global[GLOBALS_N_];
	bool help;
};

/* flags */

bool virtctl_given(const struct virtctl *v, size_t i)
{
	return v->values[i].p != NULL;
}

bool virtctl_bool(const struct virtctl *v, size_t i)
{
	return str_eqz(v->values[i], "true");
}

int64_t virtctl_int(const struct virtctl *v, size_t i, int64_t dflt)
{
	int64_t n;

	return virtctl_given(v, i) && str_to_i64(v->values[i], &n) ? n : dflt;
}

static const struct virtctl_flag *find_flag(const struct virtctl_flag *flags, struct str name,
					    bool letter, size_t *ret_i)
{
	for (size_t i = 0; flags && flags[i].name; i++) {
		if (letter ? name.n == 1 && name.p[0] == flags[i].letter
			   : str_eqz(name, flags[i].name)) {
			*ret_i = i;
			return &flags[i];
		}
	}
	return NULL;
}

static struct err *check_value(const struct virtctl_flag *f, struct str value)
{
	int64_t n;

	if (f->type == VIRTCTL_INT && !str_to_i64(value, &n))
		return err_new(ERR_INVALID,
			       "invalid argument \"" STR_FMT
			       "\" for \"--%s\" flag: strconv.ParseInt: parsing \"" STR_FMT
			       "\": invalid syntax",
			       STR_ARG(value), f->name, STR_ARG(value));
	if (f->type == VIRTCTL_BOOL && !str_eqz(value, "true") && !str_eqz(value, "false"))
		return err_new(ERR_INVALID,
			       "invalid argument \"" STR_FMT
			       "\" for \"--%s\" flag: strconv.ParseBool: parsing \"" STR_FMT
			       "\": invalid syntax",
			       STR_ARG(value), f->name, STR_ARG(value));
	return NULL;
}

/* argv[*i] is a flag; its value may be the next argument. */
static struct err *parse_flag(struct invocation *inv, int argc, char **argv, int *i)
{
	struct str value = str_from(argv[*i]), name;
	bool letter = !str_has_prefix(value, STR("--"));
	const struct virtctl_flag *f;
	struct str *slot;
	bool has_value;
	size_t k;

	value = str_skip(value, letter ? 1 : 2);
	has_value = str_cut(&value, '=', &name);
	if (letter && name.n > 1 && !has_value) {
		value = str_skip(name, 1);
		name = str_sub(name, 0, 1);
		has_value = true;
	}
	if (str_eqz(name, letter ? "h" : "help")) {
		inv->help = true;
		return NULL;
	}
	f = find_flag(inv->command ? inv->command->flags : NULL, name, letter, &k);
	slot = f ? &inv->v.values[k] : NULL;
	if (!f) {
		f = find_flag(globals, name, letter, &k);
		slot = f ? &inv->global[k] : NULL;
	}
	if (!f && letter)
		return err_new(ERR_INVALID, "unknown shorthand flag: '" STR_FMT "' in %s",
			       STR_ARG(name), argv[*i]);
	if (!f)
		return err_new(ERR_INVALID, "unknown flag: --" STR_FMT, STR_ARG(name));
	if (!has_value && f->type == VIRTCTL_BOOL)
		value = STR("true");
	else if (!has_value && *i + 1 < argc)
		value = str_from(argv[++*i]);
	else if (!has_value)
		return err_new(ERR_INVALID, "flag needs an argument: %s", argv[*i]);
	TRY(check_value(f, value));
	*slot = value;
	return NULL;
}

static const struct virtctl_command *find_command(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (str_eqz(name, commands[i].name))
			return &commands[i];
	}
	return NULL;
}

/* The first word that is no flag (or a flag's value) is the command. */
static struct err *parse(struct invocation *inv, int argc, char **argv)
{
	bool only_args = false;

	for (int i = 1; i < argc; i++) {
		struct str word = str_from(argv[i]);

		if (!only_args && str_eqz(word, "--")) {
			only_args = true;
		} else if (!only_args && word.n > 1 && word.p[0] == '-') {
			TRY(parse_flag(inv, argc, argv, &i));
		} else if (!inv->command) {
			inv->command = find_command(word);
			if (str_eqz(word, "help"))
				inv->help = true;
			else if (!inv->command)
				return err_new(ERR_INVALID,
					       "unknown command \"" STR_FMT "\" for \"virtctl\"",
					       STR_ARG(word));
		} else if (inv->v.n_args < VIRTCTL_MAX_ARGS) {
			inv->v.args[inv->v.n_args++] = word;
		} else {
			inv->v.n_args++;
		}
	}
	if (inv->command && !inv->help && inv->v.n_args != inv->command->n_args)
		return err_new(ERR_INVALID, "accepts %zu arg(s), received %zu",
			       inv->command->n_args, inv->v.n_args);
	return NULL;
}

static void print_flags(const struct virtctl_flag *flags)
{
	for (; flags->name; flags++) {
		if (flags->letter)
			printf("  -%c, ", flags->letter);
		else
			printf("      ");
		printf("--%s%s:\n\t%s\n", flags->name, flags->type == VIRTCTL_BOOL ? "=false" : "",
		       flags->help);
	}
}

static void print_usage(const struct virtctl_command *c)
{
	if (c) {
		printf("%s\n\nUsage:\n  virtctl %s [flags]\n\nExamples:\n  virtctl %s\n", c->help,
		       c->usage, c->example);
		if (c->flags->name)
			printf("\nFlags:\n");
		print_flags(c->flags);
		printf("\nUse \"virtctl options\" for a list of global command-line options "
		       "(applies to all commands).\n");
		return;
	}
	printf("virtctl controls virtual machine related operations on your kubernetes cluster.\n\n"
	       "Available Commands:\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		printf("  %-16s%s\n", commands[i].name, commands[i].help);
	printf("\nUse \"virtctl <command> --help\" for more information about a given command.\n"
	       "Use \"virtctl options\" for a list of global command-line options (applies to all "
	       "commands).\n");
}

/* the cluster */

static const char *kubeconfig_path(struct invocation *inv)
{
	const char *env = getenv("KUBECONFIG"), *home = getenv("HOME");

	if (!str_empty(inv->global[G_KUBECONFIG]))
		return inv->global[G_KUBECONFIG].p;
	if (env && *env)
		return env;
	return arena_fmt(inv->v.a, "%s/.kube/config", home ? home : "").p;
}

static struct err *connect_cluster(struct invocation *inv)
{
	const char *context = str_empty(inv->global[G_CONTEXT]) ? NULL : inv->global[G_CONTEXT].p;
	struct client_opts opts = { .kubeconfig = kubeconfig_path(inv),
				    .context = context,
				    .server = inv->global[G_SERVER],
				    .user_agent = "virtctl" };
	struct kubeconfig k;

	TRY(kubeconfig_load(inv->v.a, opts.kubeconfig, context, &k));
	inv->v.ns = inv->global[G_NAMESPACE];
	if (str_empty(inv->v.ns))
		inv->v.ns = str_empty(k.ns) ? STR("default") : k.ns;
	return client_new(&opts, &inv->v.client);
}

struct str virtctl_path(const struct virtctl *v, const char *resource, struct str name,
			const char *sub)
{
	struct str ns = http_url_encode(v->a, v->ns), escaped = http_url_encode(v->a, name);

	return arena_fmt(
		v->a, "/apis/subresources.kubevirt.io/v1/namespaces/" STR_FMT "/%s/" STR_FMT "/%s",
		STR_ARG(ns), resource, STR_ARG(escaped), sub);
}

struct json *virtctl_server_version(struct virtctl *v, struct err **ret_err)
{
	struct json *out = NULL;

	*ret_err = client_raw(v->client, v->a, "GET",
			      STR("/apis/subresources.kubevirt.io/v1/version"), NULL, &out);
	return *ret_err ? NULL : out;
}

/* "v1.9" of "v1.9.0-x" */
static struct str minor(struct str version)
{
	size_t dot = str_find_char(version, '.', 0);

	return str_sub(version, 0, str_find_char(version, '.', dot + 1));
}

/* After a failure: it may be that client and server are of different versions. */
static void note_mismatch(struct virtctl *v)
{
	struct err *e;
	struct json *server = virtctl_server_version(v, &e);
	struct str theirs = json_str_at(server, "gitVersion");

	err_ignore(e, "the command's own error is told anyway");
	if (!str_empty(theirs) && !str_eq(minor(theirs), minor(STR(VIRT_VERSION))))
		fprintf(stderr,
			"You are using a client virtctl version that is different from the "
			"KubeVirt version running in the cluster\nClient Version: " VIRT_VERSION
			"\nServer Version: " STR_FMT "\n\n",
			STR_ARG(theirs));
}

static struct err *run(void *arg)
{
	struct invocation *inv = arg;
	bool needs = inv->command->needs_cluster && !(inv->command->run == virtctl_version &&
						      virtctl_bool(&inv->v, VERSION_CLIENT));
	struct err *e = NULL;

	if (needs)
		e = connect_cluster(inv);
	if (!e) {
		e = inv->command->run(&inv->v);
		if (e && inv->v.client)
			note_mismatch(&inv->v);
	}
	inv->v.client = client_free(inv->v.client);
	return e;
}

int virtctl_main(int argc, char **argv)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct invocation inv = { .v = { .a = a } };
	struct err *e;

	if (argc > 1 && strcmp(argv[1], "options") == 0) {
		printf("The following options can be passed to any command:\n\n");
		print_flags(globals);
		return 0;
	}
	e = parse(&inv, argc, argv);
	if (!e && (inv.help || !inv.command)) {
		print_usage(inv.command);
		return 0;
	}
	if (!e)
		e = fiber_main(run, &inv);
	if (!e)
		return 0;
	fflush(stdout);
	fprintf(stderr, STR_FMT "\n", STR_ARG(err_msg(e)));
	err_free(e);
	return 1;
}
