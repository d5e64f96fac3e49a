# SPDX-License-Identifier: Apache-2.0
"""The stock `kubernetes` Python client (Debian's): what its users do, typed and dynamic. Its models check
by themselves that required members are there. Watches: test_client_python_watch.py."""
import base64
import json
import subprocess
import sys
import time

import pytest
from kubernetes import client, config
from kubernetes.client.rest import ApiException
from kubernetes.config.incluster_config import InClusterConfigLoader
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic import exceptions as dyn

from apiserver import ROOT

TEMPLATE = {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "busybox:1"}]}}
ONCE = {"spec": TEMPLATE["spec"] | {"restartPolicy": "Never"}}
SELECTOR = {"matchLabels": {"a": "b"}}
RULE = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
BACKEND = {"service": {"name": "s", "port": {"number": 80}}}

# API class, the noun in its methods' names, what is created, a merge patch, where that shows
TYPED = [
    ("CoreV1Api", "config_map", {"data": {"k": "v"}}, {"data": {"k": "w"}}, lambda o: o.data == {"k": "w"}),
    ("CoreV1Api", "secret", {"stringData": {"k": "v"}}, {"stringData": {"k": "w"}},
     lambda o: base64.b64decode(o.data["k"]) == b"w"),
    ("CoreV1Api", "service", {"spec": {"ports": [{"port": 80}]}}, {"spec": {"selector": {"x": "y"}}},
     lambda o: o.spec.selector == {"x": "y"} and o.spec.cluster_ip),
    ("CoreV1Api", "pod", {"spec": TEMPLATE["spec"]}, {"metadata": {"annotations": {"k": "w"}}},
     lambda o: o.metadata.annotations == {"k": "w"} and o.spec.restart_policy == "Always"),
    ("CoreV1Api", "resource_quota", {"spec": {"hard": {"configmaps": "9"}}},
     {"spec": {"hard": {"configmaps": "8"}}}, lambda o: o.spec.hard == {"configmaps": "8"}),
    ("AppsV1Api", "deployment", {"spec": {"selector": SELECTOR, "template": TEMPLATE}},
     {"spec": {"replicas": 3}}, lambda o: o.spec.replicas == 3 and o.metadata.generation > 1),
    ("AppsV1Api", "stateful_set", {"spec": {"selector": SELECTOR, "template": TEMPLATE, "serviceName": "s"}},
     {"spec": {"replicas": 2}}, lambda o: o.spec.replicas == 2),
    ("BatchV1Api", "job", {"spec": {"template": ONCE}}, {"spec": {"parallelism": 2}},
     lambda o: o.spec.parallelism == 2 and o.spec.completions == 1),
    ("BatchV1Api", "cron_job", {"spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": ONCE}}}},
     {"spec": {"suspend": True}}, lambda o: o.spec.suspend is True),
    ("NetworkingV1Api", "ingress", {"spec": {"defaultBackend": BACKEND}},
     {"spec": {"ingressClassName": "x"}}, lambda o: o.spec.ingress_class_name == "x"),
    ("NetworkingV1Api", "network_policy", {"spec": {"podSelector": {}}}, {"spec": {"egress": [{}]}},
     lambda o: len(o.spec.egress) == 1),
    ("RbacAuthorizationV1Api", "role", {"rules": [RULE]}, {"rules": [RULE | {"verbs": ["list"]}]},
     lambda o: o.rules[0].verbs == ["list"]),
    ("RbacAuthorizationV1Api", "cluster_role", {"rules": [RULE]}, {"rules": [RULE | {"verbs": ["list"]}]},
     lambda o: o.rules[0].verbs == ["list"]),
    ("PolicyV1Api", "pod_disruption_budget", {"spec": {"selector": SELECTOR, "minAvailable": 1}},
     {"spec": {"minAvailable": "50%"}}, lambda o: o.spec.min_available == "50%"),
    ("AutoscalingV1Api", "horizontal_pod_autoscaler",
     {"spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}},
     {"spec": {"maxReplicas": 4}}, lambda o: o.spec.max_replicas == 4),
    ("CoordinationV1Api", "lease", {"spec": {"holderIdentity": "me"}}, {"spec": {"holderIdentity": "you"}},
     lambda o: o.spec.holder_identity == "you"),
    ("DiscoveryV1Api", "endpoint_slice", {"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"]}]},
     {"ports": [{"port": 80}]}, lambda o: o.ports[0].port == 80 and o.endpoints[0].addresses),
    ("EventsV1Api", "event", {
        "eventTime": "2026-01-01T00:00:00.123456Z", "action": "a", "reason": "r", "type": "Normal",
        "reportingController": "ex.io/c", "reportingInstance": "i",
        "regarding": {"kind": "Pod", "namespace": "{ns}", "name": "p"}},
     {"metadata": {"annotations": {"k": "w"}}}, lambda o: o.metadata.annotations == {"k": "w"}),
    ("StorageV1Api", "storage_class", {"provisioner": "ex.io/p"}, {"allowVolumeExpansion": True},
     lambda o: o.allow_volume_expansion is True),
    ("SchedulingV1Api", "priority_class", {"value": 7}, {"description": "d"}, lambda o: o.description == "d"),
    ("NodeV1Api", "runtime_class", {"handler": "h"}, {"metadata": {"annotations": {"k": "w"}}},
     lambda o: o.handler == "h"),
    ("AdmissionregistrationV1Api", "validating_webhook_configuration", {"webhooks": []},
     {"metadata": {"annotations": {"k": "w"}}}, lambda o: o.metadata.annotations == {"k": "w"}),
]


