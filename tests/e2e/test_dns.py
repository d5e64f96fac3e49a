# SPDX-License-Identifier: Apache-2.0
"""Cluster DNS, asked over the wire from the host and by a Pod's own resolver."""
import secrets
import socket
import struct

from boxes import busybox_pod, kernel_vmi, wait_for
from test_machines import Console

A, CNAME, PTR, AAAA, SRV = 1, 5, 12, 28, 33
NOERROR, FORMERR, SERVFAIL, NXDOMAIN = 0, 1, 2, 3


def encode_name(name):
    return b"".join(bytes([len(x)]) + x.encode() for x in name.split(".") if x) + b"\0"


def query(name, qtype, ident, edns=False):
    msg = struct.pack("!6H", ident, 0x0100, 1, 0, 0, int(edns))
    msg += encode_name(name) + struct.pack("!2H", qtype, 1)
    return msg + (b"\0" + struct.pack("!2HIH", 41, 1232, 0, 0) if edns else b"")


def read_name(msg, at):
    labels, end = [], None
    while msg[at]:
        if msg[at] & 0xc0 == 0xc0:
            end = end or at + 2
            at = struct.unpack_from("!H", msg, at)[0] & 0x3fff
            continue
        labels.append(msg[at + 1:at + 1 + msg[at]].decode())
        at += 1 + msg[at]
    return ".".join(labels), end or at + 1


def answers(msg):
    """[(type, value)] of the answer section."""
    at = read_name(msg, 12)[1] + 4
    out = []
    for _ in range(struct.unpack_from("!H", msg, 6)[0]):
        at = read_name(msg, at)[1]
        rtype, _, ttl, n = struct.unpack_from("!2HIH", msg, at)
        at += 10
        if rtype == A:
            value = socket.inet_ntoa(msg[at:at + 4])
        elif rtype == SRV:
            value = (struct.unpack_from("!H", msg, at + 4)[0], read_name(msg, at + 6)[0])
        elif rtype in (CNAME, PTR):
            value = read_name(msg, at)[0]
        else:
            value = msg[at:at + n]
        out.append((rtype, value))
        at += n
    return out


class Dns:
    """A client of the node's server."""

    def __init__(self, box):
        node = box.get("nodes")["items"][0]
        self.ip = next(a["address"] for a in node["status"]["addresses"]
                       if a["type"] == "InternalIP")

    def udp(self, msg):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(5)
            s.sendto(msg, (self.ip, 53))
            return s.recv(4096)

    def tcp(self, *msgs):
        """The answers to several questions sent at once on one connection."""
        out = []
        with socket.create_connection((self.ip, 53), 5) as s, s.makefile("rb") as f:
            s.sendall(b"".join(struct.pack("!H", len(m)) + m for m in msgs))
            for _ in msgs:
                out.append(f.read(struct.unpack("!H", f.read(2))[0]))
        return out

    def ask(self, name, qtype=A, **how):
        """(rcode, [(type, value)]), the same by UDP and by TCP"""
        ident = secrets.randbelow(65536)
        msg = query(name, qtype, ident, **how)
        out = set()
        for reply in [self.udp(msg), *self.tcp(msg, msg)]:
            assert struct.unpack_from("!H", reply)[0] == ident
            out.add((reply[3] & 15, tuple(answers(reply))))
        assert len(out) == 1, out
        rcode, found = out.pop()
        return rcode, list(found)


