# SPDX-License-Identifier: Apache-2.0
"""The node authorizer: what a node's agent may read and write."""
import time

import pytest


@pytest.fixture
def node(api, ns):
    """A node with one Pod that refers to Secret `used`, ConfigMap `conf` and its account."""
    for kind, name in (("secrets", "used"), ("secrets", "other"), ("configmaps", "conf")):
        api.ok("POST", f"/api/v1/namespaces/{ns}/{kind}", {"metadata": {"name": name}})
    api.ok("POST", "/api/v1/nodes", {"metadata": {"name": ns}})
    spec = {"containers": [{"name": "c", "image": "i",
                            "envFrom": [{"secretRef": {"name": "used"}}]}],
            "volumes": [{"name": "v", "configMap": {"name": "conf"}}]}
    api.ok("POST", f"/api/v1/namespaces/{ns}/pods", {"metadata": {"name": "p"}, "spec": spec})
    api.ok("POST", f"/api/v1/namespaces/{ns}/pods/p/binding",
           {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": ns}})
    deadline = time.monotonic() + 10
    while As(api, ns).get(f"/api/v1/namespaces/{ns}/secrets/used").status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield As(api, ns)
    api.delete(f"/api/v1/nodes/{ns}")


class As:
    def __init__(self, api, name):
        self.api, self.name = api, name
        self.kw = {"user": f"system:node:{name}", "groups": ["system:nodes"]}

    def request(self, method, path, body=None):
        return self.api.request(method, path, body, **self.kw)

    def get(self, path):
        return self.request("GET", path)


def test_reads(node, ns):
    n, core = node.name, f"/api/v1/namespaces/{ns}"
    rows = [
        (f"{core}/secrets/used", 200, None),
        (f"{core}/secrets/other", 403,
         f"no relationship found between node '{n}' and this object"),
        (f"{core}/secrets", 403, "No Object name found"),
        (f"{core}/secrets?fieldSelector=metadata.name=used", 200, None),
        ("/api/v1/secrets", 403, "can only read namespaced object of this type"),
        (f"{core}/configmaps/conf", 200, None),
        (f"{core}/serviceaccounts/default", 200, None),
        (f"{core}/pods/p", 200, None),
        (f"{core}/pods", 403, "can only list/watch pods with spec.nodeName field selector"),
        (f"/api/v1/pods?fieldSelector=spec.nodeName={n}", 200, None),
        ("/api/v1/pods?fieldSelector=spec.nodeName=other", 403,
         "can only list/watch pods with spec.nodeName field selector"),
        (f"/api/v1/nodes/{n}", 200, None),
        ("/api/v1/nodes/other", 403,
         f"node '{n}' cannot read 'other', only its own Node object"),
        ("/api/v1/nodes", 403, f"node '{n}' cannot read all nodes, only its own Node object"),
        (f"/api/v1/nodes?fieldSelector=metadata.name={n}", 200, None),
        ("/api/v1/services", 200, None),
        ("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x", 403,
         'can only access leases in the "kube-node-lease" system namespace'),
        (f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{n}", 404, None),
        ("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/x", 403,
         "can only access node lease with the same name as the requesting node"),
        (f"/apis/storage.k8s.io/v1/csinodes/{n}", 404, None),
        ("/apis/storage.k8s.io/v1/csinodes", 403,
         "can only get, create, update, patch, or delete a CSINode"),
    ]
    for path, status, why in rows:
        r = node.get(path)
        assert r.status == status, (path, r.body)
        if why:
            assert r.json["message"].endswith(": " + why), (path, r.body)


def test_tokens(node, ns):
    api, path = node.api, f"/api/v1/namespaces/{ns}/serviceaccounts"
    api.ok("POST", path, {"metadata": {"name": "unused"}})
    pod = api.ok("GET", f"/api/v1/namespaces/{ns}/pods/p")
    ref = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": pod["metadata"]["uid"]}
    spec = {"spec": {"boundObjectRef": ref}}
    assert node.request("POST", f"{path}/default/token", spec).status == 201
    r = node.request("POST", f"{path}/unused/token", spec)
    assert r.status == 403
    assert "no relationship found between node" in r.json["message"]


def test_what_goes_with_the_pod(node, ns):
    api = node.api
    api.ok("DELETE", f"/api/v1/namespaces/{ns}/pods/p?gracePeriodSeconds=0")
    deadline = time.monotonic() + 10
    while node.get(f"/api/v1/namespaces/{ns}/secrets/used").status != 403:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_volume_through_its_claim(node, ns):
    api = node.api
    api.ok("POST", "/api/v1/persistentvolumes", {
        "metadata": {"name": ns}, "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "claimRef": {"namespace": ns, "name": "claim"},
            "csi": {"driver": "d", "volumeHandle": "h",
                    "nodePublishSecretRef": {"name": "other", "namespace": ns}}}})
    secret = f"/api/v1/namespaces/{ns}/secrets/other"
    assert node.get(secret).status == 403
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": node.name,
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "claim"}}]}
    api.ok("POST", f"/api/v1/namespaces/{ns}/pods", {"metadata": {"name": "q"}, "spec": spec})
    deadline = time.monotonic() + 10
    while node.get(secret).status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_review_of_a_node(api, node, ns):
    r = api.ok("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": {
        "user": f"system:node:{node.name}", "groups": ["system:nodes"], "resourceAttributes": {
            "verb": "list", "resource": "pods", "fieldSelector": {"requirements": [
                {"key": "spec.nodeName", "operator": "In", "values": [node.name]}]}}}})
    assert r["status"] == {"allowed": True}
    r = api.ok("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": {
        "user": f"system:node:{node.name}", "groups": ["system:nodes"], "resourceAttributes": {
            "verb": "get", "resource": "secrets", "namespace": ns, "name": "other"}}})
    assert r["status"] == {"allowed": False, "reason":
                           f"no relationship found between node '{node.name}' and this object"}
