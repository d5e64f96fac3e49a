# SPDX-License-Identifier: Apache-2.0
"""Services: addresses, ports and the one of the API server."""
from samples import services, status


def test_service(api, ns):
    o = api.ok("POST", services(ns), {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    s = o["spec"]
    assert s["type"] == "ClusterIP" and s["clusterIPs"] == [s["clusterIP"]]
    assert s["clusterIP"].startswith("10.96.")
    assert s["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert (s["ipFamilies"], s["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
    assert (s["sessionAffinity"], s["internalTrafficPolicy"]) == ("None", "Cluster")
    assert o["status"] == {"loadBalancer": {}}
    body = {"metadata": {"name": "t"}, "spec": {"ports": [{"port": 80}], "clusterIP": s["clusterIP"]}}
    r = status(api.post(services(ns), body), 422, "Invalid")
    assert f"failed to allocate IP {s['clusterIP']}: provided IP is already allocated" in r["message"]
    api.ok("DELETE", services(ns, "s"))
    assert api.ok("POST", services(ns), body)["spec"]["clusterIP"] == s["clusterIP"]


def test_service_rules(api, ns):
    def post(**spec):
        return api.post(services(ns), {"metadata": {"name": "s"}, "spec": spec})

    r = status(post(ports=[{"port": 80}], clusterIP="192.0.2.1"), 422, "Invalid")
    assert "the provided network does not match the current range" in r["message"]
    r = status(post(), 422, "Invalid")
    assert "spec.ports: Required value" in r["message"]
    r = status(post(ports=[{"port": 80}, {"port": 81}]), 422, "Invalid")
    assert [c["field"] for c in r["details"]["causes"]] == ["spec.ports[0].name", "spec.ports[1].name"]
    assert post(clusterIP="None", selector={"a": "b"}).json["spec"]["clusterIPs"] == ["None"]
    r = status(api.patch(services(ns, "s"), {"spec": {"clusterIP": "10.96.0.77"}}), 422, "Invalid")
    assert "may not change once set" in r["message"]


def test_node_ports(api, ns):
    o = api.ok("POST", services(ns), {"metadata": {"name": "n"}, "spec": {
        "type": "NodePort", "ports": [{"port": 80}]}})
    port = o["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767 and o["spec"]["externalTrafficPolicy"] == "Cluster"
    body = {"metadata": {"name": "m"}, "spec": {"type": "NodePort",
                                                "ports": [{"port": 80, "nodePort": port}]}}
    r = status(api.post(services(ns), body), 422, "Invalid")
    assert r["message"] == (f'Service "m" is invalid: spec.ports[0].nodePort: Invalid value: {port}: '
                            "provided port is already allocated")
    api.ok("PATCH", services(ns, "n"), {"spec": {"type": "ClusterIP"}},
           headers={"Content-Type": "application/merge-patch+json"})
    assert api.post(services(ns), body).status == 201
    body["metadata"]["name"] = "o"
    body["spec"]["ports"][0]["nodePort"] = 80
    r = status(api.post(services(ns), body), 422, "Invalid")
    assert "The range of valid ports is 30000-32767" in r["message"]


def test_kubernetes_service(api):
    s = api.ok("GET", services("default", "kubernetes"))
    assert s["spec"]["clusterIP"] == "10.96.0.1" and s["spec"]["ports"][0]["port"] == 443
    e = api.ok("GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
    assert e["endpoints"][0]["addresses"] == ["127.0.0.1"]
    assert e["ports"][0]["port"] == api.port
