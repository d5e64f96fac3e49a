# SPDX-License-Identifier: Apache-2.0
"""Paths, verbs and headers that are answered before any object is looked at."""
from samples import CM, cms, status


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
