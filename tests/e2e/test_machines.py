# SPDX-License-Identifier: Apache-2.0
"""Virtual machines by stock kubectl and virtctl."""
import os
import pathlib
import pty
import re
import select
import time

from boxes import TOP, busybox_pod, kernel_vmi, vmi_spec, wait_for

BOOT = 120


def vm(name, strategy="Always", **spec):
    return {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": name},
            "spec": {"runStrategy": strategy, "template": {
                "metadata": {"labels": {"app": name}}, "spec": vmi_spec(**spec)}}}


def guest(ns, name, path="/"):
    return ns.http(f"http://{ns.vmi_ip(name)}{path}", BOOT)


def condition(obj, kind):
    for c in obj.get("status", {}).get("conditions", []):
        if c["type"] == kind:
            return c["status"]
    return None


def vmi_uid(ns, name):
    return ns.get("vmi", name)["metadata"]["uid"]


def test_example_vm(box, ns, tmp_path):
    """Boots by firmware from its containerDisk; reached from host, Service and Pod; the guest
    reaches the Pod; QEMU sits in the launcher Pod's cgroup."""
    nonce = f"nonce{time.time_ns()}"
    text = (TOP / "examples/vm.yaml").read_text().replace("isomorphic", nonce)
    ns.apply(text)
    ns.kubectl("run", "client", "--image=localhost/isoplane/busybox:1", "--command", "--",
               "sh", "-c", "httpd -f -p 80 -h /etc")
    ns.wait("pod/client", "condition=Ready")
    ns.wait("vm/demo", "condition=Ready", BOOT)
    ip = ns.vmi_ip("demo")
    assert nonce in ns.http(f"http://{ip}/", BOOT)
    svc = ns.get("svc", "demo")["spec"]["clusterIP"]
    assert nonce in ns.http(f"http://{svc}/", 30)
    assert nonce in ns.kubectl("exec", "client", "--", "wget", "-qO-", f"http://{ip}/").stdout
    row = ns.kubectl("get", "vm", "demo", "--no-headers").stdout.split()
    assert row[2:4] == ["Running", "True"], row
    # the launcher Pod's address is the machine's
    pods = ns.get("pods", "-l", "vm.kubevirt.io/name=demo")["items"]
    assert [p["status"]["podIP"] for p in pods] == [ip]
    # QEMU and its cgroup
    uid = vmi_uid(ns, "demo")
    pod_uid = pods[0]["metadata"]["uid"]
    uuid = ns.get("vmi", "demo")["spec"]["domain"]["firmware"]["uuid"]
    qemu = [p for p in pathlib.Path("/proc").glob("[0-9]*")
            if uuid.encode() in read(p / "cmdline") and b"qemu" in read(p / "cmdline")]
    assert qemu, f"no QEMU with uuid {uuid} (VMI {uid})"
    assert pod_uid in (qemu[0] / "cgroup").read_text().replace("_", "-")
    # the guest reaches the Pod
    client = ns.get("pod", "client")["status"]["podIP"]
    with Console(box, ns, "demo") as con:
        con.login()
        con.send(f"wget -qO- http://{client}/passwd\n")
        con.expect(b"root:x:0")


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


class Console:
    """virtctl console on a terminal of its own."""

    def __init__(self, box, ns, name):
        self.out = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            from boxes import VIRTCTL
            os.execvpe(VIRTCTL, [VIRTCTL, "-n", ns.name, "console", name], box.env())

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        os.write(self.fd, b"\x1d")
        end = time.monotonic() + 10
        while time.monotonic() < end:
            self.drain(0.1)
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                break
        else:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
            os.close(self.fd)
            raise AssertionError("ctrl-] did not leave the console")
        os.close(self.fd)

    def drain(self, timeout):
        r, _, _ = select.select([self.fd], [], [], timeout)
        if r:
            try:
                self.out += os.read(self.fd, 4096)
            except OSError:
                time.sleep(0.01)

    def expect(self, text, timeout=60):
        end = time.monotonic() + timeout
        while text not in self.out:
            assert time.monotonic() < end, self.out[-2000:]
            self.drain(0.5)
        self.out = self.out[self.out.index(text) + len(text):]

    def send(self, text):
        os.write(self.fd, text.encode())

    def login(self):
        end = time.monotonic() + BOOT
        while not re.search(rb"login: ?$", self.out.rstrip(b"\r\n")):
            assert time.monotonic() < end, self.out[-2000:]
            self.send("\n")
            self.drain(1)
        self.send("root\n")
        self.expect(b"# ")


