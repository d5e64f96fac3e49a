# SPDX-License-Identifier: Apache-2.0
"""What the built-in admission plugins put in, refuse and count, in upstream's words."""
import itertools
import threading

import pytest

from apiserver import poll

PSA = "pod-security.kubernetes.io/"
numbers = itertools.count()


@pytest.fixture
def ns(api):
    """A namespace with the account that Pods need; nothing makes it here."""
    return namespace(api)


def namespace(api, **labels):
    name = f"adm-{next(numbers)}"
    api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    api.ok("POST", f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})
    return f"/api/v1/namespaces/{name}"


def pod(name="p", resources=None, container=None, meta=None, **spec):
    c = {"name": "c", "image": "i", "resources": resources or {}} | (container or {})
    return {"metadata": {"name": name} | (meta or {}), "spec": {"containers": [c]} | spec}


def text(r, code=403):
    assert r.status == code, r.body
    return r.json["message"]


def forbidden(r, kind="pods", name="p"):
    return text(r).removeprefix(f'{kind} "{name}" is forbidden: ')


# ---- PodSecurity

@pytest.mark.parametrize("level,spec,bad", [
    ("baseline", {}, None),
    ("baseline", {"hostNetwork": True, "hostPID": True},
     "host namespaces (hostNetwork=true, hostPID=true)"),
    ("baseline", {"volumes": [{"name": "h", "hostPath": {"path": "/x"}}]},
     'hostPath volumes (volume "h")'),
    ("baseline", {"container": {"securityContext": {"privileged": True}}},
     'privileged (container "c" must not set securityContext.privileged=true)'),
    ("baseline", {"container": {"securityContext": {"capabilities": {"add": ["SYS_ADMIN",
                                                                             "NET_ADMIN"]}},
                                "ports": [{"containerPort": 80, "hostPort": 8080}]}},
     'non-default capabilities (container "c" must not include "NET_ADMIN", "SYS_ADMIN" in '
     'securityContext.capabilities.add), hostPort (container "c" uses hostPort 8080)'),
    ("baseline", {"securityContext": {"seLinuxOptions": {"type": "foo", "user": "u"},
                                      "sysctls": [{"name": "kernel.msgmax", "value": "1"}],
                                      "seccompProfile": {"type": "Unconfined"}}},
     'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "foo"; user may not '
     'be set), seccompProfile (pod must not set securityContext.seccompProfile.type to '
     '"Unconfined"), forbidden sysctls (kernel.msgmax)'),
    ("restricted", {},
     'allowPrivilegeEscalation != false (container "c" must set '
     'securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "c" '
     'must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container '
     '"c" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "c" must '
     'set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'),
    ("restricted", {"container": {"securityContext": {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"}}}}, None),
])
def test_pod_security_levels(api, level, spec, bad):
    ns = namespace(api, **{PSA + "enforce": level})
    r = api.post(ns + "/pods?dryRun=All", pod(**spec))
    if bad is None:
        assert r.status == 201, r.body
    else:
        assert forbidden(r) == f'violates PodSecurity "{level}:latest": {bad}'


def test_pod_security_versions_and_labels(api):
    ns = namespace(api, **{PSA + "enforce": "restricted", PSA + "enforce-version": "v1.0"})
    assert forbidden(api.post(ns + "/pods", pod())) == (
        'violates PodSecurity "restricted:v1.0": runAsNonRoot != true (pod or container "c" must '
        'set securityContext.runAsNonRoot=true)')
    r = api.post("/api/v1/namespaces", {"metadata": {"name": "badlabels", "labels": {
        PSA + "enforce": "bad", PSA + "warn-version": "v2"}}})
    assert text(r, 422) == (
        'Namespace "badlabels" is invalid: [metadata.labels[pod-security.kubernetes.io/enforce]: '
        'Invalid value: "bad": must be one of privileged, baseline, restricted, '
        'metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: "v2": must be '
        '"latest" or "v1.x"]')


def test_pod_security_warnings(api):
    ns = namespace(api, **{PSA + "warn": "baseline"})
    name = ns.rsplit("/", 1)[1]
    host = {"spec": {"hostNetwork": True, "containers": [{"name": "c", "image": "i"}]}}
    r = api.post(f"/apis/apps/v1/namespaces/{name}/deployments", {
        "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}} | host}})
    want = 'would violate PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
    assert (r.status, r.warnings) == (201, [want])
    for p in ("p", "q"):
        r = api.post(ns + "/pods", {"metadata": {"name": p}} | host)
        assert (r.status, r.warnings) == (201, [want])
    r = api.patch(ns, {"metadata": {"labels": {PSA + "enforce": "baseline"}}})
    assert r.warnings == [f'existing pods in namespace "{name}" violate the new PodSecurity enforce '
                          'level "baseline:latest"', "p (and 1 other pod): host namespaces"]
    r = api.patch(ns + "/pods/p", {"metadata": {"labels": {"x": "y"}}})
    assert r.status == 200, "only what matters is looked at again"


# ---- LimitRanger

def test_limits_fill_in_and_bound(api, ns):
    api.ok("POST", ns + "/limitranges", {"metadata": {"name": "l"}, "spec": {"limits": [
        {"type": "Container", "default": {"cpu": "500m"}, "max": {"cpu": "1"}, "min": {"cpu": "10m"},
         "defaultRequest": {"cpu": "100m", "memory": "64Mi"}},
        {"type": "Pod", "max": {"memory": "1Gi"}},
        {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}}]}})
    poll(lambda: api.post(ns + "/pods?dryRun=All", pod()).status == 403)
    p = api.ok("POST", ns + "/pods?dryRun=All", pod(resources={"limits": {"memory": "1Gi"}}))
    assert p["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "1Gi"}}
    assert p["metadata"]["annotations"] == {"kubernetes.io/limit-ranger":
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"}
    assert forbidden(api.post(ns + "/pods", pod(resources={"limits": {"cpu": "2"}}))) == (
        "[maximum cpu usage per Container is 1, but limit is 2, maximum memory usage per Pod is "
        "1Gi.  No limit is specified]")
    claim = {"metadata": {"name": "p"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {
        "requests": {"storage": "1Mi"}}}}
    assert forbidden(api.post(ns + "/persistentvolumeclaims", claim),
                     "persistentvolumeclaims") == (
        "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi")


# ---- ResourceQuota

def quota(api, ns, hard, used=None, **spec):
    """What the controller does: it fills in the status."""
    q = api.ok("POST", ns + "/resourcequotas", {"metadata": {"name": "q"},
                                                "spec": {"hard": hard} | spec})
    q["status"] = {"hard": hard, "used": used or {k: "0" for k in hard}}
    api.ok("PUT", ns + "/resourcequotas/q/status", q)


def used(api, ns):
    return api.get(ns + "/resourcequotas/q").json["status"]["used"]


def test_quota_counts_and_refuses(api, ns):
    quota(api, ns, {"pods": "2", "requests.cpu": "1"}, {"pods": "0", "requests.cpu": "100m"})
    r = poll(lambda: (x := api.post(ns + "/pods?dryRun=All", pod())).status == 403 and x)
    assert forbidden(r) == "failed quota: q: must specify requests.cpu for: c"
    assert forbidden(api.post(ns + "/pods", pod(resources={"requests": {"cpu": "3"}}))) == (
        "exceeded quota: q, requested: requests.cpu=3, used: requests.cpu=100m, limited: "
        "requests.cpu=1")
    assert used(api, ns) == {"pods": "0", "requests.cpu": "100m"}
    small = {"requests": {"cpu": "500m"}}
    assert api.post(ns + "/pods?dryRun=All", pod(resources=small)).status == 201
    assert used(api, ns) == {"pods": "0", "requests.cpu": "100m"}
    api.ok("POST", ns + "/pods", pod(resources=small))
    assert used(api, ns) == {"pods": "1", "requests.cpu": "600m"}
    # a write that fails costs nothing
    assert api.post(ns + "/pods", pod(resources={"requests": {"cpu": "1m"}})).status == 409
    assert used(api, ns) == {"pods": "1", "requests.cpu": "600m"}


def test_quota_of_objects_and_services(api, ns):
    quota(api, ns, {"count/configmaps": "1", "services.nodeports": "1", "services": "5"})
    cm = {"metadata": {"generateName": "x"}}
    poll(lambda: api.post(ns + "/configmaps", cm).status == 403)
    assert "exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=1, " \
        "limited: count/configmaps=1" in text(api.post(ns + "/configmaps", cm))
    svc = {"metadata": {"name": "p"}, "spec": {"selector": {"a": "b"}, "ports": [
        {"name": "a", "port": 80}, {"name": "b", "port": 81}]}}
    api.ok("POST", ns + "/services", svc)
    r = api.patch(ns + "/services/p", {"spec": {"type": "NodePort"}})
    assert forbidden(r, "services") == (
        "exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=0, limited: "
        "services.nodeports=1")
    assert used(api, ns)["services"] == "1"


def test_quota_scopes(api, ns):
    quota(api, ns, {"pods": "0"}, scopes=["BestEffort"])
    poll(lambda: api.post(ns + "/pods?dryRun=All", pod()).status == 403)
    assert api.post(ns + "/pods", pod(resources={"requests": {"cpu": "1"}})).status == 201


def test_quota_is_not_overdrawn_by_many(api, ns):
    quota(api, ns, {"count/secrets": "20"})
    poll(lambda: api.post(ns + "/secrets", {"metadata": {"generateName": "x"}}).status == 201 and
         used(api, ns)["count/secrets"] != "0")
    codes = []

    def writer():
        for _ in range(10):
            codes.append(api.post(ns + "/secrets", {"metadata": {"generateName": "x"}}).status)

    threads = [threading.Thread(target=writer) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert set(codes) <= {201, 403}
    n = len(api.get(ns + "/secrets").json["items"])
    assert n == 20
    assert used(api, ns) == {"count/secrets": "20"}


# ---- Priority, RuntimeClass, ServiceAccount, storage and ingress classes

def test_priority(api, ns):
    assert forbidden(api.post(ns + "/pods", pod(priorityClassName="nope"))) == (
        "no PriorityClass with name nope was found")
    assert forbidden(api.post(ns + "/pods", pod(priority=5))) == (
        "the integer value of priority (5) must not be provided in pod spec; priority admission "
        "controller computed 0 from the given PriorityClass name")
    assert forbidden(api.post(ns + "/pods", pod(preemptionPolicy="Never"))) == (
        "the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority "
        "admission controller computed PreemptLowerPriority from the given PriorityClass name")
    s = api.ok("POST", ns + "/pods", pod(priorityClassName="system-node-critical"))["spec"]
    assert (s["priority"], s["preemptionPolicy"]) == (2000001000, "PreemptLowerPriority")
    pcs = "/apis/scheduling.k8s.io/v1/priorityclasses"
    api.ok("POST", pcs, {"metadata": {"name": "dflt"}, "value": 7, "globalDefault": True})
    poll(lambda: api.post(ns + "/pods?dryRun=All", pod("q")).json["spec"]["priority"] == 7)
    r = api.post(pcs, {"metadata": {"name": "p"}, "value": 8, "globalDefault": True})
    assert forbidden(r, "priorityclasses.scheduling.k8s.io") == (
        "PriorityClass dflt is already marked as default. Only one default can exist")
    api.delete(pcs + "/dflt")


def test_runtime_class(api, ns):
    assert forbidden(api.post(ns + "/pods", pod(runtimeClassName="nope"))) == (
        'pod rejected: RuntimeClass "nope" not found')
    assert forbidden(api.post(ns + "/pods", pod(overhead={"cpu": "1"}))) == (
        "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
    api.ok("POST", "/apis/node.k8s.io/v1/runtimeclasses", {
        "metadata": {"name": "rc"}, "handler": "h", "overhead": {"podFixed": {"cpu": "10m"}},
        "scheduling": {"nodeSelector": {"k": "v"},
                       "tolerations": [{"key": "a", "operator": "Exists"}]}})
    s = api.ok("POST", ns + "/pods", pod(runtimeClassName="rc"))["spec"]
    assert s["overhead"] == {"cpu": "10m"} and s["nodeSelector"] == {"k": "v"}
    assert {"key": "a", "operator": "Exists"} in s["tolerations"]
    assert forbidden(api.post(ns + "/pods", pod(runtimeClassName="rc", nodeSelector={"k": "x"}))) \
        == ("conflict: runtimeClass.scheduling.nodeSelector[k] = v; pod.spec.nodeSelector[k] = x")
    assert forbidden(api.post(ns + "/pods", pod(runtimeClassName="rc", overhead={"cpu": "1"}))) == (
        "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")


def test_service_account_limits(api, ns):
    name = ns.rsplit("/", 1)[1]
    assert forbidden(api.post(ns + "/pods", pod(serviceAccountName="nope"))) == (
        f'error looking up service account {name}/nope: serviceaccount "nope" not found')
    api.ok("POST", ns + "/serviceaccounts", {
        "metadata": {"name": "e", "annotations": {
            "kubernetes.io/enforce-mountable-secrets": "true"}},
        "automountServiceAccountToken": False, "imagePullSecrets": [{"name": "ips"}]})
    r = api.post(ns + "/pods", pod(serviceAccountName="e", volumes=[
        {"name": "v", "secret": {"secretName": "s"}}]))
    assert forbidden(r) == ('volume with secret.secretName="s" is not allowed because service '
                            "account e does not reference that secret")
    r = api.post(ns + "/pods", pod(serviceAccountName="e", imagePullSecrets=[{"name": "q"}]))
    assert forbidden(r) == ('imagePullSecrets[0].name="q" is not allowed because service account e '
                            "does not reference that imagePullSecret")
    s = api.ok("POST", ns + "/pods", pod(serviceAccountName="e"))["spec"]
    assert s["imagePullSecrets"] == [{"name": "ips"}] and "volumes" not in s
    mirror = {"annotations": {"kubernetes.io/config.mirror": "x"}}
    assert forbidden(api.post(ns + "/pods", pod(serviceAccountName="e", meta=mirror))) == (
        "a mirror pod may not reference service accounts")


def test_default_classes(api, ns):
    name = ns.rsplit("/", 1)[1]
    for n, t in (("old", "true"), ("new", "true"), ("other", "false")):
        api.ok("POST", "/apis/storage.k8s.io/v1/storageclasses", {
            "metadata": {"name": n, "annotations": {
                "storageclass.kubernetes.io/is-default-class": t}}, "provisioner": "x"})
        api.ok("POST", "/apis/networking.k8s.io/v1/ingressclasses", {
            "metadata": {"name": n, "annotations": {
                "ingressclass.kubernetes.io/is-default-class": t}}, "spec": {"controller": "a.b/c"}})
    claim = {"metadata": {"generateName": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
                                                         "resources": {"requests": {"storage": "1"}}}}
    c = poll(lambda: (x := api.post(ns + "/persistentvolumeclaims", claim).json)["spec"]
             .get("storageClassName") in ("new", "old") and x)
    # made in the same second: the first by name
    assert c["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    r = api.post(f"/apis/networking.k8s.io/v1/namespaces/{name}/ingresses", {
        "metadata": {"name": "i"}, "spec": {"defaultBackend": {"service": {
            "name": "s", "port": {"number": 80}}}}})
    assert r.json["spec"]["ingressClassName"] in ("new", "old")
    for n in ("old", "new", "other"):
        api.delete(f"/apis/storage.k8s.io/v1/storageclasses/{n}")
        api.delete(f"/apis/networking.k8s.io/v1/ingressclasses/{n}")


def test_topology_of_the_node_comes_to_the_pod(api, ns):
    api.ok("POST", "/api/v1/nodes", {"metadata": {"name": "topo", "labels": {
        "topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r1", "other": "x"}}})
    want = {"topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r1"}
    p = api.ok("POST", ns + "/pods", pod("bound", nodeName="topo"))
    assert p["metadata"]["labels"] == want
    api.ok("POST", ns + "/pods", pod("free"))
    api.ok("POST", ns + "/pods/free/binding", {"metadata": {"name": "free"},
                                               "target": {"kind": "Node", "name": "topo"}})
    assert api.get(ns + "/pods/free").json["metadata"]["labels"] == want
    api.delete("/api/v1/nodes/topo")


def test_pods_grow_no_further_than_their_node(api, ns):
    node = {"metadata": {"name": "small"}, "status": {"allocatable": {"cpu": "2", "memory": "1Gi",
                                                                 "pods": "9"}}}
    api.ok("POST", "/api/v1/nodes", node)
    base = ns + "/pods"
    api.ok("POST", base, pod("p", {"requests": {"cpu": "1"}}, nodeName="small"))

    def resize(**requests):
        return api.request("PATCH", base + "/p/resize", {"spec": {"containers": [
            {"name": "c", "resources": {"requests": requests}}]}},
            headers={"Content-Type": "application/strategic-merge-patch+json"})
    try:
        assert resize(cpu="2").status == 200
        r = resize(cpu="2500m")
        assert text(r) == ('pods "p" is forbidden: node didn\'t have enough allocatable resources: '
                           "cpu, requested: 2500, allocatable: 2000")
        assert r.json["details"]["causes"] == [{"reason": "NodeCapacity"}]
    finally:
        api.delete("/api/v1/nodes/small")
