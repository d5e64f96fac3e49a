# SPDX-License-Identifier: Apache-2.0
"""Shared storage and shared networks: one for containers and machines."""
import hashlib
import http.server
import json
import subprocess
import threading

import pytest
import yaml

from boxes import TOP, busybox_pod, vmi_spec, wait_for

BOOT = 120


def test_pvc_shared(ns):
    """A Pod writes, then a VM reads the same bytes."""
    ns.example("pvc-shared.yaml")
    ns.wait_phase("pod", "writer", "Succeeded", 60)
    digest = ns.kubectl("logs", "writer").stdout.split()[0]
    block = b"written by a container\n" * (8388608 // 23 + 1)
    assert digest == hashlib.sha256(block[:8388608]).hexdigest()
    ns.wait("vm/reader", "condition=Ready", BOOT)
    assert ns.http(f"http://{ns.vmi_ip('reader')}/", BOOT, text=digest)
    pvc = ns.get("pvc", "shared")
    assert pvc["status"]["phase"] == "Bound" and pvc["spec"]["storageClassName"] == "local"


@pytest.fixture
def image_server(box, images):
    """The demo guest's disk over HTTP, on the node's address."""
    disk = images["dir"] / "disk.img"

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *a, **kw):
            super().__init__(*a, directory=str(disk.parent), **kw)

        def log_message(self, *a):
            pass

    ip = [a["address"] for a in box.get("nodes")["items"][0]["status"]["addresses"]
          if a["type"] == "InternalIP"][0]
    server = http.server.ThreadingHTTPServer((ip, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{ip}:{server.server_port}"
    server.shutdown()


def test_vm_from_data_volume(ns, image_server):
    spec = vmi_spec()
    del spec["domain"]["firmware"]
    spec["domain"]["memory"]["guest"] = "128Mi"
    spec["domain"]["devices"]["disks"] = [{"name": "root", "disk": {"bus": "virtio"}}]
    spec["volumes"] = [{"name": "root", "dataVolume": {"name": "a-root"}}]
    ns.apply({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "a"},
        "spec": {"runStrategy": "Always", "template": {"spec": spec}, "dataVolumeTemplates": [{
            "metadata": {"name": "a-root"},
            "spec": {"source": {"http": {"url": image_server + "/disk.img"}},
                     "storage": {"accessModes": ["ReadWriteOnce"],
                                 "resources": {"requests": {"storage": "64Mi"}}}}}]}})
    ns.wait_phase("datavolume", "a-root", "Succeeded", 90)
    dv = ns.get("datavolume", "a-root")
    assert dv["status"]["progress"] == "100.0%"
    assert {c["type"]: c["status"] for c in dv["status"]["conditions"]} == {
        "Bound": "True", "Ready": "True", "Running": "False"}
    assert dv["metadata"]["ownerReferences"][0]["kind"] == "VirtualMachine"
    ns.wait("vm/a", "condition=Ready", BOOT)
    ns.http(f"http://{ns.vmi_ip('a')}/", BOOT)
    ns.kubectl("delete", "vm", "a", "--wait=true", timeout=90)
    wait_for("DataVolume and claim gone", lambda: ns.kubectl(
        "get", "datavolumes,pvc", "-o", "name").stdout == "", 60)


def test_blank_data_volume_and_bad_source(ns, image_server):
    def dv(name, source):
        return {"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "metadata": {
            "name": name, "annotations": {"cdi.kubevirt.io/storage.bind.immediate.requested": "true"}},
            "spec": {"source": source, "storage": {"accessModes": ["ReadWriteOnce"], "resources": {
                "requests": {"storage": "16Mi"}}}}}

    ns.apply(dv("blank", {"blank": {}}))
    ns.wait_phase("datavolume", "blank", "Succeeded", 90)
    ns.apply(dv("absent", {"http": {"url": image_server + "/nosuch.img"}}))

    def told():
        return any(c["type"] == "Running" and "404" in c.get("message", "")
                   for c in ns.get("datavolume", "absent")["status"].get("conditions", []))

    wait_for("the 404 in the DataVolume's conditions", told, 90)
    assert ns.phase("datavolume", "absent") != "Succeeded"


