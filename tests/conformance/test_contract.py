# SPDX-License-Identifier: Apache-2.0
"""Requests and what upstream's server answers to them, one table a topic: contract/*.json.

A step is {"do": "METHOD PATH", "body" | "bytes", "headers", "expect"}; @NS@ stands for a namespace of
the table's own, @x500@ for so many x. A body of {"$get": PATH, "$set": {...}} is what is there, changed as a merge patch
would. What differs from run to run (revisions, uids, times) is replaced by its name on both sides;
managedFields are compared entry by entry, whatever their order, and causes
without their repetitions. Steps without "expect" set the scene.

The objects of protobuf.json are in upstream's own bytes, with the zeros that Go writes.
"""
import base64
import json
import os
import pathlib
import re

import pytest

TABLES = sorted(pathlib.Path(__file__).parent.joinpath("contract").glob("*.json"))
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
UID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def plain_text(s):
    s = re.sub(TIME, "TIME", re.sub(UID, "UID", s))
    s = re.sub(r'(patch: )?Invalid value: "\{\\".*\}": ', "Invalid value: PATCHED: ", s)
    s = re.sub(r"kube-api-access-[a-z0-9]{5}", "kube-api-access", s)
    s = re.sub(r"in record \(\d+\)", "in record (RV)", s)
    return re.sub(r"current: \d+", "current: RV", s)


def plain_member(k, v):
    if k == "uid" and isinstance(v, str) and re.fullmatch(UID, v):
        return "UID"
    if k == "resourceVersion" and isinstance(v, str) and v.isdigit() and v != "0":
        return "RV"
    if k == "continue" and isinstance(v, str) and v:
        return "TOKEN"
    if k == "causes" and isinstance(v, list):
        v = [x for i, x in enumerate(v) if x not in v[:i]]
    if k == "managedFields" and isinstance(v, list):
        return {f"0/{e.get('manager')}/{e.get('operation')}/{e.get('subresource')}/"
                f"{e.get('apiVersion')}": plain(e) for e in v}
    return plain(v)


def plain(o):
    if isinstance(o, dict):
        return {k: plain_member(k, v) for k, v in o.items()}
    if isinstance(o, list):
        return [plain(x) for x in o]
    return plain_text(o) if isinstance(o, str) else o


def answer(r):
    ct = r.headers.get("Content-Type")
    body = r.body.decode(errors="replace")
    if ct and "json" in ct:
        try:
            body = plain(json.loads(body))
        except ValueError:
            pass
    else:
        body = plain_text(body)
    return {"code": r.status, "ct": ct, "warn": r.headers.get_all("Warning") or [], "body": body}


def merged(o, p):
    if not isinstance(p, dict) or not isinstance(o, dict):
        return p
    out = dict(o)
    for k, v in p.items():
        if v is None:
            out.pop(k, None)
        else:
            out[k] = merged(out[k], v) if isinstance(out.get(k), dict) else v
    return out


def step_body(api, step, ns):
    if "bytes" in step:
        # a name of the same length stands for the namespace
        return base64.b64decode(step["bytes"]).replace(ns[:-6].encode() + b"000000", ns.encode())
    body = step.get("body")
    if isinstance(body, dict) and "$get" in body:
        return merged(api.get(body["$get"]).json, body["$set"])
    return body


@pytest.mark.parametrize("table", TABLES, ids=lambda p: p.stem)
def test_contract(api, table):
    ns = f"contract-{table.stem}-{os.urandom(3).hex()}"
    wrong = []
    text = re.sub(r"@x(\d+)@", lambda m: "x" * int(m.group(1)), table.read_text())
    for step in json.loads(text.replace("@NS@", ns)):
        method, path = step["do"].split(" ", 1)
        headers = {"User-Agent": "difftest/1"} | step.get("headers", {})
        r = api.request(method, path, step_body(api, step, ns), headers=headers)
        if "expect" in step and answer(r) != step["expect"]:
            wrong.append((step["do"], str(step.get("body"))[:200], "expected", step["expect"],
                          "got", answer(r)))
    assert not wrong, f"{len(wrong)} answers differ, first: {wrong[0]}"
