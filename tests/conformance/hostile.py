# SPDX-License-Identifier: Apache-2.0
"""What hostile clients need: a server of their own, raw frames, and somebody else to be served."""
import contextlib
import socket
import ssl
import struct
import threading
import time

import pytest

from apiserver import Server

CMS = "/api/v1/namespaces/default/configmaps"
GROWTH_MB = 40
SERVED_S = 10  # how long another client may wait meanwhile, on a busy machine

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4


@pytest.fixture(scope="module")
def victim():
    s = Server()
    s.ok("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    yield s
    s.close()


def pss_mb(server):
    with open(f"/proc/{server.proc.pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:")) / 1024


@contextlib.contextmanager
def others_served(victim):
    """Another client asks again and again; nobody may make it wait long."""
    done, worst = threading.Event(), []

    def ask():
        while not done.is_set():
            start = time.monotonic()
            try:
                ok = victim.get(CMS + "?limit=1").status == 200
            except OSError:
                ok = False
            worst.append((time.monotonic() - start) if ok else float("inf"))
            done.wait(0.05)

    t = threading.Thread(target=ask)
    t.start()
    try:
        yield
    finally:
        done.set()
        t.join()
    assert worst and max(worst) < SERVED_S, max(worst)


@pytest.fixture(autouse=True)
def survives(victim):
    before = pss_mb(victim)
    with others_served(victim):
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
