# SPDX-License-Identifier: Apache-2.0
"""Bad input gets upstream's answer, and leaves nothing half done."""
import json
import ssl
import tempfile
import base64
import http.client

import pytest
import yaml


@pytest.fixture(scope="module")
def api(box):
    """Raw HTTPS as the administrator: call(method, path, body, type) -> (code, Status)."""
    cfg = yaml.safe_load(open(box.kubeconfig))
    user = cfg["users"][0]["user"]
    ctx = ssl.create_default_context(cadata=base64.b64decode(
        cfg["clusters"][0]["cluster"]["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile("wb", suffix=".pem") as f:
        f.write(base64.b64decode(user["client-certificate-data"]))
        f.write(base64.b64decode(user["client-key-data"]))
        f.flush()
        ctx.load_cert_chain(f.name)

    def call(method, path, body=None, content_type="application/json"):
        c = http.client.HTTPSConnection("127.0.0.1", box.port, context=ctx, timeout=30)
        try:
            c.request(method, path, body if isinstance(body, (bytes, str, type(None))) else json.dumps(body),
                      {"Content-Type": content_type})
            r = c.getresponse()
            data = r.read()
            # an unknown group is answered in plain text, as upstream does
            return r.status, json.loads(data) if data[:1] == b"{" else data.decode()
        finally:
            c.close()

    return call


def cm(name, **more):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **more}


def causes(status):
    return {(c["field"], c["reason"]) for c in status.get("details", {}).get("causes", [])}


def test_unknown_field(api, ns):
    path = f"/api/v1/namespaces/{ns.name}/configmaps?fieldValidation=Strict"
    code, st = api("POST", path, cm("x", dat={"a": "b"}))
    assert (code, st["reason"]) == (400, "BadRequest")
    assert 'unknown field "dat"' in st["message"]
    assert ns.kubectl("get", "cm", "x", check=False).returncode == 1


def test_wrong_type(api, ns):
    code, st = api("POST", f"/api/v1/namespaces/{ns.name}/configmaps", cm("x", data=["a"]))
    assert (code, st["reason"]) == (400, "BadRequest"), st
    assert "cannot unmarshal array into Go struct field ConfigMap.data" in st["message"], st


def test_missing_required_field(api, ns):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": []}}
    code, st = api("POST", f"/api/v1/namespaces/{ns.name}/pods", pod)
    assert (code, st["reason"]) == (422, "Invalid")
    assert ("spec.containers", "FieldValueRequired") in causes(st)
    assert st["message"].startswith('Pod "x" is invalid: spec.containers: Required value')


def test_invalid_name(api, ns):
    code, st = api("POST", f"/api/v1/namespaces/{ns.name}/configmaps", cm("Not_A_Name"))
    assert (code, st["reason"]) == (422, "Invalid")
    assert causes(st) == {("metadata.name", "FieldValueInvalid")}
    assert "a lowercase RFC 1123 subdomain must consist of" in st["message"]


def test_stale_resource_version(api, ns):
    path = f"/api/v1/namespaces/{ns.name}/configmaps"
    _, made = api("POST", path, cm("x", data={"n": "1"}))
    made["data"]["n"] = "2"
    code, _ = api("PUT", path + "/x", made)
    assert code == 200
    code, st = api("PUT", path + "/x", made)
    assert (code, st["reason"]) == (409, "Conflict")
    assert st["message"] == ('Operation cannot be fulfilled on configmaps "x": the object has been modified; '
                             "please apply your changes to the latest version and try again")


def test_large_body(api, ns):
    code, st = api("POST", f"/api/v1/namespaces/{ns.name}/configmaps", cm("x", data={"a": "x" * (3 << 20)}))
    assert (code, st["reason"]) == (413, "RequestEntityTooLarge")
    assert st["message"] == "Request entity too large: limit is 3145728"


def test_malformed_json(api, ns):
    code, st = api("POST", f"/api/v1/namespaces/{ns.name}/configmaps", '{"kind": "ConfigMap",')
    assert (code, st["reason"]) == (400, "BadRequest"), st
    assert ns.kubectl("get", "cm", "-o", "name").stdout == "configmap/kube-root-ca.crt\n"


def test_custom_resource_schema(box, api, ns):
    example = list(yaml.safe_load_all(open(__import__("conftest").TOP / "examples/crd-and-custom-resource.yaml")))
    box.kubectl("apply", "-f", "-", input=json.dumps(example[0]))
    box.kubectl("wait", "crd/racks.lab.example.com", "--for=condition=Established", "--timeout=20s")
    ns.apply(example[1])
    assert ns.get("rack", "cellar")["spec"]["slots"] == 42
    path = f"/apis/lab.example.com/v1/namespaces/{ns.name}/racks"
    bad = {"apiVersion": "lab.example.com/v1", "kind": "Rack", "metadata": {"name": "x"},
           "spec": {"slots": 99, "room": "NO"}}
    code, st = api("POST", path, bad)
    assert (code, st["reason"]) == (422, "Invalid")
    assert causes(st) == {("spec.slots", "FieldValueInvalid"), ("spec.room", "FieldValueInvalid")}
    assert "spec.slots in body should be less than or equal to 60" in st["message"]
    del bad["spec"]["room"]
    bad["spec"]["slots"] = "many"
    code, st = api("POST", path, bad)
    assert ("spec.room", "FieldValueRequired") in causes(st)
    assert "must be of type integer" in st["message"]
    ns.kubectl("scale", "rack/cellar", "--replicas=7")
    assert ns.get("rack", "cellar")["spec"]["slots"] == 7
    table = ns.kubectl("get", "rk").stdout.splitlines()
    assert table[0].split() == ["NAME", "SLOTS", "ROOM"] and table[1].split() == ["cellar", "7", "cellar"]
    box.kubectl("delete", "crd", "racks.lab.example.com", "--wait=true")
    code, _ = api("GET", path)
    assert code == 404


def test_one_bad_object_of_many(ns):
    """Each object stands alone: the good one is made, the bad one is refused by name."""
    docs = json.dumps({"apiVersion": "v1", "kind": "List", "items": [cm("good"), cm("Bad")]})
    r = ns.kubectl("create", "-f", "-", input=docs, check=False)
    assert r.returncode == 1 and "configmap/good created" in r.stdout and '"Bad" is invalid' in r.stderr
