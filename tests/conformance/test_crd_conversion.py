# SPDX-License-Identifier: Apache-2.0
"""Conversion of custom resources by webhooks: every way to an object, and answers that are wrong."""
import json
import time

import pytest

from certs import Authority, authority
from apiserver import poll
from hooks import Hooks
from samples import status

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "conv.example.com"


def convert(o, want):
    """v1 has spec.port "host:port"; v2 has spec.host and spec.num."""
    if o["apiVersion"] == want:
        return o
    o = json.loads(json.dumps(o)) | {"apiVersion": want}
    spec = o.get("spec") or {}
    if want.endswith("/v2"):
        host, _, num = spec.get("port", ":").partition(":")
        o["spec"] = {"host": host, "num": num}
    else:
        o["spec"] = {"port": spec.get("host", "") + ":" + spec.get("num", "")}
    o["metadata"].setdefault("labels", {})["seen"] = "yes"
    o["metadata"]["generateName"] = "forged"
    return o


class Convert:
    """A webhook whose answer a test may bend."""

    def __init__(self):
        self.hooks = Hooks()
        self.bend = None
        self.hooks.paths["/"] = self.answer

    def answer(self, rq, review):
        r = {"uid": rq["uid"], "result": {"status": "Success"},
             "convertedObjects": [convert(o, rq["desiredAPIVersion"]) for o in rq["objects"]]}
        doc = {"kind": "ConversionReview", "apiVersion": review["apiVersion"], "response": r}
        if self.bend:
            self.bend(doc, r)
        return 200, json.dumps(doc)

    @property
    def calls(self):
        return [r["request"] for _, _, r in self.hooks.asked]


@pytest.fixture
def conv():
    c = Convert()
    yield c
    c.hooks.close()


def definition(conv, plural="convs", storage="v1"):
    def version(name, fields):
        return {"name": name, "served": True, "storage": name == storage,
                "selectableFields": [{"jsonPath": f".spec.{fields[0]}"}],
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {f: {"type": "string"} for f in fields}
                             | {"dflt" + name: {"type": "string", "default": name}}}}}}}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{GROUP}"},
            "spec": {"group": GROUP, "scope": "Namespaced",
                     "names": {"plural": plural, "kind": plural.capitalize()[:-1]},
                     "conversion": {"strategy": "Webhook", "webhook": {
                         "clientConfig": conv.hooks.client("/"),
                         "conversionReviewVersions": ["v1", "v1beta1"]}},
                     "versions": [version("v1", ["port"]), version("v2", ["host", "num"])]}}


@pytest.fixture
def crd(api, conv):
    d = definition(conv)
    api.ok("POST", CRDS, d)
    poll(lambda: api.get(f"/apis/{GROUP}/v1").status == 200)
    yield d
    conv.bend = None
    api.delete(CRDS + "/convs." + GROUP)
    poll(lambda: api.get(CRDS + "/convs." + GROUP).status == 404)


def path(ns, version, name="", plural="convs"):
    return f"/apis/{GROUP}/{version}/namespaces/{ns}/{plural}" + (f"/{name}" if name else "")


def obj(name, spec, version="v1"):
    return {"apiVersion": f"{GROUP}/{version}", "kind": "Conv", "metadata": {"name": name},
            "spec": spec}


def test_reads_in_each_version(api, ns, conv, crd):
    made = api.ok("POST", path(ns, "v1"), obj("a", {"port": "h:1"}))
    assert made["spec"] == {"port": "h:1", "dfltv1": "v1"}
    got = api.get(path(ns, "v2", "a")).json
    assert got["apiVersion"] == GROUP + "/v2"
    assert got["spec"] == {"host": "h", "num": "1", "dfltv2": "v2"}
    # labels and annotations are the webhook's, the rest of metadata is not
    assert got["metadata"]["labels"] == {"seen": "yes"}
    for m in ("uid", "resourceVersion", "creationTimestamp"):
        assert got["metadata"][m] == made["metadata"][m]
    assert "generateName" not in got["metadata"]
    p, headers, review = conv.hooks.asked[-1]
    assert p == "/?timeout=30s" and review["request"]["desiredAPIVersion"] == GROUP + "/v2"
    assert "resourceVersion" not in review["request"]["objects"][0]["metadata"]


