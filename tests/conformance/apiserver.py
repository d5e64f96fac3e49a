# SPDX-License-Identifier: Apache-2.0
"""A bare `isoplane apiserver` on a free port, and a client that speaks plain HTTPS to it."""
import base64
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("ISOPLANE_BUILD", ROOT / "build"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def poll(fn, seconds=10):
    """The first true result of fn."""
    deadline = time.monotonic() + seconds
    while True:
        r = fn()
        if r:
            return r
        assert time.monotonic() < deadline, "nothing came in time"
        time.sleep(0.02)


class Response:
    def __init__(self, r):
        self.status = r.status
        self.headers = r.headers
        self.body = r.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def warnings(self):
        return [re.match(r'299 - "(.*)"$', w).group(1).replace('\\"', '"') for w in
                self.headers.get_all("Warning") or []]


class Server:
    """One API server process."""

    def __init__(self, *flags):
        self.flags = flags
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="isoplane-api-"))
        self.port = free_port()
        self.proc = None
        self.start()

    def start(self):
        self.log = open(self.dir / "log", "ab")
        self.proc = subprocess.Popen(
            [BUILD / "isoplane", "apiserver", "--data-dir", self.dir / "data",
             "--listen", f"127.0.0.1:{self.port}", *self.flags], stderr=self.log)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.load()
                if self.get("/readyz").status == 200:
                    return
            except (OSError, ssl.SSLError):
                pass
            assert self.proc.poll() is None, (self.dir / "log").read_text()
            assert time.monotonic() < deadline, "the API server did not become ready"
            time.sleep(0.02)

    def load(self):
        text = self.kubeconfig.read_text()

        def part(key):
            return base64.b64decode(re.search(key + r':\s*"?([A-Za-z0-9+/=]+)', text).group(1))

        self.ca = part("certificate-authority-data").decode()
        pem = self.dir / "admin.pem"
        pem.write_bytes(part("client-certificate-data") + part("client-key-data"))
        self.admin_tls = ssl.create_default_context(cadata=self.ca)
        self.admin_tls.load_cert_chain(pem)
        self.plain_tls = ssl.create_default_context(cadata=self.ca)

    @property
    def kubeconfig(self):
        return self.dir / "data" / "admin.kubeconfig"

    def kill(self, sig=signal.SIGKILL):
        self.proc.send_signal(sig)
        self.proc.wait(10)
        self.log.close()

    def close(self):
        died = self.proc.poll()
        self.kill(signal.SIGTERM)
        log = (self.dir / "log").read_text()
        shutil.rmtree(self.dir)
        assert died is None, f"the API server died ({died}): {log[-4000:]}"

    def connect(self, anonymous=False, timeout=10):
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=timeout,
            context=self.plain_tls if anonymous else self.admin_tls)

    def request(self, method, path, body=None, headers=None, token=None, anonymous=False, user=None,
                groups=()):
        h = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            h.setdefault("Content-Type", "application/json")
        if token:
            h["Authorization"] = "Bearer " + token
        c = self.connect(anonymous or token is not None)
        try:
            c.putrequest(method, path, skip_accept_encoding=True)
            if user:
                c.putheader("Impersonate-User", user)
            for g in groups:
                c.putheader("Impersonate-Group", g)
            if isinstance(body, str):
                body = body.encode()
            if body is not None:
                h["Content-Length"] = str(len(body))
            for k, v in h.items():
                c.putheader(k, v)
            c.endheaders(body)
            return Response(c.getresponse())
        finally:
            c.close()

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def post(self, path, body=None, **kw):
        return self.request("POST", path, body, **kw)

    def put(self, path, body, **kw):
        return self.request("PUT", path, body, **kw)

    def delete(self, path, body=None, **kw):
        return self.request("DELETE", path, body, **kw)

    def patch(self, path, body, kind="merge", **kw):
        h = {"Content-Type": f"application/{kind}-patch+json"}
        return self.request("PATCH", path, body, headers=h | kw.pop("headers", {}), **kw)

    def ok(self, method, path, body=None, **kw):
        r = self.request(method, path, body, **kw)
        assert r.status < 300, r.body
        return r.json

    def watch(self, path, **kw):
        return Watch(self, path, **kw)

    def kubectl(self, *args, check=True, stdin=None):
        env = dict(os.environ, KUBECONFIG=str(self.kubeconfig), HOME=str(self.dir))
        r = subprocess.run(["kubectl", *args], env=env, input=stdin, text=True,
                           capture_output=True, timeout=60)
        if check:
            assert r.returncode == 0, r.stderr
        return r


class Watch:
    """Events of one watch, in order."""

    def __init__(self, server, path, headers=None):
        self.conn = server.connect(timeout=5)
        self.conn.request("GET", path, headers=headers or {})
        self.response = self.conn.getresponse()
        self.status = self.response.status

    def next(self):
        line = self.response.readline()
        return json.loads(line) if line else None

    def take(self, n):
        return [self.next() for _ in range(n)]

    def until(self, kind):
        seen = []
        while True:
            e = self.next()
            assert e, seen
            seen.append(e)
            if e["type"] == kind:
                return seen

    def close(self):
        self.conn.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
