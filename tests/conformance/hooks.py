# SPDX-License-Identifier: Apache-2.0
"""A webhook server for tests: HTTPS with a CA of its own, answers by path, and what it was asked."""
import base64
import functools
import http.server
import json
import socket
import ssl
import threading

from certs import authority


@functools.cache
def certificate():
    """A file with a key and a certificate for 127.0.0.1 and the Service default/hook."""
    return authority().issue("IP:127.0.0.1", "DNS:localhost", "DNS:hook.default.svc")


class Hooks:
    """fn(request, review) gives the response's members, or (status, text) to answer with instead;
    bytes are all that is sent before the connection breaks."""

    def __init__(self, port=0, pem=None, ca=None):
        self.paths, self.asked, self.connections, self.sockets = {}, [], 0, []
        hooks = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                hooks.connections += 1

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                path = self.path.split("?")[0]
                review = json.loads(body)
                hooks.asked.append((self.path, dict(self.headers), review))
                answer = hooks.paths[path](review["request"], review)
                if isinstance(answer, bytes):
                    self.wfile.write(answer)
                    self.wfile.flush()
                    self.close_connection = True
                    return
                if isinstance(answer, tuple):
                    status, text = answer
                else:
                    status = 200
                    text = json.dumps({"kind": "AdmissionReview", "apiVersion": review["apiVersion"],
                                       "response": {"uid": review["request"]["uid"]} | answer})
                self.send_response(status)
                self.send_header("Content-Type", "application/json" if text[:1] == "{" else
                                 "text/plain")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

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
                hooks.sockets.append(s)
                return s, a

        self.ca = ca or authority().pem
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem or certificate())
        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def client(self, path, **kw):
        return {"url": f"https://127.0.0.1:{self.port}{path}",
                "caBundle": base64.b64encode(self.ca.encode()).decode()} | kw

    def requests(self, path=None):
        return [r["request"] for p, _, r in self.asked if path in (None, p.split("?")[0])]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        for s in self.sockets:
            try:
                socket.socket.shutdown(s, socket.SHUT_RDWR)
            except OSError:
                pass


def patch(*ops):
    return {"allowed": True, "patchType": "JSONPatch",
            "patch": base64.b64encode(json.dumps(list(ops)).encode()).decode()}


def add(path, value):
    return {"op": "add", "path": path, "value": value}