def test_writes_in_another_version(api, ns, conv, crd):
    made = api.ok("POST", path(ns, "v2"), obj("a", {"host": "h", "num": "1"}, "v2"))
    assert made["spec"] == {"host": "h", "num": "1", "dfltv2": "v2"}
    assert api.get(path(ns, "v1", "a")).json["spec"] == {"port": "h:1", "dfltv1": "v1"}
    made["spec"]["num"] = "2"
    put = api.ok("PUT", path(ns, "v2", "a"), made)
    assert put["spec"]["num"] == "2" and put["metadata"]["generation"] == 2
    patched = api.patch(path(ns, "v2", "a"), {"spec": {"host": "k"}}).json
    assert patched["spec"] == {"host": "k", "num": "2", "dfltv2": "v2"}
    assert api.get(path(ns, "v1", "a")).json["spec"]["port"] == "k:2"


def test_applies_in_another_version(api, ns, conv, crd):
    api.ok("POST", path(ns, "v1"), obj("a", {"port": "h:1"}))
    r = api.request("PATCH", path(ns, "v2", "a") + "?fieldManager=m&force=true",
                    json.dumps(obj("a", {"num": "7"}, "v2")),
                    headers={"Content-Type": "application/apply-patch+yaml"})
    assert r.status == 200, r.body
    assert api.get(path(ns, "v1", "a")).json["spec"]["port"] == "h:7"


def test_a_list_is_one_call(api, ns, conv, crd):
    for i in range(5):
        api.ok("POST", path(ns, "v1"), obj(f"a{i}", {"port": f"h:{i}"}))
    before = len(conv.calls)
    items = api.get(path(ns, "v2")).json["items"]
    assert [i["spec"]["num"] for i in items] == list("01234")
    assert {i["apiVersion"] for i in items} == {GROUP + "/v2"}
    assert len(conv.calls) == before + 1 and len(conv.calls[-1]["objects"]) == 5
    page = api.get(path(ns, "v2") + "?limit=2").json
    assert len(page["items"]) == 2 and page["metadata"]["continue"]
    rest = api.get(path(ns, "v2") + "?continue=" + page["metadata"]["continue"]).json
    assert [i["metadata"]["name"] for i in rest["items"]] == ["a2", "a3", "a4"]


def test_objects_stored_in_both_versions(api, ns, conv, crd):
    api.ok("POST", path(ns, "v1"), obj("old", {"port": "o:1"}))
    d = api.get(CRDS + "/convs." + GROUP).json
    for v in d["spec"]["versions"]:
        v["storage"] = v["name"] == "v2"
    d = api.ok("PUT", CRDS + "/convs." + GROUP, d)
    assert d["status"]["storedVersions"] == ["v1", "v2"]
    api.ok("POST", path(ns, "v2"), obj("young", {"host": "y", "num": "2"}, "v2"))
    before = len(conv.calls)
    items = api.get(path(ns, "v2")).json["items"]
    assert [i["spec"]["host"] for i in items] == ["o", "y"]
    assert [o["metadata"]["name"] for o in conv.calls[before]["objects"]] == ["old"]
    items = api.get(path(ns, "v1")).json["items"]
    assert [i["spec"]["port"] for i in items] == ["o:1", "y:2"]