def service(name, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
        "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}], **spec}}


def test_services(box, ns):
    dns = Dns(box)
    suffix = f"{ns.name}.svc.cluster.local"
    ns.apply(service("web"))
    ns.apply(service("headless", clusterIP="None"))
    ns.apply(service("alias", type="ExternalName", externalName=f"web.{suffix}", selector=None))
    ns.apply(busybox_pod("web", ["httpd", "-f", "-p", "80"], hostname="web0",
                         subdomain="headless"))
    ns.wait("pod/web", "condition=Ready")
    ip = ns.get("service", "web")["spec"]["clusterIP"]
    pod_ip = ns.get("pod", "web")["status"]["podIP"]
    wait_for("A of the Service", lambda: dns.ask(f"web.{suffix}") == (NOERROR, [(A, ip)]))
    wait_for("A of the headless Service",
             lambda: dns.ask(f"headless.{suffix}") == (NOERROR, [(A, pod_ip)]))
    wait_for("CNAME", lambda: dns.ask(f"alias.{suffix}") == (
        NOERROR, [(CNAME, f"web.{suffix}"), (A, ip)]))
    assert dns.ask(f"web0.headless.{suffix}") == (NOERROR, [(A, pod_ip)])
    assert dns.ask(f"_http._tcp.web.{suffix}", SRV) == (NOERROR, [(SRV, (80, f"web.{suffix}"))])
    assert dns.ask(f"web.{suffix}", AAAA) == (NOERROR, [])
    assert dns.ask(f"none.{suffix}") == (NXDOMAIN, [])
    assert dns.ask(suffix) == (NOERROR, [])
    assert dns.ask("none.svc.cluster.local") == (NXDOMAIN, [])
    assert dns.ask(f"web.{suffix}", edns=True) == (NOERROR, [(A, ip)])
    reverse = ".".join(reversed(ip.split("."))) + ".in-addr.arpa"
    assert dns.ask(reverse, PTR) == (NOERROR, [(PTR, f"web.{suffix}")])
    dashed = pod_ip.replace(".", "-")
    assert dns.ask(f"{dashed}.{ns.name}.pod.cluster.local") == (NOERROR, [(A, pod_ip)])


def test_pod_resolver(box, ns):
    ns.apply(service("web"))
    ns.apply(busybox_pod("web", ["httpd", "-f", "-p", "80", "-h", "/etc"]))
    ns.apply(busybox_pod("client", ["sleep", "3600"], dnsConfig={
        "searches": ["example.test"], "options": [{"name": "timeout", "value": "1"}]}))
    ns.apply(busybox_pod("fixed", ["sleep", "3600"], dnsPolicy="None", dnsConfig={
        "nameservers": ["192.0.2.53"], "searches": ["a.test"]}))
    for pod in ("web", "client", "fixed"):
        ns.wait(f"pod/{pod}", "condition=Ready")
    conf = ns.kubectl("exec", "client", "--", "cat", "/etc/resolv.conf").stdout.split("\n")
    assert f"nameserver {Dns(box).ip}" in conf
    search = next(x for x in conf if x.startswith("search ")).split()[1:]
    assert search[:3] == [f"{ns.name}.svc.cluster.local", "svc.cluster.local", "cluster.local"]
    assert search[-1] == "example.test"
    options = next(x for x in conf if x.startswith("options ")).split()[1:]
    assert "ndots:5" in options and "timeout:1" in options
    conf = ns.kubectl("exec", "fixed", "--", "cat", "/etc/resolv.conf").stdout
    assert "nameserver 192.0.2.53" in conf and "search a.test" in conf
    for url in ("http://web/passwd", f"http://web.{ns.name}.svc/passwd"):
        out = wait_for(url, lambda: ns.kubectl("exec", "client", "--", "timeout", "5", "wget",
                                               "-qO-", url).stdout)
        assert "root" in out


def test_much_of_an_answer_comes_by_tcp(box, ns):
    dns = Dns(box)
    name = f"many.{ns.name}.svc.cluster.local"
    ns.apply(service("many", clusterIP="None", selector=None))
    ns.apply({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
              "metadata": {"name": "many", "labels": {"kubernetes.io/service-name": "many"}},
              "endpoints": [{"addresses": [f"192.0.2.{i}"]} for i in range(1, 101)]})

    def by_tcp():
        return answers(dns.tcp(query(name, A, 7))[0])

    wait_for("all endpoints by TCP", lambda: len(by_tcp()) == 100)
    for edns, limit in ((False, 512), (True, 1232)):
        reply = dns.udp(query(name, A, 7, edns))
        assert reply[2] & 2 and len(reply) <= limit and answers(reply)


def test_upstream_names_are_forwarded(box):
    """Whatever the host's resolver says, cluster DNS says, too."""
    dns = Dns(box)
    with open("/etc/resolv.conf") as f:
        servers = [x.split()[1] for x in f if x.startswith("nameserver") and ":" not in x]
    msg = query("isoplane.invalid", A, 99)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        try:
            s.sendto(msg, (servers[0], 53))
            want = s.recv(4096)[3] & 15
        except (IndexError, OSError):
            want = SERVFAIL
    for reply in (dns.udp(msg), dns.tcp(msg)[0]):
        assert reply[:2] == msg[:2] and reply[3] & 15 == want


def test_kube_dns_is_the_same_server(box, ns):
    dns = Dns(box)
    service = box.get("-n", "kube-system", "service", "kube-dns")
    dns.ip = service["spec"]["clusterIP"]
    assert dns.ip.endswith(".0.10")
    ip = box.get("-n", "default", "service", "kubernetes")["spec"]["clusterIP"]
    assert dns.ask("kubernetes.default.svc.cluster.local") == (NOERROR, [(A, ip)])
    ns.apply(busybox_pod("client", ["sleep", "3600"]))
    ns.wait("pod/client", "condition=Ready")
    out = ns.kubectl("exec", "client", "--", "nslookup", "kubernetes.default.svc.cluster.local",
                     dns.ip).stdout
    assert f"Address: {ip}" in out


def test_broken_queries_do_no_harm(box):
    dns = Dns(box)
    for msg in (b"\x00", b"\x00\x05hello", b"\xff\xff" + secrets.token_bytes(64)):
        with socket.create_connection((dns.ip, 53), 5) as s:
            s.sendall(msg)
    assert dns.udp(query("kubernetes.default.svc.cluster.local", A, 1)[:20])[3] == FORMERR
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for n in range(200):
            s.sendto(secrets.token_bytes(n), (dns.ip, 53))
    assert dns.ask("kubernetes.default.svc.cluster.local")[0] == NOERROR


def test_guest_gets_the_nodes_server(box, ns):
    ns.apply(kernel_vmi("vm"))
    ns.wait("vmi/vm", "condition=Ready")
    with Console(box, ns, "vm") as console:
        console.login()
        console.send("until cat /etc/resolv.conf; do sleep 1; done 2>/dev/null\n")
        console.expect(f"search {ns.name}.svc.cluster.local".encode())
        console.expect(f"nameserver {Dns(box).ip}".encode())
        console.expect(b"# ")
        console.send("nslookup kubernetes.default.svc.cluster.local\n")
        ip = box.get("-n", "default", "service", "kubernetes")["spec"]["clusterIP"]
        console.expect(f"Address: {ip}".encode())
