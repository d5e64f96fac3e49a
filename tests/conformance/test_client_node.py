# SPDX-License-Identifier: Apache-2.0
"""The stock @kubernetes/client-node (npm): objects, patches, apply, watches and its informer. Streams into
Pods: tests/e2e/test_clients.py. The scripts are in tests/clients."""
import json
import signal
import sys
import time

import pytest

from apiserver import ROOT, Server
from samples import cms

sys.path.insert(0, str(ROOT / "tests" / "clients"))
import nodejs  # noqa: E402

WIDGETS = {"metadata": {"name": "jswidgets.ex.io"}, "spec": {
    "group": "ex.io", "scope": "Namespaced", "names": {"plural": "jswidgets", "kind": "JsWidget"},
    "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
        "type": "object", "properties": {"spec": {"type": "object", "properties": {
            "color": {"type": "string"}, "size": {"type": "integer", "default": 1}}}}}}}]}}


def create(server, ns, name, labels=None, **data):
    server.ok("POST", cms(ns), {"metadata": {"name": name, "labels": labels or {}}, "data": data})


def test_objects(api, ns):
    api.ok("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", WIDGETS)
    end = time.monotonic() + 10
    while api.get(f"/apis/ex.io/v1/namespaces/{ns}/jswidgets").status != 200:
        assert time.monotonic() < end
        time.sleep(0.02)
    r = nodejs.run("objects.mjs", api.kubeconfig, ns)
    assert r.returncode == 0, r.stdout + r.stderr


@pytest.mark.parametrize("query, types", [
    ({}, ["ADDED", "MODIFIED", "DELETED"]),
    ({"allowWatchBookmarks": "true", "timeoutSeconds": 3}, ["ADDED", "BOOKMARK", "MODIFIED", "DELETED", "BOOKMARK"]),
    ({"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true",
      "timeoutSeconds": 3}, ["ADDED", "BOOKMARK", "MODIFIED", "DELETED", "BOOKMARK"])],
    ids=["plain", "bookmarks", "watch-list"])
def test_watch(api, ns, query, types):
    create(api, ns, "a")
    with nodejs.Script("watch.mjs", api.kubeconfig, cms(ns), json.dumps({"timeoutSeconds": 3} | query)) as w:
        seen = [w.next()]
        api.patch(cms(ns, "a"), {"data": {"k": "v"}})
        api.delete(cms(ns, "a"))
        while seen[-1]["type"] != "done":
            seen.append(w.next())
    assert [e["type"] for e in seen[:-1]] == types
    assert seen[-1]["error"] is None
    assert {e["object"]["kind"] for e in seen[:-1]} == {"ConfigMap"}


def test_watch_refused(api):
    with nodejs.Script("watch.mjs", api.kubeconfig, "/api/v1/nothings", "{}") as w:
        assert w.next() == {"type": "done", "code": 404, "error": "Error: Not Found"}


def test_informer(api, ns):
    """What was there, what comes, what leaves the selection and what is deleted."""
    create(api, ns, "a", {"in": "yes"}, k="v")
    create(api, ns, "other")
    with nodejs.Script("informer.mjs", api.kubeconfig, ns, "in=yes") as i:
        assert i.next()["event"] == "connect"
        assert i.next() == {"event": "add", "name": "a", "data": {"k": "v"}}
        create(api, ns, "b", {"in": "yes"}, k="v")
        assert i.next() == {"event": "add", "name": "b", "data": {"k": "v"}}
        api.patch(cms(ns, "b"), {"data": {"k": "w"}})
        assert i.next() == {"event": "update", "name": "b", "data": {"k": "w"}}
        api.patch(cms(ns, "other"), {"metadata": {"labels": {"in": "yes"}}})
        assert i.next()["name"] == "other" and i.seen[-1]["event"] == "add"
        api.patch(cms(ns, "b"), {"metadata": {"labels": {"in": "no"}}})
        assert i.next() == {"event": "delete", "name": "b", "data": {"k": "w"}}
        api.delete(cms(ns, "a"))
        assert i.next()["name"] == "a" and i.seen[-1]["event"] == "delete"
        i.ask()
        assert i.next() == {"event": "state", "names": ["other"]}


def until(informer, event, name=None):
    while True:
        e = informer.next()
        if e["event"] == event and name in (None, e.get("name")):
            return e


def test_informer_over_a_restart(fresh):
    """It goes on from the revision it saw last: no second list, nothing missed, nothing twice."""
    with nodejs.Script("informer.mjs", fresh.kubeconfig, "default") as i:
        assert until(i, "connect")["revision"] == ""
        for n in range(10):
            create(fresh, "default", f"c{n}")
        until(i, "add", "c9")
        fresh.kill()
        fresh.start()
        for n in range(10, 20):
            create(fresh, "default", f"c{n}")
        until(i, "add", "c19")
        adds = [e["name"] for e in i.seen if e["event"] == "add"]
        assert adds == [f"c{n}" for n in range(20)]
        assert all(e["revision"] for e in i.seen if e["event"] == "connect" and e is not i.seen[0])


def test_informer_after_lost_history():
    """410: it lists again and tells what changed meanwhile."""
    s = Server("--history", "1")
    try:
        create(s, "default", "old")
        create(s, "default", "busy")
        with nodejs.Script("informer.mjs", s.kubeconfig, "default") as i:
            until(i, "add", "old")
            i.proc.send_signal(signal.SIGSTOP)
            s.kill()
            s.start()
            s.delete(cms("default", "old"))
            create(s, "default", "new")
            rv = s.ok("GET", cms("default"))["metadata"]["resourceVersion"]
            end = time.monotonic() + 20
            while True:
                s.patch(cms("default", "busy"), {"data": {"t": str(time.monotonic())}})
                with s.watch(cms("default") + f"?watch=1&resourceVersion={rv}") as w:
                    if w.next()["type"] == "ERROR":
                        break
                assert time.monotonic() < end
                time.sleep(0.1)
            i.proc.send_signal(signal.SIGCONT)
            until(i, "delete", "old")
            until(i, "add", "new")
            i.ask()
            assert until(i, "state")["names"] == ["busy", "new"]
            create(s, "default", "after")
            until(i, "add", "after")
    finally:
        s.close()