def test_watches(api, ns, conv, crd):
    api.ok("POST", path(ns, "v1"), obj("a", {"port": "h:1"}))
    with api.watch(path(ns, "v2") + "?watch=1") as w, api.watch(path(ns, "v2") + "?watch=1") as w2:
        for one in (w, w2):
            e, = one.take(1)
            assert (e["type"], e["object"]["spec"]["host"]) == ("ADDED", "h")
        before = len(conv.calls)
        api.patch(path(ns, "v1", "a"), {"spec": {"port": "i:2"}})
        for one in (w, w2):
            e, = one.take(1)
            assert (e["type"], e["object"]["spec"]["host"]) == ("MODIFIED", "i")
            assert e["object"]["apiVersion"] == GROUP + "/v2"
        asked = [c for c in conv.calls[before:] if c["desiredAPIVersion"].endswith("v2")]
        assert len(asked) == 2  # the fields of v2 for the write, and one for both watches
        for i in range(20):
            api.patch(path(ns, "v1", "a"), {"spec": {"port": f"i:{i}"}})
        assert [e["object"]["spec"]["num"] for e in w.take(20)] == [str(i) for i in range(20)]
        api.delete(path(ns, "v1", "a"))
        e, = w.take(1)
        assert (e["type"], e["object"]["spec"]["num"]) == ("DELETED", "19")


def test_fields_of_each_version(api, ns, conv, crd):
    api.ok("POST", path(ns, "v1"), obj("a", {"port": "h:1"}))
    api.ok("POST", path(ns, "v2"), obj("b", {"host": "k", "num": "2"}, "v2"))

    def names(v, sel):
        return [i["metadata"]["name"] for i in
                api.ok("GET", path(ns, v) + "?fieldSelector=" + sel)["items"]]

    assert names("v1", "spec.port=h:1") == ["a"] and names("v1", "spec.port=k:2") == ["b"]
    assert names("v2", "spec.host=h") == ["a"] and names("v2", "spec.host=k") == ["b"]
    assert names("v2", "spec.host!=h") == ["b"]
    status(api.get(path(ns, "v2") + "?fieldSelector=spec.port=x"), 400, "BadRequest")
    with api.watch(path(ns, "v2") + "?watch=1&fieldSelector=spec.host=k") as w:
        assert w.take(1)[0]["object"]["metadata"]["name"] == "b"
        api.patch(path(ns, "v1", "a"), {"spec": {"port": "k:9"}})
        e, = w.take(1)
        assert (e["type"], e["object"]["spec"]["num"]) == ("ADDED", "9")


BENT = [
    ("failed: expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got "
     "apiextensions.k8s.io/v1, Kind=Foo", lambda d, r: d.update(kind="Foo")),
    ("failed: no response provided", lambda d, r: d.pop("response")),
    ("failed: expected response.uid=", lambda d, r: r.update(uid="x")),
    ("failed: conv boom", lambda d, r: r.update(result={"status": "Failure", "message": "conv boom"})),
    ("failed: response.result.status was '', not 'Success'", lambda d, r: r.update(result={})),
    ("returned 0 objects, expected 1", lambda d, r: r.update(convertedObjects=[])),
    ("returned invalid object at index 0: invalid groupVersion (expected conv.example.com/v2, "
     "received x/v9)", lambda d, r: r["convertedObjects"][0].update(apiVersion="x/v9")),
    ("returned invalid object at index 0: invalid kind (expected Conv, received X)",
     lambda d, r: r["convertedObjects"][0].update(kind="X")),
    ("returned invalid object: must have the same name: a != b",
     lambda d, r: r["convertedObjects"][0]["metadata"].update(name="b")),
    ("returned invalid object: must have the same UID: ",
     lambda d, r: r["convertedObjects"][0]["metadata"].update(uid="b")),
    ("returned invalid metadata: ",
     lambda d, r: r["convertedObjects"][0]["metadata"].update(labels={"a": 1})),
]


def test_answers_that_are_wrong(api, ns, conv, crd):
    api.ok("POST", path(ns, "v1"), obj("a", {"port": "h:1"}))
    for want, conv.bend in BENT:
        r = api.get(path(ns, "v2", "a"))
        assert r.status == 500 and "reason" not in r.json, r.body
        assert r.json["message"].startswith(
            f"conversion webhook for {GROUP}/v1, Kind=Conv {want}"), r.json["message"]
        assert api.get(path(ns, "v2")).status >= 400
    assert api.get(path(ns, "v1", "a")).status == 200


