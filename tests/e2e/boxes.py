# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: `isoplane up` as a Box, a namespace in it with stock kubectl,
objects that many send. ISOPLANE_BUILD names the build directory (default: build)."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("ISOPLANE_BUILD", TOP / "build")).resolve()
ISOPLANE = str(BUILD / "isoplane")
VIRTCTL = str(BUILD / "virtctl")
BUSYBOX = "localhost/isoplane/busybox:1"
GUEST_DISK = "localhost/isoplane/demo-guest-disk:1"
GUEST_KERNEL = "localhost/isoplane/demo-guest-kernel:1"
KERNEL_ARGS = "console=ttyS0 panic=1 quiet tsc=unstable"


def wait_for(what, fn, timeout=60, interval=0.2):
    """Polls fn until it returns something true; that is the result. what names the condition."""
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            last = fn()
            if last:
                return last
        except (subprocess.CalledProcessError, OSError, KeyError, IndexError, TypeError) as e:
            last = e
            if isinstance(e, subprocess.CalledProcessError):
                last = f"{e}: {e.stderr}"
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout} s (last: {last!r})")
        time.sleep(interval)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Box:
    """One machine run by `isoplane up`."""

    def __init__(self, data_dir, port, extra=()):
        self.dir = pathlib.Path(data_dir)
        self.port = port
        self.extra = list(extra)
        self.kubeconfig = str(self.dir / "admin.kubeconfig")
        self.log_path = str(self.dir) + ".log"
        self.up = None

    def start(self, timeout=60):
        log = open(self.log_path, "ab")
        start = log.tell()
        began = time.monotonic()
        self.up = subprocess.Popen(
            [ISOPLANE, "up", "--data-dir", str(self.dir), "--listen", f"127.0.0.1:{self.port}",
             *self.extra], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()

        def ready():
            assert self.up.poll() is None, f"isoplane up ended: {self.tail()}"
            with open(self.log_path, "rb") as f:
                f.seek(start)
                return b"isoplane: ready in" in f.read()

        wait_for("isoplane: ready", ready, timeout)
        return time.monotonic() - began

    def tail(self, n=40):
        with open(self.log_path, errors="replace") as f:
            return "".join(f.readlines()[-n:])

    def stop(self, sig=signal.SIGTERM):
        """Ends `up`; workloads go on."""
        if self.up and self.up.poll() is None:
            self.up.send_signal(sig)
            self.up.wait(30)

    def down(self):
        self.stop()
        subprocess.run([ISOPLANE, "down", "--data-dir", str(self.dir)], check=False, timeout=120,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    # tools

    def env(self):
        return dict(os.environ, KUBECONFIG=self.kubeconfig)

    def kubectl(self, *args, input=None, check=True, timeout=60):
        r = subprocess.run(["kubectl", *args], env=self.env(), input=input, text=True,
                           capture_output=True, timeout=timeout)
        if check and r.returncode:
            raise subprocess.CalledProcessError(r.returncode, r.args, r.stdout, r.stderr)
        return r

    def virtctl(self, *args, input=None, check=True, timeout=60):
        r = subprocess.run([VIRTCTL, *args], env=self.env(), input=input, text=True,
                           capture_output=True, timeout=timeout)
        if check and r.returncode:
            raise subprocess.CalledProcessError(r.returncode, r.args, r.stdout, r.stderr)
        return r

    def get(self, *args):
        return json.loads(self.kubectl("get", *args, "-o", "json").stdout)

    def import_image(self, path):
        subprocess.run([ISOPLANE, "image", "import", "--data-dir", str(self.dir), str(path)],
                       check=True, timeout=120, capture_output=True)

    def children(self):
        """{component: pid} of the processes `up` runs."""
        out = {}
        for pid in pathlib.Path(f"/proc/{self.up.pid}/task/{self.up.pid}/children").read_text().split():
            argv = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            # containerd is a child, too, and no component: it stays
            if len(argv) > 1 and argv[0] == b"isoplane":
                out[argv[1].decode()] = int(pid)
        return out


class Namespace:
    """kubectl in a namespace of the test's own."""

    def __init__(self, box, name):
        self.box, self.name = box, name

    def kubectl(self, *args, **kw):
        return self.box.kubectl("-n", self.name, *args, **kw)

    def virtctl(self, *args, **kw):
        return self.box.virtctl("-n", self.name, *args, **kw)

    def get(self, *args):
        return self.box.get("-n", self.name, *args)

    def apply(self, text):
        if not isinstance(text, str):
            text = json.dumps(text)
        return self.kubectl("apply", "-f", "-", input=text)

    def example(self, name):
        return self.kubectl("apply", "-f", str(TOP / "examples" / name))

    def wait(self, kind_name, condition, timeout=90):
        self.kubectl("wait", kind_name, f"--for={condition}", f"--timeout={timeout}s",
                     timeout=timeout + 10)

    def phase(self, kind, name):
        return self.get(kind, name).get("status", {}).get("phase")

    def wait_phase(self, kind, name, phase, timeout=90):
        wait_for(f"{kind}/{name} {phase}", lambda: self.phase(kind, name) == phase, timeout)

    def vmi_ip(self, name):
        return wait_for(f"address of VMI {name}", lambda: self.get("vmi", name)["status"][
            "interfaces"][0]["ipAddress"])

    def http(self, url, timeout=60, text=""):
        """GET from the host, until it answers (with a text in it)."""
        def fetch():
            r = subprocess.run(["curl", "-sS", "--max-time", "5", "-f", url], text=True,
                               capture_output=True)
            return r.stdout if r.returncode == 0 and text in r.stdout else None
        return wait_for(f"GET {url} {text}", fetch, timeout)


def kernel_vmi(name, labels=None, **spec):
    """A small VMI that boots the demo guest's kernel."""
    return {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
        "metadata": {"name": name, "labels": labels or {"app": name}},
        "spec": vmi_spec(**spec),
    }


def vmi_spec(**more):
    return {
        "terminationGracePeriodSeconds": 20,
        "domain": {
            "memory": {"guest": "96Mi"},
            "firmware": {"kernelBoot": {
                "kernelArgs": KERNEL_ARGS,
                "container": {"image": GUEST_KERNEL, "kernelPath": "/boot/vmlinuz",
                              "initrdPath": "/boot/initramfs"}}},
            "devices": {"interfaces": [{"name": "default", "masquerade": {}}]},
        },
        "networks": [{"name": "default", "pod": {}}],
        **more,
    }


def busybox_pod(name, command, **spec):
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1,
                 "containers": [{"name": "main", "image": BUSYBOX, "command": command}], **spec},
    }
