/* SPDX-License-Identifier: Apache-2.0 */

/* Volumes of a Pod. */

#include "api/names.h"
#include "api/quantity.h"
#include "base/arena.h"
#include "server/pod-validate.h"
#include "server/valid.h"
#include "json/json.h"

#define MODE_MAX      0777
#define TOKEN_MIN     600
#define TOKEN_MAX     INT64_C(4294967296)
#define MODE_TEXT     "must be a number between 0 and 0777 (octal), both inclusive"
#define CONFLICT_TEXT "conflicting duplicate paths"

typedef void (*volume_fn)(const struct valid *v, const struct json *src, const struct place *p);

static void mode_validate(const struct valid *v, const struct json *src, const char *member,
			  const struct place *p)
{
	const struct json *mode = json_get(src, member);

	if (mode && (json_as_int(mode, 0) < 0 || json_as_int(mode, 0) > MODE_MAX))
		valid_invalid(v, AT(p, member), mode, MODE_TEXT);
}

static void items_validate(const struct valid *v, const struct json *src, const struct place *p)
{
	json_for_each(it, json_get(src, "items"))
	{
		const struct place *at = AT_IDX(AT(p, "items"), it.i);

		local_path_validate(v, AT(at, "path"), json_str_at(it.val, "path"));
		mode_validate(v, it.val, "mode", at);
	}
}

static void secret_volume(const struct valid *v, const struct json *src, const struct place *p)
{
	if (str_empty(json_str_at(src, "secretName")))
		valid_required(v, AT(p, "secretName"), NULL);
	mode_validate(v, src, "defaultMode", p);
	items_validate(v, src, p);
}

static void config_map_volume(const struct valid *v, const struct json *src, const struct place *p)
{
	if (str_empty(json_str_at(src, "name")))
		valid_required(v, AT(p, "name"), NULL);
	mode_validate(v, src, "defaultMode", p);
	items_validate(v, src, p);
}

static void empty_dir(const struct valid *v, const struct json *src, const struct place *p)
{
	struct quantity q;

	if (quantity_parse(json_str_at(src, "sizeLimit"), &q) && q.nano < 0)
		valid_forbidden(v, AT(p, "sizeLimit"),
				"SizeLimit field must be a valid resource quantity");
}

void host_path_validate(const struct valid *v, const struct json *src, const struct place *p)
{
	struct str path = json_str_at(src, "path");

	if (path_has_dotdot(path))
		valid_invalid_str(v, AT(p, "path"), path, "must not contain '..'");
}

/* As upstream, errors name no item. */
static void downward_file(const struct valid *v, const struct json *file, const struct place *p)
{
	const struct json *field = json_get(file, "fieldRef"),
			  *res = json_get(file, "resourceFieldRef");

	if (str_empty(json_str_at(file, "path")))
		valid_required(v, AT(p, "path"), NULL);
	local_path_validate(v, AT(p, "path"), json_str_at(file, "path"));
	if (field) {
		field_ref_validate(v, field, AT(p, "fieldRef"), true);
		if (res)
			valid_invalid_str(v, p, STR("resource"),
					  "fieldRef and resourceFieldRef can not be specified "
					  "simultaneously");
	} else if (res) {
		resource_ref_validate(v, res, AT(p, "resourceFieldRef"), true);
	} else {
		valid_required(v, p, "one of fieldRef and resourceFieldRef is required");
	}
	mode_validate(v, file, "mode", p);
}

static void downward_volume(const struct valid *v, const struct json *src, const struct place *p)
{
	mode_validate(v, src, "defaultMode", p);
	json_for_each(it, json_get(src, "items")) downward_file(v, it.val, p);
}

static void projected_token(const struct valid *v, const struct json *src, const struct place *p,
			    const struct place *whole)
{
	const struct json *s = json_get(src, "expirationSeconds");
	struct str path = json_str_at(src, "path");

	if (s && json_as_int(s, 0) < TOKEN_MIN)
		valid_invalid(v, AT(p, "expirationSeconds"), s,
			      "may not specify a duration less than 10 minutes");
	if (s && json_as_int(s, 0) > TOKEN_MAX)
		valid_invalid(v, AT(p, "expirationSeconds"), s,
			      "may not specify a duration larger than 2^32 seconds");
	if (str_empty(path))
		valid_required(v, AT(whole, "path"), NULL);
	else
		local_path_validate(v, AT(whole, "path"), path);
}

/* Whether path is new; all grows. */
static bool path_is_new(const struct valid *v, struct json *all, struct str path)
{
	if (str_empty(path))
		return true;
	if (json_get_s(all, path))
		return false;
	json_set_s(v->a, all, path, json_bool(v->a, true));
	return true;
}

static void projected_items(const struct valid *v, const struct json *src, const struct place *p,
			    const struct place *whole, struct json *paths)
{
	struct str name = json_str_at(src, "name");

	if (str_empty(name))
		valid_required(v, AT(p, "name"), NULL);
	items_validate(v, src, p);
	json_for_each(it, json_get(src, "items"))
	{
		if (!path_is_new(v, paths, json_str_at(it.val, "path")))
			valid_invalid_str(v, whole, name, CONFLICT_TEXT);
	}
}

