# SPDX-License-Identifier: Apache-2.0
"""What most often breaks clients of servers that are not upstream's, most frequent first, and the tests of each:

 1 protobuf bodies of all kinds      test_contract (protobuf.json), test_api_create::test_protobuf_body
 2 WatchList and its end             test_watch::test_how_it_begins, test_client_node::test_watch
 3 revisions of all and of events    test_watchers_see_the_same_order, test_watch_selector; below
 4 DeleteOptions, body over query    test_api_delete::test_delete_options
 5 writes that change nothing        test_api_update::test_update, test_api_watch::test_watch
 6 codes differ by verb              test_api_create, test_api_update::test_bad_updates, test_apply,
                                     test_admission_policy::test_deny, test_admission_webhook::test_answers
 7 410: an event, or a status        test_durability::test_expired, test_client_python_watch::test_history_is_gone
 8 items with or without their kind  below
 9 documents without apiVersion      below
10 discovery's content type          below
11 managedFields' sets               test_contract (managed.json), test_apply::test_template_containers
12 custom defaults, on reads too     below
13 one silent group and namespaces   e2e/test_controllers::test_silent_group_holds_namespace
14 status, scale, finalize, approval test_kinds_lifecycle, test_auth_csr, test_api_delete::test_namespace_life
15 who orphans by default            below, test_kinds_lifecycle::test_job_deletion_warns_of_orphans
16 unscheduled Pods go at once       test_api_pods::test_graceful_delete
17 fieldValidation in OpenAPI v3     below, test_openapi::test_v3_paths
18 owners that never were            test_controllers_gc::test_owner_that_never_was
19 v5 channels, tunneled forwarding  e2e/test_streams, e2e/test_clients
20 each namespace's account and CA   e2e/test_controllers::test_every_namespace_has_its_account_and_ca
"""

import pytest

