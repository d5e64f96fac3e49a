# SPDX-License-Identifier: Apache-2.0
"""Watches: where they begin, what they show and when they end."""
import threading
import time

from samples import CM, cms


def watch(api, ns, query=""):
    return api.watch(cms(ns) + "?watch=1" + query)


def test_watch(api, ns):
    rv = api.ok("GET", cms(ns))["metadata"]["resourceVersion"]
    with watch(api, ns, f"&resourceVersion={rv}") as w:
        api.ok("POST", cms(ns), CM)
        api.patch(cms(ns, "cm"), {"data": {"a": "c"}})
        api.patch(cms(ns, "cm"), {"data": {"a": "c"}})
        api.delete(cms(ns, "cm"))
        events = w.take(3)
        assert [e["type"] for e in events] == ["ADDED", "MODIFIED", "DELETED"]
        assert all(e["object"]["kind"] == "ConfigMap" for e in events)
        rvs = [int(e["object"]["metadata"]["resourceVersion"]) for e in events]
        assert rvs == sorted(set(rvs))
    with watch(api, ns, f"&resourceVersion={rvs[0]}") as w:
        assert [e["type"] for e in w.take(2)] == ["MODIFIED", "DELETED"]


def test_watch_initial(api, ns):
    api.ok("POST", cms(ns), CM)
    for query in ("", "&resourceVersion=0"):
        with watch(api, ns, query) as w:
            assert w.next()["type"] == "ADDED"
            api.patch(cms(ns, "cm"), {"data": {"z": query or "x"}})
            assert w.next()["type"] == "MODIFIED"


def test_watch_list(api, ns):
    for i in range(3):
        api.ok("POST", cms(ns), {"metadata": {"name": f"c{i}"}})
    q = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    with watch(api, ns, q) as w:
        events = w.until("BOOKMARK")
        assert [e["type"] for e in events[:-1]] == ["ADDED"] * 3
        mark = events[-1]["object"]
        assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert mark["kind"] == "ConfigMap" and int(mark["metadata"]["resourceVersion"]) > 0
        api.ok("POST", cms(ns), CM)
        assert w.next()["type"] == "ADDED"


def test_watch_selector(api, ns):
    rv = api.ok("GET", cms(ns))["metadata"]["resourceVersion"]
    with watch(api, ns, f"&labelSelector=a%3D1&resourceVersion={rv}") as w:
        api.ok("POST", cms(ns), {"metadata": {"name": "x"}})
        api.patch(cms(ns, "x"), {"metadata": {"labels": {"a": "1"}}})
        api.patch(cms(ns, "x"), {"data": {"k": "v"}})
        out = api.patch(cms(ns, "x"), {"metadata": {"labels": {"a": "2"}}}).json
        events = w.take(3)
        assert [e["type"] for e in events] == ["ADDED", "MODIFIED", "DELETED"]
        last = events[2]["object"]["metadata"]
        assert last["labels"] == {"a": "1"}
        assert last["resourceVersion"] == out["metadata"]["resourceVersion"]


def test_watch_one_name(api, ns):
    with watch(api, ns, "&fieldSelector=metadata.name%3Db") as w:
        for n in "abc":
            api.ok("POST", cms(ns), {"metadata": {"name": n}})
        assert w.next()["object"]["metadata"]["name"] == "b"


def test_watch_timeout(api, ns):
    with watch(api, ns, "&timeoutSeconds=1&allowWatchBookmarks=true") as w:
        start = time.monotonic()
        while w.next():
            pass
        assert 0.5 < time.monotonic() - start < 4


def test_watch_table(api, ns):
    h = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    with api.watch(cms(ns) + "?watch=1", headers=h) as w:
        api.ok("POST", cms(ns), CM)
        e = w.next()
        assert e["object"]["kind"] == "Table" and e["object"]["rows"][0]["cells"][0] == "cm"


def test_watchers_see_the_same_order(api, ns):
    watches = [watch(api, ns) for _ in range(4)]
    threads = [threading.Thread(target=lambda i=i: [
        api.ok("POST", cms(ns), {"metadata": {"name": f"c{i}-{k}"}}) for k in range(10)])
        for i in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    orders = [[e["object"]["metadata"]["resourceVersion"] for e in w.take(30)] for w in watches]
    [w.close() for w in watches]
    assert all(o == orders[0] for o in orders)
    assert orders[0] == sorted(orders[0], key=int)


def test_slow_watcher(api, ns):
    """A watcher that does not read neither stops the others nor loses anything."""
    slow = watch(api, ns)
    n, size = 60, 200000
    for i in range(n):
        api.ok("POST", cms(ns), {"metadata": {"name": f"c{i}"}, "data": {"a": "x" * size}})
    names = [slow.next()["object"]["metadata"]["name"] for _ in range(n)]
    slow.close()
    assert names == [f"c{i}" for i in range(n)]
