# SPDX-License-Identifier: Apache-2.0
"""Ports of Services as Go's clients write them."""
import pytest

SERVICES = "/api/v1/namespaces/default/services"


@pytest.mark.parametrize("target, want", [
    (None, 80), (0, 80), ("", 80), (8080, 8080), ("http", "http")])
def test_target_port(api, target, want):
    port = {"port": 80} if target is None else {"port": 80, "targetPort": target}
    r = api.post(SERVICES, {"metadata": {"generateName": "ports-"}, "spec": {"ports": [port]}})
    assert r.status == 201, r.body
    assert r.json["spec"]["ports"][0]["targetPort"] == want
    api.request("DELETE", SERVICES + "/" + r.json["metadata"]["name"])