@pytest.mark.parametrize("case,text", [
    ("ca", "certificate signed by unknown authority"),
    ("ip", "IP address mismatch"),
    ("expired", "certificate has expired or is not yet valid"),
])
def test_certificates(api, ns, conv, crd, case, text):
    api.ok("POST", path(ns, "v1"), obj("a", {"port": "h:1"}))
    pem = authority().issue("DNS:hook.default.svc" if case == "ip" else "IP:127.0.0.1",
                            days=0 if case == "expired" else 2)
    hooks = Hooks(pem=pem, ca=Authority().pem if case == "ca" else None)
    hooks.paths["/"] = conv.answer
    change_client(api, hooks)
    want = (f"conversion webhook for {GROUP}/v1, Kind=Conv failed: Post \"https://127.0.0.1:{hooks.port}"
            f"/?timeout=30s\": tls: failed to verify certificate: x509: {text}")
    poll(lambda: api.get(path(ns, "v2", "a")).json.get("message") == want)
    assert api.get(path(ns, "v2")).status == 500
    assert api.post(path(ns, "v2"), obj("b", {"host": "h"}, "v2")).status == 500
    assert api.get(path(ns, "v1", "a")).status == 200
    assert not hooks.asked
    change_client(api, conv.hooks)
    poll(lambda: api.get(path(ns, "v2", "a")).status == 200)
    hooks.close()


def change_client(api, hooks):
    """Another webhook converts."""
    api.patch(f"{CRDS}/convs.{GROUP}", {"spec": {"conversion": {"webhook": {
        "clientConfig": hooks.client("/")}}}})


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("answer,text", [
    ((200, "no JSON"), "couldn't get version/kind; json parse error: "),
    ((200, '{"a": "' + "x" * (40 << 20) + '"}'), ": "),
    ((500, "boom"), 'an error on the server ("boom") has prevented the request from succeeding'),
    (b"", "EOF"),
    (HEAD + b"Content-Length: 100\r\n\r\n{", "EOF"),
    (b"\0\0 what?\r\n\r\n", ": "),
], ids=["text", "huge", "error", "nothing", "short", "noise"])
def test_garbage(api, ns, conv, crd, answer, text):
    api.ok("POST", path(ns, "v1"), obj("a", {"port": "h:1"}))
    conv.hooks.paths["/"] = lambda *_: answer
    r = api.get(path(ns, "v2", "a"))
    assert r.status == 500, r.body
    assert r.json["message"].startswith(f"conversion webhook for {GROUP}/v1, Kind=Conv failed: ")
    assert text in r.json["message"] and len(r.json["message"]) < 1000
    # lists, watches and writes end as well
    assert api.get(path(ns, "v2")).status == 500
    assert api.patch(path(ns, "v2", "a"), {"spec": {"host": "x"}}).status == 500
    with api.watch(path(ns, "v2") + "?watch=1&resourceVersion=0") as w:
        assert w.status == 500 or w.next()["type"] == "ERROR"
    conv.hooks.paths["/"] = conv.answer
    assert api.get(path(ns, "v2", "a")).json["spec"]["host"] == "h"


def test_restart_of_the_webhook(api, ns, conv, crd):
    api.ok("POST", path(ns, "v1"), obj("a", {"port": "h:1"}))
    assert api.get(path(ns, "v2", "a")).status == 200
    port, paths = conv.hooks.port, conv.hooks.paths
    for _ in range(3):
        conv.hooks.close()
        conv.hooks = Hooks(port)
        conv.hooks.paths = paths
        # a connection that died meanwhile is no reason to fail
        assert api.get(path(ns, "v2", "a")).status == 200
        assert api.patch(path(ns, "v2", "a"), {"spec": {"num": "2"}}).status == 200
    n = conv.hooks.connections
    for _ in range(10):
        assert api.get(path(ns, "v2", "a")).status == 200
    assert conv.hooks.connections <= n + 1


