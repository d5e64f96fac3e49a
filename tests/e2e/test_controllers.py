# SPDX-License-Identifier: Apache-2.0
"""Controllers of the built-in kinds, by kubectl, with the API server and no node: namespaces,
garbage collection, ReplicaSets, EndpointSlices, node lifecycle, claims and volumes."""
import json
import os
import re
import signal
import tempfile
import time

import pytest

from boxes import Box, Namespace, free_port, wait_for

POD_SPEC = {"containers": [{"name": "c", "image": "none", "ports": [
    {"name": "http", "containerPort": 8080}]}]}


@pytest.fixture(scope="module")
def plane():
    box = Box(os.path.join(tempfile.mkdtemp(prefix="isoplane-ctl-"), "data"), free_port(),
              ["--without", "node", "--without", "scheduler", "--without", "virt"])
    try:
        box.start()
        yield box
    finally:
        box.down()


@pytest.fixture
def ns(plane, request):
    name = "t-" + re.sub("[^a-z0-9]+", "-", request.node.name)[:50].strip("-")
    plane.kubectl("create", "namespace", name)
    yield Namespace(plane, name)
    plane.kubectl("delete", "namespace", name, "--wait=false", check=False)


def replica_set(name, replicas):
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                     "template": {"metadata": {"labels": {"app": name}}, "spec": POD_SPEC}}}


def pods(ns, label):
    return [p for p in ns.get("pods", "-l", label)["items"]
            if "deletionTimestamp" not in p["metadata"]]


def run_pod(ns, name, ip):
    """What a node would write."""
    status = {"status": {"phase": "Running", "podIP": ip, "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}
    ns.kubectl("patch", "pod", name, "--subresource=status", "-p", json.dumps(status))


def owned(name, owner, kind, api, uid):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": name, "ownerReferences": [
            {"apiVersion": api, "kind": kind, "name": owner, "uid": uid,
             "blockOwnerDeletion": True}]}}


def names(ns, kind):
    return {o["metadata"]["name"] for o in ns.get(kind)["items"]}


def test_replica_set(ns):
    ns.apply(replica_set("web", 3))
    wait_for("3 Pods", lambda: len(pods(ns, "app=web")) == 3, 10)
    first = pods(ns, "app=web")
    assert all(p["metadata"]["name"].startswith("web-") for p in first)
    run_pod(ns, first[0]["metadata"]["name"], "10.1.1.1")
    wait_for("one ready", lambda: ns.get("rs", "web")["status"].get("readyReplicas") == 1, 10)
    # the ready one is the last to go
    ns.kubectl("scale", "rs/web", "--replicas=1")
    wait_for("1 Pod", lambda: len(pods(ns, "app=web")) == 1, 10)
    assert pods(ns, "app=web")[0]["metadata"]["uid"] == first[0]["metadata"]["uid"]
    # a Pod that no longer matches is let go of, and replaced
    ns.kubectl("label", "pod", first[0]["metadata"]["name"], "app=other", "--overwrite")
    wait_for("a new Pod", lambda: len(pods(ns, "app=web")) == 1, 10)
    wait_for("released", lambda: not pods(ns, "app=other")[0]["metadata"].get("ownerReferences"),
             10)
    # and taken back when it matches again; then there is one too many
    ns.kubectl("label", "pod", first[0]["metadata"]["name"], "app=web", "--overwrite")
    wait_for("1 Pod again", lambda: len(pods(ns, "app=web")) == 1, 10)
    assert pods(ns, "app=web")[0]["metadata"]["ownerReferences"][0]["controller"] is True
    reasons = {e["reason"] for e in wait_for("events", lambda: ns.get(
        "events", "--field-selector", "involvedObject.kind=ReplicaSet")["items"], 10)}
    assert "SuccessfulCreate" in reasons


@pytest.mark.parametrize("cascade", ["background", "foreground", "orphan"])
def test_delete_replica_set(ns, cascade):
    ns.apply(replica_set("web", 2))
    wait_for("2 Pods", lambda: len(pods(ns, "app=web")) == 2, 10)
    ns.kubectl("delete", "rs", "web", f"--cascade={cascade}")
    if cascade != "orphan":
        wait_for("no Pods", lambda: not ns.get("pods")["items"], 10)
        return
    left = pods(ns, "app=web")
    assert len(left) == 2
    assert not any(p["metadata"].get("ownerReferences") for p in left)
    ns.apply(replica_set("web", 2))
    wait_for("adopted", lambda: all(p["metadata"].get("ownerReferences")
                                    for p in pods(ns, "app=web")), 10)
    assert {p["metadata"]["uid"] for p in pods(ns, "app=web")} == {
        p["metadata"]["uid"] for p in left}


