# SPDX-License-Identifier: Apache-2.0
"""kubectl, as people use it."""
import json


def test_kubectl(api, ns):
    k = api.kubectl
    k("-n", ns, "create", "configmap", "a", "--from-literal=k=v")
    assert "a      1      " in k("-n", ns, "get", "cm").stdout
    k("-n", ns, "create", "secret", "generic", "s", "--from-literal=k=v")
    k("-n", ns, "label", "cm", "a", "x=y")
    k("-n", ns, "annotate", "cm", "a", "x=y")
    manifest = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "app", "namespace": ns}, "data": {"a": "1"}})
    assert "created" in k("apply", "-f", "-", stdin=manifest).stdout
    assert "unchanged" in k("apply", "-f", "-", stdin=manifest).stdout
    assert "configured" in k("apply", "-f", "-", stdin=manifest.replace('"1"', '"2"')).stdout
    assert k("diff", "-f", "-", stdin=manifest, check=False).returncode == 1
    assert "a:" in k("-n", ns, "get", "cm", "app", "-o", "yaml").stdout
    k("-n", ns, "run", "p", "--image=busybox:1.36")
    assert "Pending" in k("-n", ns, "get", "pods", "-o", "wide").stdout
    assert "Name:" in k("-n", ns, "describe", "pod", "p").stdout
    assert "yes" in k("auth", "can-i", "create", "pods").stdout
    assert k("-n", ns, "create", "token", "default").stdout.count(".") == 2
    assert "deleted" in k("-n", ns, "delete", "cm", "a", "app").stdout
    r = k("-n", ns, "get", "cm", "nope", check=False)
    assert r.stderr == 'Error from server (NotFound): configmaps "nope" not found\n'
    r = k("create", "-f", "-", check=False, stdin=manifest.replace('"data"', '"dta"'))
    assert 'unknown field "dta"' in r.stderr
