# SPDX-License-Identifier: Apache-2.0
"""Endpoints, EndpointSlices and mirrored slices, with controllers and no node: the tests write what
a kubelet would."""
from controllers import NOW, ns, plane, wait_for  # noqa: F401 (fixtures)

OURS = "endpointslice-controller.k8s.io"
MIRRORED = "endpointslicemirroring-controller.k8s.io"


def service(**spec):
    return {"metadata": {"name": "web"},
            "spec": {"ports": [{"port": 80, "targetPort": 8080}], **spec}}


def run_pod(ns, name, ip, **labels):
    ns.create("pods", {"metadata": {"name": name, "labels": labels},
                       "spec": {"containers": [{"name": "c", "image": "i"}]}})
    ns.patch("pods", name, {"status": {
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": NOW}]}}, "/status")


def slices(ns, manager):
    """Addresses in the Service's slices of one manager."""
    r = ns.plane.get(f"/apis/discovery.k8s.io/v1/namespaces/{ns.name}/endpointslices?labelSelector="
                     "kubernetes.io/service-name=web,"
                     f"endpointslice.kubernetes.io/managed-by={manager}")
    return sorted(a for s in r.json["items"] for e in s["endpoints"] or [] for a in e["addresses"])


def subsets(ns):
    e = ns.get("endpoints", "web")
    return e and sorted(a["ip"] for s in e.get("subsets", []) for a in s.get("addresses", []))


def both(ns, *want):
    wait_for(f"slices of {want}", lambda: slices(ns, OURS) == list(want))
    wait_for(f"Endpoints of {want}", lambda: subsets(ns) == list(want))


def test_pods_that_a_service_selects(ns):
    ns.create("services", service(selector={"app": "web", "tier": "front"}))
    run_pod(ns, "a", "10.9.0.1", app="web", tier="front")
    both(ns, "10.9.0.1")
    run_pod(ns, "half", "10.9.0.2", app="web")
    run_pod(ns, "b", "10.9.0.3", app="web", tier="front", more="x")
    both(ns, "10.9.0.1", "10.9.0.3")
    ns.patch("pods", "a", {"metadata": {"labels": {"tier": "back"}}})
    both(ns, "10.9.0.3")
    ns.patch("services", "web", {"spec": {"selector": {"tier": None}}})
    both(ns, "10.9.0.1", "10.9.0.2", "10.9.0.3")
    assert slices(ns, MIRRORED) == []
    ns.delete("services", "web")
    wait_for("no slices", lambda: slices(ns, OURS) == [])
    wait_for("no Endpoints", lambda: ns.get("endpoints", "web") is None)


def test_a_slice_that_somebody_deletes_comes_back(ns):
    ns.create("services", service(selector={"app": "web"}))
    run_pod(ns, "a", "10.9.0.1", app="web")
    both(ns, "10.9.0.1")
    base = f"/apis/discovery.k8s.io/v1/namespaces/{ns.name}/endpointslices"
    name = ns.plane.get(base).json["items"][0]["metadata"]["name"]
    assert ns.plane.delete(f"{base}/{name}").status == 200
    wait_for("another slice", lambda: [
        s for s in ns.plane.get(base).json["items"] if s["metadata"]["name"] != name])
    both(ns, "10.9.0.1")


def test_endpoints_that_people_write_are_mirrored(ns):
    ns.create("services", service())
    ns.create("endpoints", {"metadata": {"name": "web"}, "subsets": [
        {"addresses": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}], "ports": [{"port": 80}]}]})
    wait_for("both", lambda: slices(ns, MIRRORED) == ["192.0.2.1", "192.0.2.2"])
    ns.patch("endpoints", "web", {"subsets": [
        {"addresses": [{"ip": "192.0.2.2"}], "ports": [{"port": 80}]}]})
    wait_for("one", lambda: slices(ns, MIRRORED) == ["192.0.2.2"])
    assert slices(ns, OURS) == []
    ns.patch("endpoints", "web", {"metadata": {"labels": {
        "endpointslice.kubernetes.io/skip-mirror": "true"}}})
    wait_for("none", lambda: slices(ns, MIRRORED) == [])
