/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/launcher/argv.h"

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/err.h"
#include "virt/launcher-api.h"
#include "virt/launcher/vm.h"
#include "json/json.h"

#define VM_TCG_MIB 64 /* of translated code */

void vm_arg(struct vm_argv *b, const char *arg)
{
	ASSERT(b->out->n < VM_ARGV_MAX);
	b->out->v[b->out->n++] = arg;
}

void vm_argf(struct vm_argv *b, const char *opt, const char *fmt, ...)
{
	va_list ap;
	struct str s;

	va_start(ap, fmt);
	s = arena_vfmt(b->a, fmt, ap);
	va_end(ap);
	vm_arg(b, opt);
	vm_arg(b, s.p);
}

struct str vm_quote(struct arena *a, struct str s)
{
	_cleanup_buf_ struct buf out = { 0 };

	if (str_find_char(s, ',', 0) == s.n)
		return s;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == ',')
			buf_addc(&out, ',');
		buf_addc(&out, s.p[i]);
	}
	return buf_to_arena(&out, a);
}

static struct str vm_quote_at(const struct vm_argv *b, const char *dotted)
{
	return vm_quote(b->a, json_str_at(b->vm->domain, dotted));
}

const char *vm_pci(struct vm_argv *b)
{
	return pci_next(&b->pci, b->a).p;
}

/* the machine */

