# SPDX-License-Identifier: Apache-2.0
"""Who may do what: identities, RBAC and its escalation, tokens, reviews."""
import base64
import json
import time

from samples import CM, cms, pod, pods, status


def test_authentication(api):
    status(api.get("/api/v1/nodes", token="nonsense"), 401, "Unauthorized", "Unauthorized")
    status(api.get("/api/v1/nodes", anonymous=True), 403, "Forbidden",
           'nodes is forbidden: User "system:anonymous" cannot list resource "nodes" in API group '
           '"" at the cluster scope', {"kind": "nodes"})
    status(api.get("/metrics", anonymous=True), 403, "Forbidden",
           'forbidden: User "system:anonymous" cannot get path "/metrics"', {})
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert api.get(path, anonymous=True).status == 200
    status(api.get("/healthz", token="nonsense"), 401, "Unauthorized")


def test_forbidden_texts(api, ns):
    def alice(method, path, **kw):
        return api.request(method, path, user="alice", groups=["devs"], **kw)

    status(alice("GET", pods(ns, "p1")), 403, "Forbidden",
           f'pods "p1" is forbidden: User "alice" cannot get resource "pods" in API group "" in the '
           f'namespace "{ns}"', {"name": "p1", "kind": "pods"})
    status(alice("GET", pods(ns, "p1", "log")), 403, "Forbidden",
           f'pods "p1" is forbidden: User "alice" cannot get resource "pods/log" in API group "" in '
           f'the namespace "{ns}"')
    s = status(alice("DELETE", pods(ns)), 403, "Forbidden")
    assert "cannot deletecollection resource" in s["message"]
    s = status(alice("GET", pods(ns) + "?watch=1"), 403, "Forbidden")
    assert "cannot watch resource" in s["message"]


def test_rbac(api, ns):
    base = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}"
    api.ok("POST", base + "/rolebindings", {
        "metadata": {"name": "rb"}, "roleRef": {"kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "name": "alice"}]})
    assert api.get(cms(ns), user="alice").status == 200
    assert api.post(cms(ns), CM, user="alice").status == 403
    assert api.get(f"/api/v1/namespaces/{ns}/secrets", user="alice").status == 403
    assert api.get("/api/v1/namespaces/default/configmaps", user="alice").status == 403
    r = api.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": {
        "user": "alice", "resourceAttributes": {"verb": "get", "resource": "pods",
                                                "namespace": ns}}})
    assert r.status == 201
    assert r.json["status"] == {"allowed": True, "reason":
                                f'RBAC: allowed by RoleBinding "rb/{ns}" of ClusterRole "view" to '
                                'User "alice"'}
    r = api.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
                 {"spec": {"namespace": ns}}, user="alice")
    assert any("configmaps" in x["resources"] for x in r.json["status"]["resourceRules"])
    s = status(api.patch(base + "/rolebindings/rb", {"roleRef": {"name": "edit"}}), 422, "Invalid")
    assert ('roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"ClusterRole",'
            '"Name":"edit"}: cannot change roleRef') in s["message"]


def test_escalation(api, ns):
    base = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}"
    api.ok("POST", base + "/rolebindings", {
        "metadata": {"name": "a"}, "roleRef": {"kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "User", "name": "bob"}]})
    ok = {"metadata": {"name": "ok"}, "rules": [{"apiGroups": [""], "resources": ["pods"],
                                                 "verbs": ["get"]}]}
    assert api.post(base + "/roles", ok, user="bob").status == 201
    bad = {"metadata": {"name": "esc"}, "rules": [{"apiGroups": [""], "resources": ["nodes"],
                                                   "verbs": ["get"]}]}
    s = status(api.post(base + "/roles", bad, user="bob"), 403, "Forbidden")
    assert s["message"] == (
        'roles.rbac.authorization.k8s.io "esc" is forbidden: user "bob" '
        '(groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently '
        'held:\n{APIGroups:[""], Resources:["nodes"], Verbs:["get"]}')


def test_aggregated_role(api):
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    api.ok("POST", path, {"metadata": {"name": "more-view", "labels": {
        "rbac.authorization.k8s.io/aggregate-to-view": "true"}}, "rules": [
        {"apiGroups": ["ex.io"], "resources": ["foos"], "verbs": ["get"]}]})
    deadline = time.monotonic() + 5
    while not any(r["apiGroups"] == ["ex.io"] for r in api.ok("GET", path + "/view")["rules"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    api.ok("DELETE", path + "/more-view")


def token_path(ns, sa="default"):
    return f"/api/v1/namespaces/{ns}/serviceaccounts/{sa}/token"


def test_tokens(api, ns):
    r = api.post(token_path(ns), {"spec": {"expirationSeconds": 600}})
    assert r.status == 201
    t = r.json["status"]["token"]
    claims = json.loads(base64.urlsafe_b64decode(t.split(".")[1] + "=="))
    assert claims["sub"] == f"system:serviceaccount:{ns}:default"
    assert claims["kubernetes.io"]["namespace"] == ns
    me = api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, token=t)
    info = me.json["status"]["userInfo"]
    assert info["username"] == f"system:serviceaccount:{ns}:default"
    assert info["groups"] == ["system:serviceaccounts", f"system:serviceaccounts:{ns}",
                              "system:authenticated"]
    status(api.get(pods(ns), token=t), 403, "Forbidden")
    assert api.get("/openid/v1/jwks", token=t).json["keys"][0]["alg"] == "ES256"
    s = status(api.post(token_path(ns), {"spec": {"expirationSeconds": 5}}), 422, "Invalid")
    assert "may not specify a duration less than 10 minutes" in s["message"]
    status(api.post(token_path(ns, "nope"), {}), 404, "NotFound")
    status(api.get(pods(ns), token=t[:-4] + "AAAA"), 401, "Unauthorized")


def test_bound_tokens(api, ns):
    uid = api.ok("POST", pods(ns), pod())["metadata"]["uid"]
    ref = {"kind": "Pod", "apiVersion": "v1", "name": "p"}
    t = api.post(token_path(ns), {"spec": {"boundObjectRef": ref | {"uid": uid}}}).json["status"]["token"]
    r = api.post("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": t}})
    assert r.status == 201 and r.json["status"]["authenticated"] is True
    assert r.json["status"]["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]
    s = status(api.post(token_path(ns), {"spec": {"boundObjectRef": ref | {"uid": "x"}}}), 409, "Conflict")
    assert "the UID in the bound object reference (x) does not match the UID in record" in s["message"]
    api.ok("DELETE", pods(ns, "p"))
    status(api.post(token_path(ns), {"spec": {"boundObjectRef": ref}}), 404, "NotFound")
    status(api.get("/api", token=t), 401, "Unauthorized")
    r = api.post("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": t}})
    assert r.json["status"]["user"] == {} and "invalid bearer token" in r.json["status"]["error"]
    status(api.post("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {}}), 400, "BadRequest",
           "token is required for TokenReview in authentication")


def test_access_review_errors(api):
    path = "/apis/authorization.k8s.io/v1/"
    s = status(api.post(path + "subjectaccessreviews", {"spec": {"user": "x"}}), 422, "Invalid")
    assert s["message"] == (
        '.authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid value: null: exactly '
        "one of nonResourceAttributes or resourceAttributes must be specified")
    r = api.post(path + "selfsubjectaccessreviews", {"spec": {"resourceAttributes": {
        "verb": "get", "resource": "pods"}}})
    assert r.json["status"] == {"allowed": True}
