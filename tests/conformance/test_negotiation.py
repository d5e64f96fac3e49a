# SPDX-License-Identifier: Apache-2.0
"""Documents about the API: which methods, slashes and types of answers each path takes."""
import json

import pytest

JSON, YAML, TEXT = "application/json", "application/yaml", "text/plain; charset=utf-8"
FORM = ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
ALL = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
NO_ROUTE = f"406: Not Acceptable\n\nAvailable representations: {ALL}"
NO_TYPE = f"only the following media types are accepted: {ALL}"
ROUTES = ["/api", "/api/v1", "/apis/apps/v1"]
GROUPS = ["/apis", "/apis/apps"]


def content_type(r):
    return r.headers["Content-Type"]


@pytest.mark.parametrize("path", ROUTES + GROUPS)
@pytest.mark.parametrize("accept,want", [
    (None, JSON), ("*/*", JSON), ("application/json, */*", JSON), ("application/yaml", YAML),
    ("application/json;q=0.1,application/yaml", YAML), ("*/*, application/yaml", YAML),
    ("application/json;profile=nopeer", JSON), ("text/html,application/xhtml+xml,*/*;q=0.8", JSON),
    ("application/vnd.kubernetes.protobuf,application/json", None),
    ("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json",
     JSON),
])
def test_types(api, path, accept, want):
    r = api.get(path, headers={"Accept": accept} if accept else {})
    assert r.status == 200, r.body
    if want:
        assert content_type(r) == want
    if want == JSON:
        assert r.json["kind"].startswith("API")
    elif want == YAML:
        assert b"\nkind: API" in b"\n" + r.body


