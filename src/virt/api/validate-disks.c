/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/api/validate.h"
#include "json/json.h"

#include "api/names.h"

#define SERIAL_MAX     256
#define BLOCK_SIZE_MIN 512
#define BLOCK_SIZE_MAX 2097152

static const char *const kinds[] = { "disk", "lun", "cdrom" };
static const char *const buses[] = { "virtio", "sata", "scsi", "usb" };

static bool one_of(struct str s, const char *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (str_eqz(s, v[i]))
			return true;
	}
	return false;
}

static void check_bus(struct causes *c, const struct json *disk, const char *kind, struct str path,
		      struct str doubled)
{
	const struct json *target = json_get(disk, kind);
	struct str bus = json_str_at(target, "bus");
	struct str at = field(c, STR_FMT ".%s.bus", STR_ARG(path), kind);

	if (!target || str_empty(bus))
		return;
	if (str_eqz(bus, "ide"))
		cause_add(c, CAUSE_INVALID, at, "IDE bus is not supported");
	else if (!one_of(bus, buses, ARRAY_LEN(buses)))
		cause_add(c, CAUSE_INVALID, at,
			  STR_FMT " is set with an unrecognized bus " STR_FMT
				  ", must be one of: [virtio sata scsi usb]",
			  STR_ARG(path), STR_ARG(bus));
	if (str_eqz(bus, "virtio") && str_eqz(str_from(kind), "cdrom"))
		cause_add(c, CAUSE_INVALID, at, "Bus type " STR_FMT " is invalid for CD-ROM device",
			  STR_ARG(bus));
	if (str_eqz(bus, "sata") && str_eqz(str_from(kind), "disk") &&
	    json_bool_at(target, "readonly", false))
		cause_add(c, CAUSE_INVALID, at, STR_FMT " hard-disks do not support read-only.",
			  STR_ARG(bus));
	if (json_bool_at(disk, "dedicatedIOThread", false) && !str_eqz(bus, "virtio"))
		cause_add(c, CAUSE_NOT_SUPPORTED, doubled,
			  "IOThreads are not supported for disks on a " STR_FMT " bus",
			  STR_ARG(bus));
}

