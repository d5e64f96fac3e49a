# SPDX-License-Identifier: Apache-2.0
"""Extending the API: discovery, OpenAPI, CRDs, webhooks and aggregation on `isoplane apiserver` alone,
with stock kubectl and small TLS servers."""
import base64
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import pytest

from boxes import ISOPLANE, free_port, wait_for

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: foos.ex.io}
spec:
  group: ex.io
  scope: Namespaced
  names: {plural: foos, singular: foo, kind: Foo, shortNames: [fo], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Hidden, type: string, jsonPath: .spec.mode, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    selectableFields: [{jsonPath: .spec.mode}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1}
              replicas: {type: integer, default: 1}
              mode: {type: string, enum: [a, b], default: a}
          status:
            type: object
            properties: {replicas: {type: integer}, selector: {type: string}}
  - name: v1beta1
    served: true
    storage: false
    deprecated: true
    schema:
      openAPIV3Schema:
        type: object
        x-kubernetes-preserve-unknown-fields: true
"""

FOO = """
apiVersion: ex.io/v1
kind: Foo
metadata: {name: one}
spec: {size: 3}
"""


class Api:
    """`isoplane apiserver` in a directory of its own."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.port = free_port()
        self.kubeconfig = str(self.dir / "admin.kubeconfig")
        self.log = open(self.dir / "log", "ab")
        self.process = subprocess.Popen(
            [ISOPLANE, "apiserver", "--data-dir", str(self.dir / "data"), "--listen",
             f"127.0.0.1:{self.port}", "--kubeconfig", self.kubeconfig],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_for("readyz", lambda: self.kubectl("get", "--raw", "/readyz", check=False).stdout == "ok", 20)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        self.log.close()
        assert code == 0, (self.dir / "log").read_text()[-4000:]

    def kubectl(self, *args, stdin=None, check=True):
        env = dict(os.environ, HOME=str(self.dir))
        r = subprocess.run(["kubectl", "--kubeconfig", self.kubeconfig, *args], input=stdin,
                           capture_output=True, text=True, env=env, check=False)
        if check and r.returncode:
            raise AssertionError(f"kubectl {' '.join(args)}: {r.stdout}{r.stderr}")
        return r

    def apply(self, text, *args, check=True):
        return self.kubectl("apply", "-f", "-", *args, stdin=text, check=check)

    def get(self, *args):
        return json.loads(self.kubectl("get", *args, "-o", "json").stdout)


@pytest.fixture(scope="module")
def api():
    with tempfile.TemporaryDirectory(prefix="isoplane-ext-") as d:
        a = Api(d)
        yield a
        a.stop()


@pytest.fixture(scope="module")
def crd(api):
    api.apply(CRD)
    api.kubectl("wait", "--for=condition=Established", "crd/foos.ex.io", "--timeout=10s")
    return api


def make_cert(directory, name):
    """A CA and a server certificate for name and 127.0.0.1; returns their paths."""
    d = pathlib.Path(directory)

    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=d)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "2", "-subj", "/CN=test-ca", "-keyout", "ca.key", "-out", "ca.crt")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
            f"/CN={name}", "-keyout", "srv.key", "-out", "srv.csr")
    (d / "ext").write_text(f"subjectAltName=DNS:{name},DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "srv.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", "srv.crt")
    return d / "ca.crt", d / "srv.crt", d / "srv.key"


class TlsServer:
    """Answers every request by a function of (method, path, headers, body)."""

    def __init__(self, name, answer, client_ca=None):
        self.tmp = tempfile.TemporaryDirectory()
        ca, crt, key = make_cert(self.tmp.name, name)
        self.ca = base64.b64encode(ca.read_bytes()).decode()
        self.seen = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self):
                n = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(n)
                peer = self.connection.getpeercert() if client_ca else None
                outer.seen.append((self.command, self.path, self.headers, body, peer))
                answer(self, body)

            do_GET = do_POST = do_PUT = do_DELETE = serve

            def reply(self, code, doc):
                data = json.dumps(doc).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(crt, key)
        if client_ca:
            ctx.verify_mode = ssl.CERT_REQUIRED
            ctx.load_verify_locations(cadata=client_ca)
        self.httpd.socket = ctx.wrap_socket(self.httpd.socket, server_side=True)
        self.port = self.httpd.server_address[1]
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()

    def stop(self):
        self.httpd.shutdown()
        self.httpd.server_close()
        self.tmp.cleanup()


