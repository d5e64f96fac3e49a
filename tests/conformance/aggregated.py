# SPDX-License-Identifier: Apache-2.0
"""An aggregated API server for tests: HTTPS that asks for the front proxy's certificate, the group
agg.example.com with widgets (namespaced) and gadgets (cluster-scoped), watches, upgrades."""
import base64
import contextlib
import http.server
import json
import queue
import re
import socket
import ssl
import threading

from certs import authority

GROUP = "agg.example.com"
V2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
VERBS = ["create", "delete", "get", "list", "update", "watch"]
GVK = {"group": GROUP, "version": "v1"}


def discovery_v2(version="v1", more=()):
    def resource(plural, kind, scope):
        return {"resource": plural, "responseKind": GVK | {"kind": kind}, "scope": scope,
                "singularResource": plural[:-1], "verbs": VERBS, "shortNames": [plural[:3]],
                "subresources": [{"subresource": "stream", "responseKind": GVK | {"kind": kind},
                                  "verbs": ["get"]}]}
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
            "items": [{"metadata": {"name": GROUP}, "versions": [
                {"version": version, "freshness": "Current",
                 "resources": [resource("widgets", "Widget", "Namespaced"),
                               resource("gadgets", "Gadget", "Cluster"), *more]}]}]}


def discovery_legacy(version="v1"):
    def resource(plural, kind, namespaced):
        return [{"name": plural, "singularName": plural[:-1], "namespaced": namespaced, "kind": kind,
                 "verbs": VERBS, "shortNames": [plural[:3]]},
                {"name": plural + "/stream", "singularName": "", "namespaced": namespaced,
                 "kind": kind, "verbs": ["get"]}]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{version}",
            "resources": resource("widgets", "Widget", True) + resource("gadgets", "Gadget", False)}


def widget_schema(prefix):
    return {"description": "A widget of the aggregated server.", "type": "object", "properties": {
        "apiVersion": {"type": "string"}, "kind": {"type": "string"},
        "metadata": {"$ref": prefix + "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"},
        "size": {"type": "integer", "description": "How large it is."}},
        "x-kubernetes-group-version-kind": [GVK | {"kind": "Widget"}]}


def openapi_paths():
    return {f"/apis/{GROUP}/v1/namespaces/{{namespace}}/widgets": {"get": {
        "operationId": "listWidgets", "x-kubernetes-action": "list",
        "x-kubernetes-group-version-kind": GVK | {"kind": "Widget"},
        "responses": {"200": {"description": "OK"}}}}}


def openapi_v2():
    return {"swagger": "2.0", "info": {"title": "agg", "version": "1"},
            "paths": openapi_paths() | {"/apis/other.example.com/v1/things": {}},
            "definitions": {
                "com.example.agg.v1.Widget": widget_schema("#/definitions/"),
                "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {
                    "type": "object", "description": "another version's"}}}


def openapi_v3():
    return {"openapi": "3.0.0", "info": {"title": "agg", "version": "1"}, "paths": openapi_paths(),
            "components": {"schemas": {
                "com.example.agg.v1.Widget": widget_schema("#/components/schemas/"),
                "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {
                    "type": "object", "properties": {"name": {"type": "string"}}}}}}


class Ask:
    """A request as it came."""

    def __init__(self, handler):
        self.method, self.path, self.headers = handler.command, handler.path, handler.headers
        self.subject = {k: v for part in handler.connection.getpeercert()["subject"]
                        for k, v in part}


