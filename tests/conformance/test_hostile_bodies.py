# SPDX-License-Identifier: Apache-2.0
"""Bodies that mean harm: refused, or taken, in bounded time and memory; others are served."""
import json
import time

import pytest

from hostile import CMS, survives, victim

__all__ = ["survives", "victim"]

JSON = {"Content-Type": "application/json"}
YAML = {"Content-Type": "application/yaml"}
NS = "/api/v1/namespaces/default"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"


def ask(victim, method, path, body=None, headers=JSON, within=15):
    """The status of the answer, without looking at its headers: there may be a hundred warnings."""
    c = victim.connect(timeout=within)
    try:
        start = time.monotonic()
        c.request(method, path, body, headers)
        r = c.sock.recv(20)
        assert time.monotonic() - start < within
        return int(r.split()[1])
    finally:
        c.close()


def members(n, form='"a%d":""'):
    return ",".join(form % i for i in range(n))


def pod(spec):
    return '{"metadata":{"name":"wide"},"spec":{%s}}' % spec


def crd(schema):
    return json.dumps({
        "metadata": {"name": "bombs.ex.io"},
        "spec": {"group": "ex.io", "scope": "Cluster",
                 "names": {"plural": "bombs", "kind": "Bomb"},
                 "versions": [{"name": "v1", "served": True, "storage": True,
                               "schema": {"openAPIV3Schema": schema}}]}})


def containers(n, spec):
    return members(n, '{"name":"c%%d","image":"i",%s}' % spec)


def policy(validations):
    return {"metadata": {"name": "bomb"}, "spec": {
        "matchConstraints": {"resourceRules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
            "resources": ["secrets"]}]},
        "validations": [{"expression": x} for x in validations]}}


@pytest.mark.parametrize("path,body,headers,want", [
    (CMS, '{"data":{%s,%s}}' % (members(120000), ",".join(['"a119999":""'] * 60000)), JSON, 422),
    (CMS, '{"data":{%s}}' % members(150000), JSON, 422),
    (CMS, '{%s}' % members(150000), JSON, 422),
    (CMS, '{"metadata":{"name":"x","labels":{%s}}}' % members(120000), JSON, 413),
    (CMS, '{"metadata":{"name":"x","ownerReferences":[%s]}}' % members(
        30000, '{"apiVersion":"v1","kind":"A","name":"a","uid":"%d"}'), JSON, 413),
    (CMS, "data:\n" + "".join(f" a{i}: \n" for i in range(200000)), YAML, 422),
    (CMS, "data: &a " + "x" * 1000000 + "\nb: [" + ",".join(["*a"] * 90000) + "]", YAML, 400),
    (CMS, "a: " + "[" * 100000 + "]" * 100000, YAML, 400),
    (CMS, "- " * 100000, YAML, 400),
    (NS + "/pods", pod('"containers":[%s]' % members(50000, '{"name":"a%d","image":"b"}')),
     JSON, 413),
    ("/api/v1/nodes", '{"metadata":{"name":"wide"},"spec":{"taints":[%s]}}' % members(
        4000, '{"key":"a%d","effect":"NoSchedule"}'), JSON, 201),
    (NS + "/services", '{"metadata":{"name":"wide"},"spec":{"ports":[%s]}}' % members(
        4000, '{"port":80,"name":"a%d"}'), JSON, 422),
    # what asks one list for each of many others
    (NS + "/pods?dryRun=All", pod('"containers":[%s]' % containers(16, '"ports":[%s]' % members(
        4000, '{"containerPort":1,"hostPort":1%04d}'))), JSON, 422),
    (NS + "/pods?dryRun=All", pod('"volumes":[%s],"containers":[%s]' % (
        members(4000, '{"name":"v%d"}'), containers(16, '"volumeMounts":[%s]' % members(
            4000, '{"name":"v3999","mountPath":"/%d"}')))), JSON, 201),
    (NS + "/pods?dryRun=All", pod('"containers":[%s]' % containers(16, '"env":[%s]' % members(
        4000, '{"name":"V%d"}'))), JSON, 201),
    ("/apis/storage.k8s.io/v1/csinodes?dryRun=All",
     '{"metadata":{"name":"wide"},"spec":{"drivers":[%s]}}' % members(
         50, '{"name":"d%%d","nodeID":"n","topologyKeys":[%s]}' % members(4000, '"k%d"')), JSON, 201),
    ("/apis/apps/v1/namespaces/default/replicasets",
     '{"metadata":{"name":"wide"},"spec":{"selector":{"matchExpressions":[{"key":"a","operator":'
     '"In","values":[%s]}]},"template":{"metadata":{"labels":{"a":"1"}},"spec":{"containers":['
     '{"name":"a","image":"b"}]}}}}' % members(250000, '"%d"'), JSON, 413),
], ids=["repeated", "wide", "unknown", "labels", "owners", "yaml-wide", "yaml-long-alias",
        "yaml-depth", "yaml-nested", "containers", "taints", "ports", "host-ports", "mounts", "env",
        "topology-keys", "selector"])