def test_garbage_of_absent_and_shared_owners(ns):
    for name in ("a", "b"):
        ns.kubectl("create", "configmap", name)
    uid = {n: ns.get("configmap", n)["metadata"]["uid"] for n in ("a", "b")}
    ns.apply(owned("stray", "none", "ConfigMap", "v1", "00000000-0000-0000-0000-000000000000"))
    ns.apply(owned("wrong-uid", "a", "ConfigMap", "v1", "00000000-0000-0000-0000-000000000001"))
    both = owned("both", "a", "ConfigMap", "v1", uid["a"])
    both["metadata"]["ownerReferences"].append(dict(
        both["metadata"]["ownerReferences"][0], name="b", uid=uid["b"]))
    ns.apply(both)
    ns.apply(owned("only-a", "a", "ConfigMap", "v1", uid["a"]))
    wait_for("strays gone", lambda: not names(ns, "configmap") & {"stray", "wrong-uid"}, 10)
    ns.kubectl("delete", "configmap", "a")
    wait_for("only-a gone", lambda: "only-a" not in names(ns, "configmap"), 10)
    wait_for("one owner left", lambda: [o["name"] for o in ns.get("configmap", "both")[
        "metadata"]["ownerReferences"]] == ["b"], 10)


CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
       "metadata": {"name": "gadgets.ctl.example.org"}, "spec": {
           "group": "ctl.example.org", "scope": "Namespaced",
           "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"},
           "versions": [{"name": "v1", "served": True, "storage": True, "schema": {
               "openAPIV3Schema": {"type": "object",
                                   "x-kubernetes-preserve-unknown-fields": True}}}]}}


def test_custom_resources_own_and_hold_namespaces(plane, ns):
    ns.apply(CRD)
    plane.kubectl("wait", "--for=condition=Established", "crd/gadgets.ctl.example.org",
                  "--timeout=20s")
    ns.apply({"apiVersion": "ctl.example.org/v1", "kind": "Gadget", "metadata": {
        "name": "g", "finalizers": ["ctl.example.org/f"]}})
    uid = ns.get("gadget", "g")["metadata"]["uid"]
    ns.apply(owned("dep", "g", "Gadget", "ctl.example.org/v1", uid))
    plane.kubectl("delete", "namespace", ns.name, "--wait=false")

    def conditions():
        return {c["type"]: c for c in plane.get("namespace", ns.name)["status"]["conditions"]}

    wait_for("finalizers remain", lambda: conditions()["NamespaceFinalizersRemaining"][
        "status"] == "True", 20)
    assert conditions()["NamespaceFinalizersRemaining"]["message"] == (
        "Some content in the namespace has finalizers remaining: "
        "ctl.example.org/f in 1 resource instances")
    assert conditions()["NamespaceContentRemaining"]["reason"] == "SomeResourcesRemain"
    ns.kubectl("patch", "gadget", "g", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    plane.kubectl("wait", "--for=delete", f"namespace/{ns.name}", "--timeout=20s")
    plane.kubectl("delete", "crd", "gadgets.ctl.example.org", "--timeout=20s")


def test_silent_group_holds_namespace(plane, ns):
    ns.apply({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
              "metadata": {"name": "v1.silent.example.org"}, "spec": {
                  "group": "silent.example.org", "version": "v1", "groupPriorityMinimum": 100,
                  "versionPriority": 10, "insecureSkipTLSVerify": True,
                  "service": {"name": "nobody", "namespace": "default", "port": 443}}})
    try:
        plane.kubectl("delete", "namespace", ns.name, "--wait=false")

        def failure():
            return [c for c in plane.get("namespace", ns.name)["status"]["conditions"]
                    if c["type"] == "NamespaceDeletionDiscoveryFailure"
                    and c["status"] == "True"]

        message = wait_for("discovery failure", failure, 20)[0]["message"]
        assert "silent.example.org/v1: stale GroupVersion discovery" in message
    finally:
        plane.kubectl("delete", "apiservice", "v1.silent.example.org")
    plane.kubectl("wait", "--for=delete", f"namespace/{ns.name}", "--timeout=20s")


def test_every_namespace_has_its_account_and_ca(ns):
    wait_for("account", lambda: "default" in names(ns, "serviceaccount"), 10)
    wait_for("CA", lambda: "kube-root-ca.crt" in names(ns, "configmap"), 10)
    ns.kubectl("delete", "serviceaccount", "default")
    ns.kubectl("delete", "configmap", "kube-root-ca.crt")
    wait_for("account again", lambda: "default" in names(ns, "serviceaccount"), 10)
    wait_for("CA again", lambda: "kube-root-ca.crt" in names(ns, "configmap"), 10)
    ns.kubectl("patch", "configmap", "kube-root-ca.crt", "-p", '{"data":{"ca.crt":"x"}}')
    wait_for("CA restored", lambda: "BEGIN CERTIFICATE" in ns.get(
        "configmap", "kube-root-ca.crt")["data"]["ca.crt"], 10)


def test_endpoint_slices(ns):
    ns.apply(replica_set("web", 2))
    ns.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {
        "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}})
    both = wait_for("2 Pods", lambda: len(pods(ns, "app=web")) == 2 and pods(ns, "app=web"), 10)
    run_pod(ns, both[0]["metadata"]["name"], "10.1.2.3")

    def slices():
        return ns.get("endpointslices", "-l", "kubernetes.io/service-name=web")["items"]

    def endpoints():
        return [e for s in slices() for e in s["endpoints"] or []]

    wait_for("one endpoint", lambda: len(endpoints()) == 1, 10)
    e = endpoints()[0]
    assert e["addresses"] == ["10.1.2.3"]
    assert e["conditions"] == {"ready": True, "serving": True, "terminating": False}
    assert e["targetRef"]["name"] == both[0]["metadata"]["name"]
    s = slices()[0]
    assert s["ports"] == [{"name": "", "port": 8080, "protocol": "TCP"}]
    assert s["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == (
        "endpointslice-controller.k8s.io")
    ns.kubectl("delete", "pod", both[0]["metadata"]["name"], "--force", "--grace-period=0")
    wait_for("no endpoint", lambda: not endpoints(), 10)
    ns.kubectl("delete", "service", "web")
    wait_for("no slices", lambda: not slices(), 10)


def test_claims_and_volumes(plane, ns):
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"},
             "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "",
                      "resources": {"requests": {"storage": "1Gi"}}}}
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "spec": {
        "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/none"}}}
    for name, size in (("big", "5Gi"), ("fits", "2Gi"), ("small", "1Mi")):
        plane.kubectl("apply", "-f", "-", input=json.dumps(dict(
            volume, metadata={"name": name}, spec=dict(volume["spec"],
                                                       capacity={"storage": size}))))
    ns.apply(claim)
    wait_for("bound", lambda: ns.phase("pvc", "c") == "Bound", 10)
    assert ns.get("pvc", "c")["spec"]["volumeName"] == "fits"
    assert ns.get("pvc", "c")["status"]["capacity"] == {"storage": "2Gi"}
    wait_for("volume bound", lambda: plane.get("pv", "fits")["status"]["phase"] == "Bound", 10)
    assert plane.get("pv", "big")["status"]["phase"] == "Available"
    # deleting is held back while it is bound, then the volume is kept, as its policy says
    ns.kubectl("delete", "pvc", "c", "--timeout=20s")
    wait_for("released", lambda: plane.get("pv", "fits")["status"]["phase"] == "Released", 10)
    plane.kubectl("delete", "pv", "big", "fits", "small", "--timeout=20s")
    # the default class waits for a Pod
    ns.apply({**claim, "metadata": {"name": "w"},
              "spec": {k: v for k, v in claim["spec"].items() if k != "storageClassName"}})
    wait_for("waiting", lambda: "WaitForFirstConsumer" in {
        e["reason"] for e in ns.get("events")["items"]}, 10)
    assert ns.phase("pvc", "w") == "Pending"
    assert ns.get("pvc", "w")["spec"]["storageClassName"] == "local"