def service_for(api, name, port):
    """A Service without selector whose endpoint is a port of this host."""
    api.apply(f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec: {{ports: [{{name: https, port: 443}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: default, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: https, port: {port}, protocol: TCP}}]
endpoints: [{{addresses: ["127.0.0.1"], conditions: {{ready: true}}}}]
""", "--validate=false")


# ---- discovery and OpenAPI

def test_discovery_documents(api):
    groups = json.loads(api.kubectl("get", "--raw", "/apis").stdout)
    assert groups["kind"] == "APIGroupList"
    assert groups["groups"][0]["name"] == "apiregistration.k8s.io"
    core = json.loads(api.kubectl("get", "--raw", "/api/v1").stdout)
    assert "apiVersion" not in core
    by_name = {r["name"]: r for r in core["resources"]}
    assert by_name["configmaps"]["storageVersionHash"] == "qFsyl6wFWjQ="
    assert by_name["pods"]["shortNames"] == ["po"]
    assert by_name["pods/eviction"]["group"] == "policy"
    paths = json.loads(api.kubectl("get", "--raw", "/").stdout)["paths"]
    assert "/apis/apps/v1" in paths and "/openapi/v3" in paths


def test_api_resources_and_explain(api):
    out = api.kubectl("api-resources").stdout
    assert re.search(r"^pods\s+po\s+v1\s+true\s+Pod$", out, re.M)
    assert re.search(r"^replicasets\s+rs\s+apps/v1\s+true\s+ReplicaSet$", out, re.M)
    out = api.kubectl("explain", "pod.spec.containers").stdout
    assert "KIND:       Pod" in out and "imagePullPolicy" in out
    out = api.kubectl("explain", "replicaset.spec.template", "--recursive").stdout
    assert "terminationGracePeriodSeconds" in out
    # the older form of the document, in protobuf
    out = api.kubectl("explain", "pod.spec", "--output", "plaintext-openapiv2").stdout
    assert "containers\t<[]Object> -required-" in out


def test_openapi_hash_redirects(api):
    index = json.loads(api.kubectl("get", "--raw", "/openapi/v3").stdout)
    url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    doc = json.loads(api.kubectl("get", "--raw", url).stdout)
    assert "io.k8s.api.apps.v1.ReplicaSet" in doc["components"]["schemas"]
    v2 = json.loads(api.kubectl("get", "--raw", "/openapi/v2").stdout)
    assert "io.k8s.api.core.v1.Pod" in v2["definitions"]


@pytest.mark.parametrize("mode", ["strict", "warn", "ignore"])
def test_validation_modes(api, mode):
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: v-%s}\nfoo: 1\ndata: {a: b}\n" % mode
    r = api.apply(text, f"--validate={mode}", check=False)
    if mode == "strict":
        assert r.returncode and 'unknown field "foo"' in r.stderr
    else:
        assert r.returncode == 0
        assert ('unknown field "foo"' in r.stderr) == (mode == "warn")


# ---- CRDs

def test_crd_serves_its_versions(crd):
    assert crd.apply(FOO, "--validate=strict").stdout.strip() == "foo.ex.io/one created"
    foo = crd.get("foo", "one")
    assert foo["spec"] == {"mode": "a", "replicas": 1, "size": 3}
    assert foo["metadata"]["generation"] == 1
    old = json.loads(crd.kubectl(
        "get", "--raw", "/apis/ex.io/v1beta1/namespaces/default/foos/one").stdout)
    assert old["apiVersion"] == "ex.io/v1beta1" and old["spec"]["size"] == 3
    table = crd.kubectl("get", "fo").stdout.splitlines()
    assert table[0].split() == ["NAME", "SIZE", "AGE"]
    assert table[1].split()[:2] == ["one", "3"]
    assert "HIDDEN" in crd.kubectl("get", "foos", "-o", "wide").stdout
    assert "foo.ex.io/one" in crd.kubectl("get", "all", "-o", "name").stdout
    assert "size" in crd.kubectl("explain", "foo.spec").stdout
    crd.kubectl("scale", "foo/one", "--replicas=4")
    assert crd.get("foo", "one")["spec"]["replicas"] == 4
    out = crd.kubectl("get", "foos", "--field-selector", "spec.mode=b", "-o", "name").stdout
    assert out == ""


@pytest.mark.parametrize("spec,message", [
    ("{size: 0}", "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"),
    ("{size: 1, mode: z}", 'spec.mode: Unsupported value: "z": supported values: "a", "b"'),
    ("{}", "spec.size: Required value"),
    ("{size: x}", 'spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"'),
    ("{size: 1, nope: 1}", 'unknown field "spec.nope"'),
])
def test_custom_resources_are_validated(crd, spec, message):
    text = f"apiVersion: ex.io/v1\nkind: Foo\nmetadata: {{name: bad}}\nspec: {spec}\n"
    r = crd.apply(text, "--validate=strict", check=False)
    assert r.returncode and message in r.stderr, r.stderr


@pytest.mark.parametrize("change,message", [
    (("name: foos.ex.io", "name: x.ex.io"), 'must be spec.names.plural+"."+spec.group'),
    (("scope: Namespaced", "scope: Foo"), 'Unsupported value: "Foo": supported values: "Cluster", "Namespaced"'),
    (("storage: false", "storage: true"), "must have exactly one version marked as storage version"),
    (("size: {type: integer, minimum: 1}", "size: {}"), "must not be empty for specified object fields"),
])
def test_bad_crds_are_refused(api, change, message):
    r = api.kubectl("create", "--dry-run=server", "-f", "-", stdin=CRD.replace(*change), check=False)
    assert r.returncode and message in r.stderr, r.stderr


def test_crd_deletion_removes_its_objects(api):
    text = CRD.replace("foos", "bars").replace("Foo", "Bar").replace("singular: foo", "singular: bar").replace(
        "shortNames: [fo]", "shortNames: [ba]").replace("ex.io", "del.io")
    api.apply(text)
    api.kubectl("wait", "--for=condition=Established", "crd/bars.del.io", "--timeout=10s")
    api.apply(FOO.replace("Foo", "Bar").replace("ex.io", "del.io"))
    api.kubectl("delete", "crd", "bars.del.io", "--timeout=15s")
    r = api.kubectl("get", "--raw", "/apis/del.io/v1/bars", check=False)
    assert r.returncode and "404" in r.stderr or "NotFound" in r.stderr or "could not find" in r.stderr
    api.apply(text)
    api.kubectl("wait", "--for=condition=Established", "crd/bars.del.io", "--timeout=10s")
    assert api.get("bars.del.io")["items"] == []


def test_missing_crd_is_named(api):
    r = api.apply(FOO.replace("ex.io", "none.io"), check=False)
    assert 'no matches for kind "Foo" in version "none.io/v1"' in r.stderr
    assert "ensure CRDs are installed first" in r.stderr


# ---- webhooks

def admission_answer(handler, body):
    review = json.loads(body)
    rq = review["request"]
    resp = {"uid": rq["uid"], "allowed": True}
    data = (rq.get("object") or {}).get("data") or {}
    if handler.path.startswith("/mutate"):
        patch = [{"op": "add", "path": "/data/added", "value": rq["operation"]}]
        resp.update(patchType="JSONPatch", patch=base64.b64encode(json.dumps(patch).encode()).decode())
    elif "deny" in data:
        resp.update(allowed=False, status={"message": "nope msg", "code": 418})
    elif "slow" in data:
        time.sleep(3)
    else:
        resp["warnings"] = ["mind the gap"]
    handler.reply(200, {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": resp})


def webhook_config(kind, name, ca, client, policy="Fail"):
    return f"""
apiVersion: admissionregistration.k8s.io/v1
kind: {kind}
metadata: {{name: {name}}}
webhooks:
- name: w.ex.io
  clientConfig: {{caBundle: {ca}, {client}}}
  rules: [{{operations: [CREATE, UPDATE], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}}]
  sideEffects: None
  timeoutSeconds: 1
  failurePolicy: {policy}
  objectSelector: {{matchLabels: {{hook: "{name}"}}}}
  admissionReviewVersions: [v1]
"""


def config_map(name, hook, data):
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap",
                       "metadata": {"name": name, "labels": {"hook": hook}}, "data": data})


def test_webhooks(api):
    srv = TlsServer("hook.default.svc", admission_answer)
    service_for(api, "hook", srv.port)
    api.apply(webhook_config("MutatingWebhookConfiguration", "mut", srv.ca,
                             "service: {name: hook, namespace: default, path: /mutate}"))
    api.apply(webhook_config("ValidatingWebhookConfiguration", "val", srv.ca,
                             f'url: "https://127.0.0.1:{srv.port}/validate"'))
    try:
        api.apply(config_map("m", "mut", {"a": "1"}))
        assert api.get("cm", "m")["data"] == {"a": "1", "added": "CREATE"}
        method, path, headers, body, _ = srv.seen[-1]
        assert (method, path) == ("POST", "/mutate?timeout=1s")
        assert headers["User-Agent"] == "kube-apiserver-admission"
        rq = json.loads(body)["request"]
        assert rq["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
        assert rq["userInfo"]["username"] == "kubernetes-admin"
        r = api.apply(config_map("v", "val", {"a": "1"}))
        assert "Warning: mind the gap" in r.stderr
        r = api.apply(config_map("d", "val", {"deny": "1"}), check=False)
        assert 'admission webhook "w.ex.io" denied the request: nope msg' in r.stderr
        r = api.apply(config_map("s", "val", {"slow": "1"}), check=False)
        assert 'failed calling webhook "w.ex.io"' in r.stderr
        assert "context deadline exceeded" in r.stderr
        seen = len(srv.seen)
        api.apply(config_map("other", "none", {"deny": "1"}))
        assert len(srv.seen) == seen
        srv.stop()
        r = api.apply(config_map("gone", "val", {"a": "1"}), check=False)
        assert 'failed calling webhook "w.ex.io": failed to call webhook' in r.stderr
        api.apply(webhook_config("ValidatingWebhookConfiguration", "val", srv.ca,
                                 f'url: "https://127.0.0.1:{srv.port}/validate"', "Ignore"))
        api.apply(config_map("gone", "val", {"a": "1"}))
    finally:
        api.kubectl("delete", "mutatingwebhookconfiguration/mut", "validatingwebhookconfiguration/val")


# ---- aggregation

def aggregated_answer(handler, body):
    if handler.path.split("?")[0] == "/apis/agg.io/v1":
        handler.reply(200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "agg.io/v1",
                            "resources": [{"name": "things", "singularName": "thing", "namespaced": True,
                                           "kind": "Thing", "verbs": ["get", "list"]}]})
    elif handler.headers.get("Upgrade") == "raw":
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw\r\nConnection: Upgrade\r\n\r\n")
        handler.wfile.flush()
        while data := handler.rfile.read1(65536):
            handler.wfile.write(data.upper())
            handler.wfile.flush()
    elif handler.path.startswith("/apis/agg.io/v1/namespaces/default/things/a"):
        handler.reply(200, {"kind": "Thing", "apiVersion": "agg.io/v1",
                            "metadata": {"name": "a", "namespace": "default"}})
    else:
        handler.reply(404, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                            "reason": "NotFound", "code": 404, "message": "no such thing"})


APISERVICE = """
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.agg.io}
spec:
  group: agg.io
  version: v1
  groupPriorityMinimum: 1000
  versionPriority: 15
  caBundle: %s
  service: {name: agg, namespace: default}
"""


@pytest.fixture
def aggregated(api):
    cm = api.get("cm", "-n", "kube-system", "extension-apiserver-authentication")["data"]
    srv = TlsServer("agg.default.svc", aggregated_answer, cm["requestheader-client-ca-file"])
    service_for(api, "agg", srv.port)
    api.apply(APISERVICE % srv.ca)
    api.kubectl("wait", "--for=condition=Available", "apiservice/v1.agg.io", "--timeout=10s")
    yield api, srv
    api.kubectl("delete", "apiservice", "v1.agg.io", "--ignore-not-found")
    srv.stop()


def test_aggregation(aggregated):
    api, srv = aggregated
    assert re.search(r"^things\s+agg.io/v1\s+true\s+Thing$", api.kubectl("api-resources").stdout, re.M)
    assert api.get("things.agg.io", "a")["metadata"]["name"] == "a"
    _, path, headers, _, peer = srv.seen[-1]
    assert headers["X-Remote-User"] == "kubernetes-admin"
    assert "system:masters" in headers.get_all("X-Remote-Group")
    assert headers["Authorization"] is None
    assert dict(x[0] for x in peer["subject"])["commonName"] == "front-proxy-client"
    # who is impersonated is the one asking; how that came about is not passed on
    api.kubectl("get", "things.agg.io", "a", "--as=ann", "--as-group=system:masters")
    headers = srv.seen[-1][2]
    assert headers["X-Remote-User"] == "ann"
    assert not [h for h in headers.keys() if h.lower().startswith("impersonate-")]
    r = api.kubectl("get", "things.agg.io", "b", check=False)
    assert "no such thing" in r.stderr
    assert "v1.apps" in api.kubectl("get", "apiservices").stdout


def test_aggregated_upgrade(aggregated):
    api, srv = aggregated
    config = json.loads(api.kubectl("config", "view", "--raw", "-o", "json").stdout)
    user = config["users"][0]["user"]
    with tempfile.TemporaryDirectory() as d:
        for name in ("client-certificate-data", "client-key-data"):
            (pathlib.Path(d) / name).write_bytes(base64.b64decode(user[name]))
        ctx = ssl.create_default_context()
        ctx.check_hostname = False
        ctx.verify_mode = ssl.CERT_NONE
        ctx.load_cert_chain(pathlib.Path(d) / "client-certificate-data",
                            pathlib.Path(d) / "client-key-data")
        with socket.create_connection(("127.0.0.1", api.port)) as raw, ctx.wrap_socket(raw) as s:
            s.sendall(b"GET /apis/agg.io/v1/namespaces/default/things/a/stream HTTP/1.1\r\nHost: x\r\n"
                      b"Connection: Upgrade\r\nUpgrade: raw\r\nSec-WebSocket-Protocol: "
                      b"base64url.bearer.authorization.k8s.io.dA, chat\r\n\r\n")
            head = b""
            while b"\r\n\r\n" not in head:
                head += s.recv(4096)
            assert b" 101 " in head.split(b"\r\n")[0]
            rest = head.split(b"\r\n\r\n", 1)[1]
            s.sendall(b"hello")
            while len(rest) < 5:
                rest += s.recv(4096)
            assert rest == b"HELLO"
    assert srv.seen[-1][2]["Sec-WebSocket-Protocol"] == "chat"


def test_unavailable_aggregated_api(aggregated):
    api, srv = aggregated
    api.kubectl("delete", "endpointslice", "agg-1")
    api.apply(APISERVICE.replace("versionPriority: 15", "versionPriority: 16") % srv.ca)

    def reason():
        conditions = api.get("apiservice", "v1.agg.io")["status"]["conditions"]
        return [c["reason"] for c in conditions if c["status"] == "False"] == ["EndpointsNotFound"]

    wait_for("EndpointsNotFound", reason, 10)
    r = api.kubectl("get", "--raw", "/apis/agg.io/v1/things", check=False)
    assert r.returncode
    groups = api.kubectl("get", "--raw", "/apis").stdout
    assert "agg.io" in groups
