# SPDX-License-Identifier: Apache-2.0
"""CertificateSigningRequests: who asks, who approves, who signs."""
import base64
import os
import ssl
import subprocess
import time

import pytest

CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
API_CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING = "kubernetes.io/kubelet-serving"
NODE_USAGES = ["digital signature", "key encipherment", "client auth"]


def b64(data):
    return base64.b64encode(data).decode()


class Key:
    def __init__(self, tmp_path, subject, san=None):
        self.key, self.csr = tmp_path / "k.pem", tmp_path / "r.pem"
        self.dir = tmp_path
        args = ["-addext", "subjectAltName=" + san] if san else []
        subprocess.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", "-keyout", self.key, "-out", self.csr, "-subj", subject, *args],
                       check=True, capture_output=True)

    @property
    def request(self):
        return b64(self.csr.read_bytes())

    def text(self, cert):
        (self.dir / "c.pem").write_bytes(cert)
        return subprocess.run(["openssl", "x509", "-in", self.dir / "c.pem", "-noout", "-text"],
                              check=True, capture_output=True, text=True).stdout

    def tls(self, api, cert):
        pair = self.dir / "pair.pem"
        pair.write_bytes(cert + self.key.read_bytes())
        ctx = ssl.create_default_context(cadata=api.ca)
        ctx.load_cert_chain(pair)
        return ctx


def name():
    return "csr-" + os.urandom(4).hex()


def make(api, key, signer, usages, **kw):
    spec = {"request": key.request, "signerName": signer, "usages": usages}
    extra = {k: kw.pop(k) for k in list(kw) if k not in ("user", "groups", "token", "headers")}
    r = api.post(CSRS, {"metadata": {"name": name()}, "spec": spec | extra}, **kw)
    assert r.status == 201, r.body
    return r.json


def approve(api, csr, **kw):
    return api.patch(f"{CSRS}/{csr['metadata']['name']}/approval", {"status": {"conditions": [
        {"type": "Approved", "status": "True", "reason": "Test"}]}}, **kw)


def wait(api, csr, what, deadline=10):
    path, end = f"{CSRS}/{csr['metadata']['name']}", time.monotonic() + deadline
    while True:
        csr = api.ok("GET", path)
        found = what(csr.get("status", {}))
        if found:
            return found
        assert time.monotonic() < end, csr
        time.sleep(0.02)


def issued(api, csr):
    return base64.b64decode(wait(api, csr, lambda st: st.get("certificate")))


def conditions(st):
    return {c["type"]: c for c in st.get("conditions", [])}


def test_client_certificate(api, tmp_path):
    key = Key(tmp_path, "/O=devs/CN=zed")
    csr = make(api, key, API_CLIENT, ["digital signature", "client auth"], expirationSeconds=3600,
               username="somebody else")
    assert csr["spec"]["username"] == "kubernetes-admin"
    assert csr["spec"]["groups"] == ["system:masters", "system:authenticated"]
    assert csr["status"] == {}
    r = approve(api, csr)
    c = r.json["status"]["conditions"][0]
    assert c["lastUpdateTime"] == c["lastTransitionTime"]
    cert = issued(api, csr)
    text = key.text(cert)
    assert "Digital Signature" in text and "TLS Web Client Authentication" in text
    assert "CA:FALSE" in text
    api_tls, api.admin_tls = api.admin_tls, key.tls(api, cert)
    try:
        r = api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    finally:
        api.admin_tls = api_tls
    assert r.json["status"]["userInfo"]["username"] == "zed"
    assert r.json["status"]["userInfo"]["groups"] == ["devs", "system:authenticated"]


def test_wrong_usage_fails(api, tmp_path):
    csr = make(api, Key(tmp_path, "/CN=zed"), API_CLIENT, ["server auth"])
    approve(api, csr)
    c = wait(api, csr, lambda st: conditions(st).get("Failed"))
    assert c["reason"] == "SignerValidationFailure"
    assert c["message"] == "invalid usage for client certificate: server auth"


