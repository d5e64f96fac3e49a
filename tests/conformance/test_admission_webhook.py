# SPDX-License-Identifier: Apache-2.0
"""Admission webhooks through TLS: what they are asked, what they may do, how they fail."""
import json
import socket
import threading
import time

import pytest

from apiserver import Server, poll
from certs import Authority, authority
from hooks import Hooks, add, patch

AR = "/apis/admissionregistration.k8s.io/v1/"
VALIDATING, MUTATING = "validatingwebhookconfigurations", "mutatingwebhookconfigurations"
RULE = {"operations": ["CREATE", "UPDATE", "DELETE"], "apiGroups": ["*"], "apiVersions": ["*"],
        "resources": ["configmaps"]}


class Setup:
    """One namespace, one webhook server, and the configurations of one test."""

    def __init__(self, api, ns):
        self.api, self.ns, self.hooks, self.made = api, ns, Hooks(), []
        self.base = f"/api/v1/namespaces/{ns}"

    def config(self, kind, *hooks, name=None):
        name = name or f"{self.ns}-{len(self.made)}"
        self.made.append((kind, name))
        r = self.api.post(AR + kind, {"metadata": {"name": name}, "webhooks": list(hooks)})
        assert r.status == 201, r.body
        return r.json

    def hook(self, path, name="h.ex.io", rules=None, client=None, **kw):
        return {"name": name, "clientConfig": client or self.hooks.client(path),
                "rules": rules or [RULE], "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.ns}},
                "timeoutSeconds": 5} | kw

    def answer(self, path, answer):
        self.hooks.paths[path] = answer if callable(answer) else lambda *_: answer

    def cm(self, name="c", query="", **data):
        return self.api.post(self.base + "/configmaps" + query, {"metadata": {"name": name},
                                                                 "data": data})

    def ready(self, path):
        """Until the webhook is called at all."""
        poll(lambda: self.cm("probe", "?dryRun=All", p="1") and self.hooks.requests(path))
        self.hooks.asked.clear()


@pytest.fixture
def setup(api, ns):
    s = Setup(api, ns)
    yield s
    for kind, name in s.made:
        api.delete(AR + kind + "/" + name)
    s.hooks.close()


def outcome(r):
    j = r.json
    return (j["code"], j.get("reason"), j["message"])


def failing(text, name="h.ex.io"):
    return (500, "InternalError", f'Internal error occurred: failed calling webhook "{name}": {text}')


@pytest.mark.parametrize("answer,want", [
    ({"allowed": False, "status": {"message": "nope msg", "reason": "Because", "code": 418}},
     (418, "Because", 'admission webhook "h.ex.io" denied the request: nope msg')),
    ({"allowed": False},
     (400, None, 'admission webhook "h.ex.io" denied the request without explanation')),
    ({"allowed": False, "status": {"reason": "Forbidden"}},
     (400, "Forbidden", 'admission webhook "h.ex.io" denied the request: Forbidden')),
    ({"allowed": True, "patch": "W10="},
     failing("received invalid webhook response: webhook returned response.patch but not "
             "response.patchType")),
    ({"allowed": True, "patchType": "JSONPatch"},
     failing("received invalid webhook response: webhook returned response.patchType but not "
             "response.patch")),
    (patch({"op": "replace", "path": "/nope/x", "value": 1}),
     (500, "InternalError", "Internal error occurred: replace operation does not apply: doc is "
      "missing path: /nope/x: missing value")),
    (patch({"op": "remove", "path": "/metadata/labels/zz"}),
     (500, "InternalError", "Internal error occurred: remove operation does not apply: doc is "
      'missing path: "/metadata/labels/zz": missing value')),
    (patch({"op": "test", "path": "/metadata/name", "value": "qq"}),
     (500, "InternalError",
      "Internal error occurred: testing value /metadata/name failed: test failed")),
    ((404, "gone"), failing("failed to call webhook: the server could not find the requested "
                            "resource")),
    ((500, "boom here"), failing('failed to call webhook: an error on the server ("boom here") has '
                                 "prevented the request from succeeding")),
    ((200, ""), failing("failed to call webhook: 0-length response with status code: 200 and "
                        "content type: text/plain")),
    (lambda r, _: (200, json.dumps({"kind": "AdmissionReview", "response": {
        "uid": r["uid"], "allowed": True}})),
     failing("received invalid webhook response: expected webhook response of admission.k8s.io/v1, "
             "Kind=AdmissionReview, got /, Kind=AdmissionReview")),
    (lambda r, _: (200, json.dumps({"kind": "AdmissionReview",
                                    "apiVersion": "admission.k8s.io/v1"})),
     failing("received invalid webhook response: webhook response was absent")),
])
def test_answers(setup, answer, want):
    setup.answer("/x", answer)
    setup.config(MUTATING, setup.hook("/x"))
    setup.ready("/x")
    assert outcome(setup.cm()) == want


