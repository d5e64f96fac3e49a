# SPDX-License-Identifier: Apache-2.0
"""Every built-in kind: made, read, listed, changed, shown as a table, deleted; and what is filled in."""
import copy
import json

import pytest

from apiserver import poll
from test_bad_requests import TABLE as BAD

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
POD = {"restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
       "securityContext": {}, "schedulerName": "default-scheduler", "containers": [
           {"name": "c", "image": "busybox", "resources": {}, "imagePullPolicy": "Always",
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}]}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": POD}
SELECTOR = {"matchLabels": {"a": "b"}}
REQUEST = {"name": "r", "exactly": {"deviceClassName": "dc", "allocationMode": "ExactCount", "count": 1}}
QUARTER = {"maxSurge": "25%", "maxUnavailable": "25%"}

# all but apiVersion, kind and metadata, as they come back from a create
MADE = {
    "Deployment": {"status": {}, "spec": {
        "replicas": 1, "selector": SELECTOR, "template": TEMPLATE, "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": QUARTER}}},
    "ReplicaSet": {"status": {"replicas": 0},
                   "spec": {"replicas": 1, "selector": SELECTOR, "template": TEMPLATE}},
    "ReplicationController": {"status": {"replicas": 0}, "spec": {
        "replicas": 1, "selector": {"a": "b"}, "template": TEMPLATE}},
    "DaemonSet": {
        "status": {"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0,
                   "numberReady": 0},
        "spec": {"selector": SELECTOR, "template": TEMPLATE, "revisionHistoryLimit": 10,
                 "updateStrategy": {"type": "RollingUpdate",
                                    "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}}},
    "PodDisruptionBudget": {
        "spec": {"minAvailable": 1, "selector": SELECTOR},
        "status": {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0,
                   "expectedPods": 0}},
    "ResourceQuota": {"spec": {"hard": {"pods": "10"}}, "status": {}},
    "CronJob": {"status": {}, "spec": {
        "schedule": "*/5 * * * *", "concurrencyPolicy": "Allow", "suspend": False,
        "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1,
        "jobTemplate": {"metadata": {}, "spec": {"template": {
            "metadata": {}, "spec": POD | {"restartPolicy": "Never"}}}}}},
    "NetworkPolicy": {"spec": {
        "podSelector": {}, "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 80, "protocol": "TCP"}]}]}},
    "StorageClass": {"provisioner": "ex.io/p", "reclaimPolicy": "Delete",
                     "volumeBindingMode": "Immediate"},
    "PersistentVolumeClaim": {"status": {"phase": "Pending"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
        "volumeMode": "Filesystem"}},
    "LimitRange": {"spec": {"limits": [{
        "type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1"}, "default": {"cpu": "2"},
        "defaultRequest": {"cpu": "2"}}]}},
    "ResourceClaim": {"status": {}, "spec": {"devices": {"requests": [REQUEST]}}},
    "ResourceClaimTemplate": {"spec": {"metadata": {}, "spec": {"devices": {"requests": [REQUEST]}}}},
    "PriorityClass": {"value": 5, "preemptionPolicy": "PreemptLowerPriority"},
    "CSINode": {"spec": {"drivers": [{"name": "d.io", "nodeID": "n", "topologyKeys": None}]}},
    "VolumeAttachment": {"status": {"attached": False}, "spec": {
        "attacher": "ex.io", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}},
    "CSIDriver": {"spec": {
        "attachRequired": True, "podInfoOnMount": False, "storageCapacity": False,
        "fsGroupPolicy": "ReadWriteOnceWithFSType", "volumeLifecycleModes": ["Persistent"],
        "requiresRepublish": False, "seLinuxMount": False}},
    "EndpointSlice": {"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {}}],
                      "ports": [{"name": "p", "port": 80, "protocol": "TCP"}]},
}


def base(ns, name):
    path, body = copy.deepcopy(BAD["bases"][name])
    return path.format(ns=ns), json.loads(json.dumps(body).replace("{ns}", ns))


def create(api, ns, name):
    """What a create answered, settled, and the paths of the kind and of the object."""
    path, body = base(ns, name)
    made = api.ok("POST", path, body)
    one = path + "/" + made["metadata"]["name"]
    if name == "FlowSchema":  # the server writes its status at once
        made = poll(lambda: (o := api.ok("GET", one))["status"].get("conditions") and o)
    return path, one, made


def gone(api, path):
    api.delete(path, {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})
    api.patch(path, {"metadata": {"finalizers": None}})


@pytest.mark.parametrize("name", [n for n in BAD["bases"] if n not in ("CSR", "Pod")])
def test_life(api, ns, name):
    path, one, made = create(api, ns, name)
    kind, body = made["kind"], base(ns, name)[1]
    try:
        assert kind == body["kind"] and made["apiVersion"] == body["apiVersion"]
        assert made["metadata"]["uid"] and made["metadata"]["creationTimestamp"]
        if kind in MADE and name != "HPAv1":
            assert {k: v for k, v in made.items()
                    if k not in ("apiVersion", "kind", "metadata")} == MADE[kind]
        assert api.ok("GET", one) == made
        listed = api.ok("GET", path)
        assert listed["kind"] == kind + "List"
        assert made["metadata"]["uid"] in [o["metadata"]["uid"] for o in listed["items"]]
        changed = api.patch(one, {"metadata": {"labels": {"l": "m"}}}).json
        assert changed["metadata"]["labels"]["l"] == "m"
        assert [o["metadata"]["name"] for o in api.ok("GET", path + "?labelSelector=l%3Dm")["items"]] \
            == [made["metadata"]["name"]]
        changed["metadata"]["annotations"] = changed["metadata"].get("annotations", {}) | {"n": "o"}
        assert api.ok("PUT", one, changed)["metadata"]["annotations"]["n"] == "o"
        table = api.ok("GET", one, headers=TABLE)
        assert table["kind"] == "Table" and len(table["rows"]) == 1
        assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"])
    finally:
        gone(api, one)
    assert api.get(one).status == 404 or kind == "Namespace"


def statuses():
    return ["Deployment", "ReplicaSet", "DaemonSet", "StatefulSet", "ReplicationController", "Job", "CronJob",
            "PDB", "Ingress", "ResourceQuota", "Node", "PersistentVolume", "PersistentVolumeClaim", "HPA",
            "Service", "VolumeAttachment", "FlowSchema", "PLC", "ResourceClaim", "ServiceCIDR"]


@pytest.mark.parametrize("name", statuses())
def test_status_is_apart(api, ns, name):
    path, one, made = create(api, ns, name)
    try:
        assert api.ok("GET", one + "/status")["status"] == made["status"]
        o = api.patch(one + "/status", {"spec": {"zz": "y"}, "status": {"zz": "y"}}).json
        assert o.get("spec") == made.get("spec") and o["status"] == made["status"]
        assert o["metadata"].get("generation") == made["metadata"].get("generation")
    finally:
        gone(api, one)


@pytest.mark.parametrize("name", ["Deployment", "ReplicaSet", "StatefulSet", "ReplicationController"])
def test_scale(api, ns, name):
    path, body = base(ns, name)
    one = path + "/" + api.ok("POST", path, body)["metadata"]["name"]
    s = api.ok("GET", one + "/scale")
    assert (s["kind"], s["apiVersion"], s["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 1})
    assert s["status"] == {"replicas": 0, "selector": "a=b"}
    assert api.patch(one + "/scale", {"spec": {"replicas": 4}}).json["spec"]["replicas"] == 4
    assert api.ok("GET", one)["spec"]["replicas"] == 4
    r = api.patch(one + "/scale", {"spec": {"replicas": -1}})
    assert r.status == 422 and "must be greater than or equal to 0" in r.json["message"]
    gone(api, one)


def test_job_deletion_warns_of_orphans(api, ns):
    path, body = base(ns, "Job")
    api.ok("POST", path, body)
    r = api.delete(path + "/x")
    assert "child pods are preserved by default when jobs are deleted" in r.headers["Warning"]


def test_daemonset_counts_its_template(api, ns):
    path, body = base(ns, "DaemonSet")
    key = "deprecated.daemonset.template.generation"
    assert api.ok("POST", path, body)["metadata"]["annotations"] == {key: "1"}
    o = api.patch(path + "/x", {"metadata": {"annotations": {key: "7"}}}).json
    assert o["metadata"]["annotations"] == {key: "1"}
    o = api.patch(path + "/x", {"spec": {"template": {"metadata": {"labels": {"c": "d"}}}}}).json
    assert o["metadata"]["annotations"] == {key: "2"}


def test_required_lists_may_be_empty(api, ns):
    """What upstream's types call required and its validation does not ask for."""
    nodes = "/apis/storage.k8s.io/v1/csinodes"
    made = api.ok("POST", nodes, {"metadata": {"name": "csi-" + ns}, "spec": {"drivers": []}})
    assert made["spec"] == {"drivers": None}
    gone(api, f"{nodes}/csi-{ns}")
    path, job = base(ns, "Job")
    job["spec"]["podFailurePolicy"] = {"rules": []}
    job["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    made = api.ok("POST", path, job)
    assert made["spec"]["podFailurePolicy"] == {"rules": None}
    gone(api, f"{path}/{made['metadata']['name']}")


def test_flow_schemas_say_whether_their_level_is_there(api):
    flows = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"
    levels = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations"
    says = 'This FlowSchema references the PriorityLevelConfiguration object named "dangle" '

    def dangling():
        c = [c for c in api.ok("GET", flows + "/dangle")["status"].get("conditions", [])
             if c["type"] == "Dangling"]
        return c and (c[0]["status"], c[0]["reason"], c[0]["message"])

    path, body = base("", "FlowSchema")
    body["metadata"]["name"] = "dangle"
    body["spec"]["priorityLevelConfiguration"]["name"] = "dangle"
    api.ok("POST", path, body)
    try:
        poll(lambda: dangling() == ("True", "NotFound", says + "but there is no such object"))
        path, level = base("", "PLC")
        level["metadata"]["name"] = "dangle"
        api.ok("POST", path, level)
        poll(lambda: dangling() == ("False", "Found", says + "and it exists"))
        version = api.ok("GET", flows + "/dangle")["metadata"]["resourceVersion"]
        api.ok("DELETE", levels + "/dangle")
        poll(lambda: dangling()[0] == "True")
        # the others', which were right, were not written again
        assert [f["metadata"]["name"] for f in api.ok("GET", flows)["items"]
                if int(f["metadata"]["resourceVersion"]) > int(version)] == ["dangle"]
    finally:
        api.delete(levels + "/dangle")
        api.delete(flows + "/dangle")