static bool is_serial_char(char ch)
{
	return (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') ||
	       ch == '_' || ch == '.' || ch == '+' || ch == '-';
}

static void check_serial(struct causes *c, struct str serial, struct str path)
{
	struct str at = field(c, STR_FMT ".serial", STR_ARG(path));

	for (size_t i = 0; i < serial.n; i++) {
		if (is_serial_char(serial.p[i]))
			continue;
		cause_add(c, CAUSE_INVALID, at,
			  STR_FMT " must be made up of the following characters [A-Za-z0-9_.+-], "
				  "if specified",
			  STR_ARG(path));
		break;
	}
	if (serial.n > SERIAL_MAX)
		cause_add(c, CAUSE_INVALID, at,
			  STR_FMT " must be less than or equal to %d in length, if specified",
			  STR_ARG(path), SERIAL_MAX);
}

static void check_enums(struct causes *c, const struct json *disk, struct str path,
			struct str disks, struct str doubled)
{
	static const char *const caches[] = { "none", "writethrough", "writeback" };
	static const char *const ios[] = { "native", "threads" };
	static const char *const policies[] = { "stop", "ignore", "report", "enospace" };
	struct str cache = json_str_at(disk, "cache"), io = json_str_at(disk, "io");
	struct str policy = json_str_at(disk, "errorPolicy");

	if (!str_empty(cache) && !one_of(cache, caches, ARRAY_LEN(caches))) {
		struct str at = field(c, STR_FMT ".cache", STR_ARG(path));

		cause_add(c, CAUSE_INVALID, at, STR_FMT " has invalid value " STR_FMT, STR_ARG(at),
			  STR_ARG(cache));
	}
	if (!str_empty(io) && !one_of(io, ios, ARRAY_LEN(ios)))
		cause_add(c, CAUSE_NOT_SUPPORTED, field(c, STR_FMT ".io", STR_ARG(doubled)),
			  "Disk IO mode for " STR_FMT
			  " is not supported. Supported modes are: native, threads.",
			  STR_ARG(disks));
	if (!str_empty(policy) && !one_of(policy, policies, ARRAY_LEN(policies))) {
		struct str at = field(c, STR_FMT ".errorPolicy", STR_ARG(path));

		cause_add(c, CAUSE_INVALID, at, STR_FMT " has invalid value \"" STR_FMT "\"",
			  STR_ARG(at), STR_ARG(policy));
	}
}

static void check_size(struct causes *c, int64_t size, struct str at)
{
	if (size < BLOCK_SIZE_MIN)
		cause_add(c, CAUSE_INVALID, at,
			  "Provided size of %lld is less than the supported minimum size of %d",
			  (long long)size, BLOCK_SIZE_MIN);
	else if (size > BLOCK_SIZE_MAX)
		cause_add(c, CAUSE_INVALID, at,
			  "Provided size of %lld is greater than the supported maximum size of %d",
			  (long long)size, BLOCK_SIZE_MAX);
	else if (size & (size - 1))
		cause_add(c, CAUSE_INVALID, at, "Provided size of %lld is not a power of 2",
			  (long long)size);
}

static void check_block_size(struct causes *c, const struct json *disk, struct str path)
{
	const struct json *bs = json_get(disk, "blockSize"), *custom = json_get(bs, "custom");
	struct str at = field(c, STR_FMT ".blockSize", STR_ARG(path));
	int64_t logical = json_int_at(custom, "logical", 0);
	int64_t physical = json_int_at(custom, "physical", 0);
	struct str logical_at = field(c, STR_FMT ".custom.logical", STR_ARG(at));

	if (!custom)
		return;
	if (json_bool_at(bs, "matchVolume.enabled", json_get(bs, "matchVolume") != NULL)) {
		cause_add(c, CAUSE_INVALID, at,
			  "Block size matching can't be enabled together with a custom value");
		return;
	}
	if (logical > physical)
		cause_add(c, CAUSE_INVALID, logical_at,
			  "Logical size %lld must be the same or less than the physical size of "
			  "%lld",
			  (long long)logical, (long long)physical);
	else {
		check_size(c, logical, logical_at);
		check_size(c, physical, field(c, STR_FMT ".custom.physical", STR_ARG(at)));
	}
	if (str_eqz(json_str_at(disk, "disk.bus"), "sata") && logical != BLOCK_SIZE_MIN)
		cause_add(c, CAUSE_INVALID, logical_at,
			  "Logical size %lld must be %d for SATA devices", (long long)logical,
			  BLOCK_SIZE_MIN);
}

static void check_name(struct causes *c, struct str name, struct str doubled)
{
	struct str prefixed = field(c, "volume" STR_FMT, STR_ARG(name));
	const char *why = name_check_dns_label(prefixed);

	if (why)
		cause_add(c, CAUSE_INVALID, field(c, STR_FMT ".name", STR_ARG(doubled)), "%s", why);
}

static void check_disk(struct causes *c, const struct json *disk, struct str disks, size_t i)
{
	struct str path = field(c, STR_FMT "[%zu]", STR_ARG(disks), i);
	/* upstream appends the list's path once more for some rules, and clients compare it */
	struct str doubled = field(c, STR_FMT ".domain.devices.disks[%zu]", STR_ARG(disks), i);
	const struct json *order = json_get(disk, "bootOrder");
	size_t n = 0;

	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		n += json_get(disk, kinds[k]) != NULL;
		check_bus(c, disk, kinds[k], path, doubled);
	}
	if (n > 1)
		cause_add(c, CAUSE_INVALID, path,
			  STR_FMT " can only have a single target type defined", STR_ARG(path));
	if (order && json_as_int(order, 0) < 1)
		cause_add(c, CAUSE_INVALID, field(c, STR_FMT ".bootOrder", STR_ARG(path)),
			  STR_FMT " must have a boot order > 0, if supplied", STR_ARG(path));
	if (!str_empty(json_str_at(disk, "disk.pciAddress")) &&
	    !str_eqz(json_str_at(disk, "disk.bus"), "virtio"))
		cause_add(c, CAUSE_INVALID,
			  field(c, STR_FMT ".domain.devices.disks.disk[%zu].pciAddress",
				STR_ARG(disks), i),
			  "disk " STR_FMT ".domain.devices.disks.disk[%zu].name - setting a PCI "
			  "address is only possible with bus type virtio.",
			  STR_ARG(disks), i);
	check_serial(c, json_str_at(disk, "serial"), path);
	check_enums(c, disk, path, disks, doubled);
	check_block_size(c, disk, path);
	check_name(c, json_str_at(disk, "name"), doubled);
}

