# SPDX-License-Identifier: Apache-2.0
"""Whom controllers take for their own: orphans that match are adopted and count at once, members
that match no longer are let go."""
import pytest

from controllers import plane, Space, wait_for  # noqa: F401 (fixtures)

OWNERS = [
    ("replicasets", "ReplicaSet", "/apis/apps/v1", "pods"),
    ("replicationcontrollers", "ReplicationController", "/api/v1", "pods"),
    ("jobs", "Job", "/apis/batch/v1", "pods"),
    ("statefulsets", "StatefulSet", "/apis/apps/v1", "pods"),
    ("deployments", "Deployment", "/apis/apps/v1", "replicasets"),
]


def template(**spec):
    return {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def owner(kind):
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template()}
    if kind == "Job":
        spec |= {"manualSelector": True, "parallelism": 1,
                 "template": template(restartPolicy="Never")}
    else:
        spec["replicas"] = 1
    if kind == "ReplicationController":
        spec["selector"] = {"app": "web"}
    return {"metadata": {"name": "web"}, "spec": spec}


def member(kind):
    """An orphan that every owner above would take; its name is one a StatefulSet gives."""
    meta = {"name": "web-0", "labels": {"app": "web"}}
    if kind == "pods":
        return {"metadata": meta, "spec": template()["spec"]}
    return {"metadata": meta, "spec": {"replicas": 0, "template": template(),
                                       "selector": {"matchLabels": {"app": "web"}}}}


@pytest.mark.parametrize("kind,name,base,members", OWNERS, ids=[o[0] for o in OWNERS])
def test_adopts_and_lets_go(plane, kind, name, base, members):
    ns = Space(plane, f"own-{kind}")
    owners = f"{base}/namespaces/{ns.name}/{kind}"
    theirs = (f"/api/v1/namespaces/{ns.name}/pods" if members == "pods" else
              f"/apis/apps/v1/namespaces/{ns.name}/replicasets")

    def refs():
        return plane.get(f"{theirs}/web-0").json["metadata"].get("ownerReferences", [])

    assert plane.post(theirs, member(members)).status == 201
    made = plane.post(owners, owner(name))
    assert made.status == 201, made.body
    uid = made.json["metadata"]["uid"]
    wait_for("adopted", lambda: [r["uid"] for r in refs()] == [uid])
    assert refs()[0]["controller"] and refs()[0]["kind"] == name
    # it fills the one place there is
    if members == "pods":
        wait_for("status", lambda: plane.get(f"{owners}/web").json.get("status"))
        assert len(plane.get(theirs).json["items"]) == 1
    plane.ok("PATCH", f"{theirs}/web-0", '{"metadata":{"labels":{"app":"other"}}}',
             headers={"Content-Type": "application/merge-patch+json"})
    wait_for("let go", lambda: refs() == [])
    if members == "pods" and name != "StatefulSet":  # whose next Pod has the same name
        wait_for("another", lambda: len(plane.get(theirs).json["items"]) == 2)
    plane.delete(f"/api/v1/namespaces/{ns.name}")
