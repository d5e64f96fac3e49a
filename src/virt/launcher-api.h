/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What virt-controller (renders the launcher Pod), virt-handler (drives it) and virt-launcher (runs
 * in it) agree on: names, paths, flags, and the handler's protocol.
 *
 * The launcher Pod, besides what facts/upstream say (labels, annotations, nodeSelector, resources):
 * - container "compute", image LAUNCHER_IMAGE_DEFAULT unless told otherwise, command
 *   { LAUNCHER_BINARY }, args: --name VMI --uid UID --namespace NS --grace-period-seconds N (the
 *   VMI's grace period + 15) [--allow-emulation (KubeVirt.spec.configuration.developerConfiguration
 *   .useEmulation)]. Other upstream flags are accepted and ignored.
 * - runs as uid and gid 107 (runAsNonRoot), fsGroup 107, caps drop ALL (add NET_BIND_SERVICE is
 *   harmless), allowPrivilegeEscalation false.
 * - optional sidecar "guest-console-log": same image, command { LAUNCHER_TAIL_BINARY,
 *   "--logfile", LAUNCHER_PRIVATE_DIR "/UID/virt-serial0-log" }, mounts `private`.
 * - limits: devices.kubevirt.io/kvm 1 (not under emulation), devices.kubevirt.io/tun 1 when the VMI
 *   has an interface.
 * - emptyDirs and where compute mounts them: see LAUNCHER_VOL_*.
 * - containerDisk of volume i (its index in spec.volumes): a Pod volume of type `image`, mounted
 *   read-only at LAUNCHER_IMAGE_VOLUMES_DIR "/disk_<i>"; kernelBoot's container at
 *   LAUNCHER_IMAGE_VOLUMES_DIR "/kernel-boot". The launcher finds the disk itself:
 * containerDisk.path, else the only file below /disk.
 * - PVC and DataVolume, volumeMode Filesystem: mounted at LAUNCHER_PRIVATE_DIR
 * "/vmi-disks/<volume>" (disk.img inside; created sparse by the launcher at the claim's size when
 * it is absent: the handler tells it the size); volumeMode Block: volumeDevices at "/dev/<volume>".
 * - Secrets of cloud-init: mounted read-only at LAUNCHER_SECRET_DIR "/<volume>-udata" (secretRef)
 * and
 *   "/<volume>-ndata" (networkDataSecretRef); key userdata or userData, networkdata or networkData.
 *
 * virt-handler reaches the Pod's emptyDirs from the host below
 * KUBELET_ROOT/pods/<pod uid>/volumes/kubernetes.io~empty-dir/<volume>/ (openat2, no symbolic
 * links). The launcher's socket is <sockets>/launcher-sock. The process that listens must have
 * uid 107 or 0 (SO_PEERCRED); its pid also leads the handler to the Pod's network namespace.
 *
 * The protocol: JSON, one object per line, at most LAUNCHER_MAX_LINE bytes, either side.
 *   handler -> launcher  {"id":1,"cmd":"sync","vmi":{...},"options":{...}}
 *   launcher -> handler  {"id":1,"result":{...}}  or
 * {"id":1,"error":{"code":409,"message":"..."},"domain":{}} launcher -> handler
 * {"event":"domain","domain":{...}} on every change, and once at connect Several handlers may be
 * connected at once (an old one dying); commands are serialized.
 *
 *   info      {} -> domain, version
 *   sync      vmi: the whole object; options:
 *               interfaces [{"name","tap","mac","mtu"}]   made by the handler, in spec order
 *               dhcp       [{...}]                       servers the launcher runs
 * (launcher/dhcp.h) disks      {"<volume>":{"size":bytes}}   claim sizes for disk.img Starts QEMU
 * when it has not run yet (once in the launcher's life); later calls only reconcile. -> domain
 *   pause, unpause   409 when already (not) paused -> domain
 *   shutdown  {"gracePeriodSeconds":N} ACPI power button, kill after N (0: kill at once). -> {}
 *   softreboot, reset -> {}
 *   kill      no grace -> {}
 *   exit      after the domain is final: the launcher ends with status 0
 *
 * domain: {"state": "NoState"|"Starting"|"Running"|"Paused"|"Shutoff"|"Crashed",
 *          "reason": "" | "Shutdown" (the guest powered off) | "Destroyed" (killed after grace)
 *                    | "Crashed" | "Failed" (QEMU never ran or died) | "UserPause" | "IOError",
 *          "message": text for people, "machine": "pc-q35-7.2", "pid": QEMU's in its namespace,
 *          "resets": guest reboots so far, "emulation": bool,
 *          "shutdownRequested": bool, "startedAt": RFC 3339}
 * The last one is also written to <sockets>/domain.json, so that a handler that was away when
 * the launcher ended still learns how.
 */

#define LAUNCHER_UID 107

#define LAUNCHER_IMAGE_DEFAULT "localhost/isoplane/virt-launcher:current"
#define LAUNCHER_BINARY        "/usr/bin/virt-launcher"
#define LAUNCHER_TAIL_BINARY   "/usr/bin/virt-tail"
#define LAUNCHER_PROBE_BINARY  "/usr/bin/virt-probe"

/* emptyDir volumes: name and mount path in compute */
#define LAUNCHER_VOL_PRIVATE   "private"
#define LAUNCHER_PRIVATE_DIR   "/var/run/kubevirt-private"
#define LAUNCHER_VOL_PUBLIC    "public"
#define LAUNCHER_PUBLIC_DIR    "/var/run/kubevirt"
#define LAUNCHER_VOL_EPHEMERAL "ephemeral-disks"
#define LAUNCHER_EPHEMERAL_DIR "/var/run/kubevirt-ephemeral-disks"
#define LAUNCHER_VOL_LIBVIRT   "libvirt-runtime"
#define LAUNCHER_LIBVIRT_DIR   "/var/run/libvirt"
#define LAUNCHER_VOL_SOCKETS   "sockets"
#define LAUNCHER_SOCKETS_DIR   "/var/run/kubevirt/sockets"

#define LAUNCHER_SECRET_DIR        LAUNCHER_PRIVATE_DIR "/secret"
#define LAUNCHER_VMI_DISKS_DIR     LAUNCHER_PRIVATE_DIR "/vmi-disks"
#define LAUNCHER_IMAGE_VOLUMES_DIR "/var/run/kubevirt-image-volume"

/* in LAUNCHER_SOCKETS_DIR */
#define LAUNCHER_SOCKET      "launcher-sock"
#define LAUNCHER_FINAL_STATE "domain.json"
/* in LAUNCHER_PRIVATE_DIR "/<vmi uid>" */
#define LAUNCHER_SERIAL     "virt-serial0"
#define LAUNCHER_SERIAL_LOG "virt-serial0-log"
#define LAUNCHER_VNC        "virt-vnc"

#define LAUNCHER_MAX_LINE (1024 * 1024)
