# SPDX-License-Identifier: Apache-2.0
"""Lists: pages, revisions, selectors, Tables and metadata alone."""
import json

import pytest

from samples import CM, cms, pod, pods, status


def test_list_shape(api, ns):
    api.ok("POST", cms(ns), CM)
    l = api.ok("GET", cms(ns))
    assert (l["kind"], l["apiVersion"]) == ("ConfigMapList", "v1")
    assert "kind" not in l["items"][0] and "continue" not in l["metadata"]
    assert int(l["metadata"]["resourceVersion"]) >= int(l["items"][0]["metadata"]["resourceVersion"])
    assert api.ok("GET", f"/api/v1/namespaces/{ns}/secrets")["items"] == []


def test_paging(api, ns):
    for i in range(7):
        api.ok("POST", cms(ns), {"metadata": {"name": f"c{i}"}})
    page = api.ok("GET", cms(ns) + "?limit=3")
    rv = page["metadata"]["resourceVersion"]
    assert [i["metadata"]["name"] for i in page["items"]] == ["c0", "c1", "c2"]
    assert page["metadata"]["remainingItemCount"] == 4
    api.ok("POST", cms(ns), {"metadata": {"name": "c33"}})
    api.ok("DELETE", cms(ns, "c4"))
    page = api.ok("GET", cms(ns) + "?limit=3&continue=" + page["metadata"]["continue"])
    assert [i["metadata"]["name"] for i in page["items"]] == ["c3", "c4", "c5"]
    assert page["metadata"]["resourceVersion"] == rv
    page = api.ok("GET", cms(ns) + "?limit=3&continue=" + page["metadata"]["continue"])
    assert [i["metadata"]["name"] for i in page["items"]] == ["c6"]
    assert "continue" not in page["metadata"]
    assert len(api.ok("GET", cms(ns) + "?limit=3&resourceVersion=0")["items"]) == 7


BAD_LISTS = [
    ("continue=x!", 400, "BadRequest", "invalid continue token: "),
    ("continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhXHUwMDAwIn0&resourceVersion=5", 400, "BadRequest",
     "specifying resource version is not allowed when using continue"),
    ("resourceVersion=abc", 400, "BadRequest",
     'invalid resource version: resourceVersion: Invalid value: "abc": '),
    ("resourceVersionMatch=Exact", 422, "Invalid",
     'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch '
     "is forbidden unless resourceVersion is provided"),
    ("resourceVersion=0&resourceVersionMatch=Exact", 422, "Invalid", None),
    ("resourceVersion=1&resourceVersionMatch=Foo", 422, "Invalid", None),
    ("sendInitialEvents=true", 422, "Invalid", None),
    ("labelSelector=a%20in%20(", 400, "BadRequest", "unable to parse requirement: "),
    ("fieldSelector=xx", 400, "BadRequest", "invalid selector: 'xx'; can't understand 'xx'"),
    ("fieldSelector=data.a%3Db", 400, "BadRequest",
     '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"'),
    ("watch=1&sendInitialEvents=true", 422, "Invalid",
     'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents '
     "requires setting resourceVersionMatch to NotOlderThan"),
    ("watch=1&resourceVersionMatch=NotOlderThan", 422, "Invalid", None),
    ("watch=1&resourceVersion=abc", 500, "", None),
]


@pytest.mark.parametrize("row", BAD_LISTS, ids=[r[0] for r in BAD_LISTS])
def test_bad_list(api, ns, row):
    query, code, reason, message = row
    s = status(api.get(cms(ns) + "?" + query), code, reason)
    if message:
        assert s["message"].startswith(message), s


def test_future_resource_version(api, ns):
    s = status(api.get(cms(ns) + "?resourceVersion=99999999"), 504, "Timeout")
    assert s["message"].startswith("Timeout: Too large resource version: 99999999, current: ")
    assert s["details"]["causes"] == [{"reason": "ResourceVersionTooLarge",
                                       "message": "Too large resource version"}]
    assert s["details"]["retryAfterSeconds"] == 1


def test_exact_list(api, ns):
    api.ok("POST", cms(ns), CM)
    rv = api.ok("GET", cms(ns))["metadata"]["resourceVersion"]
    api.ok("DELETE", cms(ns, "cm"))
    old = api.ok("GET", cms(ns) + f"?resourceVersion={rv}&resourceVersionMatch=Exact")
    assert len(old["items"]) == 1 and old["metadata"]["resourceVersion"] == rv
    assert api.ok("GET", cms(ns) + f"?resourceVersion={rv}")["items"] == []


SELECTORS = [("a=1", {"x"}), ("a==1", {"x"}), ("a!=1", {"y", "z"}), ("a in (1,2)", {"x", "y"}),
             ("a notin (1)", {"y", "z"}), ("a", {"x", "y"}), ("!a", {"z"}), ("a>1", {"y"}),
             ("a=1,b", set()), ("a=", set())]


