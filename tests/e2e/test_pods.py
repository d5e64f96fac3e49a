# SPDX-License-Identifier: Apache-2.0
"""Pods by stock kubectl: what people type every day."""
import hashlib
import os
import signal
import subprocess
import time

import pytest

from boxes import BUSYBOX, busybox_pod, free_port, wait_for

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; echo started; sleep 100000 & wait"]


def start_pod(ns, name="p", command=SLEEP, **spec):
    ns.apply(busybox_pod(name, command, **spec))
    ns.wait(f"pod/{name}", "condition=Ready")


def test_example_pod_and_service(box, ns):
    ns.example("pod.yaml")
    ns.wait("pod/web", "condition=Ready")
    ip = ns.get("pod", "web")["status"]["podIP"]
    assert "hello from a container named web" in ns.http(f"http://{ip}/")
    svc = ns.get("svc", "web")["spec"]["clusterIP"]
    assert "hello from a container named web" in ns.http(f"http://{svc}/")
    start_pod(ns, "client")
    out = ns.kubectl("exec", "client", "--", "wget", "-qO-", f"http://{svc}/").stdout
    assert "hello from a container named web" in out


def test_kubernetes_service_with_token(box, ns):
    """A Pod reaches the API by its Service address with its ServiceAccount token."""
    pod = busybox_pod("p", ["/usr/bin/virt-tail", "--logfile", "/proc/1/nothing-yet"])
    # an image that has curl: the one machines and importers run in; its virt-tail waits for a file
    pod["spec"]["containers"][0]["image"] = "localhost/isoplane/virt-launcher:current"
    start_pod(ns, "b")
    ns.apply(pod)
    ns.wait("pod/p", "condition=Ready")
    sa = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert ns.kubectl("exec", "b", "--", "ls", sa).stdout.split() == ["ca.crt", "namespace", "token"]
    token = ns.kubectl("exec", "b", "--", "cat", f"{sa}/token").stdout
    host = box.get("svc", "kubernetes")["spec"]["clusterIP"]
    assert ns.kubectl("exec", "b", "--", "sh", "-c", "echo $KUBERNETES_SERVICE_HOST").stdout.strip() == host

    def curl(path):
        return ns.kubectl("exec", "p", "--", "curl", "-sS", "--max-time", "10", "--cacert", f"{sa}/ca.crt",
                          "-H", f"Authorization: Bearer {token}", "--resolve",
                          f"kubernetes.default:443:{host}", f"https://kubernetes.default{path}").stdout

    assert '"gitVersion"' in curl("/version")
    assert f"system:serviceaccount:{ns.name}:default" in curl("/api/v1/namespaces")


def test_logs(ns):
    ns.apply(busybox_pod("p", ["sh", "-c", "for i in 1 2 3 4 5; do echo line $i; done; sleep 100000"]))
    ns.wait("pod/p", "condition=Ready")
    assert ns.kubectl("logs", "p").stdout.splitlines() == [f"line {i}" for i in range(1, 6)]
    assert ns.kubectl("logs", "p", "--tail=2").stdout == "line 4\nline 5\n"
    assert ns.kubectl("logs", "p", "--since=1h", "--limit-bytes=7").stdout == "line 1\n"
    stamped = ns.kubectl("logs", "p", "--timestamps", "--tail=1").stdout
    assert stamped[4] == "-" and stamped.rstrip().endswith(" line 5")


def test_logs_follow(box, ns):
    ns.apply(busybox_pod("p", ["sh", "-c", "for i in $(seq 6); do echo n$i; sleep 0.5; done"],
                         restartPolicy="Never"))
    wait_for("container started", lambda: ns.kubectl("logs", "p").stdout)
    out = ns.kubectl("logs", "-f", "p", timeout=60).stdout
    assert out.split() == [f"n{i}" for i in range(1, 7)]
    ns.wait_phase("pod", "p", "Succeeded")


def test_exec(ns):
    start_pod(ns)
    assert ns.kubectl("exec", "p", "--", "echo", "hi").stdout == "hi\n"
    r = ns.kubectl("exec", "p", "--", "sh", "-c", "echo err >&2; exit 7", check=False)
    assert r.returncode == 7 and "err" in r.stderr
    assert ns.kubectl("exec", "-i", "p", "--", "cat", input="round trip").stdout == "round trip"
    r = ns.kubectl("exec", "p", "--", "/no/such", check=False)
    assert r.returncode != 0


