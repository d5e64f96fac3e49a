# SPDX-License-Identifier: Apache-2.0
"""Watches, as upstream's server answers them."""
import base64
import json
import os
import struct
import time

import pytest

from samples import cms


def create(api, ns, name, **more):
    return api.ok("POST", cms(ns), {"metadata": {"name": name} | more})


@pytest.mark.parametrize("word, watches", [
    ("1", True), ("true", True), ("True", True), ("", True), ("yes", True), ("0", False), ("false", False),
    ("False", False)])
def test_words_for_true(api, ns, word, watches):
    """What a boolean parameter may be: the Python client says True."""
    create(api, ns, "a")
    with api.watch(f"{cms(ns)}?watch={word}&timeoutSeconds=1") as w:
        o = w.next()
    assert (o.get("type"), o.get("kind")) == (("ADDED", None) if watches else (None, "ConfigMapList"))


def create_more(api, ns):
    """What happened after the revision that is returned: changes of a, which leaves and comes."""
    create(api, ns, "a", labels={"in": "yes"})
    rv = create(api, ns, "b")["metadata"]["resourceVersion"]
    for label in ("no", "yes"):
        api.patch(cms(ns, "a"), {"metadata": {"labels": {"in": label}}})
    api.delete(cms(ns, "a"))
    return rv


def events(api, path, headers=None):
    """All of a watch that ends by itself."""
    with api.watch(path, headers=headers) as w:
        assert w.status == 200 and w.response.headers["Content-Type"] == "application/json"
        seen = []
        while e := w.next():
            seen.append(e)
    return seen


def marks(seen):
    return [(e["type"], e["object"]["metadata"].get("name"),
             "k8s.io/initial-events-end" in e["object"]["metadata"].get("annotations", {})) for e in seen]


WATCH_LIST = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
A, B = ("ADDED", "a", False), ("ADDED", "b", False)
END = ("BOOKMARK", None, True)


@pytest.mark.parametrize("query, want", [
    ("", [A, B]), ("&resourceVersion=0", [A, B]), ("&resourceVersion=00", [A, B]),
    ("&allowWatchBookmarks=true", [A, B, END]), ("&allowWatchBookmarks=true&resourceVersion=0", [A, B, END]),
    (WATCH_LIST, [A, B]), (WATCH_LIST + "&allowWatchBookmarks=true", [A, B, END]),
    (WATCH_LIST + "&allowWatchBookmarks=true&resourceVersion=0", [A, B, END]),
    (WATCH_LIST + "&allowWatchBookmarks=true&resourceVersion={rv}", [A, B, END]),
    (WATCH_LIST + "&allowWatchBookmarks=true&limit=1", [A, B, END]),
    (WATCH_LIST + "&allowWatchBookmarks=true&labelSelector=in%3Dyes", [A, END]),
    (WATCH_LIST + "&allowWatchBookmarks=true&labelSelector=none", [END]),
    ("&sendInitialEvents=false&resourceVersionMatch=NotOlderThan", []),
    ("&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion={rv}", [])])
def test_how_it_begins(api, ns, query, want):
    """What informers of client-go 1.35 and before ask for; limit means nothing here."""
    create(api, ns, "a", labels={"in": "yes"})
    rv = create(api, ns, "b")["metadata"]["resourceVersion"]
    seen = events(api, f"{cms(ns)}?watch=1&timeoutSeconds=1" + query.format(rv=rv))
    assert marks(seen) == want


@pytest.mark.parametrize("query, want", [
    ("labelSelector=in%3Dyes", ["DELETED", "ADDED", "DELETED"]), ("labelSelector=in%3Dno", ["ADDED", "DELETED"]),
    ("labelSelector=in!%3Dyes", ["ADDED", "DELETED"]), ("labelSelector=none", []),
    ("fieldSelector=metadata.name%3Da", ["MODIFIED", "MODIFIED", "DELETED"]),
    ("fieldSelector=metadata.name!%3Da", []),
    ("fieldSelector=metadata.namespace%3D{ns}", ["MODIFIED", "MODIFIED", "DELETED"])])
