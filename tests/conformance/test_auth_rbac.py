# SPDX-License-Identifier: Apache-2.0
"""RBAC: default roles, escalation, aggregation, reasons, cost."""
import json
import time

import pytest

from apiserver import poll

RBAC = "/apis/rbac.authorization.k8s.io/v1"
SAR = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
READ = ["get", "list", "watch"]


def role(api, name, *rules, **more):
    api.ok("POST", f"{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": list(rules)} | more)


def bind(api, name, subject, to=None, ns=None):
    path = f"{RBAC}/namespaces/{ns}/rolebindings" if ns else f"{RBAC}/clusterrolebindings"
    api.ok("POST", path, {"metadata": {"name": name}, "subjects": [subject],
                          "roleRef": {"kind": "ClusterRole", "name": to or name}})


def user(name):
    return {"kind": "User", "name": name}


def review(api, spec):
    return api.ok("POST", SAR, {"spec": spec})["status"]


def test_default_roles(api):
    roles = {r["metadata"]["name"]: r for r in api.ok("GET", f"{RBAC}/clusterroles")["items"]}
    binds = {b["metadata"]["name"]: b for b in api.ok("GET", f"{RBAC}/clusterrolebindings")["items"]}
    want = """cluster-admin admin edit view system:aggregate-to-admin system:aggregate-to-edit
        system:aggregate-to-view system:basic-user system:discovery system:public-info-viewer
        system:auth-delegator system:kube-controller-manager system:kube-scheduler
        system:volume-scheduler system:node system:node-proxier system:node-bootstrapper
        system:node-problem-detector system:kubelet-api-admin system:monitoring system:kube-dns
        system:kube-aggregator system:heapster system:persistent-volume-provisioner
        system:service-account-issuer-discovery
        system:certificates.k8s.io:certificatesigningrequests:nodeclient
        system:certificates.k8s.io:certificatesigningrequests:selfnodeclient
        system:certificates.k8s.io:kube-apiserver-client-approver
        system:certificates.k8s.io:kube-apiserver-client-kubelet-approver
        system:certificates.k8s.io:kubelet-serving-approver
        system:certificates.k8s.io:legacy-unknown-approver""".split()
    assert set(want) <= set(roles)
    controllers = [n for n in roles if n.startswith("system:controller:")]
    assert len(controllers) == 38
    for name in controllers:
        b = binds[name]
        assert b["roleRef"]["name"] == name
        assert b["subjects"] == [{"kind": "ServiceAccount", "namespace": "kube-system",
                                  "name": name.split(":")[2]}]
    assert not binds["system:node"].get("subjects")
    for name in want + controllers:
        meta = roles[name]["metadata"]
        assert meta["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] == "true"
        assert meta["labels"]["kubernetes.io/bootstrapping"] == "rbac-defaults"


def test_default_roles_are_reconciled(fresh):
    p = f"{RBAC}/clusterroles/"
    fresh.put(p + "system:basic-user", {
        "metadata": {"name": "system:basic-user"},
        "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]})
    fresh.patch(p + "system:discovery", {
        "rules": [], "metadata": {"annotations": {
            "rbac.authorization.kubernetes.io/autoupdate": "false"}}})
    fresh.patch(f"{RBAC}/clusterrolebindings/system:monitoring", {"subjects": [
        {"kind": "User", "name": "me", "apiGroup": "rbac.authorization.k8s.io"}]})
    fresh.delete(p + "system:kube-dns")
    fresh.kill()
    fresh.start()
    basic = fresh.ok("GET", p + "system:basic-user")
    assert len(basic["rules"]) == 3 and basic["rules"][0]["resources"] == ["pods"]
    assert basic["metadata"]["labels"]["kubernetes.io/bootstrapping"] == "rbac-defaults"
    assert not fresh.ok("GET", p + "system:discovery").get("rules")
    names = [s["name"] for s in
             fresh.ok("GET", f"{RBAC}/clusterrolebindings/system:monitoring")["subjects"]]
    assert names == ["me", "system:monitoring"]
    fresh.ok("GET", p + "system:kube-dns")


def test_reasons(api, ns):
    role(api, f"r-{ns}", {"verbs": READ, "apiGroups": [""], "resources": ["pods"]})
    bind(api, f"r-{ns}", user(f"u-{ns}"))
    bind(api, f"r-{ns}", {"kind": "Group", "name": f"g-{ns}", "apiGroup":
                          "rbac.authorization.k8s.io"}, ns=ns)
    bind(api, f"sa-{ns}", {"kind": "ServiceAccount", "name": "default", "namespace": ns},
         to=f"r-{ns}", ns=ns)
    at = {"verb": "get", "resource": "pods", "namespace": ns}
    assert review(api, {"user": f"u-{ns}", "resourceAttributes": at}) == {
        "allowed": True, "reason": f'RBAC: allowed by ClusterRoleBinding "r-{ns}" of ClusterRole '
                                   f'"r-{ns}" to User "u-{ns}"'}
    assert review(api, {"groups": [f"g-{ns}"], "resourceAttributes": at})["reason"] == (
        f'RBAC: allowed by RoleBinding "r-{ns}/{ns}" of ClusterRole "r-{ns}" to Group "g-{ns}"')
    assert review(api, {"user": f"system:serviceaccount:{ns}:default",
                        "resourceAttributes": at})["reason"] == (
        f'RBAC: allowed by RoleBinding "sa-{ns}/{ns}" of ClusterRole "r-{ns}" to ServiceAccount '
        f'"default/{ns}"')
    assert review(api, {"groups": ["system:masters"], "resourceAttributes": at}) == {
        "allowed": True}
    bind(api, f"none-{ns}", user(f"lost-{ns}"), to="no-such-role")
    r = api.get("/api/v1/pods", user=f"lost-{ns}")
    assert r.json["message"] == (
        f'pods is forbidden: User "lost-{ns}" cannot list resource "pods" in API group "" at the '
        'cluster scope: RBAC: clusterrole.rbac.authorization.k8s.io "no-such-role" not found')


def test_escalation(api, ns):
    who = f"esc-{ns}"
    role(api, who, {"verbs": ["create", "update", "patch", "get"],
                    "apiGroups": ["rbac.authorization.k8s.io"],
                    "resources": ["clusterroles", "clusterrolebindings", "roles", "rolebindings"]},
         {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
         {"verbs": ["get"], "nonResourceURLs": ["/x/*"]})
    bind(api, who, user(who))
    rules = [{"verbs": READ, "apiGroups": ["", "apps"], "resources": ["pods", "deployments"]},
             {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"],
              "resourceNames": ["a", "b"]},
             {"verbs": ["get", "post"], "nonResourceURLs": ["/x/y", "/z"]}]
    r = api.post(f"{RBAC}/clusterroles", {"metadata": {"name": f"n-{ns}"}, "rules": rules},
                 user=who, groups=["devs"])
    assert r.status == 403
    assert r.json["message"] == (
        f'clusterroles.rbac.authorization.k8s.io "n-{ns}" is forbidden: user "{who}" '
        '(groups=["devs" "system:authenticated"]) is attempting to grant RBAC permissions not '
        "currently held:\n"
        '{APIGroups:[""], Resources:["deployments"], Verbs:["get" "list" "watch"]}\n'
        '{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}\n'
        '{APIGroups:[""], Resources:["secrets"], ResourceNames:["a"], Verbs:["get"]}\n'
        '{APIGroups:[""], Resources:["secrets"], ResourceNames:["b"], Verbs:["get"]}\n'
        '{APIGroups:["apps"], Resources:["deployments"], Verbs:["get" "list" "watch"]}\n'
        '{APIGroups:["apps"], Resources:["pods"], Verbs:["get" "list" "watch"]}\n'
        '{NonResourceURLs:["/x/y"], Verbs:["post"]}\n'
        '{NonResourceURLs:["/z"], Verbs:["get"]}\n'
        '{NonResourceURLs:["/z"], Verbs:["post"]}')
    held = [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]
    assert api.post(f"{RBAC}/clusterroles", {"metadata": {"name": f"h-{ns}"}, "rules": held},
                    user=who).status == 201
    r = api.post(f"{RBAC}/clusterroles", {
        "metadata": {"name": f"a-{ns}"}, "rules": [],
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}, user=who)
    assert r.json["message"].endswith("must have cluster-admin privileges to use the aggregationRule")
    b = {"metadata": {"name": f"b-{ns}"}, "subjects": [user(who)],
         "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}}
    r = api.post(f"{RBAC}/clusterrolebindings", b, user=who)
    assert r.status == 403 and "permissions not currently held" in r.json["message"]
    # with the verbs for it
    role(api, f"may-{ns}", {"verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"],
                            "resources": ["clusterroles"], "resourceNames": ["cluster-admin"]},
         {"verbs": ["escalate"], "apiGroups": ["rbac.authorization.k8s.io"],
          "resources": ["clusterroles"]})
    bind(api, f"may-{ns}", user(who))
    assert api.post(f"{RBAC}/clusterroles", {"metadata": {"name": f"n-{ns}"}, "rules": rules},
                    user=who).status == 201
    assert api.post(f"{RBAC}/clusterrolebindings", b, user=who).status == 201
    api.delete(f"{RBAC}/clusterrolebindings/b-{ns}")


INVALID = [
    ("clusterroles", {"aggregationRule": {}, "rules": [
        {"verbs": [], "nonResourceURLs": ["/a"], "apiGroups": [""]}, {"verbs": ["get"]}]},
     [("rules[0].verbs", "Required value: verbs must contain at least one value"),
      ("rules[0].nonResourceURLs", 'Invalid value: ["/a"]: rules cannot apply to both regular '
       "resources and non-resource URLs"),
      ("rules[1].apiGroups", "Required value: resource rules must supply at least one api group"),
      ("rules[1].resources", "Required value: resource rules must supply at least one resource"),
      ("aggregationRule.clusterRoleSelectors", "Required value: at least one clusterRoleSelector "
       "required if aggregationRule is non-nil")]),
    ("clusterrolebindings", {"roleRef": {"kind": "Role", "name": ""}, "subjects": [
        {"kind": "ServiceAccount", "name": "b"}]},
     [("roleRef.kind", 'Unsupported value: "Role": supported values: "ClusterRole"'),
      ("roleRef.name", "Required value"), ("subjects[0].namespace", "Required value")]),
    ("namespaces/default/roles", {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/a"]}]},
     [("rules[0].nonResourceURLs", 'Invalid value: ["/a"]: namespaced rules cannot apply to '
       "non-resource URLs")]),
    ("namespaces/default/rolebindings", {
        "roleRef": {"kind": "Foo", "apiGroup": "a", "name": "a/b"},
        "subjects": [{"kind": "Bar"}, {"kind": "User", "apiGroup": "z", "name": "a"},
                     {"kind": "ServiceAccount", "name": "b", "apiGroup": "g"}]},
     [("roleRef.apiGroup", 'Unsupported value: "a": supported values: "rbac.authorization.k8s.io"'),
      ("roleRef.kind", 'Unsupported value: "Foo": supported values: "Role", "ClusterRole"'),
      ("roleRef.name", "Invalid value: \"a/b\": may not contain '/'"),
      ("subjects[0].name", "Required value"),
      ("subjects[0].kind", 'Unsupported value: "Bar": supported values: "ServiceAccount", "User", '
       '"Group"'),
      ("subjects[1].apiGroup", 'Unsupported value: "z": supported values: '
       '"rbac.authorization.k8s.io"'),
      ("subjects[2].apiGroup", 'Unsupported value: "g": supported values: ""')]),
]


@pytest.mark.parametrize("kind,body,causes", INVALID)
def test_validation(api, kind, body, causes):
    r = api.post(f"{RBAC}/{kind}", {"metadata": {"name": "x"}} | body)
    assert r.status == 422
    assert [(c["field"], c["message"]) for c in r.json["details"]["causes"]] == causes


def test_role_ref_is_immutable(api, ns):
    bind(api, f"im-{ns}", user(f"im-{ns}"), to="view")
    r = api.patch(f"{RBAC}/clusterrolebindings/im-{ns}", {"roleRef": {"name": "edit"}})
    assert r.status == 422
    assert r.json["details"]["causes"][0]["message"] == (
        'Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"ClusterRole",'
        '"Name":"edit"}: cannot change roleRef')


def test_aggregation_is_live(api, ns):
    bind(api, f"v-{ns}", user(f"v-{ns}"), to="view")
    at = {"verb": "get", "group": f"{ns}.example.com", "resource": "things"}
    assert not review(api, {"user": f"v-{ns}", "resourceAttributes": at})["allowed"]
    role(api, f"agg-{ns}", {"verbs": ["get"], "apiGroups": [f"{ns}.example.com"],
                            "resources": ["things"]})
    api.patch(f"{RBAC}/clusterroles/agg-{ns}", {"metadata": {"labels": {
        "rbac.authorization.k8s.io/aggregate-to-view": "true"}}})
    poll(lambda: review(api, {"user": f"v-{ns}", "resourceAttributes": at})["allowed"])
    api.delete(f"{RBAC}/clusterroles/agg-{ns}")
    poll(lambda: not review(api, {"user": f"v-{ns}", "resourceAttributes": at})["allowed"])


REVIEWS = [
    ("subjectaccessreviews", {}, [
        ("spec.resourceAttributes", "Invalid value: null: exactly one of nonResourceAttributes or "
         "resourceAttributes must be specified"),
        ("spec.user", 'Invalid value: "": at least one of user or group must be specified')]),
    ("subjectaccessreviews", {"user": "a", "nonResourceAttributes": {"path": "/", "verb": "x"},
                              "resourceAttributes": {"fieldSelector": {}, "labelSelector": {
                                  "rawSelector": "a",
                                  "requirements": [{"key": "a", "operator": "In"}]}}}, [
        ("spec.nonResourceAttributes", 'Invalid value: {"Path":"/","Verb":"x"}: cannot be specified '
         "in combination with resourceAttributes"),
        ("spec.resourceAttributes.fieldSelector.requirements", "Required value: when "
         "spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is "
         "required"),
        ("spec.resourceAttributes.labelSelector.rawSelector", 'Invalid value: "a": may not '
         "specified at the same time as requirements"),
        ("spec.resourceAttributes.labelSelector.requirements[0].values", "Required value: must be "
         "specified when `operator` is 'In' or 'NotIn'")]),
    ("namespaces/default/localsubjectaccessreviews", {
        "user": "a", "resourceAttributes": {"namespace": "other"}}, [
        ("spec.resourceAttributes.namespace", 'Invalid value: "other": must match '
         "metadata.namespace")]),
    ("namespaces/default/localsubjectaccessreviews", {
        "user": "a", "nonResourceAttributes": {"verb": "get"}}, [
        ("spec.nonResourceAttributes", 'Invalid value: {"Path":"","Verb":"get"}: disallowed on '
         "this kind of request")]),
]


@pytest.mark.parametrize("kind,spec,causes", REVIEWS)
def test_review_validation(api, kind, spec, causes):
    r = api.post(f"/apis/authorization.k8s.io/v1/{kind}", {"spec": spec})
    assert r.status == 422
    assert r.json["message"].startswith('.authorization.k8s.io "" is invalid: ')
    assert "kind" not in r.json["details"]
    assert [(c["field"], c["message"]) for c in r.json["details"]["causes"]] == causes


def test_rules_review(api, ns):
    role(api, f"rr-{ns}", {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"],
                           "resourceNames": ["p"]}, {"verbs": ["get"], "nonResourceURLs": ["/q"]})
    bind(api, f"rr-{ns}", user(f"rr-{ns}"))
    bind(api, f"lost-{ns}", user(f"rr-{ns}"), to="absent")
    r = api.ok("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
               {"spec": {"namespace": ns}}, user=f"rr-{ns}")
    st = r["status"]
    assert {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"],
            "resourceNames": ["p"]} in st["resourceRules"]
    assert {"verbs": ["get"], "nonResourceURLs": ["/q"]} in st["nonResourceRules"]
    assert st["incomplete"] is False
    assert st["evaluationError"] == 'clusterrole.rbac.authorization.k8s.io "absent" not found'


def test_cost_does_not_grow_with_bindings(fresh):
    """600 bindings, all of one group over namespaces, against none."""
    body = json.dumps({"spec": {"user": "u", "groups": ["many"], "resourceAttributes": {
        "verb": "get", "resource": "pods", "namespace": "default"}}})

    def cost():
        c = fresh.connect()
        best = []
        for _ in range(300):
            t = time.perf_counter()
            c.request("POST", SAR, body, {"Content-Type": "application/json"})
            c.getresponse().read()
            best.append(time.perf_counter() - t)
        c.close()
        return min(best)

    before = cost()
    c = fresh.connect()
    for i in range(600):
        ns = "n%d" % (i % 6)
        if i < 6:
            fresh.ok("POST", "/api/v1/namespaces", {"metadata": {"name": ns}})
        c.request("POST", f"{RBAC}/namespaces/{ns}/rolebindings", json.dumps({
            "metadata": {"name": f"b{i}"}, "roleRef": {"kind": "ClusterRole", "name": "edit",
                                                       "apiGroup": "rbac.authorization.k8s.io"},
            "subjects": [{"kind": "Group", "name": "many",
                          "apiGroup": "rbac.authorization.k8s.io"}]}),
            {"Content-Type": "application/json"})
        assert c.getresponse().read()
    c.close()
    # the machine may be busy: the best of some tries
    assert min(cost() for _ in range(3)) < before * 3 + 0.0005