def test_wrong_uid(setup):
    setup.answer("/x", {"allowed": True, "uid": "other"})
    setup.config(VALIDATING, setup.hook("/x"))
    setup.ready("/x")
    r = setup.cm()
    uid = setup.hooks.requests()[0]["uid"]
    text = f'received invalid webhook response: expected response.uid="{uid}", got "other"'
    assert outcome(r) == failing(text)
    assert r.json["details"]["causes"] == [{"message": f'failed calling webhook "h.ex.io": {text}'}]


def test_validating_webhooks_do_not_patch(setup):
    setup.answer("/x", patch(add("/data", {})))
    setup.config(VALIDATING, setup.hook("/x"))
    setup.ready("/x")
    assert outcome(setup.cm()) == failing(
        "received invalid webhook response: validating webhook may not return response.patch")


def test_what_is_asked(setup):
    setup.answer("/x", {"allowed": True})
    setup.config(VALIDATING, setup.hook("/x"))
    setup.ready("/x")
    setup.cm("a", k="1")
    setup.api.patch(setup.base + "/configmaps/a", {"data": {"k": "2"}})
    setup.api.delete(setup.base + "/configmaps/a")
    path, headers, review = setup.hooks.asked[0]
    assert path == "/x?timeout=5s"
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"] == "kube-apiserver-admission"
    assert (review["kind"], review["apiVersion"]) == ("AdmissionReview", "admission.k8s.io/v1")
    create, update, delete = setup.hooks.requests()
    assert {k: create[k] for k in ("kind", "resource", "name", "namespace", "operation",
                                   "oldObject", "dryRun", "options")} == {
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "name": "a", "namespace": setup.ns, "operation": "CREATE", "oldObject": None,
        "dryRun": False, "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}}
    assert create["object"]["kind"] == "ConfigMap" and create["object"]["data"] == {"k": "1"}
    assert "system:masters" in create["userInfo"]["groups"]
    assert (update["oldObject"]["data"], update["object"]["data"]) == ({"k": "1"}, {"k": "2"})
    assert update["options"]["kind"] == "UpdateOptions"
    assert delete["object"] is None and delete["oldObject"]["data"] == {"k": "2"}
    assert delete["options"]["kind"] == "DeleteOptions"


def test_subresources_are_what_their_bodies_are(setup):
    api, base = setup.api, setup.base
    setup.answer("/x", {"allowed": True})
    setup.config(MUTATING, setup.hook("/x", rules=[
        {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"],
         "resources": ["*/*"]}]))
    setup.ready("/x")
    deps = f"/apis/apps/v1/namespaces/{setup.ns}/deployments"
    api.ok("POST", deps, {"metadata": {"name": "d"}, "spec": {
        "replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
                {"name": "c", "image": "i"}]}}}})
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    api.ok("POST", base + "/pods", pod)
    setup.hooks.asked.clear()
    api.patch(deps + "/d/scale", {"spec": {"replicas": 3}})
    api.post(base + "/pods/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}})
    api.post(base + "/pods/p/exec?command=x&command=y&container=c&stdout=1")
    api.post(base + "/pods/p/eviction", {"metadata": {"name": "p"}})
    api.post(base + "/serviceaccounts/default/token", {})
    scale, bind, exec_, evict, token = setup.hooks.requests()
    assert (scale["kind"]["kind"], scale["subResource"]) == ("Scale", "scale")
    assert scale["object"]["kind"] == "Scale"
    assert scale["object"]["spec"] == {"replicas": 3}
    assert (bind["operation"], bind["object"]["kind"]) == ("CREATE", "Binding")
    assert bind["object"]["target"] == {"kind": "Node", "name": "n"}
    assert exec_["operation"] == "CONNECT"
    assert exec_["object"] == {"kind": "PodExecOptions", "apiVersion": "v1", "container": "c",
                               "command": ["x", "y"], "stdout": True}
    assert evict["kind"] == {"group": "policy", "version": "v1", "kind": "Eviction"}
    assert token["object"]["kind"] == "TokenRequest"


def test_names_to_be_generated(setup):
    setup.answer("/m", {"allowed": True})
    setup.answer("/v", {"allowed": True})
    setup.config(MUTATING, setup.hook("/m"))
    setup.config(VALIDATING, setup.hook("/v"))
    setup.ready("/v")
    made = setup.api.ok("POST", setup.base + "/configmaps", {"metadata": {"generateName": "g-"}})
    m, v = setup.hooks.requests("/m")[0], setup.hooks.requests("/v")[0]
    assert "name" not in m and "name" not in m["object"]["metadata"]
    assert v["name"] == v["object"]["metadata"]["name"] == made["metadata"]["name"]


def test_mutation_order_and_second_pass(setup):
    def mark(key):
        def answer(r, _):
            seen = r["object"].get("data") or {}
            if key in seen:
                return {"allowed": True}
            ops = [] if r["object"].get("data") else [add("/data", {})]
            return patch(*ops, add("/data/" + key, ",".join(sorted(seen))))
        return answer

    for k in "abc":
        setup.answer("/" + k, mark(k))
    setup.config(MUTATING, setup.hook("/a", "a.ex.io", reinvocationPolicy="IfNeeded"),
                 setup.hook("/b", "b.ex.io"), name=setup.ns + "-1")
    setup.config(MUTATING, setup.hook("/c", "c.ex.io", reinvocationPolicy="IfNeeded"),
                 name=setup.ns + "-2")
    setup.ready("/c")
    assert setup.cm().json["data"] == {"a": "", "b": "a", "c": "a,b"}
    # the first once more since others changed something after it; c was the last to change
    assert [p.split("?")[0] for p, _, _ in setup.hooks.asked] == ["/a", "/b", "/c", "/a"]


def test_what_a_webhook_adds_is_defaulted_and_limited(setup):
    setup.answer("/x", patch(
        add("/spec/initContainers", [{"name": "added", "image": "i"}]), add("/spec/unknown", 1)))
    setup.config(MUTATING, setup.hook("/x", rules=[RULE | {"resources": ["pods", "configmaps"]}]))
    poll(lambda: setup.cm("probe", "?dryRun=All") and setup.hooks.asked)
    p = setup.api.ok("POST", setup.base + "/pods", {
        "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    added = p["spec"]["initContainers"][0]
    assert added["terminationMessagePolicy"] == "File"
    # in-tree plugins see what was added, too
    assert added["volumeMounts"][0]["mountPath"].startswith("/var/run/secrets")
    assert "unknown" not in p["spec"]


def test_warnings(setup):
    setup.answer("/x", {"allowed": True, "warnings": ["w1", 'w2 "q"', "w1"]})
    setup.config(VALIDATING, setup.hook("/x"))
    setup.ready("/x")
    assert setup.cm().warnings == ["w1", 'w2 "q"']


def test_selectors(setup):
    setup.answer("/x", {"allowed": False})
    setup.config(VALIDATING, setup.hook("/x", objectSelector={"matchLabels": {"deny": "me"}}))
    labelled = {"metadata": {"name": "l", "labels": {"deny": "me"}}}
    poll(lambda: setup.api.post(setup.base + "/configmaps?dryRun=All", labelled).status == 400)
    assert setup.cm("free").status == 201
    # either of the two objects counts
    r = setup.api.patch(setup.base + "/configmaps/free", {"metadata": {"labels": {"deny": "me"}}})
    assert r.status == 400


def test_equivalent_versions(setup):
    setup.answer("/eq", {"allowed": True})
    setup.answer("/exact", {"allowed": True})
    v2 = [{"operations": ["*"], "apiGroups": ["autoscaling"], "apiVersions": ["v2"],
           "resources": ["horizontalpodautoscalers"]}]
    setup.config(VALIDATING, setup.hook("/eq", "eq.ex.io", rules=v2), setup.hook(
        "/exact", "exact.ex.io", rules=v2, matchPolicy="Exact"))
    hpa = {"metadata": {"name": "h"}, "spec": {
        "maxReplicas": 3, "targetCPUUtilizationPercentage": 50, "scaleTargetRef": {
            "kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}}}
    path = f"/apis/autoscaling/v1/namespaces/{setup.ns}/horizontalpodautoscalers?dryRun=All"
    poll(lambda: setup.api.ok("POST", path, hpa) and setup.hooks.asked)
    r = setup.hooks.requests("/eq")[0]
    assert r["kind"]["version"] == "v2" and r["requestKind"]["version"] == "v1"
    assert r["object"]["apiVersion"] == "autoscaling/v2"
    assert r["object"]["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    assert not setup.hooks.requests("/exact")


def test_dry_run_needs_a_promise(setup):
    setup.answer("/x", {"allowed": True})
    setup.config(VALIDATING, setup.hook("/x", sideEffects="NoneOnDryRun"))
    setup.ready("/x")
    assert setup.cm(query="?dryRun=All").status == 201
    assert setup.hooks.requests()[0]["dryRun"] is True


@pytest.mark.parametrize("policy,code", [("Fail", 500), ("Ignore", 201)])
def test_failures_and_policies(setup, policy, code):
    """Refused, too slow, or by somebody else's authority: Fail refuses, Ignore lets pass."""
    dead = Hooks()
    dead.close()
    setup.answer("/slow", lambda *_: time.sleep(2) or {"allowed": True})
    cases = [
        (setup.hook("/x", client=dead.client("/x")),
         f'Post "https://127.0.0.1:{dead.port}/x?timeout=5s": dial tcp 127.0.0.1:{dead.port}: '
         "connect: connection refused"),
        (setup.hook("/slow", timeoutSeconds=1),
         f'Post "https://127.0.0.1:{setup.hooks.port}/slow?timeout=1s": context deadline exceeded'),
        (setup.hook("/x", client={"service": {"namespace": "default", "name": "nope",
                                              "path": "/p"}}),
         'Post "https://nope.default.svc:443/p?timeout=5s": service "nope" not found'),
    ]
    for hook, text in cases:
        setup.config(VALIDATING, hook | {"failurePolicy": policy}, name=setup.ns)
        if policy == "Fail":
            r = poll(lambda: (x := setup.cm("q", "?dryRun=All")).status == 500 and x)
            assert outcome(r) == failing("failed to call webhook: " + text)
        else:
            time.sleep(0.1)
            assert setup.cm("q", "?dryRun=All").status == code
        setup.api.delete(AR + VALIDATING + "/" + setup.ns)


def test_unknown_authority(setup):
    client = setup.hooks.client("/x")
    client.pop("caBundle")
    setup.config(VALIDATING, setup.hook("/x", client=client))
    r = poll(lambda: (x := setup.cm("q", "?dryRun=All")).status == 500 and x)
    assert outcome(r) == failing(
        f'failed to call webhook: Post "https://127.0.0.1:{setup.hooks.port}/x?timeout=5s": tls: '
        "failed to verify certificate: x509: certificate signed by unknown authority")


@pytest.mark.parametrize("kind", [VALIDATING, MUTATING])
@pytest.mark.parametrize("case,text", [
    ("ca", "certificate signed by unknown authority"),
    ("name", "hostname mismatch"),
    ("ip", "IP address mismatch"),
    ("expired", "certificate has expired or is not yet valid"),
])
def test_certificates(setup, kind, case, text):
    """A webhook that is not who it should be is not called; its failurePolicy says what then."""
    names = {"ip": ["DNS:hook.default.svc"], "name": ["DNS:other.default.svc", "IP:127.0.0.1"]}
    pem = authority().issue(*names.get(case, ["DNS:hook.default.svc", "IP:127.0.0.1"]),
                            days=0 if case == "expired" else 2)
    hooks = Hooks(pem=pem, ca=Authority().pem if case == "ca" else None)
    url = f"https://127.0.0.1:{hooks.port}/x"
    client = hooks.client("/x")
    if case == "name":
        make_service(setup.api, hooks.port)
        url = "https://hook.default.svc:443/x"
        client["service"] = {"namespace": "default", "name": "hook", "path": "/x"}
        client.pop("url")
    hooks.paths["/x"] = lambda *_: {"allowed": True}
    setup.config(kind, setup.hook("/x", client=client), name=setup.ns)
    r = poll(lambda: (x := setup.cm("q", "?dryRun=All")).status == 500 and x)
    assert outcome(r) == failing(f'failed to call webhook: Post "{url}?timeout=5s": tls: failed to '
                                 f"verify certificate: x509: {text}")
    setup.api.patch(f"{AR}{kind}/{setup.ns}",
                    [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}], "json")
    poll(lambda: setup.cm("q", "?dryRun=All").status == 201)
    assert not hooks.asked
    hooks.close()


def make_service(api, port):
    """default/hook, at a port of this host."""
    api.post("/api/v1/namespaces/default/services", {
        "metadata": {"name": "hook"}, "spec": {"ports": [{"port": 443}]}})
    path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    api.delete(path + "/hook-1")
    api.ok("POST", path, {
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4", "endpoints": [{"addresses": ["127.0.0.1"]}], "ports": [
            {"port": port, "protocol": "TCP", "name": ""}]})


def test_a_service_that_moves(setup):
    """Its endpoints are looked up for each call."""
    setup.answer("/x", {"allowed": True})
    make_service(setup.api, setup.hooks.port)
    client = setup.hooks.client("/x")
    client.pop("url")
    setup.config(VALIDATING, setup.hook("/x", client=client | {
        "service": {"namespace": "default", "name": "hook", "path": "/x"}}))
    setup.ready("/x")
    paths = setup.hooks.paths
    for i in range(3):
        setup.hooks.close()
        setup.hooks = Hooks()
        setup.hooks.paths = paths
        make_service(setup.api, setup.hooks.port)
        assert setup.cm(f"m{i}").status == 201
        assert setup.hooks.requests("/x")


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("answer,text", [
    ((200, "no JSON"), "couldn't get version/kind; json parse error: "),
    ((200, "[1, 2"), "couldn't get version/kind; json parse error: "),
    ((200, "[" * 100000), "couldn't get version/kind; json parse error: "),
    ((200, '{"a": "' + "x" * (40 << 20) + '"}'), ": "),
    ((302, ""), "the server responded with the status code 302 but did not return more information"),
    (b"", "EOF"),
    (b"\0\0\0 what?\r\n\r\n", ": "),
    (HEAD + b"Content-Length: 100\r\n\r\n{", "EOF"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\r\n", ""),
    (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20000, ": "),
], ids=["text", "cut", "deep", "huge", "redirect", "nothing", "noise", "short", "chunks", "headers"])
def test_garbage(setup, answer, text):
    setup.answer("/x", answer)
    setup.config(MUTATING, setup.hook("/x", timeoutSeconds=10))
    setup.ready("/x")
    code, reason, message = outcome(setup.cm())
    assert (code, reason) == (500, "InternalError")
    assert message.startswith("Internal error occurred: failed calling webhook \"h.ex.io\": failed to "
                              "call webhook: "), message
    assert text in message, message
    assert len(message) < 1000
    # nothing of it stays behind
    setup.answer("/x", {"allowed": True})
    assert setup.cm().status == 201


@pytest.mark.parametrize("silent", ["tcp", "tls"])
def test_one_that_hangs(setup, silent):
    """It accepts, and that is all: before TLS, or after it."""
    if silent == "tcp":
        sock = socket.create_server(("127.0.0.1", 0))
        client = setup.hooks.client("/x") | {"url": f"https://127.0.0.1:{sock.getsockname()[1]}/x"}
    else:
        setup.answer("/x", lambda *_: time.sleep(20))
        client = setup.hooks.client("/x")
    setup.config(VALIDATING, setup.hook("/x", client=client, timeoutSeconds=1), name=setup.ns)
    r = poll(lambda: (x := setup.cm("q", "?dryRun=All")).status == 500 and x)
    assert outcome(r)[2].endswith("?timeout=1s\": context deadline exceeded"), r.body
    began = time.monotonic()
    assert setup.cm("q", "?dryRun=All").status == 500
    assert 0.9 < time.monotonic() - began < 5
    # the request's own time counts too
    began = time.monotonic()
    r = setup.cm("q", "?dryRun=All&timeout=300ms")
    assert r.status in (500, 504) and time.monotonic() - began < 0.9
    # others are served meanwhile
    t = threading.Thread(target=lambda: setup.cm("q", "?dryRun=All"))
    t.start()
    began = time.monotonic()
    assert setup.api.get(setup.base + "/configmaps").status == 200
    assert time.monotonic() - began < 0.9
    t.join()


def test_restart_of_the_webhook(setup):
    setup.answer("/x", {"allowed": True})
    setup.config(VALIDATING, setup.hook("/x"))
    setup.ready("/x")
    port, paths = setup.hooks.port, setup.hooks.paths
    assert setup.cm("a").status == 201
    for i in range(3):
        # a connection that died meanwhile is no reason to fail
        setup.hooks.close()
        setup.hooks = Hooks(port)
        setup.hooks.paths = paths
        assert setup.cm(f"b{i}").status == 201
        assert setup.hooks.requests("/x")
    setup.hooks.close()
    assert setup.cm("c", "?dryRun=All").status == 500
    setup.hooks = Hooks(port)
    setup.hooks.paths = paths
    assert setup.cm("c").status == 201


def test_restart_of_the_api_server(fresh):
    """Who is asked is known before the first write."""
    ns = "hooked"
    fresh.ok("POST", "/api/v1/namespaces", {"metadata": {"name": ns}})
    setup = Setup(fresh, ns)
    setup.answer("/v", {"allowed": True})
    setup.answer("/m", patch(add("/data", {"by": "hook"})))
    setup.config(VALIDATING, setup.hook("/v"))
    setup.config(MUTATING, setup.hook("/m"))
    poll(lambda: setup.cm("probe", "?dryRun=All").status == 201 and setup.hooks.requests("/v") and
         setup.hooks.requests("/m"))
    for i in range(3):
        fresh.kill()
        fresh.start()
        setup.hooks.asked.clear()
        r = setup.cm(f"r{i}")
        assert r.status == 201 and r.json["data"] == {"by": "hook"}
        assert setup.hooks.requests("/v") and setup.hooks.requests("/m")
    # killed while a webhook thinks: nothing is half there
    there = threading.Event()
    setup.answer("/v", lambda *_: there.set() or time.sleep(2) or {"allowed": True})

    def lost():
        with pytest.raises(Exception):
            setup.cm("lost")

    t = threading.Thread(target=lost)
    t.start()
    assert there.wait(10)
    fresh.kill()
    t.join()
    fresh.start()
    assert fresh.get(setup.base + "/configmaps/lost").status == 404
    setup.hooks.close()
    assert setup.cm("after").status == 500


def test_connections_are_kept(setup):
    setup.answer("/x", {"allowed": True})
    setup.config(VALIDATING, setup.hook("/x"))
    setup.ready("/x")
    before = setup.hooks.connections
    for i in range(20):
        assert setup.cm(f"k{i}").status == 201
    assert setup.hooks.connections <= before + 1


def test_validating_webhooks_run_side_by_side(setup):
    all_here = threading.Barrier(6, timeout=8)

    def answer(*_):
        all_here.wait()
        return {"allowed": True}

    setup.answer("/ok", {"allowed": True})
    setup.config(VALIDATING, *[setup.hook(f"/{i}", f"h{i}.ex.io") for i in range(6)])
    for i in range(6):
        setup.answer(f"/{i}", {"allowed": True})
    setup.ready("/5")
    for i in range(6):
        setup.answer(f"/{i}", answer)
    assert setup.cm().status == 201


def test_delete_collection_and_custom_resources(setup):
    api = setup.api
    group = setup.ns.replace("-", "")[:20] + ".ex.io"
    crd = {"metadata": {"name": f"things.{group}"}, "spec": {
        "group": group, "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": v, "served": True, "storage": v == "v1", "schema": {
            "openAPIV3Schema": {"type": "object", "properties": {
                "data": {"type": "object", "properties": {
                    "kept": {"type": "string"}, "dflt": {"type": "string", "default": "d"}}}}}}}
            for v in ("v1", "v2")]}}
    api.ok("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    things = f"/apis/{group}/v1/namespaces/{setup.ns}/things"
    poll(lambda: api.get(things).status == 200)
    setup.answer("/m", patch(add("/data", {"kept": "k", "lost": "l"})))
    setup.answer("/d", {"allowed": False})
    rule = {"apiGroups": [group], "apiVersions": ["v2"], "resources": ["things"]}
    setup.config(MUTATING, setup.hook("/m", rules=[rule | {"operations": ["CREATE"]}]))
    setup.config(VALIDATING, setup.hook("/d", rules=[rule | {"operations": ["DELETE"]}]))
    thing = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"generateName": "t"}}
    t = poll(lambda: (x := api.ok("POST", things, thing)).get("data") and x)
    assert t["data"] == {"kept": "k", "dflt": "d"} and t["apiVersion"] == f"{group}/v1"
    assert setup.hooks.requests("/m")[0]["object"]["apiVersion"] == f"{group}/v2"
    r = poll(lambda: (x := api.delete(things)).status == 400 and x)
    assert "denied the request" in r.json["message"]
    assert "name" not in setup.hooks.requests("/d")[0]
    api.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.{group}")


def test_configurations_are_exempt(setup):
    setup.answer("/x", {"allowed": False})
    setup.config(VALIDATING, setup.hook("/x", rules=[
        {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]))
    poll(lambda: setup.cm("q", "?dryRun=All").status == 400)
    name = setup.made[0][1]
    r = setup.api.patch(f"{AR}{VALIDATING}/{name}", {"metadata": {"labels": {"a": "b"}}})
    assert r.status == 200


BAD = [
    ({"name": "short"}, "name: Invalid value: \"short\": should be a domain with at least three "
     "segments separated by dots"),
    ({"name": ""}, "name: Required value"),
    ({"failurePolicy": "Maybe"}, 'failurePolicy: Unsupported value: "Maybe": supported values: '
     '"Fail", "Ignore"'),
    ({"sideEffects": "Some"}, 'sideEffects: Unsupported value: "Some": supported values: "None", '
     '"NoneOnDryRun"'),
    ({"sideEffects": None}, "sideEffects: Required value: must specify one of None, NoneOnDryRun"),
    ({"timeoutSeconds": 31}, "timeoutSeconds: Invalid value: 31: the timeout value must be between "
     "1 and 30 seconds"),
    ({"admissionReviewVersions": []}, "admissionReviewVersions: Required value: must specify one "
     "of v1, v1beta1"),
    ({"admissionReviewVersions": ["v9"]}, 'admissionReviewVersions: Invalid value: ["v9"]: must '
     "include at least one of v1, v1beta1"),
    ({"clientConfig": {}}, "clientConfig: Required value: exactly one of url or service is "
     "required"),
    ({"clientConfig": {"url": "http://x/y"}}, "clientConfig.url: Invalid value: \"http\": 'https' "
     "is the only allowed URL scheme; desired format: https://host[/path]"),
    ({"clientConfig": {"url": "https://x/y?a=b"}}, 'clientConfig.url: Invalid value: "a=b": query '
     "parameters are not permitted in the URL"),
    ({"clientConfig": {"service": {"name": "n", "namespace": "m", "path": "//"}}},
     'clientConfig.service.path: Invalid value: "//": segment[0] may not be empty'),
    ({"rules": [RULE | {"operations": []}]}, "rules[0].operations: Required value"),
    ({"rules": [RULE | {"operations": ["*", "CREATE"]}]}, "rules[0].operations: Invalid value: "
     "[\"*\",\"CREATE\"]: if '*' is present, must not specify other operations"),
    ({"rules": [RULE | {"resources": ["*/*", "pods"]}]}, "rules[0].resources: Invalid value: "
     "[\"*/*\",\"pods\"]: if '*/*' is present, must not specify other resources"),
    ({"rules": [RULE | {"resources": ["pods/*", "pods/exec"]}]}, "rules[0].resources[1]: Invalid "
     "value: \"pods/exec\": if 'pods/*' is present, must not specify pods/exec"),
    ({"rules": [RULE | {"scope": "X"}]}, 'rules[0].scope: Unsupported value: "X": supported '
     'values: "*", "Cluster", "Namespaced"'),
    ({"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
     "namespaceSelector.matchExpressions[0].values: Required value: must be specified when "
     "`operator` is 'In' or 'NotIn'"),
]


@pytest.mark.parametrize("change,text", BAD)
def test_bad_configurations(setup, change, text):
    hook = {k: v for k, v in (setup.hook("/x") | change).items() if v is not None}
    r = setup.api.post(AR + VALIDATING, {"metadata": {"name": "bad"}, "webhooks": [hook]})
    assert r.status == 422, r.body
    assert r.json["message"] == ('ValidatingWebhookConfiguration.admissionregistration.k8s.io "bad" '
                                 "is invalid: webhooks[0]." + text)


def test_defaults(setup):
    setup.made.append((MUTATING, "dflt"))
    h = setup.api.ok("POST", AR + MUTATING, {"metadata": {"name": "dflt"}, "webhooks": [
        {"name": "a.b.c", "clientConfig": {"service": {"name": "n", "namespace": "m"}},
         "rules": [RULE], "admissionReviewVersions": ["v1"], "sideEffects": "None"}]})
    assert h["metadata"]["generation"] == 1
    assert h["webhooks"] == [{
        "name": "a.b.c", "clientConfig": {"service": {"name": "n", "namespace": "m", "port": 443}},
        "rules": [RULE | {"scope": "*"}], "failurePolicy": "Fail", "matchPolicy": "Equivalent",
        "namespaceSelector": {}, "objectSelector": {}, "sideEffects": "None", "timeoutSeconds": 10,
        "admissionReviewVersions": ["v1"], "reinvocationPolicy": "Never"}]


def test_audit_log(tmp_path):
    (tmp_path / "policy").write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\n"
                                     "rules: [{level: Request}]\n")
    log = tmp_path / "log"
    s = Server("--audit-policy-file", str(tmp_path / "policy"), f"--audit-log-path={log}")
    setup = Setup(s, "default")
    try:
        answers(setup)
        audited(setup, log)
    finally:
        setup.hooks.close()
        s.close()


def answers(setup):
    ops = {"allowed": True, "auditAnnotations": {"seen": "yes", "a/b": "bad"},
           **patch(add("/data/x", "1"))}
    setup.answer("/m", ops)
    setup.answer("/v", {"allowed": True, "auditAnnotations": {"checked": "too"}})
    setup.config(MUTATING, setup.hook("/m", "m.ex.io"), name="mutating")
    setup.config(VALIDATING, setup.hook("/v", "v.ex.io"),
                 setup.hook("/none", "f.ex.io", failurePolicy="Ignore", timeoutSeconds=1,
                            client={"url": "https://127.0.0.1:1/"}), name="validating")
    setup.ready("/m")
    setup.ready("/v")


def audited(setup, log):
    r = setup.api.request("POST", setup.base + "/configmaps",
                          {"metadata": {"name": "a"}, "data": {"p": "1"}}, headers={"Audit-ID": "one"})
    assert r.status == 201, r.body

    def event():
        return next((e for e in map(json.loads, log.read_text().splitlines())
                     if e["auditID"] == "one" and e["stage"] == "ResponseComplete"), None)
    notes = poll(event)["annotations"]
    assert {k: v for k, v in notes.items() if not k.startswith("authorization")} == {
        "failed-open.validating.webhook.admission.k8s.io/round_0_index_1": "f.ex.io",
        "m.ex.io/seen": "yes",
        "mutation.webhook.admission.k8s.io/round_0_index_0":
            '{"configuration":"mutating","webhook":"m.ex.io","mutated":true}',
        "patch.webhook.admission.k8s.io/round_0_index_0":
            '{"configuration":"mutating","webhook":"m.ex.io","patch":[{"op":"add",'
            '"path":"/data/x","value":"1"}],"patchType":"JSONPatch"}',
        "v.ex.io/checked": "too"}