from apiserver import poll
from samples import cms, pod, pods

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def crd(default, prune=True):
    spec = {"type": "object", "properties": {
        "a": {"type": "integer", "default": default}, "n": {"type": "string", "nullable": True},
        "m": {"type": "string", "default": "filled"}}}
    return {"metadata": {"name": "traps.ex.io"}, "spec": {
        "group": "ex.io", "scope": "Namespaced", "names": {"plural": "traps", "kind": "Trap"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": spec}}}}]}}


def traps(ns, name=""):
    return f"/apis/ex.io/v1/namespaces/{ns}/traps" + (f"/{name}" if name else "")


@pytest.fixture(scope="module")
def kind(api):
    api.ok("POST", CRDS, crd(1))
    poll(lambda: api.get(traps("default")).status == 200)
    yield
    api.delete(CRDS + "/traps.ex.io")


def test_one_order_of_revisions(api, ns, kind):
    """3: of whatever kind, later is greater; a deletion is later than what it deletes."""
    trap = {"apiVersion": "ex.io/v1", "kind": "Trap", "metadata": {"name": "t"}}
    made = [api.ok("POST", cms(ns), {"metadata": {"name": "c"}}), api.ok("POST", pods(ns), pod("p")),
            api.ok("POST", traps(ns), trap), api.ok("POST", f"/api/v1/namespaces/{ns}/secrets", {
                "metadata": {"name": "s"}})]
    rvs = [int(o["metadata"]["resourceVersion"]) for o in made]
    assert rvs == sorted(set(rvs))
    with api.watch(f"{traps(ns)}?watch=1&resourceVersion={rvs[2]}") as w:
        api.delete(traps(ns, "t"))
        gone = w.next()
    assert gone["type"] == "DELETED" and int(gone["object"]["metadata"]["resourceVersion"]) > rvs[-1]


def test_items_of_lists(api, ns, kind):
    """8: typed lists do not repeat the kind, custom ones do; both have their own."""
    api.ok("POST", cms(ns), {"metadata": {"name": "c"}})
    api.ok("POST", traps(ns), {"apiVersion": "ex.io/v1", "kind": "Trap", "metadata": {"name": "t"}})
    typed, custom = api.ok("GET", cms(ns)), api.ok("GET", traps(ns))
    assert (typed["kind"], typed["apiVersion"]) == ("ConfigMapList", "v1")
    assert not {"kind", "apiVersion"} & set(typed["items"][0])
    assert (custom["kind"], custom["apiVersion"]) == ("TrapList", "ex.io/v1")
    assert (custom["items"][0]["kind"], custom["items"][0]["apiVersion"]) == ("Trap", "ex.io/v1")
    assert custom["metadata"]["continue"] == "" and "continue" not in typed["metadata"]


def test_documents_of_discovery(api):
    """9: the legacy ones of the core group have no apiVersion, those of groups have."""
    for path, kind, version in (("/api", "APIVersions", None), ("/apis", "APIGroupList", "v1"),
                                ("/api/v1", "APIResourceList", None), ("/apis/apps", "APIGroup", "v1"),
                                ("/apis/apps/v1", "APIResourceList", "v1")):
        doc = api.ok("GET", path)
        assert (doc["kind"], doc.get("apiVersion")) == (kind, version), path


@pytest.mark.parametrize("path", ["/api", "/apis"])
def test_aggregated_discovery(api, path):
    """10: the content type with its parameters, or client-go takes the answer for the legacy one."""
    accept = AGGREGATED + "," + AGGREGATED.replace("v2", "v2beta1") + ",application/json"
    r = api.get(path, headers={"Accept": accept})
    assert r.status == 200 and r.headers["Content-Type"] == AGGREGATED
    assert r.json["kind"] == "APIGroupDiscoveryList" and r.json["apiVersion"] == "apidiscovery.k8s.io/v2"
    assert r.headers["Vary"] == "Accept"
    again = api.get(path, headers={"Accept": accept, "If-None-Match": r.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    names = {i["metadata"].get("name", "") for i in r.json["items"]}
    assert names == {""} if path == "/api" else {"apps", "batch", "apiregistration.k8s.io"} <= names
    pods_or_deployments = [x for i in r.json["items"] for v in i["versions"] for x in v["resources"]
                           if x["resource"] in ("pods", "deployments")]
    assert pods_or_deployments[0]["scope"] == "Namespaced" and pods_or_deployments[0]["singularResource"]
    assert {"status", "scale", "log"} & {s["subresource"] for s in pods_or_deployments[0]["subresources"]}
    assert api.get(path, headers={"Accept": "application/json"}).headers["Content-Type"] == "application/json"


def test_aggregated_discovery_of_custom_kinds(api, kind):
    def found():
        doc = api.ok("GET", "/apis", headers={"Accept": AGGREGATED})
        return [v for i in doc["items"] if i["metadata"]["name"] == "ex.io" for v in i["versions"]
                for r in v["resources"] if r["resource"] == "traps" and r["responseKind"] == {
                    "group": "ex.io", "version": "v1", "kind": "Trap"}]
    poll(found)


def test_custom_defaults(api, ns, kind):
    """12: first what is unknown goes, then defaults come, then nulls that are not allowed; reads are defaulted
    too, by the schema of now."""
    body = {"apiVersion": "ex.io/v1", "kind": "Trap", "metadata": {"name": "t"},
            "spec": {"unknown": 1, "n": None, "m": None}}
    assert api.ok("POST", traps(ns), body)["spec"] == {"a": 1, "n": None, "m": "filled"}
    later = crd(1)
    later["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["b"] = {
        "type": "string", "default": "later"}
    later["metadata"] = api.ok("GET", CRDS + "/traps.ex.io")["metadata"]
    api.ok("PUT", CRDS + "/traps.ex.io", later)
    poll(lambda: api.ok("GET", traps(ns, "t"))["spec"].get("b") == "later")
    assert api.ok("GET", traps(ns))["items"][0]["spec"] == {"a": 1, "n": None, "m": "filled", "b": "later"}
    with api.watch(traps(ns) + "?watch=1") as w:
        assert w.next()["object"]["spec"]["b"] == "later"


TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}


@pytest.mark.parametrize("path, spec, orphans", [
    ("/api/v1/namespaces/{}/replicationcontrollers", {"selector": {"a": "b"}, "template": TEMPLATE}, True),
    ("/apis/batch/v1/namespaces/{}/jobs",
     {"template": {"spec": TEMPLATE["spec"] | {"restartPolicy": "Never"}}}, True),
    ("/apis/apps/v1/namespaces/{}/replicasets",
     {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}, False)],
    ids=["ReplicationController", "Job", "ReplicaSet"])
def test_orphans_by_default(api, ns, path, spec, orphans):
    """15: a plain DELETE, as clients of long ago send it."""
    path = path.format(ns)
    api.ok("POST", path, {"metadata": {"name": "x"}, "spec": spec})
    api.ok("DELETE", path + "/x")
    left = api.get(path + "/x")
    assert (left.status == 200) == orphans
    if orphans:
        assert "orphan" in left.json["metadata"]["finalizers"]


@pytest.mark.parametrize("group, path", [
    ("api/v1", "/api/v1/namespaces/{namespace}/configmaps/{name}"),
    ("apis/apps/v1", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}")])
def test_field_validation_is_published(api, group, path):
    """17: kubectl validates by itself, after a large download, where no PATCH says that the server does."""
    patch = api.ok("GET", "/openapi/v3/" + group)["paths"][path]["patch"]
    names = {p["name"] for p in patch["parameters"]}
    assert {"fieldValidation", "dryRun", "fieldManager", "force"} <= names
