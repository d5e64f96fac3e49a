# SPDX-License-Identifier: Apache-2.0
"""Streams into running Pods by every way that clients take: WebSockets of today's kubectl, SPDY of older
ones, the old channel protocols, and the proxy subresources."""
import base64
import hashlib
import os
import re
import signal
import socket
import ssl
import struct
import subprocess

import pytest

from boxes import busybox_pod, free_port, wait_for

SPDY = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}
WAYS = [pytest.param({}, "v5.channel.k8s.io", id="websocket"), pytest.param(SPDY, "SPDY/3.1", id="spdy")]


@pytest.fixture
def pod(ns):
    ns.apply(busybox_pod("p", ["sleep", "3600"]))
    ns.wait("pod/p", "condition=Ready")
    return ns


def kubectl_exec(ns, env, *args, data=None, flags=()):
    return subprocess.run(["kubectl", "-n", ns.name, *flags, "exec", "-i", "p", "--", *args],
                          env={**ns.box.env(), **env}, input=data, capture_output=True, timeout=120)


@pytest.mark.parametrize("env,protocol", WAYS)
def test_exec_50_megabytes(pod, env, protocol):
    data = os.urandom(50 << 20)
    r = kubectl_exec(pod, env, "sha256sum", data=data)
    assert r.returncode == 0, r.stderr
    assert r.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("env,protocol", WAYS)
def test_exec_takes_its_way(pod, env, protocol):
    """Nothing falls back: the first upgrade is the one that carries the session."""
    r = kubectl_exec(pod, env, "sh", "-c", "echo out; echo err >&2; exit 7", flags=["-v=8"])
    assert r.returncode == 7
    log = r.stderr.decode()
    assert r.stdout == b"out\n" and "\nerr\n" in log
    assert re.findall(r"Response Status: (\d+) .*", log)[-1] == "101"
    assert len(re.findall(r"(?:GET|POST) https://\S+/exec\?", log)) == 1
    assert protocol.lower() in log.lower()


@pytest.mark.parametrize("env,protocol", WAYS)
def test_output_is_whole(pod, env, protocol):
    r = kubectl_exec(pod, env, "sh", "-c", "head -c 20000000 /dev/zero | tr '\\0' x; echo end >&2")
    assert r.returncode == 0 and len(r.stdout) == 20000000 and r.stderr.endswith(b"end\n")


@pytest.mark.parametrize("env,protocol", WAYS)
def test_exec_of_what_is_not_there(pod, env, protocol):
    r = kubectl_exec(pod, env, "/no/such")
    assert r.returncode != 0 and b"no such file" in r.stderr