@pytest.fixture(scope="module")
def k8s(api):
    """As kubeconfig says."""
    return config.new_client_from_config(str(api.kubeconfig))


@pytest.fixture(scope="module")
def core(k8s):
    return client.CoreV1Api(k8s)


@pytest.fixture(scope="module")
def dynamic(k8s):
    return DynamicClient(k8s)


def cm(name="cm", labels=None, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels=labels), data=data)


def refused(status, reason, call, *args, **kw):
    """The Status that came with the exception."""
    with pytest.raises(ApiException) as e:
        call(*args, **kw)
    assert (e.value.status, e.value.reason) == (status, reason)
    body = json.loads(e.value.body)
    assert body["kind"] == "Status" and body["code"] == status
    assert e.value.headers["Content-Type"] == "application/json" and e.value.headers["Audit-Id"]
    return body


def names(listed):
    return [o.metadata.name for o in listed.items]


class Noun:
    """The methods of one kind, whether it is namespaced or not."""

    def __init__(self, k8s, api_class, noun, ns):
        self.api = getattr(client, api_class)(k8s)
        self.namespaced = hasattr(self.api, "create_namespaced_" + noun)
        self.noun = ("namespaced_" if self.namespaced else "") + noun
        self.ns = ns

    def __getattr__(self, verb):
        method = getattr(self.api, f"{verb}_{self.noun}")

        def call(*args, **kw):
            args = list(args)
            if self.namespaced:
                args.insert(1 if isinstance(args[:1] and args[0], str) else 0, self.ns)
            return method(*args, **kw)
        return call


@pytest.mark.parametrize("row", TYPED, ids=[r[1] for r in TYPED])
def test_typed_objects(k8s, ns, row):
    api_class, noun, body, patch, shows = row
    it, name = Noun(k8s, api_class, noun, ns), "py-" + ns[-6:]
    body = json.loads(json.dumps(body).replace("{ns}", ns))
    made = it.create(body | {"metadata": {"name": name, "labels": {"of": ns}}})
    assert made.metadata.name == name and made.metadata.uid and made.metadata.creation_timestamp
    assert it.read(name) == made
    listed = it.list(label_selector="of=" + ns)
    assert names(listed) == [name] and listed.metadata.resource_version
    assert shows(it.patch(name, patch))
    now = it.read(name)
    now.metadata.labels["more"] = "x"
    assert it.replace(name, now).metadata.labels == {"of": ns, "more": "x"}
    now.metadata.labels["more"] = "y"
    s = refused(409, "Conflict", it.replace, name, now)
    assert s["reason"] == "Conflict" and "the object has been modified" in s["message"]
    it.delete(name, propagation_policy="Background")
    s = refused(404, "Not Found", it.read, name)
    assert s["reason"] == "NotFound" and s["details"]["name"] == name


