/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/launcher/cloudinit.h"

#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "io/file.h"
#include "virt/launcher/iso9660.h"
#include "virt/launcher/vm.h"
#include "json/json.h"

#define CLOUDINIT_MAX_SECRET (1024 * 1024)

/* One of the two documents: its members in the volume source, and its keys in a Secret. */
struct cloudinit_doc {
	const char *inline_key, *base64_key, *secret_key, *dir_suffix;
	const char *file_names[2];
};

static const struct cloudinit_doc cloudinit_user = {
	"userData", "userDataBase64", "secretRef", "udata", { "userdata", "userData" },
};
static const struct cloudinit_doc cloudinit_network = {
	"networkData",
	"networkDataBase64",
	"networkDataSecretRef",
	"ndata",
	{ "networkdata", "networkData" },
};

static struct err *cloudinit_secret(struct arena *a, const struct cloudinit_doc *doc,
				    struct str volume, const char *secret_dir, struct str *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(doc->file_names); i++) {
		struct str path = arena_fmt(a, "%s/" STR_FMT "-%s/%s", secret_dir, STR_ARG(volume),
					    doc->dir_suffix, doc->file_names[i]);
		struct err *e = file_read(a, path.p, CLOUDINIT_MAX_SECRET, ret);

		if (!e)
			return NULL;
		if (!err_is(e, ERR_NOT_FOUND))
			return e;
		err_free(e);
	}
	return err_new(ERR_NOT_FOUND, "volume '" STR_FMT "': its Secret has no key %s",
		       STR_ARG(volume), doc->file_names[0]);
}

static struct err *cloudinit_read(struct arena *a, const struct cloudinit_doc *doc,
				  struct str volume, const struct json *source,
				  const char *secret_dir, struct str *ret)
{
	struct str text = json_str_at(source, doc->inline_key);

	if (str_empty(text)) {
		struct str b64 = json_str_at(source, doc->base64_key);

		if (!str_empty(b64) && !base64_decode(a, b64, &text))
			return err_new(ERR_INVALID, "volume '" STR_FMT "': %s is no base64",
				       STR_ARG(volume), doc->base64_key);
	}
	if (str_empty(text) && json_get(source, doc->secret_key))
		TRY(cloudinit_secret(a, doc, volume, secret_dir, &text));
	*ret = text;
	return NULL;
}

static struct str cloudinit_hostname(const struct vm *vm)
{
	struct str h = json_str_at(vm->vmi, "spec.hostname");

	if (!str_empty(h))
		return h;
	h = vm->name;
	return str_sub(h, 0, MIN(str_find_char(h, '.', 0), (size_t)63));
}

static struct str cloudinit_nocloud_meta(struct arena *a, const struct vm *vm)
{
	struct json *m = json_object(a);

	json_set(a, m, "instance-id",
		 json_strf(a, STR_FMT "." STR_FMT, STR_ARG(vm->name), STR_ARG(vm->ns)));
	json_set_str(a, m, "local-hostname", cloudinit_hostname(vm));
	return json_text(a, m);
}

static struct str cloudinit_drive_meta(struct arena *a, const struct vm *vm)
{
	struct json *m = json_object(a);

	json_set(a, m, "instance_id",
		 json_strf(a, STR_FMT "." STR_FMT, STR_ARG(vm->name), STR_ARG(vm->ns)));
	json_set_str(a, m, "hostname", cloudinit_hostname(vm));
	json_set_str(a, m, "uuid", vm->uuid);
	return json_text(a, m);
}

struct err *cloudinit_iso(struct arena *a, const struct vm *vm, struct str volume,
			  const struct json *source, bool config_drive, const char *secret_dir,
			  struct buf *out)
{
	static const char *const names[2][3] = {
		{ "meta-data", "user-data", "network-config" },
		{ "openstack/latest/meta_data.json", "openstack/latest/user_data",
		  "openstack/latest/network_data.json" },
	};
	struct str user, network;
	struct iso_file files[3];
	size_t n = 2;

	TRY(cloudinit_read(a, &cloudinit_user, volume, source, secret_dir, &user));
	TRY(cloudinit_read(a, &cloudinit_network, volume, source, secret_dir, &network));
	if (str_empty(user) && str_empty(network))
		return err_new(ERR_INVALID,
			       "volume '" STR_FMT
			       "': cloud-init without user data and network data",
			       STR_ARG(volume));
	files[0].data = config_drive ? cloudinit_drive_meta(a, vm) : cloudinit_nocloud_meta(a, vm);
	files[1].data = user;
	files[2].data = network;
	if (!str_empty(network))
		n = 3;
	for (size_t i = 0; i < n; i++)
		files[i].path = str_from(names[config_drive][i]);
	return iso_write(a, config_drive ? STR("config-2") : STR("cidata"), files, n, out);
}
