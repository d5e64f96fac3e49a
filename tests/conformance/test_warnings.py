# SPDX-License-Identifier: Apache-2.0
"""What is allowed but deserves a word: Warning headers, as upstream gives them."""
import pytest

CORE, APPS, BATCH, NET = ("/api/v1", "/apis/apps/v1", "/apis/batch/v1", "/apis/networking.k8s.io/v1")
LABEL = ('beta.kubernetes.io/os', 'deprecated since v1.14; use "kubernetes.io/os" instead')
NO_PODS = "a null labelSelector results in matching no pod"


def container(name="c", **more):
    return {"name": name, "image": "i", **more}


def pod(name="p", meta=None, **spec):
    return {"metadata": {"name": name, **(meta or {})},
            "spec": {"containers": [container()], **spec}}


def workload(name="w", **spec):
    return {"metadata": {"name": name}, "spec": {
        "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": pod(**spec)["spec"]}}}


def service(**spec):
    return {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], **spec}}


def volume(**source):
    return {"volumes": [{"name": "v", **source}]}


PODS = [
    (pod("a.b"), ["metadata.name: this is used in the Pod's hostname, which can result in surprising "
                  "behavior; a DNS label is recommended: [must not contain dots]"]),
    (pod("l" * 64), ["metadata.name: this is used in the Pod's hostname, which can result in "
                     "surprising behavior; a DNS label is recommended: [must be no more than 63 "
                     "characters]"]),
    (pod(nodeSelector={LABEL[0]: "x"}), [f"spec.nodeSelector[{LABEL[0]}]: {LABEL[1]}"]),
    (pod(affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": {"matchExpressions": [
            {"key": LABEL[0], "operator": "In", "values": ["-x"]}]}}]}}),
     ["spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference."
      f"matchExpressions[0].key: {LABEL[0]} is {LABEL[1]}",
      "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference."
      "matchExpressions[0].values[0]: -x is invalid, a valid label must be an empty string or consist "
      "of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
      "character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
      "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"]),
    (pod(topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "z",
                                     "whenUnsatisfiable": "ScheduleAnyway"}]),
     [f"spec.topologySpreadConstraints[0].labelSelector: {NO_PODS}"]),
    (pod(affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "z"}]}}),
     ["spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]."
      f"labelSelector: {NO_PODS}"]),
    (pod(meta={"annotations": {"scheduler.alpha.kubernetes.io/critical-pod": "",
                               "container.seccomp.security.alpha.kubernetes.io/c": "unconfined"}}),
     ["metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; "
      'use the "priorityClassName" field instead',
      "metadata.annotations[container.seccomp.security.alpha.kubernetes.io/c]: non-functional in "
      'v1.27+; use the "seccompProfile" field instead']),
    (pod(**volume(rbd={"monitors": ["m"], "image": "i"})),
     ["spec.volumes[0].rbd: deprecated in v1.28, non-functional in v1.31+"]),
    (pod(**volume(configMap={"name": "m", "items": [{"key": "a", "path": "p"},
                                                    {"key": "b", "path": "p/q"}]})),
     ['volume "v" (ConfigMap "m"): overlapping paths: "p/q" with "p"']),
    (pod(**volume(projected={"sources": [
        {"secret": {"name": "s", "items": [{"key": "a", "path": "x"}]}},
        {"serviceAccountToken": {"path": "x"}}]})),
     ['volume "v" (Projected): overlapping paths: "x" (ServiceAccountToken) with "x" (Secret "s")']),
    (pod(hostAliases=[{"ip": "1.2.3.4", "hostnames": ["a"]}, {"ip": "1.2.3.4", "hostnames": ["b"]}]),
     ['spec.hostAliases[1].ip: duplicate ip "1.2.3.4"']),
    (pod(hostAliases=[{"ip": "2001:DB8::0", "hostnames": ["a"]}]),
     ['spec.hostAliases[0].ip: IPv6 address "2001:DB8::0" should be in RFC 5952 canonical format '
      '("2001:db8::")']),
    (pod(imagePullSecrets=[{"name": "x"}, {"name": "x"}]),
     ['spec.imagePullSecrets[1].name: duplicate name "x"']),
    (pod(containers=[container(resources={"limits": {"memory": "1500m"}})]),
     ['spec.containers[0].resources.limits[memory]: fractional byte value "1500m" is invalid, must be '
      "an integer",
      'spec.containers[0].resources.requests[memory]: fractional byte value "1500m" is invalid, must '
      "be an integer"]),
    (pod(containers=[container(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "x$(A)"},
                                    {"name": "A", "value": "2"}])]),
     ['spec.containers[0].env[2]: hides previous definition of "A", which may be dropped when using '
      "apply"]),
    (pod(containers=[container("c", ports=[{"containerPort": 80, "name": "x"}]),
                     container("d", ports=[{"containerPort": 80, "name": "x"},
                                           {"containerPort": 80, "hostPort": 8}])]),
     ["spec.containers[1].ports[0]: duplicate port definition with spec.containers[0].ports[0]",
      "spec.containers[1].ports[1]: overlapping port definition with spec.containers[0].ports[0]",
      "spec.containers[1].ports[1]: overlapping port definition with spec.containers[1].ports[0]",
      'spec.containers[1].ports[0]: duplicate port name "x" with spec.containers[0].ports[0], services '
      "and probes that select ports by name will use spec.containers[0].ports[0]"]),
    (pod(containers=[container(ports=[{"containerPort": 80, "hostIP": "1.2.3.4"}])]),
     ["spec.containers[0].ports[0]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:80 "
      "Protocol:TCP HostIP:1.2.3.4}"]),
    (pod(terminationGracePeriodSeconds=-1), []),  # it is 1
]
OTHERS = [
    (CORE, "services", service(clusterIP="None", sessionAffinity="ClientIP"),
     ["spec.SessionAffinity is ignored for headless services"]),
    (CORE, "services", service(externalIPs=["1.2.3.4"]),
     ["spec.externalIPs is deprecated and may no longer be implemented in some clusters"]),
    (CORE, "services", service(type="LoadBalancer", loadBalancerSourceRanges=["2001:DB8::/64"]),
     ['spec.loadBalancerSourceRanges[0]: IPv6 CIDR value "2001:DB8::/64" should be in RFC 5952 '
      'canonical format ("2001:db8::/64")']),
    (CORE, "services", service(externalName="x.y"),
     ['spec.externalName is ignored when spec.type is not "ExternalName"']),
    (CORE, "services", service(trafficDistribution="PreferClose"),
     ['spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"']),
    (APPS, "deployments", workload("a.b", nodeSelector={LABEL[0]: "x"}),
     ["metadata.name: this is used in Pod names and hostnames, which can result in surprising "
      "behavior; a DNS label is recommended: [must not contain dots]",
      f"spec.template.spec.nodeSelector[{LABEL[0]}]: {LABEL[1]}"]),
    (APPS, "daemonsets", workload("a.b"), []),
    (APPS, "daemonsets", workload(terminationGracePeriodSeconds=-1),
     ["spec.template.spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and "
      "will be treated as 1"]),
    (BATCH, "cronjobs", {"metadata": {"name": "c"}, "spec": {
        "schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": pod(
            restartPolicy="Never", nodeSelector={LABEL[0]: "x"})["spec"]}}}}},
     [f"spec.jobTemplate.spec.template.spec.nodeSelector[{LABEL[0]}]: {LABEL[1]}"]),
    (CORE, "persistentvolumeclaims", {"metadata": {"name": "c"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1500m"}}}},
     ['spec.resources.requests[storage]: fractional byte value "1500m" is invalid, must be an '
      "integer"]),
    (NET, "ingresses", {"metadata": {"name": "i", "annotations": {"kubernetes.io/ingress.class": "x"}},
                        "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 1}}}}},
     ["annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' "
      "instead"]),
    (NET, "networkpolicies", {"metadata": {"name": "n"}, "spec": {
        "podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "2001:DB8::/64"}}]}]}},
     ['spec.ingress[0].from[0].ipBlock.cidr: IPv6 CIDR value "2001:DB8::/64" should be in RFC 5952 '
      'canonical format ("2001:db8::/64")']),
    (CORE, "resourcequotas", {"metadata": {"name": "q"}, "spec": {
        "hard": {"cpu": "2", "limits.cpu": "1500m"}}},
     ["ResourceQuota cpu (2) should be less than limits.cpu (1500m)"]),
    ("/apis/discovery.k8s.io/v1", "endpointslices", {
        "metadata": {"name": "e"}, "addressType": "FQDN", "endpoints": [{"addresses": ["a.b"]}]},
     ["spec.addressType: FQDN endpoints are deprecated"]),
]
INVALID = [
    (CORE, "services", service(externalIPs=["010.1.2.3"]),
     'spec.externalIPs[0]: Invalid value: "010.1.2.3": must not have leading 0s'),
    (CORE, "services", service(externalIPs=["::ffff:1.2.3.4"]),
     'spec.externalIPs[0]: Invalid value: "::ffff:1.2.3.4": must not be an IPv4-mapped IPv6 address'),
    (CORE, "services", service(type="LoadBalancer", loadBalancerSourceRanges=["010.0.0.0/8"]),
     'spec.LoadBalancerSourceRanges[0]: Invalid value: "010.0.0.0/8": must not have leading 0s in IP '
     "or prefix length"),
    (CORE, "services", service(type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.1/8"]),
     'spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.1/8": must not have bits set beyond the '
     "prefix length"),
    (NET, "networkpolicies", {"metadata": {"name": "n"}, "spec": {
        "podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]}]}},
     'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.1/8": must not have bits set beyond '
     "the prefix length"),
    ("/apis/discovery.k8s.io/v1", "endpointslices", {
        "metadata": {"name": "e"}, "addressType": "IPv6", "endpoints": [{"addresses": ["2001:DB8::1"]}]},
     'endpoints[0].addresses[0]: Invalid value: "2001:DB8::1": must be in canonical form '
     '("2001:db8::1")'),
    (CORE, "pods", pod(meta={"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "x"}}),
     'metadata.annotations.seccomp.security.alpha.kubernetes.io/pod: Invalid value: "x": must be a '
     "valid seccomp profile"),
    (CORE, "pods", pod(meta={"annotations": {"controller.kubernetes.io/pod-deletion-cost": "+1"}}),
     'metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: "+1": must be a '
     "32bit integer"),
    (CORE, "pods", pod(meta={"annotations": {
        "container.apparmor.security.beta.kubernetes.io/d": "unconfined"}}),
     'metadata.annotations[container.apparmor.security.beta.kubernetes.io/d]: Invalid value: "d": '
     "container not found"),
]


@pytest.mark.parametrize("obj,want", PODS)
def test_pods(api, ns, obj, want):
    r = api.post(f"/api/v1/namespaces/{ns}/pods?dryRun=All", obj)
    assert r.status == 201, r.body
    assert r.warnings == want


@pytest.mark.parametrize("base,kind,obj,want", OTHERS)
def test_other_kinds(api, ns, base, kind, obj, want):
    r = api.post(f"{base}/namespaces/{ns}/{kind}?dryRun=All", obj)
    assert r.status == 201, r.body
    assert r.warnings == want


@pytest.mark.parametrize("base,kind,obj,want", INVALID)
def test_what_is_refused(api, ns, base, kind, obj, want):
    """Where older servers only warned, or what goes with it."""
    r = api.post(f"{base}/namespaces/{ns}/{kind}?dryRun=All", obj)
    assert r.status == 422, r.body
    assert r.json["message"].split(" is invalid: ", 1)[1] == want


def test_many_are_cut(api, ns):
    """All together have some 4,096 characters; of what is longer only the beginnings are told."""
    p = f"/api/v1/namespaces/{ns}/pods?dryRun=All"
    want, chars = [], 0
    while chars < 4096:
        want.append(f'spec.hostAliases[{len(want) + 1}].ip: duplicate ip "10.0.0.1"')
        chars += len(want[-1])
    assert api.post(p, pod(hostAliases=[{"ip": "10.0.0.1", "hostnames": ["a"]}] * 4000)).warnings == want
    name = "x" * 300
    r = api.post(p, pod(containers=[{"name": "c", "image": "i", "env": [{"name": name, "value": "v"}] * 30}]))
    assert r.warnings == [
        f'spec.containers[0].env[{i}]: hides previous definition of "{name}"'[:256] for i in range(1, 17)]


def test_updates(api, ns):
    """A template that did not change is not spoken of again; a Pod's update never is."""
    d = f"{APPS}/namespaces/{ns}/deployments"
    selector = f"spec.template.spec.nodeSelector[{LABEL[0]}]: {LABEL[1]}"
    assert api.post(d, workload(nodeSelector={LABEL[0]: "x"})).warnings == [selector]
    assert api.patch(d + "/w", {"metadata": {"labels": {"a": "b"}}}).warnings == []
    assert api.patch(d + "/w", {"spec": {"replicas": 2}}).warnings == [selector]
    p = f"/api/v1/namespaces/{ns}/pods"
    assert api.post(p, pod(nodeSelector={LABEL[0]: "x"})).warnings != []
    assert api.patch(p + "/p", {"metadata": {"labels": {"a": "b"}}}).warnings == []
    status = {"status": {"podIPs": [{"ip": "2001:DB8::1"}]}}
    assert api.patch(p + "/p/status", status).warnings == [
        'status.podIPs[0].ip: IPv6 address "2001:DB8::1" should be in RFC 5952 canonical format '
        '("2001:db8::1")']
    # what is refused brings no warnings
    bad = pod("a.b", nodeSelector={LABEL[0]: "x"})
    bad["spec"]["restartPolicy"] = "Sometimes"
    r = api.post(p, bad)
    assert r.status == 422 and r.warnings == []