def test_errors(core, ns):
    s = refused(404, "Not Found", core.read_namespaced_config_map, "no", ns)
    assert s["message"] == 'configmaps "no" not found' and s["details"] == {"name": "no", "kind": "configmaps"}
    core.create_namespaced_config_map(ns, cm())
    s = refused(409, "Conflict", core.create_namespaced_config_map, ns, cm())
    assert s["reason"] == "AlreadyExists"
    s = refused(422, "Unprocessable Entity", core.create_namespaced_config_map, ns, cm("A_"))
    assert s["details"]["causes"][0]["field"] == "metadata.name"
    s = refused(400, "Bad Request", core.list_namespaced_config_map, ns, label_selector="a in (")
    assert s["reason"] == "BadRequest"
    s = refused(400, "Bad Request", core.create_namespaced_config_map, ns,
                {"metadata": {"name": "x"}, "data": {"a": 1}})
    assert "cannot unmarshal number" in s["message"]
    s = refused(404, "Not Found", core.create_namespaced_config_map, "no-such-ns", cm())
    assert s["details"]["kind"] == "namespaces"


def test_patches(core, k8s, dynamic, ns):
    """JSON patches are lists, all else is a strategic merge; the dynamic client names the others."""
    core.create_namespaced_config_map(ns, cm(a="1", b="2"))
    o = core.patch_namespaced_config_map("cm", ns, [
        {"op": "test", "path": "/data/a", "value": "1"}, {"op": "remove", "path": "/data/b"}])
    assert o.data == {"a": "1"}
    s = refused(422, "Unprocessable Entity", core.patch_namespaced_config_map, "cm", ns,
                [{"op": "test", "path": "/data/a", "value": "0"}])
    assert s["reason"] == "Invalid"
    apps = client.AppsV1Api(k8s)
    apps.create_namespaced_deployment(ns, {"metadata": {"name": "d"}, "spec": {
        "selector": SELECTOR, "template": TEMPLATE}})
    two = {"spec": {"template": {"spec": {"containers": [{"name": "d", "image": "x:1"}]}}}}
    o = apps.patch_namespaced_deployment("d", ns, two)
    assert [c.name for c in o.spec.template.spec.containers] == ["d", "c"]
    less = {"spec": {"template": {"spec": {"containers": [{"name": "d", "$patch": "delete"}]}}}}
    o = apps.patch_namespaced_deployment("d", ns, less)
    assert [c.name for c in o.spec.template.spec.containers] == ["c"]
    deployments = dynamic.resources.get(api_version="apps/v1", kind="Deployment")
    o = deployments.patch(two, name="d", namespace=ns, content_type="application/merge-patch+json")
    assert [c.name for c in o.spec.template.spec.containers] == ["d"]
    o = core.patch_namespaced_config_map("cm", ns, {"data": {"c": "3"}}, dry_run="All")
    assert o.data == {"a": "1", "c": "3"}
    assert core.read_namespaced_config_map("cm", ns).data == {"a": "1"}


def test_dry_run(core, ns):
    o = core.create_namespaced_config_map(ns, cm(), dry_run="All")
    assert o.metadata.uid and not o.metadata.resource_version
    refused(404, "Not Found", core.read_namespaced_config_map, "cm", ns)
    o = core.create_namespaced_config_map(ns, cm(a="1"))
    o.data = {"a": "2"}
    assert core.replace_namespaced_config_map("cm", ns, o, dry_run="All").data == {"a": "2"}
    core.delete_namespaced_config_map("cm", ns, dry_run="All")
    core.delete_collection_namespaced_config_map(ns, dry_run="All")
    assert core.read_namespaced_config_map("cm", ns).data == {"a": "1"}
    refused(422, "Unprocessable Entity", core.create_namespaced_config_map, ns, cm("x"), dry_run="Some")


def test_pages_and_selectors(core, ns):
    for i in range(7):
        core.create_namespaced_config_map(ns, cm(f"c{i}", {"n": str(i), "odd": str(i % 2)}))
    seen, token, rv = [], None, None
    while True:
        page = core.list_namespaced_config_map(ns, limit=3, _continue=token)
        assert rv in (None, page.metadata.resource_version)
        rv, token = page.metadata.resource_version, page.metadata._continue
        seen += names(page)
        assert (page.metadata.remaining_item_count or 0) == 7 - len(seen)
        if not token:
            break
    assert seen == [f"c{i}" for i in range(7)]
    for kw, want in (({"label_selector": "odd=1"}, "135"), ({"label_selector": "n in (1,2),odd!=0"}, "1"),
                     ({"label_selector": "!n"}, ""), ({"field_selector": "metadata.name=c4"}, "4"),
                     ({"field_selector": "metadata.name!=c4", "label_selector": "odd=0"}, "026")):
        assert names(core.list_namespaced_config_map(ns, **kw)) == ["c" + i for i in want], kw
    everywhere = core.list_config_map_for_all_namespaces(field_selector="metadata.namespace=" + ns)
    assert names(everywhere) == seen
    assert names(core.list_namespaced_config_map(
        ns, resource_version=rv, resource_version_match="Exact")) == seen