static void projected_volume(const struct valid *v, const struct json *src, const struct place *p)
{
	struct json *paths = json_object(v->a);

	mode_validate(v, src, "defaultMode", p);
	json_for_each(it, json_get(src, "sources"))
	{
		const struct place *at = AT_IDX(AT(p, "sources"), it.i);
		const struct json *one;

		if ((one = json_get(it.val, "secret")))
			projected_items(v, one, AT(at, "secret"), p, paths);
		if ((one = json_get(it.val, "configMap")))
			projected_items(v, one, AT(at, "configMap"), p, paths);
		json_for_each(file, json_at(it.val, "downwardAPI.items"))
		{
			struct str path = json_str_at(file.val, "path");

			downward_file(v, file.val, AT(at, "downwardAPI"));
			if (!path_is_new(v, paths, path))
				valid_invalid_str(v, p, path, CONFLICT_TEXT);
		}
		if ((one = json_get(it.val, "serviceAccountToken")))
			projected_token(v, one, AT(at, "serviceAccountToken"), p);
		if (json_len(it.val) > 1)
			valid_forbidden(v, at, "may not specify more than 1 volume type");
	}
}

void nfs_validate(const struct valid *v, const struct json *src, const struct place *p)
{
	struct str path = json_str_at(src, "path");

	if (!str_has_prefix(path, STR("/")))
		valid_invalid_str(v, AT(p, "path"), path, "must be an absolute path");
}

void iscsi_validate(const struct valid *v, const struct json *src, const struct place *p)
{
	struct str iqn = json_str_at(src, "iqn");
	const struct json *lun = json_get(src, "lun");

	if (!str_empty(iqn) && !str_has_prefix(iqn, STR("iqn")) &&
	    !str_has_prefix(iqn, STR("eui")) && !str_has_prefix(iqn, STR("naa")))
		valid_invalid_str(v, AT(p, "iqn"), iqn,
				  "must be valid format starting with iqn, eui, or naa");
	if (json_as_int(lun, 0) < 0 || json_as_int(lun, 0) > 255)
		valid_invalid(v, AT(p, "lun"), lun, "must be between 0 and 255, inclusive");
	if ((json_bool_at(src, "chapAuthDiscovery", false) ||
	     json_bool_at(src, "chapAuthSession", false)) &&
	    !json_get(src, "secretRef"))
		valid_required(v, AT(p, "secretRef"), NULL);
}

static void claim_volume(const struct valid *v, const struct json *src, const struct place *p)
{
	if (str_empty(json_str_at(src, "claimName")))
		valid_required(v, AT(p, "claimName"), NULL);
}

static void csi_volume(const struct valid *v, const struct json *src, const struct place *p)
{
	csi_driver_name_validate(v, json_str_at(src, "driver"), AT(p, "driver"));
}

static void image_volume(const struct valid *v, const struct json *src, const struct place *p)
{
	if (str_empty(json_str_at(src, "reference")))
		valid_required(v, AT(p, "reference"), NULL);
}

static void ephemeral_volume(const struct valid *v, const struct json *src, const struct place *p)
{
	if (!json_get(src, "volumeClaimTemplate"))
		valid_required(v, AT(p, "volumeClaimTemplate"), NULL);
}

static const struct {
	const char *member;
	volume_fn check;
} volume_types[] = {
	{ "emptyDir", empty_dir },
	{ "hostPath", host_path_validate },
	{ "secret", secret_volume },
	{ "configMap", config_map_volume },
	{ "downwardAPI", downward_volume },
	{ "projected", projected_volume },
	{ "nfs", nfs_validate },
	{ "iscsi", iscsi_validate },
	{ "persistentVolumeClaim", claim_volume },
	{ "csi", csi_volume },
	{ "image", image_volume },
	{ "ephemeral", ephemeral_volume },
};

static void volume_validate(const struct valid *v, const struct json *vol, const struct place *p)
{
	size_t n = 0;

	json_for_each(it, vol)
	{
		if (str_eqz(it.key, "name") || json_is_null(it.val))
			continue;
		if (n++)
			valid_forbidden(v, AT(p, arena_strz(v->a, it.key)),
					"may not specify more than 1 volume type");
	}
	if (!n)
		valid_required(v, p, "must specify a volume type");
	if (n != 1)
		return;
	for (size_t i = 0; i < ARRAY_LEN(volume_types); i++) {
		const struct json *src = json_get(vol, volume_types[i].member);

		if (src)
			volume_types[i].check(v, src, AT(p, volume_types[i].member));
	}
}

void pod_volumes_validate(const struct valid *v, const struct json *spec, const struct place *p)
{
	json_for_each(it, json_get(spec, "volumes"))
		volume_validate(v, it.val, AT_IDX(AT(p, "volumes"), it.i));
}
