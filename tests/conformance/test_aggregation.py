# SPDX-License-Identifier: Apache-2.0
"""Aggregated APIs: an extension server behind a Service, through everything that may happen to it."""
import json
import os
import socket
import ssl
import subprocess
import threading
import time

import pytest

import aggregated
from aggregated import GROUP, SERVICE, V2, Extension, available
from apiserver import Server, poll
from certs import Authority, authority

APISERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
WIDGETS = f"/apis/{GROUP}/v1/namespaces/default/widgets"
WIDGET = {"kind": "Widget", "apiVersion": f"{GROUP}/v1", "metadata": {"name": "a"}, "size": 3}
TRUST = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"


def has_reason(api, reason):
    return poll(lambda: (a := available(api)) and a[1] == reason and a)


def register(api, ext, service=True, slices=True, **spec):
    if service:
        api.ok("POST", "/api/v1/namespaces/default/services", SERVICE)
    if slices:
        api.ok("POST", SLICES, ext.slice())
    api.ok("POST", APISERVICES, ext.apiservice(**spec))


def unregister(api):
    api.delete(f"{APISERVICES}/v1.{GROUP}")
    api.delete("/api/v1/namespaces/default/services/agg")
    api.delete(f"{SLICES}/agg-1")


@pytest.fixture
def extension(api):
    """A server that nobody knows yet."""
    ext = Extension(api.get(TRUST).json["data"]["requestheader-client-ca-file"])
    yield ext
    unregister(api)
    ext.stop()


@pytest.fixture
def agg(api, extension):
    """One that is there."""
    register(api, extension)
    has_reason(api, "Passed")
    return extension


# ---- APIService objects

