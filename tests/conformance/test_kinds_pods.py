# SPDX-License-Identifier: Apache-2.0
"""Pods: what of them may change through which endpoint, and eviction within budgets."""
import pytest

PDB = "/apis/policy/v1/namespaces/{}/poddisruptionbudgets"
CHANGE = ("pod updates may not change fields other than `spec.containers[*].image`,"
          "`spec.initContainers[*].image`")


def pods(ns, *rest):
    return f"/api/v1/namespaces/{ns}/pods" + "".join("/" + r for r in rest)


def pod(name, **spec):
    return {"metadata": {"name": name, "labels": {"a": "b"}}, "spec": {"containers": [
        {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}]} | spec}


@pytest.fixture
def there(api, ns):
    """A Pod p that no service account's token is mounted into."""
    return api.ok("POST", pods(ns), pod("p", automountServiceAccountToken=False))


def refused(r, field, text, reason="FieldValueForbidden"):
    assert r.status == 422, r.body
    assert (field, reason) in [(c["field"], c["reason"]) for c in r.json["details"]["causes"]]
    assert text in r.json["message"]


def container(**more):
    return {"spec": {"containers": [{"name": "c"} | more]}}


# ---- ephemeralcontainers

def debug(name, **more):
    return {"spec": {"ephemeralContainers": [{"name": name, "image": "x"} | more]}}


def test_ephemeral_containers_are_only_added(api, ns, there):
    path = pods(ns, "p", "ephemeralcontainers")
    o = api.patch(path, debug("e"), "strategic-merge").json
    assert o["spec"]["ephemeralContainers"] == [
        {"name": "e", "image": "x", "resources": {}, "terminationMessagePath": "/dev/termination-log",
         "terminationMessagePolicy": "File", "imagePullPolicy": "Always"}]
    assert o["metadata"]["generation"] == 2
    field = "spec.ephemeralContainers"
    refused(api.patch(path, debug("e", image="y"), "strategic-merge"), field,
            'existing ephemeral containers "e" may not be changed\n')
    refused(api.patch(path, {"spec": {"ephemeralContainers": []}}), field,
            'existing ephemeral containers "e" may not be removed\n')
    refused(api.patch(path, debug("f", targetContainerName="zz"), "strategic-merge"),
            field + "[0].targetContainerName", 'Not found: "zz"', "FieldValueNotFound")
    assert [c["name"] for c in api.ok("GET", path)["spec"]["ephemeralContainers"]] == ["e"]


def test_ephemeral_containers_change_nothing_else(api, ns, there):
    body = debug("e") | {"metadata": {"labels": {"x": "y"}}, "status": {"phase": "Running"}}
    body["spec"]["nodeName"] = "elsewhere"
    o = api.patch(pods(ns, "p", "ephemeralcontainers"), body, "strategic-merge").json
    assert o["metadata"]["labels"] == {"a": "b"} and o["status"]["phase"] == "Pending"
    assert "nodeName" not in o["spec"]
    refused(api.patch(pods(ns, "p"), debug("g"), "strategic-merge"), "spec", CHANGE)
    refused(api.post(pods(ns), pod("q", **debug("e")["spec"])), "spec.ephemeralContainers",
            "cannot be set on create")


# ---- resize

def test_resize(api, ns, there):
    path = pods(ns, "p", "resize")
    o = api.patch(path, container(image="other", resources={"requests": {"cpu": "2"}}),
                  "strategic-merge").json
    c = o["spec"]["containers"][0]
    assert c["resources"] == {"requests": {"cpu": "2", "memory": "1Gi"}} and c["image"] == "i"
    assert o["metadata"]["generation"] == 2


@pytest.mark.parametrize("resources,field,text,reason", [
    ({"limits": {"cpu": "1", "memory": "1Gi"}}, "spec",
     'Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing',
     "FieldValueInvalid"),
    ({"requests": {"cpu": None}}, "spec.containers[0].resources.requests",
     "resource requests cannot be removed", "FieldValueForbidden"),
    ({"requests": {"ephemeral-storage": "1Gi"}}, "spec",
     "only cpu and memory resources are mutable", "FieldValueForbidden"),
])
def test_resize_refused(api, ns, there, resources, field, text, reason):
    refused(api.patch(pods(ns, "p", "resize"), container(resources=resources), "strategic-merge"),
            field, text, reason)


def test_resize_keeps_the_containers(api, ns, there):
    path, c = pods(ns, "p", "resize"), {"name": "d", "image": "i"}
    refused(api.patch(path, {"spec": {"containers": [c, c | {"name": "e"}]}}), "spec.containers",
            "containers may not be added or removed on resize")
    r = api.patch(path, {"spec": {"containers": [c]}})
    assert "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize" \
        in r.json["message"]


# ---- the Pod itself

@pytest.mark.parametrize("change,field,text,reason", [
    (container(resources={"requests": {"cpu": "3"}}), "spec", CHANGE, "FieldValueForbidden"),
    ({"spec": {"containers": [{"name": "d", "image": "i"}]}}, "spec.containers",
     "pod updates may not add or remove containers", "FieldValueForbidden"),
    (container(image=" i"), "spec.containers[0].image",
     "must not have leading or trailing whitespace", "FieldValueInvalid"),
    ({"spec": {"activeDeadlineSeconds": 20}}, "spec.activeDeadlineSeconds",
     "Invalid value: 20: must be less than or equal to previous value", "FieldValueInvalid"),
    ({"spec": {"activeDeadlineSeconds": None}}, "spec.activeDeadlineSeconds",
     "must not update from a positive integer to nil value", "FieldValueInvalid"),
    ({"spec": {"schedulingGates": [{"name": "x/y"}]}}, "spec.schedulingGates[0].name",
     "only deletion is allowed, but found new scheduling gate 'x/y'", "FieldValueForbidden"),
    ({"spec": {"tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute",
                                "$patch": "delete"}, {"$patch": "replace"}]}}, "spec.tolerations",
     "existing toleration can not be modified except its tolerationSeconds",
     "FieldValueForbidden"),
])
def test_update_refused(api, ns, change, field, text, reason):
    api.ok("POST", pods(ns), pod("p", activeDeadlineSeconds=10, tolerations=[
        {"key": "k", "operator": "Exists", "effect": "NoExecute"}]))
    refused(api.patch(pods(ns, "p"), change, "strategic-merge"), field, text, reason)


