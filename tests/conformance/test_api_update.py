# SPDX-License-Identifier: Apache-2.0
"""PUT and PATCH: revisions, what cannot change, the kinds of patches."""
import threading

from samples import CM, MODIFIED, cms, pod, pods, status


def test_update(api, ns):
    o = api.ok("POST", cms(ns), CM)
    o["data"]["a"] = "c"
    n = api.ok("PUT", cms(ns, "cm"), o)
    assert n["data"] == {"a": "c"}
    assert int(n["metadata"]["resourceVersion"]) > int(o["metadata"]["resourceVersion"])
    assert n["metadata"]["uid"] == o["metadata"]["uid"]
    status(api.put(cms(ns, "cm"), o), 409, "Conflict",
           f'Operation cannot be fulfilled on configmaps "cm": {MODIFIED}',
           {"name": "cm", "kind": "configmaps"})
    # the same again changes nothing
    assert api.ok("PUT", cms(ns, "cm"), n)["metadata"]["resourceVersion"] == \
        n["metadata"]["resourceVersion"]
    # without resourceVersion it is unconditional
    assert api.ok("PUT", cms(ns, "cm"), CM)["data"] == {"a": "b"}


def test_bad_updates(api, ns):
    o = api.ok("POST", cms(ns), CM)
    status(api.put(cms(ns, "cm"), {"metadata": {"name": "other"}}), 400, "BadRequest",
           "the name of the object (other) does not match the name on the URL (cm)")
    status(api.put(cms(ns, "cm"), {"metadata": {}}), 400, "BadRequest",
           "the name of the object (cm based on URL) was undeterminable: name must be provided")
    status(api.put(cms(ns, "cm"), {"metadata": {"name": "cm", "resourceVersion": "abc"}}), 500, "",
           'strconv.ParseUint: parsing "abc": invalid syntax')
    s = status(api.put(cms(ns, "cm"), {"metadata": {"name": "cm", "uid": "zzz"}}), 409, "Conflict")
    assert "Precondition failed: UID in precondition: zzz" in s["message"]
    s = status(api.patch(cms(ns, "cm"), {"metadata": {"uid": "1"}}), 422, "Invalid")
    assert 'metadata.uid: Invalid value: "1": field is immutable' in s["message"]
    status(api.put(cms(ns, "nope"), {"metadata": {"name": "nope"}}), 404, "NotFound")
    o["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    status(api.put(cms(ns, "cm"), o), 422, "Invalid")


def test_put_creates(api, ns):
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/roles/r"
    assert api.put(path, {"metadata": {"name": "r"}, "rules": []}).status == 201
    assert api.put(path, {"metadata": {"name": "r"}, "rules": []}).status == 200


def test_lease_needs_rv(api, ns):
    path = f"/apis/coordination.k8s.io/v1/namespaces/{ns}/leases"
    body = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}
    api.ok("POST", path, body)
    s = status(api.put(path + "/l", body), 422, "Invalid")
    assert "metadata.resourceVersion: Invalid value: 0: must be specified for an update" in s["message"]


def test_patches(api, ns):
    api.ok("POST", cms(ns), CM)
    assert api.patch(cms(ns, "cm"), {"data": {"b": "1"}}).json["data"] == {"a": "b", "b": "1"}
    assert api.patch(cms(ns, "cm"), {"data": {"b": None}}).json["data"] == {"a": "b"}
    ops = [{"op": "test", "path": "/data/a", "value": "b"},
           {"op": "add", "path": "/data/c", "value": "3"}]
    assert api.patch(cms(ns, "cm"), ops, "json").json["data"] == {"a": "b", "c": "3"}
    assert api.patch(cms(ns, "cm"), {"metadata": {"labels": {"x": "y"}}},
                     "strategic-merge").json["metadata"]["labels"] == {"x": "y"}


def test_bad_patches(api, ns):
    api.ok("POST", cms(ns), CM)
    rejected = "the server rejected our request due to an error in our request"
    status(api.patch(cms(ns, "cm"), [{"op": "test", "path": "/data/a", "value": "z"}], "json"), 422,
           "Invalid", rejected, {})
    status(api.patch(cms(ns, "cm"), [{"op": "remove", "path": "/data/nope/x"}], "json"), 422,
           "Invalid", rejected, {})
    status(api.patch(cms(ns, "cm"), {}, "json"), 400, "BadRequest",
           "error decoding patch: json: cannot unmarshal object into Go value of type "
           "[]handlers.jsonPatchOp")
    status(api.patch(cms(ns, "cm"), [{}] * 10001, "json"), 413, "RequestEntityTooLarge")
    status(api.patch(cms(ns, "cm"), {"metadata": {"name": "cm2"}}), 400, "BadRequest",
           "the name of the object (cm2) does not match the name on the URL (cm)")
    status(api.patch(cms(ns, "cm"), {"metadata": {"resourceVersion": "1"}}), 409, "Conflict")
    s = status(api.patch(cms(ns, "cm"), {"data": {"a": {}}}), 422, "Invalid")
    assert s["message"].startswith(' "" is invalid: patch: Invalid value: ')
    status(api.patch(cms(ns, "cm") + "?fieldValidation=Strict", {"zz": 1}), 422, "Invalid")


def test_strategic_lists(api, ns):
    api.ok("POST", pods(ns), pod())
    o = api.patch(pods(ns, "p"), {"spec": {"containers": [{"name": "c", "image": "new:1"}]}},
                  "strategic-merge").json
    assert [c["image"] for c in o["spec"]["containers"]] == ["new:1"]
    assert o["spec"]["containers"][0]["terminationMessagePath"] == "/dev/termination-log"


def test_concurrent_patches(api, ns):
    api.ok("POST", cms(ns), {"metadata": {"name": "cm"}, "data": {}})

    def work(i):
        for k in range(10):
            assert api.patch(cms(ns, "cm"), {"data": {f"k{i}-{k}": "v"}}).status == 200

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(api.ok("GET", cms(ns, "cm"))["data"]) == 40
