# SPDX-License-Identifier: Apache-2.0
"""Jobs and CronJobs with Pods that really run and end, and a PodDisruptionBudget over running ones."""
from boxes import BUSYBOX, busybox_pod, wait_for


def job(name, script, restart="Never", **spec):
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {**spec, "template": {"spec": {
                "restartPolicy": restart, "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "c", "image": BUSYBOX, "command": ["sh", "-c", script]}]}}}}


def ended(ns, name):
    """{condition: reason} once the Job is over."""
    def over():
        all_of = {c["type"]: c["reason"] for c in ns.get("job", name).get("status", {}).get("conditions", [])
                  if c["status"] == "True"}
        return all_of if {"Complete", "Failed"} & set(all_of) else None
    return wait_for(f"job/{name} to end", over, 60)


def test_completions_and_finalizers(ns):
    ns.apply(job("ok", "true", completions=3, parallelism=2))
    assert ended(ns, "ok") == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    status = ns.get("job", "ok")["status"]
    assert status["succeeded"] == 3 and status["uncountedTerminatedPods"] == {} and "completionTime" in status
    wait_for("Pods without finalizers", lambda: all(
        "finalizers" not in p["metadata"] for p in ns.get("pods")["items"]))
    # a Job's Pods are left alone by default in the API, and deleted by kubectl's background policy
    ns.kubectl("delete", "job", "ok")
    wait_for("no Pods", lambda: not ns.get("pods")["items"])


def test_failure_and_deadline(ns):
    ns.apply(job("bad", "exit 3", backoffLimit=0))
    ns.apply(job("slow", "sleep 3600", activeDeadlineSeconds=2))
    ns.apply(job("rule", "exit 42", podFailurePolicy={"rules": [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]}))
    assert ended(ns, "bad")["Failed"] == "BackoffLimitExceeded"
    assert ended(ns, "slow")["Failed"] == "DeadlineExceeded"
    assert ended(ns, "rule")["Failed"] == "PodFailurePolicy"
    message = next(c["message"] for c in ns.get("job", "rule")["status"]["conditions"] if c["type"] == "Failed")
    assert message.endswith("failed with exit code 42 matching FailJob rule at index 0")


def test_indexed(ns):
    ns.apply(job("idx", "test $JOB_COMPLETION_INDEX != 1", completions=3, parallelism=3,
                 completionMode="Indexed", backoffLimitPerIndex=0))
    assert ended(ns, "idx")["Failed"] == "FailedIndexes"
    status = ns.get("job", "idx")["status"]
    assert status["completedIndexes"] == "0,2" and status["failedIndexes"] == "1"
    assert sorted(p["spec"]["hostname"] for p in ns.get("pods")["items"]) == ["idx-0", "idx-1", "idx-2"]


def test_suspend_and_resume(ns):
    ns.apply(job("s", "true", suspend=True))
    wait_for("Suspended", lambda: any(
        c["type"] == "Suspended" and c["status"] == "True" for c in ns.get("job", "s")["status"]["conditions"]))
    assert not ns.get("pods")["items"]
    ns.kubectl("patch", "job", "s", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    assert "Complete" in ended(ns, "s")


def test_cronjob(ns):
    ns.apply({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"},
              "spec": {"schedule": "@every 1s", "successfulJobsHistoryLimit": 1,
                       "jobTemplate": {"spec": job("x", "true")["spec"]}}})
    wait_for("a successful run", lambda: "lastSuccessfulTime" in ns.get("cronjob", "c").get("status", {}), 60)
    owner = ns.get("jobs")["items"][0]["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("CronJob", "c", True)
    ns.kubectl("patch", "cronjob", "c", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    wait_for("history of one", lambda: len(ns.get("jobs")["items"]) <= 1, 30)
    # by hand, as kubectl does it
    ns.kubectl("create", "job", "now", "--from=cronjob/c")
    assert "Complete" in ended(ns, "now")


def test_disruption_budget(ns):
    for name in ("a", "b"):
        ns.apply(busybox_pod(name, ["sleep", "3600"]) | {"metadata": {"name": name, "labels": {"app": "x"}}})
    ns.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "pdb"},
              "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}})
    ns.wait("pod/a", "condition=Ready")
    ns.wait("pod/b", "condition=Ready")
    wait_for("one may go", lambda: ns.get("pdb", "pdb")["status"]["disruptionsAllowed"] == 1)

    def evict(name):
        return ns.box.kubectl(
            "create", "--raw", f"/api/v1/namespaces/{ns.name}/pods/{name}/eviction", "-f", "-", check=False,
            input=f'{{"apiVersion":"policy/v1","kind":"Eviction","metadata":{{"name":"{name}"}}}}')

    assert evict("a").returncode == 0
    assert "Cannot evict pod as it would violate the pod's disruption budget." in evict("b").stderr
