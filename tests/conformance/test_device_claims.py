# SPDX-License-Identifier: Apache-2.0
"""Claims of devices over their life: what an allocation may say, who may use it, who administers.
What is refused of their specs is in bad-requests.json."""
import pytest

RESULT = {"request": "r", "driver": "d.e", "pool": "p", "device": "d"}
NOT_ALLOCATED = "must be an allocated device in the claim"


@pytest.fixture
def claim(api, ns):
    base = f"/apis/resource.k8s.io/v1/namespaces/{ns}/resourceclaims"
    api.ok("POST", base, {"metadata": {"name": "c"}, "spec": {"devices": {"requests": [
        {"name": "r", "exactly": {"deviceClassName": "cls"}}]}}})
    return base + "/c"


def told(r):
    if r.status < 300:
        return []
    assert r.status == 422, r.body
    return [f'{c["field"]}: {c["message"]}' for c in r.json["details"]["causes"]]


def test_status(api, claim):
    def put(**status):
        return told(api.patch(claim + "/status", {"status": status}))

    def allocated(**more):
        return {"devices": {"results": [{**RESULT, **more}]}}

    user = {"resource": "pods", "name": "p", "uid": "u"}
    assert put(reservedFor=[user]) == [
        "status.reservedFor: Forbidden: may not be specified when `allocated` is not set"]
    assert put(allocation=allocated(request="z")) == [
        'status.allocation.devices.results[0].request: Invalid value: "z": must be the name of a '
        "request in the claim or the name of a request and a subrequest separated by '/'"]
    assert put(devices=[{"driver": "d.e", "pool": "p", "device": "d"}]) == [
        'status.devices[0]: Invalid value: {"Driver":"d.e","Pool":"p","Device":"d","ShareID":""}: ' +
        NOT_ALLOCATED]
    assert put(allocation=allocated()) == []
    # it is for good
    assert put(allocation=allocated(device="other"))[0].endswith(": field is immutable")
    assert put(reservedFor=[user, {**user, "name": "q"}]) == [
        'status.reservedFor[1]: Duplicate value: "u"']
    assert put(reservedFor=[{"resource": "", "name": "", "uid": ""}]) == [
        f"status.reservedFor[0].{m}: Required value" for m in ("resource", "name", "uid")]
    assert put(reservedFor=[user]) == []
    device = {k: RESULT[k] for k in ("driver", "pool", "device")}
    assert put(devices=[{**device, "networkData": {"ips": ["1.2.3.4"], "interfaceName": "x" * 257}}]) == [
        "status.devices[0].networkData.interfaceName: Too long: may not be more than 256 bytes",
        'status.devices[0].networkData.ips[0]: Invalid value: "1.2.3.4": must be a valid address in '
        "CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"]
    assert put(devices=[{**device, "networkData": {"ips": ["10.1.2.3/24"]}}]) == []


def test_administrators(api, ns):
    base = f"/apis/resource.k8s.io/v1/namespaces/{ns}/resourceclaims"
    claim = {"metadata": {"name": "a"}, "spec": {"devices": {"requests": [
        {"name": "r", "exactly": {"deviceClassName": "cls", "adminAccess": True}}]}}}
    assert told(api.post(base, claim)) == [
        "spec.devices.requests[0].adminAccess: Forbidden: admin access to devices requires the "
        "`resource.kubernetes.io/admin-access: true` label on the containing namespace"]
    api.ok("PATCH", f"/api/v1/namespaces/{ns}", '{"metadata":{"labels":{'
           '"resource.kubernetes.io/admin-access":"true"}}}',
           headers={"Content-Type": "application/merge-patch+json"})
    assert api.post(base, claim).status == 201


def test_what_is_taken(api, ns):
    base = "/apis/resource.k8s.io/v1"
    api.ok("POST", f"{base}/resourceslices?dryRun=All", {"metadata": {"name": "s"}, "spec": {
        "driver": "d.e", "pool": {"name": "a/b", "generation": 0, "resourceSliceCount": 1},
        "perDeviceNodeSelection": True, "devices": [
            {"name": "d", "nodeName": "n", "attributes": {
                "x.y/v": {"version": "1.2.3-rc.1+build.01"}, "b": {"bool": False}},
             "capacity": {"memory": {"value": "1Gi"}},
             "taints": [{"key": "k", "effect": "NoExecute"}]}]}})
    api.ok("POST", f"{base}/deviceclasses?dryRun=All", {"metadata": {"name": "c"}, "spec": {
        "extendedResourceName": "a.b/gpu", "selectors": [{"cel": {"expression":
            "device.driver == 'd.e' && device.attributes['x.y'].v.isGreaterThan(semver('1.0.0')) && "
            "device.capacity['x.y'].memory.compareTo(quantity('1Gi')) >= 0"}}]}})
    api.ok("POST", f"{base}/namespaces/{ns}/resourceclaims?dryRun=All", {
        "metadata": {"name": "c"}, "spec": {"devices": {
            "requests": [{"name": "r", "firstAvailable": [
                {"name": "a", "deviceClassName": "x"}, {"name": "b", "deviceClassName": "y"}]}],
            "constraints": [{"requests": ["r/a", "r"], "matchAttribute": "x.y/z"}],
            "config": [{"requests": ["r/b"], "opaque": {"driver": "d.e", "parameters": {"a": 1}}}]}}})