static void vm_basics_argv(struct vm_argv *b)
{
	const struct vm *vm = b->vm;

	vm_argf(b, "-name", "guest=" STR_FMT "_" STR_FMT ",debug-threads=on",
		STR_ARG(vm_quote(b->a, vm->ns)), STR_ARG(vm_quote(b->a, vm->name)));
	vm_arg(b, "-S");
	vm_arg(b, "-no-user-config");
	vm_arg(b, "-nodefaults");
	vm_argf(b, "-uuid", STR_FMT, STR_ARG(vm_quote(b->a, vm->uuid)));
	vm_argf(b, "-m", "size=%lluM", (unsigned long long)((vm->memory + 0xfffff) >> 20));
	vm_argf(b, "-overcommit", "mem-lock=off");
	vm_argf(b, "-smp", "%u,maxcpus=%u,sockets=%u,dies=1,cores=%u,threads=%u",
		vm->sockets * vm->cores * vm->threads, vm->max_sockets * vm->cores * vm->threads,
		vm->max_sockets, vm->cores, vm->threads);
	vm_argf(b, "-display", "none");
	vm_argf(b, "-chardev", "socket,id=charmonitor,fd=%d", VM_QMP_FD);
	vm_argf(b, "-mon", "chardev=charmonitor,id=monitor,mode=control");
	vm_argf(b, "-sandbox",
		"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	vm_argf(b, "-msg", "timestamp=on");
}

static struct err *vm_machine_validate(const struct vm *vm)
{
	if (str_eqz(vm->machine, "q35") || str_has_prefix(vm->machine, STR("pc-q35-")))
		return NULL;
	return err_new(ERR_INVALID, "machine type '" STR_FMT "' is not supported, only q35 is",
		       STR_ARG(vm->machine));
}

static void vm_machine_argv(struct vm_argv *b)
{
	const struct vm *vm = b->vm;
	bool acpi = vm_flag(vm->domain, "features.acpi.enabled", true);
	bool smm = vm->secure_boot || vm_flag(vm->domain, "features.smm.enabled",
					      json_get(json_get(vm->domain, "features"), "smm"));

	vm_argf(b, "-machine", STR_FMT ",usb=off,vmport=off,dump-guest-core=off,smm=%s%s%s",
		STR_ARG(vm_quote(b->a, vm->machine)), smm ? "on" : "off", acpi ? "" : ",acpi=off",
		str_empty(vm->efi_code) ? "" : ",pflash0=pflash0,pflash1=pflash1");
	/* QEMU's own default for translated code grows with the host, not with the guest. */
	if (vm->kvm)
		vm_argf(b, "-accel", "kvm");
	else
		vm_argf(b, "-accel", "tcg,tb-size=%d", VM_TCG_MIB);
}

/* Hyper-V enlightenments: member of spec.domain.features.hyperv -> CPU property. */
static const struct {
	const char *feature, *property;
} vm_hyperv[] = {
	{ "relaxed", "hv-relaxed" },
	{ "vapic", "hv-vapic" },
	{ "vpindex", "hv-vpindex" },
	{ "runtime", "hv-runtime" },
	{ "synic", "hv-synic" },
	{ "synictimer", "hv-stimer" },
	{ "reset", "hv-reset" },
	{ "frequencies", "hv-frequencies" },
	{ "reenlightenment", "hv-reenlightenment" },
	{ "tlbflush", "hv-tlbflush" },
	{ "ipi", "hv-ipi" },
	{ "evmcs", "hv-evmcs" },
};

static void vm_cpu_hyperv(const struct vm_argv *b, struct buf *out)
{
	const struct json *hv = json_at(b->vm->domain, "features.hyperv");

	for (size_t i = 0; i < ARRAY_LEN(vm_hyperv); i++) {
		const struct json *f = json_get(hv, vm_hyperv[i].feature);

		if (f && vm_flag(f, "enabled", true))
			buf_addf(out, ",%s=on", vm_hyperv[i].property);
	}
	if (vm_flag(hv, "spinlocks.enabled", json_get(hv, "spinlocks")))
		buf_addf(out, ",hv-spinlocks=0x%llx",
			 (unsigned long long)json_int_at(hv, "spinlocks.spinlocks", 4096));
}

static void vm_cpu_features(const struct vm_argv *b, struct buf *out)
{
	json_for_each(it, json_at(b->vm->domain, "cpu.features"))
	{
		struct str policy = json_str_at(it.val, "policy");
		struct str name = vm_quote(b->a, json_str_at(it.val, "name"));

		if (str_eqz(policy, "disable") || str_eqz(policy, "forbid"))
			buf_addf(out, "," STR_FMT "=off", STR_ARG(name));
		else if (!str_eqz(policy, "optional"))
			buf_addf(out, "," STR_FMT "=on", STR_ARG(name));
	}
}

static void vm_cpu_argv(struct vm_argv *b)
{
	const struct vm *vm = b->vm;
	struct str model = vm_quote_at(b, "cpu.model");
	bool host = str_empty(model) || str_eqz(model, "host-model") ||
		    str_eqz(model, "host-passthrough");
	_cleanup_buf_ struct buf cpu = { 0 };

	/* TCG has no host to show: everything it can emulate. */
	if (host)
		buf_addz(&cpu, vm->kvm ? "host,migratable=on" : "max");
	else
		buf_add(&cpu, model);
	vm_cpu_features(b, &cpu);
	if (vm->kvm) {
		vm_cpu_hyperv(b, &cpu);
		if (vm_flag(vm->domain, "features.kvm.hidden", false))
			buf_addz(&cpu, ",kvm=off");
	}
	vm_argf(b, "-cpu", STR_FMT, STR_ARG(buf_str(&cpu)));
}

static void vm_smbios_argv(struct vm_argv *b)
{
	static const char *const chassis[][2] = {
		{ "manufacturer", "manufacturer" },
		{ "version", "version" },
		{ "serial", "serial" },
		{ "asset", "asset" },
		{ "sku", "sku" },
	};
	_cleanup_buf_ struct buf type3 = { 0 };

	vm_argf(b, "-smbios",
		"type=1,manufacturer=KubeVirt,product=None,uuid=" STR_FMT "%s" STR_FMT
		",family=KubeVirt",
		STR_ARG(vm_quote(b->a, b->vm->uuid)), str_empty(b->vm->fw_serial) ? "" : ",serial=",
		STR_ARG(vm_quote(b->a, b->vm->fw_serial)));
	for (size_t i = 0; i < ARRAY_LEN(chassis); i++) {
		const struct json *c = json_get(b->vm->domain, "chassis");
		struct str s = vm_quote(b->a, json_str_at(c, chassis[i][0]));

		if (!str_empty(s))
			buf_addf(&type3, ",%s=" STR_FMT, chassis[i][1], STR_ARG(s));
	}
	if (type3.n)
		vm_argf(b, "-smbios", "type=3" STR_FMT, STR_ARG(buf_str(&type3)));
}

static void vm_clock_argv(struct vm_argv *b)
{
	const struct json *clock = json_get(b->vm->domain, "clock");
	bool local = !str_empty(json_str_at(clock, "timezone"));
	struct str tick = json_str_at(clock, "timer.rtc.tickPolicy");

	vm_argf(b, "-rtc", "base=%s%s", local ? "localtime" : "utc",
		str_eqz(tick, "catchup") ? ",driftfix=slew" : "");
	if (json_get(json_get(clock, "timer"), "hpet") &&
	    !vm_flag(clock, "timer.hpet.present", true))
		vm_argf(b, "-machine", "hpet=off");
}

static void vm_boot_argv(struct vm_argv *b)
{
	const struct vm *vm = b->vm;

	vm_argf(b, "-boot", "%s", vm->paused ? "menu=on,splash-time=10000,strict=on" : "strict=on");
	if (str_empty(vm->kernel))
		return;
	vm_argf(b, "-kernel", STR_FMT, STR_ARG(vm->kernel));
	if (!str_empty(vm->initrd))
		vm_argf(b, "-initrd", STR_FMT, STR_ARG(vm->initrd));
	if (!str_empty(vm->kernel_args))
		vm_argf(b, "-append", STR_FMT, STR_ARG(vm->kernel_args));
}

static void vm_efi_argv(struct vm_argv *b)
{
	const struct vm *vm = b->vm;

	if (str_empty(vm->efi_code))
		return;
	vm_argf(b, "-blockdev",
		"driver=raw,node-name=pflash0,read-only=on,file.driver=file,file.filename=" STR_FMT,
		STR_ARG(vm_quote(b->a, vm->efi_code)));
	vm_argf(b, "-blockdev",
		"driver=raw,node-name=pflash1,file.driver=file,file.filename=" STR_FMT,
		STR_ARG(vm_quote(b->a, vm->efi_vars)));
	if (vm->secure_boot)
		vm_argf(b, "-global", "driver=cfi.pflash01,property=secure,value=on");
}

static void vm_action_argv(struct vm_argv *b)
{
	struct str watchdog = json_str_at(b->vm->devices, "watchdog.i6300esb.action");
	bool once = str_eqz(json_str_at(b->vm->domain, "rebootPolicy"), "Terminate");

	vm_argf(b, "-action", "panic=shutdown,reboot=%s,watchdog=" STR_FMT,
		once ? "shutdown" : "reset",
		STR_ARG(str_empty(watchdog) ? STR("reset") : vm_quote(b->a, watchdog)));
}

/* devices; their order decides on which bus each is, as in libvirt: NICs, controllers, disks, the
 * rest */

static void vm_serialbus_argv(struct vm_argv *b)
{
	const struct vm *vm = b->vm;
	struct str dir = vm_quote(b->a, vm->private_dir);

	vm_argf(b, "-device", "virtio-serial-pci-non-transitional,id=virtio-serial0,%s", vm_pci(b));
	vm_argf(b, "-chardev",
		"socket,id=charchannel0,path=" STR_FMT "/virt-agent0,server=on,wait=off",
		STR_ARG(dir));
	vm_argf(b, "-device",
		"virtserialport,bus=virtio-serial0.0,nr=1,chardev=charchannel0,"
		"id=channel0,name=org.qemu.guest_agent.0");
}

static void vm_console_argv(struct vm_argv *b)
{
	struct str dir = vm_quote(b->a, b->vm->private_dir);

	if (!vm_flag(b->vm->devices, "autoattachSerialConsole", true))
		return;
	vm_argf(b, "-chardev",
		"socket,id=charserial0,path=" STR_FMT "/" LAUNCHER_SERIAL
		",server=on,wait=off,logfile=" STR_FMT "/" LAUNCHER_SERIAL_LOG ",logappend=on",
		STR_ARG(dir), STR_ARG(dir));
	vm_argf(b, "-device", "isa-serial,chardev=charserial0,id=serial0,index=0");
}

static struct err *vm_display_validate(const struct vm *vm)
{
	struct str type = json_str_at(vm->devices, "video.type");

	if (str_empty(type) || str_eqz(type, "vga") || str_eqz(type, "bochs") ||
	    str_eqz(type, "cirrus") || str_eqz(type, "virtio"))
		return NULL;
	return err_new(ERR_INVALID, "video type '" STR_FMT "' is not supported", STR_ARG(type));
}

static void vm_display_argv(struct vm_argv *b)
{
	static const char *const models[][2] = {
		{ "bochs", "bochs-display,id=video0,vgamem=16384k" },
		{ "cirrus", "cirrus-vga,id=video0" },
		{ "virtio", "virtio-vga,id=video0,max_outputs=1" },
	};
	struct str type = json_str_at(b->vm->devices, "video.type");
	const char *model = "VGA,id=video0,vgamem_mb=16";

	if (!vm_flag(b->vm->devices, "autoattachGraphicsDevice", true))
		return;
	for (size_t i = 0; i < ARRAY_LEN(models); i++) {
		if (str_eqz(type, models[i][0]))
			model = models[i][1];
	}
	vm_argf(b, "-vnc", "vnc=unix:" STR_FMT "/" LAUNCHER_VNC,
		STR_ARG(vm_quote(b->a, b->vm->private_dir)));
	vm_argf(b, "-device", "%s,bus=pcie.0,addr=0x1", model);
}

static void vm_input_argv(struct vm_argv *b)
{
	json_for_each(it, json_get(b->vm->devices, "inputs"))
	{
		struct str name = vm_quote(b->a, json_str_at(it.val, "name"));

		if (str_eqz(json_str_at(it.val, "bus"), "virtio"))
			vm_argf(b, "-device", "virtio-tablet-pci,id=ua-" STR_FMT ",%s",
				STR_ARG(name), vm_pci(b));
		else
			vm_argf(b, "-device", "usb-tablet,id=ua-" STR_FMT ",bus=usb.0,port=%u",
				STR_ARG(name), ++b->n_usb);
	}
}

static void vm_balloon_argv(struct vm_argv *b)
{
	if (vm_flag(b->vm->devices, "autoattachMemBalloon", true))
		vm_argf(b, "-device",
			"virtio-balloon-pci-non-transitional,id=balloon0,free-page-reporting="
			"on,%s",
			vm_pci(b));
}

static void vm_rng_argv(struct vm_argv *b)
{
	if (!json_get(b->vm->devices, "rng"))
		return;
	vm_argf(b, "-object", "rng-random,id=objrng0,filename=/dev/urandom");
	vm_argf(b, "-device", "virtio-rng-pci-non-transitional,rng=objrng0,id=rng0,%s", vm_pci(b));
}

static void vm_sound_argv(struct vm_argv *b)
{
	const struct json *sound = json_get(b->vm->devices, "sound");

	if (!sound)
		return;
	vm_argf(b, "-audiodev", "id=audio1,driver=none");
	if (str_eqz(json_str_at(sound, "model"), "ac97")) {
		vm_argf(b, "-device", "AC97,id=sound0,audiodev=audio1,bus=pcie.0,addr=0x1c");
		return;
	}
	vm_argf(b, "-device", "ich9-intel-hda,id=sound0,bus=pcie.0,addr=0x1b");
	vm_argf(b, "-device", "hda-duplex,id=sound0-codec0,bus=sound0.0,cad=0,audiodev=audio1");
}

static void vm_watchdog_argv(struct vm_argv *b)
{
	if (json_at(b->vm->devices, "watchdog.i6300esb"))
		vm_argf(b, "-device", "i6300esb,id=watchdog0,bus=pcie.0,addr=0x1d");
}

static struct err *vm_watchdog_validate(const struct vm *vm)
{
	const struct json *w = json_get(vm->devices, "watchdog");

	if (!w || json_get(w, "i6300esb"))
		return NULL;
	return err_new(ERR_INVALID, "only the watchdog i6300esb is supported");
}

static void vm_panic_argv(struct vm_argv *b)
{
	json_for_each(it, json_get(b->vm->devices, "panicDevices"))
	{
		struct str model = json_str_at(it.val, "model");

		if (str_eqz(model, "pvpanic"))
			vm_argf(b, "-device", "pvpanic-pci,bus=pcie.0,addr=0x1e");
		else if (!str_eqz(model, "hyperv"))
			vm_argf(b, "-device", "pvpanic");
	}
}

static const struct vm_device_ops vm_basics_ops = { .name = "basics", .argv = vm_basics_argv };
static const struct vm_device_ops vm_machine_ops = {
	.name = "machine",
	.validate = vm_machine_validate,
	.argv = vm_machine_argv,
};
static const struct vm_device_ops vm_cpu_ops = { .name = "cpu", .argv = vm_cpu_argv };
static const struct vm_device_ops vm_smbios_ops = { .name = "smbios", .argv = vm_smbios_argv };
static const struct vm_device_ops vm_clock_ops = { .name = "clock", .argv = vm_clock_argv };
static const struct vm_device_ops vm_boot_ops = { .name = "boot", .argv = vm_boot_argv };
static const struct vm_device_ops vm_efi_ops = { .name = "efi", .argv = vm_efi_argv };
static const struct vm_device_ops vm_action_ops = { .name = "action", .argv = vm_action_argv };
static const struct vm_device_ops vm_serialbus_ops = {
	.name = "virtio-serial",
	.argv = vm_serialbus_argv,
};
static const struct vm_device_ops vm_console_ops = { .name = "console", .argv = vm_console_argv };
static const struct vm_device_ops vm_display_ops = {
	.name = "display",
	.validate = vm_display_validate,
	.argv = vm_display_argv,
};
static const struct vm_device_ops vm_input_ops = { .name = "input", .argv = vm_input_argv };
static const struct vm_device_ops vm_balloon_ops = { .name = "balloon", .argv = vm_balloon_argv };
static const struct vm_device_ops vm_rng_ops = { .name = "rng", .argv = vm_rng_argv };
static const struct vm_device_ops vm_sound_ops = { .name = "sound", .argv = vm_sound_argv };
static const struct vm_device_ops vm_watchdog_ops = {
	.name = "watchdog",
	.validate = vm_watchdog_validate,
	.argv = vm_watchdog_argv,
};
static const struct vm_device_ops vm_panic_ops = { .name = "panic", .argv = vm_panic_argv };

/* The whole machine: what stands before the root ports, and what behind them. */
static const struct vm_device_ops *const vm_board[] = {
	&vm_basics_ops, &vm_machine_ops, &vm_cpu_ops, &vm_smbios_ops,
	&vm_clock_ops,  &vm_boot_ops,    &vm_efi_ops, &vm_action_ops,
};
static const struct vm_device_ops *const vm_devices[] = {
	&vm_nic_ops,  &vm_sound_ops,    &vm_usb_ops,   &vm_scsi_ops,    &vm_serialbus_ops,
	&vm_disk_ops, &vm_console_ops,  &vm_input_ops, &vm_display_ops, &vm_balloon_ops,
	&vm_rng_ops,  &vm_watchdog_ops, &vm_panic_ops,
};

static struct err *vm_argv_run(struct vm_argv *b, const struct vm_device_ops *const *ops, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (ops[i]->validate)
			TRY(ops[i]->validate(b->vm));
		ops[i]->argv(b);
	}
	return NULL;
}

struct err *vm_argv_build(struct arena *a, const struct vm *vm, const char *program,
			  const char *const **ret)
{
	struct vm_argv b = { .a = a, .vm = vm };

	b.head.v = arena_array(a, VM_ARGV_MAX, sizeof(*b.head.v));
	b.tail.v = arena_array(a, VM_ARGV_MAX, sizeof(*b.tail.v));
	b.out = &b.head;
	vm_arg(&b, program);
	TRY(vm_argv_run(&b, vm_board, ARRAY_LEN(vm_board)));
	b.out = &b.tail;
	TRY(vm_argv_run(&b, vm_devices, ARRAY_LEN(vm_devices)));
	b.out = &b.head;
	for (unsigned i = 0; i < b.pci.n_ports; i++)
		vm_argf(&b, "-device", STR_FMT, STR_ARG(pci_root_port(a, i)));
	for (size_t i = 0; i < b.tail.n; i++)
		vm_arg(&b, b.tail.v[i]);
	vm_arg(&b, NULL);
	*ret = b.head.v;
	return NULL;
}
