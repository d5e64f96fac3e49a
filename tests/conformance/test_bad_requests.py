# SPDX-License-Identifier: Apache-2.0
"""
What is refused, and in which words: a table of changes that make a good object of each kind bad.

bad-requests.json has for each kind its collection's path and an object the server takes, and rows of
[kind, "create" or "patch", change, code, reason, message, causes' fields]. The change of a create is
by path ("spec.ports.0.port", or with "|" where a key has dots; null takes the member away), that of
a patch is a merge patch of the object as it was created.
"""
import copy
import json
import pathlib

import pytest

TABLE = json.loads((pathlib.Path(__file__).parent / "bad-requests.json").read_text())
GENERIC = json.loads((pathlib.Path(__file__).parent / "bad-requests-generic.json").read_text())


def change(o, path, value):
    *up, last = path.split("|") if "|" in path else path.split(".")
    for k in up:
        o = o[int(k)] if isinstance(o, list) else o.setdefault(k, {})
    if isinstance(o, list):
        o[int(last):int(last) + 1] = [] if value is None else [value]
    elif value is None:
        o.pop(last, None)
    else:
        o[last] = value


def told(r):
    if not r.body.startswith(b"{"):
        return [r.status, None, r.body.decode(), []]
    s = r.json
    return [r.status, s.get("reason"), s.get("message"),
            [c.get("field") for c in s.get("details", {}).get("causes", [])]]


@pytest.fixture(scope="module")
def where(api):
    api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": "bad"}})
    api.ok("POST", "/api/v1/namespaces/bad/serviceaccounts", {"metadata": {"name": "default"}})
    yield "bad"
    api.delete("/api/v1/namespaces/bad")


def send(api, ns, kind, verb, what):
    path, body = copy.deepcopy(TABLE["bases"][kind])
    path, body = path.format(ns=ns), json.loads(json.dumps(body).replace("{ns}", ns))
    if verb == "create":
        for k, v in what.items():
            change(body, k, json.loads(json.dumps(v).replace("{ns}", ns)))
        r = api.post(path, body)
        if r.status < 300:
            remove(api, path + "/" + r.json["metadata"]["name"])
        return r
    api.ok("POST", path, body)
    one = path + "/" + body["metadata"]["name"]
    try:
        return api.patch(one, what)
    finally:
        remove(api, one)


def remove(api, one):
    api.patch(one, {"metadata": {"finalizers": None}})
    api.delete(one, {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})


@pytest.mark.parametrize("kind", TABLE["bases"])
def test_kind(api, where, kind):
    wrong = []
    for k, verb, what, *want in TABLE["rows"]:
        if k == kind:
            got = told(send(api, where, kind, verb, what))
            if got[:3] != want[:3] or sorted(map(str, got[3])) != sorted(map(str, want[3])):
                wrong.append((verb, what, got, want))
    assert not wrong, "\n".join(f"{v} {w}\n  is   {g}\n  want {x}" for v, w, g, x in wrong)


def test_table_is_whole():
    assert len(TABLE["rows"]) + len(GENERIC) >= 300
    assert {r[0] for r in TABLE["rows"]} >= {"Pod", "Deployment", "Job", "Service", "Node", "Ingress"}


@pytest.mark.parametrize("row", GENERIC, ids=lambda r: f"{r[0]} {r[1][:60]}")
def test_generic(api, where, row):
    method, path, headers, body, *want = row
    api.post(f"/api/v1/namespaces/{where}/configmaps", {"metadata": {"name": "there"}})
    r = api.request(method, path.format(ns=where), body, headers=headers)
    assert [str(t).replace(where, "{ns}") for t in told(r)] == list(map(str, want))
