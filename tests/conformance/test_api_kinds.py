# SPDX-License-Identifier: Apache-2.0
"""Rules of other kinds: Secrets, ReplicaSets and their scale, Events, Nodes, volumes."""
import base64

from samples import CM, MODIFIED, cms, status


def test_secret(api, ns):
    path = f"/api/v1/namespaces/{ns}/secrets"
    o = api.ok("POST", path, {"metadata": {"name": "s"}, "stringData": {"a": "b"}})
    assert o["data"] == {"a": base64.b64encode(b"b").decode()} and "stringData" not in o
    assert o["type"] == "Opaque"
    r = status(api.patch(path + "/s", {"type": "x/y"}), 422, "Invalid")
    assert "type: Invalid value: " in r["message"] and "field is immutable" in r["message"]
    r = status(api.post(path, {"metadata": {"name": "t"}, "type": "kubernetes.io/tls"}), 422, "Invalid")
    assert "[data[tls.crt]: Required value, data[tls.key]: Required value]" in r["message"]


def test_immutable(api, ns):
    api.ok("POST", cms(ns), CM | {"immutable": True})
    r = status(api.patch(cms(ns, "cm"), {"data": {"a": "z"}}), 422, "Invalid")
    assert "data: Forbidden: field is immutable when `immutable` is set" in r["message"]


def replicaset(**spec):
    return {"metadata": {"name": "r"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {
            "containers": [{"name": "c", "image": "x"}]}}, **spec}}


