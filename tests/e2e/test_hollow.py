# SPDX-License-Identifier: Apache-2.0
"""`isoplane up --hollow-nodes N`: the control plane with nodes that pretend."""
import os
import re
import signal
import subprocess
import tempfile

import pytest

from boxes import ISOPLANE, Box, Namespace, free_port, wait_for

POD_SPEC = {"terminationGracePeriodSeconds": 0,
            "initContainers": [{"name": "i", "image": "none"}],
            "containers": [{"name": "c", "image": "none"}]}


@pytest.fixture(scope="module")
def plane():
    box = Box(os.path.join(tempfile.mkdtemp(prefix="isoplane-hollow-"), "data"), free_port(),
              ["--without", "node", "--hollow-nodes", "20"])
    try:
        box.start()
        yield box
    finally:
        box.down()


@pytest.fixture
def ns(plane, request):
    name = "t-" + re.sub("[^a-z0-9]+", "-", request.node.name)[:50].strip("-")
    plane.kubectl("create", "namespace", name)
    yield Namespace(plane, name)
    plane.kubectl("delete", "namespace", name, "--wait=false", check=False)


def template(name):
    return {"metadata": {"labels": {"app": name}}, "spec": POD_SPEC}


def running(ns):
    return [p for p in ns.get("pods")["items"] if p["status"].get("phase") == "Running"]


def addresses(ns):
    return [p["status"]["podIP"] for p in running(ns)]


def test_nodes_are_ready(plane):
    plane.kubectl("wait", "nodes", "--all", "--for=condition=Ready", "--timeout=30s")
    wait_for("20 nodes", lambda: len(plane.get("nodes", "-l", "isoplane.io/hollow=true")["items"]) == 20)
    leases = plane.get("leases", "-n", "kube-node-lease")["items"]
    assert {x["metadata"]["name"] for x in leases} >= {f"hollow-{i}" for i in range(20)}


def test_pods_run_and_go(plane, ns):
    """Spread over all nodes, each with an address of its own, also after the process restarted."""
    ns.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "replicas": 60, "selector": {"matchLabels": {"app": "web"}}, "template": template("web")}})
    ns.kubectl("rollout", "status", "deploy/web", "--timeout=60s", timeout=70)
    nodes = [p["spec"]["nodeName"] for p in running(ns)]
    assert len(set(nodes)) == 20
    os.kill(plane.children()["hollow-nodes"], signal.SIGKILL)
    ns.kubectl("scale", "deploy/web", "--replicas=80")
    ns.kubectl("rollout", "status", "deploy/web", "--timeout=60s", timeout=70)
    assert len(set(addresses(ns))) == 80
    ns.kubectl("delete", "deploy", "web")
    wait_for("no Pods", lambda: not ns.get("pods")["items"])


def test_jobs_end(ns):
    ns.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {
        "completions": 3, "parallelism": 3,
        "template": {"metadata": {"annotations": {"isoplane.io/hollow-runs": "500ms"}},
                     "spec": {**POD_SPEC, "restartPolicy": "Never"}}}})
    ns.kubectl("wait", "job/j", "--for=condition=Complete", "--timeout=30s")


def test_a_node_taken_away_comes_back(plane, ns):
    ns.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
              "spec": {**POD_SPEC, "nodeName": "hollow-3"}})
    ns.kubectl("wait", "pod/p", "--for=condition=Ready", "--timeout=30s")
    old = plane.get("node", "hollow-3")["metadata"]["uid"]
    plane.kubectl("delete", "node", "hollow-3")

    def back():
        r = plane.kubectl("get", "node", "hollow-3", "-o", "jsonpath={.metadata.uid}", check=False)
        return r.returncode == 0 and r.stdout != old

    wait_for("the node", back)


@pytest.mark.parametrize("n", ["x", "-1", "10001", "3.5"])
def test_bad_number(n, tmp_path):
    r = subprocess.run([ISOPLANE, "up", "--data-dir", str(tmp_path / "d"), "--without", "node",
                        "--hollow-nodes", n], capture_output=True, text=True, timeout=20)
    assert r.returncode == 1
    assert f"--hollow-nodes {n}: must be a number from 0 to 10000" in r.stderr
