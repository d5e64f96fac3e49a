# SPDX-License-Identifier: Apache-2.0
"""One client cannot starve the rest; what takes too long or asks too much is told so; metrics."""
import concurrent.futures
import json
import re
import threading
import time

import pytest

from apiserver import Server
from hostile import pss_mb

CMS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def small():
    s = Server("--max-mutating-requests-inflight", "4", "--request-timeout", "20s")
    for user in ("alice", "bob"):
        s.ok("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
             {"metadata": {"name": user},
              "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                          "name": "cluster-admin"},
              "subjects": [{"kind": "User", "name": user,
                            "apiGroup": "rbac.authorization.k8s.io"}]})
    yield s
    s.close()


def cm(name, size=10):
    return {"metadata": {"name": name}, "data": {"k": "x" * size}}


def stuck(server, user, path=CMS):
    """A create whose body never comes."""
    c = server.connect(timeout=40)
    c.putrequest("POST", path)
    c.putheader("Impersonate-User", user)
    c.putheader("Content-Type", "application/json")
    c.putheader("Content-Length", "100")
    c.endheaders()
    return c


def test_a_full_share_is_429_and_others_get_in(small):
    held = [stuck(small, "alice") for _ in range(3)]
    time.sleep(0.2)
    late = stuck(small, "alice")
    start = time.monotonic()
    r = small.request("POST", CMS, cm("bob-was-here"), user="bob")
    assert r.status == 201, r.body
    # the administrator is exempt
    assert small.post(CMS, cm("admin-was-here")).status == 201
    assert time.monotonic() - start < 5
    # it may read: the shares are apart
    assert small.request("GET", CMS, user="alice").status == 200
    answer = late.getresponse()
    body = answer.read()
    assert answer.status == 429
    assert body == b"Too many requests, please try again later.\n"
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    # and the ones that hold the share run into the time limit
    answer = held[0].getresponse()
    status = json.loads(answer.read())
    assert answer.status == 504
    assert status["reason"] == "Timeout"
    assert status["message"] == "Timeout: request did not complete within the allotted timeout"
    for c in held + [late]:
        c.close()
    r = small.request("POST", CMS, cm("alice-is-back"), user="alice")
    assert r.status == 201, r.body


def test_timeout_of_the_clients_own(small):
    c = stuck(small, "bob", CMS + "?timeout=200ms")
    start = time.monotonic()
    answer = c.getresponse()
    assert answer.status == 504 and time.monotonic() - start < 10
    c.close()
    r = small.get(CMS + "?timeout=soon")
    assert r.status == 400
    assert r.json["message"].startswith("invalid timeout specified in the request URL")


def test_lists_of_one_do_not_delay_another(small):
    for i in range(40):
        assert small.post(CMS, cm(f"big-{i}", 200000)).status == 201
    stop = threading.Event()
    hogged = []

    def hog():
        c = small.connect(timeout=60)
        while not stop.is_set():
            c.request("GET", CMS, headers={"Impersonate-User": "alice"})
            r = c.getresponse()
            r.read()
            if r.status == 200:
                hogged.append(1)
        c.close()

    threads = [threading.Thread(target=hog) for _ in range(16)]
    for t in threads:
        t.start()
    try:
        deadline = time.monotonic() + 30
        while len(hogged) < 16 and time.monotonic() < deadline:
            time.sleep(0.01)
        for _ in range(10):
            start = time.monotonic()
            assert small.request("GET", CMS + "/bob-was-here", user="bob").status == 200
            assert time.monotonic() - start < 5
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert len(hogged) >= 16


def test_watches_nobody_reads_cost_little(small):
    """What a watch begins with is read by pages, in turns, as far as the client follows."""
    for i in range(40):
        small.request("POST", CMS, cm(f"large-{i:02}", 200000))
    before = pss_mb(small)
    watches = []
    for _ in range(150):
        c = small.connect(timeout=60)
        c.connect()
        c.putrequest("GET", CMS + "?watch=1")
        c.putheader("Impersonate-User", "alice")
        watches.append(c)
    for c in watches:
        c.endheaders()
    for _ in range(10):
        start = time.monotonic()
        assert small.request("GET", CMS + "/large-00", user="bob").status == 200
        assert time.monotonic() - start < 5
    answers = [c.getresponse() for c in watches]
    assert {a.status for a in answers} == {200}
    assert pss_mb(small) - before < 150  # all of it would be 1.2 GB
    for a in (answers[0], answers[-1]):
        names = []
        while "large-39" not in names:
            e = json.loads(a.readline())
            assert e["type"] == "ADDED"
            names.append(e["object"]["metadata"]["name"])
        assert [n for n in names if n.startswith("large")] == [f"large-{i:02}" for i in range(40)]
        assert names == sorted(names)
    small.ok("POST", CMS, cm("late"))
    for a in (answers[0], answers[-1]):
        while (name := json.loads(a.readline())["object"]["metadata"]["name"]) != "late":
            assert not name.startswith("large")
    for c in watches:
        c.close()


