# SPDX-License-Identifier: Apache-2.0
"""DELETE and its options, finalizers, collections; the end of a namespace."""
import pytest

from samples import CM, cms, status


def test_delete(api, ns):
    o = api.ok("POST", cms(ns), CM)
    r = api.delete(cms(ns, "cm"))
    assert r.status == 200
    assert r.json == {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                      "details": {"name": "cm", "kind": "configmaps", "uid": o["metadata"]["uid"]}}
    o = api.ok("POST", f"/api/v1/namespaces/{ns}/serviceaccounts", {"metadata": {"name": "s"}})
    assert api.delete(f"/api/v1/namespaces/{ns}/serviceaccounts/s").json["kind"] == "ServiceAccount"


def test_delete_options(api, ns):
    uid = api.ok("POST", cms(ns), CM)["metadata"]["uid"]
    s = status(api.delete(cms(ns, "cm"), {"preconditions": {"uid": "bad"}}), 409, "Conflict",
               'Operation cannot be fulfilled on ConfigMap "cm": the UID in the precondition (bad) '
               f"does not match the UID in record ({uid}). The object might have been deleted and "
               "then recreated")
    assert s["details"]["kind"] == "ConfigMap"
    s = status(api.delete(cms(ns, "cm"), {"preconditions": {"resourceVersion": "1"}}), 409, "Conflict")
    assert "the ResourceVersion in the precondition (1)" in s["message"]
    status(api.delete(cms(ns, "cm"), {"propagationPolicy": "Foo"}), 422, "Invalid",
           'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Foo": '
           'supported values: "Foreground", "Background", "Orphan", "nil"')
    s = status(api.delete(cms(ns, "cm"), {"propagationPolicy": "Background",
                                          "orphanDependents": True}), 422, "Invalid")
    assert "orphanDependents and deletionPropagation cannot be both set" in s["message"]
    status(api.delete(cms(ns, "cm"), {"kind": "Pod", "apiVersion": "v1"}), 400, "BadRequest")
    # the body wins over the query, even an empty one
    api.ok("DELETE", cms(ns, "cm") + "?dryRun=All", {})
    assert api.get(cms(ns, "cm")).status == 404


def test_finalizers(api, ns):
    api.ok("POST", cms(ns), {"metadata": {"name": "cm", "finalizers": ["ex.com/f"]}})
    o = api.ok("DELETE", cms(ns, "cm"))
    assert o["kind"] == "ConfigMap" and o["metadata"]["deletionTimestamp"]
    assert o["metadata"]["deletionGracePeriodSeconds"] == 0
    again = api.ok("DELETE", cms(ns, "cm"))
    assert again["metadata"]["resourceVersion"] == o["metadata"]["resourceVersion"]
    s = status(api.post(cms(ns), CM), 409, "AlreadyExists")
    assert s["message"].startswith("object is being deleted: ")
    s = status(api.patch(cms(ns, "cm"), {"metadata": {"finalizers": ["ex.com/f", "ex.com/g"]}}), 422,
               "Invalid")
    assert ('metadata.finalizers: Forbidden: no new finalizers can be added if the object is being '
            'deleted, found new finalizers []string{"ex.com/g"}') in s["message"]
    r = api.patch(cms(ns, "cm"), {"metadata": {"finalizers": None}})
    assert r.status == 200 and "finalizers" not in r.json["metadata"]
    assert api.get(cms(ns, "cm")).status == 404


@pytest.mark.parametrize("policy, finalizer", [("Foreground", "foregroundDeletion"),
                                               ("Orphan", "orphan")])
def test_propagation(api, ns, policy, finalizer):
    api.ok("POST", cms(ns), CM)
    o = api.ok("DELETE", cms(ns, "cm"), {"propagationPolicy": policy})
    assert o["metadata"]["finalizers"] == [finalizer]
    api.patch(cms(ns, "cm"), {"metadata": {"finalizers": None}})


def test_delete_collection(api, ns):
    for i in range(5):
        api.ok("POST", cms(ns), {"metadata": {"name": f"c{i}", "labels": {"odd": str(i % 2)}}})
    r = api.delete(cms(ns) + "?labelSelector=odd%3D1")
    assert r.json["kind"] == "ConfigMapList" and len(r.json["items"]) == 2
    assert len(api.ok("GET", cms(ns))["items"]) == 3


def test_namespace_life(api, ns):
    o = api.ok("GET", f"/api/v1/namespaces/{ns}")
    assert o["spec"] == {"finalizers": ["kubernetes"]} and o["status"] == {"phase": "Active"}
    assert o["metadata"]["labels"] == {"kubernetes.io/metadata.name": ns}
    o = api.ok("DELETE", f"/api/v1/namespaces/{ns}")
    assert o["status"]["phase"] == "Terminating" and o["metadata"]["deletionTimestamp"]
    s = status(api.post(cms(ns), CM), 403, "Forbidden",
               f'configmaps "cm" is forbidden: unable to create new content in namespace {ns} because '
               "it is being terminated")
    assert s["details"]["causes"] == [{"reason": "NamespaceTerminating",
                                       "message": f"namespace {ns} is being terminated",
                                       "field": "metadata.namespace"}]
    o["spec"]["finalizers"] = []
    assert api.put(f"/api/v1/namespaces/{ns}/finalize", o).status == 200
    assert api.get(f"/api/v1/namespaces/{ns}").status == 404
    status(api.delete("/api/v1/namespaces/default"), 403, "Forbidden",
           'namespaces "default" is forbidden: this namespace may not be deleted')
