# SPDX-License-Identifier: Apache-2.0
"""Server-side apply: merging, ownership, conflicts, and the way over from client-side apply."""
import json
import time

import pytest

from samples import CM, cms, pod, pods, status


def apply(api, path, body, manager="m1", force=False, query="", **kw):
    q = f"?fieldManager={manager}" + ("&force=true" if force else "") + query
    return api.request("PATCH", path + q, body if isinstance(body, str) else json.dumps(body),
                       headers={"Content-Type": "application/apply-patch+yaml"}, **kw)


def cm(data=None, **meta):
    o = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"} | meta}
    return o if data is None else o | {"data": data}


def applied(r, code=200):
    assert r.status == code, r.body
    return r.json


def entries(o):
    return {(e["manager"], e["operation"]): e["fieldsV1"] for e in
            o["metadata"].get("managedFields", [])}


def test_creates(api, ns):
    o = applied(apply(api, cms(ns, "cm"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\n"
                      "data:\n  a: b\n"), 201)
    assert o["data"] == {"a": "b"} and o["metadata"]["name"] == "cm"
    e, = o["metadata"]["managedFields"]
    assert e["time"].endswith("Z")
    assert e == {"manager": "m1", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
                 "time": e["time"], "fieldsV1": {"f:data": {"f:a": {}}}}
    assert api.get(cms(ns, "cm")).json == o


def test_again_changes_nothing(api, ns):
    o = applied(apply(api, cms(ns, "cm"), cm({"a": "b"})), 201)
    assert applied(apply(api, cms(ns, "cm"), cm({"a": "b"}))) == o


def test_drops_what_is_not_applied_any_more(api, ns):
    applied(apply(api, cms(ns, "cm"), cm({"a": "1", "b": "1", "c": "1"}, labels={"x": "y"})), 201)
    applied(apply(api, cms(ns, "cm"), cm({"b": "1"}), "m2"))
    o = applied(apply(api, cms(ns, "cm"), cm({"c": "2"})))
    assert o["data"] == {"b": "1", "c": "2"} and "labels" not in o["metadata"]
    assert entries(o) == {("m1", "Apply"): {"f:data": {"f:c": {}}},
                          ("m2", "Apply"): {"f:data": {"f:b": {}}}}
    o = applied(apply(api, cms(ns, "cm"), cm()))
    assert o["data"] == {"b": "1"} and list(entries(o)) == [("m2", "Apply")]


def test_conflicts(api, ns):
    applied(apply(api, cms(ns, "cm"), cm({"a": "1", "b": "1"})), 201)
    s = status(apply(api, cms(ns, "cm"), cm({"a": "2"}), "m2"), 409, "Conflict",
               'Apply failed with 1 conflict: conflict with "m1": .data.a', {})
    assert s["details"] == {"causes": [{"reason": "FieldManagerConflict",
                                        "message": 'conflict with "m1"', "field": ".data.a"}]}
    status(apply(api, cms(ns, "cm"), cm({"a": "2", "b": "2"}), "m2"), 409, "Conflict",
           'Apply failed with 2 conflicts: conflicts with "m1":\n- .data.a\n- .data.b')
    o = applied(apply(api, cms(ns, "cm"), cm({"a": "2"}), "m2", force=True))
    assert o["data"] == {"a": "2", "b": "1"}
    assert entries(o) == {("m1", "Apply"): {"f:data": {"f:b": {}}},
                          ("m2", "Apply"): {"f:data": {"f:a": {}}}}


def test_updates_are_owned_once_it_was_applied(api, ns):
    applied(apply(api, cms(ns, "cm"), cm({"a": "1"})), 201)
    o = api.ok("PATCH", cms(ns, "cm") + "?fieldManager=up", json.dumps({"data": {"a": "2", "n": "1"}}),
               headers={"Content-Type": "application/merge-patch+json"})
    assert entries(o) == {("up", "Update"): {"f:data": {"f:a": {}, "f:n": {}}}}
    status(apply(api, cms(ns, "cm"), cm({"a": "3"})), 409, "Conflict",
           'Apply failed with 1 conflict: conflict with "up" using v1: .data.a')
    # a PUT without managedFields, and the manager from the user agent
    o["metadata"].pop("managedFields")
    o["data"]["n"] = "2"
    o = api.ok("PUT", cms(ns, "cm"), o, headers={"User-Agent": "tool/v1", "Content-Type": "application/json"})
    assert entries(o) == {("up", "Update"): {"f:data": {"f:a": {}}},
                          ("tool", "Update"): {"f:data": {"f:n": {}}}}
    # an update that changes nothing
    assert api.ok("PUT", cms(ns, "cm"), o) == o
    # and the end of it
    o["metadata"]["managedFields"] = []
    assert "managedFields" not in api.ok("PUT", cms(ns, "cm"), o)["metadata"]


def test_untracked_objects_get_before_first_apply(api, ns):
    o = api.ok("POST", cms(ns), CM | {"data": {"a": "1"}})
    assert entries(o) == {("unknown", "Update"): {"f:data": {".": {}, "f:a": {}}}}
    o["metadata"]["managedFields"] = []
    assert "managedFields" not in api.ok("PUT", cms(ns, "cm"), o)["metadata"]
    o = applied(apply(api, cms(ns, "cm"), cm({"b": "1"})))
    assert entries(o) == {("m1", "Apply"): {"f:data": {"f:b": {}}},
                          ("before-first-apply", "Update"): {"f:data": {".": {}, "f:a": {}}}}
    status(apply(api, cms(ns, "cm"), cm({"a": "2"})), 409, "Conflict",
           'Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.a')


def test_many_updaters_are_capped(api, ns):
    applied(apply(api, cms(ns, "cm"), cm({"a": "1"})), 201)
    for i in range(13):
        o = api.ok("PATCH", cms(ns, "cm") + f"?fieldManager=u{i}", json.dumps({"data": {f"k{i}": ""}}),
                   headers={"Content-Type": "application/merge-patch+json"})
    e = entries(o)
    assert len(e) == 12 and len(e["ancient-changes", "Update"]["f:data"]) == 3


SVC = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}


