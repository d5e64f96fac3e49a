/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Golden command lines: golden/NAME.yaml is a VMI, golden/NAME.args what QEMU gets. With
 * UPDATE_GOLDEN set in the environment the files are written instead.
 */

#include "virt/launcher/argv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "io/file.h"
#include "testkit/test.h"
#include "virt/launcher/vm.h"
#include "json/json.h"
#include "json/yaml.h"

static struct str golden_path(struct arena *a, const char *name, const char *ext)
{
	return arena_fmt(a, "%s/%s.%s", GOLDEN_DIR, name, ext);
}

static struct json *golden_vmi(struct arena *a, const char *name)
{
	struct json *vmi;
	struct str text;

	assert_no_err(file_read(a, golden_path(a, name, "yaml").p, 65536, &text));
	assert_no_err(yaml_parse(a, text, &vmi));
	return vmi;
}

/* Host's side as the preparers would fill it in. */
static void golden_host(struct arena *a, struct vm *vm)
{
	for (size_t i = 0; i < vm->n_nics; i++) {
		vm->nics[i].tap = arena_fmt(a, "tap%zu", i);
		vm->nics[i].mac = arena_fmt(a, "02:00:00:00:00:%02zx", i);
		vm->nics[i].mtu = 1450;
	}
	for (size_t i = 0; i < vm->n_disks; i++) {
		struct vm_image *img = arena_new_obj(a, struct vm_image);

		img->path = arena_fmt(a, "/images/" STR_FMT ".img", STR_ARG(vm->disks[i].name));
		img->format = STR("raw");
		img->direct = true;
		img->readonly = vm->disks[i].readonly;
		vm->disks[i].image = img;
		if (json_get(vm->disks[i].volume, "containerDisk")) {
			img->readonly = true;
			vm->disks[i].image = arena_new_obj(a, struct vm_image);
			*vm->disks[i].image = (struct vm_image){
				.path = STR("/overlay.qcow2"),
				.format = STR("qcow2"),
				.direct = true,
				.backing = img,
			};
		}
	}
	if (json_at(vm->domain, "firmware.kernelBoot")) {
		vm->kernel = STR("/boot/vmlinuz");
		vm->initrd = STR("/boot/initramfs");
	}
	if (json_at(vm->domain, "firmware.bootloader.efi")) {
		vm->efi_code = STR("/usr/share/OVMF/OVMF_CODE_4M.fd");
		vm->efi_vars = STR("/vars.fd");
	}
}

static void golden_check(const char *name)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_buf_ struct buf got = { 0 };
	const char *const *argv;
	struct vm *vm;
	struct str want;

	assert_no_err(vm_decode(a, golden_vmi(a, name), &vm));
	golden_host(a, vm);
	assert_no_err(vm_argv_build(a, vm, "qemu", &argv));
	for (; *argv; argv++)
		buf_addf(&got, "%s%s", *argv,
			 argv[0][0] == '-' && argv[1] && argv[1][0] != '-' ? " " : "\n");
	if (getenv("UPDATE_GOLDEN")) {
		assert_no_err(
			file_write_atomic(golden_path(a, name, "args").p, buf_str(&got), 0644));
		return;
	}
	assert_no_err(file_read(a, golden_path(a, name, "args").p, 65536, &want));
	if (!str_eq(buf_str(&got), want))
		fail_msg("%s: QEMU's command line changed:\n%s", name, got.p);
}

TEST(golden)
{
	static const char *const names[] = { "minimal", "kernel-boot", "disks", "efi",
					     "everything" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		golden_check(names[i]);
}

TEST(what_cannot_run_is_refused)
{
	static const struct {
		const char *spec;
		enum err_code code;
	} rows[] = {
		{ "{memory: {guest: 64Mi}}", ERR_N_ },
		{ "{memory: {guest: nope}}", ERR_INVALID },
		{ "{}", ERR_INVALID },
		{ "{memory: {guest: 64Mi}, cpu: {cores: 100000}}", ERR_INVALID },
		{ "{memory: {guest: 64Mi}, cpu: {cores: 600}}", ERR_INVALID },
		{ "{memory: {guest: 64Mi}, machine: {type: pc}}", ERR_INVALID },
		{ "{memory: {guest: 64Mi}, devices: {tpm: {}}}", ERR_INVALID },
		{ "{memory: {guest: 64Mi}, devices: {disks: [{name: a}]}}", ERR_INVALID },
		{ "{memory: {guest: 64Mi}, devices: {interfaces: [{name: a, model: x}]}}",
		  ERR_INVALID },
		{ "{memory: {guest: 64Mi}, devices: {video: {type: cga}}}", ERR_INVALID },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		const char *const *argv;
		struct json *vmi;
		struct vm *vm;
		struct err *e;

		assert_no_err(yaml_parse(a,
					 arena_fmt(a,
						   "{metadata: {name: a, namespace: b, uid: c}, "
						   "spec: {domain: %s}}",
						   rows[i].spec),
					 &vmi));
		e = vm_decode(a, vmi, &vm);
		if (!e)
			e = vm_argv_build(a, vm, "qemu", &argv);
		if (rows[i].code == ERR_N_)
			assert_no_err(e);
		else
			assert_err(e, rows[i].code);
	}
}

TEST_MAIN(T(golden), T(what_cannot_run_is_refused))
