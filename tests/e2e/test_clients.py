# SPDX-License-Identifier: Apache-2.0
"""Streams into running Pods by the stock Python and JavaScript clients."""
import hashlib
import json
import sys
import time

import pytest
from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import portforward, stream

from boxes import TOP, busybox_pod, wait_for

sys.path.insert(0, str(TOP / "tests" / "clients"))
import nodejs  # noqa: E402

COUNT = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.2; done"
PODS = {
    "p": ["sleep", "3600"],
    "echo": ["sh", "-c", "while read -r x; do echo got $x; done"],
    "web": ["sh", "-c", "mkdir /w && echo served > /w/index.html && exec httpd -f -h /w"],
    "count": ["sh", "-c", COUNT],
}


@pytest.fixture
def pods(ns):
    for name, command in PODS.items():
        pod = busybox_pod(name, command)
        pod["spec"]["containers"][0]["stdin"] = name == "echo"
        ns.apply(pod)
    for name in PODS:
        ns.wait(f"pod/{name}", "condition=Ready")
    return ns


@pytest.fixture
def core(box):
    return client.CoreV1Api(config.new_client_from_config(box.kubeconfig))


def test_javascript(pods):
    r = nodejs.run("streams.mjs", pods.box.kubeconfig, pods.name)
    assert r.returncode == 0, r.stdout + r.stderr


def python_exec(core, pods, command, **kw):
    return stream(core.connect_get_namespaced_pod_exec, "p", pods.name, command=command,
                  **{"stdin": False, "stdout": True, "stderr": True, "tty": False} | kw)


def test_python_exec(pods, core):
    assert python_exec(core, pods, ["sh", "-c", "echo out; echo err >&2"]) in ("out\nerr\n", "err\nout\n")
    s = python_exec(core, pods, ["sh"], stdin=True, _preload_content=False)
    s.write_stdin("echo one\n")
    assert s.readline_stdout(timeout=10) == "one"
    s.write_stdin("echo two >&2\n")
    assert s.readline_stderr(timeout=10) == "two"
    s.write_stdin("exit 3\n")
    s.run_forever(timeout=10)
    assert s.returncode == 3
    # without standard input containerd 1.6 keeps what a terminal says from WebSockets of this kind
    text = python_exec(core, pods, ["sh", "-c", "test -t 1 && echo terminal"], tty=True, stdin=True)
    assert text == "terminal\r\n"
    text = python_exec(core, pods, ["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"])
    assert hashlib.sha256(text.encode()).digest() == hashlib.sha256(b"x" * 3000000).digest()


def test_python_exec_refused(pods, core):
    with pytest.raises(ApiException) as e:
        stream(core.connect_get_namespaced_pod_exec, "nobody", pods.name, command="true", stdout=True)
    assert "404 Not Found" in e.value.reason


def test_python_attach(pods, core):
    s = stream(core.connect_get_namespaced_pod_attach, "echo", pods.name, stdin=True, stdout=True, stderr=False,
               tty=False, _preload_content=False)
    s.write_stdin("hello\n")
    assert s.readline_stdout(timeout=10) == "got hello"
    s.close()


def test_python_port_forward(pods, core):
    for _ in range(3):
        pf = portforward(core.connect_get_namespaced_pod_portforward, "web", pods.name, ports="80")
        sock = pf.socket(80)
        sock.settimeout(10)
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        got = b""
        while b"served\n" not in got:
            more = sock.recv(4096)
            assert more, (got, pf.error(80))
            got += more
        assert got.startswith(b"HTTP/1") and pf.error(80) is None
        pf.close()


def test_python_logs(pods, core):
    seen = []
    began = time.monotonic()
    w = watch.Watch()
    for line in w.stream(core.read_namespaced_pod_log, "count", pods.name, tail_lines=1):
        seen.append(int(line.split()[1]))
        if len(seen) == 4:
            w.stop()
    assert seen == list(range(seen[0], seen[0] + 4)) and time.monotonic() - began < 10
    text = core.read_namespaced_pod_log("count", pods.name, tail_lines=2, timestamps=True)
    assert [line.split()[1] for line in text.splitlines()] == ["line", "line"]
    with pytest.raises(ApiException) as e:
        core.read_namespaced_pod_log("count", pods.name, container="nobody")
    assert e.value.status == 400
    assert json.loads(e.value.body)["message"] == "container nobody is not valid for pod count"


def test_python_evicts(pods, core):
    """The kubelet's part of an eviction: it runs, it is asked to end, it is gone."""
    core.create_namespaced_pod_eviction("p", pods.name, client.V1Eviction(
        metadata=client.V1ObjectMeta(name="p", namespace=pods.name)))
    assert core.read_namespaced_pod("p", pods.name).metadata.deletion_timestamp

    def gone():
        return "p" not in [o.metadata.name for o in core.list_namespaced_pod(pods.name).items]

    wait_for("the end of p", gone, 30)
