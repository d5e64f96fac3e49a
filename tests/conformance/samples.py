# SPDX-License-Identifier: Apache-2.0
"""Objects and paths that many tests send, and the Status that they expect."""

CM = {"metadata": {"name": "cm"}, "data": {"a": "b"}}
MODIFIED = ("the object has been modified; please apply your changes to the latest version and try "
            "again")


def cms(ns, name=""):
    return f"/api/v1/namespaces/{ns}/configmaps" + (f"/{name}" if name else "")


def pod(name="p", **spec):
    return {"metadata": {"name": name},
            "spec": {"containers": [{"name": "c", "image": "busybox:1.36"}], **spec}}


def pods(ns, name="", sub=""):
    return f"/api/v1/namespaces/{ns}/pods" + (f"/{name}" if name else "") + (f"/{sub}" if sub else "")


def status(r, code, reason, message=None, details=None):
    assert r.status == code, r.body
    s = r.json
    assert s["kind"] == "Status" and s["apiVersion"] == "v1" and s["metadata"] == {}
    assert s["status"] == "Failure" and s["code"] == code
    assert s.get("reason", "") == reason, s
    if message is not None:
        assert s["message"] == message
    if details is not None:
        assert {k: v for k, v in s["details"].items() if k != "causes"} == details
    return s


def services(ns, name=""):
    return f"/api/v1/namespaces/{ns}/services" + (f"/{name}" if name else "")
