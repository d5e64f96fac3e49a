# SPDX-License-Identifier: Apache-2.0
"""The node agent on real containerd: volumes, security, Services, DNS, restarts of the runtime."""
import os
import pathlib
import signal
import subprocess
import time

from boxes import BUSYBOX, busybox_pod, wait_for

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"]


def sh(ns, script, pod="p", **kw):
    return ns.kubectl("exec", pod, "--", "sh", "-c", script, **kw)


def start(ns, pod):
    ns.apply(pod)
    ns.wait(f"pod/{pod['metadata']['name']}", "condition=Ready")


def cgroup(box, pod):
    """The Pod's directory in the tree of a controller."""
    roots = [pathlib.Path("/sys/fs/cgroup/memory"), pathlib.Path("/sys/fs/cgroup")]
    for root in roots:
        found = [p for d in root.glob("isoplane-*") for p in d.rglob(f"pod{pod['metadata']['uid']}")]
        if found:
            return found[0]
    raise AssertionError("no cgroup")


def test_security_context(box, ns):
    pod = busybox_pod("p", SLEEP)
    pod["spec"]["securityContext"] = {"runAsUser": 1000, "runAsNonRoot": True, "fsGroup": 2000,
                                      "supplementalGroups": [3000],
                                      "seccompProfile": {"type": "RuntimeDefault"}}
    c = pod["spec"]["containers"][0]
    c["securityContext"] = {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]}}
    c["resources"] = {"requests": {"cpu": "100m"}, "limits": {"memory": "48Mi", "cpu": "500m"}}
    c["volumeMounts"] = [{"name": "d", "mountPath": "/d"}]
    pod["spec"]["volumes"] = [{"name": "d", "emptyDir": {}}]
    start(ns, pod)
    assert sh(ns, "id -u; id -G").stdout.split() == ["1000", "0", "2000", "3000"]
    assert "Read-only" in sh(ns, "touch /x", check=False).stderr
    sh(ns, "touch /d/x")
    assert sh(ns, "stat -c %g /d/x").stdout.strip() == "2000"
    status = sh(ns, "cat /proc/1/status").stdout
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status and "CapEff:\t0000000000000000" in status
    group = cgroup(box, ns.get("pod", "p"))
    limit = group / "memory.limit_in_bytes"
    if not limit.exists():
        limit = group / "memory.max"
    assert limit.read_text().strip() == str(48 << 20)
    bad = busybox_pod("root", SLEEP)
    bad["spec"]["securityContext"] = {"runAsNonRoot": True}
    ns.apply(bad)
    wait_for("refusal", lambda: ns.get("pod", "root")["status"]["containerStatuses"][0]["state"][
        "waiting"]["reason"] == "CreateContainerConfigError")


def test_volumes(box, ns, tmp_path):
    os.chmod(tmp_path, 0o777)
    pod = busybox_pod("p", SLEEP)
    c = pod["spec"]["containers"][0]
    c["volumeMounts"] = [
        {"name": "d", "mountPath": "/sub", "subPath": "a/b"},
        {"name": "d", "mountPath": "/d"},
        {"name": "h", "mountPath": "/h"},
        {"name": "i", "mountPath": "/i"},
        {"name": "t", "mountPath": "/t"},
    ]
    pod["spec"]["volumes"] = [
        {"name": "d", "emptyDir": {}},
        {"name": "h", "hostPath": {"path": str(tmp_path / "new"), "type": "DirectoryOrCreate"}},
        {"name": "i", "image": {"reference": BUSYBOX, "pullPolicy": "IfNotPresent"}},
        {"name": "t", "projected": {"sources": [{"serviceAccountToken": {
            "path": "token", "audience": "elsewhere", "expirationSeconds": 600}}]}},
    ]
    start(ns, pod)
    sh(ns, "echo one >/sub/x && echo two >/h/y")
    assert sh(ns, "cat /d/a/b/x").stdout == "one\n"
    assert (tmp_path / "new" / "y").read_text() == "two\n"
    assert sh(ns, "test -x /i/bin/busybox && echo yes").stdout == "yes\n"
    assert "Read-only" in sh(ns, "touch /i/x", check=False).stderr
    assert sh(ns, "cat /t/token").stdout.count(".") == 2
    mounts = {m["name"]: m for m in ns.get("pod", "p")["status"]["containerStatuses"][0]["volumeMounts"]}
    assert "sha256:" in mounts["i"]["volumeStatus"]["image"]["imageRef"]
    uid = ns.get("pod", "p")["metadata"]["uid"]
    ns.kubectl("delete", "pod", "p")
    assert uid not in pathlib.Path("/proc/self/mountinfo").read_text()


