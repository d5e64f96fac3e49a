# SPDX-License-Identifier: Apache-2.0
"""Clients that mean harm: the server stays up, its memory bounded, others are served."""
import json
import os
import socket
import ssl
import struct
import time

import pytest

from apiserver import Server

CMS = "/api/v1/namespaces/default/configmaps"
WATCHES = int(os.environ.get("ISOPLANE_HOSTILE_WATCHES", "4000"))
GROWTH_MB = 40

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS = 1, 4


@pytest.fixture(scope="module")
def victim():
    s = Server()
    yield s
    s.close()


def pss_mb(server):
    with open(f"/proc/{server.proc.pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:")) / 1024


@pytest.fixture(autouse=True)
def survives(victim):
    before = pss_mb(victim)
    yield
    start = time.monotonic()
    assert victim.get("/readyz").status == 200
    assert time.monotonic() - start < 5
    deadline = time.monotonic() + 20
    while pss_mb(victim) > before + GROWTH_MB and time.monotonic() < deadline:
        time.sleep(0.1)
    assert pss_mb(victim) <= before + GROWTH_MB


def tls(server, alpn=None, anonymous=False):
    ctx = ssl.create_default_context(cadata=server.ca)
    if not anonymous:
        ctx.load_cert_chain(server.dir / "admin.pem")
    if alpn:
        ctx.set_alpn_protocols([alpn])
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    return ctx.wrap_socket(raw, server_hostname="127.0.0.1")


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + \
        struct.pack(">I", stream) + payload


def field(name, value):
    """HPACK: a literal without indexing."""
    def text(s):
        s = s.encode()
        assert len(s) < 127
        return bytes([len(s)]) + s
    return b"\0" + text(name) + text(value)


def head(path, method="GET"):
    return field(":method", method) + field(":scheme", "https") + field(":path", path) + \
        field(":authority", "localhost")


def h2(server):
    s = tls(server, "h2")
    s.sendall(PREFACE + frame(SETTINGS, 0, 0))
    return s


def push(s, data):
    """Sends as far as it goes; false when the server has had enough."""
    try:
        s.sendall(data)
        return True
    except OSError:
        return False


def ended(s):
    """Reads until the server ends the connection; whether it did."""
    s.settimeout(20)
    try:
        while s.recv(65536):
            pass
        return True
    except socket.timeout:
        return False
    except OSError:
        return True


def test_slow_loris(victim):
    lost = [tls(victim, anonymous=True) for _ in range(60)]
    for s in lost:
        s.sendall(b"GET /api HTTP/1.1\r\nHost: x\r\nX-A: ")
    raw = [socket.create_connection(("127.0.0.1", victim.port)) for _ in range(60)]
    for s in raw:
        s.sendall(b"\x16\x03\x01")
    start = time.monotonic()
    assert victim.get(CMS).status == 200
    assert time.monotonic() - start < 5
    for s in lost + raw:
        s.close()


def test_giant_headers(victim):
    s = tls(victim, anonymous=True)
    s.sendall(b"GET /api HTTP/1.1\r\nHost: x\r\n")
    for i in range(3000):
        if not push(s, b"X-%d: %s\r\n" % (i, b"a" * 1000)):
            break
    else:
        push(s, b"\r\n")
    s.settimeout(20)
    try:
        answer = s.recv(100)
        assert not answer or answer.startswith(b"HTTP/1.1 431"), answer
    except OSError:
        pass
    s.close()


def test_large_body(victim):
    r = victim.post(CMS, b"{" + b" " * (3 << 20) + b"}", headers={"Content-Type": "application/json"})
    assert r.status == 413
    assert r.json["reason"] == "RequestEntityTooLarge"


def test_json_bomb(victim):
    depth = 500000
    body = b'{"data":' + b"[" * depth + b"]" * depth + b"}"
    r = victim.post(CMS, body, headers={"Content-Type": "application/json"})
    assert r.status == 400


def test_yaml_bomb(victim):
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for i in range(1, 12):
        ref = chr(96 + i)
        lines.append(f"{chr(97 + i)}: &{chr(97 + i)} [{','.join(['*' + ref] * 9)}]")
    r = victim.post(CMS, "\n".join(lines).encode(), headers={"Content-Type": "application/yaml"})
    assert r.status in (400, 413)
    assert r.json["kind"] == "Status"