/* A disk shows a volume, and only claims can be LUNs. */
static void check_volume(struct causes *c, const struct json *spec, const struct json *disk,
			 struct str path)
{
	struct str name = json_str_at(disk, "name");
	const struct json *vol = json_find_by(json_get(spec, "volumes"), "name", name);

	if (!vol) {
		if (json_get(disk, "cdrom"))
			return;
		cause_add(c, CAUSE_INVALID, field(c, STR_FMT ".name", STR_ARG(path)),
			  STR_FMT ".Name '" STR_FMT "' not found.", STR_ARG(path), STR_ARG(name));
		return;
	}
	if (json_get(disk, "lun") && !json_get(vol, "persistentVolumeClaim") &&
	    !json_get(vol, "dataVolume")) {
		struct str at = field(c, STR_FMT ".lun", STR_ARG(path));

		cause_add(c, CAUSE_INVALID, at,
			  STR_FMT " can only be mapped to a DataVolume or PersistentVolumeClaim "
				  "volume.",
			  STR_ARG(at));
	}
}

static bool order_is_taken(const struct json *list, size_t n, int64_t order)
{
	for (size_t i = 0; i < n; i++) {
		if (json_int_at(json_idx(list, i), "bootOrder", 0) == order)
			return true;
	}
	return false;
}

static void check_boot_orders(struct causes *c, const struct json *devices, struct str path)
{
	static const char *const lists[] = { "disks", "interfaces" };

	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		json_for_each(it, json_get(devices, lists[l]))
		{
			int64_t order = json_int_at(it.val, "bootOrder", 0);
			const struct json *disks = json_get(devices, "disks");
			struct str at = field(c, STR_FMT ".%s[%zu].bootOrder", STR_ARG(path),
					      lists[l], it.i);

			if (order < 1)
				continue;
			if (order_is_taken(json_get(devices, lists[l]), it.i, order) ||
			    (l == 1 && order_is_taken(disks, json_len(disks), order)))
				cause_add(c, CAUSE_INVALID, at,
					  "Boot order for " STR_FMT
					  " already set for a different device.",
					  STR_ARG(at));
		}
	}
}

void validate_disks(struct causes *c, const struct json *spec, struct str path)
{
	const struct json *devices = json_at(spec, "domain.devices");
	const struct json *disks = json_get(devices, "disks");
	struct str at = field(c, STR_FMT ".domain.devices", STR_ARG(path));
	struct str list = field(c, STR_FMT ".disks", STR_ARG(at));

	json_for_each(it, disks)
	{
		struct str path_i = field(c, STR_FMT "[%zu]", STR_ARG(list), it.i);
		struct str name = json_str_at(it.val, "name");

		for (size_t k = 0; k < it.i; k++) {
			if (str_eq(name, json_str_at(json_idx(disks, k), "name")))
				cause_add(c, CAUSE_INVALID,
					  field(c, STR_FMT ".name", STR_ARG(path_i)),
					  STR_FMT " and " STR_FMT
						  "[%zu] must not have the same Name.",
					  STR_ARG(path_i), STR_ARG(list), k);
		}
		check_disk(c, it.val, list, it.i);
		check_volume(c, spec, it.val, path_i);
	}
	check_boot_orders(c, devices, at);
}