def test_delete_collection(core, ns):
    for i in range(4):
        core.create_namespaced_config_map(ns, cm(f"c{i}", {"odd": str(i % 2)}))
    core.delete_collection_namespaced_config_map(ns, label_selector="odd=1")
    assert names(core.list_namespaced_config_map(ns)) == ["c0", "c2"]
    core.delete_collection_namespaced_config_map(ns, propagation_policy="Orphan")
    left = core.list_namespaced_config_map(ns).items
    assert [o.metadata.finalizers for o in left] == [["orphan"]] * 2
    for o in left:
        core.patch_namespaced_config_map(o.metadata.name, ns, [{"op": "remove", "path": "/metadata/finalizers"}])
    assert names(core.list_namespaced_config_map(ns)) == []


@pytest.mark.parametrize("policy, finalizers", [
    ("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"]), ("Background", None)])
def test_propagation(core, ns, policy, finalizers):
    uid = core.create_namespaced_config_map(ns, cm()).metadata.uid
    refused(409, "Conflict", core.delete_namespaced_config_map, "cm", ns, body=client.V1DeleteOptions(
        preconditions=client.V1Preconditions(uid="other")))
    answer = core.delete_namespaced_config_map("cm", ns, body=client.V1DeleteOptions(
        propagation_policy=policy, preconditions=client.V1Preconditions(uid=uid)))
    if not finalizers:
        assert answer.status == "Success" and answer.details.uid == uid
        return
    o = core.read_namespaced_config_map("cm", ns)
    assert o.metadata.finalizers == finalizers and o.metadata.deletion_timestamp
    core.patch_namespaced_config_map("cm", ns, [{"op": "remove", "path": "/metadata/finalizers"}])
    refused(404, "Not Found", core.read_namespaced_config_map, "cm", ns)


def test_status_and_scale(k8s, ns):
    apps = client.AppsV1Api(k8s)
    apps.create_namespaced_deployment(ns, {"metadata": {"name": "d"}, "spec": {
        "selector": SELECTOR, "template": TEMPLATE}})
    scale = apps.read_namespaced_deployment_scale("d", ns)
    assert (scale.spec.replicas, scale.status.replicas, scale.status.selector) == (1, 0, "a=b")
    scale.spec.replicas = 4
    assert apps.replace_namespaced_deployment_scale("d", ns, scale).spec.replicas == 4
    assert apps.patch_namespaced_deployment_scale("d", ns, {"spec": {"replicas": 2}}).spec.replicas == 2
    d = apps.read_namespaced_deployment("d", ns)
    assert d.spec.replicas == 2
    d.spec.replicas, d.status.replicas, d.status.observed_generation = 9, 2, 1
    d = apps.replace_namespaced_deployment_status("d", ns, d)
    assert (d.spec.replicas, d.status.replicas) == (2, 2)
    d = apps.patch_namespaced_deployment_status("d", ns, {"status": {"conditions": [
        {"type": "Available", "status": "True", "reason": "r", "message": "m"}]}})
    assert d.status.conditions[0].type == "Available" and d.status.replicas == 2
    assert apps.read_namespaced_deployment_status("d", ns).status == d.status


def test_binding_and_eviction(core, k8s, ns):
    pod = {"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": TEMPLATE["spec"]}
    core.create_namespaced_pod(ns, pod)
    core.create_namespaced_pod_binding("p", ns, client.V1Binding(
        metadata=client.V1ObjectMeta(name="p"), target=client.V1ObjectReference(
            api_version="v1", kind="Node", name="nowhere")), _preload_content=False)
    assert core.read_namespaced_pod("p", ns).spec.node_name == "nowhere"
    ready = [{"type": "Ready", "status": "True"}]
    core.patch_namespaced_pod_status("p", ns, {"status": {"phase": "Running", "conditions": ready}})
    client.PolicyV1Api(k8s).create_namespaced_pod_disruption_budget(ns, {
        "metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": SELECTOR}})
    evict = client.V1Eviction(metadata=client.V1ObjectMeta(name="p", namespace=ns))
    s = refused(429, "Too Many Requests", core.create_namespaced_pod_eviction, "p", ns, evict)
    assert s["reason"] == "TooManyRequests" and s["details"]["causes"][0]["reason"] == "DisruptionBudget"
    client.PolicyV1Api(k8s).delete_namespaced_pod_disruption_budget("b", ns)
    evict.delete_options = client.V1DeleteOptions(grace_period_seconds=0)
    core.create_namespaced_pod_eviction("p", ns, evict)
    refused(404, "Not Found", core.read_namespaced_pod, "p", ns)


