# SPDX-License-Identifier: Apache-2.0
"""Who asks: certificates, front proxies, tokens, impersonation."""
import base64
import json
import ssl
import subprocess

import pytest

from apiserver import poll

SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEW = "/apis/authentication.k8s.io/v1/tokenreviews"
ISSUER = "https://kubernetes.default.svc.cluster.local"


def whoami(api, **kw):
    r = api.post(SELF, {}, **kw)
    assert r.status == 201, r.body
    return r.json["status"]["userInfo"]


def openssl(*args, stdin=None):
    return subprocess.run(["openssl", *args], input=stdin, capture_output=True, check=True).stdout


def make_cert(api, tmp_path, subject, ca="ca"):
    """A client certificate signed by one of the server's CAs."""
    pki = api.dir / "data" / "pki"
    key, csr, crt = (tmp_path / n for n in ("k.pem", "r.pem", "c.pem"))
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
            "-out", csr, "-subj", subject)
    openssl("x509", "-req", "-in", csr, "-CA", pki / f"{ca}.crt", "-CAkey", pki / f"{ca}.key",
            "-CAcreateserial", "-CAserial", tmp_path / "serial", "-out", crt, "-days", "1")
    pem = tmp_path / "pair.pem"
    pem.write_bytes(crt.read_bytes() + key.read_bytes())
    return pem


class As:
    """The server, asked with another certificate."""

    def __init__(self, api, pem):
        self.api, self.tls = api, ssl.create_default_context(cadata=api.ca)
        self.tls.load_cert_chain(pem)

    def request(self, method, path, body=None, **kw):
        old, self.api.admin_tls = self.api.admin_tls, self.tls
        try:
            return self.api.request(method, path, body, **kw)
        finally:
            self.api.admin_tls = old

    def post(self, path, body=None, **kw):
        return self.request("POST", path, body, **kw)


def test_the_server_sends_its_chain_as_given(api):
    """As Go's servers: no CA added from the trusted ones (5 KB of memory for each connection)."""
    shown = openssl("s_client", "-connect", f"127.0.0.1:{api.port}", "-showcerts", stdin=b"")
    assert shown.count(b"BEGIN CERTIFICATE") == 1