@pytest.mark.parametrize("env", [{}, SPDY], ids=["websocket", "spdy"])
def test_port_forward(pod, env):
    pod.apply(busybox_pod("web", ["sh", "-c", "mkdir /w && echo served > /w/index.html && httpd -f -h /w"]))
    pod.wait("pod/web", "condition=Ready")
    port = free_port()
    p = subprocess.Popen(["kubectl", "-n", pod.name, "port-forward", "pod/web", f"{port}:80"],
                         env={**pod.box.env(), **env}, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    try:
        for _ in range(5):
            assert pod.http(f"http://127.0.0.1:{port}/", 20) == "served\n"
    finally:
        p.send_signal(signal.SIGTERM)
        p.wait(10)


# ---- raw WebSockets

class WebSocket:
    """The client's side of RFC 6455, as far as these tests need it."""

    def __init__(self, box, tmp_path, path, protocol):
        config = open(box.kubeconfig).read()
        for name in ("client-certificate-data", "client-key-data"):
            text = re.search(name + r':\s*"?([A-Za-z0-9+/=]+)', config).group(1)
            with open(tmp_path / "client.pem", "ab") as f:
                f.write(base64.b64decode(text))
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(tmp_path / "client.pem")
        self.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", box.port), 30))
        key = base64.b64encode(os.urandom(16)).decode()
        offer = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
        self.sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                          f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{offer}\r\n".encode())
        self.file = self.sock.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode().partition(": ")
            self.headers[name.lower()] = value

    def messages(self):
        """Until the other side closes."""
        while head := self.file.read(2):
            n = head[1] & 127
            if n == 126:
                n, = struct.unpack(">H", self.file.read(2))
            elif n == 127:
                n, = struct.unpack(">Q", self.file.read(8))
            data = self.file.read(n)
            if head[0] & 15 == 8:
                return
            yield data

    def close(self):
        self.sock.close()


def test_exec_old_channels(pod, tmp_path):
    """As upstream's conformance test asks: channel.k8s.io goes through to the runtime."""
    ws = WebSocket(pod.box, tmp_path, f"/api/v1/namespaces/{pod.name}/pods/p/exec?stdout=1&stderr=1"
                   "&container=main&command=echo&command=remote+execution+test", "channel.k8s.io")
    assert ws.status == 101 and ws.headers["sec-websocket-protocol"] == "channel.k8s.io"
    got = b"".join(m[1:] for m in ws.messages() if m[0] == 1)
    ws.close()
    assert got == b"remote execution test\n"


@pytest.mark.parametrize("protocol", ["binary.k8s.io", "base64.binary.k8s.io", None],
                         ids=["binary", "base64", "none"])
def test_log_over_websocket(ns, tmp_path, protocol):
    ns.apply(busybox_pod("p", ["sh", "-c", "echo a line; sleep 3600"]))
    wait_for("a line", lambda: ns.kubectl("logs", "p").stdout == "a line\n")
    ws = WebSocket(ns.box, tmp_path, f"/api/v1/namespaces/{ns.name}/pods/p/log?container=main", protocol)
    assert ws.status == 101 and ws.headers.get("sec-websocket-protocol") == protocol
    got = b"".join(ws.messages())
    ws.close()
    assert (base64.b64decode(got) if protocol == "base64.binary.k8s.io" else got) == b"a line\n"


def test_websocket_needs_create(pod):
    """A WebSocket is a GET, and yet runs commands."""
    pod.kubectl("create", "role", "half", "--verb=get", "--resource=pods,pods/exec")
    pod.kubectl("create", "rolebinding", "half", "--role=half", "--user=alice")
    r = pod.kubectl("--as=alice", "exec", "p", "--", "true", check=False)
    assert 'User "alice" cannot create resource "pods/exec"' in r.stderr


# ---- proxies

SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
           "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 8080, "targetPort": 80}]}}


def test_proxies(pod):
    script = ("mkdir -p /w/sub && echo served > /w/index.html && echo deep > /w/sub/x.txt &&"
              "httpd -f -h /w")
    spec = busybox_pod("web", ["sh", "-c", script])
    spec["spec"]["containers"][0]["ports"] = [{"containerPort": 80}]
    pod.apply(spec)
    pod.apply(SERVICE)
    pod.wait("pod/web", "condition=Ready")
    base = f"/api/v1/namespaces/{pod.name}"

    def raw(path):
        r = pod.box.kubectl("get", "--raw", path, check=False)
        return r.stdout or r.stderr

    for name in ("pods/web", "pods/web:80", "pods/http:web:80", "services/web:8080", "services/web:http",
                 "services/http:web:http"):
        wait_for(name, lambda: raw(f"{base}/{name}/proxy/") == "served\n", 20)
        assert raw(f"{base}/{name}/proxy/sub/x.txt?a=b") == "deep\n"
        # without a slash at the end: a redirect, which kubectl follows
        assert raw(f"{base}/{name}/proxy") == "served\n"
    # the server's own redirect leads through the proxy
    assert "deep" not in raw(f"{base}/pods/web/proxy/sub")
    assert raw(f"{base}/services/web:99/proxy/").strip().endswith('no service port 99 found for service "web"')
    assert raw(f"{base}/services/web/proxy/").strip().endswith('no endpoints available for service "web"')
    assert raw(f"{base}/pods/ftp:web:80/proxy/").strip().endswith('invalid pod request "ftp:web:80"')
    assert "error trying to reach service" in raw(f"{base}/pods/web:81/proxy/")
    node = pod.box.get("nodes")["items"][0]["metadata"]["name"]
    assert raw(f"/api/v1/nodes/{node}/proxy/healthz") == "ok"