def test_gated_pod_may_be_narrowed(api, ns):
    api.ok("POST", pods(ns), pod("g", schedulingGates=[{"name": "x/y"}]))
    path = pods(ns, "g")
    assert api.patch(path, {"spec": {"nodeSelector": {"a": "b"}}}).status == 200
    refused(api.patch(path, {"spec": {"nodeSelector": {"a": "c"}}}), "spec.nodeSelector",
            "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
            "FieldValueInvalid")
    assert api.patch(path, {"spec": {"schedulingGates": None}}).status == 200
    refused(api.patch(path, {"spec": {"nodeSelector": {"a": "b", "d": "e"}}}), "spec", CHANGE)


# ---- eviction

def evict(api, ns, name, query="", **options):
    return api.post(pods(ns, name, "eviction") + query, {
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": name, "namespace": ns}} | options)


def run(api, ns, name, ready="True"):
    api.ok("POST", pods(ns), pod(name, nodeName="n1"))
    assert api.patch(pods(ns, name, "status"), {"status": {
        "phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}}).status == 200


def budget(api, ns, name, status=None, **spec):
    api.ok("POST", PDB.format(ns), {"metadata": {"name": name}, "spec": {
        "minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}} | spec})
    if status:
        set_budget(api, ns, name, **status)


def set_budget(api, ns, name, **status):
    assert api.patch(PDB.format(ns) + f"/{name}/status",
                     {"status": {"observedGeneration": 1} | status}).status == 200


def test_eviction_without_budget(api, ns):
    run(api, ns, "r")
    r = evict(api, ns, "r")
    assert (r.status, r.json["status"]) == (201, "Success")
    o = api.ok("GET", pods(ns, "r"))
    assert "deletionTimestamp" in o["metadata"]
    c = o["status"]["conditions"][1]
    assert (c["type"], c["reason"], c["message"]) == (
        "DisruptionTarget", "EvictionByEvictionAPI", "Eviction API: evicting")


def too_many(r, text):
    assert r.status == 429 and r.json["reason"] == "TooManyRequests"
    assert r.json["message"] == ("Cannot evict pod as it would violate the pod's disruption budget.")
    assert r.json["details"]["causes"] == [{"reason": "DisruptionBudget", "message": text}]


def test_eviction_within_a_budget(api, ns):
    run(api, ns, "r")
    budget(api, ns, "b")
    too_many(evict(api, ns, "r"), "The disruption budget b is still being processed by the server.")
    set_budget(api, ns, "b", disruptionsAllowed=0, currentHealthy=1, desiredHealthy=1, expectedPods=1)
    too_many(evict(api, ns, "r"), "The disruption budget b needs 1 healthy pods and has 1 currently")
    set_budget(api, ns, "b", disruptionsAllowed=1, currentHealthy=2, desiredHealthy=1, expectedPods=2)
    assert evict(api, ns, "r", "?dryRun=All").status == 201
    assert api.ok("GET", PDB.format(ns) + "/b")["status"]["disruptionsAllowed"] == 1
    assert evict(api, ns, "r").status == 201
    st = api.ok("GET", PDB.format(ns) + "/b")["status"]
    assert st["disruptionsAllowed"] == 0 and list(st["disruptedPods"]) == ["r"]
    assert (st["conditions"][0]["type"], st["conditions"][0]["reason"]) == (
        "DisruptionAllowed", "InsufficientPods")


def test_eviction_of_the_unready(api, ns):
    run(api, ns, "r", ready="False")
    budget(api, ns, "b", {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 1})
    assert evict(api, ns, "r").status == 429
    api.patch(PDB.format(ns) + "/b", {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}})
    assert evict(api, ns, "r").status == 201


def test_eviction_with_two_budgets(api, ns):
    run(api, ns, "r")
    budget(api, ns, "b")
    budget(api, ns, "c", selector={})
    r = evict(api, ns, "r")
    assert r.status == 500 and r.json["message"] == (
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not "
        "support.")


def test_eviction_of_a_pending_pod_asks_nobody(api, ns):
    api.ok("POST", pods(ns), pod("g"))
    budget(api, ns, "b")
    r = api.post(pods(ns, "g", "eviction"), {"metadata": {"name": "h"}})
    assert (r.status, r.json["message"]) == (
        400, "name in URL does not match name in Eviction object")
    assert evict(api, ns, "g").status == 201
    assert api.get(pods(ns, "g")).status == 404


def test_eviction_preconditions(api, ns):
    run(api, ns, "r")
    r = evict(api, ns, "r", deleteOptions={"preconditions": {"uid": "zz"}})
    assert r.status == 409
    assert r.json["message"].startswith(
        'Operation cannot be fulfilled on Pod "r": the UID in the precondition (zz) does not match ')
    assert len(api.ok("GET", pods(ns, "r"))["status"]["conditions"]) == 1
