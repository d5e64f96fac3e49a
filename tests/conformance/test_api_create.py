# SPDX-License-Identifier: Apache-2.0
"""Creating: what the server sets, what it refuses, bodies in JSON, YAML and protobuf."""
import json
import time

import pytest

from samples import CM, cms, status


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