def test_sub_path_cannot_escape(ns):
    pod = busybox_pod("p", SLEEP)
    pod["spec"]["initContainers"] = [{"name": "link", "image": BUSYBOX,
                                      "command": ["ln", "-s", "/etc", "/d/out"],
                                      "volumeMounts": [{"name": "d", "mountPath": "/d"}]}]
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "d", "mountPath": "/x", "subPath": "out"}]
    pod["spec"]["volumes"] = [{"name": "d", "emptyDir": {}}]
    ns.apply(pod)
    waiting = wait_for("refusal", lambda: ns.get("pod", "p")["status"]["containerStatuses"][0]["state"][
        "waiting"].get("message") and ns.get("pod", "p")["status"]["containerStatuses"][0]["state"]["waiting"])
    assert waiting["reason"] == "CreateContainerConfigError" and "subPath" in waiting["message"]


def test_sidecar_and_hooks(ns):
    pod = busybox_pod("p", ["sh", "-c", "cat /w/init; sleep 1"], restartPolicy="Never")
    mount = [{"name": "w", "mountPath": "/w"}]
    pod["spec"]["volumes"] = [{"name": "w", "emptyDir": {}}]
    pod["spec"]["initContainers"] = [
        {"name": "side", "image": BUSYBOX, "restartPolicy": "Always", "volumeMounts": mount,
         "command": ["sh", "-c", "trap 'echo bye; exit 0' TERM; echo side; touch /w/up; while :; do sleep 0.1; done"],
         "startupProbe": {"exec": {"command": ["test", "-e", "/w/up"]}, "periodSeconds": 1}},
        {"name": "init", "image": BUSYBOX, "volumeMounts": mount,
         "command": ["sh", "-c", "test -e /w/up && echo ready >/w/init"]},
    ]
    c = pod["spec"]["containers"][0]
    c["volumeMounts"] = mount
    c["lifecycle"] = {"postStart": {"exec": {"command": ["sh", "-c", "echo post >/w/post"]}}}
    ns.apply(pod)
    ns.wait_phase("pod", "p", "Succeeded")
    assert ns.kubectl("logs", "p", "-c", "main").stdout == "ready\n"
    wait_for("the sidecar's end", lambda: "bye" in ns.kubectl("logs", "p", "-c", "side").stdout, 20)


def test_termination_message_and_previous_log(ns):
    pod = busybox_pod("p", ["sh", "-c", "echo line; echo why >/dev/termination-log; exit 3"])
    ns.apply(pod)
    last = wait_for("a restart", lambda: ns.get("pod", "p")["status"]["containerStatuses"][0][
        "lastState"].get("terminated"))
    assert last["exitCode"] == 3 and last["message"] == "why\n" and last["reason"] == "Error"
    assert ns.kubectl("logs", "p", "--previous").stdout == "line\n"


