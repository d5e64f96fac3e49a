# SPDX-License-Identifier: Apache-2.0
"""StatefulSets, DaemonSets and the ttl of finished Jobs, with controllers and no node. Where a Pod
must run, the test writes the status that a kubelet would."""
import json
import time

import pytest

from controllers import ns, plane, wait_for  # noqa: F401 (fixtures)


def template(image="a", app="web"):
    return {"metadata": {"labels": {"app": app}},
            "spec": {"containers": [{"name": "c", "image": image}]}}


def stateful_set(replicas, **spec):
    return {"metadata": {"name": "web"}, "spec": {
        "serviceName": "web", "replicas": replicas, "template": template(),
        "selector": {"matchLabels": {"app": "web"}}, **spec}}


def images(ns):
    return {p["metadata"]["name"]: p["spec"]["containers"][0]["image"] for p in ns.pods()}


def test_stateful_set_order(ns):
    ns.create("statefulsets", stateful_set(3))
    for i in range(3):
        wait_for(f"web-{i}", lambda: ns.names("pods") == [f"web-{n}" for n in range(i + 1)])
        ns.run(f"web-{i}")
    status = wait_for("all ready", lambda: (s := ns.get("statefulsets", "web")["status"]).get(
        "availableReplicas") == 3 and s)
    assert status["readyReplicas"] == status["currentReplicas"] == status["updatedReplicas"] == 3
    assert status["currentRevision"] == status["updateRevision"]
    assert status["collisionCount"] == 0 and status["observedGeneration"] == 1
    pod = ns.get("pods", "web-1")
    assert pod["metadata"]["labels"] == {
        "app": "web", "apps.kubernetes.io/pod-index": "1",
        "controller-revision-hash": status["currentRevision"],
        "statefulset.kubernetes.io/pod-name": "web-1"}
    assert pod["spec"]["hostname"] == "web-1" and pod["spec"]["subdomain"] == "web"
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet"
    # down from the top
    ns.patch("statefulsets", "web", {"spec": {"replicas": 1}})
    wait_for("one is left", lambda: ns.names("pods") == ["web-0"])
    # a Pod that fails is made anew
    uid = ns.get("pods", "web-0")["metadata"]["uid"]
    ns.patch("pods", "web-0", {"status": {"phase": "Failed"}}, "/status")
    wait_for("a new web-0", lambda: (p := ns.get("pods", "web-0")) and p["metadata"]["uid"] != uid)


def test_stateful_set_rollout(ns):
    ns.create("statefulsets", stateful_set(3, podManagementPolicy="Parallel"))
    wait_for("3 Pods", lambda: len(ns.names("pods")) == 3)
    for i in range(3):
        ns.run(f"web-{i}")
    first = wait_for("ready", lambda: (s := ns.get("statefulsets", "web")["status"]).get(
        "readyReplicas") == 3 and s["currentRevision"])
    # a canary: only from the partition on
    ns.patch("statefulsets", "web", {"spec": {
        "updateStrategy": {"rollingUpdate": {"partition": 2}}, "template": template("b")}})
    wait_for("canary", lambda: images(ns) == {"web-0": "a", "web-1": "a", "web-2": "b"})
    ns.run("web-2")
    status = wait_for("one updated", lambda: (s := ns.get("statefulsets", "web")["status"]).get(
        "readyReplicas") == 3 and s.get("updatedReplicas") == 1 and s)
    assert status["currentRevision"] == first != status["updateRevision"]
    assert status["currentReplicas"] == 2
    # an old one that is deleted below the partition comes back old
    ns.delete("pods", "web-0")
    wait_for("web-0", lambda: images(ns).get("web-0") == "a")
    ns.run("web-0")
    ns.patch("statefulsets", "web", {"spec": {
        "updateStrategy": {"rollingUpdate": {"partition": 0}}}})
    wait_for("web-1 is new", lambda: images(ns).get("web-1") == "b")
    assert images(ns)["web-0"] == "a", "web-0 waits for web-1"
    ns.run("web-1")
    wait_for("web-0 is new", lambda: images(ns).get("web-0") == "b")
    ns.run("web-0")
    wait_for("complete", lambda: ns.get("statefulsets", "web")["status"]["currentRevision"] ==
             status["updateRevision"])
    # back to the first template: its revision gets the highest number
    ns.patch("statefulsets", "web", {"spec": {"template": template("a")}})
    wait_for("rolled back", lambda: ns.get("statefulsets", "web")["status"]["updateRevision"] ==
             first)
    revisions = {r["metadata"]["name"]: r for r in ns.list("controllerrevisions")}
    assert len(revisions) == 2 and revisions[first]["revision"] == 3
    data = revisions[first]["data"]["spec"]["template"]
    assert data["$patch"] == "replace" and data["spec"]["containers"][0]["image"] == "a"


