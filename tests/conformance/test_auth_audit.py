# SPDX-License-Identifier: Apache-2.0
"""The audit log: what is written of which request."""
import json
import time

import pytest

from apiserver import Server

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitManagedFields: true
rules:
- {level: None, users: [nobody]}
- {level: Metadata, resources: [{group: "", resources: [secrets]}], omitStages: [RequestReceived]}
- {level: Request, resources: [{group: "", resources: [services]}], omitStages: [RequestReceived]}
- {level: None, nonResourceURLs: ["/readyz"]}
- {level: RequestResponse}
"""
CM = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    d = tmp_path_factory.mktemp("audit")
    (d / "policy.yaml").write_text(POLICY)
    s = Server("--audit-policy-file", str(d / "policy.yaml"), f"--audit-log-path={d}/audit.log")
    s.audit_file = d / "audit.log"
    yield s
    s.close()


def events(s, audit_id, n):
    deadline = time.monotonic() + 10
    while True:
        found = [e for e in map(json.loads, s.audit_file.read_text().splitlines())
                 if e["auditID"] == audit_id]
        if len(found) >= n:
            assert len(found) == n, found
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def ask(s, audit_id, method, path, body=None, **kw):
    h = {"Audit-ID": audit_id, "User-Agent": "test/1"} | kw.pop("headers", {})
    r = s.request(method, path, body, headers=h, **kw)
    assert r.headers["Audit-Id"] == audit_id
    return r


def test_create(audited):
    ask(audited, "c1", "POST", CM, {"metadata": {"name": "c1"}, "data": {"a": "b"}})
    first, last = events(audited, "c1", 2)
    assert list(last) == ["kind", "apiVersion", "level", "auditID", "stage", "requestURI", "verb",
                          "user", "sourceIPs", "userAgent", "objectRef", "responseStatus",
                          "requestObject", "responseObject", "requestReceivedTimestamp",
                          "stageTimestamp", "annotations"]
    assert (first["stage"], last["stage"]) == ("RequestReceived", "ResponseComplete")
    assert first["stageTimestamp"] == first["requestReceivedTimestamp"]
    assert "annotations" not in first and "responseStatus" not in first
    assert last["kind"] == "Event" and last["apiVersion"] == "audit.k8s.io/v1"
    assert last["level"] == "RequestResponse" and last["verb"] == "create"
    assert last["requestURI"] == CM
    assert last["user"]["username"] == "kubernetes-admin"
    assert last["sourceIPs"] == ["127.0.0.1"] and last["userAgent"] == "test/1"
    assert last["objectRef"] == {"resource": "configmaps", "namespace": "default", "name": "c1",
                                 "apiVersion": "v1"}
    assert last["responseStatus"] == {"metadata": {}, "code": 201}
    assert last["requestObject"] == {"kind": "ConfigMap", "apiVersion": "v1",
                                     "metadata": {"name": "c1"}, "data": {"a": "b"}}
    assert last["responseObject"]["metadata"]["uid"]
    assert "managedFields" not in last["responseObject"]["metadata"]
    assert last["annotations"] == {"authorization.k8s.io/decision": "allow",
                                   "authorization.k8s.io/reason": ""}


def test_patch_and_delete(audited):
    audited.ok("POST", CM, {"metadata": {"name": "p1"}})
    ask(audited, "p1", "PATCH", CM + "/p1", json.dumps({"data": {"x": "y"}}),
        headers={"Content-Type": "application/merge-patch+json"})
    e = events(audited, "p1", 2)[1]
    assert e["requestObject"] == {"data": {"x": "y"}}
    assert e["responseObject"]["data"] == {"x": "y"}
    ask(audited, "d1", "DELETE", CM + "/p1")
    e = events(audited, "d1", 2)[1]
    assert e["responseStatus"]["status"] == "Success" and e["responseStatus"]["code"] == 200
    assert e["responseStatus"]["details"]["name"] == "p1"


def test_levels(audited):
    body = {"metadata": {"name": "s1"}, "data": {}}
    ask(audited, "s1", "POST", "/api/v1/namespaces/default/secrets", body)
    e, = events(audited, "s1", 1)
    assert e["level"] == "Metadata"
    assert "requestObject" not in e and "responseObject" not in e
    assert e["objectRef"]["name"] == "s1"
    ask(audited, "s2", "POST", "/api/v1/namespaces/default/services",
        {"metadata": {"name": "s2"}, "spec": {"ports": [{"port": 80}]}})
    e, = events(audited, "s2", 1)
    assert e["level"] == "Request"
    assert e["requestObject"]["spec"]["ports"][0]["port"] == 80 and "responseObject" not in e
    ask(audited, "n1", "GET", "/readyz")
    ask(audited, "n2", "GET", "/version")
    events(audited, "n2", 2)
    assert '"n1"' not in audited.audit_file.read_text()


def test_errors(audited):
    ask(audited, "e1", "GET", CM + "/nope")
    e = events(audited, "e1", 2)[1]
    assert e["responseStatus"] == {
        "metadata": {}, "status": "Failure", "message": 'configmaps "nope" not found',
        "reason": "NotFound", "details": {"name": "nope", "kind": "configmaps"}, "code": 404}


def test_impersonation_and_refusal(audited):
    ask(audited, "i1", "GET", CM, user="bob", groups=["g"])
    e = events(audited, "i1", 2)[1]
    assert e["user"]["username"] == "kubernetes-admin"
    assert e["impersonatedUser"] == {"username": "bob", "groups": ["g", "system:authenticated"]}
    assert e["authenticationMetadata"] == {"impersonationConstraint": "impersonate:user-info"}
    assert e["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert e["responseStatus"]["code"] == 403


def test_unauthenticated(audited):
    ask(audited, "u1", "GET", "/api", token="nonsense")
    e, = events(audited, "u1", 1)
    assert e["stage"] == "ResponseStarted" and e["user"] == {}
    assert e["responseStatus"] == {"metadata": {}, "status": "Failure", "message": "Unauthorized",
                                   "reason": "Unauthorized", "code": 401}


def test_watch(audited):
    ask(audited, "w1", "GET", CM + "?watch=1&timeoutSeconds=1")
    stages = [e["stage"] for e in events(audited, "w1", 3)]
    assert stages == ["RequestReceived", "ResponseStarted", "ResponseComplete"]


def test_token_is_traced(audited):
    audited.post("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "t"}})
    ask(audited, "t1", "POST", "/api/v1/namespaces/default/serviceaccounts/t/token", {"spec": {}})
    e = events(audited, "t1", 2)[1]
    assert e["annotations"]["authentication.kubernetes.io/issued-credential-id"].startswith("JTI=")


def test_what_was_said_is_written_at_the_end(audited):
    for i in range(50):
        audited.get(CM, headers={"Audit-ID": f"end{i}"})
    audited.kill(15)
    assert '"end49"' in audited.audit_file.read_text()
    audited.start()


def test_bad_policy(tmp_path):
    (tmp_path / "policy.yaml").write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\n")
    with pytest.raises(AssertionError) as e:
        Server("--audit-policy-file", str(tmp_path / "policy.yaml"), "--audit-log-path",
               str(tmp_path / "log"))
    assert "loaded illegal policy with 0 rules" in str(e.value)


def test_anonymous_as_configured():
    s = Server("--anonymous-auth=false")
    try:
        assert s.get("/version", anonymous=True).status == 401
        assert s.get("/version").status == 200
    finally:
        s.close()