def test_selector_bomb(victim):
    text = ",".join(f"k{i}!=v{i}" for i in range(1500))
    r = victim.get(f"{CMS}?labelSelector={text.replace('=', '%3D')}")
    assert r.status in (200, 400, 414, 431)


def test_http2_rapid_reset(victim):
    s = h2(victim)
    for i in range(20):
        burst = b"".join(
            frame(HEADERS, END_STREAM | END_HEADERS, sid, head(CMS)) +
            frame(RST_STREAM, 0, sid, struct.pack(">I", 8))
            for sid in range(1 + 1000 * i, 1001 + 1000 * i, 2))
        if not push(s, burst):
            break
    assert ended(s)
    s.close()


def test_http2_continuation_flood(victim):
    s = h2(victim)
    s_open = push(s, frame(HEADERS, END_STREAM, 1, head(CMS)))
    junk = frame(CONTINUATION, 0, 1, field("x-junk", "a" * 100) * 100)
    for _ in range(2000):
        if not s_open:
            break
        s_open = push(s, junk)
    assert ended(s)
    s.close()


@pytest.mark.parametrize("kind,payload", [(PING, b"12345678"), (SETTINGS, b"")])
def test_http2_frames_that_want_answers(victim, kind, payload):
    """Without reading one: the answers must not pile up."""
    s = h2(victim)
    s.settimeout(3)
    flood = frame(kind, 0, 0, payload) * 2000
    for _ in range(100):
        if not push(s, flood):
            break
    s.close()


def test_http2_too_many_streams(victim):
    s = h2(victim)
    watch = head(CMS + "?watch=true")
    for i in range(5):
        if not push(s, b"".join(frame(HEADERS, END_STREAM | END_HEADERS, sid, watch)
                                for sid in range(1 + 400 * i, 401 + 400 * i, 2))):
            break
    assert victim.get(CMS).status == 200
    s.close()


def test_watches_opened_and_dropped(victim):
    opened = 0
    while opened < WATCHES:
        s = h2(victim)
        push(s, b"".join(frame(HEADERS, END_STREAM | END_HEADERS, 1 + 2 * i,
                               head(CMS + "?watch=true&resourceVersion=0")) for i in range(200)))
        s.settimeout(10)
        try:
            s.recv(4096)
        except OSError:
            pass
        s.close()
        opened += 200
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        left = [line for line in victim.get("/metrics").body.decode().splitlines()
                if line.startswith("apiserver_longrunning_requests{")
                and 'resource="configmaps"' in line and not line.endswith(" 0")]
        if not left:
            return
        time.sleep(0.05)
    assert not left


def test_slow_reader(victim):
    """A watch that nobody reads costs a bounded queue, and ends with 410 or goes on."""
    s = tls(victim)
    s.sendall(f"GET {CMS}?watch=true HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    victim.post(CMS, {"metadata": {"name": "slow"}})
    before = pss_mb(victim)
    for i in range(100):
        assert victim.patch(CMS + "/slow", {"data": {"k": str(i) + "x" * 500000}}).status == 200
    assert pss_mb(victim) < before + GROWTH_MB + 60  # the history's pages are in it
    s.close()


def test_falls_behind_the_history():
    s = Server("--history", "1")
    try:
        s.post(CMS, {"metadata": {"name": "slow"}})
        c = tls(s)
        c.sendall(f"GET {CMS}?watch=true HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        deadline = time.monotonic() + 4
        i = 0
        while time.monotonic() < deadline or i < 40:
            i += 1
            assert s.patch(CMS + "/slow", {"data": {"k": str(i) + "x" * 300000}}).status == 200
        c.settimeout(20)
        tail = b""
        while b'"type":"ERROR"' not in tail:
            data = c.recv(65536)
            assert data, "the watch ended without an error"
            tail = tail[-1000:] + data
        end = tail[tail.index(b'{"type":"ERROR"'):].split(b"\n")[0]
        status = json.loads(end)["object"]
        assert status["code"] == 410 and status["reason"] == "Expired", status
        assert status["message"].startswith("too old resource version: ")
        c.close()
    finally:
        s.close()
