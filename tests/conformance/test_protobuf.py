# SPDX-License-Identifier: Apache-2.0
"""Answers in protobuf, for clients that accept nothing else: what they mean is what JSON says, and the
server reads its own words."""
import base64
import struct

import pytest

PROTOBUF = "application/vnd.kubernetes.protobuf"
ONLY = {"Accept": PROTOBUF}


def fields(data):
    """[(number, value)] of a message: integers and bytes."""
    out, i = [], 0

    def varint():
        nonlocal i
        v = shift = 0
        while True:
            b = data[i]
            i += 1
            v |= (b & 0x7f) << shift
            shift += 7
            if b < 0x80:
                return v

    while i < len(data):
        tag = varint()
        if tag & 7 == 0:
            out.append((tag >> 3, varint()))
        elif tag & 7 == 1:
            out.append((tag >> 3, struct.unpack("<d", data[i:i + 8])[0]))
            i += 8
        else:
            assert tag & 7 == 2, tag
            n = varint()
            out.append((tag >> 3, data[i:i + n]))
            i += n
    return out


def opened(r):
    """(apiVersion, kind, message) of an answer."""
    assert r.headers["Content-Type"] == PROTOBUF
    assert r.body[:4] == b"k8s\0"
    unknown = dict(fields(r.body[4:]))
    meta = dict(fields(unknown[1]))
    return meta[1].decode(), meta[2].decode(), unknown[2]


POD = {"metadata": {"labels": {"a": "b", "c": ""}, "annotations": {"x": "\u00e4<&>"}}, "spec": {
    "containers": [{
        "name": "c", "image": "i", "args": ["", "-x"], "ports": [{"containerPort": 80, "name": "http"}],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {
            "fieldPath": "metadata.name"}}}],
        "resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}, "requests": {"cpu": "1"}},
        "livenessProbe": {"httpGet": {"port": "http", "path": "/"}, "initialDelaySeconds": 3},
        "readinessProbe": {"tcpSocket": {"port": 80}},
        "securityContext": {"runAsUser": 0, "privileged": False}}],
    "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}, {"name": "w", "projected": {
        "sources": [{"configMap": {"name": "z", "items": [{"key": "k", "path": "p"}]}}]}}],
    "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute",
                     "tolerationSeconds": 5}],
    "ephemeralContainers": None, "terminationGracePeriodSeconds": 0}}