def test_replicaset_and_scale(api, ns):
    path = f"/apis/apps/v1/namespaces/{ns}/replicasets"
    o = api.ok("POST", path, replicaset())
    assert o["spec"]["replicas"] == 1 and o["status"] == {"replicas": 0}
    assert o["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == "Always"
    s = api.ok("GET", path + "/r/scale")
    assert (s["kind"], s["apiVersion"], s["spec"], s["status"]) == \
        ("Scale", "autoscaling/v1", {"replicas": 1}, {"replicas": 0, "selector": "a=b"})
    s["spec"]["replicas"] = 3
    assert api.ok("PUT", path + "/r/scale", s)["spec"]["replicas"] == 3
    assert api.patch(path + "/r/scale", {"spec": {"replicas": 2}}).json["spec"]["replicas"] == 2
    o = api.ok("GET", path + "/r")
    assert o["spec"]["replicas"] == 2 and o["metadata"]["generation"] == 3
    r = status(api.patch(path + "/r/scale", {"spec": {"replicas": -3}}), 422, "Invalid",
               'Scale.autoscaling "r" is invalid: spec.replicas: Invalid value: -3: must be greater '
               "than or equal to 0")
    assert r["details"]["kind"] == "Scale"
    status(api.put(path + "/r/scale", s), 409, "Conflict",
           f'Operation cannot be fulfilled on replicasets.apps "r": {MODIFIED}')
    r = status(api.patch(path + "/r", {"spec": {"selector": {"matchLabels": {"a": "c"}}}}), 422,
               "Invalid")
    assert "spec.selector: Invalid value: " in r["message"]
    bad = replicaset(selector={"matchLabels": {"x": "y"}})
    r = status(api.post(path, bad | {"metadata": {"name": "s"}}), 422, "Invalid")
    assert ('spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match '
            "template `labels`") in r["message"]


def test_event(api, ns):
    path = f"/api/v1/namespaces/{ns}/events"
    o = api.ok("POST", path, {"metadata": {"name": "e"}, "involvedObject": {
        "kind": "Pod", "name": "p", "namespace": ns}, "reason": "R", "type": "Normal"})
    assert o["source"] == {} and o["firstTimestamp"] is None and o["reportingComponent"] == ""
    got = api.ok("GET", path + "?fieldSelector=involvedObject.name%3Dp,reason%3DR")["items"]
    assert len(got) == 1
    r = status(api.post(path, {"metadata": {"name": "f"}, "involvedObject": {"namespace": "other"}}),
               422, "Invalid")
    assert 'involvedObject.namespace: Invalid value: "other": does not match event.namespace' in \
        r["message"]


def test_node(api):
    o = api.ok("POST", "/api/v1/nodes", {"metadata": {"name": "n-test"}, "status": {
        "capacity": {"cpu": "2"}}})
    assert o["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
    assert o["status"]["capacity"] == {"cpu": "2"}
    api.ok("PATCH", "/api/v1/nodes/n-test/status", {"status": {"conditions": [
        {"type": "Ready", "status": "True"}]}},
        headers={"Content-Type": "application/strategic-merge-patch+json"})
    api.ok("DELETE", "/api/v1/nodes/n-test")


def test_volumes(api, ns):
    sc = {"metadata": {"name": "dflt", "annotations": {
        "storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "x/y"}
    o = api.ok("POST", "/apis/storage.k8s.io/v1/storageclasses", sc)
    assert (o["reclaimPolicy"], o["volumeBindingMode"]) == ("Delete", "Immediate")
    path = f"/api/v1/namespaces/{ns}/persistentvolumeclaims"
    body = {"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
                                                "resources": {"requests": {"storage": "1Gi"}}}}
    o = api.ok("POST", path, body)
    assert o["spec"]["storageClassName"] == "dflt" and o["spec"]["volumeMode"] == "Filesystem"
    assert o["status"] == {"phase": "Pending"}
    assert o["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    r = status(api.patch(path + "/c", {"spec": {"accessModes": ["ReadOnlyMany"]}}), 422, "Invalid")
    assert "spec is immutable after creation" in r["message"]
    assert api.patch(path + "/c", {"spec": {"volumeName": "v"}}).status == 200
    api.ok("DELETE", "/apis/storage.k8s.io/v1/storageclasses/dflt")


def test_what_of_a_claim_may_change(api, ns):
    base = f"/api/v1/namespaces/{ns}/persistentvolumeclaims"
    beta = "volume.beta.kubernetes.io/storage-class"
    fixed = ("spec: Forbidden: spec is immutable after creation except resources.requests and "
             "volumeAttributesClassName for bound claims")

    def claim(name, **annotations):
        api.ok("POST", base, {"metadata": {"name": name, "annotations": annotations}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})

    def change(name, spec, *causes):
        r = api.patch(f"{base}/{name}", {"spec": spec})
        got = [f'{c["field"]}: {c["message"]}' for c in r.json.get("details", {}).get("causes", [])]
        assert (r.status, got) == (422 if causes else 200, list(causes)), r.body

    grows = f"grows-{ns}"
    api.ok("POST", "/apis/storage.k8s.io/v1/storageclasses", {
        "metadata": {"name": grows}, "provisioner": "x.y/z", "allowVolumeExpansion": True})
    claim("a")
    change("a", {"resources": {"requests": {"storage": "1024Mi"}}})  # the same
    change("a", {"resources": {"requests": {"storage": "2Gi"}}}, fixed)
    change("a", {"resources": {"limits": {"storage": "2Gi"}}}, fixed)
    change("a", {"storageClassName": grows})  # where none was named
    change("a", {"storageClassName": "y"}, fixed)
    change("a", {"volumeName": "v"})
    change("a", {"volumeName": "w"}, fixed)
    claim("b", **{beta: "x"})
    change("b", {"storageClassName": "y"}, fixed)
    change("b", {"storageClassName": "x"})
    claim("c", **{beta: "x"})
    r = api.patch(base + "/c", {"metadata": {"annotations": {beta: "y"}}})
    assert status(r, 422, "Invalid")["message"].endswith(
        f'metadata.annotations.{beta}: Invalid value: "y": field is immutable')
    # bound: up, and down to no less than there is
    api.patch(base + "/a/status", {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}})
    change("a", {"resources": {"requests": {"storage": "3Gi"}}})
    change("a", {"resources": {"requests": {"storage": "2Gi"}}})
    change("a", {"resources": {"requests": {"storage": "1Gi"}}},
           "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity")