def test_wide_and_deep(victim, path, body, headers, want):
    assert ask(victim, "POST", path, body.encode(), headers) == want
    victim.delete("/api/v1/nodes/wide")


def test_patch_that_doubles(victim):
    victim.post(CMS, {"metadata": {"name": "double"}, "data": {"k": "x" * 100}})
    ops = [{"op": "copy", "from": "", "path": f"/b{i}"} for i in range(40)]
    assert victim.patch(CMS + "/double", ops, kind="json").status == 422
    ops = [{"op": "copy", "from": "/data/k", "path": f"/data/k{i}"} for i in range(9000)]
    big = [{"op": "replace", "path": "/data/k", "value": "x" * 500000}]
    assert victim.patch(CMS + "/double", big + ops, kind="json").status == 422
    assert victim.delete(CMS + "/double").status == 200


def test_patch_that_digs(victim):
    """An object deeper than can be read is never stored."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    assert ask(victim, "POST", CRDS, crd(schema)) == 201
    path = "/apis/ex.io/v1/bombs"
    deadline = time.monotonic() + 10
    body = {"apiVersion": "ex.io/v1", "kind": "Bomb", "metadata": {"name": "deep"}}
    while victim.post(path, body).status == 404:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ops = [{"op": "add", "path": "/a" * i, "value": {}} for i in range(1, 600)]
    assert victim.patch(path + "/deep", ops, kind="json").status == 422
    assert victim.patch(path + "/deep", ops[:60], kind="json").status == 200
    assert victim.get(path).status == 200
    assert victim.delete(CRDS + "/bombs.ex.io").status == 200


def test_many_large_patterns(victim):
    props = {f"a{i}": {"type": "string", "pattern": "((a{1,31}){1,31})%d" % i}
             for i in range(20000)}
    body = crd({"type": "object", "properties": props})
    assert ask(victim, "POST", CRDS, body) == 422


def test_pattern_that_backtracks(victim):
    """Where others take exponential time."""
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    deadline = time.monotonic() + 20
    while ask(victim, "POST", CRDS, crd(schema)) != 201:  # the one before may still be going
        assert time.monotonic() < deadline
        time.sleep(0.1)
    path = "/apis/ex.io/v1/bombs"
    body = {"apiVersion": "ex.io/v1", "kind": "Bomb", "metadata": {"name": "b"},
            "a": "a" * 500000 + "b"}
    while (r := victim.post(path, body)).status == 404:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert r.status == 422
    assert victim.delete(CRDS + "/bombs.ex.io").status == 200


@pytest.mark.parametrize("rule", [
    "self.l.all(a, self.l.all(b, self.l.all(c, a + b + c != 'x')))",
    "self.l.map(a, self.l.map(b, self.l)).size() > 0",
    "'x'.matches(self.l.join('(.*)+'))",
], ids=["loops", "maps", "pattern"])
def test_rule_that_costs_too_much(victim, rule):
    schema = {"type": "object",
              "properties": {"l": {"type": "array", "items": {"type": "string"}}},
              "x-kubernetes-validations": [{"rule": rule}]}
    r = victim.post(CRDS, crd(schema).encode(), headers=JSON)
    assert r.status == 422
    assert "cost" in r.json["message"]


def test_policies_of_many_patterns(victim):
    r = victim.post(POLICIES, policy(f"object.metadata.name.matches('a{{0,999}}{i}')"
                                     for i in range(2500)))
    assert r.status == 422
    assert victim.delete(POLICIES + "/bomb").status == 404


@pytest.mark.parametrize("expression", [
    "[0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, [0,1,2,3,4,5,6,7,8,9].all(c, "
    "[0,1,2,3,4,5,6,7,8,9].all(d, [0,1,2,3,4,5,6,7,8,9].all(e, [0,1,2,3,4,5,6,7,8,9].all(f, "
    "[0,1,2,3,4,5,6,7,8,9].all(g, a + b + c + d + e + f + g >= 0)))))))",
    "object.data.k.matches('(a*)*(a*)*b') || object.data.k.matches('(.*)(.*)(.*)(.*)x')",
], ids=["loops", "pattern"])
def test_policy_that_runs_too_long(victim, expression):
    """Ended by the cost limit, or done: the request is answered soon either way."""
    victim.ok("POST", POLICIES, policy([expression]))
    victim.ok("POST", BINDINGS, {"metadata": {"name": "bomb"}, "spec": {
        "policyName": "bomb", "validationActions": ["Deny"]}})
    secret = {"metadata": {"name": "s"}, "data": {"k": "YWFh" * 100000}}
    deadline = time.monotonic() + 10
    while victim.post(NS + "/secrets", secret).status == 201:
        assert victim.delete(NS + "/secrets/s").status == 200
        assert time.monotonic() < deadline
        time.sleep(0.05)
    start = time.monotonic()
    r = victim.post(NS + "/secrets", secret)
    assert r.status == 422, r.body
    assert time.monotonic() - start < 5
    victim.delete(BINDINGS + "/bomb")
    victim.delete(POLICIES + "/bomb")


@pytest.mark.parametrize("text", [
    "k in (" + ",".join(f"v{i}" for i in range(6000)) + ")",
    ",".join(f"k{i}!=v{i}" for i in range(2000)),
    "(" * 20000,
], ids=["values", "requirements", "parentheses"])
def test_selectors(victim, text):
    text = text.replace("=", "%3D").replace(" ", "%20")
    assert victim.get(f"{CMS}?labelSelector={text}").status in (200, 400, 414, 431)


def test_large_body(victim):
    r = victim.post(CMS, b"{" + b" " * (3 << 20) + b"}", headers={"Content-Type": "application/json"})
    assert r.status == 413
    assert r.json["reason"] == "RequestEntityTooLarge"


def test_json_bomb(victim):
    depth = 500000
    body = b'{"data":' + b"[" * depth + b"]" * depth + b"}"
    r = victim.post(CMS, body, headers={"Content-Type": "application/json"})
    assert r.status == 400


def test_yaml_bomb(victim):
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for i in range(1, 12):
        ref = chr(96 + i)
        lines.append(f"{chr(97 + i)}: &{chr(97 + i)} [{','.join(['*' + ref] * 9)}]")
    r = victim.post(CMS, "\n".join(lines).encode(), headers={"Content-Type": "application/yaml"})
    assert r.status in (400, 413)
    assert r.json["kind"] == "Status"


def test_selector_bomb(victim):
    text = ",".join(f"k{i}!=v{i}" for i in range(1500))
    r = victim.get(f"{CMS}?labelSelector={text.replace('=', '%3D')}")
    assert r.status in (200, 400, 414, 431)