def make_token(api, ns, name="default", **spec):
    r = api.post(f"/api/v1/namespaces/{ns}/serviceaccounts/{name}/token", {"spec": spec})
    assert r.status == 201, r.body
    return r.json["status"]["token"]


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_certificate_identity(api, tmp_path):
    pem = make_cert(api, tmp_path, "/O=devs/O=ops/CN=alice")
    der = openssl("x509", "-in", pem, "-outform", "DER")
    digest = openssl("dgst", "-sha256", "-r", stdin=der).split()[0].decode()
    assert whoami(As(api, pem)) == {
        "username": "alice", "groups": ["devs", "ops", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/credential-id": ["X509SHA256=" + digest]}}


def test_certificate_of_a_stranger_is_401_but_a_token_saves(api, ns, tmp_path):
    key, crt = tmp_path / "k.pem", tmp_path / "c.pem"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", key, "-out", crt, "-subj", "/CN=eve", "-days", "1")
    pem = tmp_path / "pair.pem"
    pem.write_bytes(crt.read_bytes() + key.read_bytes())
    eve = As(api, pem)
    r = eve.request("GET", "/version")
    assert r.status == 401
    assert r.json == {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                      "message": "Unauthorized", "reason": "Unauthorized", "code": 401}
    h = {"Authorization": "Bearer " + make_token(api, ns)}
    assert whoami(eve, headers=h)["username"] == f"system:serviceaccount:{ns}:default"


def test_front_proxy(api, tmp_path):
    proxy = As(api, make_cert(api, tmp_path, "/CN=front-proxy-client", ca="front-proxy-ca"))
    h = {"X-Remote-User": "zoe", "X-Remote-Group": "g1", "X-Remote-Uid": "u-1",
         "X-Remote-Extra-Acme.com%2fProject": "p", "X-Remote-Extra-Scopes": "s"}
    assert whoami(proxy, headers=h) == {
        "username": "zoe", "uid": "u-1", "groups": ["g1", "system:authenticated"],
        "extra": {"acme.com/project": ["p"], "scopes": ["s"]}}
    # it speaks for nobody
    assert proxy.post(SELF, {}).status == 401
    # and only the one that is named may
    other = As(api, make_cert(api, tmp_path, "/CN=other", ca="front-proxy-ca"))
    assert other.post(SELF, {}, headers=h).status == 401
    # a user's certificate does not make these headers mean anything
    assert whoami(api, headers=h)["username"] == "kubernetes-admin"


def test_token_claims_and_user(api, ns):
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    pod = api.ok("POST", f"/api/v1/namespaces/{ns}/pods", pod)
    api.ok("POST", "/api/v1/nodes", {"metadata": {"name": ns}})
    api.ok("POST", f"/api/v1/namespaces/{ns}/pods/p/binding",
           {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": ns}})
    node = api.ok("GET", f"/api/v1/nodes/{ns}")
    ref = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": pod["metadata"]["uid"]}
    token = make_token(api, ns, boundObjectRef=ref, expirationSeconds=3607)
    c = claims(token)
    sa = api.ok("GET", f"/api/v1/namespaces/{ns}/serviceaccounts/default")
    assert c["iss"] == ISSUER and c["aud"] == [ISSUER]
    assert c["sub"] == f"system:serviceaccount:{ns}:default"
    assert c["exp"] - c["iat"] == 365 * 24 * 3600 and c["nbf"] == c["iat"]
    k = c["kubernetes.io"]
    assert k["warnafter"] - c["iat"] == 3607
    assert k["namespace"] == ns
    assert k["serviceaccount"] == {"name": "default", "uid": sa["metadata"]["uid"]}
    assert k["pod"] == {"name": "p", "uid": pod["metadata"]["uid"]}
    assert k["node"] == {"name": ns, "uid": node["metadata"]["uid"]}
    assert whoami(api, token=token) == {
        "username": c["sub"], "uid": sa["metadata"]["uid"],
        "groups": ["system:serviceaccounts", f"system:serviceaccounts:{ns}",
                   "system:authenticated"],
        "extra": {"authentication.kubernetes.io/credential-id": ["JTI=" + c["jti"]],
                  "authentication.kubernetes.io/node-name": [ns],
                  "authentication.kubernetes.io/node-uid": [node["metadata"]["uid"]],
                  "authentication.kubernetes.io/pod-name": ["p"],
                  "authentication.kubernetes.io/pod-uid": [pod["metadata"]["uid"]]}}
    api.ok("DELETE", f"/api/v1/namespaces/{ns}/pods/p?gracePeriodSeconds=0")
    assert api.post(SELF, {}, token=token).status == 401
    r = api.ok("POST", REVIEW, {"spec": {"token": token}})["status"]
    assert r == {"user": {},
                 "error": "[invalid bearer token, service account token has been invalidated]"}


def test_volume_life_only_for_pods(api, ns):
    c = claims(make_token(api, ns, expirationSeconds=3607))
    assert c["exp"] - c["iat"] == 3607 and "warnafter" not in c["kubernetes.io"]


def test_token_request_answer(api, ns):
    r = api.post(f"/api/v1/namespaces/{ns}/serviceaccounts/default/token", {"spec": {}})
    assert r.status == 201
    body = r.json
    assert body["kind"] == "TokenRequest"
    assert body["metadata"]["name"] == "default" and body["metadata"]["namespace"] == ns
    assert body["spec"] == {"audiences": [ISSUER], "expirationSeconds": 3600,
                            "boundObjectRef": None}
    assert set(body["status"]) == {"token", "expirationTimestamp"}


TOKEN_ERRORS = [
    ({"spec": {"expirationSeconds": 5}}, 422, "Invalid",
     'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 5: '
     "may not specify a duration less than 10 minutes"),
    ({"spec": {"expirationSeconds": 99999999999}}, 422, "Invalid",
     'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: '
     "99999999999: may not specify a duration larger than 2^32 seconds"),
    ({"metadata": {"name": "x"}}, 422, "Invalid",
     'TokenRequest.authentication.k8s.io "default" is invalid: metadata.name: Invalid value: "x": '
     "must match the service account name if specified"),
    ({"metadata": {"namespace": "x"}}, 400, "BadRequest",
     "the namespace of the provided object does not match the namespace sent on the request"),
    ({"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "no"}}}, 404,
     "NotFound", 'pods "no" not found'),
    ({"spec": {"boundObjectRef": {"kind": "Foo", "apiVersion": "a/v1", "name": "no"}}}, 400,
     "BadRequest", "cannot bind token to object of type a/v1, Kind=Foo"),
]


@pytest.mark.parametrize("body,status,reason,message", TOKEN_ERRORS)
def test_token_request_errors(api, ns, body, status, reason, message):
    r = api.post(f"/api/v1/namespaces/{ns}/serviceaccounts/default/token", body)
    assert (r.status, r.json["reason"], r.json["message"]) == (status, reason, message)


def test_token_request_uid_conflicts(api, ns):
    path = f"/api/v1/namespaces/{ns}/serviceaccounts/default/token"
    sa = api.ok("GET", path.rsplit("/", 1)[0])["metadata"]["uid"]
    r = api.post(path, {"metadata": {"uid": "x"}})
    assert r.status == 409
    assert r.json["message"] == (
        'Operation cannot be fulfilled on TokenRequest.authentication.k8s.io "default": the UID in '
        f"the token request (x) does not match the UID of the service account ({sa})")
    api.ok("POST", f"/api/v1/namespaces/{ns}/secrets", {"metadata": {"name": "s"}})
    ref = {"kind": "Secret", "apiVersion": "v1", "name": "s", "uid": "zz"}
    r = api.post(path, {"spec": {"boundObjectRef": ref}})
    assert r.status == 409
    assert r.json["message"] == (
        'Operation cannot be fulfilled on Secret "s": the UID in the bound object reference (zz) '
        "does not match the UID in record. The object might have been deleted and then recreated")


def test_token_review_audiences(api, ns):
    token = make_token(api, ns, audiences=["a", "b"])
    assert api.ok("POST", REVIEW, {"spec": {"token": token}})["status"] == {
        "user": {}, "error": '[invalid bearer token, token audiences ["a" "b"] is invalid for the '
                             f'target audiences ["{ISSUER}"]]'}
    st = api.ok("POST", REVIEW, {"spec": {"token": token, "audiences": ["b", "z"]}})["status"]
    assert st["authenticated"] and st["audiences"] == ["b"]
    assert st["user"]["username"] == f"system:serviceaccount:{ns}:default"
    assert api.ok("POST", REVIEW, {"spec": {"token": "abc"}})["status"] == {
        "user": {}, "error": "invalid bearer token"}
    r = api.post(REVIEW, {"spec": {}})
    assert (r.status, r.json["message"]) == (
        400, "token is required for TokenReview in authentication")


def test_bad_token_is_401_though_anonymous_may(api):
    assert api.get("/version", anonymous=True).status == 200
    assert api.get("/version", token="nonsense").status == 401
    # another scheme is no token at all
    assert api.get("/version", anonymous=True, headers={"Authorization": "Basic YTpi"}).status == 200


def test_bootstrap_token(api):
    def data(**kw):
        return {k.replace("_", "-"): base64.b64encode(v.encode()).decode() for k, v in kw.items()}
    secret = {"metadata": {"name": "bootstrap-token-abcdef"},
              "type": "bootstrap.kubernetes.io/token",
              "data": data(token_id="abcdef", token_secret="0123456789abcdef",
                           usage_bootstrap_authentication="true",
                           auth_extra_groups="system:bootstrappers:w,system:bootstrappers:a")}
    api.ok("POST", "/api/v1/namespaces/kube-system/secrets", secret)
    assert whoami(api, token="abcdef.0123456789abcdef") == {
        "username": "system:bootstrap:abcdef",
        "groups": ["system:bootstrappers", "system:bootstrappers:a", "system:bootstrappers:w",
                   "system:authenticated"]}
    assert api.post(SELF, {}, token="abcdef.0123456789abcdee").status == 401
    path = "/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef"
    api.patch(path, {"data": data(expiration="2020-01-01T00:00:00Z")})
    assert api.post(SELF, {}, token="abcdef.0123456789abcdef").status == 401
    api.patch(path, {"data": data(expiration="2999-01-01T00:00:00Z")})
    assert api.post(SELF, {}, token="abcdef.0123456789abcdef").status == 201
    api.patch(path, {"data": {"usage-bootstrap-authentication": None}})
    assert api.post(SELF, {}, token="abcdef.0123456789abcdef").status == 401


def test_token_kept_in_a_secret(api, ns):
    path = f"/api/v1/namespaces/{ns}/secrets"
    api.ok("POST", path, {"metadata": {"name": "t", "annotations": {
        "kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token"})
    poll(lambda: "token" in api.ok("GET", path + "/t").get("data", {}))
    s = api.ok("GET", path + "/t")
    sa = api.ok("GET", f"/api/v1/namespaces/{ns}/serviceaccounts/default")
    assert s["metadata"]["annotations"]["kubernetes.io/service-account.uid"] == \
        sa["metadata"]["uid"]
    data = {k: base64.b64decode(v).decode() for k, v in s["data"].items()}
    assert data["namespace"] == ns and "BEGIN CERTIFICATE" in data["ca.crt"]
    assert claims(data["token"]) == {
        "iss": "kubernetes/serviceaccount", "sub": f"system:serviceaccount:{ns}:default",
        "kubernetes.io/serviceaccount/namespace": ns,
        "kubernetes.io/serviceaccount/secret.name": "t",
        "kubernetes.io/serviceaccount/service-account.name": "default",
        "kubernetes.io/serviceaccount/service-account.uid": sa["metadata"]["uid"]}
    assert whoami(api, token=data["token"]) == {
        "username": f"system:serviceaccount:{ns}:default", "uid": sa["metadata"]["uid"],
        "groups": ["system:serviceaccounts", f"system:serviceaccounts:{ns}",
                   "system:authenticated"]}
    labels = api.ok("GET", path + "/t")["metadata"]["labels"]
    assert "kubernetes.io/legacy-token-last-used" in labels
    # it goes with its account
    api.ok("DELETE", f"/api/v1/namespaces/{ns}/serviceaccounts/default")
    poll(lambda: api.get(path + "/t").status == 404)
    r = api.ok("POST", REVIEW, {"spec": {"token": data["token"]}})["status"]
    assert r["error"] == "[invalid bearer token, Token has been invalidated]"


# impersonation
def test_impersonate_without_a_user(api):
    r = api.get("/api", headers={"Impersonate-Group": "x"})
    assert r.status == 400
    assert r.json["message"] == (
        'requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"x"}, '
        "Extra:map[string][]string(nil)} without impersonating a user name")
    r = api.get("/api", headers={"Impersonate-Uid": "1", "Impersonate-Extra-Foo": "x"})
    assert r.json["message"] == (
        'requested &user.DefaultInfo{Name:"", UID:"1", Groups:[]string(nil), '
        'Extra:map[string][]string{"foo":[]string{"x"}}} without impersonating a user name')


def test_impersonate_everything(api, tmp_path):
    # who asked in a constrained mode before goes on so
    boss = As(api, make_cert(api, tmp_path, "/O=system:masters/CN=boss"))
    assert whoami(boss, user="system:node:n1")["groups"] == ["system:nodes", "system:authenticated"]
    h = {"Impersonate-Uid": "7", "Impersonate-Extra-Acme.com%2fProject": "a",
         "Impersonate-Extra-Scopes": "b"}
    assert whoami(api, user="bob", groups=["g", "system:masters"], headers=h) == {
        "username": "bob", "uid": "7", "groups": ["g", "system:masters", "system:authenticated"],
        "extra": {"acme.com/project": ["a"], "scopes": ["b"]}}
    assert whoami(api, user="system:serviceaccount:a:b")["groups"] == [
        "system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"]


def grant(api, name, user, *rules):
    api.ok("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles",
           {"metadata": {"name": name}, "rules": list(rules)})
    api.ok("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
           {"metadata": {"name": name}, "subjects": [{"kind": "User", "name": user}],
            "roleRef": {"kind": "ClusterRole", "name": name}})


def test_constrained_impersonation(api, tmp_path, ns):
    ann = As(api, make_cert(api, tmp_path, f"/CN=ann-{ns}"))
    path = f"/api/v1/namespaces/{ns}/configmaps"
    r = ann.request("GET", path, user="bob")
    assert r.status == 403
    assert r.json["message"] == (
        f'configmaps is forbidden: User "ann-{ns}" cannot impersonate-on:user-info:list resource '
        f'"configmaps" in API group "" in the namespace "{ns}"')
    grant(api, f"on-{ns}", f"ann-{ns}", {
        "verbs": ["impersonate-on:user-info:list"], "apiGroups": [""], "resources": ["configmaps"]})
    r = ann.request("GET", path, user="bob")
    assert r.json["message"] == (
        f'users.authentication.k8s.io "bob" is forbidden: User "ann-{ns}" cannot '
        'impersonate:user-info resource "users" in API group "authentication.k8s.io" at the '
        "cluster scope")
    grant(api, f"who-{ns}", f"ann-{ns}", {
        "verbs": ["impersonate:user-info"], "apiGroups": ["authentication.k8s.io"],
        "resources": ["users"], "resourceNames": ["bob"]})
    # now it is bob who may not
    r = ann.request("GET", path, user="bob")
    assert r.json["message"].startswith('configmaps is forbidden: User "bob" cannot list')
    # only listing was granted
    r = ann.request("GET", path + "/x", user="bob")
    assert "cannot impersonate-on:user-info:get" in r.json["message"]


def test_legacy_impersonation(api, tmp_path, ns):
    ann = As(api, make_cert(api, tmp_path, f"/CN=old-{ns}"))
    grant(api, f"old-{ns}", f"old-{ns}", {
        "verbs": ["impersonate"], "apiGroups": [""], "resources": ["users", "groups"]})
    assert whoami(ann, user="bob", groups=["g"])["username"] == "bob"
    r = ann.post(SELF, {}, user="bob", headers={"Impersonate-Uid": "1"})
    # the mode that served last speaks first
    assert r.json["message"] == (
        f'uids.authentication.k8s.io "1" is forbidden: User "old-{ns}" cannot impersonate resource '
        '"uids" in API group "authentication.k8s.io" at the cluster scope')