def test_watches_of_the_past_cost_little(small):
    """What they missed is read in parts, as far as the client follows; all of it comes."""
    rv = small.ok("POST", CMS, cm("past", 200000))["metadata"]["resourceVersion"]
    n = 200
    for i in range(n):
        assert small.patch(CMS + "/past", {"data": {"n": str(i)}}).status == 200
    before = pss_mb(small)
    watches = []
    for _ in range(30):
        c = small.connect(timeout=60)
        c.request("GET", CMS + f"?watch=1&resourceVersion={rv}",
                  headers={"Impersonate-User": "alice"})
        watches.append(c)
    answers = [c.getresponse() for c in watches]
    assert {a.status for a in answers} == {200}
    start = time.monotonic()
    assert small.request("GET", CMS + "/past", user="bob").status == 200
    assert time.monotonic() - start < 5
    assert pss_mb(small) - before < 150  # all of it would be 1.2 GB, and as much of what was
    small.patch(CMS + "/past", {"data": {"n": str(n)}})
    for a in (answers[0], answers[-1]):
        seen = [json.loads(a.readline())["object"]["data"]["n"] for _ in range(n + 1)]
        assert seen == [str(i) for i in range(n + 1)]
    for c in watches:
        c.close()


def test_lists_read_slowly_cost_little():
    """Also when so much was written meanwhile that pages get larger; they stay of one revision."""
    s = Server()
    try:
        for i in range(80):
            s.ok("POST", CMS, cm(f"large-{i:02}", 200000))
        for n in range(8):
            s.ok("POST", CMS, cm(f"tick-{n}"))
        lists = [s.connect(timeout=60) for _ in range(40)]
        for c in lists:
            c.request("GET", CMS)
        answers = [c.getresponse() for c in lists]
        texts = [a.read(100000) for a in answers]
        before = pss_mb(s)

        def tick(n):
            c = s.connect()
            for i in range(270):
                c.request("PUT", f"{CMS}/tick-{n}", json.dumps(cm(f"tick-{n}", 11 + i % 2)),
                          {"Content-Type": "application/json"})
                assert c.getresponse().read()

        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(tick, range(8), timeout=50))
        texts = [t + a.read(2 << 20) for t, a in zip(texts, answers)]
        assert pss_mb(s) - before < 150  # all of it would be 500 MB
        for t, a in zip(texts, answers):
            items = json.loads(t + a.read())["items"]
            names = [i["metadata"]["name"] for i in items if "ca.crt" not in i["data"]]
            assert names == [f"large-{i:02}" for i in range(80)] + [f"tick-{n}" for n in range(8)]
            assert items[-1]["data"]["k"] == "x" * 10
        for c in lists:
            c.close()
    finally:
        s.close()


def series(server):
    r = server.get("/metrics")
    assert r.status == 200
    assert r.headers["Content-Type"] == \
        "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    out = {}
    for line in r.body.decode().splitlines():
        if line.startswith("#"):
            assert re.match(r"# (HELP|TYPE) [a-z_]+ ", line), line
            continue
        m = re.match(r'([a-z_]+(?:\{(?:[a-z_]+="[^"]*",?)*\})?) (\S+)$', line)
        assert m, line
        assert m.group(1) not in out, line
        out[m.group(1)] = float(m.group(2))
    return out


def test_metrics(api, ns):
    path = f"/api/v1/namespaces/{ns}/configmaps"
    labels = 'component="apiserver",dry_run="",group="",resource="configmaps",' \
        'scope="resource",subresource="",verb="POST",version="v1"'
    count = f'apiserver_request_total{{code="201",{labels}}}'
    api.ok("POST", path, cm("a"))
    before = series(api)
    with api.watch(path + "?watch=true&resourceVersion=0") as w:
        assert w.next()["type"] == "ADDED"
        during = series(api)
        api.ok("POST", path, cm("b"))
        w.next()
    assert api.post(path, cm("b")).status == 409
    after = series(api)
    assert after[count] == before[count] + 1
    assert after[f'apiserver_request_total{{code="409",{labels}}}'] >= 1
    assert after[f"apiserver_request_duration_seconds_count{{{labels}}}"] >= 2
    assert after['apiserver_storage_objects{resource="configmaps"}'] == \
        before['apiserver_storage_objects{resource="configmaps"}'] + 1
    running = [k for k in during if k.startswith("apiserver_longrunning_requests{")
               and 'resource="configmaps"' in k and 'scope="namespace"' in k]
    assert sum(during[k] for k in running) == sum(before.get(k, 0) for k in running) + 1
    events = 'apiserver_watch_events_total{group="",resource="configmaps",version="v1"}'
    assert after[events] >= before.get(events, 0) + 2
    assert after['etcd_request_duration_seconds_count{operation="txn"}'] > \
        before['etcd_request_duration_seconds_count{operation="txn"}']
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes",
                 "process_start_time_seconds", "process_open_fds",
                 'apiserver_current_inflight_requests{request_kind="readOnly"}'):
        assert after[name] > 0, name
    assert api.get("/metrics", anonymous=True).status == 403
    # what clients make up is no label
    api.get("/made-up-by-a-client")
    api.get("/apis/made.up/v1/namespaces/x/things")
    assert not [k for k in series(api) if "made" in k]


def test_statusz_flagz_slis(api):
    assert b"apiserver statusz" in api.get("/statusz").body
    assert b"max-requests-inflight:400" in api.get("/flagz").body
    slis = api.get("/metrics/slis").body.decode()
    assert 'kubernetes_healthcheck{name="etcd",type="readyz"} 1' in slis
    assert api.get("/statusz", anonymous=True).status == 403
