/* SPDX-License-Identifier: Apache-2.0 */
#include "base/encode.h"
#include "virt/api/validate.h"
#include "virt/mapping/virt-config.h"
#include "json/json.h"

#define CLOUD_INIT_MAX 2048

static const char *const sources[] = {
	"cloudInitConfigDrive",
	"cloudInitNoCloud",
	"configMap",
	"containerDisk",
	"containerPath",
	"dataVolume",
	"downwardAPI",
	"downwardMetrics",
	"emptyDisk",
	"ephemeral",
	"hostDisk",
	"memoryDump",
	"persistentVolumeClaim",
	"secret",
	"serviceAccount",
	"sysprep",
};

/* One kind of data a cloud-init source carries: inline, in base64, or by a Secret. */
static const struct data_kind {
	const char *plain, *base64, *ref;
	const char *source, *data, *larger; /* as the messages call it */
} user_data = { "userData",       "userDataBase64", "secretRef",
		"userdatasource", "userdata",       "UserDataSecretRef" },
  network_data = { "networkData",        "networkDataBase64", "networkDataSecretRef",
		   "networkdata source", "networkdata",       "NetworkDataSecretRef" };

/* How many of the kind's sources are set. */
static size_t check_cloud_data(struct causes *c, const struct json *src, const char *type,
			       struct str path, const struct data_kind *k)
{
	struct str plain = json_str_at(src, k->plain), b64 = json_str_at(src, k->base64);
	struct str decoded = plain;
	size_t n = !str_empty(plain) + !str_empty(b64) + !!json_get(src, k->ref);

	if (!str_empty(b64) && !base64_decode(c->a, b64, &decoded)) {
		struct str at = field(c, STR_FMT ".%s", STR_ARG(path), k->base64);

		cause_add(c, CAUSE_INVALID, at, STR_FMT ".%s.%s is not a valid base64 value.",
			  STR_ARG(at), type, k->base64);
	}
	if (n > 1)
		cause_add(c, CAUSE_INVALID, path, STR_FMT " must have only one %s set.",
			  STR_ARG(path), k->source);
	if (decoded.n > CLOUD_INIT_MAX)
		cause_add(c, CAUSE_INVALID, path,
			  STR_FMT " %s exceeds %d byte limit. Should use %s for larger data.",
			  STR_ARG(path), k->data, CLOUD_INIT_MAX, k->larger);
	return n;
}

static void check_cloud_init(struct causes *c, const struct json *vol, const char *type,
			     struct str path)
{
	const struct json *src = json_get(vol, type);
	struct str at = field(c, STR_FMT ".%s", STR_ARG(path), type);

	if (!src)
		return;
	if (check_cloud_data(c, src, type, at, &user_data) +
		    check_cloud_data(c, src, type, at, &network_data) ==
	    0)
		cause_add(c, CAUSE_INVALID, at,
			  STR_FMT " must have at least one userdatasource or one "
				  "networkdatasource set.",
			  STR_ARG(at));
}

static void check_required(struct causes *c, const struct json *vol, const char *source,
			   const char *key, struct str path)
{
	struct str at;

	if (!json_get(vol, source) || !str_empty(json_str_at(json_get(vol, source), key)))
		return;
	at = field(c, STR_FMT ".%s.%s", STR_ARG(path), source, key);
	cause_add(c, CAUSE_REQUIRED, at, STR_FMT " is a required field", STR_ARG(at));
}

static void check_host_disk(struct causes *c, const struct virt_config *cfg, const struct json *vol,
			    struct str path)
{
	const struct json *d = json_get(vol, "hostDisk");
	struct str type = json_str_at(d, "type");