def test_pause_stops_the_clock(box, ns):
    ns.apply(vm("a"))
    ns.wait("vm/a", "condition=Ready", BOOT)
    up = float(guest(ns, "a", "/cgi-bin/uptime").split()[0])
    assert ns.virtctl("pause", "vm", "a").stdout.strip() == "VMI a was scheduled to pause"
    ns.wait("vmi/a", "condition=Paused", 30)
    assert ns.get("vm", "a")["status"]["printableStatus"] == "Paused"
    r = ns.virtctl("pause", "vm", "a", check=False)
    assert r.returncode == 1 and "VMI is already paused" in r.stderr, r
    began = time.monotonic()
    time_in_pause = 6
    wait_for("six seconds of pause", lambda: time.monotonic() - began > time_in_pause)
    assert ns.virtctl("unpause", "vmi", "a").stdout.strip() == "VMI a was scheduled to unpause"
    wait_for("not paused", lambda: condition(ns.get("vmi", "a"), "Paused") != "True", 30)
    after = float(guest(ns, "a", "/cgi-bin/uptime").split()[0])
    ran = time.monotonic() - began - time_in_pause
    assert after - up < ran + 5, "the guest's clock went on while it was paused"
    r = ns.virtctl("unpause", "vmi", "a", check=False)
    assert r.returncode == 1 and "VMI is not paused" in r.stderr, r


def test_start_stop_restart(ns):
    ns.apply(vm("a", "Halted"))
    wait_for("Stopped", lambda: ns.get("vm", "a")["status"]["printableStatus"] == "Stopped", 30)
    r = ns.virtctl("stop", "a", check=False)
    assert r.returncode == 1 and "VM is not running" in r.stderr, r
    assert ns.virtctl("start", "a").stdout.strip() == "VM a was scheduled to start"
    ns.wait("vm/a", "condition=Ready", BOOT)
    assert ns.get("vm", "a")["spec"]["runStrategy"] == "Always"
    r = ns.virtctl("start", "a", check=False)
    assert r.returncode == 1 and "VM is already running" in r.stderr, r
    uid = vmi_uid(ns, "a")
    assert ns.virtctl("restart", "a").stdout.strip() == "VM a was scheduled to restart"
    wait_for("a new VMI", lambda: vmi_uid(ns, "a") != uid, BOOT)
    ns.wait("vm/a", "condition=Ready", BOOT)
    assert ns.virtctl("stop", "a").stdout.strip() == "VM a was scheduled to stop"
    wait_for("VMI gone", lambda: ns.kubectl("get", "vmi", "a", check=False).returncode == 1, 60)
    wait_for("Stopped", lambda: ns.get("vm", "a")["status"]["printableStatus"] == "Stopped", 30)
    r = ns.virtctl("restart", "a", check=False)
    assert r.returncode == 1 and "halted" in r.stderr.lower(), r
    for verb in ("start", "stop", "restart"):
        r = ns.virtctl(verb, "nosuch", check=False)
        assert r.returncode == 1 and 'virtualmachine.kubevirt.io "nosuch" not found' in r.stderr, r
    r = ns.virtctl("pause", "vmi", "nosuch", check=False)
    assert r.returncode == 1 and 'virtualmachineinstance.kubevirt.io "nosuch" not found' in r.stderr, r


def test_manual_strategy(ns):
    ns.apply(vm("a", "Manual"))
    wait_for("Stopped", lambda: ns.get("vm", "a")["status"]["printableStatus"] == "Stopped", 30)
    ns.virtctl("start", "a")
    ns.wait("vm/a", "condition=Ready", BOOT)
    assert ns.get("vm", "a")["spec"]["runStrategy"] == "Manual"
    ns.virtctl("stop", "a")
    wait_for("VMI gone", lambda: ns.kubectl("get", "vmi", "a", check=False).returncode == 1, 60)


