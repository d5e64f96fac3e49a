# SPDX-License-Identifier: Apache-2.0
"""Deployments with running Pods, by the commands that people use."""
from boxes import BUSYBOX, wait_for


def deployment(name, replicas, **more):
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                 "template": {
                     "metadata": {"labels": {"app": name}},
                     "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                         {"name": "main", "image": BUSYBOX, "command": ["sleep", "3600"]}]}},
                 **more}}


def sizes(ns):
    return sorted(rs["spec"]["replicas"] for rs in ns.get("rs")["items"])


def rollout(ns, name):
    ns.kubectl("rollout", "status", f"deploy/{name}", "--timeout=90s", timeout=100)


def test_roll_out_and_back(ns):
    ns.apply(deployment("web", 2))
    rollout(ns, "web")
    first = ns.get("rs")["items"][0]
    assert first["metadata"]["labels"]["pod-template-hash"] == first["metadata"]["name"].removeprefix("web-")
    ns.kubectl("set", "env", "deploy/web", "A=b")
    rollout(ns, "web")
    assert sizes(ns) == [0, 2]
    out = ns.kubectl("rollout", "history", "deploy/web").stdout
    assert [line.split()[0] for line in out.splitlines()[2:] if line] == ["1", "2"]
    ns.kubectl("rollout", "undo", "deploy/web")
    rollout(ns, "web")
    assert ns.get("rs", first["metadata"]["name"])["spec"]["replicas"] == 2
    assert ns.get("deploy", "web")["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    ns.kubectl("rollout", "restart", "deploy/web")
    rollout(ns, "web")
    assert sizes(ns) == [0, 0, 2]


def test_scale_and_pause(ns):
    ns.apply(deployment("web", 1))
    rollout(ns, "web")
    ns.kubectl("rollout", "pause", "deploy/web")
    ns.kubectl("set", "env", "deploy/web", "A=b")
    ns.kubectl("scale", "deploy/web", "--replicas=3")
    wait_for("three of the old template", lambda: sizes(ns) == [3])
    ns.kubectl("rollout", "resume", "deploy/web")
    rollout(ns, "web")
    assert sizes(ns) == [0, 3]


def test_recreate(ns):
    """No Pod of the new template runs beside one of the old. An old one that has ended may still be
    listed: as upstream, the rollout goes on at a Pod's last phase, not at its deletion."""
    ns.apply(deployment("web", 2, strategy={"type": "Recreate"}))
    rollout(ns, "web")
    old = {p["metadata"]["uid"] for p in ns.get("pods")["items"]}
    ns.kubectl("set", "env", "deploy/web", "A=b")

    def replaced():
        pods = ns.get("pods")["items"]
        now = {p["metadata"]["uid"] for p in pods}
        running = {p["metadata"]["uid"] for p in pods if p["status"]["phase"] not in ("Failed", "Succeeded")}
        assert not (running & old and running - old), "old and new run at once"
        return len(now) == 2 and not now & old

    wait_for("only new Pods", replaced, 60, 0.1)
    rollout(ns, "web")


def test_history_is_bounded_and_deleted(ns):
    ns.apply(deployment("web", 1, revisionHistoryLimit=1))
    rollout(ns, "web")
    for i in range(3):
        ns.kubectl("set", "env", "deploy/web", f"A={i}")
        rollout(ns, "web")
    wait_for("one old ReplicaSet", lambda: sizes(ns) == [0, 1])
    ns.kubectl("delete", "deploy", "web")
    wait_for("all gone", lambda: not ns.get("rs,pods")["items"])


def test_deadline(ns):
    d = deployment("web", 1, progressDeadlineSeconds=2)
    d["spec"]["template"]["spec"]["containers"][0]["image"] = "localhost/no/such:1"
    ns.apply(d)
    wait_for("the deadline's condition", lambda: any(
        c["type"] == "Progressing" and c["reason"] == "ProgressDeadlineExceeded"
        for c in ns.get("deploy", "web")["status"]["conditions"]), 30)
    r = ns.kubectl("rollout", "status", "deploy/web", check=False)
    assert "exceeded its progress deadline" in r.stderr
