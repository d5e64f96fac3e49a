# SPDX-License-Identifier: Apache-2.0
"""Stands in for virt-handler and the kubelet: runs one scenario against a real virt-launcher and QEMU.

usage: unshare -mn python3 launcher_harness.py LAUNCHER GUEST_DIR SCENARIO
Prints one JSON object. The mount and network namespaces are the launcher Pod's.
"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

UID = "7d0f2c1e-0000-4000-8000-000000000001"
PRIVATE = pathlib.Path("/run/kubevirt-private")
SOCKETS = pathlib.Path("/run/kubevirt/sockets")
BOOT = 90
NETWORK = """
ip link set lo up
echo 67 >/proc/sys/net/ipv4/ip_unprivileged_port_start
ip link add k6t-eth0 type bridge
ip addr add 10.0.2.1/24 dev k6t-eth0
ip link set k6t-eth0 up
ip tuntap add tap0 mode tap user 107
ip link set tap0 master k6t-eth0 up
mknod /run/tun c 10 200
chown 107 /run/tun
mount --bind /run/tun /dev/net/tun
"""


def sh(script):
    subprocess.run(["sh", "-ec", script], check=True, stdout=sys.stderr)


def vmi(**domain):
    spec = {"domain": {"memory": {"guest": "128Mi"}, "devices": {
        "disks": [{"name": n, "disk": {"bus": "virtio"}} for n in ("root", "cloud", "data")],
        "interfaces": [{"name": "default", "masquerade": {}}]}},
        "networks": [{"name": "default", "pod": {}}],
        "volumes": [
            {"name": "root", "containerDisk": {"image": "x"}},
            {"name": "cloud", "cloudInitNoCloud": {"userData": "#cloud-config\nnonce: n0nce\n"}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "c"}}]}
    for key, value in domain.items():
        target = spec["domain"]
        *path, last = key.split("__")
        for p in path:
            target = target[p]
        target[last] = value
    return {"metadata": {"name": "vm", "namespace": "ns", "uid": UID}, "spec": spec}


class Launcher:
    def __init__(self, binary, guest):
        sh(f"mount -t tmpfs tmpfs /run; mkdir -p {SOCKETS} {PRIVATE}/vmi-disks/data /run/libvirt "
           "/run/kubevirt-ephemeral-disks /run/kubevirt-image-volume/disk_0/disk; "
           f"cp {guest}/disk.img /run/kubevirt-image-volume/disk_0/disk/; "
           "chmod -R a+rX /run/kubevirt-image-volume; "
           f"chown -R 107:107 /run/kubevirt {PRIVATE} /run/kubevirt-ephemeral-disks /run/libvirt")
        sh(NETWORK)
        self.proc = subprocess.Popen(
            ["setpriv", "--reuid=107", "--regid=107", "--clear-groups", binary, "--name", "vm",
             "--namespace", "ns", "--uid", UID, "--allow-emulation", "--grace-period-seconds", "20"],
            stdout=sys.stderr, stdin=subprocess.DEVNULL)
        self.sock = socket.socket(socket.AF_UNIX)
        self.until(lambda: self.sock.connect(str(SOCKETS / "launcher-sock")) is None, 10)
        self.file = self.sock.makefile()
        self.id, self.domain = 0, {}

    @staticmethod
    def until(fn, timeout=BOOT):
        end = time.monotonic() + timeout
        while True:
            try:
                if fn():
                    return
            except OSError:
                pass
            assert time.monotonic() < end, "timeout"
            time.sleep(0.05)

    def read(self):
        msg = json.loads(self.file.readline())
        self.domain = msg.get("domain") or msg.get("result", {}).get("domain") or self.domain
        return msg

    def call(self, cmd, **args):
        self.id += 1
        self.sock.sendall((json.dumps({"id": self.id, "cmd": cmd, **args}) + "\n").encode())
        while True:
            msg = self.read()
            if msg.get("id") == self.id:
                return msg

    def sync(self, obj):
        mac = "02:00:00:11:22:33"
        return self.call("sync", vmi=obj, options={
            "interfaces": [{"name": "default", "tap": "tap0", "mac": mac, "mtu": 1450}],
            "dhcp": [{"ifname": "k6t-eth0", "mac": mac, "address": "10.0.2.2", "prefix": 24,
                      "server": "10.0.2.1", "router": "10.0.2.1", "mtu": 1450, "hostname": "vm"}],
            "disks": {"data": {"size": 1 << 20}}})

    def start(self, **domain):
        reply = self.sync(vmi(**domain))
        assert "error" not in reply, reply
        self.console = socket.socket(socket.AF_UNIX)
        self.console.connect(str(PRIVATE / UID / "virt-serial0"))
        self.output = b""
        threading.Thread(target=self.drain, daemon=True).start()
        self.until(lambda: "sha256=" in self.http("/"))

    def drain(self):
        while True:
            data = self.console.recv(4096)
            if not data:
                return
            self.output += data

    def type(self, text):
        self.console.sendall(text.encode())

    def login(self):
        def prompt():
            self.type("\n")
            time.sleep(0.3)
            return b"login:" in self.output[-200:]
        self.until(prompt)
        self.type("root\n")
        self.until(lambda: b"# " in self.output[-80:])

    def http(self, path):
        with urllib.request.urlopen(f"http://10.0.2.2{path}", timeout=5) as r:
            return r.read().decode()

    def qemu(self):
        return int(subprocess.check_output(["pgrep", "-P", str(self.proc.pid), "qemu"]))

    def final(self):
        while self.domain.get("state") not in ("Shutoff", "Crashed"):
            self.read()
        saved = json.loads((SOCKETS / "domain.json").read_text())
        assert saved == self.domain, (saved, self.domain)
        return {"state": self.domain["state"], "reason": self.domain["reason"]}

    def end(self):
        self.call("exit")
        return self.proc.wait(10)


def shutdown(ln):
    ln.start()
    page = ln.http("/")
    status = pathlib.Path(f"/proc/{ln.qemu()}/status").read_text()
    ln.call("shutdown", gracePeriodSeconds=60)
    return {"page": page, "status": status, **ln.final(), "exit": ln.end()}


def pause(ln):
    ln.start()
    first = float(ln.http("/cgi-bin/uptime"))
    replies = [ln.call("pause"), ln.call("pause")]
    began = time.monotonic()
    time.sleep(3)
    replies += [ln.call("unpause"), ln.call("unpause")]
    slept = time.monotonic() - began
    ran = float(ln.http("/cgi-bin/uptime")) - first
    ln.call("kill")
    return {"codes": [r.get("error", {}).get("code", 0) for r in replies], "slept": slept, "ran": ran,
            **ln.final(), "exit": ln.end()}


def soft_reboot(ln):
    ln.start()
    boot_id = ln.http("/cgi-bin/boot-id")
    pid = ln.qemu()
    ln.call("softreboot")
    ln.until(lambda: ln.http("/cgi-bin/boot-id") not in ("", boot_id))
    same = pid == ln.qemu()
    ln.call("kill")
    return {"same_qemu": same, **ln.final()}


def panic(ln):
    ln.start(devices__panicDevices=[{"model": "isa"}])
    ln.login()
    ln.type("crash\n")
    return ln.final()


def killed(ln):
    ln.start()
    os.kill(ln.qemu(), signal.SIGKILL)
    return {**ln.final(), "exit": ln.end()}


def terminated(ln):
    ln.start()
    ln.proc.terminate()
    return {**ln.final(), "exit": ln.proc.wait(20)}


def failures(ln):
    """What does not start says why, and may be tried again."""
    disk = pathlib.Path("/run/kubevirt-image-volume/disk_0/disk/disk.img")
    messages = []
    disk.rename("/run/away")
    messages.append(ln.sync(vmi())["error"]["message"])
    pathlib.Path("/run/away").rename(disk)
    messages.append(ln.sync(vmi(machine={"type": "pc-q35-99.9"}))["error"]["message"])
    messages.append(ln.sync(vmi(memory={"guest": "900Ti"}))["error"]["message"])
    state = ln.domain["state"]
    ln.start()
    ln.call("kill")
    return {"messages": messages, "state_between": state, **ln.final()}


SCENARIOS = {f.__name__: f for f in (shutdown, pause, soft_reboot, panic, killed, terminated, failures)}


def main():
    ln = Launcher(sys.argv[1], sys.argv[2])
    try:
        print(json.dumps(SCENARIOS[sys.argv[3]](ln)))
    finally:
        if ln.proc.poll() is None:
            ln.proc.kill()
            ln.proc.wait()


if __name__ == "__main__":
    main()