@pytest.fixture
def lab_bridge():
    """The stock bridge plugin leaves its bridge behind."""
    yield
    subprocess.run(["ip", "link", "del", "iso-lab0"], check=False, capture_output=True)


def test_network_attachment(lab_bridge, ns):
    """The Pod and the VM of the example reach each other on the second network."""
    ns.example("network-attachment.yaml")
    ns.wait("pod/lab-pod", "condition=Ready")
    ns.wait("vmi/lab-vmi", "condition=Ready", BOOT)
    status = json.loads(ns.get("pod", "lab-pod")["metadata"]["annotations"][
        "k8s.v1.cni.cncf.io/network-status"])
    lab = [n for n in status if n["name"].endswith("/lab")][0]
    assert lab["ips"][0].startswith("10.55.0.") and lab["interface"] == "net1"

    def lab_ip():
        for i in ns.get("vmi", "lab-vmi")["status"]["interfaces"]:
            if i["name"] == "lab":
                return i.get("ipAddress")
        return None

    ip = wait_for("address of the machine on the second network", lab_ip, BOOT)
    assert ip.startswith("10.55.0.")
    wait_for("Pod -> VM", lambda: "isoplane demo guest" in ns.kubectl(
        "exec", "lab-pod", "--", "timeout", "3", "wget", "-qO-", f"http://{ip}/").stdout, BOOT)
    from test_machines import Console
    with Console(ns.box, ns, "lab-vmi") as con:
        con.login()
        con.send(f"timeout 5 wget -qO- http://{lab['ips'][0]}/\n")
        con.expect(b"hello from the lab network")


# virtctl convert: one table, both ways


def convert(box, path_or_text, *args):
    r = box.virtctl("convert", "-f", "-" if isinstance(path_or_text, dict) else str(path_or_text), *args,
                    input=json.dumps(path_or_text) if isinstance(path_or_text, dict) else None)
    return list(yaml.safe_load_all(r.stdout)), r.stderr


def leaves(obj, path=""):
    if isinstance(obj, dict):
        for k, v in obj.items():
            yield from leaves(v, f"{path}.{k}" if path else k)
    elif isinstance(obj, list):
        for i, v in enumerate(obj):
            yield from leaves(v, f"{path}[{i}]")
    else:
        yield path, obj


def test_convert_pod_and_back(box):
    """Nothing is lost unsaid: what the round trip does not bring back is named on standard error."""
    pod = next(d for d in yaml.safe_load_all((TOP / "examples/pod.yaml").read_text()) if d["kind"] == "Pod")
    there, said = convert(box, pod)
    assert [d["kind"] for d in there] == ["VirtualMachineInstance"]
    assert there[0]["metadata"]["labels"]["app"] == "web"
    back, said_back = convert(box, there[0])
    assert back[0]["kind"] == "Pod"
    have = dict(leaves(back[0]))
    for path, value in leaves(pod):
        if have.get(path) != value:
            tokens = [t for t in path.replace("]", "").replace("[", ".").split(".") if not t.isdigit()]
            assert any(t in said + said_back for t in tokens[-2:]), f"{path}={value!r} lost unsaid: {said}"


@pytest.mark.parametrize("kind,to", [
    ("ReplicaSet", "VirtualMachineInstanceReplicaSet"),
    ("PersistentVolumeClaim", "DataVolume"),
])
def test_convert_sets_and_claims(box, kind, to):
    objs = {
        "ReplicaSet": {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "x"}, "spec": {
            "replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": {
                "metadata": {"labels": {"a": "b"}}, "spec": busybox_pod("x", ["true"])["spec"]}}},
        "PersistentVolumeClaim": {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "local",
            "resources": {"requests": {"storage": "1Gi"}}}},
    }
    there, _ = convert(box, objs[kind])
    assert there[0]["kind"] == to
    back, _ = convert(box, there[0])
    assert back[0]["kind"] == kind
    want, have = objs[kind]["spec"], back[0]["spec"]
    for key in want:
        if key != "template":
            assert have[key] == want[key]
