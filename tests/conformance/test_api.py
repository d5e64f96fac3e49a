# SPDX-License-Identifier: Apache-2.0
"""What the API server answers, row by row, as upstream words it."""
import base64
import json
import threading
import time

import pytest

from conftest import Server

CM = {"metadata": {"name": "cm"}, "data": {"a": "b"}}
MODIFIED = ("the object has been modified; please apply your changes to the latest version and try "
            "again")


def cms(ns, name=""):
    return f"/api/v1/namespaces/{ns}/configmaps" + (f"/{name}" if name else "")


def pod(name="p", **spec):
    return {"metadata": {"name": name},
            "spec": {"containers": [{"name": "c", "image": "busybox:1.36"}], **spec}}


def pods(ns, name="", sub=""):
    return f"/api/v1/namespaces/{ns}/pods" + (f"/{name}" if name else "") + (f"/{sub}" if sub else "")


def status(r, code, reason, message=None, details=None):
    assert r.status == code, r.body
    s = r.json
    assert s["kind"] == "Status" and s["apiVersion"] == "v1" and s["metadata"] == {}
    assert s["status"] == "Failure" and s["code"] == code
    assert s.get("reason", "") == reason, s
    if message is not None:
        assert s["message"] == message
    if details is not None:
        assert {k: v for k, v in s["details"].items() if k != "causes"} == details
    return s


# ---- paths

def test_unknown_paths(api):
    assert api.get("/api/v1//pods").status == 404
    for path in ("/foo", "/apis/nope.example.com/v1/things"):
        r = api.get(path)
        assert (r.status, r.body) == (404, b"404 page not found\n"), path
    for path in ("/api/v1/nope", "/apis/apps/v9/replicasets", "/apis/apps/v1/nope",
                 "/api/v1/pods/foo"):
        status(api.get(path), 404, "NotFound", "the server could not find the requested resource", {})


def test_wrong_methods(api):
    text = "the server does not allow this method on the requested resource"
    for method, path in (("POST", "/api/v1/pods"), ("DELETE", "/api/v1/namespaces"),
                         ("OPTIONS", "/api/v1/nodes"), ("PUT", "/api/v1/namespaces/default/pods"),
                         ("POST", "/api/v1/namespaces/default/pods/x"),
                         ("GET", "/api/v1/namespaces/default/pods/x/binding")):
        status(api.request(method, path), 405, "MethodNotAllowed", text, {})


def test_not_found(api, ns):
    status(api.get(cms(ns, "x")), 404, "NotFound", 'configmaps "x" not found',
           {"name": "x", "kind": "configmaps"})
    status(api.get(f"/apis/apps/v1/namespaces/{ns}/replicasets/x"), 404, "NotFound",
           'replicasets.apps "x" not found', {"name": "x", "group": "apps", "kind": "replicasets"})
    status(api.delete(cms(ns, "x")), 404, "NotFound", 'configmaps "x" not found')
    status(api.patch(cms(ns, "x"), {}), 404, "NotFound", 'configmaps "x" not found')
    assert api.get("/api/v1/namespaces/nons/configmaps").json["items"] == []
    status(api.post("/api/v1/namespaces/nons/configmaps", CM), 404, "NotFound",
           'namespaces "nons" not found', {"name": "nons", "kind": "namespaces"})


def test_trailing_slash(api):
    assert api.get("/api/v1/namespaces/").json["kind"] == "NamespaceList"


def test_headers(api):
    r = api.get("/api/v1/namespaces/default")
    assert r.headers["Cache-Control"] == "no-cache, private"
    assert len(r.headers["Audit-Id"]) == 36
    assert r.headers["Content-Type"] == "application/json"
    assert r.body.endswith(b"}\n") and b"\n" not in r.body[:-1]
    assert b"\n  " in api.get("/api/v1/namespaces/default?pretty=1").body
    assert b"\n  " in api.get("/api/v1/namespaces/default", headers={"User-Agent": "curl/8"}).body


# ---- create

def test_create(api, ns):
    r = api.post(cms(ns), CM)
    assert r.status == 201
    o = r.json
    assert (o["kind"], o["apiVersion"], o["data"]) == ("ConfigMap", "v1", {"a": "b"})
    m = o["metadata"]
    assert m["namespace"] == ns and len(m["uid"]) == 36 and int(m["resourceVersion"]) > 0
    assert time.strptime(m["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ")
    assert "selfLink" not in m and "generation" not in m
    status(api.post(cms(ns), CM), 409, "AlreadyExists", 'configmaps "cm" already exists',
           {"name": "cm", "kind": "configmaps"})


def test_create_ignores_what_the_server_sets(api, ns):
    m = api.ok("POST", cms(ns), {"metadata": {
        "name": "x", "uid": "1", "creationTimestamp": "2001-01-01T00:00:00Z", "selfLink": "/x",
        "deletionTimestamp": "2001-01-01T00:00:00Z"}})["metadata"]
    assert m["uid"] != "1" and not m["creationTimestamp"].startswith("2001")
    assert "deletionTimestamp" not in m


BAD_CREATES = [
    ("wrong namespace", {"metadata": {"name": "x", "namespace": "other"}}, 400, "BadRequest",
     "the namespace of the provided object does not match the namespace sent on the request"),
    ("resourceVersion", {"metadata": {"name": "x", "resourceVersion": "1"}}, 500, "",
     "resourceVersion should not be set on objects to be created"),
    ("no name", {"metadata": {}}, 422, "Invalid",
     'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'),
    ("wrong type", {"metadata": {"name": "x"}, "data": 1}, 400, "BadRequest",
     'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number '
     "into Go struct field ConfigMap.data of type map[string]string"),
    ("member type", {"metadata": {"name": "x"}, "data": {"a": 1}}, 400, "BadRequest",
     'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number '
     "into Go struct field ConfigMap.data of type string"),
    ("two controllers", {"metadata": {"name": "x", "ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": n, "uid": n, "controller": True}
        for n in "ab"]}}, 422, "Invalid", None),
]


@pytest.mark.parametrize("row", BAD_CREATES, ids=[r[0] for r in BAD_CREATES])
def test_bad_create(api, ns, row):
    _, body, code, reason, message = row
    status(api.post(cms(ns), body), code, reason, message)


def test_wrong_kind(api, ns):
    s = status(api.post(cms(ns), {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "x"}}),
               400, "BadRequest")
    assert s["message"].startswith(
        'Secret in version "v1" cannot be handled as a ConfigMap: ')
    s = status(api.post(cms(ns), {"kind": "ConfigMap", "apiVersion": "apps/v1",
                                  "metadata": {"name": "x"}}), 400, "BadRequest")
    assert 'no kind "ConfigMap" is registered for version "apps/v1"' in s["message"]