def test_stateful_set_claims(ns):
    claim = {"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "none"}}
    ns.create("statefulsets", stateful_set(
        2, podManagementPolicy="Parallel", volumeClaimTemplates=[claim],
        persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain", "whenScaled": "Delete"}))
    wait_for("claims", lambda: ns.names("persistentvolumeclaims") == ["data-web-0", "data-web-1"])
    wait_for("Pods", lambda: ns.names("pods") == ["web-0", "web-1"])
    assert ns.get("persistentvolumeclaims", "data-web-0")["metadata"]["labels"] == {"app": "web"}
    volumes = ns.get("pods", "web-1")["spec"]["volumes"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-1"}} in volumes
    assert "ownerReferences" not in ns.get("persistentvolumeclaims", "data-web-1")["metadata"]
    ns.patch("statefulsets", "web", {"spec": {"replicas": 1}})
    wait_for("its claim goes with web-1", lambda: (
        (c := ns.get("persistentvolumeclaims", "data-web-1")) is None or
        c["metadata"].get("deletionTimestamp")))
    # and stays when the policy changes to deletion with the set
    ns.patch("statefulsets", "web", {"spec": {
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"}}})
    ns.run("web-0")
    refs = wait_for("owned by the set", lambda: ns.get("persistentvolumeclaims", "data-web-0")
                    ["metadata"].get("ownerReferences"))
    assert refs[0]["kind"] == "StatefulSet" and refs[0]["controller"] is True


def daemon_set(**spec):
    return {"metadata": {"name": "agent"}, "spec": {
        "template": template(app="agent"), "selector": {"matchLabels": {"app": "agent"}}, **spec}}


@pytest.fixture
def nodes(plane):
    made = []
    for i, taints in enumerate([[], [], [{"key": "k", "effect": "NoSchedule"}]]):
        name = f"daemon-{i}"
        made.append(name)
        node = {"metadata": {"name": name, "labels": {"n": str(i)}}, "spec": {"taints": taints}}
        assert plane.post("/api/v1/nodes", node).status == 201
    yield made
    for name in made:
        plane.request("DELETE", f"/api/v1/nodes/{name}")


def target(pod):
    terms = pod["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [{"matchFields": [{"key": "metadata.name", "operator": "In",
                                       "values": [terms[0]["matchFields"][0]["values"][0]]}]}]
    return terms[0]["matchFields"][0]["values"][0]


def test_daemon_set_nodes(ns, nodes):
    ns.create("daemonsets", daemon_set())
    wait_for("2 Pods", lambda: sorted(target(p) for p in ns.pods()) == ["daemon-0", "daemon-1"])
    status = wait_for("status", lambda: (
        s := ns.get("daemonsets", "agent")["status"]).get("currentNumberScheduled") == 2 and s)
    assert status["desiredNumberScheduled"] == 2 and status["numberReady"] == 0
    assert status["numberUnavailable"] == 2 and status["updatedNumberScheduled"] == 2
    pod = ns.pods()[0]
    keys = {(t["key"], t["effect"]) for t in pod["spec"]["tolerations"]}
    assert ("node.kubernetes.io/not-ready", "NoExecute") in keys
    assert ("node.kubernetes.io/unschedulable", "NoSchedule") in keys
    revision = ns.list("controllerrevisions")[0]
    assert revision["metadata"]["name"] == \
        "agent-" + pod["metadata"]["labels"]["controller-revision-hash"]
    for p in ns.pods():
        ns.run(p["metadata"]["name"])
    wait_for("available", lambda: ns.get("daemonsets", "agent")["status"].get(
        "numberAvailable") == 2)
    # one that fails is replaced
    uid = ns.pods()[0]["metadata"]["uid"]
    ns.patch("pods", ns.pods()[0]["metadata"]["name"], {"status": {"phase": "Failed"}}, "/status")
    wait_for("replaced", lambda: len(ns.pods()) == 2 and
             uid not in {p["metadata"]["uid"] for p in ns.pods()})
    # nodes that fit no longer lose theirs
    ns.patch("daemonsets", "agent", {"spec": {"template": {"spec": {"nodeSelector": {"n": "1"}}}}})
    wait_for("one node", lambda: [target(p) for p in ns.pods()] == ["daemon-1"])
    r = ns.plane.request("PATCH", "/api/v1/nodes/daemon-0", json.dumps(
        {"metadata": {"labels": {"n": "1"}}}), headers={
            "Content-Type": "application/merge-patch+json"})
    assert r.status == 200
    wait_for("two again", lambda: sorted(target(p) for p in ns.pods()) == ["daemon-0", "daemon-1"])


def test_daemon_set_rollout(ns, nodes):
    ns.create("daemonsets", daemon_set())
    wait_for("2 Pods", lambda: len(ns.pods()) == 2)
    for p in ns.pods():
        ns.run(p["metadata"]["name"])
    wait_for("available", lambda: ns.get("daemonsets", "agent")["status"].get(
        "numberAvailable") == 2)
    ns.patch("daemonsets", "agent", {"spec": {"template": template("b", "agent")}})
    wait_for("one at a time", lambda: sorted(images(ns).values()) == ["a", "b"])
    new = [n for n, i in images(ns).items() if i == "b"][0]
    ns.run(new)
    wait_for("both", lambda: sorted(images(ns).values()) == ["b", "b"])
    for p in ns.pods():
        ns.run(p["metadata"]["name"])
    wait_for("status", lambda: (s := ns.get("daemonsets", "agent")["status"]).get(
        "updatedNumberScheduled") == 2 and s.get("numberAvailable") == 2)
    before = set(images(ns))
    # a revision that is deleted comes back, and nothing restarts
    for r in ns.list("controllerrevisions"):
        ns.delete("controllerrevisions", r["metadata"]["name"])
    wait_for("made anew", lambda: any(
        r["data"]["spec"]["template"]["spec"]["containers"][0]["image"] == "b"
        for r in ns.list("controllerrevisions")))
    assert set(images(ns)) == before


def test_daemon_set_surge(ns, nodes):
    ns.create("daemonsets", daemon_set(updateStrategy={"rollingUpdate": {
        "maxSurge": 1, "maxUnavailable": 0}}))
    wait_for("2 Pods", lambda: len(ns.pods()) == 2)
    for p in ns.pods():
        ns.run(p["metadata"]["name"])
    wait_for("available", lambda: ns.get("daemonsets", "agent")["status"].get(
        "numberAvailable") == 2)
    ns.patch("daemonsets", "agent", {"spec": {"template": template("b", "agent")}})
    for n in (1, 2):
        new = wait_for("a new one beside the old", lambda: [
            p for p in ns.pods() if p["spec"]["containers"][0]["image"] == "b" and
            p["status"]["phase"] == "Pending"] if len(ns.pods()) == 3 else None)
        ns.run(new[0]["metadata"]["name"])
        wait_for("the old one goes", lambda: list(images(ns).values()).count("b") >= n and
                 list(images(ns).values()).count("a") == 2 - n)


def test_ttl_after_finished(ns):
    job = ns.create("jobs", {"metadata": {"name": "done"}, "spec": {
        "ttlSecondsAfterFinished": 1, "suspend": True,
        "template": {"spec": {"restartPolicy": "Never",
                              "containers": [{"name": "c", "image": "a"}]}}}})
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    kinds = ("SuccessCriteriaMet", "Complete")
    status = {"startTime": now, "completionTime": now, "succeeded": 1, "conditions": [
        {"type": t, "status": "True", "reason": "CompletionsReached", "lastProbeTime": now,
         "lastTransitionTime": now} for t in kinds]}

    def finish():
        r = ns.plane.request("PATCH", ns.path("jobs", "done") + "/status", json.dumps(
            {"status": status}), headers={"Content-Type": "application/merge-patch+json"})
        return r.status == 200

    wait_for("finished", finish)
    assert job["spec"]["ttlSecondsAfterFinished"] == 1
    wait_for("deleted", lambda: ns.get("jobs", "done") is None)


def test_ephemeral_volume(ns):
    def pod(name):
        return ns.create("pods", {"metadata": {"name": name}, "spec": {
            "containers": [{"name": "c", "image": "a"}], "volumes": [{
                "name": "scratch", "ephemeral": {"volumeClaimTemplate": {
                    "metadata": {"labels": {"x": "y"}}, "spec": {
                        "accessModes": ["ReadWriteOnce"], "storageClassName": "none",
                        "resources": {"requests": {"storage": "1Mi"}}}}}}]}})

    made = pod("p")
    claim = wait_for("claim", lambda: ns.get("persistentvolumeclaims", "p-scratch"))
    assert claim["metadata"]["labels"] == {"x": "y"}
    assert claim["metadata"]["ownerReferences"] == [{
        "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": made["metadata"]["uid"],
        "controller": True, "blockOwnerDeletion": True}]
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Mi"
    # one that is there already and belongs to nobody is left alone
    ns.create("persistentvolumeclaims", {"metadata": {"name": "q-scratch"}, "spec": claim["spec"]})
    pod("q")
    event = wait_for("event", lambda: [e for e in ns.list("events")
                                       if e["reason"] == "FailedBinding" and
                                       e["involvedObject"]["name"] == "q"])[0]
    assert event["message"] == (
        f"ephemeral volume scratch: PVC {ns.name}/q-scratch was not created for pod "
        f"{ns.name}/q (pod is not owner)")
    ns.delete("pods", "p")
    wait_for("the claim goes with the Pod", lambda: (
        (c := ns.get("persistentvolumeclaims", "p-scratch")) is None or
        c["metadata"].get("deletionTimestamp")))
