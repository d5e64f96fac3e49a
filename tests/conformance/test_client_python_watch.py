# SPDX-License-Identifier: Apache-2.0
"""Watches by the stock Python client: typed and dynamic, with selectors, over restarts and lost history."""
import threading
import time

import pytest
import urllib3
from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from kubernetes.dynamic import DynamicClient

from apiserver import Server


def core_of(server):
    return client.CoreV1Api(config.new_client_from_config(str(server.kubeconfig)))


@pytest.fixture(scope="module")
def core(api):
    return core_of(api)


def cm(name, labels=None, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels=labels), data=data)


def events(stream, n):
    """The next n as (type, name)."""
    seen = []
    for e in stream:
        seen.append((e["type"], e["object"].metadata.name))
        if len(seen) == n:
            break
    return seen


def test_list_then_watch(core, ns):
    core.create_namespaced_config_map(ns, cm("a"))
    rv = core.list_namespaced_config_map(ns).metadata.resource_version
    core.create_namespaced_config_map(ns, cm("b", x="1"))
    core.patch_namespaced_config_map("a", ns, {"data": {"y": "2"}})
    core.delete_namespaced_config_map("b", ns)
    w = watch.Watch()
    seen = []
    for e in w.stream(core.list_namespaced_config_map, ns, resource_version=rv):
        assert isinstance(e["object"], client.V1ConfigMap) and e["raw_object"]["kind"] == "ConfigMap"
        seen.append((e["type"], e["object"].metadata.name, e["object"].data))
        if e["type"] == "DELETED":
            w.stop()
    assert seen == [("ADDED", "b", {"x": "1"}), ("MODIFIED", "a", {"y": "2"}), ("DELETED", "b", {"x": "1"})]
    # a new stream goes on from there
    core.create_namespaced_config_map(ns, cm("c"))
    assert events(w.stream(core.list_namespaced_config_map, ns, resource_version=w.resource_version), 1) == [
        ("ADDED", "c")]


def test_state_first_and_end(core, ns):
    """Without a revision: what is there, then what comes; the time-out ends it without an error."""
    for name in "ab":
        core.create_namespaced_config_map(ns, cm(name))
    began = time.monotonic()
    seen = [(e["type"], e["object"].metadata.name) for e in watch.Watch().stream(
        core.list_namespaced_config_map, ns, timeout_seconds=1)]
    assert seen == [("ADDED", "a"), ("ADDED", "b")]
    assert 0.9 < time.monotonic() - began < 5


def test_bookmarks_are_passed_on(core, ns):
    rv = core.list_namespaced_config_map(ns).metadata.resource_version
    core.create_namespaced_config_map(ns, cm("a"))
    seen = [e for e in watch.Watch().stream(
        core.list_namespaced_config_map, ns, resource_version=rv, allow_watch_bookmarks=True, timeout_seconds=3)]
    assert [e["type"] for e in seen] == ["ADDED", "BOOKMARK"]
    mark = seen[1]["raw_object"]
    assert mark["kind"] == "ConfigMap" and int(mark["metadata"]["resourceVersion"]) > int(rv)


def test_selections(core, ns):
    rv = core.list_namespaced_config_map(ns).metadata.resource_version
    w = watch.Watch().stream(core.list_namespaced_config_map, ns, label_selector="in=yes", resource_version=rv,
                             timeout_seconds=20)
    core.create_namespaced_config_map(ns, cm("other"))
    core.create_namespaced_config_map(ns, cm("a", {"in": "yes"}))
    core.patch_namespaced_config_map("a", ns, {"metadata": {"labels": {"in": "no"}}})
    core.patch_namespaced_config_map("a", ns, {"metadata": {"labels": {"in": "yes"}}})
    core.delete_namespaced_config_map("a", ns)
    assert events(w, 4) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a"), ("DELETED", "a")]
    w = watch.Watch().stream(core.list_config_map_for_all_namespaces, timeout_seconds=20,
                             field_selector=f"metadata.namespace={ns},metadata.name=one")
    core.create_namespaced_config_map(ns, cm("two"))
    core.create_namespaced_config_map(ns, cm("one"))
    assert events(w, 1) == [("ADDED", "one")]


