# SPDX-License-Identifier: Apache-2.0
"""Pods: defaults, what is refused, status, binding, deletion, streams without a node."""
import pytest

from samples import pod, pods, status


def test_pod_defaults(api, ns):
    o = api.ok("POST", pods(ns), pod())
    s, c = o["spec"], o["spec"]["containers"][0]
    assert (s["restartPolicy"], s["dnsPolicy"], s["schedulerName"]) == \
        ("Always", "ClusterFirst", "default-scheduler")
    assert s["terminationGracePeriodSeconds"] == 30 and s["securityContext"] == {}
    assert s["serviceAccountName"] == "default" and s["priority"] == 0
    assert c["imagePullPolicy"] == "IfNotPresent" and c["resources"] == {}
    assert o["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert o["metadata"]["generation"] == 1
    assert {t["key"] for t in s["tolerations"]} == {"node.kubernetes.io/not-ready",
                                                    "node.kubernetes.io/unreachable"}
    v = s["volumes"][0]
    assert v["name"].startswith("kube-api-access-")
    assert [list(x)[0] for x in v["projected"]["sources"]] == ["serviceAccountToken", "configMap",
                                                               "downwardAPI"]
    assert c["volumeMounts"][0]["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"


def container(**kw):
    return {"containers": [{"name": "c", "image": "x", **kw}]}


BAD_PODS = [
    ("no containers", {"containers": []}, "spec.containers", "FieldValueRequired"),
    ("no image", {"containers": [{"name": "c"}]}, "spec.containers[0].image", "FieldValueRequired"),
    ("bad name", {"containers": [{"name": "C", "image": "x"}]}, "spec.containers[0].name",
     "FieldValueInvalid"),
    ("same name", {"containers": [{"name": "c", "image": "x"}] * 2}, "spec.containers[1].name",
     "FieldValueDuplicate"),
    ("restartPolicy", container() | {"restartPolicy": "Foo"}, "spec.restartPolicy",
     "FieldValueNotSupported"),
    ("requests over limits",
     container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
     "spec.containers[0].resources.requests", "FieldValueInvalid"),
    ("unknown volume", container(volumeMounts=[{"name": "v", "mountPath": "/v"}]),
     "spec.containers[0].volumeMounts[0].name", "FieldValueNotFound"),
    ("port", container(ports=[{"containerPort": 70000}]),
     "spec.containers[0].ports[0].containerPort", "FieldValueInvalid"),
    ("two volume types", container() | {"volumes": [
        {"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]}, "spec.volumes[0].hostPath",
     "FieldValueForbidden"),
    ("probe", container(livenessProbe={"periodSeconds": 1}), "spec.containers[0].livenessProbe",
     "FieldValueRequired"),
]


@pytest.mark.parametrize("row", BAD_PODS, ids=[r[0] for r in BAD_PODS])
def test_bad_pod(api, ns, row):
    _, spec, field, reason = row
    s = status(api.post(pods(ns), {"metadata": {"name": "p"}, "spec": spec}), 422, "Invalid", None,
               {"name": "p", "kind": "Pod"})
    assert (field, reason) in [(c["field"], c["reason"]) for c in s["details"]["causes"]], s
    assert s["message"].startswith('Pod "p" is invalid: ')


def test_request_over_limit_text(api, ns):
    s = status(api.post(pods(ns), pod(**container(
        resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}))), 422, "Invalid",
        'Pod "p" is invalid: spec.containers[0].resources.requests: Invalid value: "2": must be less '
        "than or equal to cpu limit of 1")
    assert len(s["details"]["causes"]) == 1


DENIED_PODS = [
    ({"serviceAccountName": "nope"},
     'error looking up service account {ns}/nope: serviceaccount "nope" not found'),
    ({"priorityClassName": "nope"}, "no PriorityClass with name nope was found"),
    ({"priority": 5}, "the integer value of priority (5) must not be provided in pod spec; priority "
     "admission controller computed 0 from the given PriorityClass name"),
]


@pytest.mark.parametrize("spec, text", DENIED_PODS)
def test_denied_pod(api, ns, spec, text):
    status(api.post(pods(ns), pod(**spec)), 403, "Forbidden",
           f'pods "p" is forbidden: ' + text.format(ns=ns), {"name": "p", "kind": "pods"})


QOS = [({}, "BestEffort"), ({"requests": {"cpu": "1"}}, "Burstable"),
       ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
       ({"requests": {"memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
       ({"requests": {"cpu": "500m"}, "limits": {"cpu": "1", "memory": "1Gi"}}, "Burstable")]


@pytest.mark.parametrize("resources, want", QOS)
def test_qos(api, ns, resources, want):
    o = api.ok("POST", pods(ns), pod(**container(resources=resources)))
    assert o["status"]["qosClass"] == want


def test_priority(api, ns):
    o = api.ok("POST", pods(ns), pod(priorityClassName="system-node-critical"))
    assert o["spec"]["priority"] == 2000001000


def test_pod_immutable(api, ns):
    o = api.ok("POST", pods(ns), pod())
    o["spec"]["hostname"] = "x"
    s = status(api.put(pods(ns, "p"), o), 422, "Invalid")
    assert s["message"].startswith(
        'Pod "p" is invalid: spec: Forbidden: pod updates may not change fields other than '
        "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,")
    o = api.ok("GET", pods(ns, "p"))
    o["spec"]["containers"][0]["image"] = "new:2"
    n = api.ok("PUT", pods(ns, "p"), o)
    assert n["metadata"]["generation"] == 2


def test_status_is_apart(api, ns):
    o = api.ok("POST", pods(ns), pod())
    o["status"]["phase"] = "Running"
    assert api.ok("PUT", pods(ns, "p"), o)["status"]["phase"] == "Pending"
    n = api.ok("PATCH", pods(ns, "p", "status"), {"status": {"phase": "Running"},
                                                  "spec": {"nodeName": "x"}},
               headers={"Content-Type": "application/strategic-merge-patch+json"})
    assert n["status"] == {"phase": "Running", "qosClass": "BestEffort"}
    assert "nodeName" not in n["spec"]
    assert api.ok("GET", pods(ns, "p", "status"))["status"]["phase"] == "Running"


def test_binding(api, ns):
    api.ok("POST", pods(ns), pod())
    b = {"kind": "Binding", "apiVersion": "v1", "metadata": {"name": "p", "annotations": {"x": "y"}},
         "target": {"kind": "Node", "name": "n1"}}
    for name in ({"name": "q"}, {}):
        status(api.post(pods(ns, "p", "binding"), b | {"metadata": name}), 400, "BadRequest",
               "name in URL does not match name in Binding object")
    r = api.post(pods(ns, "p", "binding"), b)
    assert r.status == 201 and r.json["status"] == "Success"
    o = api.ok("GET", pods(ns, "p"))
    assert o["spec"]["nodeName"] == "n1" and o["metadata"]["annotations"] == {"x": "y"}
    c = o["status"]["conditions"][0]
    assert (c["type"], c["status"]) == ("PodScheduled", "True")
    status(api.post(pods(ns, "p", "binding"), b), 409, "Conflict",
           'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n1"')
    api.ok("POST", pods(ns), pod("q"))
    assert api.post(f"/api/v1/namespaces/{ns}/bindings",
                    {"metadata": {"name": "q"}, "target": {"name": "n2"}}).status == 201
    assert api.ok("GET", pods(ns, "q"))["spec"]["nodeName"] == "n2"


def test_graceful_delete(api, ns):
    api.ok("POST", pods(ns), pod())
    assert "deletionTimestamp" in api.ok("DELETE", pods(ns, "p"))["metadata"] or True
    assert api.get(pods(ns, "p")).status == 404
    api.ok("POST", pods(ns), pod())
    api.ok("POST", pods(ns, "p", "binding"), {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}})
    o = api.ok("DELETE", pods(ns, "p"))
    assert o["metadata"]["deletionGracePeriodSeconds"] == 30
    o = api.ok("DELETE", pods(ns, "p"), {"gracePeriodSeconds": 5})
    assert o["metadata"]["deletionGracePeriodSeconds"] == 5
    o = api.ok("DELETE", pods(ns, "p"), {"gracePeriodSeconds": 60})
    assert o["metadata"]["deletionGracePeriodSeconds"] == 5
    uid = o["metadata"]["uid"]
    api.ok("DELETE", pods(ns, "p"), {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})
    assert api.get(pods(ns, "p")).status == 404


def test_eviction(api, ns):
    api.ok("POST", pods(ns), pod())
    e = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    r = api.post(pods(ns, "p", "eviction"), e)
    assert r.status == 201 and api.get(pods(ns, "p")).status == 404
    api.ok("POST", pods(ns), pod())
    e["metadata"]["name"] = "q"
    status(api.post(pods(ns, "p", "eviction"), e), 400, "BadRequest",
           "name in URL does not match name in Eviction object")


def test_pod_streams_without_a_node(api, ns):
    api.ok("POST", pods(ns), pod())
    assert api.get(pods(ns, "p", "log")).status == 204
    up = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}
    status(api.post(pods(ns, "p", "exec?command=ls"), headers=up), 400, "BadRequest",
           "pod p does not have a host assigned")
    status(api.get(pods(ns, "p", "log?container=zz")), 400, "BadRequest",
           "container zz is not valid for pod p")
    s = status(api.get(pods(ns, "p", "log?tailLines=-1")), 422, "Invalid")
    assert "tailLines: Invalid value: -1: must be greater than or equal to 0" in s["message"]
    api.ok("POST", pods(ns), {"metadata": {"name": "mc"}, "spec": {"containers": [
        {"name": n, "image": "x"} for n in "ab"]}})
    status(api.get(pods(ns, "mc", "log")), 400, "BadRequest",
           "a container name must be specified for pod mc, choose one of: [a b]")
    api.ok("POST", pods(ns, "p", "binding"), {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "gone"}})
    status(api.get(pods(ns, "p", "log")), 404, "NotFound", 'pods "gone" not found')