def test_restart_of_the_api_server(fresh, conv):
    ns = "default"
    fresh.ok("POST", CRDS, definition(conv))
    poll(lambda: fresh.get(f"/apis/{GROUP}/v1").status == 200)
    fresh.ok("POST", path(ns, "v1"), obj("a", {"port": "h:1"}))
    for i in range(3):
        fresh.kill()
        fresh.start()
        assert fresh.get(path(ns, "v2", "a")).json["spec"]["host"] == "h"
        fresh.ok("POST", path(ns, "v2"), obj(f"b{i}", {"host": "k"}, "v2"))
    with fresh.watch(path(ns, "v2") + "?watch=1") as w:
        assert {e["object"]["metadata"]["name"] for e in w.take(4)} == {"a", "b0", "b1", "b2"}


def test_one_that_hangs(api, ns, conv, crd):
    api.ok("POST", path(ns, "v1"), obj("a", {"port": "h:1"}))
    conv.hooks.paths["/"] = lambda *_: time.sleep(20)
    began = time.monotonic()
    r = api.get(path(ns, "v2", "a") + "?timeout=1s")
    assert r.status in (500, 504) and time.monotonic() - began < 5
    # who does not need it does not wait for it
    began = time.monotonic()
    assert api.get(path(ns, "v1", "a")).status == 200
    assert time.monotonic() - began < 0.9


def test_nobody_there(api, ns, conv, crd):
    api.ok("POST", path(ns, "v1"), obj("a", {"port": "h:1"}))
    api.ok("POST", path(ns, "v1"), obj("b", {"port": "h:1"}))
    conv.hooks.close()
    r = api.get(path(ns, "v2", "a"))
    assert r.status == 500 and f"failed: Post \"https://127.0.0.1:{conv.hooks.port}/?timeout=30s\"" \
        in r.json["message"]
    # metadata needs no conversion, and deleting works
    meta = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
    assert len(api.get(path(ns, "v2"), headers=meta).json["items"]) == 2
    assert api.delete(path(ns, "v2", "a")).status == 200
    assert api.delete(path(ns, "v2")).status == 200
    assert api.get(path(ns, "v1")).json["items"] == []


RULES = [
    ({"strategy": "Foo"}, "spec.conversion.strategy",
     'Unsupported value: "Foo": supported values: "None", "Webhook"'),
    ({"strategy": "Webhook"}, "spec.conversion.webhookClientConfig",
     "Required value: required when strategy is set to Webhook"),
    ({"strategy": "Webhook"}, "spec.conversion.conversionReviewVersions", "Required value"),
    ({"strategy": "Webhook", "webhook": {"clientConfig": {}, "conversionReviewVersions": ["v1"]}},
     "spec.conversion.webhookClientConfig",
     "Required value: exactly one of url or service is required"),
    ({"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://h"},
                                         "conversionReviewVersions": ["v9"]}},
     "spec.conversion.conversionReviewVersions",
     'Invalid value: ["v9"]: must include at least one of v1, v1beta1'),
    ({"strategy": "Webhook", "webhook": {"clientConfig": {"url": "http://h"},
                                         "conversionReviewVersions": ["v1"]}},
     "spec.conversion.webhookClientConfig.url",
     "Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: "
     "https://host[/path]"),
    ({"strategy": "None", "webhook": {"clientConfig": {"url": "https://h"},
                                      "conversionReviewVersions": ["v1"]}},
     "spec.conversion.webhookClientConfig",
     "Forbidden: should not be set when strategy is not set to Webhook"),
]


@pytest.mark.parametrize("rule", RULES, ids=[str(i) for i in range(len(RULES))])
def test_rules(api, conv, rule):
    d = definition(conv, "rules")
    d["spec"]["conversion"], field, text = rule
    r = api.post(CRDS, d)
    assert r.status == 422, r.body
    assert (field, text) in [(c["field"], c["message"]) for c in r.json["details"]["causes"]], r.body