def test_nobody_becomes_master(api, tmp_path):
    r = api.post(CSRS, {"metadata": {"name": name()}, "spec": {
        "request": Key(tmp_path, "/O=system:masters/CN=zed").request, "signerName": API_CLIENT,
        "usages": ["client auth"]}})
    assert r.status == 403
    assert r.json["message"].endswith(
        f"is forbidden: use of {API_CLIENT} signer with system:masters group is not allowed")


def test_nodes_are_approved_by_themselves(api, tmp_path):
    key = Key(tmp_path, "/O=system:nodes/CN=system:node:n7")
    rbac = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    who = [("nodeclient", "system:bootstrap:abcdef", ["system:bootstrappers"],
            "Auto approving kubelet client certificate after SubjectAccessReview."),
           ("selfnodeclient", "system:node:n7", ["system:nodes"],
            "Auto approving self kubelet client certificate after SubjectAccessReview.")]
    for kind, user, groups, message in who:
        csr = make(api, key, KUBELET, NODE_USAGES)
        binding = f"{kind}-{os.urandom(3).hex()}"
        api.ok("POST", rbac, {
            "metadata": {"name": binding},
            "subjects": [{"kind": "Group", "name": groups[0]}],
            "roleRef": {"kind": "ClusterRole", "name":
                        f"system:certificates.k8s.io:certificatesigningrequests:{kind}"}})
        api.ok("POST", rbac, {
            "metadata": {"name": binding + "-ask"},
            "subjects": [{"kind": "Group", "name": groups[0]}],
            "roleRef": {"kind": "ClusterRole", "name": "system:node-bootstrapper"}})
        csr = make(api, key, KUBELET, NODE_USAGES, user=user, groups=groups)
        c = wait(api, csr, lambda st: conditions(st).get("Approved"))
        assert (c["reason"], c["message"]) == ("AutoApproved", message)
        assert b"BEGIN CERTIFICATE" in issued(api, csr)
        api.delete(f"{rbac}/{binding}")


def test_serving_certificates_wait_for_somebody(api, tmp_path):
    key = Key(tmp_path, "/O=system:nodes/CN=system:node:n8", "DNS:n8.example.com,IP:10.9.8.7")
    csr = make(api, key, SERVING, ["digital signature", "key encipherment", "server auth"])
    assert not csr["status"]
    approve(api, csr)
    text = key.text(issued(api, csr))
    assert "DNS:n8.example.com, IP Address:10.9.8.7" in text
    other = make(api, Key(tmp_path, "/O=system:nodes/CN=system:node:n8"), SERVING,
                 ["digital signature", "server auth"])
    approve(api, other)
    c = wait(api, other, lambda st: conditions(st).get("Failed"))
    assert c["message"] == "DNS or IP subjectAltName is required"


def test_unknown_signers_are_left_alone(api, tmp_path):
    csr = make(api, Key(tmp_path, "/CN=zed"), "example.com/mine", ["client auth"])
    path = f"{CSRS}/{csr['metadata']['name']}"
    r = api.patch(path, {"spec": {"signerName": "example.com/other"}, "status": {
        "conditions": [{"type": "Approved", "status": "True"}]}, "metadata": {
            "labels": {"a": "b"}}})
    assert r.json["spec"] == csr["spec"] and r.json["metadata"]["labels"] == {"a": "b"}
    assert not r.json["status"].get("conditions")
    approve(api, csr)
    pem = (api.dir / "data" / "pki" / "ca.crt").read_bytes()
    r = api.patch(path + "/status", {"status": {"certificate": b64(pem)}})
    assert r.status == 200
    assert conditions(r.json["status"])["Approved"]["reason"] == "Test"
    r = api.patch(path + "/status", {"status": {"certificate": b64(pem + pem)}})
    assert r.json["details"]["causes"][-1]["message"] == (
        "Forbidden: updates may not modify existing certificate content")


