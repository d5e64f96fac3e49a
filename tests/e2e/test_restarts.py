# SPDX-License-Identifier: Apache-2.0
"""Everything of ours may die at any time; workloads go on, and the system is whole again soon."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from boxes import Box, Namespace, busybox_pod, free_port, kernel_vmi, vmi_spec, wait_for

BOOT = 120
ROUNDS = 20
WHOLE = 5


@pytest.fixture(scope="module")
def own(images):
    """A box of this file's own: it is mistreated."""
    base = tempfile.mkdtemp(prefix="isoplane-faults-")
    b = Box(os.path.join(base, "data"), free_port())
    try:
        b.start()
        wait_for("node Ready", lambda: ready_node(b), 60)
        for name in ("busybox", "disk", "kernel"):
            b.import_image(images[name])
        wait_for("service account", lambda: b.get("serviceaccount", "default"))
        yield b
    finally:
        b.down()
        log_dir = pathlib.Path(images["dir"]).parent / "test-logs"
        log_dir.mkdir(exist_ok=True)
        if os.path.exists(b.log_path):
            shutil.copy(b.log_path, log_dir / "faults-up.log")
        shutil.rmtree(base, ignore_errors=True)


def ready_node(b):
    return any(c["type"] == "Ready" and c["status"] == "True"
               for c in b.get("nodes")["items"][0]["status"]["conditions"])


@pytest.fixture(scope="module")
def work(own):
    """A Pod, a VM, a VMIRS and a bare VMI that run."""
    ns = Namespace(own, "default")
    ns.apply(busybox_pod("p", ["sh", "-c", "date +%s%N >/var/www/index.html; exec httpd -f -p 80 -h /var/www"]))
    vm = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "a"},
          "spec": {"runStrategy": "Always", "template": {"metadata": {"labels": {"app": "a"}},
                                                         "spec": vmi_spec()}}}
    ns.apply(vm)
    ns.wait("pod/p", "condition=Ready")
    ns.wait("vm/a", "condition=Ready", BOOT)
    ns.http(f"http://{ns.vmi_ip('a')}/", BOOT)
    return ns


class Marks:
    """What must not change while our processes die."""

    def __init__(self, ns):
        self.ns = ns
        self.pod_ip = ns.get("pod", "p")["status"]["podIP"]
        self.vm_ip = ns.vmi_ip("a")
        self.started = ns.http(f"http://{self.pod_ip}/")
        self.boot = ns.http(f"http://{self.vm_ip}/cgi-bin/boot-id")
        self.uptime = float(ns.http(f"http://{self.vm_ip}/cgi-bin/uptime").split()[0])

    def check(self):
        assert self.ns.http(f"http://{self.pod_ip}/") == self.started, "the container was restarted"
        assert self.ns.http(f"http://{self.vm_ip}/cgi-bin/boot-id") == self.boot, "the guest rebooted"
        up = float(self.ns.http(f"http://{self.vm_ip}/cgi-bin/uptime").split()[0])
        assert up > self.uptime
        self.uptime = up


def whole(ns):
    """The system works: API, scheduler, node, virtualization."""
    assert ns.box.kubectl("get", "--raw", "/readyz").stdout == "ok"
    name = f"probe-{time.monotonic_ns()}"
    # a write through the virtualization webhooks, undone by dry run, and a subresource
    ns.kubectl("create", "--dry-run=server", "-f", "-", input=__import__("json").dumps(kernel_vmi(name)))
    r = ns.virtctl("pause", "vmi", "nosuch", check=False)
    if "not found" not in r.stderr:
        return False  # virt-api, or the way to it, is not back yet: polled again
    ns.kubectl("exec", "p", "--", "true")
    return True


COMPONENTS = ["apiserver", "controllers", "scheduler", "node", "virt-operator", "virt-api",
              "virt-controller", "virt-handler"]


def test_kill_each_component(work):
    marks = Marks(work)
    box = work.box
    slow = []
    for i in range(ROUNDS):
        name = COMPONENTS[i % len(COMPONENTS)]
        old = wait_for(f"{name} runs", lambda: box.children().get(name), 10)
        os.kill(old, signal.SIGKILL)
        began = time.monotonic()
        wait_for(f"{name} runs again", lambda: box.children().get(name, old) != old, 10, 0.02)
        wait_for(f"whole again after {name} died", lambda: whole(work), 30, 0.1)
        took = time.monotonic() - began
        if took > WHOLE:
            slow.append((name, round(took, 1)))
        marks.check()
    assert not slow, f"longer than {WHOLE} s: {slow}"


def test_kill_up_itself(work):
    marks = Marks(work)
    box = work.box
    for sig in (signal.SIGKILL, signal.SIGTERM):
        children = box.children()
        box.stop(sig)
        wait_for("components gone with their supervisor", lambda: not any(
            pathlib.Path(f"/proc/{pid}/cwd").exists() for pid in children.values()), 10)
        marks.check()
        box.start()
        began = time.monotonic()
        wait_for("whole again", lambda: whole(work), 30, 0.1)
        assert time.monotonic() - began < WHOLE
        marks.check()


def test_pod_made_after_restarts_runs(work):
    work.apply(busybox_pod("later", ["sleep", "100000"]))
    work.wait("pod/later", "condition=Ready", 30)
    work.kubectl("delete", "pod", "later", "--wait=true")