def test_services_and_dns(box, ns):
    web = busybox_pod("web", ["sh", "-c", "echo it works >/var/www/index.html; exec httpd -f -p 8080 -h /var/www"])
    web["spec"]["containers"][0]["ports"] = [{"name": "http", "containerPort": 8080}]
    start(ns, web)
    start(ns, busybox_pod("p", SLEEP))
    for name, spec in (("web", {"selector": {"app": "web"}, "type": "NodePort"}),
                       ("head", {"selector": {"app": "web"}, "clusterIP": "None"}),
                       ("none", {"selector": {"app": "nobody"}})):
        ns.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                  "spec": {**spec, "ports": [{"port": 80, "targetPort": "http"}]}})
    svc = ns.get("svc", "web")["spec"]
    node = box.get("nodes")["items"][0]["status"]["addresses"][0]["address"]
    assert ns.http(f"http://{svc['clusterIP']}/") == "it works\n"
    assert ns.http(f"http://{node}:{svc['ports'][0]['nodePort']}/") == "it works\n"
    assert sh(ns, "wget -qO- http://web/").stdout == "it works\n"
    assert sh(ns, f"wget -qO- http://web.{ns.name}.svc.cluster.local/").stdout == "it works\n"
    assert sh(ns, "wget -qO- http://head:8080/").stdout == "it works\n"
    # a Pod that reaches itself by its Service (its own name is in its /etc/hosts)
    assert sh(ns, f"wget -qO- http://web.{ns.name}/", pod="web").stdout == "it works\n"
    began = time.monotonic()
    assert "refused" in sh(ns, "wget -qO- http://none/", check=False).stderr
    assert time.monotonic() - began < 5
    ns.kubectl("delete", "svc", "web")
    wait_for("name gone", lambda: sh(ns, "nslookup web", check=False).returncode != 0, 10)


def test_attach(box, ns):
    r = subprocess.run(["kubectl", "-n", ns.name, "run", "a", "--rm", "-i", "--restart=Never",
                        f"--image={BUSYBOX}", "--", "sh", "-c", "read x; echo got $x"],
                       env=box.env(), input="a line\n", text=True, capture_output=True, timeout=60)
    assert "got a line" in r.stdout, r


def test_host_network_and_privileged(box, ns):
    pod = busybox_pod("p", SLEEP, hostNetwork=True, hostPID=True)
    pod["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    start(ns, pod)
    node = box.get("nodes")["items"][0]["status"]["addresses"][0]["address"]
    assert ns.get("pod", "p")["status"]["podIP"] == node
    assert f"inet {node}/" in sh(ns, "ip addr").stdout
    sh(ns, f"test -d /proc/{box.up.pid}")  # ls fails when a process ends meanwhile


def test_kubelet_server_wants_a_certificate(box):
    node = box.get("nodes")["items"][0]["status"]["addresses"][0]["address"]
    r = subprocess.run(["curl", "-sk", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}",
                        f"https://{node}:10250/pods"], capture_output=True, text=True)
    assert r.stdout == "401"


def test_an_idle_node_writes_no_status(box):
    """The runtime lists its images in another order each time; that is no news."""
    seen = {}

    def quiet():
        node = box.get("nodes")["items"][0]
        if seen.get("version") != node["metadata"]["resourceVersion"]:
            seen.update(version=node["metadata"]["resourceVersion"], since=time.monotonic())
        sizes = [i["sizeBytes"] for i in node["status"]["images"]]
        assert len(sizes) > 1 and sizes == sorted(sizes, reverse=True)
        return time.monotonic() - seen["since"] > 25  # the agent looks every ten

    wait_for("a status that stays", quiet, 120, interval=1)


def test_runtime_dies(box, ns):
    """containerd is started again and adopts its containers; nothing of them restarts."""
    start(ns, busybox_pod("p", ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"]))
    before = ns.get("pod", "p")["status"]["containerStatuses"][0]
    run = next(a.split("/containerd.sock")[0] for a in pathlib.Path(
        f"/proc/{box.children()['node']}/cmdline").read_text().split("\0") if a.endswith("/containerd.sock"))
    pid = int((pathlib.Path(run) / "containerd.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    wait_for("another containerd", lambda: int((pathlib.Path(run) / "containerd.pid").read_text()) != pid, 20)
    wait_for("exec works again", lambda: sh(ns, "true", check=False).returncode == 0, 20)
    n = int(ns.kubectl("logs", "p", "--tail=1").stdout)
    wait_for("the log goes on", lambda: int(ns.kubectl("logs", "p", "--tail=1").stdout) > n, 20)
    after = ns.get("pod", "p")["status"]["containerStatuses"][0]
    assert after["containerID"] == before["containerID"] and after["restartCount"] == 0
