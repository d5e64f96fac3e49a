# SPDX-License-Identifier: Apache-2.0
"""What was acknowledged stays; a full or damaged disk is told; history outlives a restart."""
import json
import os
import pathlib
import signal
import subprocess
import threading
import time

import pytest

from apiserver import BUILD, Server
from samples import CM, cms, services, status

CMS = "/api/v1/namespaces/default/configmaps"


def cm(name, size=10, fill="x"):
    return {"metadata": {"name": name}, "data": {"k": fill * size}}


class SmallDisk(Server):
    """Its data directory is a tmpfs of 12 MB that only it sees."""

    def start(self):
        self.log = open(self.dir / "log", "ab")
        (self.dir / "data").mkdir(exist_ok=True)
        script = f'mount -t tmpfs -o size=12m none "{self.dir}/data" && exec "$@"'
        self.proc = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script, "sh", BUILD / "isoplane", "apiserver",
             "--data-dir", self.dir / "data", "--listen", f"127.0.0.1:{self.port}",
             "--history", "1"], stderr=self.log)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.load()
                if self.get("/readyz").status == 200:
                    return
            except OSError:
                pass
            assert self.proc.poll() is None, (self.dir / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    @property
    def kubeconfig(self):
        return self.disk / "admin.kubeconfig"

    @property
    def disk(self):
        return pathlib.Path(f"/proc/{self.proc.pid}/root{self.dir}/data")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_full_disk():
    s = SmallDisk()
    try:
        s.ok("POST", CMS, cm("kept", 1000))
        ballast = s.disk / "ballast"
        with open(ballast, "wb") as f:
            try:
                while True:
                    f.write(b"0" * 65536)
                    f.flush()
            except OSError:
                pass
        refused = None
        for i in range(200):
            r = s.post(CMS, cm(f"more-{i}", 100000))
            if r.status != 201:
                refused = r
                break
        assert refused, "the disk took everything"
        assert refused.status in (500, 503, 507), refused.body
        assert "no space left on the device" in refused.json["message"]
        assert refused.json["kind"] == "Status" and refused.json["status"] == "Failure"
        # reads go on, and what was acknowledged is there
        assert s.get(CMS + "/kept").status == 200
        names = {o["metadata"]["name"] for o in s.ok("GET", CMS)["items"]}
        assert {f"more-{k}" for k in range(i)} <= names and f"more-{i}" not in names
        # and it is fine again as soon as there is space
        ballast.unlink()
        deadline = time.monotonic() + 10
        while s.post(CMS, cm(f"more-{i}", 100000)).status != 201:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for k in range(i):
            assert s.delete(f"{CMS}/more-{k}").status == 200
    finally:
        s.close()


def refuses_to_start(s):
    r = subprocess.run([BUILD / "isoplane", "apiserver", "--data-dir", s.dir / "data", "--listen",
                        f"127.0.0.1:{s.port}"], capture_output=True, text=True, timeout=30)
    assert r.returncode == 1, r
    assert "isoplane restore FILE" in r.stderr and "damaged" in r.stderr, r.stderr


def test_corruption_is_found_and_the_way_out_works(fresh):
    fresh.ok("POST", CMS, cm("a", 1000))
    copy = fresh.dir / "backup"
    subprocess.run([BUILD / "isoplane", "backup", "--data-dir", fresh.dir / "data", copy],
                   check=True, timeout=30)
    fresh.kill()
    data = fresh.dir / "data" / "store" / "data.mdb"
    good = data.read_bytes()
    # both heads
    data.write_bytes(bytes(8192) + good[8192:])
    refuses_to_start(fresh)
    # cut short
    data.write_bytes(good[:len(good) // 2])
    refuses_to_start(fresh)
    # not a store at all
    data.write_bytes(os.urandom(len(good)))
    refuses_to_start(fresh)
    subprocess.run([BUILD / "isoplane", "restore", "--data-dir", fresh.dir / "data", copy],
                   check=True, timeout=30)
    fresh.start()
    assert fresh.get(CMS + "/a").status == 200


def test_flipped_pages(fresh):
    """Whatever page is damaged: found at start, or an error of the request; never a crash."""
    for i in range(50):
        fresh.ok("POST", CMS, cm(f"c{i}", 3000))
    fresh.kill()
    data = fresh.dir / "data" / "store" / "data.mdb"
    good = data.read_bytes()
    for page in range(2, min(len(good) // 4096, 24), 3):
        bad = bytearray(good)
        bad[page * 4096 + 8:page * 4096 + 24] = b"\xff" * 16
        data.write_bytes(bad)
        p = subprocess.Popen([BUILD / "isoplane", "apiserver", "--data-dir", fresh.dir / "data",
                              "--listen", f"127.0.0.1:{fresh.port}"], stderr=subprocess.PIPE)
        deadline = time.monotonic() + 10
        while p.poll() is None and time.monotonic() < deadline:
            try:
                if fresh.get("/readyz").status == 200:
                    break
            except OSError:
                pass
            time.sleep(0.02)
        if p.poll() is None:
            r = fresh.get(CMS)
            assert r.status in (200, 500), r.body
            p.kill()
            p.wait()
        else:
            assert p.returncode == 1, (page, p.returncode, p.stderr.read())
        p.stderr.close()
    data.write_bytes(good)
    fresh.start()


def test_backup_under_load_is_consistent(fresh):
    """Two objects written one after the other: no copy has the second without the first."""
    stop = threading.Event()

    def write():
        i = 0
        while not stop.is_set():
            i += 1
            fresh.ok("PUT" if i > 1 else "POST", CMS + ("/first" if i > 1 else ""),
                     cm("first", 1, str(i % 10)) | {"data": {"n": str(i)}})
            fresh.ok("PUT" if i > 1 else "POST", CMS + ("/second" if i > 1 else ""),
                     cm("second") | {"data": {"n": str(i)}})

    t = threading.Thread(target=write)
    t.start()
    copies = []
    try:
        deadline = time.monotonic() + 10
        while fresh.get(CMS + "/second").status != 200 and time.monotonic() < deadline:
            time.sleep(0.01)
        for i in range(3):
            copies.append(fresh.dir / f"backup{i}")
            subprocess.run([BUILD / "isoplane", "backup", "--data-dir", fresh.dir / "data",
                            copies[-1]], check=True, timeout=30)
    finally:
        stop.set()
        t.join()
    for copy in copies:
        fresh.kill(signal.SIGTERM)
        subprocess.run([BUILD / "isoplane", "restore", "--data-dir", fresh.dir / "data", copy],
                       check=True, timeout=30)
        fresh.start()
        first, second = (int(fresh.ok("GET", f"{CMS}/{n}")["data"]["n"])
                         for n in ("first", "second"))
        assert second <= first <= second + 1


def test_watches_and_pages_go_on_after_a_restart(fresh):
    rv = None
    for i in range(10):
        rv = rv or fresh.ok("POST", CMS, cm(f"c{i}"))["metadata"]["resourceVersion"]
        fresh.post(CMS, cm(f"c{i}"))
    page = fresh.ok("GET", CMS + "?limit=4")
    at = page["metadata"]["resourceVersion"]
    fresh.ok("DELETE", CMS + "/c9")
    fresh.kill()
    fresh.start()
    rest = fresh.ok("GET", f"{CMS}?limit=100&continue={page['metadata']['continue']}")
    assert rest["metadata"]["resourceVersion"] == at
    names = [o["metadata"]["name"] for o in page["items"] + rest["items"]]
    assert [n for n in names if n.startswith("c")] == [f"c{i}" for i in range(10)]
    with fresh.watch(f"{CMS}?watch=true&resourceVersion={rv}") as w:
        seen = [(e["type"], e["object"]["metadata"]["name"]) for e in w.take(10)]
    assert seen == [("ADDED", f"c{i}") for i in range(1, 10)] + [("DELETED", "c9")]


def test_churn_does_not_grow_the_file():
    s = Server("--history", "1")
    try:
        s.ok("POST", CMS, cm("a", 1000))
        data = s.dir / "data" / "store" / "data.mdb"
        c = s.connect()
        sizes = []
        for _ in range(4):
            end = time.monotonic() + 1.5
            n = 0
            while time.monotonic() < end or n < 300:
                n += 1
                c.request("PATCH", CMS + "/a", json.dumps({"data": {"k": str(n) + "x" * 1000}}),
                          {"Content-Type": "application/merge-patch+json"})
                r = c.getresponse()
                r.read()
                assert r.status == 200
            sizes.append(data.stat().st_size)
        c.close()
        # more history in a faster second is more file, but it does not add up
        assert sizes[-1] < 3 * sizes[0] + (1 << 20), sizes
    finally:
        s.close()


def test_kill_and_restart(fresh):
    for i in range(20):
        assert fresh.post("/api/v1/namespaces/default/configmaps",
                          {"metadata": {"name": f"c{i}"}}).status == 201
    o = fresh.ok("POST", services("default"), {"metadata": {"name": "s"}, "spec": {
        "ports": [{"port": 80}]}})
    rv = int(fresh.ok("GET", cms("default"))["metadata"]["resourceVersion"])
    fresh.kill()
    fresh.start()
    l = fresh.ok("GET", cms("default"))
    assert len(l["items"]) == 20 and int(l["metadata"]["resourceVersion"]) >= rv
    body = {"metadata": {"name": "t"}, "spec": {"ports": [{"port": 80}],
                                                "clusterIP": o["spec"]["clusterIP"]}}
    status(fresh.post(services("default"), body), 422, "Invalid")
    assert fresh.ok("POST", cms("default"), CM)["metadata"]["resourceVersion"] > str(rv)


def syncs(s):
    return int(next(l.split()[1] for l in s.get("/metrics").body.decode().splitlines()
                    if l.startswith("isoplane_store_syncs_total ")))


def test_heartbeats_are_not_written_at_once(fresh):
    """A node's agents say every minute that they are alive; that alone wears out no flash."""
    path = "/api/v1/nodes/beats"
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
             "lastTransitionTime": "2026-01-01T00:00:00Z"}
    fresh.ok("POST", "/api/v1/nodes", {"metadata": {"name": "beats"}})

    def conditions(beat, **other):
        patch = {"status": {"conditions": [{**ready, "lastHeartbeatTime": beat, **other}]}}
        return fresh.patch(path + "/status", patch)

    def annotation(key, value):
        return fresh.patch(path, {"metadata": {"annotations": {key: value}}})

    def written(write):
        before = syncs(fresh)
        rv = write().json["metadata"]["resourceVersion"]
        assert fresh.ok("GET", path)["metadata"]["resourceVersion"] == rv
        return syncs(fresh) > before

    conditions("2026-01-01T00:00:00Z")
    annotation("agent.example/heartbeat", "0")
    for lazy in (lambda t: conditions(f"2026-01-01T00:{t % 60:02}:01Z"),
                 lambda t: annotation("agent.example/heartbeat", str(t))):
        deadline, t = time.monotonic() + 20, 1
        while written(lambda: lazy(t)):  # the server's own controllers write, too, at first
            assert time.monotonic() < deadline
            t += 1
    assert written(lambda: annotation("agent.example/heart", "1"))
    assert written(lambda: conditions("2026-01-01T01:00:00Z", status="False"))


def test_expired():
    s = Server("--history", "1")
    try:
        for i in range(4):
            s.ok("POST", cms("default"), {"metadata": {"name": f"c{i}"}})
        page = s.ok("GET", cms("default") + "?limit=2")
        rv = page["metadata"]["resourceVersion"]
        token = page["metadata"]["continue"]
        deadline = time.monotonic() + 15
        while True:
            # writes are what lets the store drop the past
            s.patch(cms("default", "c3"), {"data": {"t": str(time.monotonic())}})
            r = s.get(cms("default") + "?limit=2&continue=" + token)
            if r.status != 200:
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        st = r.json
        assert (st["code"], st["reason"]) == (410, "Expired")
        assert st["message"].startswith("The provided continue parameter is too old to display a "
                                        "consistent list result. You can start a new list")
        rest = s.ok("GET", cms("default") + "?continue=" + st["metadata"]["continue"])
        assert [i["metadata"]["name"] for i in rest["items"]] == ["c2", "c3"]
        assert int(rest["metadata"]["resourceVersion"]) > int(rv)
        with s.watch(cms("default") + f"?watch=1&resourceVersion={rv}") as w:
            e = w.next()
            assert w.status == 200 and e["type"] == "ERROR"
            assert (e["object"]["code"], e["object"]["reason"]) == (410, "Expired")
            assert e["object"]["message"].startswith(f"too old resource version: {rv} (")
            assert w.next() is None
        status(s.get(cms("default") + f"?resourceVersion={rv}&resourceVersionMatch=Exact"), 410,
               "Expired")
    finally:
        s.close()
