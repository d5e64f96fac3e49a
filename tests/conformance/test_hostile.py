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
from hostile import (CMS, CONTINUATION, END_HEADERS, END_STREAM, GROWTH_MB, HEADERS, PING, PREFACE,
                     RST_STREAM, SETTINGS, WINDOW_UPDATE, ended, field, frame, h2, head, pss_mb,
                     push, survives, tls, victim)

__all__ = ["survives", "victim"]
WATCHES = int(os.environ.get("ISOPLANE_HOSTILE_WATCHES", "100000"))


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


def test_slow_bodies(victim):
    """A byte of the body now and then, and never the rest."""
    slow = []
    for _ in range(60):
        s = tls(victim)
        s.sendall(f"POST {CMS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                  "Content-Length: 3000000\r\n\r\n{".encode())
        slow.append(s)
    for _ in range(5):
        for s in slow:
            s.sendall(b" ")
        start = time.monotonic()
        assert victim.get(CMS).status == 200
        assert time.monotonic() - start < 5
    for s in slow:
        s.close()


def client_hello():
    out = ssl.MemoryBIO()
    ctx = ssl.create_default_context()
    tls_object = ctx.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls_object.do_handshake()
    return out.read()


def test_handshakes_dropped(victim):
    """Half of them before the ClientHello is whole, half after the server has answered it."""
    hello = client_hello()
    for i in range(3000):
        with socket.create_connection(("127.0.0.1", victim.port), timeout=20) as s:
            s.sendall(hello if i % 2 else hello[:i % len(hello)])
            if i % 4 == 1:
                s.recv(1)
    assert victim.get(CMS).status == 200


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


@pytest.fixture
def big_maps(victim):
    """A list of 10 MB."""
    names = [f"big-{i}" for i in range(12)]
    try:
        for name in names:
            victim.ok("POST", CMS, {"metadata": {"name": name}, "data": {"k": "x" * 900000}})
        yield
    finally:
        for name in names:
            victim.delete(f"{CMS}/{name}")


def test_huge_lists_not_read(victim, big_maps):
    """What is asked for and not taken is not kept for each who asked: 40 lists are 400 MB."""
    before = pss_mb(victim)
    idle = []
    try:
        for _ in range(40):
            s = tls(victim)
            s.sendall(f"GET {CMS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            idle.append(s)
        time.sleep(1)
        assert victim.get(CMS + "?limit=1").status == 200
        assert pss_mb(victim) < before + 150
    finally:
        for s in idle:
            s.close()


def test_http2_zero_window(victim, big_maps):
    """By a client that lets nothing out, then a byte at a time: 100 lists are 1 GB."""
    before = pss_mb(victim)
    with tls(victim, "h2") as s:
        s.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
        push(s, b"".join(frame(HEADERS, END_STREAM | END_HEADERS, 1 + 2 * i, head(CMS))
                         for i in range(100)))
        for _ in range(20):
            if not push(s, b"".join(frame(WINDOW_UPDATE, 0, 1 + 2 * i, struct.pack(">I", 1))
                                    for i in range(100))):
                break
        time.sleep(1)
        assert victim.get(CMS + "?limit=1").status == 200
        assert pss_mb(victim) < before + 300


def test_http2_window_overflow(victim):
    s = h2(victim)
    for _ in range(3):
        if not push(s, frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7fffffff))):
            break
    assert ended(s)
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