def test_exec_50_megabytes(box, ns):
    start_pod(ns)
    data = os.urandom(50 << 20)
    r = subprocess.run(["kubectl", "-n", ns.name, "exec", "-i", "p", "--", "sha256sum"],
                       env=box.env(), input=data, capture_output=True, timeout=120)
    assert r.returncode == 0, r.stderr
    assert r.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_exec_tty(box, ns):
    """exec -it under a terminal of its own: what is typed is echoed, the size arrives."""
    import pty
    start_pod(ns)
    pid, fd = pty.fork()
    if pid == 0:
        os.execvpe("kubectl", ["kubectl", "-n", ns.name, "exec", "-it", "p", "--", "sh"], box.env())
    out = b""

    def expect(text):
        nonlocal out
        end = time.monotonic() + 20
        while text not in out:
            assert time.monotonic() < end, out
            try:
                out += os.read(fd, 4096)
            except OSError:
                break
        assert text in out, out

    expect(b"# ")
    os.write(fd, b"tty && echo $((40+2))\n")
    expect(b"/dev/pts/")
    expect(b"42\r\n")
    os.write(fd, b"exit 3\n")
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    assert os.waitstatus_to_exitcode(status) == 3


def test_cp(ns, tmp_path):
    start_pod(ns)
    src = tmp_path / "a.bin"
    src.write_bytes(os.urandom(300000))
    ns.kubectl("cp", str(src), "p:/tmp/a.bin")
    ns.kubectl("cp", "p:/tmp/a.bin", str(tmp_path / "b.bin"))
    assert (tmp_path / "b.bin").read_bytes() == src.read_bytes()


def test_port_forward(box, ns):
    ns.example("pod.yaml")
    ns.wait("pod/web", "condition=Ready")
    port = free_port()
    p = subprocess.Popen(["kubectl", "-n", ns.name, "port-forward", "pod/web", f"{port}:80"],
                         env=box.env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(3):
            assert "hello from a container" in ns.http(f"http://127.0.0.1:{port}/", 20)
    finally:
        p.send_signal(signal.SIGTERM)
        p.wait(10)


def test_describe_label_edit_diff(box, ns, tmp_path):
    start_pod(ns)
    out = ns.kubectl("describe", "pod", "p").stdout
    assert "Status:           Running" in out and "Events:" in out
    for reason in ("Scheduled", "Pulled", "Created", "Started"):
        wait_for(f"event {reason}", lambda r=reason: r in ns.kubectl("describe", "pod", "p").stdout, 20)
    ns.kubectl("label", "pod", "p", "tier=test")
    assert ns.get("pod", "p")["metadata"]["labels"]["tier"] == "test"
    assert ns.kubectl("get", "pods", "-l", "tier=test", "-o", "name").stdout == "pod/p\n"
    manifest = tmp_path / "p.json"
    import json
    pod = busybox_pod("p", SLEEP)
    manifest.write_text(json.dumps(pod))
    assert ns.kubectl("diff", "-f", str(manifest), check=False).returncode == 0
    pod["metadata"]["annotations"] = {"a": "b"}
    manifest.write_text(json.dumps(pod))
    r = ns.kubectl("diff", "-f", str(manifest), check=False)
    assert r.returncode == 1 and "+    a: b" in r.stdout
    assert "unchanged" not in ns.kubectl("apply", "-f", str(manifest)).stdout
    assert "unchanged" in ns.kubectl("apply", "-f", str(manifest)).stdout
    env = dict(box.env(), EDITOR="sed -i s/tier:.test/tier:\\ edited/")
    r = subprocess.run(["kubectl", "-n", ns.name, "edit", "pod", "p"], env=env, capture_output=True,
                       text=True, timeout=60)
    assert "edited" in r.stdout, r
    assert ns.get("pod", "p")["metadata"]["labels"]["tier"] == "edited"


def test_get_watch_and_delete_wait(box, ns):
    p = subprocess.Popen(["kubectl", "-n", ns.name, "get", "pods", "-w", "--no-headers"],
                         env=box.env(), stdout=subprocess.PIPE, text=True)
    try:
        start_pod(ns)
        ns.kubectl("delete", "pod", "p", "--wait=true", timeout=60)
        assert ns.kubectl("get", "pod", "p", check=False).returncode == 1
    finally:
        p.send_signal(signal.SIGTERM)
        out = p.communicate(timeout=20)[0]
    assert "Running" in out and "Terminating" in out, out


def test_explain_and_api_resources(box):
    out = box.kubectl("explain", "pod.spec.containers").stdout
    assert "FIELD: containers" in out and "image" in out
    assert "replicas" in box.kubectl("explain", "rs.spec").stdout
    out = box.kubectl("api-resources").stdout
    for row in ("pods", "configmaps", "virtualmachines", "virtualmachineinstances", "datavolumes",
                "network-attachment-definitions"):
        assert row in out
    assert "kind is unknown" not in box.kubectl("explain", "vm.spec.template").stdout


def test_volumes_and_env(ns):
    ns.kubectl("create", "configmap", "cm", "--from-literal=greeting=hello", "--from-literal=B=two")
    ns.kubectl("create", "secret", "generic", "sec", "--from-literal=password=s3cret")
    pod = busybox_pod("p", SLEEP)
    c = pod["spec"]["containers"][0]
    c["env"] = [
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "G", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "greeting"}}},
        {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
        {"name": "EXP", "value": "$(G) there"},
    ]
    c["envFrom"] = [{"secretRef": {"name": "sec"}, "prefix": "S_"}]
    c["resources"] = {"limits": {"memory": "32Mi"}}
    c["volumeMounts"] = [
        {"name": "cm", "mountPath": "/cm"}, {"name": "all", "mountPath": "/all"},
        {"name": "scratch", "mountPath": "/scratch"}, {"name": "meta", "mountPath": "/meta"},
        {"name": "cm", "mountPath": "/one/greeting", "subPath": "greeting"},
    ]
    pod["spec"]["volumes"] = [
        {"name": "cm", "configMap": {"name": "cm"}},
        {"name": "scratch", "emptyDir": {"medium": "Memory"}},
        {"name": "meta", "downwardAPI": {"items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"name": "all", "projected": {"sources": [
            {"secret": {"name": "sec"}}, {"configMap": {"name": "cm"}}]}},
    ]
    ns.apply(pod)
    ns.wait("pod/p", "condition=Ready")
    out = ns.kubectl("exec", "p", "--", "sh", "-c",
                     'echo "$G|$EXP|$S_password|$MEM|$NODE"; cat /cm/greeting /all/password /all/B /one/greeting; '
                     "cat /meta/labels; df -t tmpfs /scratch | tail -n 1").stdout
    node = ns.get("pod", "p")["spec"]["nodeName"]
    assert f"hello|hello there|s3cret|33554432|{node}" in out
    assert "hellos3crettwohello" in out and 'app="p"' in out and "/scratch" in out
    ns.kubectl("patch", "configmap", "cm", "-p", '{"data":{"greeting":"changed"}}')
    wait_for("update of the mounted ConfigMap",
             lambda: ns.kubectl("exec", "p", "--", "cat", "/cm/greeting").stdout == "changed", 100)