def test_namespace_deletes_once_virt_api_is_back(own):
    """While the aggregated API is away, a namespace is not taken for empty; then it goes."""
    own.kubectl("create", "namespace", "gone")
    pid = own.children()["virt-api"]
    os.kill(pid, signal.SIGSTOP)
    try:
        own.kubectl("delete", "namespace", "gone", "--wait=false")
    finally:
        os.kill(pid, signal.SIGKILL)
    wait_for("namespace gone", lambda: own.kubectl(
        "get", "namespace", "gone", check=False).returncode == 1, 60)


def kill_tree_of(box):
    """Power cut: every process that belongs to the instance, its mounts and network namespaces."""
    marks = [str(box.dir).encode()]
    run = [p for p in pathlib.Path("/run/isoplane").iterdir()
           if (p / "instance.json").exists() and str(box.dir) in (p / "instance.json").read_text()]
    marks += [str(p).encode() for p in run]
    ours = set()

    def mine(pid):
        try:
            cmd = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
        return any(m in cmd for m in marks)

    def parents():
        out = {}
        for p in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                stat = (p / "stat").read_text()
            except OSError:
                continue
            out[int(p.name)] = int(stat.rsplit(")", 1)[1].split()[1])
        return out

    box.up.kill()
    box.up.wait(10)
    for _ in range(50):
        tree = parents()
        ours = {pid for pid in tree if mine(pid)}
        grew = True
        while grew:
            more = {pid for pid, parent in tree.items() if parent in ours} - ours
            grew = bool(more)
            ours |= more
        ours.discard(os.getpid())
        if not ours:
            break
        for pid in ours:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)
    for _ in range(5):
        for line in reversed(pathlib.Path("/proc/self/mounts").read_text().splitlines()):
            target = line.split()[1].replace("\\040", " ")
            if any(target.startswith(m.decode()) for m in marks):
                subprocess.run(["umount", "-l", target], check=False, capture_output=True)
    for p in run:
        shutil.rmtree(p)
    # network namespaces of Pods and the bridge with all its ports
    for p in pathlib.Path("/run/netns").glob("cni-*"):
        if box.netns_before is not None and p.name not in box.netns_before:
            subprocess.run(["umount", "-l", str(p)], check=False, capture_output=True)
            p.unlink()
    bridge = "iso-" + run[0].name
    subprocess.run(["ip", "link", "del", bridge], check=False, capture_output=True)


def test_power_cut(work, images):
    box = work.box
    box.netns_before = None
    if pathlib.Path("/run/netns").exists():
        mine = set()
        for pod in box.get("pods", "-A")["items"]:
            mine.add(pod["metadata"]["uid"])
        # namespaces are named cni-UUID: those of another instance are found by its interfaces
        others = set()
        for p in pathlib.Path("/run/netns").glob("cni-*"):
            r = subprocess.run(["ip", "netns", "exec", p.name, "ip", "-4", "addr", "show", "eth0"],
                               capture_output=True, text=True)
            net = box.get("nodes")["items"][0]["spec"]["podCIDR"].rsplit(".", 2)[0]
            if f"inet {net}." not in r.stdout:
                others.add(p.name)
        box.netns_before = others
    work.apply({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "rerun"},
                "spec": {"runStrategy": "RerunOnFailure", "template": {"spec": vmi_spec()}}})
    work.example("vmirs.yaml")
    work.apply(kernel_vmi("bare"))
    work.example("pvc-shared.yaml")
    work.wait_phase("pod", "writer", "Succeeded", 60)
    digest = work.kubectl("logs", "writer").stdout.split()[0]
    for name in ("vm/rerun", "vm/reader", "vmi/bare"):
        work.wait(name, "condition=Ready", BOOT)
    wait_for("VMIRS ready", lambda: work.get("vmirs", "web")["status"].get("readyReplicas") == 1, BOOT)
    boots = {n: work.http(f"http://{work.vmi_ip(n)}/cgi-bin/boot-id", BOOT) for n in ("a", "rerun", "reader")}

    kill_tree_of(box)
    box.start()
    began = time.monotonic()

    def again(name):
        ip = work.get("vmi", name)["status"]["interfaces"][0]["ipAddress"]
        r = subprocess.run(["curl", "-sf", "--max-time", "2", f"http://{ip}/cgi-bin/boot-id"],
                           capture_output=True, text=True)
        return r.returncode == 0 and r.stdout != boots[name]

    def ready(kind, name):
        return any(c["type"] == "Ready" and c["status"] == "True"
                   for c in work.get(kind, name)["status"]["conditions"])

    for name in ("a", "rerun", "reader"):
        wait_for(f"VM {name} boots again", lambda n=name: again(n) and ready("vm", n), 90)
    wait_for("VMIRS ready", lambda: work.get("vmirs", "web")["status"].get("readyReplicas") == 1, 60)
    wait_for("Pod ready", lambda: ready("pod", "p"), 60)
    took = time.monotonic() - began
    assert took < 60, f"{took:.0f} s"
    assert work.phase("vmi", "bare") == "Failed"
    assert work.http(f"http://{work.vmi_ip('reader')}/", 60, text=digest)
