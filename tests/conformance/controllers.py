# SPDX-License-Identifier: Apache-2.0
"""What the tests of controllers share: an API server with the controllers beside it."""
import json
import signal
import subprocess
import time

import pytest

from apiserver import BUILD, Server

APPS = "/apis/apps/v1"
NOW = "2026-01-01T00:00:00Z"


def wait_for(what, fn, timeout=15):
    deadline = time.monotonic() + timeout
    while True:
        last = fn()
        if last:
            return last
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s (last: {last!r})"
        time.sleep(0.05)


class Plane(Server):
    """An API server with the controllers beside it."""

    def start(self):
        super().start()
        self.controllers = subprocess.Popen(
            [BUILD / "isoplane", "controllers", "--kubeconfig", self.kubeconfig],
            stderr=self.log)

    def close(self):
        self.controllers.send_signal(signal.SIGTERM)
        self.controllers.wait(10)
        super().close()


class Space:
    """One namespace."""

    def __init__(self, plane, name):
        self.plane = plane
        self.name = name
        assert plane.post("/api/v1/namespaces", {"metadata": {"name": name}}).status == 201

    def path(self, kind, name=None):
        base = APPS if kind in ("statefulsets", "daemonsets", "controllerrevisions") else \
            "/apis/batch/v1" if kind == "jobs" else "/api/v1"
        return f"{base}/namespaces/{self.name}/{kind}" + (f"/{name}" if name else "")

    def create(self, kind, obj):
        r = self.plane.post(self.path(kind), obj)
        assert r.status == 201, r.body
        return r.json

    def get(self, kind, name):
        r = self.plane.get(self.path(kind, name))
        return r.json if r.status == 200 else None

    def list(self, kind):
        return self.plane.get(self.path(kind)).json["items"]

    def names(self, kind):
        return sorted(o["metadata"]["name"] for o in self.list(kind))

    def patch(self, kind, name, patch, sub=""):
        r = self.plane.request("PATCH", self.path(kind, name) + sub, json.dumps(patch),
                               headers={"Content-Type": "application/merge-patch+json"})
        assert r.status == 200, r.body
        return r.json

    def delete(self, kind, name):
        r = self.plane.request("DELETE", self.path(kind, name))
        assert r.status in (200, 202, 404), r.body

    def run(self, pod):
        """What a kubelet would write of a Pod that runs and is ready."""
        self.patch("pods", pod, {"status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": NOW}]}}, "/status")

    def pods(self):
        return [p for p in self.list("pods") if "deletionTimestamp" not in p["metadata"]]


# ---- fixtures, for the test files that import them


@pytest.fixture(scope="module")
def plane():
    p = Plane()
    yield p
    p.close()


@pytest.fixture
def ns(plane, request):
    name = request.node.name.replace("_", "-")[:50].strip("-")
    space = Space(plane, name)
    yield space
    plane.request("DELETE", f"/api/v1/namespaces/{name}")