def test_label_selectors(api, ns):
    from urllib.parse import quote

    for name, labels in (("x", {"a": "1"}), ("y", {"a": "2"}), ("z", {"b": "1"})):
        api.ok("POST", cms(ns), {"metadata": {"name": name, "labels": labels}})
    for text, want in SELECTORS:
        got = {i["metadata"]["name"] for i in
               api.ok("GET", cms(ns) + "?labelSelector=" + quote(text))["items"]}
        assert got == want, text


def test_field_selectors(api, ns):
    for n in "ab":
        api.ok("POST", pods(ns), pod(n))
    api.ok("POST", pods(ns, "a", "binding"), {"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}})
    for text, want in (("spec.nodeName=n1", ["a"]), ("spec.nodeName=", ["b"]),
                       ("spec.nodeName!=n1", ["b"]), ("metadata.name=b", ["b"]),
                       ("status.phase=Pending", ["a", "b"]), ("status.phase!=Pending", []),
                       ("spec.restartPolicy=Always,metadata.name=a", ["a"])):
        got = [i["metadata"]["name"] for i in api.ok("GET", pods(ns) + "?fieldSelector=" + text)["items"]]
        assert got == want, text
    status(api.get(pods(ns) + "?fieldSelector=spec.foo%3D1"), 400, "BadRequest",
           "field label not supported: spec.foo")


def test_table(api, ns):
    api.ok("POST", cms(ns), CM)
    accept = ("application/json;as=Table;v=v1;g=meta.k8s.io,"
              "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json")
    t = api.ok("GET", cms(ns), headers={"Accept": accept})
    assert (t["kind"], t["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [c["name"] for c in t["columnDefinitions"]] == ["Name", "Data", "Age"]
    row = t["rows"][0]
    assert row["cells"][:2] == ["cm", 1]
    assert row["object"]["kind"] == "PartialObjectMetadata" and "data" not in row["object"]
    t = api.ok("GET", cms(ns, "cm") + "?includeObject=Object", headers={"Accept": accept})
    assert t["rows"][0]["object"]["data"] == {"a": "b"}
    t = api.ok("GET", cms(ns, "cm") + "?includeObject=None", headers={"Accept": accept})
    assert t["rows"][0]["object"] is None
    status(api.get(cms(ns) + "?includeObject=Foo", headers={"Accept": accept}), 400, "BadRequest")
    only = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    r = api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                 {"spec": {"nonResourceAttributes": {"verb": "get", "path": "/"}}}, headers=only)
    assert r.status == 406


def test_partial_metadata(api, ns):
    api.ok("POST", cms(ns), CM)
    one = {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
    many = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    o = api.ok("GET", cms(ns, "cm"), headers=one)
    assert set(o) == {"kind", "apiVersion", "metadata"} and o["kind"] == "PartialObjectMetadata"
    l = api.ok("GET", cms(ns), headers=many)
    assert l["kind"] == "PartialObjectMetadataList"
    assert l["items"][0]["metadata"]["name"] == "cm"
    status(api.get(cms(ns), headers=one), 406, "NotAcceptable")
    status(api.get(cms(ns, "cm"), headers=many), 406, "NotAcceptable")


def big(i):
    return {"metadata": {"name": f"big-{i:02}", "labels": {"i": str(i)}}, "data": {"x": "y" * 400000}}


def test_large_list_is_of_one_revision(api, ns):
    """A list that is sent as it is read shows one moment, whatever its reader's pace."""
    n = 40
    for i in range(n):
        api.ok("POST", cms(ns), big(i))
    c = api.connect(timeout=30)
    c.request("GET", cms(ns))
    r = c.getresponse()
    head = r.read(1000)  # the rest waits for us: 16 MB are more than all buffers on the way
    api.ok("POST", cms(ns), {"metadata": {"name": "big-38x"}})
    api.ok("DELETE", cms(ns, "big-39"))
    api.ok("PATCH", cms(ns, "big-37"), {"metadata": {"labels": {"i": "new"}}},
           headers={"Content-Type": "application/merge-patch+json"})
    l = json.loads(head + r.read())
    c.close()
    assert [i["metadata"]["labels"]["i"] for i in l["items"]] == [str(i) for i in range(n)]
    assert all(len(i["data"]["x"]) == 400000 for i in l["items"])
    assert "continue" not in l["metadata"] and "remainingItemCount" not in l["metadata"]
    after = api.ok("GET", cms(ns))
    assert int(after["metadata"]["resourceVersion"]) > int(l["metadata"]["resourceVersion"])
    assert [i["metadata"]["name"] for i in after["items"]][-2:] == ["big-38", "big-38x"]


def test_large_table_and_metadata(api, ns):
    for i in range(4):
        api.ok("POST", cms(ns), big(i))
    names = [f"big-{i:02}" for i in range(4)]
    t = api.ok("GET", cms(ns), headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    assert list(t) == ["kind", "apiVersion", "metadata", "columnDefinitions", "rows"]
    assert [r["cells"][:2] for r in t["rows"]] == [[n, 1] for n in names]
    assert t["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    m = api.ok("GET", cms(ns), headers={
        "Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"})
    assert (m["kind"], [i["metadata"]["name"] for i in m["items"]]) == ("PartialObjectMetadataList", names)
    assert all("data" not in i for i in m["items"])