@pytest.mark.parametrize("path", ROUTES + GROUPS)
@pytest.mark.parametrize("accept", [
    "text/html", "application/cbor", "application/json;v=v1;g=meta.k8s.io;as=Table",
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"])
def test_types_it_has_not(api, path, accept):
    r = api.get(path, headers={"Accept": accept})
    typed = "as=" in accept or path in GROUPS
    assert (r.status, r.json["reason"], r.json["message"]) == (
        406, "NotAcceptable", NO_TYPE if typed else NO_ROUTE)
    assert r.json.get("details") == (None if typed else {})
    assert list(r.json)[-1] == "code"


@pytest.mark.parametrize("path", ROUTES + GROUPS)
def test_any_type_of_application(api, path):
    """Upstream's router does not know it, its lists of groups do."""
    r = api.get(path, headers={"Accept": "application/*"})
    assert r.status == (200 if path in GROUPS else 406)


@pytest.mark.parametrize("path", ["/api", "/apis"])
def test_the_aggregated_document(api, path):
    one = api.get(path, headers={"Accept": JSON + FORM})
    two = api.get(path, headers={"Accept": YAML + FORM})
    assert (content_type(one), content_type(two)) == (JSON + FORM, YAML + FORM)
    assert b"freshness: Current" in two.body
    assert one.headers["ETag"] != two.headers["ETag"]
    for r, media in ((one, JSON), (two, YAML)):
        assert (r.headers["Vary"], r.headers["Cache-Control"]) == ("Accept", "public")
        again = api.get(path, headers={"Accept": media + FORM, "If-None-Match": r.headers["ETag"]})
        assert again.status == 304
    assert content_type(api.get(path, headers={"Accept": f"{JSON}{FORM}, {JSON}"})) == JSON + FORM
    # only there
    assert api.get(path + ("/v1" if path == "/api" else "/apps"),
                   headers={"Accept": JSON + FORM}).status == 406


# what GET, HEAD and POST are answered with
METHODS = [
    ("/", 200, 200, 200), ("/index.html", 200, 200, 200),
    ("/api", 200, 405, 405), ("/api/", 200, 405, 405), ("/api/v1", 200, 405, 405),
    ("/apis", 200, 200, 200), ("/apis/", 200, 200, 200), ("/apis/apps", 200, 200, 200),
    ("/apis/apps/", 200, 200, 200), ("/apis/apps/v1", 200, 405, 405), ("/apis/apps/v1/", 200, 405, 405),
    ("/version", 200, 405, 405), ("/version/", 200, 405, 405),
    ("/.well-known/openid-configuration", 200, 405, 405), ("/openid/v1/jwks", 200, 405, 405),
    ("/openid/v1/jwks/", 200, 405, 405),
    ("/healthz", 200, 200, 200), ("/livez/ping", 200, 200, 200), ("/metrics", 200, 200, 200),
    ("/openapi/v2", 200, 200, 200), ("/openapi/v3", 200, 200, 200),
    ("/openapi/v3/apis/apps/v1", 200, 200, 200),
]
ABSENT = [
    ("/healthz/", TEXT), ("/livez/", TEXT), ("/readyz/", TEXT), ("/livez/ping/", TEXT),
    ("/metrics/", TEXT), ("/openapi/v2/", TEXT), ("/openapi/v3/", None), ("/openapi/v3/nope", None),
    ("/openapi", TEXT), ("/nope", TEXT), ("/apis/nope", TEXT), ("/apis/nope/v1", TEXT),
    ("/apis//apps", TEXT), ("//api", TEXT), ("/apis/apps/v9", JSON), ("/apis/apps/v1/nope", JSON),
    ("/api/v2", JSON),
]


@pytest.mark.parametrize("path,get,head,post", METHODS, ids=[m[0] for m in METHODS])
def test_methods(api, path, get, head, post):
    assert [api.request(m, path).status for m in ("GET", "HEAD", "POST")] == [get, head, post]
    r = api.request("HEAD", path)
    assert r.body == b""
    if post == 405:
        r = api.request("POST", path)
        assert r.json == {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "the server does not allow this method on the requested resource",
            "reason": "MethodNotAllowed", "details": {}, "code": 405}
        assert list(r.json) == ["kind", "apiVersion", "metadata", "status", "message", "reason",
                                "details", "code"]


@pytest.mark.parametrize("path,kind", ABSENT, ids=[a[0] for a in ABSENT])
def test_absent(api, path, kind):
    r = api.get(path)
    assert r.status == 404 and content_type(r) == kind, r.body
    if kind == TEXT:
        assert r.body == b"404 page not found\n"
        assert r.headers["X-Content-Type-Options"] == "nosniff"
    elif kind is None:
        assert r.body == b""
    else:
        assert r.json["message"] == "the server could not find the requested resource"
        assert list(r.json)[-2:] == ["details", "code"]
    assert api.request("HEAD", path).status == 404 or path == "/apis/apps/v1/nope"


@pytest.mark.parametrize("path,kind", [
    ("/version", JSON), ("/.well-known/openid-configuration", JSON),
    ("/openid/v1/jwks", "application/jwk-set+json")])
def test_one_type_only(api, path, kind):
    for accept in (kind, "*/*", f"text/html, {kind};q=0.5"):
        assert content_type(api.get(path, headers={"Accept": accept})) == kind
    r = api.get(path, headers={"Accept": "text/plain"})
    assert r.json == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": f"406: Not Acceptable\n\nAvailable representations: {kind}",
        "reason": "NotAcceptable", "details": {}, "code": 406}


def test_openapi_types(api):
    for accept in ("text/plain", "application/yaml", JSON):
        r = api.get("/openapi/v3", headers={"Accept": accept})
        assert (r.status, content_type(r)) == (200, TEXT)
    path = "/openapi/v3/apis/apps/v1"
    for accept, status in (("text/plain", 406), ("application/yaml", 406), ("*/*", 200), (JSON, 200),
                           ("application/com.github.proto-openapi.spec.v3@v1.0+protobuf", 200)):
        r = api.get(path, headers={"Accept": accept})
        assert r.status == status and r.headers["Vary"] == "Accept"
    for accept, status in (("text/plain", 406), ("application/yaml", 406), (JSON + ";q=0.5", 200)):
        assert api.get("/openapi/v2", headers={"Accept": accept}).status == status


@pytest.mark.parametrize("accept,want", [
    ("application/json;q=0.1, application/yaml;q=0.2", YAML),
    ("*/*, application/yaml", YAML),
    ("application/yaml;q=0, application/json", JSON),
    ("application/yaml;q=0.5, */*", JSON),
    ("nonsense, ;;, application/json;q=x", JSON),
])
def test_quality_of_objects(api, accept, want):
    r = api.get("/api/v1/namespaces/default", headers={"Accept": accept})
    assert (r.status, content_type(r)) == (200, want)


def test_health(api):
    r = api.get("/livez?verbose")
    lines = r.body.decode().splitlines()
    assert lines[0] == "[+]ping ok" and lines[-1] == "livez check passed"
    assert r.headers["X-Content-Type-Options"] == "nosniff"
    r = api.get("/livez?exclude=etcd&verbose")
    assert "[+]etcd excluded: ok" in r.body.decode().splitlines()
    r = api.get("/livez?exclude=foo&verbose")
    assert 'warn: some health checks cannot be excluded: no matches for "foo"' in \
        r.body.decode().splitlines()
    assert api.get("/livez?exclude=foo").body == b"ok"
    r = api.get("/livez/ping")
    assert r.body == b"ok" and r.headers["X-Content-Type-Options"] is None


def test_hashes_of_what_is_stored(api):
    """Of four kinds that upstream stores in another version; none of what is not stored."""
    def hashes(path):
        return {r["kind"]: r.get("storageVersionHash") for r in api.get(path).json["resources"]
                if "/" not in r["name"]}

    assert hashes("/apis/apps/v1")["Deployment"] == "8aSe+NMegvE="
    assert hashes("/api/v1")["Event"] == hashes("/apis/events.k8s.io/v1")["Event"] == "r2yiGXH7wu8="
    assert hashes("/api/v1")["ComponentStatus"] is None
    assert hashes("/apis/apiextensions.k8s.io/v1")["CustomResourceDefinition"] == "jfWCUB31mvA="
    assert hashes("/apis/admissionregistration.k8s.io/v1")["MutatingAdmissionPolicy"] == "LYmCf+UMVdg="


def test_pretty(api):
    for how in ({"path": "/apis?pretty=1"}, {"path": "/apis", "headers": {"User-Agent": "curl/8"}},
                {"path": "/apis", "headers": {"Accept": "application/json;pretty=1"}}):
        r = api.get(**how)
        assert r.body.startswith(b'{\n  "kind": "APIGroupList"'), r.body[:50]
        assert r.json == json.loads(api.get("/apis").body)