def test_list_map(api, ns):
    path = f"/api/v1/namespaces/{ns}/services/s"
    http = {"name": "http", "port": 80}
    dns = {"name": "dns", "port": 53, "protocol": "UDP"}
    applied(apply(api, path, SVC | {"spec": {"selector": {"a": "b"}, "ports": [http]}}), 201)
    o = applied(apply(api, path, SVC | {"spec": {"ports": [dns]}}, "m2"))
    assert [p["name"] for p in o["spec"]["ports"]] == ["http", "dns"]
    assert entries(o)["m2", "Apply"] == {"f:spec": {"f:ports": {
        'k:{"port":53,"protocol":"UDP"}': {".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}}}}}
    assert entries(o)["m1", "Apply"]["f:spec"]["f:selector"] == {}
    o = applied(apply(api, path, SVC | {"spec": {"selector": {"a": "b"}}}))
    assert [p["name"] for p in o["spec"]["ports"]] == ["dns"]


def test_template_containers(api, ns):
    path = f"/apis/apps/v1/namespaces/{ns}/replicasets/r"

    def rs(*containers, **spec):
        return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "r"}, "spec": {
            "selector": {"matchLabels": {"a": "b"}}, **spec,
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": list(containers)}}}}

    a, b = ({"name": n, "image": "i:1"} for n in "ab")
    o = applied(apply(api, path, rs(a, b, replicas=0)), 201)
    assert o["metadata"]["generation"] == 1
    o = applied(apply(api, path, {"apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": {
        "template": {"spec": {"containers": [{"name": "b", "env": [{"name": "X", "value": "1"}]}]}}}}, "m2"))
    cs = o["spec"]["template"]["spec"]["containers"]
    assert [c["name"] for c in cs] == ["a", "b"] and cs[1]["env"] == [{"name": "X", "value": "1"}]
    assert o["metadata"]["generation"] == 2
    s = status(apply(api, path, rs(a, b | {"image": "i:2"}, replicas=1), "m3"), 409, "Conflict")
    assert [c["field"] for c in s["details"]["causes"]] == [
        ".spec.replicas", '.spec.template.spec.containers[name="b"].image']
    # the item stays, as it is m2's too: but without an image it is no container
    status(apply(api, path, rs(a, replicas=0)), 422, "Invalid")
    applied(apply(api, path, {"apiVersion": "apps/v1", "kind": "ReplicaSet"}, "m2"))
    o = applied(apply(api, path, rs(a, replicas=0)))
    assert [c["name"] for c in o["spec"]["template"]["spec"]["containers"]] == ["a"]


def test_status(api, ns):
    api.ok("POST", pods(ns), pod("p"))
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {
        "conditions": [{"type": "ex.io/a", "status": "True"}]}}
    o = applied(apply(api, pods(ns, "p", "status"), body))
    assert [c["type"] for c in o["status"]["conditions"]] == ["ex.io/a"]
    e = next(e for e in o["metadata"]["managedFields"] if e["manager"] == "m1")
    assert e["subresource"] == "status"
    assert e["fieldsV1"] == {"f:status": {"f:conditions": {
        'k:{"type":"ex.io/a"}': {".": {}, "f:status": {}, "f:type": {}}}}}
    # a second one beside it
    body["status"]["conditions"][0]["type"] = "ex.io/b"
    o = applied(apply(api, pods(ns, "p", "status"), body, "m2"))
    assert [c["type"] for c in o["status"]["conditions"]] == ["ex.io/a", "ex.io/b"]
    status(apply(api, pods(ns, "none", "status"), body | {"metadata": {}}), 404, "NotFound")


def test_dry_run(api, ns):
    applied(apply(api, cms(ns, "cm"), cm({"a": "1"}), query="&dryRun=All"), 201)
    assert api.get(cms(ns, "cm")).status == 404
    applied(apply(api, cms(ns, "cm"), cm({"a": "1"})), 201)
    assert applied(apply(api, cms(ns, "cm"), cm({"a": "2"}), query="&dryRun=All"))["data"] == {"a": "2"}
    assert api.get(cms(ns, "cm")).json["data"] == {"a": "1"}


DUPS = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata:\n  a: '1'\n  a: '2'\n"


def test_field_validation(api, ns):
    text = 'line 6: key "a" already set in map'
    status(apply(api, cms(ns, "cm"), DUPS, query="&fieldValidation=Strict"), 400, "BadRequest",
           "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  " + text)
    r = apply(api, cms(ns, "cm"), DUPS)
    assert (r.status, r.warnings, r.json["data"]) == (201, [text], {"a": "2"})
    r = apply(api, cms(ns, "cm"), DUPS, query="&fieldValidation=Ignore")
    assert (r.status, r.warnings) == (200, [])
    r = apply(api, cms(ns, "cm"), '{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"2","a":"2"}}')
    assert r.warnings == ['line 1: key "a" already set in map']


BAD = [
    ("kind", cm() | {"kind": "Pod"}, 400, "BadRequest", "invalid object type: /v1, Kind=Pod"),
    ("managedFields", cm(managedFields=[{}]), 400, "BadRequest", "metadata.managedFields must be nil"),
    ("name", cm(name="x"), 400, "BadRequest",
     "the name of the object (x) does not match the name on the URL (cm)"),
    ("unknown", cm() | {"zz": 1}, 500, "",
     "failed to create typed patch object (/cm; /v1, Kind=ConfigMap): .zz: field not declared in schema"),
    ("unknowns", cm() | {"zz": 1, "yy": 1}, 500, "",
     "failed to create typed patch object (/cm; /v1, Kind=ConfigMap): errors:\n"
     "  .zz: field not declared in schema\n  .yy: field not declared in schema"),
    ("uid", cm(uid="1"), 409, "Conflict", 'Operation cannot be fulfilled on configmaps "cm": uid mismatch: '
     "the provided object specified uid 1, and no existing object was found"),
    ("yaml", "a: [", 400, "BadRequest", None),
    ("text", "x", 400, "BadRequest", None),
    ("nothing", "", 400, "BadRequest", None),
    ("metadata", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": 1}, 500, "", None),
]


@pytest.mark.parametrize("row", BAD, ids=[r[0] for r in BAD])
def test_bad_bodies(api, ns, row):
    _, body, code, reason, message = row
    status(apply(api, cms(ns, "cm"), body), code, reason, message)
    assert api.get(cms(ns, "cm")).status == 404


def test_huge_maps(api, ns):
    data = {f"k{i}": "" for i in range(4097)}
    status(apply(api, cms(ns, "cm"), cm(data)), 413, "RequestEntityTooLarge")
    api.ok("POST", cms(ns), CM | {"data": data})
    status(apply(api, cms(ns, "cm"), cm({"a": "b"})), 413, "RequestEntityTooLarge")


def test_bad_options(api, ns):
    status(apply(api, cms(ns, "cm"), cm(), ""), 422, "Invalid",
           'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply '
           "patch")
    status(api.patch(cms(ns, "cm") + "?force=true", {}), 422, "Invalid",
           'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply '
           "patch")


def test_duplicate_keys(api, ns):
    p = pod("p")
    p["spec"]["containers"] *= 2
    s = status(apply(api, pods(ns, "p"), p | {"apiVersion": "v1", "kind": "Pod"}), 500, "")
    assert s["message"].endswith('.spec.containers: duplicate entries for key [name="c"]')


def test_revision_is_a_lock(api, ns):
    rv = applied(apply(api, cms(ns, "cm"), cm({"a": "1"})), 201)["metadata"]["resourceVersion"]
    applied(apply(api, cms(ns, "cm"), cm({"a": "2"}, resourceVersion=rv)))
    status(apply(api, cms(ns, "cm"), cm({"a": "3"}, resourceVersion=rv)), 409, "Conflict")


def test_creating_needs_create(api, ns):
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}"
    api.ok("POST", rbac + "/roles", {"metadata": {"name": "r"}, "rules": [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch", "get"]}]})
    api.ok("POST", rbac + "/rolebindings", {"metadata": {"name": "r"}, "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}]})
    s = status(apply(api, cms(ns, "cm"), cm({"a": "1"}), user="eve"), 403, "Forbidden")
    assert 'cannot create resource "configmaps"' in s["message"]
    applied(apply(api, cms(ns, "cm"), cm({"a": "1"})), 201)
    applied(apply(api, cms(ns, "cm"), cm({"b": "1"}), "m2", user="eve"))


CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
       "metadata": {"name": "lists.apply.io"}, "spec": {
           "group": "apply.io", "scope": "Namespaced", "names": {"plural": "lists", "kind": "List1"},
           "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
               "type": "object", "properties": {"spec": {"type": "object", "properties": {
                   "items": {"type": "array", "x-kubernetes-list-type": "map",
                             "x-kubernetes-list-map-keys": ["id"],
                             "items": {"type": "object", "required": ["id"], "properties": {
                                 "id": {"type": "string"}, "v": {"type": "integer"}}}},
                   "tags": {"type": "array", "x-kubernetes-list-type": "set",
                            "items": {"type": "string"}},
                   "plain": {"type": "array", "items": {"type": "string"}},
                   "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}}}}}]}}


@pytest.fixture(scope="module")
def crd(api):
    api.ok("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
    deadline = time.monotonic() + 10
    while api.get("/apis/apply.io/v1/lists").status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_custom_lists(api, ns, crd):
    path = f"/apis/apply.io/v1/namespaces/{ns}/lists/l"

    def obj(**spec):
        return {"apiVersion": "apply.io/v1", "kind": "List1", "metadata": {"name": "l"}, "spec": spec}

    o = applied(apply(api, path, obj(items=[{"id": "a", "v": 1}], tags=["x"], plain=["p"],
                                     free={"k": {"l": 1}})), 201)
    assert entries(o)["m1", "Apply"] == {"f:spec": {
        "f:items": {'k:{"id":"a"}': {".": {}, "f:id": {}, "f:v": {}}}, "f:tags": {'v:"x"': {}},
        "f:plain": {}, "f:free": {"f:k": {".": {}, "f:l": {}}}}}
    o = applied(apply(api, path, obj(items=[{"id": "b", "v": 2}], tags=["y"], free={"k": {"m": 1}}), "m2"))
    assert o["spec"] == {"items": [{"id": "a", "v": 1}, {"id": "b", "v": 2}], "tags": ["x", "y"],
                         "plain": ["p"], "free": {"k": {"l": 1, "m": 1}}}
    status(apply(api, path, obj(items=[{"id": "a", "v": 5}], plain=["q"]), "m2"), 409, "Conflict",
           'Apply failed with 2 conflicts: conflicts with "m1":\n- .spec.items[id="a"].v\n- .spec.plain')
    o = applied(apply(api, path, obj(plain=["p"])))
    assert o["spec"] == {"items": [{"id": "b", "v": 2}], "tags": ["y"], "plain": ["p"],
                         "free": {"k": {"m": 1}}}
    s = status(apply(api, path, obj(items=[{"v": 5}])), 500, "")
    assert "omits key field" in s["message"]
    s = status(apply(api, path, obj(nope=1)), 500, "")
    assert s["message"].endswith(".spec.nope: field not declared in schema")


def nested(depth, leaf):
    for _ in range(depth):
        leaf = {"n": leaf}
    return leaf


def test_deep_trees(api, ns, crd):
    path = f"/apis/apply.io/v1/namespaces/{ns}/lists/deep"

    def obj(**free):
        return {"apiVersion": "apply.io/v1", "kind": "List1", "metadata": {"name": "deep"},
                "spec": {"free": free}}

    applied(apply(api, path, obj(a=nested(55, 1), b=nested(55, {"x": 1}))), 201)
    applied(apply(api, path, obj(a=nested(55, 2), b=nested(55, {}))))
    s = status(apply(api, path, obj(a=nested(55, 3)), "m2"), 409, "Conflict")
    assert s["details"]["causes"][0]["field"].endswith(".n.n")
    status(apply(api, path, obj(a=nested(110, 2))), 413, "RequestEntityTooLarge")
    api.ok("POST", path.rsplit("/", 1)[0], obj(a=nested(110, 2)) | {"metadata": {"name": "deeper"}})
    status(apply(api, path + "er", obj(b=1) | {"metadata": {"name": "deeper"}}), 413, "RequestEntityTooLarge")


# ---- kubectl

def manifest(ns, **data):
    return json.dumps(cm(data, name="k", namespace=ns))


def test_kubectl(api, ns):
    r = api.kubectl("apply", "--server-side", "-f", "-", stdin=manifest(ns, a="1"))
    assert r.stdout == "configmap/k serverside-applied\n"
    r = api.kubectl("apply", "--server-side", "--field-manager", "other", "-f", "-",
                    stdin=manifest(ns, a="2"), check=False)
    assert r.returncode == 1
    assert 'Apply failed with 1 conflict: conflict with "kubectl": .data.a' in r.stderr
    api.kubectl("apply", "--server-side", "--force-conflicts", "--field-manager", "other", "-f", "-",
                stdin=manifest(ns, a="2"))
    api.kubectl("apply", "--server-side", "-f", "-", stdin=manifest(ns, b="1"))
    assert api.get(cms(ns, "k")).json["data"] == {"a": "2", "b": "1"}
    api.kubectl("diff", "--server-side", "-f", "-", stdin=manifest(ns, b="1"))


def test_from_client_side_apply(api, ns):
    api.kubectl("apply", "-f", "-", stdin=manifest(ns, a="1", gone="1"))
    api.kubectl("apply", "--server-side", "-f", "-", stdin=manifest(ns, a="2", gone="1"))
    o = api.get(cms(ns, "k")).json
    assert o["data"] == {"a": "2", "gone": "1"}
    assert ("kubectl-client-side-apply", "Update") not in entries(o)
    assert '"a":"2"' in o["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    api.kubectl("apply", "--server-side", "-f", "-", stdin=manifest(ns, a="2"))
    assert api.get(cms(ns, "k")).json["data"] == {"a": "2"}
    # and back
    api.kubectl("apply", "-f", "-", stdin=manifest(ns, a="3"))
    assert api.get(cms(ns, "k")).json["data"] == {"a": "3"}


def test_openapi_says_so(api):
    doc = api.get("/openapi/v3/api/v1").json
    op = doc["paths"]["/api/v1/namespaces/{namespace}/configmaps/{name}"]["patch"]
    assert "application/apply-patch+yaml" in op["requestBody"]["content"]
    assert {p["name"] for p in op["parameters"]} >= {"force", "fieldManager", "dryRun"}


def test_a_namespace_label_is_its_makers(api):
    """The server adds it by default, so who made the namespace is told to have set it."""
    name = f"made-{time.monotonic_ns()}"
    made = api.ok("POST", "/api/v1/namespaces?fieldManager=me", {"metadata": {"name": name}})
    mine = {"f:metadata": {"f:labels": {".": {}, "f:kubernetes.io/metadata.name": {}}}}
    assert entries(made) == {("me", "Update"): mine}
    o = applied(apply(api, f"/api/v1/namespaces/{name}", {
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"x": "y"}}}))
    assert entries(o) == {("me", "Update"): mine,
                          ("m1", "Apply"): {"f:metadata": {"f:labels": {"f:x": {}}}}}
    made = api.ok("POST", "/api/v1/namespaces", {"metadata": {"generateName": "made-"}})
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": made["metadata"]["name"]}
