# SPDX-License-Identifier: Apache-2.0
"""Fixtures: one `isoplane up` (boxes.py) with real containerd and QEMU for the session, the images
of the tests, a namespace for each test."""
import os
import shutil
import subprocess
import tempfile

import pytest

from boxes import BUILD, TOP, Box, Namespace, free_port, wait_for


@pytest.fixture(scope="session")
def images():
    """The images of the tests, built once: {name: OCI archive}."""
    out = BUILD / "test-images"
    out.mkdir(exist_ok=True)
    busybox = out / "busybox.tar"
    if not busybox.exists():
        subprocess.run([str(TOP / "images/busybox/build"), str(busybox)], check=True)
    if not (out / "guest-disk.tar").exists():
        subprocess.run([str(TOP / "guest/build"), "--out", str(out)], check=True,
                       stdout=subprocess.DEVNULL)
    return {"busybox": busybox, "disk": out / "guest-disk.tar", "kernel": out / "guest-kernel.tar",
            "dir": out}


@pytest.fixture(scope="session")
def box(images):
    base = tempfile.mkdtemp(prefix="isoplane-e2e-")
    b = Box(os.path.join(base, "data"), free_port())
    try:
        b.start()
        wait_for("node Ready", lambda: any(
            c["type"] == "Ready" and c["status"] == "True"
            for c in b.get("nodes")["items"][0]["status"]["conditions"]), 60)
        for name in ("busybox", "disk", "kernel"):
            b.import_image(images[name])
        yield b
    finally:
        b.down()
        log_dir = BUILD / "test-logs"
        log_dir.mkdir(exist_ok=True)
        if os.path.exists(b.log_path):
            shutil.copy(b.log_path, log_dir / "e2e-up.log")
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def ns(box, request):
    name = "t-" + request.node.name.replace("_", "-").replace("[", "-").replace("]", "")[:50]
    name = name.lower().strip("-")
    box.kubectl("create", "namespace", name)
    wait_for("service account default", lambda: box.get("-n", name, "serviceaccount", "default"))
    yield Namespace(box, name)
    box.kubectl("delete", "namespace", name, "--wait=true", "--timeout=60s", timeout=70)