@pytest.mark.parametrize("name,spec,causes", [
    ("x", {}, [("metadata.name", f'Invalid value: "x": must be `spec.version+"."+spec.group`: '
                f'"v1.{GROUP}"')]),
    ("v2.", {"group": "", "version": "v2"}, [
        ("spec.group", "Required value: only v1 may have an empty group and it better be legacy kube")]),
    ("v1.A", {"group": "A"}, [
        ("spec.group", 'Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case '
         "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character "
         "(e.g. 'example.com', regex used for validation is "
         "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')")]),
    (f".{GROUP}", {"version": ""}, [
        ("spec.version", 'Invalid value: "": a DNS-1035 label must consist of lower case alphanumeric '
         "characters or '-', start with an alphabetic character, and end with an alphanumeric character "
         "(e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')")]),
    (None, {"groupPriorityMinimum": 20001, "versionPriority": 0}, [
        ("spec.groupPriorityMinimum", "Invalid value: 20001: must be positive and less than 20000"),
        ("spec.versionPriority", "Invalid value: 0: must be positive and less than 1000")]),
    (None, {"service": None, "caBundle": "YWJj", "insecureSkipTLSVerify": True}, [
        ("spec.caBundle", 'Invalid value: "3 bytes": local APIServices may not have a caBundle'),
        ("spec.insecureSkipTLSVerify",
         "Invalid value: true: local APIServices may not have insecureSkipTLSVerify")]),
    (None, {"service": {"port": 70000}, "caBundle": "YWJj", "insecureSkipTLSVerify": True}, [
        ("spec.service.namespace", "Required value"), ("spec.service.name", "Required value"),
        ("spec.service.port", "Invalid value: 70000: port is not valid: must be between 1 and 65535, "
         "inclusive"),
        ("spec.insecureSkipTLSVerify", "Invalid value: true: may not be true if caBundle is present")]),
])
def test_invalid(api, name, spec, causes):
    o = {"metadata": {"name": name or f"v1.{GROUP}"},
         "spec": {"group": GROUP, "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1} |
         spec}
    r = api.post(APISERVICES, o)
    assert r.status == 422, r.body
    assert [(c["field"], c["message"]) for c in r.json["details"]["causes"]] == causes


def test_status_is_checked(api):
    name = "v1.local.example.com"
    o = api.ok("POST", APISERVICES, {"metadata": {"name": name}, "spec": {
        "group": "local.example.com", "version": "v1", "groupPriorityMinimum": 1,
        "versionPriority": 1}})
    c = o["status"]["conditions"][0]
    assert (c["type"], c["status"], c["reason"], c["message"]) == (
        "Available", "True", "Local", "Local APIServices are always available")
    c["status"] = "Perhaps"
    r = api.put(f"{APISERVICES}/{name}/status", o)
    assert r.status == 422
    assert [(c["field"], c["message"]) for c in r.json["details"]["causes"]] == [
        ("status.conditions[0].status",
         'Unsupported value: "Perhaps": supported values: "True", "False", "Unknown"')]
    api.ok("DELETE", f"{APISERVICES}/{name}")


def test_our_own(api):
    def all_of():
        return {o["metadata"]["name"]: o for o in api.get(APISERVICES).json["items"]}

    got = poll(lambda: len(all_of()) > 15 and all_of())
    want = {"v1.": (18000, 1), "v1.apps": (17800, 15), "v1.autoscaling": (17500, 15),
            "v2.autoscaling": (17500, 30), "v1.batch": (17400, 15),
            "v1.flowcontrol.apiserver.k8s.io": (16100, 21), "v1.resource.k8s.io": (16200, 21),
            "v1.rbac.authorization.k8s.io": (17000, 15), "v1.discovery.k8s.io": (16200, 15)}
    for name, priorities in want.items():
        spec = got[name]["spec"]
        assert (spec["groupPriorityMinimum"], spec["versionPriority"]) == priorities, name
        assert got[name]["metadata"]["labels"] == {
            "kube-aggregator.kubernetes.io/automanaged": "onstart"}
    assert "v1.apiregistration.k8s.io" not in got
    # those of built-in kinds are made at the start, and not again
    api.ok("DELETE", f"{APISERVICES}/v1.events.k8s.io")
    crd = {"metadata": {"name": "things.own.example.com"}, "spec": {
        "group": "own.example.com", "scope": "Cluster",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": "v1", "served": True, "storage": True,
                      "schema": {"openAPIV3Schema": {"type": "object"}}}]}}
    api.ok("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    ours = poll(lambda: all_of().get("v1.own.example.com"))
    assert ours["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "true"}
    assert (ours["spec"]["groupPriorityMinimum"], ours["spec"]["versionPriority"]) == (1000, 100)
    assert "v1.events.k8s.io" not in all_of()
    # those of definitions are put right
    ours["spec"]["versionPriority"] = 7
    api.ok("PUT", f"{APISERVICES}/v1.own.example.com", ours)
    poll(lambda: all_of()["v1.own.example.com"]["spec"]["versionPriority"] == 100)
    api.ok("DELETE", f"{APISERVICES}/v1.own.example.com")
    poll(lambda: "v1.own.example.com" in all_of())
    api.ok("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.own.example.com")
    poll(lambda: "v1.own.example.com" not in all_of())


def test_our_own_after_a_restart(fresh):
    poll(lambda: fresh.get(f"{APISERVICES}/v1.apps").status == 200)
    fresh.ok("DELETE", f"{APISERVICES}/v1.events.k8s.io")
    o = fresh.get(f"{APISERVICES}/v1.apps").json
    o["spec"]["versionPriority"] = 1
    fresh.ok("PUT", f"{APISERVICES}/v1.apps", o)
    kept = fresh.get(f"{APISERVICES}/v1.batch").json
    kept["spec"]["versionPriority"] = 2
    del kept["metadata"]["labels"]
    fresh.ok("PUT", f"{APISERVICES}/v1.batch", kept)
    fresh.kill()
    fresh.start()
    poll(lambda: fresh.get(f"{APISERVICES}/v1.events.k8s.io").status == 200)
    poll(lambda: fresh.get(f"{APISERVICES}/v1.apps").json["spec"]["versionPriority"] == 15)
    assert fresh.get(f"{APISERVICES}/v1.batch").json["spec"]["versionPriority"] == 2


def test_trust_is_published(api):
    data = api.get(TRUST).json["data"]
    assert {k: json.loads(v) for k, v in data.items() if v[0] == "["} == {
        "requestheader-allowed-names": ["front-proxy-client"],
        "requestheader-extra-headers-prefix": ["X-Remote-Extra-"],
        "requestheader-group-headers": ["X-Remote-Group"],
        "requestheader-uid-headers": ["X-Remote-Uid"],
        "requestheader-username-headers": ["X-Remote-User"]}
    for key in ("client-ca-file", "requestheader-client-ca-file"):
        ssl.create_default_context(cadata=data[key])
    # servers that start later must find it
    api.ok("DELETE", TRUST)
    poll(lambda: api.get(TRUST).status == 200)
    assert api.get(TRUST).json["data"] == data


# ---- whether it is there

def test_reasons(api, extension):
    api.ok("POST", APISERVICES, extension.apiservice())
    assert has_reason(api, "ServiceNotFound") == (
        "False", "ServiceNotFound", 'service/agg in "default" is not present')
    wrong = json.loads(json.dumps(SERVICE))
    wrong["spec"]["ports"][0]["port"] = 80
    svc = api.ok("POST", "/api/v1/namespaces/default/services", wrong)
    assert has_reason(api, "ServicePortError")[2] == \
        'service/agg in "default" is not listening on port 443'
    svc["spec"]["ports"][0]["port"] = 443
    api.ok("PUT", "/api/v1/namespaces/default/services/agg", svc)
    assert has_reason(api, "EndpointsNotFound")[2] == \
        'cannot find endpointslices for service/agg in "default"'
    api.ok("POST", SLICES, extension.slice() | {"endpoints": []})
    assert has_reason(api, "MissingEndpoints")[2] == \
        'endpointslices for service/agg in "default" have no addresses with port name "https"'
    extension.hooks["*"] = lambda h: h.reply(403, {})
    api.ok("PUT", f"{SLICES}/agg-1", extension.slice())
    url = f"https://127.0.0.1:{extension.port}/apis/{GROUP}/v1"
    assert has_reason(api, "FailedDiscoveryCheck")[2] == \
        f"failing or missing response from {url}: bad status from {url}: 403"
    r = api.get(WIDGETS)
    assert (r.status, r.body) == (503, b"service unavailable\n")
    assert r.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert r.headers["X-Content-Type-Options"] == "nosniff"
    extension.hooks.clear()
    assert has_reason(api, "Passed") == ("True", "Passed", "all checks passed")
    assert api.get(WIDGETS).status == 200
    table = api.kubectl("get", "apiservices", f"v1.{GROUP}").stdout.split()
    assert table[4:7] == [f"v1.{GROUP}", "default/agg", "True"]
    # what happens to its endpoints is seen at once, not at the next check
    api.ok("DELETE", f"{SLICES}/agg-1")
    began = time.monotonic()
    has_reason(api, "EndpointsNotFound")
    assert time.monotonic() - began < 5
    assert "False (EndpointsNotFound)" in api.kubectl("get", "apiservices", f"v1.{GROUP}").stdout


@pytest.mark.parametrize("case", ["ca", "name", "expired", "insecure"])
def test_tls(api, extension, case):
    extension.stop()
    if case == "ca":
        extension.ca = Authority().pem
    elif case == "name":
        extension.pem = authority().issue("DNS:other.default.svc", "IP:127.0.0.1")
    elif case == "expired":
        extension.pem = authority().issue("DNS:agg.default.svc", days=0)
    else:
        extension.pem = authority().issue("DNS:whoever")
    extension.start()
    spec = {"insecureSkipTLSVerify": True, "caBundle": None} if case == "insecure" else {}
    register(api, extension, **spec)
    if case == "insecure":
        has_reason(api, "Passed")
        assert api.get(WIDGETS).status == 200
        return
    message = has_reason(api, "FailedDiscoveryCheck")[2]
    assert message.startswith(f"failing or missing response from https://127.0.0.1:{extension.port}/")
    assert "TLS handshake: " in message
    assert api.get(WIDGETS).status == 503
    assert not extension.asked


def test_a_new_bundle(api, extension):
    """A wrong one is put right without a pause for the others."""
    good = extension.ca
    extension.ca = Authority().pem
    register(api, extension)
    has_reason(api, "FailedDiscoveryCheck")
    extension.ca = good
    o = api.get(f"{APISERVICES}/v1.{GROUP}").json
    o["spec"] = extension.apiservice()["spec"]
    api.ok("PUT", f"{APISERVICES}/v1.{GROUP}", o)
    has_reason(api, "Passed")
    # and what has nothing to do with it does not take it away
    o = api.get(f"{APISERVICES}/v1.{GROUP}").json
    o["spec"]["versionPriority"] = 16
    api.ok("PUT", f"{APISERVICES}/v1.{GROUP}", o)
    assert api.get(WIDGETS).status == 200


def test_one_that_hangs(api, agg):
    """It costs the others nothing."""
    hung = threading.Event()
    path = f"/apis/{GROUP}/v2"

    def hang(h):
        hung.set()
        time.sleep(20)

    agg.hooks[path] = hang
    api.ok("POST", APISERVICES, agg.apiservice("v2"))
    assert hung.wait(5)
    api.ok("DELETE", f"{SLICES}/agg-1")
    began = time.monotonic()
    has_reason(api, "EndpointsNotFound")
    api.ok("POST", SLICES, agg.slice())
    has_reason(api, "Passed")
    assert time.monotonic() - began < 4
    assert poll(lambda: (a := available(api, "v2")) and a[1] == "FailedDiscoveryCheck", 12)
    api.ok("DELETE", f"{APISERVICES}/v2.{GROUP}")


def test_restarts(fresh):
    ext = Extension(fresh.get(TRUST).json["data"]["requestheader-client-ca-file"])
    register(fresh, ext)
    has_reason(fresh, "Passed")
    assert fresh.get(WIDGETS).status == 200
    # theirs
    for _ in range(3):
        ext.stop()
        r = fresh.get(WIDGETS)
        assert r.status == 503 and b"error trying to reach service: " in r.body, r.body
        assert r.headers["Content-Type"] == "text/plain; charset=utf-8"
        has_reason(fresh, "FailedDiscoveryCheck")
        ext.start()
        has_reason(fresh, "Passed")
        assert fresh.post(WIDGETS, WIDGET).status == 201
    # ours: what was there before is there again without waiting for a check
    fresh.kill()
    fresh.start()
    assert aggregated_version(fresh)["freshness"] == "Current"
    assert fresh.get(WIDGETS).status == 200
    assert available(fresh)[0] == "True"
    # both
    fresh.kill()
    ext.stop()
    fresh.start()
    has_reason(fresh, "FailedDiscoveryCheck")
    ext.start()
    has_reason(fresh, "Passed")
    ext.stop()


def test_connections_are_kept_and_replaced(api, agg):
    for _ in range(5):
        assert api.get(WIDGETS).status == 200
    n = len(agg.sockets)
    for _ in range(5):
        assert api.get(WIDGETS).status == 200
    assert len(agg.sockets) - n <= 1  # a check may come in between
    agg.stop()
    agg.start()
    # a connection that died meanwhile is no reason to fail
    assert api.post(WIDGETS, WIDGET).status == 201


# ---- requests

def test_identity(api, agg):
    api.post(WIDGETS, WIDGET)
    agg.asked.clear()
    api.get(WIDGETS + "/a?x=1&y=a%2Fb", headers={
        "X-Remote-User": "eve", "X-Remote-Group": "system:masters", "X-Remote-Extra-Scopes": "all",
        "X-Remote-Uid": "7", "X-Forwarded-For": "192.0.2.1", "User-Agent": "me/1", "X-Mine": "yes",
        "Cookie": "a=b"})
    a = agg.asked[-1]
    assert a.subject["commonName"] == "front-proxy-client"
    assert a.path == WIDGETS + "/a?x=1&y=a%2Fb"
    assert a.headers.get_all("X-Remote-User") == ["kubernetes-admin"]
    assert sorted(a.headers.get_all("X-Remote-Group")) == ["system:authenticated", "system:masters"]
    assert a.headers["X-Remote-Extra-Scopes"] is None
    assert a.headers["X-Remote-Uid"] is None
    assert a.headers["User-Agent"] == "me/1"
    assert a.headers["X-Mine"] == "yes"
    assert a.headers["Cookie"] == "a=b"
    assert a.headers["Authorization"] is None
    assert a.headers["X-Forwarded-Uri"] == WIDGETS + "/a"
    assert a.headers["X-Forwarded-Proto"] == "https"
    assert a.headers["X-Forwarded-Host"] == f"127.0.0.1:{api.port}"
    assert a.headers["X-Forwarded-For"] == "192.0.2.1, 127.0.0.1"
    assert len(a.headers["Audit-Id"]) == 36
    # another user, by a token; what a key may hold that a header may not is escaped
    api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": "agg-who"}})
    sa = api.ok("POST", "/api/v1/namespaces/agg-who/serviceaccounts", {"metadata": {"name": "bob"}})
    token = api.ok("POST", "/api/v1/namespaces/agg-who/serviceaccounts/bob/token", {"spec": {}})
    api.ok("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
        "metadata": {"name": "agg-who"}, "subjects": [
            {"kind": "ServiceAccount", "namespace": "agg-who", "name": "bob"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                    "name": "cluster-admin"}})
    poll(lambda: api.get(WIDGETS, token=token["status"]["token"]).status == 200)
    h = agg.asked[-1].headers
    assert h["X-Remote-User"] == "system:serviceaccount:agg-who:bob"
    assert h["X-Remote-Uid"] == sa["metadata"]["uid"]
    assert [k for k in h.keys() if k.lower() == "x-remote-extra-authentication.kubernetes.io%2fcredential-id"]
    assert h["Authorization"] is None
    # who may not is not passed on
    n = len(agg.asked)
    r = api.get(WIDGETS, user="mallory")
    assert r.status == 403
    assert f'cannot list resource "widgets" in API group "{GROUP}"' in r.json["message"]
    assert not [a for a in agg.asked[n:] if a.path == WIDGETS]


def test_answers_pass_through(api, agg):
    agg.hooks[WIDGETS] = lambda h: h.reply(
        418, b"short and stout", "text/tea", Warning='299 - "hot"', X_Theirs="1", Audit_Id="fake",
        Access_Control_Allow_Origin="*")
    r = api.get(WIDGETS)
    assert (r.status, r.body, r.headers["Content-Type"]) == (418, b"short and stout", "text/tea")
    assert r.warnings == ["hot"] and r.headers["X-Theirs"] == "1"
    assert r.headers["Content-Length"] == "15"
    assert len(r.headers.get_all("Date")) == 1
    assert len(r.headers.get_all("Audit-Id")) == 1 and r.headers["Audit-Id"] != "fake"
    assert r.headers["Access-Control-Allow-Origin"] is None
    r = api.request("HEAD", WIDGETS)
    assert (r.status, r.body) == (418, b"")


def test_redirects_are_refused(api, agg):
    agg.hooks[WIDGETS] = lambda h: h.reply(302, b"", Location="https://192.0.2.1/")
    r = api.get(WIDGETS)
    assert (r.status, r.body) == (
        502, b"the backend attempted to redirect this request, which is not permitted")
    assert r.headers["Location"] is None


@pytest.mark.parametrize("chunked", [False, True])
def test_large_bodies(api, agg, chunked):
    """20 MB there and back, in pieces."""
    size = 20 << 20
    seen = {}

    def take(h):
        data = h.body()
        seen["n"], seen["length"] = len(data), h.headers.get("Content-Length")
        h.reply(200, data)

    agg.hooks[WIDGETS] = take
    c = api.connect(timeout=60)
    pieces = (b"x" * (1 << 20) for _ in range(20)) if chunked else b"x" * size
    c.request("POST", WIDGETS, pieces, {"Content-Type": "application/octet-stream"},
              encode_chunked=chunked)
    r = c.getresponse()
    assert r.status == 200
    assert len(r.read()) == size
    c.close()
    assert seen["n"] == size and seen["length"] == (None if chunked else str(size))


@pytest.mark.parametrize("flags", [["--http1.1"], ["--http2"],
                                   ["--http1.1", "-H", "Transfer-Encoding: chunked"]])
def test_large_bodies_of_curl(api, agg, tmp_path, flags):
    """It waits to be told to go on, and has flow control in HTTP/2."""
    seen = []

    def take(h):
        seen.append(h.headers["Expect"])
        h.reply(200, h.body())

    agg.hooks[WIDGETS] = take
    data = os.urandom(5 << 20)
    (tmp_path / "data").write_bytes(data)
    (tmp_path / "ca").write_text(api.ca)
    r = subprocess.run(
        ["curl", "-sS", *flags, "--cacert", tmp_path / "ca", "--cert", api.dir / "admin.pem",
         "--data-binary", f"@{tmp_path}/data", f"https://127.0.0.1:{api.port}{WIDGETS}"],
        capture_output=True, timeout=60, check=True)
    assert r.stdout == data
    assert seen == [None]


def test_a_body_is_passed_on_as_it_comes(api, agg):
    """It need not be whole first."""
    first, rest = threading.Event(), []

    def take(h):
        h.rfile.read(128 * 1024)
        first.set()
        rest.append(h.rfile.read(128 * 1024))
        h.reply(200, {})

    agg.hooks[WIDGETS] = take
    c = api.connect()
    c.putrequest("PUT", WIDGETS)
    c.putheader("Content-Length", str(256 * 1024))
    c.endheaders(b"a" * (128 * 1024 + 1))
    assert first.wait(5)
    c.send(b"b" * (128 * 1024 - 1))
    assert c.getresponse().status == 200
    assert len(rest[0]) == 128 * 1024
    c.close()


def test_a_client_that_leaves_in_its_body(api, agg):
    got = []

    def take(h):
        try:
            got.append(len(h.rfile.read(1 << 20)))
        except OSError:
            got.append("broken")
        h.close_connection = True

    agg.hooks[WIDGETS] = take
    c = api.connect()
    c.putrequest("PUT", WIDGETS)
    c.putheader("Content-Length", str(1 << 20))
    c.endheaders(b"a" * (256 * 1024))
    time.sleep(0.2)
    c.sock.shutdown(socket.SHUT_RDWR)
    c.close()
    poll(lambda: got)
    assert got[0] == "broken" or got[0] < 1 << 20
    agg.hooks.clear()
    assert api.get(WIDGETS).status == 200


@pytest.mark.parametrize("length", [True, False])
def test_an_answer_that_breaks_off(api, agg, length):
    """The client must not take a part for the whole."""
    def drop(h):
        h.send_response(200)
        h.send_header("Content-Type", "application/json")
        if length:
            h.send_header("Content-Length", "100000")
        else:
            h.send_header("Transfer-Encoding", "chunked")
        h.end_headers()
        if length:
            h.wfile.write(b"x" * 1000)
        else:
            h.chunk(b"x" * 1000)
        h.wfile.flush()
        time.sleep(0.1)
        h.connection.shutdown(socket.SHUT_RDWR)
        h.close_connection = True

    agg.hooks[WIDGETS] = drop
    c = api.connect()
    c.request("GET", WIDGETS)
    r = c.getresponse()
    assert r.status == 200
    with pytest.raises((OSError, ValueError, __import__("http.client").client.HTTPException)):
        r.read()
    c.close()


def test_garbage(api, agg):
    def garbage(h):
        h.wfile.write(b"\x00\x01\x02 hello?\r\n\r\n")
        h.wfile.flush()
        h.connection.shutdown(socket.SHUT_RDWR)
        h.close_connection = True

    agg.hooks[WIDGETS] = garbage
    r = api.get(WIDGETS)
    assert r.status == 503 and r.body.startswith(b"error trying to reach service: "), r.body


def test_headers_that_never_end(api, agg):
    def flood(h):
        h.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for i in range(100000):
            h.wfile.write(b"X-%d: %s\r\n" % (i, b"y" * 1000))
        h.close_connection = True

    agg.hooks[WIDGETS] = flood
    assert api.get(WIDGETS).status == 503


def test_timeouts():
    s = Server("--request-timeout", "2s")
    ext = Extension(s.get(TRUST).json["data"]["requestheader-client-ca-file"])
    try:
        register(s, ext)
        has_reason(s, "Passed")
        ext.hooks[WIDGETS] = lambda h: time.sleep(20)
        r = s.get(WIDGETS)
        assert (r.status, r.json["reason"]) == (504, "Timeout")
        # nor is it forever without its headers
        ext.hooks.clear()
        # a watch and an upgraded connection may last
        with s.watch(WIDGETS + "?watch=1") as w:
            with upgraded(s, WIDGETS + "/a/stream", "x") as up:
                time.sleep(3)
                up.sendall(b"still")
                assert up.recv(100) == b"STILL"
            s.post(WIDGETS, WIDGET)
            assert w.next()["object"]["metadata"]["name"] == "a"
    finally:
        ext.stop()
        s.close()


def test_discovery_has_less_time(api, agg):
    """Clients wait for it."""
    path = f"/apis/{GROUP}/v1"
    agg.hooks[path] = lambda h: time.sleep(20)
    began = time.monotonic()
    r = api.get(path)
    assert r.status == 503
    assert 4 < time.monotonic() - began < 9


def test_watch(api, agg):
    with api.watch(WIDGETS + "?watch=true") as w:
        assert w.status == 200
        poll(lambda: agg.watchers)
        for i in range(3):
            api.ok("POST", WIDGETS, WIDGET | {"metadata": {"name": f"w{i}"}})
            e = w.next()
            assert (e["type"], e["object"]["metadata"]["name"]) == ("ADDED", f"w{i}")
    # the other side learns that nobody listens
    assert agg.gone.wait(5)
    # and the client, that nobody speaks
    with api.watch(WIDGETS + "?watch=true") as w:
        poll(lambda: agg.watchers)
        agg.stop()
        with pytest.raises((OSError, __import__("http.client").client.HTTPException)):
            assert w.next() is None
            raise OSError("ended")
    agg.start()


def upgraded(api, path, protocol, method="GET", more=()):
    """A raw stream behind an Upgrade."""
    s = api.admin_tls.wrap_socket(socket.create_connection(("127.0.0.1", api.port), timeout=10),
                                  server_hostname="127.0.0.1")
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: Upgrade", f"Upgrade: {protocol}",
             *more, "", ""]
    s.sendall("\r\n".join(lines).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        data = s.recv(1)
        assert data, head
        head += data
    s.head = head.decode()
    return s


@pytest.mark.parametrize("protocol,method,more", [
    ("websocket", "GET", ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                          "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.dA, chat"]),
    ("SPDY/3.1", "POST", ["X-Stream-Protocol-Version: v4.channel.k8s.io", "Content-Length: 0"]),
])
def test_upgrades(api, agg, protocol, method, more):
    agg.asked.clear()
    with upgraded(api, WIDGETS + "/a/stream", protocol, method, more) as s:
        assert s.head.startswith("HTTP/1.1 101 "), s.head
        assert f"upgrade: {protocol.lower()}\r\n" in s.head.lower()
        block = bytes(range(97, 113)) * 4096
        total = b""
        for _ in range(16):
            s.sendall(block)
            while len(total) % len(block) or not total:
                total += s.recv(65536)
                if len(total) == len(block):
                    break
            assert total == block.upper()
            total = b""
    h = next(a.headers for a in agg.asked if a.path.endswith("/stream"))
    assert h["X-Remote-User"] == "kubernetes-admin"
    assert h["Sec-WebSocket-Protocol"] in (None, "chat")
    assert agg.gone.wait(5)


def test_upgrades_that_fail(api, agg):
    agg.hooks[WIDGETS + "/a/stream"] = lambda h: h.reply(403, agg.status(403, "Forbidden", "not you"))
    with upgraded(api, WIDGETS + "/a/stream", "x") as s:
        assert " 403 " in s.head.split("\r\n")[0]
        assert b"not you" in s.recv(4096)
    agg.hooks[WIDGETS + "/a/stream"] = lambda h: h.reply(200, {})
    with upgraded(api, WIDGETS + "/a/stream", "x") as s:
        assert " 503 " in s.head.split("\r\n")[0]
        assert b"invalid upgrade response: status code 200" in s.recv(4096)
    agg.stop()
    with upgraded(api, WIDGETS + "/a/stream", "x") as s:
        assert " 503 " in s.head.split("\r\n")[0]
    agg.start()


def test_streams_take_no_turns():
    """What another server is busy with leaves room for other requests of the same user."""
    s = Server("--max-requests-inflight", "4")
    ext = Extension(s.get(TRUST).json["data"]["requestheader-client-ca-file"])
    streams = []
    try:
        register(s, ext)
        has_reason(s, "Passed")
        s.ok("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
            "metadata": {"name": "all"}, "subjects": [{"kind": "User", "name": "bob"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                        "name": "cluster-admin"}})
        poll(lambda: s.get(WIDGETS, user="bob").status == 200)
        for _ in range(10):
            streams.append(upgraded(s, WIDGETS + "/a/stream", "x", more=["Impersonate-User: bob"]))
            assert " 101 " in streams[-1].head
        began = time.monotonic()
        assert s.get("/api/v1/namespaces", user="bob").status == 200
        assert time.monotonic() - began < 5
    finally:
        for x in streams:
            x.close()
        ext.stop()
        s.close()


def test_gone_while_requests_run(api, agg):
    """What runs ends as it would have."""
    go, there = threading.Event(), threading.Event()

    def slow(h):
        there.set()
        go.wait(10)
        h.reply(200, {"late": True})

    agg.hooks[WIDGETS] = slow
    answers = []
    t = threading.Thread(target=lambda: answers.append(api.get(WIDGETS)))
    t.start()
    assert there.wait(5)
    with upgraded(api, WIDGETS + "/a/stream", "x") as s:
        api.ok("DELETE", f"{APISERVICES}/v1.{GROUP}")
        poll(lambda: api.get(f"/apis/{GROUP}").status == 404)
        s.sendall(b"on")
        assert s.recv(10) == b"ON"
    go.set()
    t.join(10)
    assert answers[0].json == {"late": True}
    r = api.get(WIDGETS)
    assert (r.status, r.body) == (404, b"404 page not found\n")


# ---- discovery

def aggregated_version(api, version="v1"):
    doc = api.get("/apis", headers={"Accept": V2}).json
    for g in doc["items"]:
        if g["metadata"]["name"] == GROUP:
            for v in g["versions"]:
                if v["version"] == version:
                    return v
    return None


def test_discovery_of_both_kinds(api, extension):
    # what says less says the same
    extension.speaks = ("legacy",)
    register(api, extension)
    legacy = poll(lambda: (v := aggregated_version(api)) and v["freshness"] == "Current" and v)
    extension.speaks = ("v2", "legacy")
    api.ok("DELETE", f"{APISERVICES}/v1.{GROUP}")
    assert poll(lambda: not aggregated_version(api))
    api.ok("POST", APISERVICES, extension.apiservice())
    v2 = poll(lambda: (v := aggregated_version(api)) and v["freshness"] == "Current" and v)
    assert v2["resources"] == aggregated.discovery_v2()["items"][0]["versions"][0]["resources"]
    for old, new in zip(legacy["resources"], v2["resources"]):
        assert old["responseKind"] == {"group": "", "version": "", "kind": new["responseKind"]["kind"]}
        for key in ("resource", "scope", "singularResource", "verbs", "shortNames"):
            assert old[key] == new[key]
        assert [s["subresource"] for s in old["subresources"]] == ["stream"]
    # the old documents
    assert api.get(f"/apis/{GROUP}").json == {
        "kind": "APIGroup", "apiVersion": "v1", "name": GROUP,
        "versions": [{"groupVersion": f"{GROUP}/v1", "version": "v1"}],
        "preferredVersion": {"groupVersion": f"{GROUP}/v1", "version": "v1"}}
    assert GROUP in [g["name"] for g in api.get("/apis").json["groups"]]
    assert api.get(f"/apis/{GROUP}/v1").json == aggregated.discovery_legacy()


def test_discovery_is_asked_with_what_we_have(api, agg):
    poll(lambda: (v := aggregated_version(api)) and v["freshness"] == "Current")
    api.patch(f"{SLICES}/agg-1", {"metadata": {"labels": {"x": "y"}}})  # look again
    a = poll(lambda: next((a for a in agg.asked if a.path == "/apis" and
                           a.headers.get("If-None-Match")), None))
    assert a.headers["If-None-Match"] == '"1"'
    assert a.headers["X-Remote-User"] == "system:kube-aggregator"
    assert aggregated_version(api)["freshness"] == "Current"


def test_stale(api, agg):
    poll(lambda: (v := aggregated_version(api)) and v["freshness"] == "Current")
    agg.stop()
    api.get(WIDGETS)  # somebody notices
    assert poll(lambda: (v := aggregated_version(api)) and v["freshness"] == "Stale" and v) == {
        "version": "v1", "freshness": "Stale"}
    assert api.get(f"/apis/{GROUP}/v1").status == 503
    agg.start()
    poll(lambda: aggregated_version(api)["freshness"] == "Current")


@pytest.mark.parametrize("answer", [
    b"not JSON", b"[]", b"{}", b'{"resources": "many"}', b'{"resources": [{"name": 7, "verbs": []}]}',
    b'{"resources": [{"name": "x", "verbs": "all"}]}', b'{"resources": [null]}',
    b'{"resources": [' + b'{"name": "' + b"x" * (9 << 20) + b'", "verbs": []}]}',
], ids=lambda a: a[:20].decode())
def test_garbage_discovery(api, extension, answer):
    """It answers, so it is there; what it says is not passed on."""
    extension.speaks = ("legacy",)
    extension.hooks[f"/apis/{GROUP}/v1"] = lambda h: h.reply(200, answer)
    register(api, extension)
    has_reason(api, "Passed")
    poll(lambda: any(a.headers.get("Accept") == "application/json" for a in extension.asked))
    assert aggregated_version(api) == {"version": "v1", "freshness": "Stale"}
    assert api.get(WIDGETS).status == 200


@pytest.mark.parametrize("resources", [7, [7], [{"verbs": []}], [{"resource": "x", "verbs": 1}],
                                       [{"resource": "x", "subresources": "y"}]])
def test_garbage_aggregated_discovery(api, extension, resources):
    doc = aggregated.discovery_v2()
    doc["items"][0]["versions"][0]["resources"] = resources
    extension.hooks["/apis"] = lambda h: h.reply(200, doc, V2)
    register(api, extension)
    has_reason(api, "Passed")
    poll(lambda: any(a.path == "/apis" for a in extension.asked))
    assert aggregated_version(api) == {"version": "v1", "freshness": "Stale"}


def test_order(api, agg):
    """Groups by their highest priority, then by the names of their APIServices; versions by theirs."""
    local = [("zz.example.com", "v1", 1500, 10), ("zz.example.com", "v2", 10, 20),
             ("aa.example.com", "v2", 1500, 1), ("mm.example.com", "v1", 1500, 1)]
    for group, version, g, v in local:
        o = agg.apiservice()
        o["metadata"]["name"] = f"{version}.{group}"
        o["spec"] |= {"group": group, "version": version, "groupPriorityMinimum": g,
                      "versionPriority": v}
        api.ok("POST", APISERVICES, o)

    def ours(names):
        return [n for n in names if n in {x[0] for x in local} | {GROUP, "policy", "apps"}]

    poll(lambda: len(ours(g["name"] for g in api.get("/apis").json["groups"])) == 6)
    groups = api.get("/apis").json["groups"]
    assert groups[0]["name"] == "apiregistration.k8s.io"
    assert ours(g["name"] for g in groups) == [
        "apps", "policy", "mm.example.com", "zz.example.com", "aa.example.com", GROUP]
    zz = next(g for g in groups if g["name"] == "zz.example.com")
    assert [v["version"] for v in zz["versions"]] == ["v2", "v1"]
    assert zz["preferredVersion"]["version"] == "v2"
    items = api.get("/apis", headers={"Accept": V2}).json["items"]
    assert ours(g["metadata"]["name"] for g in items) == [
        "apps", "policy", "aa.example.com", "mm.example.com", "zz.example.com", GROUP]
    for group, version, _, _ in local:
        api.ok("DELETE", f"{APISERVICES}/{version}.{group}")


def test_instead_of_a_definition(api, agg):
    """A CRD of a group version that another server has is not served."""
    crd = {"metadata": {"name": f"widgets.{GROUP}"}, "spec": {
        "group": GROUP, "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Impostor"},
        "versions": [{"name": "v1", "served": True, "storage": True,
                      "schema": {"openAPIV3Schema": {"type": "object"}}}]}}
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    api.ok("POST", path, crd)
    api.post(WIDGETS, WIDGET)
    assert api.get(WIDGETS + "/a").json["kind"] == "Widget"
    poll(lambda: [r["responseKind"]["kind"] for r in (aggregated_version(api) or {}).get(
        "resources", [])] == ["Widget", "Gadget"])
    assert [v["version"] for v in api.get(f"/apis/{GROUP}").json["versions"]] == ["v1"]
    svc = api.get(f"{APISERVICES}/v1.{GROUP}").json
    assert svc["spec"]["service"]["name"] == "agg"
    api.ok("DELETE", f"{path}/widgets.{GROUP}")