class Extension:
    """hooks: a path (without its query) to a function of the handler, before all else. tracks:
    speaks "v2", "legacy" or both."""

    def __init__(self, client_ca, pem=None, ca=None, speaks=("v2", "legacy")):
        self.ca = ca or authority().pem
        self.pem = pem or authority().issue("DNS:agg.default.svc")
        self.client_ca, self.speaks = client_ca, speaks
        self.hooks, self.asked, self.objects, self.watchers = {}, [], {}, []
        self.etag, self.gone, self.revision = '"1"', threading.Event(), 100
        self.port, self.server = 0, None
        self.start()

    def start(self):
        ext = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self):
                ext.asked.append(Ask(self))
                path = self.path.split("?")[0]
                hook = ext.hooks.get(path) or ext.hooks.get("*")
                if hook:
                    hook(self)
                else:
                    ext.answer(self, path)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = serve

            def body(self):
                if self.headers.get("Transfer-Encoding") == "chunked":
                    out = []
                    while n := int(self.rfile.readline(), 16):
                        out.append(self.rfile.read(n))
                        self.rfile.readline()
                    self.rfile.readline()
                    return b"".join(out)
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def reply(self, code, doc, kind="application/json", **headers):
                data = doc if isinstance(doc, bytes) else json.dumps(doc).encode()
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                for k, v in headers.items():
                    self.send_header(k.replace("_", "-"), v)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def chunk(self, data):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_):
                pass

            def get_request(self):
                s, a = super().get_request()
                s.settimeout(20)
                s = context.wrap_socket(s, server_side=True, do_handshake_on_connect=False)
                ext.sockets.append(s)
                return s, a

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=self.client_ca)
        self.sockets = []
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        """At once: connections break."""
        self.server.shutdown()
        self.server.server_close()
        for s in self.sockets:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(s, socket.SHUT_RDWR)

    # ---- what it serves

    def answer(self, h, path):
        if path == "/apis" and "v2" in self.speaks and V2 in h.headers.get("Accept", ""):
            if h.headers.get("If-None-Match") == self.etag:
                h.reply(304, b"", V2)
            else:
                h.reply(200, discovery_v2(), V2, ETag=self.etag)
        elif path == "/apis":
            h.reply(406, {})
        elif path == f"/apis/{GROUP}/v1":
            h.reply(200, discovery_legacy())
        elif path == "/openapi/v2":
            h.reply(200, openapi_v2())
        elif path == "/openapi/v3":
            h.reply(200, {"paths": {
                f"apis/{GROUP}/v1": {"serverRelativeURL": f"/openapi/v3/apis/{GROUP}/v1?hash=ABC"},
                "api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=NO"}}})
        elif path == f"/openapi/v3/apis/{GROUP}/v1":
            h.reply(200, openapi_v3(), ETag='"ABC"')
        elif m := re.fullmatch(rf"/apis/{GROUP}/v1/(?:namespaces/([^/]+)/)?(widgets|gadgets)"
                               r"(?:/([^/]+))?(/stream)?", path):
            self.resource(h, *m.groups())
        else:
            h.reply(404, self.status(404, "NotFound", "no such thing"))

    @staticmethod
    def status(code, reason, message):
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "reason": reason, "code": code, "message": message}

    def resource(self, h, ns, plural, name, sub):
        kind = plural[:-1].capitalize()
        if sub:
            self.upgrade(h)
        elif h.command == "POST":
            self.create(h, ns, plural, kind)
        elif not name and "watch=" in h.path:
            self.watch(h)
        elif not name:
            items = [o for (n, p, _), o in self.objects.items()
                     if p == plural and ns in (None, n)]
            h.reply(200, {"kind": kind + "List", "apiVersion": f"{GROUP}/v1",
                          "metadata": {"resourceVersion": str(self.revision)}, "items": items})
        elif (ns, plural, name) not in self.objects:
            h.reply(404, self.status(404, "NotFound", f'{plural}.{GROUP} "{name}" not found'))
        elif h.command == "DELETE":
            h.body()
            self.tell("DELETED", self.objects.pop((ns, plural, name)))
            h.reply(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})
        else:
            h.reply(200, self.objects[ns, plural, name])

    def create(self, h, ns, plural, kind):
        o = json.loads(h.body())
        self.revision += 1
        o["metadata"] |= {"uid": "0" * 8, "resourceVersion": str(self.revision),
                          "creationTimestamp": "2026-01-01T00:00:00Z"}
        if ns:
            o["metadata"]["namespace"] = ns
        self.objects[ns, plural, o["metadata"]["name"]] = o
        self.tell("ADDED", o)
        h.reply(201, o | {"kind": kind, "apiVersion": f"{GROUP}/v1"})

    def tell(self, kind, o):
        for q in self.watchers:
            q.put({"type": kind, "object": o})

    def watch(self, h):
        q = queue.Queue()
        self.watchers.append(q)
        h.send_response(200)
        h.send_header("Content-Type", "application/json")
        h.send_header("Transfer-Encoding", "chunked")
        h.end_headers()
        h.wfile.flush()
        try:
            while True:
                try:
                    h.chunk(json.dumps(q.get(timeout=0.2)).encode() + b"\n")
                except queue.Empty:
                    h.connection.setblocking(False)
                    try:
                        if h.connection.recv(1) == b"":
                            break
                    except ssl.SSLWantReadError:
                        pass
                    h.connection.settimeout(20)
        except OSError:
            pass
        self.watchers.remove(q)
        self.gone.set()
        h.close_connection = True

    def upgrade(self, h):
        """Gives back what it reads in capitals."""
        h.close_connection = True
        h.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " +
                      h.headers["Upgrade"].encode() + b"\r\n\r\n")
        h.wfile.flush()
        with contextlib.suppress(OSError):
            while data := h.rfile.read1(65536):
                h.wfile.write(data.upper())
                h.wfile.flush()
        self.gone.set()

    # ---- making it known

    def apiservice(self, version="v1", **spec):
        return {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
                "metadata": {"name": f"{version}.{GROUP}"},
                "spec": {"group": GROUP, "version": version, "groupPriorityMinimum": 1000,
                         "versionPriority": 15, "service": {"namespace": "default", "name": "agg"},
                         "caBundle": base64.b64encode(self.ca.encode()).decode()} | spec}

    def slice(self):
        return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"name": "agg-1", "labels": {"kubernetes.io/service-name": "agg"}},
                "addressType": "IPv4", "endpoints": [{"addresses": ["127.0.0.1"]}],
                "ports": [{"name": "https", "port": self.port, "protocol": "TCP"}]}


SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "agg"},
           "spec": {"ports": [{"name": "https", "port": 443}]}}


def available(api, version="v1"):
    """(status, reason, message) of the condition; None as long as there is none."""
    r = api.get(f"/apis/apiregistration.k8s.io/v1/apiservices/{version}.{GROUP}")
    for c in r.json.get("status", {}).get("conditions", []):
        if c["type"] == "Available":
            return c["status"], c["reason"], c["message"]
    return None