def test_pods_by_phase(core, ns):
    """A selectable field takes an object in and out of the selection as a label does."""
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    rv = core.create_namespaced_pod(ns, pod).metadata.resource_version
    w = watch.Watch().stream(core.list_namespaced_pod, ns, field_selector="status.phase=Running",
                             resource_version=rv, timeout_seconds=20)
    core.patch_namespaced_pod_status("p", ns, {"status": {"phase": "Running"}})
    core.patch_namespaced_pod_status("p", ns, {"status": {"phase": "Succeeded"}})
    seen = []
    for e in w:
        seen.append((e["type"], e["object"].status.phase, e["object"].metadata.resource_version))
        if len(seen) == 2:
            break
    assert [s[:2] for s in seen] == [("ADDED", "Running"), ("DELETED", "Running")]
    assert seen[1][2] == core.read_namespaced_pod("p", ns).metadata.resource_version


def test_dynamic(api, ns):
    maps = DynamicClient(config.new_client_from_config(str(api.kubeconfig))).resources.get(
        api_version="v1", kind="ConfigMap")
    maps.create(body={"metadata": {"name": "a"}}, namespace=ns)
    seen = []
    w = watch.Watch()
    for e in maps.watch(namespace=ns, field_selector="metadata.name=a", timeout=20, watcher=w):
        seen.append((e["type"], e["object"].metadata.name))
        if e["type"] == "ADDED":
            maps.create(body={"metadata": {"name": "b"}}, namespace=ns)
            maps.delete(name="a", namespace=ns)
        else:
            w.stop()
    assert seen == [("ADDED", "a"), ("DELETED", "a")]


def test_unknown_revision(core, ns):
    with pytest.raises(ApiException) as e:
        next(watch.Watch().stream(core.list_namespaced_config_map, ns, resource_version="x"))
    assert e.value.status == 500
    # one that is to come: nothing yet, and no error
    assert not list(watch.Watch().stream(core.list_namespaced_config_map, ns, resource_version="99999999",
                                         timeout_seconds=1))


def test_over_a_restart(fresh):
    """A client that comes back with the last revision it saw misses nothing and sees nothing twice."""
    core, n, seen = core_of(fresh), 60, []
    rv = core.list_namespaced_config_map("default").metadata.resource_version

    def follow():
        w, last = watch.Watch(), rv
        while len(seen) < n:
            try:
                for e in w.stream(core.list_namespaced_config_map, "default", resource_version=last,
                                  timeout_seconds=10):
                    seen.append((e["type"], e["object"].metadata.name))
                    last = w.resource_version
                    if len(seen) == n:
                        return
            except (urllib3.exceptions.HTTPError, OSError):
                time.sleep(0.02)  # it is away

    t = threading.Thread(target=follow, daemon=True)
    t.start()
    for i in range(n):
        if i in (20, 40):
            fresh.kill()
            fresh.start()
        core.create_namespaced_config_map("default", cm(f"c{i:02}"))
    t.join(30)
    assert seen == [("ADDED", f"c{i:02}") for i in range(n)]


def test_history_is_gone():
    """The client tries once more, then says 410; a new list is the way on."""
    s = Server("--history", "1")
    try:
        core = core_of(s)
        rv = core.create_namespaced_config_map("default", cm("a")).metadata.resource_version
        end = time.monotonic() + 20
        while True:
            core.patch_namespaced_config_map("a", "default", {"data": {"t": str(time.monotonic())}})
            first = s.watch(f"/api/v1/namespaces/default/configmaps?watch=1&resourceVersion={rv}")
            gone = first.next()["type"] == "ERROR"
            first.close()
            if gone:
                break
            assert time.monotonic() < end
            time.sleep(0.1)
        with pytest.raises(ApiException) as e:
            list(watch.Watch().stream(core.list_namespaced_config_map, "default", resource_version=rv))
        assert e.value.status == 410
        assert e.value.reason.startswith(f"Expired: too old resource version: {rv} (")
        now = core.list_namespaced_config_map("default").metadata.resource_version
        stream = watch.Watch().stream(core.list_namespaced_config_map, "default", resource_version=now,
                                      timeout_seconds=10)
        core.delete_namespaced_config_map("a", "default")
        assert events(stream, 1) == [("DELETED", "a")]
    finally:
        s.close()