KINDS = [
    ("/api/v1/namespaces/{ns}/pods", POD),
    ("/api/v1/namespaces/{ns}/configmaps", {"data": {"a": "1", "e": ""},
                                            "binaryData": {"b": base64.b64encode(b"\0\xff").decode()}}),
    ("/api/v1/namespaces/{ns}/secrets", {"data": {"p": base64.b64encode(bytes(range(256))).decode()}}),
    ("/api/v1/namespaces/{ns}/services", {"spec": {"ports": [{"port": 80, "targetPort": "http"}],
                                                   "selector": {"a": "b"}}}),
    ("/apis/apps/v1/namespaces/{ns}/deployments", {"spec": {
        "replicas": 0, "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "a", "operator": "In", "values": ["b"]}]},
        "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": POD["spec"] | {
            "terminationGracePeriodSeconds": 30}}}}),
    ("/apis/batch/v1/namespaces/{ns}/cronjobs", {"spec": {"schedule": "* * * * *", "jobTemplate": {
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [
            {"name": "c", "image": "i"}]}}}}}}),
    ("/apis/coordination.k8s.io/v1/namespaces/{ns}/leases", {"spec": {
        "holderIdentity": "me", "renewTime": "2026-01-02T03:04:05.678901Z"}}),
    ("/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers", {"spec": {
        "scaleTargetRef": {"kind": "Deployment", "name": "x", "apiVersion": "apps/v1"}, "maxReplicas": 3,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {
            "type": "AverageValue", "averageValue": "250m"}}}]}}),
    ("/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies", {"spec": {
        "podSelector": {}, "ingress": [{"ports": [{"port": "http", "protocol": "TCP"}]}]}}),
    ("/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/roles", {"rules": [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}),
    ("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", {"webhooks": [{
        "name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://x.example.com/", "caBundle": ""},
        "namespaceSelector": {"matchLabels": {"none": "such"}},
        "rules": [{"operations": ["CREATE"], "apiGroups": ["none.example.com"], "apiVersions": ["*"],
                   "resources": ["x"]}]}]}),
    ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {"spec": {
        "group": "pb.example.com", "scope": "Namespaced", "names": {"plural": "pbs", "kind": "Pb"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": {
                "type": "object", "additionalProperties": {"type": "string"}}, "list": {
                "type": "array", "items": {"type": "number", "minimum": 0.5}, "default": [1, 2.5]},
                "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}}}]}}),
]


@pytest.mark.parametrize("path,obj", KINDS, ids=[k[0].rsplit("/", 1)[1] for k in KINDS])
def test_round_trip(api, ns, path, obj):
    path = path.format(ns=ns)
    name = "pbs.pb.example.com" if "definitions" in path else "rt"
    obj = obj | {"metadata": obj.get("metadata", {}) | {"name": name}}
    made = api.post(path, obj, headers=ONLY)
    assert made.status == 201, made.body
    one = f"{path}/{name}"
    r = api.get(one, headers=ONLY)
    want = api.get(one).json
    av, kind, message = opened(r)
    assert (av, kind) == (want["apiVersion"], want["kind"]) == opened(made)[:2]
    assert dict(fields(dict(fields(message))[1]))[1].decode() == name
    # read back, it is what is there: nothing is changed, nothing is missing
    r = api.request("PUT", one, r.body, headers={"Content-Type": PROTOBUF})
    assert r.status == 200, r.body
    assert r.json == api.get(one).json
    for key in want.keys() - {"metadata", "status"}:
        assert r.json[key] == want[key]
    if "status" not in want:
        assert r.json == want
    # lists
    av, kind, message = opened(api.get(path, headers=ONLY))
    assert kind == want["kind"] + "List"
    parts = fields(message)
    assert parts[0][0] == 1 and dict(fields(parts[0][1]))[2].isdigit()
    names = [dict(fields(dict(fields(item))[1]))[1].decode() for n, item in parts[1:]]
    assert name in names
    r = api.delete(one, headers=ONLY)
    assert r.status == 200 and r.headers["Content-Type"] == PROTOBUF


def test_errors_and_answers_without_an_object(api, ns):
    path = f"/api/v1/namespaces/{ns}/configmaps"
    r = api.get(path + "/none", headers=ONLY)
    assert r.status == 404
    av, kind, message = opened(r)
    assert (av, kind) == ("v1", "Status")
    m = dict(fields(message))
    assert (m[2], m[3], m[4], m[6]) == (b"Failure", b'configmaps "none" not found', b"NotFound", 404)
    r = api.get(f"/apis/apps/v1/namespaces/{ns}/deployments/none/scale", headers=ONLY)
    assert r.status == 404 and opened(r)[1] == "Status"
    r = api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": {
        "resourceAttributes": {"verb": "get", "resource": "pods"}}}, headers=ONLY)
    assert r.status == 201
    assert opened(r)[1] == "SelfSubjectAccessReview"


def test_who_takes_json_gets_it(api, ns):
    path = f"/api/v1/namespaces/{ns}"
    for accept in (PROTOBUF + ",application/json", PROTOBUF + ", */*"):
        assert api.get(path, headers={"Accept": accept}).headers["Content-Type"] == "application/json"
    # no such form: tables, watches, custom resources
    for p, accept in ((path, PROTOBUF + ";as=Table;g=meta.k8s.io;v=v1"),
                      (f"{path}/pods?watch=1", PROTOBUF)):
        assert api.get(p, headers={"Accept": accept}).status == 406