def test_guest_shutdown_reboot_and_strategies(box, ns):
    """What the guest does to itself: reboot keeps the VMI, poweroff ends it; runStrategy decides."""
    ns.apply(vm("always"))
    ns.apply(kernel_vmi("bare"))
    ns.wait("vm/always", "condition=Ready", BOOT)
    ns.wait("vmi/bare", "condition=Ready", BOOT)
    boot = guest(ns, "always", "/cgi-bin/boot-id")
    uid = vmi_uid(ns, "always")
    with Console(box, ns, "always") as con:
        con.login()
        con.send("reboot\n")
        wait_for("a new boot", lambda: guest(ns, "always", "/cgi-bin/boot-id") != boot, BOOT)
    assert vmi_uid(ns, "always") == uid
    with Console(box, ns, "always") as con:
        con.login()
        con.send("poweroff\n")
        wait_for("VM always runs again", lambda: vmi_uid(ns, "always") != uid, BOOT)
    with Console(box, ns, "bare") as con:
        con.login()
        con.send("poweroff\n")
        ns.wait_phase("vmi", "bare", "Succeeded", 60)


def test_graceful_shutdown(ns):
    """Deleting a VMI presses the power button: the guest's shutdown is seen on its console."""
    ns.apply(kernel_vmi("a", terminationGracePeriodSeconds=60))
    ns.wait("vmi/a", "condition=Ready", BOOT)
    guest(ns, "a")
    began = time.monotonic()
    ns.kubectl("delete", "vmi", "a", "--wait=true", timeout=90)
    assert time.monotonic() - began < 50, "killed after the grace period instead of shut down"


def test_qemu_that_dies(box, ns):
    ns.apply(kernel_vmi("a"))
    ns.wait("vmi/a", "condition=Ready", BOOT)
    uuid = ns.get("vmi", "a")["spec"]["domain"]["firmware"]["uuid"].encode()
    for p in pathlib.Path("/proc").glob("[0-9]*"):
        if uuid in read(p / "cmdline") and b"qemu-system" in read(p / "cmdline"):
            os.kill(int(p.name), 9)
    ns.wait_phase("vmi", "a", "Failed", 60)


def test_describe_watch_and_table(ns):
    ns.apply(kernel_vmi("a"))
    ns.wait("vmi/a", "condition=Ready", BOOT)
    out = ns.kubectl("get", "vmi", "a").stdout.splitlines()
    assert out[0].split() == ["NAME", "AGE", "PHASE", "IP", "NODENAME", "READY"]
    assert out[1].split()[2] == "Running"
    assert "Kind:         VirtualMachineInstance" in ns.kubectl("describe", "vmi", "a").stdout
    node = ns.get("vmi", "a")["status"]["nodeName"]
    labels = ns.get("node", node)["metadata"]["labels"]
    assert labels["kubevirt.io/schedulable"] == "true"


def test_scale_alike(ns):
    """The same steps on machines and containers."""
    ns.example("vmirs.yaml")
    ns.example("replicaset.yaml")
    for resource, items in (("vmirs/web", "vmi"), ("rs/web", "pods")):
        label = "app=web-vmirs" if items == "vmi" else "app=web-rs"

        def ready(resource=resource):
            return ns.get(*resource.split("/")).get("status", {}).get("readyReplicas", 0)

        def names(items=items, label=label):
            return {o["metadata"]["name"] for o in ns.get(items, "-l", label)["items"]
                    if "deletionTimestamp" not in o["metadata"]}

        ns.kubectl("scale", resource, "--replicas=3")
        wait_for(f"{resource}: 3 ready", lambda: ready() == 3, BOOT)
        ns.kubectl("scale", resource, "--replicas=1")
        wait_for(f"{resource}: 1 left", lambda: ready() == 1 and len(names()) == 1, 60)
        old = names().pop()
        ns.kubectl("delete", items, old, "--wait=false")
        wait_for(f"{resource}: a new one", lambda: names() and old not in names() and ready() == 1, BOOT)
        ns.kubectl("delete", resource, "--wait=true")
        wait_for(f"{items} gone", lambda: not names(), 60)