# ---- OpenAPI, kubectl

def test_openapi_v3(api, agg):
    key = f"apis/{GROUP}/v1"
    paths = poll(lambda: (p := api.get("/openapi/v3").json["paths"]) and key in p and p)
    assert paths[key] == {"serverRelativeURL": f"/openapi/v3/{key}?hash=ABC"}
    assert paths["api/v1"]["serverRelativeURL"] != "/openapi/v3/api/v1?hash=NO"
    r = api.get(paths[key]["serverRelativeURL"])
    assert r.status == 200 and r.json == aggregated.openapi_v3()
    assert r.headers["ETag"] == '"ABC"'
    agg.stop()
    assert api.get(paths[key]["serverRelativeURL"]).status == 503
    agg.start()


def test_openapi_v2(api, agg):
    r = api.get("/openapi/v2")
    doc = r.json
    assert f"/apis/{GROUP}/v1/namespaces/{{namespace}}/widgets" in doc["paths"]
    assert "/apis/other.example.com/v1/things" not in doc["paths"]
    assert "/api/v1/namespaces/{namespace}/pods" in doc["paths"]
    name = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    assert "managedFields" in doc["definitions"][name]["properties"]
    assert doc["definitions"][name + "_v2"]["description"] == "another version's"
    widget = doc["definitions"]["com.example.agg.v1.Widget"]
    assert widget["properties"]["metadata"] == {"$ref": f"#/definitions/{name}_v2"}
    assert api.get("/openapi/v2", headers={"If-None-Match": r.headers["ETag"]}).status == 304
    # it changes with theirs
    agg.hooks["/openapi/v2"] = lambda h: h.reply(404, {})
    again = api.get("/openapi/v2")
    assert again.headers["ETag"] != r.headers["ETag"]
    assert "com.example.agg.v1.Widget" not in again.json["definitions"]