	if (!d)
		return;
	if (!virt_config_gate(cfg, "HostDisk"))
		cause_add(c, CAUSE_INVALID, path, "HostDisk feature gate is not enabled");
	if (str_empty(json_str_at(d, "path"))) {
		struct str at = field(c, STR_FMT ".hostDisk.path", STR_ARG(path));

		cause_add(c, CAUSE_NOT_SUPPORTED, at, STR_FMT " is required for hostDisk volume",
			  STR_ARG(at));
	}
	if (!str_eqz(type, "Disk") && !str_eqz(type, "DiskOrCreate")) {
		struct str at = field(c, STR_FMT ".hostDisk.type", STR_ARG(path));

		cause_add(c, CAUSE_NOT_SUPPORTED, at,
			  STR_FMT " has invalid value '" STR_FMT
				  "', allowed are 'Disk' or 'DiskOrCreate'",
			  STR_ARG(at), STR_ARG(type));
	}
}

static void check_container_disk(struct causes *c, const struct json *vol, struct str path)
{
	struct str p = json_str_at(vol, "containerDisk.path");
	struct str at = field(c, STR_FMT ".containerDisk", STR_ARG(path));

	if (str_empty(p))
		return;
	if (str_eqz(p, "/"))
		cause_add(c, CAUSE_INVALID, at, STR_FMT " must not point to root", STR_ARG(at));
	else if (p.p[0] != '/' || str_contains(p, STR("..")) || str_contains(p, STR("//")) ||
		 p.p[p.n - 1] == '/')
		cause_add(c, CAUSE_INVALID, at,
			  STR_FMT " must be an absolute path to a file without relative components",
			  STR_ARG(at));
}

static void check_source(struct causes *c, const struct virt_config *cfg, const struct json *vol,
			 struct str path)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(sources); i++)
		n += json_get(vol, sources[i]) != NULL;
	if (n != 1)
		cause_add(c, CAUSE_INVALID, path, STR_FMT " must have exactly one source type set",
			  STR_ARG(path));
	if (json_get(vol, "dataVolume") && str_empty(json_str_at(vol, "dataVolume.name")))
		cause_add(c, CAUSE_REQUIRED, field(c, STR_FMT ".name", STR_ARG(path)),
			  "DataVolume 'name' must be set");
	check_cloud_init(c, vol, "cloudInitNoCloud", path);
	check_cloud_init(c, vol, "cloudInitConfigDrive", path);
	check_container_disk(c, vol, path);
	check_host_disk(c, cfg, vol, path);
	check_required(c, vol, "configMap", "name", path);
	check_required(c, vol, "secret", "secretName", path);
	check_required(c, vol, "serviceAccount", "serviceAccountName", path);
	if (json_get(vol, "downwardMetrics") && !virt_config_gate(cfg, "DownwardMetrics"))
		cause_add(c, CAUSE_INVALID, path,
			  "downwardMetrics disks are not allowed: DownwardMetrics feature gate is "
			  "not enabled.");
}

static void check_at_most_one(struct causes *c, const struct json *volumes, const char *source,
			      const char *name, struct str path)
{
	size_t n = 0;

	json_for_each(it, volumes) n += json_get(it.val, source) != NULL;
	if (n > 1)
		cause_add(c, CAUSE_INVALID, path, STR_FMT " must have max one %s volume set",
			  STR_ARG(path), name);
}

void validate_volumes(struct causes *c, const struct virt_config *cfg, const struct json *spec,
		      struct str path)
{
	const struct json *volumes = json_get(spec, "volumes");
	struct str list = field(c, STR_FMT ".volumes", STR_ARG(path));

	json_for_each(it, volumes)
	{
		struct str at = field(c, STR_FMT "[%zu]", STR_ARG(list), it.i);
		struct str name = json_str_at(it.val, "name");

		for (size_t k = 0; k < it.i; k++) {
			if (str_eq(name, json_str_at(json_idx(volumes, k), "name")))
				cause_add(c, CAUSE_INVALID, field(c, STR_FMT ".name", STR_ARG(at)),
					  STR_FMT " and " STR_FMT
						  "[%zu] must not have the same Name.",
					  STR_ARG(at), STR_ARG(list), k);
		}
		check_source(c, cfg, it.val, at);
	}
	check_at_most_one(c, volumes, "serviceAccount", "serviceAccount", list);
	check_at_most_one(c, volumes, "downwardMetrics", "downwardMetric", list);
	check_at_most_one(c, volumes, "memoryDump", "memory dump", list);
}