def test_malformed_body(api, ns):
    for body in ("{", "[]", "", "nonsense"):
        s = status(api.post(cms(ns), body, headers={"Content-Type": "application/json"}), 400,
                   "BadRequest")
        assert s["message"].startswith(
            "the object provided is unrecognized (must be of type ConfigMap): couldn't get "
            "version/kind; json parse error: "), s


def test_unknown_media_types(api, ns):
    s = status(api.post(cms(ns), "{}", headers={"Content-Type": "text/plain"}), 415,
               "UnsupportedMediaType")
    assert s["message"].startswith(
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml")
    status(api.request("PATCH", cms(ns, "x"), "{}", headers={"Content-Type": "application/json"}),
           415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    status(api.get(cms(ns), headers={"Accept": "text/html"}), 406, "NotAcceptable")
    status(api.get(cms(ns), headers={"Accept": "application/*"}), 406, "NotAcceptable")


def test_body_limit(api, ns):
    body = json.dumps({"metadata": {"name": "x"}, "data": {"a": "x" * 3145728}})
    status(api.post(cms(ns), body, headers={"Content-Type": "application/json"}), 413,
           "RequestEntityTooLarge", "Request entity too large: limit is 3145728")


def test_big_values(api, ns):
    s = status(api.post(cms(ns), {"metadata": {"name": "x"}, "data": {"a": "x" * 1048577}}), 422,
               "Invalid")
    assert "Too long: may not be more than 1048576 bytes" in s["message"]
    s = status(api.post(cms(ns), {"metadata": {"name": "x", "annotations": {"a": "x" * 262144}}}),
               422, "Invalid")
    assert s["message"] == ('ConfigMap "x" is invalid: metadata.annotations: Too long: may not be '
                            "more than 262144 bytes")


def test_names(api, ns):
    s = status(api.post(cms(ns), {"metadata": {"name": "A_b"}}), 422, "Invalid", None,
               {"name": "A_b", "kind": "ConfigMap"})
    c = s["details"]["causes"][0]
    assert (c["field"], c["reason"]) == ("metadata.name", "FieldValueInvalid")
    assert c["message"].startswith(
        'Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case')
    s = status(api.post("/api/v1/namespaces", {"metadata": {"name": "a.b"}}), 422, "Invalid")
    assert s["message"].endswith("must not contain dots")
    s = status(api.post(f"/api/v1/namespaces/{ns}/services",
                        {"metadata": {"name": "a.b"}, "spec": {"ports": [{"port": 1}]}}), 422,
               "Invalid")
    assert s["message"].endswith("must not contain dots")


def test_labels(api, ns):
    s = status(api.post(cms(ns), {"metadata": {"name": "x", "labels": {"-a": "b", "c": "-"}}}), 422,
               "Invalid")
    assert [c["field"] for c in s["details"]["causes"]] == ["metadata.labels"] * 2
    assert s["message"].startswith('ConfigMap "x" is invalid: [metadata.labels: Invalid value: ')


def test_generate_name(api, ns):
    names = {api.ok("POST", cms(ns), {"metadata": {"generateName": "g-"}})["metadata"]["name"]
             for _ in range(5)}
    assert len(names) == 5
    for n in names:
        assert n.startswith("g-") and len(n) == 7
        assert set(n[2:]) <= set("bcdfghjklmnpqrstvwxz2456789")
    long = api.ok("POST", cms(ns), {"metadata": {"generateName": "x" * 70}})["metadata"]["name"]
    assert len(long) == 63


def test_dry_run(api, ns):
    o = api.ok("POST", cms(ns) + "?dryRun=All", CM)
    assert "resourceVersion" not in o["metadata"] and o["metadata"]["uid"]
    assert api.get(cms(ns, "cm")).status == 404
    s = status(api.post(cms(ns) + "?dryRun=foo", CM), 422, "Invalid",
               'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["foo"]: '
               'supported values: "All"')
    assert s["details"]["kind"] == "CreateOptions"
    api.ok("POST", cms(ns), CM)
    api.ok("DELETE", cms(ns, "cm") + "?dryRun=All")
    o = api.ok("PATCH", cms(ns, "cm") + "?dryRun=All", {"data": {"a": "z"}},
               headers={"Content-Type": "application/merge-patch+json"})
    assert o["data"]["a"] == "z"
    assert api.ok("GET", cms(ns, "cm"))["data"]["a"] == "b"


def test_yaml_body(api, ns):
    o = api.ok("POST", cms(ns), "metadata:\n  name: cm\ndata:\n  a: 'yes'\n",
               headers={"Content-Type": "application/yaml"})
    assert o["data"] == {"a": "yes"}
    r = api.get(cms(ns, "cm"), headers={"Accept": "application/yaml"})
    assert r.headers["Content-Type"] == "application/yaml" and b"kind: ConfigMap" in r.body


def test_protobuf_body(api, ns):
    def field(n, data):
        return bytes([n << 3 | 2, len(data)]) + data

    meta = field(1, b"pb") + field(2, b"") + field(8, b"")
    data = field(2, field(1, b"k") + field(2, b"v"))
    raw = field(1, meta) + data
    body = b"k8s\0" + field(1, field(1, b"v1") + field(2, b"ConfigMap")) + field(2, raw) + \
        field(3, b"") + field(4, b"")
    h = {"Content-Type": "application/vnd.kubernetes.protobuf",
         "Accept": "application/vnd.kubernetes.protobuf,application/json"}
    r = api.post(cms(ns), body, headers=h)
    assert r.status == 201, r.body
    assert r.json["data"] == {"k": "v"}
    status(api.post(cms(ns), b"nonsense", headers=h), 400, "BadRequest")
    for cut in range(4, len(body)):
        assert api.post(cms(ns), body[:cut], headers=h).status in (400, 409, 422)


def test_unknown_fields(api, ns):
    body = {"metadata": {"name": "u", "foo": 1}, "zz": 1}
    r = api.post(cms(ns) + "?fieldValidation=Strict", body)
    status(r, 400, "BadRequest",
           'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: '
           'unknown field "metadata.foo", unknown field "zz"')
    r = api.post(cms(ns), body)
    assert r.status == 201
    assert sorted(r.warnings) == ['unknown field "metadata.foo"', 'unknown field "zz"']
    assert "zz" not in r.json
    r = api.post(cms(ns) + "?fieldValidation=Ignore", {"metadata": {"name": "i"}, "zz": 1})
    assert r.status == 201 and not r.warnings
    dup = '{"metadata":{"name":"d"},"data":{"a":"1","a":"2"}}'
    r = api.post(cms(ns) + "?fieldValidation=Strict", dup,
                 headers={"Content-Type": "application/json"})
    assert 'duplicate field "data.a"' in status(r, 400, "BadRequest")["message"]
    r = api.post(cms(ns), dup, headers={"Content-Type": "application/json"})
    assert r.warnings == ['duplicate field "data.a"'] and r.json["data"] == {"a": "2"}
    status(api.post(cms(ns) + "?fieldValidation=foo", body), 422, "Invalid",
           'CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "foo": '
           'supported values: "", "Ignore", "Strict", "Warn"')


def test_field_manager(api, ns):
    s = status(api.post(cms(ns) + "?fieldManager=" + "x" * 129, CM), 422, "Invalid")
    assert s["message"].endswith("fieldManager: Too long: may not be more than 128 bytes")


def test_timeout_parameter(api, ns):
    status(api.get(cms(ns) + "?timeout=1x"), 400, "BadRequest",
           'invalid timeout specified in the request URL - time: unknown unit "x" in duration "1x"')
    assert api.get(cms(ns) + "?timeout=5s").status == 200


# ---- update

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


# ---- patch

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


# ---- delete

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


# ---- list

def test_list_shape(api, ns):
    api.ok("POST", cms(ns), CM)
    l = api.ok("GET", cms(ns))
    assert (l["kind"], l["apiVersion"]) == ("ConfigMapList", "v1")
    assert "kind" not in l["items"][0] and "continue" not in l["metadata"]
    assert int(l["metadata"]["resourceVersion"]) >= int(l["items"][0]["metadata"]["resourceVersion"])
    assert api.ok("GET", f"/api/v1/namespaces/{ns}/secrets")["items"] == []


def test_paging(api, ns):
    for i in range(7):
        api.ok("POST", cms(ns), {"metadata": {"name": f"c{i}"}})
    page = api.ok("GET", cms(ns) + "?limit=3")
    rv = page["metadata"]["resourceVersion"]
    assert [i["metadata"]["name"] for i in page["items"]] == ["c0", "c1", "c2"]
    assert page["metadata"]["remainingItemCount"] == 4
    api.ok("POST", cms(ns), {"metadata": {"name": "c33"}})
    api.ok("DELETE", cms(ns, "c4"))
    page = api.ok("GET", cms(ns) + "?limit=3&continue=" + page["metadata"]["continue"])
    assert [i["metadata"]["name"] for i in page["items"]] == ["c3", "c4", "c5"]
    assert page["metadata"]["resourceVersion"] == rv
    page = api.ok("GET", cms(ns) + "?limit=3&continue=" + page["metadata"]["continue"])
    assert [i["metadata"]["name"] for i in page["items"]] == ["c6"]
    assert "continue" not in page["metadata"]
    assert len(api.ok("GET", cms(ns) + "?limit=3&resourceVersion=0")["items"]) == 7


BAD_LISTS = [
    ("continue=x!", 400, "BadRequest", "invalid continue token: "),
    ("continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhXHUwMDAwIn0&resourceVersion=5", 400, "BadRequest",
     "specifying resource version is not allowed when using continue"),
    ("resourceVersion=abc", 400, "BadRequest",
     'invalid resource version: resourceVersion: Invalid value: "abc": '),
    ("resourceVersionMatch=Exact", 422, "Invalid",
     'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch '
     "is forbidden unless resourceVersion is provided"),
    ("resourceVersion=0&resourceVersionMatch=Exact", 422, "Invalid", None),
    ("resourceVersion=1&resourceVersionMatch=Foo", 422, "Invalid", None),
    ("sendInitialEvents=true", 422, "Invalid", None),
    ("labelSelector=a%20in%20(", 400, "BadRequest", "unable to parse requirement: "),
    ("fieldSelector=xx", 400, "BadRequest", "invalid selector: 'xx'; can't understand 'xx'"),
    ("fieldSelector=data.a%3Db", 400, "BadRequest",
     '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"'),
    ("watch=1&sendInitialEvents=true", 422, "Invalid",
     'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents '
     "requires setting resourceVersionMatch to NotOlderThan"),
    ("watch=1&resourceVersionMatch=NotOlderThan", 422, "Invalid", None),
    ("watch=1&resourceVersion=abc", 500, "", None),
]


@pytest.mark.parametrize("row", BAD_LISTS, ids=[r[0] for r in BAD_LISTS])
def test_bad_list(api, ns, row):
    query, code, reason, message = row
    s = status(api.get(cms(ns) + "?" + query), code, reason)
    if message:
        assert s["message"].startswith(message), s


def test_future_resource_version(api, ns):
    s = status(api.get(cms(ns) + "?resourceVersion=99999999"), 504, "Timeout")
    assert s["message"].startswith("Timeout: Too large resource version: 99999999, current: ")
    assert s["details"]["causes"] == [{"reason": "ResourceVersionTooLarge",
                                       "message": "Too large resource version"}]
    assert s["details"]["retryAfterSeconds"] == 1


def test_exact_list(api, ns):
    api.ok("POST", cms(ns), CM)
    rv = api.ok("GET", cms(ns))["metadata"]["resourceVersion"]
    api.ok("DELETE", cms(ns, "cm"))
    old = api.ok("GET", cms(ns) + f"?resourceVersion={rv}&resourceVersionMatch=Exact")
    assert len(old["items"]) == 1 and old["metadata"]["resourceVersion"] == rv
    assert api.ok("GET", cms(ns) + f"?resourceVersion={rv}")["items"] == []


SELECTORS = [("a=1", {"x"}), ("a==1", {"x"}), ("a!=1", {"y", "z"}), ("a in (1,2)", {"x", "y"}),
             ("a notin (1)", {"y", "z"}), ("a", {"x", "y"}), ("!a", {"z"}), ("a>1", {"y"}),
             ("a=1,b", set()), ("a=", set())]


def test_label_selectors(api, ns):
    from urllib.parse import quote

    for name, labels in (("x", {"a": "1"}), ("y", {"a": "2"}), ("z", {"b": "1"})):
        api.ok("POST", cms(ns), {"metadata": {"name": name, "labels": labels}})
    for text, want in SELECTORS:
        got = {i["metadata"]["name"] for i in
               api.ok("GET", cms(ns) + "?labelSelector=" + quote(text))["items"]}
        assert got == want, text


def test_field_selectors(api, ns):
    for n in "ab":
        api.ok("POST", pods(ns), pod(n))
    api.ok("POST", pods(ns, "a", "binding"), {"target": {"kind": "Node", "name": "n1"}})
    for text, want in (("spec.nodeName=n1", ["a"]), ("spec.nodeName=", ["b"]),
                       ("spec.nodeName!=n1", ["b"]), ("metadata.name=b", ["b"]),
                       ("status.phase=Pending", ["a", "b"]), ("status.phase!=Pending", []),
                       ("spec.restartPolicy=Always,metadata.name=a", ["a"])):
        got = [i["metadata"]["name"] for i in api.ok("GET", pods(ns) + "?fieldSelector=" + text)["items"]]
        assert got == want, text
    status(api.get(pods(ns) + "?fieldSelector=spec.foo%3D1"), 400, "BadRequest",
           "field label not supported: spec.foo")


def test_table(api, ns):
    api.ok("POST", cms(ns), CM)
    accept = ("application/json;as=Table;v=v1;g=meta.k8s.io,"
              "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json")
    t = api.ok("GET", cms(ns), headers={"Accept": accept})
    assert (t["kind"], t["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [c["name"] for c in t["columnDefinitions"]] == ["Name", "Data", "Age"]
    row = t["rows"][0]
    assert row["cells"][:2] == ["cm", 1]
    assert row["object"]["kind"] == "PartialObjectMetadata" and "data" not in row["object"]
    t = api.ok("GET", cms(ns, "cm") + "?includeObject=Object", headers={"Accept": accept})
    assert t["rows"][0]["object"]["data"] == {"a": "b"}
    t = api.ok("GET", cms(ns, "cm") + "?includeObject=None", headers={"Accept": accept})
    assert t["rows"][0]["object"] is None
    status(api.get(cms(ns) + "?includeObject=Foo", headers={"Accept": accept}), 400, "BadRequest")
    only = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    r = api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                 {"spec": {"nonResourceAttributes": {"verb": "get", "path": "/"}}}, headers=only)
    assert r.status == 406


def test_partial_metadata(api, ns):
    api.ok("POST", cms(ns), CM)
    one = {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
    many = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    o = api.ok("GET", cms(ns, "cm"), headers=one)
    assert set(o) == {"kind", "apiVersion", "metadata"} and o["kind"] == "PartialObjectMetadata"
    l = api.ok("GET", cms(ns), headers=many)
    assert l["kind"] == "PartialObjectMetadataList"
    assert l["items"][0]["metadata"]["name"] == "cm"
    status(api.get(cms(ns), headers=one), 406, "NotAcceptable")
    status(api.get(cms(ns, "cm"), headers=many), 406, "NotAcceptable")


# ---- watch

def watch(api, ns, query=""):
    return api.watch(cms(ns) + "?watch=1" + query)


def test_watch(api, ns):
    rv = api.ok("GET", cms(ns))["metadata"]["resourceVersion"]
    with watch(api, ns, f"&resourceVersion={rv}") as w:
        api.ok("POST", cms(ns), CM)
        api.patch(cms(ns, "cm"), {"data": {"a": "c"}})
        api.patch(cms(ns, "cm"), {"data": {"a": "c"}})
        api.delete(cms(ns, "cm"))
        events = w.take(3)
        assert [e["type"] for e in events] == ["ADDED", "MODIFIED", "DELETED"]
        assert all(e["object"]["kind"] == "ConfigMap" for e in events)
        rvs = [int(e["object"]["metadata"]["resourceVersion"]) for e in events]
        assert rvs == sorted(set(rvs))
    with watch(api, ns, f"&resourceVersion={rvs[0]}") as w:
        assert [e["type"] for e in w.take(2)] == ["MODIFIED", "DELETED"]


def test_watch_initial(api, ns):
    api.ok("POST", cms(ns), CM)
    for query in ("", "&resourceVersion=0"):
        with watch(api, ns, query) as w:
            assert w.next()["type"] == "ADDED"
            api.patch(cms(ns, "cm"), {"data": {"z": query or "x"}})
            assert w.next()["type"] == "MODIFIED"


def test_watch_list(api, ns):
    for i in range(3):
        api.ok("POST", cms(ns), {"metadata": {"name": f"c{i}"}})
    q = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    with watch(api, ns, q) as w:
        events = w.until("BOOKMARK")
        assert [e["type"] for e in events[:-1]] == ["ADDED"] * 3
        mark = events[-1]["object"]
        assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert mark["kind"] == "ConfigMap" and int(mark["metadata"]["resourceVersion"]) > 0
        api.ok("POST", cms(ns), CM)
        assert w.next()["type"] == "ADDED"


def test_watch_selector(api, ns):
    rv = api.ok("GET", cms(ns))["metadata"]["resourceVersion"]
    with watch(api, ns, f"&labelSelector=a%3D1&resourceVersion={rv}") as w:
        api.ok("POST", cms(ns), {"metadata": {"name": "x"}})
        api.patch(cms(ns, "x"), {"metadata": {"labels": {"a": "1"}}})
        api.patch(cms(ns, "x"), {"data": {"k": "v"}})
        out = api.patch(cms(ns, "x"), {"metadata": {"labels": {"a": "2"}}}).json
        events = w.take(3)
        assert [e["type"] for e in events] == ["ADDED", "MODIFIED", "DELETED"]
        last = events[2]["object"]["metadata"]
        assert last["labels"] == {"a": "1"}
        assert last["resourceVersion"] == out["metadata"]["resourceVersion"]


def test_watch_one_name(api, ns):
    with watch(api, ns, "&fieldSelector=metadata.name%3Db") as w:
        for n in "abc":
            api.ok("POST", cms(ns), {"metadata": {"name": n}})
        assert w.next()["object"]["metadata"]["name"] == "b"


def test_watch_timeout(api, ns):
    with watch(api, ns, "&timeoutSeconds=1&allowWatchBookmarks=true") as w:
        start = time.monotonic()
        while w.next():
            pass
        assert 0.5 < time.monotonic() - start < 4


def test_watch_table(api, ns):
    h = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    with api.watch(cms(ns) + "?watch=1", headers=h) as w:
        api.ok("POST", cms(ns), CM)
        e = w.next()
        assert e["object"]["kind"] == "Table" and e["object"]["rows"][0]["cells"][0] == "cm"


def test_watchers_see_the_same_order(api, ns):
    watches = [watch(api, ns) for _ in range(4)]
    threads = [threading.Thread(target=lambda i=i: [
        api.ok("POST", cms(ns), {"metadata": {"name": f"c{i}-{k}"}}) for k in range(10)])
        for i in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    orders = [[e["object"]["metadata"]["resourceVersion"] for e in w.take(30)] for w in watches]
    [w.close() for w in watches]
    assert all(o == orders[0] for o in orders)
    assert orders[0] == sorted(orders[0], key=int)


def test_slow_watcher(api, ns):
    """A watcher that does not read neither stops the others nor loses anything."""
    slow = watch(api, ns)
    n, size = 60, 200000
    for i in range(n):
        api.ok("POST", cms(ns), {"metadata": {"name": f"c{i}"}, "data": {"a": "x" * size}})
    names = [slow.next()["object"]["metadata"]["name"] for _ in range(n)]
    slow.close()
    assert names == [f"c{i}" for i in range(n)]


# ---- namespaces

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


# ---- pods

def test_pod_defaults(api, ns):
    o = api.ok("POST", pods(ns), pod())
    s, c = o["spec"], o["spec"]["containers"][0]
    assert (s["restartPolicy"], s["dnsPolicy"], s["schedulerName"]) == \
        ("Always", "ClusterFirst", "default-scheduler")
    assert s["terminationGracePeriodSeconds"] == 30 and s["securityContext"] == {}
    assert s["serviceAccountName"] == "default" and s["priority"] == 0
    assert c["imagePullPolicy"] == "IfNotPresent" and c["resources"] == {}
    assert o["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert o["metadata"]["generation"] == 1
    assert {t["key"] for t in s["tolerations"]} == {"node.kubernetes.io/not-ready",
                                                    "node.kubernetes.io/unreachable"}
    v = s["volumes"][0]
    assert v["name"].startswith("kube-api-access-")
    assert [list(x)[0] for x in v["projected"]["sources"]] == ["serviceAccountToken", "configMap",
                                                               "downwardAPI"]
    assert c["volumeMounts"][0]["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"


def container(**kw):
    return {"containers": [{"name": "c", "image": "x", **kw}]}


BAD_PODS = [
    ("no containers", {"containers": []}, "spec.containers", "FieldValueRequired"),
    ("no image", {"containers": [{"name": "c"}]}, "spec.containers[0].image", "FieldValueRequired"),
    ("bad name", {"containers": [{"name": "C", "image": "x"}]}, "spec.containers[0].name",
     "FieldValueInvalid"),
    ("same name", {"containers": [{"name": "c", "image": "x"}] * 2}, "spec.containers[1].name",
     "FieldValueDuplicate"),
    ("restartPolicy", container() | {"restartPolicy": "Foo"}, "spec.restartPolicy",
     "FieldValueNotSupported"),
    ("requests over limits",
     container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
     "spec.containers[0].resources.requests", "FieldValueInvalid"),
    ("unknown volume", container(volumeMounts=[{"name": "v", "mountPath": "/v"}]),
     "spec.containers[0].volumeMounts[0].name", "FieldValueNotFound"),
    ("port", container(ports=[{"containerPort": 70000}]),
     "spec.containers[0].ports[0].containerPort", "FieldValueInvalid"),
    ("two volume types", container() | {"volumes": [
        {"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]}, "spec.volumes[0].hostPath",
     "FieldValueForbidden"),
    ("probe", container(livenessProbe={"periodSeconds": 1}), "spec.containers[0].livenessProbe",
     "FieldValueRequired"),
]


@pytest.mark.parametrize("row", BAD_PODS, ids=[r[0] for r in BAD_PODS])
def test_bad_pod(api, ns, row):
    _, spec, field, reason = row
    s = status(api.post(pods(ns), {"metadata": {"name": "p"}, "spec": spec}), 422, "Invalid", None,
               {"name": "p", "kind": "Pod"})
    assert (field, reason) in [(c["field"], c["reason"]) for c in s["details"]["causes"]], s
    assert s["message"].startswith('Pod "p" is invalid: ')


def test_request_over_limit_text(api, ns):
    s = status(api.post(pods(ns), pod(**container(
        resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}))), 422, "Invalid",
        'Pod "p" is invalid: spec.containers[0].resources.requests: Invalid value: "2": must be less '
        "than or equal to cpu limit of 1")
    assert len(s["details"]["causes"]) == 1


DENIED_PODS = [
    ({"serviceAccountName": "nope"},
     'error looking up service account {ns}/nope: serviceaccount "nope" not found'),
    ({"priorityClassName": "nope"}, "no PriorityClass with name nope was found"),
    ({"priority": 5}, "the integer value of priority (5) must not be provided in pod spec; priority "
     "admission controller computed 0 from the given PriorityClass name"),
]


@pytest.mark.parametrize("spec, text", DENIED_PODS)
def test_denied_pod(api, ns, spec, text):
    status(api.post(pods(ns), pod(**spec)), 403, "Forbidden",
           f'pods "p" is forbidden: ' + text.format(ns=ns), {"name": "p", "kind": "pods"})


QOS = [({}, "BestEffort"), ({"requests": {"cpu": "1"}}, "Burstable"),
       ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
       ({"requests": {"memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
       ({"requests": {"cpu": "500m"}, "limits": {"cpu": "1", "memory": "1Gi"}}, "Burstable")]


@pytest.mark.parametrize("resources, want", QOS)
def test_qos(api, ns, resources, want):
    o = api.ok("POST", pods(ns), pod(**container(resources=resources)))
    assert o["status"]["qosClass"] == want


def test_priority(api, ns):
    o = api.ok("POST", pods(ns), pod(priorityClassName="system-node-critical"))
    assert o["spec"]["priority"] == 2000001000


def test_pod_immutable(api, ns):
    o = api.ok("POST", pods(ns), pod())
    o["spec"]["hostname"] = "x"
    s = status(api.put(pods(ns, "p"), o), 422, "Invalid")
    assert s["message"].startswith(
        'Pod "p" is invalid: spec: Forbidden: pod updates may not change fields other than '
        "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,")
    o = api.ok("GET", pods(ns, "p"))
    o["spec"]["containers"][0]["image"] = "new:2"
    n = api.ok("PUT", pods(ns, "p"), o)
    assert n["metadata"]["generation"] == 2


def test_status_is_apart(api, ns):
    o = api.ok("POST", pods(ns), pod())
    o["status"]["phase"] = "Running"
    assert api.ok("PUT", pods(ns, "p"), o)["status"]["phase"] == "Pending"
    n = api.ok("PATCH", pods(ns, "p", "status"), {"status": {"phase": "Running"},
                                                  "spec": {"nodeName": "x"}},
               headers={"Content-Type": "application/strategic-merge-patch+json"})
    assert n["status"] == {"phase": "Running", "qosClass": "BestEffort"}
    assert "nodeName" not in n["spec"]
    assert api.ok("GET", pods(ns, "p", "status"))["status"]["phase"] == "Running"


def test_binding(api, ns):
    api.ok("POST", pods(ns), pod())
    b = {"kind": "Binding", "apiVersion": "v1", "metadata": {"name": "p", "annotations": {"x": "y"}},
         "target": {"kind": "Node", "name": "n1"}}
    r = api.post(pods(ns, "p", "binding"), b)
    assert r.status == 201 and r.json["status"] == "Success"
    o = api.ok("GET", pods(ns, "p"))
    assert o["spec"]["nodeName"] == "n1" and o["metadata"]["annotations"] == {"x": "y"}
    c = o["status"]["conditions"][0]
    assert (c["type"], c["status"]) == ("PodScheduled", "True")
    status(api.post(pods(ns, "p", "binding"), b), 409, "Conflict",
           'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n1"')
    api.ok("POST", pods(ns), pod("q"))
    assert api.post(f"/api/v1/namespaces/{ns}/bindings",
                    {"metadata": {"name": "q"}, "target": {"name": "n2"}}).status == 201
    assert api.ok("GET", pods(ns, "q"))["spec"]["nodeName"] == "n2"


def test_graceful_delete(api, ns):
    api.ok("POST", pods(ns), pod())
    assert "deletionTimestamp" in api.ok("DELETE", pods(ns, "p"))["metadata"] or True
    assert api.get(pods(ns, "p")).status == 404
    api.ok("POST", pods(ns), pod())
    api.ok("POST", pods(ns, "p", "binding"), {"target": {"kind": "Node", "name": "n1"}})
    o = api.ok("DELETE", pods(ns, "p"))
    assert o["metadata"]["deletionGracePeriodSeconds"] == 30
    o = api.ok("DELETE", pods(ns, "p"), {"gracePeriodSeconds": 5})
    assert o["metadata"]["deletionGracePeriodSeconds"] == 5
    o = api.ok("DELETE", pods(ns, "p"), {"gracePeriodSeconds": 60})
    assert o["metadata"]["deletionGracePeriodSeconds"] == 5
    uid = o["metadata"]["uid"]
    api.ok("DELETE", pods(ns, "p"), {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})
    assert api.get(pods(ns, "p")).status == 404


def test_eviction(api, ns):
    api.ok("POST", pods(ns), pod())
    e = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    r = api.post(pods(ns, "p", "eviction"), e)
    assert r.status == 201 and api.get(pods(ns, "p")).status == 404
    api.ok("POST", pods(ns), pod())
    e["metadata"]["name"] = "q"
    status(api.post(pods(ns, "p", "eviction"), e), 400, "BadRequest",
           "name in URL does not match name in Eviction object")


def test_pod_streams_without_a_node(api, ns):
    api.ok("POST", pods(ns), pod())
    assert api.get(pods(ns, "p", "log")).status == 204
    up = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}
    status(api.post(pods(ns, "p", "exec?command=ls"), headers=up), 400, "BadRequest",
           "pod p does not have a host assigned")
    status(api.get(pods(ns, "p", "log?container=zz")), 400, "BadRequest",
           "container zz is not valid for pod p")
    s = status(api.get(pods(ns, "p", "log?tailLines=-1")), 422, "Invalid")
    assert "tailLines: Invalid value: -1: must be greater than or equal to 0" in s["message"]
    api.ok("POST", pods(ns), {"metadata": {"name": "mc"}, "spec": {"containers": [
        {"name": n, "image": "x"} for n in "ab"]}})
    status(api.get(pods(ns, "mc", "log")), 400, "BadRequest",
           "a container name must be specified for pod mc, choose one of: [a b]")
    api.ok("POST", pods(ns, "p", "binding"), {"target": {"kind": "Node", "name": "gone"}})
    status(api.get(pods(ns, "p", "log")), 404, "NotFound", 'pods "gone" not found')


# ---- services

def services(ns, name=""):
    return f"/api/v1/namespaces/{ns}/services" + (f"/{name}" if name else "")


def test_service(api, ns):
    o = api.ok("POST", services(ns), {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    s = o["spec"]
    assert s["type"] == "ClusterIP" and s["clusterIPs"] == [s["clusterIP"]]
    assert s["clusterIP"].startswith("10.96.")
    assert s["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert (s["ipFamilies"], s["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
    assert (s["sessionAffinity"], s["internalTrafficPolicy"]) == ("None", "Cluster")
    assert o["status"] == {"loadBalancer": {}}
    body = {"metadata": {"name": "t"}, "spec": {"ports": [{"port": 80}], "clusterIP": s["clusterIP"]}}
    r = status(api.post(services(ns), body), 422, "Invalid")
    assert f"failed to allocate IP {s['clusterIP']}: provided IP is already allocated" in r["message"]
    api.ok("DELETE", services(ns, "s"))
    assert api.ok("POST", services(ns), body)["spec"]["clusterIP"] == s["clusterIP"]


def test_service_rules(api, ns):
    def post(**spec):
        return api.post(services(ns), {"metadata": {"name": "s"}, "spec": spec})

    r = status(post(ports=[{"port": 80}], clusterIP="192.0.2.1"), 422, "Invalid")
    assert "the provided network does not match the current range" in r["message"]
    r = status(post(), 422, "Invalid")
    assert "spec.ports: Required value" in r["message"]
    r = status(post(ports=[{"port": 80}, {"port": 81}]), 422, "Invalid")
    assert [c["field"] for c in r["details"]["causes"]] == ["spec.ports[0].name", "spec.ports[1].name"]
    assert post(clusterIP="None", selector={"a": "b"}).json["spec"]["clusterIPs"] == ["None"]
    r = status(api.patch(services(ns, "s"), {"spec": {"clusterIP": "10.96.0.77"}}), 422, "Invalid")
    assert "may not change once set" in r["message"]


def test_node_ports(api, ns):
    o = api.ok("POST", services(ns), {"metadata": {"name": "n"}, "spec": {
        "type": "NodePort", "ports": [{"port": 80}]}})
    port = o["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767 and o["spec"]["externalTrafficPolicy"] == "Cluster"
    body = {"metadata": {"name": "m"}, "spec": {"type": "NodePort",
                                                "ports": [{"port": 80, "nodePort": port}]}}
    r = status(api.post(services(ns), body), 422, "Invalid")
    assert r["message"] == (f'Service "m" is invalid: spec.ports[0].nodePort: Invalid value: {port}: '
                            "provided port is already allocated")
    api.ok("PATCH", services(ns, "n"), {"spec": {"type": "ClusterIP"}},
           headers={"Content-Type": "application/merge-patch+json"})
    assert api.post(services(ns), body).status == 201
    body["metadata"]["name"] = "o"
    body["spec"]["ports"][0]["nodePort"] = 80
    r = status(api.post(services(ns), body), 422, "Invalid")
    assert "The range of valid ports is 30000-32767" in r["message"]


def test_kubernetes_service(api):
    s = api.ok("GET", services("default", "kubernetes"))
    assert s["spec"]["clusterIP"] == "10.96.0.1" and s["spec"]["ports"][0]["port"] == 443
    e = api.ok("GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
    assert e["endpoints"][0]["addresses"] == ["127.0.0.1"]
    assert e["ports"][0]["port"] == api.port


# ---- other kinds

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


# ---- who may do what

def test_authentication(api):
    status(api.get("/api/v1/nodes", token="nonsense"), 401, "Unauthorized", "Unauthorized")
    status(api.get("/api/v1/nodes", anonymous=True), 403, "Forbidden",
           'nodes is forbidden: User "system:anonymous" cannot list resource "nodes" in API group '
           '"" at the cluster scope', {"kind": "nodes"})
    status(api.get("/metrics", anonymous=True), 403, "Forbidden",
           'forbidden: User "system:anonymous" cannot get path "/metrics"', {})
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert api.get(path, anonymous=True).status == 200
    status(api.get("/healthz", token="nonsense"), 401, "Unauthorized")


def test_forbidden_texts(api, ns):
    def alice(method, path, **kw):
        return api.request(method, path, user="alice", groups=["devs"], **kw)

    status(alice("GET", pods(ns, "p1")), 403, "Forbidden",
           f'pods "p1" is forbidden: User "alice" cannot get resource "pods" in API group "" in the '
           f'namespace "{ns}"', {"name": "p1", "kind": "pods"})
    status(alice("GET", pods(ns, "p1", "log")), 403, "Forbidden",
           f'pods "p1" is forbidden: User "alice" cannot get resource "pods/log" in API group "" in '
           f'the namespace "{ns}"')
    s = status(alice("DELETE", pods(ns)), 403, "Forbidden")
    assert "cannot deletecollection resource" in s["message"]
    s = status(alice("GET", pods(ns) + "?watch=1"), 403, "Forbidden")
    assert "cannot watch resource" in s["message"]


def test_rbac(api, ns):
    base = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}"
    api.ok("POST", base + "/rolebindings", {
        "metadata": {"name": "rb"}, "roleRef": {"kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "name": "alice"}]})
    assert api.get(cms(ns), user="alice").status == 200
    assert api.post(cms(ns), CM, user="alice").status == 403
    assert api.get(f"/api/v1/namespaces/{ns}/secrets", user="alice").status == 403
    assert api.get("/api/v1/namespaces/default/configmaps", user="alice").status == 403
    r = api.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": {
        "user": "alice", "resourceAttributes": {"verb": "get", "resource": "pods",
                                                "namespace": ns}}})
    assert r.status == 201
    assert r.json["status"] == {"allowed": True, "reason":
                                f'RBAC: allowed by RoleBinding "rb/{ns}" of ClusterRole "view" to '
                                'User "alice"'}
    r = api.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
                 {"spec": {"namespace": ns}}, user="alice")
    assert any("configmaps" in x["resources"] for x in r.json["status"]["resourceRules"])
    s = status(api.patch(base + "/rolebindings/rb", {"roleRef": {"name": "edit"}}), 422, "Invalid")
    assert ('roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"ClusterRole",'
            '"Name":"edit"}: cannot change roleRef') in s["message"]


def test_escalation(api, ns):
    base = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}"
    api.ok("POST", base + "/rolebindings", {
        "metadata": {"name": "a"}, "roleRef": {"kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "User", "name": "bob"}]})
    ok = {"metadata": {"name": "ok"}, "rules": [{"apiGroups": [""], "resources": ["pods"],
                                                 "verbs": ["get"]}]}
    assert api.post(base + "/roles", ok, user="bob").status == 201
    bad = {"metadata": {"name": "esc"}, "rules": [{"apiGroups": [""], "resources": ["nodes"],
                                                   "verbs": ["get"]}]}
    s = status(api.post(base + "/roles", bad, user="bob"), 403, "Forbidden")
    assert s["message"] == (
        'roles.rbac.authorization.k8s.io "esc" is forbidden: user "bob" '
        '(groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently '
        'held:\n{APIGroups:[""], Resources:["nodes"], Verbs:["get"]}')


def test_aggregated_role(api):
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    api.ok("POST", path, {"metadata": {"name": "more-view", "labels": {
        "rbac.authorization.k8s.io/aggregate-to-view": "true"}}, "rules": [
        {"apiGroups": ["ex.io"], "resources": ["foos"], "verbs": ["get"]}]})
    deadline = time.monotonic() + 5
    while not any(r["apiGroups"] == ["ex.io"] for r in api.ok("GET", path + "/view")["rules"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    api.ok("DELETE", path + "/more-view")


def token_path(ns, sa="default"):
    return f"/api/v1/namespaces/{ns}/serviceaccounts/{sa}/token"


def test_tokens(api, ns):
    r = api.post(token_path(ns), {"spec": {"expirationSeconds": 600}})
    assert r.status == 201
    t = r.json["status"]["token"]
    claims = json.loads(base64.urlsafe_b64decode(t.split(".")[1] + "=="))
    assert claims["sub"] == f"system:serviceaccount:{ns}:default"
    assert claims["kubernetes.io"]["namespace"] == ns
    me = api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, token=t)
    info = me.json["status"]["userInfo"]
    assert info["username"] == f"system:serviceaccount:{ns}:default"
    assert info["groups"] == ["system:serviceaccounts", f"system:serviceaccounts:{ns}",
                              "system:authenticated"]
    status(api.get(pods(ns), token=t), 403, "Forbidden")
    assert api.get("/openid/v1/jwks", token=t).json["keys"][0]["alg"] == "ES256"
    s = status(api.post(token_path(ns), {"spec": {"expirationSeconds": 5}}), 422, "Invalid")
    assert "may not specify a duration less than 10 minutes" in s["message"]
    status(api.post(token_path(ns, "nope"), {}), 404, "NotFound")
    status(api.get(pods(ns), token=t[:-4] + "AAAA"), 401, "Unauthorized")


def test_bound_tokens(api, ns):
    uid = api.ok("POST", pods(ns), pod())["metadata"]["uid"]
    ref = {"kind": "Pod", "apiVersion": "v1", "name": "p"}
    t = api.post(token_path(ns), {"spec": {"boundObjectRef": ref | {"uid": uid}}}).json["status"]["token"]
    r = api.post("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": t}})
    assert r.status == 201 and r.json["status"]["authenticated"] is True
    assert r.json["status"]["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]
    s = status(api.post(token_path(ns), {"spec": {"boundObjectRef": ref | {"uid": "x"}}}), 409, "Conflict")
    assert "the UID in the bound object reference (x) does not match the UID in record" in s["message"]
    api.ok("DELETE", pods(ns, "p"))
    status(api.post(token_path(ns), {"spec": {"boundObjectRef": ref}}), 404, "NotFound")
    status(api.get("/api", token=t), 401, "Unauthorized")
    r = api.post("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": t}})
    assert r.json["status"]["user"] == {} and "invalid bearer token" in r.json["status"]["error"]
    status(api.post("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {}}), 400, "BadRequest",
           "token is required for TokenReview in authentication")


def test_access_review_errors(api):
    path = "/apis/authorization.k8s.io/v1/"
    s = status(api.post(path + "subjectaccessreviews", {"spec": {"user": "x"}}), 422, "Invalid")
    assert s["message"] == (
        '.authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid value: null: exactly '
        "one of nonResourceAttributes or resourceAttributes must be specified")
    r = api.post(path + "selfsubjectaccessreviews", {"spec": {"resourceAttributes": {
        "verb": "get", "resource": "pods"}}})
    assert r.json["status"] == {"allowed": True}


# ---- health, version

def test_health(api):
    r = api.get("/healthz")
    assert (r.status, r.body) == (200, b"ok")
    assert r.headers["Content-Type"].startswith("text/plain")
    assert r.headers["X-Content-Type-Options"] == "nosniff"
    text = api.get("/livez?verbose").body.decode()
    assert "[+]ping ok\n" in text and text.endswith("livez check passed\n")
    assert "[+]etcd excluded: ok" in api.get("/readyz?verbose&exclude=etcd").body.decode()
    assert 'no matches for "foo"' in api.get("/livez?verbose&exclude=foo").body.decode()
    assert api.get("/livez/ping").body == b"ok"
    assert api.get("/livez/nope").status == 404


def test_version(api):
    v = api.get("/version").json
    assert (v["major"], v["minor"], v["platform"]) == ("1", "36", "linux/amd64")
    d = api.get("/.well-known/openid-configuration").json
    assert d["id_token_signing_alg_values_supported"] == ["ES256"]


# ---- durability

def test_kill_and_restart(fresh):
    for i in range(20):
        assert fresh.post("/api/v1/namespaces/default/configmaps",
                          {"metadata": {"name": f"c{i}"}}).status == 201
    o = fresh.ok("POST", services("default"), {"metadata": {"name": "s"}, "spec": {
        "ports": [{"port": 80}]}})
    rv = int(fresh.ok("GET", cms("default"))["metadata"]["resourceVersion"])
    fresh.kill()
    fresh.start()
    l = fresh.ok("GET", cms("default"))
    assert len(l["items"]) == 20 and int(l["metadata"]["resourceVersion"]) >= rv
    body = {"metadata": {"name": "t"}, "spec": {"ports": [{"port": 80}],
                                                "clusterIP": o["spec"]["clusterIP"]}}
    status(fresh.post(services("default"), body), 422, "Invalid")
    assert fresh.ok("POST", cms("default"), CM)["metadata"]["resourceVersion"] > str(rv)


def test_expired():
    s = Server("--history", "1")
    try:
        for i in range(4):
            s.ok("POST", cms("default"), {"metadata": {"name": f"c{i}"}})
        page = s.ok("GET", cms("default") + "?limit=2")
        rv = page["metadata"]["resourceVersion"]
        token = page["metadata"]["continue"]
        deadline = time.monotonic() + 15
        while True:
            # writes are what lets the store drop the past
            s.patch(cms("default", "c3"), {"data": {"t": str(time.monotonic())}})
            r = s.get(cms("default") + "?limit=2&continue=" + token)
            if r.status != 200:
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        st = r.json
        assert (st["code"], st["reason"]) == (410, "Expired")
        assert st["message"].startswith("The provided continue parameter is too old to display a "
                                        "consistent list result. You can start a new list")
        rest = s.ok("GET", cms("default") + "?continue=" + st["metadata"]["continue"])
        assert [i["metadata"]["name"] for i in rest["items"]] == ["c2", "c3"]
        assert int(rest["metadata"]["resourceVersion"]) > int(rv)
        with s.watch(cms("default") + f"?watch=1&resourceVersion={rv}") as w:
            e = w.next()
            assert w.status == 200 and e["type"] == "ERROR"
            assert (e["object"]["code"], e["object"]["reason"]) == (410, "Expired")
            assert e["object"]["message"].startswith(f"too old resource version: {rv} (")
            assert w.next() is None
        status(s.get(cms("default") + f"?resourceVersion={rv}&resourceVersionMatch=Exact"), 410,
               "Expired")
    finally:
        s.close()


# ---- kubectl

def test_kubectl(api, ns):
    k = api.kubectl
    k("-n", ns, "create", "configmap", "a", "--from-literal=k=v")
    assert "a      1      " in k("-n", ns, "get", "cm").stdout
    k("-n", ns, "create", "secret", "generic", "s", "--from-literal=k=v")
    k("-n", ns, "label", "cm", "a", "x=y")
    k("-n", ns, "annotate", "cm", "a", "x=y")
    manifest = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "app", "namespace": ns}, "data": {"a": "1"}})
    assert "created" in k("apply", "-f", "-", stdin=manifest).stdout
    assert "unchanged" in k("apply", "-f", "-", stdin=manifest).stdout
    assert "configured" in k("apply", "-f", "-", stdin=manifest.replace('"1"', '"2"')).stdout
    assert k("diff", "-f", "-", stdin=manifest, check=False).returncode == 1
    assert "a:" in k("-n", ns, "get", "cm", "app", "-o", "yaml").stdout
    k("-n", ns, "run", "p", "--image=busybox:1.36")
    assert "Pending" in k("-n", ns, "get", "pods", "-o", "wide").stdout
    assert "Name:" in k("-n", ns, "describe", "pod", "p").stdout
    assert "yes" in k("auth", "can-i", "create", "pods").stdout
    assert k("-n", ns, "create", "token", "default").stdout.count(".") == 2
    assert "deleted" in k("-n", ns, "delete", "cm", "a", "app").stdout
    r = k("-n", ns, "get", "cm", "nope", check=False)
    assert r.stderr == 'Error from server (NotFound): configmaps "nope" not found\n'
    r = k("create", "-f", "-", check=False, stdin=manifest.replace('"data"', '"dta"'))
    assert 'unknown field "dta"' in r.stderr
