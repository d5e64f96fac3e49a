# SPDX-License-Identifier: Apache-2.0
"""NodeRestriction: what node agents may write, by what is in it."""
import pytest

MIRROR = "kubernetes.io/config.mirror"
LABELS = "is not allowed to modify labels: "


class Node:
    def __init__(self, api, ns):
        self.api, self.name, self.base = api, ns, f"/api/v1/namespaces/{ns}"
        self.kw = {"user": f"system:node:{ns}", "groups": ["system:nodes"]}

    def send(self, method, path, body=None, **kw):
        return self.api.request(method, path, body, **self.kw, **kw)

    def patch(self, path, body):
        return self.send("PATCH", path, body,
                         headers={"Content-Type": "application/merge-patch+json"})

    def bound(self, name, node=None, **spec):
        self.api.ok("POST", self.base + "/pods", {
            "metadata": {"name": name},
            "spec": {"nodeName": node or self.name, "containers": [{"name": "c", "image": "i"}],
                     **spec}})


@pytest.fixture
def node(api, ns):
    n = Node(api, ns)
    api.ok("POST", "/api/v1/nodes", {"metadata": {"name": ns, "labels": {"mine": "x"}}})
    n.uid = api.get(f"/api/v1/nodes/{ns}").json["metadata"]["uid"]
    yield n
    api.delete(f"/api/v1/nodes/{ns}")


def refused(r, what, text):
    assert r.status == 403, r.body
    assert r.json["message"] == f"{what} is forbidden: {text}"


def mirror(n, owner=None, meta=None, **spec):
    ref = {"apiVersion": "v1", "kind": "Node", "name": n.name, "uid": n.uid, "controller": True}
    return {"metadata": {"name": "m", "annotations": {MIRROR: "x"},
                         "ownerReferences": [ref | (owner or {})], **(meta or {})},
            "spec": {"nodeName": n.name, "containers": [{"name": "c", "image": "i"}], **spec}}


def mirror_rows():
    set_to = "can only create pods with {} set to itself"
    env = [{"name": "c", "image": "i", "envFrom": [{"configMapRef": {"name": "x"}}]}]
    return [
        ({"meta": {"annotations": {}}},
         f'pod does not have "{MIRROR}" annotation, node "N" can only create mirror pods'),
        ({"nodeName": "other"}, 'node "N" ' + set_to.format("spec.nodeName")),
        ({"meta": {"ownerReferences": []}}, 'node "N" ' + set_to.format("an owner reference")),
        ({"owner": {"name": "other"}}, 'node "N" ' + set_to.format("an owner reference")),
        ({"owner": {"controller": False}},
         'node "N" ' + set_to.format("a controller owner reference")),
        ({"owner": {"blockOwnerDeletion": True}},
         'node "N" must not set blockOwnerDeletion on an owner reference'),
        ({"owner": {"uid": "u"}}, "node N UID mismatch: expected u got U"),
        ({"containers": env}, 'node "N" can not create pods that reference configmaps'),
        ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]},
         'node "N" can not create pods that reference persistentvolumeclaims'),
        ({"volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "c"}}]}}]},
         'node "N" can not create pods that reference configmaps (via projected volumes)'),
    ]


@pytest.mark.parametrize("kw,text", mirror_rows())
def test_mirror_pods(node, kw, text):
    r = node.send("POST", node.base + "/pods", mirror(node, **kw))
    refused(r, 'pods "m"', text.replace("N", node.name, 1).replace("got U", f"got {node.uid}")
            if "annotation" not in text else text.replace('"N"', f'"{node.name}"'))


def test_pods(node):
    assert node.send("POST", node.base + "/pods", mirror(node)).status == 201
    node.bound("mine")
    node.bound("theirs", node="other")
    pods = node.base + "/pods/"
    refused(node.patch(pods + "theirs/status", {"status": {"message": "x"}}), 'pods "theirs"',
            f'node "{node.name}" can only update pod status for pods with spec.nodeName set to '
            "itself")
    refused(node.patch(pods + "mine/status", {"metadata": {"labels": {"a": "b"}}}), 'pods "mine"',
            f'node "{node.name}" cannot update labels through pod status')
    assert node.patch(pods + "mine/status", {"status": {"message": "x"}}).status == 200
    refused(node.send("DELETE", pods + "theirs"), 'pods "theirs"',
            f'node "{node.name}" can only delete pods with spec.nodeName set to itself')
    evict = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "theirs"}}
    refused(node.send("POST", pods + "theirs/eviction", evict), 'pods "theirs"',
            f"node {node.name} can only evict pods with spec.nodeName set to itself")
    assert node.send("DELETE", pods + "mine?gracePeriodSeconds=0").status == 200


