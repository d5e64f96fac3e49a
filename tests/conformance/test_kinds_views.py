# SPDX-License-Identifier: Apache-2.0
"""Kinds that are served in two forms: HorizontalPodAutoscaler v1 and v2, Event core and events.k8s.io."""
import json

HPA = "/apis/autoscaling/{}/namespaces/{}/horizontalpodautoscalers"
EVENTS = "/apis/events.k8s.io/v1/namespaces/{}/events"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


def hpa(name, **spec):
    return {"metadata": {"name": name}, "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
        "minReplicas": 1, "maxReplicas": 3} | spec}


def cpu(percent):
    return {"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}}


def test_hpa_v1_is_read_as_v2(api, ns):
    o = api.ok("POST", HPA.format("v1", ns), hpa("h", targetCPUUtilizationPercentage=40))
    assert o["spec"]["targetCPUUtilizationPercentage"] == 40 and o["apiVersion"] == "autoscaling/v1"
    o = api.ok("GET", HPA.format("v2", ns) + "/h")
    assert o["apiVersion"] == "autoscaling/v2" and o["spec"]["metrics"] == [cpu(40)]
    assert "targetCPUUtilizationPercentage" not in o["spec"]


def test_hpa_v2_survives_a_v1_client(api, ns):
    pods = {"type": "Pods", "pods": {"metric": {"name": "rps"},
                                     "target": {"type": "AverageValue", "averageValue": "3"}}}
    ext = {"type": "External", "external": {
        "metric": {"name": "q", "selector": {"matchLabels": {"a": "b"}}},
        "target": {"type": "Value", "value": "7"}}}
    v2 = api.ok("POST", HPA.format("v2", ns), hpa("h", metrics=[pods, cpu(50), ext], behavior={
        "scaleUp": {"policies": [{"type": "Pods", "value": 3, "periodSeconds": 15}]}}))
    v1 = api.ok("GET", HPA.format("v1", ns) + "/h")
    assert v1["spec"]["targetCPUUtilizationPercentage"] == 50 and "metrics" not in v1["spec"]
    ann = v1["metadata"]["annotations"]
    assert json.loads(ann["autoscaling.alpha.kubernetes.io/metrics"]) == [
        {"type": "Pods", "pods": {"metricName": "rps", "targetAverageValue": "3"}},
        {"type": "External", "external": {"metricName": "q", "targetValue": "7",
                                          "metricSelector": {"matchLabels": {"a": "b"}}}}]
    v1["metadata"]["labels"] = {"x": "y"}
    api.ok("PUT", HPA.format("v1", ns) + "/h", v1)
    now = api.ok("GET", HPA.format("v2", ns) + "/h")
    assert now["spec"]["metrics"] == [pods, ext, cpu(50)]
    assert now["spec"]["behavior"] == v2["spec"]["behavior"]
    assert "annotations" not in now["metadata"] and now["metadata"]["labels"] == {"x": "y"}


def test_hpa_storage_version_is_v2(api):
    hashes = {r["storageVersionHash"] for v in ("v1", "v2")
              for r in api.ok("GET", f"/apis/autoscaling/{v}")["resources"] if "/" not in r["name"]}
    assert hashes == {"qwQve8ut294="}


def event(name, **more):
    return {"metadata": {"name": name}, "eventTime": "2024-01-01T00:00:00.000000Z", "type": "Normal",
            "reason": "Tested", "action": "Testing", "reportingController": "ex.io/test",
            "reportingInstance": "test-1", "note": "hello"} | more


def test_events_are_one_storage(api, ns):
    ref = {"kind": "Pod", "namespace": ns, "name": "p"}
    o = api.ok("POST", EVENTS.format(ns), event("e", regarding=ref))
    assert o["regarding"] == ref and o["note"] == "hello" and o["deprecatedSource"] == {}
    assert o["deprecatedFirstTimestamp"] is None and o["apiVersion"] == "events.k8s.io/v1"
    c = api.ok("GET", f"/api/v1/namespaces/{ns}/events/e")
    assert c["involvedObject"] == ref and c["message"] == "hello" and c["source"] == {}
    assert c["reportingComponent"] == "ex.io/test" and c["lastTimestamp"] is None
    assert "regarding" not in c and "note" not in c
    assert c["metadata"]["resourceVersion"] == o["metadata"]["resourceVersion"]


def test_event_fields_have_both_names(api, ns):
    for n in ("p", "q"):
        api.ok("POST", EVENTS.format(ns), event(n, regarding={
            "kind": "Pod", "namespace": ns, "name": n}))

    def names(path, selector):
        return [i["metadata"]["name"] for i in
                api.ok("GET", f"{path}?fieldSelector={selector}")["items"]]

    core = f"/api/v1/namespaces/{ns}/events"
    assert names(core, "involvedObject.name=p") == ["p"]
    assert names(EVENTS.format(ns), "regarding.name=q") == ["q"]
    assert names(EVENTS.format(ns), "reportingController=ex.io/test") == ["p", "q"]
    api.ok("POST", core, {"metadata": {"name": "r", "namespace": ns}, "source": {"component": "c"},
                          "involvedObject": {"namespace": ns}})
    assert names(core, "source=c") == ["r"]
    # who has no source is known by who reports
    assert names(core, "source=ex.io/test") == ["p", "q"]
    r = api.get(EVENTS.format(ns) + "?fieldSelector=involvedObject.name=p")
    assert (r.status, r.json["message"]) == (400, "field label not supported: involvedObject.name")


def test_events_table(api, ns):
    api.ok("POST", EVENTS.format(ns), event("e", regarding={
        "kind": "Pod", "namespace": ns, "name": "p"}))
    t = api.get(EVENTS.format(ns), headers=TABLE).json
    cells = dict(zip([c["name"] for c in t["columnDefinitions"]], t["rows"][0]["cells"]))
    assert cells["Object"] == "pod/p" and cells["Message"] == "hello" and cells["Name"] == "e"
    assert cells["Source"] == "ex.io/test, test-1" and cells["Count"] == 1