def test_bad_machines(ns):
    """Each gets a precise refusal and leaves nothing behind."""
    def refused(obj, *texts):
        r = ns.kubectl("create", "-f", "-", input=__import__("json").dumps(obj), check=False)
        assert r.returncode == 1, r
        for t in texts:
            assert t in r.stderr, r.stderr

    bad = kernel_vmi("bad")
    bad["spec"]["domain"]["devices"]["disks"] = [{"name": "nodisk", "disk": {"bus": "virtio"}}]
    refused(bad, "spec.domain.devices.disks[0].Name 'nodisk' not found.")
    bad = kernel_vmi("bad")
    bad["spec"]["domain"]["cpu"] = {"cores": "many"}
    refused(bad, "spec.domain.cpu.cores")
    bad = kernel_vmi("bad")
    bad["spec"]["domain"]["frobs"] = 1
    refused(bad, 'unknown field "spec.domain.frobs"')
    bad = vm("bad")
    del bad["spec"]["template"]
    refused(bad, "spec.template", "Required value")
    bad = vm("bad")
    bad["spec"]["running"] = True
    refused(bad, "Running and RunStrategy are mutually exclusive")
    assert ns.kubectl("get", "vm,vmi,pods", "-o", "name").stdout == ""


def test_missing_disk_image(ns):
    """The launcher Pod waits for its image; the VMI says so and is not Failed."""
    vmi = kernel_vmi("a")
    vmi["spec"]["volumes"] = [{"name": "root", "containerDisk": {"image": "localhost/no/disk:1"}}]
    vmi["spec"]["domain"]["devices"]["disks"] = [{"name": "root", "disk": {"bus": "virtio"}}]
    ns.apply(vmi)

    def reason():
        for c in ns.get("vmi", "a")["status"].get("conditions", []):
            if c["type"] in ("Synchronized", "PodScheduled", "Ready") and "ImagePull" in str(c):
                return c

    wait_for("ImagePull in the VMI's conditions", reason, 60)


def test_impossible_cpu_count(ns):
    """More CPUs than the node has: unschedulable, said so, and deletable."""
    ns.apply(kernel_vmi("a"))
    vmi = kernel_vmi("b")
    vmi["spec"]["domain"]["cpu"] = {"sockets": 512, "cores": 1, "threads": 1}
    vmi["spec"]["domain"]["resources"] = {"requests": {"cpu": "512"}}
    ns.apply(vmi)

    def unschedulable():
        return any(c["type"] == "PodScheduled" and c["status"] == "False" and "Insufficient cpu" in c["message"]
                   for c in ns.get("vmi", "b")["status"].get("conditions", []))

    wait_for("PodScheduled False", unschedulable, 60)
    ns.kubectl("delete", "vmi", "b", "--wait=true", timeout=60)


def test_pod_and_machine_share_a_service(ns):
    """A selector does not care what runs in the Pod."""
    ns.apply(kernel_vmi("a", labels={"tier": "mixed"}))
    pod = busybox_pod("b", ["sh", "-c", "echo container >/var/www/index.html; exec httpd -f -p 80 -h /var/www"])
    pod["metadata"]["labels"] = {"tier": "mixed"}
    ns.apply(pod)
    ns.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "mixed"},
              "spec": {"selector": {"tier": "mixed"}, "ports": [{"port": 80}]}})
    ns.wait("vmi/a", "condition=Ready", BOOT)
    ns.wait("pod/b", "condition=Ready")
    guest(ns, "a")
    ip = ns.get("svc", "mixed")["spec"]["clusterIP"]
    seen = set()

    def both():
        seen.add("container" in ns.http(f"http://{ip}/", 20))
        return len(seen) == 2

    wait_for("answers of both", both, 60)
