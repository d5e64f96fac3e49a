# SPDX-License-Identifier: Apache-2.0
"""OpenAPI v2 and v3: what is published of built-in kinds and of definitions."""
import pytest

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."

SPEC = {
    "type": "object",
    "required": ["a", "nul"],
    "properties": {
        "a": {"type": "string", "default": "x", "enum": ["x", "z"], "pattern": "^.$"},
        "nul": {"type": "string", "nullable": True},
        "ios": {"x-kubernetes-int-or-string": True},
        "emb": {"type": "object", "x-kubernetes-embedded-resource": True,
                "properties": {"spec": {"type": "object",
                                        "x-kubernetes-preserve-unknown-fields": True}}},
        "emb2": {"type": "object", "x-kubernetes-embedded-resource": True,
                 "x-kubernetes-preserve-unknown-fields": True},
        "m": {"type": "object", "additionalProperties": {"type": "string", "nullable": True}},
        "one": {"type": "string", "oneOf": [{"pattern": "a"}, {"pattern": "b"}]},
    },
}


@pytest.fixture(scope="module")
def tees(api):
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
           "metadata": {"name": "tees.oa.example.com"},
           "spec": {"group": "oa.example.com", "scope": "Namespaced",
                    "names": {"plural": "tees", "kind": "Tee"},
                    "versions": [
                        {"name": "v1", "served": True, "storage": True,
                         "selectableFields": [{"jsonPath": ".spec.a"}],
                         "subresources": {"status": {}, "scale": {
                             "specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}},
                         "schema": {"openAPIV3Schema": {
                             "type": "object", "description": "A tee",
                             "properties": {"spec": SPEC}}}},
                        {"name": "v2", "served": True, "storage": False,
                         "schema": {"openAPIV3Schema": {
                             "type": "object", "x-kubernetes-preserve-unknown-fields": True,
                             "properties": {"spec": {"type": "object"}}}}}]}}
    api.ok("POST", CRDS, crd)
    yield crd
    api.delete(CRDS + "/tees.oa.example.com")


def bare(j):
    """Without descriptions."""
    if isinstance(j, dict):
        return {k: bare(v) for k, v in j.items() if k != "description" or not isinstance(v, str)}
    return [bare(x) for x in j] if isinstance(j, list) else j


GVK = "x-kubernetes-group-version-kind"


def test_v3_keeps_the_schema(api, tees):
    doc = api.get("/openapi/v3/apis/oa.example.com/v1").json
    types = doc["components"]["schemas"]
    t = bare(types["com.example.oa.v1.Tee"])
    ref = {"allOf": [{"$ref": f"#/components/schemas/{META}ObjectMeta"}]}
    named = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": ref}
    assert t[GVK] == [{"group": "oa.example.com", "version": "v1", "kind": "Tee"}]
    assert t["x-kubernetes-selectable-fields"] == [{"fieldPath": "spec.a"}]
    assert t["properties"] == named | {"spec": SPEC | {"properties": SPEC["properties"] | {
        "ios": {"x-kubernetes-int-or-string": True,
                "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "emb": {"type": "object", "required": ["kind", "apiVersion"],
                "x-kubernetes-embedded-resource": True,
                "properties": named | SPEC["properties"]["emb"]["properties"]},
        "emb2": SPEC["properties"]["emb2"] | {"required": ["kind", "apiVersion"],
                                              "properties": named}}}}
    assert types["com.example.oa.v1.Tee"]["description"] == "A tee"
    l = types["com.example.oa.v1.TeeList"]
    assert l["properties"]["items"]["items"] == {"$ref": "#/components/schemas/com.example.oa.v1.Tee"}
    assert l[GVK][0]["kind"] == "TeeList"
    assert META + "ListMeta" in types and "io.k8s.api.autoscaling.v1.Scale" in types


def test_v3_paths(api, tees):
    doc = api.get("/openapi/v3/apis/oa.example.com/v1").json
    base = "/apis/oa.example.com/v1/"
    assert set(doc["paths"]) == {base + "tees"} | {
        base + "namespaces/{namespace}/tees" + x for x in ("", "/{name}", "/{name}/status",
                                                           "/{name}/scale")}
    item = doc["paths"][base + "namespaces/{namespace}/tees/{name}"]
    assert item["patch"][GVK] == {"group": "oa.example.com", "version": "v1", "kind": "Tee"}
    assert "fieldValidation" in {p["name"] for p in item["patch"]["parameters"]}
    assert {p["name"]: p["in"] for p in item["parameters"]} == {"name": "path", "namespace": "path"}
    assert item["get"]["operationId"] == "readOaExampleComV1NamespacedTee"
    scale = doc["paths"][base + "namespaces/{namespace}/tees/{name}/scale"]["get"]
    assert scale[GVK] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}


def test_v2_drops_what_it_cannot_say(api, tees):
    types = api.get("/openapi/v2").json["definitions"]
    ref = {"$ref": f"#/definitions/{META}ObjectMeta"}
    named = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": ref}
    t = bare(types["com.example.oa.v1.Tee"])
    assert t["properties"]["spec"] == {"type": "object", "required": ["a"], "properties": {
        "a": {"type": "string", "enum": ["x", "z"], "pattern": "^.$"},
        "nul": {},
        "ios": {"x-kubernetes-int-or-string": True},
        "emb": {"type": "object", "required": ["kind", "apiVersion"],
                "x-kubernetes-embedded-resource": True,
                "properties": named | {"spec": {"x-kubernetes-preserve-unknown-fields": True}}},
        "emb2": {"x-kubernetes-embedded-resource": True,
                 "x-kubernetes-preserve-unknown-fields": True},
        "m": {"type": "object", "additionalProperties": {}},
        "one": {"type": "string"}}}
    # open at its root: kubectl must not look for members
    assert types["com.example.oa.v2.Tee"] == {"type": "object", GVK: [
        {"group": "oa.example.com", "version": "v2", "kind": "Tee"}]}


def test_v2_etag_follows_definitions(api, tees):
    r = api.get("/openapi/v2")
    tag = {"If-None-Match": r.headers["ETag"]}
    assert api.get("/openapi/v2", headers=tag).status == 304
    versions = [tees["spec"]["versions"][0], tees["spec"]["versions"][1] | {"served": False}]
    api.patch(CRDS + "/tees.oa.example.com", {"spec": {"versions": versions}})
    again = api.get("/openapi/v2", headers=tag)
    assert again.status == 200
    assert "com.example.oa.v2.Tee" not in again.json["definitions"]
    api.patch(CRDS + "/tees.oa.example.com", {"spec": {"versions": tees["spec"]["versions"]}})


def test_nothing_of_our_own_shows(api, tees):
    assert b"isoplane" not in api.get("/openapi/v2").body
    assert b"isoplane" not in api.get("/openapi/v3/api/v1").body


def test_explain(api, tees):
    out = api.kubectl("explain", "tees.metadata", "--api-version", "oa.example.com/v1").stdout
    assert "Standard object's metadata" in out and "CreationTimestamp is a timestamp" in out
    out = api.kubectl("explain", "tees", "--api-version", "oa.example.com/v1").stdout
    assert "A tee" in out and "APIVersion defines" in out