def test_permissions_of_approvers_and_signers(api, tmp_path):
    csr = make(api, Key(tmp_path, "/CN=zed"), "example.com/mine", ["client auth"])
    who = "appr-" + os.urandom(3).hex()
    rules = [{"verbs": ["get", "patch", "update"], "apiGroups": ["certificates.k8s.io"],
              "resources": ["certificatesigningrequests", "certificatesigningrequests/approval",
                            "certificatesigningrequests/status"]}]
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    api.ok("POST", f"{rbac}/clusterroles", {"metadata": {"name": who}, "rules": rules})
    api.ok("POST", f"{rbac}/clusterrolebindings", {
        "metadata": {"name": who}, "subjects": [{"kind": "User", "name": who}],
        "roleRef": {"kind": "ClusterRole", "name": who}})
    r = approve(api, csr, user=who)
    assert r.status == 403
    assert r.json["message"].endswith(
        'user not permitted to approve requests with signerName "example.com/mine"')
    rules.append({"verbs": ["approve", "sign"], "apiGroups": ["certificates.k8s.io"],
                  "resources": ["signers"], "resourceNames": ["example.com/*"]})
    api.patch(f"{rbac}/clusterroles/{who}", {"rules": rules})
    end = time.monotonic() + 5
    while approve(api, csr, user=who).status != 200:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def pending(api, tmp_path_factory):
    key = Key(tmp_path_factory.mktemp("csr"), "/CN=zed")
    return make(api, key, "example.com/mine", ["client auth"])


CREATE = [
    ({}, [("spec.request", "Invalid value: null: PEM block type must be CERTIFICATE REQUEST"),
          ("spec.usages", "Required value"), ("spec.signerName", "Required value")]),
    ({"request": "YWJj", "signerName": "x", "usages": ["client auth", "client auth"],
      "expirationSeconds": 5}, [
        ("spec.request", 'Invalid value: "YWJj": PEM block type must be CERTIFICATE REQUEST'),
        ("spec.usages[1]", 'Duplicate value: "client auth"'),
        ("spec.signerName", 'Invalid value: "x": must be a fully qualified domain and path of the '
         "form 'example.com/signer-name'"),
        ("spec.expirationSeconds", "Invalid value: 5: may not specify a duration less than 600 "
         "seconds (10 minutes)")]),
    ({"request": "YWJj", "signerName": "kubernetes.io/legacy-unknown", "usages": ["any"]}, [
        ("spec.request", 'Invalid value: "YWJj": PEM block type must be CERTIFICATE REQUEST'),
        ("spec.signerName", 'Invalid value: "kubernetes.io/legacy-unknown": the legacy signerName '
         "is not allowed via this API version")]),
]


@pytest.mark.parametrize("spec,causes", CREATE)
def test_validation(api, spec, causes):
    r = api.post(CSRS, {"metadata": {"name": name()}, "spec": spec})
    assert r.status == 422
    assert [(c["field"], c["message"]) for c in r.json["details"]["causes"]] == causes


UPDATE = [
    ("status", {"conditions": [{"type": "Approved", "status": "True"}]},
     [("status.conditions", 'Forbidden: updates may not add a condition of type "Approved"')]),
    ("status", {"certificate": "YQ=="},
     [("status.certificate", 'Invalid value: "<certificate data>": must contain at least one '
       "CERTIFICATE PEM block")]),
    ("approval", {"conditions": [{"type": "Approved", "status": "False"},
                                 {"type": "Denied", "status": "True"},
                                 {"type": "", "status": ""}]},
     [("status.conditions[0].status", 'Unsupported value: "False": supported values: "True"'),
      ("status.conditions", 'Invalid value: "Denied": Approved and Denied conditions are mutually '
       "exclusive"),
      ("status.conditions[2].type", "Required value"),
      ("status.conditions[2].status", "Required value")]),
]


@pytest.mark.parametrize("sub,status,causes", UPDATE)
def test_validation_of_updates(api, pending, sub, status, causes):
    r = api.patch(f"{CSRS}/{pending['metadata']['name']}/{sub}", {"status": status})
    assert r.status == 422
    assert [(c["field"], c["message"]) for c in r.json["details"]["causes"]] == causes
