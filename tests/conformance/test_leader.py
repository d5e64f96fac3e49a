# SPDX-License-Identifier: Apache-2.0
"""Leader election: of two sets of controllers one works, and the other when that one dies."""
import signal
import subprocess

from apiserver import BUILD
from controllers import wait_for

LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-controller-manager"


def holder(api):
    r = api.get(LEASE)
    return r.json["spec"]["holderIdentity"] if r.status == 200 else None


def works(api, name):
    """Whether a new namespace gets what controllers put into it."""
    api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    wait_for(f"account of {name}", lambda: api.get(
        f"/api/v1/namespaces/{name}/serviceaccounts/default").status == 200)


def test_one_that_stops_lets_go(fresh):
    p = subprocess.Popen([BUILD / "isoplane", "controllers", "--leader-elect", "--kubeconfig", fresh.kubeconfig])
    try:
        wait_for("a leader", lambda: holder(fresh))
        works(fresh, "last")
        p.send_signal(signal.SIGTERM)
        assert p.wait(10) == 0
        lease = fresh.get(LEASE).json["spec"]
        assert "holderIdentity" not in lease or lease["holderIdentity"] == ""
        assert lease["leaseDurationSeconds"] == 1 and lease["renewTime"] == lease["acquireTime"]
        # what it let go is taken at once, and what nobody holds is nobody's to release
        p = subprocess.Popen([BUILD / "isoplane", "controllers", "--leader-elect", "--kubeconfig",
                              fresh.kubeconfig])
        wait_for("the next leader", lambda: holder(fresh), 5)
        fresh.patch(LEASE, {"spec": {"holderIdentity": "somebody"}})
        p.send_signal(signal.SIGTERM)
        p.wait(10)
        assert holder(fresh) == "somebody"
    finally:
        p.kill()
        p.wait(10)


def test_the_other_takes_over(fresh):
    logs = [fresh.dir / f"controllers-{i}" for i in range(2)]
    procs = [subprocess.Popen([BUILD / "isoplane", "controllers", "--leader-elect", "--kubeconfig",
                               fresh.kubeconfig], stderr=open(log, "wb")) for log in logs]
    try:
        first = wait_for("a leader", lambda: holder(fresh))
        works(fresh, "one")
        wait_for("both to be there", lambda: all("waiting for the lease" in log.read_text() for log in logs))
        started = ["started" in log.read_text() for log in logs]
        assert sorted(started) == [False, True]
        lease = fresh.get(LEASE).json["spec"]
        assert lease["leaseDurationSeconds"] == 15 and lease["leaseTransitions"] == 0
        at_work = started.index(True)
        procs[at_work].send_signal(signal.SIGKILL)
        wait_for("another leader", lambda: holder(fresh) != first, 30)
        assert fresh.get(LEASE).json["spec"]["leaseTransitions"] == 1
        works(fresh, "two")
        # one that finds itself without the lease ends: two must not work
        assert fresh.patch(LEASE, {"spec": {"holderIdentity": "somebody"}}).status == 200
        assert procs[1 - at_work].wait(10) == 1
        assert "lost the lease" in logs[1 - at_work].read_text()
    finally:
        for p in procs:
            p.kill()
            p.wait(10)
