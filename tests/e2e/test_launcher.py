# SPDX-License-Identifier: Apache-2.0
"""virt-launcher alone, with a real QEMU and the demo guest, in namespaces of its own."""
import json
import pathlib
import subprocess
import sys

import pytest

from boxes import BUILD, TOP

HARNESS = pathlib.Path(__file__).parent / "launcher_harness.py"


@pytest.fixture(scope="session")
def guest_dir(tmp_path_factory):
    out = tmp_path_factory.mktemp("guest")
    subprocess.run([str(TOP / "guest/build"), "--out", str(out)], check=True,
                   stdout=subprocess.DEVNULL)
    out.chmod(0o755)
    return out


@pytest.fixture
def scenario(guest_dir):
    def run(name):
        done = subprocess.run(["unshare", "-mn", sys.executable, str(HARNESS),
                               str(BUILD / "virt-launcher"), str(guest_dir), name],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout)
    return run


def test_boots_and_shuts_down_by_acpi(scenario):
    r = scenario("shutdown")
    assert "nonce n0nce" in r["page"] and "address eth0 10.0.2.2/24" in r["page"]
    # sha256 of 1 MiB of zeros: the claim's disk.img was made at its size
    assert "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58" in r["page"]
    for line in ("CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        assert line in r["status"]
    assert (r["state"], r["reason"], r["exit"]) == ("Shutoff", "Shutdown", 0)


def test_pause_stops_the_guests_clock(scenario):
    r = scenario("pause")
    assert r["codes"] == [0, 409, 0, 409]
    assert r["slept"] >= 3 and r["ran"] < r["slept"]
    assert (r["state"], r["reason"], r["exit"]) == ("Shutoff", "Destroyed", 0)


def test_soft_reboot_keeps_qemu(scenario):
    assert scenario("soft_reboot")["same_qemu"]


def test_a_panic_is_a_crash(scenario):
    assert scenario("panic") == {"state": "Crashed", "reason": "Crashed"}


def test_a_killed_qemu_is_a_crash(scenario):
    assert scenario("killed") == {"state": "Crashed", "reason": "Failed", "exit": 0}


def test_sigterm_shuts_the_guest_down(scenario):
    assert scenario("terminated") == {"state": "Shutoff", "reason": "Shutdown", "exit": 0}


def test_failures_say_why_and_may_be_tried_again(scenario):
    r = scenario("failures")
    assert "volume 'root'" in r["messages"][0] and "files in /disk" in r["messages"][0]
    assert "unsupported machine type" in r["messages"][1]
    assert "memory" in r["messages"][2]
    assert r["state_between"] == "NoState"
    assert r["state"] == "Shutoff"