@pytest.mark.parametrize("speaks", [("v2", "legacy"), ("legacy",)])
def test_kubectl(api, extension, speaks):
    extension.speaks = speaks
    register(api, extension)
    has_reason(api, "Passed")
    poll(lambda: f"apis/{GROUP}/v1" in api.get("/openapi/v3").json["paths"])
    poll(lambda: aggregated_version(api)["freshness"] == "Current")
    lines = [x.split() for x in api.kubectl("api-resources", f"--api-group={GROUP}").stdout.splitlines()]
    assert lines[1:] == [["gadgets", "gad", f"{GROUP}/v1", "false", "Gadget"],
                         ["widgets", "wid", f"{GROUP}/v1", "true", "Widget"]]
    api.kubectl("create", "--validate=false", "-f", "-", stdin=json.dumps(WIDGET))
    api.kubectl("create", "--validate=false", "-f", "-", stdin=json.dumps(
        WIDGET | {"kind": "Gadget", "metadata": {"name": "g"}}))
    assert api.kubectl("get", "wid", "-o", "name").stdout == f"widget.{GROUP}/a\n"
    assert api.kubectl("get", "gadgets", "-o", "jsonpath={.items[*].metadata.name}").stdout == "g"
    text = api.kubectl("explain", "widgets.size").stdout
    assert "How large it is." in text and "<integer>" in text
    assert api.kubectl("delete", "widgets", "a").stdout == f'widget.{GROUP} "a" deleted\n'
    r = api.kubectl("get", "widgets", "a", check=False)
    assert f'widgets.{GROUP} "a" not found' in r.stderr