def test_access_reviews(k8s, ns):
    rbac, authz = client.RbacAuthorizationV1Api(k8s), client.AuthorizationV1Api(k8s)
    rbac.create_namespaced_role_binding(ns, {
        "metadata": {"name": "rb"}, "subjects": [{"kind": "User", "name": "alice"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}})
    for verb, allowed in (("get", True), ("delete", False)):
        what = client.V1ResourceAttributes(namespace=ns, verb=verb, resource="pods")
        spec = client.V1SubjectAccessReviewSpec(user="alice", resource_attributes=what)
        o = authz.create_subject_access_review(client.V1SubjectAccessReview(spec=spec))
        assert o.status.allowed is allowed
        o = authz.create_namespaced_local_subject_access_review(ns, client.V1LocalSubjectAccessReview(
            metadata=client.V1ObjectMeta(namespace=ns), spec=spec))
        assert o.status.allowed is allowed
    o = authz.create_self_subject_access_review(client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(
            non_resource_attributes=client.V1NonResourceAttributes(verb="get", path="/metrics"))))
    assert o.status.allowed is True
    o = authz.create_self_subject_rules_review(client.V1SelfSubjectRulesReview(
        spec=client.V1SelfSubjectRulesReviewSpec(namespace=ns)))
    assert any(r.verbs == ["*"] and r.resources == ["*"] for r in o.status.resource_rules)


def test_token_and_in_cluster_config(api, core, ns, tmp_path):
    """A Pod's view: the server in the environment, token and CA in files."""
    o = core.create_namespaced_service_account_token("default", ns, client.AuthenticationV1TokenRequest(
        spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=600)))
    assert o.status.expiration_timestamp and o.status.token.count(".") == 2
    (tmp_path / "token").write_text(o.status.token)
    (tmp_path / "ca.crt").write_text(api.ca)
    cfg = client.Configuration()
    InClusterConfigLoader(
        token_filename=str(tmp_path / "token"), cert_filename=str(tmp_path / "ca.crt"),
        environ={"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)},
    ).load_and_set(cfg)
    inside = client.ApiClient(cfg)
    s = refused(403, "Forbidden", client.CoreV1Api(inside).list_namespaced_pod, ns)
    assert f'User "system:serviceaccount:{ns}:default" cannot list resource "pods"' in s["message"]
    version = client.VersionApi(inside).get_code()
    assert (version.major, version.minor) == ("1", "36")
    o = client.AuthenticationV1Api(core.api_client).create_token_review(client.V1TokenReview(
        spec=client.V1TokenReviewSpec(token=o.status.token)))
    assert o.status.authenticated and o.status.user.username == f"system:serviceaccount:{ns}:default"
    stranger = client.Configuration()
    stranger.host, stranger.ssl_ca_cert = cfg.host, cfg.ssl_ca_cert
    stranger.api_key["authorization"] = "bearer nonsense"
    refused(401, "Unauthorized", client.CoreV1Api(client.ApiClient(stranger)).list_namespaced_pod, ns)


def test_certificate_is_approved(k8s, ns, tmp_path):
    subprocess.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", tmp_path / "key", "-out", tmp_path / "csr", "-subj", "/CN=py/O=devs"],
                   check=True, capture_output=True)
    certs = client.CertificatesV1Api(k8s)
    o = certs.create_certificate_signing_request(client.V1CertificateSigningRequest(
        metadata=client.V1ObjectMeta(name=ns), spec=client.V1CertificateSigningRequestSpec(
            request=base64.b64encode((tmp_path / "csr").read_bytes()).decode(),
            signer_name="kubernetes.io/kube-apiserver-client", usages=["client auth"])))
    assert o.spec.username and o.status is not None and not o.status.conditions
    o.status.conditions = [client.V1CertificateSigningRequestCondition(
        type="Approved", status="True", reason="Test", message="by the test")]
    assert certs.replace_certificate_signing_request_approval(ns, o).status.conditions
    end = time.monotonic() + 10
    while not o.status.certificate:
        assert time.monotonic() < end, o
        time.sleep(0.02)
        o = certs.read_certificate_signing_request_status(ns)
    assert base64.b64decode(o.status.certificate).startswith(b"-----BEGIN CERTIFICATE-----")