def test_selections(api, ns, query, want):
    rv = create_more(api, ns)
    seen = events(api, f"{cms(ns)}?watch=1&timeoutSeconds=1&resourceVersion={rv}&" + query.format(ns=ns))
    assert [e["type"] for e in seen] == want


def test_other_paths(api, ns):
    """The deprecated ones; a name with watch=1 is still a get."""
    rv = create_more(api, ns)
    create(api, ns, "a")
    q = f"timeoutSeconds=1&resourceVersion={rv}"
    assert marks(events(api, f"/api/v1/watch/namespaces/{ns}/configmaps/a?timeoutSeconds=1")) == [A]
    want = ["MODIFIED", "MODIFIED", "DELETED", "ADDED"]
    for path in (f"/api/v1/watch/namespaces/{ns}/configmaps?{q}",
                 f"/api/v1/watch/configmaps?{q}&fieldSelector=metadata.namespace%3D{ns}"):
        assert [e["type"] for e in events(api, path)] == want
    assert marks(events(api, f"/api/v1/watch/namespaces/{ns}?timeoutSeconds=1")) == [("ADDED", ns, False)]
    assert api.get(cms(ns, "a") + "?watch=1").json["kind"] == "ConfigMap"


@pytest.mark.parametrize("columns, cells", [("configmaps", ["", 0, "<unknown>"])])
def test_table(api, ns, columns, cells):
    """Columns come with the first event alone, and a bookmark is a row of an empty object."""
    rv = create_more(api, ns)
    h = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    seen = events(api, f"{cms(ns)}?watch=1&timeoutSeconds=1&resourceVersion={rv}", h)
    assert [e["type"] for e in seen] == ["MODIFIED", "MODIFIED", "DELETED"]
    assert [c["name"] for c in seen[0]["object"]["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert [e["object"]["columnDefinitions"] for e in seen[1:]] == [None, None]
    assert all(e["object"]["rows"][0]["cells"][:2] == ["a", 0] for e in seen)
    seen = events(api, f"{cms(ns)}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true{WATCH_LIST}", h)
    assert [e["type"] for e in seen] == ["ADDED", "BOOKMARK"]
    table = seen[1]["object"]
    assert table["kind"] == "Table" and table["columnDefinitions"] is None
    assert table["metadata"] == {"resourceVersion": table["metadata"]["resourceVersion"]}
    row = table["rows"][0]
    assert row["cells"] == cells and row["object"]["kind"] == "PartialObjectMetadata"
    assert row["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    seen = events(api, f"{cms(ns)}?watch=1&timeoutSeconds=1&resourceVersion={rv}&includeObject=None", h)
    assert [e["object"]["rows"][0]["object"] for e in seen] == [None] * 3


def test_metadata(api, ns):
    create(api, ns, "a")
    h = {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
    seen = events(api, f"{cms(ns)}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true", h)
    assert marks(seen) == [A, END]
    assert all((e["object"]["kind"], e["object"]["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
               and set(e["object"]) == {"kind", "apiVersion", "metadata"} for e in seen)


def test_state_to_come(api, ns):
    """The initial events of a revision that is not yet: an ERROR in the stream. A plain watch waits for it."""
    q = f"{cms(ns)}?watch=1&resourceVersion=99999999"
    seen = events(api, q + "&timeoutSeconds=8" + WATCH_LIST)
    assert [e["type"] for e in seen] == ["ERROR"]
    s = seen[0]["object"]
    assert (s["code"], s["reason"]) == (504, "Timeout") and s["details"]["retryAfterSeconds"] == 1
    assert s["message"].startswith("Timeout: Too large resource version: 99999999, current: ")
    assert events(api, q + "&timeoutSeconds=1") == []


def test_over_at_once(api, ns):
    create(api, ns, "a")
    assert marks(events(api, cms(ns) + "?watch=1&timeoutSeconds=-1&labelSelector=none")) == []


BAD = [
    ("continue=x", 422, "resourceVersionMatch is forbidden when continue is provided"),
    ("continue=x" + WATCH_LIST, 422, "resourceVersionMatch is forbidden when continue is provided"),
    ("resourceVersion=18446744073709551616", 500, 'parsing "18446744073709551616": value out of range'),
    ("resourceVersion=-1", 500, 'parsing "-1": invalid syntax'),
    ("timeoutSeconds=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
    ("limit=9223372036854775808", 400, 'parsing "9223372036854775808": value out of range'),
    ("sendInitialEvents=true&resourceVersionMatch=Exact", 422,
     "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
]


@pytest.mark.parametrize("query, code, text", BAD, ids=[b[0] for b in BAD])
def test_refused(api, ns, query, code, text):
    r = api.get(f"{cms(ns)}?watch=1&timeoutSeconds=1&{query}".replace("timeoutSeconds=1&timeout", "timeout"))
    assert r.status == code and text in r.json["message"]


class Socket:
    """A watch over a WebSocket, as the Java client opens it."""

    def __init__(self, api, path, protocol=None):
        conn = api.connect()
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                   "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode()}
        if protocol:
            headers["Sec-WebSocket-Protocol"] = protocol
        conn.request("GET", path, headers=headers)
        self.conn, self.sock = conn, conn.sock
        self.response = conn.getresponse()
        self.file = self.response.fp

    def next(self):
        """(opcode, bytes) of a frame."""
        head = self.file.read(2)
        n = head[1] & 127
        if n == 126:
            n, = struct.unpack(">H", self.file.read(2))
        elif n == 127:
            n, = struct.unpack(">Q", self.file.read(8))
        return head[0] & 15, self.file.read(n)

    def send(self, opcode, data=b""):
        mask = os.urandom(4)
        self.sock.sendall(bytes([0x80 | opcode, 0x80 | len(data)]) + mask +
                          bytes(c ^ mask[i % 4] for i, c in enumerate(data)))

    def event(self):
        opcode, data = self.next()
        assert opcode == 1 and data.endswith(b"}\n")
        return json.loads(data)

    def close(self):
        self.conn.close()
        self.sock.close()


def test_socket(api, ns):
    create(api, ns, "a")
    w = Socket(api, f"{cms(ns)}?watch=1&allowWatchBookmarks=true")
    assert w.response.status == 101
    assert marks([w.event(), w.event()]) == [A, END]
    create(api, ns, "b")
    assert marks([w.event()]) == [B]
    w.send(9, b"there?")
    assert w.next() == (10, b"there?")
    w.send(8, b"\x03\xe8")
    assert w.next()[0] == 8
    w.close()


def test_socket_ends(api, ns):
    """By the server: after the time asked for, and with an error as an event."""
    w = Socket(api, f"{cms(ns)}?watch=1&timeoutSeconds=1", "base64.binary.k8s.io")
    assert w.response.headers["Sec-WebSocket-Protocol"] == "base64.binary.k8s.io"
    assert w.next() == (8, b"\x03\xe8")
    w.close()
    w = Socket(api, f"{cms(ns)}?watch=1&resourceVersion=99999999{WATCH_LIST}")
    assert w.event()["object"]["reason"] == "Timeout"
    assert w.next()[0] == 8
    w.close()


def test_socket_refused(api, ns):
    w = Socket(api, f"{cms(ns)}?watch=1&labelSelector=a+in+(")
    assert w.response.status == 400
    w.close()


def test_socket_of_a_slow_reader(api, ns):
    """More than its queue holds: it misses nothing once it reads, and others are not held up."""
    w = Socket(api, f"{cms(ns)}?watch=1")
    n = 60
    for i in range(n):
        create(api, ns, f"c{i:02}", annotations={"a": "x" * 100000})
    assert [w.event()["object"]["metadata"]["name"] for _ in range(n)] == [f"c{i:02}" for i in range(n)]
    w.close()


def test_sockets_that_are_dropped(api, ns):
    for _ in range(20):
        Socket(api, f"{cms(ns)}?watch=1").close()
    create(api, ns, "a")
    end = time.monotonic() + 10
    while "watch" in "".join(line for line in api.get("/metrics").body.decode().splitlines()
                             if line.startswith("apiserver_longrunning_requests") and 'verb="WATCH"' in line
                             and 'resource="configmaps"' in line and not line.endswith(" 0")):
        assert time.monotonic() < end
        time.sleep(0.05)
