# SPDX-License-Identifier: Apache-2.0
"""Garbage collection, what namespaces say while they go, and what expires by itself."""
import base64
import json
import time

from controllers import ns, plane, Space, wait_for  # noqa: F401 (fixtures)

MERGE = {"Content-Type": "application/merge-patch+json"}


def ref(owner, block=True):
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "blockOwnerDeletion": block}


def config_map(ns, name, *owners):
    return ns.create("configmaps", {"metadata": {
        "name": name, "ownerReferences": [ref(o) for o in owners]}})


def gone(ns, *names):
    return not set(names) & set(ns.names("configmaps"))


def delete(ns, name, policy):
    r = ns.plane.request("DELETE", ns.path("configmaps", name), json.dumps(
        {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy}))
    assert r.status in (200, 202), r.body


def test_foreground_circle(ns):
    a = config_map(ns, "a")
    b = config_map(ns, "b", a)
    c = config_map(ns, "c", b)
    ns.patch("configmaps", "a", {"metadata": {"ownerReferences": [ref(c)]}})
    delete(ns, "a", "Foreground")
    wait_for("all three go", lambda: gone(ns, "a", "b", "c"), 20)


def test_foreground_waits_for_blocking_dependents(ns):
    a = config_map(ns, "a")
    ns.create("configmaps", {"metadata": {
        "name": "b", "ownerReferences": [ref(a)], "finalizers": ["ex.io/f"]}})
    delete(ns, "a", "Foreground")
    wait_for("b is asked to go", lambda: "deletionTimestamp" in ns.get("configmaps", "b")[
        "metadata"])
    assert ns.get("configmaps", "a")["metadata"]["finalizers"] == ["foregroundDeletion"]
    ns.patch("configmaps", "b", {"metadata": {"finalizers": None}})
    wait_for("both are gone", lambda: gone(ns, "a", "b"))


def test_one_owner_is_left(ns):
    a, b = config_map(ns, "a"), config_map(ns, "b")
    config_map(ns, "c", a, b)
    delete(ns, "a", "Background")
    wait_for("only b owns it", lambda: [o["name"] for o in ns.get("configmaps", "c")["metadata"][
        "ownerReferences"]] == ["b"])
    delete(ns, "b", "Orphan")
    wait_for("nobody owns it", lambda: gone(ns, "b") and
             "ownerReferences" not in ns.get("configmaps", "c")["metadata"])


def test_owner_that_never_was(ns):
    ns.create("configmaps", {"metadata": {"name": "a", "ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "0-1"}]}})
    wait_for("it goes", lambda: gone(ns, "a"))


def test_namespace_tells_what_remains(plane):
    space = Space(plane, "remains")
    for kind, obj in (("secrets", {}), ("configmaps", {})):
        space.create(kind, {"metadata": {"name": "x", "finalizers": ["ex.io/b", "ex.io/a"]}, **obj})
    assert plane.request("DELETE", "/api/v1/namespaces/remains").status == 200

    def conditions():
        status = plane.get("/api/v1/namespaces/remains").json["status"]
        return {c["type"]: c for c in status.get("conditions", [])}

    c = wait_for("remaining", lambda: (c := conditions()) and c.get(
        "NamespaceContentRemaining", {}).get("status") == "True" and c)
    assert c["NamespaceContentRemaining"]["message"] == (
        "Some resources are remaining: configmaps. has 1 resource instances, "
        "secrets. has 1 resource instances")
    assert c["NamespaceFinalizersRemaining"]["message"] == (
        "Some content in the namespace has finalizers remaining: "
        "ex.io/a in 2 resource instances, ex.io/b in 2 resource instances")
    assert c["NamespaceDeletionDiscoveryFailure"]["reason"] == "ResourcesDiscovered"
    assert c["NamespaceDeletionContentFailure"]["reason"] == "ContentDeleted"
    for kind in ("secrets", "configmaps"):
        space.patch(kind, "x", {"metadata": {"finalizers": None}})
    wait_for("gone", lambda: plane.get("/api/v1/namespaces/remains").status == 404, 20)


def test_bootstrap_token_expires(plane):
    def make(name, seconds):
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
        assert plane.post("/api/v1/namespaces/kube-system/secrets", {
            "metadata": {"name": "bootstrap-token-" + name}, "type": "bootstrap.kubernetes.io/token",
            "data": {k: base64.b64encode(v.encode()).decode() for k, v in {
                "token-id": name, "token-secret": "0123456789abcdef", "expiration": end,
            }.items()}}).status == 201

    def status(name):
        return plane.get("/api/v1/namespaces/kube-system/secrets/bootstrap-token-" + name).status

    make("soon00", 2)
    make("later0", 3600)
    wait_for("the first is gone", lambda: status("soon00") == 404)
    assert status("later0") == 200
