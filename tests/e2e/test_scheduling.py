# SPDX-License-Identifier: Apache-2.0
"""Where Pods go, and why they do not."""
import json

from boxes import busybox_pod, wait_for

NEVER = ("no new claims to deallocate, preemption: 0/1 nodes are available: "
         "1 Preemption is not helpful for scheduling.")


def why(ns, name):
    """The PodScheduled condition's message once it is False."""
    def message():
        for c in ns.get("pod", name).get("status", {}).get("conditions", []):
            if c["type"] == "PodScheduled" and c["status"] == "False":
                assert c["reason"] == "Unschedulable", c
                return c["message"]
        return None
    return wait_for(f"reason of {name}", message, 20)


def events(ns, name):
    items = ns.get("events", "--field-selector", f"involvedObject.name={name}")["items"]
    return {e["reason"]: e["message"] for e in items}


def sleeper(name, **spec):
    return busybox_pod(name, ["sleep", "3600"], **spec)


def test_reasons_in_upstreams_words(ns):
    big = sleeper("big")
    big["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "4096", "example.com/x": "1"}}
    big["spec"]["containers"][0]["resources"]["limits"] = {"example.com/x": "1"}
    ns.apply(big)
    ns.apply(sleeper("choosy", nodeSelector={"planet": "mars"}))
    ns.apply(sleeper("claimless", volumes=[
        {"name": "v", "persistentVolumeClaim": {"claimName": "nix"}}]))
    assert why(ns, "big") == (
        f"0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient example.com/x. {NEVER}")
    choosy = ("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. "
              f"{NEVER}")
    assert why(ns, "choosy") == choosy
    assert why(ns, "claimless") == (
        f'0/1 nodes are available: persistentvolumeclaim "nix" not found. {NEVER}')
    wait_for("event", lambda: events(ns, "choosy").get("FailedScheduling") == choosy, 20)


def test_waits_and_goes_on(box, ns):
    """A label, an uncordon, a lifted gate: each brings the waiting Pod to the node at once."""
    node = box.get("nodes")["items"][0]["metadata"]["name"]
    ns.apply(sleeper("gated", schedulingGates=[{"name": "example.com/wait"}]))
    ns.apply(sleeper("choosy", nodeSelector={"e2e-planet": "mars"}))
    why(ns, "choosy")
    box.kubectl("label", "node", node, "e2e-planet=mars")
    try:
        ns.wait("pod/choosy", "condition=Ready", 30)
    finally:
        box.kubectl("label", "node", node, "e2e-planet-")
    message = events(ns, "choosy")["Scheduled"]
    assert message == f"Successfully assigned {ns.name}/choosy to {node}"
    gated = ns.get("pod", "gated")
    assert [c["reason"] for c in gated["status"]["conditions"]] == ["SchedulingGated"]
    ns.kubectl("patch", "pod", "gated", "--type=json", "-p",
               json.dumps([{"op": "remove", "path": "/spec/schedulingGates"}]))
    ns.wait("pod/gated", "condition=Ready", 30)
    box.kubectl("cordon", node)
    try:
        ns.apply(sleeper("late"))
        assert "1 node(s) were unschedulable" in why(ns, "late")
    finally:
        box.kubectl("uncordon", node)
    ns.wait("pod/late", "condition=Ready", 30)


def test_claim_waits_for_its_first_consumer(box, ns):
    ns.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
              "spec": {"accessModes": ["ReadWriteOnce"],
                       "resources": {"requests": {"storage": "1Mi"}}}})
    assert ns.phase("pvc", "data") in (None, "Pending")
    ns.apply(sleeper("user", volumes=[
        {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]))
    ns.wait("pod/user", "condition=Ready", 30)
    claim = ns.get("pvc", "data")
    assert claim["status"]["phase"] == "Bound"
    node = ns.get("pod", "user")["spec"]["nodeName"]
    assert claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == node