def test_init_containers_probes_and_restart(ns):
    pod = busybox_pod("p", ["sh", "-c", "cat /w/x; touch /tmp/live; sleep 100000"])
    spec = pod["spec"]
    spec["volumes"] = [{"name": "w", "emptyDir": {}}]
    spec["initContainers"] = [{"name": "init", "image": BUSYBOX, "command": ["sh", "-c", "echo from init >/w/x"],
                               "volumeMounts": [{"name": "w", "mountPath": "/w"}]}]
    c = spec["containers"][0]
    c["volumeMounts"] = [{"name": "w", "mountPath": "/w"}]
    c["livenessProbe"] = {"exec": {"command": ["test", "-e", "/tmp/live"]}, "periodSeconds": 1,
                          "failureThreshold": 1, "initialDelaySeconds": 1}
    ns.apply(pod)
    ns.wait("pod/p", "condition=Ready")
    assert ns.kubectl("logs", "p").stdout == "from init\n"
    ns.kubectl("exec", "p", "--", "rm", "/tmp/live")
    wait_for("restart by the liveness probe", lambda: ns.get("pod", "p")["status"][
        "containerStatuses"][0]["restartCount"] == 1, 60)
    assert ns.get("pod", "p")["status"]["containerStatuses"][0]["lastState"]["terminated"]


def test_crash_loop_and_absent_image(ns):
    ns.apply(busybox_pod("crash", ["false"]))
    pod = busybox_pod("absent", ["true"])
    pod["spec"]["containers"][0]["image"] = "localhost/no/such:1"
    ns.apply(pod)

    def waiting(name):
        return ns.get("pod", name)["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]

    wait_for("CrashLoopBackOff", lambda: waiting("crash") == "CrashLoopBackOff", 60)
    wait_for("image pull failure", lambda: waiting("absent") in ("ErrImagePull", "ImagePullBackOff"), 60)
    assert ns.get("pod", "absent")["status"]["phase"] == "Pending"
    wait_for("event", lambda: "localhost/no/such:1" in ns.kubectl("events", "--for", "pod/absent").stdout, 20)


def test_unschedulable(ns):
    pod = busybox_pod("big", ["true"])
    pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "999"}}
    ns.apply(pod)

    def message():
        for c in ns.get("pod", "big")["status"]["conditions"]:
            if c["type"] == "PodScheduled" and c["status"] == "False":
                return c["reason"] + ": " + c["message"]

    text = wait_for("PodScheduled False", message, 30)
    assert text.startswith("Unschedulable: 0/1 nodes are available: 1 Insufficient cpu."), text
    wait_for("event", lambda: "FailedScheduling" in ns.kubectl("events", "--for", "pod/big").stdout, 20)


@pytest.mark.parametrize("grace", [0, 2])
def test_grace_period(ns, grace):
    """A container that ignores SIGTERM is killed when its grace is over."""
    start_pod(ns, command=["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
    began = time.monotonic()
    ns.kubectl("delete", "pod", "p", f"--grace-period={grace}", *(["--force"] if grace == 0 else []))
    took = time.monotonic() - began
    assert grace <= took < grace + 8
