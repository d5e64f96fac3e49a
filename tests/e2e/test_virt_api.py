# SPDX-License-Identifier: Apache-2.0
"""The virtualization API by itself: who may, what is guarded, what survives bad requests."""
import json
import ssl
import urllib.error
import urllib.request

from boxes import kernel_vmi, wait_for
from test_machines import condition, vm

BOOT = 120


def status(ns, name):
    return ns.get("vm", name).get("status", {}).get("printableStatus")


def test_manual_strategy_and_requests(ns):
    ns.apply(vm("m", "Manual"))
    wait_for("Stopped", lambda: status(ns, "m") == "Stopped")
    r = ns.virtctl("stop", "m", check=False)
    assert r.returncode == 1 and r.stderr == (
        "error stopping VirtualMachine Operation cannot be fulfilled on "
        'virtualmachine.kubevirt.io "m": VM is not running\n')
    assert ns.virtctl("start", "m", "--dry-run").stdout == (
        "Dry Run execution\nVM m was scheduled to start\n")
    assert "stateChangeRequests" not in ns.get("vm", "m")["status"]
    ns.virtctl("start", "m", "--paused")
    wait_for("Paused", lambda: status(ns, "m") == "Paused", BOOT)
    ns.virtctl("unpause", "vm", "m")
    wait_for("Running", lambda: status(ns, "m") == "Running", BOOT)
    ns.virtctl("stop", "m", "--force", "--grace-period=0")
    wait_for("Stopped again", lambda: status(ns, "m") == "Stopped", BOOT)
    r = ns.virtctl("stop", "m", "--force", check=False)
    assert r.returncode == 1 and r.stderr == (
        "Must both use --force=true and set --grace-period.\n")


def test_template_change_asks_for_a_restart(ns):
    ns.apply(vm("t"))
    wait_for("Running", lambda: status(ns, "t") == "Running", BOOT)
    ns.kubectl("patch", "vm", "t", "--type=merge", "-p", json.dumps(
        {"spec": {"template": {"spec": {"domain": {"cpu": {"cores": 2}}}}}}))
    wait_for("RestartRequired", lambda: condition(ns.get("vm", "t"), "RestartRequired") == "True")
    old = ns.get("vmi", "t")["metadata"]["uid"]
    ns.virtctl("restart", "t")
    wait_for("another VMI", lambda: ns.get("vmi", "t")["metadata"]["uid"] != old, BOOT)
    wait_for("Running", lambda: status(ns, "t") == "Running", BOOT)
    assert ns.get("vmi", "t")["spec"]["domain"]["cpu"]["cores"] == 2
    wait_for("no restart required", lambda: condition(ns.get("vm", "t"), "RestartRequired") is None)
    assert len(ns.get("controllerrevisions")["items"]) == 1


def test_a_vmi_is_guarded(ns):
    ns.apply(kernel_vmi("g"))
    ns.wait("vmi/g", "condition=Ready", BOOT)
    r = ns.kubectl("patch", "vmi", "g", "--type=merge", "-p",
                   '{"spec":{"domain":{"cpu":{"cores":4}}}}', check=False)
    assert r.returncode == 1 and "update of VMI object is restricted" in r.stderr
    ns.kubectl("patch", "vmi", "g", "--type=merge", "-p", '{"status":{"phase":"Failed"}}')
    assert ns.phase("vmi", "g") == "Running"
    r = ns.kubectl("label", "vmi", "g", "kubevirt.io/nodeName=elsewhere", "--overwrite", check=False)
    assert r.returncode == 1 and "reserved kubevirt.io/ labels" in r.stderr
    ns.kubectl("label", "vmi", "g", "team=a")


def test_rights(ns):
    """A subresource needs its own right, given by name."""
    ns.apply(vm("r", "Halted"))
    ns.kubectl("create", "serviceaccount", "op")
    who = f"system:serviceaccount:{ns.name}:op"
    path = f"/apis/subresources.kubevirt.io/v1/namespaces/{ns.name}/virtualmachines/r/start"
    r = ns.kubectl("--as", who, "replace", "--raw", path, "-f", "/dev/null", check=False)
    assert r.returncode == 1 and "orbidden" in r.stderr
    ns.apply({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
              "metadata": {"name": "starter"}, "rules": [
                  {"apiGroups": ["subresources.kubevirt.io"], "verbs": ["update"],
                   "resources": ["virtualmachines/start"], "resourceNames": ["r"]}]})
    ns.kubectl("create", "rolebinding", "starter", "--role=starter",
               f"--serviceaccount={ns.name}:op")
    wait_for("allowed", lambda: ns.kubectl("--as", who, "replace", "--raw", path, "-f", "/dev/null",
                                           check=False).returncode == 0)
    wait_for("Running", lambda: status(ns, "r") == "Running", BOOT)


def test_virt_api_survives_bad_requests(box, ns):
    """Straight at its port, as anybody on the Pod network could: refused, and still there."""
    ip = [a["address"] for a in box.get("nodes")["items"][0]["status"]["addresses"]
          if a["type"] == "InternalIP"][0]
    pid = box.children()["virt-api"]
    ctx = ssl.create_default_context()
    ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE

    def ask(method, path, body=b"", **headers):
        req = urllib.request.Request(f"https://{ip}:8443{path}", data=body, method=method,
                                     headers=headers)
        try:
            with urllib.request.urlopen(req, context=ctx, timeout=20) as r:
                return r.status, r.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()

    start = "/apis/subresources.kubevirt.io/v1/namespaces/a/virtualmachines/b/start"
    # the headers of a front proxy without its certificate are nobody's word
    assert ask("PUT", start, b"{}", **{"X-Remote-User": "admin",
                                       "X-Remote-Group": "system:masters"})[0] == 401
    for path in ("/nosuch", "/apis/subresources.kubevirt.io/v1/namespaces", "/apis/x/y/z",
                 "/apis/subresources.kubevirt.io/v9/namespaces/a/virtualmachines/b/start"):
        assert ask("PUT", path, b"{}")[0] in (401, 404), path
    hooks = ("/virtualmachines-mutate", "/virtualmachineinstances-mutate",
             "/virtualmachines-validate", "/virtualmachineinstances-validate-create",
             "/virtualmachineinstances-validate-update", "/virtualmachinereplicaset-validate")
    for hook in hooks:
        for body in (b"", b"{", b"[]", b"null", b'{"request":{}}', b'{"request":{"object":5}}'):
            assert ask("POST", hook, body)[0] in (200, 400), (hook, body)
        resource = {"virtualmachinereplicaset-validate": "virtualmachineinstancereplicasets"}.get(
            hook[1:], hook[1:].split("-")[0])
        for spec in ({"template": [1]}, {"domain": 7, "volumes": [1, None, {"containerDisk": 3}]},
                     {"networks": {"x": 1}}, [], "x"):
            code, out = ask("POST", hook, json.dumps({"request": {
                "uid": "u", "operation": "CREATE", "resource": {"resource": resource},
                "object": {"metadata": {"name": "n"}, "spec": spec}}}).encode())
            review = json.loads(out)["response"]
            assert code == 200 and review["allowed"] is False and review["uid"] == "u", (hook, out)
            assert review["status"]["code"] == 422, (hook, out)
    assert box.children()["virt-api"] == pid
