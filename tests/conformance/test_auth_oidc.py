# SPDX-License-Identifier: Apache-2.0
"""ID tokens of an OpenID Connect issuer that runs here, over HTTPS."""
import base64
import http.server
import json
import ssl
import subprocess
import threading
import time

import pytest

from apiserver import Server, free_port

SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def run(*args, stdin=None):
    return subprocess.run(["openssl", *map(str, args)], input=stdin, capture_output=True,
                          check=True).stdout


class Key:
    """An RSA key, by the command line alone."""

    def __init__(self, d, kid):
        self.kid, self.pem = kid, d / f"{kid}.pem"
        run("genrsa", "-out", self.pem, "2048")

    @property
    def jwk(self):
        n = run("rsa", "-in", self.pem, "-noout", "-modulus").decode().split("=")[1].strip()
        return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid,
                "n": b64(bytes.fromhex(n)), "e": "AQAB"}

    def sign(self, claims, **head):
        head = {"alg": "RS256", "kid": self.kid} | head
        text = ".".join(b64(json.dumps(p).encode()) for p in (head, claims))
        sig = run("dgst", "-sha256", "-sign", self.pem, stdin=text.encode())
        return text + "." + b64(sig)


class Issuer:
    def __init__(self, d):
        self.port, self.keys, self.fetched = free_port(), [], 0
        self.url = f"https://127.0.0.1:{self.port}"
        self.ca = d / "issuer.crt"
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", d / "issuer.key", "-out", self.ca, "-subj", "/CN=issuer", "-days", "1",
            "-addext", "subjectAltName=IP:127.0.0.1")
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path == "/.well-known/openid-configuration":
                    doc = {"issuer": issuer.url, "jwks_uri": issuer.url + "/keys"}
                else:
                    issuer.fetched += 1
                    doc = {"keys": [k.jwk for k in issuer.keys]}
                body = json.dumps(doc).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(self.ca, d / "issuer.key")
        self.server.socket = ctx.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def claims(self, **kw):
        return {"iss": self.url, "aud": "cluster", "exp": int(time.time()) + 600,
                "sub": "jane", "groups": ["devs", "ops"], "jti": "7"} | kw


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    d = tmp_path_factory.mktemp("oidc")
    i = Issuer(d)
    i.dir = d
    i.keys = [Key(d, "k1")]
    yield i
    i.server.shutdown()


@pytest.fixture(scope="module")
def server(issuer):
    s = Server("--oidc-issuer-url", issuer.url, "--oidc-client-id", "cluster", "--oidc-ca-file",
               str(issuer.ca), "--oidc-groups-claim", "groups", "--oidc-groups-prefix", "oidc:")
    yield s
    s.close()


def whoami(s, token):
    r = s.post(SELF, {}, token=token)
    return r.json["status"]["userInfo"] if r.status == 201 else r.status


def test_user(server, issuer):
    assert whoami(server, issuer.keys[0].sign(issuer.claims())) == {
        "username": issuer.url + "#jane",
        "groups": ["oidc:devs", "oidc:ops", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/credential-id": ["JTI=7"]}}


def test_refused(server, issuer):
    key = issuer.keys[0]
    token = key.sign(issuer.claims())
    head, body, sig = token.split(".")
    assert whoami(server, f"{head}.{body}.{sig[:-4]}AAAA") == 401
    assert whoami(server, key.sign(issuer.claims(aud="other"))) == 401
    assert whoami(server, key.sign(issuer.claims(exp=int(time.time()) - 1))) == 401
    assert whoami(server, key.sign(issuer.claims(iss="https://elsewhere"))) == 401
    assert whoami(server, key.sign(issuer.claims(), alg="none")) == 401
    assert whoami(server, key.sign(issuer.claims(sub=None))) == 401
    r = server.ok("POST", "/apis/authentication.k8s.io/v1/tokenreviews",
                  {"spec": {"token": key.sign(issuer.claims(aud="other"))}})
    assert r["status"]["error"] == ('[invalid bearer token, oidc: verify token: oidc: expected '
                                    'audience in ["cluster"] got "other"]')


def test_keys_are_fetched_again(server, issuer):
    whoami(server, issuer.keys[0].sign(issuer.claims()))
    before = issuer.fetched
    new = Key(issuer.dir, "k2")
    issuer.keys = [new]
    token = new.sign(issuer.claims())
    deadline = time.monotonic() + 10
    while whoami(server, token) == 401:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    # junk does not make us ask more than once a second
    start, before = time.monotonic(), issuer.fetched
    for i in range(20):
        whoami(server, new.sign(issuer.claims(), kid=f"x{i}"))
    assert issuer.fetched <= before + 1 + (time.monotonic() - start)


def test_config_file(issuer, tmp_path):
    f = tmp_path / "authn.yaml"
    pem = "".join("        " + line + "\n" for line in issuer.ca.read_text().splitlines())
    f.write_text(f"""
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous: {{enabled: true, conditions: [{{path: /livez}}, {{path: /readyz}}]}}
jwt:
- issuer:
    url: {issuer.url}
    audiences: [a, cluster]
    audienceMatchPolicy: MatchAny
    certificateAuthority: |
{pem}
  claimValidationRules: [{{claim: hd, requiredValue: example.com}}]
  claimMappings:
    username: {{claim: sub, prefix: "x:"}}
    groups: {{claim: groups, prefix: ""}}
    uid: {{claim: uid}}
""")
    s = Server("--authentication-config", str(f))
    try:
        assert s.get("/livez", anonymous=True).status == 200
        assert s.get("/version", anonymous=True).status == 401
        key = issuer.keys[0]
        u = whoami(s, key.sign(issuer.claims(hd="example.com", uid="u1")))
        assert (u["username"], u["uid"], u["groups"]) == (
            "x:jane", "u1", ["devs", "ops", "system:authenticated"])
        assert whoami(s, key.sign(issuer.claims(uid="u1"))) == 401
    finally:
        s.close()