def test_own_node(node):
    path, what = f"/api/v1/nodes/{node.name}", f'nodes "{node.name}"'
    rows = [
        ({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}},
         f'node "{node.name}" is not allowed to modify taints'),
        ({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "x",
                                            "uid": "u"}]}},
         f'node "{node.name}" is not allowed to modify ownerReferences'),
        ({"metadata": {"labels": {"node-restriction.kubernetes.io/a": "b", "x.k8s.io/z": "1",
                                  "kubernetes.io/os": "linux", "ours": "1"}}},
         LABELS + "node-restriction.kubernetes.io/a, x.k8s.io/z"),
    ]
    for body, text in rows:
        refused(node.patch(path, body), what, text)
    ok = {"metadata": {"labels": {"mine": None, "kubernetes.io/arch": "amd64", "ours": "1",
                                  "a.node.kubernetes.io/b": "c"}}}
    assert node.patch(path, ok).status == 200
    r = node.send("POST", "/api/v1/nodes", {"metadata": {"name": "other-" + node.name}})
    refused(r, f'nodes "other-{node.name}"',
            f'node "{node.name}" is not allowed to modify node "other-{node.name}"')


def test_create_with_labels(api, node):
    api.ok("DELETE", f"/api/v1/nodes/{node.name}")
    body = {"metadata": {"name": node.name, "labels": {"kubernetes.io/foo": "x"}},
            "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}
    refused(node.send("POST", "/api/v1/nodes", body), f'nodes "{node.name}"',
            f'node "{node.name}" is not allowed to set the following labels: kubernetes.io/foo')
    del body["metadata"]["labels"]
    assert node.send("POST", "/api/v1/nodes", body).status == 201


def test_leases_and_csi_nodes(node):
    leases = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
    body = {"metadata": {"name": node.name}, "spec": {}}
    r = node.send("POST", leases.format("kube-node-lease"), {"metadata": {"name": "z"}, "spec": {}})
    refused(r, 'leases.coordination.k8s.io "z"',
            "can only access node lease with the same name as the requesting node")
    assert node.send("POST", leases.format("kube-node-lease"), body).status == 201
    assert node.send("DELETE", leases.format("kube-node-lease") + "/" + node.name).status == 200
    r = node.send("POST", "/apis/storage.k8s.io/v1/csinodes", {"metadata": {"name": "z"},
                                                               "spec": {"drivers": []}})
    refused(r, 'csinodes.storage.k8s.io "z"',
            "can only access CSINode with the same name as the requesting node")


def test_tokens(api, node):
    volume = {"name": "t", "projected": {"sources": [
        {"serviceAccountToken": {"path": "t", "audience": "vault"}}]}}
    node.bound("p", volumes=[volume], serviceAccountName="default")
    node.bound("theirs", node="other")
    uid = {n: api.get(f"{node.base}/pods/{n}").json["metadata"]["uid"] for n in ("p", "theirs")}
    path, what = node.base + "/serviceaccounts/default/token", 'serviceaccounts "default"'

    def ask(pod, aud=(), **ref):
        ref = {"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": uid[pod]} | ref
        return node.send("POST", path, {"spec": {"audiences": list(aud), "boundObjectRef": ref}})

    assert ask("p").status == 201
    assert ask("p", ["vault"]).status == 201
    refused(ask("p", ["bank"]), what,
            'audience "bank" not found in pod spec volume, '
            f"system:node:{node.name} is not authorized to request tokens for this audience")
    refused(ask("p", ["a", "b"]), what, "node may only request 0 or 1 audiences")
    assert ask("theirs").status == 403
    r = node.send("POST", path, {"spec": {"audiences": []}})
    refused(r, what, "node requested token not bound to a pod")
    refused(ask("p", uid=""), what, "node requested token with a pod binding without a uid")