def test_silent_node(plane, ns):
    plane.kubectl("apply", "-f", "-", input=json.dumps(
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "silent"}}))
    plane.kubectl("patch", "node", "silent", "--subresource=status", "-p", json.dumps(
        {"status": {"conditions": [{"type": "Ready", "status": "True",
                                    "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]}}))
    for name, seconds in (("soon", 1), ("later", 3000)):
        ns.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
            **POD_SPEC, "nodeName": "silent", "tolerations": [
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists",
                 "effect": "NoExecute", "tolerationSeconds": seconds}]}})

    def ready():
        return [c for c in plane.get("node", "silent")["status"]["conditions"]
                if c["type"] == "Ready"][0]

    assert ready()["status"] == "True"
    wait_for("Unknown", lambda: ready()["status"] == "Unknown", 60)
    assert ready()["message"] == "Kubelet stopped posting node status."
    wait_for("taints", lambda: {(t["key"], t["effect"]) for t in plane.get("node", "silent")[
        "spec"]["taints"]} >= {("node.kubernetes.io/unreachable", "NoSchedule"),
                               ("node.kubernetes.io/unreachable", "NoExecute")}, 10)
    wait_for("evicted", lambda: "deletionTimestamp" in ns.get("pod", "soon")["metadata"], 20)
    assert "deletionTimestamp" not in ns.get("pod", "later")["metadata"]
    plane.kubectl("delete", "node", "silent")
    ns.kubectl("delete", "pod", "soon", "later", "--force", "--grace-period=0")


def test_killed_and_whole_again(plane, ns):
    ns.apply(replica_set("web", 1))
    wait_for("1 Pod", lambda: len(pods(ns, "app=web")) == 1, 10)
    for i, component in enumerate(["apiserver", "controllers"] * 2):
        os.kill(plane.children()[component], signal.SIGKILL)
        began = time.monotonic()
        wait_for("scaled", lambda: ns.kubectl("scale", "rs/web", f"--replicas={i + 2}"), 10)
        wait_for("Pods", lambda: len(pods(ns, "app=web")) == i + 2, 10)
        assert time.monotonic() - began < 5