# ---- the dynamic client

@pytest.fixture(scope="module")
def widgets(dynamic, k8s):
    name = "pywidgets.ex.io"
    client.ApiextensionsV1Api(k8s).create_custom_resource_definition({
        "metadata": {"name": name}, "spec": {
            "group": "ex.io", "scope": "Namespaced",
            "names": {"plural": "pywidgets", "singular": "pywidget", "kind": "PyWidget", "shortNames": ["pw"]},
            "versions": [{"name": "v1", "served": True, "storage": True,
                          "subresources": {"status": {}, "scale": {
                              "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                          "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                              "spec": {"type": "object", "properties": {
                                  "replicas": {"type": "integer", "default": 1, "maximum": 9},
                                  "color": {"type": "string"}}},
                              "status": {"type": "object", "properties": {
                                  "replicas": {"type": "integer"}}}}}}}]}})
    end = time.monotonic() + 10
    while True:
        try:
            yield DynamicClient(k8s).resources.get(api_version="ex.io/v1", kind="PyWidget")
            break
        except dyn.ResourceNotFoundError:
            assert time.monotonic() < end
            time.sleep(0.05)
    client.ApiextensionsV1Api(k8s).delete_custom_resource_definition(name)


def test_discovery(dynamic, widgets):
    assert dynamic.version["kubernetes"]["gitVersion"].startswith("v1.36.")
    pods = dynamic.resources.get(api_version="v1", kind="Pod")
    assert pods.namespaced and pods.name == "pods" and "po" in pods.short_names
    assert {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"} <= set(pods.verbs)
    assert "status" in pods.subresources and "log" in pods.subresources
    hpas = dynamic.resources.get(kind="HorizontalPodAutoscaler", preferred=True)
    assert hpas.group_version == "autoscaling/v2"
    assert widgets.name == "pywidgets" and set(widgets.subresources) == {"status", "scale"}
    with pytest.raises(dyn.ResourceNotFoundError):
        dynamic.resources.get(api_version="v1", kind="NoSuchKind")


def test_custom_resources(widgets, ns):
    body = {"apiVersion": "ex.io/v1", "kind": "PyWidget", "metadata": {"name": "w"}, "spec": {"color": "red"}}
    o = widgets.create(body=body, namespace=ns)
    assert o.spec.replicas == 1 and o.metadata.generation == 1
    with pytest.raises(dyn.UnprocessibleEntityError) as e:
        widgets.create(body=body | {"metadata": {"name": "v"}, "spec": {"replicas": 10}}, namespace=ns)
    assert e.value.summary().endswith(
        "spec.replicas: Invalid value: 10: spec.replicas in body should be less than or equal to 9")
    o = widgets.patch(body={"spec": {"color": "blue"}}, name="w", namespace=ns,
                      content_type="application/merge-patch+json")
    assert o.spec.color == "blue" and o.metadata.generation == 2
    with pytest.raises(dyn.DynamicApiError) as e:
        widgets.patch(body={"spec": {}}, name="w", namespace=ns)
    assert e.value.status == 415  # a strategic merge
    o = widgets.status.patch(body={"status": {"replicas": 5}, "spec": {"color": "no"}}, name="w", namespace=ns,
                             content_type="application/merge-patch+json")
    assert o.status.replicas == 5 and o.spec.color == "blue" and o.metadata.generation == 2
    scale = widgets.scale.get(name="w", namespace=ns)
    assert (scale.kind, scale.spec.replicas, scale.status.replicas) == ("Scale", 1, 5)
    scale = widgets.scale.patch(body={"spec": {"replicas": 3}}, name="w", namespace=ns,
                                content_type="application/merge-patch+json")
    assert scale.spec.replicas == 3
    o = widgets.get(name="w", namespace=ns)
    o.spec.color = "green"
    assert widgets.replace(body=o.to_dict(), namespace=ns).spec.replicas == 3
    listed = widgets.get(namespace=ns)
    assert listed.kind == "PyWidgetList" and [i.kind for i in listed.items] == ["PyWidget"]
    widgets.delete(name="w", namespace=ns)
    with pytest.raises(dyn.NotFoundError):
        widgets.get(name="w", namespace=ns)


def test_server_side_apply(dynamic, widgets, ns):
    maps = dynamic.resources.get(api_version="v1", kind="ConfigMap")

    def apply(it, kind, version, manager, force=None, **parts):
        # this client sends an apply patch only as text
        body = json.dumps({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}} | parts)
        return it.server_side_apply(body, name="x", namespace=ns, field_manager=manager,
                                    force_conflicts=force)

    o = apply(maps, "ConfigMap", "v1", "one", data={"a": "1", "b": "1"})
    assert o.metadata.managedFields[0].manager == "one" and o.metadata.managedFields[0].operation == "Apply"
    o = apply(maps, "ConfigMap", "v1", "two", data={"c": "2"})
    assert dict(o.data) == {"a": "1", "b": "1", "c": "2"}
    with pytest.raises(dyn.ConflictError) as e:
        apply(maps, "ConfigMap", "v1", "two", data={"a": "2"})
    s = json.loads(e.value.body)
    assert s["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    assert s["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.a"}]
    o = apply(maps, "ConfigMap", "v1", "two", True, data={"a": "2"})
    assert dict(o.data) == {"a": "2", "b": "1"}
    o = apply(maps, "ConfigMap", "v1", "one", data={})
    assert dict(o.data) == {"a": "2"}
    o = apply(widgets, "PyWidget", "ex.io/v1", "one", spec={"color": "red"})
    assert o.spec.color == "red" and o.spec.replicas == 1
    with pytest.raises(dyn.ConflictError):
        apply(widgets, "PyWidget", "ex.io/v1", "two", spec={"color": "blue"})


def test_custom_objects_api(k8s, widgets, ns):
    it = client.CustomObjectsApi(k8s)
    where = ("ex.io", "v1", ns, "pywidgets")
    it.create_namespaced_custom_object(*where, {
        "apiVersion": "ex.io/v1", "kind": "PyWidget", "metadata": {"name": "w"}, "spec": {"color": "red"}})
    assert it.get_namespaced_custom_object(*where, "w")["spec"] == {"color": "red", "replicas": 1}
    # without a list the client says merge-patch here
    o = it.patch_namespaced_custom_object(*where, "w", {"spec": {"color": None}})
    assert o["spec"] == {"replicas": 1}
    assert len(it.list_namespaced_custom_object(*where)["items"]) == 1
    it.patch_namespaced_custom_object_status(*where, "w", {"status": {"replicas": 1}})
    assert it.get_namespaced_custom_object_status(*where, "w")["status"] == {"replicas": 1}
    it.delete_collection_namespaced_custom_object(*where)
    everywhere = it.list_cluster_custom_object("ex.io", "v1", "pywidgets")["items"]
    assert ns not in [o["metadata"]["namespace"] for o in everywhere]


# ---- leader election

CANDIDATE = """
import sys, time
from kubernetes import client, config
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock

kubeconfig, ns, me = sys.argv[1:]
config.load_kube_config(kubeconfig)

def lead():
    print(me, flush=True)
    time.sleep(60)

leaderelection.LeaderElection(electionconfig.Config(
    ConfigMapLock("lock", ns, me), lease_duration=2, renew_deadline=1.5, retry_period=1,
    onstarted_leading=lead, onstopped_leading=None)).run()
"""


def test_leader_election(api, core, ns):
    """One leads; when it dies the other one takes over, not before its lease has run out."""
    def candidate(me):
        return subprocess.Popen([sys.executable, "-c", CANDIDATE, str(api.kubeconfig), ns, me], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT)

    first = candidate("first")
    second = None
    try:
        assert first.stdout.readline() == "first\n"
        second = candidate("second")
        time.sleep(3)
        lock = core.read_namespaced_config_map("lock", ns).metadata.annotations
        record = json.loads(lock["control-plane.alpha.kubernetes.io/leader"])
        assert record["holderIdentity"] == "first" and record["renewTime"] > record["acquireTime"]
        first.kill()
        assert second.stdout.readline() == "second\n"
    finally:
        for p in (first, second):
            if p:
                p.kill()
                p.wait(10)
                p.stdout.close()
